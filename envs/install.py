"""Make `.venv` with the exact, hash-checked packages of envs/requirements.txt and this library; standard library only.

Run as `python3 envs/install.py`. A finished environment is recognised by a stamp and left alone; an interrupted one is completed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / ".installed"
LOCK = ROOT / "envs" / "requirements.txt"


def main() -> int:
    """Install what is missing; returns the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file also runs before the environment exists)
        print(
            f"install: expected Python 3.11 or newer, found {sys.version.split()[0]}; run it with a newer python3",
            file=sys.stderr,
        )
        return 1
    wanted = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return 0
    STAMP.unlink(missing_ok=True)
    print(f"Installing the pinned environment into {ENVIRONMENT} (about 6 GB, a few minutes) …", flush=True)
    try:
        _make_venv()
        pip = [str(_python()), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)
        subprocess.run([*pip, "--no-build-isolation", "--editable", str(ROOT)], check=True)
    except subprocess.CalledProcessError as error:
        print(
            f"install: {error.cmd[0]} … ended with exit code {error.returncode}; see above, then run this again",
            file=sys.stderr,
        )
        return 1
    STAMP.write_text(wanted)
    return 0


def _python() -> Path:
    return ENVIRONMENT / "bin" / "python"


def _fingerprint() -> str:
    parts = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _make_venv() -> None:
    """Make a virtual environment with pip, also where Debian ships Python without the venv package."""
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
    # A fresh interpreter, for one that lacked ensurepip when it started may not see it now.
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)


def _install_debian_venv() -> None:
    apt = shutil.which("apt-get")
    command = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not apt or (command and not shutil.which("sudo")):
        raise SystemExit(
            "install: expected Python's venv module, found none; install it (Debian: apt-get install python3-venv)"
        )
    package = f"python3.{sys.version_info.minor}-venv"
    print(f"Installing Debian's {package} …", flush=True)
    subprocess.run([*command, apt, "update", "-qq"], check=True)
    subprocess.run([*command, apt, "install", "-y", "-qq", package], check=True)


if __name__ == "__main__":
    raise SystemExit(main())

"""Resolve envs/*.in for every platform: requirements.txt and executors.txt (hashes, no URLs), environment.yaml (conda).

Run as `make lock`, with the environment's uv. With `--check`, nothing is resolved: it only checks that environment.yaml matches
requirements.txt.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

HEADER = """# The pins of requirements.txt as a conda environment, for `snakemake --software-deployment-method conda`.
# Written by envs/lock.py. The library itself comes from src/, which the workflow puts on PYTHONPATH.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python>=3.11
  - pip
  - pip:
"""


def environment(requirements: str) -> str:
    """Turn a hashed requirements file into a conda environment file with the same pins and markers."""
    pins = [
        match.group(1).strip() for match in re.finditer(r"^([A-Za-z0-9][^\\\n]*?)\s*\\?$", requirements, re.MULTILINE)
    ]
    return HEADER + "".join(f'      - "{pin}"\n' for pin in pins)


def main() -> int:
    """Resolve and write both files, or check them."""
    lock, conda = HERE / "requirements.txt", HERE / "environment.yaml"
    if "--check" not in sys.argv:
        uv = str(HERE.parent / ".venv/bin/uv")
        resolve = [uv, "pip", "compile", "--universal", "--generate-hashes", "--python-version", "3.11", "--quiet"]
        hide = ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
        subprocess.run([*resolve, *hide, "requirements.in", "-o", "requirements.txt"], cwd=HERE, check=True)
        beside = ["-c", "requirements.txt", "executors.in", "-o", "executors.txt"]
        subprocess.run([*resolve, *hide, *beside], cwd=HERE, check=True)
        conda.write_text(environment(lock.read_text()))
    if conda.read_text() != environment(lock.read_text()):
        print(f"lock: {conda} does not match {lock}; run `make lock`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Containers of the image of `make image`, by podman: how the tests start one, and a stand-in for apptainer that does."""

import os
import shutil
import subprocess
from pathlib import Path

IMAGE = os.environ.get("IMAGE", "localhost/neural-echos:latest")
PODMAN = ["podman", "--runtime", "runc"]
RUN = [*PODMAN, "run", "--rm", "--pull", "never", "--network", "host"]
RUN += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=10000:10000", "--entrypoint", '["/bin/bash"]']
# Snakemake calls apptainer with `--version`, `pull --name FILE ADDRESS` and `exec --home FOLDER … FILE bash -c COMMAND`. As the
# real one, it takes the caller's user and variables but PATH, and mounts the working folder and /tmp.
APPTAINER = r"""#!/bin/sh
case " $* " in
    " --version ") echo "apptainer version 1.3.0" ;;
    *" pull "*) echo "${4#docker://}" > "$3" ;;
    *)
        while [ "$1" != --home ]; do shift; done
        home=$2
        while [ $# -gt 4 ]; do shift; done
        told=$(env | sed -n 's/^\([A-Z_]*\)=.*/--env \1/p' | grep -v ' PATH$')
        exec @RUN@ $told --user "$(id -u)" --volume "$home:$home" --volume /tmp:/tmp --workdir "$home" "$(cat "$1")" -c "$4" ;;
esac
"""


def obstacle() -> str:
    """Say in one sentence why there are no containers of the image here; "" where there are."""
    if not shutil.which("podman"):
        return "there is no podman"
    if subprocess.run(["podman", "image", "exists", IMAGE], capture_output=True).returncode:
        return f"there is no image {IMAGE}: make image builds it"
    return ""


def quoted() -> str:
    """The command that starts a container, for a shell script."""
    return " ".join(f"'{word}'" for word in RUN)


def put_apptainer(folder: Path) -> dict[str, str]:
    """Write the stand-in; returns the variables with which it is found."""
    script = folder / "bin/apptainer"
    script.parent.mkdir(parents=True)
    script.write_text(APPTAINER.replace("@RUN@", quoted()))
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}"}

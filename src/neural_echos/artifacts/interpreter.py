"""The Python that runs a notebook: this interpreter, without the user's settings, start-up files or history."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

ARGUMENTS = [
    "--HistoryManager.enabled=False",
    "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
    "--IPKernelApp.log_level=50",
]
_MINE = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
_USERS = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH")
_LONGEST = 80  # maximum bytes of a folder's name, so that sockets in it stay below the limit of 107 for an address


class OwnKernel(AsyncKernelManager):
    """Starts `sys.executable`, regardless of installed kernels. `kernel_in` makes a subclass for one notebook.

    Attributes
    ----------
    folder : Path
        Folder of its connection file, sockets, output and IPython folder.
    process : subprocess.Popen, optional
        The last process started.
    """

    folder: ClassVar[Path]
    process: ClassVar[subprocess.Popen[bytes] | None] = None

    @property
    def kernel_spec(self) -> KernelSpec:
        """Spec that starts this interpreter as a kernel; the Jupyter path is not searched."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}},
        )

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        """Start the kernel; output outside of cells goes to a file."""
        with (self.folder / "output").open("ab") as output:
            await self._async_start_kernel(
                **options, env=environment(self.folder, os.environ), stdout=output, stderr=output
            )
        type(self).process = getattr(self.provisioner, "process", None)

    @classmethod
    def end(cls) -> str:
        """Say how the last process ended; "" while it runs."""
        code = None if cls.process is None else cls.process.poll()
        if code is None:
            return ""
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @classmethod
    def last_words(cls) -> str:
        """The last line printed outside of cells, or ""."""
        output = cls.folder / "output"
        lines = output.read_text(encoding="utf-8", errors="replace").split("\n") if output.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def kernel_in(folder: Path, *, sockets: bool) -> type[OwnKernel]:
    """Make the manager of a kernel whose files are in an empty folder.

    Parameters
    ----------
    folder : Path
    sockets : bool
        Use Unix sockets in the folder, which cannot collide with another kernel, if its name is short enough; otherwise
        ports.
    """
    short = len(os.fsencode(folder)) <= _LONGEST

    class Kernel(OwnKernel):
        def __init__(self, **options: Any) -> None:
            transport = "ipc" if sockets and short else "tcp"
            super().__init__(**options, connection_file=str(folder / "kernel.json"), transport=transport)

    Kernel.folder = folder
    return Kernel


def environment(folder: Path, users: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a kernel: the user's, without settings that affect figures or the start of Jupyter and IPython."""
    mine = {name: str(folder / name.lower()) for name in _MINE}
    kept = {name: value for name, value in users.items() if name not in _USERS}
    return kept | mine | {"MATPLOTLIBRC": os.devnull, "MPLBACKEND": "agg", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

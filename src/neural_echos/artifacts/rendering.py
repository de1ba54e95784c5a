"""Rendering: execute the artifacts' notebooks."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path

if TYPE_CHECKING:
    from neural_echos.artifacts.interpreter import OwnKernel

_LOG = logging.getLogger(__name__)
_PATIENCE = 120  # seconds to wait for a kernel to answer


def render_notebook(notebook: Path, rendered: Path, draft: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook with papermill, in its own kernel that runs this interpreter.

    It runs as `draft`, so that a failing cell leaves its traceback there, and becomes `rendered` only if it succeeds. A kernel
    that does not start is tried once more.

    Raises
    ------
    EchosError
        The notebook is missing or broken, one of its cells failed, or its kernel did not start, stopped or was killed.
    """
    read_notebook(notebook)
    draft.parent.mkdir(parents=True, exist_ok=True)
    for name in ("papermill", "traitlets"):  # failures are raised and reported below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not _executed(notebook, draft, parameters, sockets=True):
        _LOG.info("%s: its Python kernel did not start; trying once more", notebook)
        _executed(notebook, draft, parameters, sockets=False, last=True)
    with atomic_path(rendered) as temporary:
        temporary.write_bytes(draft.read_bytes())


def _executed(notebook: Path, draft: Path, parameters: Mapping[str, Any], *, sockets: bool, last: bool = False) -> bool:
    """Execute a notebook once; False if its kernel never answered and this is not the last attempt."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from zmq import ZMQBaseError

    from neural_echos.artifacts.interpreter import ARGUMENTS, kernel_in

    answered = []
    with TemporaryDirectory(prefix="echos-") as folder, _some_home(folder):
        kernel = kernel_in(Path(folder), sockets=sockets)
        try:
            papermill.execute_notebook(
                str(notebook),
                str(draft),
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=_PATIENCE,
                iopub_timeout=_PATIENCE,
                kernel_manager_class=kernel,
                extra_arguments=ARGUMENTS,
                on_notebook_start=lambda notebook: answered.append(True),
            )
        except PapermillExecutionError as error:
            raise EchosError(
                f"{notebook}: cell {error.exec_count} failed with {error.ename}: {error.evalue}; see {draft}"
            ) from None
        except (
            RuntimeError,
            TimeoutError,
            ZMQBaseError,
        ) as error:  # from the kernel; errors of cells are handled above
            if not answered and not last:
                return False
            raise EchosError(f"{notebook}: {_ended(kernel, error, bool(answered))}; see {draft}") from None
    return True


@contextmanager
def _some_home(folder: str) -> Iterator[None]:
    """Use `folder` as the home directory if there is none: papermill and IPython require one."""
    if _has_home():
        yield
        return
    before = {name: value for name, value in os.environ.items() if name == "HOME"}
    os.environ["HOME"] = folder
    try:
        yield
    finally:
        del os.environ["HOME"]
        os.environ.update(before)


def _has_home() -> bool:
    try:
        return Path.home().is_absolute()
    except RuntimeError:
        return False


def _ended(kernel: "type[OwnKernel]", error: Exception, answered: bool) -> str:
    """Say what happened to a kernel that no longer answers, and what to do."""
    end, words = kernel.end(), kernel.last_words()
    said = f' (it printed "{words[:200]}")' if words else ""
    if end == "signal SIGKILL":
        return "its Python kernel was killed, probably because memory ran out; give the job more memory"
    if not answered:
        return f"its Python kernel failed to start twice in a row: {end or error}{said}; check this Python and its ipykernel"
    if end:
        return f"its Python kernel stopped while a cell was running: {end}{said}"
    return f"its Python kernel no longer answers: {error}{said}; run the command again"


def read_notebook(path: Path) -> Any:
    """Read a notebook of format 4.

    Raises
    ------
    EchosError
        The file is missing, or is not such a notebook.
    """
    import nbformat

    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except FileNotFoundError:
        raise EchosError(f"{path}: there is no such notebook; check the path") from None
    except (
        OSError,
        ValueError,
        AttributeError,
        TypeError,
        LookupError,
        RecursionError,
        nbformat.ValidationError,
    ) as error:
        found = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise EchosError(f"{path}: not a readable notebook ({found}); restore it") from None
    return notebook

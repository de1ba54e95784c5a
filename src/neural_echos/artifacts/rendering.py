"""Rendering: execute the artifacts' notebooks."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path


def render_notebook(notebook: Path, rendered: Path, draft: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook with papermill.

    It runs as `draft`, so that a failing cell leaves its traceback there, and becomes `rendered` only when it succeeds.

    Raises
    ------
    EchosError
        The notebook is missing or broken, one of its cells failed, or its kernel died.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    read_notebook(notebook)
    draft.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(draft),
            parameters=dict(parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except PapermillExecutionError as error:
        raise EchosError(
            f"{notebook}: cell {error.exec_count} failed with {error.ename}: {error.evalue}; see {draft}"
        ) from None
    except DeadKernelError:
        raise EchosError(
            f"{notebook}: expected a kernel that lives, found it killed; give the job more memory"
        ) from None
    with atomic_path(rendered) as temporary:
        temporary.write_bytes(draft.read_bytes())


def read_notebook(path: Path) -> Any:
    """Read a notebook of format 4.

    Raises
    ------
    EchosError
        It is missing, or no such notebook.
    """
    import nbformat

    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
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
        raise EchosError(f"{path}: expected a notebook, found {found}; restore it") from None
    return notebook

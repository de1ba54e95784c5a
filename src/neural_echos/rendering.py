"""Report: execute the artifacts' notebooks, and write the page that lists what they made."""

import html
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, read_json, write_text


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


def write_index(output: Path, artifacts: Sequence[Mapping[str, str]], title: str) -> None:
    """Write one HTML page that lists every artifact: figures shown, tables inside, captions, what each says, its files.

    Parameters
    ----------
    output : Path
        The page; links and images are relative to it.
    artifacts : sequence of mappings
        Each with id, kind ("figure" or "table"), group, title, caption and stem (path without suffix).
    """
    parts = []
    for group, members in groupby(artifacts, key=lambda artifact: artifact["group"]):
        parts.append(f"<h2>{html.escape(group)}</h2>")
        parts += [_section(artifact, output.parent) for artifact in members]
    links = "".join(f'<a href="#{one["id"]}">{html.escape(one["title"].split(".")[0])}</a> ' for one in artifacts)
    write_text(output, _PAGE.format(title=html.escape(title), links=links, body="\n".join(parts)))


def _section(artifact: Mapping[str, str], folder: Path) -> str:
    stem = Path(artifact["stem"])
    made = read_json(stem.with_name(f"{stem.name}.json"))
    base = os.path.relpath(stem, folder)
    if artifact["kind"] == "figure":
        shown = f'<img src="{base}.png" alt="{html.escape(artifact["title"])}" loading="lazy">'
        suffixes = ["pdf", "png", "svg", "json"]
    else:
        page = stem.with_name(f"{stem.name}.html").read_text(encoding="utf-8")
        shown = f'<div class="table">{page[page.index("<table") : page.index("</table>") + 8]}</div>'
        suffixes = ["csv", "md", "tex", "html", "json"]
    files = " · ".join(f'<a href="{base}.{suffix}">{suffix}</a>' for suffix in suffixes)
    return (
        f'<section id="{artifact["id"]}"><h3>{html.escape(artifact["title"])}</h3>{shown}'
        f"<p>{html.escape(artifact['caption'])}</p><p><strong>{html.escape(made['says'])}</strong></p>"
        f"<p class='files'>{files}</p></section>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #111; }}
nav a {{ margin-right: .8rem; white-space: nowrap; }} section {{ margin: 2rem 0; }} img {{ max-width: 100%; height: auto; }}
.table {{ overflow-x: auto; font-size: .85rem; }} table {{ border-collapse: collapse; }}
th, td {{ padding: .25rem .6rem; text-align: left; vertical-align: top; }} thead th {{ border-bottom: 2px solid #111; }}
tbody tr {{ border-bottom: 1px solid #ddd; }} .files {{ font-size: .85rem; }}
</style></head><body>
<h1>{title}</h1>
<nav>{links}</nav>
{body}
</body></html>
"""

"""Check whether renders fail when several start at once: pairs of `echos render`, each with a new home folder.

Run from the checkout: `PYTHONPATH=src python benchmarks/rendering.py [--pairs 200] [--at-once 2]`. `--notebook`, `--inputs` and
`--options` choose another artifact than the verdicts of the preset quest.
Every render has its own process (forked after the imports, so that most of the time is spent starting kernels) with an empty
HOME and without settings folders of Jupyter, IPython or Matplotlib. The script prints how many renders failed, how many kernels
were started twice and how long a render took, and exits with 1 if any failed. It takes about ten minutes on two cores and is not
part of the tests.
"""

import argparse
import json
import logging
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import papermill  # noqa: F401 (imported before the processes fork)

from neural_echos.artifacts import interpreter  # noqa: F401
from neural_echos.artifacts.rendering import render_notebook
from neural_echos.errors import EchosError

NOTEBOOK = Path("workflow/notebooks/table_4_verdicts.ipynb")
TABLES = '{"verdicts": ["results/published/quest/verdicts.parquet"]}'
FOLDERS = re.compile(r"(JUPYTER|IPYTHON|MPL|XDG)")


def render(notebook: Path, given: Mapping[str, Any], folder: Path, results: Any) -> None:
    """Render once with a new home in `folder`; put (error or "", kernels started twice, seconds) into `results`."""
    for name in [name for name in os.environ if FOLDERS.match(name)]:
        del os.environ[name]
    home = folder / "home"
    home.mkdir(parents=True)
    os.environ["HOME"] = str(home)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("neural_echos")
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    start, error = time.perf_counter(), ""
    try:
        output = {"output": str(folder / "artifact")}
        render_notebook(notebook, folder / "rendered.ipynb", folder / "draft.ipynb", {**given, **output})
    except EchosError as failure:
        error = str(failure)
    results.put((error, sum("trying once more" in message for message in messages), time.perf_counter() - start))


def main() -> int:
    """Render the pairs; return 1 if a render failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    parser.add_argument("--inputs", type=json.loads, default=TABLES)
    parser.add_argument("--options", type=json.loads, default='{"published": null}')
    arguments = parser.parse_args()
    given = {"inputs": arguments.inputs, "options": arguments.options, "style": {}}
    fork = multiprocessing.get_context("fork")
    done: list[tuple[str, int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(arguments.pairs):
            results = fork.SimpleQueue()
            places = [Path(folder) / f"{pair}-{one}" for one in range(arguments.at_once)]
            jobs = [fork.Process(target=render, args=(arguments.notebook, given, place, results)) for place in places]
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
            here = [results.get() for _ in jobs if not results.empty()]
            here += [("the render process died", 0, np.nan)] * (len(jobs) - len(here))
            done += here
            for error, *_ in here:
                if error:
                    print(f"pair {pair + 1}: {error}", flush=True)
            if (pair + 1) % 10 == 0:
                print(f"{pair + 1} of {arguments.pairs}: {sum(bool(one[0]) for one in done)} failed", flush=True)
    seconds = [one[2] for one in done]
    failed, again = sum(bool(one[0]) for one in done), sum(one[1] for one in done)
    print(
        f"{len(done)} renders, {arguments.at_once} at a time: {failed} failed, {again} kernels started twice; "
        f"{np.nanmedian(seconds):.1f} s per render (median), {np.nanmax(seconds):.1f} s at most"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

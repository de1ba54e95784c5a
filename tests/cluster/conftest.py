"""What tests of several engines share: the results of a local run, and a record of what was tried on which engine."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from runs import FAULTS, LONG, ONE, ROOT, RUN, SLICE, TINY, VERSIONS

RECORD = Path(__file__).with_name("last_run.json")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-engines", action="store_true", help=f"write what was tried on each engine to {RECORD.name}"
    )


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the slice with one seed, made by Snakemake's own local executor."""
    return _run(tmp_path_factory.mktemp("local"), SLICE, ONE)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that was trained in one go, by Snakemake's own local executor."""
    made = _run(tmp_path_factory.mktemp("uninterrupted"), SLICE, ONE, FAULTS, target=f"runs/{RUN}/metrics.json", **LONG)
    return made / "runs" / RUN


def _run(folder: Path, *configs: Path, target: str = "", **more: object) -> Path:
    own = folder / "own.yaml"
    places = {name: f"{folder}/{name}" for name in ("results", "logs", "benchmarks")}
    own.write_text(json.dumps({"gpu": 0, "pathvars": places} | more))
    command = [Path(sys.executable).with_name("snakemake"), "--nolock", "--cores", "2"]
    command += ["--configfile", TINY, *configs, own, "--", *([folder / "results" / target] if target else [])]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "results"


_FOUND: pytest.StashKey[list[dict[str, object]]] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    engine = getattr(item.module, "ENGINE", None)
    if engine and (report.when == "call" or report.outcome != "passed"):
        tried = item.function.__doc__ or item.name.removeprefix("test_").replace("_", " ")
        found = {"engine": engine, "version": VERSIONS.get(engine, "–"), "tried": tried}
        found |= {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "result": report.outcome,
            "seconds": round(getattr(item, "_seconds", 0) + report.duration),
        }
        if report.skipped and isinstance(report.longrepr, tuple):
            found["result"] = f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}"
        item.config.stash.setdefault(_FOUND, []).append(found)
    elif engine:
        item._seconds = report.duration  # type: ignore[attr-defined]  # what fixtures took
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was tried; engines that this session did not try keep what was written of them before."""
    found = session.config.stash.get(_FOUND, [])
    if session.config.getoption("--record-engines") and found:
        before = json.loads(RECORD.read_text()) if RECORD.exists() else []
        engines = {one["engine"] for one in found}
        RECORD.write_text(json.dumps([one for one in before if one["engine"] not in engines] + found, indent=1) + "\n")

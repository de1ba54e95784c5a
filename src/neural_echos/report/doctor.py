"""Doctor: what this machine has, what will and will not work on it, and which presets can run here. It changes nothing."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from neural_echos.design.checked import load_artifacts
from neural_echos.design.inputs import Input, load_inputs
from neural_echos.design.load import load_preset
from neural_echos.design.preset import Preset
from neural_echos.errors import EchosError
from neural_echos.inputs import mirror_folders

OK, NOTE, PROBLEM = "ok", "note", "problem"
_DISK_GB = 8  # the environment and the demo's outputs
_SCHEDULERS = {
    "sbatch": "Slurm",
    "bsub": "LSF",
    "qsub": "PBS or Grid Engine",
    "condor_submit": "HTCondor",
    "kubectl": "Kubernetes",
}
_EXECUTOR = "snakemake-executor-plugin-"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes
    ----------
    what : str
    state : str
        "ok", "note" (something will not work, or will be slow) or "problem" (the demo will not run).
    found : str
    advice : str
        What to do; "" if nothing.
    """

    what: str
    state: str
    found: str
    advice: str = ""


def examine(root: Path) -> list[Finding]:
    """Examine this machine and a checkout of the project.

    Parameters
    ----------
    root : Path
        Folder of the Snakefile.

    Raises
    ------
    EchosError
        The folder is not a checkout.
    """
    if not (root / "workflow" / "Snakefile").exists():
        raise EchosError(
            f"{root}: not a checkout of this project (no workflow/Snakefile); give the folder of one with --root"
        )
    return [*_software(root), *_machine(root), *_presets(root)]


def _software(root: Path) -> Iterator[Finding]:
    version = platform.python_version()
    enough = sys.version_info >= (3, 11)
    yield Finding("python", OK if enough else PROBLEM, version, "" if enough else "install Python 3.11 or newer")
    pinned = _pins(root / "envs" / "requirements.txt")
    wrong = [
        f"{name} {found or 'missing'} (pinned: {wanted})"
        for name, wanted in pinned.items()
        if (found := _version(name)) != wanted
    ]
    here = [name for name in wrong if "missing" not in name]
    if not wrong:
        yield Finding("packages", OK, f"all {len(pinned)} at their pinned versions")
    else:
        shown = ", ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        advice = "run python3 envs/install.py to build the pinned environment"
        yield Finding(
            "packages",
            NOTE if _version("torch") else PROBLEM,
            f"{len(here)} at another version, {len(wrong) - len(here)} missing: {shown}",
            advice,
        )


def _machine(root: Path) -> Iterator[Finding]:
    cores, memory = os.cpu_count() or 1, _memory_gb()
    yield Finding("cores", OK, str(cores))
    yield Finding("memory", OK if memory >= 6 else NOTE, f"{memory:.0f} GB", "" if memory >= 6 else "run with -j1")
    free = shutil.disk_usage(root).free / 1e9
    yield Finding(
        "disk",
        OK if free >= _DISK_GB else PROBLEM,
        f"{free:.0f} GB free",
        "" if free >= _DISK_GB else f"free {_DISK_GB} GB",
    )
    yield _gpu()
    if not os.access(root, os.W_OK):
        yield Finding("results", PROBLEM, f"no write permission in {root}", "use a copy that you own")
    found = [f"{name} ({command})" for command, name in _SCHEDULERS.items() if shutil.which(command)]
    yield Finding(
        "cluster",
        OK if found else NOTE,
        ", ".join(found) or "no scheduler command in PATH",
        "" if found else "jobs run on this machine",
    )
    yield _executors(root)
    never = [
        path.parent.name
        for path in sorted((root / "profiles").glob("*/profile.yaml"))
        if "\n# Never run" in path.read_text(encoding="utf-8")
    ]
    if never:
        yield Finding("profiles", NOTE, f"never run: {', '.join(never)}", "docs/engines.md says what was tested")


def _executors(root: Path) -> Finding:
    """Which of Snakemake's executor plugins are installed; each has a profile, and only clusters need them."""
    lines = [(root / "envs" / f"{name}.in").read_text(encoding="utf-8") for name in ("requirements", "executors")]
    names = [line for line in "\n".join(lines).splitlines() if line.startswith(_EXECUTOR)]
    there = {name: version for name in names if (version := _version(name))}
    return Finding(
        "executors",
        OK if len(there) == len(names) else NOTE,
        ", ".join(f"{name.removeprefix(_EXECUTOR)} {version}" for name, version in there.items())
        or "no executor plugin",
        "" if len(there) == len(names) else "for a cluster, install them all with python3 envs/install.py --executors",
    )


def _gpu() -> Finding:
    if not _version("torch"):
        return Finding("gpu", NOTE, "unknown, because torch is not installed")
    import torch

    if not torch.cuda.is_available():
        return Finding(
            "gpu",
            NOTE,
            "none that torch can use",
            "training runs on the CPU; the presets cifar10 and imagenet need a GPU",
        )
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Finding("gpu", OK, ", ".join(names))


def _presets(root: Path) -> Iterator[Finding]:
    declared, artifacts = load_inputs(root / "config" / "inputs.yaml"), load_artifacts(root)
    for name in (None, *sorted(path.stem for path in (root / "config" / "presets").glob("*.yaml"))):
        try:
            preset = Preset(load_preset(root, *([name] if name else []), artifacts=artifacts), artifacts=artifacts)
            lacks = list(_lacks(preset, declared, root))
        except EchosError as error:
            lacks = [str(error)]
        state = OK if not lacks else NOTE if name else PROBLEM
        yield Finding(f"preset {name}" if name else "the demo", state, "; ".join(lacks) or "can run here")


def _lacks(preset: Preset, declared: Mapping[str, Input], root: Path) -> Iterator[str]:
    """Yield what a preset needs and this machine lacks."""
    config = preset.config
    if config.gpu and "none" in (found := _gpu().found):
        yield f"needs a GPU: {found}"
    if config.memory_mb / 1000 > _memory_gb():
        yield f"a training job requires {config.memory_mb / 1000:.0f} GB of memory"
    mirrors = mirror_folders([folder if Path(folder).is_absolute() else root / folder for folder in config.mirrors])
    missing = sorted(
        name
        for name in preset.needed_inputs() - preset.optional_inputs()
        if not any((folder / declared[name].file).exists() for folder in mirrors)
    )
    fetched = [name for name in missing if declared[name].url or declared[name].kind != "file"]
    if fetched:
        yield f"will be downloaded: {', '.join(fetched)}"
    if lost := [name for name in missing if name not in fetched]:
        yield f"in no mirror folder and not downloadable: {', '.join(lost)}"
    for one in sorted(preset.needed_datasets()):
        folder = config.datasets[one].options.model_dump().get("root")
        if folder and not (root / folder).exists():
            yield f"dataset {one}: the folder {folder} does not exist"


def _pins(lock: Path) -> dict[str, str]:
    """Names and versions in a lock file that this platform needs."""
    pinned = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        found = re.match(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)\s*(;[^\\]*)?", line)
        if found and not found[3]:
            pinned[found[1]] = found[2]
    return pinned


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9

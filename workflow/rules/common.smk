"""Shared by all rules: the checked config, the tables of runs, models and artifacts, and the wildcards that they allow."""

import gc
import json
import os
import re
import sys
from pathlib import Path

from snakemake.io import sourcecache_entry

ROOT = Path(os.path.relpath(Path(workflow.current_basedir).parents[1]))
sys.path.insert(0, str(ROOT / "src"))
gc.freeze()  # imported modules stay; excluding them from garbage collection saves a tenth of the start-up

from neural_echos.code import Code
from neural_echos.design.artifact_files import ArtifactFiles
from neural_echos.design.checked import load_artifacts
from neural_echos.design.inputs import load_inputs
from neural_echos.design.load import load_workflow
from neural_echos.design.preset import Preset
from neural_echos.errors import EchosError

# Jobs use the Python that runs Snakemake (or that of an active conda environment), and this library.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    PYTHONPATH=str((ROOT / "src").absolute()),
)
# A param of every rule, so that it reruns if the code that its command imports has changed.
fingerprint = Code(cache=".snakemake/echos_code.json").fingerprint
DECLARED = load_artifacts(ROOT)
CONFIG = load_workflow(
    config,
    ROOT,
    files=[*workflow.configfiles, *workflow.overwrite_configfiles],
    command_line=workflow.config_settings.config,
    artifacts=DECLARED,
)
config.update(CONFIG.model_dump())
CONDA = (ROOT / "envs/environment.yaml").absolute()
PRESET = Preset(CONFIG, load_inputs(ROOT / "config/inputs.yaml"), DECLARED)
ARTIFACTS = ArtifactFiles(PRESET)


# The image of `make image`; used only with `--sdm apptainer`.
container: config["container"]


if not CONFIG.container and "APPTAINER" in {one.name for one in workflow.deployment_settings.deployment_method}:
    raise EchosError(
        "--sdm apptainer: the config names no image; build one with `make image`, and name it: --config container=…"
    )


def source(path):
    """A file of this repository as an input: jobs get it with the workflow's sources, never from a bucket."""
    return sourcecache_entry(str(ROOT / path), str(ROOT / path))


def alternatives(names):
    """A regular expression that matches exactly these names."""
    return "|".join(sorted(map(re.escape, names))) or "(?!)"


wildcard_constraints:
    dataset=alternatives(config["datasets"]),
    architecture=alternatives(config["architectures"]),
    initialisation=alternatives(config["initialisations"]),
    model=alternatives(PRESET.models),
    artifact=alternatives(ARTIFACTS.artifacts),
    candidates=alternatives(config["replacement"]["candidates"]),
    seed=r"\d+",


def memory(least, per_mb=0):
    """Memory of a job in MB: `least`, plus `per_mb` for each MB of its input; the second attempt gets twice as much, and so on."""
    if not per_mb:  # grouped jobs cannot use functions of their input
        return lambda wildcards, attempt: least * attempt
    return lambda wildcards, input, attempt: int((least + per_mb * input.size_mb) * attempt)

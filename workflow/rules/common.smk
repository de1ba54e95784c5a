"""What all rooms share: the checked config, the tables of runs, models and artifacts, and the wildcards that they allow."""

import json
import os
import re
import sys
from itertools import product
from pathlib import Path

ROOT = Path(os.path.relpath(Path(workflow.current_basedir).parents[1]))
sys.path.insert(0, str(ROOT / "src"))

from neural_echos.code import Code
from neural_echos.design.load import load_artifacts, load_inputs, load_workflow

# Jobs run the Python that runs Snakemake (a conda environment, where one is active, comes before it), and this library.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    PYTHONPATH=str((ROOT / "src").absolute()),
)


fingerprint = Code(
    cache=".snakemake/echos_code.json"
).fingerprint  # of the code that a command runs, for its rule's params

CONFIG = load_workflow(
    config,
    ROOT,
    files=[*workflow.configfiles, *workflow.overwrite_configfiles],
    command_line=workflow.config_settings.config,
)
config.update(CONFIG.model_dump())
INPUTS = load_inputs(ROOT / "config/inputs.yaml")
DECLARED = load_artifacts(ROOT)
CONDA = (ROOT / "envs/environment.yaml").absolute()

SEEDS = config["seeds"]
SEED_GROUPS = [SEEDS[i : i + config["seeds_per_job"]] for i in range(0, len(SEEDS), config["seeds_per_job"])]

# One cell is (dataset, architecture, initialisation); a run is a cell with a seed.
CELLS = {
    (dataset, architecture, initialisation)
    for experiment in config["experiments"]
    for dataset in experiment["datasets"]
    for architecture in experiment["architectures"]
    for initialisation in experiment["initialisations"]
}
# What becomes of trained runs: a cell, and the name of a set of filters.
CANDIDATES = config["replacement"]["candidates"]
REPLACED, ELIMINATED = (
    sorted(
        (entry["dataset"], architecture, entry["initialisation"], candidates)
        for entry in config["replacement"][part]
        for architecture in entry["architectures"]
        for candidates in entry["candidates"]
    )
    for part in ("replaced", "eliminated")
)
CELLS = sorted(CELLS | {cell[:3] for cell in (*REPLACED, *ELIMINATED)})
MODELS = {
    entry["id"]: entry
    for entry in config["models"]
    if not config["select"] or entry["id"] in config["select"] or entry["group"] in config["select"]
}
ARTIFACTS = {entry["id"]: DECLARED[entry["id"]] | entry for entry in config["artifacts"]}


def alternatives(names):
    """A regular expression that matches exactly these names."""
    return "|".join(sorted(map(re.escape, names))) or "(?!)"


wildcard_constraints:
    dataset=alternatives(config["datasets"]),
    architecture=alternatives(config["architectures"]),
    initialisation=alternatives(config["initialisations"]),
    model=alternatives(MODELS),
    artifact=alternatives(ARTIFACTS),
    candidates=alternatives(CANDIDATES),
    seed=r"\d+",


def input_file(name):
    """Where a declared input lies once it is fetched."""
    return f"<results>/inputs/{name}/{Path(INPUTS[name]['file']).name}"

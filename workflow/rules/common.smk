"""What all rooms share: the checked config, the tables of runs, models and artifacts, and the wildcards that they allow."""

import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(os.path.relpath(Path(workflow.current_basedir).parents[1]))
sys.path.insert(0, str(ROOT / "src"))

from neural_echos.config import check, check_references, load_schema, read_yaml

# Jobs run the Python that runs Snakemake (a conda environment, where one is active, comes before it), and this library.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    PYTHONPATH=str((ROOT / "src").absolute()),
)


def schema(name):
    return load_schema(ROOT / "workflow/schemas" / f"{name}.schema.yaml")


CONFIG_FILES = [*workflow.configfiles, *workflow.overwrite_configfiles]
config.update(check(config, schema("config"), files=CONFIG_FILES))
INPUTS = check(read_yaml(ROOT / "config/inputs.yaml"), schema("inputs"), files=[ROOT / "config/inputs.yaml"])
DECLARED = check(read_yaml(ROOT / "config/artifacts.yaml"), schema("artifacts"), files=[ROOT / "config/artifacts.yaml"])
check_references(config, inputs=INPUTS, artifacts=DECLARED, files=CONFIG_FILES)
CONDA = (ROOT / "envs/environment.yaml").absolute()

SEEDS = config["seeds"]
SEED_GROUPS = [SEEDS[i : i + config["seeds_per_job"]] for i in range(0, len(SEEDS), config["seeds_per_job"])]

# One cell is (dataset, architecture, initialisation); a run is a cell with a seed.
CELLS = sorted(
    {
        (dataset, architecture, initialisation)
        for experiment in config["experiments"]
        for dataset in experiment["datasets"]
        for architecture in experiment["architectures"]
        for initialisation in experiment["initialisations"]
    }
)
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
    seed=r"\d+",


def library(*modules):
    """The library's files that a rule's command uses: code is an input too."""
    return [str(ROOT / "src/neural_echos" / f"{module}.py") for module in ("tables", *modules)]


def recipe(dataset, architecture):
    """The recipe of a run: the data set's, with what the architecture changes."""
    base = config["recipes"][config["datasets"][dataset]["recipe"]]
    return json.dumps(base | config["architectures"][architecture]["recipe"])


def cell_initialisations(dataset, architecture):
    """Declared settings of every initialisation that this data set and architecture are run with."""
    names = [name for one, other, name in CELLS if (one, other) == (dataset, architecture)]
    return {name: config["initialisations"][name] for name in names}


def dataset_files(dataset, split):
    """Fetched files of one split, for data sets that are made from declared inputs."""
    return [input_file(name) for name in config["datasets"][dataset]["files"].get(split, [])]


def input_file(name):
    """Where a declared input lies once it is fetched."""
    return f"<results>/inputs/{name}/{Path(INPUTS[name]['file']).name}"


def run_folders():
    return [f"<results>/runs/{'/'.join(cell)}/seed{seed}" for cell in CELLS for seed in SEEDS]


def model_weights(wildcards):
    """The weights that a bank is extracted from."""
    entry = MODELS[wildcards.model]
    if "input" in entry:
        return input_file(entry["input"])
    run = entry["run"]
    stem = f"{run['dataset']}/{run['architecture']}/{run['initialisation']}/seed{run['seed']}"
    return (
        f"<results>/initial/{stem}.safetensors"
        if run["weights"] == "initial"
        else f"<results>/runs/{stem}/weights.safetensors"
    )


def model_layers(wildcards):
    """The JSON beside a run's initial weights, which lists the model's layers."""
    run = MODELS[wildcards.model]["run"]
    return f"<results>/initial/{run['dataset']}/{run['architecture']}/{run['initialisation']}/seed{run['seed']}.json"


def structure_models(fits, centroids):
    """What the structure measure needs to know of each bank."""
    return json.dumps(
        [
            {
                "model": name,
                "role": MODELS[name]["role"],
                "trained_on": MODELS[name]["trained_on"],
                "fits": fit,
                "centroids": centroid,
            }
            for name, fit, centroid in zip(MODELS, fits, centroids)
        ]
    )


def artifact_models(entry):
    """The models whose banks an artifact shows: those that its options name, or all."""
    options = entry["options"]
    pairs = [name for pair in options.get("pairs", []) for name in (pair["before"], pair["after"])]
    return [name for name in options.get("models", pairs) if name in MODELS] or list(MODELS)


def artifact_inputs(wildcards):
    """The tables that an artifact reads, by schema name."""
    entry = ARTIFACTS[wildcards.artifact]
    folders = {
        "bank": "banks/{model}",
        "clusters": "clusters/{model}",
        "centroids": "clusters/{model}.centroids",
        "fits": "fits/{model}",
    }
    single = {
        "runs": "evaluation/runs",
        "history": "evaluation/histories",
        "structure": "evaluation/structure",
        "verdicts": "verdicts",
    }
    return {
        name: (
            expand(f"<results>/{folders[name]}.parquet", model=artifact_models(entry))
            if name in folders
            else [f"<results>/{single[name]}.parquet"]
        )
        for name in entry["reads"]
    }


def artifact_options(wildcards):
    """An artifact's options as JSON; what the config already says elsewhere is looked up there."""
    options = dict(ARTIFACTS[wildcards.artifact]["options"])
    if "models" in options:
        options["models"] = artifact_models(ARTIFACTS[wildcards.artifact])
    if "variants" in options:
        options["variants"] = {name: config["initialisations"][name] for name in options["variants"]}
    if "scale" in ARTIFACTS[wildcards.artifact]["asks"]:
        options["scale"] = config["scale"]
    return json.dumps(options)


def artifact_files():
    formats = {"figure": "pdf", "table": "csv"}
    return [f"<results>/{entry['kind']}s/{name}.{formats[entry['kind']]}" for name, entry in ARTIFACTS.items()]


def artifacts_of(kind):
    return alternatives(name for name, entry in ARTIFACTS.items() if entry["kind"] == kind)


def index_entries(stems):
    """What the index page shows of each artifact."""
    shown = ("id", "kind", "group", "title", "caption")
    return json.dumps(
        [
            {key: entry[key] for key in shown} | {"stem": str(Path(stem).with_suffix(""))}
            for entry, stem in zip(ARTIFACTS.values(), stems)
        ]
    )

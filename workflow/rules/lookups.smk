"""What rules look up in the tables of common.smk: files, options and parameters of a wildcard."""


def dataset_files(dataset, split):
    """Fetched files of one split, for data sets that are made from declared inputs."""
    return [input_file(name) for name in config["datasets"][dataset]["files"].get(split, [])]


def cell_initialisations(dataset, architecture):
    """Declared settings of every initialisation that this data set and architecture are run with."""
    names = [name for one, other, name in CELLS if (one, other) == (dataset, architecture)]
    return {name: config["initialisations"][name] for name in names}


def recipe(dataset, architecture):
    """The recipe of a run: the data set's, with what the architecture changes."""
    base = config["recipes"][config["datasets"][dataset]["recipe"]]
    return json.dumps(base | config["architectures"][architecture]["recipe"])


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


def run_folders():
    return [f"<results>/runs/{'/'.join(cell)}/seed{seed}" for cell in CELLS for seed in SEEDS]


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

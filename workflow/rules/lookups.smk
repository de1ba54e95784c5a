"""What rules look up in the tables of common.smk: files, options and parameters of a wildcard."""


def dataset_files(dataset, split):
    """Fetched files of one split, for data sets that are made from declared inputs."""
    return [input_file(name) for name in config["datasets"][dataset]["files"].get(split, [])]


def cell_initialisations(dataset, architecture, lenders=None):
    """Initialisations that this data set and architecture are run with; only those that borrow of `lenders`, where given."""
    names = [name for one, other, name in CELLS if (one, other) == (dataset, architecture)]
    return [name for name in names if lenders in (None, lenders_of(name))]


def lenders_of(initialisation):
    """Ids of the models that an initialisation is drawn from, with the option that names each."""
    declared = config["initialisations"][initialisation]
    return tuple((option, declared[option]) for option in LENT if option != "filters" and option in declared)


def initialise_jobs():
    """(rule's name, data set, architecture, lenders): what is drawn from a model cannot be drawn with what trains that model."""
    jobs = sorted({(dataset, architecture, lenders_of(name)) for dataset, architecture, name in CELLS})
    return [
        (
            "_".join(["initialise", dataset, architecture, *(part for pair in lenders for part in pair)]),
            dataset,
            architecture,
            lenders,
        )
        for dataset, architecture, lenders in jobs
    ]


def train_jobs():
    """(rule's name, data set, architecture, initialisations that one job trains): wildcards where that is one."""
    size = config["initialisations_per_job"]
    if size == 1:
        return [("train", "{dataset}", "{architecture}", ["{initialisation}"])]
    jobs = [(job, *place, cell_initialisations(*place, lenders)) for job, *place, lenders in initialise_jobs()]
    return [
        (f"{job.replace('initialise', 'train', 1)}_{start // size}", dataset, architecture, names[start : start + size])
        for job, dataset, architecture, names in jobs
        for start in range(0, len(names), size)
    ]


# What an initialisation can be drawn from: a model's table, its weights, or a declared input.
LENT = {
    "bank": "<results>/banks/{}.parquet".format,
    "fits": "<results>/fits/{}.parquet".format,
    "centroids": "<results>/clusters/{}.centroids.parquet".format,
    "weights": lambda model: weights_of(MODELS[model]),
    "filters": input_file,
}


def lent_options(initialisation):
    """Options that name what an initialisation is drawn from."""
    return [option for option in LENT if option in config["initialisations"][initialisation]]


def borrowed_files(initialisations):
    """Files that initialisations are drawn from, in the order of `initialisation_options`."""
    named = [
        (option, config["initialisations"][name][option]) for name in initialisations for option in lent_options(name)
    ]
    return [LENT[option](lender) for option, lender in named]


def initialisation_options(initialisations, files):
    """Declared settings of initialisations as JSON, the files that they are drawn from in place of ids."""
    files = iter(files)
    return json.dumps(
        {
            name: config["initialisations"][name] | {option: str(next(files)) for option in lent_options(name)}
            for name in initialisations
        }
    )


def signal_initialisations():
    """Initialisations whose signals are measured: those whose lenders are at hand."""
    return [
        name for name in config["signals"]["initialisations"] if all(model in MODELS for _, model in lenders_of(name))
    ]


def recipe(dataset, architecture):
    """The recipe of a run: the data set's, with what the architecture changes."""
    base = config["recipes"][config["datasets"][dataset]["recipe"]]
    return json.dumps(base | config["architectures"][architecture]["recipe"])


def launcher():
    """What starts a training's Python: itself, or torchrun with a process for each GPU."""
    return f"torchrun --standalone --nproc-per-node {config['gpu']} -m --" if config["gpu"] > 1 else "python -m"


def weights_of(entry):
    """The weights that a model's bank is extracted from."""
    if "input" in entry:
        return input_file(entry["input"])
    run = entry["run"]
    stem = f"{run['dataset']}/{run['architecture']}/{run['initialisation']}/seed{run['seed']}"
    return (
        f"<results>/initial/{stem}.safetensors"
        if run["weights"] == "initial"
        else f"<results>/runs/{stem}/weights.safetensors"
    )


def model_weights(wildcards):
    return weights_of(MODELS[wildcards.model])


def model_layers(wildcards):
    """The JSON beside a run's initial weights, which lists the model's layers."""
    run = MODELS[wildcards.model]["run"]
    return f"<results>/initial/{run['dataset']}/{run['architecture']}/{run['initialisation']}/seed{run['seed']}.json"


def run_folders(dataset, architecture, initialisations, seeds):
    """Folders of runs, seed by seed."""
    stem = f"<results>/runs/{dataset}/{architecture}"
    return [f"{stem}/{initialisation}/seed{seed}" for initialisation, seed in product(initialisations, seeds)]


def all_run_folders():
    return [folder for *cell, initialisation in CELLS for folder in run_folders(*cell, [initialisation], SEEDS)]


def described_models(**files):
    """What a measure over all banks needs to know of each: its name and role, and its file of every kind."""
    entries = [
        {key: MODELS[name][key] for key in ("role", "trained_on")} | {kind: files[kind][place] for kind in files}
        for place, name in enumerate(MODELS)
    ]
    return json.dumps([{"model": name} | entry for name, entry in zip(MODELS, entries)])


def memory(least, per_mb=0):
    """Memory of a job in MB: `least`, and `per_mb` for each MB of its input; a second attempt gets twice as much, and so on."""
    if not per_mb:  # jobs that are grouped lose what reads their input
        return lambda wildcards, attempt: least * attempt
    return lambda wildcards, input, attempt: int((least + per_mb * input.size_mb) * attempt)


def patterns_options():
    """The declared settings of the autoencoder and of the clusters, as words of the command line."""
    declared = config["patterns"]
    words = [f"--{name} {declared[name]}" for name in ("clusters", "threshold", "trainings", "steps", "batch")]
    words += [f"--learning-rate {declared['learning_rate']}", f"--seed {config['seed']}"]
    words += ["--squash" if declared["squash"] else "--no-squash", "--hidden", *map(str, declared["hidden"])]
    return " ".join(words)


def asks_for_patterns():
    """Whether a claim of the preset is about named patterns: they take a training per bank."""
    return any(claim["rule"].startswith("patterns_") for claim in config["claims"])


def asks_for_structure():
    """Whether a claim of the preset is about the structure of banks: it takes their fits and clusters."""
    return any(claim["rule"] in ("structure_beats_controls", "centres_dominate") for claim in config["claims"])


def candidate_files(name):
    """Files that a set of filters is made from, by option."""
    declared = CANDIDATES[name]
    files = {"bank": "<results>/banks/{}.parquet".format, "filters": input_file}
    return {option: files[option](declared[option]) for option in files if option in declared}


def candidate_options(name, files):
    """A declared set of filters as JSON, the files that it is made from in place of ids."""
    return json.dumps(CANDIDATES[name] | dict(zip(candidate_files(name), map(str, files))))


def tuning_recipe(dataset, architecture):
    """The recipe of a fine-tuning: the declared one, or the data set's, with what the architecture changes."""
    name = config["replacement"]["recipe"] or config["datasets"][dataset]["recipe"]
    return json.dumps(config["recipes"][name] | config["architectures"][architecture]["recipe"])


def transfer_files(cells, table):
    """Tables of what became of trained runs."""
    return [
        f"<results>/transfer/{'/'.join(cell)}.{number}.{table}.parquet"
        for cell in cells
        for number in range(len(SEED_GROUPS))
    ]


def filters_file(wildcards):
    """The eight master key filters that this preset declares."""
    if config["filters"] is None:
        raise WorkflowError(
            "config: expected the id of an input under 'filters', found null; name the master key filters"
        )
    return input_file(config["filters"])


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
        "choices": "clusters/{model}.choices",
        "fits": "fits/{model}",
        "matches": "matches/{model}",
        "patterns": "patterns/{model}",
        "pattern_centroids": "patterns/{model}.centroids",
    }
    single = {
        "runs": "evaluation/runs",
        "history": "evaluation/histories",
        "comparisons": "evaluation/comparisons",
        "structure": "evaluation/structure",
        "explained": "evaluation/explained",
        "pattern_shares": "evaluation/pattern_shares",
        "spread": "scale_space/spread",
        "scales": "scale_space/scales",
        "verdicts": "verdicts",
    }
    files = {name: [f"<results>/{path}.parquet"] for name, path in single.items()} | {
        name: expand(f"<results>/{path}.parquet", model=artifact_models(entry)) for name, path in folders.items()
    }
    files["ablated"] = [
        f"<results>/ablated/{dataset}/{architecture}/{initialisation}.parquet"
        for entry in config["zeroed"]
        for dataset in entry["datasets"]
        for architecture in entry["architectures"]
        for initialisation in entry["initialisations"]
    ]
    files["signals"] = expand(
        "<results>/signals/{architecture}.parquet", architecture=config["signals"]["architectures"]
    )
    files["replacements"] = transfer_files(REPLACED, "replacements")
    files["replacement_errors"] = transfer_files(REPLACED, "errors")
    files["eliminations"] = transfer_files(ELIMINATED, "eliminations")
    return {name: files[name] for name in entry["reads"]}


def variant(initialisation):
    """What the config declares of an initialisation, and of the model that lends its kernels or weights."""
    declared = config["initialisations"][initialisation]
    for _, model in lenders_of(initialisation):
        run = MODELS[model].get("run", {})
        declared = declared | {"trained_on": MODELS[model]["trained_on"], "of": run.get("architecture", model)}
    return declared


def artifact_options(wildcards):
    """An artifact's options as JSON; what the config already says elsewhere is looked up there."""
    options = dict(ARTIFACTS[wildcards.artifact]["options"])
    if "models" in options:
        options["models"] = artifact_models(ARTIFACTS[wildcards.artifact])
    if "variants" in options:
        options["variants"] = {name: variant(name) for name in options["variants"]}
    if "scale" in ARTIFACTS[wildcards.artifact]["asks"]:
        options["scale"] = config["scale"]
    return json.dumps(options)


def artifact_files():
    formats = {"figure": "pdf", "table": "csv"}
    return [f"<results>/{entry['kind']}s/{name}.{formats[entry['kind']]}" for name, entry in ARTIFACTS.items()]


def artifacts_of(kind):
    return alternatives(name for name, entry in ARTIFACTS.items() if entry["kind"] == kind)


def report_entries(stems):
    """What the report shows of each artifact."""
    shown = ("id", "kind", "group", "title", "caption")
    return json.dumps(
        [
            {key: entry[key] for key in shown} | {"stem": str(Path(stem).with_suffix(""))}
            for entry, stem in zip(ARTIFACTS.values(), stems)
        ]
    )

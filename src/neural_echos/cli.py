"""The `echos` command line: every rule of the workflow is one of these commands, and each can be typed by hand.

Files are read and written here and in the rooms' own readers; heavy imports wait for their command.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import provenance, read_json, sha256, write_json

_LOG = logging.getLogger("neural_echos")
_MATCHED = 1 << 17  # kernels between two signs of progress

EXIT_CODES = {
    0: "done",
    1: "an input cannot be used, or a file not written: one sentence on standard error says what was expected, found, and to do",
    2: "the command was mistyped: its usage, and one sentence",
    75: "a training was told to stop by SIGTERM or SIGUSR1: it wrote a checkpoint, and the same command goes on",
    130: "interrupted (Ctrl-C): run the same command to go on",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `echos` command and return its exit code."""
    # Idle OpenMP threads must sleep: two jobs on two cores run up to 15 times slower where they spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    # Figures have their own style: the user's matplotlibrc and backend are not read.
    os.environ["MATPLOTLIBRC"] = os.devnull
    os.environ.pop("MPLBACKEND", None)
    command = "echos"
    try:
        _log_to(None)
        options = make_parser().parse_args(arguments)
        command = options.command.__name__
        _check_output(options)
        _log_to(options.log)
        options.command(options)
    except EchosError as error:
        _LOG.error("%s", error)
        return error.code
    except OSError as error:
        where, found = error.filename2 or error.filename or command, error.strerror or error
        _LOG.error(
            "%s: expected to read or write there, found %s; check path, permissions and free space", where, found
        )
        return 1
    except KeyboardInterrupt:
        _LOG.error("interrupted; run the same command to go on")
        return 130
    except Exception:
        _LOG.exception("%s failed: this is a defect of echos, not of your input; please report it", command)
        return 1
    return 0


def _check_output(options: argparse.Namespace) -> None:
    """Raise an `EchosError` where a command would write its output over one of its inputs, or over another output."""
    output = getattr(options, "output", None)
    if not isinstance(output, Path):
        return
    for name, value in vars(options).items():
        paths = value if isinstance(value, list) else [value]
        if name != "output" and any(isinstance(path, Path) and path.resolve() == output.resolve() for path in paths):
            raise EchosError(
                f"{output}: expected an output of its own, found the same file as {name}; name another output"
            )


def _log_to(path: Path | None) -> None:
    """Send records and warnings to standard error, or all of them to a file and only errors to standard error.

    Of several processes that train together, the first writes the file.
    """
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("echos: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if path:
        terminal.setLevel(logging.ERROR)
    if path and not int(os.environ.get("RANK", "0")):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="w", encoding="utf-8", errors="surrogateescape")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)  # other libraries' chatter stays out
    _LOG.setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it would tell where its cache is
    logging.raiseExceptions = False  # a log on a full disk must not hide the sentence about it
    logging.captureWarnings(True)


def fetch(options: argparse.Namespace) -> None:
    """Fetch one declared input, from a mirror folder or its URL, and check it."""
    from neural_echos import inputs

    declared = inputs.load_inputs(options.declared)
    if options.id not in declared:
        from neural_echos.errors import nearest

        raise EchosError(
            f"{options.declared}: expected an input {options.id!r}, found none{nearest(options.id, declared)}"
        )
    facts = inputs.fetch(declared[options.id], options.output, inputs.mirror_folders(options.mirror))
    write_json(f"{options.output}.json", provenance({}, **facts))
    _LOG.info("%s: from %s", options.output, facts["source"])


def dataset(options: argparse.Namespace) -> None:
    """Make a data set file: photographs, digits, or images in Parquet, archives, folders or tar shards."""
    from neural_echos import datasets

    files = {"train": options.train, "test": options.test} if options.train or options.test else None
    made, facts = datasets.make_dataset(options.kind, options.options, options.seed, files)
    datasets.save_dataset(options.output, made, facts)
    _LOG.info(
        "%s: %d train and %d test images, %d classes",
        options.output,
        len(made.train_labels),
        len(made.test_labels),
        len(made.classes),
    )


def extract(options: argparse.Namespace) -> None:
    """Extract the bank of a checkpoint, reading only the kernels."""
    from neural_echos import kernels
    from neural_echos.tables import write_table

    layers = None
    if options.layers:
        made = read_json(options.layers)
        layers = kernels.layers_from_json(made.get("layers") if isinstance(made, dict) else made, options.layers)
    elif options.timm:
        layers = _layers_of_timm_model(options.timm)
    bank = kernels.bank_from_checkpoint(
        options.weights, options.model, layers=layers, regular_per_layer=options.regular_per_layer
    )
    write_table(options.output, bank, "bank")
    _LOG.info("%s: %d kernels", options.output, bank.num_rows)


def survey(options: argparse.Namespace) -> None:
    """List every timm model with depthwise kernels, and its pretrained weights; nothing is downloaded."""
    from neural_echos.files import write_text
    from neural_echos.kernels import survey as zoo

    table = zoo.survey(progress=True)
    zoo.write_survey(options.output, table)
    if options.page:
        write_text(options.page, zoo.render_page(table))
    _LOG.info("%s: %d rows", options.output, table.num_rows)


def show(options: argparse.Namespace) -> None:
    """Show the kernels of a model's layers: of a bank, a checkpoint, or a timm model with pretrained weights on the hub."""
    from neural_echos.artifacts import contact_sheet

    if options.output.suffix.lstrip(".") not in ("png", "pdf", "svg"):
        raise EchosError(f"{options.output}: expected a figure ending in .png, .pdf or .svg, found another; rename it")
    sheet = contact_sheet(_bank_of(options), layer=options.layer, kernels=options.kernels, kind=options.kind)
    sheet.save_figure(options.output)
    _LOG.info("%s: %s", options.output, sheet.says)


def cluster(options: argparse.Namespace) -> None:
    """Cluster a bank's kernels with k-means and name the clusters."""
    from neural_echos.structure import kmeans as clusters
    from neural_echos.tables import read_table, write_table

    assigned, centroids, choices, report = clusters.cluster_bank(
        read_table(options.bank, "bank"),
        k=options.k,
        restarts=options.restarts,
        seed=options.seed,
        threshold=options.threshold,
    )
    write_table(options.centroids, centroids, "centroids")
    if options.choices:
        write_table(options.choices, choices, "choices")
    write_table(options.output, assigned, "clusters")
    _LOG.info("%s: %s", options.output, report)


def fit(options: argparse.Namespace) -> None:
    """Fit the Difference-of-Gaussians family to every kernel of a bank."""
    from neural_echos import receptive_fields
    from neural_echos.tables import read_batches, write_batches

    report: dict[str, dict[str, int]] = {}
    bank = read_batches(options.bank, "bank", progress=True)
    fits = receptive_fields.fit_batches(bank, report, seed=options.seed, threshold=options.threshold)
    write_batches(options.output, fits, "fits")
    _LOG.info("%s: %s", options.output, report)


def scales(options: argparse.Namespace) -> None:
    """Measure the spread of the eight master key filters, and fit the scales of their ideal models."""
    from neural_echos import receptive_fields
    from neural_echos.tables import write_table

    filters = receptive_fields.read_filters(options.filters)
    write_table(options.spread, receptive_fields.measure_filters(filters), "spread")
    fitted = receptive_fields.fit_scales(filters)
    write_table(options.output, fitted, "scales")
    _LOG.info("%s: %d fits", options.output, fitted.num_rows)


def match(options: argparse.Namespace) -> None:
    """Fit the DoG, the Gaussian and its derivatives to every kernel of a bank, and to shuffled taps."""
    from neural_echos import receptive_fields
    from neural_echos.tables import read_batches, write_batches

    report: dict[str, dict[str, int]] = {}
    matches = receptive_fields.match_batches(
        read_batches(options.bank, "bank", rows=_MATCHED, progress=True),
        report,
        seed=options.seed,
        null_every=options.null_every,
        rivals=options.rivals,
        processes=options.threads,
    )
    write_batches(options.output, matches, "matches")
    _LOG.info("%s: %s", options.output, report)


def explained(options: argparse.Namespace) -> None:
    """Measure how much of their variance receptive-field models explain in banks."""
    from neural_echos import evaluation
    from neural_echos.tables import write_table

    made = evaluation.explained(options.models)
    write_table(options.output, made, "explained")
    _LOG.info("%s: %d banks by size", options.output, made.num_rows)


def patterns(options: argparse.Namespace) -> None:
    """Put a bank's kernels, or several banks' together, in a row by an autoencoder, and name what lies along it."""
    import pyarrow as pa
    import torch

    from neural_echos.structure.patterns import Settings, pattern_batches
    from neural_echos.tables import SCHEMAS, read_batches, write_batches, write_table

    torch.set_num_threads(options.threads)
    centroids = [SCHEMAS["pattern_centroids"].empty_table()]
    report: dict[str, dict[str, Any]] = {}
    found = pattern_batches(
        lambda: (batch for path in options.bank for batch in read_batches(path, "bank")),
        centroids,
        report,
        clusters=options.clusters,
        threshold=options.threshold,
        seed=options.seed,
        trainings=options.trainings,
        settings=Settings(
            hidden=tuple(options.hidden),
            squash=options.squash,
            steps=options.steps,
            batch=options.batch,
            learning_rate=options.learning_rate,
        ),
    )
    write_batches(options.output, found, "patterns")
    write_table(options.centroids, pa.concat_tables(centroids).combine_chunks(), "pattern_centroids")
    _LOG.info("%s: %s", options.output, report)


def shares(options: argparse.Namespace) -> None:
    """Count the kernels of banks with a named pattern, at every threshold, and with shuffled taps."""
    from neural_echos.structure.pattern_shares import pattern_shares
    from neural_echos.tables import write_table

    made = pattern_shares(options.models, threshold=options.threshold)
    write_table(options.output, made, "pattern_shares")
    _LOG.info("%s: %d shares", options.output, made.num_rows)


def structure(options: argparse.Namespace) -> None:
    """Measure the structure of banks against shuffled taps."""
    from neural_echos import evaluation
    from neural_echos.tables import write_table

    made = evaluation.structure(options.models)
    write_table(options.output, made, "structure")
    _LOG.info("%s: %d banks by size", options.output, made.num_rows)


def initialise(options: argparse.Namespace) -> None:
    """Write initial weights, one file for each initialisation and seed, and beside each what was done."""
    from neural_echos import datasets, kernels
    from neural_echos.files import write_tensors
    from neural_echos.initialisations import universal

    _check_schemes(options.initialisations)
    outputs = _initial_outputs(options)
    data = datasets.load_dataset(options.data)
    for name, seed, model, report in _initialised(options, data):
        output = outputs[name, seed]
        write_tensors(output, model.state_dict())
        declared = options.initialisations[name]
        write_json(
            output.with_suffix(".json"),
            provenance(
                {"data": options.data} | _lent(declared),
                layers=kernels.layers_to_json(kernels.layers_of(model)),
                did=[vars(entry) for entry in report],
                model=options.model,
                kwargs=options.kwargs,
                initialisation=declared,
                universal=universal.describe_universal(declared, seed),
                seed=seed,
            ),
        )
        _LOG.info("%s: %s, %d layers", output, declared["scheme"], len(report))


def signals(options: argparse.Namespace) -> None:
    """Measure what initialisations do to images and gradients, layer by layer, before any training."""
    import pyarrow as pa

    from neural_echos import datasets
    from neural_echos.initialisations.signal_propagation import batch_of, measure_signals, signals_table
    from neural_echos.tables import write_table

    _check_schemes(options.initialisations)
    data = datasets.load_dataset(options.data)
    images, labels = batch_of(data, options.images)
    parts = []
    for name, seed, model, report in _initialised(options, data):
        measured = measure_signals(model, images, labels)
        run = {"dataset": options.dataset, "architecture": options.architecture, "initialisation": name, "seed": seed}
        parts.append(signals_table(measured, {entry.layer: entry.replaced for entry in report}, run))
    write_table(options.output, pa.concat_tables(parts), "signals")
    _LOG.info("%s: %d initialisations, %d seeds", options.output, len(options.initialisations), len(options.seeds))


def train(options: argparse.Namespace) -> None:
    """Train one or several runs from initial weights; one that was killed, or stopped by SIGTERM or SIGUSR1, goes on from there."""
    from neural_echos import datasets, training
    from neural_echos.initialisations import universal

    if len(options.initialisation) not in (1, len(options.run)):
        raise EchosError(
            f"--initialisation: expected one name for all runs, or one for each of {len(options.run)}, found "
            f"{len(options.initialisation)}; name each"
        )
    names = options.initialisation * (len(options.run) if len(options.initialisation) == 1 else 1)
    data = datasets.load_dataset(options.data)
    recipe = training.Recipe.from_dict(options.recipe)
    for (initial, folder), initialisation in zip(_runs(options), names, strict=True):
        made = _made(initial)
        model = _network(made, initial, data, recipe, "initial weights", "make them again with echos initialise")
        if made.get("universal"):
            universal.reparameterise_(model, made["universal"])
        frozen = [entry["layer"] for entry in made["did"] if entry["frozen"]]
        for layer in frozen:
            model.get_submodule(layer).weight.requires_grad_(False)
        inputs = {"data": options.data, "initial": initial}
        identity = {
            "frozen": frozen,
            "recipe": asdict(recipe),
            "seed": made["seed"],
            "universal": made.get("universal"),
            **{key: sha256(path) for key, path in inputs.items()},
        }
        labels = {
            "dataset": options.dataset,
            "architecture": options.architecture,
            "initialisation": initialisation,
        }
        watchers: list[training.Watcher] = (
            [training.Events(options.tensorboard / folder.name)] if options.tensorboard else []
        )
        if sys.stderr.isatty() and not options.log:
            watchers.append(training.LiveBar())
        result = training.train(
            model,
            data,
            recipe,
            seed=made["seed"],
            folder=folder,
            key=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
            device=options.device,
            threads=options.threads,
            labels=labels,
            watchers=watchers,
        )
        if result.metrics["diverged"]:
            _LOG.warning(
                "%s: expected a finite loss, found %s in epoch %d of %d at lr %g: the run diverged, its history is kept; lower "
                "lr, or set clip_grad or warmup_epochs",
                folder,
                result.history[-1]["train_loss"],
                len(result.history),
                recipe.epochs,
                recipe.lr,
            )
        universal.plain_(model)
        training.write_run(
            folder,
            model,
            result,
            recipe=recipe,
            seed=made["seed"],
            kernel_size=_kernel_size(made["layers"]),
            inputs=inputs,
            **labels,
        )


def replace(options: argparse.Namespace) -> None:
    """Replace the depthwise kernels of trained runs by the best of a set of filters, and score every stage of it."""
    import pyarrow as pa
    import torch

    from neural_echos.tables import SCHEMAS, write_table
    from neural_echos.transfer import replacement

    torch.set_num_threads(options.threads)
    data, recipe, runs = _trained_runs(options)
    stages, errors = [], []
    for initial, folder in runs:
        made = _made(initial)
        weights = _weights_of(folder)
        filters, resample = _filters_of(options.candidates, made["seed"])
        identity = {"recipe": asdict(recipe), "run": sha256(weights), "data": sha256(options.data)}
        identity |= {"filters": "kept" if filters is None else filters.tolist()}
        model = _network(made, weights, data, recipe, "trained weights", "train that run again")
        scores, left = replacement.replacement_stages(
            model,
            filters,
            data,
            recipe,
            seed=made["seed"],
            folder=options.output.parent / f".{options.name}" / f"seed{made['seed']}",
            key=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest(),
            resample=resample,
            batch_norm_images=options.batch_norm_images,
            device=options.device,
            threads=options.threads,
        )
        row = _transfer_row(options, made["seed"]) | {"filters": None if filters is None else len(filters)}
        stages += [row | {"test_images": len(data.test_labels)} | score for score in scores]
        errors += [row | asdict(one) for one in left]
        _LOG.info("%s: %s", folder, ", ".join(f"{score['stage']} {100 * score['top1']:.1f} %" for score in scores))
    write_table(
        options.errors, pa.Table.from_pylist(errors, schema=SCHEMAS["replacement_errors"]), "replacement_errors"
    )
    write_table(options.output, pa.Table.from_pylist(stages, schema=SCHEMAS["replacements"]), "replacements")


def eliminate(options: argparse.Namespace) -> None:
    """Take filters out of a set one by one, the least missed first, and exchange the survivors for their neighbours."""
    import pyarrow as pa
    import torch

    from neural_echos import training
    from neural_echos.initialisations.signal_propagation import batch_of
    from neural_echos.tables import SCHEMAS, write_table
    from neural_echos.transfer import replacement

    data, recipe, runs = _trained_runs(options)
    device = training.pick_device(options.device)
    torch.set_num_threads(options.threads)
    images, labels = (part.to(device) for part in batch_of(data, options.images, recipe.image_size))
    rows = []
    for initial, folder in runs:
        made = _made(initial)
        filters, resample = _filters_of(options.candidates, made["seed"])
        if filters is None:
            raise EchosError(f"eliminate {options.name}: expected a set of filters, found 'kept'; name a set")
        weights = _weights_of(folder)
        model = _network(made, weights, data, recipe, "trained weights", "train that run again").to(device)
        found = replacement.eliminate(
            model,
            filters,
            images,
            labels,
            elbow=options.elbow,
            neighbours=options.neighbours,
            checks=options.checks,
            test=lambda model: training.score_run(model, data, recipe, device=device, threads=options.threads)[:2],
            resample=resample,
        )
        row = _transfer_row(options, made["seed"]) | {"images": len(labels), "test_images": len(data.test_labels)}
        rows += [row | one for one in found]
        _LOG.info("%s: %d of %d filters at the elbow", folder, *_elbow_of(found))
    write_table(options.output, pa.Table.from_pylist(rows, schema=SCHEMAS["eliminations"]), "eliminations")


def zero(options: argparse.Namespace) -> None:
    """Evaluate finished runs with the kernels of each depthwise layer set to 0 in turn."""
    import pyarrow as pa

    from neural_echos import datasets, training
    from neural_echos.tables import SCHEMAS, read_table, write_table
    from neural_echos.transfer.zeroing import zero_layers

    data = datasets.load_dataset(options.data)
    parts = [SCHEMAS["ablated"].empty_table()]
    for initial, folder in _runs(options):
        if read_json(folder / "metrics.json").get("diverged"):
            _LOG.warning("%s: expected a finished run, found one that diverged; left out", folder)
            continue
        recipe = training.Recipe.from_dict(read_json(folder / "run.json")["recipe"])
        model = _network(_made(initial), _weights_of(folder), data, recipe, "trained weights", "train that run again")
        keys = ["dataset", "architecture", "initialisation", "seed"]
        run = read_table(folder / "history.parquet", "history", keys).slice(0, 1).to_pylist()[0]
        parts.append(zero_layers(model, data, recipe, run, device=options.device, threads=options.threads))
    table = pa.concat_tables(parts)
    write_table(options.output, table, "ablated")
    _LOG.info("%s: %d layers of %d runs", options.output, table.num_rows, len(options.run))


def plan(options: argparse.Namespace) -> None:
    """Say what the trainings of a preset will cost, from a calibration on this machine; nothing is started."""
    import torch

    from neural_echos import datasets
    from neural_echos.design.config import load_preset
    from neural_echos.training import cost as planning
    from neural_echos.training import pick_device

    config = load_preset(options.root, *options.preset)
    folder = options.root / config["pathvars"]["results"] / "datasets"
    made = {name: folder / f"{name}.safetensors" for name in config["datasets"]}
    shapes = {name: datasets.dataset_shape(path) for name, path in made.items() if path.exists()}
    work = planning.list_work(config, shapes)
    device = pick_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {options.threads} threads"
    given = {"seconds": options.seconds, "device": device, "threads": options.threads}
    costs = list(planning.estimate(work, **given))
    total = planning.summarise(costs, devices=options.devices, watts=options.watts)
    print((planning.plan_json if options.json else planning.render_plan)(costs, total, name))


def explain(options: argparse.Namespace) -> None:
    """Say what made a result: its steps, sources, commit and machine, and the command that makes it again."""
    from neural_echos.report import explain as explaining

    found = explaining.explain(options.path, options.root)
    print((explaining.explanation_json if options.json else explaining.render_explanation)(found))


def doctor(options: argparse.Namespace) -> None:
    """Say what this machine has, what will not work on it, and which presets can run here; nothing is changed."""
    from neural_echos.doctor import PROBLEM, examine

    findings = examine(options.root)
    if options.json:
        print(json.dumps([vars(one) for one in findings], indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for head in ("what", "state", "found", "what to do"):
            table.add_column(head, overflow="fold", no_wrap=head in ("what", "state"))
        for one in findings:
            table.add_row(one.what, one.state, one.found, one.advice)
        Console().print(table)
    problems = [one.what for one in findings if one.state == PROBLEM]
    if problems:
        raise EchosError(
            f"doctor: expected a machine that can run the demo, found problems with {', '.join(problems)}; see above"
        )


def evaluate(options: argparse.Namespace) -> None:
    """Gather finished runs and compare initialisations, paired by seed."""
    from neural_echos import evaluation
    from neural_echos.tables import write_table

    runs, histories = evaluation.gather_runs(options.run), evaluation.gather_histories(options.run)
    compared = evaluation.compare(
        runs.to_pandas(), histories.to_pandas(), baselines=options.baselines, target=options.target
    )
    write_table(options.comparisons, compared, "comparisons")
    write_table(options.histories, histories, "history")
    write_table(options.output, runs, "runs")
    _LOG.info("%s: %d runs", options.output, runs.num_rows)


def verdicts(options: argparse.Namespace) -> None:
    """Give every claim its verdict, by the decision rules of the config."""
    import pyarrow as pa

    from neural_echos.tables import SCHEMAS, read_table, write_table
    from neural_echos.verdicts import decide

    paths = {"runs": options.runs, "structure": options.structure, "pattern_shares": options.shares}
    tables = {
        name: (read_table(path, name) if path else SCHEMAS[name].empty_table()).to_pandas()
        for name, path in paths.items()
    }
    replaced = [read_table(path, "replacements") for path in options.replacements]
    tables["replacements"] = pa.concat_tables([SCHEMAS["replacements"].empty_table(), *replaced]).to_pandas()
    made = decide(options.claims, tables, options.scale)
    write_table(options.output, made, "verdicts")
    _LOG.info("%s: %d verdicts", options.output, made.num_rows)


def render(options: argparse.Namespace) -> None:
    """Execute an artifact's notebook, which writes the artifact's files; keeps the rendered notebook."""
    from neural_echos.artifacts.rendering import render_notebook

    parameters = {"inputs": options.inputs, "options": options.options, "output": str(options.output)}
    render_notebook(options.notebook, options.rendered, options.draft, parameters)


def paper(options: argparse.Namespace) -> None:
    """Copy artifacts as a manuscript includes them: figures as PDF, tables as LaTeX, and a manuscript around them."""
    from neural_echos.report import write_paper

    write_paper(options.output, options.artifacts, options.title)
    _LOG.info("%s: %d artifacts", options.output, len(options.artifacts))


def report(options: argparse.Namespace) -> None:
    """Write the page that a reader opens first: verdicts, every artifact with what made it, and what the work was."""
    from neural_echos.report import write_report

    write_report(
        options.output,
        options.artifacts,
        verdicts=options.verdicts,
        config=options.config,
        benchmarks=options.benchmarks,
        root=options.root,
    )
    _LOG.info("%s: %d artifacts", options.output, len(options.artifacts))


def crate(options: argparse.Namespace) -> None:
    """Write a results folder as a zipped RO-Crate, with the workflow and what made every artifact."""
    from neural_echos.report import write_crate

    held = write_crate(options.results, options.output, options.root)
    _LOG.info("%s: %d results", options.output, held)


def _initialised(options: argparse.Namespace, data: Any) -> Iterator[tuple[str, int, Any, list[Any]]]:
    """Yield (name, seed, network, report of every depthwise layer) for each initialisation and seed of the command."""
    import torch

    from neural_echos import architectures, initialisations

    torch.set_num_threads(options.threads)
    for name, declared in options.initialisations.items():
        for seed in options.seeds:
            torch.manual_seed(seed)
            model = architectures.create(
                options.model, num_classes=len(data.classes), in_chans=data.channels, kwargs=options.kwargs
            )
            settings = {key: value for key, value in declared.items() if key != "scheme"}
            # The default needs no depthwise layers: a regular network has it too.
            if declared["scheme"] == "pointwise":
                report = initialisations.init_pointwise_(model, seed=seed, **settings)
            elif declared["scheme"] == "default" and not settings.get("frozen"):
                initialisations.check_settings("default", seed=seed, **settings)
                report = []
            else:
                report = initialisations.init_depthwise_(model, declared["scheme"], seed=seed, **settings)
            yield name, seed, model, report


def _check_schemes(declared: dict[str, Any]) -> None:
    for name, one in declared.items():
        if not isinstance(one, dict) or not isinstance(one.get("scheme"), str):
            raise EchosError(f"initialisation {name!r}: expected an object with a scheme, found {one}; name a scheme")
        if taken := {"model", "name", "seed"} & one.keys():
            raise EchosError(
                f"initialisation {name!r}: expected options of a scheme, found {min(taken)!r}, which the command sets; take it out"
            )


def _lent(declared: dict[str, Any]) -> dict[str, str]:
    """The files that an initialisation is drawn from, by option."""
    lenders = ("bank", "fits", "centroids", "weights", "filters")
    return {option: declared[option] for option in lenders if isinstance(declared.get(option), str)}


def _initial_outputs(options: argparse.Namespace) -> dict[tuple[str, int], Path]:
    """Where each initialisation and seed goes; checked before any is drawn."""
    runs = [(name, seed) for name in options.initialisations for seed in options.seeds]
    try:
        outputs = {(name, seed): Path(options.output.format(initialisation=name, seed=seed)) for name, seed in runs}
    except (LookupError, ValueError, AttributeError):
        outputs = {}
    # A JSON of the same name is written beside each.
    if any(path.suffix != ".safetensors" for path in outputs.values()):
        raise EchosError(f"--output: expected a path that ends in .safetensors, found {options.output!r}; rename it")
    if len(set(outputs.values())) < len(runs):
        raise EchosError(
            f"--output: expected a path with {{initialisation}} and {{seed}}, a different one for each of {len(runs)}, "
            f"found {options.output!r}; put them in"
        )
    return outputs


def _made(initial: Path) -> dict[str, Any]:
    """Read the JSON beside initial weights."""
    path = initial.with_suffix(".json")
    made = read_json(path)
    missing = {"model", "kwargs", "seed", "layers", "did"} - set(made if isinstance(made, dict) else ())
    if missing:
        raise EchosError(
            f"{path}: expected what echos initialise wrote, found nothing about {', '.join(sorted(missing))}; make it again"
        )
    return made


def _network(made: dict[str, Any], weights: Path, data: Any, recipe: Any, what: str, remedy: str) -> Any:
    """Build the network that `made`, the JSON beside initial weights, tells of, and load weights into it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from neural_echos import architectures

    kwargs = made["kwargs"] | recipe.model_kwargs()
    model = architectures.create(made["model"], num_classes=len(data.classes), in_chans=data.channels, kwargs=kwargs)
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, OSError, RuntimeError) as error:
        found = " ".join(str(error).split())[:200]
        raise EchosError(f"{weights}: expected {what} of {made['model']}, found {found}; {remedy}") from None
    return model


def _trained_runs(options: argparse.Namespace) -> tuple[Any, Any, list[tuple[Path, Path]]]:
    """Data set, recipe, and (initial weights, folder) of every run that filters are put into."""
    from neural_echos import datasets, training

    runs = _runs(options)
    return datasets.load_dataset(options.data), training.Recipe.from_dict(options.recipe), runs


def _runs(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    """(initial weights, folder) of every run that a command names."""
    if len(options.initial) != len(options.run):
        raise EchosError(
            f"--run: expected one for each of {len(options.initial)} initial weights, found {len(options.run)}; name each"
        )
    return list(zip(options.initial, options.run, strict=True))


def _weights_of(run: Path) -> Path:
    """The weights of a trained run."""
    if not (run / "metrics.json").is_file() or not (run / "weights.safetensors").is_file():
        raise EchosError(f"{run}: expected a finished run with its weights, found none; train it first")
    return run / "weights.safetensors"


def _filters_of(declared: dict[str, Any], seed: int) -> tuple[Any, bool]:
    """The filters of a declared set, None where kernels are to be kept, and whether they may be resampled."""
    from neural_echos.initialisations.candidates import candidate_set

    settings = {key: value for key, value in declared.items() if key != "resample"}
    kept = settings == {"set": "kept"}
    return None if kept else candidate_set(settings, seed=seed), bool(declared.get("resample", False))


def _transfer_row(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    names = {key: getattr(options, key) for key in ("dataset", "architecture", "initialisation")}
    return {**names, "seed": seed, "candidates": options.name}


def _elbow_of(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """Number of filters at the elbow, and of the whole set."""
    return next(row["filters"] for row in rows if row["elbow"]), rows[1]["filters"]


def _kernel_size(layers: list[dict[str, Any]]) -> int:
    """Side of the largest depthwise kernels, or of the largest regular ones where there are none."""
    depthwise = [layer["kernel_height"] for layer in layers if layer["kind"] == "depthwise"]
    return max(depthwise or [layer["kernel_height"] for layer in layers])


def _bank_of(options: argparse.Namespace) -> Any:
    """The bank of what `show` is asked for: a bank's or a checkpoint's path, or the name of a timm model on the hub."""
    from tempfile import TemporaryDirectory

    from neural_echos import kernels
    from neural_echos.inputs import hub
    from neural_echos.tables import read_table

    path = Path(options.model)
    if path.suffix == ".parquet":
        return read_table(path, "bank")
    if path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        layers = _layers_of_timm_model(options.timm) if options.timm else None
        return kernels.bank_from_checkpoint(path, path.stem, layers=layers)
    if path.is_file():
        raise EchosError(
            f"{path}: expected a bank (.parquet) or a checkpoint (.safetensors, .pth, .pt, .bin), found "
            f"{path.suffix or 'no suffix'!r}; rename or convert it"
        )
    layers = _layers_of_timm_model(options.model)
    repository = _hub_repository(options.model)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        try:
            hub.download_kernels(repository, "model.safetensors", weights, revision=None)
        except hub.HubError as error:
            raise EchosError(
                f"{options.model}: expected its kernels from the hub, found {error}; give a path of a bank or checkpoint instead"
            ) from None
        return kernels.bank_from_checkpoint(weights, options.model, layers=layers)


def _hub_repository(model: str) -> str:
    """Where the pretrained weights of a timm model lie on the hub."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(model)
    if config is None or not config.hf_hub_id:
        raise EchosError(
            f"{model}: expected a timm model with pretrained weights on the hub, found none; "
            "give the path of a bank or a checkpoint, or a name of config/survey.csv"
        )
    return str(config.hf_hub_id)


def _layers_of_timm_model(name: str) -> list[Any]:
    import torch

    from neural_echos import architectures, kernels

    with torch.device("meta"):
        return kernels.layers_of(architectures.create(name, num_classes=1000, in_chans=3))


def _whole(least: int) -> Callable[[str], int]:
    """Reader of a whole number from `least` to the largest seed that every library takes."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 1 << 32:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {(1 << 32) - 1}, found {text!r}")
        return int(text)

    return read


def _json(text: str) -> Any:
    """Read JSON given on the command line, or from a file given as @path."""
    try:
        return read_json(text[1:]) if text.startswith("@") else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON or @file, found {text!r} ({error})") from None


def _json_object(text: str) -> Any:
    value = _json(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, found {text!r}")
    return value


def _json_list_of(*keys: str) -> Callable[[str], Any]:
    """Reader of a JSON list of objects that have all `keys`."""

    def read(text: str) -> Any:
        value = _json(text)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise argparse.ArgumentTypeError(f"expected a JSON list of objects, found {text!r}")
        for item in value:
            if missing := [key for key in keys if key not in item]:
                raise argparse.ArgumentTypeError(
                    f"expected objects with {', '.join(keys)}, found one without {missing[0]}"
                )
        return value

    return read


def _drawing(one: argparse.ArgumentParser, data: str) -> None:
    """Add what every command that draws initial weights takes; `data` says what it needs the data set for."""
    one.add_argument("model", help="timm model, ours included")
    one.add_argument("--data", type=Path, required=True, help=data)
    one.add_argument("--kwargs", type=_json_object, default={}, help="keywords of the model, JSON or @file")
    one.add_argument(
        "--initialisations",
        type=_json_object,
        required=True,
        help="name to {scheme, share, scale, options…}, JSON or @file",
    )
    one.add_argument("--seeds", type=_whole(0), nargs="+", required=True)
    one.add_argument("--threads", type=_whole(1), default=1)


def _replacing(one: argparse.ArgumentParser) -> None:
    """Add what every command takes that puts filters in the place of trained kernels."""
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--initial", type=Path, nargs="+", required=True, help="initial weights of the runs")
    one.add_argument(
        "--run", type=Path, nargs="+", required=True, help="folders of the trained runs, in the same order"
    )
    one.add_argument(
        "--candidates",
        type=_json_object,
        required=True,
        help="{set: kept, eight, ideal, decoded, centroids, dog or random; number, filters, bank, resample}, JSON or @file",
    )
    one.add_argument("--recipe", type=_json_object, default={}, help="recipe of the fine-tuning, JSON or @file")
    for label in ("dataset", "architecture", "initialisation"):
        one.add_argument(f"--{label}", required=True, help=f"the {label}'s name in tables")
    one.add_argument("--name", required=True, help="the set's name in tables")
    one.add_argument("--device", default="auto", help="auto, cpu or cuda")
    one.add_argument("--threads", type=_whole(1), default=1)
    one.add_argument("--output", type=Path, required=True)


# The rooms, in the order of the walk, and the commands of each: what --help and docs/commands.md are grouped by.
ROOMS: dict[str, tuple[Callable[[argparse.Namespace], None], ...]] = {
    "Inputs": (fetch, dataset),
    "Kernels": (extract, survey, show),
    "Clusters and patterns": (cluster, patterns, shares),
    "Receptive fields": (fit, scales, match, explained, structure),
    "Initialisations": (initialise, signals),
    "Training": (train, plan, zero),
    "Transfer": (replace, eliminate),
    "Evaluation": (evaluate, verdicts),
    "Artifacts and report": (render, report, paper, crate),
    "Questions": (explain, doctor),
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with a subparser for each command."""
    parser = argparse.ArgumentParser(
        prog="echos",
        description="Every rule of the workflow is one of these commands; any can be typed by hand.",
        epilog=_help_by_room(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--log", type=Path, help="write the log there; only errors then reach the terminal")
    commands = parser.add_subparsers(
        required=True, metavar="COMMAND", help="one of those below; `echos COMMAND --help` tells its arguments"
    )
    parsers = {function: commands.add_parser(function.__name__) for room in ROOMS.values() for function in room}

    def command(function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        added = parsers[function]
        added.description = _said(function)
        added.set_defaults(command=function)
        return added

    one = command(fetch)
    one.add_argument("id", help="id of an input declared in config/inputs.yaml")
    one.add_argument("--declared", type=Path, default=Path("config/inputs.yaml"), help="the declarations")
    one.add_argument(
        "--mirror",
        type=Path,
        action="append",
        default=[],
        help="folder to look in first; repeatable (also ECHOS_MIRRORS)",
    )
    one.add_argument("--output", type=Path, required=True)

    one = command(dataset)
    one.add_argument("kind", help="photographs, digits, parquet, archive, folder or shards")
    one.add_argument("--options", type=_json_object, default={}, help="the kind's options, JSON or @file")
    one.add_argument(
        "--train", type=Path, nargs="*", default=[], help="Parquet files of the train split, or the one archive"
    )
    one.add_argument("--test", type=Path, nargs="*", default=[], help="Parquet files of the test split")
    one.add_argument("--seed", type=_whole(0), default=0)
    one.add_argument("--output", type=Path, required=True)

    one = command(extract)
    one.add_argument("weights", type=Path, help=".safetensors (read lazily), .pth, .pt or .bin")
    one.add_argument("--model", required=True, help="name of the bank")
    one.add_argument("--timm", default="", help="timm model that the weights belong to; without it the shapes decide")
    one.add_argument("--layers", type=Path, help="JSON beside initial weights, with the model's layers")
    one.add_argument("--regular-per-layer", type=int, default=1000, help="at most this many kernels of a regular layer")
    one.add_argument("--output", type=Path, required=True)

    one = command(survey)
    one.add_argument("--page", type=Path, help="also write the page of families, Markdown")
    one.add_argument("--output", type=Path, required=True, help=".csv")

    one = command(show)
    one.add_argument("model", help="path of a bank or checkpoint, or name of a timm model whose weights are on the hub")
    one.add_argument("--timm", default="", help="timm model that a checkpoint belongs to; without it the shapes decide")
    one.add_argument("--layer", default="*", help="pattern of layer names, such as 'stages.3.*'; all layers without it")
    one.add_argument("--kind", choices=("depthwise", "regular"), default="depthwise")
    one.add_argument(
        "--kernels",
        type=_whole(1),
        default=400,
        help="at most this many kernels of a layer; of several layers, at most 64 each",
    )
    one.add_argument("--output", type=Path, required=True, help="the figure: .png, .pdf or .svg")

    one = command(cluster)
    one.add_argument("bank", type=Path)
    one.add_argument(
        "--k", type=int, default=3, help="the papers' number of clusters; a free number is chosen beside it"
    )
    one.add_argument("--restarts", type=int, default=10)
    one.add_argument("--seed", type=_whole(0), default=0)
    one.add_argument(
        "--threshold", type=float, default=0.7, help="least cosine of a centre's average with its best DoG"
    )
    one.add_argument("--centroids", type=Path, required=True)
    one.add_argument("--choices", type=Path, help="also write how every number of clusters does")
    one.add_argument("--output", type=Path, required=True)

    one = command(fit)
    one.add_argument("bank", type=Path)
    one.add_argument("--seed", type=_whole(0), default=0, help="of the shuffled taps")
    one.add_argument("--threshold", type=float, default=0.7, help="least cosine of a kernel that is named a centre")
    one.add_argument("--output", type=Path, required=True)

    one = command(scales)
    one.add_argument("filters", type=Path, help="the authors' text file of the eight master key filters")
    one.add_argument("--spread", type=Path, required=True)
    one.add_argument("--output", type=Path, required=True)

    one = command(match)
    one.add_argument("bank", type=Path)
    one.add_argument("--seed", type=_whole(0), default=0, help="of the shuffled taps")
    one.add_argument("--null-every", type=_whole(1), default=1, help="fit the shuffled taps of every n-th row only")
    one.add_argument("--rivals", type=_whole(0), default=6, help="further starts of a fit, at most; 0 is the quickest")
    one.add_argument("--threads", type=_whole(1), default=1, help="the result does not depend on them")
    one.add_argument("--output", type=Path, required=True)

    one = command(explained)
    one.add_argument(
        "models",
        type=_json_list_of("model", "role", "trained_on", "matches"),
        help="list of {model, role, trained_on, matches}, JSON or @file",
    )
    one.add_argument("--output", type=Path, required=True)

    one = command(patterns)
    one.add_argument("bank", type=Path, nargs="+", help="several are pooled: one autoencoder for all kernels of a size")
    one.add_argument(
        "--clusters", type=int, default=10, help="clusters of codes; the paper tells of about ten patterns"
    )
    one.add_argument("--threshold", type=float, default=0.8, help="least cosine with the template that gives the name")
    one.add_argument("--seed", type=_whole(0), default=0)
    one.add_argument("--trainings", type=int, default=5, help="trainings, each with a seed of its own")
    one.add_argument("--hidden", type=int, nargs="*", default=[64, 32], help="widths between kernel and code")
    one.add_argument(
        "--squash",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="squash the code to [0, 1] by a sigmoid",
    )
    one.add_argument("--steps", type=int, default=500, help="optimiser steps")
    one.add_argument("--batch", type=int, default=256, help="kernels per step")
    one.add_argument("--learning-rate", type=float, default=0.01)
    one.add_argument("--threads", type=_whole(1), default=1, help="more than one may change the last bits")
    one.add_argument("--centroids", type=Path, required=True)
    one.add_argument("--output", type=Path, required=True)

    one = command(shares)
    one.add_argument(
        "models",
        type=_json_list_of("model", "role", "trained_on", "patterns"),
        help="list of {model, role, trained_on, patterns}, JSON or @file",
    )
    one.add_argument("--threshold", type=float, default=0.8, help="the declared one, at which layers are counted")
    one.add_argument("--output", type=Path, required=True)

    one = command(structure)
    one.add_argument(
        "models",
        type=_json_list_of("model", "role", "trained_on", "fits", "centroids"),
        help="list of {model, role, trained_on, fits, centroids}, JSON or @file",
    )
    one.add_argument("--output", type=Path, required=True)

    one = command(initialise)
    _drawing(one, "data set file: decides classes and channels")
    one.add_argument("--output", required=True, help="path with {initialisation} and {seed}, .safetensors")

    one = command(signals)
    _drawing(one, "data set file: some of its train images pass through")
    one.add_argument("--images", type=_whole(1), default=64, help="how many train images")
    one.add_argument("--dataset", required=True, help="the data set's name in tables")
    one.add_argument("--architecture", required=True, help="the architecture's name in tables")
    one.add_argument("--output", type=Path, required=True)

    one = command(train)
    one.add_argument("--data", type=Path, required=True)
    one.add_argument(
        "--initial", type=Path, nargs="+", required=True, help="initial weights, as `echos initialise` writes them"
    )
    one.add_argument("--run", type=Path, nargs="+", required=True, help="folder of each run, in the same order")
    one.add_argument("--recipe", type=_json_object, default={}, help="the recipe, JSON or @file")
    one.add_argument("--dataset", required=True, help="the data set's name in tables")
    one.add_argument("--architecture", required=True, help="the architecture's name in tables")
    one.add_argument(
        "--initialisation", nargs="+", required=True, help="the initialisation's name in tables, of all runs or of each"
    )
    one.add_argument("--device", default="auto", help="auto, cpu or cuda")
    one.add_argument("--threads", type=_whole(1), default=1)
    one.add_argument("--tensorboard", type=Path, help="also write TensorBoard events into this folder")

    one = command(replace)
    _replacing(one)
    one.add_argument(
        "--batch-norm-images", type=int, default=1024, help="train images for the statistics of batch norm"
    )
    one.add_argument("--errors", type=Path, required=True, help="where what replacement left of each layer goes")

    one = command(eliminate)
    _replacing(one)
    one.add_argument(
        "--images", type=_whole(1), default=256, help="train images of the subset that decides what survives"
    )
    one.add_argument("--elbow", type=float, default=0.01, help="share of the subset that may be lost down to the elbow")
    one.add_argument("--neighbours", type=int, default=2, help="filters that a survivor may be exchanged for")
    one.add_argument("--checks", type=int, nargs="*", default=[], help="numbers of filters scored on all test images")

    one = command(zero)
    one.add_argument("--data", type=Path, required=True, help="data set file: its test images are evaluated")
    one.add_argument("--initial", type=Path, nargs="+", required=True, help="initial weights that each run began with")
    one.add_argument("--run", type=Path, nargs="+", required=True, help="folders of finished runs, in the same order")
    one.add_argument("--device", default="auto", help="auto, cpu or cuda")
    one.add_argument("--threads", type=_whole(1), default=1)
    one.add_argument("--output", type=Path, required=True)

    one = command(plan)
    one.add_argument(
        "--preset", nargs="*", default=[], help="presets on top of config/config.yaml, by name; the demo without"
    )
    one.add_argument("--root", type=Path, default=Path(), help="folder of the workflow")
    one.add_argument("--seconds", type=float, default=60, help="time for all calibrations together")
    one.add_argument("--devices", type=_whole(1), default=1, help="how many will work at the same time")
    one.add_argument("--watts", type=float, help="power of one device at work, for the energy")
    one.add_argument("--device", default="auto", help="auto, cpu or cuda")
    one.add_argument("--threads", type=_whole(1), default=os.cpu_count() or 1)
    one.add_argument("--json", action="store_true", help="print JSON")

    one = command(explain)
    one.add_argument("path", type=Path, help="a result, such as results/figures/figure_05_clusters.pdf")
    one.add_argument("--root", type=Path, default=Path(), help="folder in which snakemake ran")
    one.add_argument("--json", action="store_true", help="print JSON, with every command")

    one = command(doctor)
    one.add_argument("--root", type=Path, default=Path(), help="folder of the workflow")
    one.add_argument("--json", action="store_true", help="print JSON")

    one = command(evaluate)
    one.add_argument("run", type=Path, nargs="+", help="folders of finished runs")
    one.add_argument(
        "--baselines", nargs="+", default=["default", "kaiming", "dog"], help="initialisations to compare with"
    )
    one.add_argument(
        "--target", type=float, default=0.9, help="share of a baseline's final top-1 whose first epoch is told"
    )
    one.add_argument("--histories", type=Path, required=True)
    one.add_argument("--comparisons", type=Path, required=True)
    one.add_argument("--output", type=Path, required=True)

    one = command(verdicts)
    one.add_argument(
        "claims",
        type=_json_list_of("id", "paper", "statement", "rule", "needs", "options", "artifact"),
        help="the config's claims, JSON or @file",
    )
    one.add_argument("--runs", type=Path, nargs="?")
    one.add_argument("--structure", type=Path, nargs="?")
    one.add_argument("--shares", type=Path, nargs="?")
    one.add_argument("--replacements", type=Path, nargs="*", default=[])
    one.add_argument("--scale", required=True, help="one phrase that says at which scale the numbers are")
    one.add_argument("--output", type=Path, required=True)

    one = command(render)
    one.add_argument("notebook", type=Path)
    one.add_argument("--inputs", type=_json_object, default={}, help="table name to its paths, JSON or @file")
    one.add_argument("--options", type=_json_object, default={}, help="the artifact's options, JSON or @file")
    one.add_argument("--output", type=Path, required=True, help="the artifact's path without suffix")
    one.add_argument("--rendered", type=Path, required=True, help="the executed notebook")
    one.add_argument(
        "--draft", type=Path, required=True, help="the notebook while it runs; keeps a failing cell's traceback"
    )

    one = command(paper)
    one.add_argument(
        "artifacts",
        type=_json_list_of("id", "title", "caption", "group", "kind", "stem"),
        help="list of {id, title, caption, group, kind, stem}, JSON or @file",
    )
    one.add_argument("--title", required=True)
    one.add_argument("--output", type=Path, required=True, help="a folder")

    one = command(report)
    one.add_argument(
        "artifacts",
        type=_json_list_of("id", "title", "caption", "group", "kind", "stem"),
        help="list of {id, title, caption, group, kind, stem}, JSON or @file",
    )
    one.add_argument("--verdicts", type=Path, required=True)
    one.add_argument("--config", type=_json_object, required=True, help="the preset's whole config, JSON or @file")
    one.add_argument("--benchmarks", type=Path, required=True, help="folder of snakemake's benchmarks")
    one.add_argument("--root", type=Path, default=Path(), help="folder in which snakemake ran")
    one.add_argument("--output", type=Path, required=True)

    one = command(crate)
    one.add_argument("results", type=Path, help="a preset's results, such as results/zoo")
    one.add_argument("--root", type=Path, default=Path(), help="folder of the workflow, in which snakemake ran")
    one.add_argument("--output", type=Path, required=True, help="the crate, a .zip")
    return parser


def _help_by_room() -> str:
    """List the commands of every room, and the exit codes, as wide as the terminal."""
    listed = {room: {one.__name__: _said(one) for one in commands} for room, commands in ROOMS.items()}
    listed["Exit codes"] = {str(code): means for code, means in EXIT_CODES.items()}
    layout = textwrap.TextWrapper(
        max(shutil.get_terminal_size().columns - 2, 40), subsequent_indent=" " * 14, break_on_hyphens=False
    )
    lines = []
    for title, rows in listed.items():
        lines.append(f"\n{title}")
        for name, said in rows.items():
            layout.initial_indent = f"  {name}".ljust(14)
            lines.append(layout.fill(said))
    return "\n".join(lines)


def _said(command: Callable[[argparse.Namespace], None]) -> str:
    """The sentence that a command says of itself."""
    return (command.__doc__ or "").strip()

"""Commands that extract, list and show kernels."""

import logging
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from neural_echos.commands.arguments import Kind, Output, Seed, TimmName

_LOG = logging.getLogger("neural_echos")
Weights = Annotated[
    str | None, Option(help="Set of weights to read if a file contains several, such as state_dict_ema.")
]


def extract(
    checkpoint: Annotated[
        Path | None,
        Argument(
            help="Safetensors, PyTorch or ONNX file, index of shards, or folder; without it, the untrained model of --timm."
        ),
    ] = None,
    *,
    model: Annotated[str, Option(help="Name of the bank.")],
    output: Output,
    timm: TimmName = "",
    layers: Annotated[Path | None, Option(help="JSON file beside initial weights that lists the layers.")] = None,
    weights: Weights = None,
    regular_per_layer: Annotated[int, Option(help="Keep at most this many kernels per regular layer.")] = 1000,
    seed: Seed = 0,
) -> None:
    """Extract the bank of a checkpoint, reading only its kernels, or of an untrained timm model."""
    from neural_echos.errors import EchosError
    from neural_echos.kernels import bank_from_model, extract_bank
    from neural_echos.kernels.sources import layers_of_timm_model, untrained
    from neural_echos.tables import write_table

    if checkpoint is None:
        if not timm:
            raise EchosError("extract: give a checkpoint, or an untrained timm model with --timm")
        bank = bank_from_model(untrained(timm, seed), model, regular_per_layer=regular_per_layer)
        write_table(output, bank, "bank")
        return
    known = {"layers": _layers_in(layers)} if layers else layers_of_timm_model(timm) if timm else {}
    bank, summary = extract_bank(checkpoint, model, **known, weights=weights, regular_per_layer=regular_per_layer)
    write_table(output, bank, "bank")
    _LOG.info("%s: %s", checkpoint, summary)


def survey(
    *,
    output: Annotated[Path, Option(help="The table, a .csv file.")],
    page: Annotated[Path | None, Option(help="Also write the page of model families, in Markdown.")] = None,
) -> None:
    """List every timm model with depthwise kernels and its pretrained weights; nothing is downloaded."""
    from neural_echos.files import write_text
    from neural_echos.kernels import survey as zoo

    table = zoo.survey(progress=True)
    zoo.write_survey(output, table)
    if page:
        write_text(page, zoo.render_page(table))
    _LOG.info("%s: %d rows", output, table.num_rows)


def show(
    model: Annotated[str, Argument(help="A bank, a checkpoint, or a timm model with pretrained weights on the Hub.")],
    *,
    output: Annotated[Path, Option(help="The figure: .png, .pdf or .svg.")],
    timm: TimmName = "",
    weights: Weights = None,
    layer: Annotated[str, Option(help="Pattern of layer names, such as 'stages.3.*'.")] = "*",
    kind: Annotated[Kind, Option(help="Kind of layers.")] = "depthwise",
    kernels: Annotated[
        int, Option(min=1, help="Draw at most this many kernels, and at most 64 per layer if there are several layers.")
    ] = 400,
) -> None:
    """Draw the kernels of a bank, a checkpoint, or a timm model with pretrained weights on the Hub."""
    from neural_echos.report.sheet import check_format, show_kernels

    check_format(output)
    sheet = show_kernels(model, layer=layer, kind=kind, kernels=kernels, timm=timm, weights=weights)
    sheet.save(output)
    _LOG.info("%s: %s", output, sheet.says)


def inspect(
    model: Annotated[str, Argument(help="A bank, a checkpoint, or a timm model with pretrained weights on the Hub.")],
    *,
    output: Annotated[Path | None, Option(help="The page, an .html file; by default named after the model.")] = None,
    name: Annotated[str, Option(help="Name of the model; by default the file's name.")] = "",
    timm: TimmName = "",
    weights: Weights = None,
    kind: Annotated[Kind | None, Option(help="Kind of layers; by default depthwise, if there are any.")] = None,
    threshold: Annotated[
        float, Option(help="Minimum cosine between a kernel and the template or DoG that names it.")
    ] = 0.8,
    zoo: Annotated[
        Path | None, Option(help="Table of networks to compare with; by default the published one, if available.")
    ] = None,
    index: Annotated[str, Option(help="Address of an index page to link back to.")] = "",
    seed: Seed = 0,
) -> None:
    """Make a page about the kernels of one network: what they look like and how structured they are, layer by layer."""
    from neural_echos.errors import EchosError
    from neural_echos.report.inspection import inspect as look_into
    from neural_echos.report.inspection_page import one_sentence

    page = output or Path(f"{Path(model).stem.replace(':', '_')}.html")
    if page.suffix != ".html":
        raise EchosError(f"{page}: the page is an .html file; give --output this suffix")
    found = look_into(model, name=name, timm=timm, weights=weights, kind=kind, threshold=threshold, zoo=zoo, seed=seed)
    found.save(page, index=index)
    _LOG.info("%s: %s", found.name, found.read)
    _LOG.info("%s: %s", page, one_sentence(found))


def _layers_in(path: Path) -> list[Any]:
    """Return the layers listed in the JSON file beside initial weights."""
    from neural_echos.files import read_json
    from neural_echos.kernels import layers_from_json

    made = read_json(path)
    return layers_from_json(made.get("layers") if isinstance(made, dict) else made, path)

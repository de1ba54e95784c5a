"""Commands that extract, list and show kernels."""

import logging
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from neural_echos.commands.arguments import Kind, Output, TimmName

_LOG = logging.getLogger("neural_echos")
_CHECKPOINTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".onnx", ".json")
Weights = Annotated[
    str | None, Option(help="Set of weights to take where a file holds several, such as state_dict_ema.")
]


def extract(
    checkpoint: Annotated[
        Path | None,
        Argument(help="Safetensors, PyTorch or ONNX file, index of shards, or folder; without it, --timm untrained."),
    ] = None,
    *,
    model: Annotated[str, Option(help="Name of the bank.")],
    output: Output,
    timm: TimmName = "",
    layers: Annotated[Path | None, Option(help="JSON beside initial weights, which lists the layers.")] = None,
    weights: Weights = None,
    regular_per_layer: Annotated[int, Option(help="Keep at most this many kernels of a regular layer.")] = 1000,
    seed: Annotated[int, Option(help="Of the weights of an untrained model.")] = 0,
) -> None:
    """Extract the bank of a checkpoint, reading only its kernels, or that of an untrained timm model."""
    from neural_echos.kernels import bank_from_model, extract_bank
    from neural_echos.tables import write_table

    if checkpoint is None:
        bank = bank_from_model(_untrained(timm, seed), model, regular_per_layer=regular_per_layer)
        write_table(output, bank, "bank")
        return
    known = {"layers": _layers_in(layers)} if layers else _layers_of_timm_model(timm) if timm else {}
    bank, summary = extract_bank(checkpoint, model, **known, weights=weights, regular_per_layer=regular_per_layer)
    write_table(output, bank, "bank")
    _LOG.info("%s: %s", checkpoint, summary)


def survey(
    *,
    output: Annotated[Path, Option(help="The table, a .csv file.")],
    page: Annotated[Path | None, Option(help="Also write the page of families, in Markdown.")] = None,
) -> None:
    """List every timm model with depthwise kernels, and its pretrained weights; nothing is downloaded."""
    from neural_echos.files import write_text
    from neural_echos.kernels import survey as zoo

    table = zoo.survey(progress=True)
    zoo.write_survey(output, table)
    if page:
        write_text(page, zoo.render_page(table))
    _LOG.info("%s: %d rows", output, table.num_rows)


def show(
    model: Annotated[str, Argument(help="A bank, a checkpoint, or a timm model whose weights are on the hub.")],
    *,
    output: Annotated[Path, Option(help="The figure: .png, .pdf or .svg.")],
    timm: TimmName = "",
    weights: Weights = None,
    layer: Annotated[str, Option(help="Pattern of layer names, such as 'stages.3.*'.")] = "*",
    kind: Annotated[Kind, Option(help="Kind of layers.")] = "depthwise",
    kernels: Annotated[
        int, Option(min=1, help="Draw at most this many kernels; of several layers, at most 64 each.")
    ] = 400,
) -> None:
    """Draw the kernels of a bank, a checkpoint, or a timm model with pretrained weights on the hub."""
    from neural_echos.artifacts import contact_sheet
    from neural_echos.artifacts.style import save_figure
    from neural_echos.errors import EchosError

    if output.suffix.lstrip(".") not in ("png", "pdf", "svg"):
        raise EchosError(f"{output}: figures are written as .png, .pdf or .svg; give the output one of these suffixes")
    sheet, says = contact_sheet(_bank_of(model, timm, weights), layer=layer, kernels=kernels, kind=kind)
    save_figure(sheet, output)
    _LOG.info("%s: %s", output, says)


def _bank_of(model: str, timm: str, weights: str | None) -> Any:
    """Return the bank of what `show` is asked for: a path, or the name of a timm model on the hub."""
    from neural_echos.kernels import bank_from_checkpoint
    from neural_echos.tables import read_table

    path = Path(model)
    if path.suffix == ".parquet":
        return read_table(path, "bank")
    if path.exists() or path.suffix.lower() in _CHECKPOINTS:
        known = _layers_of_timm_model(timm) if timm else {}
        return bank_from_checkpoint(path, path.stem, **known, weights=weights)
    return _bank_from_hub(model)


def _bank_from_hub(model: str) -> Any:
    """Return the bank of a timm model, reading only its kernels from the hub."""
    from tempfile import TemporaryDirectory

    from neural_echos.errors import EchosError
    from neural_echos.inputs.hub import HubError, download_kernels
    from neural_echos.kernels import bank_from_checkpoint

    layers = _layers_of_timm_model(model)
    repository = _hub_repository(model)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        try:
            download_kernels(repository, "model.safetensors", weights, revision=None)
        except HubError as error:
            raise EchosError(
                f"{model}: its kernels could not be read from the hub: {error}; give the path of a bank or checkpoint instead"
            ) from None
        return bank_from_checkpoint(weights, model, **layers)


def _hub_repository(model: str) -> str:
    """Return the hub's repository of a timm model's pretrained weights."""
    from timm.models import get_pretrained_cfg

    from neural_echos.architectures import timm_name
    from neural_echos.errors import EchosError

    config = get_pretrained_cfg(timm_name(model))
    if config is None or not config.hf_hub_id:
        raise EchosError(
            f"{model}: this timm model has no pretrained weights on the hub; "
            "give the path of a bank or a checkpoint, or a name from config/survey.csv"
        )
    return str(config.hf_hub_id)


def _untrained(timm: str, seed: int) -> Any:
    """Return a timm model with fresh weights, as timm draws them."""
    import torch

    from neural_echos.architectures import create
    from neural_echos.errors import EchosError

    if not timm:
        raise EchosError("extract: give a checkpoint, or the timm model whose untrained kernels are wanted with --timm")
    torch.manual_seed(seed)
    return create(timm, num_classes=1000, in_chans=3)


def _layers_in(path: Path) -> list[Any]:
    """Return the layers that the JSON beside initial weights lists."""
    from neural_echos.files import read_json
    from neural_echos.kernels import layers_from_json

    made = read_json(path)
    return layers_from_json(made.get("layers") if isinstance(made, dict) else made, path)


def _layers_of_timm_model(name: str) -> dict[str, Any]:
    """Return the layers of a timm model, which is built without its weights, and those after its branches are fused."""
    import torch

    from neural_echos.architectures import create
    from neural_echos.kernels import fused_layers_of, layers_of

    with torch.device("meta"):
        model = create(name, num_classes=1000, in_chans=3)
        return {"layers": layers_of(model), "fused": lambda: fused_layers_of(model)}

"""Kernels of a model as one picture, for notebooks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from neural_echos.artifacts.sheets import contact_sheet
from neural_echos.artifacts.style import picture, save_figure
from neural_echos.errors import EchosError
from neural_echos.kernels.sources import Source, bank_of


@dataclass(frozen=True, repr=False)
class Sheet:
    """A picture of kernels; notebooks display it, and `save` writes it.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    says : str
        One-sentence description.
    """

    figure: Figure
    says: str

    def save(self, path: str | Path) -> None:
        """Write the picture in the format of the path's suffix: .png, .pdf or .svg.

        Raises
        ------
        EchosError
            The path has another suffix.
        """
        check_format(path)
        save_figure(self.figure, Path(path))

    def __repr__(self) -> str:
        return self.says

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        return picture(self.figure), {"width": round(96 * self.figure.get_figwidth())}


def check_format(path: str | Path) -> None:
    """Check that a picture's suffix is .png, .pdf or .svg."""
    if Path(path).suffix not in (".png", ".pdf", ".svg"):
        raise EchosError(f"{path}: figures are written as .png, .pdf or .svg; give the output one of these suffixes")


def show_kernels(
    model: Source,
    *,
    layer: str = "*",
    kind: str = "depthwise",
    kernels: int = 400,
    timm: str = "",
    weights: str | None = None,
) -> Sheet:
    """Draw the kernels of a model layer by layer, in channel order, each scaled by its own largest tap.

    Parameters
    ----------
    model : torch.nn.Module, pyarrow.Table, path or str
        A model in memory, a bank, a checkpoint, or a timm model with weights on the hub.
    layer : str
        Pattern of layer names, such as "stages.3.*".
    kind : {"depthwise", "regular"}
        Kind of layers.
    kernels : int
        Maximum number of kernels per layer, evenly spaced over its channels; at most 64 if there are several layers.
    timm : str
        The timm model of a checkpoint; without it, tensor shapes decide.
    weights : str, optional
        The set of weights to use from a checkpoint with several.

    Raises
    ------
    EchosError
        The model cannot be read, or no layer of that kind matches.
    """
    bank, _ = bank_of(model, timm=timm, weights=weights)
    return Sheet(*contact_sheet(bank, layer=layer, kernels=kernels, kind=kind))

"""The page of an inspection: one HTML file that works offline, in print, on a phone, in light and dark."""

import io
import json
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from markupsafe import Markup
from PIL import Image

from neural_echos.artifacts.mosaics import tiled
from neural_echos.artifacts.names import bank_labels
from neural_echos.artifacts.style import FAINT, GREY, canvas, current, drawing
from neural_echos.report.templates import FOLDER, embedded, render
from neural_echos.structure.shares import CHANCE
from neural_echos.words import count_of, number, percent

if TYPE_CHECKING:
    from neural_echos.report.inspection import Inspection

_ACROSS = 48  # kernels in a row of a mosaic
_CELL = 20  # pixels of a kernel on the page
_LARGE = 88  # pixels of a cluster's average


def page(found: "Inspection", index: str = "") -> str:
    """Render the page, with a link back to the page at `index`, if there is one."""
    name = bank_labels([found.name])[found.name] if index else found.name
    with drawing():
        return render(
            "inspection.html.j2",
            found=found,
            called=name,
            index=index,
            css=Markup(
                "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "inspection.css"))
            ),
            js=Markup((FOLDER / "inspection.js").read_text(encoding="utf-8")),
            says=one_sentence(found),
            sizes=[_size(found, one, name) for _, one in found.sizes.iterrows()],
            stem=found.sizes["size"].str.endswith("stem").any(),
            curves=_curves(found.layers) if found.layers.depth.nunique() > 1 else "",
            key=", ".join(mpl.colors.to_hex(colour) for colour in _colours(9)),
            layers=[_layer(found, row) for _, row in found.layers.iterrows()],
            data=Markup(json.dumps(_numbers(found.kernels, found.kind), ensure_ascii=False).replace("<", "\\u003c")),
            chance=percent(CHANCE, 0),
            percent=percent,
            number=number,
            count_of=count_of,
        )


def framed(found: "Inspection") -> str:
    """Return the page in a frame, as a notebook shows it."""
    return f'<iframe srcdoc="{escape(page(found))}" style="width: 100%; height: 40rem; border: 0"></iframe>'


def one_sentence(found: "Inspection") -> str:
    """The main finding, in one sentence."""
    known = found.sizes[found.sizes.structured.notna()]
    if not len(known):
        usable = found.kernels.state.isin(["usable", "almost dead"]).any()
        why = (
            "None of its usable kernels has an odd side of 3 taps or more"
            if usable
            else "None of its kernels is usable"
        )
        return f"{why}, so none was compared with a Difference of Gaussians."
    told = [
        f"{percent(one.structured, 0)} of its {_what(one['size'], found.kind)} resemble a Difference of Gaussians more than "
        f"95 % of shuffled kernels do"
        + (f" ({percent(one.untrained, 0)} untrained)" if np.isfinite(one.untrained) else "")
        for _, one in known.iterrows()
    ]
    return f"{'; '.join(told)}."


def _what(size: str, kind: str) -> str:
    return f"{size} kernels" if size.endswith("stem") else f"{size} {kind} kernels"


def _size(found: "Inspection", size: pd.Series, name: str) -> dict[str, Any]:
    """Clusters of one size, and how its structured share ranks among published networks."""
    mine = found.clusters[found.clusters["size"] == size["size"]] if len(found.clusters) else found.clusters
    clusters = [
        one.to_dict() | {"picture": mosaic(one.taps[None], 1), "edge": _LARGE, "label": _cluster_label(one)}
        for _, one in mine.sort_values("kernels", ascending=False).iterrows()
    ]
    return {
        **dict(size),
        "what": _what(size["size"], found.kind),
        "clusters": clusters,
        "ranks": _ranks(found, size, name),
    }


def _cluster_label(one: pd.Series) -> str:
    shape = f"its best DoG has γ {number(one.gamma, 2)}, cosine {number(one.cosine, 2)}"
    return f"{one['name']}: {percent(one.share, 0)} of the kernels; {shape}"


def _ranks(found: "Inspection", size: pd.Series, name: str) -> list[dict[str, Any]]:
    """Bars of the structured share of other networks and of this one, the largest first."""
    if found.zoo is None or not np.isfinite(size.structured):
        return []
    zoo = found.zoo[found.zoo["size"] == size["size"]]
    called = bank_labels(zoo.model)
    rows = [
        {"model": called[one.model], "share": one.share, "role": one.role, "own": False} for one in zoo.itertuples()
    ]
    rows.append({"model": name, "share": size.structured, "role": "", "own": True})
    return sorted(rows, key=lambda row: -row["share"])


def _layer(found: "Inspection", row: pd.Series) -> dict[str, Any]:
    """Everything that the page shows of one layer."""
    mine = found.kernels[(found.kernels.layer == row.layer) & (found.kernels["size"] == row["size"])]
    taps = np.stack(mine.taps.tolist())
    across = min(_ACROSS, len(taps))
    return {
        **dict(row),
        "picture": mosaic(taps, across),
        "across": across,
        "width": across * _CELL,
        "first": int(mine.index[0]),
        "height_in_cells": -(-len(taps) // across),
    }


def mosaic(kernels: np.ndarray, across: int) -> str:
    """Draw kernels, (n, h, w), as an embedded PNG with one pixel per tap; values that are not finite are transparent.

    Every kernel has a transparent pixel below and to the right of it, so that all take the same space.
    """
    sheet = np.pad(tiled(np.where(np.isfinite(kernels), kernels, np.nan), across), (0, 1), constant_values=np.nan)
    index = np.where(np.isnan(sheet), 255, np.nan_to_num((sheet + 1) * 127).round()).astype(np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette([*(_colours(255)[:, :3] * 255).round().astype(np.uint8).ravel().tolist(), 255, 255, 255])
    held = io.BytesIO()
    image.save(held, "PNG", transparency=255, optimize=True)
    return embedded(held.getvalue(), "png")


def _colours(n: int) -> np.ndarray:
    """Colours of taps from −max to +max, (n, 4)."""
    return np.asarray(mpl.colormaps[current().colour_map](np.linspace(0, 1, n)))


def _numbers(kernels: pd.DataFrame, kind: str) -> dict[str, list[Any]]:
    """The values shown on hovering over a kernel, column by column, in the order of the mosaics."""

    def rounded(values: pd.Series, digits: int) -> list[float | None]:
        return [round(float(value), digits) if np.isfinite(value) else None for value in values]

    return {
        "channel": kernels.channel.tolist(),
        "input": kernels.input_channel.tolist() if kind == "regular" else [None] * len(kernels),
        "state": kernels.state.tolist(),
        "pattern": kernels.pattern.tolist(),
        "cosine": rounded(kernels.cosine, 2),
        "dog": rounded(kernels.dog, 2),
        "gamma": rounded(kernels.gamma, 2),
        "sign": [int(sign) for sign in kernels["sign"]],
        "offset": rounded(kernels.offset, 2),
        "largest": [float(f"{value:.3g}") if np.isfinite(value) else None for value in kernels.largest],
        "cluster": kernels.cluster.tolist(),
    }


def _curves(layers: pd.DataFrame) -> str:
    """Draw four measures over depth, one point per layer and one marker per size."""
    figure, axes = canvas(1, 4, (9.6, 2.1))
    panels = [
        ("structured", "structured share"),
        ("on_centre", "on-centre among centres"),
        ("gamma", "median γ of centres"),
        ("offset", "median offset, taps"),
    ]
    several = layers["size"].nunique() > 1
    for axis, (column, title) in zip(axes.flat, panels, strict=True):
        if column == "structured" and layers.untrained.notna().any():
            sns.scatterplot(layers, x="depth", y="untrained", color=GREY, marker="_", s=40, label="untrained", ax=axis)
        sns.scatterplot(
            layers, x="depth", y=column, style="size", markers=True, color="#333333", s=24,
            legend="brief" if column == "structured" and several else False, ax=axis,
        )  # fmt: skip
        axis.set(title=title, xlabel="relative depth", ylabel="", xlim=(-0.05, 1.05))
        if column in ("structured", "on_centre"):
            axis.set_ylim(-0.03, 1.03)
            axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
            level = CHANCE if column == "structured" else 0.5
            axis.axhline(level, color=FAINT, zorder=0)
        elif layers[column].notna().any():
            axis.set_ylim(0, 1.0 if column == "gamma" else None)
    if axes[0, 0].get_legend() is not None:
        axes[0, 0].get_legend().remove()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    held = io.BytesIO()
    figure.savefig(held, format="svg", metadata={"Date": None})
    return embedded(held.getvalue(), "svg+xml")

"""The artifacts of the eight master key filters: their spread, the scales of their ideal models, and both side by side.

What the paper prints is an option, `published`, and stands in columns of its own; what could not be read says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neural_echos import receptive_fields
from neural_echos.artifacts.base import Drawn, own_style
from neural_echos.artifacts.mosaics import colour_bar
from neural_echos.artifacts.style import canvas, current
from neural_echos.artifacts.summaries import UNREADABLE
from neural_echos.errors import EchosError

Tables = dict[str, Any]
Published = Sequence[Mapping[str, Any]]

_MEASURES = {"m_x": "m_x", "m_y": "m_y", "v_xx": "V_xx", "v_xy": "V_xy", "v_yy": "V_yy", "l1": "l1 norm"}
_COMPENSATION = {"constant": "C, subtracted", "divisor": "DC response"}
_PARAMETERS = {"sigma_x": ("σ_x", 3), "sigma_y": ("σ_y", 3), "amount": ("γ_7", 4)}
_OURS = ("joint A", "joint B")  # methods that the paper does not have
_NORMS = {"C": "l1", "D": "l2"}
_MODELS = {
    1: r"$\delta_{y+}T$",
    2: r"$\delta_{x-}T$",
    3: r"$\delta_{y-}T$",
    4: r"$\delta_{x+}T$",
    5: r"$\delta_x T$",
    6: r"$\delta_y T$",
    7: r"$1-\gamma_7\nabla_5^2 T$",
    8: r"$T$",
}


def spread_table(tables: Tables, *, published: Published) -> Drawn:
    """Mean and spread of every filter, plain and weighted; `published` has `filter` and any of the plain measures."""
    printed = _by_filter(tables["spread"], published)
    rows, apart = [], {}
    for one in tables["spread"].itertuples():
        measures = _MEASURES | (_COMPENSATION if one.constant else {})
        for key, name in measures.items():
            decimals = 6 if key in _COMPENSATION else 3
            ours, theirs = getattr(one, key), printed.get((one.filter, key))
            weighted = getattr(one, f"weighted_{key}", None)
            rows.append(
                {
                    "filter": str(one.filter),
                    "measure": name,
                    "ours": _number(ours, decimals),
                    "published": UNREADABLE if theirs is None else _number(theirs, decimals),
                    "difference": "–" if theirs is None else _number(ours - theirs, decimals),
                    "ours, weighted": "–" if weighted is None else _number(weighted, decimals),
                    "published, weighted": "–" if weighted is None else UNREADABLE,
                }
            )
            if theirs is not None:
                apart[one.filter, name] = abs(ours - theirs)
    return Drawn(pd.DataFrame(rows), _largest(apart))


def scales_table(tables: Tables, *, published: Published) -> Drawn:
    """Scales of every filter's ideal model by every method, with residuals and cosine similarity.

    `published` has `filter`, `method`, any of sigma_x, sigma_y and amount, and the `residual` where it is printed. The residual
    that we find at parameters that are published whole is that in the method's own norm: l1 for C, l2 for D.
    """
    filters = _filters(tables["spread"])
    printed = {(one["filter"], one["method"]): one for one in _known(published, tables["spread"])}
    rows, apart, slips = [], {}, []
    for one in tables["scales"].itertuples():
        theirs = printed.get((one.filter, one.method), {})
        own = one.method in _OURS
        row = {"filter": str(one.filter), "method": f"{one.method} (ours)" if own else one.method}
        unknown = "–" if own else UNREADABLE
        for key, (name, decimals) in _PARAMETERS.items():
            ours = getattr(one, key)
            row[name] = _number(ours, decimals)
            absent = unknown if np.isfinite(ours) else "–"
            row[f"published {name}"] = _number(theirs[key], decimals) if key in theirs else absent
            if key in theirs and "residual" not in theirs:
                apart[one.filter, f"{name} ({one.method})"] = abs(ours - theirs[key])
        row |= {"l1 residual": _number(one.l1, 3), "l2 residual": _number(one.l2, 3), "cosine": _number(one.cosine, 3)}
        norm = _NORMS.get(one.method.removeprefix("joint ")[0], "")
        whole = norm and {"sigma_x", "sigma_y", *(["amount"] if one.filter == 7 else [])} <= set(theirs)
        there = _residual(filters[one.filter], one.filter, theirs, norm) if whole else np.nan
        row["at the published parameters"] = f"{norm} {_number(there, 3)}" if whole else "–"
        row["published residual"] = f"{norm} {_number(theirs['residual'], 3)}" if "residual" in theirs else unknown
        rows.append(row)
        if whole and "residual" in theirs:
            slips.append(_slip(one, theirs, norm, there))
    return Drawn(pd.DataFrame(rows), " ".join([_largest(apart), *slips]))


@own_style()
def filters_beside_ideals(tables: Tables, *, methods: Sequence[str]) -> Drawn:
    """The normalised filters beside their ideal models by each of `methods`; y points up, and a row shares its colour limits."""
    filters, scales = _filters(tables["spread"]), tables["scales"].set_index(["filter", "method"])
    figure, axes = canvas(len(filters), 1 + len(methods), (7.2, 0.2 + 0.86 * len(filters)))
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (number, taps) in zip(axes, filters.items(), strict=True):
        fits = [scales.loc[(number, method)] if (number, method) in scales.index else None for method in methods]
        models = [None if fit is None else _ideal(number, taps.shape[0], fit) for fit in fits]
        largest = max(float(np.abs(panel).max()) for panel in [taps, *models] if panel is not None)
        for axis, panel in zip(row, [taps, *models], strict=True):
            if panel is None:
                axis.text(0.5, 0.5, "–", ha="center", va="center", transform=axis.transAxes)
                continue
            image = axis.imshow(
                panel / largest, cmap=current().colour_map, vmin=-1.0, vmax=1.0, interpolation="nearest"
            )
        for axis, fit in zip(row[1:], fits, strict=True):
            axis.text(0.5, -0.04, _told(fit), ha="center", va="top", fontsize=6, transform=axis.transAxes)
        row[0].text(
            -0.1, 0.5, f"{number}: {_MODELS[number]}", rotation=90, ha="right", va="center", transform=row[0].transAxes
        )
    for axis, name in zip(axes[0], ["filter", *methods], strict=True):
        axis.set_title(name)
    colour_bar(figure, image, axes)
    cosines = scales.cosine.loc[:, list(methods)]
    (least, by), (most, best) = cosines.idxmin(), cosines.idxmax()
    return Drawn(
        figure,
        f"Cosine of a filter with its ideal model: from {cosines.min():.3f} (filter {least}, {by}) to {cosines.max():.3f} "
        f"(filter {most}, {best}). Below each model: σ_x, σ_y, or σ and γ₇ of filter 7.",
    )


def _filters(spread: pd.DataFrame) -> dict[int, np.ndarray]:
    """The normalised filters of a "spread" table, each of shape (k, k)."""
    side = round(len(spread.taps.iloc[0]) ** 0.5)
    return {
        int(number): np.asarray(taps, dtype=np.float64).reshape(side, side)
        for number, taps in zip(spread["filter"], spread.taps, strict=True)
    }


def _ideal(number: int, size: int, parameters: Mapping[str, float]) -> np.ndarray:
    amount = parameters["amount"] if number == 7 else None
    return receptive_fields.ideal(number, size, parameters["sigma_x"], parameters["sigma_y"], amount)


def _residual(taps: np.ndarray, number: int, parameters: Mapping[str, float], norm: str) -> float:
    return float(np.linalg.norm((taps - _ideal(number, len(taps), parameters)).ravel(), ord=int(norm[1])))


def _known(published: Published, spread: pd.DataFrame) -> Published:
    """The published entries, once each is known to be of a filter that there is."""
    for entry in published:
        if entry.get("filter") not in set(spread["filter"]):
            raise EchosError(
                f"published: expected entries with the number of a filter, found {dict(entry)}; correct it"
            )
    return published


def _by_filter(spread: pd.DataFrame, published: Published) -> dict[tuple[int, str], float]:
    """Published measures by filter and name."""
    return {
        (entry["filter"], key): value
        for entry in _known(published, spread)
        for key, value in entry.items()
        if key != "filter"
    }


def _slip(ours: Any, theirs: Mapping[str, float], norm: str, there: float) -> str:
    """What a published optimum leaves, against ours."""
    return (
        f"Filter {ours.filter}, {ours.method}: published is {_parameters(theirs)} with an {norm} residual of "
        f"{theirs['residual']:.3f}; there we find {there:.3f}, and the least, {getattr(ours, norm):.3f}, at "
        f"{_parameters(ours._asdict())}."
    )


def _parameters(values: Mapping[str, float]) -> str:
    told = [f"{name} = {values[key]:.{decimals}f}" for key, (name, decimals) in _PARAMETERS.items() if key in values]
    return ", ".join(text for text in told if "nan" not in text)


def _largest(apart: Mapping[tuple[int, str], float]) -> str:
    if not apart:
        return "Nothing published to compare with."
    (number, name), most = max(apart.items(), key=lambda item: item[1])
    return f"Of {len(apart)} published values, the furthest from ours is filter {number}'s {name}, by {most:.4f}."


def _told(fit: pd.Series | None) -> str:
    """A model's parameters, below its panel."""
    if fit is None:
        return ""
    return f"{fit.sigma_x:.2f}, {fit.sigma_y if np.isnan(fit.amount) else fit.amount:.2f}"


def _number(value: float, decimals: int) -> str:
    """Format a number; "–" for a missing one, and no minus before a zero."""
    return "–" if np.isnan(value) else f"{value:z.{decimals}f}".replace("-", "−")

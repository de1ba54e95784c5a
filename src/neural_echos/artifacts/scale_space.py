"""Tidy tables of the eight master key filters: their spread, the scales of their ideal models, and both side by side.

The paper's printed values are an option, `published`, and have their own columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from neural_echos import receptive_fields
from neural_echos.artifacts.words import UNREADABLE
from neural_echos.errors import EchosError
from neural_echos.words import number

Published = Sequence[Mapping[str, Any]]

# Symbols of parameters, and their decimals.
PARAMETERS = {"sigma_x": ("σ_x", 3), "sigma_y": ("σ_y", 3), "amount": ("γ₇", 4)}
SCALED = ("constant", "divisor")  # measures of the normalised filters, with six decimals
MODELS = {  # the ideal model of each filter, T the discrete Gaussian
    1: r"$\delta_{y+}T$",
    2: r"$\delta_{x-}T$",
    3: r"$\delta_{y-}T$",
    4: r"$\delta_{x+}T$",
    5: r"$\delta_x T$",
    6: r"$\delta_y T$",
    7: r"$1-\gamma_7\nabla_5^2 T$",
    8: r"$T$",
}
_MEASURES = ("m_x", "m_y", "v_xx", "v_xy", "v_yy", "l1")
_OURS = ("joint A", "joint B")  # methods that are not in the paper
_NORMS = {"C": "l1", "D": "l2"}


def spread_by_measure(spread: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Compare the mean and spread of every filter with the paper's values.

    Parameters
    ----------
    spread : DataFrame
        Schema "spread".
    published : sequence of mappings
        Each has `filter` and any of the plain measures.

    Returns
    -------
    DataFrame
        One row for each filter and measure with `filter`, `measure` (name in the schema), `ours`, `published` (NaN if it could
        not be read), `difference` (ours − published) and `weighted` (ours, weighted by the ideal model; NaN if not
        meaningful). Means in taps, variances in taps².

    Raises
    ------
    EchosError
        A published entry names no filter.
    """
    _check(published, spread)
    printed = {(one["filter"], key): value for one in published for key, value in one.items()}
    rows = []
    for one in _tuples(spread):
        for measure in (*_MEASURES, *(SCALED if one.constant else ())):
            ours, theirs = getattr(one, measure), printed.get((one.filter, measure), np.nan)
            compared = {"ours": ours, "published": theirs, "difference": ours - theirs}
            weighted = getattr(one, f"weighted_{measure}", np.nan)
            rows.append({"filter": one.filter, "measure": measure, **compared, "weighted": weighted})
    return pd.DataFrame(rows)


def scales_by_method(spread: pd.DataFrame, scales: pd.DataFrame, published: Published) -> pd.DataFrame:
    """Compare the scales of every filter's ideal model, by every method, with the paper's values.

    Parameters
    ----------
    spread, scales : DataFrame
        Tables of these schemas.
    published : sequence of mappings
        Each has `filter`, `method`, any of `sigma_x`, `sigma_y` and `amount`, and the `residual` if it is printed.

    Returns
    -------
    DataFrame
        One row for each filter and method with `filter`, `method`, `ours` (whether the paper lacks the method); `sigma_x`,
        `sigma_y` (taps) and `amount` (γ₇ of filter 7, else NaN), each followed by `published_…`; the residuals `l1` and `l2`, and
        `cosine`; `norm` (norm of the method: "l1" for C, "l2" for D, else ""), and in this norm `residual_there`, the residual at
        the published parameters, and `published_residual`. Values that the paper does not print are NaN.

    Raises
    ------
    EchosError
        A published entry names no filter.
    """
    _check(published, spread)
    filters = filters_of(spread)
    printed = {(one["filter"], one["method"]): one for one in published}
    rows = []
    for one in _tuples(scales):
        theirs = printed.get((one.filter, one.method), {})
        norm = _NORMS.get(one.method.removeprefix("joint ")[0], "")
        row: dict[str, Any] = {"filter": one.filter, "method": one.method, "ours": one.method in _OURS}
        for key in PARAMETERS:
            row |= {key: getattr(one, key), f"published_{key}": theirs.get(key, np.nan)}
        whole = norm and {"sigma_x", "sigma_y", *(["amount"] if one.filter == 7 else [])} <= set(theirs)
        there = _residual(filters[one.filter], one.filter, theirs, norm) if whole else np.nan
        residuals = {"residual_there": there, "published_residual": theirs.get("residual", np.nan)}
        rows.append(row | {"l1": one.l1, "l2": one.l2, "cosine": one.cosine, "norm": norm, **residuals})
    return pd.DataFrame(rows)


def ideal_models(spread: pd.DataFrame, scales: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Evaluate the ideal model of every filter for some methods.

    Returns
    -------
    DataFrame
        One row for each filter and method that it has, in the order of filters and methods: `filter`, `method`, `sigma_x`,
        `sigma_y` (taps), `amount` (γ₇ of filter 7, else NaN), `cosine` (with the filter) and `taps`, an ndarray of shape (k, k).
    """
    filters = filters_of(spread)
    rows = scales[scales.method.isin(methods)].copy()
    rows["place"] = rows.method.map(list(methods).index)
    rows = rows.sort_values(["filter", "place"], ignore_index=True)
    models = [_ideal(one["filter"], len(filters[one["filter"]]), one) for one in _records(rows)]
    return rows[["filter", "method", "sigma_x", "sigma_y", "amount", "cosine"]].assign(
        taps=pd.Series(models, dtype=object)
    )


def filters_of(spread: pd.DataFrame) -> dict[int, np.ndarray]:
    """The normalised filters in a "spread" table by number, each of shape (k, k)."""
    side = round(len(spread.taps.iloc[0]) ** 0.5)
    return {
        int(number): np.asarray(taps, dtype=np.float64).reshape(side, side)
        for number, taps in zip(spread["filter"], spread.taps, strict=True)
    }


def published_cells(values: pd.Series, of: pd.Series, decimals: int) -> list[str]:
    """Format published numbers; unreadable ones are marked, and "–" is used where ours (`of`) has none either."""
    return [
        UNREADABLE if np.isnan(theirs) and not np.isnan(ours) else number(theirs, decimals)
        for theirs, ours in zip(values, of, strict=True)
    ]


def furthest_scale(scales: pd.DataFrame) -> str:
    """Say which published parameter in `scales_by_method` is furthest from ours, except for slips."""
    apart = {}
    for one in _records(scales[scales.published_residual.isna()]):
        for key, (name, _) in PARAMETERS.items():
            apart[one["filter"], f"{name} ({one['method']})"] = abs(one[key] - one[f"published_{key}"])
    return furthest(apart)


def slips(scales: pd.DataFrame) -> list[str]:
    """Compare each published residual in `scales_by_method` with the residual at the published optimum and at ours."""
    return [
        f"Filter {one['filter']}, {one['method']}: published is {_parameters(one, 'published_')} with an {one['norm']} residual of "
        f"{one['published_residual']:.3f}; there we find {one['residual_there']:.3f}, and the least, {one[one['norm']]:.3f}, at "
        f"{_parameters(one)}."
        for one in _records(scales[scales.published_residual.notna() & scales.residual_there.notna()])
    ]


def furthest(apart: Mapping[tuple[int, str], float]) -> str:
    """Say which published value is furthest from ours; distances by filter and name, NaN if nothing is published."""
    known = {key: distance for key, distance in apart.items() if not np.isnan(distance)}
    if not known:
        return "Nothing published to compare with."
    (filter_, name), most = max(known.items(), key=lambda item: item[1])
    return f"Of {len(known)} published values, the furthest from ours is filter {filter_}'s {name}, by {most:.4f}."


def _ideal(filter_: int, size: int, parameters: Mapping[str, float]) -> np.ndarray:
    amount = parameters["amount"] if filter_ == 7 else None
    return receptive_fields.ideal(filter_, size, parameters["sigma_x"], parameters["sigma_y"], amount)


def _residual(taps: np.ndarray, filter_: int, parameters: Mapping[str, float], norm: str) -> float:
    return float(np.linalg.norm((taps - _ideal(filter_, len(taps), parameters)).ravel(), ord=int(norm[1])))


def _check(published: Published, spread: pd.DataFrame) -> None:
    """Refuse a published entry of an unknown filter."""
    for entry in published:
        if entry.get("filter") not in set(spread["filter"]):
            raise EchosError(f"published: {dict(entry)} names none of the filters; give the number of one as `filter`")


def _parameters(values: Mapping[str, float], prefix: str = "") -> str:
    told = [
        f"{name} = {values[prefix + key]:.{decimals}f}"
        for key, (name, decimals) in PARAMETERS.items()
        if not np.isnan(values[prefix + key])
    ]
    return ", ".join(told)


def _tuples(rows: pd.DataFrame) -> list[Any]:
    return list(rows.itertuples())


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in one.items()} for one in rows.to_dict("records")]

"""The eight published filters, and what is measured of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neural_echos.receptive_fields import (
    IDEALS,
    fit_scales,
    measure_filters,
    normalise_filter,
    read_filters,
)

FILTERS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "master_key_filters_8.txt"


@pytest.fixture(scope="session")
def filters() -> np.ndarray:
    if not FILTERS.exists():
        pytest.skip("needs ../shared/data/weights/master_key_filters_8.txt beside the repository")
    return read_filters(FILTERS)


@pytest.fixture(scope="session")
def normalised(filters) -> dict[int, np.ndarray]:
    return {number: normalise_filter(kernel, number)[0] for number, kernel in zip(IDEALS, filters, strict=True)}


@pytest.fixture(scope="session")
def tables(filters) -> dict[str, pd.DataFrame]:
    return {"spread": measure_filters(filters).to_pandas(), "scales": fit_scales(filters).to_pandas()}


@pytest.fixture(scope="session")
def scales(tables) -> pd.DataFrame:
    return tables["scales"].set_index(["filter", "method"])

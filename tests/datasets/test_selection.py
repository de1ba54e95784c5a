"""Which images are kept, and what is said of those that are not read."""

import numpy as np

from neural_echos.datasets.selection import kept_rows


def test_shares_are_stratified_and_nested():
    labels = np.random.default_rng(0).choice([0, 1, 2], 1000, p=[0.7, 0.295, 0.005])
    kept = {share: kept_rows(labels, None, share, [5, 0]) for share in (0.1, 0.3, 1.0)}
    for share, rows in kept.items():
        expected = np.maximum(1, np.rint(share * np.bincount(labels)))
        np.testing.assert_array_equal(np.bincount(labels[rows]), expected)
        assert (np.diff(rows) > 0).all()
    assert set(kept[0.1]) < set(kept[0.3]) < set(kept[1.0])
    assert set(kept[0.1]) != set(kept_rows(labels, None, 0.1, [6, 0]))

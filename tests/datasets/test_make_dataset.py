"""The registry of datasets: what it makes, and which options it refuses."""

import numpy as np
import pytest
from pictures import cifar10_members, encoded, image_folder, parquet, picture, refuses, webdataset, write_tar

from neural_echos.datasets import (
    make_dataset,
)
from neural_echos.errors import EchosError


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("photograph",), "did you mean 'photographs'"),
        (("digits", {"sizes": 8}), "did you mean 'size'"),
        (("digits", {"seed": 8}), "has no option 'seed'"),
        (("digits", {"size": "8"}), "the option 'size' must be a whole number, not '8'"),
        (("digits", {"size": True}), "the option 'size' must be a whole number, not True"),
        (("folder", {"root": "x", "train_share": "all"}), "'train_share' must be a number or null, not 'all'"),
        (("folder", {"root": "x", "mean": [0.5, "a", 1]}), "'mean' must be a list, each item a number, or null, not"),
        (("folder", {"root": "x", "memory": "yes"}), "'memory' must be true or false, not 'yes'"),
        (("shards", {"root": 5}), "'root' must be text, not 5"),
        (("digits", {}, -1), "the seed must be 0 or more"),
        (("digits", {}, 0, {"train": ["x"]}), "takes no files, not train"),
        (("parquet", {}, 0, {"train": ["x"], "test": ["y"]}), "needs the option 'name'"),
        (("parquet", {"name": "x"}, 0, {"train": ["x"]}), "takes train and test files, not train"),
    ],
)
def test_the_registry_refuses_what_it_does_not_know(arguments, expected):
    with pytest.raises(EchosError, match=expected):
        make_dataset(*arguments)


def test_the_registry_says_what_it_made():
    dataset, facts = make_dataset("digits", {"size": 8}, seed=4)
    assert dataset.name == "digits"
    assert (facts["kind"], facts["seed"], facts["options"]) == ("digits", 4, {"size": 8, "test_share": 0.25})


def test_every_kind_of_real_images_takes_a_share_of_train_only(tmp_path):
    root = image_folder(tmp_path / "imagenet", per_class=10)
    shared, facts = make_dataset("folder", {"root": str(root), "train_share": 0.3}, 1)
    assert (np.bincount(shared.train_labels).tolist(), len(shared.test_labels)) == ([3, 3, 3], 30)
    assert (facts["options"]["train_share"], facts["listing"]["files"]) == (0.3, 60)
    tenth, _ = make_dataset("folder", {"root": str(root), "train_share": 0.1}, 1)
    assert {tenth.train.name(row) for row in range(3)} < {shared.train.name(row) for row in range(9)}
    archive = write_tar(tmp_path / "cifar-10-binary.tar.gz", cifar10_members().items())
    assert len(make_dataset("archive", {"train_share": 0.5}, 0, {"train": [archive]})[0].train_labels) == 9
    wds = webdataset(tmp_path / "wds")
    assert len(make_dataset("shards", {"root": str(wds), "train_share": 0.5})[0].train_labels) == 5
    path = parquet(tmp_path / "a.parquet", [encoded(picture(one)) for one in range(9)], [0, 1, 2] * 3)
    files = {"train": [path], "test": [path]}
    part, _ = make_dataset("parquet", {"name": "c", "train_share": 0.3}, 0, files)
    assert (sorted(part.train_labels), len(part.test_labels)) == ([0, 1, 2], 9)
    for options, expected in [
        ({"train_share": 0.0}, "above 0 and at most 1"),
        ({"train_share": 1.5}, "above 0 and at most 1"),
        ({"train_share": 0.5, "train_limit": 3}, "cannot be combined"),
        ({"test_limit": 0}, "test_limit must be at least 1"),
    ]:
        refuses(expected, lambda options=options: make_dataset("folder", {"root": str(root), **options}))

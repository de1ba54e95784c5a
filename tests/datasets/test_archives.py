"""CIFAR's binary archives, read without extraction; those for Python are never opened."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from pictures import cifar10_members, records, refuses, write_tar

from neural_echos.datasets import (
    CIFAR10_CLASSES,
    make_dataset,
)
from neural_echos.files import sha256


def test_the_binary_archive_of_cifar10_is_read_in_the_order_of_its_batches(tmp_path):
    path = write_tar(tmp_path / "cifar-10-binary.tar.gz", reversed(cifar10_members().items()))
    dataset, facts = make_dataset("archive", files={"train": [path]})
    assert dataset.classes == CIFAR10_CLASSES
    assert dataset.train_labels.tolist() == [1, 5, 2, 6, 3, 7, 4, 8, 5, 9]
    batch = np.frombuffer(cifar10_members()["cifar-10-batches-bin/data_batch_2.bin"], dtype=np.uint8).reshape(2, 3073)
    np.testing.assert_array_equal(dataset.train_images[2:4], batch[:, 1:].reshape(2, 3, 32, 32))
    assert facts["files"] == {"cifar-10-binary.tar.gz": sha256(path)}
    limited, _ = make_dataset("archive", {"train_limit": 3, "test_limit": 1}, files={"train": [path]})
    assert (len(limited.train_labels), len(limited.test_labels)) == (3, 1)


def test_the_binary_archive_of_cifar100_has_fine_and_coarse_labels(tmp_path):
    fine, coarse = (
        [f"fine_{number}" for number in range(100)],
        [f"coarse_{number}" for number in range(20)],
    )
    members = {
        "train.bin": records(1, [[19, 99], [0, 1], [4, 50]]),
        "test.bin": records(2, [[3, 7]]),
        "fine_label_names.txt": "\n".join(fine).encode(),
        "coarse_label_names.txt": "\n".join(coarse).encode(),
    }
    path = write_tar(
        tmp_path / "cifar-100-binary.tar.gz", [(f"cifar-100-binary/{name}", data) for name, data in members.items()]
    )
    dataset, _ = make_dataset("archive", files={"train": [path]})
    assert (dataset.train_labels.tolist(), dataset.classes) == ([99, 1, 50], tuple(fine))
    dataset, _ = make_dataset("archive", {"labels": "coarse"}, files={"train": [path]})
    assert (dataset.train_labels.tolist(), dataset.test_labels.tolist()) == ([19, 0, 4], [3])
    assert dataset.classes == tuple(coarse)
    refuses(
        "must be coarse or fine, not 'fin'", lambda: make_dataset("archive", {"labels": "fin"}, 0, {"train": [path]})
    )


def test_other_archives_are_refused_and_pickles_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    def members(**changes: bytes | None) -> dict[str, bytes]:
        changed = {**cifar10_members(), **{f"cifar-10-batches-bin/{name}.bin": data for name, data in changes.items()}}
        return {name: data for name, data in changed.items() if data is not None}

    def read(path: Path) -> object:
        return make_dataset("archive", files={"train": [path]})

    python = write_tar(
        tmp_path / "cifar-10-python.tar.gz", [("cifar-10-batches-py/data_batch_1", pickle.dumps(Bomb()))]
    )
    refuses(
        "never opened; fetch the binary version, https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        lambda: read(python),
    )
    matlab = write_tar(tmp_path / "m.tar.gz", [("cifar-10-batches-mat/test_batch.mat", b"MATLAB")])
    refuses("it contains 'cifar-10-batches-mat'", lambda: read(matlab))
    short = write_tar(tmp_path / "short.tar.gz", members(data_batch_4=None).items())
    refuses("the member cifar-10-batches-bin/data_batch_4.bin is missing", lambda: read(short))
    odd = write_tar(tmp_path / "odd.tar.gz", members(test_batch=bytes(3000)).items())
    refuses("the 3000 bytes of test_batch.bin are not a whole number of records of 3073 bytes", lambda: read(odd))
    wrong = write_tar(tmp_path / "wrong.tar.gz", members(data_batch_1=bytes([10]) + bytes(3072)).items())
    refuses("there are 10 classes, but a label is 10", lambda: read(wrong))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(wrong.read_bytes()[:9000])
    refuses("not a complete CIFAR archive", lambda: read(cut))
    refuses("no such file", lambda: read(tmp_path / "absent.tar.gz"))
    refuses("give one archive, not 2", lambda: make_dataset("archive", files={"train": [odd, short]}))
    refuses("takes train files, not none", lambda: make_dataset("archive"))

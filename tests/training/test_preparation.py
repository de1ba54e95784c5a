"""Before a training: what does not fit together is refused; images on disk go through the same loop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import FEW, Stop, build, digests, run

from neural_echos.datasets import StreamedDataset, make_dataset
from neural_echos.errors import EchosError
from neural_echos.training import (
    Recipe,
    Watcher,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 331}, "331 is more than the 330 training images"),
        ({"shift": 8}, "8 must be less than the image's 8 pixels"),
        ({"drop_path": 0.1}, "drop_path is 0.1, but the model was built without stochastic depth"),
        ({"optimizer_options": {"beta": 0.9}}, "adamw does not accept"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(EchosError, match=words):
        run(tmp_path, Recipe(**{"batch_size": 32, **changes}))


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> StreamedDataset:
    """Some digits as an image folder, larger than the network will see them."""
    root = tmp_path_factory.mktemp("folder")
    for split, images, labels in (
        ("train", FEW.train_images[:100], FEW.train_labels),
        ("val", FEW.test_images[:40], FEW.test_labels),
    ):
        for number, (image, label) in enumerate(zip(images, labels, strict=False)):
            path = root / split / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].repeat(3, axis=0).repeat(2, axis=1)).save(path)
    data, _ = make_dataset("folder", {"root": str(root), "name": "digits"})
    assert isinstance(data, StreamedDataset)
    return data


STREAMED = {"image_size": 16, "resized_crop": [0.5, 1.0], "flip": True, "randaugment": "rand-m9-mstd0.5-inc1"}


def test_images_on_disk_go_through_the_same_loop(on_disk: StreamedDataset, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=20, random_erasing=0.25, mixup=0.8, ema_decay=0.9, **STREAMED)
    result = run(tmp_path / "whole", recipe, data=on_disk, model=build(channels=3), threads=2)
    assert result.metrics["test_images"] == 40
    assert np.isfinite(result.metrics["loss"])

    class Quit(Watcher):
        left = 7

        def step(self, images_per_second: float) -> None:
            self.left -= 1
            if not self.left:
                raise Stop

    options = {"data": on_disk, "threads": 2, "checkpoint_seconds": 0}
    with pytest.raises(Stop):  # in the second epoch, after its first of five steps is saved
        run(tmp_path / "parts", recipe, model=build(channels=3), watchers=[Quit()], **options)
    run(tmp_path / "parts", recipe, model=build(channels=3), **options)
    assert digests(tmp_path / "whole") == digests(tmp_path / "parts")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shift": 2, "resized_crop": []}, "shift: 2 does not work with a dataset on disk; use resized_crop"),
        (
            {"randaugment": "torchvision-n2-m12"},
            "randaugment: .* does not work with a dataset on disk; use a description of timm",
        ),
        ({"batch_size": 200}, "200 is more than the 100 training images"),
    ],
)
def test_what_images_on_disk_do_not_allow(on_disk: StreamedDataset, tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(EchosError, match=words):
        run(tmp_path, Recipe(**{"batch_size": 20, **STREAMED, **changes}), data=on_disk, model=build(channels=3))

"""Streamed batches: the same whatever the number of workers, wherever an epoch starts and however many ranks share it."""

import io
import multiprocessing
import os
import pickle
import random
import signal
import tarfile
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from neural_echos.datasets import StreamedDataset, make_dataset
from neural_echos.errors import EchosError
from neural_echos.training.batches import repair_posterize
from neural_echos.training.streaming import StreamedBatches, _Samples

CPU = torch.device("cpu")
EVERYTHING = {
    "colour_jitter": 0.4,
    "randaugment": "rand-m9-mstd0.5-inc1",
    "random_erasing": 0.5,
    "mixup": 0.8,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StreamedDataset:
    """Eighteen train and seven test images of three classes, of many sizes, in a webdataset."""
    root = tmp_path_factory.mktemp("wds")
    rng = np.random.default_rng(0)
    for split, count in (("train", 18), ("val", 7)):
        with tarfile.open(root / f"{split}-000000.tar", "w") as archive:
            for one in range(count):
                pixels = rng.integers(0, 256, (*rng.integers(20, 60, 2), 3), dtype=np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(pixels).resize((48, 36)).save(buffer, "PNG")
                for name, content in ((f"{one:06d}.png", buffer.getvalue()), (f"{one:06d}.cls", str(one % 3).encode())):
                    header = tarfile.TarInfo(name)
                    header.size = len(content)
                    archive.addfile(header, io.BytesIO(content))
    return make_dataset("shards", {"root": str(root)})[0]


def batches(data: StreamedDataset, **options: object) -> StreamedBatches:
    settings = {"batch_size": 4, "seed": 3, "device": CPU, "workers": 0, "size": 32}
    return StreamedBatches(data, **settings | options)


def same(left: list, right: list) -> bool:
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_batches_do_not_depend_on_the_number_of_workers_or_on_the_start(data):
    alone = list(batches(data, **EVERYTHING).epoch(5))
    assert same(alone, list(batches(data, workers=2, **EVERYTHING).epoch(5)))
    assert same(alone[3:], list(batches(data, workers=1, **EVERYTHING).epoch(5, start=3)))
    assert same(alone[4:], list(batches(data, **EVERYTHING).epoch(5, start=4)))
    assert not same(alone, list(batches(data, **EVERYTHING).epoch(6)))
    assert not same(alone, list(batches(data, seed=4, **EVERYTHING).epoch(5)))


def test_an_epoch_has_full_batches_of_normalised_images_and_label_weights(data):
    stream = batches(data, **EVERYTHING)
    found = list(stream.epoch(0))
    assert len(found) == stream.steps == 4
    for images, labels in found:
        assert (images.dtype, images.shape) == (torch.float32, (4, 3, 32, 32))
        assert (labels.dtype, labels.shape) == (torch.float32, (4, 3))
        torch.testing.assert_close(labels.sum(dim=1), torch.ones(4))
    assert all(labels.dtype == torch.int64 for _, labels in batches(data).epoch(0))


def test_two_ranks_together_see_the_rows_of_one_process(data):
    options = {"randaugment": "rand-m9-mstd0.5-inc1", "colour_jitter": 0.4, "batch_size": 6}
    whole = list(batches(data, **options).epoch(1))
    ranks = [list(batches(data, rank=rank, world=2, **options).epoch(1)) for rank in range(2)]
    for step, (images, labels) in enumerate(whole):
        for rank in range(2):
            assert torch.equal(ranks[rank][step][0], images[rank::2])
            assert torch.equal(ranks[rank][step][1], labels[rank::2])
    tests = [torch.cat([labels for _, labels in batches(data, rank=rank, world=2).test()]) for rank in range(2)]
    np.testing.assert_array_equal(tests[0], data.test_labels[::2])
    np.testing.assert_array_equal(tests[1], data.test_labels[1::2])


def test_every_row_comes_once_and_without_augmentation_as_it_is(data):
    """A crop of the whole area, as large as the image and not mirrored, is the image, but for a pixel of its border."""
    stream = batches(data, scale=(1.0, 1.0), flip=False, size=(36, 48), batch_size=3)
    found = [image for images, _ in stream.epoch(2) for image in images]
    mean, std = (torch.tensor(value, dtype=torch.float32)[:, None, None] for value in (data.mean, data.std))
    rows = [functional.pil_to_tensor(data.read("train", row)) for row in range(18)]
    pixels = [(image * std + mean) * 255 for image in found]
    places = [min(range(18), key=lambda row: float((one - rows[row]).abs().mean())) for one in pixels]
    assert sum((one - rows[row]).abs().max() < 0.01 for one, row in zip(pixels, places, strict=True)) > 9
    assert sorted(places) == list(range(18))
    assert places != list(range(18))


def test_test_images_are_resized_by_their_shorter_side_and_cropped_at_the_centre(data):
    stream = batches(data, size=32, crop_pct=32 / 36, evaluation_batch=3, workers=1)
    found = list(stream.test())
    assert [len(labels) for _, labels in found] == [3, 3, 1]
    expected = functional.pil_to_tensor(data.read("test", 4).crop((8, 2, 40, 34))) / 255
    expected = functional.normalize(expected, data.mean.tolist(), data.std.tolist())
    torch.testing.assert_close(found[1][0][1], expected, atol=1e-5, rtol=1e-5)
    assert torch.cat([labels for _, labels in found]).tolist() == data.test_labels.tolist()


def test_what_a_network_draws_after_a_batch_follows_from_the_batch_too(data):
    def draws(start: int = 0, **options: object) -> list[tuple[float, ...]]:
        torch.manual_seed(start)  # whatever was before
        iteration = batches(data, **options).epoch(0, start)
        return [(torch.rand(1).item(), random.random(), np.random.rand()) for _ in iteration]  # noqa: NPY002

    alone = draws(**EVERYTHING)
    assert len(set(alone)) == 4
    assert alone == draws(workers=2, **EVERYTHING)
    assert alone[2:] == draws(2, **EVERYTHING)
    assert draws() == draws(workers=1)
    assert draws(rank=1, world=2) != draws()


def test_test_images_draw_nothing(data):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    list(batches(data, workers=1).test())
    list(batches(data).test())
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_workers_end_when_an_iteration_is_abandoned(data):
    of_others = set(multiprocessing.active_children())  # fits of an earlier test keep theirs

    def workers() -> set[multiprocessing.process.BaseProcess]:
        return set(multiprocessing.active_children()) - of_others

    iteration = batches(data, workers=2).epoch(0)
    next(iteration)
    assert len(workers()) == 2
    iteration.close()
    deadline = time.monotonic() + 10
    while workers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers() == set()


def test_a_worker_that_is_killed_is_one_sentence(data):
    class Deadly(StreamedDataset):
        def read(self, split: str, row: int) -> Image.Image:
            os.kill(os.getpid(), signal.SIGKILL)

    deadly = Deadly(**{one.name: getattr(data, one.name) for one in fields(data)})
    with pytest.raises(
        EchosError, match=r"a worker process that reads images was killed \(DataLoader worker .*\); give the job"
    ) as caught:
        list(batches(deadly, workers=1).epoch(0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_does_not_decode_is_one_sentence_from_any_process(tmp_path, workers):
    for split in ("train", "val"):
        folder = tmp_path / split / "a"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "good.png")
        Path(folder / "x.png").write_bytes(b"no image")
    broken, _ = make_dataset("folder", {"root": str(tmp_path)})
    with pytest.raises(EchosError) as caught:
        list(batches(broken, batch_size=2, workers=workers).epoch(0))
    assert str(caught.value).startswith(f"{tmp_path}/train/a/x.png: these 8 bytes are not an image")
    assert "\n" not in str(caught.value)


def test_what_goes_to_a_worker_can_be_pickled(data):
    """Where processes are spawned and not forked, it must be."""
    stream = batches(data, **EVERYTHING)
    samples = _Samples(data, "train", stream.train_transform, (1, 2, 3))
    (images, labels), (again, _) = (one[np.array([4, 9])] for one in (samples, pickle.loads(pickle.dumps(samples))))
    assert torch.equal(images, again)
    assert labels.tolist() == [1, 0]


def test_a_batch_that_cannot_be_shared_is_refused(data):
    for options in ({"batch_size": 19}, {"world": 3}, {"batch_size": 6, "world": 2, "mixup": 0.5}, {"batch_size": 0}):
        with pytest.raises(EchosError, match="batch_size must be a multiple of"):
            batches(data, **options)


def test_posterising_to_no_bits_gives_black(data):
    stream = batches(data, randaugment="rand-m9-n1-inc0")
    repair_posterize(stream.train_transform)
    (augment,) = [part for part in stream.train_transform.transforms if hasattr(part, "ops")]
    (posterize,) = [operation for operation in augment.ops if operation.name == "Posterize"]
    assert posterize.aug_fn(Image.new("RGB", (2, 2), "white"), 0).getextrema() == ((0, 0),) * 3
    assert posterize.aug_fn(Image.new("RGB", (2, 2), "white"), 1).getextrema() == ((128, 128),) * 3

"""Real images in every layout that users have them in: archives, folders, tar shards, Parquet; in memory and on disk."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neural_echos.datasets import (
    CIFAR10_CLASSES,
    Dataset,
    StreamedDataset,
    dataset_facts,
    load_dataset,
    make_dataset,
    save_dataset,
)
from neural_echos.datasets.images import kept_rows, resized
from neural_echos.datasets.streamed import Index
from neural_echos.errors import EchosError
from neural_echos.files import sha256

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the data folder beside the checkout (../shared/data)")
WNIDS = ("n01440764", "n02102040", "n03888257")


def picture(value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """An image of random pixels of its own."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8))


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def tar_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def refuses(expected: str, make: Callable[[], object]) -> None:
    """Check that something is refused with one sentence that holds these words."""
    with pytest.raises(EchosError) as caught:
        make()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


# CIFAR's binary archives


def records(number: int, labels: list[list[int]]) -> bytes:
    rng = np.random.default_rng(number)
    return b"".join(bytes(one) + rng.integers(0, 256, 3072, dtype=np.uint8).tobytes() for one in labels)


def cifar10_members() -> dict[str, bytes]:
    batches = {f"data_batch_{number}.bin": records(number, [[number], [number + 4]]) for number in range(1, 6)}
    names = ("\n".join(CIFAR10_CLASSES) + "\n\n").encode()
    members = {"batches.meta.txt": names, **batches, "readme.html": b"<html>", "test_batch.bin": records(9, [[0], [9]])}
    return {f"cifar-10-batches-bin/{name}": data for name, data in members.items()}


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
    refuses("among coarse, fine, found 'fin'", lambda: make_dataset("archive", {"labels": "fin"}, 0, {"train": [path]}))


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
    refuses("never opened; fetch https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", lambda: read(python))
    matlab = write_tar(tmp_path / "m.tar.gz", [("cifar-10-batches-mat/test_batch.mat", b"MATLAB")])
    refuses("found 'cifar-10-batches-mat'", lambda: read(matlab))
    short = write_tar(tmp_path / "short.tar.gz", members(data_batch_4=None).items())
    refuses("expected the member cifar-10-batches-bin/data_batch_4.bin, found none", lambda: read(short))
    odd = write_tar(tmp_path / "odd.tar.gz", members(test_batch=bytes(3000)).items())
    refuses("in test_batch.bin records of 3073 bytes, found 3000 bytes", lambda: read(odd))
    wrong = write_tar(tmp_path / "wrong.tar.gz", members(data_batch_1=bytes([10]) + bytes(3072)).items())
    refuses("expected labels from 0 to 9", lambda: read(wrong))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(wrong.read_bytes()[:9000])
    refuses("expected a whole CIFAR archive", lambda: read(cut))
    refuses("found no file", lambda: read(tmp_path / "absent.tar.gz"))
    refuses("expected one archive, found 2", lambda: make_dataset("archive", files={"train": [odd, short]}))
    refuses("expected train files, found none", lambda: make_dataset("archive"))


# Folders


def image_folder(root: Path, per_class: int = 3, sides: tuple[int, int] = (8, 8)) -> Path:
    """ImageNet-1k's layout: train/<wnid>/<wnid>_<number>.JPEG and val/<wnid>/ILSVRC2012_val_<number>.JPEG."""
    for number, wnid in enumerate(WNIDS):
        for split, stem in (("train", f"{wnid}_"), ("val", "ILSVRC2012_val_0000")):
            (root / split / wnid).mkdir(parents=True)
            for one in range(per_class):
                image = picture(100 * number + 10 * one + (split == "val"), sides)
                image.save(root / split / wnid / f"{stem}{one}.JPEG", "JPEG")
    return root


def test_an_image_folder_is_indexed_and_no_image_is_opened(tmp_path, monkeypatch):
    root = image_folder(tmp_path / "imagenet", per_class=4)
    (root / "train" / WNIDS[0] / ".hidden.JPEG").write_bytes(b"")
    (root / "train" / WNIDS[0] / "notes.txt").write_text("not an image")
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", lambda *_: pytest.fail("an image was opened"))
        dataset, facts = make_dataset("folder", {"root": str(root)})
    assert isinstance(dataset, StreamedDataset)
    assert (dataset.name, dataset.classes, dataset.channels) == ("imagenet", WNIDS, 3)
    assert dataset.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.train.name(5) == f"train/{WNIDS[1]}/{WNIDS[1]}_1.JPEG"
    np.testing.assert_allclose(dataset.mean, [0.485, 0.456, 0.406])
    expected = Image.open(root / dataset.test.name(7)).convert("RGB")
    assert dataset.read("test", 7).tobytes() == expected.tobytes()
    assert facts["listing"]["files"] == 24
    assert facts["listing"]["bytes"] == sum(path.stat().st_size for path in root.rglob("*_*.JPEG"))
    assert facts["files"] == {}
    _, summed = make_dataset("folder", {"root": str(root), "checksums": True, "name": "mine", "mean": [0.5] * 3})
    assert summed["files"][dataset.train.name(5)] == sha256(root / dataset.train.name(5))
    assert summed["listing"] == facts["listing"]


def test_tiny_imagenet_is_recognised_by_its_files(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for number, wnid in enumerate(WNIDS):
        (root / "train" / wnid / "images").mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
        for one in range(2):
            picture(10 * number + one).save(root / "train" / wnid / "images" / f"{wnid}_{one}.JPEG", "JPEG")
    (root / "val" / "images").mkdir(parents=True)
    (root / "test" / "images").mkdir(parents=True)
    annotations = []
    for one, wnid in enumerate((WNIDS[2], WNIDS[0], WNIDS[2])):
        picture(one).save(root / "val" / "images" / f"val_{one}.JPEG", "JPEG")
        annotations.append(f"val_{one}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(reversed(WNIDS)))
    (root / "words.txt").write_text("n01440764\ttench, Tinca tinca\n")
    dataset, facts = make_dataset("folder", {"root": str(root)})
    assert (dataset.classes, dataset.train_labels.tolist()) == (WNIDS, [0, 0, 1, 1, 2, 2])
    assert dataset.test_labels.tolist() == [0, 2, 2]
    assert [dataset.test.name(row) for row in range(3)] == [f"val/images/val_{one}.JPEG" for one in (1, 0, 2)]
    assert "Tiny-ImageNet-200" in facts["how"]
    whole, _ = make_dataset("folder", {"root": str(root), "memory": True})
    assert whole.train_images.shape == (6, 3, 8, 8)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn99999999\t0\t0\t1\t1\n")
    refuses("line 1: expected a file and one of the 3 wnids", lambda: make_dataset("folder", {"root": str(root)}))
    (root / "val" / "val_annotations.txt").write_text(f"val_9.JPEG\t{WNIDS[0]}\t0\t0\t1\t1\n")
    refuses("val_9.JPEG: expected an image", lambda: make_dataset("folder", {"root": str(root)}))


def test_images_of_different_sizes_need_a_size_in_memory(tmp_path):
    root = image_folder(tmp_path / "a", per_class=1, sides=(12, 8))
    picture(7, (9, 20)).save(root / "train" / WNIDS[1] / "b.png")
    refuses("give the option 'size'", lambda: make_dataset("folder", {"root": str(root), "memory": True}))
    dataset, _ = make_dataset("folder", {"root": str(root), "memory": True, "size": 6})
    assert isinstance(dataset, Dataset)
    assert (dataset.train_images.shape, dataset.test_images.shape) == ((4, 3, 6, 6), (3, 3, 6, 6))
    refuses("a size of 1 pixel", lambda: make_dataset("folder", {"root": str(root), "memory": True, "size": 0}))


def test_resizing_keeps_the_centre_and_an_image_of_the_right_size():
    image = picture(0, (20, 8))
    np.testing.assert_array_equal(np.asarray(resized(image, 8)), np.asarray(image)[:, 6:14])
    assert resized(picture(0, (500, 333)), 64).size == (64, 64)


def test_folders_that_say_no_labels_are_refused_by_name(tmp_path):
    def index(root: Path) -> object:
        return make_dataset("folder", {"root": str(root)})

    root = image_folder(tmp_path / "imagenet", per_class=1)
    refuses("absent: expected the folder train", lambda: index(tmp_path / "absent"))
    (root / "val" / WNIDS[2]).rename(root / "val" / "n09999999")
    refuses("found 3, of which 'n03888257' is in one of the two only", lambda: index(root))
    flat = image_folder(tmp_path / "flat", per_class=1)
    for folder in (flat / "val").iterdir():
        next(folder.iterdir()).rename(flat / "val" / f"{folder.name}.JPEG")
        folder.rmdir()
    refuses("found 3 images side by side", lambda: index(flat))
    (tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC" / "train").mkdir(parents=True)
    refuses("found Kaggle's ILSVRC/Data/CLS-LOC", lambda: index(tmp_path / "kaggle"))
    hollow = image_folder(tmp_path / "hollow", per_class=1)
    next((hollow / "train" / WNIDS[1]).iterdir()).unlink()
    refuses(f"{WNIDS[1]}: expected images", lambda: index(hollow))
    refuses("expected the option 'root'", lambda: make_dataset("folder"))


def test_a_broken_image_is_one_sentence_when_it_is_read(tmp_path):
    root = image_folder(tmp_path / "imagenet", per_class=2)
    broken = root / "train" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG"
    data = broken.read_bytes()
    broken.write_bytes(b"x" * len(data))
    dataset, _ = make_dataset("folder", {"root": str(root)})
    refuses(f"{broken}: expected an encoded image, found {len(data)} bytes", lambda: dataset.read("train", 1))
    broken.write_bytes(data[:-5])
    refuses(f"expected {len(data)} bytes from 0 on, found {len(data) - 5}", lambda: dataset.read("train", 1))
    broken.unlink()
    refuses(f"{broken}: expected an image file, found No such file", lambda: dataset.read("train", 1))
    refuses("No such file", dataset.in_memory)


# Tar shards


def webdataset(root: Path, **changes: bytes | None) -> Path:
    """Two train shards and one val shard of a webdataset with three classes."""
    forms = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "jpeg": "JPEG"}
    for split, first, count in (("train", 0, 4), ("train", 1, 4), ("val", 0, 3)):
        members: dict[str, bytes | None] = {}
        for one in range(count):
            suffix = list(forms)[one]
            key = f"{split}/{first}{one:05d}"
            members[f"{key}.{suffix}"] = encoded(picture(10 * first + one + 100 * (split == "val")), forms[suffix])
            members[f"{key}.cls"] = str((first + one) % 3).encode()
            members[f"{key}.json"] = b"{}"
        members |= {name: data for name, data in changes.items() if f"{split}/{first}" in name}
        write_tar(root / f"tiny-{split}-{first:06d}.tar", [item for item in members.items() if item[1] is not None])
    return root


def test_webdataset_shards_are_indexed_from_their_headers(tmp_path, monkeypatch):
    root = webdataset(tmp_path / "wds")
    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", lambda *_: pytest.fail("an image was opened"))
        dataset, facts = make_dataset("shards", {"root": str(root)})
    assert dataset.classes == ("0", "1", "2")
    assert dataset.train_labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert dataset.read("train", 5).tobytes() == picture(11).tobytes()
    assert dataset.read("test", 1).tobytes() == picture(101).tobytes()
    assert facts["listing"]["files"] == 3
    named, _ = make_dataset(
        "shards", {"root": str(root), "classes": ["a", "b", "c"], "memory": True, "checksums": True}
    )
    assert (named.classes, named.train_labels.tolist()) == (("a", "b", "c"), dataset.train_labels.tolist())
    np.testing.assert_array_equal(named.train_images[5], np.asarray(picture(11)).transpose(2, 0, 1))
    assert make_dataset("shards", {"root": str(root), "classes": 1000})[0].classes[-1] == "999"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train/000001.cls": None}, "key train/000001: expected an image and a label, found no label"),
        ({"train/000001.png": None}, "key train/000001: expected an image and a label, found no image"),
        ({"train/000001.jpg": b"x"}, "expected one image per key, found two"),
        ({"train/000001.cls": b"cat"}, "member train/000001.cls: expected a label from 0, found 'cat'"),
        (
            {f"train/10000{one}.cls": None for one in range(4)},
            "member train/100000.jpg: expected a label (.cls) beside",
        ),
        ({"val/000001.cls": b"7"}, "expected labels of 3 classes, '0' to '2', found '7'"),
    ],
)
def test_bad_shards_are_one_sentence(tmp_path, changes, expected):
    refuses(expected, lambda: make_dataset("shards", {"root": str(webdataset(tmp_path, **changes))}))


def test_shards_of_another_kind_or_cut_short_are_one_sentence(tmp_path):
    def index(**options: object) -> object:
        return make_dataset("shards", {"root": str(root), **options})

    root = webdataset(tmp_path / "wds", **{"train/000001.png": b"no image"})
    dataset, _ = index()
    refuses("tiny-train-000000.tar, member train/000001.png: expected an enc", lambda: dataset.read("train", 1))
    refuses("expected labels of 2 classes, '0' to '1', found '2'", lambda: index(classes=2))
    refuses("expected train archives of the form *.tgz, found none", lambda: index(train="*.tgz"))
    path = root / "tiny-train-000001.tar"
    whole = path.read_bytes()
    for kept in (300, 700, 5000, whole.rindex(b"ustar") + 1000):
        path.write_bytes(whole[:kept])
        refuses("fetch it again", index)
    refuses("of the form /tmp/*.tar, found none", lambda: index(train="/tmp/*.tar"))
    write_tar(root / "tiny-train-000001.tar.gz", [("a.cls", b"1")])
    refuses("expected a whole, uncompressed tar archive", lambda: index(train="*.tar.gz"))
    refuses("absent: expected a folder", lambda: make_dataset("shards", {"root": str(tmp_path / "absent")}))


def imagenet_archives(root: Path) -> Path:
    """ImageNet's own archives: a tar of class tars, and a flat one."""
    classes = [
        (
            f"{wnid}.tar",
            tar_bytes((f"{wnid}_{one}.JPEG", encoded(picture(10 * number + one), "JPEG")) for one in range(2)),
        )
        for number, wnid in enumerate(WNIDS)
    ]
    write_tar(root / "ILSVRC2012_img_train.tar", reversed(classes))
    flat = [(f"ILSVRC2012_val_{one:08d}.JPEG", encoded(picture(50 + one), "JPEG")) for one in (3, 1, 2)]
    write_tar(root / "ILSVRC2012_img_val.tar", flat)
    return root


def test_imagenets_own_archives_are_indexed_without_extraction(tmp_path):
    root = imagenet_archives(tmp_path / "imagenet")
    labels = tmp_path / "val.txt"
    labels.write_text(f"{WNIDS[1]}\n{WNIDS[0]}\n{WNIDS[2]}\n")
    dataset, facts = make_dataset("shards", {"root": str(root), "labels": str(labels)})
    assert (dataset.classes, dataset.train_labels.tolist()) == (WNIDS, [2, 2, 1, 1, 0, 0])
    assert dataset.test_labels.tolist() == [1, 0, 2]
    expected = Image.open(io.BytesIO(encoded(picture(11), "JPEG")))
    assert dataset.read("train", 3).tobytes() == expected.tobytes()
    assert dataset.read("test", 0).tobytes() == Image.open(io.BytesIO(encoded(picture(51), "JPEG"))).tobytes()
    assert facts["labels"] == {"val.txt": sha256(labels)}
    labels.write_text("".join(f"ILSVRC2012_val_{one:08d}.JPEG {WNIDS[one % 3]}\n" for one in (2, 3, 1)))
    again, _ = make_dataset("shards", {"root": str(root), "labels": str(labels)})
    assert again.test_labels.tolist() == [1, 2, 0]
    for text, expected_words in [
        ("1\n2\n3\n", "line 1: expected a wnid like n01440764"),
        (f"{WNIDS[0]}\n", "expected 3 lines, one for each image, found 1"),
        (f"ILSVRC2012_val_00000001.JPEG {WNIDS[0]}\n", "expected a line for ILSVRC2012_val_00000002.JPEG"),
        ("n09999999\n" * 3, "expected labels of 3 classes, 'n01440764' to 'n03888257', found 'n09999999'"),
    ]:
        labels.write_text(text)
        refuses(expected_words, lambda: make_dataset("shards", {"root": str(root), "labels": str(labels)}))
    refuses("give the option 'labels'", lambda: make_dataset("shards", {"root": str(root)}))
    wds = str(webdataset(tmp_path / "imagenet").glob("tiny-val*").__next__().name)
    refuses(
        "found wnids in one and numbers in the other",
        lambda: make_dataset("shards", {"root": str(root), "train": "ILSVRC*train.tar", "test": wds}),
    )


# Parquet on disk


@needs_data
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("cifar10/train-00001-of-00005.parquet", "cifar10/test-00000-of-00001.parquet"),
        ("imagenette64/train.parquet", "imagenette64/val.parquet"),
    ],
)
def test_parquet_on_disk_and_in_memory_have_the_same_pixels(train, test):
    files = {"train": [DATA / train], "test": [DATA / test]}
    options = {"name": "x", "train_limit": 300, "test_limit": 20, "checksums": False}
    streamed, _ = make_dataset("parquet", options | {"memory": False, "pool": 2}, 3, files)
    whole, _ = make_dataset("parquet", options, 3, files)
    assert isinstance(streamed, StreamedDataset)
    for split, labels, images in (
        ("train", whole.train_labels, whole.train_images),
        ("test", whole.test_labels, whole.test_images),
    ):
        np.testing.assert_array_equal(getattr(streamed, f"{split}_labels"), labels)
        pixels = [np.asarray(streamed.read(split, row)).transpose(2, 0, 1) for row in range(len(labels))]
        np.testing.assert_array_equal(np.stack(pixels), images)


def parquet(path: Path, images: list[bytes | None], labels: list[int], rows: int = 4, **columns: list[int]) -> Path:
    """A file of the Hugging Face layout, in row groups of some rows."""
    label = "fine_label" if columns else "label"
    table = pa.table({"img": [{"bytes": image, "path": None} for image in images], label: labels, **columns})
    names = {label: ["a", "b", "c"], **{name: ["x", "y"] for name in columns}}
    features = {name: {"names": values, "_type": "ClassLabel"} for name, values in names.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return path


def test_cifar100_in_parquet_is_read_by_the_label_that_is_named(tmp_path):
    path = parquet(
        tmp_path / "a.parquet", [encoded(picture(one)) for one in range(3)], [2, 0, 1], coarse_label=[1, 0, 1]
    )
    files = {"train": [path], "test": [path]}
    fine, _ = make_dataset("parquet", {"name": "c", "label_column": "fine_label"}, 0, files)
    coarse, _ = make_dataset("parquet", {"name": "c", "label_column": "coarse_label"}, 0, files)
    assert (fine.train_labels.tolist(), fine.classes) == ([2, 0, 1], ("a", "b", "c"))
    assert (coarse.train_labels.tolist(), coarse.classes) == ([1, 0, 1], ("x", "y"))
    refuses(
        "expected a column 'label', found img, fine_label", lambda: make_dataset("parquet", {"name": "c"}, 0, files)
    )
    other = parquet(tmp_path / "b.parquet", [encoded(picture(0))], [0])
    mixed = {"train": [path], "test": [other]}
    refuses(
        "expected a column 'fine_label'",
        lambda: make_dataset("parquet", {"name": "c", "label_column": "fine_label"}, 0, mixed),
    )


def test_parquet_of_other_classes_in_test_is_refused(tmp_path):
    train = parquet(tmp_path / "train.parquet", [encoded(picture(0))], [0])
    table = pq.read_table(train)
    info = {"info": {"features": {"label": {"names": ["a", "b"]}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), tmp_path / "test.parquet")
    files = {"train": [train], "test": [tmp_path / "test.parquet"]}
    refuses(
        "expected the 3 classes of train.parquet, found 2", lambda: make_dataset("parquet", {"name": "c"}, 0, files)
    )


def test_an_order_of_parquet_stays_within_a_few_row_groups(tmp_path):
    first = parquet(
        tmp_path / "0.parquet", [encoded(picture(one)) for one in range(30)], [one % 3 for one in range(30)]
    )
    second = parquet(tmp_path / "1.parquet", [encoded(picture(one)) for one in range(30, 50)], [0] * 20)
    options = {"name": "c", "memory": False, "pool": 3}
    dataset, _ = make_dataset("parquet", options, 0, {"train": [first, second], "test": [second]})
    order = dataset.order(np.random.default_rng(1))
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, dataset.order(np.random.default_rng(2)))
    group = [tuple(dataset.train.places[row, :2]) for row in order]
    changes = {}
    for place, one in enumerate(group):
        changes.setdefault(one, []).append(place)
    assert len(changes) == 8 + 5
    assert max(places[-1] - places[0] for places in changes.values()) < 3 * 4
    assert sum(one != two for one, two in pairwise(group)) > 20, "rows of a pool are mixed"
    assert {dataset.read("train", row).tobytes() for row in (31, 49)} == {picture(one).tobytes() for one in (31, 49)}
    refuses(
        "set memory: true",
        lambda: make_dataset("parquet", options | {"grey": True}, 0, {"train": [first], "test": [second]}),
    )


def test_a_broken_row_on_disk_is_one_sentence(tmp_path):
    path = parquet(tmp_path / "a.parquet", [encoded(picture(0))] * 5 + [b"no image", None], [0] * 7)
    dataset, _ = make_dataset("parquet", {"name": "c", "memory": False}, 0, {"train": [path], "test": [path]})
    refuses(f"{path}, row 5: expected an encoded image, found 8 bytes", lambda: dataset.read("train", 5))
    refuses(f"{path}, row 6: expected an encoded image, found no image", lambda: dataset.read("train", 6))
    path.unlink()
    refuses("found no file", lambda: dataset.read("train", 0))


# Shares and limits


def test_shares_are_stratified_and_nested():
    labels = np.random.default_rng(0).choice([0, 1, 2], 1000, p=[0.7, 0.295, 0.005])
    kept = {share: kept_rows(labels, None, share, [5, 0]) for share in (0.1, 0.3, 1.0)}
    for share, rows in kept.items():
        expected = np.maximum(1, np.rint(share * np.bincount(labels)))
        np.testing.assert_array_equal(np.bincount(labels[rows]), expected)
        assert (np.diff(rows) > 0).all()
    assert set(kept[0.1]) < set(kept[0.3]) < set(kept[1.0])
    assert set(kept[0.1]) != set(kept_rows(labels, None, 0.1, [6, 0]))


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
        ({"train_share": 0.5, "train_limit": 3}, "found both"),
        ({"test_limit": 0}, "limits of 1 or more"),
    ]:
        refuses(expected, lambda options=options: make_dataset("folder", {"root": str(root), **options}))


# The file of an index


def test_an_index_comes_back_as_it_was_saved_and_holds_no_images(tmp_path):
    root = image_folder(tmp_path / "imagé", sides=(200, 200))
    dataset, facts = make_dataset("folder", {"root": str(root)})
    for name in ("a", "b"):
        save_dataset(tmp_path / f"{name}.safetensors", dataset, facts)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.safetensors").stat().st_size < 5000 < facts["listing"]["bytes"] / 10
    again = load_dataset(tmp_path / "a.safetensors")
    assert isinstance(again, StreamedDataset)
    assert (again.root, again.column, again.pool, again.classes) == (str(root), "", 16, dataset.classes)
    for name in ("mean", "std", "train_labels", "test_labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(dataset, name), strict=True)
    assert pickle.loads(pickle.dumps(again)).read("train", 8).tobytes() == dataset.read("train", 8).tobytes()
    assert dataset_facts(tmp_path / "a.safetensors") == facts
    root.rename(tmp_path / "moved")
    refuses("expected its images in the folder", lambda: load_dataset(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_labels": np.array([0, 9])}, "labels below 3"),
        ({"train_labels": np.array([0])}, "as many train labels as images"),
        ({"train": Index.of(["a"], np.array([[0, 0, 1], [1, 0, 1]]))}, "train places in 1 files"),
        ({"train": Index.of(["a"], np.array([[0, -1, 1], [0, 0, 1]]))}, "train places in 1 files"),
        ({"train": Index(np.zeros(3, np.uint8), np.array([2]), np.zeros((2, 3), np.int64))}, "file names in one piece"),
        ({"std": np.zeros(3)}, "pixels that vary"),
        ({"mean": np.array([0.5])}, "a finite mean"),
        ({"pool": 0}, "a pool of 1"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(tmp_path, changes, expected):
    index = Index.of(["a", "b"], np.array([[0, 0, 1], [1, 0, 1]]))
    parts = {
        "name": "x",
        "classes": ("a", "b", "c"),
        "mean": np.full(3, 0.5),
        "std": np.ones(3),
        "train_labels": np.array([0, 1]),
        "test_labels": np.array([0, 1]),
        "train": index,
        "test": index,
        "root": str(tmp_path),
    }
    save_dataset(tmp_path / "good.safetensors", StreamedDataset(**parts), {})
    refuses(expected, lambda: save_dataset(tmp_path / "x.safetensors", StreamedDataset(**parts | changes), {}))
    assert not (tmp_path / "x.safetensors").exists()

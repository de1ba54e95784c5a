"""Small datasets of random pixels, in every layout that is read."""

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neural_echos.datasets import (
    CIFAR10_CLASSES,
)
from neural_echos.errors import EchosError

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the data folder beside the checkout (../shared/data)")
WNIDS = ("n01440764", "n02102040", "n03888257")


def picture(value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """An image of random pixels of its own."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
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


def records(number: int, labels: list[list[int]]) -> bytes:
    rng = np.random.default_rng(number)
    return b"".join(bytes(one) + rng.integers(0, 256, 3072, dtype=np.uint8).tobytes() for one in labels)


def cifar10_members() -> dict[str, bytes]:
    batches = {f"data_batch_{number}.bin": records(number, [[number], [number + 4]]) for number in range(1, 6)}
    names = ("\n".join(CIFAR10_CLASSES) + "\n\n").encode()
    members = {"batches.meta.txt": names, **batches, "readme.html": b"<html>", "test_batch.bin": records(9, [[0], [9]])}
    return {f"cifar-10-batches-bin/{name}": data for name, data in members.items()}


def image_folder(root: Path, per_class: int = 3, sides: tuple[int, int] = (8, 8)) -> Path:
    """ImageNet-1k's layout: train/<wnid>/<wnid>_<number>.JPEG and val/<wnid>/ILSVRC2012_val_<number>.JPEG."""
    for number, wnid in enumerate(WNIDS):
        for split, stem in (("train", f"{wnid}_"), ("val", "ILSVRC2012_val_0000")):
            (root / split / wnid).mkdir(parents=True)
            for one in range(per_class):
                image = picture(100 * number + 10 * one + (split == "val"), sides)
                image.save(root / split / wnid / f"{stem}{one}.JPEG", "JPEG")
    return root


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


def parquet(path: Path, images: list[bytes | None], labels: list[int], rows: int = 4, **columns: list[int]) -> Path:
    """A file of the Hugging Face layout, in row groups of some rows."""
    label = "fine_label" if columns else "label"
    table = pa.table({"img": [{"bytes": image, "path": None} for image in images], label: labels, **columns})
    names = {label: ["a", "b", "c"], **{name: ["x", "y"] for name in columns}}
    features = {name: {"names": values, "_type": "ClassLabel"} for name, values in names.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return path

"""Datasets for training, each one safetensors file: images, labels, class names, and what made it.

Three makers, registered in `MAKERS`: patches of the photographs that ship inside scikit-image (no network), the
handwritten digits that ship inside scikit-learn (no network), and any image dataset in the Hugging Face parquet layout
(CIFAR-10, Imagenette, …).

References
----------
- Jarrett, Kavukcuoglu, Ranzato, LeCun: What is the best multi-stage architecture for object recognition? ICCV 2009
  (local contrast normalisation).
- Kaynak 1995; Alpaydin, Kaynak: Cascading classifiers, Kybernetika 1998 (digits).
- Krizhevsky: Learning multiple layers of features from tiny images, 2009 (CIFAR-10).
"""

import importlib.util
import inspect
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_echos.errors import EchosError, nearest
from neural_echos.files import atomic_path, sha256

Facts = dict[str, Any]

_KEY = "neural_echos.dataset"
_VERSION = 1
# What Pillow raises on broken images, beside its own errors (which are OSErrors).
_UNDECODABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, zlib.error)
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split into train and test.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Class names; a label is an index into them.
    train_images, test_images : ndarray of uint8, shape (n, c, h, w)
    train_labels, test_labels : ndarray of int64, shape (n,)
    mean, std : ndarray of float64, shape (c,)
        Of the train pixels, scaled to [0, 1].
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Scene:
    """One photograph inside the scikit-image wheel, in its folder `skimage/data`."""

    name: str
    file: str
    sha256: str
    licence: str


# The photographs of the scikit-image 0.26 wheel: name, file, checksum, licence as stated there (where not CC0).
# docs/datasets.md tells which other images ship, and why they are left out.
SCENES: dict[str, Scene] = {
    scene.name: scene
    for scene in (
        Scene(
            "astronaut",
            "astronaut.png",
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            "public domain",
        ),
        Scene("brick", "brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf", "CC0"),
        Scene("camera", "camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a", "CC0"),
        Scene("chelsea", "chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb", "CC0"),
        Scene("coffee", "coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7", "CC0"),
        Scene(
            "coins",
            "coins.png",
            "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
            "no known copyright restrictions",
        ),
        Scene("grass", "grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89", "CC0"),
        Scene("gravel", "gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12", "CC0"),
        Scene(
            "hubble_deep_field",
            "hubble_deep_field.jpg",
            "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
            "public domain",
        ),
        Scene(
            "immunohistochemistry",
            "ihc.png",
            "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
            "no known copyright restrictions",
        ),
        Scene("moon", "moon.png", "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577", "none stated"),
        Scene(
            "motorcycle",
            "motorcycle_left.png",
            "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
            "none stated",
        ),
        Scene("page", "page.png", "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3", "none stated"),
        Scene("retina", "retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6", "CC0"),
        Scene(
            "rocket", "rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c", "public domain"
        ),
        Scene("text", "text.png", "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1", "public domain"),
    )
}

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def make_dataset(
    kind: str,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    files: Mapping[str, Sequence[str | Path]] | None = None,
) -> tuple[Dataset, Facts]:
    """Make a dataset of one of the registered kinds.

    Parameters
    ----------
    kind : str
        A key of `MAKERS`.
    options : mapping
        Keyword arguments of that maker, other than its seed and files.
    seed : int
        Decides every draw.
    files : mapping
        For the parquet kind: {"train": files, "test": files}. The other kinds take none.

    Returns
    -------
    dataset : Dataset
    facts : dict
        Kind, options, seed, how it was made, licence, citation, and the checksum of every file read.

    Raises
    ------
    EchosError
        Unknown kind or option, missing option or files, or whatever is wrong with the input itself.
    """
    if kind not in MAKERS:
        raise EchosError(
            f"dataset kind: expected one of {', '.join(MAKERS)}, found {kind!r}{nearest(kind, MAKERS)}; correct it"
        )
    if seed < 0:
        raise EchosError(f"dataset kind {kind}: expected a seed of 0 or more, found {seed}; correct it")
    maker = MAKERS[kind]
    arguments = _checked_options(kind, maker, dict(options or {}))
    files = dict(files or {})
    expected = {"train", "test"} if kind == "parquet" else set()
    if set(files) != expected:
        raise EchosError(
            f"dataset kind {kind}: expected {' and '.join(sorted(expected, reverse=True)) or 'no'} files, "
            f"found {', '.join(sorted(files)) or 'none'}; correct the declaration"
        )
    shards = [files[name] for name in ("train", "test") if name in expected]
    dataset, facts = maker(*shards, seed=seed, **arguments)
    return dataset, {"kind": kind, **facts}


def _checked_options(kind: str, maker: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    keywords = {
        name: parameter
        for name, parameter in inspect.signature(maker).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "seed"
    }
    for name in options:
        if name not in keywords:
            raise EchosError(
                f"dataset kind {kind}: expected options among {', '.join(keywords)}, "
                f"found {name!r}{nearest(name, keywords)}; correct it or take it out"
            )
    for name, parameter in keywords.items():
        if parameter.default is parameter.empty and name not in options:
            raise EchosError(f"dataset kind {kind}: expected the option {name!r}, found none; add it")
    return options


def save_dataset(path: str | Path, dataset: Dataset, facts: Mapping[str, Any]) -> None:
    """Write a dataset as one safetensors file, atomically; the same dataset and facts give the same bytes.

    Class names, mean, standard deviation and `facts` (JSON values) travel in the file's metadata.
    """
    from safetensors.numpy import save_file

    _check(dataset, str(path))
    header = {
        "version": _VERSION,
        "name": dataset.name,
        "classes": list(dataset.classes),
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        "facts": dict(facts),
    }
    # One metadata key only: safetensors writes several in an order that changes from run to run.
    metadata = {_KEY: json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)}
    with atomic_path(path) as temporary:
        save_file({key: np.ascontiguousarray(getattr(dataset, key)) for key in _ARRAYS}, temporary, metadata)


def load_dataset(path: str | Path) -> Dataset:
    """Read a dataset written by `save_dataset` and check it.

    Raises
    ------
    EchosError
        The file is missing, cut short, of another kind or version, or its arrays contradict each other.
    """
    header, arrays = _open(path, _ARRAYS)
    dataset = Dataset(
        name=header["name"],
        classes=tuple(header["classes"]),
        mean=np.array(header["mean"], dtype=np.float64),
        std=np.array(header["std"], dtype=np.float64),
        **arrays,
    )
    _check(dataset, str(path))
    return dataset


def dataset_facts(path: str | Path) -> Facts:
    """Read what made a dataset file, without its images: the `facts` given to `save_dataset`."""
    facts: Facts = _open(path, ())[0]["facts"]
    return facts


def _open(path: str | Path, names: Sequence[str]) -> tuple[Facts, dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    advice = "delete it and make it again"
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if header.get("version") != _VERSION or set(file.keys()) != set(_ARRAYS):
                raise EchosError(f"{path}: expected a dataset of version {_VERSION}, found another content; {advice}")
            return header, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise EchosError(f"{path}: expected a dataset, found no file; run the rule that makes it first") from None
    except (SafetensorError, OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise EchosError(f"{path}: expected a dataset in safetensors, found {found}; {advice}") from None


def _check(dataset: Dataset, where: str) -> None:
    """Refuse a dataset whose parts contradict each other."""

    def require(holds: bool, expected: str, found: Any) -> None:
        if not holds:
            raise EchosError(f"{where}: expected {expected}, found {found}; make the dataset again")

    channels = dataset.train_images.shape[1] if dataset.train_images.ndim == 4 else 0
    for split in ("train", "test"):
        images, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels")
        require(images.dtype == np.uint8 and images.ndim == 4, f"{split} images in uint8 (n, c, h, w)", _kind(images))
        require(labels.dtype == np.int64 and labels.ndim == 1, f"{split} labels in int64 (n,)", _kind(labels))
        require(len(images) == len(labels) > 0, f"as many {split} labels as images", f"{len(labels)}, {len(images)}")
        require(images.shape[1:] == dataset.train_images.shape[1:], "test images like train images", images.shape)
        bounds = int(labels.min()), int(labels.max())
        require(bounds[0] >= 0 and bounds[1] < len(dataset.classes), f"labels below {len(dataset.classes)}", bounds)
    for name in ("mean", "std"):
        value = getattr(dataset, name)
        require(value.shape == (channels,) and bool(np.isfinite(value).all()), f"a finite {name} per channel", value)
    require(bool((dataset.std > 0).all()), "pixels that vary in every channel", f"standard deviation {dataset.std}")


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"


def _dataset(name: str, classes: Sequence[str], train: tuple[Any, Any], test: tuple[Any, Any]) -> Dataset:
    """Assemble a dataset and measure the mean and standard deviation of its train pixels, exactly, from counts."""
    images = train[0]
    counts = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(axis=1)
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    dataset = Dataset(name, tuple(classes), *train, *test, mean=mean, std=np.sqrt(variance))
    _check(dataset, name)
    return dataset


# Photographs ----------------------------------------------------------------------------------------------------------


def make_photographs(
    *,
    size: int = 32,
    train_per_scene: int = 600,
    test_per_scene: int = 150,
    seed: int,
    scenes: Sequence[str] | None = None,
    block: int = 64,
    local_sigma: float = 4.0,
    min_contrast: float = 4.0,
) -> tuple[Dataset, Facts]:
    """Make the task "from which photograph is this patch?" from images inside the scikit-image wheel, without network.

    Each photograph, in grey, is cut into a grid of blocks; a seeded, spread quarter of the blocks belongs to the test
    split, the rest to train, and no pixel to both. Patches are distinct positions drawn at random. Each is normalised
    for local contrast from its own pixels (`normalise_patches`), so that neither colour nor brightness nor contrast
    tells the scene. A scene's patches depend on `seed` and its name only, not on the other scenes.

    Parameters
    ----------
    size : int
        Side of a patch, pixels.
    train_per_scene, test_per_scene : int
        Patches of each photograph.
    seed : int
        Decides the test blocks, the positions and the order.
    scenes : sequence of str, optional
        Keys of `SCENES`; by default all of them.
    block : int
        Least side of a block, pixels; at least `size`.
    local_sigma : float
        Standard deviation of the Gaussian window of the local contrast, pixels.
    min_contrast : float
        Least standard deviation of a patch before normalisation, in grey levels of 0–255: flatter places hold
        noise only and are passed over.

    Returns
    -------
    dataset : Dataset
        Grey images, shape (n, 1, size, size).
    facts : dict

    Raises
    ------
    EchosError
        Unknown scene, impossible sizes, scikit-image absent, or a photograph absent from it, changed, or too small.
    """
    names = _checked_scenes(scenes)
    if not (4 <= size <= block and min(train_per_scene, test_per_scene) >= 1 and local_sigma > 0 and min_contrast > 0):
        raise EchosError(
            "photographs: expected 4 <= size <= block, at least one patch per scene, and positive local_sigma and "
            f"min_contrast, found size {size}, block {block}, train_per_scene {train_per_scene}, "
            f"test_per_scene {test_per_scene}, local_sigma {local_sigma}, min_contrast {min_contrast}; correct them"
        )
    counts = {"train": train_per_scene, "test": test_per_scene}
    parts: dict[str, list[np.ndarray]] = {split: [] for split in counts}
    for name in names:
        image = load_scene(name)
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        test = held_out_region(*image.shape, block=block, rng=rng)
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
        for split, count in counts.items():
            places = patch_places(image, test if split == "test" else ~test, size=size, min_contrast=min_contrast)
            if len(places) < count:
                raise EchosError(
                    f"photograph {name}: expected room for {count} distinct {split} patches of {size} pixels, "
                    f"found {len(places)}; ask for fewer or smaller patches"
                )
            y, x = rng.choice(places, count, replace=False).T
            parts[split].append(normalise_patches(windows[y, x], sigma=local_sigma))
    arrays = {split: _mixed(parts[split], np.random.default_rng([seed, zlib.crc32(split.encode())])) for split in parts}
    options = {"size": size, "train_per_scene": train_per_scene, "test_per_scene": test_per_scene, "scenes": names}
    facts = {
        "how": "patches of scikit-image's photographs, grey, train and test from disjoint blocks, normalised for local "
        "contrast patch by patch; the class is the photograph",
        "options": {**options, "block": block, "local_sigma": local_sigma, "min_contrast": min_contrast},
        "seed": seed,
        "files": {SCENES[name].file: SCENES[name].sha256 for name in names},
        "licence": "; ".join(f"{name}: {SCENES[name].licence}" for name in names),
        "citation": "van der Walt et al., scikit-image: image processing in Python, PeerJ 2:e453, 2014",
    }
    return _dataset("photographs", names, arrays["train"], arrays["test"]), facts


def _checked_scenes(scenes: Sequence[str] | None) -> list[str]:
    names = list(SCENES) if scenes is None else list(scenes)
    for name in names:
        if name not in SCENES:
            raise EchosError(
                f"photographs: expected scenes among {', '.join(SCENES)}, "
                f"found {name!r}{nearest(name, SCENES)}; correct it"
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise EchosError(f"photographs: expected two scenes or more, each once, found {names}; correct the list")
    return names


def load_scene(name: str) -> np.ndarray:
    """Read one of `SCENES` out of the installed scikit-image wheel, in grey; nothing is ever downloaded.

    Returns
    -------
    ndarray of uint8, shape (h, w)
        ITU-R 601 luma, (299 R + 587 G + 114 B) / 1000.
    """
    from PIL import Image

    scene = SCENES[name]
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise EchosError("photographs: expected the package scikit-image, found none; pip install scikit-image")
    path = Path(package.origin).parent / "data" / scene.file
    found = f"checksum {sha256(path)[:12]}…" if path.is_file() else "no file"
    if found != f"checksum {scene.sha256[:12]}…":
        raise EchosError(
            f"{path}: expected the photograph {name} with checksum {scene.sha256[:12]}…, found {found}; "
            "install scikit-image 0.26 or leave this scene out"
        )
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def held_out_region(height: int, width: int, *, block: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the test region of a photograph: one block of every four neighbours.

    The photograph is cut into as many equal blocks as fit with sides of at least `block`. Blocks are numbered in strips
    two rows high, column by column, so that four consecutive ones are (but at the borders) a 2 × 2 square; one of each
    four is drawn.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True where a pixel belongs to test.
    """
    rows, columns = height // block, width // block
    if rows * columns < 2:
        raise EchosError(
            f"photographs: expected images of at least two blocks of {block} pixels, found {height} × {width}; "
            "make the blocks smaller"
        )
    strips = sorted((row // 2, column, row) for row in range(rows) for column in range(columns))
    chosen = np.zeros((rows, columns), dtype=bool)
    for group in np.array_split(np.arange(len(strips)), max(1, round(len(strips) / 4))):
        _, column, row = strips[rng.choice(group)]
        chosen[row, column] = True
    return chosen[np.ix_(np.arange(height) * rows // height, np.arange(width) * columns // width)]


def patch_places(image: np.ndarray, region: np.ndarray, *, size: int, min_contrast: float) -> np.ndarray:
    """List the top left corners of all patches that lie wholly in a region and are not flat.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    region : ndarray of bool, shape (h, w)
    size : int
        Side of a patch, pixels.
    min_contrast : float
        Least standard deviation within a patch, grey levels.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Rows and columns, in reading order.
    """
    area = size * size
    grey = image.astype(np.int64)
    total = _window_sums(grey, size)
    variance = (area * _window_sums(grey**2, size) - total**2) / area**2
    return np.argwhere((_window_sums(region, size) == area) & (variance >= min_contrast**2))


def _window_sums(values: np.ndarray, size: int) -> np.ndarray:
    """Sum integers over every size × size window, exactly; shape (h - size + 1, w - size + 1)."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = values.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    return sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]


def normalise_patches(patches: np.ndarray, *, sigma: float = 4.0, clip: float = 3.0) -> np.ndarray:
    """Normalise patches for local contrast, each from its own pixels only.

    With a Gaussian window w (mirrored at the patch's border): v = x - w∗x, s = sqrt(w∗v²), y = v / max(s, mean s)
    (Jarrett et al. 2009, equation 2). Then y is brought to mean 0 and standard deviation 1 and cut at ±`clip`, over and
    over until both hold at once, so that a patch's mean and deviation tell nothing. An affine change of its grey levels
    leaves a patch as it is.

    Parameters
    ----------
    patches : ndarray, shape (n, h, w)
        None of them constant.
    sigma : float
        Standard deviation of the window, pixels.
    clip : float
        Where to cut, in standard deviations.

    Returns
    -------
    ndarray of uint8, shape (n, h, w)
        From -clip to +clip as 0–255.
    """
    from scipy.ndimage import gaussian_filter

    window = (0.0, sigma, sigma)
    x = patches.astype(np.float64)
    x -= gaussian_filter(x, window)
    deviation = np.sqrt(gaussian_filter(x**2, window))
    x /= np.maximum(deviation, deviation.mean(axis=(1, 2), keepdims=True))
    for _ in range(64):
        x -= x.mean(axis=(1, 2), keepdims=True)
        x /= x.std(axis=(1, 2), keepdims=True)
        if np.abs(x).max() <= clip + 1e-3:
            break
        np.clip(x, -clip, clip, out=x)
    return np.rint((np.clip(x, -clip, clip) + clip) * (255 / (2 * clip))).astype(np.uint8)


def _mixed(parts: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Join the patches of all scenes, label them by scene, and put them in a random order."""
    labels = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    order = rng.permutation(len(labels))
    return np.concatenate(parts)[order, None], labels[order]


# Digits ---------------------------------------------------------------------------------------------------------------


def make_digits(*, size: int = 16, test_share: float = 0.25, seed: int) -> tuple[Dataset, Facts]:
    """Make a dataset of the 1,797 handwritten digits (8 × 8 pixels) that ship inside scikit-learn, without network.

    Parameters
    ----------
    size : int
        Side of an image, a multiple of 8: every pixel is repeated, none invented.
    test_share : float
        Share of each digit's images that go to test, in (0, 1).
    seed : int
        Decides the split and the order.

    Returns
    -------
    dataset : Dataset
        Grey images, shape (n, 1, size, size); the levels 0–16 become 0–255.
    facts : dict
    """
    from sklearn.datasets import load_digits

    if size < 8 or size % 8 or not 0 < test_share < 1:
        raise EchosError(
            f"digits: expected a size of 8, 16, 24, … and a test_share between 0 and 1, found {size} and {test_share}; "
            "correct them"
        )
    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)
    images = images.repeat(size // 8, axis=1).repeat(size // 8, axis=2)[:, None]
    labels = source.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        test[members[: round(test_share * len(members))]] = True
    train_order, test_order = rng.permutation(np.flatnonzero(~test)), rng.permutation(np.flatnonzero(test))
    facts = {
        "how": "scikit-learn's handwritten digits, pixels repeated, split at random within each digit",
        "options": {"size": size, "test_share": test_share},
        "seed": seed,
        "files": {},
        "licence": "none stated (UCI Machine Learning Repository; distributed with scikit-learn, BSD-3-Clause)",
        "citation": "Alpaydin, Kaynak: Cascading classifiers, Kybernetika, 1998",
    }
    train, held_out = (images[train_order], labels[train_order]), (images[test_order], labels[test_order])
    return _dataset("digits", [str(digit) for digit in range(10)], train, held_out), facts


# Parquet --------------------------------------------------------------------------------------------------------------


def read_parquet_images(
    train_files: Sequence[str | Path],
    test_files: Sequence[str | Path],
    *,
    name: str,
    image_column: str | None = None,
    label_column: str = "label",
    classes: Sequence[str] | None = None,
    grey: bool = False,
    seed: int = 0,
    train_limit: int | None = None,
    test_limit: int | None = None,
    licence: str = "none stated",
    citation: str = "",
) -> tuple[Dataset, Facts]:
    """Read an image dataset in the Hugging Face parquet layout: encoded images (PNG, JPEG, WebP, …) and integer labels.

    Parameters
    ----------
    train_files, test_files : sequence of path
        Shards, read in this order.
    name : str
        Name of the dataset.
    image_column : str, optional
        Bytes, or a struct {bytes, path}; by default "img" or "image", whichever there is.
    label_column : str
        Integers from 0.
    classes : sequence of str, optional
        Class names; by default those in the file's Hugging Face metadata, or else its "wnid" column.
    grey : bool
        Read as grey (c = 1) and not as colour (c = 3).
    seed : int
        Decides which images a limit keeps.
    train_limit, test_limit : int, optional
        Keep so many images of each split, drawn at random, in their order; a smaller limit keeps some of the same.
    licence, citation : str
        Of the source, for the facts.

    Raises
    ------
    EchosError
        A file that is missing, cut short or not parquet, an absent column, no class names, a label out of range, an
        image that does not decode, or images of different sizes.
    """
    if not train_files or not test_files:
        raise EchosError(f"dataset {name}: expected train and test files, found none; declare both")
    if min(limit for limit in (train_limit, test_limit, 1) if limit is not None) < 1:
        raise EchosError(
            f"dataset {name}: expected limits of 1 or more, found {train_limit}, {test_limit}; correct them"
        )
    names = list(classes) if classes is not None else _class_names([*train_files, *test_files], label_column)
    mode = "L" if grey else "RGB"
    splits = []
    for number, (files, limit) in enumerate(((train_files, train_limit), (test_files, test_limit))):
        rows = _rows(files, image_column, label_column, _kept(files, limit, [seed, number]))
        splits.append(_decoded(rows, len(names), mode, files[0]))
    facts = {
        "how": f"read from parquet, images decoded as {mode}, in the order of the files",
        "options": {"train_limit": train_limit, "test_limit": test_limit, "grey": grey},
        "seed": seed,
        "files": {Path(file).name: sha256(file) for file in [*train_files, *test_files]},
        "licence": licence,
        "citation": citation,
    }
    return _dataset(name, names, *splits), facts


def _decoded(
    rows: Iterator[tuple[str, Any, Any]], classes: int, mode: str, first: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Decode rows of one split into images (n, c, h, w) and labels (n,), checking each."""
    images: list[np.ndarray] = []
    labels: list[int] = []
    for where, data, label in rows:
        image = _decode(where, data, mode)
        if images and image.shape != images[0].shape:
            raise EchosError(
                f"{where}: expected an image of shape {images[0].shape} like the first, found {image.shape}; "
                "resize the images to one size first"
            )
        if not isinstance(label, int) or not 0 <= label < classes:
            raise EchosError(
                f"{where}: expected a label from 0 to {classes - 1}, found {label!r}; check the file or the classes"
            )
        images.append(image)
        labels.append(label)
    if not images:
        raise EchosError(f"{first}: expected images, found no rows; check the file")
    return np.stack(images), np.array(labels, dtype=np.int64)


def _parquet(path: str | Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise EchosError(f"{path}: expected a parquet file, found no file; fetch it first") from None
    except (pa.ArrowException, OSError) as error:
        found = str(error).splitlines()[0]
        raise EchosError(f"{path}: expected a parquet file, found {found}; fetch it again") from None


def _kept(files: Sequence[str | Path], limit: int | None, seed: list[int]) -> np.ndarray:
    """Draw the rows that a limit keeps; shape (rows of all files,), True where kept."""
    rows = sum(_parquet(path).metadata.num_rows for path in files)
    kept = np.zeros(rows, dtype=bool)
    kept[np.random.default_rng(seed).permutation(rows)[:limit]] = True
    return kept


def _rows(
    files: Sequence[str | Path], image_column: str | None, label_column: str, kept: np.ndarray
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (place, encoded image, label) of each row that is kept."""
    import pyarrow as pa

    first = 0
    for path in files:
        file = _parquet(path)
        columns = file.schema_arrow.names
        image = image_column or next((name for name in ("img", "image") if name in columns), "img")
        for name in (image, label_column):
            if name not in columns:
                raise EchosError(
                    f"{path}: expected a column {name!r}, found {', '.join(columns)}{nearest(name, columns)}; "
                    "name the right column"
                )
        row = 0
        try:
            for batch in file.iter_batches(batch_size=256, columns=[image, label_column]):
                chosen = np.flatnonzero(kept[first + row : first + row + len(batch)])
                part = batch.take(pa.array(chosen))
                for offset, data, label in zip(
                    chosen, part[image].to_pylist(), part[label_column].to_pylist(), strict=True
                ):
                    yield f"{path}, row {row + offset}", data, label
                row += len(batch)
        except (pa.ArrowException, OSError) as error:
            found = str(error).splitlines()[0]
            raise EchosError(f"{path}: expected readable rows, found {found}; fetch the file again") from None
        first += row


def _class_names(files: Sequence[str | Path], label_column: str) -> list[str]:
    """Take class names from the Hugging Face metadata, or else from a "wnid" column (WordNet ids, one per label)."""
    first = _parquet(files[0])
    try:
        described = json.loads((first.schema_arrow.metadata or {})[b"huggingface"])
        return [str(name) for name in described["info"]["features"][label_column]["names"]]
    except (KeyError, TypeError, ValueError):
        pass
    if not {"wnid", label_column} <= set(first.schema_arrow.names):
        raise EchosError(
            f"{files[0]}: expected class names in its Hugging Face metadata or a column 'wnid', found neither; "
            "give the option 'classes'"
        )
    pairs: set[tuple[int, str]] = set()
    for file in files:
        table = _parquet(file).read(columns=[label_column, "wnid"])
        pairs |= set(zip(table[label_column].to_pylist(), table["wnid"].to_pylist(), strict=True))
    if sorted(label for label, _ in pairs) != list(range(len(pairs))):
        raise EchosError(f"{files[0]}: expected one wnid per label from 0, found {sorted(pairs)[:4]}; give 'classes'")
    return [wnid for _, wnid in sorted(pairs)]


def _decode(where: str, data: Any, mode: str) -> np.ndarray:
    """Decode one image; shape (c, h, w)."""
    from PIL import Image

    encoded: Any = data.get("bytes") if isinstance(data, dict) else data
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            pixels = np.asarray(image.convert(mode))
    except (*_UNDECODABLE, Image.DecompressionBombError):
        found = f"{len(encoded)} bytes that do not decode" if isinstance(encoded, bytes) else "no image"
        raise EchosError(f"{where}: expected an encoded image, found {found}; fetch the file again") from None
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


MAKERS: dict[str, Callable[..., tuple[Dataset, Facts]]] = {
    "photographs": make_photographs,
    "digits": make_digits,
    "parquet": read_parquet_images,
}

"""Patches of the photographs that ship with scikit-image; no network needed.

References
----------
- Jarrett, Kavukcuoglu, Ranzato, LeCun: What is the best multi-stage architecture for object recognition? ICCV 2009
  (local contrast normalisation).
"""

import importlib.util
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_echos.datasets.base import Dataset, Facts, measured
from neural_echos.datasets.registry import maker
from neural_echos.errors import EchosError, nearest
from neural_echos.files import sha256


@dataclass(frozen=True)
class Scene:
    """One photograph in the folder `skimage/data` of the scikit-image wheel."""

    name: str
    file: str
    sha256: str
    licence: str


# The photographs of the scikit-image 0.26 wheel: name, file, checksum, and licence as stated there (if not CC0). docs/datasets.md
# lists the other images that it ships, and why they are excluded.
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


@maker("photographs")
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
    """Make the task "which photograph is this patch from?" from images in the scikit-image wheel; no network needed.

    Each photograph, in grey, is divided into a grid of blocks. A seeded, spread-out quarter of the blocks belongs to the test split
    and the rest to train; no pixel belongs to both. Patches are drawn at distinct random positions. Each is normalised for local
    contrast from its own pixels (`normalise_patches`), so that neither colour, brightness nor contrast reveals the scene. A scene's
    patches depend only on `seed` and its name, not on the other scenes.

    Parameters
    ----------
    size : int
        Side of a patch, pixels.
    train_per_scene, test_per_scene : int
        Number of patches per photograph.
    seed : int
        Determines the test blocks, the positions and the order.
    scenes : sequence of str, optional
        Keys of `SCENES`; all by default.
    block : int
        Minimum side of a block, pixels; at least `size`.
    local_sigma : float
        Standard deviation of the Gaussian window for local contrast, pixels.
    min_contrast : float
        Minimum standard deviation of a patch before normalisation, in grey levels of 0–255; flatter places contain only noise and
        are skipped.

    Returns
    -------
    dataset : Dataset
        Grey images, shape (n, 1, size, size).
    facts : dict

    Raises
    ------
    EchosError
        A scene is unknown, the sizes are impossible, scikit-image is not installed, or a photograph is missing, changed or too
        small.
    """
    names = _checked_scenes(scenes)
    if not (4 <= size <= block and min(train_per_scene, test_per_scene) >= 1 and local_sigma > 0 and min_contrast > 0):
        raise EchosError(
            "photographs: there must be 4 <= size <= block, at least one patch per scene, and positive local_sigma and "
            f"min_contrast, but size is {size}, block {block}, train_per_scene {train_per_scene}, "
            f"test_per_scene {test_per_scene}, local_sigma {local_sigma}, min_contrast {min_contrast}"
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
                    f"photograph {name} has room for only {len(places)} distinct {split} patches of {size} pixels, not {count}; "
                    "request fewer or smaller patches"
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
    return measured("photographs", names, arrays["train"], arrays["test"]), facts


def _checked_scenes(scenes: Sequence[str] | None) -> list[str]:
    names = list(SCENES) if scenes is None else list(scenes)
    for name in names:
        if name not in SCENES:
            raise EchosError(
                f"photographs: there is no scene {name!r}{nearest(name, SCENES)}; scenes are {', '.join(SCENES)}"
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise EchosError(f"photographs: give at least two scenes, each only once, not {names}")
    return names


def load_scene(name: str) -> np.ndarray:
    """Read one of `SCENES` from the installed scikit-image wheel, in grey; nothing is downloaded.

    Returns
    -------
    ndarray of uint8, shape (h, w)
        ITU-R 601 luma, (299 R + 587 G + 114 B) / 1000.
    """
    from PIL import Image

    scene = SCENES[name]
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise EchosError("photographs: the package scikit-image is not installed; pip install scikit-image")
    path = Path(package.origin).parent / "data" / scene.file
    found = f"checksum {sha256(path)[:12]}…" if path.is_file() else "no file"
    if found != f"checksum {scene.sha256[:12]}…":
        raise EchosError(
            f"{path}: this is not the photograph {name} that scikit-image 0.26 ships (checksum {scene.sha256[:12]}…, found "
            f"{found}); install that version or leave this scene out"
        )
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def held_out_region(height: int, width: int, *, block: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the test region of a photograph: one block of every four neighbours.

    The photograph is divided into as many equal blocks as fit with sides of at least `block`. Blocks are numbered in strips two
    rows high, column by column, so that four consecutive blocks form a 2 × 2 square (except at the borders); one of each four is
    drawn.

    Returns
    -------
    ndarray of bool, shape (height, width)
        True for test pixels.
    """
    rows, columns = height // block, width // block
    if rows * columns < 2:
        raise EchosError(
            f"photographs: an image of {height} × {width} pixels has no room for two blocks of {block}; make the blocks smaller"
        )
    strips = sorted((row // 2, column, row) for row in range(rows) for column in range(columns))
    chosen = np.zeros((rows, columns), dtype=bool)
    for group in np.array_split(np.arange(len(strips)), max(1, round(len(strips) / 4))):
        _, column, row = strips[rng.choice(group)]
        chosen[row, column] = True
    return chosen[np.ix_(np.arange(height) * rows // height, np.arange(width) * columns // width)]


def patch_places(image: np.ndarray, region: np.ndarray, *, size: int, min_contrast: float) -> np.ndarray:
    """List the top left corners of all patches that lie entirely in a region and are not flat.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    region : ndarray of bool, shape (h, w)
    size : int
        Side of a patch, pixels.
    min_contrast : float
        Minimum standard deviation within a patch, grey levels.

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

    With a Gaussian window w (mirrored at the patch's border): v = x - w∗x, s = sqrt(w∗v²), y = v / max(s, mean s) (Jarrett et al.
    2009, equation 2). Then y is standardised to mean 0 and standard deviation 1 and clipped at ±`clip`, repeatedly until both hold,
    so that a patch's mean and deviation carry no information. The result is invariant to affine changes of the grey levels.

    Parameters
    ----------
    patches : ndarray, shape (n, h, w)
        Must not be constant.
    sigma : float
        Standard deviation of the window, pixels.
    clip : float
        Clipping limit, in standard deviations.

    Returns
    -------
    ndarray of uint8, shape (n, h, w)
        The range from -clip to +clip as 0–255.
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

"""Survey: list the timm models with depthwise kernels, their sizes and pretrained weights, without downloading anything.

Every timm architecture is built on the meta device, where tensors have shapes but no memory. `kernels.layers_of` walks its
modules and finds the same depthwise layers that `extract` would find in the checkpoint.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path
from neural_echos.kernels import layers_of
from neural_echos.progress import tracked
from neural_echos.tables import SCHEMAS

_LOG = logging.getLogger(__name__)
_TIMM = "timm.models."
# Methods that torch.nn.init and timm's weight_init call on a tensor: pointless without memory, and most of the run time.
_FILLS = ("normal_", "uniform_", "erfinv_", "mul_", "add_", "clamp_", "fill_", "zero_")


def survey(architectures: Sequence[str] | None = None, *, progress: bool = False) -> pa.Table:
    """List the timm models that have depthwise kernels.

    Parameters
    ----------
    architectures : sequence of str, optional
        Names of timm models; by default all that timm itself registers.
    progress : bool
        Show progress: a bar on a terminal, log lines elsewhere.

    Returns
    -------
    pyarrow.Table
        Schema "survey" (docs/tables.md): one row per architecture and pretrained tag, sorted by family, architecture and tag.
        An architecture without pretrained weights has one row with a null tag.
    """
    import timm

    from neural_echos.architectures import timm_name

    tags: dict[str, list[str]] = {}
    for pretrained in timm.list_pretrained():
        architecture, _, tag = pretrained.partition(".")
        tags.setdefault(architecture, []).append(tag)
    rows: list[dict[str, Any]] = []
    names = _architectures() if architectures is None else [timm_name(name).partition(".")[0] for name in architectures]
    for name in tracked(names, "architectures", len(names)) if progress else names:
        if counted := _count(name):
            rows += [{**counted, **_pretrained(name, tag)} for tag in tags.get(name, [None])]
    rows.sort(key=lambda row: (row["family"], row["architecture"], row["tag"] or ""))
    return pa.Table.from_pylist(rows, schema=SCHEMAS["survey"])


def write_survey(path: str | Path, table: pa.Table) -> None:
    """Write a survey as CSV, atomically."""
    with atomic_path(path) as temporary:
        table.to_pandas().to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def read_survey(path: str | Path) -> pa.Table:
    """Read a survey; raises `EchosError` if the file is missing or has other columns."""
    from pyarrow import csv

    schema = SCHEMAS["survey"]
    convert = csv.ConvertOptions(column_types=schema, strings_can_be_null=True)
    try:
        table = csv.read_csv(path, convert_options=convert)
    except (pa.ArrowException, OSError, ValueError) as error:
        found = (str(error) or type(error).__name__).splitlines()[0]
        raise EchosError(f"{path}: cannot be read as a CSV survey ({found}); create it with echos survey") from None
    if not table.schema.equals(schema):
        raise EchosError(
            f"{path}: the columns are {', '.join(table.column_names)}, not {', '.join(schema.names)}; "
            "regenerate it with echos survey"
        )
    return table


def render_page(table: pa.Table) -> str:
    """Render the page docs/zoo.md: how kernels were counted, and one row per family."""
    rows = table.to_pylist()
    pretrained = [row for row in rows if row["tag"] is not None]
    lines = [
        f"| {family} | {len(_distinct(group))} | {sum(row['tag'] is not None for row in group)} "
        f"| {_sizes_in_words(group)} | {_licences_in_words(group)} |"
        for family, group in ((key, list(part)) for key, part in groupby(rows, key=lambda row: row["family"]))
    ]
    every, weighted = _distinct(rows), _distinct(pretrained)
    return _PAGE.format(
        timm=rows[0]["timm"],
        families=len(lines),
        architectures=len(every),
        pretrained=len(weighted),
        tags=len(pretrained),
        kernels=sum(row["kernels"] for row in weighted),
        all_kernels=sum(row["kernels"] for row in pretrained),
        table="\n".join(lines),
    )


def _architectures() -> list[str]:
    """Names of the architectures that timm itself registers, without ours."""
    import timm
    from timm.models import model_entrypoint

    return [name for name in timm.list_models() if model_entrypoint(name).__module__.startswith(_TIMM)]


def _count(name: str) -> dict[str, Any] | None:
    """Count the kernels of one architecture; None if it has no depthwise kernels or cannot be built (which is logged)."""
    import timm
    import torch
    from timm.models import model_entrypoint

    from neural_echos import architectures

    try:
        with _without_initialisation(), torch.device("meta"):
            model = architectures.create(name, num_classes=1000, in_chans=3)
    except EchosError as error:
        _LOG.warning("skipped: %s", error)
        return None
    depthwise = [layer for layer in layers_of(model) if layer.kind == "depthwise"]
    sizes: Counter[tuple[int, int]] = Counter()
    for layer in depthwise:
        sizes[layer.kernel_height, layer.kernel_width] += model.get_submodule(layer.name).weight.shape[0]
    if not sizes:
        return None
    return {
        "family": model_entrypoint(name).__module__.removeprefix(_TIMM),
        "architecture": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": len(depthwise),
        "kernels": sizes.total(),
        "kernels_by_size": " ".join(f"{height}x{width}:{count}" for (height, width), count in sorted(sizes.items())),
        "largest": max(max(size) for size in sizes),
        "timm": timm.__version__,
    }


def _pretrained(architecture: str, tag: str | None) -> dict[str, Any]:
    import timm

    if tag is None:
        return {"tag": None, "hub": None, "licence": None}
    config = timm.get_pretrained_cfg(f"{architecture}.{tag}")
    return {"tag": tag, "hub": config.hf_hub_id, "licence": config.license}


@contextmanager
def _without_initialisation() -> Iterator[None]:
    """Disable the in-place filling of tensors while models that never run are built."""
    import torch

    def ignore(tensor: Any, *_: Any, **__: Any) -> Any:
        return tensor

    for name in _FILLS:  # the methods are inherited, so deleting the override restores them
        setattr(torch.Tensor, name, ignore)
    try:
        yield
    finally:
        for name in _FILLS:
            delattr(torch.Tensor, name)


def _distinct(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per architecture."""
    return list({row["architecture"]: row for row in rows}.values())


def _sizes_in_words(rows: Sequence[dict[str, Any]]) -> str:
    """Kernels by size over the distinct architectures of `rows`: "3×3 1,024 · 7×7 96"."""
    counts: Counter[tuple[int, int]] = Counter()
    for row in _distinct(rows):
        for part in row["kernels_by_size"].split():
            size, _, count = part.partition(":")
            height, width = size.split("x")
            counts[int(height), int(width)] += int(count)
    return " · ".join(f"{height}×{width} {count:,}" for (height, width), count in sorted(counts.items()))


def _licences_in_words(rows: Sequence[dict[str, Any]]) -> str:
    named = sorted({row["licence"] or "none stated" for row in rows if row["tag"] is not None})
    return ", ".join(named) or "(no weights)"


_PAGE = """\
# The zoo: depthwise kernels in timm

The models of timm {timm} that have depthwise kernels. This page and `config/survey.csv`, which has a row for each architecture
and pretrained tag, are generated by

```sh
.venv/bin/echos survey --output config/survey.csv --page docs/zoo.md
.venv/bin/snakemake --force -- config/survey.csv  # the same, as a workflow job
```

Nothing is downloaded: each architecture is built on the meta device, without initialisation. There are {families} families and
{architectures} architectures, {pretrained} of them with pretrained weights under {tags} tags.
These {pretrained} have {kernels:,} depthwise kernels, and all tags together {all_kernels:,}. The
[data dictionary](tables.md#survey) describes the columns of the CSV. In pandas:

```python
import pandas as pd

zoo = pd.read_csv("config/survey.csv")
large = zoo[(zoo.largest >= 7) & zoo.tag.notna() & (zoo.licence == "apache-2.0")]
print(large[["architecture", "tag", "kernels_by_size"]])
architectures = zoo.drop_duplicates("architecture")  # every tag of an architecture has its kernels
print(architectures.groupby("family").kernels.sum())
```

Kernels are counted by walking the modules, as `extract --timm` does. A depthwise convolution is a 2-D convolution with as many
groups as input channels, more than one, and kernels larger than 1×1; with a multiplier of m, each channel has m kernels. So

- a module that is used in several places (CoaT) counts once;
- branches that could be fused for inference (MobileOne, RepViT, FastViT) are counted separately, as trained;
- a separable pair k×1 and 1×k (Inception-NeXt, GhostNetV2) counts as two layers of rectangular kernels;
- conditional convolutions (CondConv, the `cc` models of EfficientNet), which mix their kernels for each image and keep them in
  a matrix, are not counted.

Kernels by size are summed over architectures, with or without weights; licences are as stated by timm for the weights.

| family | architectures | pretrained tags | kernels by size | licences |
|---|---|---|---|---|
{table}
"""

"""Unavailable inputs: each is represented by a file without weights that says so, and banks made from it are empty."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_echos.files import atomic_path, sha256

if TYPE_CHECKING:
    from neural_echos.design.inputs import Input


def write_absent(item: "Input", output: str | Path, reason: str) -> dict[str, Any]:
    """Write a safetensors file without tensors whose metadata `absent` gives the reason.

    Returns
    -------
    dict
        Facts for the provenance, as from `fetch`, with the reason as `absent`.
    """
    from safetensors.numpy import save_file

    output = Path(output)
    with atomic_path(output) as temporary:
        save_file({}, temporary, metadata={"absent": reason})
    kept = {name: getattr(item, name) for name in ("licence", "citation", "origin", "trained_on", "note")}
    return {"input": item.id, "source": "nowhere", "absent": reason, "sha256": sha256(output), **kept}

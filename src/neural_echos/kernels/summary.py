"""Summary: one readable line about what an extraction took, and what it skipped and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from neural_echos.kernels.layers import Layer
from neural_echos.layouts import KINDS


@dataclass
class Summary:
    """What an extraction took and skipped.

    Attributes
    ----------
    layers : list of (Layer, int, int)
        Each layer with the number of kernels taken and the number of kernels it has.
    skipped : dict of str to list of str
        Reason why tensors or layers were not taken, to their names.
    taken, left : list of str
        Sets of weights that were taken and that were not; empty if the file contains one set.
    notes : list of str
        How names, axes or kinds were inferred where they were not obvious.
    """

    layers: list[tuple[Layer, int, int]] = field(default_factory=list)
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    taken: Sequence[str] = ()
    left: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        """Format the summary as one line."""
        parts = [", ".join(filter(None, map(self._of_kind, KINDS)))]
        if self.skipped:
            parts.append("skipped: " + ", ".join(self._skipped(reason) for reason in self.skipped))
        if self.taken:
            left = f" (also in the file: {', '.join(self.left)}; choose with --weights)" if self.left else ""
            parts.append(f"weights: {', '.join(self.taken)}{left}")
        return "; ".join([*parts, *self.notes])

    def _of_kind(self, kind: str) -> str:
        layers = [one for one in self.layers if one[0].kind == kind]
        if not layers:
            return ""
        taken: Counter[tuple[int, int]] = Counter()
        every: Counter[tuple[int, int]] = Counter()
        for layer, kept, count in layers:
            taken[layer.kernel_height, layer.kernel_width] += kept
            every[layer.kernel_height, layer.kernel_width] += count
        sizes = ", ".join(
            f"{count:,} {height}×{width}"
            if count == every[height, width]
            else f"{count:,} of {every[height, width]:,} {height}×{width}"
            for (height, width), count in sorted(taken.items())
        )
        return f"{len(layers)} {kind} layer{'s' if len(layers) > 1 else ''} ({sizes} kernels)"

    def _skipped(self, reason: str) -> str:
        names = self.skipped[reason]
        return (
            reason
            if reason == "optimiser state"
            else f"{len(names)} {reason} ({names[0]}{', …' if len(names) > 1 else ''})"
        )

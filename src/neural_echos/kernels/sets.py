"""Sets of weights: which of the tensors in a checkpoint are one network's weights, and which are copies or optimiser state.

A file often contains a network twice: raw and EMA weights, student and teacher, or a second copy under the names of a wrapper.
The set that would be evaluated is taken: EMA weights if there are any, else a teacher's, else the plain ones. MMCV's old EMA hook
and MMEngine's swap the two sets before saving, so in their files the plain names contain the EMA weights. Networks that are not
copies of each other (an encoder and a decoder) are all kept.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from neural_echos.errors import EchosError, nearest
from neural_echos.kernels.formats import Checkpoint
from neural_echos.layouts import bare_name

PLAIN = "plain"
# Patterns are compiled on first use (`re` caches them): few files need all of them, and every job would pay for it.
_OPTIMISER = (
    r"(?:^|[./])(?:optim(?:izer|iser)?s?(?:_states?|_state_dict|_\d+)?|opt_state|exp_avg(?:_sq)?|max_exp_avg(?:_sq)?"
    r"|momentum_buffer|square_avg|grad_avg|acc_delta|fp32_flat_groups|single_partition_of_fp32_groups|grads?|gradients"
    r"|lr_schedulers?|schedulers?|Adam(?:_\d+)?|Momentum|RMSProp(?:_\d+)?|Adagrad|optimizer_\w+)(?=[./]|$)"
)
# Names of containers and prefixes that some trainers put around a state dict.
_CONTAINER = (
    r"(?:state_dict|model|model_state(?:_dict)?|module|net|network|params|weights|ema|checkpoint|ckpt|backbone|encoder|decoder"
    r"|generator|discriminator|teacher|student|\w+_ema|ema_\w+|g|d)/"
)
_PREFIX = (
    r"(?P<prefix>model_ema|ema_model|ema_net(?:work)?|ema|averaged_model|swa_model|avg_model|teacher(?:_model|_net)?"
    r"|student(?:_model|_net)?|target(?:_model|_net(?:work)?|_encoder)?|online(?:_model|_net(?:work)?|_encoder)?"
    r"|momentum_encoder|base_encoder|encoder_[qk])\.(?P<rest>.+)"
)
_FLAT = r"(?P<prefix>model_ema|ema_model|ema)[._](?P<rest>[^.]+)"
_TF_AVERAGE = r"(?P<rest>.+)/(?P<prefix>ExponentialMovingAverage)"
# Every name that one of the patterns above or a wrapper affects contains one of these.
_UNUSUAL = (
    r"/|mod|ema|avg|averag|swa_|teacher|student|target|online|encoder|opt|grad|schedul|Adam|oment|RMSProp|fp32|delta"
)
_AVERAGED = r"(?i)(?<![a-z])(?:ema|swa|avg)(?![a-z])|averag|polyak|shadow"
_OTHERS = r"(?i)student|target|online|momentum|encoder_[qk]|best|last"


@dataclass
class Chosen:
    """The weights that were taken from a checkpoint.

    Attributes
    ----------
    names : dict
        Name of a tensor in the network, without containers and wrappers, to its key in the file.
    taken, left : list of str
        Sets that were taken and sets that were not; empty if there is only one.
    skipped : dict
        Reason why tensors are not weights, to their keys.
    """

    names: dict[str, str]
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Set:
    label: str
    names: dict[str, str]
    prefix: str = ""  # removed from the names
    swapped: bool = False  # the trainer saved the EMA weights under the plain names

    def rank(self) -> int:
        if self.swapped:
            return 3
        if re.search(_AVERAGED, self.label):
            return 0
        return 1 if "teacher" in self.label.lower() else 3 if re.search(_OTHERS, self.label) else 2


def choose_weights(checkpoint: Checkpoint, wanted: str | None = None) -> Chosen:
    """Choose one network's weights among the tensors of a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
    wanted : str, optional
        The set to take: the name of a dictionary in the file ("state_dict_ema") or the prefix of its tensors' names ("teacher");
        "plain" for tensors without either. By default, the set that would be evaluated.

    Raises
    ------
    EchosError
        There is no such set, or there are several and the one to evaluate is ambiguous.
    """
    if wanted is None and not re.search(_UNUSUAL, "\n".join(checkpoint.tensors)):
        return Chosen({key: key for key in checkpoint.tensors})
    optimiser = [key for key in checkpoint.tensors if re.search(_OPTIMISER, key)]
    skipped = {"optimiser state": optimiser} if optimiser else {}
    ours = [key for key in checkpoint.tensors if key not in set(optimiser)] if optimiser else list(checkpoint.tensors)
    sets = _split(ours)
    if wanted is not None:
        chosen = _named(checkpoint, sets, wanted)
        left = sorted({one.label for one in sets} - {one.label for one in chosen})
        return Chosen(_merged(chosen), [wanted], left, skipped)
    competing = [one for one in sets if any(_is_kernel(checkpoint, key) for key in one.names.values())]
    taken, left = [], []
    for copies in _clusters(checkpoint, competing):
        best = _best(checkpoint, copies)
        taken.append(best)
        left += [one.label for one in copies if one is not best]
    if len(sets) == 1 and not left:
        return Chosen(sets[0].names, skipped=skipped)
    if not left:  # different networks, or one network spread over several dictionaries
        return Chosen(_merged(taken), [one.label for one in taken] if len(taken) > 1 else [], [], skipped)
    return Chosen(_merged(taken), [one.label for one in taken], left, skipped)


def _split(keys: list[str]) -> list[_Set]:
    """Group the tensors of a file into sets, by the dictionaries that contain them and the prefixes of their names."""
    sets: dict[str, _Set] = {}
    flat: dict[str, dict[str, str]] = {}
    heads = {head for head, _, leaf in (key.rpartition("/") for key in keys) if "." in leaf and ":" not in leaf}
    placed = {key: _container(key, heads) for key in keys}
    for container, name in placed.values():
        if "." in name and not re.fullmatch(_FLAT, name):
            flat.setdefault(container, {}).update({name.replace(".", "_"): name, name.replace(".", ""): name})
    for key, (container, name) in placed.items():
        prefix, rest, swapped = _prefix(name, flat.get(container, {}))
        label = "/".join(part for part in (container, prefix) if part) or PLAIN
        one = sets.setdefault(label, _Set(label, {}, prefix))
        bare = bare_name(rest)
        if bare in one.names:  # "x" beside "module.x"
            wrapper = rest.split(".")[0]
            label = wrapper if label == PLAIN else f"{label}/{wrapper}"
            one = sets.setdefault(label, _Set(label, {}, prefix))
        one.names[bare] = key
        one.swapped |= swapped or (label.endswith("ema_state_dict") and bare == "steps")
    return list(sets.values())


def _container(key: str, heads: Collection[str]) -> tuple[str, str]:
    """Split a key into the dictionaries around a state dict, joined by "/", and the name inside it."""
    if "/" not in key:
        return "", key
    head, _, leaf = key.rpartition("/")
    if head in heads:
        return head, leaf
    parts = []
    while found := re.match(_CONTAINER, key):
        parts.append(found[0][:-1])
        key = key[found.end() :]
    return "/".join(parts), key


def _prefix(name: str, flat: Mapping[str, str]) -> tuple[str, str, bool]:
    """Split off a set's prefix: (prefix, name in the network, whether trainers swap this copy with the plain one)."""
    if (found := re.fullmatch(_FLAT, name)) and found["rest"] in flat:
        return found["prefix"], flat[found["rest"]], name.startswith("ema_")
    bare = bare_name(name)
    if found := re.fullmatch(_PREFIX, bare) or re.fullmatch(_TF_AVERAGE, bare):
        return found["prefix"], found["rest"], False
    return "", name, False


def _is_kernel(checkpoint: Checkpoint, key: str) -> bool:
    return len(checkpoint.tensors[key].shape) == 4


def _kernels(checkpoint: Checkpoint, one: _Set) -> dict[str, tuple[int, ...]]:
    return {name: checkpoint.tensors[key].shape for name, key in one.names.items() if _is_kernel(checkpoint, key)}


def _clusters(checkpoint: Checkpoint, sets: list[_Set]) -> Iterator[list[_Set]]:
    """Group sets that are copies of each other: at least half of the smaller set's kernels are also in the larger one."""
    groups: list[list[_Set]] = [[one] for one in sets]
    for first, second in combinations(sets, 2):
        if _copies(checkpoint, first, second):
            mine, other = (next(group for group in groups if one in group) for one in (first, second))
            if mine is not other:
                mine += other
                groups.remove(other)
    yield from groups


def _copies(checkpoint: Checkpoint, first: _Set, second: _Set) -> bool:
    mine, other = _kernels(checkpoint, first), _kernels(checkpoint, second)
    for short, long, one in ((mine, other, first), (other, mine, second)):
        start = next(iter(short))
        for prefix in ["", *(name.removesuffix(start) for name in long if name.endswith(f".{start}"))]:
            shared = sum(long.get(prefix + name) == shape for name, shape in short.items())
            if shared and 2 * shared >= (max if prefix else min)(len(short), len(long)):
                if prefix:
                    one.names = {prefix + name: key for name, key in one.names.items()}
                return True
    return False


def _best(checkpoint: Checkpoint, copies: list[_Set]) -> _Set:
    """Choose the copy of a network that would be evaluated."""
    ranked = sorted(copies, key=_Set.rank)
    best = ranked[0]
    rivals = [one for one in ranked[1:] if one.rank() == best.rank()]
    if rivals and not all(_equal(checkpoint, best, one) for one in rivals):
        _refuse_choice(checkpoint, ranked, "it is unclear which of them to evaluate")
    for one in ranked[1:]:
        if missing := [name for name in _kernels(checkpoint, one) if name not in best.names]:
            _refuse_choice(checkpoint, ranked, f"{best.label!r} has no {missing[0]!r}, which {one.label!r} has")
    return best


def _refuse_choice(checkpoint: Checkpoint, sets: list[_Set], why: str) -> None:
    labels = ", ".join(one.label for one in sets)
    raise EchosError(
        f"{checkpoint.path}: the file contains several sets of weights ({labels}), and {why}; "
        f"choose one with --weights, for instance --weights {sets[0].label}"
    )


def _equal(checkpoint: Checkpoint, first: _Set, second: _Set) -> bool:
    """Whether two copies have the same kernels."""
    shared = set(_kernels(checkpoint, first)) & set(_kernels(checkpoint, second))
    return all(
        np.array_equal(checkpoint.read(first.names[name]), checkpoint.read(second.names[name]), equal_nan=True)
        for name in shared
    )


def _named(checkpoint: Checkpoint, sets: list[_Set], wanted: str) -> list[_Set]:
    """Find the sets that a user names: by label, by its first or last part, or by the prefix of its tensors' names."""
    tests: tuple[Callable[[_Set], bool], ...] = (
        lambda one: one.label == wanted,
        lambda one: wanted in (one.label.split("/")[0], one.label.split("/")[-1]),
        lambda one: one.label.startswith(f"{wanted}/"),
    )
    for test in tests:
        if found := [one for one in sets if test(one)]:
            return found
    starts = (f"{wanted}.", f"{wanted}/", f"{wanted}_")
    found = []
    for one in sets:
        names = {name.removeprefix(f"{wanted}."): key for name, key in one.names.items() if name.startswith(starts)}
        found += [_Set(wanted, names)] if names else []
    if found:
        return found
    labels = [one.label for one in sets]
    raise EchosError(
        f"{checkpoint.path}: there is no set of weights {wanted!r}{nearest(wanted, labels)}; the file has {', '.join(labels)}"
    )


def _merged(sets: list[_Set]) -> dict[str, str]:
    """Merge the names of several networks; where names clash, each is prefixed by its set's label."""
    if len(sets) == 1:
        return sets[0].names
    clash = len({name for one in sets for name in one.names}) < sum(len(one.names) for one in sets)
    merged: dict[str, str] = {}
    for one in sets:
        before = f"{one.label.replace('/', '.')}." if clash else f"{one.prefix}." if one.prefix else ""
        merged |= {before + name: key for name, key in one.names.items()}
    return merged

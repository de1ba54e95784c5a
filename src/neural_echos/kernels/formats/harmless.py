"""Python objects that checkpoints carry beside their weights, and inert stand-ins for them.

PyTorch's safe loader refuses a file that contains any class outside its own short list, such as the `argparse.Namespace` of
timm's training script, a NumPy score or a path. None of these matter for the weights. Each name below is therefore replaced by a
stand-in that ignores its arguments: the class itself is neither imported nor called. Only dictionaries, lists and NumPy
arrays keep their content, which may be weights. Names not listed here are still refused.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

_IGNORED = """
argparse.Namespace types.SimpleNamespace functools.partial copyreg._reconstructor
pathlib.Path pathlib.PurePath pathlib.PosixPath pathlib.PurePosixPath pathlib.WindowsPath pathlib.PureWindowsPath
pathlib._local.Path pathlib._local.PurePath pathlib._local.PosixPath pathlib._local.PurePosixPath
pathlib._local.WindowsPath pathlib._local.PureWindowsPath
datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone zoneinfo.ZoneInfo._unpickle
decimal.Decimal fractions.Fraction uuid.UUID uuid.SafeUUID random.Random re._compile
builtins.int builtins.float builtins.bool builtins.str builtins.bytes builtins.object builtins.type builtins.slice
builtins.range builtins.frozenset builtins.getattr builtins.Ellipsis
numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.bool_ numpy.bool numpy.str_ numpy.bytes_
numpy.int8 numpy.int16 numpy.int32 numpy.int64 numpy.uint8 numpy.uint16 numpy.uint32 numpy.uint64
numpy.float16 numpy.float32 numpy.float64 numpy.complex64 numpy.complex128
numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__generator_ctor numpy.random._pickle.__bit_generator_ctor
numpy.random._mt19937.MT19937 numpy.random._pcg64.PCG64 numpy.random._pcg64.PCG64DXSM numpy.random._philox.Philox
numpy.random._sfc64.SFC64 numpy.random.bit_generator.SeedSequence
numpy.random.bit_generator.__pyx_unpickle_SeedSequence
torch.optim.adam.Adam torch.optim.adamw.AdamW torch.optim.sgd.SGD torch.optim.rmsprop.RMSprop
mmengine.logging.history_buffer.HistoryBuffer mmcv.utils.logging.Logger
pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint pytorch_lightning.callbacks.early_stopping.EarlyStopping
lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint lightning.pytorch.callbacks.early_stopping.EarlyStopping
pytorch_lightning.trainer.states.TrainerFn lightning.pytorch.trainer.states.TrainerFn
transformers.trainer_utils.IntervalStrategy transformers.trainer_utils.SchedulerType
"""
_DICTIONARIES = """
collections.defaultdict builtins.dict
pytorch_lightning.utilities.parsing.AttributeDict lightning.pytorch.utilities.parsing.AttributeDict
lightning_fabric.utilities.data.AttributeDict lightning.fabric.utilities.data.AttributeDict
mmengine.config.config.ConfigDict mmcv.utils.config.ConfigDict addict.addict.Dict addict.dict.Dict easydict.EasyDict
yacs.config.CfgNode fvcore.common.config.CfgNode detectron2.config.config.CfgNode munch.Munch timm.utils.misc.AttrDict
"""
_LISTS = "collections.deque builtins.list builtins.tuple"


class _Ignored:
    """Stands in for an object whose content does not matter."""

    def __init__(self, *given: object) -> None:
        """Ignore all arguments."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


class _Dictionary:
    """Stands in for a dictionary class; its instances are plain OrderedDicts."""

    def __new__(cls, *given: object) -> Any:
        return OrderedDict(given[0] if given and isinstance(given[0], dict) else {})


class _List:
    """Stands in for a list class; its instances are plain lists."""

    def __new__(cls, *given: object) -> Any:
        return list(given[0]) if given and isinstance(given[0], list | tuple) else []


class _Type:
    """Stands in for `numpy.dtype`: a type code and a byte order."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: object) -> None:
        """Take the byte order; structured types, which have fields, are ignored."""
        if isinstance(state, tuple) and len(state) > 3 and state[1] in ("<", ">", "=", "|"):
            self.order, self.code = state[1], self.code if state[3] is None else ""


class PickledArray:
    """Stands in for `numpy.ndarray`: the array itself if it contains plain numbers, otherwise nothing."""

    def __init__(self, *_: object) -> None:
        self.values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        """Interpret the pickled bytes as an array, without running any code of their type."""
        _, shape, dtype, by_columns, data = state
        if not isinstance(dtype, _Type) or not isinstance(data, bytes) or dtype.code[:1] not in tuple("fiubc"):
            return
        values = np.frombuffer(data, np.dtype(dtype.order + dtype.code))
        if math.prod(shape) != values.size:
            raise ValueError("a NumPy array has more or fewer values than its shape says")
        self.values = values.reshape(shape, order="F" if by_columns else "C")


@lru_cache(maxsize=1)
def stand_ins() -> Mapping[str, Callable[..., Any]]:
    """Map the full name of each harmless global to its stand-in."""
    found: dict[str, Callable[..., Any]] = {}
    for names, base in ((_IGNORED, _Ignored), (_DICTIONARIES, _Dictionary), (_LISTS, _List)):
        found |= {name: type(name.rsplit(".", 1)[-1], (base,), {}) for name in names.split()}
    found["numpy.dtype"] = _Type
    found |= dict.fromkeys(
        ("numpy.ndarray", *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core"))), PickledArray
    )
    return found

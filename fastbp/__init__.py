"""fastbp: multilayer perceptrons for tables, trained on a CPU at the speed of its arithmetic, from Python.

Names are imported when they are first used. So `import fastbp` imports nothing heavier than NumPy, and Numba is
imported only when a name needs a kernel.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fastbp._version import __version__ as __version__

if TYPE_CHECKING:
    from fastbp import activations as activations
    from fastbp import losses, schedules, toy
    from fastbp import sklearn as sklearn
    from fastbp import tabular as tabular
    from fastbp.gradient_check import check_gradients
    from fastbp.halving import Halving
    from fastbp.many import train_many
    from fastbp.network import Network
    from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop
    from fastbp.results import DivergenceError, Gradients, History, Progress, Trace
    from fastbp.startup import warmup

_PLACES = {
    "SGD": "fastbp.optimizers",
    "Adagrad": "fastbp.optimizers",
    "Adam": "fastbp.optimizers",
    "AdamW": "fastbp.optimizers",
    "DivergenceError": "fastbp.results",
    "Gradients": "fastbp.results",
    "Halving": "fastbp.halving",
    "History": "fastbp.results",
    "Lion": "fastbp.optimizers",
    "Network": "fastbp.network",
    "Progress": "fastbp.results",
    "RMSprop": "fastbp.optimizers",
    "Trace": "fastbp.results",
    "check_gradients": "fastbp.gradient_check",
    "train_many": "fastbp.many",
    "warmup": "fastbp.startup",
}
_MODULES = ("activations", "losses", "schedules", "sklearn", "tabular", "toy")

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "DivergenceError",
    "Gradients",
    "Halving",
    "History",
    "Lion",
    "Network",
    "Progress",
    "RMSprop",
    "Trace",
    "check_gradients",
    "losses",
    "schedules",
    "toy",
    "train_many",
    "warmup",
]


if not TYPE_CHECKING:  # with a module's `__getattr__`, type checkers would take any name for right

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"fastbp.{name}")
        if name in _PLACES:
            return getattr(importlib.import_module(_PLACES[name]), name)
        raise AttributeError(f"module 'fastbp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})

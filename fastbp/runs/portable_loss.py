"""A loss in the state of a trained object: a copy keeps a user's function, and a pickle keeps where to find it.

A pickle of the function itself could not be read where the function is missing, not even to predict. This file must
not know networks or estimators.
"""

import importlib
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastbp import losses
from fastbp._typing import Self
from fastbp.losses import Loss


class PortableLoss:
    """A loss that is copied with its function, and pickled with the module and the qualified name of its function.

    Unpickled where the function is not found, the loss has its name only.

    Parameters
    ----------
    loss : Loss
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # neither a loss nor a function changes

    def __reduce__(self) -> tuple[Any, ...]:
        function, place = self.loss.function, None
        if function is not None and _found(function.__module__, function.__qualname__) is function:
            place = function.__module__, function.__qualname__
        return _unpickled, (self.loss.describe(), place)


def _unpickled(description: dict[str, Any], place: tuple[str, str] | None) -> PortableLoss:
    loss = losses.from_description(description)
    return PortableLoss(loss if place is None else replace(loss, function=_found(*place)))


def _found(module: str, name: str) -> Callable[..., Any] | None:
    """Return the function with a qualified name in a module; None if there is none."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    found = getattr(found, "py_func", found)  # of a function that Numba has compiled
    return found if isinstance(found, types.FunctionType) else None


def with_portable_loss(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the state of a trained estimator, in which the parameter with a user's loss is a `PortableLoss`."""
    loss = state.get(name)
    return {**state, name: PortableLoss(loss)} if isinstance(loss, Loss) and loss.is_custom else state


def with_plain_loss(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the state with the loss itself; the inverse of `with_portable_loss`."""
    portable = state.get(name)
    return {**state, name: portable.loss} if isinstance(portable, PortableLoss) else state

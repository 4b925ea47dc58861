"""Losses and activations in the state of a trained object: copies keep a user's function, pickles where to find it.

A pickle of the function itself could not be read where the function is missing, not even to predict. This file must
not know networks or estimators.
"""

import importlib
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastbp._typing import Self
from fastbp.activations import Activation
from fastbp.losses import Loss


class Portable:
    """A loss or an activation that is copied with its function, and pickled with the place of its function.

    The place is the function's module and its qualified name. Unpickled where the function is not found, the loss or
    the activation has its name only.

    Parameters
    ----------
    given : Loss or Activation
    """

    def __init__(self, given: Loss | Activation) -> None:
        self.given = given

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # no part of it changes

    def __reduce__(self) -> tuple[Any, ...]:
        function, place = self.given.function, None
        if function is not None and _found(function.__module__, function.__qualname__) is function:
            place = function.__module__, function.__qualname__
        return _unpickled, (replace(self.given, function=None), place)


def _unpickled(given: Loss | Activation, place: tuple[str, str] | None) -> Portable:
    return Portable(given if place is None else replace(given, function=_found(*place)))


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


def with_portable(state: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the state of a trained estimator, in which parameters with users' functions are `Portable`."""
    return state | {name: portable(state[name]) for name in names if name in state}


def portable(value: Any) -> Any:
    """Return a value in which losses and activations with users' functions are `Portable`."""
    if isinstance(value, list | tuple):
        return type(value)(map(portable, value))
    return Portable(value) if isinstance(value, Loss | Activation) and value.is_custom else value


def with_plain(state: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the state with the losses and activations themselves; the inverse of `with_portable`."""
    return state | {name: plain(state[name]) for name in names if name in state}


def plain(value: Any) -> Any:
    """Return the loss, the activation or the list of these that was made portable."""
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value.given if isinstance(value, Portable) else value

"""A check of a user's loss before the first step: whether it runs, and whether its derivative fits its value.

The function runs as Python here, so its own errors keep their text. This file must not know how losses are compiled.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastbp._typing import Array, Floats
from fastbp.losses import Loss

_MOST_ROWS = 16  # that the function is tried with
_STEP = 1e-6  # of the central differences, relative to 1 + |ŷ|
_TOLERANCE = 1e-4  # relative to 1 + |derivative|
_checked: set[Callable[..., Any]] = set()  # functions that have passed


def check_custom_loss(loss: Loss, targets: Array) -> None:
    """Raise unless the user's function can be called and its derivative agrees with central differences.

    Parameters
    ----------
    loss : Loss
    targets : ndarray of shape (n, outputs)
        The targets of a fit. The function is tried at some of them, and at random outputs.

    Raises
    ------
    TypeError
        If the function fails, or returns something else than numbers.
    ValueError
        If the derivative is wrong, or a number is not finite.
    """
    if loss.function is None or loss.function in _checked:
        return
    rows = targets[:: -(-len(targets) // _MOST_ROWS)].astype(np.float64)
    random = np.random.default_rng(0)
    for y in rows:
        f = 2 * random.standard_normal(len(y))
        _check_row(loss, f, y)
    _checked.add(loss.function)


def _check_row(loss: Loss, f: Floats, y: Floats) -> None:
    """Compare the derivative for one row with central differences."""
    value, derivative = _called(loss, f, y)
    for o in range(len(f)):
        step = _STEP * (1 + abs(f[o]))
        low, high = (_called(loss, _moved(f, o, sign * step), y)[0][_of(loss, o)] for sign in (-1, 1))
        middle = value[_of(loss, o)]
        slopes = (middle - low) / step, (high - middle) / step
        error = _TOLERANCE * (1 + abs(derivative[o])) + 1e-14 * abs(middle) / step
        has_kink = abs(slopes[1] - slopes[0]) > 2 * error  # a sharp bend counts too
        if not has_kink and not abs((high - low) / (2 * step) - derivative[o]) <= error:
            raise ValueError(
                f"the derivative of the loss {loss.name} is wrong: for {_shown(loss, f, y, o)} it is "
                f"{derivative[o]:g}, and central differences of the value give {(high - low) / (2 * step):g}"
            )


def _of(loss: Loss, o: int) -> int:
    """Return which value belongs to output o: a row has one value, or one for each output."""
    return 0 if loss.sees_rows else o


def _moved(f: Floats, o: int, by: float) -> Floats:
    moved = f.copy()
    moved[o] += by
    return moved


def _called(loss: Loss, f: Floats, y: Floats) -> tuple[Sequence[float], Sequence[float]]:
    """Return the values and the derivatives of a row; raise if they are not finite numbers."""
    function: Any = loss.function
    try:
        if loss.sees_rows:
            derivative = np.full(len(f), np.nan)
            values, derivatives = [float(function(f.copy(), y.copy(), derivative))], derivative.tolist()
        else:
            pairs = [(float(value), float(d)) for value, d in map(function, f.tolist(), y.tolist())]
            values, derivatives = [value for value, _ in pairs], [d for _, d in pairs]
    except Exception as error:  # whatever the user's function raises
        wanted = "the loss" if loss.sees_rows else "(loss, derivative)"
        raise TypeError(
            f"the loss {loss.name} must return {wanted}; for ŷ = {f.tolist()} and y = {y.tolist()} it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not all(map(math.isfinite, (*values, *derivatives))):
        missing = ", or does not write every derivative" if loss.sees_rows else ""
        raise ValueError(
            f"the loss {loss.name} is not finite{missing}: for ŷ = {f.tolist()} and y = {y.tolist()} it gives {values} "
            f"and the derivative {derivatives}"
        )
    return values, derivatives


def _shown(loss: Loss, f: Floats, y: Floats, o: int) -> str:
    return (
        f"output {o} of ŷ = {f.tolist()} and y = {y.tolist()}" if loss.sees_rows else f"ŷ = {f[o]:g} and y = {y[o]:g}"
    )

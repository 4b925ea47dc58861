"""A check of a user's loss before the first step: that it runs, and that its derivative is that of its value.

The function runs as Python here, so its own errors keep their text. This file must not know how losses are compiled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp._typing import Array, Floats, Integers
from fastbp.losses import Loss

_MOST_ROWS = 16  # that the function is tried with
_MOST_OUTPUTS = 16  # of a row that are moved, if a row has one loss
_STEP = 1e-6  # of the central differences, relative to √(1 + |ŷ|)
_WIDER = 1000.0  # how much longer the steps of a second opinion are
_TOLERANCE = 1e-4  # relative to 1 + |derivative|
_checked: set[tuple[Callable[..., Any], bool]] = set()  # functions that have passed, and whether they see rows


def check_custom_loss(loss: Loss, targets: Array) -> None:
    """Raise unless the user's function can be called and its derivative agrees with central differences.

    Parameters
    ----------
    loss : Loss
    targets : ndarray of shape (n, outputs)
        The targets of a fit. The function is tried at some of them, at random outputs and at outputs near the targets.

    Raises
    ------
    TypeError
        If the function fails, or returns something else than numbers.
    ValueError
        If the derivative is wrong, or a number is not finite.
    """
    if loss.function is None or (loss.function, loss.sees_rows) in _checked:
        return
    rows = targets[:: -(-len(targets) // _MOST_ROWS)].astype(np.float64)
    random = np.random.default_rng(0)
    tries = [(2 * random.standard_normal(y.shape), y, False) for y in rows]
    if loss.link == "identity":  # both signs of ŷ − y are tried, whatever the unit of the targets
        tries += [(y + scale * random.standard_normal(y.shape), y, True) for scale in (2, np.ptp(rows)) for y in rows]
    for f, y, is_near in tries:
        try:
            with np.errstate(all="ignore"):
                wrong = _wrong_derivative(loss, f, y, random)
        except (TypeError, ValueError):
            if not is_near:
                raise
            continue  # such as exp(ŷ) for targets of thousands
        if wrong:
            raise ValueError(f"the derivative of the loss {loss.name} is wrong: {wrong}")
    _checked.add((loss.function, loss.sees_rows))


def _wrong_derivative(loss: Loss, f: Floats, y: Floats, random: np.random.Generator) -> str:
    """Compare the derivative for one row with central differences; return what is wrong, or an empty string."""
    value, derivative = _called(loss, f, y)
    step = _STEP * np.sqrt(1 + abs(f))
    places = random.permutation(len(f))[:_MOST_OUTPUTS] if loss.sees_rows else np.arange(len(f))
    slopes, central = _differences(loss, f, y, value, step, places)
    error = _TOLERANCE * (1 + abs(derivative[places])) + 1e-14 * abs(value) / step[places]
    has_kink = abs(slopes[1] - slopes[0]) > 2 * error  # a sharp bend counts too
    is_wrong = ~has_kink & (abs(central - derivative[places]) > error)
    if is_wrong.any():  # a value that cancels is a staircase, whose slope depends on the step
        wider = _differences(loss, f, y, value, _WIDER * step, places)[1]
        is_wrong &= abs(wider - central) <= abs(central - derivative[places]) / 2
    if not is_wrong.any():
        return ""
    at = int(is_wrong.argmax())
    o = int(places[at])
    where = f"output {o} of {_shown(f, y)}" if loss.sees_rows else _shown(f[o : o + 1], y[o : o + 1])
    return f"for {where} it is {derivative[o]:g}, and central differences of the value give {central[at]:g}"


def _differences(
    loss: Loss, f: Floats, y: Floats, value: Floats, step: Floats, places: Integers
) -> tuple[tuple[Floats, Floats], Floats]:
    """Return the slopes below and above ŷ, and the central differences, for the outputs at these places."""
    # All outputs move at once if each of them has its own loss.
    moves = step * np.eye(len(f))[places] if loss.sees_rows else step[np.newaxis]
    low, high = (np.concatenate([_called(loss, f + sign * move, y)[0] for move in moves]) for sign in (-1, 1))
    below, above = (f - (f - step))[places], (f + step - f)[places]  # the steps after rounding
    return ((value - low) / below, (high - value) / above), (high - low) / (below + above)


def _called(loss: Loss, f: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the losses of a row, one or one per output, and the derivatives; raise if they are not finite numbers."""
    if loss.sees_rows:
        return _result(loss, f, y)
    results = [_result(loss, f[o : o + 1], y[o : o + 1]) for o in range(len(f))]
    values, derivatives = zip(*results, strict=True)
    return np.concatenate(values), np.concatenate(derivatives)


def _result(loss: Loss, f: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Do the same for one call of the function."""
    function: Any = loss.function
    try:
        if loss.sees_rows:
            derivative = np.full(len(f), np.nan)
            value = float(function(f.copy(), y.copy(), derivative))
        else:
            value, slope = map(float, function(float(f[0]), float(y[0])))
            derivative = np.array([slope])
    except Exception as error:  # whatever the user's function raises
        wanted = "the loss" if loss.sees_rows else "(loss, derivative)"
        raise TypeError(
            f"the loss {loss.name} must return {wanted}; for {_shown(f, y)} it raised {type(error).__name__}: {error}"
        ) from error
    if not np.isfinite([value, *derivative]).all():
        missing = ", or does not write every derivative" if loss.sees_rows else ""
        raise ValueError(
            f"the loss {loss.name} is not finite{missing}: for {_shown(f, y)} it gives {value:g} and the derivative "
            f"{derivative.tolist() if loss.sees_rows else derivative[0]}"
        )
    return np.array([value]), derivative


def _shown(f: Floats, y: Floats) -> str:
    """Return outputs and targets for a message."""
    shown = (a.tolist() if len(a) > 1 else f"{a[0]:g}" for a in (f, y))
    return "ŷ = {} and y = {}".format(*shown)

"""A check of users' activations before their first use: that they run, and that their derivatives are right.

The functions run as Python here, so their own errors keep their text. This file must not know how activations are
compiled.
"""

import numpy as np

from fastbp import activations
from fastbp.activations import Activation, OneOrMore

_PLACES = (-6.3, -2.9, -1.6, -0.7, -0.2, 0.1, 0.3, 0.9, 2.2, 3.1, 7.4)  # where functions are tried
_STEP = 1e-6  # of the central differences, relative to 1 + |f|
_TOLERANCE = 1e-4  # relative to 1 + |derivative|


def check_custom_activations(activation: OneOrMore, n_hidden: int) -> None:
    """Raise unless users' activations can be called and their derivatives agree with central differences.

    Parameters
    ----------
    activation : Activation or tuple of Activation
    n_hidden : int
        Number of hidden layers.

    Raises
    ------
    TypeError
        If a function fails, or returns something else than two numbers.
    ValueError
        If a derivative is wrong, or a number is not finite.
    """
    for one in set(activations.of_layers(activation, n_hidden)):
        if one.function is not None:
            with np.errstate(all="ignore"):
                for f in _PLACES:
                    _check_derivative(one, f)


def _check_derivative(activation: Activation, f: float) -> None:
    """Compare the derivative at f with central differences, unless there is a kink."""
    step = _STEP * (1 + abs(f))
    value, derivative = _called(activation, f)
    low, high = (_called(activation, f + sign * step)[0] for sign in (-1, 1))
    below, above = (value - low) / step, (high - value) / step
    error = _TOLERANCE * (1 + abs(derivative)) + 1e-14 * abs(value) / step
    has_kink = abs(above - below) > 2 * error
    central = (below + above) / 2
    if not has_kink and abs(central - derivative) > error:
        raise ValueError(
            f"the derivative of the activation {activation.name} is wrong: for f = {f} it is {derivative:g}, and "
            f"central differences of h give {central:g}"
        )


def _called(activation: Activation, f: float) -> tuple[float, float]:
    """Return h and the derivative; raise unless they are finite numbers."""
    assert activation.function is not None
    try:
        value, derivative = map(float, activation.function(f))
    except Exception as error:  # whatever the user's function raises
        raise TypeError(
            f"the activation {activation.name} must return (h, derivative); for f = {f:g} it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not np.isfinite([value, derivative]).all():
        raise ValueError(
            f"the activation {activation.name} is not finite: for f = {f:g} it gives {value:g} and the derivative "
            f"{derivative:g}"
        )
    return value, derivative

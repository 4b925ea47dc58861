"""The toy example of the slides: forward and backward pass of one neuron with ReLU and cross-entropy, line by line.

The slides are "Backpropagation" by Alireza Aghamohammadi (28 April 2024). This file knows the seven lines of the
example. It must not know networks, kernels or Numba.
"""

# ruff: noqa: N815 -- dL_dh_1 stands for ∂L/∂h_1, where L is a capital letter

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WorkedExample:
    """All numbers of the toy example; `print` shows them line by line.

    Attributes
    ----------
    x, weight : float or ndarray of shape (D,)
        Input x and weight Ω_0.
    y, bias : float
        Target y and bias β_0.
    f_0, h_1, L : float
        The forward pass: the pre-activation, the activation and the loss.
    dL_dh_1, dL_df_0, dL_dbeta_0 : float
        The backward pass: ∂L/∂h_1, ∂L/∂f_0 and ∂L/∂β_0.
    dL_dOmega_0 : float or ndarray of shape (D,)
        The backward pass: ∂L/∂Ω_0, of the shape of `weight`.
    """

    x: float | Vector
    y: float
    weight: float | Vector
    bias: float
    f_0: float
    h_1: float
    L: float
    dL_dh_1: float
    dL_df_0: float
    dL_dbeta_0: float
    dL_dOmega_0: float | Vector

    def __str__(self) -> str:
        """Return both passes. Each line has its number on the slide, its formula and its value."""
        x, y, weight, bias, f_0, h_1, dL_dh_1, dL_df_0 = (
            _text(value)
            for value in (self.x, self.y, self.weight, self.bias, self.f_0, self.h_1, self.dL_dh_1, self.dL_df_0)
        )
        forward = [
            ("(1) f_0 = β_0 + Ω_0·x", f"{bias} + {weight}·{x}", self.f_0),
            ("(2) h_1 = ReLU(f_0)", f"max(0, {f_0})", self.h_1),
            (
                "(3) L = −y log h_1 − (1 − y) log(1 − h_1)",
                f"−{y} log {h_1} − (1 − {y}) log(1 − {h_1})",
                self.L,
            ),
        ]
        backward = [
            ("(3) ∂L/∂h_1 = (h_1 − y) / (h_1 (1 − h_1))", f"({h_1} − {y}) / ({h_1} (1 − {h_1}))", self.dL_dh_1),
            ("(2) ∂L/∂f_0 = I[f_0 > 0] ⊙ ∂L/∂h_1", f"I[{f_0} > 0] · {dL_dh_1}", self.dL_df_0),
            ("(1) ∂L/∂β_0 = ∂L/∂f_0", dL_df_0, self.dL_dbeta_0),
            ("(1) ∂L/∂Ω_0 = ∂L/∂f_0 · xᵀ", f"{dL_df_0} · {x}", self.dL_dOmega_0),
        ]
        given = f"x = {x}, y = {y}, Ω_0 = {weight}, β_0 = {bias}"
        return "\n".join([given, "", "Forward pass", *_aligned(forward), "", "Backward pass", *_aligned(backward)])


def worked_example(x: ArrayLike, y: float, weight: ArrayLike, bias: float) -> WorkedExample:
    """Compute the toy example of the slides.

    The forward pass is (1) f_0 = β_0 + Ω_0·x, (2) h_1 = ReLU(f_0), (3) L = −y log h_1 − (1 − y) log(1 − h_1). The
    backward pass takes the same lines in reverse order.

    Parameters
    ----------
    x : float or array_like of shape (D,)
        Input.
    y : float
        Target, from 0 to 1.
    weight : float or array_like of shape (D,)
        Ω_0, of the shape of `x`. On the slide, it is the row vector that multiplies the column x.
    bias : float
        β_0.

    Returns
    -------
    WorkedExample
        The value of each line as a field; `print` shows formulas and numbers.

    Raises
    ------
    ValueError
        If an argument is not finite or has a wrong shape, if `y` is outside [0, 1], if h_1 is outside (0, 1), where
        the loss is undefined, or if a number overflows.
    TypeError
        If an argument is neither a real number nor an array of real numbers.

    Notes
    -----
    See "Toy Example" in the slides "Backpropagation" by Alireza Aghamohammadi (28 April 2024). This loss needs h_1 < 1,
    which a ReLU does not guarantee. In practice, use a sigmoid with `binary_cross_entropy`.

    Examples
    --------
    >>> example = worked_example(x=2.0, y=1.0, weight=0.25, bias=0.25)
    >>> example.h_1, example.dL_dOmega_0
    (0.75, -2.6666666666666665)
    """
    x, weight = _numbers("x", x, (0, 1)), _numbers("weight", weight, (0, 1))
    y, bias = float(_numbers("y", y, (0,))), float(_numbers("bias", bias, (0,)))
    if x.shape != weight.shape:
        raise ValueError(f"weight must have the shape of x, got {weight.shape} for x of {x.shape}")
    if not 0 <= y <= 1:
        raise ValueError(f"y must be from 0 to 1, got {y!r}")

    with np.errstate(over="ignore", invalid="ignore"):
        f_0 = bias + float(np.sum(weight * x))
    h_1 = max(0.0, f_0)
    _check_activation(f_0, h_1)
    loss = -y * math.log(h_1) - (1 - y) * math.log1p(-h_1)

    dL_dh_1 = (h_1 - y) / (h_1 * (1 - h_1))
    dL_df_0 = float(f_0 > 0) * dL_dh_1
    with np.errstate(over="ignore", invalid="ignore"):
        dL_dOmega_0 = dL_df_0 * x
    if not np.all(np.isfinite([dL_df_0, *np.ravel(dL_dOmega_0)])):
        raise ValueError(f"the gradient overflows: h_1 = {h_1!r} is too close to 0 for this x; raise bias")
    return WorkedExample(
        x=_field(x),
        y=y,
        weight=_field(weight),
        bias=bias,
        f_0=f_0,
        h_1=h_1,
        L=loss,
        dL_dh_1=dL_dh_1,
        dL_df_0=dL_df_0,
        dL_dbeta_0=dL_df_0,
        dL_dOmega_0=_field(dL_dOmega_0),
    )


def _numbers(name: str, value: ArrayLike, dimensions: tuple[int, ...]) -> Vector:
    """Return finite numbers as float64, or raise an error that names the argument."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers, got {value!r}")
    if array.ndim not in dimensions or array.size == 0:
        wanted = "a number" if dimensions == (0,) else "a number or a vector"
        raise ValueError(f"{name} must be {wanted}, got an array of shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return array.astype(np.float64)


def _check_activation(f_0: float, h_1: float) -> None:
    """Raise an error with the undefined logarithm if h_1 is outside (0, 1)."""
    if not math.isfinite(f_0):
        raise ValueError("f_0 = β_0 + Ω_0·x overflows: make x or weight smaller")
    if h_1 <= 0:
        raise ValueError(
            f"the loss is undefined at h_1 = ReLU({f_0!r}) = 0: −y log h_1 takes the logarithm of 0, which does "
            "not exist. h_1 must lie between 0 and 1: raise bias, or change weight or x, so that f_0 > 0"
        )
    if h_1 >= 1:
        raise ValueError(
            f"the loss is undefined at h_1 = {h_1!r}: −(1 − y) log(1 − h_1) takes the logarithm of "
            f"{1 - h_1!r}, which does not exist. h_1 must lie between 0 and 1: lower bias, or change weight or x, "
            "so that f_0 < 1"
        )


def _field(array: Vector) -> float | Vector:
    """Return a scalar as a float, and a vector as a read-only array."""
    if array.ndim == 0:
        return float(array)
    array.flags.writeable = False
    return array


def _text(value: float | Vector) -> str:
    """Return a number or a vector as part of a formula; a long vector is shortened in the middle."""
    if isinstance(value, np.ndarray):
        numbers = [f"{number:.6g}" for number in value]
        if len(numbers) > 6:
            numbers[3:-3] = ["…"]
        return f"[{' '.join(numbers)}]".replace("-", "−")
    text = f"{value:.6g}".replace("-", "−")
    return f"({text})" if value < 0 else text


def _aligned(lines: Sequence[tuple[str, str, float | Vector]]) -> list[str]:
    """Return the lines as formula = numbers = result, with aligned equals signs."""
    formula = max(len(line[0]) for line in lines)
    numbers = max(len(line[1]) for line in lines)
    return [f"{left:<{formula}} = {middle:<{numbers}} = {_text(result).strip('()')}" for left, middle, result in lines]

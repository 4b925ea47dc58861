"""Comparison of the gradients by backpropagation with central differences, parameter by parameter.

This file uses only the public methods of a network. It must not know kernels or the memory layout of parameters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbp import activations, checks, losses
from fastbp._typing import Floats
from fastbp.activations import Activation
from fastbp.losses import Loss
from fastbp.network import Network

# Bound of the rounding error of L, relative to L. A difference quotient with the step ε divides this error by ε.
_ROUNDING = 16 * float(np.finfo(np.float64).eps)
# ε ∝ ∛u makes the errors of a central difference about equal: the rounding error ∝ u/ε and the truncation error ∝ ε².
_STEP = float(np.cbrt(np.finfo(np.float64).eps))


@dataclass(frozen=True)
class ArrayCheck:
    """The result for one array of parameters.

    Attributes
    ----------
    name : str
        `Ω_i` or `β_i`.
    shape : tuple of int
        Shape of the array.
    checked : int
        Number of parameters that were compared.
    kinks : int
        Number of parameters that were left out, because steps in both directions cross a kink of the loss.
    max_absolute_error, max_relative_error : float
        Largest differences between backpropagation and difference quotients; 0 if no parameter was compared.
    resolution : float
        Largest absolute error that the rounding of the losses can explain.
    ok : bool
        Whether the largest relative error is at most the tolerance.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    kinks: int
    max_absolute_error: float
    max_relative_error: float
    resolution: float
    ok: bool


@dataclass(frozen=True)
class GradientCheck:
    """The result of `check_gradients`; `print` shows a table.

    Attributes
    ----------
    loss : str
        Name of the loss.
    tolerance : float
        Largest allowed relative error.
    arrays : tuple of ArrayCheck
        One result per array: Ω_0, β_0, Ω_1, β_1, …
    """

    loss: str
    tolerance: float
    arrays: tuple[ArrayCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether at least one parameter was compared, and all arrays are ok."""
        return any(array.checked for array in self.arrays) and all(array.ok for array in self.arrays)

    @property
    def max_relative_error(self) -> float:
        """The largest relative error of all arrays."""
        return float(np.max([array.max_relative_error for array in self.arrays]))

    def __str__(self) -> str:
        """Return a table with one line per array, and a summary below the table."""
        lines: list[tuple[str, ...]]
        lines = [("array", "shape", "checked", "kinks", "resolution", "largest error", "relative", "")]
        for row in self.arrays:
            verdict = "WRONG" if not row.ok else "ok" if row.checked else "not checked"
            checked = f"{row.checked} of {math.prod(row.shape)}"
            errors = [f"{e:.1e}" for e in (row.resolution, row.max_absolute_error, row.max_relative_error)]
            lines.append((row.name, str(row.shape), checked, str(row.kinks), *errors, verdict))
        name, shape, *numbers, _ = (max(map(len, column)) for column in zip(*lines, strict=True))
        layout = f"{{:<{name}}}  {{:<{shape}}}" + "".join(f"  {{:>{width}}}" for width in numbers) + "  {}"
        table = [layout.format(*line).rstrip() for line in lines]
        summary = (
            f"{self.loss}: {'gradients agree' if self.ok else 'GRADIENTS DO NOT AGREE'}; largest relative error "
            f"{self.max_relative_error:.1e}, allowed {self.tolerance:g}"
        )
        return "\n".join([*table, summary])


def check_gradients(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    loss: str | Loss | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    epsilon: float = _STEP,
    tolerance: float = 1e-6,
    max_per_array: int = 500,
    seed: int = 0,
) -> GradientCheck:
    """Compare ∂L/∂Ω_i and ∂L/∂β_i by backpropagation with central differences of the loss.

    For each parameter θ, (L(θ + ε) − L(θ − ε)) / 2ε is compared with the gradient that `net.gradients` returns. The
    network is not changed. For a float32 network, the gradients and the differences are those of a float64 copy,
    because differences in float32 would consist mostly of rounding errors.

    Parameters
    ----------
    net : Network
        Network to check.
    X : array_like of shape (n, D_0)
        Rows of a batch; a few different rows are enough.
    y : array_like of shape (n, D_{K+1}) or (n,)
        Targets, as in `net.loss`.
    loss : str or Loss, optional
        Default: the loss of the network's last fit, or "squared_error" before the first fit.
    sample_weight : array_like of shape (n,), optional
        Weights of the rows, as in `net.loss`. Default: 1 for each row.
    epsilon : float, default 6.1e-6
        The step is ε = `epsilon` · max(1, |θ|). For a weight in Ω_i, ε is also divided by the largest |h_i|, if this
        is larger than 1 (at most 1e6). The default is the cube root of the machine epsilon of float64.
    tolerance : float, default 1e-6
        Largest allowed relative error.
    max_per_array : int, default 500
        An array with more parameters than this is checked at this number of random parameters.
    seed : int, default 0
        Seed of the random choice of parameters.

    Returns
    -------
    GradientCheck
        `ok`, `max_relative_error`, and one `ArrayCheck` per array.

    Raises
    ------
    TypeError, ValueError
        If `epsilon`, `tolerance` or `max_per_array` is not positive, or the network rejects the batch.

    Notes
    -----
    The relative error is |a − d| / max(|a|, |d|, r / tolerance), for the derivative a by backpropagation and the
    difference quotient d. The resolution r is the error of d that the rounding of the losses can cause. So an absolute
    error of at most r is always within the tolerance.

    ReLU has a kink at f_i = 0. If no f_i changes its sign between θ − ε and θ + ε, there is no kink between them. If
    signs change in one direction only, the other direction gives the one-sided difference
    (−3 L(θ) + 4 L(θ ± ε) − L(θ ± 2ε)) / ±2ε, of the same order. So a unit with f_i = 0 must have the derivative
    I[f_i > 0] = 0. If signs change in both directions, the parameter counts as a kink and is not compared. The kinks of
    `absolute_error` and `quantile` at ŷ = y, and of the slope of `huber` at |ŷ − y| = δ, are treated in the same way.
    Nobody knows where a user's loss has kinks. So a parameter with a larger error than allowed counts as a kink if the
    differences for ε and for a smaller step, of first or second order, differ by more than a quarter of this error. For
    a smooth loss, they are nearly the same.
    """
    for name, value in (("epsilon", epsilon), ("tolerance", tolerance), ("max_per_array", max_per_array)):
        checks.positive(name, value)
    resolved = losses.resolve_or_trained(loss, net.trained_loss)
    probe = _Probe(net, X, y, resolved, sample_weight, epsilon)
    judged = net if np.dtype(net.dtype) == np.float64 else probe.net
    gradients = judged.gradients(X, y, loss=resolved, sample_weight=sample_weight)
    rounding = probe.rounding(gradients.f)
    random = np.random.default_rng(seed)
    rows = []
    for i in range(len(probe.weights)):
        # So a step in a weight changes f_i by about ε, as a step in a bias does. Without the bound of 1e6, the step of
        # a weight could vanish in rounding.
        largest = float(np.clip(np.max(np.abs(probe.trace.h[i])), 1, 1e6))
        for name, array, gradient, step in (
            (f"Ω_{i}", probe.weights[i], gradients.weights[i], epsilon / largest),
            (f"β_{i}", probe.biases[i], gradients.biases[i], epsilon),
        ):
            places = np.arange(array.size)
            if array.size > max_per_array:
                places = np.sort(random.choice(array.size, max_per_array, replace=False))
            steps = step * np.maximum(1, np.abs(array.flat[places]))
            slopes = [probe.slope(array, *where) for where in zip(places.tolist(), steps.tolist(), strict=True)]
            if resolved.is_custom:
                for k, slope in enumerate(slopes):
                    g = float(gradient.flat[places[k]])
                    allowed = max(tolerance * abs(g), rounding / steps[k])
                    is_wrong = slope is not None and abs(slope - g) > max(allowed, tolerance * abs(slope))
                    if is_wrong and probe.has_kink_of_loss(array, int(places[k]), float(steps[k]), g):
                        slopes[k] = None
            rows.append(_compared(name, gradient, places, slopes, tolerance, rounding / steps))
    return GradientCheck(probe.loss.name, tolerance, tuple(rows))


class _Point(NamedTuple):
    """The loss for some parameters, and for every kink, the side on which the network is."""

    loss: float
    sides: NDArray[np.int8]


def _activations_of(net: Network) -> tuple[Activation, ...]:
    """Return the activation of each hidden layer."""
    n_hidden = len(net.layer_sizes) - 2
    return activations.of_layers(activations.resolve_layers(net.activation, n_hidden), n_hidden)


class _Probe:
    """A float64 copy of the network, whose parameters may be changed."""

    def __init__(
        self, net: Network, X: ArrayLike, y: ArrayLike, loss: Loss, sample_weight: ArrayLike | None, epsilon: float
    ) -> None:
        self.net = type(net)(net.layer_sizes, dtype="float64", activation=net.activation)
        self.activations = _activations_of(net)
        self.weights = [np.array(array, dtype=np.float64) for array in net.weights]
        self.biases = [np.array(array, dtype=np.float64) for array in net.biases]
        self.X, self.y, self.loss, self.sample_weight = X, y, loss, sample_weight
        self.epsilon = epsilon
        self.here = self._point()
        self.trace = self.net.forward(X)

    def slope(self, array: Floats, place: int, step: float) -> float | None:
        """Return the difference quotient of the loss in one parameter; None at a kink."""
        theta = array.flat[place]

        def loss_without_kink(offset: float) -> float | None:
            array.flat[place] = theta + offset
            point = self._point()
            array.flat[place] = theta
            return point.loss if np.array_equal(point.sides, self.here.sides) else None

        up, down = loss_without_kink(step), loss_without_kink(-step)
        if up is not None and down is not None:
            return (up - down) / (2 * step)
        for near, offset in ((up, step), (down, -step)):
            if near is not None and (far := loss_without_kink(2 * offset)) is not None:
                return (4 * near - 3 * self.here.loss - far) / (2 * offset)
        return None

    def has_kink_of_loss(self, array: Floats, place: int, step: float, derivative: float) -> bool:
        """Return whether a kink of a user's loss can explain why backpropagation gave another derivative.

        Let the slope change by J at θ + t, for 0 ≤ t < ε. The error of the central difference is J (ε − t) / 2ε. For
        the steps ε and ε / 2, the central differences or the second differences times ε then differ by 2/5 of this
        error at least. Several kinks may cancel for one step, so a third step is tried.
        """
        theta = array.flat[place]

        def loss(offset: float) -> float:
            array.flat[place] = theta + offset
            found = self._point().loss
            array.flat[place] = theta
            return found

        def differences(h: float) -> Floats:
            up, down = loss(h), loss(-h)
            return np.array([(up - down) / (2 * h), step * (up - 2 * self.here.loss + down) / h**2])

        at_step = differences(step)
        error = abs(at_step[0] - derivative)
        return any(np.abs(differences(h) - at_step).max() > error / 4 for h in (step / 2, step / 3))

    def rounding(self, gradients_of_f: Sequence[Floats]) -> float:
        """Return a bound of the error of L by the rounding of L itself and of every f_i."""
        carried = 0.0
        for f, g in zip(self.trace.f, gradients_of_f, strict=True):
            # Where ∂L/∂f_i is 0, it becomes about ε / n after a step of ε, so the rounding of f_i counts there too.
            carried += float(np.sum(np.abs(f) * (np.abs(g) + self.epsilon / len(f))))
        return _ROUNDING * (abs(self.here.loss) + carried)

    def _point(self) -> _Point:
        self.net.set_parameters(self.weights, self.biases)
        loss = self.net.loss(self.X, self.y, loss=self.loss, sample_weight=self.sample_weight)
        *hidden, output = self.net.forward(self.X).f
        sides = [
            np.ravel(f > kink).astype(np.int8)
            for f, activation in zip(hidden, self.activations, strict=True)
            for kink in activation.kinks
        ]
        return _Point(loss, np.concatenate([*sides, self._sides_of_loss(output)]))

    def _sides_of_loss(self, output: Floats) -> NDArray[np.int8]:
        if self.loss.kink is None:
            return np.empty(0, dtype=np.int8)
        residual = np.ravel(output) - np.ravel(np.asarray(self.y, dtype=np.float64))
        return (np.sign(residual) * (np.abs(residual) > self.loss.kink)).astype(np.int8)


def _compared(
    name: str,
    gradient: NDArray[Any],
    places: NDArray[np.int64],
    slopes: list[float | None],
    tolerance: float,
    resolution: Floats,
) -> ArrayCheck:
    """Return the result for one array from the difference quotients at some places."""
    smooth = [i for i, slope in enumerate(slopes) if slope is not None]
    by_difference = np.array([slopes[i] for i in smooth], dtype=np.float64)
    by_backpropagation = gradient.flat[places[smooth]]
    errors = np.abs(by_backpropagation - by_difference)
    scale = np.maximum(np.abs(by_backpropagation), np.abs(by_difference))
    scale = np.maximum(scale, resolution[smooth] / tolerance + np.finfo(np.float64).tiny)  # never 0 / 0
    worst = float(np.max(errors / scale, initial=0.0))
    return ArrayCheck(
        name=name,
        shape=gradient.shape,
        checked=len(smooth),
        kinks=len(slopes) - len(smooth),
        max_absolute_error=float(np.max(errors, initial=0.0)),
        max_relative_error=worst,
        resolution=float(np.max(resolution)),
        ok=worst <= tolerance,
    )

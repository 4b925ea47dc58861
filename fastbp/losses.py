"""The losses: value and ∂L/∂ŷ together, weighted over a batch.

Every loss is computed in float64 whatever the network's dtype: one number a sample is cheap, and its sum over an
epoch stays exact enough to compare. This file must not know how ŷ came about, nor what is done with its gradient.
"""

import math
from typing import NamedTuple

import numpy as np

from fastbp.jit import njit
from fastbp.layout import Floats, Panels, element_at
from fastbp.line import TILE_ROWS, line_length, store, zero_tile


class Loss(NamedTuple):
    """A loss by name, and the one parameter that some have (δ of huber, q of quantile)."""

    name: str
    parameter: float = 0.0

    @property
    def code(self) -> int:
        """The number by which kernels know the loss."""
        return NAMES.index(self.name)


NAMES = ("squared_error", "binary_cross_entropy", "cross_entropy", "poisson", "huber", "absolute_error", "quantile")
(
    _SQUARED_ERROR,
    _BINARY_CROSS_ENTROPY,
    _CROSS_ENTROPY,
    _POISSON,
    _HUBER,
    _ABSOLUTE_ERROR,
    _QUANTILE,
) = range(len(NAMES))


def huber(delta: float = 1.0) -> Loss:
    """Return Huber's loss: ½ r² where |r| ≤ δ and δ (|r| − ½ δ) beyond, r = ŷ − y.

    Parameters
    ----------
    delta : float, default 1.0
        δ > 0, in the unit of y.

    Raises
    ------
    ValueError
        If `delta` is not a positive finite number.

    References
    ----------
    Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1).
    """
    if not 0 < delta < math.inf:
        raise ValueError(f"delta must be a positive finite number, got {delta!r}")
    return Loss("huber", float(delta))


def quantile(q: float = 0.5) -> Loss:
    """Return the pinball loss, least at the q-quantile: q r where r = y − ŷ ≥ 0 and (q − 1) r elsewhere.

    Parameters
    ----------
    q : float, default 0.5
        The quantile, in (0, 1). At 0.5 the loss is half the absolute error.

    Raises
    ------
    ValueError
        If `q` is not within (0, 1).

    References
    ----------
    Koenker and Bassett (1978), "Regression quantiles", Econometrica 46(1).
    """
    if not 0 < q < 1:
        raise ValueError(f"q must lie between 0 and 1, got {q!r}")
    return Loss("quantile", float(q))


def resolve(loss: str | Loss) -> Loss:
    """Return a loss given by name, with its default parameter, or as it is."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise TypeError(f"loss must be a name or one of fastbp.losses, got {loss!r}")
    if loss not in NAMES:
        raise ValueError(f"loss must be one of {', '.join(NAMES)}; got {loss!r}")
    return {"huber": huber(), "quantile": quantile()}.get(loss, Loss(loss))


# --- one number of ŷ: its loss and derivative ---------------------------------------------------------------


@njit
def squared_error(f: float, y: float) -> tuple[float, float]:
    """½ (ŷ − y)², and ŷ − y."""
    return 0.5 * (f - y) ** 2, f - y


@njit
def binary_cross_entropy(f: float, y: float) -> tuple[float, float]:
    """softplus(ŷ) − y ŷ, and σ(ŷ) − y, both through exp(−|ŷ|), which cannot overflow."""
    e = math.exp(-abs(f))
    σ = (1.0 if f >= 0 else e) / (1 + e)
    return max(f, 0.0) - y * f + math.log1p(e), σ - y


@njit
def poisson(f: float, y: float) -> tuple[float, float]:
    """exp(ŷ) − y ŷ, and exp(ŷ) − y."""
    e = math.exp(f)
    return e - y * f, e - y


@njit
def huber_point(f: float, y: float, δ: float) -> tuple[float, float]:
    """½ r² within δ and δ (|r| − ½ δ) beyond, and r clipped to ±δ, for r = ŷ − y."""
    r = f - y
    clipped = min(max(r, -δ), δ)
    return clipped * (r - 0.5 * clipped), clipped


@njit
def absolute_error(f: float, y: float) -> tuple[float, float]:
    """|ŷ − y|, and its sign."""
    r = f - y
    return abs(r), 1.0 if r > 0 else -1.0 if r < 0 else 0.0


@njit
def quantile_point(f: float, y: float, q: float) -> tuple[float, float]:
    """max(q r, (q − 1) r) for r = y − ŷ, and its derivative, 0 at r = 0."""
    r = y - f
    return max(q * r, (q - 1) * r), -q if r > 0 else 1 - q if r < 0 else 0.0


@njit
def _point(loss: int, parameter: float, f: float, y: float) -> tuple[float, float]:
    """Return value and derivative of the loss with this number."""
    if loss == _SQUARED_ERROR:
        return squared_error(f, y)
    if loss == _BINARY_CROSS_ENTROPY:
        return binary_cross_entropy(f, y)
    if loss == _POISSON:
        return poisson(f, y)
    if loss == _HUBER:
        return huber_point(f, y, parameter)
    if loss == _ABSOLUTE_ERROR:
        return absolute_error(f, y)
    return quantile_point(f, y, parameter)


# --- one row of ŷ -------------------------------------------------------------------------------------------


@njit
def _points_row(
    loss: int,
    parameter: float,
    f: Panels,  # (n, C): ŷ
    y: Panels,  # (n, C)
    row: int,
    scale: float,
    out: Panels,  # (n, C): ∂L/∂ŷ times scale
) -> float:
    """Σ_o ℓ(ŷ_o, y_o) of one row, for the losses that take each output alone."""
    total = 0.0
    for o in range(f.columns):
        at = element_at(f, row, o)
        value, derivative = _point(loss, parameter, np.float64(f.data[at]), np.float64(y.data[element_at(y, row, o)]))
        out.data[element_at(out, row, o)] = derivative * scale
        total += value
    return total


@njit
def _cross_entropy_row(
    f: Panels,  # (n, C): ŷ
    y: Panels,  # (n, C): probabilities
    row: int,
    scale: float,
    out: Panels,  # (n, C): ∂L/∂ŷ times scale
) -> float:
    """−Σ_o y_o log softmax(ŷ)_o of one row; ∂L/∂ŷ = softmax(ŷ) Σ_o y_o − y."""
    largest = -math.inf
    for o in range(f.columns):
        # Written so that NaN is kept, for divergence to be seen.
        number = np.float64(f.data[element_at(f, row, o)])
        largest = largest if number <= largest else number
    normaliser, total_y = 0.0, 0.0
    for o in range(f.columns):
        normaliser += math.exp(np.float64(f.data[element_at(f, row, o)]) - largest)
        total_y += np.float64(y.data[element_at(y, row, o)])
    log_normaliser = math.log(normaliser)
    total = 0.0
    for o in range(f.columns):
        logit = np.float64(f.data[element_at(f, row, o)]) - largest
        target = np.float64(y.data[element_at(y, row, o)])
        out.data[element_at(out, row, o)] = (math.exp(logit) / normaliser * total_y - target) * scale
        total += target * (log_normaliser - logit)
    return total


# --- a batch ------------------------------------------------------------------------------------------------


@njit
def loss_and_gradient(
    loss: int,
    parameter: float,
    f: Panels,  # (n, C): ŷ
    y: Panels,  # (n, C)
    sample_weights: Floats,  # w, from sample_weights_at on
    sample_weights_at: int,
    out: Panels,  # (n, C): ∂L/∂ŷ of the batch's mean, zero in the rows past n
) -> tuple[float, float]:
    """L = Σ_n w_n ℓ_n / Σ_n w_n: return Σ_n w_n ℓ_n and Σ_n w_n; ∂L/∂ŷ_n = w_n ∂ℓ_n/∂ŷ_n / Σ_n w_n."""
    lanes = line_length(out.data)
    for column in range(0, out.columns, lanes):
        last_tile = (f.rows - 1) // TILE_ROWS * TILE_ROWS
        store(out.data, element_at(out, last_tile, column), zero_tile(out.data, TILE_ROWS))
    total, total_weight = 0.0, 0.0
    for row in range(f.rows):
        total_weight += np.float64(sample_weights[sample_weights_at + row])
    for row in range(f.rows):
        weight = np.float64(sample_weights[sample_weights_at + row])
        if weight > 0:  # a batch may hold nothing but rows of weight 0
            scale = weight / total_weight
            if loss == _CROSS_ENTROPY:
                total += weight * _cross_entropy_row(f, y, row, scale, out)
            else:
                total += weight * _points_row(loss, parameter, f, y, row, scale, out)
        else:
            for o in range(f.columns):
                out.data[element_at(out, row, o)] = 0
    return total, total_weight

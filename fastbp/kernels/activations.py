"""Activations other than ReLU: h = a(f) overwrites f, and a'(f) waits where ∂L/∂f will be.

ReLU itself is part of the kernels in `dense`. Each other activation is a piece, which a pass calls by its address once
for each layer. A piece computes h and a'(f) together, so that both share an exponential. The backward pass multiplies
a'(f) by ∂L/∂h where it lies, so no layer needs further memory. This file must not know how layers are connected.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Integers
from fastbp.kernels.layout import Panels
from fastbp.machine.arithmetic import keep_lanes, maximum, minimum
from fastbp.machine.elementary import exp, exp_minus_1, normal_distribution
from fastbp.machine.elementary import logistic as sigmoid
from fastbp.machine.elementary import softplus as log_of_1_plus_exp
from fastbp.machine.elementary import tanh as hyperbolic_tangent
from fastbp.machine.jit import inlined, njit
from fastbp.machine.lanes import absolute, choose
from fastbp.machine.line import TILE_ROWS, Line, line_length, load, pointer, store, zero_line
from fastbp.machine.piece import REAL, TRUTH, WHOLE, Piece, address_type, caller, tuple_type

RELU, IDENTITY = 0, 1  # in place of the address of a piece

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848  # Klambauer et al. (2017)
_CUBE = 0.044715  # Hendrycks and Gimpel (2016)
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


class LayerActivations(NamedTuple):
    """The activation of each hidden layer, for kernels. `custom_activations.layer_activations` makes it."""

    pieces: Integers  # (K,): the address of a piece, RELU or IDENTITY
    parameters: npt.NDArray[np.float64]  # (K,)


# --- a line of f: a(f) and a'(f) ----------------------------------------------------------------------------


@njit
def tanh(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return tanh f and 1 − tanh² f."""
    h = hyperbolic_tangent(f)
    return h, 1 - h * h


@njit
def logistic(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return σ(f) and σ (1 − σ)."""
    h = sigmoid(f)
    return h, h * (1 - h)


@njit
def leaky_relu(f: Line, slope: float) -> tuple[Line, Line]:
    """Return f and 1 if f > 0, and slope · f and the slope otherwise."""
    return choose(f, f, f * slope), choose(f, 1, f * 0 + slope)


@njit
def elu(f: Line, α: float) -> tuple[Line, Line]:
    """Return f and 1 if f > 0, and α (e^f − 1) and α e^f otherwise."""
    h = choose(f, f, exp_minus_1(minimum(f, 0)) * α)
    return h, choose(f, 1, h + α)


@njit
def selu(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return ELU times a scale, with an α and a scale by which units keep mean 0 and variance 1."""
    h, derivative = elu(f, _SELU_ALPHA)
    return h * _SELU_SCALE, derivative * _SELU_SCALE


@njit
def gelu(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return f Φ(f) and Φ(f) + f φ(f), with Φ and φ of the standard normal distribution."""
    Φ, φ = normal_distribution(f)
    return f * Φ, Φ + f * φ


@njit
def gelu_tanh(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return ½ f (1 + t) and ½ (1 + t) + ½ f (1 − t²) u', with t = tanh u and u = √(2/π) (f + c f³)."""
    square = f * f
    t = hyperbolic_tangent((square * _CUBE + 1) * f * _ROOT_2_OVER_PI)
    slope = (square * (3 * _CUBE) + 1) * _ROOT_2_OVER_PI
    half = (t + 1) * 0.5
    return f * half, half + f * 0.5 * (1 - t * t) * slope


@njit
def silu(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return f σ(f) and σ (1 + f (1 − σ))."""
    σ = sigmoid(f)
    return f * σ, σ * (f * (1 - σ) + 1)


@njit
def mish(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return f t and t + f · 4 e (1 + e) / (n + 2)², with e = e^f, n = e (e + 2) and t = tanh(log(1 + e)).

    There t = n / (n + 2), because tanh(log u) = (u² − 1) / (u² + 1).
    """
    e = exp(minimum(f, 20))  # for a greater f, t rounds to 1
    n = e * (e + 2)
    inverse = 1 / (n + 2)
    t = n * inverse
    return f * t, t + f * (e * (e + 1) * 4) * (inverse * inverse)


@njit
def softplus(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return log(1 + e^f) and σ(f)."""
    return log_of_1_plus_exp(f), sigmoid(f)


@njit
def hard_tanh(f: Line, _parameter: float) -> tuple[Line, Line]:
    """Return f clipped to [−1, 1], and 1 between these bounds, 0 elsewhere."""
    return minimum(maximum(f, -1), 1), choose(1 - absolute(f), 1, f * 0)


# --- pieces -------------------------------------------------------------------------------------------------


def types_of_layer(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of a piece."""
    panels = tuple_type(Panels, address_type(dtype), *4 * [WHOLE])
    return REAL, panels, panels, TRUTH


@njit
def _overwrite(
    formula: Any,  # a(f) and a'(f) of a line
    parameter: float,
    h: Panels,  # (n, D): f, overwritten by a(f)
    derivative: Panels,  # (n, D): a'(f), written if it is kept, and 0 past the batch to the end of its tile
    keeps_derivative: bool,
) -> None:
    """h = a(f) and a'(f)."""
    lanes = line_length(h.data)
    end = h.rows * lanes
    for column in range(0, h.columns, lanes):
        panel = column // lanes
        h_at, derivative_at = h.at + panel * h.stride, derivative.at + panel * derivative.stride
        for at in range(0, end, lanes):
            value, slope = formula(load(h.data, h_at + at), parameter)
            # σ(0) is not 0, and padding must be 0.
            store(h.data, h_at + at, keep_lanes(value, h.columns - column, 0))
            if keeps_derivative:
                store(derivative.data, derivative_at + at, slope)
        if keeps_derivative:
            clear_rest_of_tile(derivative, derivative_at)


@njit
def clear_rest_of_tile(matrix: Panels, panel_at: int) -> None:
    """Write zeros past the last row of a panel, to the end of the row's tile."""
    lanes = line_length(matrix.data)
    for row in range(matrix.rows, (matrix.rows + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS):
        store(matrix.data, panel_at + row * lanes, zero_line(matrix.data))


def _piece(formula: Any) -> Piece:
    """Return the piece of an activation."""

    def overwrite(parameter: float, h: Panels, derivative: Panels, keeps_derivative: bool) -> None:
        _overwrite(formula, parameter, h, derivative, keeps_derivative)

    return Piece(overwrite, types_of_layer, formula.py_func.__name__)


PIECES = {
    formula.py_func.__name__: _piece(formula)
    for formula in (
        *(tanh, logistic, leaky_relu, elu, selu, gelu, gelu_tanh, silu),
        *(mish, softplus, hard_tanh),
    )
}
_call_piece = caller(types_of_layer)


@inlined
def activate(piece: int, parameter: float, h: Panels, derivative: Panels, keeps_derivative: bool) -> None:
    """h = a(f) overwrites f, and a'(f) is written if it is kept. All arrays are addresses."""
    if _call_piece(piece, (parameter, h, derivative, keeps_derivative)):
        h.data[h.at] = np.nan  # a user's function has raised an exception; the run ends as if it diverged


@inlined
def check_activations(activations: LayerActivations, n_layers: int) -> None:
    """Raise ValueError unless there is an activation for each hidden layer."""
    if activations.pieces.size != n_layers - 1 or activations.parameters.size != n_layers - 1:
        raise ValueError("activations must have one piece for each hidden layer")


@inlined
def activation_addresses(activations: LayerActivations) -> LayerActivations:
    """Return the same activations with addresses for arrays. The caller keeps the arrays alive."""
    return LayerActivations(pointer(activations.pieces), pointer(activations.parameters))

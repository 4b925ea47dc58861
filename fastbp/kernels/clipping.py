"""Clipping: the factor that all gradients of a step are multiplied by, so that their common norm is limited.

The factor is computed by a piece, which a run compiles only if it clips. This file must not know how gradients are
computed, nor what a step does with them.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastbp._typing import Floats, Integers
from fastbp.kernels.layout import smaller
from fastbp.machine.arithmetic import sum_lanes
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import line_length, load, zero_line
from fastbp.machine.piece import REAL, WHOLE, Piece, address_type, caller, tuple_type

_CHUNK = 1024  # numbers whose squares are added up in their own dtype
_EPSILON = 1e-6  # as in PyTorch's clip_grad_norm_


class Clipping(NamedTuple):
    """All gradients of a step, and the largest norm that they may have together."""

    gradients: Floats  # ∂L/∂φ
    parameters: Floats  # φ
    first_weights: Floats  # φ, or the buffer that holds Ω_0 if inputs have factors
    n_layers: int
    sizes: Integers  # as in `Parameters`, and so the next two
    weights_at: Integers
    biases_at: Integers
    factor_gradients: Floats  # ∂L/∂s of the factors of inputs
    n_factors: int  # 0 if inputs have no factors
    penalty: float  # α
    max_norm: float


@njit
def sum_of_squares(
    gradients: Floats,
    parameters: Floats,
    penalty: float,
    first: int,  # the numbers are buffer[first:end], filled up with zeros to whole lines
    end: int,
) -> float:
    """‖∂L/∂φ + α φ‖²."""
    total = 0.0
    for start in range(first, end, _CHUNK):
        squares = zero_line(gradients)
        for at in range(start, smaller(start + _CHUNK, end), line_length(gradients)):
            g = load(gradients, at) + load(parameters, at) * penalty
            squares = squares + g * g
        total += np.float64(sum_lanes(squares))
    return total


@njit
def gradient_scale(clipping: Clipping) -> float:
    """min(1, max_norm / (‖g‖ + 1e-6)), with g = ∂L/∂φ + α φ for weights, ∂L/∂φ for biases, and ∂L/∂s; or NaN."""
    c, total = clipping, 0.0
    for i in range(c.n_layers):
        Ω, at = c.first_weights if i == 0 else c.parameters, c.biases_at[i]
        total += sum_of_squares(c.gradients, Ω, c.penalty, c.weights_at[i], at)
        total += sum_of_squares(c.gradients, c.parameters, 0.0, at, at + c.sizes[i + 1])
    total += sum_of_squares(c.factor_gradients, c.factor_gradients, 0.0, 0, c.n_factors)
    scale = c.max_norm / (math.sqrt(total) + _EPSILON)
    return 1.0 if scale > 1 else scale


# --- the piece ----------------------------------------------------------------------------------------------


def _types(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of the piece."""
    numbers, places = address_type(dtype), address_type(np.int64)
    return (tuple_type(Clipping, *3 * [numbers], WHOLE, *3 * [places], numbers, WHOLE, REAL, REAL),)


def _gradient_scale(clipping: Clipping) -> float:
    return gradient_scale(clipping)


GRADIENT_SCALE = Piece(_gradient_scale, _types, "gradient_scale")
_call_piece = caller(_types, REAL)


@inlined
def call_gradient_scale(
    piece: int,  # the address of `GRADIENT_SCALE`
    clipping: Clipping,
) -> float:
    """Return the factor for all gradients."""
    return _call_piece(piece, (clipping,))

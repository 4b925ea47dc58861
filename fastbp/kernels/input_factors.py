"""A learned factor for each input, before the first layer: f_0 = β_0 + Ω_0 (s ⊙ x).

The factors are folded into the weights. The network keeps V = Ω_0 diag(s), and the forward and backward pass see V
alone, so the rows need not be multiplied and a trained network has no factors. A step changes Ω_0 and s.

This file must not know the passes or the optimizers.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, Parameters, element_at
from fastbp.kernels.packing import aligned_zeros, round_up
from fastbp.machine.arithmetic import sum_lanes
from fastbp.machine.jit import inlined, jitable
from fastbp.machine.line import line_length, load, pointer, store, zero_line
from fastbp.machine.piece import REAL, WHOLE, Piece, address_type, caller, tuple_type


class InputFactors(NamedTuple):
    """The factors, and the weights that they multiply. The buffers are empty if inputs have no factors."""

    weights: Floats  # Ω_0ᵀ, laid out as V is at the beginning of the parameters' buffer
    factors: Floats  # (D_0,): s, filled up with zeros to whole lines, as are the next three
    gradients: Floats  # ∂L/∂s
    mean: Floats  # the moments of s
    square: Floats
    rate: float  # what the learning rate of s is multiplied by
    differentiate: int  # the addresses of the two pieces below; 0 if inputs have no factors
    fold: int


@jitable
def input_factor_addresses(input_factors: InputFactors) -> InputFactors:
    """Return the same factors with addresses for arrays. The caller keeps the arrays alive."""
    weights, factors, gradients, mean, square, rate, differentiate, fold = input_factors
    moments = pointer(mean), pointer(square)
    return InputFactors(pointer(weights), pointer(factors), pointer(gradients), *moments, rate, differentiate, fold)


def _differentiate(
    input_factors: InputFactors,  # its gradients are written
    gradients: Panels,  # (D, E): ∂L/∂Vᵀ, overwritten by ∂L/∂Ω_0ᵀ
) -> None:
    """∂L/∂s_d = Σ_e Ω_0[e, d] ∂L/∂V[e, d], and ∂L/∂Ω_0 = ∂L/∂V diag(s)."""
    for d in range(gradients.rows):
        total = zero_line(gradients.data)
        for column in range(0, gradients.columns, line_length(gradients.data)):
            at = element_at(gradients, d, column)
            g = load(gradients.data, at)
            total = total + g * load(input_factors.weights, at)
            store(gradients.data, at, g * input_factors.factors[d])
        input_factors.gradients[d] = sum_lanes(total)


def _fold(
    input_factors: InputFactors,
    weights: Panels,  # (D, E): Vᵀ, written
) -> None:
    """V = Ω_0 diag(s)."""
    for d in range(weights.rows):
        for column in range(0, weights.columns, line_length(weights.data)):
            at = element_at(weights, d, column)
            store(weights.data, at, load(input_factors.weights, at) * input_factors.factors[d])


# --- pieces -------------------------------------------------------------------------------------------------


def _types(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of both pieces."""
    numbers = address_type(dtype)
    factors = tuple_type(InputFactors, *5 * [numbers], REAL, WHOLE, WHOLE)
    return factors, tuple_type(Panels, numbers, *4 * [WHOLE])


DIFFERENTIATE, FOLD = Piece(_differentiate, _types, "differentiate_inputs"), Piece(_fold, _types, "fold_inputs")
_call_piece = caller(_types)


@inlined
def differentiate_input_factors(input_factors: InputFactors, gradients: Panels) -> None:
    """Write ∂L/∂s, and overwrite ∂L/∂V by ∂L/∂Ω_0."""
    _call_piece(input_factors.differentiate, (input_factors, gradients))


@inlined
def fold_input_factors(input_factors: InputFactors, weights: Panels) -> None:
    """Write V = Ω_0 diag(s)."""
    _call_piece(input_factors.fold, (input_factors, weights))


@functools.cache
def no_input_factors(dtype: npt.DTypeLike) -> InputFactors:
    """Return the empty buffers of inputs without factors."""
    empty = aligned_zeros(0, dtype)
    return InputFactors(empty, empty, empty, empty, empty, 1.0, 0, 0)


def input_factors_of(parameters: Parameters, rate: float, initial_square: float = 0.0) -> InputFactors:
    """Return a factor of 1 for each input of a network, to be learned at `rate` times the learning rate."""
    data = parameters.data
    weights = aligned_zeros(parameters.biases_at[0], data.dtype)
    weights[:] = data[: weights.size]
    room = round_up(int(parameters.sizes[0]), parameters.lanes)
    factors, gradients, mean, square = (aligned_zeros(room, data.dtype) for _ in range(4))
    factors[: parameters.sizes[0]] = 1
    square[:] = initial_square
    addresses = (piece.address(data.dtype) for piece in (DIFFERENTIATE, FOLD))
    return InputFactors(weights, factors, gradients, mean, square, rate, *addresses)

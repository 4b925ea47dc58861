"""A learned factor for each input, before the first layer: f_0 = β_0 + Ω_0 (s ⊙ x).

The factors are folded into the weights. The network keeps V = Ω_0 diag(s), and the forward and backward pass see V
alone, so the rows need not be multiplied and a trained network has no factors. A step changes Ω_0 and s.

This file must not know the passes or the optimizers.
"""

import functools
from typing import NamedTuple

import numpy.typing as npt

from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, Parameters, element_at
from fastbp.kernels.packing import aligned_zeros, round_up
from fastbp.machine.arithmetic import sum_lanes
from fastbp.machine.jit import jitable, njit
from fastbp.machine.line import line_length, load, pointer, store, zero_line


class InputFactors(NamedTuple):
    """The factors, and the weights that they multiply. The buffers are empty if inputs have no factors."""

    weights: Floats  # Ω_0ᵀ, laid out as V is at the beginning of the parameters' buffer
    factors: Floats  # (D_0,): s, filled up with zeros to whole lines, as are the next three
    gradients: Floats  # ∂L/∂s
    mean: Floats  # Adam's m of s, or its velocity
    square: Floats  # Adam's v of s
    rate: float  # what the learning rate of s is multiplied by


@jitable
def input_factor_addresses(input_factors: InputFactors) -> InputFactors:
    """Return the same factors with addresses for arrays. The caller keeps the arrays alive."""
    weights, factors, gradients, mean, square, rate = input_factors
    return InputFactors(pointer(weights), pointer(factors), pointer(gradients), pointer(mean), pointer(square), rate)


@njit
def differentiate_input_factors(
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


@njit
def fold_input_factors(
    input_factors: InputFactors,
    weights: Panels,  # (D, E): Vᵀ, written
) -> None:
    """V = Ω_0 diag(s)."""
    for d in range(weights.rows):
        for column in range(0, weights.columns, line_length(weights.data)):
            at = element_at(weights, d, column)
            store(weights.data, at, load(input_factors.weights, at) * input_factors.factors[d])


@functools.cache
def no_input_factors(dtype: npt.DTypeLike) -> InputFactors:
    """Return the empty buffers of inputs without factors."""
    empty = aligned_zeros(0, dtype)
    return InputFactors(empty, empty, empty, empty, empty, 1.0)


def input_factors_of(parameters: Parameters, rate: float) -> InputFactors:
    """Return a factor of 1 for each input of a network, to be learned at `rate` times the learning rate."""
    data = parameters.data
    weights = aligned_zeros(parameters.biases_at[0], data.dtype)
    weights[:] = data[: weights.size]
    room = round_up(int(parameters.sizes[0]), parameters.lanes)
    factors, gradients, mean, square = (aligned_zeros(room, data.dtype) for _ in range(4))
    factors[: parameters.sizes[0]] = 1
    return InputFactors(weights, factors, gradients, mean, square, rate)

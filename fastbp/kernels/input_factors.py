"""A learned factor for each input, before the first layer: f_0 = β_0 + Ω_0 (s ⊙ x).

Folded into the weights: the network keeps V = Ω_0 diag(s), which is all that passes forward and backward see, so the
table need not be multiplied, and what was trained is a plain network. Ω_0 and s are what is stepped. This file must
not know passes or optimizers.
"""

from typing import NamedTuple

import numpy.typing as npt

from fastbp.kernels.layout import Floats, Panels, Parameters, aligned_zeros, element_at, round_up
from fastbp.machine.arithmetic import sum_lanes
from fastbp.machine.jit import njit
from fastbp.machine.line import line_length, load, store, zero_line


class Scaling(NamedTuple):
    """The factors and the weights that they multiply; empty buffers for no such thing."""

    weights: Floats  # Ω_0ᵀ, laid out as V is in the parameters' buffer, which begins with it
    factors: Floats  # (D_0,): s, in whole lines, as are the next three
    gradients: Floats  # ∂L/∂s
    mean: Floats  # Adam's m of s
    square: Floats  # Adam's v of s
    rate: float  # what s multiplies the learning rate by


@njit
def differentiate_scaling(
    scaling: Scaling,
    gradients: Panels,  # (D, E): ∂L/∂Vᵀ, in whose place comes ∂L/∂Ω_0ᵀ
) -> None:
    """∂L/∂s_d = Σ_e Ω_0[e, d] ∂L/∂V[e, d], and ∂L/∂Ω_0 = ∂L/∂V diag(s)."""
    for d in range(gradients.rows):
        total = zero_line(gradients.data)
        for column in range(0, gradients.columns, line_length(gradients.data)):
            at = element_at(gradients, d, column)
            g = load(gradients.data, at)
            total = total + g * load(scaling.weights, at)
            store(gradients.data, at, g * scaling.factors[d])
        scaling.gradients[d] = sum_lanes(total)


@njit
def fold_scaling(
    scaling: Scaling,
    weights: Panels,  # (D, E): Vᵀ, written
) -> None:
    """V = Ω_0 diag(s)."""
    for d in range(weights.rows):
        for column in range(0, weights.columns, line_length(weights.data)):
            at = element_at(weights, d, column)
            store(weights.data, at, load(scaling.weights, at) * scaling.factors[d])


def no_scaling(dtype: npt.DTypeLike) -> Scaling:
    """Return what stands for inputs without factors."""
    empty = aligned_zeros(0, dtype)
    return Scaling(empty, empty, empty, empty, empty, 1.0)


def scaling_of(parameters: Parameters, rate: float) -> Scaling:
    """Return factors of 1 for the inputs of a network with these parameters, whose learning rate is `rate` times η."""
    data = parameters.data
    weights = aligned_zeros(parameters.biases_at[0], data.dtype)
    weights[:] = data[: weights.size]
    room = round_up(int(parameters.sizes[0]), parameters.lanes)
    factors, gradients, mean, square = (aligned_zeros(room, data.dtype) for _ in range(4))
    factors[: parameters.sizes[0]] = 1
    return Scaling(weights, factors, gradients, mean, square, rate)

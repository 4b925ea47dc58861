"""Repeated calls of fastbp's kernels for equal numbers of inputs and outputs, and of the same products with NumPy.

This file must not know how time is measured.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastbp.kernels import dense as kernels
from fastbp.kernels.layout import Panels
from fastbp.kernels.packing import lanes_of, matrix_from, padded_rows, panels_from
from fastbp.machine.jit import entry

EQUATIONS = {
    "forward": "relu(β + Ω h)",
    "backward_input": "I[h > 0] ⊙ Ωᵀ g",
    "backward_parameters": "g hᵀ",
    "sgd_update": "Ω − η g hᵀ",
}


class Calls(NamedTuple):
    """A kernel with its arguments."""

    repeat: Callable  # repeat(times)
    result: Callable  # result() returns the matrix that the kernel writes


@entry
def repeat_forward(times, h, weights, biases, out):
    for _ in range(times):
        kernels.linear_relu_forward(h, weights, biases, out)


@entry
def repeat_backward_input(times, g, weights, h, out):
    for _ in range(times):
        kernels.backward_input(g, weights, h, out)


@entry
def repeat_backward_parameters(times, g, h, weights, biases):
    for _ in range(times):
        kernels.backward_parameters(g, h, weights, biases)


@entry
def repeat_sgd_update(times, g, h, weights):
    for _ in range(times):
        kernels.sgd_update_weights(g, h, 1e-30, 0.0, weights)


def matrices(width, batch_size):
    """Return h and g, (batch_size, width), and a square matrix: Ωᵀ for the forward pass, Ω for the backward pass."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((rows, width)) for rows in (batch_size, batch_size, width)]


def fastbp_calls(kernel, width, batch_size, dtype):
    """Return the calls of a kernel of fastbp."""
    h, g, weights = (panels_from(matrix, dtype) for matrix in matrices(width, batch_size))
    out = panels_from(np.zeros((batch_size, width)), dtype)
    biases = Panels(padded_rows(np.zeros((1, width)), dtype), 0, 1, width, lanes_of(dtype))
    repeat, operands, written = {
        "forward": (repeat_forward, (h, weights, biases, out), out),
        "backward_input": (repeat_backward_input, (g, weights, h, out), out),
        "backward_parameters": (repeat_backward_parameters, (g, h, weights, biases), weights),
        "sgd_update": (repeat_sgd_update, (g, h, weights), weights),
    }[kernel]
    return Calls(lambda times: repeat(times, *operands), lambda: matrix_from(written))


def numpy_calls(kernel, width, batch_size, dtype):
    """Return the calls of NumPy's matrix product of a kernel, without bias, mask or update."""
    h, g, weights = (matrix.astype(dtype) for matrix in matrices(width, batch_size))
    left, right = {
        "forward": (h, weights),
        "backward_input": (g, weights),
        "backward_parameters": (h.T, g),
    }[kernel]
    out = np.empty((left.shape[0], right.shape[1]), dtype)

    def repeat(times):
        for _ in range(times):
            np.dot(left, right, out=out)

    return Calls(repeat, lambda: out)

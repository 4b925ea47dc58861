"""Pieces of users' activations, and the pieces of all layers of a network.

A user's function computes with single numbers. Its piece is compiled in each process that uses it, because the cache
could not notice an edit of what the function calls. This file must not know the formulas of built-in activations.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp import activations
from fastbp.activations import Activation, OneOrMore
from fastbp.kernels.activations import (
    IDENTITY,
    PIECES,
    RELU,
    LayerActivations,
    clear_rest_of_tile,
    types_of_layer,
)
from fastbp.kernels.layout import Panels
from fastbp.machine.jit import inlined
from fastbp.machine.line import line_length
from fastbp.machine.piece import CompilationError, Piece, reason_of


@functools.lru_cache(maxsize=128)
def layer_activations(activation: OneOrMore, n_hidden: int, dtype: np.dtype[Any]) -> LayerActivations:
    """Return the activation of each hidden layer for kernels. Nobody writes to the arrays.

    Raises
    ------
    TypeError
        If Numba cannot compile a user's function.
    ValueError
        If an activation is a user's function that a model file only names.
    """
    layers = activations.of_layers(activation, n_hidden)
    pieces = np.array([_address(one, dtype) for one in layers], np.int64)
    return LayerActivations(pieces, np.array([one.parameter for one in layers], np.float64))


def _address(activation: Activation, dtype: np.dtype[Any]) -> int:
    """Return what stands for an activation in `LayerActivations.pieces`."""
    if not activation.is_custom:
        constant = {"relu": RELU, "identity": IDENTITY}.get(activation.name)
        return PIECES[activation.name].address(dtype) if constant is None else constant
    if activation.function is None:
        raise ValueError(
            f"the activation {activation.name} is a user's function, which a model file does not hold: load the model "
            f"by Network.load(path, activation=fastbp.activations.{activation})"
        )
    try:
        return _piece_of_numbers(activation.function).address(dtype)
    except CompilationError as error:
        raise TypeError(f"Numba cannot compile the activation {activation.name}: {reason_of(error)}") from error


@functools.cache
def _piece_of_numbers(function: Callable[..., Any]) -> Piece:
    """Return the piece of a user's function f → (h, derivative) of single numbers."""
    formula = inlined(function)

    def overwrite(_parameter: float, h: Panels, derivative: Panels, keeps_derivative: bool) -> None:
        lanes = line_length(h.data)
        size = h.rows * lanes
        for column in range(0, h.columns, lanes):
            panel = column // lanes
            h_at, derivative_at = h.at + panel * h.stride, derivative.at + panel * derivative.stride
            if keeps_derivative:
                for at in range(size):
                    value, slope = formula(h.data[h_at + at])
                    h.data[h_at + at], derivative.data[derivative_at + at] = value, slope
                clear_rest_of_tile(derivative, derivative_at)
            else:
                for at in range(size):
                    h.data[h_at + at] = formula(h.data[h_at + at])[0]
            for lane in range(h.columns - column, lanes):  # padding must be 0
                for row in range(0, size, lanes):
                    h.data[h_at + row + lane] = 0
                    if keeps_derivative:
                        derivative.data[derivative_at + row + lane] = 0

    return Piece(overwrite, types_of_layer)

"""Activations other than ReLU, and dropout: h = a(f) overwrites f, and a'(f) is computed from h.

ReLU itself is part of the kernels in `dense`. The other activations and dropout are pieces, which a pass calls by their
address once for each layer. This file must not know how layers are connected.
"""

from typing import Any, NamedTuple

import numpy as np

from fastbp import activations
from fastbp.kernels.layout import Panels, Parameters
from fastbp.machine.arithmetic import keep_lanes, random_lanes
from fastbp.machine.elementary import logistic, tanh
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import Line, line_length, load, store
from fastbp.machine.piece import BITS, REAL, WHOLE, Piece, address_type, caller, tuple_type

RELU, IDENTITY, TANH, LOGISTIC = (
    activation.code for activation in (activations.relu, activations.identity, activations.tanh, activations.logistic)
)
_N_ACTIVATIONS = len(activations.NAMES)  # with the codes from 0 on


@inlined
def check_activation(parameters: Parameters) -> None:
    """Raise ValueError unless an activation has the parameters' code, and its pieces are there if it has pieces."""
    activation = parameters.activation
    if activation < 0 or activation >= _N_ACTIVATIONS:
        raise ValueError("no activation has this code")
    if activation != RELU and activation != IDENTITY and (parameters.activate == 0 or parameters.derivative == 0):
        raise ValueError("the pieces of the activation are missing: see with_pieces")


class Dropout(NamedTuple):
    """Which hidden units a step leaves out."""

    keep_probability: float  # 1 if all units stay
    key: np.uint64  # of the step: each key stands for a draw of units
    drop: int  # the address of the piece that drops units; 0 if all units stay


NO_DROPOUT = Dropout(1.0, np.uint64(0), 0)


@njit
def drop_units(
    dropout: Dropout,
    layer: int,
    first: int,  # the place in the batch of the panels' first row
    h: Panels,  # (n, D): h, overwritten
) -> None:
    """h ← h ⊙ m / p, with p the keep probability and m = 1 for units that stay, 0 for others.

    The same key gives the same m, so that ∂L/∂h is multiplied by the m and 1 / p of the forward pass.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014), "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15.
    """
    lanes, scale = line_length(h.data), 1 / dropout.keep_probability
    for column in range(0, h.columns, lanes):
        h_at = h.at + column // lanes * h.stride
        for row in range(h.rows):
            line, place = load(h.data, h_at + row * lanes), np.uint64(first + row) << np.uint64(32)
            key = dropout.key ^ (place + np.uint64(layer << 20 ^ column)) * np.uint64(0x9E3779B97F4A7C15)
            store(h.data, h_at + row * lanes, line * random_lanes(line, key, dropout.keep_probability) * scale)


@njit
def _overwrite(
    function: Any,  # a(f) of a line
    h: Panels,  # (n, D): f, overwritten by a(f)
) -> None:
    """h = a(f)."""
    lanes = line_length(h.data)
    for column in range(0, h.columns, lanes):
        h_at = h.at + column // lanes * h.stride
        for at in range(h_at, h_at + h.rows * lanes, lanes):
            value = function(load(h.data, at))
            store(h.data, at, keep_lanes(value, h.columns - column, 0))  # σ(0) is not 0, and padding must be 0


@njit
def _multiply(
    derivative_of: Any,  # a'(f) of a line, as a function of a(f)
    h: Panels,  # (n, D): a(f) / p
    keep_probability: float,  # p of dropout, or 1
    g: Panels,  # (n, D): ∂L/∂h, overwritten by ∂L/∂f
) -> None:
    """∂L/∂f = ∂L/∂h ⊙ a'(f)."""
    lanes = line_length(h.data)
    for column in range(0, h.columns, lanes):
        h_at, g_at = h.at + column // lanes * h.stride, g.at + column // lanes * g.stride
        for row in range(0, h.rows * lanes, lanes):
            value = load(h.data, h_at + row) * keep_probability
            store(g.data, g_at + row, load(g.data, g_at + row) * derivative_of(value))


@njit
def _derivative_of_tanh(h: Line) -> Line:
    """tanh' = 1 − h²."""
    return 1 - h * h


@njit
def _derivative_of_logistic(h: Line) -> Line:
    """σ' = h (1 − h)."""
    return h * (1 - h)


# --- pieces -------------------------------------------------------------------------------------------------


def _types_of_dropout(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return tuple_type(Dropout, REAL, BITS, WHOLE), WHOLE, WHOLE, *_types_of_activation(dtype)


def _drop(dropout: Dropout, layer: int, first: int, h: Panels) -> None:
    drop_units(dropout, layer, first, h)


DROPOUT = Piece(_drop, _types_of_dropout, "dropout")
_call_dropout = caller(_types_of_dropout)


@inlined
def drop(dropout: Dropout, layer: int, first: int, h: Panels) -> None:
    """h ← h ⊙ m / p for a layer, from row `first` of the batch on, if there is dropout."""
    if dropout.keep_probability < 1:
        _call_dropout(dropout.drop, (dropout, layer, first, h))


def _types_of_activation(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return (tuple_type(Panels, address_type(dtype), *4 * [WHOLE]),)


def _types_of_derivative(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    (panels,) = _types_of_activation(dtype)
    return panels, REAL, panels


def _pieces(name: str, function: Any, derivative_of: Any) -> tuple[Piece, Piece]:
    """Return the pieces of an activation and of its derivative."""

    def activate(h: Panels) -> None:
        _overwrite(function, h)

    def multiply_by_derivative(h: Panels, keep_probability: float, g: Panels) -> None:
        _multiply(derivative_of, h, keep_probability, g)

    derivative = Piece(multiply_by_derivative, _types_of_derivative, f"{name}_derivative")
    return Piece(activate, _types_of_activation, name), derivative


PIECES = {
    TANH: _pieces("tanh", tanh, _derivative_of_tanh),
    LOGISTIC: _pieces("logistic", logistic, _derivative_of_logistic),
}
activate = caller(_types_of_activation)  # (piece, (h,)): h = a(f) overwrites f
multiply_by_derivative = caller(_types_of_derivative)  # (piece, (h, keep_probability, g)): ∂L/∂f = ∂L/∂h ⊙ a'(f)


def with_pieces(parameters: Parameters) -> Parameters:
    """Return the parameters with the addresses of their activation's pieces, for kernels."""
    pieces = PIECES.get(parameters.activation)
    if pieces is None:
        return parameters
    forward, derivative = (piece.address(parameters.data.dtype) for piece in pieces)
    return parameters._replace(activate=forward, derivative=derivative)

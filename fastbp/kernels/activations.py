"""Activations other than ReLU, and dropout: h = a(f) overwrites f, and a'(f) is computed from h.

ReLU itself is part of the kernels in `dense`. This file must not know how layers are connected.
"""

from typing import NamedTuple

import numpy as np

from fastbp import activations
from fastbp.kernels.layout import Panels
from fastbp.machine.arithmetic import keep_lanes, random_lanes
from fastbp.machine.elementary import logistic, tanh
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import line_length, load, store

RELU, IDENTITY, TANH, LOGISTIC = (
    activation.code for activation in (activations.relu, activations.identity, activations.tanh, activations.logistic)
)
_N_ACTIVATIONS = len(activations.NAMES)  # with the codes from 0 on


@inlined
def check_activation(activation: int) -> None:
    """Raise ValueError unless an activation has this code."""
    if activation < 0 or activation >= _N_ACTIVATIONS:
        raise ValueError("no activation has this code")


class Dropout(NamedTuple):
    """Which hidden units a step leaves out."""

    keep_probability: float  # 1 if all units stay
    key: np.uint64  # of the step: each key stands for a draw of units


NO_DROPOUT = Dropout(1.0, np.uint64(0))


@njit
def drop(
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
def activate(
    activation: int,  # TANH or LOGISTIC
    h: Panels,  # (n, D): f, overwritten by a(f)
) -> None:
    """h = tanh f, or h = σ(f)."""
    check_activation(activation)
    lanes = line_length(h.data)
    for column in range(0, h.columns, lanes):
        h_at = h.at + column // lanes * h.stride
        for at in range(h_at, h_at + h.rows * lanes, lanes):
            f = load(h.data, at)
            value = tanh(f) if activation == TANH else logistic(f) if activation == LOGISTIC else f * np.nan
            store(h.data, at, keep_lanes(value, h.columns - column, 0))  # σ(0) is not 0, and padding must be 0


@njit
def multiply_by_derivative(
    activation: int,  # TANH or LOGISTIC
    h: Panels,  # (n, D): a(f) / p
    keep_probability: float,  # p of dropout, or 1
    g: Panels,  # (n, D): ∂L/∂h, overwritten by ∂L/∂f
) -> None:
    """∂L/∂f = ∂L/∂h ⊙ a'(f): tanh' = 1 − h² and σ' = h (1 − h)."""
    check_activation(activation)
    lanes = line_length(h.data)
    for column in range(0, h.columns, lanes):
        h_at, g_at = h.at + column // lanes * h.stride, g.at + column // lanes * g.stride
        for row in range(0, h.rows * lanes, lanes):
            value = load(h.data, h_at + row) * keep_probability
            derivative = 1 - value * value if activation == TANH else value * (1 - value)
            store(g.data, g_at + row, load(g.data, g_at + row) * derivative)

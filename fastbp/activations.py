"""What stands between layers in ReLU's stead: a hidden layer's h = a(f) in the place of f, and a'(f) from h; dropout.

ReLU itself is part of the kernels of a product. This file must not know of layers.
"""

from typing import NamedTuple

import numpy as np

from fastbp.kernels.layout import Panels
from fastbp.machine.arithmetic import keep_lanes, random_lanes
from fastbp.machine.elementary import logistic, tanh
from fastbp.machine.jit import njit
from fastbp.machine.line import line_length, load, store

NAMES = ("relu", "identity", "tanh", "logistic")
RELU, IDENTITY, TANH, LOGISTIC = range(len(NAMES))


class Dropout(NamedTuple):
    """Which of a step's hidden units are left out."""

    kept: float  # the share of units that stay; 1 for all
    key: np.uint64  # stands for the step


@njit
def drop(
    dropout: Dropout,
    layer: int,
    first: int,  # the batch's row that is the panels' first
    h: Panels,  # (n, D): of units left out comes 0, of others h / kept
) -> None:
    """h ⊙ m / kept, where m is 1 for units that stay; the same m each time, so ∂L/∂f is dropped as h was.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov (2014), "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15.
    """
    lanes, scale = line_length(h.data), 1 / dropout.kept
    for column in range(0, h.columns, lanes):
        h_at = h.at + column // lanes * h.stride
        for row in range(h.rows):
            line, place = load(h.data, h_at + row * lanes), np.uint64(first + row) << np.uint64(32)
            key = dropout.key ^ (place + np.uint64(layer << 20 ^ column)) * np.uint64(0x9E3779B97F4A7C15)
            store(h.data, h_at + row * lanes, line * random_lanes(line, key, dropout.kept) * scale)


@njit
def activate(
    activation: int,  # TANH or LOGISTIC
    h: Panels,  # (n, D): f, in whose place comes a(f)
) -> None:
    """h = tanh f, or h = σ(f)."""
    lanes = line_length(h.data)
    for column in range(0, h.columns, lanes):
        h_at = h.at + column // lanes * h.stride
        for at in range(h_at, h_at + h.rows * lanes, lanes):
            f = load(h.data, at)
            value = tanh(f) if activation == TANH else logistic(f)
            store(h.data, at, keep_lanes(value, h.columns - column, 0))  # σ(0) is not 0, and padding must be


@njit
def multiply_by_derivative(
    activation: int,  # TANH or LOGISTIC
    h: Panels,  # (n, D): a(f), over `kept`
    kept: float,
    g: Panels,  # (n, D): ∂L/∂h, in whose place comes ∂L/∂f
) -> None:
    """∂L/∂f = ∂L/∂h ⊙ a'(f): tanh' = 1 − h² and σ' = h (1 − h)."""
    lanes = line_length(h.data)
    for column in range(0, h.columns, lanes):
        h_at, g_at = h.at + column // lanes * h.stride, g.at + column // lanes * g.stride
        for row in range(0, h.rows * lanes, lanes):
            value = load(h.data, h_at + row) * kept
            derivative = 1 - value * value if activation == TANH else value * (1 - value)
            store(g.data, g_at + row, load(g.data, g_at + row) * derivative)

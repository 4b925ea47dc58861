"""Dropout: each step leaves out some hidden units.

Dropout is a piece, which a pass calls by its address once for each layer. This file must not know how layers are
connected.
"""

from typing import Any, NamedTuple

import numpy as np

from fastbp.kernels.layout import Panels
from fastbp.machine.arithmetic import random_lanes
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import line_length, load, store
from fastbp.machine.piece import BITS, REAL, WHOLE, Piece, address_type, caller, tuple_type


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


def _types_of_dropout(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return tuple_type(Dropout, REAL, BITS, WHOLE), WHOLE, WHOLE, tuple_type(Panels, address_type(dtype), *4 * [WHOLE])


def _drop(dropout: Dropout, layer: int, first: int, h: Panels) -> None:
    drop_units(dropout, layer, first, h)


DROPOUT = Piece(_drop, _types_of_dropout, "dropout")
_call_dropout = caller(_types_of_dropout)


@inlined
def drop(dropout: Dropout, layer: int, first: int, h: Panels) -> None:
    """h ← h ⊙ m / p for a layer, from row `first` of the batch on, if there is dropout."""
    if dropout.keep_probability < 1:
        _call_dropout(dropout.drop, (dropout, layer, first, h))

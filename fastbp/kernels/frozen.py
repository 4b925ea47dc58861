"""A frozen network: one table that holds everything that ŷ and ∂ŷ/∂x need, and the pieces that compute them.

Users' own compiled functions call these pieces, one row or a block of rows at a time (see `machine.handle`). The table
is one flat buffer of whole numbers: first numbers at the places named below, and then arrays. Nobody writes to a table
after it is made, and each call has its units on the stack. So any number of threads may call at once.

A row by itself needs no tiles, and its h_i lie one after another. ∂ŷ/∂x goes backwards through Ω_Kᵀ, …, Ω_0ᵀ, which the
table holds like the parameters of another network. This file must not know who calls.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels import packing
from fastbp.kernels.activations import IDENTITY, RELU, LayerActivations
from fastbp.kernels.dense import linear_forward
from fastbp.kernels.dropout import NO_DROPOUT
from fastbp.kernels.layout import (
    Panels,
    Parameters,
    RowRange,
    Workspace,
    activations_of,
    biases_of,
    element_at,
    gradients_of,
    rows_in_tiles,
    smaller,
    weights_of,
)
from fastbp.kernels.propagation import forward_pass
from fastbp.kernels.rows import load_rows
from fastbp.machine.arithmetic import where_positive
from fastbp.machine.handle import Method, types_of_method
from fastbp.machine.jit import entry, inlined, njit
from fastbp.machine.line import LINE_BYTES, TILE_ROWS, line_length, load, store, zero_line
from fastbp.machine.piece import Piece
from fastbp.machine.room import give_room_back, part_of, take_room

BLOCK_ROWS = 16  # rows that pass through all layers together: whole tiles, and a whole line of samples

# --- the places of numbers in a table -----------------------------------------------------------------------

_PREDICT, _JACOBIAN = 0, 1  # addresses of pieces
_N_INPUTS, _N_OUTPUTS, _N_LAYERS, _IS_NARROW = 2, 3, 4, 5  # D_0, D_{K+1}, K + 1
_ROW_ROOM, _BLOCK_ROOM, _JACOBIAN_ROOM = 6, 7, 8  # numbers on the stack of one call
_ROWS_OF_G, _LAST_STRIDE = 9, 10
# From here on, the place holds where an array begins.
_SIZES, _WEIGHTS_AT, _BIASES_AT, _DATA = 11, 12, 13, 14
_BACK_SIZES, _BACK_WEIGHTS_AT, _BACK_BIASES_AT, _BACK_DATA = 15, 16, 17, 18  # Ω_{K-1}ᵀ, …, Ω_0ᵀ
_LAST = 19  # Ω_K, (D_{K+1}, D_K)
_PIECES, _SLOPES = 20, 21  # of `LayerActivations`
_ROW_AT, _BLOCK_AT = 22, 23  # where each h_i lies: for one row, and for a block
_JACOBIAN_AT, _DERIVATIVES_AT, _G_AT = 24, 25, 26  # where h_i, a'(f_i) and two gradients lie for ∂ŷ/∂x
_END = 27

METHODS = {
    "predict": Method(_PREDICT, _N_INPUTS, (_N_OUTPUTS,)),
    "jacobian": Method(_JACOBIAN, _N_INPUTS, (_N_OUTPUTS, _N_INPUTS)),
}


def freeze(weights: Sequence[Floats], biases: Sequence[Floats], activations: LayerActivations) -> Integers:
    """Return the table of a network with copies of its Ω_i and β_i; compile the pieces first if they are not compiled.

    The table needs the pieces of users' activations to stay in memory, as they do.
    """
    dtype = weights[0].dtype
    sizes = (weights[0].shape[1], *map(len, weights))
    lanes, n_hidden, last = packing.lanes_of(dtype), len(weights) - 1, weights[-1]
    widths = [packing.round_up(size, lanes) for size in sizes]
    forward = packing.zero_parameters(sizes, dtype)
    packing.write_parameters(forward, weights, biases)
    back = packing.zero_parameters(sizes[-2::-1], dtype)._replace(narrow_output=False)
    packing.write_parameters(back, [Ω.T for Ω in weights[-2::-1]], [np.zeros(n, dtype) for n in sizes[-3::-1]])
    panels = packing.panels_from(last, dtype)
    of_ŷ = lanes * sizes[-1] if forward.narrow_output else 0  # a line for each output
    row_half, block_half = max(*widths, of_ŷ), max(BLOCK_ROWS * max(widths), of_ŷ)
    jacobian_at = _starts([*(TILE_ROWS * width for width in widths[:-1]), max(TILE_ROWS * widths[-1], of_ŷ)], 0)
    derivatives_at = _starts([0, *(TILE_ROWS * width for width in widths[1:-1]), 0], jacobian_at[-1])
    rows_of_g = max(sizes[-1], rows_in_tiles(sizes[-1]))
    g_at = _starts([rows_of_g * max(widths[:-1])] * 2, derivatives_at[-1])
    turns = np.arange(len(sizes)) % 2  # h_i overwrites h_{i-2}
    numbers = {
        _PREDICT: PREDICT.address(dtype),
        _JACOBIAN: JACOBIAN.address(dtype),
        _N_INPUTS: sizes[0],
        _N_OUTPUTS: sizes[-1],
        _N_LAYERS: n_hidden + 1,
        _IS_NARROW: int(forward.narrow_output),
        _ROW_ROOM: 2 * row_half,
        _BLOCK_ROOM: 2 * block_half,
        _JACOBIAN_ROOM: g_at[-1],
        _ROWS_OF_G: rows_of_g,
        _LAST_STRIDE: panels.stride,
    }
    arrays: dict[int, npt.NDArray[Any]] = {
        **dict(zip((_SIZES, _WEIGHTS_AT, _BIASES_AT, _DATA), _arrays_of(forward), strict=True)),
        **dict(zip((_BACK_SIZES, _BACK_WEIGHTS_AT, _BACK_BIASES_AT, _BACK_DATA), _arrays_of(back), strict=True)),
        _LAST: panels.data,
        _PIECES: activations.pieces,
        _SLOPES: activations.parameters,
        _ROW_AT: turns * row_half,
        _BLOCK_AT: turns * block_half,
        _JACOBIAN_AT: np.array(jacobian_at[:-1]),
        _DERIVATIVES_AT: np.array(derivatives_at[:-1]),
        _G_AT: np.array(g_at[:-1]),
    }
    words = [packing.round_up(array.nbytes, LINE_BYTES) // 8 for array in arrays.values()]
    starts = _starts(words, packing.round_up(_END, LINE_BYTES // 8))
    table = packing.aligned_zeros(starts[-1], np.int64)
    for place, number in [*numbers.items(), *zip(arrays, starts[:-1], strict=True)]:
        table[place] = number
    for array, start in zip(arrays.values(), starts[:-1], strict=True):
        table[start:].view(array.dtype)[: array.size] = array
    return table


def _starts(sizes: Sequence[int], first: int) -> list[int]:
    """Return where parts of these sizes begin, one after another from `first` on, and where the last one ends."""
    return list(itertools.accumulate(sizes, initial=first))


def _arrays_of(parameters: Parameters) -> tuple[npt.NDArray[Any], ...]:
    return parameters.sizes, parameters.weights_at, parameters.biases_at, parameters.data


# --- tables in kernels --------------------------------------------------------------------------------------


@inlined
def _whole(table: Integers, place: int) -> Integers:
    """Return the address of the whole numbers that a place of the table leads to."""
    return part_of(table, table[place], np.int64)


@inlined
def _forward_parameters(table: Integers, x: Floats) -> Parameters:
    places = _whole(table, _SIZES), _whole(table, _WEIGHTS_AT), _whole(table, _BIASES_AT)
    data = part_of(table, table[_DATA], x)
    return Parameters(data, table[_N_LAYERS], *places, line_length(x), table[_IS_NARROW] != 0)


@inlined
def _back_parameters(table: Integers, x: Floats) -> Parameters:
    places = _whole(table, _BACK_SIZES), _whole(table, _BACK_WEIGHTS_AT), _whole(table, _BACK_BIASES_AT)
    return Parameters(part_of(table, table[_BACK_DATA], x), table[_N_LAYERS] - 1, *places, line_length(x), False)


@inlined
def _activations(table: Integers) -> LayerActivations:
    return LayerActivations(_whole(table, _PIECES), part_of(table, table[_SLOPES], np.float64))


@inlined
def _workspace(table: Integers, room: Floats, capacity: int, h_at: int, derivatives_at: int) -> Workspace:
    """Return a workspace in a room, with each h_i and a'(f_i) where an array of the table says."""
    at, nothing = (_whole(table, h_at), _whole(table, derivatives_at)), part_of(table, 0, np.float64)
    shape = table[_N_LAYERS], _whole(table, _SIZES), line_length(room), table[_IS_NARROW] != 0
    return Workspace(room, *shape, capacity, *at, 0, 0, 0, 0, nothing)


@njit
def _write_rows(source: Panels, is_transposed: bool, out: Floats, at: int) -> None:
    """Write a matrix in panels, or its transpose, to `out` from `at` on, row by row without padding."""
    lanes = line_length(source.data)
    if is_transposed:
        for row in range(source.columns):
            for o in range(source.rows):
                out[at + row * source.rows + o] = source.data[element_at(source, o, row)]
    else:
        whole = source.columns - source.columns % lanes
        for row in range(source.rows):
            for column in range(0, whole, lanes):
                store(out, at + column, load(source.data, element_at(source, row, column)))
            last = element_at(source, row, whole)
            for column in range(source.columns - whole):
                out[at + whole + column] = source.data[last + column]
            at += source.columns


# --- ŷ ------------------------------------------------------------------------------------------------------


def _predict(
    x: Floats,  # (n, D_0)
    n: int,
    out: Floats,  # (n, D_{K+1}), written
    table: Integers,
) -> None:
    """ŷ for each row of x, a block of rows at a time. All arrays are addresses."""
    capacity, size, h_at = BLOCK_ROWS, table[_BLOCK_ROOM], _BLOCK_AT
    if n == 1:
        capacity, size, h_at = 1, table[_ROW_ROOM], _ROW_AT
    room = take_room(x, size)
    if n % capacity != 0:  # the last tile has rows that nobody writes, and denormal numbers would slow it down
        for at in range(0, size, line_length(x)):
            store(room, at, zero_line(x))
    φ, activations = _forward_parameters(table, x), _activations(table)
    workspace = _workspace(table, room, capacity, h_at, h_at)
    for first in range(0, n, capacity):
        rows = RowRange(0, smaller(capacity, n - first))
        load_rows(x, first, activations_of(workspace, 0, rows))
        forward_pass(φ, activations, workspace, rows, NO_DROPOUT, False)
        ŷ = activations_of(workspace, workspace.n_layers, rows)
        _write_rows(ŷ, workspace.narrow_output, out, first * table[_N_OUTPUTS])
    give_room_back(room, size)


# --- ∂ŷ/∂x --------------------------------------------------------------------------------------------------


@njit
def _times_derivative(piece: int, h: Panels, derivative: Panels, g: Panels) -> None:
    """g[o] ← g[o] ⊙ a'(f) for each row o, with h = a(f) and a'(f) of one sample."""
    for column in range(0, g.columns, line_length(g.data)):
        of_h, slope = load(h.data, element_at(h, 0, column)), load(derivative.data, element_at(derivative, 0, column))
        for o in range(g.rows):
            at = element_at(g, o, column)
            line = load(g.data, at)
            store(g.data, at, where_positive(of_h, line) if piece == RELU else line * slope)


@njit
def _copy(source: Panels, out: Panels, end: int) -> None:
    """out = source, with zeros in the rows from the last one to the end, which a tile has too."""
    for column in range(0, source.columns, line_length(source.data)):
        for row in range(source.rows):
            store(out.data, element_at(out, row, column), load(source.data, element_at(source, row, column)))
        for row in range(source.rows, end):
            store(out.data, element_at(out, row, column), zero_line(out.data))


@inlined
def _gradient_panels(table: Integers, room: Floats, turn: int, columns: int) -> Panels:
    """Return one of two rooms for a gradient of each output: (D_{K+1}, columns)."""
    at, rows = _whole(table, _G_AT)[turn], table[_N_OUTPUTS]
    return Panels(room, at, rows, columns, table[_ROWS_OF_G] * line_length(room))


def _jacobian(
    x: Floats,  # (n, D_0)
    n: int,
    out: Floats,  # (n, D_{K+1}, D_0), written
    table: Integers,
) -> None:
    """∂ŷ/∂x = Ω_K diag(a'(f_{K-1})) Ω_{K-1} … diag(a'(f_0)) Ω_0 for each row of x. All arrays are addresses."""
    size, one = table[_JACOBIAN_ROOM], RowRange(0, 1)
    room = take_room(x, size)
    φ, back, activations = _forward_parameters(table, x), _back_parameters(table, x), _activations(table)
    workspace, n_hidden = _workspace(table, room, TILE_ROWS, _JACOBIAN_AT, _DERIVATIVES_AT), back.n_layers
    last = Panels(part_of(table, table[_LAST], x), 0, table[_N_OUTPUTS], φ.sizes[n_hidden], table[_LAST_STRIDE])
    for row in range(n):
        load_rows(x, row, activations_of(workspace, 0, one))
        forward_pass(φ, activations, workspace, one, NO_DROPOUT, True)
        g = _gradient_panels(table, room, 0, last.columns)
        _copy(last, g, table[_ROWS_OF_G])
        for i in range(n_hidden, 0, -1):
            piece, layer = activations.pieces[i - 1], n_hidden - i
            if piece != IDENTITY:
                _times_derivative(piece, activations_of(workspace, i, one), gradients_of(workspace, i, one), g)
            by_h = _gradient_panels(table, room, (layer + 1) % 2, φ.sizes[i - 1])
            linear_forward(g, weights_of(back, layer), biases_of(back, layer), by_h)
            g = by_h
        _write_rows(g, False, out, row * table[_N_OUTPUTS] * table[_N_INPUTS])
    give_room_back(room, size)


PREDICT = Piece(_predict, types_of_method, "predict_frozen")
JACOBIAN = Piece(_jacobian, types_of_method, "jacobian_frozen")


# --- what Python calls --------------------------------------------------------------------------------------


@entry
def call_predict(frozen: Any, x: Floats, out: Floats) -> None:
    """ŷ for each row of x."""
    frozen.predict(x, out)


@entry
def call_jacobian(frozen: Any, x: Floats, out: Floats) -> None:
    """∂ŷ/∂x at each row of x."""
    frozen.jacobian(x, out)

"""How parameters and activations lie in memory.

A matrix lies as panels: a panel is a column of lines, (rows, lanes) numbers one after another, and a matrix of D
columns is ⌈D / lanes⌉ panels, zero where they reach past D. So each product of forward and backward
propagation streams contiguous memory at any width, and no kernel has a tail of columns.

A narrow output, of at most half a line, would waste most of each line, so there the last layer lies the other way
round: Ω_K with lines along inputs, and ŷ, y and ∂L/∂ŷ with lines along the batch, one row an output.

All parameters of a network lie in one flat buffer, and gradients and moments mirror it; one batch's activations
and their gradients lie in another. Depth and widths are run-time data, so one compilation serves every network.

This file must not know what is computed with any of it.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.jit import jitable, njit
from fastbp.line import LINE_BYTES, TILE_ROWS, line_length, pointer

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]


class Panels(NamedTuple):
    """A (rows, columns) matrix in panels within a flat buffer.

    Element (r, c) is `data[at + c // lanes * stride + r * lanes + c % lanes]`.
    """

    data: Floats
    at: int
    rows: int
    columns: int
    stride: int  # from a panel to the next: lanes times the rows that there is room for


class Parameters(NamedTuple):
    """One number for each parameter: the parameters themselves, their gradients, or an optimizer's moments."""

    data: Floats
    sizes: Integers  # (K + 2,): D_0, …, D_{K+1}
    weights_at: Integers  # (K + 1,): where Ω_iᵀ begins
    biases_at: Integers  # (K + 1,): where β_i begins
    lanes: int  # numbers in a line
    narrow: bool  # whether Ω_K lies the other way round


class Workspace(NamedTuple):
    """What one batch needs: h_0 … h_K and f_K, ∂L/∂f_i, Ω_i the other way round, targets and sample weights."""

    data: Floats
    sizes: Integers  # (K + 2,)
    lanes: int  # numbers in a line
    narrow: bool  # whether ŷ, y and ∂L/∂ŷ lie the other way round
    capacity: int  # rows that there is room for: whole tiles
    activations_at: Integers  # (K + 2,): h_0 = x, …, h_K, and last ŷ = f_K
    gradients_at: Integers  # (K + 2,): first ∂L/∂x, then ∂L/∂f_0, …, ∂L/∂f_K
    transposed_at: int  # room for the largest Ω_i, lines along inputs
    targets_at: int
    sample_weights_at: int


# --- in kernels, and in Python too --------------------------------------------------------------------------


@njit
def element_at(matrix: Panels, row: int, column: int) -> int:
    """Return where element (row, column) lies in the buffer."""
    lanes = line_length(matrix.data)
    return matrix.at + column // lanes * matrix.stride + row * lanes + column % lanes


@jitable
def weights_of(parameters: Parameters, i: int) -> Panels:
    """Return Ω_iᵀ: (D_i, D_{i+1}), lines along outputs; for a narrow output, Ω_K: (D_{K+1}, D_K)."""
    rows, columns = parameters.sizes[i], parameters.sizes[i + 1]
    if parameters.narrow and i == parameters.sizes.size - 2:
        return Panels(pointer(parameters.data), parameters.weights_at[i], columns, rows, columns * parameters.lanes)
    stride = -(-rows // parameters.lanes) * parameters.lanes * parameters.lanes
    return Panels(pointer(parameters.data), parameters.weights_at[i], rows, columns, stride)


@jitable
def biases_of(parameters: Parameters, i: int) -> Panels:
    """Return β_i: (1, D_{i+1})."""
    return Panels(pointer(parameters.data), parameters.biases_at[i], 1, parameters.sizes[i + 1], parameters.lanes)


@jitable
def transposed_of(workspace: Workspace, i: int) -> Panels:
    """Return the room for Ω_i: (D_{i+1}, D_i), lines along inputs."""
    rows, columns = workspace.sizes[i + 1], workspace.sizes[i]
    stride = -(-rows // workspace.lanes) * workspace.lanes * workspace.lanes
    return Panels(pointer(workspace.data), workspace.transposed_at, rows, columns, stride)


@jitable
def activations_of(workspace: Workspace, i: int, rows: int) -> Panels:
    """Return h_i: (rows, D_i), with h_0 = x; for i = K + 1, ŷ = f_K, or ŷᵀ where it is narrow."""
    return _batch_panels(workspace, workspace.activations_at[i], i, rows)


@jitable
def gradients_of(workspace: Workspace, i: int, rows: int) -> Panels:
    """Return ∂L/∂f_{i-1}: (rows, D_i), transposed for a narrow ŷ; for i = 0, ∂L/∂x."""
    return _batch_panels(workspace, workspace.gradients_at[i], i, rows)


@jitable
def targets_of(workspace: Workspace, rows: int) -> Panels:
    """Return y: (rows, D_{K+1}), transposed where it is narrow."""
    return _batch_panels(workspace, workspace.targets_at, workspace.sizes.size - 1, rows)


@jitable
def _batch_panels(workspace: Workspace, at: int, i: int, rows: int) -> Panels:
    columns = workspace.sizes[i]
    if workspace.narrow and i == workspace.sizes.size - 1:
        return Panels(pointer(workspace.data), at, columns, rows, columns * workspace.lanes)
    return Panels(pointer(workspace.data), at, rows, columns, workspace.capacity * workspace.lanes)


# --- in Python ----------------------------------------------------------------------------------------------


def lanes_of(dtype: npt.DTypeLike) -> int:
    """Return how many numbers of `dtype` a line holds."""
    return LINE_BYTES // np.dtype(dtype).itemsize


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not less than `number`."""
    return -(-number // multiple) * multiple


def _is_narrow(n_outputs: int, dtype: npt.DTypeLike) -> bool:
    """Tell whether the last layer is to lie the other way round."""
    return 2 * n_outputs <= lanes_of(dtype)


def aligned_zeros(size: int, dtype: npt.DTypeLike) -> Floats:
    """Return `size` zeros that begin on a line's boundary."""
    itemsize = np.dtype(dtype).itemsize
    room = np.zeros(size + LINE_BYTES // itemsize, dtype)
    first = -room.ctypes.data % LINE_BYTES // itemsize
    return room[first : first + size]


def padded_rows(matrix: npt.NDArray[Any], dtype: npt.DTypeLike) -> Floats:
    """Return a (n, D) matrix row by row, each row whole lines with zeros at its end, as one flat buffer."""
    n, columns = matrix.shape
    width = round_up(columns, lanes_of(dtype))
    rows = aligned_zeros(n * width, dtype).reshape(n, width)
    rows[:, :columns] = matrix
    return rows.reshape(-1)


def target_rows(matrix: npt.NDArray[Any], dtype: npt.DTypeLike) -> Floats:
    """Return a (n, D_{K+1}) matrix of targets row by row: whole lines, or just the numbers where they are narrow."""
    if _is_narrow(matrix.shape[1], dtype):
        return matrix.astype(dtype).reshape(-1)
    return padded_rows(matrix, dtype)


def panels_from(matrix: npt.NDArray[Any], dtype: npt.DTypeLike) -> Panels:
    """Return a copy of a (rows, D) matrix in panels, with room for whole tiles and whole squares of rows."""
    rows, columns = matrix.shape
    lanes = lanes_of(dtype)
    capacity = round_up(rows, max(TILE_ROWS, lanes))
    panels = Panels(aligned_zeros(capacity * round_up(columns, lanes), dtype), 0, rows, columns, capacity * lanes)
    write_panels(matrix, panels)
    return panels


def _lines(panels: Panels) -> Floats:
    """Return panels as a view of shape (panels, rows, lanes)."""
    lanes = lanes_of(panels.data.dtype)
    count = round_up(panels.columns, lanes) // lanes
    used = panels.data[panels.at :][: count * panels.stride]
    return used.reshape(count, panels.stride // lanes, lanes)[:, : panels.rows]


def write_panels(matrix: npt.NDArray[Any], panels: Panels) -> None:
    """Write a (rows, D) matrix to its place."""
    lines = _lines(panels)
    padded = np.zeros((panels.rows, lines.shape[0] * lines.shape[2]), panels.data.dtype)
    padded[:, : panels.columns] = matrix
    lines[...] = padded.reshape(panels.rows, *lines.shape[::2]).swapaxes(0, 1)


def matrix_from(panels: Panels) -> Floats:
    """Return a copy of panels as a (rows, D) matrix."""
    lines = _lines(panels)
    return lines.swapaxes(0, 1).reshape(panels.rows, lines.shape[0] * lines.shape[2])[:, : panels.columns].copy()


def zero_parameters(layer_sizes: Sequence[int], dtype: npt.DTypeLike) -> Parameters:
    """Return zeros for every parameter of a network of these sizes (D_0, …, D_{K+1})."""
    lanes = lanes_of(dtype)
    weights_at, biases_at, size = [], [], 0
    for inputs, outputs in itertools.pairwise(layer_sizes):
        weights_at.append(size)
        size += round_up(inputs, lanes) * round_up(outputs, lanes)  # where the output is narrow, more than enough
        biases_at.append(size)
        size += round_up(outputs, lanes)
    sizes, *at = (np.array(numbers, np.int64) for numbers in (layer_sizes, weights_at, biases_at))
    return Parameters(aligned_zeros(size, dtype), sizes, at[0], at[1], lanes, _is_narrow(layer_sizes[-1], dtype))


def weight_matrices(parameters: Parameters) -> tuple[Floats, ...]:
    """Return copies of Ω_0, …, Ω_K, each (D_{i+1}, D_i)."""
    last = parameters.sizes.size - 2
    lying = [matrix_from(weights_of(parameters, i)) for i in range(last + 1)]
    standing = [matrix.T for matrix in lying]
    if parameters.narrow:
        standing[last] = lying[last]
    return tuple(np.ascontiguousarray(matrix) for matrix in standing)


def bias_vectors(parameters: Parameters) -> tuple[Floats, ...]:
    """Return copies of β_0, …, β_K, each (D_{i+1},)."""
    layers = range(parameters.sizes.size - 1)
    return tuple(matrix_from(biases_of(parameters, i))[0] for i in layers)


def write_parameters(parameters: Parameters, weights: Sequence[Floats], biases: Sequence[Floats]) -> None:
    """Write Ω_i, each (D_{i+1}, D_i), and β_i, each (D_{i+1},), to their places."""
    for i, (matrix, vector) in enumerate(zip(weights, biases, strict=True)):
        panels = weights_of(parameters, i)
        last_and_narrow = parameters.narrow and i == len(weights) - 1
        write_panels(matrix if last_and_narrow else matrix.T, panels)
        write_panels(vector[None, :], biases_of(parameters, i))


def workspace_for(layer_sizes: Sequence[int], rows: int, dtype: npt.DTypeLike) -> Workspace:
    """Return the workspace for batches of at most `rows` rows, all of sample weight 1."""
    lanes, capacity = lanes_of(dtype), round_up(max(rows, 1), max(TILE_ROWS, lanes_of(dtype)))
    widths = [round_up(columns, lanes) for columns in layer_sizes]
    squares = [a * b for a, b in itertools.pairwise(widths)]
    activations = [capacity * width for width in widths]
    parts = [*activations, *activations, max(squares), activations[-1], round_up(capacity, lanes)]
    *starts, size = np.cumsum([0, *parts]).tolist()
    n = len(widths)
    activations_at, gradients_at = np.array(starts[: 2 * n], np.int64).reshape(2, n)
    transposed_at, targets_at, sample_weights_at = starts[2 * n :]
    data = aligned_zeros(size, dtype)
    data[sample_weights_at:] = 1
    sizes = np.array(layer_sizes, np.int64)
    return Workspace(
        data,
        sizes,
        lanes,
        _is_narrow(layer_sizes[-1], dtype),
        capacity,
        activations_at,
        gradients_at,
        transposed_at,
        targets_at,
        sample_weights_at,
    )


def activation_matrices(workspace: Workspace, rows: int) -> tuple[Floats, ...]:
    """Return copies of h_0, …, h_K and ŷ, each (rows, D_i)."""
    layers = range(workspace.sizes.size)
    return _last_standing(workspace, [matrix_from(activations_of(workspace, i, rows)) for i in layers])


def gradient_matrices(workspace: Workspace, rows: int) -> tuple[Floats, ...]:
    """Return copies of ∂L/∂x and ∂L/∂f_0, …, ∂L/∂f_K, each (rows, D_i)."""
    layers = range(workspace.sizes.size)
    return _last_standing(workspace, [matrix_from(gradients_of(workspace, i, rows)) for i in layers])


def _last_standing(workspace: Workspace, matrices: list[Floats]) -> tuple[Floats, ...]:
    """Return the matrices with the last as (rows, D_{K+1}), which lies the other way round where it is narrow."""
    if workspace.narrow:
        matrices[-1] = np.ascontiguousarray(matrices[-1].T)
    return tuple(matrices)

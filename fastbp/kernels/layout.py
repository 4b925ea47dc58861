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

from fastbp.machine.jit import jitable, njit
from fastbp.machine.line import LINE_BYTES, TILE_ROWS, line_length, pointer

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
    n_layers: int  # K + 1
    sizes: Integers  # (K + 2,): D_0, …, D_{K+1}
    weights_at: Integers  # (K + 1,): where Ω_iᵀ begins
    biases_at: Integers  # (K + 1,): where β_i begins
    lanes: int  # numbers in a line
    narrow: bool  # whether Ω_K lies the other way round
    activation: int  # between the layers; a number from `activations`


class Rows(NamedTuple):
    """Some of a batch's rows, which one thread works on: their first is the first of a line of samples."""

    first: int
    n: int


class Workspace(NamedTuple):
    """What one batch needs: h_0 … h_K and f_K, ∂L/∂f_i, Ω_i the other way round, targets and sample weights."""

    data: Floats
    n_layers: int  # K + 1
    sizes: Integers  # (K + 2,): D_0, …, D_{K+1}
    lanes: int  # numbers in a line
    narrow: bool  # whether ŷ, y and ∂L/∂ŷ lie the other way round
    capacity: int  # rows that there is room for: whole tiles
    activations_at: Integers  # (K + 2,): h_0 = x, …, h_K, and last ŷ = f_K
    gradients_at: Integers  # (K + 2,): first ∂L/∂x, then ∂L/∂f_0, …, ∂L/∂f_K
    turned_at: int  # for each thread, what lies in one panel of the largest Ω_i, lines along inputs
    turned_size: int
    targets_at: int
    sample_weights_at: int
    line_losses: npt.NDArray[np.float64]  # Σ w ℓ of each line of samples


# --- in kernels, and in Python too --------------------------------------------------------------------------


@jitable
def rows_in_tiles(rows: int) -> int:
    """Return how many rows to take by tiles; a last tile that is not half full goes row by row."""
    return (rows + TILE_ROWS // 2) // TILE_ROWS * TILE_ROWS


@jitable
def addresses_of(parameters: Parameters) -> Parameters:
    """Return the same with addresses for arrays, of which nobody counts references; their owner must outlive them.

    Counting took a quarter to a half of a small network's step.
    """
    data, n_layers, sizes, weights_at, biases_at, lanes, narrow, activation = parameters
    sizes, weights_at, biases_at = pointer(sizes), pointer(weights_at), pointer(biases_at)
    return Parameters(pointer(data), n_layers, sizes, weights_at, biases_at, lanes, narrow, activation)


@jitable
def workspace_addresses(workspace: Workspace) -> Workspace:
    """Return the same with addresses for arrays, as `addresses_of` does."""
    (
        data,
        n_layers,
        sizes,
        lanes,
        narrow,
        capacity,
        activations_at,
        gradients_at,
        turned_at,
        turned_size,
        targets_at,
        sample_weights_at,
        line_losses,
    ) = workspace
    return Workspace(
        pointer(data),
        n_layers,
        pointer(sizes),
        lanes,
        narrow,
        capacity,
        pointer(activations_at),
        pointer(gradients_at),
        turned_at,
        turned_size,
        targets_at,
        sample_weights_at,
        pointer(line_losses),
    )


@njit
def element_at(matrix: Panels, row: int, column: int) -> int:
    """Return where element (row, column) lies in the buffer."""
    lanes = line_length(matrix.data)
    return matrix.at + column // lanes * matrix.stride + row * lanes + column % lanes


@jitable
def pitch(lines: int) -> int:
    """Return how many lines there should be from a panel to the next, if it needs at least so many, a multiple of 8.

    No multiple of 32: panels a power of 2 apart would crowd into the same few sets of the nearest cache.
    """
    return lines + 16 if lines % 32 == 0 else lines


@jitable
def weights_of(parameters: Parameters, i: int) -> Panels:
    """Return Ω_iᵀ: (D_i, D_{i+1}), lines along outputs; for a narrow output, Ω_K: (D_{K+1}, D_K)."""
    rows, columns = parameters.sizes[i], parameters.sizes[i + 1]
    if parameters.narrow and i == parameters.n_layers - 1:
        return Panels(parameters.data, parameters.weights_at[i], columns, rows, columns * parameters.lanes)
    stride = pitch(-(-rows // parameters.lanes) * parameters.lanes) * parameters.lanes
    return Panels(parameters.data, parameters.weights_at[i], rows, columns, stride)


@jitable
def weights_span(parameters: Parameters, i: int) -> tuple[int, int]:
    """Return where layer i's weights begin, and how many numbers a panel of them takes; a narrow Ω_K is one panel."""
    weights, panels = weights_of(parameters, i), 1
    if parameters.narrow and i == parameters.n_layers - 1:
        panels = -(-weights.columns // parameters.lanes)
    return weights.at, weights.stride * panels


@jitable
def biases_of(parameters: Parameters, i: int) -> Panels:
    """Return β_i: (1, D_{i+1})."""
    return Panels(parameters.data, parameters.biases_at[i], 1, parameters.sizes[i + 1], parameters.lanes)


@jitable
def panels_of(matrix: Panels, first: int, end: int, lanes: int) -> Panels:
    """Return a matrix's panels from `first` to `end`, which are a matrix too."""
    columns = min(end * lanes, matrix.columns) - first * lanes
    return Panels(matrix.data, matrix.at + first * matrix.stride, matrix.rows, columns, matrix.stride)


@jitable
def panel_of(matrix: Panels, panel: int, lanes: int) -> Panels:
    """Return one panel of a matrix."""
    return panels_of(matrix, panel, panel + 1, lanes)


@jitable
def input_block(weights: Panels, block: int, lanes: int) -> Panels:
    """Return as many rows of Ωᵀ, a block of inputs, as a line has lanes, which are a matrix too."""
    rows = min(lanes, weights.rows - block * lanes)
    return Panels(weights.data, weights.at + block * lanes * lanes, rows, weights.columns, weights.stride)


@jitable
def turned_of(workspace: Workspace, i: int, thread: int) -> Panels:
    """Return a thread's room for as many columns of Ω_i as a line has lanes: (D_{i+1}, lanes), lines along inputs."""
    at, size = workspace.turned_at + thread * workspace.turned_size, workspace.turned_size
    return Panels(workspace.data, at, workspace.sizes[i + 1], workspace.lanes, size)


@jitable
def activations_of(workspace: Workspace, i: int, rows: Rows) -> Panels:
    """Return h_i: (n, D_i), with h_0 = x; for i = K + 1, ŷ = f_K, or ŷᵀ where it is narrow."""
    return _batch_panels(workspace, workspace.activations_at[i], i, rows)


@jitable
def gradients_of(workspace: Workspace, i: int, rows: Rows) -> Panels:
    """Return ∂L/∂f_{i-1}: (n, D_i), transposed for a narrow ŷ; for i = 0, ∂L/∂x."""
    return _batch_panels(workspace, workspace.gradients_at[i], i, rows)


@jitable
def targets_of(workspace: Workspace, rows: Rows) -> Panels:
    """Return y: (n, D_{K+1}), transposed where it is narrow."""
    return _batch_panels(workspace, workspace.targets_at, workspace.n_layers, rows)


@jitable
def _batch_panels(workspace: Workspace, at: int, i: int, rows: Rows) -> Panels:
    columns, lanes = workspace.sizes[i], workspace.lanes
    if workspace.narrow and i == workspace.n_layers:
        return Panels(workspace.data, at + rows.first * columns, columns, rows.n, columns * lanes)
    return Panels(workspace.data, at + rows.first * lanes, rows.n, columns, workspace.capacity * lanes)


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


def zero_parameters(layer_sizes: Sequence[int], dtype: npt.DTypeLike, activation: int = 0) -> Parameters:
    """Return zeros for every parameter of a network of these sizes (D_0, …, D_{K+1})."""
    lanes = lanes_of(dtype)
    weights_at, biases_at, size = [], [], 0
    for inputs, outputs in itertools.pairwise(layer_sizes):
        weights_at.append(size)
        size += pitch(round_up(inputs, lanes)) * round_up(outputs, lanes)  # for a narrow output more than enough
        biases_at.append(size)
        size += round_up(outputs, lanes)
    sizes, *at = (np.array(numbers, np.int64) for numbers in (layer_sizes, weights_at, biases_at))
    narrow = _is_narrow(layer_sizes[-1], dtype)
    return Parameters(aligned_zeros(size, dtype), sizes.size - 1, sizes, at[0], at[1], lanes, narrow, activation)


def weight_matrices(parameters: Parameters) -> tuple[Floats, ...]:
    """Return copies of Ω_0, …, Ω_K, each (D_{i+1}, D_i)."""
    last = parameters.n_layers - 1
    lying = [matrix_from(weights_of(parameters, i)) for i in range(last + 1)]
    standing = [matrix.T for matrix in lying]
    if parameters.narrow:
        standing[last] = lying[last]
    return tuple(np.ascontiguousarray(matrix) for matrix in standing)


def bias_vectors(parameters: Parameters) -> tuple[Floats, ...]:
    """Return copies of β_0, …, β_K, each (D_{i+1},)."""
    layers = range(parameters.n_layers)
    return tuple(matrix_from(biases_of(parameters, i))[0] for i in layers)


def write_parameters(parameters: Parameters, weights: Sequence[Floats], biases: Sequence[Floats]) -> None:
    """Write Ω_i, each (D_{i+1}, D_i), and β_i, each (D_{i+1},), to their places."""
    for i, (matrix, vector) in enumerate(zip(weights, biases, strict=True)):
        panels = weights_of(parameters, i)
        last_and_narrow = parameters.narrow and i == len(weights) - 1
        write_panels(matrix if last_and_narrow else matrix.T, panels)
        write_panels(vector[None, :], biases_of(parameters, i))


def workspace_for(
    layer_sizes: Sequence[int], rows: int, dtype: npt.DTypeLike, backward: bool = True, n_threads: int = 1
) -> Workspace:
    """Return the workspace for batches of at most `rows` rows.

    Unless it is to go `backward`, there is room for the gradient with respect to ŷ alone.
    """
    lanes = lanes_of(dtype)
    capacity = pitch(round_up(max(rows, 1), max(TILE_ROWS, lanes)))
    widths = [round_up(columns, lanes) for columns in layer_sizes]
    activations = [capacity * width for width in widths]
    gradients = activations if backward else [*[0] * (len(widths) - 1), activations[-1]]
    turned = lanes * max(widths[1:]) if backward else 0
    parts = [*activations, *gradients, n_threads * turned, activations[-1], capacity]
    starts = np.cumsum([0, *parts], dtype=np.int64)
    n = len(widths)
    turned_at, targets_at, sample_weights_at, size = starts[2 * n :].tolist()
    return Workspace(
        aligned_zeros(size, dtype),
        n - 1,
        np.array(layer_sizes, np.int64),
        lanes,
        _is_narrow(layer_sizes[-1], dtype),
        capacity,
        starts[:n],
        starts[n : 2 * n],
        turned_at,
        turned,
        targets_at,
        sample_weights_at,
        np.zeros(capacity // lanes),
    )


def activation_matrices(workspace: Workspace, rows: int) -> tuple[Floats, ...]:
    """Return copies of h_0, …, h_K and ŷ, each (rows, D_i)."""
    layers = range(workspace.n_layers + 1)
    return _last_standing(workspace, [matrix_from(activations_of(workspace, i, Rows(0, rows))) for i in layers])


def gradient_matrices(workspace: Workspace, rows: int) -> tuple[Floats, ...]:
    """Return copies of ∂L/∂x and ∂L/∂f_0, …, ∂L/∂f_K, each (rows, D_i)."""
    layers = range(workspace.n_layers + 1)
    return _last_standing(workspace, [matrix_from(gradients_of(workspace, i, Rows(0, rows))) for i in layers])


def _last_standing(workspace: Workspace, matrices: list[Floats]) -> tuple[Floats, ...]:
    """Return the matrices with the last as (rows, D_{K+1}), which lies the other way round where it is narrow."""
    if workspace.narrow:
        matrices[-1] = np.ascontiguousarray(matrices[-1].T)
    return tuple(matrices)

"""How parameters and activations lie in memory, and where kernels find each of them.

A matrix is stored as panels. A panel is a column of lines: (rows, lanes) numbers, one line after another. A matrix of
D columns has ⌈D / lanes⌉ panels, and the last panel is padded with zeros. Each product of forward and backward
propagation then streams contiguous memory at any width, and no kernel needs a loop for the last columns.

A narrow output has at most half as many numbers as a line, and would waste most of each line. The last layer is then
stored the other way round: Ω_K with lines along its inputs; ŷ, y and ∂L/∂ŷ with lines along the batch, one row for each
output.

All parameters of a network lie in one flat buffer. Gradients and moments are laid out in the same way. The activations
of one batch and their gradients lie in another buffer. Depth and widths are run-time data, so one compilation serves
every network.

`packing` makes and fills these buffers. This file must not know what is computed with them.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.machine.jit import jitable, njit
from fastbp.machine.line import TILE_ROWS, line_length, pointer


class Panels(NamedTuple):
    """A (rows, columns) matrix in panels within a flat buffer.

    Element (r, c) is `data[at + c // lanes * stride + r * lanes + c % lanes]`.
    """

    data: Floats
    at: int
    rows: int
    columns: int
    stride: int  # from one panel to the next: lanes times the rows that there is room for


class Parameters(NamedTuple):
    """One number for each parameter: the parameters themselves, their gradients, or an optimizer's moments."""

    data: Floats
    n_layers: int  # K + 1
    sizes: Integers  # (K + 2,): D_0, …, D_{K+1}
    weights_at: Integers  # (K + 1,): where Ω_iᵀ begins
    biases_at: Integers  # (K + 1,): where β_i begins
    lanes: int  # numbers in a line
    narrow_output: bool  # whether Ω_K is stored the other way round


class GradientSums(NamedTuple):
    """∂L/∂φ, summed over a batch one slice of rows after another. All slices but the last have whole lines of samples.

    Each number is summed in the order in which it is summed over the whole batch at once.
    """

    gradients: Parameters  # complete after the last slice
    tiles: Floats  # Σ so far of numbers that are summed in several lines at once: `lanes` lines for each line of φ
    batch: npt.NDArray[np.float64]  # (2,): Σ w of the whole batch, and Σ w ℓ so far


class Slice(NamedTuple):
    """Where a slice of rows stands in its batch."""

    is_first: bool
    is_last: bool


class RowRange(NamedTuple):
    """Some of a batch's rows, which one thread works on. The first of them begins a line of samples."""

    first: int
    n: int


class Workspace(NamedTuple):
    """What one batch needs: h_0 … h_K and f_K, ∂L/∂f_i, transposed weights, targets and sample weights."""

    data: Floats
    n_layers: int  # K + 1
    sizes: Integers  # (K + 2,): D_0, …, D_{K+1}
    lanes: int  # numbers in a line
    narrow_output: bool  # whether ŷ, y and ∂L/∂ŷ are stored the other way round
    capacity: int  # rows that there is room for: whole tiles
    activations_at: Integers  # (K + 2,): h_0 = x, …, h_K, and last ŷ = f_K
    gradients_at: Integers  # (K + 2,): first ∂L/∂x, then ∂L/∂f_0, …, ∂L/∂f_K; a'(f_i) until ∂L/∂f_i is known
    transposed_at: int  # room for one panel of the largest Ω_i, lines along inputs, for each thread
    transposed_size: int  # numbers in one thread's room
    targets_at: int
    sample_weights_at: int
    line_losses: npt.NDArray[np.float64]  # Σ w ℓ of each line of samples


# --- addresses instead of arrays ----------------------------------------------------------------------------


@jitable
def addresses_of(parameters: Parameters) -> Parameters:
    """Return the same parameters with addresses for arrays. The caller keeps the arrays alive.

    Numba counts references to arrays, and not to addresses. The counting took a quarter to a half of a small network's
    step.
    """
    data, n_layers, sizes, weights_at, biases_at, lanes, narrow_output = parameters
    places = pointer(sizes), pointer(weights_at), pointer(biases_at)
    return Parameters(pointer(data), n_layers, *places, lanes, narrow_output)


@jitable
def parameters_in(data: Floats, like: Parameters) -> Parameters:
    """Return a number for each parameter in another buffer, laid out like the given ones."""
    _, n_layers, sizes, weights_at, biases_at, lanes, narrow_output = like
    places = sizes, weights_at, biases_at
    return Parameters(data, n_layers, *places, lanes, narrow_output)


@jitable
def workspace_addresses(workspace: Workspace) -> Workspace:
    """Return the same workspace with addresses for arrays. The caller keeps the arrays alive."""
    (
        data,
        n_layers,
        sizes,
        lanes,
        narrow_output,
        capacity,
        activations_at,
        gradients_at,
        transposed_at,
        transposed_size,
        targets_at,
        sample_weights_at,
        line_losses,
    ) = workspace
    return Workspace(
        pointer(data),
        n_layers,
        pointer(sizes),
        lanes,
        narrow_output,
        capacity,
        pointer(activations_at),
        pointer(gradients_at),
        transposed_at,
        transposed_size,
        targets_at,
        sample_weights_at,
        pointer(line_losses),
    )


# --- places in a matrix -------------------------------------------------------------------------------------


@jitable
def smaller(a: int, b: int) -> int:
    """Return the smaller of two whole numbers. Numba's own `min` takes much longer to compile."""
    return a if a < b else b


@jitable
def rows_in_tiles(rows: int) -> int:
    """Return how many rows a kernel takes by tiles. A last tile that is less than half full goes row by row."""
    return (rows + TILE_ROWS // 2) // TILE_ROWS * TILE_ROWS


@jitable
def pitch(lines: int) -> int:
    """Return the distance from one panel to the next in lines, at least `lines`, which is a multiple of 8.

    A multiple of 32 is avoided: panels a power of 2 apart would compete for the same few sets of the nearest cache.
    """
    return lines + 16 if lines % 32 == 0 else lines


@njit
def element_at(matrix: Panels, row: int, column: int) -> int:
    """Return the place of element (row, column) in the buffer."""
    lanes = line_length(matrix.data)
    return matrix.at + column // lanes * matrix.stride + row * lanes + column % lanes


@jitable
def panels_of(matrix: Panels, first: int, end: int, lanes: int) -> Panels:
    """Return the panels of a matrix from `first` to before `end`, which are a matrix too."""
    columns = smaller(end * lanes, matrix.columns) - first * lanes
    return Panels(matrix.data, matrix.at + first * matrix.stride, matrix.rows, columns, matrix.stride)


@jitable
def panel_of(matrix: Panels, panel: int, lanes: int) -> Panels:
    """Return one panel of a matrix."""
    return panels_of(matrix, panel, panel + 1, lanes)


@jitable
def input_block(weights: Panels, block: int, lanes: int) -> Panels:
    """Return a block of rows of Ωᵀ, as many inputs as a line has lanes. The block is a matrix too."""
    rows = smaller(lanes, weights.rows - block * lanes)
    return Panels(weights.data, weights.at + block * lanes * lanes, rows, weights.columns, weights.stride)


# --- the parameters of a layer ------------------------------------------------------------------------------


@jitable
def weights_of(parameters: Parameters, i: int) -> Panels:
    """Return Ω_iᵀ: (D_i, D_{i+1}), lines along outputs. Of a narrow output, return Ω_K: (D_{K+1}, D_K)."""
    rows, columns = parameters.sizes[i], parameters.sizes[i + 1]
    if parameters.narrow_output and i == parameters.n_layers - 1:
        return Panels(parameters.data, parameters.weights_at[i], columns, rows, columns * parameters.lanes)
    stride = pitch(-(-rows // parameters.lanes) * parameters.lanes) * parameters.lanes
    return Panels(parameters.data, parameters.weights_at[i], rows, columns, stride)


@jitable
def weights_span(parameters: Parameters, i: int) -> tuple[int, int]:
    """Return where Ω_i begins, and how many numbers one of its panels takes. A narrow Ω_K counts as one panel."""
    weights, panels = weights_of(parameters, i), 1
    if parameters.narrow_output and i == parameters.n_layers - 1:
        panels = -(-weights.columns // parameters.lanes)
    return weights.at, weights.stride * panels


@jitable
def biases_of(parameters: Parameters, i: int) -> Panels:
    """Return β_i: (1, D_{i+1})."""
    return Panels(parameters.data, parameters.biases_at[i], 1, parameters.sizes[i + 1], parameters.lanes)


@jitable
def tiles_at(matrix: Panels, column: int, lanes: int) -> int:
    """Return where `GradientSums.tiles` keeps the sums of the first line of a matrix at this column."""
    return (matrix.at + column // lanes * matrix.stride) * lanes


# --- the matrices of a batch --------------------------------------------------------------------------------


@jitable
def transposed_weights_of(workspace: Workspace, i: int, thread: int) -> Panels:
    """Return a thread's room for a block of Ω_i: (D_{i+1}, lanes), lines along inputs, one input for each lane."""
    at, size = workspace.transposed_at + thread * workspace.transposed_size, workspace.transposed_size
    return Panels(workspace.data, at, workspace.sizes[i + 1], workspace.lanes, size)


@jitable
def activations_of(workspace: Workspace, i: int, rows: RowRange) -> Panels:
    """Return h_i: (n, D_i), with h_0 = x. For i = K + 1, return ŷ = f_K, or ŷᵀ of a narrow output."""
    return _batch_panels(workspace, workspace.activations_at[i], i, rows)


@jitable
def gradients_of(workspace: Workspace, i: int, rows: RowRange) -> Panels:
    """Return ∂L/∂f_{i-1}: (n, D_i), or (∂L/∂ŷ)ᵀ of a narrow output. For i = 0, return ∂L/∂x."""
    return _batch_panels(workspace, workspace.gradients_at[i], i, rows)


@jitable
def targets_of(workspace: Workspace, rows: RowRange) -> Panels:
    """Return y: (n, D_{K+1}), or yᵀ of a narrow output."""
    return _batch_panels(workspace, workspace.targets_at, workspace.n_layers, rows)


@jitable
def _batch_panels(workspace: Workspace, at: int, i: int, rows: RowRange) -> Panels:
    columns, lanes = workspace.sizes[i], workspace.lanes
    if workspace.narrow_output and i == workspace.n_layers:
        return Panels(workspace.data, at + rows.first * columns, columns, rows.n, columns * lanes)
    return Panels(workspace.data, at + rows.first * lanes, rows.n, columns, workspace.capacity * lanes)

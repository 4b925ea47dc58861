"""NumPy arrays laid out as kernels read them, and back again: rows, matrices in panels, parameters, workspaces.

`layout` says how everything lies in memory. Nothing in this file is compiled. It must not know what is computed with
any of these arrays.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats
from fastbp.kernels.layout import (
    GradientSums,
    Panels,
    Parameters,
    RowRange,
    Workspace,
    activations_of,
    biases_of,
    gradients_of,
    pitch,
    weights_of,
)
from fastbp.machine.line import LINE_BYTES, TILE_ROWS

_COPIED_ROWS = 65_536  # rows that are copied at once, so that Ctrl-C need not wait for a whole table


def lanes_of(dtype: npt.DTypeLike) -> int:
    """Return how many numbers of `dtype` a line holds."""
    return LINE_BYTES // np.dtype(dtype).itemsize


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not less than `number`."""
    return -(-number // multiple) * multiple


def _is_narrow(n_outputs: int, dtype: npt.DTypeLike) -> bool:
    """Tell whether the last layer of so many outputs is stored the other way round."""
    return 2 * n_outputs <= lanes_of(dtype)


def aligned_zeros(size: int, dtype: npt.DTypeLike) -> Floats:
    """Return an array of `size` zeros that begins on a line's boundary."""
    if size == 0:
        return np.zeros(0, dtype)
    itemsize = np.dtype(dtype).itemsize
    room = np.zeros(size + LINE_BYTES // itemsize, dtype)
    first = -room.__array_interface__["data"][0] % LINE_BYTES // itemsize
    return room[first : first + size]


# --- rows ---------------------------------------------------------------------------------------------------


def padded_rows(matrix: npt.NDArray[Any], dtype: npt.DTypeLike) -> Floats:
    """Return a (n, D) matrix as one flat buffer, row by row. Zeros fill up each row to whole lines."""
    n, columns = matrix.shape
    width = round_up(columns, lanes_of(dtype))
    rows = aligned_zeros(n * width, dtype)
    padded = rows.reshape(n, width)
    for first in range(0, n, _COPIED_ROWS):
        padded[first : first + _COPIED_ROWS, :columns] = matrix[first : first + _COPIED_ROWS]
    return rows


def target_rows(matrix: npt.NDArray[Any], dtype: npt.DTypeLike) -> Floats:
    """Return a (n, D_{K+1}) matrix of targets as one flat buffer, row by row, without padding for a narrow output."""
    if _is_narrow(matrix.shape[1], dtype):
        return matrix.astype(dtype).reshape(-1)
    return padded_rows(matrix, dtype)


# --- matrices in panels -------------------------------------------------------------------------------------


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
    """Write a (rows, D) matrix into panels."""
    lines = _lines(panels)
    padded = np.zeros((panels.rows, lines.shape[0] * lines.shape[2]), panels.data.dtype)
    padded[:, : panels.columns] = matrix
    lines[...] = padded.reshape(panels.rows, *lines.shape[::2]).swapaxes(0, 1)


def matrix_from(panels: Panels) -> Floats:
    """Return a copy of panels as a (rows, D) matrix."""
    lines = _lines(panels)
    return lines.swapaxes(0, 1).reshape(panels.rows, lines.shape[0] * lines.shape[2])[:, : panels.columns].copy()


# --- parameters ---------------------------------------------------------------------------------------------


def zero_parameters(layer_sizes: Sequence[int], dtype: npt.DTypeLike) -> Parameters:
    """Return zeros for every parameter of a network of these sizes (D_0, …, D_{K+1})."""
    lanes = lanes_of(dtype)
    weights_at, biases_at, size = [], [], 0
    for inputs, outputs in itertools.pairwise(layer_sizes):
        weights_at.append(size)
        size += pitch(round_up(inputs, lanes)) * round_up(outputs, lanes)  # more than enough for a narrow output
        biases_at.append(size)
        size += round_up(outputs, lanes)
    sizes, *at = (np.array(numbers, np.int64) for numbers in (layer_sizes, weights_at, biases_at))
    narrow_output = _is_narrow(layer_sizes[-1], dtype)
    return Parameters(aligned_zeros(size, dtype), sizes.size - 1, sizes, at[0], at[1], lanes, narrow_output)


def gradient_sums(layer_sizes: Sequence[int], dtype: npt.DTypeLike) -> GradientSums:
    """Return the buffers of a gradient that is summed over slices of rows."""
    gradients = zero_parameters(layer_sizes, dtype)
    # Most of the tiles are never used, and take no memory where the system gives memory to a page at its first use.
    return GradientSums(gradients, aligned_zeros(gradients.lanes * gradients.data.size, dtype), np.zeros(2))


def weight_matrices(parameters: Parameters) -> tuple[Floats, ...]:
    """Return copies of Ω_0, …, Ω_K, each (D_{i+1}, D_i)."""
    last = parameters.n_layers - 1
    stored = [matrix_from(weights_of(parameters, i)) for i in range(last + 1)]
    matrices = [matrix.T for matrix in stored]
    if parameters.narrow_output:
        matrices[last] = stored[last]
    return tuple(np.ascontiguousarray(matrix) for matrix in matrices)


def bias_vectors(parameters: Parameters) -> tuple[Floats, ...]:
    """Return copies of β_0, …, β_K, each (D_{i+1},)."""
    layers = range(parameters.n_layers)
    return tuple(matrix_from(biases_of(parameters, i))[0] for i in layers)


def write_parameters(parameters: Parameters, weights: Sequence[Floats], biases: Sequence[Floats]) -> None:
    """Write every Ω_i, (D_{i+1}, D_i), and every β_i, (D_{i+1},), into the parameters' buffer."""
    for i, (matrix, vector) in enumerate(zip(weights, biases, strict=True)):
        is_narrow = parameters.narrow_output and i == len(weights) - 1
        write_panels(matrix if is_narrow else matrix.T, weights_of(parameters, i))
        write_panels(vector[None, :], biases_of(parameters, i))


# --- workspaces ---------------------------------------------------------------------------------------------


def workspace_for(
    layer_sizes: Sequence[int], rows: int, dtype: npt.DTypeLike, backward: bool = True, n_threads: int = 1
) -> Workspace:
    """Return the workspace for batches of at most `rows` rows.

    Without `backward`, the workspace has room for only one gradient, the gradient with respect to ŷ.
    """
    size, empty = _workspace_layout(tuple(layer_sizes), rows, np.dtype(dtype), backward, n_threads)
    lines = empty.capacity // empty.lanes
    return empty._replace(data=aligned_zeros(size, dtype), line_losses=np.zeros(lines))


@functools.lru_cache(maxsize=128)
def _workspace_layout(
    layer_sizes: tuple[int, ...], rows: int, dtype: np.dtype[Any], backward: bool, n_threads: int
) -> tuple[int, Workspace]:
    """Return the size of the buffer of such a workspace, and the workspace without its buffers.

    All workspaces of the same layout share the arrays of this one. Nobody writes to them.
    """
    lanes = lanes_of(dtype)
    capacity = pitch(round_up(max(rows, 1), max(TILE_ROWS, lanes)))
    widths = [round_up(columns, lanes) for columns in layer_sizes]
    activations = [capacity * width for width in widths]
    gradients = activations if backward else [*[0] * (len(widths) - 1), activations[-1]]
    transposed_size = lanes * max(widths[1:]) if backward else 0
    parts = [*activations, *gradients, n_threads * transposed_size, activations[-1], capacity]
    starts = np.cumsum([0, *parts], dtype=np.int64)
    n = len(widths)
    transposed_at, targets_at, sample_weights_at, size = starts[2 * n :].tolist()
    return size, Workspace(
        data=np.zeros(0, dtype),
        n_layers=n - 1,
        sizes=np.array(layer_sizes, np.int64),
        lanes=lanes,
        narrow_output=_is_narrow(layer_sizes[-1], dtype),
        capacity=capacity,
        activations_at=starts[:n],
        gradients_at=starts[n : 2 * n],
        transposed_at=transposed_at,
        transposed_size=transposed_size,
        targets_at=targets_at,
        sample_weights_at=sample_weights_at,
        line_losses=np.zeros(0),
    )


def activation_matrices(workspace: Workspace, rows: int) -> tuple[Floats, ...]:
    """Return copies of h_0, …, h_K and ŷ, each (rows, D_i)."""
    layers = range(workspace.n_layers + 1)
    matrices = [matrix_from(activations_of(workspace, i, RowRange(0, rows))) for i in layers]
    return _with_rows_of_samples(workspace, matrices)


def gradient_matrices(workspace: Workspace, rows: int) -> tuple[Floats, ...]:
    """Return copies of ∂L/∂x and ∂L/∂f_0, …, ∂L/∂f_K, each (rows, D_i)."""
    layers = range(workspace.n_layers + 1)
    matrices = [matrix_from(gradients_of(workspace, i, RowRange(0, rows))) for i in layers]
    return _with_rows_of_samples(workspace, matrices)


def _with_rows_of_samples(workspace: Workspace, matrices: list[Floats]) -> tuple[Floats, ...]:
    """Return the matrices, the last of them transposed to (rows, D_{K+1}) if the output is narrow."""
    if workspace.narrow_output:
        matrices[-1] = np.ascontiguousarray(matrices[-1].T)
    return tuple(matrices)

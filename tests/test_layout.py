"""Matrices go to panels and back to the bit; buffers begin on lines and overlap nowhere."""

import numpy as np
import pytest

from fastbp.kernels import layout, packing
from fastbp.machine.line import LINE_BYTES, TILE_ROWS

SHAPES = [(1, 1), (2, 16), (7, 17), (16, 15), (33, 33), (5, 64)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_a_matrix_goes_to_panels_and_back_to_the_bit(rows, columns, dtype):
    matrix = np.random.default_rng(0).standard_normal((rows, columns)).astype(dtype)
    panels = packing.panels_from(matrix, dtype)
    assert np.array_equal(packing.matrix_from(panels), matrix)
    assert np.count_nonzero(panels.data) == matrix.size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_element_lies_where_the_formula_says(dtype):
    matrix = np.arange(5 * 40.0).reshape(5, 40)
    panels = packing.panels_from(matrix, dtype)
    lanes = packing.lanes_of(dtype)
    for row, column in np.ndindex(matrix.shape):
        at = panels.at + column // lanes * panels.stride + row * lanes + column % lanes
        assert panels.data[at] == matrix[row, column]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 1000])
def test_buffers_begin_on_a_line(size, dtype):
    for _ in range(20):
        buffer = packing.aligned_zeros(size, dtype)
        assert buffer.size == size
        assert buffer.ctypes.data % LINE_BYTES == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_overlap_nowhere(dtype):
    sizes = (3, 17, 16, 1)
    parameters = packing.zero_parameters(sizes, dtype)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype(dtype) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    biases = [rng.standard_normal(size).astype(dtype) for size in sizes[1:]]
    packing.write_parameters(parameters, weights, biases)
    assert all(map(np.array_equal, packing.weight_matrices(parameters), weights))
    assert all(map(np.array_equal, packing.bias_vectors(parameters), biases))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, TILE_ROWS, 33])
def test_a_workspace_has_room_for_everything_and_overlaps_nowhere(rows, dtype):
    sizes = (3, 17, 40, 1)
    workspace = packing.workspace_for(sizes, rows, dtype, n_threads=3)
    batch = layout.RowRange(0, rows)
    parts = [layout.transposed_weights_of(workspace, 1, thread) for thread in range(3)]
    parts += [layout.activations_of(workspace, i, batch) for i in range(4)]
    parts += [layout.gradients_of(workspace, i, batch) for i in range(4)]
    parts.append(layout.targets_of(workspace, batch))
    for number, part in enumerate(parts, 1):
        packing.write_panels(np.full((part.rows, part.columns), number), part)
    for number, part in enumerate(parts, 1):
        assert (packing.matrix_from(part) == number).all()
    assert not workspace.data[workspace.sample_weights_at :].any()
    assert workspace.capacity % TILE_ROWS == 0

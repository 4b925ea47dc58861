"""Every kernel equals its naive twin, at sizes around lines and tiles, and leaves padding zero."""

import itertools

import numpy as np
import pytest
import reference

from fastbp.kernels import narrow
from fastbp.kernels.dense import (
    backward_input,
    backward_input_small_batch,
    backward_linear_input,
    backward_parameters,
    backward_parameters_by_slices,
    linear_forward,
    linear_relu_forward,
    sgd_update_biases,
    sgd_update_weights,
    sgd_update_weights_small_batch,
    transpose_weights,
)
from fastbp.kernels.layout import Panels, Slice
from fastbp.kernels.packing import lanes_of, matrix_from, padded_rows, panels_from

SIZES = (1, 2, 15, 16, 17, 31, 33, 53)
BATCHES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 67)
DTYPES = ("float32", "float64")
SHAPES = list(itertools.product(SIZES, SIZES))
# Each size meets each other at some batch; all of them together would take minutes.
CASES = [(BATCHES[i % len(BATCHES)], inputs, outputs) for i, (inputs, outputs) in enumerate(SHAPES)]


class Problem:
    """Random operands of a layer, as arrays and as panels. Values are rounded to the dtype first."""

    def __init__(self, n, inputs, outputs, dtype):
        rng = np.random.default_rng([n, inputs, outputs])
        self.dtype = dtype
        self.n, self.inputs, self.outputs = n, inputs, outputs
        self.h = np.maximum(self.draw(rng, n, inputs), 0)
        self.weights = self.draw(rng, outputs, inputs)
        self.biases = self.draw(rng, outputs)
        self.g = self.draw(rng, n, outputs)

    def draw(self, rng, *shape):
        return rng.standard_normal(shape).astype(self.dtype).astype(np.float64)

    def panels(self, matrix):
        return panels_from(matrix, self.dtype)

    def row(self, vector):
        lanes = lanes_of(self.dtype)
        return Panels(padded_rows(vector[None, :], self.dtype), 0, 1, vector.size, lanes)

    def blank(self, rows, columns):
        """Return panels to write to, their padding zero and their elements NaN, so that none can be left out."""
        return self.panels(np.full((rows, columns), np.nan))

    def assert_close(self, got, wanted, terms, magnitude):
        """Assert |got − wanted| ≤ terms · ε · magnitude: a sum's rounding (Higham 2002, § 3.1)."""
        assert isinstance(got, np.ndarray)
        assert got.shape == wanted.shape
        ε = np.finfo(self.dtype).eps
        assert (np.abs(got - wanted) <= (terms + 2) * ε * (magnitude + 1e-30)).all()


def assert_padding_is_zero(panels):
    """Assert that the lanes past the last column are zero in every row that there is room for."""
    lanes = lanes_of(panels.data.dtype)
    used = panels.columns % lanes
    if used:
        last = panels.data.size // panels.stride - 1
        assert not panels.data[last * panels.stride :].reshape(-1, lanes)[:, used:].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "inputs", "outputs"), CASES)
def test_forward_equals_its_twin(n, inputs, outputs, dtype):
    p = Problem(n, inputs, outputs, dtype)
    magnitude = np.abs(p.h) @ np.abs(p.weights.T) + np.abs(p.biases)
    operands = p.panels(p.h), p.panels(p.weights.T), p.row(p.biases)
    for kernel in (linear_forward, linear_relu_forward):
        out = p.blank(n, outputs)
        kernel(*operands, out)
        wanted = getattr(reference, kernel.__name__)(p.h, p.weights, p.biases)
        p.assert_close(matrix_from(out), wanted, inputs, magnitude)
        assert_padding_is_zero(out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "inputs", "outputs"), CASES)
def test_gradient_with_respect_to_input_equals_its_twin(n, inputs, outputs, dtype):
    p = Problem(n, inputs, outputs, dtype)
    magnitude = np.abs(p.g) @ np.abs(p.weights)
    g, weights = p.panels(p.g), p.panels(p.weights)
    out = p.blank(n, inputs)
    backward_linear_input(g, weights, False, out)
    p.assert_close(matrix_from(out), reference.backward_linear_input(p.g, p.weights), outputs, magnitude)
    assert_padding_is_zero(out)
    out = p.panels(p.h)  # any numbers, as derivatives
    backward_linear_input(g, weights, True, out)
    wanted = p.h * reference.backward_linear_input(p.g, p.weights)
    p.assert_close(matrix_from(out), wanted, outputs + 1, np.abs(p.h) * magnitude)
    assert_padding_is_zero(out)
    out = p.blank(n, inputs)
    backward_input(g, weights, p.panels(p.h), out)
    p.assert_close(matrix_from(out), reference.backward_input(p.g, p.weights, p.h), outputs, magnitude)
    assert_padding_is_zero(out)
    out = p.blank(n, inputs)
    backward_input_small_batch(g, p.panels(p.weights.T), p.panels(p.h), out)
    p.assert_close(matrix_from(out), reference.backward_input(p.g, p.weights, p.h), outputs, magnitude)
    assert_padding_is_zero(out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "inputs", "outputs"), CASES)
def test_gradient_with_respect_to_parameters_equals_its_twin(n, inputs, outputs, dtype):
    p = Problem(n, inputs, outputs, dtype)
    weights, biases = p.blank(inputs, outputs), p.row(np.full(outputs, np.nan))
    backward_parameters(p.panels(p.g), p.panels(p.h), weights, biases)
    wanted_weights, wanted_biases = reference.backward_parameters(p.g, p.h)
    p.assert_close(matrix_from(weights), wanted_weights.T, n, (np.abs(p.g.T) @ np.abs(p.h)).T)
    p.assert_close(matrix_from(biases)[0], wanted_biases, n, np.abs(p.g).sum(0))
    assert_padding_is_zero(weights)
    assert_padding_is_zero(biases)


@pytest.mark.parametrize("slice_rows", [16, 32])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "inputs", "outputs"), CASES)
def test_a_gradient_summed_over_slices_has_the_bits_of_the_whole_batch(n, inputs, outputs, dtype, slice_rows):
    p, lanes = Problem(n, inputs, outputs, dtype), lanes_of(dtype)
    kinds = [(backward_parameters, backward_parameters_by_slices, p.g, (inputs, outputs))]
    if 2 * outputs <= lanes:
        by_slices = narrow.narrow_backward_parameters_by_slices
        kinds.append((narrow.narrow_backward_parameters, by_slices, p.g.T, (outputs, inputs)))
    for whole, by_slices, g, shape in kinds:
        (weights, biases), (of_weights, of_biases) = ((p.blank(*shape), p.row(np.full(outputs, np.nan))) for _ in "ab")
        whole(p.panels(g), p.panels(p.h), weights, biases)
        behind = of_weights.data.size  # as in a buffer of parameters, biases lie behind weights
        tiles = np.full(lanes * (behind + of_biases.data.size), np.nan, dtype)
        of_biases = of_biases._replace(data=np.concatenate([of_weights.data, of_biases.data]), at=behind)
        for first in range(0, n, slice_rows):
            rows, place = slice(first, first + slice_rows), Slice(first == 0, first + slice_rows >= n)
            part = g[rows] if whole is backward_parameters else g[:, rows]
            by_slices(p.panels(part), p.panels(p.h[rows]), place, tiles, of_weights, of_biases)
        assert of_weights.data.tobytes() == weights.data.tobytes()
        assert of_biases.data[behind:].tobytes() == biases.data.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "inputs", "outputs"), CASES)
def test_fused_sgd_update_equals_its_twin(n, inputs, outputs, dtype):
    p = Problem(n, inputs, outputs, dtype)
    weights, biases = p.panels(p.weights.T), p.row(p.biases)
    by_rows = p.panels(p.weights.T)
    sgd_update_weights(p.panels(p.g), p.panels(p.h), 0.3, 0.1, weights)
    sgd_update_weights_small_batch(p.panels(p.g), p.panels(p.h), 0.3, 0.1, by_rows)
    sgd_update_biases(p.panels(p.g), 0.3, 0.1, biases)
    wanted_weights, wanted_biases = reference.sgd_update(p.g, p.h, 0.3, 0.1, p.weights, p.biases)
    magnitude = np.abs(p.weights) + np.abs(p.g.T) @ np.abs(p.h)
    for stepped in (weights, by_rows):
        p.assert_close(matrix_from(stepped), wanted_weights.T, n + 4, magnitude.T)
        assert_padding_is_zero(stepped)
    p.assert_close(matrix_from(biases)[0], wanted_biases, n + 4, np.abs(p.biases) + np.abs(p.g).sum(0))
    assert_padding_is_zero(biases)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_transposed_weights_are_the_transpose_to_the_bit(inputs, outputs, dtype):
    p = Problem(1, inputs, outputs, dtype)
    out = p.blank(outputs, inputs)
    transpose_weights(p.panels(p.weights.T), out)
    assert np.array_equal(matrix_from(out), p.weights)
    assert_padding_is_zero(out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 2, 3, 4])
@pytest.mark.parametrize(("n", "inputs"), list(zip(BATCHES, [*SIZES, *SIZES], strict=False)))
def test_kernels_of_narrow_outputs_equal_their_twins(n, inputs, outputs, dtype):
    p = Problem(n, inputs, outputs, dtype)
    h, weights, biases = p.panels(p.h), p.panels(p.weights), p.row(p.biases)
    out = p.blank(outputs, n)
    narrow.narrow_forward(h, weights, biases, out)
    magnitude = np.abs(p.h) @ np.abs(p.weights.T) + np.abs(p.biases)
    p.assert_close(matrix_from(out).T, reference.linear_forward(p.h, p.weights, p.biases), inputs, magnitude)

    g, magnitude = p.panels(p.g.T), np.abs(p.g) @ np.abs(p.weights)
    out = p.blank(n, inputs)
    narrow.narrow_backward_linear_input(g, weights, False, out)
    p.assert_close(matrix_from(out), reference.backward_linear_input(p.g, p.weights), outputs, magnitude)
    product = p.panels(p.h)  # any numbers, as derivatives
    narrow.narrow_backward_linear_input(g, weights, True, product)
    wanted = p.h * reference.backward_linear_input(p.g, p.weights)
    p.assert_close(matrix_from(product), wanted, outputs + 1, np.abs(p.h) * magnitude)
    narrow.narrow_backward_input(g, weights, h, out)
    p.assert_close(matrix_from(out), reference.backward_input(p.g, p.weights, p.h), outputs, magnitude)
    assert_padding_is_zero(out)

    of_weights, of_biases = p.blank(outputs, inputs), p.row(np.full(outputs, np.nan))
    narrow.narrow_backward_parameters(g, h, of_weights, of_biases)
    narrow.narrow_sgd_update(g, h, 0.3, 0.1, 0.1, weights, biases)
    wanted = reference.backward_parameters(p.g, p.h)
    stepped = reference.sgd_update(p.g, p.h, 0.3, 0.1, p.weights, p.biases)
    magnitudes = np.abs(p.g.T) @ np.abs(p.h), np.abs(p.g).sum(0)
    for got, twin, magnitude in zip((of_weights, of_biases), wanted, magnitudes, strict=True):
        p.assert_close(matrix_from(got).reshape(twin.shape), twin, n, magnitude)
        assert_padding_is_zero(got)
    for got, twin, magnitude in zip((weights, biases), stepped, magnitudes, strict=True):
        p.assert_close(matrix_from(got).reshape(twin.shape), twin, n + 4, magnitude + np.abs(twin) + 1)
        assert_padding_is_zero(got)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_passes_no_gradient_at_zero_and_keeps_nan(dtype):
    h, weights, biases = np.array([[1.0], [-1.0], [0.0], [np.nan]]), np.ones((1, 1)), np.zeros(1)
    p = Problem(4, 1, 1, dtype)
    out = p.blank(4, 1)
    linear_relu_forward(p.panels(h), p.panels(weights), p.row(biases), out)
    np.testing.assert_array_equal(matrix_from(out), [[1], [0], [0], [np.nan]])
    backward_input(p.panels(np.ones((4, 1))), p.panels(weights), out, out)
    np.testing.assert_array_equal(matrix_from(out)[:3], [[1], [0], [0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_past_the_batch_touch_no_sum(dtype):
    """A short batch lies in a longer one's buffers, whose stale rows must not count."""
    p = Problem(5, 7, 3, dtype)
    stale_h = np.concatenate([p.h, np.full((20, 7), 1e30)])
    h = panels_from(stale_h, dtype)._replace(rows=5)
    g = panels_from(np.concatenate([p.g, np.zeros((3, 3)), np.full((17, 3), 1e30)]), dtype)._replace(rows=5)
    weights, biases = p.blank(7, 3), p.row(np.full(3, np.nan))
    backward_parameters(g, h, weights, biases)
    wanted_weights, wanted_biases = reference.backward_parameters(p.g, p.h)
    p.assert_close(matrix_from(weights), wanted_weights.T, 5, (np.abs(p.g.T) @ np.abs(p.h)).T)
    p.assert_close(matrix_from(biases)[0], wanted_biases, 5, np.abs(p.g).sum(0))

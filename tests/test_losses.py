"""Every loss equals its textbook form, stays finite where that is finite, and weights its samples."""

import math

import numpy as np
import pytest
import reference

import fastbp
from fastbp import losses
from fastbp.kernels.custom_losses import loss_address
from fastbp.kernels.layout import Panels
from fastbp.kernels.losses import PIECES, loss_and_gradient
from fastbp.kernels.packing import lanes_of, matrix_from, panels_from
from fastbp.machine.jit import entry
from fastbp.machine.line import TILE_ROWS, pointer

LOSSES = [losses.resolve(name) for name in losses.NAMES] + [losses.huber(0.3), losses.quantile(0.9)]
DTYPES = ("float32", "float64")


def targets(loss, rng, shape):
    if loss.name == "binary_cross_entropy":
        return rng.random(shape)
    if loss.name == "cross_entropy":
        y = rng.random(shape)
        return y / y.sum(1, keepdims=True)
    return rng.poisson(2.0, shape).astype(float) if loss.name == "poisson" else rng.standard_normal(shape)


@entry
def call_piece(address, parameter, f, y, weights, total_weight, line_losses, out, narrow_output):
    """Do what the kernels do: hand addresses to a loss's piece."""
    data, targets, gradient = pointer(f.data), pointer(y.data), pointer(out.data)
    loss_and_gradient(
        address,
        parameter,
        Panels(data, f.at, f.rows, f.columns, f.stride),
        Panels(targets, y.at, y.rows, y.columns, y.stride),
        pointer(weights),
        0,
        total_weight,
        pointer(line_losses),
        0,
        Panels(gradient, out.at, out.rows, out.columns, out.stride),
        narrow_output,
    )


def compute(loss, f, y, sample_weights, dtype):
    """Return Σ w ℓ and ∂L/∂ŷ; of a narrow ŷ, hold what comes of it lying either way against each other."""
    weights = np.zeros(-(-len(f) // 16) * 16, dtype)
    weights[: len(f)] = sample_weights
    weight, line_losses = weights.sum(dtype=np.float64), np.zeros(len(f))
    out = panels_from(np.full(f.shape, np.nan), dtype)
    operands = loss_address(loss, np.dtype(dtype)), loss.parameter
    call_piece(*operands, panels_from(f, dtype), panels_from(y, dtype), weights, weight, line_losses, out, False)
    total = line_losses.sum()
    if 2 * f.shape[1] <= lanes_of(dtype):
        out_T = panels_from(np.full(f.T.shape, np.nan), dtype)
        f_T, y_T = panels_from(f.T, dtype), panels_from(y.T, dtype)
        call_piece(*operands, f_T, y_T, weights, weight, line_losses, out_T, True)
        ε = np.finfo(dtype).eps
        np.testing.assert_allclose(line_losses.sum(), total, rtol=8 * ε, atol=8 * ε)
        np.testing.assert_allclose(matrix_from(out_T).T, matrix_from(out), rtol=8 * ε, atol=8 * ε)
        assert np.count_nonzero(out_T.data) <= f.size  # nothing past the batch
    return total, matrix_from(out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize(("n", "outputs"), [(1, 1), (2, 3), (9, 1), (32, 16), (67, 17), (13, 33)])
def test_loss_equals_its_twin(loss, n, outputs, dtype):
    rng = np.random.default_rng([n, outputs])
    f, y = (
        a.astype(dtype).astype(float) for a in (2 * rng.standard_normal((n, outputs)), targets(loss, rng, (n, outputs)))
    )
    weights = rng.random(n).astype(dtype).astype(float)
    total, gradient = compute(loss, f, y, weights, dtype)
    wanted = reference.loss_and_gradient(loss.name, f, y, weights, loss.parameter)
    # A row's loss is a sum of `outputs` numbers in the dtype, each from a difference that may cancel.
    ε = np.finfo(dtype).eps
    np.testing.assert_allclose(total, wanted[0], rtol=(8 + outputs / 16) * ε)
    np.testing.assert_allclose(
        gradient, wanted[2], rtol=8 * ε, atol=8 * ε * np.abs(f).max() * weights.max() / wanted[1]
    )


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradient_is_the_slope_of_the_loss(loss):
    rng = np.random.default_rng(1)
    f, y, weights = rng.standard_normal((5, 3)), targets(loss, rng, (5, 3)), rng.random(5) + 0.1
    gradient = compute(loss, f, y, weights, "float64")[1]
    for place in np.ndindex(f.shape):
        step = np.zeros(f.shape)
        step[place] = 1e-6
        up, down = (compute(loss, f + sign * step, y, weights, "float64")[0] for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-6 / weights.sum(), gradient[place], atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_outputs_overflow_nothing(loss, size, dtype):
    f = np.array([[size, 0.0, -size], [size, size, size]])
    if loss.name == "poisson":
        f = np.minimum(f, 80.0)  # exp(1e4) is no float64; exp(80) is still a float32
    y = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    total, gradient = compute(loss, f, y, np.ones(2), dtype)
    assert math.isfinite(total)
    assert np.isfinite(gradient).all()
    wanted = reference.loss_and_gradient(loss.name, f, y, np.ones(2), loss.parameter)[0]
    np.testing.assert_allclose(total, wanted, rtol=128 * np.finfo(dtype).eps)  # exp(80) has the error of 80, times 80


def test_kinks_have_subgradient_zero():
    for loss in (losses.resolve("absolute_error"), losses.quantile(0.9)):
        gradient = compute(loss, np.ones((1, 1)), np.ones((1, 1)), np.ones(1), "float64")[1]
        assert gradient == 0


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_samples_of_weight_zero_count_for_nothing(loss):
    rng = np.random.default_rng(2)
    f, y = rng.standard_normal((6, 2)), targets(loss, rng, (6, 2))
    weights = np.array([1.0, 0, 2, 0, 0, 3])
    kept = weights > 0
    total, gradient = compute(loss, f, y, weights, "float64")
    wanted = compute(loss, f[kept], y[kept], weights[kept], "float64")
    np.testing.assert_allclose(total, wanted[0], rtol=1e-15)
    assert np.array_equal(gradient[kept], wanted[1])
    assert not gradient[~kept].any()


def test_a_batch_without_any_weight_has_no_loss_and_no_gradient():
    total, gradient = compute(LOSSES[0], np.ones((3, 2)), np.zeros((3, 2)), np.zeros(3), "float64")
    assert total == 0
    assert not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_past_the_batch_have_no_gradient(dtype):
    """Sums over rows run over whole tiles, so what an earlier, longer batch left must go."""
    f, y = np.ones((TILE_ROWS + 1, 17)), np.zeros((TILE_ROWS + 1, 17))
    out = panels_from(np.full((2 * TILE_ROWS, 17), np.nan), dtype)._replace(rows=TILE_ROWS + 1)
    weights = np.zeros(2 * TILE_ROWS, dtype)
    weights[: TILE_ROWS + 1] = 1
    operands = panels_from(f, dtype), panels_from(y, dtype), weights, float(TILE_ROWS + 1), np.zeros(2), out
    call_piece(loss_address(losses.squared_error, np.dtype(dtype)), 0.0, *operands, False)
    past = matrix_from(out._replace(rows=2 * TILE_ROWS))[TILE_ROWS + 1 :]
    assert not past.any()


@pytest.mark.parametrize("name", losses.NAMES)
def test_nan_is_seen_in_the_loss(name):
    loss = losses.resolve(name)
    for bad in (np.nan, np.inf):
        f = np.array([[bad, 0.0], [0.0, 0.0]])
        y = np.array([[0.0, 1.0], [1.0, 0.0]])
        assert not math.isfinite(compute(loss, f, y, np.ones(2), "float64")[0])


def test_every_loss_has_a_piece():
    assert tuple(PIECES) == losses.NAMES


def test_losses_are_found_by_name_and_their_parameters_set():
    assert losses.resolve("huber") == losses.huber(1.0)
    assert losses.resolve("quantile") == losses.quantile(0.5)
    assert losses.resolve(losses.huber(2.0)).parameter == 2.0


@pytest.mark.parametrize("size", [1e19, 7e18, 2e18])
@pytest.mark.parametrize("outputs", [1, 3, 16, 40])
@pytest.mark.parametrize("n", [8, 33, 200])
def test_the_loss_of_a_float32_batch_is_finite_where_each_loss_is(n, outputs, size):
    """The sum over a batch would overflow float32; the mean does not."""
    size /= np.sqrt(outputs)
    net = fastbp.Network([1, outputs], "float32", seed=0)
    net.set_parameters([np.zeros((outputs, 1))], [np.zeros(outputs)])
    X, y = np.zeros((n, 1)), np.full((n, outputs), size)
    assert net.loss(X, y, "squared_error") == pytest.approx(outputs * size**2 / 2, rel=1e-5)
    assert net.gradients(X, y, "squared_error").loss == pytest.approx(outputs * size**2 / 2, rel=1e-5)
    history = net.fit(X, y, "squared_error", fastbp.SGD(1e-3), batch_size=n, epochs=1)
    assert history.loss[0] == pytest.approx(outputs * size**2 / 2, rel=1e-5)

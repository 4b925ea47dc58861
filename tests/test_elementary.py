"""exp, logarithms and activations of lines are within 2 units in the last place, at both ends of the range too."""

import numpy as np
import pytest

from fastbp.kernels.packing import aligned_zeros
from fastbp.machine import elementary
from fastbp.machine.jit import entry
from fastbp.machine.line import line_length, load, store

DTYPES = ("float32", "float64")


@entry
def exp(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.exp(load(x, at)))


@entry
def log_1p(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.log_1p(load(x, at)))


@entry
def log(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.log(load(x, at)))


@entry
def tanh(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.tanh(load(x, at)))


@entry
def logistic(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.logistic(load(x, at)))


def compute(function, values, dtype):
    x = aligned_zeros(-(-len(values) // 16) * 16, dtype)
    x[:] = 1
    x[: len(values)] = values
    out = np.zeros_like(x)
    function(x, out)
    return x[: len(values)], out[: len(values)]


def assert_within_2_ulp(got, wanted):
    """Compare with a result in more digits: one unit is the distance from `wanted` to the next float."""
    spacing = np.spacing(np.abs(wanted).astype(got.dtype)).astype(np.longdouble)
    assert np.max(np.abs(got.astype(np.longdouble) - wanted) / spacing) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_within_2_ulp(dtype):
    end = 87 if dtype == "float32" else 708
    values = np.concatenate([np.linspace(-end, end, 200_001), np.linspace(-1, 1, 20_001), [0.0, -0.0, 1e-30]])
    x, got = compute(exp, values, dtype)
    assert_within_2_ulp(got, np.exp(x.astype(np.longdouble)))
    assert got[-3] == got[-2] == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_goes_to_zero_and_infinity_and_keeps_nan(dtype):
    _, got = compute(exp, [-np.inf, -1e30, -1e4, np.inf, 1e30, 1e4, np.nan], dtype)
    assert got[:3].max() <= np.finfo(dtype).smallest_subnormal
    assert (got[3:6] == np.inf).all()
    assert np.isnan(got[6])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_1p_is_within_2_ulp_from_0_to_1(dtype):
    values = np.concatenate([np.linspace(0, 1, 100_001), np.geomspace(1e-30, 1, 10_000)])
    x, got = compute(log_1p, values, dtype)
    assert_within_2_ulp(got, np.log1p(x.astype(np.longdouble)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_within_2_ulp_from_1_on(dtype):
    values = np.concatenate([np.linspace(1, 8, 200_001), np.geomspace(1, 1e30, 10_000)])
    x, got = compute(log, values, dtype)
    assert_within_2_ulp(got, np.log(x.astype(np.longdouble)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_1p_keeps_nan(dtype):
    assert np.isnan(compute(log_1p, [np.nan], dtype)[1])
    assert np.isnan(compute(log, [np.nan], dtype)[1])


BOTH_SIDES = np.concatenate([np.linspace(-25, 25, 200_001), np.linspace(-1, 1, 50_001), np.geomspace(1e-30, 1, 10_000)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_within_2_ulp(dtype):
    x, got = compute(tanh, np.append(BOTH_SIDES, 0.0), dtype)
    assert_within_2_ulp(got, np.tanh(x.astype(np.longdouble)))
    assert got[-1] == 0
    assert np.array_equal(compute(tanh, -x, dtype)[1], -got)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logistic_function_is_within_2_ulp(dtype):
    x, got = compute(logistic, BOTH_SIDES, dtype)
    assert_within_2_ulp(got, 1 / (1 + np.exp(-x.astype(np.longdouble))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_go_to_their_limits_and_keep_nan(dtype):
    far = [-np.inf, -1e30, -1e4, 1e4, 1e30, np.inf, np.nan]
    assert compute(tanh, far, dtype)[1][:6].tolist() == [-1, -1, -1, 1, 1, 1]
    assert compute(logistic, far, dtype)[1][3:6].tolist() == [1, 1, 1]
    assert compute(logistic, far, dtype)[1][:3].max() <= np.finfo(dtype).tiny
    assert np.isnan(compute(tanh, far, dtype)[1][6])
    assert np.isnan(compute(logistic, far, dtype)[1][6])

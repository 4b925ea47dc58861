"""exp, logarithms, erf and others of lines are within 2 units in the last place, at both ends of the range too."""

import math

import mpmath
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
def exp_minus_1(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.exp_minus_1(load(x, at)))


@entry
def log(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.log(load(x, at)))


@entry
def log_from_1(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.log_from_1(load(x, at)))


@entry
def log_1p(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.log_1p(load(x, at)))


@entry
def log_1p_of_fraction(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.log_1p_of_fraction(load(x, at)))


@entry
def softplus(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.softplus(load(x, at)))


@entry
def erf(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.erf(load(x, at)))


@entry
def normal_cdf(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.normal_distribution(load(x, at))[0])


@entry
def normal_density(x, out):
    for at in range(0, x.size, line_length(x)):
        store(out, at, elementary.normal_distribution(load(x, at))[1])


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
    x, got = compute(log_1p_of_fraction, values, dtype)
    assert_within_2_ulp(got, np.log1p(x.astype(np.longdouble)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_within_2_ulp_from_1_on(dtype):
    values = np.concatenate([np.linspace(1, 8, 200_001), np.geomspace(1, 1e30, 10_000)])
    x, got = compute(log_from_1, values, dtype)
    assert_within_2_ulp(got, np.log(x.astype(np.longdouble)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_of_a_part_of_the_numbers_keep_nan(dtype):
    assert np.isnan(compute(log_1p_of_fraction, [np.nan], dtype)[1])
    assert np.isnan(compute(log_from_1, [np.nan], dtype)[1])


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


# --- functions of all numbers, compared with 30 digits ------------------------------------------------------


def far(dtype):
    """Return positive numbers of all sizes."""
    end = 37 if dtype == "float32" else 307
    return 10.0 ** np.random.default_rng(0).uniform(-end, end, 1500)


def near(low, high):
    """Return numbers between two ends, those close to 0 among them."""
    values = np.concatenate([np.random.default_rng(1).uniform(low, high, 3000), np.geomspace(1e-30, 1, 200)])
    values = np.append(values, -values)
    return values[(values >= low) & (values <= high)]


def ulps(function, wanted, values, dtype):
    """Return the largest distance from a function of mpmath, in units in the last place."""
    x, got = compute(function, values, dtype)
    with mpmath.workdps(30):
        numbers = [wanted(mpmath.mpf(float(number))) for number in x]
        spacing = np.spacing(np.abs(np.array([float(number) for number in numbers])).astype(dtype))
        return max(float(abs(float(a) - b) / float(unit)) for a, b, unit in zip(got, numbers, spacing, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_is_within_2_ulp(dtype):
    assert ulps(erf, mpmath.erf, near(-7, 7), dtype) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_within_2_ulp(dtype):
    values = np.concatenate([far(dtype), 1 + near(-0.9, 1), [np.finfo(dtype).max, np.finfo(dtype).tiny]])
    assert ulps(log, mpmath.log, values, dtype) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_1p_is_within_2_ulp(dtype):
    values = np.concatenate([far(dtype), near(-0.99, 3), [np.finfo(dtype).eps / 2 - 1, np.finfo(dtype).max]])
    assert ulps(log_1p, mpmath.log1p, values, dtype) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_minus_1_is_within_2_ulp(dtype):
    end = 88.7 if dtype == "float32" else 709.7
    assert ulps(exp_minus_1, mpmath.expm1, np.concatenate([near(-end, end), near(-1, 1)]), dtype) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_softplus_is_within_2_ulp(dtype):
    end = 87 if dtype == "float32" else 708
    values = np.concatenate([near(-end, end), near(-4, 4)])
    assert ulps(softplus, lambda x: mpmath.log1p(mpmath.exp(x)), values, dtype) <= 2


def phi(x):
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def upper_phi(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


@pytest.mark.parametrize(("dtype", "end", "tail_ulps"), [("float32", 12.9, 5), ("float64", 37.4, 7)])
def test_the_normal_distribution_keeps_its_digits_in_both_tails(dtype, end, tail_ulps):
    assert ulps(normal_density, phi, near(-end, end), dtype) <= 3
    assert ulps(normal_cdf, upper_phi, near(0, end), dtype) <= 2
    assert ulps(normal_cdf, upper_phi, near(-end, 0), dtype) <= tail_ulps
    assert compute(normal_cdf, [0.0, -0.0], dtype)[1].tolist() == [0.5, 0.5]


LIMITS = [-np.inf, -1e30, -1000, 1000, 1e30, np.inf]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "at_limits"),
    [
        (erf, [-1, -1, -1, 1, 1, 1]),
        (exp_minus_1, [-1, -1, -1, math.inf, math.inf, math.inf]),
        (softplus, [0, 0, 0, 1000, 1e30, math.inf]),
        (normal_cdf, [0, 0, 0, 1, 1, 1]),
        (normal_density, [0, 0, 0, 0, 0, 0]),
        (log, [math.nan, math.nan, math.nan, math.log(1000), math.log(1e30), math.inf]),
        (log_1p, [math.nan, math.nan, math.nan, math.log(1001), math.log(1e30), math.inf]),
    ],
    ids=lambda argument: getattr(argument, "__name__", ""),
)
def test_functions_go_to_their_limits_and_keep_nan(function, at_limits, dtype):
    got = compute(function, [*LIMITS, np.nan], dtype)[1]
    np.testing.assert_allclose(got[:6], np.array(at_limits, dtype), rtol=4 * np.finfo(dtype).eps)
    assert np.isnan(got[6])


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_know_zero_and_numbers_below_the_normal_ones(dtype):
    small = np.finfo(dtype).smallest_subnormal
    x, got = compute(log, [small, small * 5, 0.0, -0.0, -small], dtype)
    np.testing.assert_allclose(got[:2], np.log(x[:2]), rtol=4 * np.finfo(dtype).eps)
    assert got[2] == got[3] == -np.inf
    assert np.isnan(got[4])
    x, got = compute(log_1p, [-1.0, small, 0.0], dtype)
    assert got.tolist() == [-np.inf, x[1], 0]

"""Loops over a user's function are vectorised, and exp and others in them agree with the C library's."""

import math
import re

import numba
import numpy as np
import pytest

from fastbp.machine import jit, scalar_code

DTYPES = ("float32", "float64")
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def loop_over(function):
    """Return a compiled function of two arrays, which fills the second."""
    formula = jit.inlined(function)

    def loop(x, out):
        for k in range(x.size):
            out[k] = formula(x[k])

    return numba.njit(**jit.OPTIONS, **scalar_code.SCALAR_CODE)(loop)


def computed(function, values, dtype):
    x = np.array(values, dtype)
    out = np.zeros_like(x)
    loop_over(function)(x, out)
    return x, out


ERF = np.vectorize(math.erf)
# Each with the C library's results by NumPy, and the ends of its range.
FUNCTIONS = {
    "exp": (lambda x: math.exp(x), np.exp, (-80, 80)),
    "exp of numpy": (lambda x: np.exp(x), np.exp, (-80, 80)),
    "expm1": (lambda x: math.expm1(x), np.expm1, (-80, 80)),
    "expm1 of numpy": (lambda x: np.expm1(x), np.expm1, (-1, 1)),
    "log": (lambda x: math.log(x), np.log, (1e-30, 4)),
    "log of numpy": (lambda x: np.log(x), np.log, (1e-30, 1e30)),
    "log1p": (lambda x: math.log1p(x), np.log1p, (-0.999, 4)),
    "log1p of numpy": (lambda x: np.log1p(x), np.log1p, (-0.999, 1e30)),
    "tanh": (lambda x: math.tanh(x), np.tanh, (-20, 20)),
    "tanh of numpy": (lambda x: np.tanh(x), np.tanh, (-1, 1)),
    "erf": (lambda x: math.erf(x), ERF, (-6, 6)),
    "sqrt": (lambda x: math.sqrt(x), np.sqrt, (0, 1e30)),
    "sqrt of numpy": (lambda x: np.sqrt(x), np.sqrt, (0, 4)),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)
SPECIAL = [math.inf, -math.inf, math.nan, 0.0, -0.0, -0.5, -1.0, -2.0, 1.0, 1e30, -1e30, 800.0, -800.0]


@each_function
@each_dtype
def test_results_are_within_2_ulp_of_the_c_library(name, dtype):
    function, by_libm, (low, high) = FUNCTIONS[name]
    random = np.random.default_rng(0)
    x, got = computed(
        function, np.append(random.uniform(low, high, 5000), random.uniform(max(low, -1), 1, 5000)), dtype
    )
    valid = x >= low
    wanted = by_libm(x[valid].astype("float64"))
    assert np.max(np.abs(got[valid] - wanted) / np.spacing(np.abs(wanted).astype(dtype))) <= 3


@each_function
@each_dtype
def test_special_numbers_have_the_results_of_the_c_library(name, dtype):
    function, by_libm, _ = FUNCTIONS[name]
    small = np.finfo(dtype).smallest_subnormal
    x, got = computed(function, [*SPECIAL, small, 100 * small, np.finfo(dtype).max], dtype)
    with np.errstate(all="ignore"):
        wanted = by_libm(x.astype("float64")).astype(dtype)
    np.testing.assert_allclose(got, wanted, rtol=4 * np.finfo(dtype).eps, atol=small)


@each_function
@each_dtype
def test_a_loop_with_a_call_is_vectorised(name, dtype):
    function, _, _ = FUNCTIONS[name]
    loop = loop_over(function)
    x = np.ones(8, dtype)
    loop(x, x.copy())
    (code,) = loop.inspect_llvm().values()
    number = "float" if dtype == "float32" else "double"
    assert re.search(rf"= (fmul|fsub|fadd|fdiv|(tail )?call)[^\n]*<\d+ x {number}>", code)
    assert not re.search(rf"call [^\n]*@(llvm\.)?({name.split()[0]})f?\(", code)


@numba.njit
def of_another(x):
    return math.log1p(math.exp(-abs(x))) + math.tanh(x) * math.erf(x) + math.expm1(x / 8) * math.log(x + 2)


def test_calls_in_large_functions_and_of_both_kinds_are_vectorised():
    def function(x):
        twice = of_another(x) + of_another(2 * x)
        return twice + of_another(3 * x) + math.sqrt(x) + np.sqrt(x) + math.exp(x) + np.exp(x)

    of_another(1.0)  # a function that is compiled before has its own options
    x = np.linspace(0, 3, 37)
    by_python = of_another.py_func
    wanted = [sum(by_python(k * t) for k in (1, 2, 3)) + 2 * np.sqrt(t) + 2 * np.exp(t) for t in x]
    loop = loop_over(function)
    out = np.zeros_like(x)
    loop(x, out)
    np.testing.assert_allclose(out, wanted, rtol=1e-14)
    (code,) = loop.inspect_llvm().values()
    assert re.search(r"call [^\n]*<\d+ x double> @llvm\.fma\.v", code)


def test_other_functions_of_the_c_library_stay_right():
    x, got = computed(lambda x: math.sin(x) + math.exp(x) + math.cosh(x), np.linspace(-2, 2, 21), "float64")
    np.testing.assert_allclose(got, np.sin(x) + np.exp(x) + np.cosh(x), rtol=1e-14)


def test_a_loop_may_raise_an_exception():
    def function(x):
        if x < 0:
            raise ValueError("negative")
        return math.exp(x)

    with pytest.raises(ValueError, match="negative"):
        computed(function, [1.0, -1.0], "float64")
    assert computed(function, [1.0], "float64")[1] == pytest.approx(math.e, rel=1e-15)

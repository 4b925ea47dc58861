"""Lines and tiles compute what NumPy does, lane by lane, and compile to the machine's own vectors."""

import inspect
import re

import numba
import numpy as np
import pytest

from fastbp.kernels import dense as kernels
from fastbp.kernels.packing import panels_from
from fastbp.machine import compiler
from fastbp.machine.arithmetic import fma_along, fma_down, relu, square_root, sum_rows, transpose, where_positive
from fastbp.machine.jit import OPTIONS, entry
from fastbp.machine.line import TILE_ROWS, _target_features, line_length, load, load_tile, store, tile, zero_tile

DTYPES = ("float32", "float64")


@entry
def arithmetic(x, out):
    lanes = line_length(x)
    a, b = load(x, 0), load(x, lanes)
    store(out, 0, a + b)
    store(out, lanes, a - b)
    store(out, 2 * lanes, a * 2)
    store(out, 3 * lanes, 1 / b)
    store(out, 4 * lanes, relu(a))
    store(out, 5 * lanes, where_positive(a, b))
    store(out, 6 * lanes, square_root(b))
    store(out, 7 * lanes, tile(a, 3) * b - load_tile(x, 0, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic_is_numpys_lane_by_lane(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    x = np.random.default_rng(0).standard_normal(3 * lanes).astype(dtype)
    x[lanes : 2 * lanes] = np.abs(x[lanes : 2 * lanes]) + 0.1
    a, b, _ = x.reshape(3, lanes)
    out = np.zeros(10 * lanes, dtype)
    arithmetic(x, out)
    rows = [a + b, a - b, a * 2, 1 / b, np.maximum(a, 0), np.where(a > 0, b, 0), np.sqrt(b)]
    np.testing.assert_array_equal(out[: 7 * lanes].reshape(7, lanes), rows)
    np.testing.assert_allclose(out[7 * lanes :].reshape(3, lanes), a * b - x.reshape(3, lanes), atol=1e-6)


@entry
def outer_products(x, y, out):
    lanes = line_length(x)
    line = load(y, 0)
    store(out, 0, fma_down(zero_tile(x, 4), x, 0, line))
    store(out, 4 * lanes, fma_along(tile(line, 4), x, 0, line))
    store(out, 8 * lanes, sum_rows(load_tile(x, 0, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_outer_products_take_their_factors_down_a_panel_or_along_a_line(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, size).astype(dtype) for size in (4 * lanes, lanes))
    out = np.zeros(9 * lanes, dtype)
    outer_products(x, y, out)
    rows = x.reshape(4, lanes)
    assert np.array_equal(out[: 4 * lanes].reshape(4, lanes), np.outer(rows[:, 0], y))
    assert np.array_equal(out[4 * lanes : 8 * lanes].reshape(4, lanes), np.outer(x[:4], y) + y)
    assert np.array_equal(out[8 * lanes :], rows.sum(0))


@entry
def transpose_square(x, out):
    store(out, 0, transpose(load_tile(x, 0, line_length(x))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_is_transposed(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    x, out = np.arange(lanes * lanes).astype(dtype), np.zeros(lanes * lanes, dtype)
    transpose_square(x, out)
    assert np.array_equal(out.reshape(lanes, lanes), x.reshape(lanes, lanes).T)


def innermost_loops(assembly):
    """Return the instructions between a label and the first jump back to it, where no other label stands between."""
    loops, label, body = [], None, []
    for line in (raw.strip() for raw in assembly.splitlines()):
        if found := re.match(r"(\.L\w+):", line):
            label, body = found[1], []
        elif label and re.match(rf"j\w+\s+{re.escape(label)}$", line):
            loops.append(body)
            label, body = None, []
        else:
            body.append(line)
    return loops


@pytest.mark.skipif("+fma" not in _target_features().split(","), reason="reads x86 assembly with FMA")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["linear_relu_forward", "backward_input", "backward_parameters", "sgd_update_weights"])
def test_the_innermost_loop_is_fused_multiply_adds_without_a_spill(name, dtype):
    kernel = numba.njit(**OPTIONS, **compiler.ENTRY)(getattr(kernels, name).py_func)  # code from a cache cannot be read
    matrix = panels_from(np.zeros((33, 33)), dtype)
    numbers = (0.1, 0.1) if name == "sgd_update_weights" else ()
    operands = [matrix] * (len(inspect.signature(kernel.py_func).parameters) - len(numbers))
    kernel(*operands[:2], *numbers, *operands[2:])
    loops = innermost_loops(kernel.inspect_asm(kernel.signatures[0]))
    products = [loop for loop in loops if sum("vfmadd" in line for line in loop) >= TILE_ROWS]
    assert products, "no loop of fused multiply-adds was found"
    for loop in products:
        assert not [line for line in loop if "(%rsp)" in line], "a register is spilled in the loop"

"""Shuffling is a fair permutation and repeats itself; gathering puts each row in its place."""

import itertools
import math

import numpy as np
import pytest

from fastbp.kernels import rows as batches
from fastbp.kernels import shuffling
from fastbp.kernels.packing import lanes_of, matrix_from, padded_rows, panels_from, target_rows
from fastbp.kernels.rows import gather_classes, gather_rows, gather_weights, load_rows, scatter_outputs
from fastbp.kernels.shuffling import random_bits, shuffle, shuffle_like_numpy


def xoshiro(state):
    """xoshiro256++ in Python's unbounded integers, after the authors' C code."""
    mask = 2**64 - 1

    def rotate(x, k):
        return ((x << k) | (x >> (64 - k))) & mask

    result = (rotate((state[0] + state[3]) & mask, 23) + state[0]) & mask
    t = (state[1] << 17) & mask
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= t
    state[3] = rotate(state[3], 45)
    return result


def test_random_bits_are_those_of_xoshiro256():
    state = shuffling.random_state(7)
    twin = [int(word) for word in state]
    assert [int(random_bits(state)) for _ in range(1000)] == [xoshiro(twin) for _ in range(1000)]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_shuffling_permutes(n):
    order, state = np.zeros(n, np.int64), shuffling.random_state(0)
    shuffle(order, order.size, state)
    assert sorted(order) == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 63, 64, 65, 1000, 20_000])
def test_shuffling_like_numpy_is_numpys(n):
    random = np.random.RandomState(n)
    random.random_sample(n % 7)  # so the state is somewhere within a block of words
    _, words, position, *_ = random.get_state()
    state, order, wanted = np.append(words, position).astype(np.uint64), np.arange(n), np.arange(n)
    for _ in range(3):
        shuffle_like_numpy(order, n, state)
        random.shuffle(wanted)
        assert np.array_equal(order, wanted)
    _, words, position, *_ = random.get_state()
    assert np.array_equal(state, np.append(words, position))


def test_every_permutation_is_equally_likely():
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    order, state, draws = np.zeros(4, np.int64), shuffling.random_state(1), 24_000
    for _ in range(draws):
        shuffle(order, order.size, state)
        counts[tuple(int(i) for i in order)] += 1
    expected = draws / math.factorial(4)
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 49.7  # the 0.1 % point of chi squared with 23 degrees of freedom


def test_the_same_seed_gives_the_same_order_and_others_another():
    orders = []
    for seed in (5, 5, 6):
        order = np.zeros(50, np.int64)
        shuffle(order, order.size, shuffling.random_state(seed))
        orders.append(order.tolist())
    assert orders[0] == orders[1] != orders[2]
    assert shuffling.random_state(None).tolist() != shuffling.random_state(None).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 33])
def test_rows_are_gathered_in_order_and_scattered_back(columns, dtype):
    rng = np.random.default_rng(0)
    source = rng.standard_normal((20, columns)).astype(dtype)
    order = rng.permutation(20)
    out = panels_from(np.zeros((7, columns)), dtype)
    gather_rows(padded_rows(source, dtype), order, 5, out)
    assert np.array_equal(matrix_from(out), source[order[5:12]])
    back = np.empty((7, columns), dtype)
    scatter_outputs(out, back, False)
    assert np.array_equal(back, source[order[5:12]])


@pytest.mark.parametrize("classes", [2, 16, 17])
def test_classes_are_gathered_one_hot(classes):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, classes, 30)
    order = rng.permutation(30)
    out = panels_from(np.full((9, classes), np.nan), "float32")
    gather_classes(numbers, order, 4, out, False)
    assert np.array_equal(matrix_from(out), np.eye(classes)[numbers[order[4:13]]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_narrow_targets_are_gathered_with_lines_along_the_batch(outputs, dtype):
    rng = np.random.default_rng(0)
    source, order = rng.standard_normal((30, outputs)).astype(dtype), rng.permutation(30)
    out = panels_from(np.zeros((outputs, 19)), dtype)
    batches.gather_targets(target_rows(source, dtype), order, 5, out, True)
    assert np.array_equal(matrix_from(out).T, source[order[5:24]])
    back = np.empty((19, outputs), dtype)
    batches.scatter_outputs(out, back, True)
    assert np.array_equal(back, source[order[5:24]])
    numbers = rng.integers(0, outputs, 30)
    batches.gather_classes(numbers, order, 5, out, True)
    assert np.array_equal(matrix_from(out).T, np.eye(outputs)[numbers[order[5:24]]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_gathered_and_zero_past_the_batch(dtype):
    order, out = np.arange(10)[::-1].copy(), np.full(40, np.nan, dtype)
    gather_weights(np.arange(10).astype(dtype), True, order, 2, 3, out, 16)
    assert out[16 : 16 + lanes_of(dtype)].tolist() == [7, 6, 5] + [0] * (lanes_of(dtype) - 3)
    gather_weights(np.zeros(0, dtype), False, order, 2, 3, out, 16)
    assert out[16 : 16 + lanes_of(dtype)].tolist() == [1, 1, 1] + [0] * (lanes_of(dtype) - 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 33])
def test_plain_rows_are_loaded_and_what_is_not_finite_is_seen(columns, dtype):
    source = np.random.default_rng(0).standard_normal((20, columns)).astype(dtype)
    out = panels_from(np.full((7, columns), np.nan), dtype)
    assert load_rows(source, 5, out)
    assert np.array_equal(matrix_from(out), source[5:12])
    for bad in (np.nan, np.inf, -np.inf):
        for place in ((5, 0), (11, columns - 1)):
            spoilt = source.copy()
            spoilt[place] = bad
            assert not load_rows(spoilt, 5, out)

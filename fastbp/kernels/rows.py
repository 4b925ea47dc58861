"""One minibatch after another: rows shuffled, and gathered into panels.

The random state is four numbers in an array, so that a run can be stopped, saved and resumed to the bit. This file
must not know what the rows are used for.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.kernels.layout import Floats, Integers, Panels, element_at
from fastbp.machine.arithmetic import keep_lanes, sum_lanes
from fastbp.machine.jit import inlined, jitable, njit
from fastbp.machine.line import line_length, load, pointer, store, zero_line

RandomState = npt.NDArray[np.uint64]


class Table(NamedTuple):
    """The rows to train on. Rows of `x` are whole lines, zero past their D_0 numbers."""

    x: Floats  # (n * ⌈D_0⌉,)
    y: Floats  # as `layout.target_rows` lays it, or empty where classes are given
    classes: Integers  # (n,): class numbers, or empty
    sample_weights: Floats  # (n,), or empty where all weigh 1
    rows: int  # n


class TableAddresses(NamedTuple):
    """The same by addresses, of which nobody counts references; see `layout.addresses_of`."""

    x: Floats
    y: Floats
    classes: Integers
    sample_weights: Floats
    has_classes: bool
    has_weights: bool


@jitable
def table_addresses(table: Table) -> TableAddresses:
    """Return a table's addresses, for kernels; its owner must outlive them."""
    x, y, classes, weights, _ = table
    return TableAddresses(
        pointer(x), pointer(y), pointer(classes), pointer(weights), classes.size > 0, weights.size > 0
    )


MERSENNE_TWISTER = 624  # words of its state, behind which lies how many are used up


def random_state(seed: int | None) -> RandomState:
    """Return the state that `seed` stands for; fresh from the operating system for None."""
    return np.random.SeedSequence(seed).generate_state(4, np.uint64).astype(np.uint64, copy=False)


def mersenne_twister(random: np.random.RandomState) -> RandomState:
    """Return the state of NumPy's generator, with which `shuffle_like_numpy` goes on as its `shuffle` would."""
    state: Any = random.get_state(legacy=False)
    return np.append(state["state"]["key"], state["state"]["pos"]).astype(np.uint64)


@njit
def _rotate(bits: np.uint64, by: np.uint64) -> np.uint64:
    return (bits << by) | (bits >> (np.uint64(64) - by))


@njit
def random_bits(state: RandomState) -> np.uint64:
    """Return 64 random bits: xoshiro256++ (Blackman and Vigna 2021, ACM TOMS 47(4))."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    bits = _rotate(a + d, np.uint64(23)) + a
    state[0] = a ^ b ^ d
    state[1] = a ^ b ^ c
    state[2] = a ^ c ^ (b << np.uint64(17))
    state[3] = _rotate(b ^ d, np.uint64(45))
    return bits


@njit
def shuffle(order: Integers, n: int, state: RandomState) -> None:
    """Write a random permutation of 0, …, n − 1 (Fisher and Yates; n below 2³²)."""
    for i in range(n):
        # The upper 32 bits times i + 1, of which the upper half is uniform over 0, …, i to within i / 2³².
        j = np.int64(((random_bits(state) >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        order[i] = order[j]
        order[j] = i


@njit
def _mersenne_bits(state: RandomState) -> np.uint64:
    """Return 32 random bits as NumPy's RandomState does: MT19937 (Matsumoto and Nishimura 1998, ACM TOMACS 8(1))."""
    words, one = MERSENNE_TWISTER, np.uint64(1)
    if state[words] >= words:
        for k in range(words):
            following, far = k + 1 if k < words - 1 else 0, k + 397 if k < words - 397 else k + 397 - words
            bits = (state[k] & np.uint64(0x80000000)) | (state[following] & np.uint64(0x7FFFFFFF))
            twisted = (bits >> one) ^ (np.uint64(0x9908B0DF) if bits & one else np.uint64(0))
            state[k] = state[far] ^ twisted
        state[words] = 0
    bits = state[np.int64(state[words])]
    state[words] += one
    bits ^= bits >> np.uint64(11)
    bits ^= (bits << np.uint64(7)) & np.uint64(0x9D2C5680)
    bits ^= (bits << np.uint64(15)) & np.uint64(0xEFC60000)
    return bits ^ (bits >> np.uint64(18))


@njit
def shuffle_like_numpy(order: Integers, n: int, state: RandomState) -> None:
    """Permute order[:n] as `RandomState.shuffle` does: n below 2³², drawn within the least power of 2 until it fits."""
    mask = np.uint64(0)
    while np.int64(mask) < n - 1:
        mask = mask << np.uint64(1) | np.uint64(1)
    for i in range(n - 1, 0, -1):
        while i <= np.int64(mask >> np.uint64(1)):
            mask >>= np.uint64(1)
        j = np.int64(_mersenne_bits(state) & mask)
        while j > i:
            j = np.int64(_mersenne_bits(state) & mask)
        order[i], order[j] = order[j], order[i]


@njit
def gather_rows(
    source: Floats,  # rows of whole lines
    order: Integers,  # which rows, from `first` on
    first: int,
    out: Panels,  # (n, D)
) -> None:
    """out[r] = source[order[first + r]]."""
    lanes = line_length(source)
    width = (out.columns + lanes - 1) // lanes * lanes
    for row in range(out.rows):
        source_at = order[first + row] * width
        out_at = out.at + row * lanes
        for column in range(0, width, lanes):
            store(out.data, out_at, load(source, source_at + column))
            out_at += out.stride


@njit
def load_plain_rows(
    source: Floats,  # (n, D), plain rows
    first: int,  # which, from here on
    out: Panels,  # (n, D)
) -> bool:
    """out[r] = source[first + r]; return whether all of them are finite."""
    lanes, columns = line_length(source), out.columns
    start, whole = pointer(source), columns - columns % lanes
    not_finite = zero_line(source)
    for row in range(out.rows):
        at = (first + row) * columns
        for column in range(0, whole, lanes):
            numbers = load(start, at + column)
            not_finite = not_finite + numbers * 0  # which is 0, or NaN for an infinity or NaN
            store(out.data, element_at(out, row, column), numbers)
        if whole < columns:
            last = element_at(out, row, whole)
            store(out.data, last, zero_line(source))
            for column in range(columns - whole):
                out.data[last + column] = start[at + whole + column]
            not_finite = not_finite + load(out.data, last) * 0
    return sum_lanes(not_finite) == 0


@inlined
def gather_targets(
    source: Floats,  # rows as `layout.target_rows` lays them
    order: Integers,  # which rows, from `first` on
    first: int,
    out: Panels,  # (n, C), or (C, n) where narrow
    narrow: bool,
) -> None:
    """out[r] = source[order[first + r]]."""
    if not narrow:
        gather_rows(source, order, first, out)
        return
    for row in range(out.columns):
        for o in range(out.rows):
            out.data[element_at(out, o, row)] = source[order[first + row] * out.rows + o]


@njit
def gather_classes(
    classes: Integers,  # class numbers
    order: Integers,  # which rows, from `first` on
    first: int,
    out: Panels,  # (n, C), or (C, n) where narrow
    narrow: bool,
) -> None:
    """out[r] = the one-hot row of classes[order[first + r]]."""
    rows, n_classes = (out.columns, out.rows) if narrow else (out.rows, out.columns)
    for row in range(rows):
        number = classes[order[first + row]]
        for o in range(n_classes):
            out.data[element_at(out, o, row) if narrow else element_at(out, row, o)] = 1 if o == number else 0


@njit
def gather_weights(
    source: Floats,  # sample weights, unless all are 1
    are_given: bool,
    order: Integers,  # which rows, from `first` on
    first: int,
    count: int,
    out: Floats,
    at: int,
) -> None:
    """out[at + r] = source[order[first + r]], and 0 to the end of the last line."""
    lanes = line_length(out)
    for row in range(0, count, lanes):
        store(out, at + row, keep_lanes(zero_line(out) + 1, count - row, 0))
    if are_given:
        for row in range(count):
            out[at + row] = source[order[first + row]]


@njit
def scatter_outputs(
    source: Panels,  # (n, C), or (C, n) where narrow
    out: Floats,  # (n, C), plain rows
    narrow: bool,
) -> None:
    """out[r, o] = source[r, o]."""
    for row in range(out.shape[0]):
        for o in range(out.shape[1]):
            out[row, o] = source.data[element_at(source, o, row) if narrow else element_at(source, row, o)]

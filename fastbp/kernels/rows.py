"""Rows to train on, gathered into the panels of one minibatch, and outputs scattered back to rows.

This file must not know what the rows are used for, nor how their order is drawn.
"""

from typing import NamedTuple

import numpy as np

from fastbp._typing import Floats, Integers
from fastbp.kernels.layout import Panels, element_at
from fastbp.machine.arithmetic import keep_lanes, sum_lanes
from fastbp.machine.jit import inlined, jitable, njit
from fastbp.machine.line import line_length, load, pointer, store, zero_line

_NOTHING = np.zeros(0, np.int64)


class TrainingRows(NamedTuple):
    """The rows to train on, or to evaluate."""

    x: Floats  # (n,) rows of whole lines, as `packing.padded_rows` lays them out, or stored in another way
    y: Floats  # (n,) rows, as `packing.target_rows` lays them out, or empty if classes are given
    classes: Integers  # (n,): class numbers, or empty
    sample_weights: Floats  # (n,), or empty if every row has the weight 1
    rows: int  # n
    storage: Integers = _NOTHING  # how x is stored: from `expansion.span_table` or `strided.storage_of`
    gather: int = 0  # the address of `expansion.EXPANSION` or `strided.STRIDED`; 0 for rows of whole lines


class TrainingRowAddresses(NamedTuple):
    """The same rows with addresses instead of arrays; see `layout.addresses_of`."""

    x: Floats
    y: Floats
    classes: Integers
    sample_weights: Floats
    has_classes: bool
    has_weights: bool
    storage: Integers
    gather: int


@jitable
def training_row_addresses(rows: TrainingRows) -> TrainingRowAddresses:
    """Return the addresses of rows, for kernels. The caller keeps the arrays alive."""
    x, y, classes, weights, _, storage, gather = rows
    arrays = pointer(x), pointer(y), pointer(classes), pointer(weights)
    return TrainingRowAddresses(*arrays, classes.size > 0, weights.size > 0, pointer(storage), gather)


@njit
def gather_rows(
    source: Floats,  # rows of whole lines
    order: Integers,  # which rows of the source, from order[first] on
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
def load_rows(
    source: Floats,  # (n, D), row by row without padding
    first: int,  # the first row to load
    out: Panels,  # (n, D)
) -> bool:
    """out[r] = source[first + r]. Return whether all of these numbers are finite."""
    lanes, columns = line_length(source), out.columns
    start, whole = pointer(source), columns - columns % lanes
    not_finite = zero_line(source)
    for row in range(out.rows):
        at = (first + row) * columns
        for column in range(0, whole, lanes):
            numbers = load(start, at + column)
            not_finite = not_finite + numbers * 0  # 0, or NaN for an infinity or NaN
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
    source: Floats,  # rows as `packing.target_rows` lays them out
    order: Integers,  # which rows of the source, from order[first] on
    first: int,
    out: Panels,  # (n, C), or (C, n) of a narrow output
    narrow_output: bool,
) -> None:
    """out[r] = source[order[first + r]]."""
    if not narrow_output:
        gather_rows(source, order, first, out)
        return
    for row in range(out.columns):
        for o in range(out.rows):
            out.data[element_at(out, o, row)] = source[order[first + row] * out.rows + o]


@njit
def gather_classes(
    classes: Integers,  # class numbers
    order: Integers,  # which rows of the source, from order[first] on
    first: int,
    out: Panels,  # (n, C), or (C, n) of a narrow output
    narrow_output: bool,
) -> None:
    """out[r, o] = 1 for o = classes[order[first + r]], and 0 for the others."""
    rows, n_classes = (out.columns, out.rows) if narrow_output else (out.rows, out.columns)
    for row in range(rows):
        number = classes[order[first + row]]
        for o in range(n_classes):
            out.data[element_at(out, o, row) if narrow_output else element_at(out, row, o)] = 1 if o == number else 0


@njit
def gather_weights(
    source: Floats,  # sample weights, or nothing if all of them are 1
    are_given: bool,
    order: Integers,  # which rows of the source, from order[first] on
    first: int,
    count: int,
    out: Floats,
    at: int,
) -> None:
    """out[at + r] = source[order[first + r]], and 0 from there to the end of the last line."""
    lanes = line_length(out)
    for row in range(0, count, lanes):
        store(out, at + row, keep_lanes(zero_line(out) + 1, count - row, 0))
    if are_given:
        for row in range(count):
            out[at + row] = source[order[first + row]]


@njit
def scatter_outputs(
    source: Panels,  # (n, C), or (C, n) of a narrow output
    out: Floats,  # (n, C)
    narrow_output: bool,
) -> None:
    """out[r, o] = source[r, o]."""
    for row in range(out.shape[0]):
        for o in range(out.shape[1]):
            out[row, o] = source.data[element_at(source, o, row) if narrow_output else element_at(source, row, o)]

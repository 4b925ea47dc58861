"""Rows of a matrix that somebody else keeps, such as a memory map, gathered without a copy of the matrix.

This file must not know who keeps the matrix.
"""

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels.layout import Panels
from fastbp.kernels.stored_rows import types_of
from fastbp.machine.arithmetic import keep_lanes
from fastbp.machine.jit import njit
from fastbp.machine.line import line_length, load, store, zero_line
from fastbp.machine.piece import Piece


def storage_of(matrix: npt.NDArray[np.floating]) -> Integers:
    """Return what `gather_strided` must know of a (n, D) matrix: numbers from row to row, and numbers in all."""
    n, columns = matrix.shape
    stride = matrix.strides[0] // matrix.itemsize  # of no meaning for a single row
    return np.array([stride, (n - 1) * stride + columns])


@njit
def gather_strided(
    source: Floats,  # the matrix; the numbers of a row lie next to each other
    storage: Integers,  # from `storage_of`
    order: Integers,  # which rows of the source, from order[first] on
    first: int,
    out: Panels,  # (n, D)
) -> None:
    """out[r] = source[order[first + r]]."""
    lanes, stride, end = line_length(out.data), storage[0], storage[1]
    whole = out.columns - out.columns % lanes
    for row in range(out.rows):
        source_at = order[first + row] * stride
        out_at = out.at + row * lanes
        for column in range(0, whole, lanes):
            store(out.data, out_at, load(source, source_at + column))
            out_at += out.stride
        source_at += whole
        left = out.columns - whole
        if left > 0 and source_at + lanes <= end:
            store(out.data, out_at, keep_lanes(load(source, source_at), left, 0))
        elif left > 0:  # a whole line would reach behind the matrix
            store(out.data, out_at, zero_line(out.data))
            for column in range(left):
                out.data[out_at + column] = source[source_at + column]


def _gather(source: Floats, storage: Integers, order: Integers, first: int, out: Panels) -> None:
    gather_strided(source, storage, order, first, out)


STRIDED = Piece(_gather, types_of, "gather_strided")

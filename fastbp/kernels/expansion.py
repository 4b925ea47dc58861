"""Rows that are stored as codes, expanded to inputs while the panels of one minibatch are filled.

The stored row is a tenth as long as the inputs or shorter, so that large tables fit the memory. `codes` says what is
stored. This file must not know what a column is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels.codes import BINS, VALUE, Span
from fastbp.kernels.layout import Panels
from fastbp.kernels.stored_rows import types_of
from fastbp.machine.arithmetic import keep_lanes, maximum, minimum
from fastbp.machine.jit import njit
from fastbp.machine.line import line_length, load, store, zero_line
from fastbp.machine.piece import Piece

_HEAD, _ENTRY = 2, 4  # whole numbers before the first span, and of a span


def span_table(spans: Sequence[Span], stored: int) -> npt.NDArray[np.int64]:
    """Return spans, in the order of their inputs, for `expand_rows`; a row has `stored` numbers.

    The table holds `stored`, the number of spans, and then the kind, the place, the first input and the width of each.
    """
    firsts = np.cumsum([0, *(span.width for span in spans)])
    entries = [(span.kind, span.place, first, span.width) for span, first in zip(spans, firsts[:-1], strict=True)]
    return np.concatenate([[stored, len(spans)], np.array(entries, np.int64).reshape(-1)])


@njit
def _expand_lines(
    source: Floats,
    order: Integers,
    at: int,  # order[at] is the first row
    stored: int,
    place: int,
    is_bins: bool,
    column: int,  # of the span's first input
    width: int,
    numbers: Any,  # the line 0, 1, 2, …
    out: Panels,
) -> None:
    """Write the inputs of one span, and zeros from there to the end of its last line."""
    lanes, one = line_length(out.data), zero_line(out.data) + 1
    for start in range(column // lanes * lanes, column + width, lanes):
        t = numbers + (start - column)
        before = keep_lanes(one, column - start, 0)  # 1 for the inputs of earlier spans
        inside = keep_lanes(one, column + width - start, 0) - before
        out_at = out.at + start // lanes * out.stride
        for row in range(out.rows):
            source_at = order[at + row] * stored + place
            k = source[source_at]
            distance = zero_line(out.data) + k - t
            if is_bins:
                largest = zero_line(out.data) + (1 if k >= 0 else 0)
                inputs = minimum(distance + distance + source[source_at + 1], largest)
                inputs = maximum(inputs, zero_line(out.data) - largest)
            else:
                inputs = maximum(minimum(distance, zero_line(out.data) - distance) + 1, zero_line(out.data))
            store(out.data, out_at, inputs * inside + load(out.data, out_at) * before)
            out_at += lanes


@njit
def expand_rows(
    source: Floats,  # rows of stored numbers
    spans: Integers,  # from `span_table`
    order: Integers,  # which rows of the source, from order[first] on
    first: int,
    out: Panels,  # (n, D)
) -> None:
    """out[r] = the inputs that source[order[first + r]] stands for."""
    lanes, stored = line_length(out.data), spans[0]
    one = zero_line(out.data) + 1
    numbers = zero_line(out.data)
    for lane in range(1, lanes):
        numbers = numbers + one - keep_lanes(one, lane, 0)
    last = out.at + (out.columns - 1) // lanes * out.stride
    for row in range(out.rows):
        store(out.data, last + row * lanes, zero_line(out.data))
    for span in range(_HEAD, _HEAD + _ENTRY * spans[1], _ENTRY):
        kind, place, column, width = spans[span], spans[span + 1], spans[span + 2], spans[span + 3]
        if kind == VALUE:
            out_at = out.at + column // lanes * out.stride + column % lanes
            for row in range(out.rows):
                out.data[out_at + row * lanes] = source[order[first + row] * stored + place]
        else:
            _expand_lines(source, order, first, stored, place, kind == BINS, column, width, numbers, out)


# --- the piece ----------------------------------------------------------------------------------------------


def _expand(source: Floats, spans: Integers, order: Integers, first: int, out: Panels) -> None:
    expand_rows(source, spans, order, first, out)


EXPANSION = Piece(_expand, types_of, "expand_rows")

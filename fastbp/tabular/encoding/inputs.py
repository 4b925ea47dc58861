"""The encoding of a table as the inputs of a network: which columns are used, and how each of them is encoded.

It knows cells and arrays. It must not know files, the target or the network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array
from fastbp.kernels.codes import STORED
from fastbp.tabular.encoding.cells import Cells, Frame, is_number, numbers, spelled, texts
from fastbp.tabular.encoding.coded import CodedRows, spans_of
from fastbp.tabular.encoding.columns import (
    CategoryColumn,
    Column,
    DateColumn,
    NumberColumn,
    column_from_dict,
    column_to_dict,
    kind_of,
    text_counts,
)

MIN_BINS, MAX_BINS = 4, 48  # of one column
MAX_BINS_OF_TABLE = 1024
ROWS_PER_BIN = 75
CODED_ROWS = 4096  # coded at once: all columns of so many rows fit the second cache
MAX_SHOWN = 5  # names or texts in one message
_EXACT = 2**53  # a float64 holds all whole numbers up to this one
_INDEX = re.compile(r"__index_level_\d+__")  # pandas' name of an index in a file


@dataclass(frozen=True)
class Encoding:
    """The encoding of a frame as the inputs of a network.

    Attributes
    ----------
    columns : tuple of NumberColumn, CategoryColumn and DateColumn
        The encodings of the columns that are used, in the order of the inputs.
    names : tuple of str
        Names of all columns of the training table, also of those that are left out.
    """

    columns: tuple[Column, ...]
    names: tuple[str, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the columns that are not used."""
        used = {column.name for column in self.columns}
        return tuple(name for name in self.names if name not in used)

    @property
    def width(self) -> int:
        """Number of inputs, D_0."""
        return sum(column.width for column in self.columns)

    @property
    def is_not_bin(self) -> npt.NDArray[np.bool_]:
        """Which inputs are not piecewise-linear bins, (D_0,)."""
        parts = [np.arange(column.width) < column.width - column.n_bins for column in self.columns]
        return np.concatenate(parts)

    @property
    def categories(self) -> frozenset[str]:
        """Names of the columns that are to be read as text."""
        return frozenset(column.name for column in self.columns if isinstance(column, CategoryColumn))

    def encode(self, frame: Frame) -> npt.NDArray[np.float32]:
        """Return the inputs of all rows, (n, D_0). All inputs are finite.

        Raises
        ------
        ValueError
            If a column is missing, or holds another kind of cells than in training.
        """
        return self.code(frame).inputs()

    def code(self, frame: Frame) -> CodedRows:
        """Return all rows as codes, which take much less memory than their inputs; raise as `encode` does."""
        coder = Coder(self, frame)
        codes = np.empty((len(frame), coder.n_stored), np.float32)
        for first in range(0, len(frame), CODED_ROWS):
            block = slice(first, first + CODED_ROWS)
            coder.write(block, codes[block])
        return CodedRows(codes, coder.spans)

    def for_width(self, inputs: Array, width: int) -> Array:
        """Return the inputs of a network that has `width` inputs, (n, width): all inputs, or all but the bins."""
        return inputs if width == self.width else np.ascontiguousarray(inputs[:, self.is_not_bin])

    def unknown_levels(self, frame: Frame) -> list[str]:
        """Return one sentence for each column of texts most of whose cells are unknown texts, with examples."""
        notices = []
        names = set(frame.names)
        for column in self.columns:
            if not isinstance(column, CategoryColumn) or column.name not in names:
                continue
            cells = _of_kind(frame[column.name], column)
            unknown = (column.places(cells) < 0) & ~cells.missing
            n_unknown, n = int(unknown.sum()), len(cells) - cells.n_missing
            if 2 * n_unknown > n:
                notices.append(notice_of_unknown(column, n_unknown, n, cells.take(unknown).distinct()[0]))
        return notices

    def check_columns(self, names: Collection[str]) -> None:
        """Raise a `ValueError` if a column that is used is not among `names`."""
        given = set(names)
        if missing := [column.name for column in self.columns if column.name not in given]:
            shown = [f"{name!r}{suggestion(name, names)}" for name in missing[:MAX_SHOWN]]
            listed = ", ".join(shown) + (f" and {len(missing) - MAX_SHOWN} more" if len(missing) > MAX_SHOWN else "")
            raise ValueError(f"the table lacks {'a column' if len(missing) == 1 else 'columns'} of the model: {listed}")

    def to_dict(self) -> dict[str, Any]:
        """Return the encoding as JSON can hold it, without rounding."""
        return {"columns": [column_to_dict(column) for column in self.columns], "names": list(self.names)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Encoding:
        """Return the encoding that `to_dict` stored."""
        return cls(tuple(map(column_from_dict, stored["columns"])), tuple(stored["names"]))


class Coder:
    """The codes of a frame's rows, made for some rows at a time.

    Parameters
    ----------
    encoding : Encoding
    frame : Frame

    Attributes
    ----------
    spans : tuple of Span
        What the codes stand for.
    n_stored : int
        Numbers in the code of a row.

    Raises
    ------
    ValueError
        As `Encoding.encode` does.
    """

    def __init__(self, encoding: Encoding, frame: Frame) -> None:
        encoding.check_columns(frame.names)
        self.spans = spans_of([run for column in encoding.columns for run in column.spans])
        self._columns = [(column, column.prepared(_of_kind(frame[column.name], column))) for column in encoding.columns]
        self._stored = [sum(STORED[kind] for kind, _ in column.spans) for column in encoding.columns]
        self.n_stored = sum(self._stored)

    def write(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        """Write the codes of some rows to `out`, (m, n_stored)."""
        first = 0
        for (column, cells), stored in zip(self._columns, self._stored, strict=True):
            column.write(cells.take(rows), out[:, first : first + stored])
            first += stored

    def rows(self, rows: slice) -> CodedRows:
        """Return some rows."""
        codes = np.empty((len(self._columns[0][1].values[rows]), self.n_stored), np.float32)
        self.write(rows, codes)
        return CodedRows(codes, self.spans)


def bins_for(n_rows: int, n_columns: int) -> int:
    """Return the number of bins per column. It grows with the number of rows and falls with the number of columns."""
    return max(MIN_BINS, min(MAX_BINS, n_rows // ROWS_PER_BIN, MAX_BINS_OF_TABLE // n_columns))


def learn_encoding(frame: Frame) -> tuple[Encoding, list[str]]:
    """Choose the columns to use, and learn how each of them is encoded.

    Parameters
    ----------
    frame : Frame
        The columns to learn from, without the target.

    Returns
    -------
    encoding : Encoding
    notices : list of str
        Which columns were left out and which values count as missing, one sentence each.

    Raises
    ------
    ValueError
        If every column is left out.
    """
    bins = bins_for(len(frame), max(1, sum(column.kind != "text" for column in frame)))
    columns: list[Column] = []
    notices = []
    is_alone = len(frame.names) == 1
    for column in frame:
        reason = _reason_to_leave_out(column, is_alone)
        if reason is None:
            learned = _learn_column(column, bins)
            if isinstance(learned, str):
                reason = learned
            else:
                columns.append(learned)
        if reason is not None:
            notices.append(f"column {column.name!r} is left out: {reason}")
        elif column.kind == "numbers" and (n_infinite := int(np.isinf(column.values[~column.missing]).sum())):
            values = "1 infinite value" if n_infinite == 1 else f"{n_infinite} infinite values"
            notices.append(f"column {column.name!r} holds {values}, treated as missing")
    if not columns:
        raise ValueError("; ".join(["no column is left to learn from", *notices]))
    return Encoding(tuple(columns), tuple(frame.names)), notices


def _learn_column(cells: Cells, bins: int) -> Column | str:
    """Return the encoding of a column, or the reason why the column is left out."""
    if cells.kind == "text":
        return _learn_category(cells)
    offset = _offset(cells)
    values = cells.floats(offset) if cells.kind == "numbers" else cells.days()
    if np.isnan(values).all():
        return "it is empty"
    if not np.isnan(values).any() and values.min() == values.max():
        value = cells.value(0)
        rounded = isinstance(value, float) and abs(value) > _EXACT
        return f"it holds {_shown(value)} in every row{', as far as a float64 can tell' if rounded else ''}"
    if cells.kind == "dates":
        return DateColumn.learn(cells, bins)
    return NumberColumn.learn(cells.name, values, bins, offset)


def _offset(cells: Cells) -> int:
    """Return what to subtract from whole numbers beyond 2⁵³, so that a float64 holds their differences, or 0."""
    known = cells.values[~cells.missing]
    if not cells.is_whole or not known.size or max(abs(int(known.min())), abs(int(known.max()))) <= _EXACT:
        return 0
    return int(np.sort(known)[known.size // 2])


def _learn_category(cells: Cells) -> Column | str:
    counts = text_counts(cells)
    if not counts:
        return "it is empty"
    if len(counts) == 1 and cells.n_missing == 0:
        return f"it holds {next(iter(counts))!r} in every row"
    learned = CategoryColumn.learn(cells)
    if 2 * sum(counts[level] for level in learned.levels) < counts.total():
        return f"its texts hardly ever repeat ({len(counts)} different ones in {counts.total()} rows)"
    return learned


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reason_to_leave_out(cells: Cells, is_alone: bool) -> str | None:
    """Return why a column cannot be used, or None. A column that counts the rows is used if it is the only column."""
    if cells.kind not in ("numbers", "text", "dates"):
        return f"it holds {cells.kind}"
    if _INDEX.fullmatch(cells.name) and not is_alone:
        return "it is pandas' index"
    if cells.is_whole and len(cells) > 2 and cells.value(0) in (0, 1) and not is_alone:
        counted = np.arange(len(cells)) + cells.values[0]
        if cells.n_missing == 0 and np.array_equal(cells.values, counted):
            return "it counts the rows"
    return None


def suggestion(name: str, names: Collection[str]) -> str:
    """Return " (did you mean '…'?)" with the most similar of `names`, or an empty text if no name is similar."""
    folded = {other.casefold(): other for other in names}
    nearest = get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean {folded[nearest[0]]!r}?)" if nearest else ""


def notice_of_unknown(column: CategoryColumn, n_unknown: int, n: int, strange: Sequence[Any]) -> str:
    """Return a sentence about the texts of a column that are unknown in `n_unknown` of `n` cells."""
    found = f"column {column.name!r}: {n_unknown} of {n} cells hold no frequent text of the training"
    return f"{found}: {_listed(strange)}; the model knows {_listed(column.levels)}"


def numbers_as_texts(cells: Cells) -> Cells:
    """Return numbers as the texts that they stand for."""
    given = zip(cells.values.tolist(), cells.missing.tolist(), strict=True)
    return texts(cells.name, [None if is_missing else value for value, is_missing in given])


def _listed(texts: Sequence[Any]) -> str:
    return ", ".join(map(repr, texts[:MAX_SHOWN])) + (", …" if len(texts) > MAX_SHOWN else "")


def _of_kind(cells: Cells, column: Column) -> Cells:
    """Return cells as the kind that an encoding takes.

    Numbers stand for their texts if a text of the training is a number or a truth value. Truth values stand for the
    numbers 0 and 1. An empty column is allowed.

    Raises
    ------
    ValueError
        If the cells are of another kind than in training.
    """
    wanted = kind_of(column)
    if cells.missing.all():
        empty = np.zeros(len(cells), dtype=np.int64)
        return Cells(cells.name, wanted, empty, cells.missing)
    if wanted == "numbers" and cells.kind == "text":
        values, places = cells.distinct()
        words = [spelled(str(value)) for value in values]
        if {*words} <= {"false", "true"} and isinstance(column, NumberColumn) and column.is_of_truths:
            truths = np.array([*(word == "true" for word in words), False])
            return numbers(cells.name, truths[places].astype(np.float64), cells.missing)
    if isinstance(column, CategoryColumn) and cells.kind == "numbers" and column.has_numbers:
        return numbers_as_texts(cells)
    _check_kind(cells, wanted)
    return cells


def _check_kind(cells: Cells, wanted: str) -> None:
    """Raise a `ValueError` if a column holds another kind of cells than in training."""
    if cells.kind == wanted:
        return
    where = ""
    if cells.kind == "text" and wanted == "numbers":
        strange = np.array([not is_number(level) for level in cells.levels])[cells.codes()] & ~cells.missing
        row = int((strange if strange.any() else ~cells.missing).argmax())
        where = f" ({cells.value(row)!r} in row {row + 1})"
    raise ValueError(f"column {cells.name!r} held {wanted} in training and holds {cells.kind} here{where}")

"""The encoding of a table as the inputs of a network: which columns are used, and how each of them is encoded.

It knows cells and arrays. It must not know files, the target or the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array
from fastbp.tabular.encoding.cells import Cells, Frame
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
        self.check_columns(frame.names)
        inputs = np.empty((len(frame), self.width), dtype=np.float32)
        start = 0
        for column in self.columns:
            _check_kind(frame[column.name], kind_of(column))
            inputs[:, start : start + column.width] = column.encode(frame[column.name])
            start += column.width
        return inputs

    def for_width(self, inputs: Array, width: int) -> Array:
        """Return the inputs of a network that has `width` inputs, (n, width): all inputs, or all but the bins."""
        return inputs if width == self.width else np.ascontiguousarray(inputs[:, self.is_not_bin])

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise a `ValueError` if a column that is used is not among `names`."""
        if missing := [column.name for column in self.columns if column.name not in names]:
            listed = ", ".join(f"{name!r}{suggestion(name, names)}" for name in missing)
            raise ValueError(f"the table lacks {'a column' if len(missing) == 1 else 'columns'} of the model: {listed}")

    def to_dict(self) -> dict[str, Any]:
        """Return the encoding as JSON can hold it, without rounding."""
        return {"columns": [column_to_dict(column) for column in self.columns], "names": list(self.names)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Encoding:
        """Return the encoding that `to_dict` stored."""
        return cls(tuple(map(column_from_dict, stored["columns"])), tuple(stored["names"]))


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
    for column in frame:
        reason = _reason_to_leave_out(column, is_alone=len(frame.names) == 1)
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
    values = cells.floats() if cells.kind == "numbers" else cells.days()
    if np.isnan(values).all():
        return "it is empty"
    if not np.isnan(values).any() and values.min() == values.max():
        return f"it holds {_shown(cells.value(0))} in every row"
    return DateColumn.learn(cells, bins) if cells.kind == "dates" else NumberColumn.learn(cells.name, values, bins)


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
    if cells.is_whole and len(cells) > 2 and cells.value(0) in (0, 1) and not is_alone:
        counted = np.arange(len(cells)) + cells.values[0]
        if cells.n_missing == 0 and np.array_equal(cells.values, counted):
            return "it counts the rows"
    return None


def suggestion(name: str, names: Sequence[str]) -> str:
    """Return " (did you mean '…'?)" with the most similar of `names`, or an empty text if no name is similar."""
    folded = {other.casefold(): other for other in names}
    nearest = get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean {folded[nearest[0]]!r}?)" if nearest else ""


def _check_kind(cells: Cells, wanted: str) -> None:
    """Raise a `ValueError` if a column holds another kind of cells than in training. An empty column is allowed."""
    if cells.kind == wanted or cells.missing.all():
        return
    where = ""
    if cells.kind == "text" and wanted == "numbers":
        strange = np.array([not _is_number(level) for level in cells.levels])[cells.codes()] & ~cells.missing
        row = int((strange if strange.any() else ~cells.missing).argmax())
        where = f" ({cells.value(row)!r} in row {row + 1})"
    raise ValueError(f"column {cells.name!r} held {wanted} in training and holds {cells.kind} here{where}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

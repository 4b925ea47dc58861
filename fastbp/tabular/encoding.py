"""The columns that a network learns from, made into its inputs: numbers filled and scaled, categories one-hot.

It knows typed frames and arrays. It must not know files, the target or the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

MOST_LEVELS = 100  # of one category, the commonest first
_LARGEST = 1e300  # so that a difference of two values is finite


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: a missing one becomes the median, and all are scaled by quartiles and bounded.

    A value x becomes z / √(1 + (z/3)²) with z = (x − median) / (q₇₅ − q₂₅), which is z near zero and never leaves
    (−3, 3): one absurd value cannot drown the others (Holzmüller, Grinsztajn & Steinwart 2024, arXiv:2407.04491).
    Where the quartiles coincide, half the range stands for their distance.

    Attributes
    ----------
    name : str
    median : float
    scale : float
        The distance that becomes 1. Zero, for a column without spread, makes all values 0.
    marks_missing : bool
        Whether a second input is 1 where the value is missing, 0 elsewhere: so if any was missing in training.
    """

    name: str
    median: float
    scale: float
    marks_missing: bool

    @property
    def width(self) -> int:
        """Number of inputs."""
        return 1 + self.marks_missing

    @classmethod
    def learn(cls, name: str, values: Floats) -> NumberColumn:
        """Take median and scale from `values`, (n,), NaN where missing, at least one not."""
        missing = np.isnan(values)
        lowest, lower, median, upper, highest = np.quantile(values[~missing], [0, 0.25, 0.5, 0.75, 1])
        scale = upper - lower if upper > lower else (highest - lowest) / 2
        return cls(name, float(median), float(scale), bool(missing.any()))

    def encode(self, column: pl.Series) -> Floats:
        """Return the column's inputs, (n, width)."""
        values = floats(column)
        missing = np.isnan(values)
        inputs = np.zeros((len(values), self.width))
        if self.scale > 0:
            with np.errstate(over="ignore"):  # an overflow is an infinity, which the bounds bring back
                z = np.clip((np.where(missing, self.median, values) - self.median) / self.scale, -1e9, 1e9)
            inputs[:, 0] = z / np.sqrt(1 + (z / 3) ** 2)
        if self.marks_missing:
            inputs[:, 1] = missing
        return inputs


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts: one input a level, 1 where the cell holds it. Missing and unknown cells are all zeros.

    Attributes
    ----------
    name : str
    levels : tuple of str
        The texts that have an input, in alphabetical order.
    """

    name: str
    levels: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of inputs."""
        return len(self.levels)

    @classmethod
    def learn(cls, name: str, column: pl.Series) -> CategoryColumn:
        """Take as levels the texts that occur at least twice, of these at most the `MOST_LEVELS` commonest."""
        texts, counts = np.unique(texts_of(column).drop_nulls().to_list(), return_counts=True)
        commonest = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
        return cls(name, tuple(sorted(str(texts[i]) for i in commonest if counts[i] > 1)))

    def encode(self, column: pl.Series) -> Floats:
        """Return the column's inputs, (n, width)."""
        codes = texts_of(column).replace_strict(
            list(self.levels), list(range(self.width)), default=-1, return_dtype=pl.Int64
        )
        one_hot: Floats = np.zeros((len(codes), self.width))
        one_hot[:] = codes.fill_null(-1).to_numpy()[:, np.newaxis] == np.arange(self.width)
        return one_hot


@dataclass(frozen=True)
class Encoding:
    """What turns a typed frame into the inputs of a network.

    Attributes
    ----------
    columns : tuple of NumberColumn and CategoryColumn
        In the frame's order; their inputs stand side by side.
    """

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @property
    def width(self) -> int:
        """Number of inputs, D_0."""
        return sum(column.width for column in self.columns)

    @property
    def categories(self) -> frozenset[str]:
        """Names of the columns that are to be read as text."""
        return frozenset(column.name for column in self.columns if isinstance(column, CategoryColumn))

    def encode(self, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        """Return the inputs of all rows, (n, D_0), finite whatever the frame holds.

        Raises
        ------
        ValueError
            If a column is not there, or holds something else than it held in training.
        """
        missing = [column.name for column in self.columns if column.name not in frame.columns]
        if missing:
            names = ", ".join(f"{name!r}{suggestion(name, frame.columns)}" for name in missing)
            raise ValueError(f"the table lacks {'a column' if len(missing) == 1 else 'columns'} of the model: {names}")
        inputs = np.empty((frame.height, self.width), dtype=np.float32)
        start = 0
        for column in self.columns:
            _check_kind(frame[column.name], "numbers" if isinstance(column, NumberColumn) else "text")
            inputs[:, start : start + column.width] = column.encode(frame[column.name])
            start += column.width
        return inputs

    def to_dict(self) -> dict[str, Any]:
        """Return the encoding as what JSON can hold; `from_dict` restores it to the bit."""
        columns = [asdict(column) for column in self.columns]
        return {"columns": [{**c, "levels": list(c["levels"])} if "levels" in c else c for c in columns]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Encoding:
        """Restore an encoding from what `to_dict` returned."""
        columns: list[NumberColumn | CategoryColumn] = []
        for column in stored["columns"]:
            if "levels" in column:
                columns.append(CategoryColumn(column["name"], tuple(column["levels"])))
            else:
                columns.append(NumberColumn(**column))
        return cls(tuple(columns))


def learn_encoding(frame: pl.DataFrame, training: npt.NDArray[np.int64]) -> tuple[Encoding, list[str]]:
    """Choose how to encode each column of `frame`, measuring medians, scales and levels on the training rows alone.

    Parameters
    ----------
    frame : polars.DataFrame
        Typed columns, the target not among them.
    training : (n_training,) integers
        The rows to learn from.

    Returns
    -------
    Encoding, list of str
        The second names what was left out or taken as missing, and why, one sentence each.

    Raises
    ------
    ValueError
        If no column is left.
    """
    columns: list[NumberColumn | CategoryColumn] = []
    notices = []
    for column in frame:
        reason = _unfit(column)
        if reason is None:
            learned = _learn_column(column, training)
            if isinstance(learned, str):
                reason = learned
            else:
                columns.append(learned)
        if reason is not None:
            notices.append(f"column {column.name!r} is left out: {reason}")
        elif column.dtype.is_float() and (n_infinite := int(column.is_infinite().sum())):
            values = "1 infinite value" if n_infinite == 1 else f"{n_infinite} infinite values"
            notices.append(f"column {column.name!r} holds {values}, taken as missing")
    if not columns:
        raise ValueError("; ".join(["no column is left to learn from", *notices]))
    return Encoding(tuple(columns)), notices


def _learn_column(column: pl.Series, training: npt.NDArray[np.int64]) -> NumberColumn | CategoryColumn | str:
    """Return the learned column, or why it is of no use."""
    rows = column.gather(training)
    if kind(column) == "numbers":
        values = floats(rows)
        if np.isnan(values).all():
            return "it is empty"
        if not np.isnan(values).any() and values.min() == values.max():
            return f"it holds {values[0]:g} in every row"
        return NumberColumn.learn(column.name, values)
    texts = texts_of(rows).drop_nulls()
    if texts.is_empty():
        return "it is empty"
    if len(texts) == len(rows) and texts.n_unique() == 1:
        return f"it holds {texts[0]!r} in every row"
    learned = CategoryColumn.learn(column.name, rows)
    if 2 * texts.is_in(learned.levels).sum() < len(texts):
        return f"its texts hardly ever repeat ({texts.n_unique()} different ones in {len(texts)} rows)"
    return learned


def _unfit(column: pl.Series) -> str | None:
    if kind(column) not in ("numbers", "text"):
        return f"it holds {kind(column)}"
    if column.dtype.is_integer() and len(column) > 2 and column[0] in (0, 1):
        counted = np.arange(len(column)) + column[0]
        if column.null_count() == 0 and np.array_equal(column.to_numpy(), counted):
            return "it counts the rows"
    return None


def kind(column: pl.Series) -> str:
    """Return what a column holds: "numbers", "text", or in words something that no network can learn from."""
    dtype = column.dtype
    if dtype.is_numeric():
        return "numbers"
    if dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
        return "text"
    return "dates or times" if dtype.is_temporal() else f"{dtype} values"


def floats(column: pl.Series) -> Floats:
    """Return a column of numbers, (n,), NaN where it is missing or infinite, and within ±1e300."""
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.clip(np.where(np.isinf(values), np.nan, values), -_LARGEST, _LARGEST)


def texts_of(column: pl.Series) -> pl.Series:
    """Return a column of texts, truth values or categories as texts, null where missing."""
    return column.cast(pl.String)


def suggestion(name: str, names: Sequence[str]) -> str:
    """Return " (did you mean '…'?)" for the nearest of `names`, or nothing where none is near."""
    folded = {other.casefold(): other for other in names}
    nearest = get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean {folded[nearest[0]]!r}?)" if nearest else ""


def _check_kind(column: pl.Series, wanted: str) -> None:
    """Raise if a column does not hold what it held in training; a column with nothing in it will do."""
    found = kind(column)
    if found == wanted or column.null_count() == len(column):
        return
    where = ""
    if column.dtype == pl.String:
        row = int((column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()).arg_max() or 0)
        where = f" ({column[row]!r} in row {row + 1})"
    raise ValueError(f"column {column.name!r} held {wanted} in training and holds {found} here{where}")

"""The cells of a table as arrays: the values of each column, and which of its cells are missing.

It knows NumPy and Python's own values. It must not know other libraries' frames, or what the columns are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array, Floats, Integers

Value = str | int | float | bool

_LARGEST = 1e300  # the difference of two values is then finite
_DAY = 86_400e6  # microseconds
_EPOCH = datetime(1970, 1, 1)
_WHOLE = re.compile(r"-?(0|[1-9]\d*)\.0+")


@dataclass(frozen=True, eq=False)
class Cells:
    """One column.

    Attributes
    ----------
    name : str
    kind : str
        "numbers", "text" or "dates". Any other text describes cells that no network can learn from.
    values : ndarray of shape (n,)
        Numbers as they are, dates as days since 1970, texts as indices into `levels`, Booleans as they are.
    missing : ndarray of bool of shape (n,)
        Which cells are missing. The value of a missing cell has no meaning.
    levels : tuple of str
        The different texts.
    """

    name: str
    kind: str
    values: Array
    missing: npt.NDArray[np.bool_]
    levels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_missing(self) -> int:
        """Number of missing cells."""
        return int(self.missing.sum())

    @property
    def is_truth(self) -> bool:
        """Whether the cells are Booleans."""
        return self.values.dtype.kind == "b"

    @property
    def is_whole(self) -> bool:
        """Whether the cells have a type of whole numbers."""
        return self.kind == "numbers" and self.values.dtype.kind in "iu"

    def floats(self, offset: int = 0) -> Floats:
        """Return numbers minus an offset, within ±1e300, (n,), with NaN for missing and infinite cells.

        The difference of whole numbers is exact before it is rounded.
        """
        if offset and self.is_whole:  # 64 bits could overflow, and two halves of 32 bits cannot
            wide = self.values if self.values.dtype == np.uint64 else self.values.astype(np.int64)
            high = (wide >> 32).astype(np.float64) - (offset >> 32)
            differences = high * 2.0**32 + ((wide & 0xFFFFFFFF).astype(np.float64) - (offset & 0xFFFFFFFF))
        else:
            differences = self.values.astype(np.float64) - offset
        values = np.where(self.missing, np.nan, differences)
        return np.clip(np.where(np.isinf(values), np.nan, values), -_LARGEST, _LARGEST)

    def days(self) -> Floats:
        """Return dates as days since 1970, (n,), with NaN for missing cells."""
        return np.where(self.missing, np.nan, self.values.astype(np.float64))

    def codes(self) -> Integers:
        """Return texts as indices into `levels`, (n,), with −1 for missing cells."""
        return np.where(self.missing, -1, self.values).astype(np.int64)

    def distinct(self) -> tuple[list[Value], Integers]:
        """Return the different values in ascending order, and the index of each cell among them, (n,).

        The index of a missing cell is −1. Dates are days since 1970.

        Raises
        ------
        ValueError
            If the cells are neither numbers nor texts nor dates.
        """
        if self.kind not in ("numbers", "text", "dates"):
            raise ValueError(f"column {self.name!r} holds {self.kind}, which cannot be compared")
        found, places = np.unique(self.values[~self.missing], return_inverse=True)
        numbers = np.full(len(self), -1)
        if self.kind == "text" and not self.is_truth:
            order = sorted(range(len(found)), key=lambda i: self.levels[found[i]])
            numbers[~self.missing] = np.argsort(np.array(order, dtype=np.int64))[places]
            return [self.levels[found[i]] for i in order], numbers
        numbers[~self.missing] = places
        return found.tolist(), numbers

    def value(self, row: int) -> Value | None:
        """Return the value of one cell, a date as text. The value of a missing cell is None."""
        if self.missing[row]:
            return None
        if self.kind == "text" and not self.is_truth:
            return self.levels[int(self.values[row])]
        if self.kind == "dates":
            return date_text(self.values[row])
        value: Value = self.values[row].item()
        return value

    def take(self, rows: Array | slice) -> Cells:
        """Return the cells of some rows, given by their numbers, by a mask or by a slice."""
        return replace(self, values=self.values[rows], missing=self.missing[rows])

    def renamed(self, name: str) -> Cells:
        """Return the same cells under another name."""
        return replace(self, name=name)


class Frame:
    """The columns of a table, accessed by name.

    Parameters
    ----------
    columns : iterable of Cells
        At least one column. All columns have the same length and different names.
    """

    def __init__(self, columns: Iterable[Cells]) -> None:
        self._columns = {column.name: column for column in columns}

    def __len__(self) -> int:
        return len(next(iter(self)))

    def __iter__(self) -> Iterator[Cells]:
        return iter(self._columns.values())

    def __getitem__(self, name: str) -> Cells:
        return self._columns[name]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._columns)

    def take(self, rows: Array) -> Frame:
        """Return some rows, given by their numbers or by a mask."""
        return Frame(column.take(rows) for column in self)

    def without(self, *names: str) -> Frame:
        """Return the columns with other names."""
        return Frame(column for column in self if column.name not in names)

    def renamed(self, names: Sequence[str]) -> Frame:
        """Return the same columns under other names, one name per column."""
        return Frame(column.renamed(name) for column, name in zip(self, names, strict=True))


def numbers(name: str, values: Array, missing: Array | None = None) -> Cells:
    """Return an array of numbers as cells. NaN counts as missing."""
    gaps = _gaps(values, missing)
    return Cells(name, "numbers", values, gaps | np.isnan(values) if values.dtype.kind == "f" else gaps)


def truths(name: str, values: Array, missing: Array | None = None) -> Cells:
    """Return an array of Booleans as cells of text."""
    return Cells(name, "text", values, _gaps(values, missing), ("false", "true"))


def dates(name: str, microseconds: Array, missing: Array) -> Cells:
    """Return microseconds since 1970 as cells."""
    return Cells(name, "dates", microseconds / _DAY, np.asarray(missing, dtype=bool))


def texts(name: str, values: Iterable[Any]) -> Cells:
    """Return values as cells of text: 1.0 as "1", and Booleans as "true" and "false"."""
    known = [value if type(value) is str else None if is_missing(value) else _text(value) for value in values]
    levels = tuple(text for text in dict.fromkeys(known) if text is not None)
    places: dict[str | None, int] = {None: -1, **{text: place for place, text in enumerate(levels)}}
    codes = np.fromiter(map(places.__getitem__, known), np.int32, len(known))
    return Cells(name, "text", codes, codes < 0, levels)


def cells_of(name: str, values: Any) -> Cells:
    """Return an array-like of shape (n,) as cells. Its values decide the kind of the cells.

    Raises
    ------
    ValueError
        If `values` is not one-dimensional, or holds complex numbers.
    """
    if isinstance(values, str | bytes) or not (isinstance(values, Iterable) or hasattr(values, "__array__")):
        raise ValueError(f"column {name!r} must be a list or an array, got {values!r}; one row is [{values!r}]")
    if hasattr(values, "__array__"):
        values = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
        if values.ndim != 1:
            raise ValueError(f"column {name!r} must be one-dimensional, got shape {values.shape}")
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist()  # a masked cell becomes None
    if isinstance(values, np.ndarray):
        kind = values.dtype.kind
        if kind == "c":
            raise ValueError(f"Complex data not supported: column {name!r}")
        if kind in "iuf":
            return numbers(name, values)
        if kind == "b":
            return truths(name, values)
        if kind == "M":
            return dates(name, values.astype("datetime64[us]").astype(np.int64), np.isnat(values))
        if kind == "m":
            return numbers(name, values.astype("timedelta64[us]").astype(np.int64) / 1e6, np.isnat(values))
    return _cells_of_values(name, list(values))


def _cells_of_values(name: str, values: list[Any]) -> Cells:
    missing = np.array([is_missing(value) for value in values], dtype=bool)
    kinds = {_kind_of(value) for value, is_missing in zip(values, missing, strict=True) if not is_missing}

    def filled(with_: Any) -> list[Any]:
        return [with_ if is_missing else value for value, is_missing in zip(values, missing, strict=True)]

    if kinds == {"truth"}:
        return truths(name, np.array(filled(False), dtype=bool), missing)
    if kinds == {"whole"} and all(-(2**63) <= value < 2**63 for value in filled(0)):
        return numbers(name, np.array(filled(0), dtype=np.int64), missing)
    if kinds and kinds <= {"whole", "number"}:
        return numbers(name, np.array([float_of(value) for value in filled(np.nan)]), missing)
    if kinds == {"date"}:
        return dates(name, np.array([_microseconds(value) for value in filled(_EPOCH)]), missing)
    if kinds == {"duration"}:
        return numbers(name, np.array([_seconds(value) for value in filled(timedelta())]), missing)
    if kinds == {"other"}:
        first = values[int(missing.argmin())]
        return Cells(name, f"{type(first).__name__} values", np.zeros(len(values)), missing)
    return texts(name, values)


def _gaps(values: Array, missing: Array | None) -> npt.NDArray[np.bool_]:
    return np.zeros(len(values), dtype=bool) if missing is None else np.asarray(missing, dtype=bool)


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "truth"
    if isinstance(value, timedelta | time | np.timedelta64):  # np.timedelta64 is a subclass of np.integer
        return "duration"
    if isinstance(value, int | np.integer):
        return "whole"
    if isinstance(value, float | np.floating | Decimal):
        return "number"
    return "date" if isinstance(value, date | np.datetime64) else "other"


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT, or a missing value of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def spelled(text: str) -> str:
    """Return a text in the one spelling of its value: "True" as "true", and "1.0" as "1"."""
    if text in ("True", "TRUE", "False", "FALSE"):
        return text.lower()
    return text.split(".")[0] if _WHOLE.fullmatch(text) else text


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def truth_of(value: Value) -> bool | None:
    """Return the truth value that a cell stands for: true or 1, false or 0. Return None for any other cell."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(spelled(value))
    return bool(value) if value in (0, 1) else None


def float_of(value: Any) -> float:
    """Return a number of Python's as a float: infinity where a whole number is beyond all floats."""
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return np.inf if value > 0 else -np.inf


def _microseconds(value: Any) -> int:
    """Return the microseconds of a date or a local time since 1970."""
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[us]").astype(np.int64))
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return (value.replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)  # type: ignore[no-any-return]


def _seconds(value: Any) -> float:
    if isinstance(value, np.timedelta64):
        return int(value.astype("timedelta64[us]").astype(np.int64)) / 1e6
    if isinstance(value, time):
        value = timedelta(0, value.second, value.microsecond, 0, value.minute, value.hour)
    return (value // timedelta(microseconds=1)) / 1e6  # type: ignore[no-any-return]


def date_text(days: float) -> str:
    """Return days since 1970 as the text of a date. The time of day is added unless it is midnight."""
    text = str(np.datetime64(round(days * _DAY), "us")).replace("T", " ")
    return text.removesuffix(".000000").removesuffix(" 00:00:00")

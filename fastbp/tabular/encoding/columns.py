"""The encoding of one column as inputs of a network: of numbers, of categories or of dates.

It knows cells and arrays. It must not know the other columns, the target or the network.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastbp._typing import Floats, Integers
from fastbp.kernels.codes import BINS, LEVELS, VALUE
from fastbp.tabular.encoding.cells import Cells, is_number, spelled, truth_of

MAX_LEVELS = 100  # of one category; the most frequent levels are kept
PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}  # days
_TRUTHS = {False: ("false", "0"), True: ("true", "1")}

Run = tuple[int, int]  # the kind and the width of a span, see `kernels.codes`


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, encoded as one scaled input and several piecewise-linear bins.

    The scaled input of a value x is z / √(1 + (z/3)²) with z = (x − median) / (q₇₅ − q₂₅). The input is close to z near
    zero and stays within (−3, 3), so one extreme value cannot dominate the others (Holzmüller, Grinsztajn & Steinwart
    2024, arXiv:2407.04491). If the interquartile range q₇₅ − q₂₅ is 0, half the range of the values replaces it.

    The bins have the edges b₀ < … < b_T. The input of bin t is −1 below b_{t−1}, 1 above b_t and linear between them.
    With this piecewise-linear encoding, a network can learn steps as a decision tree does (Gorishniy, Rubachev &
    Babenko 2022, "On embeddings for numerical features in tabular deep learning", NeurIPS).

    All these inputs are 0 for a missing number.

    Attributes
    ----------
    name : str
        Name of the column.
    median : float
        The value whose scaled input is 0.
    scale : float
        The interquartile range, or half the range of the values. A scale of 0, for a constant column, makes all scaled
        inputs 0.
    marks_missing : bool
        Whether a cell was missing in training. The column then has one more input, which is 1 for missing cells and 0
        for others.
    edges : tuple of float
        Edges of the bins, in ascending order. An empty tuple means no bins.
    offset : int, default 0
        What is subtracted from the values first. It is not 0 for whole numbers beyond 2⁵³, whose differences a float64
        would lose. The median and the edges are relative to it.
    """

    name: str
    median: float
    scale: float
    marks_missing: bool
    edges: tuple[float, ...] = ()
    offset: int = 0

    @property
    def n_bins(self) -> int:
        """Number of bins; their inputs are the last ones of the column."""
        return max(0, len(self.edges) - 1)

    @property
    def is_of_truths(self) -> bool:
        """Whether the values of the training lay between 0 and 1, so that they can have been truth values."""
        return not self.offset and 0 < self.scale <= 1 and all(0 <= v <= 1 for v in (self.median, *self.edges))

    @property
    def width(self) -> int:
        """Number of inputs."""
        return 1 + self.marks_missing + self.n_bins

    @classmethod
    def learn(cls, name: str, values: Floats, bins: int, offset: int = 0) -> NumberColumn:
        """Return the encoding that fits some values.

        Parameters
        ----------
        name : str
            Name of the column.
        values : ndarray of shape (n,)
            NaN marks missing cells. At least one cell is not missing.
        bins : int
            Wanted number of bins with equally many values. There are fewer bins if some edges coincide.
        offset : int, default 0
            What was subtracted from the values.
        """
        missing = np.isnan(values)
        known = values[~missing]
        lowest, lower, median, upper, highest = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        scale = upper - lower if upper > lower else (highest - lowest) / 2
        edges = np.quantile(known, np.linspace(0, 1, bins + 1))
        apart = np.diff(edges, prepend=-np.inf) / 2 > np.finfo(float).tiny
        inner = tuple(edges[apart].tolist()) if apart.sum() > 2 else ()  # one bin would add nothing
        return cls(name, float(median), float(scale), bool(missing.any()), inner, offset)

    @property
    def spans(self) -> list[Run]:
        """The kinds and widths of the column's spans."""
        return [(VALUE, 1)] * (1 + self.marks_missing) + [(BINS, self.n_bins)] * (self.n_bins > 0)

    def prepared(self, cells: Cells) -> Cells:
        """Return the cells for `write`, which takes them in blocks."""
        return cells

    def write(self, cells: Cells, out: Floats) -> None:
        """Write the codes of cells to `out`, (n, stored numbers)."""
        self.write_values(cells.floats(self.offset), out)

    def write_values(self, values: Floats, out: Floats) -> None:
        """Write the codes of numbers to `out`; NaN marks missing numbers."""
        missing = np.isnan(values)
        x = np.where(missing, self.median, values)
        out[:, 0] = 0
        if self.scale > 0:
            with np.errstate(over="ignore"):  # an overflow gives infinity, which np.clip replaces
                z = np.clip((x - self.median) / self.scale, -1e9, 1e9)
            np.copyto(out[:, 0], z / np.sqrt(1 + (z / 3) ** 2), "same_kind", where=~missing)
        if self.marks_missing:
            out[:, 1] = missing
        if self.edges:
            edges = np.array(self.edges)
            k = np.searchsorted(edges[1:-1], x, "right")
            lower, upper = edges[k], edges[k + 1]
            inside = 2 * (np.clip(x, lower, upper) / 2 - lower / 2) / (upper / 2 - lower / 2) - 1
            out[:, -2], out[:, -1] = np.where(missing, -1, k), np.where(missing, 0, inside)


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts, encoded one-hot: the input of a level is 1 for cells with this text and 0 for others.

    Two levels share one input, which is −1 or 1. All inputs are 0 for missing cells and for texts that are no level.

    Attributes
    ----------
    name : str
        Name of the column.
    levels : tuple of str
        The texts that have an input, in alphabetical order.
    """

    name: str
    levels: tuple[str, ...]
    n_bins: ClassVar[int] = 0

    @property
    def width(self) -> int:
        """Number of inputs."""
        return 1 if len(self.levels) == 2 else len(self.levels)

    @classmethod
    def learn(cls, cells: Cells) -> CategoryColumn:
        """Return the encoding whose levels are the `MAX_LEVELS` most frequent texts that occur at least twice."""
        counts = text_counts(cells)
        by_frequency = sorted((text for text in counts if counts[text] > 1), key=lambda text: (-counts[text], text))
        return cls(cells.name, tuple(sorted(by_frequency[:MAX_LEVELS])))

    @property
    def has_numbers(self) -> bool:
        """Whether a level is a number or a truth value, so that numbers stand for their texts."""
        return any(truth_of(level) is not None or is_number(level) for level in self.levels)

    @property
    def places_of_texts(self) -> dict[str, int]:
        """The place among `levels` of each text that stands for one, in the spelling of `spelled` or of the level."""
        places = {spelled(level): i for i, level in enumerate(self.levels)}
        truths = [truth_of(level) for level in self.levels]
        if len(truths) <= 2 and None not in truths:
            places |= {text: i for i, truth in enumerate(truths) for text in _TRUTHS[bool(truth)]}
        return places | {level: i for i, level in enumerate(self.levels)}  # old models can tell "1.0" from "1"

    def places(self, cells: Cells) -> Integers:
        """Return the place of each cell among `levels`, (n,), with −1 for missing cells and for other texts."""
        places = self.places_of_texts
        of_levels = [places.get(level, places.get(spelled(level), -1)) for level in cells.levels]
        return np.array([*of_levels, -1])[cells.codes()]  # code −1 takes the last element

    @property
    def spans(self) -> list[Run]:
        """The kind and width of the column's span."""
        return [(VALUE, 1) if len(self.levels) == 2 else (LEVELS, len(self.levels))]

    def prepared(self, cells: Cells) -> Cells:
        """Return the cells with the levels of the encoding, for `write`."""
        places = self.places(cells).astype(np.int16)
        return Cells(cells.name, "text", places, places < 0, self.levels)

    def write(self, cells: Cells, out: Floats) -> None:
        """Write the codes of prepared cells to `out`, (n, 1)."""
        places = cells.values
        out[:, 0] = np.where(places < 0, 0, 2 * places - 1) if len(self.levels) == 2 else places


@dataclass(frozen=True)
class DateColumn:
    """A column of dates or times, encoded as a number of days and as the phase within the year, the week and the day.

    A period has two inputs, the sine and cosine of the phase. A period is left out if the training rows cover less than
    one whole period, or have only one phase.

    Attributes
    ----------
    name : str
        Name of the column.
    days : NumberColumn
        The encoding of the days since 1970.
    periods : tuple of str
        Some of "year", "week" and "day".
    """

    name: str
    days: NumberColumn
    periods: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of inputs."""
        return 2 * len(self.periods) + self.days.width

    @property
    def n_bins(self) -> int:
        """Number of bins; their inputs are the last ones of the column."""
        return self.days.n_bins

    @classmethod
    def learn(cls, cells: Cells, bins: int) -> DateColumn:
        """Return the encoding that fits a column with at least one date; `bins` is the wanted number of bins."""
        days = cells.days()
        known = days[~np.isnan(days)]
        span = known.max() - known.min()
        periods = [period for period, d in PERIODS.items() if span >= d and np.ptp(known % d) > 0]
        return cls(cells.name, NumberColumn.learn(cells.name, days, bins), tuple(periods))

    @property
    def spans(self) -> list[Run]:
        """The kinds and widths of the column's spans."""
        return [(VALUE, 1)] * (2 * len(self.periods)) + self.days.spans

    def prepared(self, cells: Cells) -> Cells:
        """Return the cells for `write`, which takes them in blocks."""
        return cells

    def write(self, cells: Cells, out: Floats) -> None:
        """Write the codes of cells to `out`, (n, stored numbers)."""
        days = cells.days()
        for i, period in enumerate(self.periods):
            phase = 2 * np.pi * (days % PERIODS[period]) / PERIODS[period]
            out[:, 2 * i], out[:, 2 * i + 1] = np.nan_to_num(np.sin(phase)), np.nan_to_num(np.cos(phase))
        self.days.write_values(days, out[:, 2 * len(self.periods) :])


Column = NumberColumn | CategoryColumn | DateColumn


def kind_of(column: Column) -> str:
    """Return the kind of cells that an encoding takes."""
    if isinstance(column, NumberColumn):
        return "numbers"
    return "text" if isinstance(column, CategoryColumn) else "dates"


def text_counts(cells: Cells) -> Counter[str]:
    """Return how often each text occurs; "True" counts as "true", and "1.0" as "1"."""
    codes = cells.codes()
    counts: Counter[str] = Counter()
    for level, count in zip(cells.levels, np.bincount(codes[codes >= 0], minlength=len(cells.levels)), strict=True):
        counts[spelled(level)] += int(count)
    return +counts


def column_to_dict(column: Column) -> dict[str, Any]:
    """Return an encoding as JSON can hold it."""
    if isinstance(column, NumberColumn):
        stored = {"kind": "numbers", **vars(column), "edges": list(column.edges)}
        if not column.offset:  # earlier versions do not know it
            del stored["offset"]
        return stored
    if isinstance(column, CategoryColumn):
        return {"kind": "text", "name": column.name, "levels": list(column.levels)}
    return {
        "kind": "dates",
        "name": column.name,
        "days": column_to_dict(column.days),
        "periods": list(column.periods),
    }


def column_from_dict(stored: dict[str, Any]) -> Column:
    """Return the encoding that `column_to_dict` stored."""
    rest = {name: value for name, value in stored.items() if name != "kind"}
    if stored["kind"] == "numbers":
        return NumberColumn(**rest | {"edges": tuple(stored["edges"])})
    if stored["kind"] == "text":
        return CategoryColumn(stored["name"], tuple(stored["levels"]))
    days = column_from_dict(stored["days"])
    assert isinstance(days, NumberColumn)
    return DateColumn(stored["name"], days, tuple(stored["periods"]))

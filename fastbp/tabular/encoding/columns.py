"""One column of a table made into inputs of a network: a number, a category or a date.

It knows cells and arrays. It must not know the other columns, the target or the network.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from fastbp.tabular.encoding.cells import Cells, Floats

MOST_LEVELS = 100  # of one category, the commonest first
_PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}  # days


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: scaled by quartiles and bounded, and beside that how far it is through each of its bins.

    A value x becomes z / √(1 + (z/3)²) with z = (x − median) / (q₇₅ − q₂₅), which is z near zero and never leaves
    (−3, 3): one absurd value cannot drown the others (Holzmüller, Grinsztajn & Steinwart 2024, arXiv:2407.04491).
    Where the quartiles coincide, half the range stands for their distance.

    With edges b₀ < … < b_T, x also becomes T inputs, each from −1 below b_{t−1} to 1 above b_t and linear between them:
    the piecewise-linear encoding of Gorishniy, Rubachev & Babenko (2022), "On embeddings for numerical features in
    tabular deep learning", NeurIPS, by which a network can learn steps as a tree does.

    A missing number is 0 in all of them.

    Attributes
    ----------
    name : str
    median : float
    scale : float
        The distance that becomes 1. Zero, for a column without spread, makes all values 0.
    marks_missing : bool
        Whether one more input is 1 where the value is missing, 0 elsewhere: so if any was missing in training.
    edges : tuple of float
        Rising; fewer than three make no inputs.
    """

    name: str
    median: float
    scale: float
    marks_missing: bool
    edges: tuple[float, ...] = ()

    @property
    def n_bins(self) -> int:
        """Number of the piecewise-linear inputs, which stand last."""
        return max(0, len(self.edges) - 1)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return 1 + self.marks_missing + self.n_bins

    @classmethod
    def learn(cls, name: str, values: Floats, bins: int) -> NumberColumn:
        """Take median, scale and the edges of `bins` bins from `values`, (n,), NaN where missing, at least one not.

        Each bin holds as many values as any other; where edges coincide, there are fewer.
        """
        missing = np.isnan(values)
        known = values[~missing]
        lowest, lower, median, upper, highest = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        scale = upper - lower if upper > lower else (highest - lowest) / 2
        edges = np.quantile(known, np.linspace(0, 1, bins + 1))
        apart = np.diff(edges, prepend=-np.inf) / 2 > np.finfo(float).tiny
        inner = tuple(edges[apart].tolist()) if apart.sum() > 2 else ()  # two values have no more to tell
        return cls(name, float(median), float(scale), bool(missing.any()), inner)

    def encode(self, cells: Cells) -> Floats:
        """Return the column's inputs, (n, width)."""
        return self.encode_values(cells.floats())

    def encode_values(self, values: Floats) -> Floats:
        """Return the inputs of numbers, (n, width), NaN where missing."""
        missing = np.isnan(values)
        inputs = np.zeros((len(values), self.width))
        x = np.where(missing, self.median, values)
        if self.scale > 0:
            with np.errstate(over="ignore"):  # an overflow is an infinity, which the bounds bring back
                z = np.clip((x - self.median) / self.scale, -1e9, 1e9)
            inputs[:, 0] = z / np.sqrt(1 + (z / 3) ** 2)
        for t, (lower, upper) in enumerate(pairwise(self.edges), 1 + self.marks_missing):
            inputs[:, t] = 2 * (np.clip(x, lower, upper) / 2 - lower / 2) / (upper / 2 - lower / 2) - 1
        inputs[missing] = 0
        if self.marks_missing:
            inputs[:, 1] = missing
        return inputs


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts: one input a level, 1 where the cell holds it; of two levels, one input, −1 or 1.

    Missing and unknown cells are all zeros.

    Attributes
    ----------
    name : str
    levels : tuple of str
        The texts that are told apart, in alphabetical order.
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
        """Take as levels the texts that occur at least twice, of these at most the `MOST_LEVELS` commonest."""
        counts = text_counts(cells)
        commonest = sorted((text for text in counts if counts[text] > 1), key=lambda text: (-counts[text], text))
        return cls(cells.name, tuple(sorted(commonest[:MOST_LEVELS])))

    def encode(self, cells: Cells) -> Floats:
        """Return the column's inputs, (n, width)."""
        numbers = {level: i for i, level in enumerate(self.levels)}
        of_levels = [numbers.get(_spelled(level), -1) for level in cells.levels]
        known = np.array([*of_levels, -1])[cells.codes()][:, np.newaxis]  # code −1, a missing cell, finds the last one
        if len(self.levels) == 2:
            return np.asarray(np.where(known < 0, 0.0, 2.0 * known - 1))
        return np.asarray(known == np.arange(len(self.levels)), np.float64)


@dataclass(frozen=True)
class DateColumn:
    """A column of dates or times: the days that have gone by as a number, and where in the year, week and day it is.

    A period is two inputs, sin and cos of its phase, left out where training saw less than one whole period, or one
    phase alone.

    Attributes
    ----------
    name : str
    days : NumberColumn
        Of the days since 1970.
    periods : tuple of str
        "year", "week", "day".
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
        """Number of the piecewise-linear inputs, which stand last."""
        return self.days.n_bins

    @classmethod
    def learn(cls, cells: Cells, bins: int) -> DateColumn:
        """Take scale, bins and periods from a column with at least one date."""
        days = cells.days()
        known = days[~np.isnan(days)]
        span = known.max() - known.min()
        periods = [period for period, d in _PERIODS.items() if span >= d and np.ptp(known % d) > 0]
        return cls(cells.name, NumberColumn.learn(cells.name, days, bins), tuple(periods))

    def encode(self, cells: Cells) -> Floats:
        """Return the column's inputs, (n, width)."""
        days = cells.days()
        phases = [2 * np.pi * (days % _PERIODS[period]) / _PERIODS[period] for period in self.periods]
        waves = [np.nan_to_num(wave(phase)) for phase in phases for wave in (np.sin, np.cos)]
        return np.column_stack([*waves, self.days.encode_values(days)])


Column = NumberColumn | CategoryColumn | DateColumn


def kind_of(column: Column) -> str:
    """Return what a learned column takes."""
    if isinstance(column, NumberColumn):
        return "numbers"
    return "text" if isinstance(column, CategoryColumn) else "dates"


def text_counts(cells: Cells) -> Counter[str]:
    """Return how often each text occurs; truth has one spelling."""
    codes = cells.codes()
    counts: Counter[str] = Counter()
    for level, count in zip(cells.levels, np.bincount(codes[codes >= 0], minlength=len(cells.levels)), strict=True):
        counts[_spelled(level)] += int(count)
    return +counts


def _spelled(text: str) -> str:
    return text.lower() if text in ("True", "TRUE", "False", "FALSE") else text


def column_to_dict(column: Column) -> dict[str, Any]:
    """Return a column as what JSON can hold."""
    if isinstance(column, NumberColumn):
        return {"kind": "numbers", **vars(column), "edges": list(column.edges)}
    if isinstance(column, CategoryColumn):
        return {"kind": "text", "name": column.name, "levels": list(column.levels)}
    return {
        "kind": "dates",
        "name": column.name,
        "days": column_to_dict(column.days),
        "periods": list(column.periods),
    }


def column_from_dict(stored: dict[str, Any]) -> Column:
    """Restore a column from what `column_to_dict` returned."""
    rest = {name: value for name, value in stored.items() if name != "kind"}
    if stored["kind"] == "numbers":
        return NumberColumn(**rest | {"edges": tuple(stored["edges"])})
    if stored["kind"] == "text":
        return CategoryColumn(stored["name"], tuple(stored["levels"]))
    days = column_from_dict(stored["days"])
    assert isinstance(days, NumberColumn)
    return DateColumn(stored["name"], days, tuple(stored["periods"]))

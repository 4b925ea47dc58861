"""What a column of text holds, counted block by block: the answer of `kinds.typed_column` without the whole column.

May import `tables.kinds` and `tables.notation`. It must not know files or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from fastbp.tables.blocks import NotInBlocksError
from fastbp.tables.kinds import MAX_ODD, MIN_CELLS, MIN_SHARE, NOTED_SHARE, Reading
from fastbp.tables.notation import (
    MISSING_NOTED,
    STARTS_WITH_DATE,
    UNIT,
    has_leading_zeros,
    known_of,
    numbers_of,
    parsed_dates,
    texts_of,
)

_UNCLEAR = (0.4, 0.6)  # shares of numbers for which a sample of the column might say the one or the other


@dataclass
class _Odd:
    """The cells of a column that are not of a kind.

    Attributes
    ----------
    n_good : int
        Cells that are of the kind.
    n_strange : int
        Cells that are not of the kind and not known to mean that a cell is missing.
    strange : set of str
        Their different texts, not more than decide the kind.
    lines : dict of str to int
        For the first different odd texts, the line of the first cell.
    """

    n_good: int = 0
    n_strange: int = 0
    strange: set[str] = field(default_factory=set)
    lines: dict[str, int] = field(default_factory=dict)

    def count(self, text: pl.Series, is_odd: pl.Series, allowed: Sequence[str], lines: Sequence[int]) -> None:
        """Add the cells of a block; `is_odd` says which known cells are not of the kind."""
        odd = text.filter(is_odd)
        self.n_good += len(text) - text.null_count() - len(odd)
        if len(odd) == 0:
            return
        strange = odd.filter(~odd.str.to_lowercase().is_in(allowed))
        self.n_strange += len(strange)
        if len(self.strange) <= MAX_ODD:
            self.strange.update(strange.unique(maintain_order=True).head(MAX_ODD + 1).to_list())
        if len(self.lines) <= MAX_ODD:
            rows = is_odd.arg_true()
            for value in odd.unique(maintain_order=True).head(2 * MAX_ODD + 2).to_list():
                if len(self.lines) <= MAX_ODD and value not in self.lines:
                    self.lines[value] = lines[rows[int((odd == value).arg_max() or 0)]]

    def is_tolerable(self) -> bool:
        """Return whether a column is of the kind."""
        if self.n_good == 0:
            return False
        n_cells = self.n_good + self.n_strange
        is_rare = n_cells >= MIN_CELLS and self.n_good >= MIN_SHARE * n_cells and len(self.strange) <= MAX_ODD
        return self.n_strange == 0 or is_rare

    def said(self, n_known: int, kind: str) -> str:
        """Return how many cells are of the kind, and which are not."""
        shown = ", ".join(f"{odd!r} (line {line})" for odd, line in list(self.lines.items())[:MAX_ODD])
        more = ", …" if n_known - self.n_good > min(len(self.lines), MAX_ODD) else ""
        return f"{self.n_good:,} of {n_known:,} cells are {kind}, but not {shown}{more}"


@dataclass
class ColumnCounts:
    """The counts of a column, which decide its kind.

    Attributes
    ----------
    name : str
    mark : {".", ","}
        The decimal mark of the file.
    separator : str
    reading : Reading
    kind : str
        "numbers", "dates", "text" or "missing", once `decide` has returned.
    is_first_odd : bool
        Whether the first cell of the column is known and no number.
    """

    name: str
    mark: str
    separator: str
    reading: Reading
    kind: str = ""
    is_first_odd: bool = False
    _n_rows: int = 0
    _n_known: int = 0
    _n_noted: int = 0
    _n_others: int = 0  # numbers beyond those of the mark if the other mark is taken
    _n_zeros: int = 0
    _first_zero: str = ""
    _lengths: tuple[int, int] = (1 << 62, 0)
    _n_date_starts: int = 0
    _are_dates_skipped: bool = False
    _has_units: bool = False
    _is_whole: bool = True
    _is_listed: bool = True
    _numbers: _Odd = field(default_factory=_Odd)
    _dates: _Odd = field(default_factory=_Odd)

    def __post_init__(self) -> None:
        self._allowed = [*MISSING_NOTED, *(odd.lower() for odd in self.reading.odd.get(self.name, ()))]

    def count(self, column: pl.Series, lines: Sequence[int]) -> None:
        """Add the cells of a block.

        Parameters
        ----------
        column : polars.Series of str
        lines : sequence of int
            The line of each cell.
        """
        if self.name in self.reading.texts:
            return
        text = known_of(column)
        is_odd = self._count_numbers(text, lines)
        if self._n_rows == 0 and len(text):
            self.is_first_odd = bool(is_odd[0])
        self._n_rows += len(text)
        self._n_known += len(text) - text.null_count()
        if is_odd.any():
            self._is_listed &= bool(text.drop_nulls().str.to_lowercase().is_in(self._allowed).all())
        elif text.null_count() < len(text):
            self._is_listed = False
        if self.name not in self.reading.numbers:
            self._count_zeros(text, lines)
        n_starts = int(text.str.contains(STARTS_WITH_DATE).sum() or 0) if is_odd.any() else 0
        self._n_date_starts += n_starts
        if n_starts:
            self._dates.count(text, text.is_not_null() & parsed_dates(text).is_null(), self._allowed, lines)
        elif text.null_count() < len(text):
            self._are_dates_skipped = True

    def _count_numbers(self, text: pl.Series, lines: Sequence[int]) -> pl.Series:
        """Count numbers, and return which known cells are none."""
        whole = text.cast(pl.Int64, strict=False)
        plain = whole
        if whole.null_count() > text.null_count():
            plain = text.cast(pl.Float64, strict=False)
            if self.mark == ",":  # a point is then no decimal mark
                plain = plain.set(text.str.contains(".", literal=True).fill_null(False), None)
        is_odd = text.is_not_null() & plain.is_null()
        if is_odd.any():
            distinct = text.filter(is_odd).unique(maintain_order=True)
            values = numbers_of(distinct, self.mark)
            self._has_units |= bool(distinct.filter(values.is_not_null()).str.contains(UNIT).any())
            is_odd &= text.is_in(distinct.filter(values.is_null())).fill_null(False)
        if is_odd.any():
            odd = text.filter(is_odd)
            self._n_noted += int(odd.str.to_lowercase().is_in(MISSING_NOTED).sum())
            if self.separator != ",":
                others = numbers_of(text, "," if self.mark == "." else ".")
                self._n_others += len(odd) + text.null_count() - others.null_count()
        self._is_whole &= len(text) - text.null_count() - int(is_odd.sum()) == len(text) - whole.null_count()
        self._numbers.count(text, is_odd, self._allowed, lines)
        return is_odd

    def _count_zeros(self, text: pl.Series, lines: Sequence[int]) -> None:
        zeros = has_leading_zeros(text)
        if (n_zeros := int(zeros.sum())) and not self._n_zeros:
            row = int(zeros.arg_true()[0])
            self._first_zero = f"{text[row]!r} in line {lines[row]}"
        self._n_zeros += n_zeros
        if text.null_count() < len(text):
            lengths = text.str.len_chars()
            least, most = lengths.min(), lengths.max()
            assert isinstance(least, int)
            assert isinstance(most, int)
            self._lengths = min(self._lengths[0], least), max(self._lengths[1], most)

    def decide(self, is_used: bool) -> str | None:
        """Decide the kind of the column, and return a notice or None.

        Parameters
        ----------
        is_used : bool
            Whether a model uses the column.

        Raises
        ------
        NotInBlocksError
            If the model uses the column, and the counts cannot tell its kind, or tell another one than in training.
        """
        kind, notice, doubt = self._decision()
        self.kind = kind
        wanted = (
            "text" if self.name in self.reading.texts else "numbers" if self.name in self.reading.numbers else "dates"
        )
        if not doubt and self._n_known and kind not in (wanted, "missing"):
            doubt = f"held {wanted} in training and may not do so here"
        if is_used and doubt:
            raise NotInBlocksError(f"column {self.name!r} {doubt}")
        return notice

    def _decision(self) -> tuple[str, str | None, str]:
        """Return the kind, a notice, and why the counts may not tell the kind."""
        if self.name in self.reading.texts or self._n_known == 0:
            return "text", None, ""
        n_known, numbers, dates, doubt = self._n_known, self._numbers, self._dates, ""
        is_code = self._n_zeros > 0 and (
            self._n_zeros > (1 - MIN_SHARE) * n_known or self._lengths[0] == self._lengths[1]
        )
        n_zeros = "1 cell is a whole number" if self._n_zeros == 1 else f"{self._n_zeros:,} cells are whole numbers"
        zeros = f"{n_zeros} with leading zeros ({self._first_zero})"
        if self.name in self.reading.odd and self._is_listed:
            return "missing", None, ""
        n_like = numbers.n_good + self._n_noted
        if self._has_units:
            doubt = "has units beside its numbers"
        elif self._n_others > 0:
            doubt = "has numbers with both decimal marks"
        elif _UNCLEAR[0] * n_known < n_like < _UNCLEAR[1] * n_known and numbers.is_tolerable():
            doubt = "is half missing"
        of_kinds = [("numbers", numbers)] if not is_code and numbers.n_good and 2 * n_like >= n_known else []
        if numbers.n_good < n_known and self._n_date_starts >= 0.8 * n_known:
            doubt = doubt or ("holds dates in some parts only" if self._are_dates_skipped else "")
            of_kinds = [("dates", dates), *of_kinds] if dates.n_good else of_kinds
        closest: tuple[int, str] | None = None
        for kind, counts in of_kinds:
            if counts.is_tolerable():
                if counts.n_good < n_known:
                    return kind, f"column {self.name!r}: {counts.said(n_known, kind)}; they count as missing", doubt
                is_noted = self._n_zeros and self.name not in self.reading.numbers
                return kind, f"column {self.name!r} is numbers, although {zeros}" if is_noted else None, doubt
            n_cells = counts.n_good + counts.n_strange
            is_close = n_cells >= MIN_CELLS and counts.n_good >= NOTED_SHARE * n_cells
            if is_close and (closest is None or counts.n_good > closest[0]):
                closest = counts.n_good, counts.said(n_known, kind)
        if closest is not None:
            return "text", f"column {self.name!r} is read as text: {closest[1]}", doubt
        return "text", f"column {self.name!r} is read as text: {zeros}" if is_code else None, doubt

    def typed(self, column: pl.Series) -> pl.Series:
        """Return the cells of a block with the type of the column."""
        if self.kind == "text":
            return texts_of(column)
        text = known_of(column)
        if self.kind == "numbers":
            values = numbers_of(text, self.mark)
            return values.cast(pl.Int64 if self._is_whole else pl.Float64)
        return parsed_dates(text) if self.kind == "dates" else text.set(text.is_not_null(), None)

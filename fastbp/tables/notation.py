"""Text cells as numbers, dates and missing values.

May import polars. It must not know files, or what a column means.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

# Cells that are missing in any column. The spelling is exact, because "Na" is a chemical element.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "?", "<NA>", "#N/A")
# Cells that are missing in a column of numbers or dates, in lower case.
MISSING_NUMBER = ("", "na", "n/a", "nan", "null", "?", "<na>", "none", "-", "--", ".", "#n/a", "#value!", "#div/0!")
# The same, but rare enough that a notice names them. Numbers and dates may stand beside any share of them.
MISSING_NOTED = (
    *(
        "..",
        "...",
        "…",
        "–",
        "—",
        "−",
        "---",
        "*",
        "**",
        "\\n",
        "(null)",
        "<null>",
        "nil",
        "n.a.",
        "n.a",
        "n/a yet",
    ),
    *("#num!", "#ref!", "#name?", "#null!", "#getting_data", "#####", "nan(ind)", "-nan", "+nan", "-nan(ind)"),
    *("1.#ind", "-1.#ind", "±1.#ind", "1.#qnan", "-1.#qnan", "1.#inf", "-1.#inf", "±1.#inf"),
    *("unknown", "missing", "not available", "not applicable", "n/k", "tbd", "tba", "nd", "n.d.", "k.a."),
)
# Formats of dates, and of dates with times.
DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")
_OFFSET = r" ?([Zz]|[+-]\d\d(:?\d\d)?)$"  # from UTC, at the end of a time

STARTS_WITH_DATE = r"^\d{4}-\d\d-\d\d"

_CURRENCY = (
    r"US\$|\p{Sc}|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|RUB|TRY|KRW"
    r"|Fr\.|kr\.?|Kč|zł"
)
UNIT = rf"({_CURRENCY}|%|‰)"  # at a number
_MINUS = "[\u2212\u2012\u2013\uff0d]"
_BLANK = "[\u00a0\u2009\u202f]"
_SAMPLED_CELLS = 1000


def texts_of(column: pl.Series) -> pl.Series:
    """Return a text column without blanks around its cells, and with null for missing cells."""
    column = column.str.strip_chars()
    return column.set(column.is_in(MISSING), None)


def known_of(column: pl.Series) -> pl.Series:
    """Return a text column as `texts_of` does, with null also for cells that are missing in a column of numbers."""
    text = column.str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(MISSING_NUMBER), None)


def has_leading_zeros(text: pl.Series) -> pl.Series:
    """Return which cells are whole numbers with leading zeros, as "007"."""
    return text.str.contains(r"^[+-]?0\d+$").fill_null(False)


def numbers_of(text: pl.Series, mark: str) -> pl.Series:
    """Return a text column as integers or floats, with null for the cells that are no numbers.

    A point, comma, space or apostrophe can group thousands, and a currency or a percent sign can stand beside the
    number: "12%" is 12. Cells with another currency than most cells are no numbers. If most cells with a sign have a
    percent sign, cells without one are no numbers, except 0.

    Parameters
    ----------
    text : polars.Series of str
        Null stands for a missing cell.
    mark : {".", ","}
        The decimal mark.
    """
    if mark == "." or not text.str.contains(".", literal=True).any():
        for dtype in (pl.Int64, pl.Float64):
            numbers = text.cast(dtype, strict=False)
            if numbers.null_count() == text.null_count():
                return numbers
    cells = text.str.replace_all(_MINUS, "-").str.replace_all(_BLANK, " ").str.replace_all("’", "'", literal=True)
    is_bracketed = cells.str.contains(r"^\(.*\)$")
    cells = cells.str.replace(r"^\((.*)\)$", "$1")
    other = re.escape("," if mark == "." else ".")
    grouped = [rf"[1-9]\d{{0,2}}(?:{group}\d{{3}})+" for group in (other, " ", "'")]
    grouped.append(rf"[1-9]\d?(?:{other}\d\d)+{other}\d{{3}}")  # India groups 12,34,567
    body = rf"((?:{'|'.join(grouped)}|\d+)?(?:{re.escape(mark)}\d*)?(?:[eE][+-]?\d+)?)"
    pattern = rf"^[+-]?\s*(?:{_CURRENCY})?\s*[+-]?\s*{body}\s*(?:{_CURRENCY}|%|‰)?\s*-?$"
    digits = cells.str.extract(pattern, 1).str.replace_all(rf"[ ']|{other}", "").str.replace(mark, ".", literal=True)
    numbers = digits.cast(pl.Float64, strict=False)
    is_negative = is_bracketed | cells.str.contains(r"^[^\d]*-|-$")
    numbers = numbers.zip_with(~is_negative.fill_null(False), -numbers)
    infinite = text.set(~text.str.contains(r"(?i)^[+-]?inf(?:inity)?$"), None).cast(pl.Float64, strict=False)
    numbers = _with_one_unit(numbers, cells).zip_with(infinite.is_null(), infinite)
    whole = text.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == numbers.null_count() else numbers


def _with_one_unit(numbers: pl.Series, cells: pl.Series) -> pl.Series:
    """Return numbers, with null for cells whose currency or percent sign is not that of most cells."""
    units = cells.str.extract(UNIT)
    counts = units.alias("unit").filter(numbers.is_not_null()).drop_nulls().value_counts(sort=True)
    if counts.height == 0:
        return numbers
    unit = counts[0, 0]
    is_other = (units != unit).fill_null(False)
    if unit in ("%", "‰"):
        is_other |= units.is_null() & (numbers != 0).fill_null(False)
    return numbers.set(is_other, None)


def dates_of(text: pl.Series) -> pl.Series | None:
    """Return a text column as `parsed_dates` does, or None if it is no column of dates.

    None is returned if a fifth of the cells or more do not start with a date.
    """
    n_known = len(text) - text.null_count()
    if n_known == 0 or (text.str.contains(STARTS_WITH_DATE).sum() or 0) < 0.8 * n_known:
        return None
    return parsed_dates(text)


def parsed_dates(text: pl.Series) -> pl.Series:
    """Return a text column as dates or times in a format of ISO 8601, with null for all other cells."""
    dates = text.set(text.is_not_null(), None).cast(pl.Datetime("us"))
    for pattern in DATES:  # a column may have days beside times
        dates = dates.fill_null(text.str.strptime(pl.Datetime("us"), pattern, strict=False))
        if dates.null_count() == text.null_count():
            return dates
    local = text.set(~text.str.contains(_OFFSET), None).str.replace(_OFFSET, "")  # the clock that the file shows
    for pattern in DATES[1:]:
        dates = dates.fill_null(local.str.strptime(pl.Datetime("us"), pattern, strict=False))
    return dates


class Mark(NamedTuple):
    """The decimal mark of a file.

    Attributes
    ----------
    mark : {".", ","} or None
        None if no number has a comma or a point.
    is_proven : bool
        Whether a cell is a number with this mark and none with the other.
    example : str
        A number with the mark, or an empty text.
    """

    mark: str | None
    is_proven: bool = False
    example: str = ""


NO_MARK = Mark(None)


def decimal_mark(cells: pl.DataFrame, separator: str) -> Mark:
    """Return the decimal mark of a file.

    A cell such as "1,5" or "1.000.000" is a number with one decimal mark only, and proves this mark. "1.200" proves
    none. The mark with a proof in more columns is the file's. Between commas, a decimal comma needs more: a proof for
    the comma in a cell with grouped thousands, and none for the point. Without a proof, a comma in numbers is the mark
    if commas do not separate the cells.
    """
    proofs: dict[str, int] = {".": 0, ",": 0}
    examples: dict[str, str] = {}
    for column in cells:
        text = known_of(column).drop_nulls()
        text = text.filter(text.str.contains("[.,]"))
        if len(text) == 0 or not is_mostly_numbers(sample := sample_of(text)):
            continue
        by_point, by_comma = mark_proofs(sample)
        if (len(by_point) > 0) == (len(by_comma) > 0):
            by_point, by_comma = mark_proofs(text)
        if separator == ",":
            if len(by_point):
                return Mark(".", is_proven=True, example=by_point[0])
            by_comma = by_comma.filter(by_comma.str.contains(r"\d\.\d{3}[,.]\d"))
        if len(by_point) != len(by_comma):
            proofs["." if len(by_point) > len(by_comma) else ","] += 1
        sample = sample.filter(numbers_of(sample, ".").is_not_null() | numbers_of(sample, ",").is_not_null())
        for mark in ".,":
            with_mark = sample.filter(sample.str.contains(mark, literal=True))
            if len(with_mark):
                examples.setdefault(mark, with_mark[0])
    if any(proofs.values()):
        mark = "," if proofs[","] >= proofs["."] else "."
        return Mark(mark, is_proven=True, example=examples.get(mark, ""))
    for mark in "." if separator == "," else ",.":
        if mark in examples:
            return Mark(mark, example=examples[mark])
    return NO_MARK


def mark_proofs(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the cells that are numbers with a decimal point only, and those with a decimal comma only."""
    points, commas = numbers_of(text, "."), numbers_of(text, ",")
    return text.filter(commas.is_null() & points.is_not_null()), text.filter(points.is_null() & commas.is_not_null())


def sample_of(text: pl.Series) -> pl.Series:
    """Return some known cells from all parts of a column."""
    known = text.drop_nulls()
    return known.gather_every(max(1, len(known) // _SAMPLED_CELLS))


def is_mostly_numbers(text: pl.Series) -> bool:
    """Return whether half the known cells are numbers, or texts that are missing in a column of numbers."""
    n_noted = int(text.str.to_lowercase().is_in(MISSING_NOTED).sum())
    n_numbers = max(len(text) - numbers_of(text, mark).null_count() for mark in ".,")
    return 2 * (n_numbers + n_noted) >= len(text) - text.null_count()

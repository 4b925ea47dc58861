"""Text cells as numbers, dates and missing values.

May import polars. It must not know files, or what a column means.
"""

from __future__ import annotations

import re

import polars as pl

# Cells that are missing in any column. The spelling is exact, because "Na" is a chemical element.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "?", "<NA>", "#N/A")
# Cells that are missing in a column of numbers, in lower case.
MISSING_NUMBER = ("", "na", "n/a", "nan", "null", "?", "<na>", "none", "-", "--", ".", "#n/a", "#value!", "#div/0!")

# Formats of dates, and of dates with times.
DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")


def typed(column: pl.Series, separator: str) -> pl.Series:
    """Return a text column as numbers if all its cells are numbers, as dates if all are dates, otherwise as text.

    Parameters
    ----------
    column : polars.Series of str
    separator : str
        The character between two cells of the file. If it is not a comma, a comma can be the decimal mark.
    """
    numbers = _numbers(column, _thousands(separator))
    return _dates(texts_of(column)) if numbers is None else numbers


def has_decimal_commas(cells: pl.DataFrame, separator: str) -> bool:
    """Return whether a column of numbers has commas, in a file whose cells are not separated by commas."""
    if separator == ",":
        return False
    return any(bool(c.str.contains(",", literal=True).any()) and _numbers(c, ".") is not None for c in cells)


def texts_of(column: pl.Series) -> pl.Series:
    """Return a text column without blanks around its cells, and with null for missing cells."""
    column = column.str.strip_chars()
    return column.set(column.is_in(MISSING), None)


def _thousands(separator: str) -> str:
    """Return the thousands separator: a comma, or a point if the comma is the decimal mark."""
    return "," if separator == "," else "."


def _dates(column: pl.Series) -> pl.Series:
    """Return a text column as dates if all its cells are dates or times in the format ISO 8601, otherwise as text."""
    n_missing = column.null_count()
    if n_missing == len(column) or not column.drop_nulls().head(1).str.contains(r"^\d{4}-\d\d-\d\d").all():
        return column
    for pattern in DATES:
        dates = column.str.strptime(pl.Datetime("us"), pattern, strict=False)
        if dates.null_count() == n_missing:
            return dates
    with_zone = column.str.replace(r"[Zz]$", "+00:00").str.replace(r"([+-]\d\d):?(\d\d)$", "${1}:${2}")
    for pattern in DATES[1:]:
        dates = with_zone.str.strptime(pl.Datetime("us", "UTC"), f"{pattern}%:z", strict=False)
        if dates.null_count() == n_missing:
            return dates
    return column


def _numbers(column: pl.Series, thousands: str) -> pl.Series | None:
    """Return a text column as integers or floats, or None if a cell is not a number."""
    text = column.str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(MISSING_NUMBER), None)
    if text.null_count() == len(text):
        return None
    for dtype in (pl.Int64, pl.Float64):
        numbers = text.cast(dtype, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    group, point = re.escape(thousands), re.escape("." if thousands == "," else ",")
    grouped = rf"^[+-]?(\d+|\d{{1,3}}({group}\d{{3}})+)?({point}\d*)?([eE][+-]?\d+)?$"
    if not text.str.contains(grouped).all():
        return None
    digits = text.str.replace_all(group, "").str.replace(point, ".")
    numbers = digits.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else None

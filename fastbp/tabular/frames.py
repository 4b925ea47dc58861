"""Tables as Python has them, made into one kind: pandas, polars or pyarrow frames, mappings, arrays.

It knows other libraries' frames, through narwhals. It must not know what the columns are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from polars import selectors

_TEXTS = (nw.String, nw.Categorical, nw.Enum)


def frame_of(X: Any, name: str = "X") -> pl.DataFrame:
    """Return a table as a polars frame, the same whatever holds it.

    Parameters
    ----------
    X : frame of pandas, polars, pyarrow or another library that narwhals knows, mapping, or array-like (n, D)
        A mapping goes from names to columns. The columns of an array are called x0, x1, ….
    name : str
        What errors call it.

    Raises
    ------
    TypeError
        If it is a sparse or a lazy table.
    ValueError
        If it is no table, or two of its columns have the same name.
    """
    return _frame_of(X, name).with_columns(selectors.float().fill_nan(None))


def _frame_of(X: Any, name: str) -> pl.DataFrame:
    if isinstance(X, pl.DataFrame):
        return X
    if hasattr(X, "toarray"):
        raise TypeError(f"{name} is a sparse matrix, and a table is dense: {name}.toarray() makes it one")
    if isinstance(X, Mapping):
        names, columns = [str(key) for key in X], list(X.values())
    else:
        try:
            frame = nw.from_native(X, pass_through=True)
            if isinstance(frame, nw.LazyFrame):
                raise TypeError(f"{name} is a lazy frame: {name}.collect() reads it")
            if not isinstance(frame, nw.DataFrame):
                return _frame_of_array(X, name)
            names = [str(column) for column in frame.columns]
            columns = [frame.get_column(column) for column in frame.columns]
        except nw.exceptions.DuplicateError as error:
            raise ValueError(f"{name} has two columns of one name: {error}") from None
    if len(set(names)) < len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise ValueError(f"{name} has two columns named {twice!r}")
    made = [column_of(column, column_name) for column, column_name in zip(columns, names, strict=True)]
    if len({len(column) for column in made}) > 1:
        lengths = ", ".join(f"{column.name!r} {len(column)}" for column in made[:5])
        raise ValueError(f"the columns of {name} differ in length: {lengths}")
    return pl.DataFrame(made)


def column_of(column: Any, name: str) -> pl.Series:
    """Return a series of any library, or an array-like (n,), as a polars series: missing where its library says so.

    Raises
    ------
    ValueError
        If it is not one column.
    """
    series = nw.from_native(column, series_only=True, pass_through=True)
    if not isinstance(series, nw.Series):
        return _series(name, column)
    if isinstance(series.to_native(), pl.Series):
        return series.to_native().alias(name)  # type: ignore[no-any-return]
    if series.dtype in _TEXTS:
        return _texts(name, series.to_list())
    if series.dtype.is_numeric() and series.null_count() == 0:
        return _series(name, series.to_numpy())
    return _series(name, series.to_list())


def _frame_of_array(X: Any, name: str) -> pl.DataFrame:
    if isinstance(X, Sequence) and not isinstance(X, str) and X and all(isinstance(row, Sequence) for row in X):
        X = np.array(X, dtype=object) if _holds_text(X) else X
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be a table of rows and columns, got {array.ndim} dimension{'s' * (array.ndim != 1)}. "
            f"Reshape your data: {name}.reshape(-1, 1) makes one column of it"
        )
    if array.shape[1] == 0:
        raise ValueError(f"{name} has 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
    names = default_names(array.shape[1])
    return pl.DataFrame([_series(name, column) for name, column in zip(names, array.T, strict=True)])


def _holds_text(rows: Sequence[Any]) -> bool:
    return any(isinstance(cell, str) for row in rows for cell in row)


def _series(name: str, values: Any) -> pl.Series:
    """Return a column of an array or a list, by what its cells are: numbers, truth values, texts or dates."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"column {name!r} must be one-dimensional, got shape {values.shape}")
        if values.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: column {name!r}")
        if values.dtype.kind in "biuf":
            return pl.Series(name, np.ascontiguousarray(values.astype(float) if values.dtype == np.float16 else values))
        if values.dtype.kind in "mM":
            return pl.Series(name, values)
    cells = [None if _is_missing(cell) else cell for cell in values]
    kinds = {_kind_of(cell) for cell in cells if cell is not None}
    if kinds == {"truth"}:
        return pl.Series(name, [None if cell is None else bool(cell) for cell in cells], dtype=pl.Boolean)
    if kinds == {"whole"} and all(cell is None or abs(cell) < 2**63 for cell in cells):
        return pl.Series(name, [None if cell is None else int(cell) for cell in cells], dtype=pl.Int64)
    if kinds <= {"whole", "number"} and kinds:
        return pl.Series(name, [None if cell is None else float(cell) for cell in cells], dtype=pl.Float64)
    if kinds == {"other"}:
        with suppress(TypeError, ValueError, pl.exceptions.PolarsError):
            return pl.Series(name, cells)
    return _texts(name, cells) if kinds else pl.Series(name, cells, dtype=pl.Null)


def _kind_of(cell: Any) -> str:
    if isinstance(cell, bool | np.bool_):
        return "truth"
    if isinstance(cell, int | np.integer):
        return "whole"
    if isinstance(cell, float | np.floating | Decimal):
        return "number"
    return "text" if isinstance(cell, str) else "other"


def _texts(name: str, cells: list[Any]) -> pl.Series:
    return pl.Series(name, [None if _is_missing(cell) else _text_of(cell) for cell in cells], dtype=pl.String)


def _text_of(cell: Any) -> str:
    """Return a cell as text: truth values as polars has them, a whole number the same with and without a point."""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell)).lower()
    return str(int(cell)) if isinstance(cell, float | np.floating) and float(cell).is_integer() else str(cell)


def _is_missing(cell: Any) -> bool:
    """Tell None, NaN, and what pandas puts in their place."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and bool(np.isnan(cell))


def default_names(n_columns: int) -> list[str]:
    """Return what the columns of an array are called."""
    return [f"x{i}" for i in range(n_columns)]


def has_names(X: Any) -> bool:
    """Tell whether a table's columns have names of their own."""
    return isinstance(X, Mapping) or isinstance(nw.from_native(X, pass_through=True), nw.DataFrame)

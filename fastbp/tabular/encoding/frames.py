"""Tables of pandas, polars and pyarrow, mappings and arrays, all turned into a `Frame`.

It knows other libraries' frames through narwhals, which is imported only for such a frame. It must not know what the
columns are for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from fastbp.tabular.encoding import cells
from fastbp.tabular.encoding.cells import Cells, Frame


def frame_of(X: Any, name: str = "X") -> Frame:
    """Return a table as cells. The same table gives the same cells in every library.

    Parameters
    ----------
    X : frame of a library that narwhals knows, mapping, list of records, or array-like of shape (n, D)
        A mapping goes from names to columns. A record is a mapping from names to cells, or an element of a structured
        array. The columns of another array are called x0, x1, ….
    name : str, default "X"
        Name of the argument in error messages.

    Returns
    -------
    Frame

    Raises
    ------
    TypeError
        If `X` is a sparse or a lazy table, a collection of Dask, or a series.
    ValueError
        If `X` is no table, if two of its columns have the same name, or if the columns differ in length.
    """
    if isinstance(X, Frame):
        return X
    refuse_dask(X, name)
    if hasattr(X, "toarray"):
        raise TypeError(f"{name} is a sparse matrix: {name}.toarray() makes a dense table of it")
    if isinstance(X, Mapping):
        names, columns = [str(key) for key in X], list(X.values())
    elif isinstance(X, np.ndarray) and X.dtype.names:
        names, columns = list(X.dtype.names), [np.ravel(X)[column] for column in X.dtype.names]
    elif _is_records(X):
        names, columns = _columns_of_records(X, name)
    elif (native := _native_frame(X, name)) is None:
        names, columns = _columns_of_array(X, name)
    else:
        names, columns = [str(column) for column in native.columns], _columns_of_frame(native)
    if not names:
        raise ValueError(f"{name} has 0 feature(s) (shape={np.shape(X)}) while a minimum of 1 is required.")
    if len(set(names)) < len(names):
        twice = next(column for column, count in Counter(names).items() if count > 1)
        raise ValueError(f"{name} has two columns named {twice!r}")
    made = [column_of(column, column_name) for column, column_name in zip(columns, names, strict=True)]
    if len({len(column) for column in made}) > 1:
        lengths = ", ".join(f"{column.name!r} {len(column)}" for column in made[:5])
        raise ValueError(f"the columns of {name} differ in length: {lengths}")
    return Frame(made)


def refuse_dask(values: Any, name: str) -> None:
    """Raise a `TypeError` for a collection of Dask, because its rows would all be gathered without a word."""
    if hasattr(values, "__dask_graph__"):
        raise TypeError(
            f"{name} is a Dask collection, whose rows are not in this process: pass {name}.compute(), which gathers "
            "all rows here. Methods that predict take a Dask frame as it is"
        )


def column_of(column: Any, name: str) -> Cells:
    """Return a series of any library, or an array-like of shape (n,), as cells.

    Raises
    ------
    ValueError
        If `column` is not one-dimensional.
    """
    if _is_array_or_list(column):
        return cells.cells_of(name, column)
    nw = _narwhals()
    series = nw.from_native(column, series_only=True, pass_through=True)
    if not isinstance(series, nw.Series):
        return cells.cells_of(name, column)
    if series.dtype in (nw.String, nw.Categorical, nw.Enum):
        return cells.texts(name, series.to_list())
    if series.dtype in (nw.Int128, nw.UInt128):
        series = series.cast(nw.Float64)
    missing = series.is_null()
    if series.dtype.is_integer() or series.dtype.is_float():
        return cells.numbers(name, _filled(series, missing, 0).to_numpy(), missing.to_numpy())
    if series.dtype == nw.Boolean:
        return cells.truths(name, _filled(series, missing, False).to_numpy().astype(bool), missing.to_numpy())
    if series.dtype == nw.Datetime:
        series = series.dt.replace_time_zone(None)
    if series.dtype in (nw.Date, nw.Datetime):
        microseconds = _filled(series.dt.timestamp("us"), missing, 0)
        return cells.dates(name, microseconds.to_numpy().astype(np.int64), missing.to_numpy())
    return cells.cells_of(name, series.to_list())


def has_names(X: Any) -> bool:
    """Return whether a table names its columns, as frames and mappings do."""
    is_structured = isinstance(X, np.ndarray) and X.dtype.names is not None
    return isinstance(X, Mapping | Frame) or is_structured or _is_records(X) or _native_frame(X, "X") is not None


def default_names(n_columns: int) -> list[str]:
    """Return the names of the columns of an array."""
    return [f"x{i}" for i in range(n_columns)]


def _is_array_or_list(values: Any) -> bool:
    return isinstance(values, np.ndarray | list | tuple | range)


def _is_records(X: Any) -> bool:
    """Return whether a list, tuple or array holds records: its first element is a mapping."""
    is_list = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1)
    return is_list and len(X) > 0 and isinstance(X[0], Mapping)


def _columns_of_records(X: Any, name: str) -> tuple[list[str], list[Any]]:
    """Return the columns of a list of mappings; a key that a record lacks is a missing cell."""
    columns: dict[str, list[Any]] = {}
    for row, record in enumerate(X):
        if not isinstance(record, Mapping):
            kind = type(record).__name__
            raise TypeError(f"{name}[{row}] is no record: {name}[0] maps names to cells, and {name}[{row}] is a {kind}")
        for key, value in record.items():
            if str(key) not in columns:
                columns[str(key)] = [None] * len(X)
            columns[str(key)][row] = value
    return list(columns), list(columns.values())


def _columns_of_frame(frame: Any) -> list[Any]:
    """Return the columns of a narwhals frame. A frame of one dtype is converted as a whole."""
    if frame.implementation.is_pandas():
        native = frame.to_native()
        dtypes = set(native.dtypes)
        if len(dtypes) == 1 and isinstance(dtype := dtypes.pop(), np.dtype) and dtype.kind in "iufb":
            return list(native.to_numpy().T)
    elif frame.implementation.is_polars() and len(dtypes := set(frame.schema.values())) == 1:
        dtype = dtypes.pop()
        is_whole = dtype.is_integer() and "128" not in str(dtype)
        if dtype.is_float() or (is_whole and not any(frame.to_native().null_count().row(0))):
            return list(frame.to_numpy().T)
    return list(frame.iter_columns())


def _narwhals() -> Any:
    try:
        return import_module("narwhals.stable.v2")
    except ModuleNotFoundError:
        message = "a frame of another library needs narwhals, which `pip install 'fastbp[tabular]'` brings"
        raise ModuleNotFoundError(message, name="narwhals") from None


def _native_frame(X: Any, name: str) -> Any:
    """Return a library's frame as a narwhals frame, or None if `X` is no frame."""
    if _is_array_or_list(X):
        return None
    nw = _narwhals()
    try:
        frame = nw.from_native(X, pass_through=True)
        if isinstance(frame, nw.LazyFrame):
            raise TypeError(f"{name} is a lazy frame: {name}.collect() makes a table of it")
        if isinstance(frame, nw.DataFrame):
            frame.columns  # noqa: B018 (raises if a pandas frame has two columns with the same name)
            return frame
        if isinstance(nw.from_native(X, series_only=True, pass_through=True), nw.Series):
            is_pandas = type(X).__module__.startswith("pandas")
            row = f", and {name}.to_frame().T of a row" if is_pandas else ""
            raise TypeError(f"{name} is a series, not a table: {name}.to_frame() makes a table of a column{row}")
    except nw.exceptions.DuplicateError as error:
        raise ValueError(f"{name} has two columns with the same name: {error}") from None
    return None


def _filled(series: Any, missing: Any, value: Any) -> Any:
    return series.fill_null(value) if missing.any() else series


def _columns_of_array(X: Any, name: str) -> tuple[list[str], list[Any]]:
    if isinstance(X, Sequence) and not isinstance(X, str) and X and all(isinstance(row, Sequence) for row in X):
        X = np.array(X, dtype=object) if any(isinstance(cell, str) for row in X for cell in row) else X
    array = X if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be a table of rows and columns, got {array.ndim} dimension{'s' * (array.ndim != 1)}. "
            f"Reshape your data: {name}.reshape(-1, 1) makes one column of it"
        )
    return default_names(array.shape[1]), list(array.T)

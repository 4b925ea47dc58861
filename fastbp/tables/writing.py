"""Tables written to files or as text, in the dialect of the table that they come from.

May import `tables.table` and `files`. It must not know what the columns mean.
"""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl
from polars import selectors

from fastbp.files.atomic import replace_file
from fastbp.tables.table import Table


def beside(cells: pl.DataFrame, added: Mapping[str, npt.NDArray[Any]]) -> tuple[pl.DataFrame, list[str]]:
    """Return a table with columns added on the right.

    Floats are rounded to seven significant digits, the precision of float32. If the table has a column of the same
    name, underscores are added to the new name.

    Parameters
    ----------
    cells : polars.DataFrame of shape (n_rows, n_columns)
    added : mapping from str to ndarray of shape (n_rows,)
        The new columns.

    Returns
    -------
    polars.DataFrame, list of str
        The table, and one notice for each new column that is renamed.
    """
    columns, notices = {}, []
    for name, values in added.items():
        free = name
        while free in cells.columns:
            free += "_"
        if free != name:
            notices.append(f"the table has a column {name!r} already; the new one is called {free!r}")
        columns[free] = values
    rounded = pl.DataFrame(columns).with_columns(selectors.float().round_sig_figs(7))
    return pl.concat([cells, rounded], how="horizontal"), notices


def table_text(frame: pl.DataFrame, like: Table) -> str:
    """Return a table as text, with the byte-order mark, the line ends and the headers of the table that it comes from.

    Parameters
    ----------
    frame : polars.DataFrame
        The table to write.
    like : Table
        The table whose dialect is used. Its headers stand over the first columns of `frame`.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If a column holds values that text cannot hold, such as lists.
    """
    try:
        body = frame.write_csv(
            include_header=False,
            separator=like.separator,
            decimal_comma=like.decimal_comma and like.separator != ",",
            line_terminator=like.line_end,
        )
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"the table cannot be written as text: {str(error).splitlines()[0]}") from None
    header = io.StringIO()
    names = [*like.headers, *frame.columns[len(like.headers) :]]
    csv.writer(header, delimiter=like.separator, lineterminator=like.line_end).writerow(names)
    return like.preamble + header.getvalue() + body


def write_table(frame: pl.DataFrame, path: Path, like: Table) -> None:
    """Write a table to a file. The file is replaced as a whole or not at all.

    Parameters
    ----------
    frame : polars.DataFrame
        The table to write.
    path : Path
        The ending ``.parquet`` or ``.pq`` gives Parquet, ``.gz`` gives compressed text, and any other gives text.
    like : Table
        The table whose separator and decimal mark are used for text.

    Raises
    ------
    ValueError
        If a column holds values that text cannot hold, such as lists.
    OSError
        If the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        data = buffer.getvalue()
    else:
        data = table_text(frame, like).encode()
        data = gzip.compress(data) if suffix == ".gz" else data
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe stays what it is
    else:
        replace_file(path, [data])


def check_writable(path: Path, devices: bool = False) -> None:
    """Check before long work that a file can be written afterwards. An existing file stays as it is.

    Parameters
    ----------
    path : Path
        Where the file will be written.
    devices : bool, default False
        Whether `path` may be a device or a pipe.

    Raises
    ------
    ValueError
        If no file can be written there. The message says why.
    """
    directory = path.resolve().parent
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a directory")
    if not directory.is_dir():
        raise ValueError(f"cannot write {path}: there is no directory {path.parent}")
    if path.exists() and not path.is_file():
        if devices:
            return
        raise ValueError(f"cannot write {path}: it is not a regular file")
    try:
        if path.exists():
            path.open("ab").close()
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from None

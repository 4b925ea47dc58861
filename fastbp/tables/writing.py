"""Tables written to files or as text, in the dialect of the table that they come from.

May import `tables.table` and `files`. It must not know what the columns mean.
"""

from __future__ import annotations

import csv
import io
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl
from polars import selectors

from fastbp.files.atomic import replace_file
from fastbp.tables.loading import Report
from fastbp.tables.parquet_blocks import parquet_bytes
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


def table_text(frame: pl.DataFrame, like: Table, with_header: bool = True) -> str:
    """Return a table as text, with the byte-order mark, the line ends and the headers of the table that it comes from.

    Parameters
    ----------
    frame : polars.DataFrame
        The table to write.
    like : Table
        The table whose dialect is used. Its headers stand over the first columns of `frame`.
    with_header : bool, default True
        False for all blocks of rows but the first.

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
    if not with_header:
        return body
    header = io.StringIO()
    names = [*like.headers, *frame.columns[len(like.headers) :]]
    csv.writer(header, delimiter=like.separator, lineterminator=like.line_end).writerow(names)
    return like.preamble + header.getvalue() + body


def write_table(
    frames: pl.DataFrame | Iterable[pl.DataFrame], path: Path, like: Table, report: Report | None = None
) -> None:
    """Write a table to a file. The file is replaced as a whole or not at all.

    Parameters
    ----------
    frames : polars.DataFrame, or iterable of polars.DataFrame
        The table to write, or its rows in blocks with the same columns.
    path : Path
        The ending ``.parquet`` or ``.pq`` gives Parquet, ``.gz`` gives compressed text, and any other gives text.
    like : Table
        The table whose separator and decimal mark are used for text.
    report : function of two integers, optional
        Is told how many bytes of a Parquet file are written, and how many there are, once its last row is there.

    Raises
    ------
    ValueError
        If a column holds values that text cannot hold, such as lists.
    OSError
        If the file cannot be written.
    """
    frames = [frames] if isinstance(frames, pl.DataFrame) else frames
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        pieces = parquet_bytes(frames, report or (lambda _done, _size: None))
    else:
        texts = table_texts(frames, like)
        pieces = _compressed(texts) if suffix == ".gz" else (text.encode() for text in texts)
    if path.exists() and not path.is_file():  # a device or a pipe stays what it is
        with path.open("wb") as file:
            file.writelines(pieces)
    else:
        replace_file(path, pieces)


def table_texts(frames: Iterable[pl.DataFrame], like: Table) -> Iterator[str]:
    """Return a table as text in pieces, from its rows in blocks; see `table_text`."""
    for k, frame in enumerate(frames):
        yield table_text(frame, like, with_header=k == 0)


def _compressed(texts: Iterable[str]) -> Iterator[bytes]:
    gzip = zlib.compressobj(level=9, wbits=31)
    for text in texts:
        yield gzip.compress(text.encode())
    yield gzip.flush()


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

"""A frame written to a file or as text, in the dialect of the table that it came from.

It knows separators and decimal marks. It must not know what the columns mean.
"""

from __future__ import annotations

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
from fastbp.tables.reading import Table


def beside(cells: pl.DataFrame, added: Mapping[str, npt.NDArray[Any]]) -> tuple[pl.DataFrame, list[str]]:
    """Return the cells with columns added to the right, and what to say of that.

    Numbers have seven digits, all that float32 has. A column whose name is taken gets another one.
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
    """Return `frame` as text in the dialect of the table `like`.

    Raises
    ------
    ValueError
        If a column holds what text cannot, such as lists.
    """
    try:
        return frame.write_csv(separator=like.separator, decimal_comma=like.decimal_comma)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"the table cannot be written as text: {str(error).splitlines()[0]}") from None


def write_table(frame: pl.DataFrame, path: Path, like: Table) -> None:
    """Write `frame` to `path`: Parquet if the name ends so, otherwise text in the dialect of the table `like`.

    The file appears whole or not at all. Text whose name ends in ``.gz`` is compressed.
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
        path.write_bytes(data)  # a device or a pipe is written to, never replaced
    else:
        replace_file(path, [data])


def check_writable(path: Path, devices: bool = False) -> None:
    """Find out now, before long work, whether a file could be written at `path` later.

    Parameters
    ----------
    path : Path
    devices : bool
        Whether a pipe or a device will do.

    Raises
    ------
    ValueError
        If none could; the message says why.
    """
    directory = path.resolve().parent
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a directory")
    if not directory.is_dir():
        raise ValueError(f"cannot write {path}: there is no directory {path.parent}")
    if path.exists() and not path.is_file():
        if devices:
            return
        raise ValueError(f"cannot write {path}: what is there is not a regular file")
    try:
        if path.exists():
            path.open("ab").close()
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from None

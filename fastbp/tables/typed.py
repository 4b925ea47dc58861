"""Tables read from files that hold types: JSON (lines or one array) and Parquet.

It must not know text tables, targets, networks or scaling.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from fastbp.tabular.encoding.cells import float_of

MAX_DEPTH = 32  # of lists and objects within one another

_Records = list[tuple[dict[str, Any], int]]  # each with the position of its first character

_BLANKS = re.compile(r"[ \t\r\n]*")
_INDEX = re.compile(r"__index_level_\d+__")  # pandas' name of an index without a name

# A damaged Parquet file can abort the process that decodes it, so another process decodes it.
START_OF_POLARS = """
import sys
sys.path = [entry for entry in sys.path if entry]  # a file of the working directory hides no module
import polars
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort writes no file
except (ImportError, ValueError, OSError):
    pass
"""
_DECODE = f"""{START_OF_POLARS}try:
    polars.read_parquet(sys.argv[1], glob=False).write_ipc(sys.argv[2])
except BaseException as error:  # a panic of polars is no Exception
    sys.exit("\\n" + (str(error).strip() or type(error).__name__).split("\\n", 1)[0])
"""


# --- Parquet ------------------------------------------------------------------------------------------------------


def read_parquet(data: bytes, path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the table of a Parquet file, and the names of the columns that hold pandas' index.

    Another process decodes the file and hands over Arrow columns, because some damaged files abort the process that
    decodes them.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not sys.executable:  # Python runs inside another program
        try:
            cells = pl.read_parquet(io.BytesIO(data))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{path} is a damaged Parquet file ({_first_line(error)})") from None
        return cells, parquet_index(io.BytesIO(data), cells)
    with tempfile.TemporaryDirectory() as directory:  # faster than pipes
        parquet, arrow = Path(directory, "table.parquet"), Path(directory, "table.arrow")
        parquet.write_bytes(data)
        command = [sys.executable, "-c", _DECODE, str(parquet), str(arrow)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().split("\n")
            reason = lines[-1] if done.returncode == 1 else f"its decoder ended with status {done.returncode}"
            raise ValueError(f"{path} is a damaged Parquet file ({reason}): write the file again")
        cells = pl.read_ipc(io.BytesIO(arrow.read_bytes()))
    return cells, parquet_index(io.BytesIO(data), cells)


def parquet_index(file: Path | io.BytesIO, cells: pl.DataFrame) -> tuple[str, ...]:
    """Return the columns with pandas' index, or none if the table has no others."""
    stored: Any = None
    with suppress(pl.exceptions.PolarsError, OSError, ValueError, RecursionError):
        stored = json.loads(pl.read_parquet_metadata(file).get("pandas", "null"))
    listed = stored.get("index_columns") if isinstance(stored, dict) else None
    named = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    index = tuple(name for name in cells.columns if name in named or _INDEX.fullmatch(name))
    return index if len(index) < cells.width else ()


def text_of(column: pl.Series) -> pl.Series:
    """Return a column of any type as text: a whole number as "1", also if its type is a float."""
    texts = column.cast(pl.String)
    if not column.dtype.is_float():
        return texts
    whole = column.cast(pl.Int64, strict=False)
    is_whole = (whole.cast(column.dtype) == column).fill_null(False)
    return whole.cast(pl.String).zip_with(is_whole, texts)


# --- JSON ---------------------------------------------------------------------------------------------------------


def read_json(data: bytes, path: Path) -> pl.DataFrame:
    """Return the table of a JSON file: one object per row, one after another or in one array.

    All records decide the columns and their types. A key that a record lacks, null and NaN are missing cells. A column
    of numbers and texts is text.

    Raises
    ------
    ValueError
        If the file is no JSON, or its records are no rows of a table.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ValueError(f"{path}: line {line}: {found}: write JSON in UTF-8") from None
    records = _records(text, path)
    _check_rows(records, path)
    columns: dict[str, list[Any]] = {}
    for row, (record, _) in enumerate(records):
        for name, value in record.items():
            if name not in columns:
                columns[name] = [None] * len(records)
            columns[name][row] = value
    if not columns:
        raise ValueError(f'{path} has records without a key: a record is an object such as {{"a": 1}}')
    places = [place for _, place in records]
    return pl.DataFrame([_column(name, values, text, places, path) for name, values in columns.items()])


def _records(text: str, path: Path) -> _Records:
    """Return the objects of a text, one after another or in one array, and the position of each."""
    decode = json.JSONDecoder().raw_decode
    records: _Records = []
    place = _after_blanks(text, 0)
    is_array = text.startswith("[", place)
    if is_array:
        place = _after_blanks(text, place + 1)
    while place < len(text) and not (is_array and text.startswith("]", place)):
        try:
            record, end = decode(text, place)
        except json.JSONDecodeError as error:
            raise ValueError(_no_json(text, error.pos, error.msg, path)) from None
        except RecursionError:
            raise ValueError(_too_deep(text, place, path)) from None
        except ValueError as error:  # a whole number of more than 4,300 digits
            raise ValueError(f"{path}: {_where(text, place)}: {_first_line(error)}") from None
        if not isinstance(record, dict):
            found = f"the record is {_shown(record)}"
            raise ValueError(f'{path}: {_where(text, place)}: {found}, and a row is an object such as {{"a": 1}}')
        records.append((record, place))
        place = _after_blanks(text, end)
        if is_array and not text.startswith("]", place):
            if not text.startswith(",", place):
                raise ValueError(_no_json(text, place, "Expecting ',' or ']' after a record", path))
            place = _after_blanks(text, place + 1)
            if text.startswith("]", place):
                raise ValueError(_no_json(text, place, "Expecting a record after ','", path))
        elif not is_array and text.startswith(",", place):
            found = "a comma follows a record"
            raise ValueError(f"{path}: {_where(text, place)}: {found}: write one record per line, or an array [...]")
    if is_array and (place >= len(text) or _after_blanks(text, place + 1) < len(text)):
        wrong = "the array is not closed by ]" if place >= len(text) else "text follows the array"
        place = len(text.rstrip()) - 1 if place >= len(text) else _after_blanks(text, place + 1)
        raise ValueError(f"{path}: {_where(text, place)}: {wrong}")
    return records


def _check_rows(records: _Records, path: Path) -> None:
    """Raise a `ValueError` if a single object holds whole columns, as pandas writes them by default."""
    if len(records) != 1:
        return
    values = list(records[0][0].values())
    if values and all(isinstance(value, dict | list) and len(value) > 1 for value in values):
        found = "the file is one object of columns, not one object per row"
        raise ValueError(f"{path}: {found}: write rows, in pandas by to_json(orient='records')")


def _after_blanks(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    assert match is not None
    return match.end()


def _where(text: str, place: int) -> str:
    line = text.count("\n", 0, place) + 1
    return f"line {line}, column {place - text.rfind(chr(10), 0, place)}"


def _no_json(text: str, place: int, message: str, path: Path) -> str:
    place = min(place, len(text.rstrip()))
    if place == len(text.rstrip()):
        return f"{path}: {_where(text, place)}: this is no JSON ({message}): the file ends within a record or an array"
    found = text[place : place + 20].split("\n", 1)[0]
    advice = "a missing cell is null, texts and keys have double quotes, and truth values are true and false"
    return f"{path}: {_where(text, place)}: this is no JSON ({message}, found {found!r}): {advice}"


def _too_deep(text: str, place: int, path: Path, name: str | None = None) -> str:
    of = "" if name is None else f"column {name!r}: "
    return f"{path}: {_where(text, place)}: {of}more than {MAX_DEPTH} levels of lists and objects: flatten the record"


def _column(name: str, values: list[Any], text: str, places: list[int], path: Path) -> pl.Series:
    """Return the values of a key with the type that holds all of them."""
    values = [None if value != value else value for value in values]
    types = {type(value) for value in values} - {type(None)}
    if types <= {bool}:
        return pl.Series(name, values, dtype=pl.Boolean if types else pl.String)
    if types <= {int, float}:
        return _numbers(name, values, types == {int})
    for value, place in zip(values, places, strict=True):
        if isinstance(value, dict | list) and _is_deep(value):
            raise ValueError(_too_deep(text, place, path, name))
    try:
        if types <= {list} or types <= {dict}:
            with suppress(TypeError, OverflowError, pl.exceptions.PolarsError):
                return pl.Series(name, values, strict=False)
        return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)
    except UnicodeEncodeError as error:
        found = f"column {name!r} holds half a character ({error.object[error.start]!a})"
        raise ValueError(f"{path}: {found}: write the whole character") from None


def _numbers(name: str, values: list[Any], is_whole: bool) -> pl.Series:
    if is_whole:
        for dtype in (pl.Int64, pl.UInt64):
            with suppress(OverflowError, TypeError, pl.exceptions.PolarsError):
                return pl.Series(name, values, dtype=dtype)
    return pl.Series(name, [None if value is None else float_of(value) for value in values], dtype=pl.Float64)


def _is_deep(value: Any) -> bool:
    """Return whether lists and objects stand more than `MAX_DEPTH` deep in one another."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        inner = [part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole)]
        level = [part for part in inner if isinstance(part, dict | list)]
    return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]

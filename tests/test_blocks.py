"""Tables in blocks of rows: the same cells, types, notices and errors as the whole table, in bounded memory."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fastbp.tables import blocks, parquet_blocks, streams
from fastbp.tables.kinds import Reading
from fastbp.tables.loading import Source
from fastbp.tables.reading import read_table
from fastbp.tables.streams import stream_of

N_ROWS = 400


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 rows and 1,500 bytes, so that a small table has many of them."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1500)
    for module in (blocks, streams, parquet_blocks):
        monkeypatch.setattr(module, "BLOCK_ROWS", 64)


@pytest.fixture
def no_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test fail where a table is read as a whole."""

    def refuse(*_: object) -> None:
        raise AssertionError("the table is read as a whole")

    monkeypatch.setattr(streams, "table_of", refuse)


def nobody(*_: object) -> None:
    """Take a report."""


Lines = list[list[str]]


def table(separator: str = ",", mark: str = ".") -> Lines:
    random = np.random.default_rng(3)
    rows = [["size", "count", "kind", "day", "code", "y"]]
    for i in range(N_ROWS):
        size = "" if i % 17 == 3 else f"{random.normal():.3f}".replace(".", mark)
        size = f'"{size}"' if mark == separator else size
        day = "NA" if i % 50 == 9 else f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}"
        rows.append([size, str(i % 90 - 5), ["red", "green", " Na", "none"][i % 4], day, f"A{i:04d}", "uv"[i % 2]])
    return rows


def text_of(rows: Lines, separator: str = ",", line_end: str = "\n") -> str:
    return "".join(separator.join(row) + line_end for row in rows)


def changed(column: int, cells: dict[int, str]) -> str:
    rows = table()
    for row, cell in cells.items():
        rows[row][column] = cell
    return text_of(rows)


def with_lines(lines: dict[int, str]) -> str:
    found = text_of(table()).splitlines(keepends=True)
    for place, line in lines.items():
        found.insert(place, line)
    return "".join(found)


PLAIN = text_of(table())
ODD = dict.fromkeys(range(100, 115), "sensor off")
STREAMED = {
    "plain": PLAIN,
    "a byte-order mark": "\ufeff" + PLAIN,
    "semicolons and decimal commas": text_of(table(";", ","), ";"),
    "tabs": text_of(table("\t"), "\t"),
    "CRLF": text_of(table(), line_end="\r\n"),
    "CR CR LF": text_of(table(), line_end="\r\r\n"),
    "lines and marks of an end": PLAIN + "\n" * 400 + "\x1a",
    "no line end at the end": PLAIN.rstrip(),
    "Excel's sep line": "sep=,\n" + PLAIN,
    "odd cells": changed(0, ODD | {300: "broken"}),
    "an odd first cell": changed(0, {1: "cm"}),
    "a row of units": changed(0, {1: "cm"}).replace("cm,-5", "cm,pieces"),
    "missing in numbers": changed(1, dict.fromkeys(range(70, 200), "unknown")),
    "a block without a known cell": changed(1, dict.fromkeys(range(60, 220), "")),
    "floats among whole numbers": changed(1, {333: "9007199254740993", 390: "0.5"}),
    "whole numbers beyond 2^53": changed(1, {333: "9007199254740993"}),
    "grouped thousands": changed(1, {350: '"1,234"', 360: '"-2,000,000"'}),
    "odd days": changed(3, {350: "soon"}),
    "times among days": changed(3, {350: "2024-02-03T10:00:00Z", 370: "2024-02-03 10:00"}),
    "codes that are almost numbers": changed(4, {k: str(k) for k in range(1, 385)}),
    "codes with leading zeros": changed(4, {k: f"{k:04d}" for k in range(1, 401)}),
    "few leading zeros": changed(4, {k: "007" if k == 250 else str(k) for k in range(1, 401)}),
    "quoted line ends": changed(2, dict.fromkeys((10, 11, 200, 399), '"a\nb,""c"""')),
    "a repeated header": with_lines({200: "size,count,kind,day,code,y\n", 300: "size,count,kind,day,code,y\n"}),
    "blank lines": with_lines({130: "\n", 131: "\n", 380: "\r\n"}),
    "short rows": with_lines({130: "1.5,2\n", 380: "1\n"}),
    "stray quotes": changed(2, {150: '5" wide', 390: '6" or 7"'}),
    "twins": PLAIN.replace("code,y", "kind,y", 1),
    "an index": "".join(
        f"{'' if k == 0 else 400 - k},{line}" for k, line in enumerate(PLAIN.splitlines(keepends=True))
    ),
    "no index": "".join(f"{'' if k == 0 else k % 9},{line}" for k, line in enumerate(PLAIN.splitlines(keepends=True))),
    "one column": "size\n" + "".join(f"{k}.5\n" for k in range(N_ROWS)),
}
WHOLE = {
    "percent signs": changed(1, {k: f"{k}%" for k in range(1, 401)}),
    "Windows-1252": PLAIN.replace("red", "café").encode("cp1252"),
    "bytes that are not UTF-8": PLAIN.replace("red", "thé").encode() + b"1,2,\xff,NA,x,u\n",
    "carriage returns alone": text_of(table(), line_end="\r"),
    "a mark that no cell proves": text_of([["size", "y"], *([f"1.{k + 100}", "u"] for k in range(N_ROWS))], ";"),
    "JSON": "".join(f'{{"size": {k}.5, "y": "u"}}\n' for k in range(N_ROWS)),
    "small": "size,y\n1.5,u\n",
}


def written(directory: Path, data: str | bytes, name: str = "t.csv") -> Path:
    path = directory / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def same(path: Path, reading: Reading, used: set[str]) -> None:
    """Assert that the blocks of a table are the whole table."""
    whole = read_table(path).read_like(reading)
    typed = whole.typed(used)
    with Source(path, nobody) as source:
        stream = stream_of(source, reading, used, used, nobody)
        parts = list(stream.parts())
    cells, found = pl.concat([part.cells for part in parts]), pl.concat([part.typed for part in parts])
    assert cells.equals(whole.cells)
    assert all(part.cells.height == 64 for part in parts[:-1])
    columns = [name for name in typed.frame.columns if name in used]
    wanted = typed.frame.select(columns)
    assert found.select(columns).schema == wanted.schema
    assert found.select(columns).equals(wanted)
    assert list(stream.notices) == [*whole.notices, *typed.notices]
    assert list(stream.names) == typed.frame.columns
    assert stream.n_rows == whole.cells.height
    like = stream.like
    assert (like.separator, like.decimal_comma, like.headers, like.line_end, like.preamble) == (
        *(whole.separator, whole.decimal_comma, whole.headers, whole.line_end, whole.preamble),
    )


def reading_of(path: Path) -> Reading:
    """Return how a model reads that learned the table itself."""
    typed = read_table(path).typed()
    numbers = {column.name for column in typed.frame if column.dtype.is_numeric()}
    texts = {column.name for column in typed.frame if column.dtype == pl.String}
    return Reading(typed.reading.decimal_mark, typed.reading.odd, numbers, texts)


def streamed(path: Path) -> None:
    reading = reading_of(path)
    for used in ({*reading.numbers, *reading.texts, "day"}, {"size"}):
        same(path, reading, used & {*read_table(path).cells.columns})
    bare = Reading(reading.decimal_mark, {}, {"size"}, ())  # all other columns are not the model's
    same(path, bare, {"size"})


@pytest.mark.usefixtures("no_whole")
@pytest.mark.parametrize("case", STREAMED)
def test_blocks_are_the_whole_table(case: str, tmp_path: Path) -> None:
    streamed(written(tmp_path, STREAMED[case]))


@pytest.mark.usefixtures("no_whole")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_blocks_of_other_encodings_are_the_whole_table(encoding: str, tmp_path: Path) -> None:
    streamed(written(tmp_path, STREAMED["quoted line ends"].encode(encoding)))


@pytest.mark.usefixtures("no_whole")
def test_blocks_of_gzip_with_several_members_are_the_whole_table(tmp_path: Path) -> None:
    data = PLAIN.encode()
    packed = gzip.compress(data[:5000]) + gzip.compress(data[5000:]) + b"\0" * 700
    streamed(written(tmp_path, packed))


@pytest.mark.parametrize("case", WHOLE)
def test_other_tables_are_read_as_a_whole(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, WHOLE[case])
    read: list[Path] = []
    of_whole = streams.table_of
    monkeypatch.setattr(streams, "table_of", lambda content, name: read.append(name) or of_whole(content, name))
    same(path, Reading(None, {}, {"size"} if "size" in read_table(path).cells.columns else (), ()), {"size", "count"})
    assert read


@pytest.mark.usefixtures("no_whole")
def test_blocks_of_parquet_are_the_whole_table(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "size": np.arange(1000) / 8,
            "kind": ["a", "b", None, "c"] * 250,
            "code": np.arange(1000.0),
            "__index_level_0__": range(1000),
        }
    ).with_columns(
        day=pl.date(2024, 1, 1) + pl.duration(days=pl.int_range(1000)), kind=pl.col("kind").cast(pl.Enum("abc"))
    )
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=300)
    same(tmp_path / "t.parquet", Reading(texts={"code"}), {"size", "kind", "code", "day"})


@pytest.mark.parametrize("case", ["a row too long", "an open quote", "half a gzip file", "half a Parquet file"])
def test_an_error_is_that_of_the_whole_table(case: str, tmp_path: Path) -> None:
    parquet = tmp_path / "whole.parquet"
    pl.DataFrame({"size": range(1000)}).write_parquet(parquet)
    data = {
        "a row too long": with_lines({300: "1,2,3,4,5,6,7\n"}),
        "an open quote": with_lines({300: '1,"2,3\n'}),
        "half a gzip file": gzip.compress(PLAIN.encode())[:-600],
        "half a Parquet file": parquet.read_bytes()[:-30],
    }[case]
    path = written(tmp_path, data)
    with pytest.raises(ValueError, match=r"line 30|damaged") as wanted:
        read_table(path)
    with pytest.raises(ValueError, match=r"line 30|damaged") as found, Source(path, nobody) as source:
        stream_of(source, Reading(numbers={"size"}), {"size"}, {"size"}, nobody)
    assert str(found.value) == str(wanted.value)

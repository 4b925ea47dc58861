"""Reading and writing tables: every dialect gives the same values, and an error says why a file is no table."""

import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fastbp.tables.reading import Table, read_table
from fastbp.tables.writing import beside, check_writable, write_table

NAMES = ["body mass", "kind", "note"]
ROWS = [(1.5, "café", "a, b"), (-2.0, None, "c;d"), (None, "thé", "e")]

COMMAS = 'body mass,kind,note\n1.5,café,"a, b"\n-2,,c;d\nNA,thé,e\n'
SEMICOLONS = 'body mass;kind;note\n1.5;café;a, b\n-2;;"c;d"\nNA;thé;e\n'
DECIMAL_COMMAS = SEMICOLONS.replace("1.5", "1,5")
TABS = "body mass\tkind\tnote\n1.5\tcafé\ta, b\n-2\t\tc;d\nNA\tthé\te\n"

DIALECTS = {
    "commas": COMMAS.encode(),
    "semicolons": SEMICOLONS.encode(),
    "semicolons with decimal commas": DECIMAL_COMMAS.encode(),
    "tabs": TABS.encode(),
    "bars": TABS.replace("\t", "|").encode(),
    "byte-order mark": COMMAS.encode("utf-8-sig"),
    "CRLF": COMMAS.replace("\n", "\r\n").encode(),
    "CR alone": COMMAS.replace("\n", "\r").encode(),
    "no line feed at the end": COMMAS.rstrip().encode(),
    "empty lines": COMMAS.replace("\n", "\n\n").encode(),
    "Latin-1": COMMAS.encode("latin-1"),
    "UTF-16": TABS.encode("utf-16"),
    "gzip": gzip.compress(COMMAS.encode()),
    "Excel's sep line": b"sep=;\r\n" + SEMICOLONS.encode(),
    "everything quoted": b"\n".join(b'"' + line.replace(b"\t", b'","') + b'"' for line in TABS.encode().splitlines()),
    "blanks around cells": COMMAS.replace(",c;d", " , c;d").replace("NA,thé", " NA , thé ").encode(),
    "a separator at each row's end": TABS.replace("\n", "\t\n").replace("\t\n", "\n", 1).encode(),
}


def written(directory: Path, data: bytes | str, name: str = "table.csv") -> Path:
    path = directory / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def values(directory: Path, data: bytes | str) -> pl.DataFrame:
    return read_table(written(directory, data)).values()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_values(dialect: str, tmp_path: Path) -> None:
    frame = values(tmp_path, DIALECTS[dialect])
    assert frame.columns == NAMES
    assert frame.rows() == ROWS


def test_parquet_is_recognised_by_its_first_bytes_whatever_its_name(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS, schema=NAMES, orient="row")
    frame.write_parquet(tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv").values().rows() == ROWS


def test_a_quoted_cell_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    frame = values(tmp_path, 'a,b\r\n"x\r\ny, z",1\r\n"say ""hi""",2\r\n')
    assert frame.rows() == [("x\r\ny, z", 1), ('say "hi"', 2)]


def test_a_quote_inside_a_cell_is_a_letter(tmp_path: Path) -> None:
    assert values(tmp_path, 'pipe,n\n5" wide,1\n6" or 7", 2\n').rows() == [('5" wide', 1), ('6" or 7"', 2)]


@pytest.mark.parametrize("mark", ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "?", "#N/A"])
def test_a_mark_of_a_missing_cell_is_missing_in_numbers_and_in_text(mark: str, tmp_path: Path) -> None:
    assert values(tmp_path, f"a,b\n1,x\n{mark},{mark}\n").rows() == [(1, "x"), (None, None)]


def test_sodium_and_none_are_texts_but_no_numbers(tmp_path: Path) -> None:
    frame = values(tmp_path, "element,left\nNa,1\nNone,None\nK,-\n")
    assert frame.rows() == [("Na", 1), ("None", None), ("K", None)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "+3"], [1, -2, 3]),
        (["9007199254740993", "0"], [9007199254740993, 0]),
        (["1.", ".5", "1e3", "-2.5E-1"], [1.0, 0.5, 1000.0, -0.25]),
        (["1e400", "-inf"], [float("inf"), float("-inf")]),
        (['"1,234.5"', '"12,345,678"', "9"], [1234.5, 12345678.0, 9.0]),
        (["1", "1 kg"], ["1", "1 kg"]),
        (['"1,5"', "2"], ["1,5", "2"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["007", "8"], ["007", "8"]),
        (["0.07", "0", "-0.5"], [0.07, 0.0, -0.5]),
    ],
)
def test_a_column_is_numbers_if_every_cell_is_one(cells: list[str], expected: list[object], tmp_path: Path) -> None:
    column = values(tmp_path, "a,b\n" + "".join(f"{cell},x\n" for cell in cells))["a"].to_list()
    assert column == expected
    assert [type(value) for value in column] == [type(value) for value in expected]


def test_where_commas_mark_decimals_points_group_thousands(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a;b\n1.234,5;x\n2;y\n"))
    assert table.values()["a"].to_list() == [1234.5, 2.0]
    assert table.decimal_comma


def test_cells_are_kept_as_they_are_written(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a,b\n1.50,NA\n+2, x\n"))
    assert table.cells.rows() == [("1.50", "NA"), ("+2", " x")]


def test_a_column_can_be_kept_as_text(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "code,n\n007,1\n008,2\n"))
    assert table.values(frozenset({"code"})).rows() == [("007", 1), ("008", 2)]
    assert Table(pl.DataFrame({"code": [7, None]})).values(frozenset({"code"})).rows() == [("7",), (None,)]


def test_a_short_row_is_filled_with_missing_cells_and_gives_a_notice(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a,b,c\n1,2,3\n4,5\n"))
    assert table.values().rows() == [(1, 2, 3), (4, 5, None)]
    assert "line 3" in table.notices[0]


def test_text_that_is_not_utf_8_gives_a_notice(tmp_path: Path) -> None:
    assert "UTF-8" in read_table(written(tmp_path, "é,b\n1,2\n".encode("latin-1"))).notices[0]


PARQUET = io.BytesIO()
pl.DataFrame({"a": [1, 2]}).write_parquet(PARQUET)

NO_TABLES = {
    "no bytes": (b"", "is empty"),
    "blank lines alone": (b"\n \r\n\n", "is empty"),
    "a header alone": (b"a,b\n", "no rows"),
    "a PNG image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0", "binary"),
    "a PNG's signature": (b"\x89PNG\r\n\x1a\n", "binary"),
    "random bytes": (bytes(range(256)), "binary"),
    "half a gzip file": (gzip.compress(COMMAS.encode() * 99)[:-40], "damaged gzip"),
    "an altered gzip file": (gzip.compress(b"a,b\n1,2\n")[:-8] + b"12345678", "damaged gzip"),
    "half a Parquet file": (PARQUET.getvalue()[:-20], "damaged Parquet"),
    "a row too long": (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, where the header has 2"),
    "a quote left open at the end": (b'a,b\n1,2\n3,"4', "quote is opened in line 3"),
    "a quote never closed": (b'a,b\n1,2\n3,"4\n5,6\n', "quote is opened in line 3"),
}


@pytest.mark.parametrize("case", NO_TABLES)
def test_a_file_that_is_no_table_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    data, message = NO_TABLES[case]
    with pytest.raises(ValueError, match=message):
        read_table(written(tmp_path, data))


def test_a_directory_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="directory"):
        read_table(tmp_path)


@pytest.mark.parametrize("dialect", ["commas", "semicolons with decimal commas", "tabs"])
def test_a_table_is_written_as_it_was_read(dialect: str, tmp_path: Path) -> None:
    data = DIALECTS[dialect]
    table = read_table(written(tmp_path, data))
    write_table(table.cells, tmp_path / "out.csv", table)
    assert (tmp_path / "out.csv").read_bytes() == data


def test_a_number_added_to_a_table_has_its_decimal_mark(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a;b\n1,5;x\n"))
    frame, _ = beside(table.cells, {"prediction": np.array([2.5])})
    write_table(frame, tmp_path / "out.csv", table)
    assert (tmp_path / "out.csv").read_text() == "a;b;prediction\n1,5;x;2,5\n"


def test_an_added_column_never_replaces_one_of_the_same_name() -> None:
    frame, notices = beside(pl.DataFrame({"prediction": ["old"]}), {"prediction": np.array(["new"])})
    assert frame.rows() == [("old", "new")]
    assert frame.columns[0] == "prediction"
    assert frame.columns[1] in notices[0]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv.gz", "out.tsv"])
def test_what_is_written_can_be_read_again(name: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    write_table(frame, tmp_path / name, Table(frame))
    again = read_table(tmp_path / name)
    assert again.values().equals(frame)


def test_a_parquet_file_and_a_gzip_file_are_what_their_names_say(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1]})
    write_table(frame, tmp_path / "out.parquet", Table(frame))
    write_table(frame, tmp_path / "out.csv.gz", Table(frame))
    assert (tmp_path / "out.parquet").read_bytes().startswith(b"PAR1")
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == b"a\n1\n"


def test_lists_cannot_be_written_as_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [[1, 2]]})
    with pytest.raises(ValueError, match="cannot be written as text"):
        write_table(frame, tmp_path / "out.csv", Table(frame))


@pytest.mark.parametrize("place", ["none/out.csv", ".", "/proc/out.csv"])
def test_an_unwritable_place_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        check_writable(tmp_path / place)


def test_the_check_whether_a_file_can_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, "old")
    check_writable(path)
    check_writable(tmp_path / "new.csv")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["2024-02-29", "1999-12-31"], ["2024-02-29 00:00:00", "1999-12-31 00:00:00"]),
        (["2024-02-29 13:45:10", ""], ["2024-02-29 13:45:10", None]),
        (["2024-02-29T13:45:10.250", "NA"], ["2024-02-29 13:45:10.250000", None]),
        (["2024-02-29 13:45", "2024-03-01 00:00"], ["2024-02-29 13:45:00", "2024-03-01 00:00:00"]),
    ],
)
def test_cells_that_are_all_dates_by_iso_8601_are_dates(cells, wanted, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("day,x\n" + "".join(f"{cell},1\n" for cell in cells))
    column = read_table(path).values()["day"]
    assert column.dtype == pl.Datetime("us")
    assert [None if cell is None else str(cell) for cell in column] == wanted


@pytest.mark.parametrize(
    "text", ['{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n', '[{"a": 1, "b": "x"}, {"a": 2, "b": null}]']
)
def test_lines_and_arrays_of_json_are_tables(text, tmp_path):
    path = tmp_path / "table.json"
    path.write_text(text)
    assert read_table(path).values().rows() == [(1, "x"), (2, None)]


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+0000"])
def test_times_with_an_offset_are_the_clock_that_the_file_shows(zone, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"day,x\n2024-02-29T13:45:10{zone},1\n,1\n2024-02-29T16:45:10.5+03:00,1\n")
    column = read_table(path).values()["day"]
    assert [cell and str(cell) for cell in column] == [
        "2024-02-29 13:45:10",
        None,
        "2024-02-29 16:45:10.500000",
    ]


@pytest.mark.parametrize("cells", [["2024-02-30", "2024-02-29"], ["2024-02-29", "soon"], ["29.02.2024", "01.03.2024"]])
def test_cells_that_are_no_dates_stay_text(cells, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("day,x\n" + "".join(f"{cell},1\n" for cell in cells))
    assert read_table(path).values()["day"].to_list() == cells

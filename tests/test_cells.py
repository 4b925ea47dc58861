"""Columns of every library as the same cells."""

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pytest

from fastbp.tabular.encoding.cells import Cells, Frame, cells_of, date_text, spelled
from fastbp.tabular.encoding.frames import column_of, frame_of, has_names

NOON = datetime(2024, 3, 1, 12)

COLUMNS = {
    "whole": [3, None, -1, 2**53 + 1],
    "numbers": [1.5, None, -0.0, 1e300],
    "truth": [True, None, False, True],
    "texts": ["b", None, "a", "b"],
    "dates": [date(2024, 2, 29), None, date(1969, 12, 31), date(2024, 2, 29)],
    "moments": [NOON, None, datetime(1969, 12, 31, 23, 59, 59, 999_999), NOON],
    "elsewhere": [NOON.replace(tzinfo=timezone.utc), None, NOON.replace(tzinfo=timezone.utc), None],
    "durations": [timedelta(hours=-3), None, timedelta(microseconds=1), timedelta(days=9)],
    "times": [time(1, 2, 3, 4), None, time(), time(23, 59)],
    "exact": [Decimal("1.25"), None, Decimal("-3.5"), Decimal(7)],
    "nothing": [None] * 4,
    "lists": [[1, 2], None, [3], []],
}


def held(column: Cells) -> tuple[str, list[Any]]:
    return column.kind, [column.value(row) for row in range(len(column))]


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("library", ["polars", "pyarrow", "pandas", "pandas of pyarrow"])
def test_a_column_is_the_same_in_every_library(name: str, library: str) -> None:
    values = COLUMNS[name]
    series = pl.Series(name, values)
    if library == "pyarrow":
        pytest.importorskip("pyarrow")
        series = series.to_frame().to_arrow()[name]
    elif library == "pandas":
        pandas = pytest.importorskip("pandas")
        series = pandas.Series(values, dtype=object if name in ("whole", "truth") else None)
    elif library == "pandas of pyarrow":
        pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        series = series.to_pandas(use_pyarrow_extension_array=True)
    got, wanted = column_of(series, name), cells_of(name, values)
    if name == "lists":  # an array, as pandas of pyarrow has them, is called by its own name
        assert got.kind.endswith(" values")
        assert wanted.kind == "list values"
    else:
        assert held(got) == held(wanted)
    assert got.missing.tolist() == [value is None for value in values]


@pytest.mark.parametrize(
    ("array", "same"),
    [
        (np.array([1, 2], dtype=np.uint8), [1, 2]),
        (np.array([1.5, np.nan], dtype=np.float16), [1.5, None]),
        (np.array([True, False]), [True, False]),
        (np.array(["b", "a"]), ["b", "a"]),
        (np.array(["2024-02-29", "NaT"], dtype="datetime64[D]"), [date(2024, 2, 29), None]),
        (np.array(["2024-02-29T06", "NaT"], dtype="datetime64[ns]"), [datetime(2024, 2, 29, 6), None]),
        (np.array([5, "NaT"], dtype="timedelta64[ms]"), [timedelta(milliseconds=5), None]),
        (np.array([1, 2.5, None], dtype=object), [1.0, 2.5, None]),
        (np.array([1, "a", 2.0, True], dtype=object), ["1", "a", "2", "true"]),
        ([np.datetime64("2024-02-29"), np.datetime64("NaT")], [date(2024, 2, 29), None]),
        ([np.timedelta64(5, "ms"), None], [timedelta(milliseconds=5), None]),
        ([2**70, None, 1], [float(2**70), None, 1.0]),
        (range(3), [0, 1, 2]),
        ((i for i in range(3)), [0, 1, 2]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
        ([10**400, -(10**400), 1], [float("inf"), float("-inf"), 1.0]),
        (pl.Series([2**100, None], dtype=pl.Int128), [2.0**100, None]),
    ],
)
def test_an_array_and_a_list_of_the_same_values_are_the_same_cells(array: Any, same: list[Any]) -> None:
    assert held(column_of(array, "a")) == held(cells_of("a", same))


@pytest.mark.parametrize("value", [5, "red", b"red", None])
def test_one_value_is_no_column_and_the_error_shows_how_one_row_is_written(value: Any) -> None:
    with pytest.raises(ValueError, match=rf"column 'a' must be a list .* one row is \[{value!r}\]"):
        frame_of({"a": value})


def test_what_is_missing_has_no_value() -> None:
    column = cells_of("a", [1.0, float("nan"), float("inf"), None])
    assert column.missing.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(column.floats(), [1, np.nan, np.nan, np.nan])
    assert [column.value(row) for row in (0, 1, 3)] == [1.0, None, None]
    assert cells_of("a", ["x", None, "y", "x"]).codes().tolist() == [0, -1, 1, 0]


@pytest.mark.parametrize(
    ("values", "distinct"),
    [
        (["b", None, "a", "b", "c"], ["a", "b", "c"]),
        ([3, None, 1, 3], [1, 3]),
        ([True, False, None, True], [False, True]),
        ([True, True], [True]),
        ([2.5, float("nan"), -1.0], [-1.0, 2.5]),
        ([None, None], []),
    ],
)
def test_different_values_are_in_ascending_order(values: list[Any], distinct: list[Any]) -> None:
    column = cells_of("a", values)
    found, places = column.distinct()
    assert found == distinct
    assert [found[place] if place >= 0 else None for place in places] == [column.value(i) for i in range(len(values))]


def test_what_cannot_be_compared_says_so() -> None:
    with pytest.raises(ValueError, match="'a' holds list values, which cannot be compared"):
        cells_of("a", [[1], [2]]).distinct()


def test_texts_of_rows_left_out_are_not_among_the_different_values() -> None:
    assert cells_of("a", ["x", "y", "z"]).take(np.array([True, False, True])).distinct()[0] == ["x", "z"]


@pytest.mark.parametrize(
    ("days", "text"), [(19782.0, "2024-02-29"), (19782.25, "2024-02-29 06:00:00"), (-1e-12, "1970-01-01")]
)
def test_a_date_is_shown_with_its_time_unless_that_is_midnight(days: float, text: str) -> None:
    assert date_text(days) == text


def test_an_array_of_another_library_is_what_numpy_makes_of_it() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    assert held(column_of(pyarrow.array(["x", None]), "a")) == ("text", ["x", None])
    assert held(column_of(pyarrow.array([date(2024, 2, 29), None]), "a")) == ("dates", ["2024-02-29", None])


def test_a_frame_is_columns_of_one_length_in_their_order() -> None:
    frame = frame_of({"a": [1, 2, 3], "b": ["x", "y", None]})
    assert (frame.names, len(frame)) == (["a", "b"], 3)
    rows = frame.take(np.array([2, 0]))
    assert [held(column)[1] for column in rows] == [[3, 1], [None, "x"]]
    assert frame.without("a").names == ["b"]
    assert isinstance(frame_of(frame), Frame)
    renamed = frame.renamed(["c", "d"])
    assert renamed.names == [column.name for column in renamed] == ["c", "d"]


# --- lists of records, structured arrays, series -----------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        [{"a": 1, "b": "x"}, {"b": "y", "a": 2}],
        ({"a": 1, "b": "x"}, {"a": 2, "b": "y"}),
        np.array([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], dtype=object),
        np.array([(1, "x"), (2, "y")], dtype=[("a", "i8"), ("b", "U1")]),
        np.rec.array([(1, "x"), (2, "y")], dtype=[("a", "i4"), ("b", "U1")]),
        [MappingProxyType({"a": 1, "b": "x"}), MappingProxyType({"a": 2, "b": "y"})],
    ],
    ids=["list", "tuple", "array of objects", "structured array", "record array", "other mappings"],
)
def test_records_are_a_table_with_names(X: Any) -> None:
    frame = frame_of(X)
    assert [(column.name, *held(column)) for column in frame] == [("a", "numbers", [1, 2]), ("b", "text", ["x", "y"])]
    assert has_names(X)


def test_a_key_that_a_record_lacks_is_a_missing_cell() -> None:
    frame = frame_of([{"a": 1}, {"b": 0.5}, {"a": 3, "c": "x"}])
    assert [held(column)[1] for column in frame] == [[1, None, 3], [None, 0.5, None], [None, None, "x"]]


@pytest.mark.parametrize("other", [None, [1, 2], 7, "x"])
def test_a_row_that_is_no_record_is_named(other: Any) -> None:
    with pytest.raises(TypeError, match=rf"X\[2\] is no record: .* X\[2\] is a {type(other).__name__}"):
        frame_of([{"a": 1}, {"a": 2}, other])


@pytest.mark.parametrize("library", ["pandas row", "pandas column", "polars", "pyarrow"])
def test_a_series_is_refused_with_the_way_to_a_table(library: str) -> None:
    advice = r"X.to_frame\(\)"
    if library == "polars":
        series: Any = pl.Series("a", [1, 2])
    elif library == "pyarrow":
        series = pytest.importorskip("pyarrow").chunked_array([[1, 2]])
    else:
        frame = pytest.importorskip("pandas").DataFrame({"a": [1, 2], "b": ["x", "y"]})
        series = frame.iloc[0] if library == "pandas row" else frame["a"]
        advice = r"X.to_frame\(\) .* X.to_frame\(\).T of a row"
    with pytest.raises(TypeError, match=f"X is a series, not a table: {advice}"):
        frame_of(series)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8", "uint64", "bool"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_one_dtype_is_the_same_cells_as_its_columns(library: str, dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    names = ["a", "b", "c"]
    frame: Any = pl.DataFrame({name: array[:, i] for i, name in enumerate(names)})
    if library == "pandas":
        frame = pytest.importorskip("pandas").DataFrame(array, columns=names)
    for got, column in zip(frame_of(frame), array.T, strict=True):
        wanted = cells_of(got.name, column)
        assert (got.values.dtype, held(got)) == (wanted.values.dtype, held(wanted))


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float32, pl.Int128, pl.Boolean, pl.UInt8])
def test_gaps_of_a_frame_of_one_dtype_stay_gaps(dtype: Any) -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [0, 1]}).cast(dtype)
    assert [column.missing.tolist() for column in frame_of(frame)] == [[False, True], [False, False]]
    assert [column.values.dtype for column in frame_of(frame)] == [column_of(c, c.name).values.dtype for c in frame]


# --- one spelling, and differences -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("1.0", "1"),
        ("-20.00", "-20"),
        ("0.0", "0"),
        ("True", "true"),
        ("FALSE", "false"),
        ("1.5", "1.5"),
        ("01.0", "01.0"),
        ("1.", "1."),
        ("v1.0", "v1.0"),
        ("1.0.0", "1.0.0"),
        ("tRUE", "tRUE"),
    ],
)
def test_a_value_has_one_spelling(text: str, one: str) -> None:
    assert spelled(text) == one


@pytest.mark.parametrize(
    "values",
    [
        np.array([2**63 - 1, 2**63 - 2, -(2**63)]),
        np.array([2**64 - 1, 2**64 - 3, 0], dtype=np.uint64),
        np.array([10**17, 10**17 + 1, 10**17 - 5]),
        np.array([5, -3, 127], dtype=np.int8),
    ],
)
def test_a_difference_of_whole_numbers_is_exact_before_it_is_rounded(values: Any) -> None:
    offset = 2**62 + 3
    wanted = [float(int(value) - offset) for value in values]
    np.testing.assert_array_equal(cells_of("a", values).floats(offset), wanted)
    near = int(values[0])
    assert cells_of("a", values).floats(near)[:2].tolist() == [0, int(values[1]) - near]

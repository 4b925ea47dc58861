"""Tables of files with types: JSON and Parquet give the cells that frames of the same values give."""

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_line import FEW, command, run

from fastbp.tables import typed
from fastbp.tables.reading import Table, read_table
from fastbp.tables.typed import MAX_DEPTH
from fastbp.tabular import TabularClassifier, TabularRegressor
from fastbp.tabular.encoding.frames import frame_of


def written(directory: Path, data: bytes | str) -> Path:
    path = directory / "table"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def read(directory: Path, data: bytes | str) -> Table:
    return read_table(written(directory, data))


AS_FILES: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "lines": lambda records: "\n".join(map(json.dumps, records)),
    "an array": lambda records: "\ufeff \n" + json.dumps(records),
    "an array over many lines": lambda records: json.dumps(records, indent=2) + "\n",
    "records over many lines": lambda records: "\n\n".join(json.dumps(record, indent=1) for record in records),
}


# --- JSON -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", AS_FILES)
@pytest.mark.parametrize(
    ("first", "later", "wanted"),
    [
        ({"a": 0}, {"a": 120.75}, [0.0, 120.75]),
        ({"a": 7}, {"a": -0.125}, [7.0, -0.125]),
        ({"a": None}, {"a": 3}, [None, 3]),
        ({"a": None}, {"a": "late"}, [None, "late"]),
        ({"b": 1}, {"a": 2.5}, [None, 2.5]),
        ({"a": 5}, {"a": "five"}, ["5", "five"]),
        ({"a": "five"}, {"a": 5.5}, ["five", "5.5"]),
        ({"a": True}, {"a": None}, [True, None]),
        ({"a": True}, {"a": "maybe"}, ["true", "maybe"]),
        ({"a": 1}, {"a": 2**63}, [1, 2**63]),
        ({"a": 1}, {"a": -(2**63) - 1}, [1.0, -(2.0**63)]),
        ({"a": 1}, {"a": 10**400}, [1.0, float("inf")]),
    ],
)
def test_all_records_decide_the_columns_and_their_types(
    form: str, first: dict[str, Any], later: dict[str, Any], wanted: list[Any], tmp_path: Path
) -> None:
    records = [first] * 300 + [later]
    column = read(tmp_path, AS_FILES[form](records)).cells["a"]
    assert [column[0], column[299], column[300]] == [wanted[0], wanted[0], wanted[1]]
    assert {type(column[row]) for row in (0, 300)} == {type(value) for value in wanted}


def test_nan_and_infinity_are_numbers_as_python_writes_them(tmp_path: Path) -> None:
    records = [{"a": float("nan"), "b": 1}, {"a": float("inf"), "b": float("nan")}, {"a": float("-inf"), "b": 3}]
    cells = read(tmp_path, json.dumps(records)).cells
    assert cells["a"].to_list() == [None, float("inf"), float("-inf")]
    assert cells["b"].to_list() == [1, None, 3]


NO_JSON = {
    "python's None": ('{"a": 1}\n{"a": None}', "line 2, column 7: this is no JSON.*'None}'.*missing cell is null"),
    "python's quotes": ('[{"a": 1},\n {"a": \'x\'}]', "line 2, column 8: .*double quotes"),
    "python's True": ('{"a": True}', "line 1, column 7: .*true and false"),
    "a comma too many": ('[{"a": 1},\n]', "line 2, column 1: .*a record after ','"),
    "no comma": ('[{"a": 1}\n {"a": 2}]', "line 2, column 2: .*',' or ']'"),
    "commas between lines": ('{"a": 1},\n{"a": 2}', r"line 1, column 9: .*one record per line, or an array"),
    "an open array": ('[{"a": 1},\n {"a": 2}', "line 2, column 10: .*',' or ']'.*the file ends within"),
    "half a record": ('{"a": 1}\n{"a": 2, "b', "line 2, column 10: this is no JSON"),
    "a record left open": ('{"a": 1}\n{"a": 2\n', r"line 2, column 8: .*the file ends within"),
    "an array cut after a comma": ('[{"a": 1},\n', "line 1, column 10: the array is not closed"),
    "text after the array": ('[{"a": 1}]\n{"a": 2}', "line 2, column 1: text follows"),
    "a list among records": ('{"a": 1}\n[2]', r"line 2, column 1: the record is \[2\], and a row is an object"),
    "a number among records": ('[{"a": 1}, 2]', "line 1, column 12: the record is 2"),
    "columns of pandas": ('{"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}', r"object of columns.*orient='records'"),
    "columns as lists": ('{"a": [1, 2],\n "b": [3, 4]}', "object of columns, not one object per row"),
    "columns split": ('{"columns": ["a", "b"], "index": [0, 1], "data": [[1, 3], [2, 4]]}', "object of columns"),
    "no keys": ("{}\n{}", "without a key"),
    "Latin-1": ('{"a": 1}\n{"a": "é"}'.encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
    "half a character": (r'{"a": "\ud83d"}', r"column 'a' holds half a character"),
    "a nested cell": ('{"a": ' + "[" * 100 + "]" * 100 + "}", f"more than {MAX_DEPTH} levels"),
    "a deep cell": ('{"b": 1}\n{"a": ' + "[" * 1000 + "]" * 1000 + "}", f"line 2, .*more than {MAX_DEPTH} levels"),
    "an abyss of objects": ('{"a": ' * 100_000 + "1" + "}" * 100_000, f"line 1, .*more than {MAX_DEPTH} levels"),
    "a number of 5,000 digits": ('{"a": ' + "9" * 5000 + "}", "line 1, column 1: .*5000 digits"),
}


@pytest.mark.parametrize("case", NO_JSON)
def test_what_is_no_json_is_refused_in_one_line_that_says_where(case: str, tmp_path: Path) -> None:
    data, message = NO_JSON[case]
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "table") in str(error.value)


def test_nested_cells_are_lists_unless_plain_values_stand_beside_them(tmp_path: Path) -> None:
    records = [{"a": [1, "x"], "b": {"c": 1}, "d": {"e": [2]}}, {"a": [], "b": {"c": None, "f": 2}, "d": "plain"}]
    cells = read(tmp_path, json.dumps(records)).cells
    assert cells["a"].dtype.is_nested()
    assert cells["b"].dtype.is_nested()
    assert cells["d"].to_list() == ['{"e": [2]}', "plain"]


# --- texts stay texts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        ["00501", "10001"],
        ["NA", "DE"],
        ["2024-01-01", "2024-01-02"],
        ["1.5", "-2"],
        ["?", "null"],
        ["true", "FALSE"],
        [" padded", ""],
    ],
)
@pytest.mark.parametrize("kind", ["JSON", "Parquet"])
def test_a_text_of_a_file_with_types_is_a_text_as_in_a_frame(kind: str, texts: list[str], tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": texts, "b": [1, 2]})
    table = read(tmp_path, parquet(frame) if kind == "Parquet" else json.dumps(frame.to_dicts()))
    for values in (table.values(), table.values(frozenset({"a"}))):
        assert values.equals(frame)
        read_cells, frame_cells = frame_of(values)["a"], frame_of(frame)["a"]
        assert (read_cells.kind, read_cells.levels) == (frame_cells.kind, frame_cells.levels) == ("text", tuple(texts))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1.0, 2.0, None], ["1", "2", None]),
        ([1.5, -0.25, 1e300], ["1.5", "-0.25", "1e+300"]),
        ([True, False, None], ["true", "false", None]),
        ([7, -8, 0], ["7", "-8", "0"]),
        ([float("inf"), 3.0, None], ["inf", "3", None]),
    ],
)
def test_numbers_read_as_text_have_the_spelling_of_their_value(values: list[Any], texts: list[str]) -> None:
    table = Table(pl.DataFrame({"a": values}), is_typed=True)
    assert table.values(frozenset({"a"}))["a"].to_list() == texts


# --- times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-8, 0, 2, 9])
@pytest.mark.parametrize("separator", [" ", "T"])
def test_a_time_with_an_offset_is_its_local_clock_in_text_in_parquet_and_in_frames(
    hours: int, separator: str, tmp_path: Path
) -> None:
    zone = timezone(timedelta(hours=hours))
    times = [datetime(2024, month, 28, hour, 30, tzinfo=zone) for month, hour in ((1, 0), (7, 23), (12, 5))]
    local = [time.replace(tzinfo=None) for time in times]
    text = "a,b\n" + "".join(f"{time.isoformat(separator)},1\n" for time in times)
    name = "UTC" if hours == 0 else f"Etc/GMT{-hours:+d}"
    zoned = pl.DataFrame({"a": pl.Series(local).dt.replace_time_zone(name)})
    days = frame_of({"a": local})["a"].days()
    for frame in (read(tmp_path, text).values(), read(tmp_path, parquet(zoned)).values(), zoned, {"a": times}):
        np.testing.assert_array_equal(frame_of(frame)["a"].days(), days)


@pytest.mark.parametrize("offset", ["Z", "+00", "-0330", "+05:45", " +0200"])
def test_every_spelling_of_an_offset_is_read(offset: str, tmp_path: Path) -> None:
    column = read(tmp_path, f"a,b\n2024-02-29 13:45:10{offset},1\n2024-03-01 00:00:00{offset},2\n").values()["a"]
    assert column.to_list() == [datetime(2024, 2, 29, 13, 45, 10), datetime(2024, 3, 1)]


# --- Parquet ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "index"),
    [([None], ["__index_level_0__"]), (["key"], ["key"]), (["year", None], ["year", "__index_level_1__"])],
)
def test_an_index_of_pandas_is_no_input_and_stays_in_the_cells(
    names: list[str | None], index: list[str], tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    levels = [[5, 9, 2], ["x", "y", "z"]][: len(names)]
    frame = pandas.DataFrame({"a": [1, 2, 3]}, index=pandas.MultiIndex.from_arrays(levels, names=names))
    table = read(tmp_path, frame.to_parquet())
    assert table.values().columns == ["a"]
    assert table.cells.columns == ["a", *index]
    assert [notice for notice in table.notices if "pandas' index" in notice] == list(table.notices)
    assert all(repr(name) in notice for name, notice in zip(index, table.notices, strict=True))
    assert table.values(keep=index[:1]).columns == ["a", index[0]]


def test_columns_without_an_index_all_stay(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = read(tmp_path, pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_parquet())
    assert (table.values().columns, table.notices) == (["a", "b"], ())
    only = read(tmp_path, parquet(pl.DataFrame({"__index_level_0__": [1, 2]})))
    assert only.values().columns == ["__index_level_0__"]


def damaged(seed: int) -> bytes:
    """Return a Parquet file with some altered bytes."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"a": np.arange(300), "b": [f"x{i % 9}" for i in range(300)]})
    data = np.frombuffer(parquet(frame), np.uint8).copy()
    places = rng.integers(4, len(data), rng.integers(1, 30))
    data[places] = rng.integers(0, 256, len(places))
    return data.tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_parquet_file_is_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    message = ""
    try:
        read(tmp_path, damaged(seed))
    except ValueError as error:
        message = str(error)
    assert not message or "is a damaged Parquet file" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("import os; os.abort()", r"\(its decoder ended with status -6\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"\(its decoder ended with status -11\)"),
        ("raise BaseException('a panic\\nof polars')", r"\(.*a panic"),
    ],
)
def test_a_decoder_that_aborts_or_panics_leaves_the_process_alive(
    fault: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = typed._DECODE.replace("    polars.read_parquet", f"    {fault}\n    polars.read_parquet")
    monkeypatch.setattr(typed, "_DECODE", decode)
    with pytest.raises(ValueError, match=f"is a damaged Parquet file {message}"):
        read(tmp_path, parquet(pl.DataFrame({"a": [1]})))


def test_every_type_of_parquet_comes_through_the_decoder(tmp_path: Path) -> None:
    columns = {
        "wide": pl.Series([2**63 - 1, None], dtype=pl.Int64),
        "unsigned": pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
        "day": pl.Series([1, None]).cast(pl.Date),
        "zoned": pl.Series([0, 1]).cast(pl.Datetime("ns", "Asia/Tokyo")),
        "clock": pl.Series([0, 1]).cast(pl.Time),
        "length": pl.Series([5, None]).cast(pl.Duration("ms")),
        "category": pl.Series(["x", "y"], dtype=pl.Categorical),
        "list": pl.Series([[1], []]),
        "exact": pl.Series(["1.25", None]).cast(pl.Decimal(10, 2)),
    }
    frame = pl.DataFrame(columns)
    assert read(tmp_path, parquet(frame)).cells.equals(frame)


# --- the command and the estimators -----------------------------------------------------------------------------


@pytest.fixture
def houses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """A table with codes, a country called NA and truth values; the directory of the test is the working directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 60
    columns = {
        "zip": rng.choice(["00501", "10001", "90210"], n),
        "country": rng.choice(["NA", "DE"], n),
        "built": rng.choice(["2024-01-01", "2023-07-01"], n),
        "size": rng.standard_normal(n),
    }
    return pl.DataFrame(columns).with_columns(sold=pl.col("size") > 0)


def test_the_command_and_the_estimators_take_one_anothers_models(houses: pl.DataFrame) -> None:
    houses.write_parquet("t.parquet")
    Path("t.json").write_text(json.dumps(houses.to_dicts()))
    run("train", "t.parquet", "--target", "size", "--model", "command", *FEW)
    few: dict[str, Any] = {"n_estimators": 1, "epochs": 2, "hidden_layer_sizes": (8,), "n_jobs": 1}
    estimator = TabularRegressor(**few).fit(houses.drop("size"), houses["size"])
    estimator.save("estimator")
    for name, model in (("command", TabularRegressor.load("command")), ("estimator", estimator)):
        for file in ("t.parquet", "t.json"):
            run("predict", name, file, "-o", "out.csv")
            predicted = pl.read_csv("out.csv")["prediction"].to_numpy()
            np.testing.assert_allclose(predicted, model.predict(houses.drop("size")), rtol=1e-6)


def test_a_cell_of_json_is_written_back_whole(houses: pl.DataFrame) -> None:
    records = [{**record, "late": 0} for record in houses.to_dicts()]
    records[-1]["late"] = 120.75
    Path("t.json").write_text(json.dumps(records))
    run("train", "t.json", "--target", "sold", "--model", "m", *FEW)
    lines = run("predict", "m", "t.json").splitlines()
    assert lines[0].startswith("zip,country,built,size,sold,late,")
    assert ",120.75," in lines[-1]


def test_a_model_does_not_need_pandas_index(houses: pl.DataFrame) -> None:
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    index = pandas.Index(np.random.default_rng(1).permutation(len(houses)), name="key")
    pandas.DataFrame(houses.to_dict(as_series=False), index=index).to_parquet("t.parquet")
    trained = command("train", "t.parquet", "--target", "size", "--model", "m", *FEW)
    assert "column 'key' is left out: it is pandas' index" in trained.stderr
    houses.write_parquet("p.parquet")
    lines = [line.split(",") for line in run("predict", "m", "t.parquet").splitlines()]
    assert lines[0][5] == "key"
    assert run("predict", "m", "p.parquet").splitlines() == [",".join([*line[:5], line[6]]) for line in lines]
    run("train", "t.parquet", "--target", "key", "--task", "regression", "--model", "of the index", *FEW)


@pytest.mark.parametrize("kind", ["parquet", "json", "csv"])
def test_a_column_of_unknown_texts_is_a_note_of_the_command(kind: str, houses: pl.DataFrame) -> None:
    houses.write_parquet("t.parquet")
    run("train", "t.parquet", "--target", "size", "--model", "m", *FEW)
    other = houses.with_columns(zip=pl.lit("a1"), country=pl.lit("de"))
    if kind == "json":
        Path("other").write_text(json.dumps(other.to_dicts()))
    elif kind == "csv":
        other.write_csv("other")
    else:
        other.write_parquet("other")
    for name in ("predict", "evaluate"):
        notes = command(name, "m", "other").stderr
        assert "column 'zip': 60 of 60 cells hold no frequent text of the training: 'a1'; the model knows '00" in notes
        assert "column 'country': 60 of 60 cells" in notes


@pytest.mark.parametrize("trained", ["Booleans", "Python's words", "JSON's words", "numbers"])
def test_truth_values_are_one_target_in_every_kind_of_file(trained: str, houses: pl.DataFrame) -> None:
    sold = pl.col("sold")
    forms = {
        "Booleans": houses,
        "Python's words": houses.with_columns(sold=pl.when(sold).then(pl.lit("True")).otherwise(pl.lit("False"))),
        "JSON's words": houses.with_columns(sold=sold.cast(pl.String)),
        "numbers": houses.with_columns(sold=sold.cast(pl.Int64)),
        "floats": houses.with_columns(sold=sold.cast(pl.Float64)),
    }
    forms[trained].write_parquet("t.parquet")
    run("train", "t.parquet", "--target", "sold", "--model", "m", *FEW)
    scores = set()
    for frame in forms.values():
        frame.write_parquet("other")
        scores.add(run("evaluate", "m", "other", "--json"))
        Path("other").write_text(json.dumps(frame.to_dicts()))
        scores.add(run("evaluate", "m", "other", "--json"))
    assert len(scores) == 1


def test_a_target_with_two_spellings_of_truth_has_two_classes(houses: pl.DataFrame) -> None:
    spellings = ["true", "True", "TRUE", "false", "False", "FALSE"] * 10
    Path("t.json").write_text(json.dumps(houses.with_columns(sold=pl.Series(spellings)).to_dicts()))
    run("train", "t.json", "--target", "sold", "--model", "m", *FEW)
    (labels,) = {tuple(TabularClassifier.load("m").classes_)}
    assert labels == ("false", "true")

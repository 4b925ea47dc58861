"""Cells as people write them: numbers with signs, odd cells, codes and truth values."""

from pathlib import Path

import polars as pl
import pytest
from command_line import FEW, command, error, run
from table_files import column, written

from fastbp.tables.reading import read_table
from fastbp.tabular import TableModel


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- odd cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["12%", "7.5 %", "-3%"], [12, 7.5, -3]),
        (["12%", "0", "100%"], [12, 0, 100]),
        (["$1,200", "$-3.50", "-$7"], [1200, -3.5, -7]),
        (["£5", "£ 1,000,000", "£0.50"], [5, 1_000_000, 0.5]),
        (["1 200", "3", "12 345 678"], [1200, 3, 12_345_678]),
        (["1\u00a0200", "1\u202f300.5", "4"], [1200, 1300.5, 4]),
        (["1'200", "1’300.5", "4"], [1200, 1300.5, 4]),
        (["(1,200)", "7", "(0.5)"], [-1200, 7, -0.5]),
        (["($3)", "$4", "$5"], [-3, 4, 5]),
        (["−5", "–7", "3"], [-5, -7, 3]),
        (["5-", "1,200.5-", "3"], [-5, -1200.5, 3]),
        (["5 EUR", "CHF 3", "5 EUR"], ["5 EUR", "CHF 3", "5 EUR"]),
        (["5 EUR", "EUR 3", "1,000 EUR"], [5, 3, 1000]),
        (["1.234,50 €", "7,25 €", "3 €"], [1234.5, 7.25, 3]),
        (["1,23,456", "12,34,567", "99"], [123456, 1234567, 99]),
        (["12%", "0.5", "7%"], ["12%", "0.5", "7%"]),
        (["12 34", "1,2,3", "4"], ["12 34", "1,2,3", "4"]),
        (["1.5e3", "-2E-1", "inf"], [1500, -0.2, float("inf")]),
    ],
)
def test_numbers_as_people_write_them_are_numbers(cells: list[str], wanted: list[object]) -> None:
    assert column(cells) == wanted


ODD = ["..", "unknown", "n/a yet", "#NUM!", r"\N", "(null)", "–", "±1.#IND", "kg", "about 5", "12..5", "Total:", "<0.1"]


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_cell_among_numbers_is_missing_and_named(odd: str) -> None:
    lines = [f"{i}.5,{i % 7}" for i in range(600)]
    lines[300] = f"{odd},3"
    table = read_table(written("\n".join(["a,b", *lines])))
    typed = table.typed()
    assert typed.frame["a"].dtype == pl.Float64
    assert typed.frame["a"].null_count() == 1
    assert typed.notices == [
        f"column 'a': 599 of 600 cells are numbers, but not {odd!r} (line 302); they count as missing"
    ]
    assert typed.reading.odd == {"a": [odd]}


@pytest.mark.parametrize("odd", ["2024-13-01", "soon", "01.02.2024", "..", "2023-02-29"])
def test_one_odd_cell_among_dates_is_missing_and_named(odd: str) -> None:
    lines = [f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d},{i % 7}" for i in range(100)]
    lines[50] = f"{odd},3"
    typed = read_table(written("\n".join(["a,b", *lines]))).typed()
    assert typed.frame["a"].dtype == pl.Datetime("us")
    assert typed.frame["a"].null_count() == 1
    assert f"99 of 100 cells are dates, but not {odd!r} (line 52)" in typed.notices[0]


def test_days_and_times_in_one_column_are_dates() -> None:
    cells = ["2024-01-05", "2024-01-05 12:00", "2024-01-05T12:00:30.5", "", "2024-01-06"]
    assert [value and str(value) for value in column(cells)] == [
        "2024-01-05 00:00:00",
        "2024-01-05 12:00:00",
        "2024-01-05 12:00:30.500000",
        None,
        "2024-01-06 00:00:00",
    ]


def test_a_line_is_counted_over_cells_with_line_ends_and_over_blank_lines() -> None:
    rows = [f'{i},"x\ny"' for i in range(40)]
    rows[10] = 'odd,"x\ny"'
    assert "'odd' (line 22)" in read_table(written("\n".join(["a,b", *rows]))).typed().notices[0]
    rows = [f"{i},x\n" for i in range(40)]
    rows[10] = "odd,x\n"
    assert "'odd' (line 22)" in read_table(written("\n".join(["a,b", *rows]))).typed().notices[0]
    rows = ["1,x", *[f"{i},x" for i in range(40)], "odd,x"]
    assert "'odd' (line 44)" in read_table(written("\n".join(["sep=,", "a,b", *rows]))).typed().notices[0]


def test_too_many_odd_cells_leave_a_column_text_and_are_noted() -> None:
    cells = [f"v{i}" if i % 10 == 3 else str(i) for i in range(100)]
    typed = read_table(written("\n".join(["a,b", *(f"{cell},x" for cell in cells)]))).typed()
    assert typed.frame["a"].dtype == pl.String
    assert "column 'a' is read as text: 90 of 100 cells are numbers, but not 'v3' (line 5)" in typed.notices[0]
    few = [*map(str, range(10)), "x1"]
    assert column(few) == few


def test_a_header_that_is_repeated_is_missing_in_every_column() -> None:
    rows = [f"{i}.5,{'pq'[i % 2]},{'uv'[i % 2]}" for i in range(60)]
    rows[20:20] = ["a,b,y"]
    rows[50:50] = ["a, b ,y"]
    text = "\n".join(["a,b,y", *rows]) + "\n"
    result = command("train", written(text), "--target", "y", *FEW)
    assert "2 rows repeat the header (the first is line 22)" in result.stderr
    assert "2 rows are left out: the target 'y' is missing there" in result.stderr
    assert TableModel.load("model.fastbp").target.labels == ("u", "v")
    answered = run("predict", "model.fastbp", "t.csv").splitlines()
    assert [line.rsplit(",", 2)[0] for line in answered] == text.splitlines()


@pytest.mark.parametrize("units", ["cm,kg,name", "[m],[g],", "mean,mean,(class)"])
def test_a_row_of_units_is_missing_in_every_column(units: str) -> None:
    rows = [f"{i}.5,{i},{'uv'[i % 2]}" for i in range(60)]
    typed = read_table(written("\n".join(["a,b,y", units, *rows]))).typed()
    assert typed.frame.row(0) == (None, None, None)
    assert typed.frame.row(1) == (0.5, 0, "u")
    assert typed.notices[-1] == "line 2 holds no number in any column of numbers; all its cells count as missing"


def test_a_row_that_is_odd_in_one_column_keeps_its_other_cells() -> None:
    rows = [f"{i}.5,{i},{'uv'[i % 2]}" for i in range(60)]
    assert read_table(written("\n".join(["a,b,y", "cm,7,u", *rows]))).values().row(0) == (None, 7, "u")


@pytest.mark.parametrize("odd", ["n/a yet", "3 kg", "see note"])
def test_odd_cells_of_a_model_are_missing_in_a_prediction_too(odd: str) -> None:
    rows = [f"{i}.5,{i * 2}.25" for i in range(100)]
    rows[7] = f"{odd},3.5"
    run("train", written("\n".join(["a,y", *rows])), "--target", "y", *FEW)
    answers = [
        run("predict", "model.fastbp", written(f"a\n{cell}\n", "n.csv")).splitlines()[1].rsplit(",", 1)[1]
        for cell in (odd, "NA", "99.5")
    ]
    assert answers[0] == answers[1] != answers[2]
    assert "'never seen' in row 1" in error("predict", "model.fastbp", written("a\nnever seen\n", "n.csv"))


def test_odd_cells_of_a_target_are_named_and_their_rows_left_out() -> None:
    rows = [f"{i % 9}.5,{i}.25" for i in range(100)]
    rows[7], rows[30], rows[31] = "1.5,tba", "1.5,see below", "1.5,see below"
    result = command("train", written("\n".join(["a,y", *rows])), "--target", "y", *FEW)
    assert "97 of 100 cells are numbers, but not 'tba' (line 9), 'see below' (line 32)" in result.stderr
    assert "3 rows are left out: the target 'y' is missing there" in result.stderr
    bad = [f"{i % 9}.5,{i}.25{' m' if i % 4 == 1 else ''}" for i in range(100)]
    message = error("train", written("\n".join(["a,y", *bad])), "--target", "y", *FEW)
    assert "75 of 100 cells are numbers, but not '1.25 m' (row 2), '5.25 m' (row 6)" in message


# --- codes and truth values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [("007", "012"), ("00", "01"), ("08540", "12345"), ("-01", "7")])
def test_whole_numbers_with_leading_zeros_are_texts(labels: tuple[str, str]) -> None:
    rows = [f"{i % 4}.5,{labels[i % 4 > 1]}" for i in range(60)]
    run("train", written("\n".join(["a,y", *rows])), "--target", "y", *FEW)
    assert TableModel.load("model.fastbp").target.labels == labels
    assert {line.split(",")[2] for line in run("predict", "model.fastbp", "t.csv").splitlines()[1:]} <= {*labels}


def test_codes_are_noted_and_one_leading_zero_among_numbers_makes_no_codes() -> None:
    def read(cells: list[str]) -> tuple[pl.DataType, list[str]]:
        typed = read_table(written("\n".join(["a,b", *(f"{cell},x" for cell in cells)]))).typed()
        return typed.frame["a"].dtype, typed.notices

    numbers = [str(3 * i) for i in range(100)]
    dtype, (notice,) = read([*numbers[:50], "05", *numbers[50:]])
    assert dtype == pl.Int64
    assert notice == "column 'a' is numbers, although 1 cell is a whole number with leading zeros ('05' in line 52)"
    dtype, (notice,) = read([*(f"{i:05d}" for i in range(9_000, 12_000, 30))])
    assert dtype == pl.String
    assert notice == "column 'a' is read as text: 34 cells are whole numbers with leading zeros ('09000' in line 2)"
    dtype, (notice,) = read([*(str(i) for i in range(10_000, 10_200)), "01234"])
    assert dtype == pl.String


def test_numbers_of_a_model_may_have_leading_zeros_in_a_prediction() -> None:
    rows = [f"{i % 12 + 1},{i % 12}.25" for i in range(60)]
    run("train", written("\n".join(["month,y", *rows])), "--target", "y", *FEW)
    answers = [
        run("predict", "model.fastbp", written(f"month\n{cell}\n", "n.csv")).split(",")[-1] for cell in ("03", "3")
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("spellings", "wanted"),
    [
        (["True", "true", "False"], 2),
        (["TRUE", "FALSE", "false", "FALSE"], 2),
        (["true", "False", "true", "TRUE"], 2),
        (["True", "False"], 2),
        (["yes", "Yes", "no"], 3),
    ],
)
def test_a_truth_value_has_one_spelling(spellings: list[str], wanted: int) -> None:
    rows = [f"{i % 4}.5,{spellings[i % len(spellings)]}" for i in range(60)]
    run("train", written("\n".join(["a,y", *rows])), "--target", "y", *FEW)
    assert len(TableModel.load("model.fastbp").target.labels) == wanted
    for change in (str.lower, str.upper, str.title) if wanted == 2 else ():
        other = [f"{row.split(',')[0]},{change(row.split(',')[1])}" for row in rows]
        assert "60 rows" in run("evaluate", "model.fastbp", written("\n".join(["a,y", *other]), "n.csv"))

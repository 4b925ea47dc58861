"""Text tables as people have them: decimal commas, twins, an index, and files without an end."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import FEW, command, error, run
from table_files import columns, written

from fastbp.tables import loading
from fastbp.tables.reading import read_table
from fastbp.tables.writing import write_table as write_back
from fastbp.tabular import TableModel


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- decimal marks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a;b\n850;1,5\n1.200;2\n15.300;3\n", [850, 1200, 15300]),
        ("a;b\n850;1\n1.200;2\n1.000.000;3\n", [850, 1200, 1_000_000]),
        ("a\tb\n7\t12,25\n1.250\t2\n99.999\t3\n", [7, 1250, 99_999]),
        ("a|b\n-7|2.500,75\n-1.250|2\n0|3\n", [-7, -1250, 0]),
        ("a;b\n7;0.25\n1.250;2\n9.125;3\n", [7, 1.25, 9.125]),
        ("a;b\n7;0.25\n1,250;2\n99,999;3\n", [7, 1250, 99_999]),
        ("a,b\n7,0.25\n1.250,2\n9.125,3\n", [7, 1.25, 9.125]),
        ('a,b\n7,"2.500,75"\n1.250,2\n9.125,3\n', [7, 1250, 9125]),
        ("a;b\n52.52;1,5\n13.41;2\n8.7;3\n", [52.52, 13.41, 8.7]),
    ],
)
def test_the_decimal_mark_of_a_file_is_that_of_all_its_columns(text: str, wanted: list[float]) -> None:
    assert columns(text)["a"] == wanted


def test_a_model_keeps_the_decimal_mark_for_files_that_prove_none() -> None:
    rows = [f"{i % 7 + 1}.{100 * (i % 9):03d};{i % 7 + 1},5" for i in range(80)]
    run("train", written("a;y\n" + "\n".join(rows) + "\n"), "--target", "y", "--task", "regression", *FEW)
    assert TableModel.load("model.fastbp").about["reading"]["decimal_mark"] == ","
    of_all = run("predict", "model.fastbp", "t.csv").splitlines()
    for kept in ([1], [5, 9], [2, 3, 4]):
        lines = ["a", *(rows[k - 1].split(";")[0] for k in kept)]
        of_few = run(
            "predict", "model.fastbp", written("\n".join(["a;z", *(f"{line};1" for line in lines[1:])]), "n.csv")
        )
        assert [line.split(";")[-1] for line in of_few.splitlines()[1:]] == [of_all[k].split(";")[-1] for k in kept]
    plain = written("a;z\n1100.0;0.5\n", "n.csv")  # a file that proves its own mark
    assert "." in run("predict", "model.fastbp", plain).splitlines()[1].split(";")[-1]


@pytest.mark.parametrize(
    ("text", "cell", "mark"),
    [
        ("a;b\n1.200;x\n850;y\n", "1.200", "."),
        ("a\tb\n1,200\tx\n", "1,200", ","),
        ("a|b\nx|12.345\ny|1\n", "12.345", "."),
    ],
)
def test_a_decimal_mark_that_no_cell_proves_is_noted(text: str, cell: str, mark: str) -> None:
    (notice,) = read_table(written(text)).typed().notices
    assert notice == f"no cell proves the decimal mark: {cell!r} is read with the decimal mark {mark!r}"
    assert read_table(written(text.replace(cell, "7"))).typed().notices == []


# --- names ------------------------------------------------------------------------------------------------------------


TWINS = {
    "twins of the target": ("a,y,y\n", "2 columns named 'y' (columns 2 and 3)"),
    "triplets": ("y,y,y\n", "3 columns named 'y' (columns 1 and 2 and 3)"),
    "twins but for blanks": ("y,a, y \n", "2 columns named 'y' (columns 1 and 3)"),
    "twins with quotes": ('"y",a,"y"\n', "2 columns named 'y' (columns 1 and 3)"),
}


@pytest.mark.parametrize("case", TWINS)
def test_twins_of_the_target_are_refused(case: str) -> None:
    header, message = TWINS[case]
    written(header + "".join(f"{i % 2},{i % 3},{i % 2}\n" for i in range(30)))
    assert message in error("train", "t.csv", "--target", "y")


def test_twins_of_a_column_of_groups_are_refused() -> None:
    written("g,a,g,y\n" + "".join(f"{i % 5},{i % 3},{i % 4},{i % 2}\n" for i in range(30)))
    assert "2 columns named 'g' (columns 1 and 3)" in error("train", "t.csv", "--target", "y", "--group", "g")


@pytest.mark.parametrize("header", ["a,a_duplicated_0,a,y", "a,a,a (column 2),y", "b, b,b ,y", ",,c,y", "x,y2,x,y"])
def test_other_twins_are_noted_and_written_as_they_were(header: str) -> None:
    text = header + "\n" + "".join(f"{i % 4}.5,{i % 3}.5,{i % 5}.25,{'uv'[i % 2]}\n" for i in range(40))
    result = command("train", written(text), "--target", "y", *FEW)
    assert result.exit_code == 0, result.output
    assert "columns have the name" in result.stderr
    answered = run("predict", "model.fastbp", "t.csv").splitlines()
    assert [line.rsplit(",", 2)[0] for line in answered] == text.splitlines()


@pytest.mark.parametrize(
    ("header", "name"),
    [('"5"" pipe"', '5" pipe'), ('"""all"""', '"all"'), ('5" pipe', '5" pipe'), ('"a,b"', "a,b"), ('"a\nb"', "a\nb")],
)
def test_a_name_is_what_stands_between_the_quotes(header: str, name: str) -> None:
    table = read_table(written(f"{header},n\nx,1\n"))
    assert table.cells.columns == [name, "n"]
    write_back(table.cells, Path("out.csv"), table)
    assert read_table("out.csv").cells.columns == [name, "n"]


# --- pandas' index ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "index"),
    [
        ("", lambda i: i),
        ("Unnamed: 0", lambda i: 3 * i + 7),
        ('""', lambda i: 100 - i),
        (",Unnamed: 0", lambda i: f"{i},{50 - i}"),
        ("Unnamed: 0.1", lambda i: (i * 7) % 41),
    ],
)
def test_the_index_of_pandas_is_no_input(header: str, index: object) -> None:
    def rows(*, with_index: bool) -> list[str]:
        cells = [f"{i % 4}.5,{'uv'[i % 4 > 1]}" for i in range(40)]
        return [f"{index(i)},{row}" for i, row in enumerate(cells)] if with_index else cells  # type: ignore[operator]

    written("\n".join([f"{header},a,y", *rows(with_index=True)]))
    result = command("train", "t.csv", "--target", "y", *FEW)
    assert result.exit_code == 0, result.output
    assert "is left out: it is pandas' index" in result.stderr
    assert TableModel.load("model.fastbp").encoding.names == ("a",)
    of_both = [run("predict", "model.fastbp", "t.csv")]
    of_both.append(run("predict", "model.fastbp", written("\n".join(["a,y", *rows(with_index=False)]), "n.csv")))
    assert [line.rsplit(",", 2)[1:] for line in of_both[0].splitlines()] == [
        line.rsplit(",", 2)[1:] for line in of_both[1].splitlines()
    ]


@pytest.mark.parametrize("cells", [["1.5", "2", "3"], ["1", "1", "2"], ["a", "b", "c"], ["1", "", "2"]])
def test_a_first_column_without_a_name_that_is_no_index_is_read(cells: list[str]) -> None:
    assert "" in columns(",b\n" + "".join(f"{cell},1\n" for cell in cells))


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 8 MiB of memory, which takes tables of 1 MiB."""
    monkeypatch.setattr(loading, "memory", lambda: 8 << 20)


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n" + b"1,2\n" * 300_000,
        gzip.compress(b"a,b\n" + b"1,2\n" * 300_000),
        gzip.compress(b"a,b\n" + b"1,2\n" * 200_000) + gzip.compress(b"1,2\n" * 200_000),
    ],
    ids=["text", "gzip", "gzip of two members"],
)
def test_a_table_larger_than_its_share_of_the_memory_is_refused(data: bytes) -> None:
    message = error("train", written(data), "--target", "b")
    assert re.search(r"t.csv has .*MiB.*a table may have 1 MiB, an eighth of this machine's memory of 8 MiB", message)


@pytest.mark.usefixtures("small_memory")
def test_files_without_an_end_are_refused() -> None:
    assert "binary data" in error("train", "/dev/zero", "--target", "b")
    with pytest.raises(ValueError, match=r"urandom (has more than 1 MiB|is neither)"):
        read_table("/dev/urandom")


def test_an_endless_pipe_is_refused() -> None:
    code = "from fastbp.tables import loading; loading.memory = lambda: 8 << 20\n"
    code += "from fastbp.command.app import main; main()"
    with subprocess.Popen(["yes", "1,2"], stdout=subprocess.PIPE) as endless:
        command_line = [sys.executable, "-c", code, "train", "-", "--target", "b"]
        result = subprocess.run(command_line, stdin=endless.stdout, capture_output=True, text=True, timeout=60)
        endless.kill()
    assert result.returncode == 2
    assert "standard input has more than 1 MiB, and a table may have 1 MiB" in result.stderr


def test_the_limit_is_a_share_of_the_memory_and_never_nothing() -> None:
    assert loading.memory() > 1 << 27
    assert loading.max_bytes() == loading.memory() // loading.MEMORY_PER_BYTE


def test_memory_that_ends_gives_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _report: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("fastbp.tables.reading.read_bytes", full)
    assert "t.csv does not fit into the memory" in error("train", written("a,b\n1,2\n"), "--target", "b")

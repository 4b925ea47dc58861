"""`predict` of tables in blocks: the output of the whole table, bounded memory, progress, and Ctrl-C at any time."""

import gzip
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import FEW, command, error, run, write_table

from fastbp.command import progress
from fastbp.runs import display
from fastbp.tables import blocks, parquet_blocks, streams
from fastbp.tabular.model import TableModel


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory with a model of the column `kind` of `write_table`."""
    monkeypatch.chdir(tmp_path)
    run("train", write_table("training.csv"), "--target", "kind", *FEW)
    return tmp_path / "model.fastbp"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 144 rows and 1,500 bytes, so that a small table has many of them."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1500)
    for module in (blocks, streams, parquet_blocks):
        monkeypatch.setattr(module, "BLOCK_ROWS", 144)


def table_files() -> list[Path]:
    """Write a table of 500 rows, with texts that the model does not know, in several formats."""
    table = write_table("table.csv", 500)
    table.write_text(table.read_text().replace("red", "blue"))
    Path("table.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    ragged = Path("ragged.csv")
    ragged.write_text(table.read_text() + "1.5,blue\n\n2.5,green\n")
    pl.read_csv(table, null_values="NA").write_parquet("table.parquet")
    return [table, write_table("commas.csv", 500, ";"), Path("table.csv.gz"), ragged, Path("table.parquet")]


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet", "-"])
def test_blocks_are_written_as_the_whole_table_is(name: str, request: pytest.FixtureRequest) -> None:
    def written(table: Path) -> tuple[object, str]:
        result = command("predict", "model.fastbp", table, "-o", name)
        assert result.exit_code == 0, result.stderr
        if name == "-":
            return result.stdout, result.stderr
        if name == "out.parquet":
            return pl.read_parquet(name).rows(), result.stderr
        data = Path(name).read_bytes()
        return gzip.decompress(data) if name == "out.csv.gz" else data, result.stderr

    tables = table_files()
    whole = [written(table) for table in tables]
    assert "cells hold no frequent text of the training: 'blue'" in whole[0][1]
    assert "2 rows have fewer cells than the header (the first is line 502)" in whole[3][1]
    request.getfixturevalue("small_blocks")
    assert [written(table) for table in tables] == whole


@pytest.mark.usefixtures("small_blocks")
def test_a_file_is_replaced_completely_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    n_calls = 0
    predict = TableModel.predict

    def fail(self: TableModel, *arguments: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2:
            raise OSError("no more rows")
        return predict(self, *arguments)

    monkeypatch.setattr(TableModel, "predict", fail)
    Path("out.csv").write_text("old")
    files = set(Path().iterdir()) | {table := write_table(n=500)}
    assert command("predict", "model.fastbp", table, "-o", "out.csv").exit_code == 2
    assert n_calls == 3
    assert Path("out.csv").read_text() == "old"
    assert set(Path().iterdir()) == files


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_error_names_the_row_of_the_whole_table(suffix: str) -> None:
    frame = pl.read_csv(write_table(n=500), infer_schema=False)
    row = pl.int_range(500)
    width = pl.when(row < 299).then(row.cast(pl.String)).otherwise(pl.format("{} cm", row + 1))
    frame = frame.with_columns(width.alias("width cm"))
    frame.write_csv("new.csv") if suffix == "csv" else frame.write_parquet("new.parquet")
    message = error("predict", "model.fastbp", f"new.{suffix}", "-o", "out.csv")
    assert "'width cm' held numbers in training and holds text here ('300 cm' in row 300)" in message


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process alone")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_memory_does_not_grow_with_the_table(suffix: str) -> None:
    code = (
        "import re, sys; from pathlib import Path; from fastbp.command.app import app\n"
        "try: app()\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1], file=sys.stderr)"
    )

    def memory_of(name: str, n: int) -> float:
        width = pl.Series("width cm", [i % 10 / 2 for i in range(n)])
        others = [pl.Series(f"note {k}", [f"note {i} of {k}" for i in range(n)]) for k in range(20)]
        frame = pl.DataFrame([width, *others]).with_columns(colour=pl.lit("red"), price=width)
        path = Path(f"{name}.{suffix}")
        frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
        arguments = [sys.executable, "-c", code, "predict", "model.fastbp", path, "-q", "-o", f"out.{suffix}"]
        found = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
        return int(found.stderr) / 1024

    grown = memory_of("many", 300_000) - memory_of("few", 1000)
    assert grown < 220  # MiB; 130 and 140 on one machine, and 580 and 310 if the table is read as a whole


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_log_tells_rows_and_the_time_that_is_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table_files()
    predict = TableModel.predict

    def slow(self: TableModel, *arguments: Any) -> Any:
        time.sleep(0.1)
        return predict(self, *arguments)

    monkeypatch.setattr(TableModel, "predict", slow)
    monkeypatch.setattr(display, "SECONDS_TO_FIRST_LINE", 0.02)
    monkeypatch.setattr(display.LogLines, "seconds_between", 0.02)
    result = command("predict", "model.fastbp", name, "-o", "out.csv")
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == len({*lines}) > 3
    assert any(re.fullmatch(r"predicting 288 of 500 rows, \d s left", line) for line in lines), lines
    assert command("predict", "model.fastbp", name, "-o", "out.csv", "--quiet").stderr == ""


def test_reading_a_table_to_train_on_tells_how_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "SECONDS_TO_FIRST_LINE", 0.02)
    monkeypatch.setattr(display.LogLines, "seconds_between", 0.02)
    show = progress.PhaseProgress.__call__

    def slow(self: progress.PhaseProgress, *arguments: Any) -> None:
        show(self, *arguments)
        time.sleep(0.05)

    monkeypatch.setattr(progress.PhaseProgress, "__call__", slow)
    result = command("train", write_table(n=200), "--target", "kind", "--model", "other.fastbp", *FEW)
    shown = result.stderr.splitlines()
    assert any(re.fullmatch(r"reading 4\.\d of 4\.\d kB", line) for line in shown)
    assert any(line.startswith("recognising numbers and dates 1 of 4 columns") for line in shown)
    assert len(shown) == len({*shown})


@pytest.mark.parametrize(
    ("phase", "output"), [("reading", "out.csv"), ("predicting", "out.csv"), ("writing", "o.parquet")]
)
def test_ctrl_c_ends_every_phase_at_once(phase: str, output: str) -> None:
    write_table(n=300_000)
    code = (
        "from fastbp.command import progress\n"
        "show = progress.PhaseProgress.__call__\n"
        "def told(self, phase, *rest):\n"
        "    show(self, phase, *rest)\n"
        f"    if phase == {phase!r}: print('now', flush=True)\n"
        "progress.PhaseProgress.__call__ = told\n"
        "from fastbp.command.app import app; app()"
    )
    arguments = [sys.executable, "-c", code, "predict", "model.fastbp", "table.csv", "-o", output]
    files = set(Path().iterdir())
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        started = time.perf_counter()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        seconds = time.perf_counter() - started
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "fastbp: interrupted"
    assert set(Path().iterdir()) == files
    assert seconds < 1.5  # 0.3 where nothing else runs


def test_a_pipe_is_read_in_blocks_and_written_before_all_rows_are_predicted() -> None:
    table = write_table(n=300_000)
    run("predict", "model.fastbp", table, "-o", "out.csv")
    arguments = [sys.executable, "-m", "fastbp", "predict", "model.fastbp", "-", "-o", "-", "-q"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(table.read_bytes())
        process.stdin.close()
        start = process.stdout.read(1000)
        assert process.poll() is None  # the rest waits in the pipe
        assert start + process.stdout.read() == Path("out.csv").read_bytes()

"""Trainings that fail: one line on stderr, exit code 2, and nothing is saved."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import FEW, command, error, run, write_table

import fastbp
from fastbp.tabular.training import build as building


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, where `model.fastbp` is saved."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


HEAD = "width cm,colour,kind,price\n"

TRAIN_ERRORS = {
    "a file that is missing": (None, ["--target", "kind"], "there is no file table.csv"),
    "an empty file": ("", ["--target", "kind"], "table.csv is empty"),
    "a header alone": (HEAD, ["--target", "kind"], "no rows"),
    "one row": (HEAD + "1,red,big,2\n", ["--target", "kind"], "too little to learn from: 1 row"),
    "a binary file": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["--target", "kind"], "binary"),
    "a damaged gzip file": (gzip.compress(HEAD.encode() * 99)[:-30], ["--target", "kind"], "damaged gzip"),
    "a damaged Parquet file": (b"PAR1 and no more", ["--target", "kind"], "damaged Parquet"),
    "a mistyped target": ("x", ["--target", "Knid"], "no column 'Knid' (did you mean 'kind'?)"),
    "no target": ("x", [], "--target"),
    "a target of one value": (HEAD + "1,red,big,2\n2,green,big,3\n" * 5, ["--target", "kind"], "'big' in every row"),
    "a target without values": (HEAD + "1,red,NA,2\n2,green,,3\n" * 5, ["--target", "kind"], "missing in every row"),
    "a target of all different texts": (
        "a,b\n" + "".join(f"{i}.5,t{i}\n" for i in range(30)),
        ["--target", "b"],
        "too many to be classes",
    ),
    "no column besides the target": ("a\n1\n2\n3\n4\n5\n", ["--target", "a"], "no column besides"),
    "a metric of another task": (
        "x",
        ["--target", "kind", "--metric", "rmse"],
        "--metric must be one of log_loss",
    ),
    "an unknown metric": ("x", ["--target", "kind", "--metric", "f1"], "--metric"),
    "a quantile out of bounds": ("x", ["--target", "price", "--quantile", "1"], "--quantile"),
    "a quantile that nothing uses": ("x", ["--target", "price", "--quantile", "0.9"], "--metric quantile"),
    "no networks": ("x", ["--target", "kind", "--n-estimators", "0"], "--n-estimators"),
    "a budget of nothing": ("x", ["--target", "kind", "--time-budget", "0"], "--time-budget"),
    "a mistyped column of groups": ("x", ["--target", "kind", "--group", "colou"], "no column 'colou' (did you mean"),
    "one group alone": (
        HEAD + "1,red,big,2\n2,red,small,3\n" * 9,
        ["--target", "kind", "--group", "colour"],
        "one group",
    ),
    "a target that is the group too": ("x", ["--target", "kind", "--group", "kind"], "cannot be both target and group"),
    "one file for two": ("x", ["--target", "kind", "--report", "model.fastbp"], "would replace the model"),
    "a report in no directory": ("x", ["--target", "kind", "--report", "none/report.html"], "no directory none"),
    "JSON that is no table": ('{"a": 1\n', ["--target", "a"], "this is no JSON"),
    "regression of text": ("x", ["--target", "kind", "--task", "regression"], "regression needs numbers"),
    "an unknown task": ("x", ["--target", "kind", "--task", "clustering"], "--task"),
    "no epochs": ("x", ["--target", "kind", "--epochs", "0"], "--epochs"),
    "epochs in words": ("x", ["--target", "kind", "--epochs", "ten"], "--epochs"),
    "no rows in a batch": ("x", ["--target", "kind", "--batch-size", "-1"], "--batch-size"),
    "a negative seed": ("x", ["--target", "kind", "--seed", "-1"], "--seed"),
    "widths in words": (
        "x",
        ["--target", "kind", "--hidden-layer-sizes", "64,wide"],
        "--hidden-layer-sizes takes widths",
    ),
    "a width of nothing": (
        "x",
        ["--target", "kind", "--hidden-layer-sizes", "64,0"],
        "--hidden-layer-sizes takes widths",
    ),
    "widths that are too large": ("x", ["--target", "kind", "--hidden-layer-sizes", f"{2**40}"], "at most"),
    "an option of version 0.1": ("x", ["--target", "kind", "--networks", "2"], "--networks"),
    "a learning rate of nothing": ("x", ["--target", "kind", "--learning-rate", "0"], "--learning-rate"),
    "an endless learning rate": ("x", ["--target", "kind", "--learning-rate", "inf"], "--learning-rate"),
    "a learning rate that diverges": ("x", ["--target", "price", "--learning-rate", "1e30", "--quiet"], "below 1e+30"),
    "an unknown option": ("x", ["--target", "kind", "--epoch", "3"], "--epoch"),
    "a model in no directory": ("x", ["--target", "kind", "--model", "none/model.fastbp"], "no directory none"),
    "a directory for a model": ("x", ["--target", "kind", "--model", "."], "it is a directory"),
    "standard output for a model": ("x", ["--target", "kind", "--model", "-"], "--model takes the name of a file"),
    "standard output for a report": ("x", ["--target", "kind", "--report", "-"], "--report takes the name of a file"),
    "the table for a model": ("x", ["--target", "kind", "--model", "table.csv"], "would replace the file"),
}


@pytest.mark.parametrize("case", TRAIN_ERRORS)
def test_a_training_that_fails_prints_one_line_and_saves_nothing(case: str) -> None:
    data, options, message = TRAIN_ERRORS[case]
    if data == "x":
        write_table()
    elif data is not None:
        Path("table.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    assert message in error("train", "table.csv", *options)
    assert not Path("model.fastbp").exists()


def test_an_unwritable_model_is_refused_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "build", lambda *_, **__: pytest.fail("trained"))
    assert "--model" in error("train", write_table(), "--target", "kind", "--model", "/proc/model.fastbp")


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("option", ["--model", "--report"])
@pytest.mark.parametrize("path", ["loop", "first", "loop/model.fastbp", "n" * 300])
def test_a_path_that_leads_nowhere_is_refused_in_one_line(option: str, path: str) -> None:
    Path("loop").symlink_to("loop")
    Path("first").symlink_to("second")
    Path("second").symlink_to("first")
    assert option in error("train", write_table(), "--target", "kind", option, path)
    assert error("inspect", path)
    assert error("train", path, "--target", "kind")


def _after_training(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something between the training and the save."""
    real = building.build

    def build(*arguments: Any, **options: Any) -> Any:
        built = real(*arguments, **options)
        act()
        return built

    monkeypatch.setattr(building, "build", build)


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda: shutil.rmtree("models"),
        lambda: (shutil.rmtree("models"), Path("models").write_text("")),
        lambda: Path("models/mine.fastbp").mkdir(),
        lambda: os.mkfifo("models/mine.fastbp"),
    ],
    ids=["deleted", "replaced by a file", "taken by a folder", "taken by a pipe"],
)
def test_a_model_that_cannot_be_saved_where_it_was_wanted_is_saved_elsewhere(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[], object], as_json: list[str]
) -> None:
    Path("models").mkdir()
    _after_training(monkeypatch, spoil)
    result = command("train", write_table(), "--target", "kind", "--model", "models/mine.fastbp", *FEW, *as_json)
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    (saved,) = re.findall(r"the model is saved as (\S+) instead", last)
    assert last.startswith("fastbp: --model: ")
    assert Path(saved).parent == Path.cwd()
    assert saved in result.stdout
    assert "log loss" in run("inspect", saved)


def test_a_model_is_saved_in_the_temporary_directory_if_the_current_one_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, here = write_table().absolute(), tmp_path / "here"
    here.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    _after_training(monkeypatch, lambda: shutil.rmtree(here))
    result = command("train", table, "--target", "kind", *FEW)
    monkeypatch.chdir(tmp_path)
    assert result.exit_code == 2
    (saved,) = (tmp_path / "temporary").glob("*/*.fastbp")  # in a folder of its own: nobody can plant a link there
    assert str(saved) in result.stderr


@pytest.mark.parametrize(
    "failure", [KeyError("x"), RuntimeError("two\nlines"), AssertionError(), RecursionError("deep")]
)
def test_a_bug_is_one_line_that_says_how_to_report_it(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail() -> None:
        raise failure

    _after_training(monkeypatch, fail)
    result = command("train", write_table(), "--target", "kind", "--quiet", "--json", *FEW)
    assert result.exit_code == 2
    assert re.fullmatch(
        rf"fastbp: this is a bug of fastbp: {type(failure).__name__}: .*FASTBP_TRACEBACK=1.*\n", result.stderr
    )
    monkeypatch.setenv("FASTBP_TRACEBACK", "1")
    assert command("train", "table.csv", "--target", "kind", *FEW).exception is failure


@pytest.mark.parametrize("arguments", [["train", "table.csv", "--target", "kind"], ["doctor"], ["warmup"], ["toy"]])
def test_without_a_compiler_the_command_says_so_in_one_line(arguments: list[str]) -> None:
    write_table()
    done = subprocess.run(
        [sys.executable, "-m", "fastbp", *arguments],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(fastbp.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "unset NUMBA_DISABLE_JIT" in done.stderr.splitlines()[-1]

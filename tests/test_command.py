"""The command as its user meets it: what training prints and saves, and all that is neither training nor predicting."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import command, error, run, write_table

import fastbp
from fastbp import model_file
from fastbp.report import TrainingProgress
from fastbp.tabular.defaults import FEWEST_EPOCHS, MOST_EPOCHS, STEPS, default_epochs

PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, which is where `model.fastbp` goes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("seed", range(3))
def test_penguins_are_told_apart_with_defaults(seed: int) -> None:
    output = run("train", PENGUINS, "--target", "species", "--seed", seed)
    (accuracy, baseline) = re.search(r"held out +69 rows, accuracy (\S+)% \(always Adelie: (\S+)%\)", output).groups()
    assert float(accuracy) >= 97
    assert float(baseline) < 50
    assert Path("model.fastbp").exists()


def test_the_summary_says_what_was_found_in_the_table() -> None:
    output = run("train", PENGUINS, "--target", "species", "--epochs", 2)
    assert "344 rows, 8 columns" in output
    assert "species, 3 classes (text): Adelie 152, Gentoo 124, Chinstrap 68" in output
    assert "5 numbers: bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g, year" in output
    assert "2 categories: island, sex" in output


def test_a_quantity_is_scored_by_r2_and_rmse_in_its_own_unit() -> None:
    result = command("train", PENGUINS, "--target", "body_mass_g")
    scores = re.search(r"R² (\S+), RMSE (\S+) \(always the mean: R² (\S+), RMSE (\S+)\)", result.stdout).groups()
    r2, rmse, baseline_r2, baseline_rmse = map(float, scores)
    assert r2 > 0.8 > 0.1 > baseline_r2
    assert 200 < rmse < 400 < 600 < baseline_rmse
    assert "2 rows are left out" in result.stderr


def test_progress_goes_to_stderr_with_epoch_losses_and_speed() -> None:
    result = command("train", write_table(), "--target", "kind", "--epochs", 3)
    assert re.search(r"epoch 3/3 .*loss \d+\.\d+  validation \d+\.\d+  [\d,]+ samples/s", result.stderr)
    assert "samples/s" not in result.stdout


def test_quiet_leaves_stderr_empty() -> None:
    path = Path("table.csv")
    path.write_text(write_table().read_text() + "1.5,red,,2\n")
    assert "note: 1 row is left out" in command("train", path, "--target", "kind", "--epochs", 1).stderr
    assert command("train", path, "--target", "kind", "--epochs", 1, "--quiet").stderr == ""


def test_the_same_seed_gives_the_same_file_and_another_seed_another() -> None:
    files = []
    for seed in (3, 3, 4):
        run("train", write_table(), "--target", "kind", "--epochs", 3, "--seed", seed)
        files.append(Path("model.fastbp").read_bytes())
    assert files[0] == files[1] != files[2]


def test_options_reach_the_training() -> None:
    options = ["--hidden", "5,7,3", "--epochs", 4, "--batch-size", 8, "--learning-rate", 0.01, "--model", "my.model"]
    output = run("train", write_table(), "--target", "kind", *options)
    assert "5-5-7-3-2, " in output
    assert "4 of 4 epochs" in output
    _, metadata = model_file.read("my.model")
    assert metadata["network"]["layer_sizes"] == [5, 5, 7, 3, 2]
    assert not Path("model.fastbp").exists()


def test_no_hidden_layer_is_a_linear_model() -> None:
    assert "5-2, 12 parameters" in run("train", write_table(), "--target", "kind", "--epochs", 1, "--hidden", "")


@pytest.mark.parametrize(("task", "score"), [("classification", "accuracy"), ("regression", "RMSE")])
def test_the_task_can_be_asked_for(task: str, score: str) -> None:
    path = Path("stars.csv")
    path.write_text("x,stars\n" + "".join(f"{i}.5,{i % 4}\n" for i in range(40)))
    assert score in run("train", path, "--target", "stars", "--epochs", 1, "--task", task)
    assert "--task regression if that is wrong" in run("train", path, "--target", "stars", "--epochs", 1)


def test_left_out_columns_are_noted() -> None:
    frame = pl.read_csv(write_table(), null_values="NA").with_row_index("id")
    frame.write_csv("indexed.csv")
    assert (
        "note: column 'id' is left out: it counts the rows"
        in command("train", "indexed.csv", "--target", "kind", "--epochs", 1).stderr
    )


@pytest.mark.parametrize(
    ("n_rows", "epochs"), [(10, MOST_EPOCHS), (32 * 30, MOST_EPOCHS), (32 * 60, STEPS // 60), (10**7, FEWEST_EPOCHS)]
)
def test_epochs_make_a_fixed_number_of_steps_within_bounds(n_rows: int, epochs: int) -> None:
    assert default_epochs(n_rows, 32) == epochs


@pytest.fixture
def _ctrl_c_is_answered() -> Iterator[None]:
    """Undo what a shell does to its background jobs: they, and so the tests there, ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_answered")
def test_ctrl_c_keeps_the_network_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    show = TrainingProgress.__call__

    def interrupt(self: TrainingProgress, epoch: int, history: Any) -> None:
        show(self, epoch, history)
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TrainingProgress, "__call__", interrupt)
    result = command("train", write_table(), "--target", "kind", "--epochs", 1000, "--quiet")
    assert result.exit_code == 130
    assert result.stderr == "fastbp: interrupted after 3 of 1000 epochs; the network so far is saved\n"
    assert "3 of 1000 epochs" in result.stdout
    assert "accuracy" in result.stdout
    assert "prediction" in run("predict", "model.fastbp", write_table("again.csv"))


@pytest.mark.usefixtures("_ctrl_c_is_answered")
def test_ctrl_c_before_the_first_epoch_leaves_an_older_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("model.fastbp").write_text("older")
    monkeypatch.setattr(fastbp.Network, "fit", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    result = command("train", write_table(), "--target", "kind")
    assert (result.exit_code, Path("model.fastbp").read_text()) == (130, "older")
    assert "nothing is saved" in result.stderr


def test_the_toy_example_is_printed_line_by_line() -> None:
    assert run("toy") == f"{fastbp.toy.worked_example(0.5, 1, 0.8, 0.1)}\n"
    assert run("toy", "--x", 2, "--y", 0, "--weight", 0.25, "--bias", -0.1) != run("toy")


def test_a_toy_whose_loss_is_undefined_says_why() -> None:
    assert "the loss is undefined" in error("toy", "--x", 5)


def test_no_sub_command_shows_the_help_and_an_unknown_one_the_nearest() -> None:
    assert "train" in run()
    assert "'train'" in error("trian")


def test_the_version_is_printed() -> None:
    assert run("--version") == f"fastbp {fastbp.__version__}\n"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", timeout=120)


def test_python_m_fastbp_is_the_command() -> None:
    table = write_table()
    trained = python("-m", "fastbp", "train", str(table), "--target", "kind", "--epochs", "2", "--quiet")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert "accuracy" in trained.stdout
    failed = python("-m", "fastbp", "train", str(table), "--target", "knid")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "fastbp: the table has no column 'knid' (did you mean 'kind'?)\n"


def test_the_command_is_there_before_anything_slow_is_imported() -> None:
    slow = python(
        "-c", "import sys, fastbp.cli; print({'numba', 'polars', 'rich.progress', 'scipy'} & set(sys.modules))"
    )
    assert slow.stdout == "set()\n"


@pytest.mark.parametrize("missing", ["typer", "polars", "rich"])
def test_a_package_that_is_not_installed_is_asked_for(missing: str) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None; sys.argv[0] = 'fastbp'; from fastbp.cli import main; main()"
    result = python("-c", hidden, "train", str(write_table()), "--target", "kind")
    assert result.returncode == 2
    assert result.stderr == "fastbp: the command needs more packages: pip install 'fastbp[tabular]'\n"


def test_a_terminal_without_greek_letters_is_no_reason_to_fail() -> None:
    latin = "import sys; sys.stdout.reconfigure(encoding='cp1252'); from fastbp.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", latin, "toy"], capture_output=True, timeout=120)
    assert result.returncode == 0
    assert result.stdout.startswith(rb"x = 0.5, y = 1, \u03a9_0 = 0.8")

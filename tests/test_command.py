"""The command as a user sees it: what a training prints and saves, and the sub-commands without a table."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from command_line import FEW, command, error, run, write_table

import fastbp
from fastbp.command.options import MetricName
from fastbp.results import Progress
from fastbp.tables import reading
from fastbp.tabular import TableModel
from fastbp.tabular.settings import CLASS_METRICS, NUMBER_METRICS
from fastbp.tabular.training import build as building
from fastbp.tabular.training.progress import TrainingProgress

PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, where `model.fastbp` is saved."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("seed", range(3))
def test_penguins_are_classified_with_defaults(seed: int) -> None:
    output = run("train", PENGUINS, "--target", "species", "--seed", seed)
    (accuracy, baseline) = re.search(r"held out +344 rows, accuracy (\S+)% \((\S+)%\)", output).groups()
    assert float(accuracy) >= 97
    assert float(baseline) < 50
    assert Path("model.fastbp").exists()


def test_the_summary_describes_the_table() -> None:
    output = run("train", PENGUINS, "--target", "species", *FEW)
    assert "344 rows, 8 columns" in output
    assert "species, 3 classes (text): Adelie 152, Gentoo 124, Chinstrap 68" in output
    assert "5 numbers: bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g, year" in output
    assert "2 categories: island, sex" in output


def test_a_quantity_is_scored_by_r2_and_rmse_in_its_own_unit() -> None:
    result = command("train", PENGUINS, "--target", "body_mass_g")
    scores = re.search(r"R² (\S+) \(0\), RMSE (\S+) \((\S+)\), MAE", result.stdout).groups()
    r2, rmse, baseline_rmse = map(float, scores)
    assert r2 > 0.8
    assert 200 < rmse < 400 < 600 < baseline_rmse
    assert "2 rows are left out" in result.stderr


def test_progress_on_stderr_shows_networks_epoch_loss_and_validation_metric() -> None:
    result = command("train", write_table(), "--target", "kind", *FEW)
    assert re.search(
        r"network (\d)/\1  epoch \d+  [\d,]+ rows  training loss \d+\.\d+  validation log loss \d+\.\d+", result.stderr
    )
    assert "training loss" not in result.stdout


def test_quiet_leaves_stderr_empty() -> None:
    path = Path("table.csv")
    path.write_text(write_table().read_text() + "1.5,red,,2\n")
    assert "note: 1 row is left out" in command("train", path, "--target", "kind", *FEW).stderr
    assert command("train", path, "--target", "kind", *FEW, "--quiet").stderr == ""


def test_the_same_seed_gives_the_same_file_and_another_seed_another() -> None:
    files = []
    for seed in (3, 3, 4):
        run("train", write_table(), "--target", "kind", *FEW, "--seed", seed)
        files.append(Path("model.fastbp").read_bytes())
    assert files[0] == files[1] != files[2]


def test_options_reach_the_training() -> None:
    options = ["--n-estimators", 3, "--hidden-layer-sizes", "5,7,3", "--epochs", 4, "--batch-size", 8]
    options += ["--learning-rate", 0.01, "--metric", "auc", "--model", "my.model"]
    output = run("train", write_table(), "--target", "kind", *options)
    assert "-5-7-3-2, " in output
    assert "12 epochs in all" in output
    model = TableModel.load("my.model")
    assert [network.layer_sizes[1:] for network in model.networks] == [(5, 7, 3, 2)] * 3
    wanted = {"n_estimators": 3, "metric": "auc", "epochs": 4, "batch_size": 8, "learning_rate": 0.01}
    assert model.about["settings"].items() >= wanted.items()
    assert not Path("model.fastbp").exists()


def test_a_column_of_groups_is_held_out_together_and_not_learned_from() -> None:
    frame = pl.read_csv(write_table(), infer_schema=False).with_columns(patient=pl.int_range(40) // 4)
    frame.write_csv("groups.csv")
    output = run("train", "groups.csv", "--target", "kind", "--group", "patient", *FEW)
    assert "patient" not in output
    assert "patient" not in TableModel.load("model.fastbp").encoding.names


def test_a_time_budget_ends_a_training() -> None:
    options = ["--time-budget", 0.5, "--epochs", 10**6, "--patience", 10**6]
    assert "saved" in run("train", write_table(), "--target", "kind", *options)


def test_results_can_be_printed_as_json() -> None:
    result = json.loads(run("train", write_table(), "--target", "kind", *FEW, "--json"))
    assert result["rows"] == 40
    assert [score["metric"] for score in result["scores"]] == ["accuracy", "log_loss", "auc"]
    assert result["target"] == {"task": "classification", "name": "kind", "labels": ["big", "small"]}
    inspected = json.loads(run("inspect", "model.fastbp", "--json"))
    assert inspected.items() <= {**result, "version": fastbp.__version__}.items()


def test_output_fits_a_terminal_of_100_columns() -> None:
    output = run("train", PENGUINS, "--target", "species", *FEW) + run("inspect", "model.fastbp")
    output += run("evaluate", "model.fastbp", PENGUINS) + run("--help") + run("train", "--help")
    assert max(map(len, output.splitlines())) <= 100


def test_the_command_offers_all_metrics_of_the_settings() -> None:
    assert get_args(MetricName) == CLASS_METRICS + NUMBER_METRICS


def test_no_hidden_layer_is_a_linear_model() -> None:
    output = run("train", write_table(), "--target", "kind", *FEW, "--hidden-layer-sizes", "")
    assert re.search(r"of \d+-2, \d+ parameters", output)


@pytest.mark.parametrize(("task", "score"), [("classification", "accuracy"), ("regression", "RMSE")])
def test_the_task_can_be_asked_for(task: str, score: str) -> None:
    path = Path("stars.csv")
    path.write_text("x,stars\n" + "".join(f"{i}.5,{i % 4}\n" for i in range(40)))
    assert score in run("train", path, "--target", "stars", *FEW, "--task", task)
    assert "--task regression if that is wrong" in run("train", path, "--target", "stars", *FEW)


def test_left_out_columns_are_noted() -> None:
    frame = pl.read_csv(write_table(), null_values="NA").with_row_index("id")
    frame.write_csv("indexed.csv")
    assert (
        "note: column 'id' is left out: it counts the rows"
        in command("train", "indexed.csv", "--target", "kind", *FEW).stderr
    )


@pytest.fixture
def _default_sigint() -> Iterator[None]:
    """Let SIGINT raise `KeyboardInterrupt`: the background jobs of a shell, and so tests there, ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_default_sigint")
def test_ctrl_c_keeps_the_network_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    show = TrainingProgress.__call__

    def interrupt(self: TrainingProgress, progress: Progress) -> None:
        show(self, progress)
        if progress.epoch == 3 and not progress.is_over:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TrainingProgress, "__call__", interrupt)
    options = ["--epochs", 10**6, "--patience", 10**6, "--quiet", "--n-estimators", 1]
    result = command("train", write_table(), "--target", "kind", *options)
    assert result.exit_code == 130
    assert result.stderr == "fastbp: interrupted; the model so far is saved\n"
    assert "accuracy" in result.stdout
    assert "prediction" in run("predict", "model.fastbp", write_table("again.csv"))


@pytest.mark.usefixtures("_default_sigint")
def test_ctrl_c_before_the_first_epoch_keeps_an_older_model(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("model.fastbp").write_text("older")
    monkeypatch.setattr(building, "learn_encoding", lambda _: signal.raise_signal(signal.SIGINT))
    result = command("train", write_table(), "--target", "kind")
    assert (result.exit_code, Path("model.fastbp").read_text()) == (130, "older")
    assert "interrupted" in result.stderr


@pytest.mark.usefixtures("_default_sigint")
def test_ctrl_c_outside_a_training_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "read_table", lambda _path, _report: signal.raise_signal(signal.SIGINT))
    result = command("train", write_table(), "--target", "kind")
    assert (result.exit_code, result.stderr) == (130, "fastbp: interrupted\n")


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
    trained = python("-m", "fastbp", "train", str(table), "--target", "kind", "--quiet", *map(str, FEW))
    assert (trained.returncode, trained.stderr) == (0, "")
    assert "accuracy" in trained.stdout
    failed = python("-m", "fastbp", "train", str(table), "--target", "knid")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "fastbp: the table has no column 'knid' (did you mean 'kind'?)\n"


def test_the_command_is_there_before_anything_slow_is_imported() -> None:
    slow = python(
        "-c",
        "import sys, fastbp.command.app\nprint({'numba', 'numpy', 'polars', 'sklearn'} & set(sys.modules))",
    )
    assert slow.stdout == "set()\n"


@pytest.mark.parametrize("missing", ["typer", "narwhals", "polars", "matplotlib"])
def test_a_package_that_is_not_installed_is_named_with_the_remedy(missing: str) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None; sys.argv[0] = 'fastbp'\n"
    hidden += "from fastbp.command.app import main; main()"
    result = python("-c", hidden, "train", str(write_table()), "--target", "kind", "--report", "report.html")
    assert result.returncode == 2
    assert result.stderr == "fastbp: the command needs more packages: pip install 'fastbp[tabular]'\n"


def test_the_command_works_on_a_terminal_without_greek_letters() -> None:
    latin = "import sys; sys.stdout.reconfigure(encoding='cp1252'); from fastbp.command.app import main; main()"
    result = subprocess.run([sys.executable, "-c", latin, "toy"], capture_output=True, timeout=120)
    assert result.returncode == 0
    assert result.stdout.startswith(rb"x = 0.5, y = 1, \u03a9_0 = 0.8")

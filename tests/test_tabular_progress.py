"""What a training on a table tells while it runs, and where it is shown."""

import re
import time

import numpy as np
import pytest

from fastbp.runs import display
from fastbp.tabular import Progress, TabularClassifier, TabularRegressor
from fastbp.tabular.settings import Settings
from fastbp.tabular.training.progress import TrainingProgress

ROWS = np.random.default_rng(0).standard_normal((600, 3))
LABELS = np.where(ROWS[:, 0] > 0, "yes", "no")


def told(n_estimators: int = 2, epochs: int = 2, metric: str = "rmse") -> TrainingProgress:
    return TrainingProgress(Settings(n_estimators=n_estimators, epochs=epochs), 1_000_000, metric)  # type: ignore[arg-type]


def of(network: int, epoch: int = 2, *, is_over: bool = True) -> Progress:
    return Progress(epoch=epoch, loss=0.5, validation_loss=0.25, network=network, is_over=is_over)


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every few milliseconds."""
    monkeypatch.setattr(display, "SECONDS_TO_FIRST_LINE", 0.005)
    for outlet in (display.LogLines, display.TerminalLine):
        monkeypatch.setattr(outlet, "seconds_between", 0.005)


def test_before_the_first_step_the_line_says_what_is_done() -> None:
    progress = told()
    assert progress.line(False) == ("encoding 1,000,000 rows", 0.0)
    progress.say("preparing the compiled code")
    progress.count_rows(0, 0, 400)
    assert progress.line(False) == ("preparing the compiled code", 0.0)
    assert progress.line(True).text == ""


def test_rows_count_within_an_epoch() -> None:
    progress = told()
    progress.count_rows(0, 100, 1000)
    assert progress.line(False) == ("network 0/2  100 of 2,000 rows", 0.05)
    progress.count_rows(1, 200, 600)
    progress(of(1, 1, is_over=False))
    losses = "training loss 0.5000  validation standardised RMSE 0.2500"
    text = progress.line(False).text
    assert re.fullmatch(rf"network 0/2  epoch 1  300 of 1,600 rows  at most [\d,]+ s left  {losses}", text)


def test_the_last_line_counts_the_networks_and_rows_that_were_trained() -> None:
    progress = told(n_estimators=6)
    for network in range(4):
        progress.count_rows(network, 500, 1000)
        progress(of(network))
    losses = "training loss 0.5000  validation standardised RMSE 0.2500"
    assert progress.line(True) == (f"network 4/4  epoch 2  2,000 rows  {losses}", 1.0)
    assert progress.line(False).share == pytest.approx(4 / 6)


def test_networks_elsewhere_tell_only_their_end() -> None:
    progress = told()
    progress(of(1))
    losses = "training loss 0.5000  validation standardised RMSE 0.2500"
    assert progress.line(False) == (f"network 1/2  epoch 2  {losses}", 0.5)


def test_a_network_more_than_was_asked_for_is_counted() -> None:
    progress = told()
    for network in range(3):
        progress(of(network))
    assert progress.line(True).text.startswith("network 3/3  ")


@pytest.mark.usefixtures("_often")
def test_a_fit_shows_rows_within_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    def wait(_: Progress) -> None:
        time.sleep(0.01)

    model = TabularClassifier(n_estimators=1, epochs=400, patience=None, hidden_layer_sizes=(16,), callback=wait)
    model.set_params(verbose=True).fit(ROWS, LABELS)
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert any(re.match(r"network 0/1  epoch \d+  [\d,]+ of 102,400 rows  ", line) for line in lines), lines[-3:]
    assert re.fullmatch(
        r"network 1/1  epoch \d+  [\d,]+ rows  training loss \d\.\d+  validation log loss \d\.\d+", lines[-1]
    )
    assert len(set(lines)) == len(lines)


def test_only_what_is_asked_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    model = TabularRegressor(n_estimators=2, epochs=2, hidden_layer_sizes=(4,))
    for verbose in (None, False, 0):
        model.set_params(verbose=verbose).fit(ROWS, ROWS[:, 0])
        assert capsys.readouterr() == ("", "")
    model.set_params(verbose=1).fit(ROWS, ROWS[:, 0])
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"network (\d)/\1  epoch 2  (1,024|1,536) rows  ", line)  # 512 of 500 to 600 rows in two epochs
    with pytest.raises(ValueError, match="The 'verbose' parameter"):
        model.set_params(verbose="much").fit(ROWS, ROWS[:, 0])


def test_the_rows_of_a_budget_are_those_that_it_has_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    totals: list[int] = []
    count = TrainingProgress.count_rows

    def record(self: TrainingProgress, network: int, seen: int, total: int) -> None:
        count(self, network, seen, total)
        totals.append(total)

    monkeypatch.setattr(TrainingProgress, "count_rows", record)
    X = np.tile(ROWS, (20, 1))
    model = TabularClassifier(n_estimators=1, epochs=100_000, patience=None, time_budget=2)
    model.fit(X, np.tile(LABELS, 20))
    assert 0 < totals[-1] < totals[0] // 100


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to a terminal of 60 columns."""
    written: list[str] = []
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(display.TerminalLine, "_write", lambda _, text: written.append(text))
    return written


def test_a_line_ends_where_the_terminal_ends(terminal: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = display.TerminalLine()
    outlet.show(display.Line("short", 0.5))
    outlet.show(display.Line("long " * 20, 0.5))
    outlet.end(display.Line("long " * 20, 0.5))
    outlet.end(display.Line(""))
    assert [len(text.rstrip("\n")) for text in terminal] == [5, 59, 59, 0]
    assert terminal[1].endswith("...")
    monkeypatch.setenv("COLUMNS", "120")
    outlet.show(display.Line("short", 0.25))
    assert re.fullmatch(r"\[(━{5} {15}|#{5}\.{15})\] short", terminal[-1])


def test_the_line_of_a_task_that_failed_is_removed(terminal: list[str]) -> None:
    with (
        pytest.raises(ValueError, match="no use"),
        display.Display(lambda _: display.Line("on"), display.TerminalLine()),
    ):
        raise ValueError("no use")
    assert terminal == [""]

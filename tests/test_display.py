"""The progress of a task in a log, on a terminal and in a notebook."""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.runs import display
from fastbp.runs.display import Display, Line, LogLines, NotebookBar, TerminalLine, outlet_for

X = np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every few milliseconds."""
    monkeypatch.setattr(display, "SECONDS_TO_FIRST_LINE", 0.01)
    for outlet in (LogLines, TerminalLine, NotebookBar):
        monkeypatch.setattr(outlet, "seconds_between", 0.01)


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The HTML that a notebook shows; the last entry stands in the cell."""
    shown: list[str] = []

    class Handle:
        def update(self, html: str) -> None:
            shown.append(html)

    def show(html: str, display_id: bool) -> Handle:
        assert display_id
        assert not shown
        shown.append(html)
        return Handle()

    kernel, ipython = ModuleType("ipykernel.kernelapp"), ModuleType("IPython.display")
    kernel.IPKernelApp = type("IPKernelApp", (), {"initialized": lambda: True})  # type: ignore[attr-defined]
    ipython.HTML, ipython.display = str, show  # type: ignore[attr-defined]
    for module in (kernel, ipython):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return shown


def wait_for(happened: Callable[[], Any]) -> None:
    deadline = time.perf_counter() + 10
    while not happened() and time.perf_counter() < deadline:
        time.sleep(0.005)
    assert happened()


def fit(verbose: bool | None, callback: Callable[[fastbp.Progress], object] | None = None, **options: Any) -> None:
    fastbp.Network([3, 4, 1], seed=0).fit(X, X[:, 0], verbose=verbose, epochs=3, callback=callback, **options)


@pytest.mark.usefixtures("often")
def test_a_log_has_a_line_for_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    lines, written = [Line("")], []

    def is_written(text: str) -> bool:
        written.append(capsys.readouterr().err)
        return text in "".join(written)

    with Display(lambda is_over: Line("over") if is_over else lines[-1], LogLines()):
        time.sleep(0.05)  # nothing is written for an empty line
        lines.append(Line("first"))
        wait_for(lambda: is_written("first"))
        lines.append(Line("second"))
        wait_for(lambda: is_written("second"))
    assert is_written("over\n")
    texts = "".join(written).splitlines()
    assert [text for text in texts if not text.endswith("so far)")] == ["first", "second", "over"]
    assert len(set(texts)) == len(texts)


@pytest.mark.usefixtures("often")
def test_a_terminal_has_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    outlet = outlet_for(True)
    assert isinstance(outlet, TerminalLine)
    with Display(lambda is_over: Line("over" if is_over else "on the way"), outlet):
        time.sleep(0.1)
    written = capsys.readouterr().err
    assert written.startswith("\r\x1b[Kon the way\r\x1b[K")
    assert written.endswith("\r\x1b[Kover\n")
    assert written.count("\n") == 1


@pytest.mark.usefixtures("often")
def test_a_fit_in_a_notebook_shows_a_bar_by_default(cells: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fit(None, lambda progress: wait_for(lambda: len(cells) > 3 * progress.epoch))
    bar = r'<progress max="1" value="0\.\d+"></progress> <span>epoch \d/3  [\d,]+ of 3,000 rows  training loss \d\.\d'
    assert any(re.match(bar, cell) for cell in cells)
    assert re.search(r'value="1.0000".*epoch 3/3  3,000 of 3,000 rows  training loss \d\.\d+  \d+\.\d s', cells[-1])
    assert capsys.readouterr() == ("", "")


def test_a_short_fit_in_a_notebook_shows_nothing_by_default(cells: list[str]) -> None:
    fit(None)
    assert not cells
    fit(True)
    assert len(cells) == 1


def test_a_fit_in_a_log_shows_only_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    fit(None)
    fit(False)
    assert capsys.readouterr() == ("", "")
    fit(True, validation_data=(X, X[:, 0]))
    line = capsys.readouterr().err.splitlines()[-1]  # a slow machine shows a line before
    assert re.fullmatch(
        r"epoch 3/3  3,000 of 3,000 rows  training loss \d\.\d{4}  validation loss \d\.\d{4}  \d+\.\d s", line
    )


def test_a_fit_that_ends_early_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    fit(True, lambda progress: progress.epoch == 2)
    assert capsys.readouterr().err.splitlines()[-1].startswith("epoch 2/3  2,000 of 3,000 rows")


def test_a_fit_that_fails_shows_no_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(fastbp.DivergenceError):
        fit(True, optimizer=fastbp.SGD(1e30))
    assert capsys.readouterr().err == ""
    with pytest.raises(TypeError, match="verbose must be True or False, got 'yes'"):
        fit("yes")  # type: ignore[arg-type]


@pytest.mark.usefixtures("often")
def test_chunks_show_rows_and_then_what_is_left(cells: list[str]) -> None:
    net = fastbp.Network([3, 4, 1], seed=0)

    def slow_chunks() -> Iterator[Any]:
        for rows in (slice(400), slice(400, None)):
            yield X[rows], X[rows, 0]
            before = len(cells)
            wait_for(lambda: len(cells) > before + 1)  # noqa: B023 (called at once)

    net.fit(slow_chunks, epochs=3)
    assert '<progress max="1"></progress> <span>epoch 1/3  384 rows</span>' in cells
    assert any("<span>epoch 2/3  1,384 of 3,000 rows" in cell for cell in cells)
    assert "epoch 3/3  3,000 of 3,000 rows" in cells[-1]


def test_the_thread_ends_with_the_fit() -> None:
    fit(True)
    assert not [thread for thread in threading.enumerate() if thread.name == "fastbp progress"]


@pytest.mark.usefixtures("often")
def test_the_drop_in_shows_the_rows_of_a_long_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    def wait(_: fastbp.Progress) -> None:
        time.sleep(0.1)

    model = fastbp.sklearn.MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=2, verbose=True, callback=wait, n_iter_no_change=9
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, X[:, 0])
    shown = capsys.readouterr()
    assert re.fullmatch(r"Iteration 1, loss = \d\.\d{8}\nIteration 2, loss = \d\.\d{8}\n", shown.out)
    lines = [line for line in shown.err.splitlines() if not line.endswith("so far)")]
    assert set(lines) <= {"preparing the code", "0 of 1,000 rows of the next epoch"}
    assert "0 of 1,000 rows of the next epoch" in lines
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.set_params(verbose=False).fit(X, X[:, 0])
    assert capsys.readouterr() == ("", "")

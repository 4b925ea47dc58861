"""The progress of a command on stderr: a bar on a terminal, a line every few seconds in a log.

It must not know how networks are trained or kernels are compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from fastbp.report.words import validation_words
from fastbp.results import Progress
from fastbp.runs import display
from fastbp.runs.display import Display, Line, LogLines

_SECONDS_BETWEEN_UPDATES = 0.05


class PhaseProgress:
    """Shows which phase of a command is running, how much of it is done, and an estimate of the time that is left.

    Parameters
    ----------
    is_quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, is_quiet: bool) -> None:
        console = Console(stderr=True)
        self._log = None if is_quiet or console.is_terminal else _Log()
        columns = [TextColumn("{task.fields[phase]}"), BarColumn(20), TextColumn("{task.description}")]
        is_off = is_quiet or self._log is not None
        self._bar = Bar(*columns, console=console, disable=is_off, transient=True)
        self._task = self._bar.add_task("", total=None, phase="starting")
        self._phase = ""
        self._started = self._next_update = time.perf_counter()

    def __enter__(self) -> PhaseProgress:
        if self._log is not None:
            self._log.start()
        elif not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.stop(is_well=False)
        elif not self._bar.disable:
            self._bar.stop()

    def of(self, phase: str, unit: str) -> Callable[[int, int], None]:
        """Return the function that is told how much of a phase is done, and how much there is."""
        return lambda done, total: self(phase, unit, done, total)

    def __call__(self, phase: str, unit: str, done: int, total: int) -> None:
        """Show how much of a phase is done.

        Parameters
        ----------
        phase : str
            Such as "reading".
        unit : str
            "bytes" or "rows".
        done : int
        total : int
            0 if nobody knows.
        """
        now = time.perf_counter()
        if phase != self._phase:
            self._phase, self._started, self._next_update = phase, now, now
        if now < self._next_update and done != total:
            return
        self._next_update = now + _SECONDS_BETWEEN_UPDATES
        text = _amount(unit, done, total)
        if 0 < done < total and now - self._started > display.SECONDS_TO_FIRST_LINE:
            text += f", {(now - self._started) / done * (total - done):,.0f} s left"
        self._bar.update(self._task, total=total or None, completed=done, phase=phase, description=text)
        if self._log is not None:
            self._log.line = f"{phase} {text}" if text else phase


def _amount(unit: str, done: int, total: int) -> str:
    """Return how much is done in words."""
    if done == total == 0:
        return ""
    if unit == "bytes":
        size, name = (1e6, "MB") if max(done, total) >= 1e6 else (1e3, "kB")
        return f"{done / size:,.1f} of {total / size:,.1f} {name}" if total else f"{done / size:,.1f} {name}"
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"


class TrainingProgress:
    """Shows networks, epoch, training loss and validation error; the callback of `training.build.build`.

    Parameters
    ----------
    n_estimators : int
        Number of networks.
    epochs : int
        Maximum number of epochs of each network.
    metric : str
        The metric that is optimised, such as "log_loss".
    is_quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, n_estimators: int, epochs: int, metric: str, is_quiet: bool) -> None:
        console = Console(stderr=True)
        self._log = None if is_quiet or console.is_terminal else _Log()
        columns = [TextColumn("network {task.fields[network]}"), BarColumn(20), TextColumn("{task.description}")]
        self._bar = Bar(*columns, console=console, disable=is_quiet or self._log is not None)
        self._task = self._bar.add_task("", total=n_estimators * epochs, network=f"0/{n_estimators}")
        self._n_networks, self._max_epochs, self._metric = n_estimators, epochs, validation_words(metric)
        self._n_finished = 0
        self._text = ""
        self._epochs_of: dict[int, int] = {}  # by network; the maximum once its training has ended
        self._next_update = 0.0
        self._first: tuple[float, int] | None = None  # when the first epoch had ended, and the epochs until then
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since this object was made."""
        return time.perf_counter() - self._started

    def __enter__(self) -> TrainingProgress:
        if self._log is not None:
            self._log.start()
        else:
            self._bar.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None and self._n_finished:
            self._n_networks = self._n_finished  # a large table, or little time, may need fewer than was planned
            self._show(left="")
        if self._log is not None:
            self._log.stop(is_well=error is None)
        if self._bar.disable:
            return  # without a bar, some versions of rich print an empty line here
        if error is not None:
            self._bar.live.transient = True  # the bar of a failed training is removed, and only the error is left
            self._bar.live.stop()
        else:
            self._bar.stop()

    def say(self, what: str) -> None:
        """Show what the command is doing before the first epoch."""
        self._bar.update(self._task, description=what)
        if self._log is not None:
            self._log.line = what

    def __call__(self, progress: Progress) -> None:
        """Show the epoch that has just ended. The result is None, so the training goes on."""
        self._n_finished += progress.is_over
        # The ensemble trains one more network than was asked for, if one of the first two is dropped.
        self._n_networks = max(self._n_networks, progress.network + 1)
        self._epochs_of[progress.network] = self._max_epochs if progress.is_over else progress.epoch
        now = time.perf_counter()
        done, total = sum(self._epochs_of.values()), self._n_networks * self._max_epochs
        self._first = self._first or (now, done)
        if now < self._next_update and not progress.is_over:
            return
        self._next_update = now + _SECONDS_BETWEEN_UPDATES
        losses = f"training loss {progress.loss:.4f}  validation {self._metric} {progress.validation_loss:.4f}"
        self._text, left = f"epoch {progress.epoch}  {losses}", ""
        if done > self._first[1] and done < total:  # a network may end early, and no later
            seconds = (now - self._first[0]) / (done - self._first[1]) * (total - done)
            left = f"  at most {seconds:,.0f} s left"
        self._show(left)

    def _show(self, left: str) -> None:
        """Show the networks and the latest epoch, with the time that is left."""
        done, total = sum(self._epochs_of.values()), self._n_networks * self._max_epochs
        network = f"{self._n_finished}/{self._n_networks}"
        self._bar.update(self._task, total=total, completed=done, network=network, description=self._text + left)
        if self._log is not None:
            self._log.line = f"network {network}  {self._text}{left}"


class _Log(Display):
    """Writes the latest `line`: in the first second, every few seconds, and at the end unless the command failed."""

    def __init__(self) -> None:
        super().__init__(lambda _: Line(self.line), LogLines())
        self.line = ""


class WarmupProgress:
    """A bar with the function that is being compiled; the callback of `startup.warmup`.

    Parameters
    ----------
    n_functions : int
        Number of functions to compile.
    is_quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, n_functions: int, is_quiet: bool) -> None:
        columns = [TextColumn("{task.completed}/{task.total}"), BarColumn(20), TextColumn("{task.description}")]
        self._bar = Bar(*columns, console=Console(stderr=True), disable=is_quiet, transient=True)
        self._task = self._bar.add_task("", total=n_functions, completed=-1)

    def __enter__(self) -> WarmupProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, dtype: str, name: str) -> None:
        """Show the function that is compiled next."""
        self._bar.update(self._task, advance=1, description=f"{dtype} {name}")

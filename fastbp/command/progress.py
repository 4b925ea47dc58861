"""How far a command has come, on stderr: a bar on a terminal, a line now and then in a log.

It knows what a training and a compilation tell of themselves. It must not know how they are made.
"""

from __future__ import annotations

import sys
import time
from threading import Event, Thread
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.status import Status

if TYPE_CHECKING:
    from fastbp.tabular.training import pool as ensemble

_SECONDS_BETWEEN_UPDATES = 0.05
_SECONDS_TO_FIRST_LINE = 0.5
_SECONDS_BETWEEN_LINES = 5.0


def waiting(what: str, quiet: bool) -> Status:
    """Return a context in which a terminal shows what is being done."""
    return Console(stderr=True, quiet=quiet).status(what)


class TrainingProgress:
    """Networks, epoch, loss and error; it is what `building.build` reports to.

    Parameters
    ----------
    networks : int
    epochs : int
        Of each network, at most.
    metric : str
        What the error is.
    quiet : bool
    """

    def __init__(self, networks: int, epochs: int, metric: str, quiet: bool) -> None:
        console = Console(stderr=True)
        self._log = None if quiet or console.is_terminal else _Log()
        columns = [TextColumn("network {task.fields[network]}"), BarColumn(20), TextColumn("{task.description}")]
        self._bar = Progress(*columns, console=console, disable=quiet or self._log is not None)
        self._task = self._bar.add_task("", total=networks * epochs, network=f"0/{networks}")
        self._networks, self._epochs, self._metric = networks, epochs, metric.replace("_", " ")
        self._over = 0
        self._done: dict[int, int] = {}
        self._next_update = 0.0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._started

    def __enter__(self) -> TrainingProgress:
        if self._log is not None:
            self._log.start()
        else:
            self._bar.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._log is not None:
            self._log.stop(is_well=error is None)
        if self._bar.disable:
            return  # some versions of rich end a line that never began
        if error is not None:
            self._bar.live.transient = True  # a run that failed leaves its error as the only line
            self._bar.live.stop()
        else:
            self._bar.stop()

    def say(self, what: str) -> None:
        """Show what is being done before the first epoch."""
        self._bar.update(self._task, description=what)
        if self._log is not None:
            self._log.line = what

    def __call__(self, event: ensemble.Progress) -> None:
        """Show the epoch that has just ended."""
        self._over += event.is_over
        self._networks = max(self._networks, event.network + 1)  # one more, if one of the first two was dropped
        self._done[event.network] = self._epochs if event.is_over else event.epoch
        now = time.perf_counter()
        if now < self._next_update and not event.is_over:
            return
        self._next_update = now + _SECONDS_BETWEEN_UPDATES
        network = f"{self._over}/{self._networks}"
        told = f"epoch {event.epoch}  loss {event.loss:.4f}  {self._metric} held out {event.error:.4f}"
        done, total = sum(self._done.values()), self._networks * self._epochs
        self._bar.update(self._task, total=total, completed=done, network=network, description=told)
        if self._log is not None:
            self._log.line = f"network {network}  {told}"


class _Log(Thread):
    """Writes the latest `line`: in the first second, every few seconds, and at the end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.line = ""
        self._is_over = Event()

    def run(self) -> None:
        wait = _SECONDS_TO_FIRST_LINE
        while not self._is_over.wait(wait):
            self._write()
            wait = _SECONDS_BETWEEN_LINES

    def stop(self, is_well: bool) -> None:
        """End the log, with the last line if all went well."""
        self._is_over.set()
        self.join()
        if is_well:
            self._write()

    def _write(self) -> None:
        print(self.line, file=sys.stderr, flush=True)


class WarmupProgress:
    """A bar with the function that is being compiled; it is what `startup.warmup` reports to."""

    def __init__(self, steps: int, quiet: bool) -> None:
        columns = [TextColumn("{task.completed}/{task.total}"), BarColumn(20), TextColumn("{task.description}")]
        self._bar = Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
        self._task = self._bar.add_task("", total=steps, completed=-1)

    def __enter__(self) -> WarmupProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, dtype: str, name: str) -> None:
        """Show what comes next."""
        self._bar.update(self._task, advance=1, description=f"{dtype} {name}")

"""One line on a long task, written again and again by a thread of its own: what is done, and what is left.

A terminal shows the latest line, a log gets a line every few seconds, and a notebook shows a bar. This file must not
know the task.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from importlib import import_module
from threading import Event, Thread
from typing import Any, NamedTuple

SECONDS_TO_FIRST_LINE = 0.5


class Line(NamedTuple):
    """What is to be shown now.

    Attributes
    ----------
    text : str
        Nothing is shown while the text is empty.
    share : float or None
        The share of the task that is done, in [0, 1]; None if nobody knows.
    """

    text: str
    share: float | None = None


class LogLines:
    """Lines on stderr, one below the other. A line that says nothing new gets the seconds so far."""

    seconds_between = 5.0

    def __init__(self) -> None:
        self._line = self._written = ""
        self._since = time.perf_counter()

    def show(self, line: Line) -> None:
        """Write the line."""
        text = line.text
        if text and text == self._line:
            text += f" ({time.perf_counter() - self._since:,.0f} s so far)"
        self._line = line.text
        if text and text != self._written:
            print(text, file=sys.stderr, flush=True)
            self._written = text

    def end(self, line: Line) -> None:
        """Write the last line, unless it is there already."""
        if line.text != self._line:
            self.show(line)


class TerminalLine:
    """A line on stderr that the next line replaces."""

    seconds_between = 0.2

    def show(self, line: Line) -> None:
        """Write the line over the line before."""
        if line.text:
            print(f"\r\x1b[K{line.text}", end="", file=sys.stderr, flush=True)

    def end(self, line: Line) -> None:
        """Write the last line, and go to the next one."""
        self.show(line)
        if line.text:
            print(file=sys.stderr, flush=True)


class NotebookBar:
    """A bar with the line beside it, in the output of a cell."""

    seconds_between = 0.5

    def __init__(self) -> None:
        self._shown: Any = None

    def show(self, line: Line) -> None:
        """Show the line in place of the line before."""
        if not line.text:
            return
        shows: Any = import_module("IPython.display")  # only some versions have types
        value = "" if line.share is None else f' value="{line.share:.4f}"'
        shown = shows.HTML(f'<progress max="1"{value}></progress> <span>{escape(line.text)}</span>')
        if self._shown is None:
            self._shown = shows.display(shown, display_id=True)
        else:
            self._shown.update(shown)

    def end(self, line: Line) -> None:
        """Show the last line."""
        self.show(line)


Outlet = LogLines | TerminalLine | NotebookBar


def outlet_for(verbose: bool | None) -> Outlet | None:
    """Return where progress is shown: with True, in any case; with None, in a notebook only; with False, nowhere."""
    if verbose is False or (verbose is None and not _is_notebook()):
        return None
    if _is_notebook():
        return NotebookBar()
    return TerminalLine() if sys.stderr is not None and sys.stderr.isatty() else LogLines()


def _is_notebook() -> bool:
    """Tell whether this process runs the cells of a notebook."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and bool(kernel.IPKernelApp.initialized())


class Display:
    """A context in which the progress of a task is shown: in the first second, every few seconds, and at the end.

    Parameters
    ----------
    look : callable
        Takes whether the task is over, and returns the present line. It is called in a thread of its own.
    outlet : Outlet or None
        Where the line is shown. None means nowhere.
    is_brief_shown : bool, default True
        Whether the last line of a task is shown that ends before the first line.
    """

    def __init__(self, look: Callable[[bool], Line], outlet: Outlet | None, is_brief_shown: bool = True) -> None:
        self._look, self._outlet, self._is_shown = look, outlet, is_brief_shown
        self._thread: Thread | None = None

    def __enter__(self) -> Display:
        self.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.stop(is_well=error is None)

    def start(self) -> None:
        """Start the thread."""
        if self._outlet is not None:
            self._is_over = Event()
            self._thread = Thread(target=self._show, args=(self._outlet,), name="fastbp progress", daemon=True)
            self._thread.start()

    def stop(self, is_well: bool) -> None:
        """End the thread. The last line is shown unless the task failed."""
        if self._outlet is None or self._thread is None:
            return
        self._is_over.set()
        self._thread.join()
        if is_well and self._is_shown:
            self._outlet.end(self._look(True))

    def _show(self, outlet: Outlet) -> None:
        """Show lines until the task is over."""
        wait = SECONDS_TO_FIRST_LINE
        while not self._is_over.wait(wait):
            self._is_shown = True
            outlet.show(self._look(False))
            wait = outlet.seconds_between

"""One line on a long task, written again and again by a thread of its own: what is done, and what is left.

A terminal shows the latest line, a log gets a line every few seconds, and a notebook shows a bar. This file must not
know the task.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from html import escape
from importlib import import_module
from threading import Event, Thread
from typing import Any, NamedTuple

SECONDS_TO_FIRST_LINE = 0.5
_BAR_WIDTH = 20  # characters
_WIDE = 100  # a terminal of fewer columns has no room for a bar beside the text


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

    def clear(self) -> None:
        """Leave the lines as they are."""


class TerminalLine:
    """A line on stderr that the next line replaces. It has a bar, and ends where the terminal ends."""

    seconds_between = 0.2

    def show(self, line: Line) -> None:
        """Write the line over the line before."""
        if line.text:
            self._write(_fitted(line, shutil.get_terminal_size().columns - 1))

    def end(self, line: Line) -> None:
        """Write the last line, and go to the next one. An empty line only removes the line before."""
        self._write(f"{_fitted(line, shutil.get_terminal_size().columns - 1)}\n" if line.text else "")

    def clear(self) -> None:
        """Remove the line, so that an error message has a line of its own."""
        self._write("")

    def _write(self, text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _fitted(line: Line, columns: int) -> str:
    """Return a line of at most so many characters: a bar if there is room, and the text."""
    text = line.text
    if line.share is not None and columns >= _WIDE:
        done, left = "━ " if (sys.stderr.encoding or "").lower().startswith("utf") else "#."
        n = round(_BAR_WIDTH * line.share)
        text = f"[{done * n}{left * (_BAR_WIDTH - n)}] {text}"
    return text if len(text) <= columns else f"{text[: columns - 3]}..."


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

    def clear(self) -> None:
        """Leave the bar as it is."""


class TimeLeft:
    """The time that is left of a task, by the pace since the first call. A task may end early, and no later."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def in_words(self, done: int, total: int) -> str:
        """Return the seconds with two spaces before them; nothing if nobody knows them, or all is done."""
        now = time.perf_counter()
        self._first = self._first or (now, done)
        since, done_before = self._first
        if not done_before < done < total:
            return ""
        return f"  at most {(now - since) / (done - done_before) * (total - done):,.0f} s left"


Outlet = LogLines | TerminalLine | NotebookBar


def outlet_for(verbose: bool | None) -> Outlet | None:
    """Return where progress is shown: with True, in any case; with None, in a notebook only; with False, nowhere."""
    if verbose is False:
        return None
    if _is_notebook():
        return NotebookBar()
    if verbose is None:
        return None
    return TerminalLine() if sys.stderr is not None and sys.stderr.isatty() else LogLines()


def _is_notebook() -> bool:
    """Tell whether this process runs the cells of a notebook."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and bool(kernel.IPKernelApp.initialized())


def showing(look: Callable[[bool], Line], verbose: bool | None) -> AbstractContextManager[object]:
    """Return a context in which the progress of a task is shown, if `outlet_for(verbose)` is somewhere.

    Parameters
    ----------
    look : callable
        As for `Display`.
    verbose : bool or None
        As for `outlet_for`. With None, a task that ends before the first line is not shown.
    """
    outlet = outlet_for(verbose)
    return nullcontext() if outlet is None else Display(look, outlet, is_brief_shown=verbose is True)


class Display:
    """A context in which the progress of a task is shown: in the first second, every few seconds, and at the end.

    Parameters
    ----------
    look : callable
        Takes whether the task is over, and returns the present line. It is called in a thread of its own.
    outlet : Outlet
        Where the line is shown.
    is_brief_shown : bool, default True
        Whether the last line of a task is shown that ends before the first line.
    """

    def __init__(self, look: Callable[[bool], Line], outlet: Outlet, is_brief_shown: bool = True) -> None:
        self._look, self._outlet, self._is_shown = look, outlet, is_brief_shown
        self._is_over = Event()
        self._thread = Thread(target=self._show, name="fastbp progress", daemon=True)

    def __enter__(self) -> Display:
        self.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.stop(is_well=error is None)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, is_well: bool) -> None:
        """End the thread. The last line is shown unless the task failed."""
        self._is_over.set()
        self._thread.join()
        if is_well and self._is_shown:
            self._outlet.end(self._look(True))
        elif self._is_shown:
            self._outlet.clear()

    def _show(self) -> None:
        """Show lines until the task is over."""
        wait = SECONDS_TO_FIRST_LINE
        while not self._is_over.wait(wait):
            self._is_shown = True
            self._outlet.show(self._look(False))
            wait = self._outlet.seconds_between

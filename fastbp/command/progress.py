"""The progress of a command on stderr: a line on a terminal, or a line every few seconds in a log.

It must not know how tables are read or kernels are compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastbp._typing import Self
from fastbp.runs import display
from fastbp.runs.display import Line, showing


class _Phases:
    """A context in which the latest `line` is shown. Nothing is left of the line on a terminal.

    Parameters
    ----------
    is_quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, is_quiet: bool) -> None:
        self._line = Line("")
        self._shown = showing(lambda is_over: Line("") if is_over else self._line, verbose=not is_quiet)

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._shown.__exit__(*error)


class PhaseProgress(_Phases):
    """Shows which phase of a command is running, how much of it is done, and an estimate of the time that is left.

    Parameters
    ----------
    is_quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, is_quiet: bool) -> None:
        super().__init__(is_quiet)
        self._phase = ""
        self._started = time.perf_counter()

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
            self._phase, self._started = phase, now
        text = _amount(unit, done, total)
        if 0 < done < total and now - self._started > display.SECONDS_TO_FIRST_LINE:
            text += f", {(now - self._started) / done * (total - done):,.0f} s left"
        self._line = Line(f"{phase} {text}" if text else phase, done / total if total else None)


def _amount(unit: str, done: int, total: int) -> str:
    """Return how much is done in words."""
    if done == total == 0:
        return ""
    if unit == "bytes":
        size, name = (1e6, "MB") if max(done, total) >= 1e6 else (1e3, "kB")
        return f"{done / size:,.1f} of {total / size:,.1f} {name}" if total else f"{done / size:,.1f} {name}"
    return f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}"


class WarmupProgress(_Phases):
    """Shows the function that is being compiled; the callback of `startup.warmup`.

    Parameters
    ----------
    n_functions : int
        Number of functions to compile.
    is_quiet : bool
        Whether nothing is shown.
    """

    def __init__(self, n_functions: int, is_quiet: bool) -> None:
        super().__init__(is_quiet)
        self._n_begun, self._n_functions = 0, n_functions

    def __call__(self, dtype: str, name: str) -> None:
        """Show the function that is compiled next."""
        n_done, n = self._n_begun, self._n_functions
        self._n_begun += 1
        self._line = Line(f"{n_done}/{n} compiling {dtype} {name}", n_done / n)

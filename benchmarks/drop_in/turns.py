"""Timing in turns, with one thread or default threads, and a clock of the compiled part of fastbp.

This file must not know what is timed.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from threadpoolctl import threadpool_limits

from benchmarks.common import pin, usable_cores
from fastbp.kernels import entries

THREADS = {"one": "one thread", "default": "default threads"}
SECONDS = 0.004  # about the duration of a turn of short calls
# Idle threads of BLAS may spin for a while, on the cores of the package that is measured next.
SETTLE_SECONDS = 0.05


@contextlib.contextmanager
def using(threads: str) -> Iterator[Callable[[], None]]:
    """Use one core and one thread, or leave everything as it is; yield a function to call before each turn."""
    if threads == "default":
        yield lambda: time.sleep(SETTLE_SECONDS)
        return
    cores = usable_cores()
    pin({min(cores)})
    try:
        with threadpool_limits(1):
            yield lambda: None
    finally:
        pin(cores)


def seconds_per_call(calls: Sequence[Callable[[], object]], turns: int, settle: Callable[[], None]) -> list[float]:
    """Return the median seconds of each of several short calls, which take turns of about `SECONDS`."""
    repeats = [max(1, round(SECONDS / _seconds(call, 3))) for call in calls]
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(turns):
        for call, times, seconds in zip(calls, repeats, found, strict=True):
            settle()
            call()  # the call of another package came before
            seconds.append(_seconds(call, times))
    return [statistics.median(seconds) for seconds in found]


def _seconds(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


class KernelClock:
    """Counts the time that a thread spends in compiled calls of fastbp while the clock is used as a context.

    The clock gives the compiled entries another class, so it does not depend on how a caller imports an entry.

    Attributes
    ----------
    seconds : float
        Time in compiled calls, with the conversion of their arguments.
    calls : int
        Number of compiled calls.
    """

    ENTRIES = (entries.train, entries.evaluate, entries.differentiate, entries.predict)

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def __enter__(self) -> "KernelClock":
        self._thread = threading.get_ident()  # the other threads of a step run at the same time
        self._kinds = [type(entry) for entry in self.ENTRIES]
        for entry, kind in zip(self.ENTRIES, self._kinds, strict=True):
            entry.__class__ = self._timed(kind)
        return self

    def __exit__(self, *_: object) -> None:
        for entry, kind in zip(self.ENTRIES, self._kinds, strict=True):
            entry.__class__ = kind

    def _timed(self, kind: type) -> type:
        clock = self

        class Timed(kind):
            def __call__(self, *arguments):
                if threading.get_ident() != clock._thread:
                    return super().__call__(*arguments)
                start = time.perf_counter()
                try:
                    return super().__call__(*arguments)
                finally:
                    clock.seconds += time.perf_counter() - start
                    clock.calls += 1

        return Timed

"""Threads that make one compiled call together: how many there can be, how many pay, and what if one fails.

They are plain Python threads, started when first needed; compiled code lets go of the interpreter. This file must not
know what is computed.
"""

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType

from fastbp.barrier import Crew, abandon, new_barrier

_TRIAL_SECONDS = 0.005  # how long another count of threads is tried
_REST_SECONDS = 2.0  # until the next trial


def available() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def counts_up_to(most: int) -> list[int]:
    """Return the counts of threads that are worth trying: 1, 2, 4, … and the most."""
    return sorted({min(2**i, most) for i in range(most.bit_length() + 1)})


class Team:
    """Threads that wait for work, and as many of them in a call as make its steps fastest.

    Only time tells how many those are: cores may be busy, lent for a part of the time, or halves of one core. So from
    time to time the next lower and the next higher count have a short turn, and the best of them goes on. A context:
    the threads end with it.

    Parameters
    ----------
    counts : list of int
        The counts to choose from, rising; the highest comes first.
    """

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self._best = self._turn = len(counts) - 1  # indices: of the fastest count so far, and of the next call's
        self._trials: list[int] = []  # indices, still to come in this round
        self._next_round = 0.0  # when others are tried again
        self._seconds: dict[int, float] = {}  # of a step, by index
        self._is_warm = False
        self._pool = ThreadPoolExecutor(max_workers=counts[-1], thread_name_prefix="fastbp")

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()

    def steps(self, most: int) -> int:
        """Return how many steps the next call should make: as many as there are, or few if it is but a trial."""
        if self._turn == self._best and (self._next_round > 0 or not self._seconds):
            return most
        return max(1, min(most, int(_TRIAL_SECONDS / min(self._seconds.values()))))

    def call(self, function: Callable[[Crew], int], steps: int) -> int | None:
        """Call `function`, which makes so many steps, in several threads, and return what it gave this one.

        None, and a warning, where one of the others could not be started or failed; the rest are let go then, in the
        midst of a step, and from then on calls are made by this thread alone.
        """
        started = time.perf_counter()
        made, error = _call(function, self._counts[self._turn], self._pool)
        if error is not None:
            warnings.warn(f"fastbp goes on with one thread, as another failed: {error!r}", RuntimeWarning, stacklevel=2)
            self._counts, self._seconds, self._best, self._turn = [1], {}, 0, 0
            return None
        ended = time.perf_counter()
        self._learn((ended - started) / steps, ended)
        return made

    def _learn(self, seconds: float, now: float) -> None:
        """Take note of how long a step took, and choose the next call's count."""
        self._seconds[self._turn] = seconds
        if not self._is_warm:  # the first call may have waited for the compiler
            self._is_warm = True
            return
        if seconds < self._seconds[self._best]:
            self._trials = [2 * self._turn - self._best]  # one further in the same direction
            self._best = self._turn
        elif now >= self._next_round:
            self._trials = [self._best - 1, self._best + 1]
            self._next_round = now + _REST_SECONDS
        self._trials = [i for i in self._trials if 0 <= i < len(self._counts)]
        self._turn = self._trials.pop(0) if self._trials else self._best


def _call(
    function: Callable[[Crew], int], count: int, pool: ThreadPoolExecutor
) -> tuple[int | None, BaseException | None]:
    """Call `function` in `count` threads; return what it gave this one, and what went wrong in another."""
    barrier = new_barrier()

    def part(thread: int) -> int:
        try:
            return function(Crew(thread, count, barrier))
        except BaseException:
            abandon(barrier)
            raise

    others: list[Future[int]] = []
    try:
        for thread in range(1, count):
            others.append(pool.submit(part, thread))
    except RuntimeError as no_thread:  # the system has no more
        abandon(barrier)
        wait(others)
        return None, no_thread
    except BaseException:
        abandon(barrier)
        raise
    made = part(0)
    wait(others)
    return made, next((error for other in others if (error := other.exception()) is not None), None)

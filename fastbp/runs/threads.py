"""Threads that make one compiled call together, or share several: how many there can be, and how many pay.

They are plain Python threads, started when first needed; compiled code lets go of the interpreter. They wait at queues
written in C, and not in a pool of `concurrent.futures`, whose locks a Ctrl-C can leave held for good. This file must
not know what is computed.
"""

import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from fastbp.machine.barrier import ThreadGroup, abandon, new_barrier

T = TypeVar("T")

_TRIAL_SECONDS = 0.005  # how long another count of threads is tried
_REST_SECONDS = 2.0  # until the next trial
_TRIAL_SHARE = 8  # one part in so many of the time so far is the most that a trial may take


def available() -> int:
    """Return how many cores this process may use, which in a container may be a share of them."""
    if hasattr(os, "process_cpu_count"):
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such system, or "max"
        return cores


def counts_up_to(most: int) -> list[int]:
    """Return the counts of threads that are worth trying: 1, 2, 4, … and the most."""
    return sorted({min(2**i, most) for i in range(most.bit_length() + 1)})


class ThreadPool:
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
        self._elapsed = 0.0
        self._others: list[tuple[threading.Thread, SimpleQueue[Any]]] = []  # with what each of them is to do
        self._answers: SimpleQueue[BaseException | None] = SimpleQueue()

    def __enter__(self) -> "ThreadPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for _, inbox in self._others:
            inbox.put(None)
        for thread, _ in self._others:
            if thread.is_alive():
                thread.join()

    def steps(self, most: int) -> int:
        """Return how many steps the next call should make: as many as there are, or few if it is but a trial."""
        if self._turn == self._best:
            return most
        return max(1, min(most, int(_TRIAL_SECONDS / self._seconds[self._best])))

    def call(self, function: Callable[[ThreadGroup], T], steps: int) -> T | None:
        """Call `function`, which makes so many steps, in several threads, and return what it gave this one.

        None, and a warning, where one of the others could not be started or failed; the rest are let go then, before
        they have made a step, and from then on calls are made by this thread alone.
        """
        started = time.perf_counter()
        made, error = self._call(function, self._counts[self._turn])
        if error is not None:
            self._counts, self._seconds, self._trials, self._best, self._turn = [1], {}, [], 0, 0
            warnings.warn(f"fastbp goes on with one thread, as another failed: {error!r}", RuntimeWarning, stacklevel=6)
            return None
        ended = time.perf_counter()
        self._elapsed += ended - started
        self._learn((ended - started) / steps, ended)
        return made

    def _call(self, function: Callable[[ThreadGroup], T], count: int) -> tuple[T | None, BaseException | None]:
        """Call `function` in `count` threads; return what it gave this one, and what went wrong in another."""
        try:
            while len(self._others) < count - 1:
                inbox: SimpleQueue[Any] = SimpleQueue()
                thread = threading.Thread(target=_work, args=(inbox, self._answers), name="fastbp")
                self._others.append((thread, inbox))  # first, so that whatever interrupts the start, it is let go
                thread.start()
        except RuntimeError as error:  # the system has no more
            self._others.pop()
            return None, error
        barrier = new_barrier()
        try:
            for k in range(1, count):
                self._others[k - 1][1].put((function, ThreadGroup(k, count, barrier)))
            made = function(ThreadGroup(0, count, barrier))
            answers = [self._answers.get() for _ in range(1, count)]
        except BaseException:
            abandon(barrier)
            raise
        return made, next((error for error in answers if error is not None), None)

    def _learn(self, seconds: float, now: float) -> None:
        """Take note of how long a step took, and choose the next call's count."""
        self._seconds[self._turn] = seconds
        if seconds < self._seconds[self._best]:
            self._trials = [2 * self._turn - self._best]  # one further in the same direction
            self._best = self._turn
        elif now >= self._next_round and self._elapsed > _TRIAL_SHARE * max(_TRIAL_SECONDS, 2 * seconds):
            self._trials = [self._best - 1, self._best + 1]
            self._next_round = now + _REST_SECONDS
        self._trials = [i for i in self._trials if 0 <= i < len(self._counts)]
        self._turn = self._trials.pop(0) if self._trials else self._best


def _work(inbox: "SimpleQueue[Any]", answers: "SimpleQueue[BaseException | None]") -> None:
    """Do what comes, until None does."""
    while (job := inbox.get()) is not None:
        function, group = job
        try:
            function(group)
        except BaseException as error:
            abandon(group.barrier)
            answers.put(error)
        else:
            answers.put(None)


def for_each(function: Callable[[T], object], items: Iterable[T], n_threads: int) -> None:
    """Call `function` once for each item, in as many threads as can be had; raise what one of the calls raised."""
    todo: SimpleQueue[T] = SimpleQueue()
    for item in items:
        todo.put(item)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors:
                function(todo.get_nowait())
        except Empty:
            pass
        except BaseException as error:
            errors.append(error)

    others = [threading.Thread(target=work, name="fastbp") for _ in range(1, n_threads)]
    try:
        for thread in others:
            thread.start()
    except RuntimeError:  # the system has no more: fewer will do
        pass
    except BaseException as error:
        errors.append(error)
    work()
    for thread in others:
        if thread.is_alive():
            thread.join()
    if errors:
        raise errors[0]

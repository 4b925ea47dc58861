"""Threads that share one compiled call, or several calls, and the choice of the number of threads.

The threads are Python threads, which start when they are first needed. Compiled code releases the GIL. The threads wait
at `SimpleQueue`s, which are written in C. They do not use `concurrent.futures`, because Ctrl-C can leave its locks
acquired forever. This file must not know what is computed.
"""

import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from fastbp.machine.barrier import ThreadGroup, abandon, new_barrier

T = TypeVar("T")

_TRIAL_SECONDS = 0.005  # duration of a trial of another number of threads
_REST_SECONDS = 2.0  # between two rounds of trials
_TRIAL_SHARE = 8  # a trial may take at most 1/8 of the time so far


def available() -> int:
    """Return the number of cores that this process may use, with the CPU limit of a container."""
    if hasattr(os, "process_cpu_count"):
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # there is no such file, or no limit ("max")
        return cores


def counts_up_to(most: int) -> list[int]:
    """Return the numbers of threads to try: 1, 2, 4, … and `most`."""
    return sorted({min(2**i, most) for i in range(most.bit_length() + 1)})


class ThreadPool:
    """A pool of threads that chooses the fastest number of threads for each call by measurement.

    The fastest number is not known in advance: cores may be busy, limited by a quota, or hyperthreads of one core. So
    the pool regularly tries the next lower and the next higher number for a short time, and keeps the fastest one. The
    pool is a context manager, and its threads end with the context.

    Parameters
    ----------
    counts : list of int
        Possible numbers of threads in ascending order. The pool starts with the last one.
    """

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self._best = self._turn = len(counts) - 1  # index of the fastest number so far, and of the next call
        self._trials: list[int] = []  # indices to try in this round
        self._next_round = 0.0  # time of the next round of trials
        self._seconds: dict[int, float] = {}  # time of a step, by index
        self._elapsed = 0.0
        self._others: list[tuple[threading.Thread, SimpleQueue[Any]]] = []  # each with a queue of its work
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
        """Return the number of steps for the next call: `most`, or fewer for a trial."""
        if self._turn == self._best:
            return most
        return max(1, min(most, int(_TRIAL_SECONDS / self._seconds[self._best])))

    def call(self, function: Callable[[ThreadGroup], T], steps: int) -> T | None:
        """Call `function`, which makes `steps` steps, in several threads; return its result in the calling thread.

        If another thread fails or cannot start, the result is None, with a warning. No thread has made a step then, and
        all later calls use only the calling thread.
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
        """Call `function` in `count` threads; return its result in this thread, and the error of another thread."""
        try:
            while len(self._others) < count - 1:
                inbox: SimpleQueue[Any] = SimpleQueue()
                thread = threading.Thread(target=_work, args=(inbox, self._answers), name="fastbp")
                self._others.append((thread, inbox))  # first, so that `__exit__` ends the thread in any case
                thread.start()
        except RuntimeError as error:  # the system allows no more threads
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
        """Record the time of a step, and choose the number of threads for the next call."""
        self._seconds[self._turn] = seconds
        if seconds < self._seconds[self._best]:
            self._trials = [2 * self._turn - self._best]  # the next number in the same direction
            self._best = self._turn
        elif now >= self._next_round and self._elapsed > _TRIAL_SHARE * max(_TRIAL_SECONDS, 2 * seconds):
            self._trials = [self._best - 1, self._best + 1]
            self._next_round = now + _REST_SECONDS
        self._trials = [i for i in self._trials if 0 <= i < len(self._counts)]
        self._turn = self._trials.pop(0) if self._trials else self._best


def _work(inbox: "SimpleQueue[Any]", answers: "SimpleQueue[BaseException | None]") -> None:
    """Do the jobs of a queue until None comes."""
    while (job := inbox.get()) is not None:
        function, group = job
        try:
            function(group)
        except BaseException as error:
            abandon(group.barrier)
            answers.put(error)
        else:
            answers.put(None)


def shared_work(function: Callable[[T], object], items: Iterable[T]) -> Callable[[], None]:
    """Return a target for several threads: each calls `function` with one item after another, until none is left.

    `function` must not raise.
    """
    todo: SimpleQueue[T] = SimpleQueue()
    for item in items:
        todo.put(item)

    def work() -> None:
        with suppress(Empty):
            while True:
                function(todo.get_nowait())

    return work


def for_each(function: Callable[[T], object], items: Iterable[T], n_threads: int) -> None:
    """Call `function` once for each item, in up to `n_threads` threads; raise the first error of the calls."""
    errors: list[BaseException] = []

    def call(item: T) -> None:
        if not errors:  # the other items are left after an error
            try:
                function(item)
            except BaseException as error:
                errors.append(error)

    work = shared_work(call, items)
    others = [threading.Thread(target=work, name="fastbp") for _ in range(1, n_threads)]
    try:
        for thread in others:
            thread.start()
    except RuntimeError:  # the system allows no more threads; fewer are enough
        pass
    except BaseException as error:
        errors.append(error)
    work()
    for thread in others:
        if thread.is_alive():
            thread.join()
    if errors:
        raise errors[0]

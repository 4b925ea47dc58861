"""Threads that share one compiled call, or several calls, and the choice of the number of threads.

The threads are Python threads, which start when they are first needed. Compiled code releases the GIL. The threads wait
at `SimpleQueue`s, which are written in C. They do not use `concurrent.futures`, because Ctrl-C can leave its locks
acquired forever. This file must not know what is computed.
"""

import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from fastbp.machine.barrier import ThreadGroup, abandon, new_barrier

T = TypeVar("T")

_FIRST_TRIAL = 0.03  # seconds of a run before it tries more than one thread
_MEASURED_SECONDS = 0.05  # least duration of a measurement of the best number: short calls are measured together
_TRIAL_SECONDS = 0.02  # duration of a trial of another number of threads
_TRIAL_SHARE = 16  # both take at most 1/16 of the time so far, unless a step takes longer
_REST_SHARE = 32  # after a trial without success, the next round of trials begins after 32 times its duration
_CHECK_SHARE = 8  # after a trial with success sooner, because the success may be chance
_PRICE = 0.05  # the share of the time that a higher number of threads must save

_LIMITS = "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"  # joblib's and Dask's workers set the former or both


def cores() -> int:
    """Return the number of cores that this process may use, with the CPU limit of a container."""
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # there is no such file, or no limit ("max")
        return count


def available() -> int:
    """Return the number of threads that a run may use if the user does not give a number.

    There is one thread per core, and no more than OMP_NUM_THREADS and NUMBA_NUM_THREADS of the environment and
    threadpoolctl's limit for this thread allow.
    """
    firsts = [os.environ.get(name, "").partition(",")[0].strip() for name in _LIMITS]  # "4,2" is for nested regions
    allowed = [int(first) for first in firsts if first.isdecimal()]
    return min(count for count in (cores(), *allowed, *_library_threads()) if count > 0)


def available_to_jobs() -> int:
    """Return the number of threads that `n_jobs=-1` means: all cores, but `available` in a worker process.

    As in scikit-learn, the user's own OMP_NUM_THREADS does not limit the jobs. A worker process has its variables from
    joblib or Dask, which give each worker a share of the cores.
    """
    multiprocessing = sys.modules.get("multiprocessing")  # every worker process has imported the module
    is_worker = multiprocessing is not None and multiprocessing.parent_process() is not None
    return available() if is_worker else cores()


def _library_threads() -> list[int]:
    """Return the number of threads that OpenMP may use, or BLAS if no OpenMP is loaded, if threadpoolctl is imported.

    The largest number of several libraries counts, because a limit for all threads limits each library.
    """
    libraries = _libraries(len(sys.modules)) if "threadpoolctl" in sys.modules else []
    chosen = [each for each in libraries if each.user_api == "openmp"] or libraries
    return [max(each.num_threads or 0 for each in chosen)] if chosen else []


@lru_cache(maxsize=1)
def _libraries(_n_modules: int) -> list[Any]:
    """Return threadpoolctl's view of the loaded libraries, which takes a millisecond to make.

    The view is made anew when the number of imported modules has changed, because modules load libraries.
    """
    try:
        return list(sys.modules["threadpoolctl"].ThreadpoolController().lib_controllers)
    except (AttributeError, OSError):  # the module is being imported, or the system does not list the libraries
        return []


def counts_up_to(most: int) -> list[int]:
    """Return the numbers of threads to try: 1, 2, 4, … and `most`."""
    return sorted({min(2**i, most) for i in range(most.bit_length() + 1)})


class ThreadPool:
    """A pool of threads that chooses the fastest number of threads for each call by measurement.

    The fastest number is not known in advance: cores may be busy, limited by a quota, or hyperthreads of one core. So
    the pool begins with the lowest number, and from time to time it tries the next lower and the next higher number. If
    steps become slower than the steps of another number last were, the pool tries that number at once. The pool is a
    context manager, and its threads end with the context.

    Parameters
    ----------
    counts : list of int
        Possible numbers of threads in ascending order.
    """

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self._best = self._turn = 0  # index of the fastest number so far, and of the next call
        self._trials: list[int] = []  # indices to try in this round
        self._seconds: dict[int, float] = {}  # time of a step when it was last measured, by index
        self._is_suspect = False  # whether another number was faster than the last measurement of the best one
        self._elapsed = 0.0  # seconds in calls
        self._next_round = _FIRST_TRIAL  # when `_elapsed` has this value
        self._measured_steps, self._measured_seconds = 0, 0.0  # of the measurement that goes on
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
        """Return the number of steps for the next call: `most`, or fewer for a trial or before a trial."""
        if len(self._counts) == 1 or not self._seconds:
            return most
        seconds = self._measurement() - self._measured_seconds
        if self._turn == self._best and not self._is_suspect:
            seconds = max(seconds, self._next_round - self._elapsed)
        if self._measured_steps:
            step_seconds = self._measured_seconds / self._measured_steps
        else:
            step_seconds = self._seconds.get(self._turn, self._seconds[self._best])
        return max(1, min(most, math.ceil(seconds / step_seconds)))

    def call(self, function: Callable[[ThreadGroup], T], steps: int) -> T | None:
        """Call `function`, which makes `steps` steps, in several threads; return its result in the calling thread.

        If another thread fails or cannot start, the result is None, with a warning. No thread has made a step then, and
        all later calls use only the calling thread.
        """
        if self._counts == [1]:
            return function(ThreadGroup(0, 1, new_barrier()))
        started = time.perf_counter()
        made, error = self._call(function, self._counts[self._turn])
        if error is not None:
            self._counts, self._best, self._turn = [1], 0, 0
            warnings.warn(f"fastbp goes on with one thread, as another failed: {error!r}", RuntimeWarning, stacklevel=6)
            return None
        if len(self._counts) > 1:
            self._learn(steps, time.perf_counter() - started)
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

    def _learn(self, steps: int, seconds: float) -> None:
        """Record a call, and choose the number of threads for the next call."""
        self._elapsed += seconds
        self._measured_steps += steps
        self._measured_seconds += seconds
        if self._measured_seconds < self._measurement():
            return
        self._seconds[self._turn] = self._measured_seconds / self._measured_steps
        if self._turn != self._best:
            self._end_trial()
        else:
            self._begin_trials()
        self._trials = [i for i in self._trials if 0 <= i < len(self._counts)]
        self._turn = self._trials.pop(0) if self._trials else self._best
        self._measured_steps, self._measured_seconds = 0, 0.0

    def _measurement(self) -> float:
        """Return the least duration of a measurement in seconds."""
        longest = _MEASURED_SECONDS if self._turn == self._best else _TRIAL_SECONDS
        return min(longest, self._elapsed / _TRIAL_SHARE)

    def _begin_trials(self) -> None:
        """Choose what to try after a measurement of the best number."""
        faster = [i for i in (self._best - 1, self._best + 1) if i in self._seconds and self._is_faster(i)]
        if faster:
            self._trials = faster if self._is_suspect else []  # a single slow measurement may be chance
        elif self._elapsed >= self._next_round:
            self._trials = [self._best - 1, self._best + 1]
        self._is_suspect = bool(faster)

    def _end_trial(self) -> None:
        """Compare a number that was tried with the best one."""
        if self._is_faster(self._turn):
            self._trials = [2 * self._turn - self._best]  # the next number in the same direction
            self._best = self._turn
            rest = _CHECK_SHARE * self._measured_seconds
        else:
            rest = _REST_SHARE * self._measured_seconds
        self._next_round = self._elapsed + rest

    def _is_faster(self, i: int) -> bool:
        """Tell whether a number is faster than the best one. A higher number must save more than its price."""
        return self._seconds[i] * (1 + _PRICE) ** (i - self._best) < self._seconds[self._best]


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

"""The networks of an ensemble, trained at the same time: in threads, or through an executor.

It knows tasks, threads and executors. It must not know columns, or how a network is trained.
"""

from __future__ import annotations

import math
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from fastbp.results import DivergenceError, Progress
from fastbp.runs.run import is_true
from fastbp.runs.threads import available_to_jobs, shared_work
from fastbp.tabular.own_loss import Metric
from fastbp.tabular.training.pace import EndedError, Pace
from fastbp.tabular.training.parts import Task, Trained, Workload
from fastbp.tabular.training.recipe import train_task

_LEAST_BESIDE, _LEAST_LATER = 0.05, 0.5  # of `pace.USEFUL_ROWS`, for a network beside the first one and later


class Ensemble(NamedTuple):
    """The networks that were trained before the training ended.

    Attributes
    ----------
    trained : list of Trained
    tasks : list of Task
        The task of each network.
    n_diverged : int
        Number of networks that diverged in their first epoch, so that nothing is left of them.
    is_ended : bool
        Whether Ctrl-C or the callback ended the training.
    is_interrupted : bool
        Whether Ctrl-C ended the training.
    """

    trained: list[Trained]
    tasks: list[Task]
    n_diverged: int
    is_ended: bool
    is_interrupted: bool


def train_all(
    workload: Workload,
    tasks: Sequence[Task],
    *,
    n_threads: int | None = None,
    time_budget: float | None = None,
    n_later: int = 0,
    callback: Callable[[Progress], object] | None = None,
    executor: Executor | None = None,
) -> Ensemble:
    """Train a network for each task.

    The networks are the same to the bit for any number of threads and any executor, unless the training ends early or
    has a time budget.

    Parameters
    ----------
    workload : Workload
    tasks : sequence of Task
    n_threads : int, optional
        Number of networks that are trained at the same time. Default: one per core; in a worker process of joblib or
        Dask, what `OMP_NUM_THREADS` allows. An executor ignores it.
    time_budget : float, optional
        Seconds after which the networks end, also in the middle of an epoch; see `pace.Pace`. The network 0 makes a few
        steps in any case. A network that has too little time to help is left out.
    n_later : int, default 0
        Number of networks that are to be trained in the same seconds, after these tasks.
    callback : callable, optional
        Called in this thread with a `Progress` after each epoch of each network, and once more when the training of a
        network has ended. With an executor, only the latter calls are made. If the callback returns True, the training
        ends.
    executor : concurrent.futures.Executor, optional
        Trains the tasks in place of threads. It may run them in other processes or on other machines, because a task
        and its workload can be pickled. A task that the executor has begun ends early only by the time budget.

    Returns
    -------
    Ensemble

    Raises
    ------
    DivergenceError
        If every network diverged.
    KeyboardInterrupt
        On a second Ctrl-C. The first Ctrl-C ends each network between two slices of its training.
    """
    reports = _Reports(tasks)
    trainer = _Threads(reports, n_threads or available_to_jobs()) if executor is None else _Futures(reports, executor)
    is_ended = is_interrupted = False
    try:
        trainer.start(workload, tasks, math.inf if time_budget is None else time_budget, n_later)
        while not reports.are_complete():
            try:
                progress = reports.next()
                if callback is not None and progress is not None and is_true(callback(progress)):
                    is_ended = True
                    trainer.end()
            except KeyboardInterrupt:
                if is_interrupted:
                    raise
                is_ended = is_interrupted = True
                trainer.end()
    finally:
        trainer.end()  # after an error, the threads end too
    is_short = is_ended or time_budget is not None
    if is_short and tasks[0].network > 0 and not any(reports.outcomes.values()):
        return Ensemble([], [], 0, is_ended, is_interrupted)  # there was too little time for one more network
    return _ensemble(tasks, reports.outcomes, is_ended, is_interrupted)


def _ensemble(tasks: Sequence[Task], outcomes: dict[int, Any], is_ended: bool, is_interrupted: bool) -> Ensemble:
    """Return the trained networks in the order of their tasks, or raise an error if there are none."""
    trained = {k: outcomes[k] for k in sorted(outcomes) if isinstance(outcomes[k], Trained)}
    errors = [error for error in outcomes.values() if isinstance(error, BaseException)]
    unexpected = [error for error in errors if not isinstance(error, DivergenceError)]
    diverged = [network.divergence for network in trained.values() if network.divergence is not None]
    if unexpected or len(diverged) == len(trained):
        nothing = RuntimeError("no network was trained: every task was cancelled from outside")
        raise (unexpected + errors + diverged + [nothing])[0]
    return Ensemble(list(trained.values()), [tasks[k] for k in trained], len(errors), is_ended, is_interrupted)


def _last_progress(task: Task, outcome: Any) -> Progress | None:
    """Return the last report about a network: its best epoch. A task without a network has none."""
    if not isinstance(outcome, Trained):
        return None
    best = outcome.epoch - 1
    return Progress(outcome.epoch, outcome.losses[best], outcome.errors[best], task.network, is_over=True)


class _Reports:
    """The reports of all tasks: the progress of their networks, and their outcomes.

    Ctrl-C can lose a report that has just been taken from the queue. An outcome is therefore not put into the queue.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.outcomes: dict[int, Any] = {}  # by the task's index: a `Trained`, an error, or None for a task not begun
        self._tasks = tasks
        self._queue: SimpleQueue[Progress | None] = SimpleQueue()

    def add(self, progress: Progress) -> None:
        """Add a report about a network that goes on."""
        self._queue.put(progress)

    def finish(self, k: int, outcome: Any) -> None:
        """Add the last report of a task, and its outcome."""
        self._queue.put(_last_progress(self._tasks[k], outcome))
        self.outcomes[k] = outcome
        self._queue.put(None)  # wakes a thread that took all reports before the outcome was there

    def are_complete(self) -> bool:
        """Return whether all outcomes are there and all reports are taken."""
        return len(self.outcomes) == len(self._tasks) and self._queue.empty()

    def next(self) -> Progress | None:
        """Wait for the next report. None means that only an outcome has been added."""
        return self._queue.get()


class _Threads:
    """Trains tasks in daemon threads. On request, each thread ends its network after the current slice.

    The class starts its own threads, because Ctrl-C can leave the locks of a `ThreadPoolExecutor` held for ever.
    """

    def __init__(self, reports: _Reports, n_threads: int) -> None:
        self._reports, self._n_threads = reports, n_threads
        self._is_ended = threading.Event()

    def start(self, workload: Workload, tasks: Sequence[Task], time_budget: float, n_later: int) -> None:
        """Start the threads."""
        deadline = time.monotonic() + time_budget

        def train_one(k: int) -> Trained | None:
            def watch(epoch: int, loss: float, error: float) -> bool:
                self._reports.add(Progress(epoch, loss, error, tasks[k].network))
                return self._is_ended.is_set()

            left = deadline - time.monotonic()
            if tasks[k].network > 0 and (self._is_ended.is_set() or left <= 0):
                return None
            n_left = len(tasks) + n_later - k // self._n_threads * self._n_threads
            pace = Pace(left, -(-n_left // self._n_threads), _least(tasks[k], self._n_threads), self._is_ended.is_set)
            return train_task(workload, tasks[k], watch, pace)

        def report_one(k: int) -> None:
            try:
                outcome: Any = train_one(k)
            except EndedError:
                outcome = None
            except BaseException as error:
                outcome = error
            self._reports.finish(k, outcome)

        work = shared_work(report_one, range(len(tasks)))
        for _ in tasks[: self._n_threads]:
            threading.Thread(target=work, name="fastbp", daemon=True).start()

    def end(self) -> None:
        """End each network after its current slice, and begin no other network."""
        self._is_ended.set()


class _Futures:
    """Trains tasks through an executor. A task that has begun cannot be ended; the other tasks can be cancelled."""

    def __init__(self, reports: _Reports, executor: Executor) -> None:
        self._reports, self._executor = reports, executor
        self._futures: list[Future[Trained | None]] = []

    def start(self, workload: Workload, tasks: Sequence[Task], time_budget: float, n_later: int) -> None:
        """Submit the tasks; raise a `TypeError` if they hold a user's loss that another process cannot be sent."""
        if isinstance(self._executor, ProcessPoolExecutor):
            _check_pickled(workload.recipe.metric)
        deadline = time.time() + time_budget  # a clock that other processes and machines share
        for k, task in enumerate(tasks):  # an executor is taken to train all of them at the same time
            future = self._executor.submit(_train_before, deadline, workload, task, 1 + (n_later > 0))
            future.add_done_callback(partial(self._report, k))
            self._futures.append(future)

    def _report(self, k: int, future: Future[Trained | None]) -> None:
        """Report a task that has ended; a cancelled task has no network."""
        self._reports.finish(k, None if future.cancelled() else future.exception() or future.result())

    def end(self) -> None:
        """Cancel the tasks that have not begun, except the first one: a model needs at least one network."""
        for future in self._futures[1:]:
            future.cancel()


def _check_pickled(metric: Metric) -> None:
    """Raise a `TypeError` unless a metric can be pickled."""
    try:
        pickle.dumps(metric)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"executor trains in other processes, and pickle cannot send them the loss {metric}: define its function "
            f"at the top level of a module ({error})"
        ) from error


def _least(task: Task, n_at_once: int) -> float:
    """Return `Pace`'s `least`: a model needs one network, and a short one beside it helps more than a later one."""
    return 0.0 if task.network == 0 else _LEAST_BESIDE if task.network < n_at_once else _LEAST_LATER


def _train_before(deadline: float, workload: Workload, task: Task, n_rounds: int) -> Trained | None:
    """Train a network until a time of the system's clock; return None if it is too late to begin."""
    left = deadline - time.time()
    if left <= 0 and task.network > 0:
        return None
    try:
        return train_task(workload, task, pace=Pace(left, n_rounds, _least(task, 2)))
    except EndedError:
        return None

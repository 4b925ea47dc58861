"""The networks of an ensemble, trained at the same time: in threads of this process, or elsewhere.

It knows tasks, threads and engines. It must not know columns, or how a network is trained.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from fastbp.results import DivergenceError, Progress
from fastbp.runs.run import is_true
from fastbp.runs.threads import available_to_jobs, shared_work
from fastbp.tabular.training.engines import Engine
from fastbp.tabular.training.pace import EndedError, Pace, least_share
from fastbp.tabular.training.parts import Task, Trained, Workload
from fastbp.tabular.training.recipe import train_task
from fastbp.tabular.training.remote import Trainer, trainer_in


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
    lost_executor : bool
        Whether the executor's processes died, so that threads of this process went on.
    """

    trained: list[Trained]
    tasks: list[Task]
    n_diverged: int
    is_ended: bool
    is_interrupted: bool
    lost_executor: bool


def train_all(
    workload: Workload,
    tasks: Sequence[Task],
    *,
    n_threads: int | None = None,
    time_budget: float | None = None,
    n_later: int = 0,
    callback: Callable[[Progress], object] | None = None,
    executor: Engine | None = None,
    count_rows: Callable[[int, int, int], object] = lambda network, seen, total: None,  # noqa: ARG005 (nobody counts)
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
    executor : concurrent.futures.Executor or JoblibEngine, optional
        Trains the tasks in place of threads. It may run them in other processes or on other machines. A process of
        this machine, and a worker of Dask, gets the workload once; another executor gets it with every task. If worker
        processes die, their tasks are trained again.

    count_rows : callable, optional
        Is told by the threads, between two slices, the number of a network, how many rows the network has seen, and how
        many it will see at most. An executor tells nothing.

    Returns
    -------
    Ensemble

    Raises
    ------
    DivergenceError
        If every network diverged.
    KeyboardInterrupt
        On a second Ctrl-C. The first Ctrl-C ends each network between two slices of its training.
    BrokenExecutor
        If worker processes of joblib die again and again.
    """
    reports = _Reports(tasks)
    threads = _Threads(reports, n_threads or available_to_jobs(), count_rows)
    trainer: Trainer = threads if executor is None else trainer_in(executor, reports.finish, threads)
    deadline = time.monotonic() + (math.inf if time_budget is None else time_budget)
    left: Sequence[int] = range(len(tasks))
    try:
        trainer.start(workload, tasks, left, deadline - time.monotonic(), n_later)
        is_ended, is_interrupted = _take_reports(reports, trainer, callback)
        while not is_ended and (left := reports.lost()) and trainer.successor is not None:
            trainer = trainer.successor
            _warn_of_lost(len(left), trainer is threads)
            reports.forget(left)
            trainer.start(workload, tasks, left, deadline - time.monotonic(), n_later)
            is_ended, is_interrupted = _take_reports(reports, trainer, callback)
    finally:
        if not reports.are_complete():
            trainer.end()  # after an error, the threads end too
    lost_executor = executor is not None and trainer is threads
    is_short = is_ended or time_budget is not None
    if is_short and tasks[0].network > 0 and not any(reports.outcomes.values()):
        return Ensemble([], [], 0, is_ended, is_interrupted, lost_executor)  # there was too little time for one more
    return _ensemble(tasks, reports.outcomes, is_ended, is_interrupted, lost_executor)


def _take_reports(
    reports: _Reports, trainer: Trainer, callback: Callable[[Progress], object] | None
) -> tuple[bool, bool]:
    """Take all reports; return whether the callback or Ctrl-C ended the training, and whether Ctrl-C did."""
    is_ended = is_interrupted = False
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
    return is_ended, is_interrupted


def _warn_of_lost(n: int, is_here: bool) -> None:
    whose = "a network was" if n == 1 else f"{n} networks were"
    where = "in threads of this process" if is_here else "in new processes"
    warnings.warn(
        f"a worker process died, and {whose} lost with it; fastbp trains again {where}, with the same result",
        RuntimeWarning,
        stacklevel=2,
    )


def _ensemble(
    tasks: Sequence[Task], outcomes: dict[int, Any], is_ended: bool, is_interrupted: bool, lost_executor: bool
) -> Ensemble:
    """Return the trained networks in the order of their tasks, or raise an error if there are none."""
    trained = {k: outcomes[k] for k in sorted(outcomes) if isinstance(outcomes[k], Trained)}
    errors = [error for error in outcomes.values() if isinstance(error, DivergenceError)]
    unexpected = [error for error in outcomes.values() if isinstance(error, BaseException) and error not in errors]
    if is_ended:  # a worker that died in the end has no network, as one that had not begun
        unexpected = [error for error in unexpected if not isinstance(error, BrokenExecutor)]
    if is_interrupted and not trained and not unexpected:
        raise KeyboardInterrupt
    diverged = [network.divergence for network in trained.values() if network.divergence is not None]
    if unexpected or len(diverged) == len(trained):
        nothing = RuntimeError("no network was trained: every task was cancelled from outside")
        raise [*unexpected, *errors, *diverged, nothing][0]
    ended = is_ended, is_interrupted, lost_executor
    return Ensemble(list(trained.values()), [tasks[k] for k in trained], len(errors), *ended)


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

    def lost(self) -> list[int]:
        """Return the indices of the tasks whose worker died."""
        return [k for k, outcome in self.outcomes.items() if isinstance(outcome, BrokenExecutor)]

    def forget(self, numbers: Sequence[int]) -> None:
        """Forget the outcomes of tasks that begin again."""
        for k in numbers:
            del self.outcomes[k]

    def are_complete(self) -> bool:
        """Return whether all outcomes are there and all reports are taken."""
        return len(self.outcomes) == len(self._tasks) and self._queue.empty()

    def next(self) -> Progress | None:
        """Wait for the next report. None means that only an outcome has been added."""
        return self._queue.get()


class _Threads(Trainer):
    """Trains tasks in daemon threads. On request, each thread ends its network after the current slice.

    The class starts its own threads, because Ctrl-C can leave the locks of a `ThreadPoolExecutor` held for ever.
    """

    def __init__(self, reports: _Reports, n_threads: int, count_rows: Callable[[int, int, int], object]) -> None:
        self._reports, self._n_threads, self._count_rows = reports, n_threads, count_rows
        self._is_ended = threading.Event()

    def start(
        self, workload: Workload, tasks: Sequence[Task], numbers: Sequence[int], seconds: float, n_later: int
    ) -> None:
        """Start the threads."""
        deadline = time.monotonic() + seconds

        def train_one(k: int) -> Trained | None:
            def watch(epoch: int, loss: float, error: float) -> bool:
                self._reports.add(Progress(epoch, loss, error, tasks[k].network))
                return self._is_ended.is_set()

            left = deadline - time.monotonic()
            if tasks[k].network > 0 and (self._is_ended.is_set() or left <= 0):
                return None
            n_left = len(numbers) + n_later - numbers.index(k) // self._n_threads * self._n_threads
            least = least_share(tasks[k].network, self._n_threads)
            count_rows = partial(self._count_rows, tasks[k].network)
            pace = Pace(left, -(-n_left // self._n_threads), least, self._is_ended.is_set, count_rows)
            return train_task(workload, tasks[k], watch, pace)

        def report_one(k: int) -> None:
            try:
                outcome: Any = train_one(k)
            except EndedError:
                outcome = None
            except BaseException as error:
                outcome = error
            self._reports.finish(k, outcome)

        work = shared_work(report_one, numbers)
        for _ in numbers[: self._n_threads]:
            threading.Thread(target=work, name="fastbp", daemon=True).start()

    def end(self) -> None:
        """End each network after its current slice, and begin no other network."""
        self._is_ended.set()

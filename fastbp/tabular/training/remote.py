"""Tasks that are trained elsewhere: through an executor, or through a backend of joblib.

It knows engines and how tasks travel. It must not know what becomes of the outcomes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from typing import Any

from fastbp.tabular.training.engines import Engine, JoblibEngine, dask_client, is_local
from fastbp.tabular.training.parcels import Parcel, TrainedFile, outcome_of, parcel_for, train_carried
from fastbp.tabular.training.parts import Task, Trained, Workload

Finish = Callable[[int, Any], None]  # takes the index of a task and its outcome: a `Trained`, an error or None


class Trainer:
    """Trains some of the tasks somewhere, and reports the outcome of each of them."""

    successor: Trainer | None = None  # what trains the tasks whose workers died

    def start(
        self, workload: Workload, tasks: Sequence[Task], numbers: Sequence[int], seconds: float, n_later: int
    ) -> None:
        """Begin with the tasks of these indices, which have so many seconds, together with `n_later` further tasks."""
        raise NotImplementedError

    def end(self) -> None:
        """End each network between two slices, and begin no other network."""
        raise NotImplementedError


def trainer_in(engine: Engine, finish: Finish, threads: Trainer) -> Trainer:
    """Return what trains through an engine. It calls `finish` in some thread, and `threads` may succeed it."""
    return JoblibTrainer(engine, finish) if isinstance(engine, JoblibEngine) else FutureTrainer(engine, finish, threads)


class FutureTrainer(Trainer):
    """Trains tasks through an executor. If its processes die, threads of this process train what is left."""

    def __init__(self, executor: Executor, finish: Finish, threads: Trainer) -> None:
        self._executor, self._finish, self.successor = executor, finish, threads
        self._is_dask = dask_client(executor) is not None
        self._parcel: Parcel | None = None
        self._futures: dict[int, Future[Trained | TrainedFile | None]] = {}  # of the tasks that are not over
        self._first = 0
        self._is_ended = False

    def start(
        self, workload: Workload, tasks: Sequence[Task], numbers: Sequence[int], seconds: float, n_later: int
    ) -> None:
        """Submit the tasks; raise a `TypeError` if they hold a user's loss that another process cannot be sent."""
        self._first = numbers[0]
        deadline = time.time() + seconds  # a clock that other processes and machines share
        n_rounds = 1 + (n_later > 0)  # an engine is taken to train all of the tasks at the same time
        self._parcel = parcel = parcel_for(self._executor, workload)
        for k in numbers:
            try:
                future = self._executor.submit(
                    train_carried, parcel.contents, parcel.is_ended, tasks[k], deadline, n_rounds
                )
            except BrokenExecutor as error:  # a worker died while the tasks were submitted
                self._finish(k, error)
                continue
            self._futures[k] = future
            future.add_done_callback(partial(self._report, k))

    def _report(self, k: int, future: Future[Trained | TrainedFile | None]) -> None:
        """Report a task that has ended; a cancelled task has no network."""
        self._futures.pop(k, None)  # Dask keeps a result on its worker for the future, and would compute it again
        if not future.cancelled():
            self._finish(k, future.exception() or _received(future.result()))
        elif self._is_dask and not self._is_ended:  # Dask cancels a task whose data died with the last worker
            self._finish(k, BrokenExecutor("the Dask cluster lost the data of a task"))
        else:
            self._finish(k, None)

    def end(self) -> None:
        """End each network between two slices, where a worker can be told, and begin no network but the first."""
        self._is_ended = True
        if self._parcel is not None:
            self._parcel.end()
        if not self._is_dask:  # Dask cancels tasks that have begun, too
            for k, future in list(self._futures.items()):
                if k != self._first:
                    future.cancel()


class JoblibTrainer(Trainer):
    """Trains tasks through a backend of joblib, from a thread that waits for the results."""

    def __init__(self, engine: JoblibEngine, finish: Finish, n_lives: int = 3) -> None:
        self._engine, self._finish = engine, finish
        self._parcel: Parcel | None = None
        self._is_ended = False
        if n_lives > 0:  # joblib starts new processes after a death, but a task that kills each of them must end
            self.successor = JoblibTrainer(engine, finish, n_lives - 1)

    def start(
        self, workload: Workload, tasks: Sequence[Task], numbers: Sequence[int], seconds: float, n_later: int
    ) -> None:
        """Start the thread."""
        deadline, n_rounds = time.time() + seconds, 1 + (n_later > 0)
        self._parcel = parcel = parcel_for(self._engine, workload)
        work = [(k, (parcel.contents, parcel.is_ended, tasks[k], deadline, n_rounds)) for k in numbers]
        threading.Thread(target=self._train, args=(work,), name="fastbp", daemon=True).start()

    def _train(self, work: Sequence[tuple[int, tuple[Any, ...]]]) -> None:
        from joblib import Parallel, delayed

        backend, n_jobs = self._engine
        how = "generator_unordered" if backend.supports_return_generator else "list"
        begun = "all" if is_local(self._engine) else "2 * n_jobs"  # after a death, joblib cannot submit more tasks
        parallel = Parallel(n_jobs, backend=backend, batch_size=1, return_as=how, pre_dispatch=begun)
        left = [k for k, _ in work]
        error: BaseException | None = None
        try:
            for k, outcome in parallel(
                delayed(outcome_of)(k, *each) for k, each in work if k == 0 or not self._is_ended
            ):
                left.remove(k)
                self._finish(k, _received(outcome))
        except BaseException as caught:
            error = caught
        for k in left:
            self._finish(k, error)

    def end(self) -> None:
        """End each network between two slices, and begin no other network."""
        self._is_ended = True
        if self._parcel is not None:
            self._parcel.end()


def _received(outcome: Trained | TrainedFile | None) -> Any:
    """Return an outcome as it was before it travelled, or the error of its reading, because a task must be reported."""
    try:
        return outcome.take() if isinstance(outcome, TrainedFile) else outcome
    except Exception as error:
        return error

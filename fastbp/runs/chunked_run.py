"""A training run over rows that come in chunks.

Its steps are those of a `Run` whose table holds all chunks, one after another, except for the order of the rows: with
`shuffle`, rows change places only within their chunk. This file must not know where chunks come from.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp.kernels.layout import Parameters
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import EPOCH, LOSS, ROW, WEIGHT, Plan
from fastbp.results import History
from fastbp.runs import fitting
from fastbp.runs.chunks import ChunkedRows, joined, part_of
from fastbp.runs.run import Run
from fastbp.schedules import LearningRate


class ChunkedRun(Run):
    """Minibatch gradient descent over chunks of rows.

    The rows behind the last whole batch of a chunk come before the rows of the next chunk. The last batch of an epoch
    may be shorter.

    Parameters
    ----------
    parameters : Parameters
        Initial parameters; changed in place.
    chunks : ChunkedRows
    batch_size : int
        Rows per step.
    drop_last : bool
        Whether the last batch of an epoch is left out if it is shorter, unless the epoch has no other batch.
    **options
        As for `Run`.
    """

    def __init__(
        self, parameters: Parameters, chunks: ChunkedRows, *, batch_size: int, drop_last: bool, **options: Any
    ) -> None:
        super().__init__(parameters, chunks.none, batch_size=batch_size, **options)
        self.plan = self.plan._replace(batch_size=batch_size)
        self._chunks, self._drop_last = chunks, drop_last
        self._rows_before = 0  # of complete parts of an epoch, in all epochs so far
        self._rows_per_epoch = 0  # as soon as the first epoch is complete

    @property
    def rows_seen(self) -> int:
        """Number of rows in the steps so far, with repetitions. Another thread may ask during a step."""
        return self._rows_before + int(self.state.counts[ROW])

    def rows_in_all(self, epochs: int) -> int:
        """Return the number of rows in the steps of so many epochs; 0 before the first epoch has ended."""
        return epochs * self._rows_per_epoch

    def _run(
        self,
        plan: Plan,
        learning_rate: LearningRate,
        epochs: int,
        after_epoch: Callable[[History], bool] | None,
        n_threads: int | None,
        history: History,
        is_late: Callable[[], bool] | None = None,
    ) -> bool:
        if is_late is not None:
            raise NotImplementedError("a run over chunks ends with an epoch only")
        for _ in range(epochs):
            seconds = 0.0

            def make(rows: TrainingRows, plan: Plan, n_steps: int) -> np.ndarray:
                """Make steps over rows, and return the numbers of the rows in the order of the steps."""
                nonlocal seconds
                state = self.state._replace(order=np.arange(rows.rows))
                # With one more batch in the plan, compiled code does not take the last of these steps for the last one
                # of the epoch.
                plan = plan._replace(rows=(n_steps + 1) * plan.batch_size)
                started = time.perf_counter()
                fitting.fit(rows, plan, state, learning_rate, 1, None, n_threads, history, n_steps=n_steps)
                seconds += time.perf_counter() - started
                self._rows_before += n_steps * plan.batch_size
                state.counts[ROW] = 0
                return state.order

            self._make_epoch(plan, make)
            self._end_epoch(learning_rate, seconds, history)
            if after_epoch is not None and after_epoch(history):
                break
        return False

    def _end_epoch(self, learning_rate: LearningRate, seconds: float, history: History) -> None:
        """Append an epoch to the history, and begin the next one."""
        fitting.append_part(self.state, learning_rate, seconds, history)
        self.state.sums[[LOSS, WEIGHT]] = 0
        self.state.counts[EPOCH] += 1
        self._rows_per_epoch = self._rows_per_epoch or self._rows_before

    def _make_epoch(self, plan: Plan, make: Callable[[TrainingRows, Plan, int], np.ndarray]) -> None:
        """Make the steps of an epoch."""
        left, are_all_left = None, True
        for chunk in self._chunks.epoch():
            rows = chunk if left is None else joined(left, chunk)
            n_steps = rows.rows // plan.batch_size
            order = make(rows, plan, n_steps) if n_steps else np.arange(rows.rows)
            are_all_left = are_all_left and n_steps == 0
            numbers = order[n_steps * plan.batch_size :]
            left = part_of(rows, numbers) if numbers.size else None
        if left is not None and (are_all_left or not self._drop_last):
            # These rows are shuffled already, unless they are all rows of the epoch.
            make(left, plan._replace(batch_size=left.rows, shuffle=plan.shuffle if are_all_left else 0), 1)

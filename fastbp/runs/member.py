"""One of many networks that train side by side, a turn at a time.

Its bits are those of a fit by itself, whatever the division into turns. This file must not know the other networks.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext

from fastbp import schedules
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import STEP, Plan, State
from fastbp.results import DivergenceError, EndReason, History, Progress
from fastbp.runs import fitting
from fastbp.runs.checkpoint import Checkpoint
from fastbp.runs.epoch_watch import EpochWatch
from fastbp.runs.fit_settings import FitSettings, begin
from fastbp.runs.run import is_true
from fastbp.schedules import LearningRate

_Job = tuple[Checkpoint, Plan, State, LearningRate, EpochWatch | None]


class Member:
    """The training of a network.

    Parameters
    ----------
    settings : FitSettings
    held : Checkpoint
        The state of the network; its parameters are changed in place.
    rows : callable
        Returns the rows to train on. Parts of a table are only in memory during a turn.
    n_rows : int
        Number of these rows.
    held_out : callable, optional
        Returns held-out rows, whose loss is computed after each epoch.
    callback : callable, optional
        Called with a `Progress` after each epoch. The training of this network ends if the callback returns True.
    keep : callable
        Called with the new checkpoint before each call of the callback, and after each turn with a step.

    Attributes
    ----------
    history : History
    error : DivergenceError or None
        Why the training ended, if a number is not finite.
    """

    def __init__(
        self,
        settings: FitSettings,
        held: Checkpoint,
        rows: Callable[[], TrainingRows],
        n_rows: int,
        held_out: Callable[[], TrainingRows] | None,
        callback: Callable[[Progress], object] | None,
        keep: Callable[[Checkpoint], None],
    ) -> None:
        self.settings, self.history = settings, History()
        self.error: DivergenceError | None = None
        self.has_held_out = held_out is not None
        self._held, self._rows, self._held_out = held, rows, held_out
        self._callback, self._keep = callback, keep
        self._job: _Job | None = None
        self._is_over = False
        batch_size = min(settings.batch_size, n_rows)
        self._epoch_work = -(-n_rows // batch_size) * fitting.step_work(held.sizes, batch_size)

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.history.loss)

    @property
    def is_over(self) -> bool:
        """Whether the training has ended."""
        return self._is_over or self.epochs >= self.settings.epochs

    @property
    def held_out_error(self) -> float:
        """The loss of the held-out rows for the parameters that the network has if it ends now; infinity if not known.

        With `patience` and `restore_best`, these are the parameters of the best epoch.
        """
        losses = self.history.validation_loss
        is_restored = self.settings.patience is not None and self.settings.restore_best
        known = [loss for loss in (losses if is_restored else losses[-1:]) if not math.isnan(loss)]
        return math.inf if self.error is not None else min(known, default=math.inf)

    def work_until(self, epochs: int) -> int:
        """Return about how many multiplications are left before so many epochs are made."""
        return self._epoch_work * (min(epochs, self.settings.epochs) - self.epochs)

    def train_until(self, epochs: int, is_late: Callable[[], bool]) -> None:
        """Take a turn: train until so many epochs are made, or the training is over, or `is_late` returns True."""
        rows, held_out = self._rows(), self._held_out() if self._held_out is not None else None
        _, plan, state, rate, watch = self._job or self._begin(rows, 0 if held_out is None else held_out.rows)
        after_epoch = None if self._callback is None else self._call_back
        left = min(epochs, self.settings.epochs) - self.epochs
        try:
            with nullcontext() if watch is None else watch.over(held_out):
                fitting.fit(rows, plan, state, rate, left, after_epoch, 1, self.history, is_late, watch=watch)
            if watch is not None and watch.is_over and not self._is_over:
                self.end("patience")
        except DivergenceError as error:
            self.error, self._is_over = error, True
        finally:
            self._store()

    def end(self, reason: EndReason) -> None:
        """End the training."""
        self.history.ended_by, self._is_over = reason, True

    def restore_best(self) -> None:
        """Restore the parameters of the best epoch if this is wanted. The state of the optimizer is unchanged."""
        if self._job is not None and self.settings.restore_best:
            _, _, state, _, watch = self._job
            if watch is not None and watch.best is not None:
                state.parameters.data[:] = watch.best

    def _begin(self, rows: TrainingRows, n_held_out: int) -> _Job:
        """Make the run of the first turn."""
        settings = self.settings
        checkpoint, run = begin(settings, self._held, rows)
        watch = None
        if n_held_out > 0 or settings.patience is not None:
            watch = EpochWatch(run.state, n_held_out, settings.patience)
        steps = settings.epochs * run.steps_per_epoch
        rate = schedules.over_run(settings.optimizer.learning_rate, run.step, steps)
        self._job = checkpoint, run.plan, run.state, rate, watch
        return self._job

    def _store(self) -> None:
        """Store the state of the optimizer and of the random numbers if a step has changed the parameters."""
        assert self._job is not None
        checkpoint, _, state, _, _ = self._job
        if (step := int(state.counts[STEP])) > checkpoint.step:
            checkpoint.step = step
            self._keep(checkpoint)

    def _call_back(self, history: History) -> bool:
        """Call the callback; return whether it ends the training."""
        assert self._callback is not None
        self._store()
        held_out = history.validation_loss[-1] if history.validation_loss else math.nan
        if is_true(self._callback(Progress(self.epochs, history.loss[-1], held_out))):
            self.end("callback")
        return self._is_over

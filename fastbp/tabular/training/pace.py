"""The time of one network: when its training ends, and how the waves of its learning rate fit into this time.

It knows clocks and schedules. It must not know rows, or how a network is trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastbp.schedules import LogarithmicCosine, Rates, Schedule

USEFUL_ROWS = 300_000  # of training, with repetitions; one more network helps less than so many rows for the others
_MEASURED_SECONDS = 0.25  # of training before the first estimate; the first slices take up to twice as long a step
_JUDGING_SHARE = 0.5  # first estimate of the time to judge a row, as a share of the time to train on a row
_SETTLED_SHARE = 0.1  # after this share of its time, a network no longer changes when it ends
_LEAST_BESIDE, _LEAST_LATER = 0.05, 0.5  # of `USEFUL_ROWS`, for a network beside the first one and later


class EndedError(Exception):
    """The training of a network ends at once, and the steps since its last complete epoch are not judged."""


class FittedWaves(Schedule):
    """The waves of a schedule, laid anew over the steps that are left whenever their number is known better.

    Parameters
    ----------
    waves : LogarithmicCosine
        Its `steps` are not used.
    steps : int
        Number of steps, as far as it is known before the first step.
    """

    def __init__(self, waves: LogarithmicCosine, steps: int) -> None:
        self._waves = replace(waves, steps=1)  # a function of the share of the training that is done
        self._first, self._done, self._left = 0, 0.0, float(steps)

    @property
    def takes_arrays(self) -> bool:
        """Whether the schedule may be called with an array of step numbers."""
        return True

    def lay_over(self, step: int, left: float) -> None:
        """Let the rest of the waves end `left` steps after the step `step`."""
        self._done = float(self._share(step))
        self._first, self._left = step, max(left, 1.0)

    def _share(self, step: Any) -> Rates:
        after = np.asarray(step) - self._first
        return np.clip(self._done + (1 - self._done) * after / self._left, 0.0, 1.0)

    def __call__(self, step: Any) -> Rates:
        """Return the learning rate of each step, in the shape of `step`."""
        return self._waves(self._share(step))


class Pace:
    """The end of one network's training, planned from the seconds that its first steps take.

    All networks together have some seconds, and the threads train them in rounds. If there is time for `USEFUL_ROWS`
    in each round, this network takes its part of the seconds. If there is less time, there are fewer rounds.

    Parameters
    ----------
    seconds : float, default infinity
        Seconds from now on for this network and all later ones.
    n_rounds : int, default 1
        Number of networks that each thread is to train one after another, this network included.
    least : float, default 0.0
        The network is left out if it could train on a smaller share of `USEFUL_ROWS`. With 0.0, it is never left out.
    is_ended : callable, optional
        Returns whether the user has ended the training. Default: the user never ends the training.
    count_rows : callable, optional
        Is told between slices how many rows the network has seen, and how many it will see at most.
    clock : callable, default time.monotonic
        Returns seconds.

    Attributes
    ----------
    is_cut : bool
        Whether the time was too short for all epochs.
    """

    def __init__(
        self,
        seconds: float = math.inf,
        n_rounds: int = 1,
        least: float = 0.0,
        is_ended: Callable[[], bool] = lambda: False,
        count_rows: Callable[[int, int], object] = lambda seen, total: None,  # noqa: ARG005 (nobody counts)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_cut = False
        self._clock, self._n_rounds, self._least, self._is_ended = clock, n_rounds, least, is_ended
        self._count_rows = count_rows
        self._planned_steps, self._batch_size = 0.0, 1  # until `plan` knows them
        self._begun = clock()
        self._end = self._begun + seconds
        self._network_end: float | None = None  # when this network ends, as soon as it is known
        self._judging, self._last_judging = 0.0, 0.0  # seconds: of all epochs, and of the last one

    def plan(
        self, waves: LogarithmicCosine, epochs: int, steps_per_epoch: int, batch_size: int, n_judged: int
    ) -> Schedule:
        """Return the learning rates of a training of at most `epochs` epochs, after each of which rows are judged."""
        self._steps, self._steps_per_epoch = epochs * steps_per_epoch, steps_per_epoch
        self._planned_steps, self._batch_size = float(self._steps), batch_size
        self._judged_steps = n_judged / batch_size
        self._useful_steps = min(self._steps, max(1, USEFUL_ROWS // batch_size))
        self._waves = FittedWaves(waves, self._steps)
        return self._waves if math.isfinite(self._end) else waves

    def timed(self, judge: Callable[[], float]) -> float:
        """Return what `judge` returns, and record its seconds."""
        began = self._clock()
        error = judge()
        self._last_judging = self._clock() - began
        self._judging += self._last_judging
        return error

    def count(self, step: int) -> None:
        """Tell how many rows the network has seen before this step."""
        self._count_rows(step * self._batch_size, int(self._planned_steps) * self._batch_size)

    def has_ended(self) -> bool:
        """Return whether the user has ended the training, but the network has yet to be judged once.

        Raises
        ------
        EndedError
            If the user has ended the training, and the network has been judged or may be left out.
        """
        if not self._is_ended():
            return False
        if self._least > 0 or self._judging > 0:
            raise EndedError
        return True

    def is_late(self, step: int) -> bool:
        """Return whether the training ends before this step with a last judging, and plan the rest of it anew.

        Raises
        ------
        EndedError
            If the user has ended the training, or there is too little time for a network that may be left out. A
            network that may not be left out makes some steps and is judged once.
        """
        self.count(step)
        if self.has_ended():
            return step > 0
        if math.isinf(self._end):
            return False
        now = self._clock()
        if step == 0:
            self._begun = now
        trained = now - self._begun - self._judging
        if trained < _MEASURED_SECONDS:
            self.is_cut = step > 0 and now >= self._end
            return self.is_cut and self._helps(step)
        judging = self._last_judging or _JUDGING_SHARE * trained / step * self._judged_steps
        per_step = trained / step + judging / self._steps_per_epoch
        if self._network_end is None or now - self._begun <= _SETTLED_SHARE * (self._network_end - self._begun):
            self._network_end = self._chosen_end(per_step)
        left, steps_left = self._network_end - now - judging, self._steps - step
        self.is_cut = left < steps_left * per_step
        time_for = min(left / per_step, steps_left)
        self._waves.lay_over(step, time_for)
        self._planned_steps = step + max(time_for, 0)
        return left <= 0 and self._helps(step)

    def _chosen_end(self, per_step: float) -> float:
        """Return when this network ends, for the seconds of a step with its part of the judging."""
        seconds = self._end - self._begun
        self._helps(seconds / per_step)
        n_rounds = min(max(1, int(seconds / (per_step * self._useful_steps))), self._n_rounds)
        return self._begun + seconds / n_rounds

    def _helps(self, steps: float) -> bool:
        """Return True if a training of so many steps helps, and raise an error if it does not."""
        if steps < self._least * self._useful_steps and self._least > 0:  # a late network has less than no time
            raise EndedError
        return True


def least_share(network: int, n_at_once: int) -> float:
    """Return `Pace`'s `least`: a model needs one network, and a short one beside it helps more than a later one."""
    return 0.0 if network == 0 else _LEAST_BESIDE if network < n_at_once else _LEAST_LATER

"""A fit, slice by slice: between two compiled calls, Ctrl-C, callbacks and validation have their turn.

A slice lasts about a tenth of a second, or to the end of the epoch where somebody waits for that; neither how a run is
sliced nor how many threads a slice gets changes its bits. This file must not know how a step is computed.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.kernels.entries import EPOCH, ROW, STALE, STEP, Plan, State, train
from fastbp.kernels.layout import Workspace, workspace_for
from fastbp.kernels.rows import Table
from fastbp.machine.barrier import Crew, new_barrier
from fastbp.results import History
from fastbp.runs.threads import Team, available, counts_up_to
from fastbp.schedules import Rates, Schedule, evaluate

SLICE_SECONDS = 0.1
_GROWTH = 8  # a slice is at most so many times as long as the one before, whatever the clock says
_FIRST_SLICE = 64  # steps, but not more than so many products of a weight and a number: about 10 ms
_FIRST_SLICE_WORK = 100_000_000
_WORTH_SHARING = 150_000  # such products in a step, for each thread: below that, its barriers cost too much


class DivergenceError(ValueError):
    """Training left the range of finite numbers.

    The network keeps the last parameters that were finite, and the optimizer's state that belongs to them.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 1, of the step that failed.
    learning_rate : float
        Its learning rate.
    history : History
        The epochs before.
    """

    def __init__(self, epoch: int, learning_rate: float, history: History) -> None:
        super().__init__(epoch, learning_rate, history)
        self.epoch = epoch
        self.learning_rate = learning_rate
        self.history = history

    def __str__(self) -> str:
        return (
            f"training diverged in epoch {self.epoch} at learning rate {self.learning_rate:g}; the network keeps its "
            f"last finite parameters. A lower learning rate, or inputs scaled to about 1, usually helps"
        )


class Job(NamedTuple):
    """What a run works on."""

    table: Table
    plan: Plan
    state: State
    workspace: Workspace


def run(
    table: Table,
    plan: Plan,
    state: State,
    learning_rate: "float | Schedule",
    epochs: int,
    validate: Callable[[], float] | None,
    callback: Callable[[int, History], object] | None,
    n_threads: int | None,
    history: History | None = None,
) -> History:
    """Train for `epochs` epochs, or until `callback` returns True or the plan's patience ends; see `Network.fit`.

    A `history` that is handed in is added to, so that it has what was done when Ctrl-C ends the call.
    """
    history = History() if history is None else history
    before = len(history.loss)
    steps_per_epoch = -(-plan.rows // plan.batch_size)
    stops_at_epochs = validate is not None or callback is not None
    sizes, dtype = state.parameters.sizes.tolist(), state.parameters.data.dtype
    work = plan.batch_size * sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    if n_threads is None and state.scaling.factors.size == 0:
        counts = _thread_counts(plan.batch_size, work, state.parameters.lanes)
    else:
        counts = [n_threads or 1]
    job = Job(table, plan, state, workspace_for(sizes, plan.batch_size, dtype, n_threads=counts[-1]))
    slice_steps = max(1, min(_FIRST_SLICE, _FIRST_SLICE_WORK // work))
    clock, last_end = 0.0, 0.0
    _alone(job, np.zeros(0), np.zeros(0))  # compiles, or loads what was: here, where Ctrl-C is heard, and off the clock
    with Team(counts) as team:
        while (done := len(history.loss) - before) < epochs:
            steps_in = int(state.counts[ROW]) // plan.batch_size  # steps that this epoch has behind it
            left = (1 if stops_at_epochs else epochs - done) * steps_per_epoch - steps_in
            rates = evaluate(learning_rate, int(state.counts[STEP]), team.steps(min(slice_steps, left)))
            ends = np.arange(steps_per_epoch - steps_in, rates.size + 1, steps_per_epoch)
            losses = np.empty(ends.size)
            started = time.perf_counter()
            made = _advance(job, team, rates, losses)
            per_step = (time.perf_counter() - started) / rates.size
            ends = ends[ends <= made]
            slice_steps = max(1, min(int(SLICE_SECONDS / per_step), slice_steps * _GROWTH))
            moments = clock + ends * per_step
            history.loss += losses[: ends.size].tolist()
            history.learning_rate += rates[ends - 1].tolist()
            history.seconds += np.diff(moments, prepend=last_end).tolist()
            clock, last_end = clock + rates.size * per_step, moments[-1] if ends.size else last_end
            if state.counts[STALE] > plan.patience:
                break
            if made < rates.size:
                raise DivergenceError(int(state.counts[EPOCH]) + 1, float(rates[made]), history)
            if ends.size and validate is not None:
                history.validation_loss.append(validate())
            if ends.size and callback is not None and _is_true(callback(len(history.loss), history)):
                break
    return history


def _thread_counts(batch_size: int, work: int, lanes: int) -> list[int]:
    """Return the numbers of threads that may pay for steps of so many products of a weight and a number."""
    lines = -(-batch_size // lanes)  # of samples, each of which one thread takes
    return counts_up_to(max(1, min(available(), work // _WORTH_SHARING, lines)))


def _is_true(answer: object) -> bool:
    """Tell True from what a callback may return by accident."""
    return isinstance(answer, bool | np.bool_) and bool(answer)


def _advance(job: Job, team: Team, rates: Rates, losses: Rates) -> int:
    """Make one step a rate, but none that leaves the finite numbers; return how many were made."""
    state = job.state
    before = _copy(state)
    try:
        made = team.call(lambda crew: train(*job, rates, losses, crew), rates.size)
        if made is None:  # a thread failed before the first step; the rows may be shuffled already
            _restore(state, before)
            made = _alone(job, rates, losses)
        if (made == rates.size or state.counts[STALE] > job.plan.patience) and _is_finite(state):
            return made
        # The same steps again, one at a time, end at the last finite parameters: cheaper than a check in every step.
        _restore(state, before)
        job.workspace.data[: job.workspace.sample_weights_at] = 0  # rows past a short batch must hold finite numbers
        first_epoch = int(state.counts[EPOCH])
        for i in range(rates.size):
            before = _copy(state)
            ended = int(state.counts[EPOCH]) - first_epoch
            if _alone(job, rates[i : i + 1], losses[ended:]) != 1 or not _is_finite(state):
                _restore(state, before)
                return i
        return rates.size
    except KeyboardInterrupt:
        if not _is_finite(state):
            _restore(state, before)
        raise


def _alone(job: Job, rates: Rates, losses: Rates) -> int:
    """Make one step a rate in this thread; return how many were made before a loss was not finite."""
    made: int = train(*job, rates, losses, Crew(0, 1, new_barrier()))
    return made


def _is_finite(state: State) -> bool:
    return all(bool(np.isfinite(array).all()) for array in _learned(state))


def _learned(state: State) -> tuple[npt.NDArray[Any], ...]:
    """Return the parameters and the optimizer's moments."""
    scaling = state.scaling
    of_scaling = scaling.weights, scaling.factors, scaling.mean, scaling.square
    return (state.parameters.data, state.mean, state.square, *of_scaling)


def _changing(state: State) -> tuple[npt.NDArray[Any], ...]:
    """Return the arrays that a later step depends on."""
    return (*_learned(state), state.order, state.random, state.counts, state.sums)


def _copy(state: State) -> tuple[npt.NDArray[Any], ...]:
    return tuple(array.copy() for array in _changing(state))


def _restore(state: State, copies: tuple[npt.NDArray[Any], ...]) -> None:
    for array, copy in zip(_changing(state), copies, strict=True):
        array[...] = copy

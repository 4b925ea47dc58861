"""The loop of a training run over slices. A slice is one compiled call that makes several steps.

Between two slices, Python handles Ctrl-C, callbacks and deadlines. A slice takes about a tenth of a second. With a
callback, it ends with the epoch at the latest. The division into slices and the number of threads do not change the
result, to the bit. This file must not know how a step is computed.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.kernels.entries import train
from fastbp.kernels.layout import Workspace
from fastbp.kernels.packing import workspace_for
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import EPOCH, LOSS, ROW, STALE, STEP, WEIGHT, Plan, State
from fastbp.machine.barrier import ThreadGroup, new_barrier
from fastbp.results import DivergenceError, History
from fastbp.runs.rates import evaluate
from fastbp.runs.threads import ThreadPool, available, counts_up_to
from fastbp.schedules import LearningRate, Rates

SLICE_SECONDS = 0.1
_GROWTH = 8  # a slice has at most 8 times as many steps as the slice before
_FIRST_SLICE = 64  # steps; fewer, if they need more multiplications than the next number (about 10 ms)
_FIRST_SLICE_WORK = 100_000_000
_WORTH_SHARING = 150_000  # multiplications of a step per thread; with fewer, the barriers take too much time
_WORTH_A_TRIAL = 200_000_000  # multiplications of a run; with fewer, it ends before `ThreadPool` tries more threads


class Job(NamedTuple):
    """The buffers of a run."""

    table: TrainingRows
    plan: Plan
    state: State
    workspace: Workspace


def fit(
    rows: TrainingRows,
    plan: Plan,
    state: State,
    learning_rate: LearningRate,
    epochs: int,
    after_epoch: Callable[[History], bool] | None,
    n_threads: int | None,
    history: History,
    is_late: Callable[[], bool] | None = None,
    n_steps: int | None = None,
) -> bool:
    """Train for `epochs` epochs, or until `after_epoch` or `is_late` returns True or the plan's patience ends.

    Parameters
    ----------
    rows, plan, state
        The run, see `kernels.run_state`. The state is changed.
    learning_rate : float or callable
        A number, or a function of the step number.
    epochs : int
        Maximum number of epochs.
    after_epoch : callable or None
        Called with the history after each epoch. With None, one slice may contain many epochs.
    n_threads : int or None
        Number of threads. None means that the fastest number is chosen during the run.
    history : History
        Each epoch is appended as soon as its slice ends. So the history is complete if an exception ends the call.
    is_late : callable, optional
        Called before each slice. If it returns True, the training ends, also in the middle of an epoch. The part of an
        epoch is appended to the history, and a later call would continue this epoch.
    n_steps : int, optional
        The call ends after so many steps, also in the middle of an epoch. Default: no limit.

    Returns
    -------
    bool
        Whether the last epoch of the history is a part of an epoch, for which `after_epoch` was not called.

    Raises
    ------
    DivergenceError
        If a loss or a parameter is not finite. The state is then that of the last step with finite numbers.
    """
    before = len(history.loss)
    steps_per_epoch = -(-plan.rows // plan.batch_size)
    sizes, dtype = state.parameters.sizes.tolist(), state.parameters.data.dtype
    work = plan.batch_size * sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    if n_threads is None and state.input_factors.factors.size == 0:
        counts = _thread_counts(plan.batch_size, work, epochs * steps_per_epoch, state.parameters.lanes)
    else:
        counts = [n_threads or 1]
    job = Job(rows, plan, state, workspace_for(sizes, plan.batch_size, dtype, n_threads=counts[-1]))
    slice_steps = max(1, min(_FIRST_SLICE, _FIRST_SLICE_WORK // work))
    since_epoch = 0.0  # seconds since the last epoch ended
    last = np.inf if n_steps is None else int(state.counts[STEP]) + n_steps
    _load(job)
    with ThreadPool(counts) as pool:
        while (done := len(history.loss) - before) < epochs and state.counts[STEP] < last:
            steps_in = int(state.counts[ROW]) // plan.batch_size  # completed steps of this epoch
            if is_late is not None and is_late():
                if steps_in:
                    append_part(state, learning_rate, since_epoch, history)
                return steps_in > 0
            left = (1 if after_epoch is not None else epochs - done) * steps_per_epoch - steps_in
            left = int(min(left, last - state.counts[STEP]))
            rates = evaluate(learning_rate, int(state.counts[STEP]), pool.steps(min(slice_steps, left)))
            losses = np.empty((steps_in + rates.size) // steps_per_epoch)
            started = time.perf_counter()
            made = _advance(job, pool, rates, losses)
            per_step = (time.perf_counter() - started) / rates.size
            slice_steps = max(1, min(int(SLICE_SECONDS / per_step), slice_steps * _GROWTH))
            ended = (steps_in + made) // steps_per_epoch  # epochs
            if ended:
                first_end = steps_per_epoch - steps_in  # steps of this slice up to the end of its first epoch
                history.loss += losses[:ended].tolist()
                history.learning_rate += rates[first_end - 1 : made : steps_per_epoch].tolist()
                history.seconds += [since_epoch + first_end * per_step] + [steps_per_epoch * per_step] * (ended - 1)
                since_epoch = -(first_end + (ended - 1) * steps_per_epoch) * per_step
            since_epoch += rates.size * per_step
            if state.counts[STALE] > plan.patience:
                break
            if made < rates.size:
                raise DivergenceError(int(state.counts[EPOCH]) + 1, float(rates[made]), history)
            if ended and after_epoch is not None and after_epoch(history):
                break
    return False


def append_part(state: State, learning_rate: LearningRate, seconds: float, history: History) -> None:
    """Append the part of an epoch to the history that its steps have made so far."""
    history.loss.append(float(state.sums[LOSS] / (state.sums[WEIGHT] or np.nan)))
    history.learning_rate += evaluate(learning_rate, int(state.counts[STEP]) - 1, 1).tolist()
    history.seconds.append(seconds)


def _thread_counts(batch_size: int, work: int, steps: int, lanes: int) -> list[int]:
    """Return the numbers of threads that may save time, for steps with `work` multiplications in the forward pass."""
    lines = -(-batch_size // lanes)  # a thread takes whole lines of samples
    most = min(work // _WORTH_SHARING, lines)
    if most <= 1 or work * steps < _WORTH_A_TRIAL:
        return [1]  # without `available`, which takes 15 short steps
    return counts_up_to(min(available(), most))


_loaded: set[np.dtype[Any]] = set()  # dtypes whose compiled code this process has


def _load(job: Job) -> None:
    """Compile the code for the dtype of a run, or load it, outside the timing and while Ctrl-C works."""
    dtype = job.state.parameters.data.dtype
    if dtype not in _loaded:
        _alone(job, np.zeros(0), np.zeros(0))
        _loaded.add(dtype)


def _advance(job: Job, pool: ThreadPool, rates: Rates, losses: Rates) -> int:
    """Make one step per rate, up to the first step with a number that is not finite; return the number of steps."""
    state = job.state
    before = _copy(job, rates.size)
    try:
        made = pool.call(lambda group: train(*job, rates, losses, group), rates.size)
        if made is None:  # a thread failed before the first step, perhaps after the shuffling of the rows
            _restore(state, before)
            made = _alone(job, rates, losses)
        if (made == rates.size or state.counts[STALE] > job.plan.patience) and _is_finite(state):
            return made
        # Repeating the steps one by one finds the last finite parameters. A check in every step would take more time.
        _restore(state, before)
        job.workspace.data[: job.workspace.sample_weights_at] = 0  # the rows behind a short batch must be finite
        first_epoch = int(state.counts[EPOCH])
        for i in range(rates.size):
            before = _copy(job, 1)
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
    """Make one step per rate in this thread, up to the first loss that is not finite; return the number of steps."""
    made: int = train(*job, rates, losses, ThreadGroup(0, 1, new_barrier()))
    return made


def _is_finite(state: State) -> bool:
    return all(bool(np.isfinite(array).all()) for array in _learned(state))


def _learned(state: State) -> list[npt.NDArray[Any]]:
    """Return the parameters and the optimizer's moments."""
    learned, of_inputs = [state.parameters.data, state.mean, state.square], state.input_factors
    if of_inputs.factors.size:
        learned += [of_inputs.weights, of_inputs.factors, of_inputs.mean, of_inputs.square]
    return [array for array in learned if array.size]


def _changing(state: State) -> list[npt.NDArray[Any]]:
    """Return the arrays that a later step depends on. The order of the rows, which is long, is the last one."""
    return [*_learned(state), state.random, state.counts, state.sums, state.order]


def _copy(job: Job, n_steps: int) -> list[npt.NDArray[Any]]:
    """Return copies of what so many steps change. Most slices do not shuffle the rows, and keep their order."""
    changing = _changing(job.state)
    return [array.copy() for array in (changing if _shuffles(job, n_steps) else changing[:-1])]


def _shuffles(job: Job, n_steps: int) -> bool:
    """Tell whether an epoch begins with one of the next steps, so that the order of the rows changes."""
    row, plan = int(job.state.counts[ROW]), job.plan
    return plan.shuffle != 0 and (row == 0 or n_steps > -(-(plan.rows - row) // plan.batch_size))


def _restore(state: State, copies: list[npt.NDArray[Any]]) -> None:
    for array, copy in zip(_changing(state), copies, strict=False):  # perhaps without the order
        array[...] = copy

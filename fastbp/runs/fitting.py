"""The loop of a training run over slices. A slice is one compiled call that makes several steps.

Between two slices, Python handles Ctrl-C, callbacks and deadlines. A slice takes about a tenth of a second. With a
callback, it ends with the epoch at the latest. The division into slices and the number of threads do not change the
result, to the bit. This file must not know how a step is computed.
"""

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

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

if TYPE_CHECKING:
    from fastbp.runs.epoch_watch import EpochWatch

SLICE_SECONDS = 0.1
_GROWTH = 8  # a slice has at most 8 times as many steps as the slice before
_FIRST_SLICE = 64  # steps; fewer, if they need more multiplications than the next number (about 10 ms)
_FIRST_SLICE_WORK = 100_000_000
_STEP_WORK = 20_000  # multiplications that take as long as the rest of a short step
_WORTH_SHARING = 150_000  # multiplications of a step per thread; with fewer, the barriers take too much time
_WORTH_A_TRIAL = 200_000_000  # multiplications of a run; with fewer, it ends before `ThreadPool` tries more threads


class Job(NamedTuple):
    """The buffers of a run."""

    table: TrainingRows
    plan: Plan
    state: State
    workspace: Workspace
    watch: "EpochWatch | None" = None


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
    watch: "EpochWatch | None" = None,
) -> bool:
    """Train for `epochs` epochs, or until `after_epoch` or `is_late` returns True or a patience in the buffers ends.

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
    watch : EpochWatch, optional
        What compiled code does after each epoch, if there is one thread.

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
    work = step_work(sizes, plan.batch_size)
    if n_threads is None and state.input_factors.factors.size == 0:
        counts = _thread_counts(plan.batch_size, work, epochs * steps_per_epoch, state.parameters.lanes)
    else:
        counts = [n_threads or 1]
    job = Job(rows, plan, state, workspace_for(sizes, plan.batch_size, dtype, n_threads=counts[-1]), watch)
    slice_steps = max(1, min(_FIRST_SLICE, _FIRST_SLICE_WORK // work))
    if watch is not None:  # one of many fits, whose duration is nearly known
        slice_steps = max(1, _FIRST_SLICE_WORK // (work + _STEP_WORK))
    since_epoch = 0.0  # seconds since the last epoch ended
    steps_left = math.inf if n_steps is None else n_steps
    _load(job)
    with ThreadPool(counts) as pool:
        while (done := len(history.loss) - before) < epochs and steps_left > 0:
            steps_in = int(state.counts[ROW]) // plan.batch_size  # completed steps of this epoch
            if is_late is not None and is_late():
                if steps_in:
                    append_part(state, learning_rate, since_epoch, history)
                return steps_in > 0
            left = (1 if after_epoch is not None else epochs - done) * steps_per_epoch - steps_in
            wanted = int(min(slice_steps, left, steps_left))
            rates = evaluate(learning_rate, int(state.counts[STEP]), pool.steps(wanted))
            losses = np.empty((2, (steps_in + rates.size) // steps_per_epoch))  # of training, and of held-out rows
            started = time.perf_counter()
            made = _advance(job, pool, rates, losses)
            steps_left -= made
            per_step = (time.perf_counter() - started) / rates.size
            slice_steps = max(1, min(int(SLICE_SECONDS / per_step), slice_steps * _GROWTH))
            ended = (steps_in + made) // steps_per_epoch  # epochs
            if ended:
                first_end = steps_per_epoch - steps_in  # steps of this slice up to the end of its first epoch
                history.loss += losses[0, :ended].tolist()
                history.learning_rate += rates[first_end - 1 : made : steps_per_epoch].tolist()
                history.seconds += [since_epoch + first_end * per_step] + [steps_per_epoch * per_step] * (ended - 1)
                since_epoch = -(first_end + (ended - 1) * steps_per_epoch) * per_step
                if watch is not None and watch.has_held_out:
                    history.validation_loss += losses[1, :ended].tolist()
            since_epoch += rates.size * per_step
            is_stale = _is_stale(job)
            if made < rates.size and not is_stale:
                history.ended_by = "divergence"
                raise DivergenceError(int(state.counts[EPOCH]) + 1, float(rates[made]), history)
            if (ended and after_epoch is not None and after_epoch(history)) or is_stale:
                break
    return False


def step_work(sizes: Sequence[int], batch_size: int) -> int:
    """Return the number of multiplications of a forward pass of a batch."""
    return batch_size * sum(inputs * outputs for inputs, outputs in pairwise(sizes))


def append_part(state: State, learning_rate: LearningRate, seconds: float, history: History) -> None:
    """Append the part of an epoch to the history that its steps have made so far."""
    history.loss.append(float(state.sums[LOSS] / (state.sums[WEIGHT] or np.nan)))
    history.learning_rate += evaluate(learning_rate, int(state.counts[STEP]) - 1, 1).tolist()
    history.seconds.append(seconds)


def _is_stale(job: Job) -> bool:
    """Tell whether a patience that compiled code counts is over."""
    return bool(job.state.counts[STALE] > job.plan.patience) or (job.watch is not None and job.watch.is_over)


def _thread_counts(batch_size: int, work: int, steps: int, lanes: int) -> list[int]:
    """Return the numbers of threads that may save time, for steps with `work` multiplications in the forward pass."""
    lines = -(-batch_size // lanes)  # a thread takes whole lines of samples
    most = min(work // _WORTH_SHARING, lines)
    if most <= 1 or work * steps < _WORTH_A_TRIAL:
        return [1]  # without `available`, which takes 15 short steps
    return counts_up_to(min(available(), most))


_loaded: set[tuple[np.dtype[Any], bool]] = set()  # dtypes whose compiled code this process has, also for watches


def _load(job: Job) -> None:
    """Compile the code for the dtype of a run, or load it, outside the timing and while Ctrl-C works."""
    needed = job.state.parameters.data.dtype, job.watch is not None
    if needed not in _loaded:
        _alone(job, np.zeros(0), np.zeros((2, 0)))
        _loaded.add(needed)


def _advance(job: Job, pool: ThreadPool, rates: Rates, losses: Rates) -> int:
    """Make one step per rate, up to the first step with a number that is not finite; return the number of steps."""
    state = job.state
    before = _copy(job, rates.size)
    try:
        made = pool.call(lambda group: _make_steps(job, rates, losses, group), rates.size)
        if made is None:  # a thread failed before the first step, perhaps after the shuffling of the rows
            _restore(job, before)
            made = _alone(job, rates, losses)
        if (made == rates.size or _is_stale(job)) and _is_finite(state):
            return made
        # Repeating the steps one by one finds the last finite parameters. A check in every step would take more time.
        _restore(job, before)
        job.workspace.data[: job.workspace.sample_weights_at] = 0  # the rows behind a short batch must be finite
        first_epoch = int(state.counts[EPOCH])
        for i in range(rates.size):
            before = _copy(job, 1)
            ended = int(state.counts[EPOCH]) - first_epoch
            if _alone(job, rates[i : i + 1], losses[:, ended:]) != 1 or not _is_finite(state):
                _restore(job, before)
                return i
        return rates.size
    except KeyboardInterrupt:
        if not _is_finite(state):
            _restore(job, before)
        raise


def _alone(job: Job, rates: Rates, losses: Rates) -> int:
    """Make one step per rate in this thread, up to the first loss that is not finite; return the number of steps."""
    return _make_steps(job, rates, losses, ThreadGroup(0, 1, new_barrier()))


def _make_steps(job: Job, rates: Rates, losses: Rates, group: ThreadGroup) -> int:
    """Make one step per rate as one thread of a group, up to the first loss that is not finite."""
    if job.watch is not None:
        return job.watch.train(*job[:4], rates, losses)
    made: int = train(*job[:4], rates, losses[0], group)
    return made


def _is_finite(state: State) -> bool:
    return all(bool(np.isfinite(array).all()) for array in _learned(state))


def _learned(state: State) -> list[npt.NDArray[Any]]:
    """Return the parameters and the optimizer's moments."""
    learned, of_inputs = [state.parameters.data, state.mean, state.square], state.input_factors
    if of_inputs.factors.size:
        learned += [of_inputs.weights, of_inputs.factors, of_inputs.mean, of_inputs.square]
    return [array for array in learned if array.size]


def _changing(job: Job) -> list[npt.NDArray[Any]]:
    """Return the arrays that a later step depends on. The order of the rows, which is long, is the last one."""
    state, watched = job.state, [] if job.watch is None else job.watch.changing
    return [*_learned(state), *watched, state.random, state.counts, state.sums, state.order]


def _copy(job: Job, n_steps: int) -> list[npt.NDArray[Any]]:
    """Return copies of what so many steps change. Most slices do not shuffle the rows, and keep their order."""
    changing = _changing(job)
    return [array.copy() for array in (changing if _shuffles(job, n_steps) else changing[:-1])]


def _shuffles(job: Job, n_steps: int) -> bool:
    """Tell whether an epoch begins with one of the next steps, so that the order of the rows changes."""
    row, plan = int(job.state.counts[ROW]), job.plan
    return plan.shuffle != 0 and (row == 0 or n_steps > -(-(plan.rows - row) // plan.batch_size))


def _restore(job: Job, copies: list[npt.NDArray[Any]]) -> None:
    for array, copy in zip(_changing(job), copies, strict=False):  # perhaps without the order
        array[...] = copy

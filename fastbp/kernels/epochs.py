"""The epochs of a run as one compiled call, with the loss of held-out rows and the count of patience after each epoch.

The call makes the steps by `entries.train` and computes the loss by `entries.evaluate`, in their own machine code: they
are called by address. So the bits are those of a run whose epochs Python counts. This file must not know how a step is
computed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels import entries
from fastbp.kernels.layout import Workspace, smaller
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.run_state import ROW, Plan, State
from fastbp.machine.barrier import ThreadGroup
from fastbp.machine.jit import entry_by_dtype, inlined
from fastbp.machine.piece import REAL, WHOLE, entry_address, entry_caller

LEAST, COUNT, HAS_BEST = range(3)  # the places in Watch.progress


class Watch(NamedTuple):
    """What follows each epoch of a run."""

    held_out: TrainingRows  # the rows whose loss is computed; none if the training loss is watched
    workspace: Workspace  # for these rows, without gradients
    order: Integers  # (n,): 0, …, n − 1
    limit: float  # the call ends after so many epochs in a row without improvement
    best: Floats  # written: the parameters of the best epoch; empty if they are not kept
    progress: npt.NDArray[np.float64]  # (3,): the least watched loss, epochs without improvement, whether best is kept
    train: int  # the addresses of the entries
    evaluate: int


_call_train = entry_caller(entries.train, WHOLE)
_call_evaluate = entry_caller(entries.evaluate, REAL)


def addresses(
    rows: TrainingRows, plan: Plan, state: State, workspace: Workspace, group: ThreadGroup
) -> tuple[int, int]:
    """Return the addresses of `train` and `evaluate` for the dtype of a run."""
    nothing = np.zeros(0)
    train = entry_address(entries.train, rows, plan, state, workspace, nothing, nothing, group)
    evaluated = rows, state.parameters, state.activations, workspace, state.order, plan.loss, plan.loss_parameter
    return train, entry_address(entries.evaluate, *evaluated)


@inlined
def _watch_epoch(watch: Watch, parameters: Floats, loss: float) -> None:
    """Count an epoch with this watched loss, and keep its parameters if they are the best. NaN is no improvement."""
    progress = watch.progress
    is_better = loss <= progress[LEAST]
    progress[COUNT] = 0.0 if is_better else progress[COUNT] + 1
    if is_better:
        progress[LEAST] = loss
    if watch.best.size > 0 and (is_better or progress[HAS_BEST] == 0):
        watch.best[:] = parameters
        progress[HAS_BEST] = 1


@entry_by_dtype
def train_epochs(
    rows: TrainingRows,
    plan: Plan,
    state: State,
    workspace: Workspace,
    learning_rates: npt.NDArray[np.float64],  # η of each step to make
    epoch_losses: npt.NDArray[np.float64],  # written: the mean loss of each epoch that ends here
    group: ThreadGroup,  # of this thread alone
    watch: Watch,
    held_out_losses: npt.NDArray[np.float64],  # written: the loss of the held-out rows after each epoch that ends here
) -> int:
    """Make one step for each learning rate, and return how many steps were made.

    The call ends earlier if a batch's loss is not finite, or if the limit of epochs without improvement is reached.
    """
    made, ended = 0, 0
    while made < learning_rates.size:
        left = (plan.rows - state.counts[ROW] + plan.batch_size - 1) // plan.batch_size  # steps of this epoch
        n = smaller(left, learning_rates.size - made)
        steps = rows, plan, state, workspace, learning_rates[made : made + n], epoch_losses[ended:], group
        steps_made = _call_train(watch.train, steps)
        made += steps_made
        if steps_made < n:
            break
        if n < left:
            continue
        loss = epoch_losses[ended]
        if watch.held_out.rows > 0:
            network = state.parameters, state.activations, watch.workspace
            loss = _call_evaluate(
                watch.evaluate, (watch.held_out, *network, watch.order, plan.loss, plan.loss_parameter)
            )
            held_out_losses[ended] = loss
        _watch_epoch(watch, state.parameters.data, loss)
        ended += 1
        if watch.progress[COUNT] >= watch.limit:
            break
    return made

"""What Python calls: a run of minibatch gradient descent, evaluation, gradients, a trace and predictions.

Each entry is one compiled call, and a function of the buffers that it is given. Several threads can make each step of
`train` together. Entries hold no state. This file must not know time, callbacks or files.
"""

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels.activations import LayerActivations, activation_addresses, check_activations
from fastbp.kernels.dropout import NO_DROPOUT, Dropout
from fastbp.kernels.input_factors import input_factor_addresses
from fastbp.kernels.layout import (
    GradientSums,
    Parameters,
    RowRange,
    Slice,
    Workspace,
    activations_of,
    addresses_of,
    parameters_in,
    smaller,
    workspace_addresses,
)
from fastbp.kernels.propagation import (
    Batch,
    add_layer_gradient,
    backward_pass,
    forward_pass,
    input_gradient,
    preactivations,
)
from fastbp.kernels.rows import (
    TrainingRowAddresses,
    TrainingRows,
    gather_rows,
    load_rows,
    scatter_outputs,
    training_row_addresses,
)
from fastbp.kernels.run_state import ABANDONED, EPOCH, ROW, STALE, STEP, Plan, State, Tally, count_step
from fastbp.kernels.shuffling import RowOrder, shuffle_rows
from fastbp.kernels.step import (
    Learner,
    batch_for,
    batch_loss,
    batch_weight,
    load_batch,
    penalty_of,
    step_parameters,
    total_loss,
    total_loss_after,
)
from fastbp.kernels.steps import step_sizes_of
from fastbp.machine.barrier import ThreadGroup, wait_for_all
from fastbp.machine.denormals import flush_denormals, restore_mode
from fastbp.machine.jit import entry_by_dtype, inlined
from fastbp.machine.line import pointer


@inlined
def _make_steps(
    source: TrainingRowAddresses,
    plan: Plan,
    learner: Learner,
    order: RowOrder,
    workspace: Workspace,
    learning_rates: npt.NDArray[np.float64],
    n_steps: int,
    tally: Tally,
    group: ThreadGroup,
) -> int:
    """Make at most so many steps, and return what `train` returns. All arrays are addresses."""
    φ, rule, counts = learner.parameters, plan.rule, tally.counts
    thread, n_threads, barrier = group
    step, first = counts[STEP], counts[ROW]
    steps_before = step
    for k in range(n_steps):
        if first == 0 and plan.shuffle != 0 and thread == 0 and counts[STALE] <= plan.patience:
            shuffle_rows(plan.shuffle, order)
        # When all threads are here, the last step is complete and the order of the rows is ready.
        if not wait_for_all(barrier, n_threads) or counts[STALE] > plan.patience:
            break
        n = smaller(plan.batch_size, plan.rows - first)
        key = order.random[0] + np.uint64(step) * np.uint64(0xBF58476D1CE4E5B9)
        dropout = Dropout(1 - plan.dropout, key, plan.drop)
        batch = batch_for(n, workspace.lanes, thread, n_threads, dropout)
        weight = batch_weight(source, order.rows, first, n)
        if batch.rows.n > 0:
            load_batch(source, order.rows, first, batch.rows, workspace)
            forward_pass(φ, learner.activations, workspace, batch.rows, dropout, True)
            batch_loss(workspace, batch.rows, weight, plan.loss, plan.loss_parameter)
        sizes = step_sizes_of(rule, learning_rates[k], step + 1, weight)
        penalty = penalty_of(rule, φ, weight) if rule.penalty > 0 and thread == 0 else 0.0
        loss = step_parameters(learner, workspace, batch, sizes, barrier)
        if not np.isfinite(loss):
            break
        step += 1
        first = first + n if first + n < plan.rows else 0
        if thread == 0:
            count_step(tally, plan, step, first, n, weight, loss, penalty)
    is_complete = wait_for_all(barrier, n_threads)  # no thread steps any more
    return step - steps_before if is_complete else ABANDONED


@entry_by_dtype
def train(
    rows: TrainingRows,
    plan: Plan,
    state: State,
    workspace: Workspace,
    learning_rates: npt.NDArray[np.float64],  # η of each step to make
    epoch_losses: npt.NDArray[np.float64],  # written: the mean loss of each epoch that ends here
    group: ThreadGroup,  # each of its threads makes the same call, with its own number
) -> int:
    """Make one step for each learning rate, and return how many steps were made.

    The call ends earlier if a batch's loss is not finite, or if more epochs in a row than the plan's patience do not
    improve. The call returns ABANDONED if a thread of the group did not come.
    """
    # State is taken apart once, into addresses: a look into a tuple of arrays counts references.
    parameters, activations, gradients, mean, square, order, random, counts, sums, rate_factors, input_factors = state
    check_activations(activations, parameters.n_layers)
    mode = flush_denormals()
    φ, has_factors = addresses_of(parameters), input_factors.factors.size > 0
    of_φ, factors = parameters_in(pointer(gradients), φ), input_factor_addresses(input_factors)
    moments = pointer(mean), pointer(square)
    between, pieces = activation_addresses(activations), (plan.step, plan.gradient_scale)
    learner = Learner(φ, between, of_φ, *moments, plan.rule, *pieces, pointer(rate_factors), factors, has_factors)
    row_order = RowOrder(pointer(order), order.size, pointer(random))
    tally = Tally(pointer(counts), pointer(sums), pointer(epoch_losses), counts[EPOCH])
    thread, n_threads, barrier = group
    made = _make_steps(
        training_row_addresses(rows),
        plan,
        learner,
        row_order,
        workspace_addresses(workspace),
        pointer(learning_rates),
        learning_rates.size,
        tally,
        ThreadGroup(thread, n_threads, pointer(barrier)),
    )
    restore_mode(mode)
    return made


@entry_by_dtype
def evaluate(
    rows: TrainingRows,
    parameters: Parameters,
    activations: LayerActivations,
    workspace: Workspace,
    order: Integers,  # (n,): 0, …, n − 1
    loss: int,  # the address of a piece, from `custom_losses.loss_address`
    loss_parameter: float,
) -> float:
    """Return the weighted mean loss of all rows, a workspace of rows at a time."""
    check_activations(activations, parameters.n_layers)
    n, order, source = order.size, pointer(order), training_row_addresses(rows)
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    activations = activation_addresses(activations)
    total, total_weight = 0.0, 0.0
    for first in range(0, n, workspace.capacity):
        block = RowRange(0, smaller(workspace.capacity, n - first))
        load_batch(source, order, first, block, workspace)
        forward_pass(φ, activations, workspace, block, NO_DROPOUT, False)
        weight = batch_weight(source, order, first, block.n)
        batch_loss(workspace, block, weight, loss, loss_parameter)
        total += total_loss(workspace, block.n)
        total_weight += weight
    return total / total_weight


@entry_by_dtype
def differentiate(
    rows: TrainingRows,
    parameters: Parameters,
    activations: LayerActivations,
    sums: GradientSums,  # updated, with each of its numbers written by the first slice
    workspace: Workspace,  # its gradients are written
    order: Integers,  # (n,): 0, …, n − 1
    first: int,  # the first row of the slice, which fills the workspace or ends the batch
    loss: int,  # the address of a piece, from `custom_losses.loss_address`
    loss_parameter: float,
    of_input: bool,  # whether ∂L/∂x is written too
) -> float:
    """Differentiate the weighted mean loss of all rows, a slice of rows in each call, from the first slice to the last.

    Write the slice's part of the gradient in every parameter, and its gradient in every f_i. Return the loss, which is
    complete after the last slice.
    """
    check_activations(activations, parameters.n_layers)
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    activations, n = activation_addresses(activations), order.size
    by_φ, batch_sums = GradientSums(addresses_of(sums.gradients), pointer(sums.tiles), sums.batch), pointer(sums.batch)
    slice_rows = RowRange(0, smaller(workspace.capacity, n - first))
    place = Slice(first == 0, first + slice_rows.n == n)
    whole = batch_for(n, workspace.lanes, 0, 1, NO_DROPOUT)
    batch = Batch(slice_rows, slice_rows, whole.is_small_batch, 0, 1, NO_DROPOUT)
    order, source = pointer(order), training_row_addresses(rows)
    if place.is_first:
        batch_sums[0], batch_sums[1] = batch_weight(source, order, 0, n), 0.0
    weight = batch_sums[0]
    load_batch(source, order, first, slice_rows, workspace)
    forward_pass(φ, activations, workspace, slice_rows, NO_DROPOUT, True)
    batch_loss(workspace, slice_rows, weight, loss, loss_parameter)
    backward_pass(φ, activations, workspace, batch)
    for i in range(φ.n_layers):
        add_layer_gradient(by_φ, workspace, i, slice_rows, place)
    if of_input:
        input_gradient(φ, workspace, slice_rows)
    batch_sums[1] = total_loss_after(batch_sums[1], workspace, slice_rows.n)
    return batch_sums[1] / weight


@entry_by_dtype
def trace(
    x: Floats,  # rows of whole lines
    parameters: Parameters,
    activations: LayerActivations,
    workspace: Workspace,  # with room for all rows; its activations are written, and each f_i in place of ∂L/∂f_i
    order: Integers,  # (n,): 0, …, n − 1
) -> None:
    """Every h_i and f_i of a forward pass."""
    check_activations(activations, parameters.n_layers)
    φ, workspace, rows = addresses_of(parameters), workspace_addresses(workspace), RowRange(0, order.size)
    gather_rows(pointer(x), pointer(order), 0, activations_of(workspace, 0, rows))
    forward_pass(φ, activation_addresses(activations), workspace, rows, NO_DROPOUT, False)
    preactivations(φ, workspace, rows)


@entry_by_dtype
def predict(
    x: Floats,  # (n, D_0), row by row without padding
    parameters: Parameters,
    activations: LayerActivations,
    workspace: Workspace,
    out: Floats,  # (n, D_{K+1}), written
) -> bool:
    """ŷ for each row of x, a workspace of rows at a time. Return whether all numbers of x were finite."""
    check_activations(activations, parameters.n_layers)
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    activations = activation_addresses(activations)
    finite = True
    for first in range(0, x.shape[0], workspace.capacity):
        rows = RowRange(0, smaller(workspace.capacity, x.shape[0] - first))
        finite &= load_rows(x, first, activations_of(workspace, 0, rows))
        forward_pass(φ, activations, workspace, rows, NO_DROPOUT, False)
        ŷ = activations_of(workspace, workspace.n_layers, rows)
        scatter_outputs(ŷ, out[first : first + rows.n], workspace.narrow_output)
    return finite

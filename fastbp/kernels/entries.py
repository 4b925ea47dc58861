"""A run of minibatch gradient descent as one compiled call.

A run is a function of its buffers: everything it needs lies in the arrays it is handed, so it can be stopped after
any step and resumed to the bit, or be one of many side by side. Several threads can make each step together: every
number is computed by one of them, in the same way whichever that is, so their count changes no bit. This file holds
no state, and must not know of time, callbacks or files.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.activations import Dropout
from fastbp.kernels.input_factors import Scaling, differentiate_scaling, fold_scaling
from fastbp.kernels.layout import (
    Floats,
    Integers,
    Parameters,
    Rows,
    Workspace,
    activations_of,
    addresses_of,
    gradients_of,
    rows_in_tiles,
    targets_of,
    weights_of,
    weights_span,
    workspace_addresses,
)
from fastbp.kernels.propagation import (
    backward_layer,
    descend_layer,
    differentiate_layer,
    forward_pass,
    input_gradient,
    preactivations,
    share_of_panels,
)
from fastbp.kernels.rows import (
    MERSENNE_TWISTER,
    RandomState,
    Table,
    TableAddresses,
    gather_classes,
    gather_rows,
    gather_targets,
    gather_weights,
    load_plain_rows,
    scatter_outputs,
    shuffle,
    shuffle_like_numpy,
    table_addresses,
)
from fastbp.losses import loss_and_gradient, narrow_loss_and_gradient
from fastbp.machine.arithmetic import sum_lanes
from fastbp.machine.barrier import Crew, meet
from fastbp.machine.denormals import flush_denormals, restore_mode
from fastbp.machine.jit import entry, inlined, njit
from fastbp.machine.line import load, pointer, zero_line
from fastbp.optimizers import ADAM, PLAIN, Pace, Rule, adam_step, momentum_step, pace_of

STEP, EPOCH, ROW, STALE = range(4)  # what State.counts holds
LOSS, WEIGHT, BEST = range(3)  # what State.sums holds
ABANDONED = -1


class State(NamedTuple):
    """What a step changes, besides the workspace."""

    parameters: Parameters
    gradients: Floats  # scratch, laid out as the parameters; empty where the optimizer needs none
    mean: Floats  # Adam's m, or the velocity v; empty where the optimizer has none
    square: Floats  # Adam's v; empty where the optimizer has none
    order: Integers  # (n,): this epoch's permutation of the rows
    random: RandomState  # (4,), or NumPy's Mersenne Twister
    counts: Integers  # (4,): the optimizer's steps, the run's epochs, rows of this epoch, epochs without improvement
    sums: npt.NDArray[np.float64]  # (3,): this epoch's Σ w ℓ and Σ w, and the least loss of an epoch
    rate_factors: npt.NDArray[np.float64]  # (2 (K + 1),): of η, for each layer's weights and biases; not for plain SGD
    scaling: Scaling  # with empty buffers where inputs have no factors; for one thread, and a hidden layer at least


class Plan(NamedTuple):
    """What stays the same over a run."""

    batch_size: int
    rows: int  # of an epoch: n, or fewer where the last short batch is dropped
    shuffled: bool
    loss: int
    loss_parameter: float
    rule: Rule
    loss_scale: float = 1.0  # what ℓ counts for in an epoch's loss
    is_mean_of_batches: bool = False  # whether a batch counts in that by its rows, not by its weight
    tolerance: float = 0.0  # an epoch improves if its loss is at least so much below the least before
    patience: float = np.inf  # more epochs in a row that do not improve end a call
    dropout: float = 0.0  # the share of hidden units that each step leaves out


@njit
def _share(rows: int, lanes: int, thread: int, n_threads: int) -> Rows:
    """Return this thread's part of a batch: whole lines of samples, as far as there are any."""
    if n_threads == 1:
        return Rows(0, rows)
    lines = (rows + lanes - 1) // lanes
    first, end = lines * thread // n_threads * lanes, lines * (thread + 1) // n_threads * lanes
    return Rows(first, min(end, rows) - first)


@inlined
def load_batch(table: TableAddresses, order: Integers, first: int, rows: Rows, workspace: Workspace) -> None:
    """Gather a batch that begins at order[first]: x to h_0, y to the targets, and its sample weights."""
    first += rows.first
    gather_rows(table.x, order, first, activations_of(workspace, 0, rows))
    y = targets_of(workspace, rows)
    if table.has_classes:
        gather_classes(table.classes, order, first, y, workspace.narrow)
    else:
        gather_targets(table.y, order, first, y, workspace.narrow)
    at = workspace.sample_weights_at + rows.first
    gather_weights(table.sample_weights, table.has_weights, order, first, rows.n, workspace.data, at)


@njit
def batch_weight(table: TableAddresses, order: Integers, first: int, count: int) -> float:
    """Return Σ w of a batch."""
    if not table.has_weights:
        return np.float64(count)
    total = 0.0
    for row in range(first, first + count):
        total += np.float64(table.sample_weights[order[row]])
    return total


@inlined
def batch_loss(workspace: Workspace, rows: Rows, weight: float, loss: int, loss_parameter: float) -> None:
    """Write ∂L/∂ŷ, and Σ w ℓ of each line of samples, for a batch of this weight."""
    last, weights, at = workspace.n_layers, workspace.data, workspace.sample_weights_at + rows.first
    ŷ, y, out = activations_of(workspace, last, rows), targets_of(workspace, rows), gradients_of(workspace, last, rows)
    losses, line = workspace.line_losses, rows.first // workspace.lanes
    if workspace.narrow:
        narrow_loss_and_gradient(loss, loss_parameter, ŷ, y, weights, at, weight, losses, line, out)
    else:
        loss_and_gradient(loss, loss_parameter, ŷ, y, weights, at, weight, losses, line, out)


@njit
def total_loss(workspace: Workspace, count: int) -> float:
    """Return Σ w ℓ of a batch, line by line, in the same order whichever thread computed which."""
    total = 0.0
    for line in range((count + workspace.lanes - 1) // workspace.lanes):
        total += workspace.line_losses[line]
    return total


class _Learner(NamedTuple):
    """What a step changes of a network, by addresses, and the rule by which it does."""

    parameters: Parameters
    gradients: Parameters
    mean: Floats
    square: Floats
    rule: Rule
    rate_factors: npt.NDArray[np.float64]
    scaling: Scaling
    has_scaling: bool


@inlined
def _step_layer(
    learner: _Learner,
    workspace: Workspace,
    pace: Pace,
    i: int,
    rows: Rows,
    thread: int,
    n_threads: int,
    descended: bool,
) -> None:
    """Step this thread's panels of a layer, after a backward pass over all rows, which may have `descended` weights."""
    φ, rule = learner.parameters, learner.rule
    first, end = share_of_panels(workspace, i, thread, n_threads)
    if first == end:
        return
    if rule.kind == PLAIN:
        few = rows_in_tiles(rows.n) == 0
        η, bias_decay = pace.learning_rate, rule.weight_decay
        descend_layer(φ, workspace, i, first, end, rows, few, η, bias_decay + pace.penalty, bias_decay, descended)
        return
    differentiate_layer(learner.gradients, workspace, i, first, end, rows)
    scaling, is_scaled = learner.scaling, learner.has_scaling and i == 0
    if is_scaled:
        differentiate_scaling(scaling, weights_of(learner.gradients, 0))
    at, stride = weights_span(φ, i)
    penalty, stepped = pace.penalty, scaling.weights if is_scaled else φ.data
    gradients, mean, square = learner.gradients.data, learner.mean, learner.square
    # First the weights, then the biases, then the factors: in one place, as each call is compiled anew.
    for part in range(3 if is_scaled else 2):
        of, to = at + first * stride, at + end * stride
        factor = learner.rate_factors[2 * i + part] if part < 2 else scaling.rate
        if rule.kind == ADAM:
            adam_step(rule, pace, factor, penalty, stepped, gradients, mean, square, of, to)
        else:
            momentum_step(rule, pace, factor, penalty, stepped, gradients, mean, of, to)
        penalty, at, stride, stepped = 0.0, φ.biases_at[i], φ.lanes, φ.data
        if part == 1:
            at, stride, first, end = 0, φ.lanes, 0, (φ.sizes[0] + φ.lanes - 1) // φ.lanes
            stepped, gradients, mean, square = scaling.factors, scaling.gradients, scaling.mean, scaling.square
    if is_scaled:
        fold_scaling(scaling, weights_of(φ, 0))


@inlined
def _descend(
    learner: _Learner,
    workspace: Workspace,
    pace: Pace,
    batch: Rows,
    rows: Rows,
    thread: int,
    n_threads: int,
    barrier: Integers,
    dropout: Dropout,
) -> float:
    """Step all parameters, from ∂L/∂ŷ on; return Σ w ℓ, and make no step where that is not finite."""
    φ, rule, loss = learner.parameters, learner.rule, np.nan
    few, alone = rows_in_tiles(batch.n) == 0, n_threads == 1
    # Alone, a thread steps a layer while what that needs is in the cache; several meet first, with all gradients.
    for stepping in range(1 if alone else 0, 2):
        if stepping:
            loss = total_loss(workspace, batch.n) if meet(barrier, n_threads) else np.nan
            if not np.isfinite(loss):
                break
        for i in range(φ.n_layers - 1, -1, -1):
            descending = alone and i > 0 and rule.kind == PLAIN
            if i > 0 and rows.n > 0 and (alone or not stepping):
                η, λ = pace.learning_rate, rule.weight_decay + pace.penalty
                backward_layer(φ, workspace, i, rows, few, thread, descending, η, λ, dropout)
            if stepping:
                _step_layer(learner, workspace, pace, i, batch, thread, n_threads, descending)
    return loss


@njit
def _squares(parameters: Parameters) -> float:
    """Return Σ_i ‖Ω_i‖²."""
    total = zero_line(parameters.data)
    for i in range(parameters.n_layers):
        for at in range(parameters.weights_at[i], parameters.biases_at[i], parameters.lanes):
            Ω = load(parameters.data, at)
            total = total + Ω * Ω
    return np.float64(sum_lanes(total))


@inlined
def _count(
    counts: Integers,
    sums: npt.NDArray[np.float64],
    tolerance: float,
    step: int,
    row: int,
    loss: float,
    weight: float,
    epoch_losses: npt.NDArray[np.float64],
    ended: int,  # epochs, so far in this call
) -> int:
    """Take note of a step, and of the epoch's mean loss if it ended with it; return how many have ended now."""
    counts[STEP], counts[ROW] = step, row
    sums[LOSS] += loss
    sums[WEIGHT] += weight
    if row > 0:
        return ended
    mean = sums[LOSS] / sums[WEIGHT]
    epoch_losses[ended] = mean
    counts[EPOCH] += 1
    counts[STALE] = counts[STALE] + 1 if mean > sums[BEST] - tolerance else 0
    sums[BEST] = min(sums[BEST], mean)
    sums[LOSS] = sums[WEIGHT] = 0
    return ended + 1


@entry
def train(
    table: Table,
    plan: Plan,
    state: State,
    workspace: Workspace,
    learning_rates: npt.NDArray[np.float64],  # one for each step to make
    epoch_losses: npt.NDArray[np.float64],  # written: the mean loss of each epoch that ends here
    crew: Crew,  # each of its threads makes the same call, but for its own number
) -> int:
    """Make one step per learning rate; return how many were made.

    They are fewer if a batch's loss was not finite, or if the epochs without improvement have outlasted the patience.
    ABANDONED, where a thread of the crew did not come.
    """
    mode = flush_denormals()
    # Taken apart once: each look into a tuple of arrays counts references, which a small network's step would feel.
    parameters, gradient_data, mean, square, order, random, counts, sums, rate_factors, scaling = state
    n_table, n_steps, like_numpy = order.size, learning_rates.size, random.size > MERSENNE_TWISTER
    order, random, counts, sums = pointer(order), pointer(random), pointer(counts), pointer(sums)
    learning_rates, epoch_losses = pointer(learning_rates), pointer(epoch_losses)
    batch_size, n, rule, scale, patience = plan.batch_size, plan.rows, plan.rule, plan.loss_scale, plan.patience
    thread, n_threads, barrier = crew
    barrier, rows_of_table = pointer(barrier), table_addresses(table)
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    _, n_layers, sizes, weights_at, biases_at, lanes, narrow, activation = φ
    gradients = Parameters(pointer(gradient_data), n_layers, sizes, weights_at, biases_at, lanes, narrow, activation)
    Ω, s, of_s, s_mean, s_square, s_rate = scaling
    scaling = Scaling(pointer(Ω), pointer(s), pointer(of_s), pointer(s_mean), pointer(s_square), s_rate)
    learner = _Learner(φ, gradients, pointer(mean), pointer(square), rule, pointer(rate_factors), scaling, Ω.size > 0)
    step, first, ended = counts[STEP], counts[ROW], 0
    steps_before = step
    for k in range(n_steps):
        if first == 0 and plan.shuffled and thread == 0 and counts[STALE] <= patience:
            if like_numpy:
                shuffle_like_numpy(order, n_table, random)
            else:
                shuffle(order, n_table, random)
        # Now the parameters and the order are ready.
        if not meet(barrier, n_threads) or counts[STALE] > patience:
            break
        batch = Rows(0, min(batch_size, n - first))
        rows = _share(batch.n, workspace.lanes, thread, n_threads)
        weight = batch_weight(rows_of_table, order, first, batch.n)
        dropout = Dropout(1 - plan.dropout, random[0] + np.uint64(step) * np.uint64(0xBF58476D1CE4E5B9))
        if rows.n > 0:
            load_batch(rows_of_table, order, first, rows, workspace)
            forward_pass(φ, workspace, rows, dropout)
            batch_loss(workspace, rows, weight, plan.loss, plan.loss_parameter)
        pace = pace_of(rule, learning_rates[k], step + 1, weight)
        penalty = 0.5 * rule.penalty * _squares(φ) if rule.penalty > 0 and thread == 0 else 0.0
        loss = _descend(learner, workspace, pace, batch, rows, thread, n_threads, barrier, dropout)
        if not np.isfinite(loss):
            break
        step += 1
        first = first + batch.n if first + batch.n < n else 0
        if thread == 0:
            counted = np.float64(batch.n) if plan.is_mean_of_batches else weight
            loss = (loss * scale + penalty) * (counted / weight if weight > 0 else 0.0)
            ended = _count(counts, sums, plan.tolerance, step, first, loss, counted, epoch_losses, ended)
    finished = meet(barrier, n_threads)  # so nobody steps any more
    restore_mode(mode)
    return step - steps_before if finished else ABANDONED


@entry
def evaluate(
    table: Table,
    parameters: Parameters,
    workspace: Workspace,
    order: Integers,  # (n,): 0, …, n − 1
    loss: int,
    loss_parameter: float,
) -> float:
    """Return the weighted mean loss over a table, a workspace of rows at a time."""
    n, order, rows_of_table = order.size, pointer(order), table_addresses(table)
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    total, total_weight = 0.0, 0.0
    for first in range(0, n, workspace.capacity):
        rows = Rows(0, min(workspace.capacity, n - first))
        load_batch(rows_of_table, order, first, rows, workspace)
        forward_pass(φ, workspace, rows, Dropout(1.0, np.uint64(0)))
        weight = batch_weight(rows_of_table, order, first, rows.n)
        batch_loss(workspace, rows, weight, loss, loss_parameter)
        total += total_loss(workspace, rows.n)
        total_weight += weight
    return total / total_weight


@entry
def differentiate(
    table: Table,
    parameters: Parameters,
    gradients: Parameters,  # written
    workspace: Workspace,  # with room for the whole table; its gradients are written
    order: Integers,  # (n,): 0, …, n − 1
    loss: int,
    loss_parameter: float,
    of_input: bool,  # whether ∂L/∂x is written too
) -> float:
    """Return the weighted mean loss over a table, and write its gradient in every parameter and every f_i."""
    φ, workspace, by_φ = addresses_of(parameters), workspace_addresses(workspace), addresses_of(gradients)
    rows, order, rows_of_table = Rows(0, order.size), pointer(order), table_addresses(table)
    load_batch(rows_of_table, order, 0, rows, workspace)
    forward_pass(φ, workspace, rows, Dropout(1.0, np.uint64(0)))
    weight = batch_weight(rows_of_table, order, 0, rows.n)
    batch_loss(workspace, rows, weight, loss, loss_parameter)
    for i in range(φ.n_layers - 1, -1, -1):
        first, end = share_of_panels(workspace, i, 0, 1)
        if i > 0:
            few = rows_in_tiles(rows.n) == 0
            backward_layer(φ, workspace, i, rows, few, 0, False, 0.0, 0.0, Dropout(1.0, np.uint64(0)))
        differentiate_layer(by_φ, workspace, i, first, end, rows)
    if of_input:
        input_gradient(φ, workspace, rows)
    return total_loss(workspace, rows.n) / weight


@entry
def trace(
    x: Floats,  # rows of whole lines
    parameters: Parameters,
    workspace: Workspace,  # with room for all rows; its activations are written, and f_i in the gradients' place
    order: Integers,  # (n,): 0, …, n − 1
) -> None:
    """Every h_i and f_i of a forward pass."""
    φ, workspace, rows = addresses_of(parameters), workspace_addresses(workspace), Rows(0, order.size)
    gather_rows(pointer(x), pointer(order), 0, activations_of(workspace, 0, rows))
    forward_pass(φ, workspace, rows, Dropout(1.0, np.uint64(0)))
    preactivations(φ, workspace, rows)


@entry
def predict(
    x: Floats,  # (n, D_0), plain rows
    parameters: Parameters,
    workspace: Workspace,
    out: Floats,  # (n, D_{K+1}), written
) -> bool:
    """ŷ for each row of x, a workspace of rows at a time; return whether all of x was finite."""
    φ, workspace = addresses_of(parameters), workspace_addresses(workspace)
    finite = True
    for first in range(0, x.shape[0], workspace.capacity):
        rows = Rows(0, min(workspace.capacity, x.shape[0] - first))
        finite &= load_plain_rows(x, first, activations_of(workspace, 0, rows))
        forward_pass(φ, workspace, rows, Dropout(1.0, np.uint64(0)))
        ŷ = activations_of(workspace, workspace.n_layers, rows)
        scatter_outputs(ŷ, out[first : first + rows.n], workspace.narrow)
    return finite

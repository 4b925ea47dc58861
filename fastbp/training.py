"""A run of minibatch gradient descent as one compiled call.

A run is a function of its buffers: everything it needs lies in the arrays it is handed, so it can be stopped after
any step and resumed to the bit, or be one of many side by side. This file holds no state, and must not know of
time, callbacks or files.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.batches import (
    RandomState,
    Table,
    gather_classes,
    gather_numbers,
    gather_rows,
    gather_targets,
    scatter_outputs,
    shuffle,
)
from fastbp.denormals import flush_denormals, restore_mode
from fastbp.jit import entry, inlined
from fastbp.layout import Floats, Integers, Parameters, Workspace, activations_of, gradients_of, targets_of
from fastbp.losses import loss_and_gradient, narrow_loss_and_gradient
from fastbp.optimizers import ADAM, PLAIN, Rule, adam_step, momentum_step
from fastbp.propagation import backward_pass, descent_pass, forward_pass, input_gradient, preactivations

STEP, EPOCH, ROW = range(3)  # what State.counts holds
LOSS, WEIGHT = range(2)  # what State.sums holds


class State(NamedTuple):
    """What a step changes, besides the workspace."""

    parameters: Parameters
    gradients: Floats  # scratch, laid out as the parameters; empty where the optimizer needs none
    mean: Floats  # Adam's m, or the velocity v; empty where the optimizer has none
    square: Floats  # Adam's v; empty where the optimizer has none
    order: Integers  # (n,): this epoch's permutation of the rows
    random: RandomState  # (4,)
    counts: Integers  # (3,): the optimizer's steps so far, the run's epochs, and rows of this epoch
    sums: npt.NDArray[np.float64]  # (2,): this epoch's Σ w ℓ and Σ w


class Plan(NamedTuple):
    """What stays the same over a run."""

    batch_size: int
    rows: int  # of an epoch: n, or fewer where the last short batch is dropped
    shuffled: bool
    loss: int
    loss_parameter: float
    rule: Rule


@inlined
def load_batch(table: Table, order: Integers, first: int, rows: int, workspace: Workspace) -> None:
    """Gather a batch: x to h_0, y to the targets, and its sample weights."""
    gather_rows(table.x, order, first, activations_of(workspace, 0, rows))
    y = targets_of(workspace, rows)
    if table.classes.size > 0:
        gather_classes(table.classes, order, first, y, workspace.narrow)
    else:
        gather_targets(table.y, order, first, y, workspace.narrow)
    if table.sample_weights.size > 0:
        at = workspace.sample_weights_at
        gather_numbers(table.sample_weights, order, first, rows, workspace.data, at)


@inlined
def batch_loss(workspace: Workspace, rows: int, loss: int, loss_parameter: float) -> tuple[float, float]:
    """Write ∂L/∂ŷ; return Σ w ℓ and Σ w."""
    last = workspace.sizes.size - 1
    ŷ, y = activations_of(workspace, last, rows), targets_of(workspace, rows)
    out = gradients_of(workspace, last, rows)
    weights, at = workspace.data, workspace.sample_weights_at
    if workspace.narrow:
        return narrow_loss_and_gradient(loss, loss_parameter, ŷ, y, weights, at, out)
    return loss_and_gradient(loss, loss_parameter, ŷ, y, weights, at, out)


@inlined
def _descend(
    parameters: Parameters,
    gradients: Parameters,
    mean: Floats,
    square: Floats,
    step: int,  # t, from 1
    workspace: Workspace,
    rows: int,
    learning_rate: float,
    rule: Rule,
) -> None:
    """Step all parameters, from ∂L/∂ŷ on."""
    if rule.kind == PLAIN:
        descent_pass(parameters, workspace, rows, learning_rate, rule.weight_decay)
        return
    backward_pass(parameters, gradients, workspace, rows)
    if rule.kind == ADAM:
        adam_step(parameters.data, gradients.data, mean, square, learning_rate, rule, step)
    else:
        momentum_step(parameters.data, gradients.data, mean, learning_rate, rule)


@entry
def train(
    table: Table,
    plan: Plan,
    state: State,
    workspace: Workspace,
    learning_rates: npt.NDArray[np.float64],  # one for each step to make
    epoch_losses: npt.NDArray[np.float64],  # written: the mean loss of each epoch that ends here
) -> int:
    """Make one step per learning rate; return how many were made: fewer if a batch's loss was not finite."""
    mode = flush_denormals()
    # Taken apart once: each look into a tuple of arrays counts references, which a small network's step would feel.
    φ, gradient_data, mean, square, order, random, counts, sums = state
    gradients = Parameters(gradient_data, φ.sizes, φ.weights_at, φ.biases_at, φ.lanes, φ.narrow)
    batch_size, n, shuffled, loss_code, loss_parameter, rule = plan
    ended = made = 0
    for learning_rate in learning_rates:
        first = counts[ROW]
        if first == 0 and shuffled:
            shuffle(order, random)
        rows = min(batch_size, n - first)
        load_batch(table, order, first, rows, workspace)
        forward_pass(φ, workspace, rows)
        loss, weight = batch_loss(workspace, rows, loss_code, loss_parameter)
        if not np.isfinite(loss):
            break
        _descend(φ, gradients, mean, square, counts[STEP] + 1, workspace, rows, learning_rate, rule)
        made += 1
        counts[STEP] += 1
        counts[ROW] += rows
        sums[LOSS] += loss
        sums[WEIGHT] += weight
        if counts[ROW] == n:
            epoch_losses[ended] = sums[LOSS] / sums[WEIGHT]
            ended += 1
            counts[EPOCH] += 1
            counts[ROW] = 0
            sums[:] = 0
    restore_mode(mode)
    return made


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
    total, total_weight = 0.0, 0.0
    for first in range(0, order.size, workspace.capacity):
        rows = min(workspace.capacity, order.size - first)
        load_batch(table, order, first, rows, workspace)
        forward_pass(parameters, workspace, rows)
        block_loss, weight = batch_loss(workspace, rows, loss, loss_parameter)
        total += block_loss
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
) -> float:
    """Return the weighted mean loss over a table, and write its gradient in every parameter, f_i and x."""
    load_batch(table, order, 0, order.size, workspace)
    forward_pass(parameters, workspace, order.size)
    total, total_weight = batch_loss(workspace, order.size, loss, loss_parameter)
    backward_pass(parameters, gradients, workspace, order.size)
    input_gradient(parameters, workspace, order.size)
    return total / total_weight


@entry
def trace(
    x: Floats,  # rows of whole lines
    parameters: Parameters,
    workspace: Workspace,  # with room for all rows; its activations are written, and f_i in the gradients' place
    order: Integers,  # (n,): 0, …, n − 1
) -> None:
    """Every h_i and f_i of a forward pass."""
    rows = order.size
    gather_rows(x, order, 0, activations_of(workspace, 0, rows))
    forward_pass(parameters, workspace, rows)
    preactivations(parameters, workspace, rows)


@entry
def predict(
    x: Floats,  # rows of whole lines
    parameters: Parameters,
    workspace: Workspace,
    order: Integers,  # (n,): 0, …, n − 1
    out: Floats,  # (n, D_{K+1}), written
) -> None:
    """ŷ for each row of x, a workspace of rows at a time."""
    last = workspace.sizes.size - 1
    for first in range(0, order.size, workspace.capacity):
        rows = min(workspace.capacity, order.size - first)
        gather_rows(x, order, first, activations_of(workspace, 0, rows))
        forward_pass(parameters, workspace, rows)
        ŷ = activations_of(workspace, last, rows)
        scatter_outputs(ŷ, out[first : first + rows], workspace.narrow)

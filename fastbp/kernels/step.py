"""One minibatch step, as each of the threads that make it together computes it.

A thread takes some of the batch's rows through the network and back, and then some panels of each layer's parameters.
Every number is computed by one thread, and in the same way whichever thread that is, so the number of threads changes
no bit. This file must not know epochs, patience or the order of rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp._typing import Floats, Integers
from fastbp.kernels.activations import LayerActivations
from fastbp.kernels.clipping import Clipping, call_gradient_scale
from fastbp.kernels.dropout import Dropout
from fastbp.kernels.input_factors import InputFactors, differentiate_input_factors, fold_input_factors
from fastbp.kernels.layout import (
    Parameters,
    RowRange,
    Workspace,
    activations_of,
    gradients_of,
    rows_in_tiles,
    smaller,
    targets_of,
    weights_of,
    weights_span,
)
from fastbp.kernels.losses import loss_and_gradient
from fastbp.kernels.propagation import (
    Batch,
    PanelRange,
    SGDUpdate,
    backward_layer,
    backward_pass,
    differentiate_layer,
    sgd_update_layer,
    share_of_panels,
)
from fastbp.kernels.rows import TrainingRowAddresses, gather_classes, gather_rows, gather_targets, gather_weights
from fastbp.kernels.steps import Block, StepSizes, step_block
from fastbp.kernels.stored_rows import gather_stored
from fastbp.machine.arithmetic import sum_lanes
from fastbp.machine.barrier import wait_for_all
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import load, zero_line
from fastbp.optimizers import PLAIN_SGD, Rule


class Learner(NamedTuple):
    """What a step changes of a network, and the rule by which it does. All arrays are addresses."""

    parameters: Parameters  # φ
    activations: LayerActivations
    gradients: Parameters  # ∂L/∂φ; not for plain SGD
    mean: Floats  # m of Adam and Lion, or the velocity v
    square: Floats  # v of Adam and RMSprop, or Adagrad's s
    rule: Rule
    step: int  # the address of the rule's step; 0 for plain SGD
    gradient_scale: int  # the address of the piece that clips; 0 without clipping
    rate_factors: npt.NDArray[np.float64]  # of η, for each layer's weights and biases
    input_factors: InputFactors
    has_input_factors: bool


# --- the batch ----------------------------------------------------------------------------------------------


@njit
def batch_for(n: int, lanes: int, thread: int, n_threads: int, dropout: Dropout) -> Batch:
    """Return a minibatch of n rows with a thread's share of them: whole lines of samples, or none."""
    rows = RowRange(0, n)
    if n_threads > 1:
        lines = (n + lanes - 1) // lanes
        first, end = lines * thread // n_threads * lanes, lines * (thread + 1) // n_threads * lanes
        rows = RowRange(first, smaller(end, n) - first)
    return Batch(RowRange(0, n), rows, rows_in_tiles(n) == 0, thread, n_threads, dropout)


@inlined
def load_batch(source: TrainingRowAddresses, order: Integers, first: int, rows: RowRange, workspace: Workspace) -> None:
    """Gather some rows of the batch that begins at order[first]: x to h_0, the targets, and the sample weights."""
    first += rows.first
    x = activations_of(workspace, 0, rows)
    if source.gather != 0:
        gather_stored(source.gather, source.x, source.storage, order, first, x)
    else:
        gather_rows(source.x, order, first, x)
    y = targets_of(workspace, rows)
    if source.has_classes:
        gather_classes(source.classes, order, first, y, workspace.narrow_output)
    else:
        gather_targets(source.y, order, first, y, workspace.narrow_output)
    at = workspace.sample_weights_at + rows.first
    gather_weights(source.sample_weights, source.has_weights, order, first, rows.n, workspace.data, at)


@njit
def batch_weight(source: TrainingRowAddresses, order: Integers, first: int, count: int) -> float:
    """Σ w of a batch."""
    if not source.has_weights:
        return np.float64(count)
    total = 0.0
    for row in range(first, first + count):
        total += np.float64(source.sample_weights[order[row]])
    return total


# --- the loss -----------------------------------------------------------------------------------------------


@inlined
def batch_loss(
    workspace: Workspace,
    rows: RowRange,
    weight: float,
    loss: int,  # the address of a piece
    loss_parameter: float,
) -> None:
    """Write ∂L/∂ŷ, and Σ w ℓ of each line of samples, for some rows of a batch of this weight."""
    last, weights, at = workspace.n_layers, workspace.data, workspace.sample_weights_at + rows.first
    ŷ, y, out = activations_of(workspace, last, rows), targets_of(workspace, rows), gradients_of(workspace, last, rows)
    losses, line = workspace.line_losses, rows.first // workspace.lanes
    is_narrow = workspace.narrow_output
    loss_and_gradient(loss, loss_parameter, ŷ, y, weights, at, weight, losses, line, out, is_narrow)


@njit
def total_loss(workspace: Workspace, count: int) -> float:
    """Σ w ℓ of a batch, line by line, so that the order of the sum does not depend on the number of threads."""
    return total_loss_after(0.0, workspace, count)


@njit
def total_loss_after(total: float, workspace: Workspace, count: int) -> float:
    """Return a sum of losses with the lines of `count` more rows added, line by line."""
    for line in range((count + workspace.lanes - 1) // workspace.lanes):
        total += workspace.line_losses[line]
    return total


@njit
def penalty_of(rule: Rule, parameters: Parameters, weight: float) -> float:
    """½ α Σ_i ‖Ω_i‖², to be added to a batch's Σ w ℓ: times Σ w, unless the rule divides α by Σ w."""
    total = zero_line(parameters.data)
    for i in range(parameters.n_layers):
        for at in range(parameters.weights_at[i], parameters.biases_at[i], parameters.lanes):
            Ω = load(parameters.data, at)
            total = total + Ω * Ω
    share = 1.0 if rule.is_penalty_shared else weight
    return 0.5 * rule.penalty * share * np.float64(sum_lanes(total))


# --- the step -----------------------------------------------------------------------------------------------


@inlined
def _block_of(
    learner: Learner,
    parameters: Floats,  # the buffer of the weights or of the biases
    at: int,  # where those of the layer begin
    size: int,  # of one panel
    panels: PanelRange,
    factor: float,
    weight_decay: float,
    penalty: float,
) -> Block:
    """Return some panels of a layer's weights or biases as a block."""
    first, end = at + panels.first * size, at + panels.end * size
    buffers = parameters, learner.gradients.data, learner.mean, learner.square
    return Block(*buffers, first, end, factor, weight_decay, penalty)


@inlined
def _differentiate(learner: Learner, workspace: Workspace, i: int, panels: PanelRange, batch: Batch) -> None:
    """Write the gradients of some panels of a layer, and of the factors of the inputs with the first layer."""
    differentiate_layer(learner.gradients, workspace, i, panels, batch.all_rows)
    if learner.has_input_factors and i == 0:
        differentiate_input_factors(learner.input_factors, weights_of(learner.gradients, 0))


@inlined
def _step_layer(
    learner: Learner, workspace: Workspace, i: int, batch: Batch, sizes: StepSizes, update: SGDUpdate
) -> None:
    """Step this thread's panels of a layer, after the backward pass of all rows."""
    φ, rule = learner.parameters, learner.rule
    panels = share_of_panels(workspace, i, batch.thread, batch.n_threads)
    if panels.first == panels.end:
        return
    if rule.kind == PLAIN_SGD:
        sgd_update_layer(φ, workspace, i, panels, batch, update)
        return
    if learner.gradient_scale == 0:
        _differentiate(learner, workspace, i, panels, batch)
    s, has_factors, λ = learner.input_factors, learner.has_input_factors and i == 0, rule.weight_decay
    at, size = weights_span(φ, i)
    Ω, factor = s.weights if has_factors else φ.data, learner.rate_factors[2 * i]
    step_block(learner.step, rule, sizes, _block_of(learner, Ω, at, size, panels, factor, λ, sizes.penalty))
    at, factor = φ.biases_at[i], learner.rate_factors[2 * i + 1]
    step_block(learner.step, rule, sizes, _block_of(learner, φ.data, at, φ.lanes, panels, factor, rule.bias_decay, 0.0))
    if has_factors:  # they decay as weights do
        end = (φ.sizes[0] + φ.lanes - 1) // φ.lanes * φ.lanes
        step_block(learner.step, rule, sizes, Block(s.factors, s.gradients, s.mean, s.square, 0, end, s.rate, λ, 0.0))
        fold_input_factors(s, weights_of(φ, 0))


@njit
def _clip(learner: Learner, workspace: Workspace, batch: Batch, penalty: float, barrier: Integers) -> float:
    """Write the gradients of all layers, and return what clipping multiplies them by; NaN if a thread did not come.

    Each thread differentiates its panels. Then each thread computes the norm of all gradients by itself, in the order
    of the layers, while no thread steps. The gradients of factors of inputs count in the norm.
    """
    φ, s, g = learner.parameters, learner.input_factors, learner.gradients.data
    for i in range(φ.n_layers):
        panels = share_of_panels(workspace, i, batch.thread, batch.n_threads)
        if panels.first < panels.end:
            _differentiate(learner, workspace, i, panels, batch)
    Ω, n_factors = (s.weights, φ.sizes[0]) if learner.has_input_factors else (φ.data, 0)
    places, most = (φ.n_layers, φ.sizes, φ.weights_at, φ.biases_at), learner.rule.max_gradient_norm
    clipping = Clipping(g, φ.data, Ω, *places, s.gradients, n_factors, penalty, most)
    are_all_here = wait_for_all(barrier, batch.n_threads)
    scale = call_gradient_scale(learner.gradient_scale, clipping)
    return scale if wait_for_all(barrier, batch.n_threads) and are_all_here else np.nan


@njit
def _backward_together(
    learner: Learner, workspace: Workspace, batch: Batch, penalty: float, barrier: Integers
) -> tuple[float, float]:
    """∂L/∂f_i of all rows, by several threads or before clipping. Return Σ w ℓ, and the scale of the gradients.

    When all threads have come, all gradients are ready, and no thread needs the old weights any more. Σ w ℓ is NaN if a
    thread did not come, or if the norm of the gradients is not finite.
    """
    if batch.rows.n > 0:
        backward_pass(learner.parameters, learner.activations, workspace, batch)
    loss, scale = total_loss(workspace, batch.all_rows.n) if wait_for_all(barrier, batch.n_threads) else np.nan, 1.0
    if learner.gradient_scale != 0 and np.isfinite(loss):
        scale = _clip(learner, workspace, batch, penalty, barrier)
        loss = loss if np.isfinite(scale) else np.nan
    return loss, scale


@inlined
def step_parameters(learner: Learner, workspace: Workspace, batch: Batch, sizes: StepSizes, barrier: Integers) -> float:
    """Step all parameters, from ∂L/∂ŷ on. Return Σ w ℓ; make no step if Σ w ℓ or the scale of clipping is not finite.

    A thread alone steps each layer right after the layer's backward pass, while the layer is in the nearest cache.
    Several threads finish the backward pass of all layers first, and so does clipping, which needs all gradients.
    """
    φ, rule, is_by_layer = learner.parameters, learner.rule, batch.n_threads == 1 and learner.gradient_scale == 0
    is_fused = is_by_layer and rule.kind == PLAIN_SGD
    update = SGDUpdate(sizes.learning_rate, rule.weight_decay + sizes.penalty, rule.bias_decay, is_fused)
    if is_by_layer:
        loss = total_loss(workspace, batch.all_rows.n)
    else:
        loss, scale = _backward_together(learner, workspace, batch, sizes.penalty, barrier)
        η, penalty, mean_rate, square_scale, epsilon, _ = sizes
        sizes = StepSizes(η, penalty * scale, mean_rate, square_scale, epsilon, scale)
    if np.isfinite(loss):
        for i in range(φ.n_layers - 1, -1, -1):
            if is_by_layer and i > 0:
                backward_layer(φ, learner.activations, workspace, i, batch, update)
            _step_layer(learner, workspace, i, batch, sizes, update)
    return loss

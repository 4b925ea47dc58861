"""The equations put together: one batch forward through all layers, and its gradient back.

Rows pass through all layers independently of one another, so each thread takes some of them. A layer's parameters need
the gradients of all rows, so each thread takes some of the layer's panels instead. This file must not know where a
batch comes from, nor optimizers other than plain SGD.
"""

from typing import NamedTuple

from fastbp.kernels.activations import IDENTITY, RELU, LayerActivations, activate
from fastbp.kernels.dense import (
    backward_input,
    backward_input_small_batch,
    backward_linear_input,
    backward_parameters,
    backward_parameters_by_slices,
    linear_forward,
    linear_relu_forward,
    sgd_update_biases,
    sgd_update_weights,
    sgd_update_weights_small_batch,
    transpose_weights,
)
from fastbp.kernels.dropout import Dropout, drop
from fastbp.kernels.layout import (
    GradientSums,
    Panels,
    Parameters,
    RowRange,
    Slice,
    Workspace,
    activations_of,
    biases_of,
    gradients_of,
    input_block,
    panel_of,
    panels_of,
    transposed_weights_of,
    weights_of,
)
from fastbp.kernels.narrow import (
    narrow_backward_input,
    narrow_backward_linear_input,
    narrow_backward_parameters,
    narrow_backward_parameters_by_slices,
    narrow_forward,
    narrow_sgd_update,
)
from fastbp.machine.jit import inlined, jitable, njit


class Batch(NamedTuple):
    """One minibatch, as one of the threads that take it through the network sees it."""

    all_rows: RowRange  # of the minibatch
    rows: RowRange  # of this thread; there may be none
    is_small_batch: bool  # whether the minibatch is too small to pay for transposing weights
    thread: int  # the number of this thread, from 0
    n_threads: int
    dropout: Dropout


class SGDUpdate(NamedTuple):
    """A step of plain SGD."""

    learning_rate: float  # η
    weight_decay: float  # λ of weights
    bias_decay: float  # λ of biases
    is_fused: bool  # whether wide Ω_i, i ≥ 1, are updated during the backward pass


class PanelRange(NamedTuple):
    """Some of a layer's panels, from the first to before the end."""

    first: int
    end: int


NO_UPDATE = SGDUpdate(0.0, 0.0, 0.0, False)


@jitable
def _is_narrow_layer(workspace: Workspace, i: int) -> bool:
    return workspace.narrow_output and i == workspace.n_layers - 1


@njit
def share_of_panels(workspace: Workspace, i: int, thread: int, n_threads: int) -> PanelRange:
    """Return a thread's share of layer i's panels. A narrow layer counts as one panel.

    Panels rarely divide evenly, so the thread that gets the extra panel rotates from layer to layer.
    """
    panels = 1 if _is_narrow_layer(workspace, i) else (workspace.sizes[i + 1] + workspace.lanes - 1) // workspace.lanes
    if n_threads == 1:
        return PanelRange(0, panels)
    place = (thread + i) % n_threads
    return PanelRange(panels * place // n_threads, panels * (place + 1) // n_threads)


# --- forward ------------------------------------------------------------------------------------------------


@inlined
def _linear(parameters: Parameters, workspace: Workspace, i: int, rows: RowRange, out: Panels) -> None:
    """f_i = β_i + Ω_i h_i."""
    h, weights, biases = activations_of(workspace, i, rows), weights_of(parameters, i), biases_of(parameters, i)
    if _is_narrow_layer(workspace, i):
        narrow_forward(h, weights, biases, out)
    else:
        linear_forward(h, weights, biases, out)


@inlined
def forward_pass(
    parameters: Parameters,
    activations: LayerActivations,
    workspace: Workspace,
    rows: RowRange,
    dropout: Dropout,
    keeps_derivatives: bool,  # whether each a'(f_i) is kept for a backward pass, which needs a workspace with gradients
) -> None:
    """h_{i+1} = a_i(β_i + Ω_i h_i) for i < K, with dropout, and ŷ = β_K + Ω_K h_K."""
    last = parameters.n_layers - 1
    for i in range(last):
        h, out = activations_of(workspace, i, rows), activations_of(workspace, i + 1, rows)
        piece = activations.pieces[i]
        if piece == RELU:
            linear_relu_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)
        else:
            linear_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)
            if piece != IDENTITY:
                derivative = gradients_of(workspace, i + 1, rows)
                activate(piece, activations.parameters[i], out, derivative, keeps_derivatives)
        drop(dropout, i, rows.first, out)
    _linear(parameters, workspace, last, rows, activations_of(workspace, last + 1, rows))


@njit
def preactivations(parameters: Parameters, workspace: Workspace, rows: RowRange) -> None:
    """f_i = β_i + Ω_i h_i for every i, after a forward pass. Each f_i overwrites ∂L/∂f_i."""
    for i in range(parameters.n_layers):
        _linear(parameters, workspace, i, rows, gradients_of(workspace, i + 1, rows))


# --- backward -----------------------------------------------------------------------------------------------


@inlined
def _backward_block(
    parameters: Parameters,
    piece: int,  # of the activation a between the two layers
    workspace: Workspace,
    i: int,
    block: int,
    batch: Batch,
) -> None:
    """∂L/∂f_{i-1} = a'(f_{i-1}) ⊙ (Ω_iᵀ ∂L/∂f_i), for a block of inputs of a wide layer, one for each lane."""
    lanes, is_relu = workspace.lanes, piece == RELU
    weights = input_block(weights_of(parameters, i), block, lanes)
    g = gradients_of(workspace, i + 1, batch.rows)
    h = panel_of(activations_of(workspace, i, batch.rows), block, lanes)
    out = panel_of(gradients_of(workspace, i, batch.rows), block, lanes)
    if batch.is_small_batch and is_relu:
        backward_input_small_batch(g, weights, h, out)
    else:
        Ω = transposed_weights_of(workspace, i, batch.thread)
        transpose_weights(weights, Ω)
        if is_relu:
            backward_input(g, Ω, h, out)
        else:
            backward_linear_input(g, Ω, piece != IDENTITY, out)


@inlined
def _backward_narrow(parameters: Parameters, piece: int, workspace: Workspace, i: int, batch: Batch) -> None:
    """∂L/∂f_{K-1} = a'(f_{K-1}) ⊙ (Ω_Kᵀ ∂L/∂f_K), for a narrow last layer."""
    g, h = gradients_of(workspace, i + 1, batch.rows), activations_of(workspace, i, batch.rows)
    weights, out = weights_of(parameters, i), gradients_of(workspace, i, batch.rows)
    if piece == RELU:
        narrow_backward_input(g, weights, h, out)
    else:
        narrow_backward_linear_input(g, weights, piece != IDENTITY, out)


@inlined
def _sgd_update_weights(is_small_batch: bool, g: Panels, h: Panels, update: SGDUpdate, weights: Panels) -> None:
    """Ω_i ← Ω_i − η (∂L/∂Ω_i + λ Ω_i), for some panels or some inputs of a wide layer."""
    if is_small_batch:
        sgd_update_weights_small_batch(g, h, update.learning_rate, update.weight_decay, weights)
    else:
        sgd_update_weights(g, h, update.learning_rate, update.weight_decay, weights)


@inlined
def backward_layer(
    parameters: Parameters,
    activations: LayerActivations,
    workspace: Workspace,
    i: int,
    batch: Batch,
    update: SGDUpdate,
) -> None:
    """∂L/∂f_{i-1} = a'(f_{i-1}) ⊙ (Ω_iᵀ ∂L/∂f_i), for i ≥ 1, with the dropout of h_i; for ReLU, a'(f) = I[f > 0].

    A fused update steps Ω_i too, a block of inputs at a time, while the block is in the nearest cache. It needs all
    rows of the batch, so the batch must be one thread's.
    """
    piece = activations.pieces[i - 1]
    if _is_narrow_layer(workspace, i):
        _backward_narrow(parameters, piece, workspace, i, batch)
    else:
        for block in range((workspace.sizes[i] + workspace.lanes - 1) // workspace.lanes):
            _backward_block(parameters, piece, workspace, i, block, batch)
            if update.is_fused:
                h = panel_of(activations_of(workspace, i, batch.rows), block, workspace.lanes)
                weights = input_block(weights_of(parameters, i), block, workspace.lanes)
                g = gradients_of(workspace, i + 1, batch.rows)
                _sgd_update_weights(batch.is_small_batch, g, h, update, weights)
    drop(batch.dropout, i - 1, batch.rows.first, gradients_of(workspace, i, batch.rows))


@njit
def backward_pass(parameters: Parameters, activations: LayerActivations, workspace: Workspace, batch: Batch) -> None:
    """∂L/∂f_{i-1} for i = K, …, 1, from ∂L/∂f_K on."""
    for i in range(parameters.n_layers - 1, 0, -1):
        backward_layer(parameters, activations, workspace, i, batch, NO_UPDATE)


@njit
def input_gradient(parameters: Parameters, workspace: Workspace, rows: RowRange) -> None:
    """∂L/∂x = Ω_0ᵀ ∂L/∂f_0, after a backward pass."""
    g, out = gradients_of(workspace, 1, rows), gradients_of(workspace, 0, rows)
    if _is_narrow_layer(workspace, 0):
        narrow_backward_linear_input(g, weights_of(parameters, 0), False, out)
    else:
        Ω, lanes = transposed_weights_of(workspace, 0, 0), workspace.lanes
        for block in range((workspace.sizes[0] + lanes - 1) // lanes):
            transpose_weights(input_block(weights_of(parameters, 0), block, lanes), Ω)
            backward_linear_input(g, Ω, False, panel_of(out, block, lanes))


# --- some panels of a layer's parameters --------------------------------------------------------------------


@inlined
def differentiate_layer(
    gradients: Parameters, workspace: Workspace, i: int, panels: PanelRange, rows: RowRange
) -> None:
    """Write ∂L/∂Ω_i and ∂L/∂β_i, summed over the rows, after a backward pass."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    weights, biases, lanes = weights_of(gradients, i), biases_of(gradients, i), workspace.lanes
    if _is_narrow_layer(workspace, i):
        narrow_backward_parameters(g, h, weights, biases)
    else:
        g = panels_of(g, panels.first, panels.end, lanes)
        weights = panels_of(weights, panels.first, panels.end, lanes)
        biases = panels_of(biases, panels.first, panels.end, lanes)
        backward_parameters(g, h, weights, biases)


@inlined
def add_layer_gradient(sums: GradientSums, workspace: Workspace, i: int, rows: RowRange, place: Slice) -> None:
    """Add a slice's part of ∂L/∂Ω_i and ∂L/∂β_i to their sums, after a backward pass of the slice."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    weights, biases = weights_of(sums.gradients, i), biases_of(sums.gradients, i)
    if _is_narrow_layer(workspace, i):
        narrow_backward_parameters_by_slices(g, h, place, sums.tiles, weights, biases)
    else:
        backward_parameters_by_slices(g, h, place, sums.tiles, weights, biases)


@inlined
def sgd_update_layer(
    parameters: Parameters, workspace: Workspace, i: int, panels: PanelRange, batch: Batch, update: SGDUpdate
) -> None:
    """φ ← φ − η (∂L/∂φ + λ φ) for Ω_i and β_i, after a backward pass, which has done so for Ω_i if it was fused."""
    g, h = gradients_of(workspace, i + 1, batch.all_rows), activations_of(workspace, i, batch.all_rows)
    weights, biases, lanes = weights_of(parameters, i), biases_of(parameters, i), workspace.lanes
    η, bias_decay = update.learning_rate, update.bias_decay
    if _is_narrow_layer(workspace, i):
        narrow_sgd_update(g, h, η, update.weight_decay, bias_decay, weights, biases)
    else:
        g = panels_of(g, panels.first, panels.end, lanes)
        if i == 0 or not update.is_fused:
            weights = panels_of(weights, panels.first, panels.end, lanes)
            _sgd_update_weights(batch.is_small_batch, g, h, update, weights)
        sgd_update_biases(g, η, bias_decay, panels_of(biases, panels.first, panels.end, lanes))

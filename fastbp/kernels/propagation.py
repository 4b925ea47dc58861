"""The equations put together: one batch forward through all layers, and its gradient back.

Rows go through all layers without regard to one another, so threads can take some each. A layer's parameters take
all rows, but come in pieces, its panels, each of which is one thread's. This file must not know where a batch comes
from, nor what an optimizer does with gradients.
"""

from fastbp.activations import IDENTITY, RELU, Dropout, activate, drop, multiply_by_derivative
from fastbp.kernels.dense import (
    backward_input,
    backward_input_few,
    backward_linear_input,
    backward_parameters,
    descend_biases,
    descend_weights,
    descend_weights_few,
    linear_forward,
    linear_relu_forward,
    transpose_weights,
)
from fastbp.kernels.layout import (
    Panels,
    Parameters,
    Rows,
    Workspace,
    activations_of,
    biases_of,
    gradients_of,
    input_block,
    panel_of,
    panels_of,
    turned_of,
    weights_of,
)
from fastbp.kernels.narrow import (
    narrow_backward_input,
    narrow_backward_linear_input,
    narrow_backward_parameters,
    narrow_descend,
    narrow_forward,
)
from fastbp.machine.jit import inlined, jitable, njit


@jitable
def _is_narrow_layer(workspace: Workspace, i: int) -> bool:
    return workspace.narrow and i == workspace.n_layers - 1


@njit
def share_of_panels(workspace: Workspace, i: int, thread: int, n_threads: int) -> tuple[int, int]:
    """Return which of layer i's panels are this thread's: from the first to before the second.

    A narrow layer counts as one panel. Whoever has one more than others has so in other layers' stead.
    """
    panels = 1 if _is_narrow_layer(workspace, i) else (workspace.sizes[i + 1] + workspace.lanes - 1) // workspace.lanes
    if n_threads == 1:
        return 0, panels
    turn = (thread + i) % n_threads
    return panels * turn // n_threads, panels * (turn + 1) // n_threads


@inlined
def _linear(parameters: Parameters, workspace: Workspace, i: int, rows: Rows, out: Panels) -> None:
    """f_i = β_i + Ω_i h_i."""
    h, weights, biases = activations_of(workspace, i, rows), weights_of(parameters, i), biases_of(parameters, i)
    if _is_narrow_layer(workspace, i):
        narrow_forward(h, weights, biases, out)
    else:
        linear_forward(h, weights, biases, out)


@inlined
def forward_pass(parameters: Parameters, workspace: Workspace, rows: Rows, dropout: Dropout) -> None:
    """h_{i+1} = a(β_i + Ω_i h_i) for i < K, some of it dropped, and ŷ = β_K + Ω_K h_K."""
    last, activation = parameters.n_layers - 1, parameters.activation
    for i in range(last):
        h, out = activations_of(workspace, i, rows), activations_of(workspace, i + 1, rows)
        if activation == RELU:
            linear_relu_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)
        else:
            linear_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)
            if activation != IDENTITY:
                activate(activation, out)
        if dropout.kept < 1:
            drop(dropout, i, rows.first, out)
    _linear(parameters, workspace, last, rows, activations_of(workspace, last + 1, rows))


@njit
def preactivations(parameters: Parameters, workspace: Workspace, rows: Rows) -> None:
    """f_i = β_i + Ω_i h_i for every i, in the place of ∂L/∂f_i, after a forward pass."""
    for i in range(parameters.n_layers):
        _linear(parameters, workspace, i, rows, gradients_of(workspace, i + 1, rows))


@inlined
def _multiply_by_derivative(activation: int, h: Panels, kept: float, g: Panels) -> None:
    if activation != IDENTITY:
        multiply_by_derivative(activation, h, kept, g)


@inlined
def _backward_block(
    parameters: Parameters,
    workspace: Workspace,
    i: int,
    block: int,
    rows: Rows,
    few: bool,
    thread: int,
    dropout: Dropout,
) -> None:
    """∂L/∂f_{i-1} = a'(f_{i-1}) ⊙ (Ω_iᵀ ∂L/∂f_i), for as many inputs of a wide layer as a line has lanes."""
    lanes, is_relu = workspace.lanes, parameters.activation == RELU
    weights = input_block(weights_of(parameters, i), block, lanes)
    g = gradients_of(workspace, i + 1, rows)
    h = panel_of(activations_of(workspace, i, rows), block, lanes)
    out = panel_of(gradients_of(workspace, i, rows), block, lanes)
    if few and is_relu:
        backward_input_few(g, weights, h, out)
    else:
        Ω = turned_of(workspace, i, thread)
        transpose_weights(weights, Ω)
        if is_relu:
            backward_input(g, Ω, h, out)
        else:
            backward_linear_input(g, Ω, out)
            _multiply_by_derivative(parameters.activation, h, dropout.kept, out)


@inlined
def _descend_weights(
    few: bool, g: Panels, h: Panels, learning_rate: float, weight_decay: float, weights: Panels
) -> None:
    if few:
        descend_weights_few(g, h, learning_rate, weight_decay, weights)
    else:
        descend_weights(g, h, learning_rate, weight_decay, weights)


@inlined
def backward_layer(
    parameters: Parameters,
    workspace: Workspace,
    i: int,
    rows: Rows,
    few: bool,
    thread: int,
    descending: bool,
    learning_rate: float,
    weight_decay: float,
    dropout: Dropout,
) -> None:
    """∂L/∂f_{i-1} = a'(f_{i-1}) ⊙ (Ω_iᵀ ∂L/∂f_i), for i ≥ 1, dropped as h_i was; for ReLU, a'(f) = I[f > 0].

    A batch of `few` rows, of which these may be a part, is not worth transposing Ω_i for. If `descending`, a wide
    layer's Ω_i is stepped too, a block of inputs at a time, while the block is in the cache.
    """
    if _is_narrow_layer(workspace, i):
        g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
        out = gradients_of(workspace, i, rows)
        if parameters.activation == RELU:
            narrow_backward_input(g, weights_of(parameters, i), h, out)
        else:
            narrow_backward_linear_input(g, weights_of(parameters, i), out)
            _multiply_by_derivative(parameters.activation, h, dropout.kept, out)
    else:
        for block in range((workspace.sizes[i] + workspace.lanes - 1) // workspace.lanes):
            _backward_block(parameters, workspace, i, block, rows, few, thread, dropout)
            if descending:
                h = panel_of(activations_of(workspace, i, rows), block, workspace.lanes)
                weights = input_block(weights_of(parameters, i), block, workspace.lanes)
                g = gradients_of(workspace, i + 1, rows)
                _descend_weights(few, g, h, learning_rate, weight_decay, weights)
    if dropout.kept < 1:
        drop(dropout, i - 1, rows.first, gradients_of(workspace, i, rows))


@njit
def input_gradient(parameters: Parameters, workspace: Workspace, rows: Rows) -> None:
    """∂L/∂x = Ω_0ᵀ ∂L/∂f_0, after a backward pass."""
    g, out = gradients_of(workspace, 1, rows), gradients_of(workspace, 0, rows)
    if _is_narrow_layer(workspace, 0):
        narrow_backward_linear_input(g, weights_of(parameters, 0), out)
    else:
        Ω, lanes = turned_of(workspace, 0, 0), workspace.lanes
        for block in range((workspace.sizes[0] + lanes - 1) // lanes):
            transpose_weights(input_block(weights_of(parameters, 0), block, lanes), Ω)
            backward_linear_input(g, Ω, panel_of(out, block, lanes))


# --- some of a layer's panels -------------------------------------------------------------------------------


@inlined
def differentiate_layer(gradients: Parameters, workspace: Workspace, i: int, first: int, end: int, rows: Rows) -> None:
    """Write ∂L/∂Ω_i and ∂L/∂β_i of all rows, panels from `first` to `end`, after a backward pass."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    weights, biases, lanes = weights_of(gradients, i), biases_of(gradients, i), workspace.lanes
    if _is_narrow_layer(workspace, i):
        narrow_backward_parameters(g, h, weights, biases)
    else:
        weights, biases = panels_of(weights, first, end, lanes), panels_of(biases, first, end, lanes)
        backward_parameters(panels_of(g, first, end, lanes), h, weights, biases)


@inlined
def descend_layer(
    parameters: Parameters,
    workspace: Workspace,
    i: int,
    first: int,
    end: int,
    rows: Rows,
    few: bool,
    learning_rate: float,
    weight_decay: float,
    bias_decay: float,
    descended: bool,
) -> None:
    """Step Ω_i, unless it has been, and β_i by plain SGD over all rows, panels from `first` to `end`."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    weights, biases, lanes = weights_of(parameters, i), biases_of(parameters, i), workspace.lanes
    if _is_narrow_layer(workspace, i):
        narrow_descend(g, h, learning_rate, weight_decay, bias_decay, weights, biases)
    else:
        g, biases = panels_of(g, first, end, lanes), panels_of(biases, first, end, lanes)
        if not descended:
            _descend_weights(few, g, h, learning_rate, weight_decay, panels_of(weights, first, end, lanes))
        descend_biases(g, learning_rate, bias_decay, biases)

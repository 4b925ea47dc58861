"""The equations put together: one batch forward through all layers, and its gradient back.

Rows go through all layers without regard to one another, so threads can take some each. A layer's parameters take
all rows, but come in pieces, its panels, each of which is one thread's. This file must not know where a batch comes
from, nor what an optimizer does with gradients.
"""

from fastbp.jit import inlined, jitable, njit
from fastbp.kernels import (
    backward_input,
    backward_input_few,
    backward_linear_input,
    backward_parameters,
    descend,
    linear_forward,
    linear_relu_forward,
    transpose_weights,
)
from fastbp.layout import (
    Panels,
    Parameters,
    Rows,
    Workspace,
    activations_of,
    biases_of,
    gradients_of,
    panel_of,
    transposed_of,
    transposed_panel,
    weights_of,
)
from fastbp.narrow import (
    narrow_backward_input,
    narrow_backward_linear_input,
    narrow_backward_parameters,
    narrow_descend,
    narrow_forward,
)


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
def forward_pass(parameters: Parameters, workspace: Workspace, rows: Rows) -> None:
    """h_{i+1} = ReLU(β_i + Ω_i h_i) for i < K, and ŷ = β_K + Ω_K h_K."""
    last = parameters.n_layers - 1
    for i in range(last):
        h, out = activations_of(workspace, i, rows), activations_of(workspace, i + 1, rows)
        linear_relu_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)
    _linear(parameters, workspace, last, rows, activations_of(workspace, last + 1, rows))


@njit
def preactivations(parameters: Parameters, workspace: Workspace, rows: Rows) -> None:
    """f_i = β_i + Ω_i h_i for every i, in the place of ∂L/∂f_i, after a forward pass."""
    for i in range(parameters.n_layers):
        _linear(parameters, workspace, i, rows, gradients_of(workspace, i + 1, rows))


@inlined
def backward_layer(parameters: Parameters, workspace: Workspace, i: int, rows: Rows) -> None:
    """∂L/∂f_{i-1} = I[f_{i-1} > 0] ⊙ (Ω_iᵀ ∂L/∂f_i), for i ≥ 1."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    out = gradients_of(workspace, i, rows)
    if _is_narrow_layer(workspace, i):
        narrow_backward_input(g, weights_of(parameters, i), h, out)
    elif workspace.few_rows:
        backward_input_few(g, weights_of(parameters, i), h, out)
    else:
        backward_input(g, transposed_of(workspace, i), h, out)


@njit
def input_gradient(parameters: Parameters, workspace: Workspace, rows: Rows) -> None:
    """∂L/∂x = Ω_0ᵀ ∂L/∂f_0, after a backward pass."""
    g, out = gradients_of(workspace, 1, rows), gradients_of(workspace, 0, rows)
    if _is_narrow_layer(workspace, 0):
        narrow_backward_linear_input(g, weights_of(parameters, 0), out)
    else:
        Ω = transposed_of(workspace, 0)
        transpose_weights(weights_of(parameters, 0), Ω)
        backward_linear_input(g, Ω, out)


# --- some of a layer's panels -------------------------------------------------------------------------------


@njit
def _transpose_panel(weights: Panels, workspace: Workspace, i: int, panel: int) -> None:
    """Ω_i from Ω_iᵀ, where the backward pass needs it."""
    if i > 0 and not workspace.few_rows:
        transpose_weights(panel_of(weights, panel, workspace.lanes), transposed_panel(workspace, i, panel))


@inlined
def transpose_layer(parameters: Parameters, workspace: Workspace, i: int, first: int, end: int) -> None:
    """Ω_i from Ω_iᵀ, panels from `first` to `end`, where the backward pass needs it."""
    if not _is_narrow_layer(workspace, i):
        for panel in range(first, end):
            _transpose_panel(weights_of(parameters, i), workspace, i, panel)


@inlined
def differentiate_layer(gradients: Parameters, workspace: Workspace, i: int, first: int, end: int, rows: Rows) -> None:
    """Write ∂L/∂Ω_i and ∂L/∂β_i of all rows, panels from `first` to `end`, after a backward pass."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    weights, biases, lanes = weights_of(gradients, i), biases_of(gradients, i), workspace.lanes
    for panel in range(first, end):
        if _is_narrow_layer(workspace, i):
            narrow_backward_parameters(g, h, weights, biases)
        else:
            of_weights, of_biases = panel_of(weights, panel, lanes), panel_of(biases, panel, lanes)
            backward_parameters(panel_of(g, panel, lanes), h, of_weights, of_biases)


@inlined
def descend_layer(
    parameters: Parameters,
    workspace: Workspace,
    i: int,
    first: int,
    end: int,
    rows: Rows,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """Step Ω_i and β_i by plain SGD over all rows, panels from `first` to `end`, after a backward pass."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    weights, biases, lanes = weights_of(parameters, i), biases_of(parameters, i), workspace.lanes
    for panel in range(first, end):
        if _is_narrow_layer(workspace, i):
            narrow_descend(g, h, learning_rate, weight_decay, weights, biases)
        else:
            stepped, β = panel_of(weights, panel, lanes), panel_of(biases, panel, lanes)
            descend(panel_of(g, panel, lanes), h, learning_rate, weight_decay, stepped, β)
            _transpose_panel(weights, workspace, i, panel)  # while it is in the cache

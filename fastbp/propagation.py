"""The equations put together: one batch forward through all layers, and its gradient back.

This file must not know where a batch comes from, nor what an optimizer does with gradients.
"""

from fastbp.jit import inlined, njit
from fastbp.kernels import (
    backward_input,
    backward_input_few,
    backward_linear_input,
    backward_parameters,
    descend,
    linear_forward,
    linear_relu_forward,
    rows_in_tiles,
    transpose_weights,
)
from fastbp.layout import (
    Panels,
    Parameters,
    Workspace,
    activations_of,
    biases_of,
    gradients_of,
    transposed_of,
    weights_of,
)
from fastbp.narrow import (
    narrow_backward_input,
    narrow_backward_linear_input,
    narrow_backward_parameters,
    narrow_descend,
    narrow_forward,
)


@njit
def _is_narrow_layer(workspace: Workspace, i: int) -> bool:
    return workspace.narrow and i == workspace.sizes.size - 2


@inlined
def _linear(parameters: Parameters, workspace: Workspace, i: int, rows: int, out: Panels) -> None:
    """f_i = β_i + Ω_i h_i."""
    h, weights, biases = activations_of(workspace, i, rows), weights_of(parameters, i), biases_of(parameters, i)
    if _is_narrow_layer(workspace, i):
        narrow_forward(h, weights, biases, out)
    else:
        linear_forward(h, weights, biases, out)


@inlined
def forward_pass(parameters: Parameters, workspace: Workspace, rows: int) -> None:
    """h_{i+1} = ReLU(β_i + Ω_i h_i) for i < K, and ŷ = β_K + Ω_K h_K."""
    last = parameters.sizes.size - 2
    for i in range(last):
        h, out = activations_of(workspace, i, rows), activations_of(workspace, i + 1, rows)
        linear_relu_forward(h, weights_of(parameters, i), biases_of(parameters, i), out)
    _linear(parameters, workspace, last, rows, activations_of(workspace, last + 1, rows))


@njit
def preactivations(parameters: Parameters, workspace: Workspace, rows: int) -> None:
    """f_i = β_i + Ω_i h_i for every i, in the place of ∂L/∂f_i, after a forward pass."""
    for i in range(parameters.sizes.size - 1):
        _linear(parameters, workspace, i, rows, gradients_of(workspace, i + 1, rows))


@inlined
def _backward_hidden(parameters: Parameters, workspace: Workspace, i: int, rows: int) -> None:
    """∂L/∂f_{i-1} = I[f_{i-1} > 0] ⊙ (Ω_iᵀ ∂L/∂f_i)."""
    g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
    out = gradients_of(workspace, i, rows)
    if _is_narrow_layer(workspace, i):
        narrow_backward_input(g, weights_of(parameters, i), h, out)
    elif rows_in_tiles(rows) == 0:
        backward_input_few(g, weights_of(parameters, i), h, out)
    else:
        Ω = transposed_of(workspace, i)
        transpose_weights(weights_of(parameters, i), Ω)
        backward_input(g, Ω, h, out)


@inlined
def backward_pass(parameters: Parameters, gradients: Parameters, workspace: Workspace, rows: int) -> None:
    """Write ∂L/∂Ω_i and ∂L/∂β_i, i = K, …, 0, from ∂L/∂ŷ and the activations of a forward pass."""
    for i in range(parameters.sizes.size - 2, -1, -1):
        g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
        if _is_narrow_layer(workspace, i):
            narrow_backward_parameters(g, h, weights_of(gradients, i), biases_of(gradients, i))
        else:
            backward_parameters(g, h, weights_of(gradients, i), biases_of(gradients, i))
        if i > 0:
            _backward_hidden(parameters, workspace, i, rows)


@njit
def input_gradient(parameters: Parameters, workspace: Workspace, rows: int) -> None:
    """∂L/∂x = Ω_0ᵀ ∂L/∂f_0, after a backward pass."""
    g, out = gradients_of(workspace, 1, rows), gradients_of(workspace, 0, rows)
    if _is_narrow_layer(workspace, 0):
        narrow_backward_linear_input(g, weights_of(parameters, 0), out)
        return
    Ω = transposed_of(workspace, 0)
    transpose_weights(weights_of(parameters, 0), Ω)
    backward_linear_input(g, Ω, out)


@inlined
def descent_pass(
    parameters: Parameters, workspace: Workspace, rows: int, learning_rate: float, weight_decay: float
) -> None:
    """Step each layer by plain SGD on the way back; ∂L/∂f_{i-1} is taken from the old Ω_i, before its step."""
    for i in range(parameters.sizes.size - 2, -1, -1):
        if i > 0:
            _backward_hidden(parameters, workspace, i, rows)
        g, h = gradients_of(workspace, i + 1, rows), activations_of(workspace, i, rows)
        weights, biases = weights_of(parameters, i), biases_of(parameters, i)
        if _is_narrow_layer(workspace, i):
            narrow_descend(g, h, learning_rate, weight_decay, weights, biases)
        else:
            descend(g, h, learning_rate, weight_decay, weights, biases)

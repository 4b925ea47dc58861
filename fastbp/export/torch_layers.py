"""One network as a `torch.nn.Sequential`, and back. Only calls of these functions import torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbp import activations
from fastbp.activations import Activation
from fastbp.export.parts import Layers

_MODULES = {
    "identity": "Identity",
    "relu": "ReLU",
    "tanh": "Tanh",
    "logistic": "Sigmoid",
    "selu": "SELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "Softplus",
    "hard_tanh": "Hardtanh",
    "gelu": "GELU",
}
_IGNORED = ("Identity", "Flatten", "Dropout", "AlphaDropout")


def _torch(of: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{of} needs torch: pip install torch", name="torch") from error
    return torch


def sequential_of(layers: Layers) -> Any:
    """Return a `torch.nn.Sequential` with copies of the parameters.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If an activation is a user's function.
    """
    torch = _torch("to_torch")
    modules: list[Any] = []
    for weights, biases, activation in zip(layers.weights, layers.biases, [*layers.between, None], strict=True):
        n_outputs, n_inputs = weights.shape
        dtype = torch.float64 if layers.dtype == np.float64 else torch.float32
        # Without the initial weights, which would take numbers from torch's random state.
        linear = torch.nn.utils.skip_init(torch.nn.Linear, n_inputs, n_outputs, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights)))
            linear.bias.copy_(torch.from_numpy(np.ascontiguousarray(biases)))
        modules += [linear] if activation is None else [linear, _module(torch.nn, activation)]
    return torch.nn.Sequential(*modules)


def _module(nn: Any, activation: Activation) -> Any:
    if activation.is_custom:
        raise ValueError(f"the activation {activation.name} is a user's function, which cannot be converted to torch")
    if activation.name == "leaky_relu":
        return nn.LeakyReLU(activation.parameter)
    if activation.name == "elu":
        return nn.ELU(activation.parameter)
    if activation.name == "gelu_tanh":
        return nn.GELU(approximate="tanh")
    return getattr(nn, _MODULES[activation.name])()


def layers_of(sequential: Any) -> Layers:
    """Return the network that a `torch.nn.Sequential` of linear layers and activations is.

    Raises
    ------
    ImportError
        If torch is not installed.
    TypeError
        If `sequential` is not a `torch.nn.Sequential`.
    ValueError
        If a module has no counterpart, or stands where a network has none. The message names the module.
    """
    nn = _torch("from_torch").nn
    if not isinstance(sequential, nn.Sequential):
        raise TypeError(f"from_torch takes a torch.nn.Sequential, got {type(sequential).__name__}")
    weights: list[Any] = []
    biases: list[Any] = []
    between: list[Activation | None] = []
    for name, module in _flat(nn, sequential, ""):
        if type(module) in [getattr(nn, ignored) for ignored in _IGNORED]:
            continue
        if type(module) is nn.Linear:
            weights.append(_array(module.weight))
            biases.append(np.zeros(len(weights[-1])) if module.bias is None else _array(module.bias))
            between.append(None)
            continue
        activation = _activation(nn, module)
        if activation is None:
            raise ValueError(f"the module {name} = {module} has no counterpart in Network")
        if not weights or between[-1] is not None:
            raise ValueError(f"the module {name} = {module} does not follow a Linear, as an activation of Network does")
        between[-1] = activation
    if not weights:
        raise ValueError("the Sequential has no Linear")
    if between[-1] is not None:
        raise ValueError(f"the Sequential ends in the activation {between[-1]}, and the outputs of Network have none")
    dtype = np.result_type(*weights)
    return Layers(
        [one.astype(dtype) for one in weights],
        [one.astype(dtype) for one in biases],
        tuple(one or activations.identity for one in between[:-1]),
    )


def _flat(nn: Any, sequential: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Return the modules of a Sequential and of those inside it, each with its name."""
    for name, module in sequential.named_children():
        if type(module) is nn.Sequential:
            yield from _flat(nn, module, f"{path}{name}.")
        else:
            yield f"{path}{name}", module


def _array(tensor: Any) -> Any:
    """Return a tensor as float64 if it is of this type, and otherwise as float32, which holds all narrower types."""
    cpu = tensor.detach().cpu()
    return (cpu if cpu.element_size() == 8 else cpu.float()).numpy()


def _activation(nn: Any, module: Any) -> Activation | None:
    """Return the activation that a module computes, or None."""
    kind = type(module)
    if kind is nn.LeakyReLU and module.negative_slope >= 0:
        return activations.leaky_relu(module.negative_slope)
    if kind is nn.ELU and module.alpha >= 0:
        return activations.elu(module.alpha)
    if kind is nn.GELU:
        return activations.gelu_tanh if module.approximate == "tanh" else activations.gelu
    if kind is nn.Softplus and (module.beta != 1 or module.threshold < 20):  # beyond it, torch returns f
        return None
    if kind is nn.Hardtanh and (module.min_val, module.max_val) != (-1, 1):
        return None
    names = [name for name, of_torch in _MODULES.items() if kind is getattr(nn, of_torch)]
    return activations.resolve(names[0]) if names else None

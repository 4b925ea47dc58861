"""One network from an ONNX graph: the reverse of `layers`. Only calls of these functions import onnx."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from fastbp import activations
from fastbp._typing import Array
from fastbp.activations import Activation
from fastbp.export.activations import activated
from fastbp.export.parts import Layers

# A tree is "f", the output of a linear layer; or a number; or (operator, attributes, trees of the operands).
Tree = Any

_PASSING = ("Identity", "Dropout", "Flatten")  # they leave rows of numbers as they are
_SWAPPABLE = ("Add", "Mul", "Min", "Max")
_DEFAULTS: dict[str, dict[str, Any]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Selu": {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
    "Gelu": {"approximate": "none"},
    "Swish": {"alpha": 1.0},
}
_MOST_NODES = 600  # of an activation; the gelu of float64 has 260
_PARAMETER = math.nan  # in a pattern: a number that is the parameter of the activation


def layers_of(path: str | os.PathLike[str]) -> Layers:
    """Return the network in an ONNX file.

    The graph alternates linear layers (Gemm, MatMul, or MatMul and Add, with constant weights) and activations. The
    network ends at the output `prediction`, or at the only output.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the file holds no ONNX graph, or a node has no counterpart. The message names the node.
    OSError
        If the file cannot be read.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("from_onnx needs the package onnx: pip install 'fastbp[onnx]'", name="onnx") from error
    try:
        graph = onnx.load(path).graph
    except OSError:
        raise
    except Exception as error:  # protobuf has errors of its own
        raise ValueError(f"{os.fspath(path)!r} holds no ONNX graph: {error}") from None
    return _Reader(graph, onnx).layers()


class _Reader:
    """A graph, read from its output to its input."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self._onnx = onnx
        to_array = onnx.numpy_helper.to_array
        self._constants = {tensor.name: to_array(tensor) for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output if name}
        for node in graph.node:
            if node.op_type == "Constant" and "value" in (attributes := self._attributes(node)):
                self._constants[node.output[0]] = to_array(attributes["value"])
        self._inputs = [one.name for one in graph.input if one.name not in self._constants]
        outputs = [one.name for one in graph.output]
        self._output = "prediction" if "prediction" in outputs else outputs[0]
        if len(self._inputs) != 1 or (len(outputs) != 1 and self._output != "prediction"):
            raise ValueError(f"the graph must have one input and one output, and it has {self._inputs} and {outputs}")
        self._patterns = list(_patterns())

    def layers(self) -> Layers:
        """Return the network."""
        weights: list[Array] = []
        biases: list[Array] = []
        between: list[Activation] = []
        value = self._passed(self._output)
        while True:
            found = self._linear(value)
            if found is None:
                raise self._refusal(value)
            weights.insert(0, found[0])
            biases.insert(0, found[1])
            if (value := self._passed(found[2])) == self._inputs[0]:
                break
            activation, value = self._activation(value)
            between.insert(0, activation)
        dtype = np.dtype(np.float64 if np.result_type(*weights) == np.float64 else np.float32)
        return Layers([one.astype(dtype) for one in weights], [one.astype(dtype) for one in biases], tuple(between))

    def _passed(self, value: str) -> str:
        """Return the value behind nodes that leave rows as they are."""
        while value in self._makers and self._makers[value].op_type in _PASSING:
            value = self._makers[value].input[0]
        return value

    def _refusal(self, value: str) -> ValueError:
        if value not in self._makers:
            return ValueError(f"the value {value!r} of the graph is not computed from the input by linear layers")
        node = self._makers[value]
        return ValueError(f"the node {node.name or value!r} ({node.op_type}) has no counterpart in Network")

    def _attributes(self, node: Any) -> dict[str, Any]:
        given = {one.name: self._onnx.helper.get_attribute_value(one) for one in node.attribute}
        return {**_DEFAULTS.get(node.op_type, {}), **{name: _plain(one) for name, one in given.items()}}

    def _linear(self, value: str) -> tuple[Array, Array, str] | None:
        """Return Ω, β and the name of h of f = β + Ω h, or None."""
        if value not in self._makers:
            return None
        node = self._makers[value]
        if node.op_type == "Gemm":
            return self._gemm(node)
        if node.op_type == "MatMul":
            h, matrix = node.input[0], self._constants.get(node.input[1])
            return None if matrix is None or matrix.ndim != 2 else (matrix.T, np.zeros(matrix.shape[1]), h)
        if node.op_type == "Add":
            for one, other in (node.input, reversed(node.input)):
                product = self._passed(one)
                if other in self._constants and product in self._makers and self._makers[product].op_type == "MatMul":
                    return self._with_biases(self._linear(product), self._constants[other])
        return None

    def _gemm(self, node: Any) -> tuple[Array, Array, str] | None:
        attributes, (h, matrix, *rest) = self._attributes(node), node.input
        if attributes.get("transA", 0) or matrix not in self._constants:
            return None
        weights = self._constants[matrix] * np.asarray(attributes.get("alpha", 1.0), self._constants[matrix].dtype)
        weights = weights if attributes.get("transB", 0) else weights.T
        found = weights, np.zeros(len(weights)), h
        if not rest or not rest[0]:
            return found
        if rest[0] not in self._constants:
            return None
        return self._with_biases(found, self._constants[rest[0]] * attributes.get("beta", 1.0))

    def _with_biases(self, found: tuple[Array, Array, str] | None, biases: Array) -> tuple[Array, Array, str] | None:
        if found is None or not (biases.size == 1 or biases.size == biases.shape[-1] == len(found[1])):
            return None
        return found[0], found[1] + biases.ravel(), found[2]

    def _activation(self, value: str) -> tuple[Activation, str]:
        """Return the activation whose result a value is, and the value f that it takes."""
        if self._linear(value) is not None:
            return activations.identity, value
        sources: list[str] = []
        tree = self._tree(value, sources, [])
        for name, pattern in self._patterns:
            parameters = _matched(pattern, tree)
            if parameters is not None and len({*sources}) == 1:
                made = {"leaky_relu": activations.leaky_relu, "elu": activations.elu}.get(name)
                return (made(abs(parameters[0])) if made else activations.resolve(name)), sources[0]
        raise self._refusal(value)

    def _tree(self, value: str, sources: list[str], seen: list[str]) -> Tree:
        """Return what is computed from outputs of linear layers, whose names are added to `sources`."""
        value = self._passed(value)
        seen.append(value)
        if value in self._constants:
            constant = self._constants[value]
            return float(constant.ravel()[0]) if constant.size == 1 and constant.dtype.kind == "f" else None
        if self._linear(value) is not None:
            sources.append(value)
            return "f"
        if value not in self._makers or len(seen) > _MOST_NODES:
            raise self._refusal(seen[0])
        node = self._makers[value]
        return (node.op_type, self._attributes(node), [self._tree(one, sources, seen) for one in node.input])


def _plain(value: Any) -> Any:
    """Return a text for bytes, and for a float the shortest number with the same float32: ONNX has no others."""
    if isinstance(value, bytes):
        return value.decode()
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _patterns() -> list[tuple[str, Tree]]:
    """Return trees of all activations: as fastbp writes them, and as others do."""

    def add(operator: str, *operands: Tree, **attributes: Any) -> Tree:
        return operator, {**_DEFAULTS.get(operator, {}), **attributes}, list(operands)

    found = []
    for name in activations.NAMES:
        activation = activations.resolve(name)
        if activation.parameter_name:
            activation = Activation(name, parameter=_PARAMETER)
        found += [(name, activated(activation, "f", is_double, add)) for is_double in (False, True)]
    erf = add("Add", add("Erf", add("Div", "f", math.sqrt(2))), 1.0)
    return [
        *found,
        ("leaky_relu", add("LeakyRelu", "f", alpha=_PARAMETER)),
        ("gelu", add("Gelu", "f")),
        ("gelu", add("Mul", add("Mul", "f", erf), 0.5)),
        ("gelu", add("Mul", add("Mul", "f", 0.5), erf)),
        ("gelu", add("Mul", "f", add("Mul", erf, 0.5))),
        ("gelu_tanh", add("Gelu", "f", approximate="tanh")),
        ("silu", add("Swish", "f")),
        ("mish", add("Mish", "f")),
        ("hard_tanh", add("Clip", "f", -1.0, 1.0)),
    ]


def _matched(pattern: Tree, tree: Tree) -> list[float] | None:
    """Return the numbers that stand for the parameter of a pattern, or None if a tree is not of the pattern."""
    if isinstance(pattern, float) or isinstance(tree, float):
        if not isinstance(pattern, float) or not isinstance(tree, float):
            return None
        if math.isnan(pattern):
            return [tree] if tree >= 0 else None
        return [] if math.isclose(pattern, tree, rel_tol=1e-6) else None
    if not isinstance(pattern, tuple) or not isinstance(tree, tuple):
        return [] if pattern == tree else None
    (operator, attributes, operands), (own_operator, own_attributes, own_operands) = pattern, tree
    if operator != own_operator or attributes.keys() != own_attributes.keys() or len(operands) != len(own_operands):
        return None
    of_attributes = _all_matched(
        [attributes[name] for name in attributes], [own_attributes[name] for name in attributes]
    )
    if of_attributes is None:
        return None
    of_operands = _all_matched(operands, own_operands)
    if of_operands is None and operator in _SWAPPABLE:
        of_operands = _all_matched(operands, own_operands[::-1])
    return None if of_operands is None else of_attributes + of_operands


def _all_matched(patterns: list[Tree], trees: list[Tree]) -> list[float] | None:
    found: list[float] = []
    for pattern, tree in zip(patterns, trees, strict=True):
        if (parameters := _matched(pattern, tree)) is None:
            return None
        found += parameters
    return found

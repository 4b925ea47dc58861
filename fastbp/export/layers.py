"""The layers of one network in ONNX, and the link functions of its outputs. It must not know columns or labels."""

import numpy as np

from fastbp.export.activations import activated
from fastbp.export.graph import Graph
from fastbp.export.parts import Layers

LINKS = {"identity": "Identity", "logistic": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}


def outputs(graph: Graph, layers: Layers, x: str) -> str:
    """Return ŷ = f_K, (n, D_{K+1}), for inputs of the network's dtype, (n, D_0)."""
    h, add = x, graph.operator(layers.dtype)
    for weights, biases, activation in zip(layers.weights, layers.biases, [*layers.between, None], strict=True):
        f = graph.add("Add", graph.add("MatMul", h, np.ascontiguousarray(weights.T)), biases)
        h = f if activation is None else activated(activation, f, layers.dtype == np.float64, add)
    return h


def linked(graph: Graph, link: str, f: str) -> str:
    """Return ŷ, σ(ŷ), softmax(ŷ) or exp(ŷ) of outputs ŷ, (n, C)."""
    return graph.add(LINKS[link], f)

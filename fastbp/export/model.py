"""Whole models in ONNX: a table with its networks and answers, or one network. It must not know a model's class."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastbp.export import layers
from fastbp.export.encoding import encoded
from fastbp.export.graph import Graph
from fastbp.export.parts import ClassAnswers, Layers, NumberAnswers, Outputs, Table

_RESERVED = ("label", "probabilities", "prediction", "lower", "upper")


def write_table(path: str | os.PathLike[str], table: Table) -> None:
    """Write a model of a table: raw columns in, answers out; raise as `Network.to_onnx` does."""
    graph = Graph([*_RESERVED, *(column.name for column in table.columns)])
    inputs, described = encoded(graph, table.columns, _RESERVED)
    of_each = []
    for network in table.networks:
        x = inputs if network.takes is None else graph.add("Gather", inputs, network.takes, axis=1)
        f = layers.outputs(graph, network.layers, graph.cast(x, network.layers.dtype))
        of_each.append(_answers_of_one(graph, table.answers, f, network.layers.dtype))
    add = graph.operator(np.float64)
    mean = add("Div", graph.add("Sum", *of_each), float(len(of_each)))
    if isinstance(table.answers, ClassAnswers):
        n, labels = float(table.answers.n_rows), table.answers.labels
        p = add("Div", add("Add", add("Mul", mean, n), 1 / len(labels)), n + 1)
        _add_labels(graph, p, labels)
        graph.output("probabilities", p, np.float64, len(labels))
    else:
        prediction = graph.add("Squeeze", mean, np.array([1]))
        graph.output("prediction", prediction, np.float64)
        if (margin := table.answers.margin) is not None:
            graph.output("lower", add("Sub", prediction, margin), np.float64)
            graph.output("upper", add("Add", prediction, margin), np.float64)
    graph.save(path, {**table.facts, "columns": described})


def _answers_of_one(graph: Graph, answers: ClassAnswers | NumberAnswers, f: str, dtype: Any) -> str:
    """Return the calibrated probabilities, (n, C), or the numbers, (n, 1), of one network's output, in float64."""
    if isinstance(answers, ClassAnswers):
        logits = graph.operator(dtype)("Div", f, answers.temperature)
        return layers.linked(graph, "softmax", graph.cast(logits, np.float64))
    add = graph.operator(np.float64)
    numbers = add("Add", add("Mul", graph.cast(f, np.float64), answers.std), answers.mean)
    return add("Min", add("Max", numbers, answers.lowest), answers.highest)


def _add_labels(graph: Graph, p: str, labels: Any) -> None:
    likeliest = graph.add("ArgMax", p, axis=1, keepdims=0)
    graph.output("label", graph.add("Gather", labels, likeliest, axis=0), labels.dtype)


def write_network(path: str | os.PathLike[str], network: Layers, outputs: Outputs, facts: dict[str, Any]) -> None:
    """Write one network: rows X in, (n, D_0), and predictions or probabilities and labels out."""
    dtype = network.dtype
    graph = Graph([*_RESERVED, "X"])
    f = layers.outputs(graph, network, graph.input("X", dtype, network.weights[0].shape[1]))
    width, add = len(network.biases[-1]), graph.operator(dtype)
    if outputs.raw:
        graph.output("prediction", f, dtype, width)
    p = layers.linked(graph, outputs.link, f)
    if outputs.is_probability:
        if width == 1 and not outputs.is_multilabel:
            p, width = graph.add("Concat", add("Sub", 1.0, p), p, axis=1), 2
        if outputs.labels is not None and outputs.is_multilabel:
            graph.output("label", graph.cast(add("Greater", p, 0.5), np.int64), np.int64, width)
        elif outputs.labels is not None:
            _add_labels(graph, p, outputs.labels)
        graph.output("probabilities", p, dtype, width)
    elif not outputs.raw:
        value = graph.add("Squeeze", p, np.array([1])) if width == 1 else p
        graph.output("prediction", value, dtype, None if width == 1 else width)
    graph.save(path, facts)

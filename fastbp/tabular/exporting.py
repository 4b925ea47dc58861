"""A model of a table as the plain description that `export` takes.

It knows encodings and targets. It must not know a file format.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from fastbp.export import parts
from fastbp.export.model import write_table
from fastbp.tabular.encoding.cells import spelled
from fastbp.tabular.encoding.columns import PERIODS, CategoryColumn, Column, DateColumn, NumberColumn
from fastbp.tabular.encoding.target import Classes

if TYPE_CHECKING:
    from fastbp.tabular.model import TableModel

_TRUTH_WORDS = ("True", "TRUE", "False", "FALSE")


def write_onnx(path: str | os.PathLike[str], model: TableModel, margin: float | None) -> None:
    """Write a model as an ONNX graph; `margin` is the half-width of an interval around each number."""
    kept = np.flatnonzero(model.encoding.is_not_bin)
    networks = []
    for network in model.networks:
        layers = parts.Layers.of(network.weights, network.biases, network.activation)
        is_whole = network.layer_sizes[0] == model.encoding.width
        networks.append(parts.TableNetwork(layers, None if is_whole else kept))
    target = model.target
    answers: parts.ClassAnswers | parts.NumberAnswers
    if isinstance(target, Classes):
        answers = parts.ClassAnswers(np.array(target.labels), model.temperature, model.n_rows)
    else:
        answers = parts.NumberAnswers(target.mean, target.std, target.lowest, target.highest, margin)
    scores = {score["metric"]: score["value"] for score in model.about.get("scores", [])}
    facts = {"task": target.task, "target": target.name, "scores": scores}
    columns = [_described(column) for column in model.encoding.columns if column.width]
    write_table(path, parts.Table(columns, networks, answers, facts))


def _described(column: Column) -> parts.Column:
    if isinstance(column, CategoryColumn):
        places = column.places_of_texts
        words = {word: places[spelled(word)] for word in _TRUTH_WORDS if spelled(word) in places}
        return parts.Texts(column.name, words | places, len(column.levels))
    if isinstance(column, DateColumn):
        return parts.Dates(column.name, _numbers(column.days), tuple(PERIODS[period] for period in column.periods))
    return _numbers(column)


def _numbers(column: NumberColumn) -> parts.Numbers:
    return parts.Numbers(column.name, column.median, column.scale, column.marks_missing, column.edges, column.offset)

"""A model of a table as the plain description that `export` takes.

It knows encodings and targets. It must not know a file format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastbp.export import parts
from fastbp.tabular.encoding.cells import spelled
from fastbp.tabular.encoding.columns import PERIODS, CategoryColumn, Column, DateColumn, NumberColumn
from fastbp.tabular.encoding.target import Classes

if TYPE_CHECKING:
    from fastbp.tabular.model import TableModel

_TRUTH_WORDS = ("True", "TRUE", "False", "FALSE")


def described(model: TableModel, coverage: float | None) -> parts.Table:
    """Return the description of a model.

    Parameters
    ----------
    model : TableModel
    coverage : float or None
        Of the interval around each number; None for no interval.

    Raises
    ------
    ValueError
        If `coverage` is given for classes, or `TableModel.margin` raises.
    """
    target = model.target
    if coverage is not None and isinstance(target, Classes):
        raise ValueError(f"coverage needs a target of numbers, and {target.name!r} holds classes")
    margin = None if coverage is None else model.margin(coverage)
    kept = np.flatnonzero(model.encoding.is_not_bin)
    networks = []
    for network in model.networks:
        layers = parts.Layers.of(network.weights, network.biases, network.activation)
        is_whole = network.layer_sizes[0] == model.encoding.width
        networks.append(parts.TableNetwork(layers, None if is_whole else kept))
    answers: parts.ClassAnswers | parts.NumberAnswers
    if isinstance(target, Classes):
        answers = parts.ClassAnswers(np.array(target.labels), model.temperature, model.n_rows)
    else:
        answers = parts.NumberAnswers(target.mean, target.std, target.lowest, target.highest, margin)
    scores = {score["metric"]: score["value"] for score in model.about.get("scores", [])}
    facts = {"task": target.task, "target": target.name, "scores": scores}
    columns = [_described_column(column) for column in model.encoding.columns if column.width]
    return parts.Table(columns, networks, answers, facts)


def _described_column(column: Column) -> parts.Column:
    if isinstance(column, CategoryColumn):
        places = column.places_of_texts
        words = {word: places[spelled(word)] for word in _TRUTH_WORDS if spelled(word) in places}
        return parts.Texts(column.name, words | places, len(column.levels))
    if isinstance(column, DateColumn):
        return parts.Dates(column.name, _numbers(column.days), tuple(PERIODS[period] for period in column.periods))
    return _numbers(column)


def _numbers(column: NumberColumn) -> parts.Numbers:
    return parts.Numbers(column.name, column.median, column.scale, column.marks_missing, column.edges, column.offset)

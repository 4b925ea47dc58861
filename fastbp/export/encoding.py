"""The encoding of a table's columns in ONNX, equal to that of `tabular.encoding.columns`, in float64.

This file must not know networks or answers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import count
from typing import Any

import numpy as np

from fastbp.export.graph import Graph
from fastbp.export.parts import Column, Dates, Numbers, Texts

_LARGEST = 1e300
_HALF = 2**32
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_WHOLE_WITH_ZEROS = r"-?(0|[1-9][0-9]*)\.0+"  # a text that stands for the whole number before its point


def encoded(graph: Graph, columns: list[Column], reserved: Collection[str]) -> tuple[str, list[dict[str, Any]]]:
    """Add an input for each column.

    Parameters
    ----------
    graph : Graph
    columns : list of Numbers, Texts and Dates
    reserved : collection of str
        Names that no input may have.

    Returns
    -------
    inputs : str
        The inputs of networks with float32 parameters, (n, D_0).
    described : list of dict
        Of each column the name, the name of the input, the kind, and what stands for a missing cell.
    """
    taken = {*reserved, *(column.name for column in columns)}
    parts, described = [], []
    for place, column in enumerate(columns):
        name = column.name
        if not name or name in reserved:
            name = next(new for i in count() if (new := f"column {place}{'_' * i}") not in taken)
        if isinstance(column, Texts):
            kind, missing = "text", _unknown_text(column)
            parts.append(_texts(graph, column, name))
        elif isinstance(column, Dates):
            kind, missing = "days since 1970", "NaN"
            parts += _dates(graph, column, name)
        else:
            kind, missing = ("whole numbers", str(_missing_whole(column))) if column.offset else ("numbers", "NaN")
            parts += _numbers(graph, column, name)
        described.append({"name": column.name, "input": name, "kind": kind, "missing": missing})
    return graph.cast(graph.add("Concat", *parts, axis=1), np.float32), described


# --- numbers ----------------------------------------------------------------------------------------------------


def _numbers(graph: Graph, column: Numbers, name: str) -> list[str]:
    """Return the inputs of a column of numbers, each part (n, width)."""
    if column.offset:
        x, missing = _whole_numbers(graph, column, name)
    else:
        x, missing = _floats(graph, graph.input(name, np.float64))
    return _number_inputs(graph, column, x, missing)


def _floats(graph: Graph, given: str) -> tuple[str, str]:
    """Return numbers within ±1e300 and whether they are missing, both (n, 1): NaN and infinity are missing."""
    x, add = _as_column(graph, given), graph.operator(np.float64)
    missing = graph.add("Or", graph.add("IsNaN", x), graph.add("IsInf", x))
    return add("Min", add("Max", x, -_LARGEST), _LARGEST), missing


def _missing_whole(column: Numbers) -> int:
    """Return the whole number that marks a missing cell: the lowest of int64, or the highest of uint64."""
    return 2**64 - 1 if column.offset >= 2**63 else -(2**63)


def _whole_numbers(graph: Graph, column: Numbers, name: str) -> tuple[str, str]:
    """Return whole numbers minus the offset in float64, and whether they are missing, both (n, 1).

    64 bits could overflow, and two halves of 32 bits cannot.
    """
    dtype = np.uint64 if column.offset >= 2**63 else np.int64
    x = _as_column(graph, graph.input(name, dtype))
    high = graph.add("Div", x, np.array(_HALF, dtype))
    low = graph.add("Sub", x, graph.add("Mul", high, np.array(_HALF, dtype)))
    own_high = abs(column.offset) // _HALF * (1 if column.offset > 0 else -1)  # ONNX divides towards 0
    own_low = column.offset - own_high * _HALF
    add = graph.operator(np.float64)
    highs = add("Mul", add("Sub", graph.cast(high, np.float64), float(own_high)), float(_HALF))
    lows = add("Sub", graph.cast(low, np.float64), float(own_low))
    return add("Add", highs, lows), graph.add("Equal", x, np.array(_missing_whole(column), dtype))


def _number_inputs(graph: Graph, column: Numbers, x: str, missing: str) -> list[str]:
    """Return the scaled input, the mark of missing cells and the bins, each (n, width)."""
    add = graph.operator(np.float64)
    x = add("Where", missing, column.median, x)
    z = add("Mul", x, 0.0)
    if column.scale > 0:
        z = add("Div", add("Sub", x, column.median), column.scale)
        z = add("Min", add("Max", z, -1e9), 1e9)
        third = add("Div", z, 3.0)
        z = add("Div", z, add("Sqrt", add("Add", add("Mul", third, third), 1.0)))
    parts = [add("Where", missing, 0.0, z)]
    if column.marks_missing:
        parts.append(graph.cast(missing, np.float64))
    if len(column.edges) > 1:
        edges = np.array([column.edges])
        lower, upper = edges[:, :-1], edges[:, 1:]
        inside = add("Sub", add("Div", add("Min", add("Max", x, lower), upper), 2.0), lower / 2)
        bins = add("Sub", add("Div", add("Mul", inside, 2.0), upper / 2 - lower / 2), 1.0)
        parts.append(add("Where", missing, 0.0, bins))
    return parts


# --- dates ------------------------------------------------------------------------------------------------------


def _dates(graph: Graph, column: Dates, name: str) -> list[str]:
    """Return the inputs of a column of dates, each part (n, width)."""
    add = graph.operator(np.float64)
    days, missing = _floats(graph, graph.input(name, np.float64))
    known = add("Where", missing, 0.0, days)
    parts = []
    for period in column.periods:
        # A negative remainder has the same sine and cosine as its positive counterpart.
        phase = add("Div", add("Mul", add("Mod", known, period, fmod=1), 2 * np.pi), period)
        parts += [add("Where", missing, 0.0, add(wave, phase)) for wave in ("Sin", "Cos")]
    return parts + _number_inputs(graph, column.days, days, missing)


# --- texts ------------------------------------------------------------------------------------------------------


def _unknown_text(column: Texts) -> str:
    """Return a text that is no level, for missing cells: the empty text if possible."""
    return next(text for i in count() if (text := "?" * i) not in column.places)


def _texts(graph: Graph, column: Texts, name: str) -> str:
    """Return the inputs of a column of texts, (n, width)."""
    text, add = graph.input(name, str), graph.operator(np.float64)
    place = _place(graph, column, text)
    if any(_WHOLE.fullmatch(known) for known in column.places):
        is_whole = graph.add("RegexFullMatch", text, pattern=_WHOLE_WITH_ZEROS)
        integer = _before_point(graph, text)
        found = graph.add("Where", is_whole, _place(graph, column, integer), np.array(-1))
        place = graph.add("Where", graph.add("Less", place, np.array(0)), found, place)
    place = _as_column(graph, place)
    if column.n_levels == 2:
        sign = add("Sub", add("Mul", graph.cast(place, np.float64), 2.0), 1.0)
        return add("Where", graph.add("Less", place, np.array(0)), 0.0, sign)
    return graph.cast(graph.add("Equal", place, np.arange(column.n_levels)[np.newaxis]), np.float64)


def _place(graph: Graph, column: Texts, text: str) -> str:
    """Return the place of each text among the levels, (n,), with −1 for other texts."""
    keys, values = list(column.places), list(column.places.values())
    options: dict[str, Any] = {"keys_strings": keys, "values_int64s": values, "default_int64": -1}
    return graph.add("LabelEncoder", text, domain="ai.onnx.ml", **options)


def _before_point(graph: Graph, text: str) -> str:
    """Return the part of each text before its first point, (n,)."""
    ended = graph.add("StringConcat", text, np.array("."))  # so that each text has two parts, also the empty one
    parts = graph.add("StringSplit", ended, n_outputs=2, delimiter=".", maxsplit=1)
    return graph.add("Gather", parts, np.array(0), axis=1)


def _as_column(graph: Graph, values: str) -> str:
    """Return values, (n,), as a matrix, (n, 1)."""
    return graph.add("Unsqueeze", values, np.array([1]))

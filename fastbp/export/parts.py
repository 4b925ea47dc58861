"""Plain descriptions of a trained model: its columns, its networks and its answers.

This file knows arrays and activations. It must not know a format, or the classes that are described.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastbp import activations
from fastbp._typing import Array, Integers
from fastbp.activations import Activation


class Layers(NamedTuple):
    """A network. All arrays have one dtype, in which the network computes.

    Attributes
    ----------
    weights : list of ndarray
        Ω_0, …, Ω_K, each (D_{i+1}, D_i).
    biases : list of ndarray
        β_0, …, β_K, each (D_{i+1},).
    between : tuple of Activation
        The activations of the K hidden layers.
    """

    weights: list[Array]
    biases: list[Array]
    between: tuple[Activation, ...]

    @classmethod
    def of(cls, weights: Sequence[Array], biases: Sequence[Array], activation: Any) -> Layers:
        """Return a network whose activation is given as `Network` takes it."""
        n_hidden = len(weights) - 1
        between = activations.of_layers(activations.resolve_layers(activation, n_hidden), n_hidden)
        return cls(list(weights), list(biases), between)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters."""
        return self.weights[0].dtype


class Numbers(NamedTuple):
    """A column of numbers: `tabular.encoding.columns.NumberColumn` describes each field."""

    name: str
    median: float
    scale: float
    marks_missing: bool
    edges: tuple[float, ...]
    offset: int


class Texts(NamedTuple):
    """A column of texts.

    Attributes
    ----------
    name : str
    places : dict of str to int
        The place of each known text among the levels.
    n_levels : int
    """

    name: str
    places: dict[str, int]
    n_levels: int


class Dates(NamedTuple):
    """A column of dates.

    Attributes
    ----------
    name : str
    days : Numbers
        The encoding of the days since 1970.
    periods : tuple of float
        Lengths in days of the periods, each of which has a sine and a cosine.
    """

    name: str
    days: Numbers
    periods: tuple[float, ...]


Column = Numbers | Texts | Dates


class TableNetwork(NamedTuple):
    """A network of a table, and the places of its inputs among all inputs, (D_0,); None for all inputs."""

    layers: Layers
    takes: Integers | None


class ClassAnswers(NamedTuple):
    """What turns logits into probabilities and labels: see `tabular.encoding.target.Classes`.

    Attributes
    ----------
    labels : ndarray of shape (C,)
    temperature : float
    n_rows : int
        Number of training rows.
    """

    labels: Array
    temperature: float
    n_rows: int


class NumberAnswers(NamedTuple):
    """What turns outputs into numbers: see `tabular.encoding.target.Quantity`.

    Attributes
    ----------
    mean, std, lowest, highest : float
    margin : float or None
        Half-width of an interval around each number; None for no interval.
    """

    mean: float
    std: float
    lowest: float
    highest: float
    margin: float | None


class Table(NamedTuple):
    """A model of a table.

    Attributes
    ----------
    columns : list of Numbers, Texts and Dates
        In the order of the inputs.
    networks : list of TableNetwork
    answers : ClassAnswers or NumberAnswers
    facts : dict of str to Any
        Facts about the model, as JSON can hold them.
    """

    columns: list[Column]
    networks: list[TableNetwork]
    answers: ClassAnswers | NumberAnswers
    facts: dict[str, Any]


class Outputs(NamedTuple):
    """What one network gives to the user.

    Attributes
    ----------
    link : str
        "identity", "logistic", "softmax" or "exp", from the outputs of the network to its predictions.
    raw : bool, default False
        Whether the output `prediction` holds ŷ before the link, and only `probabilities` have the link.
    is_probability : bool, default False
        Whether the link gives probabilities.
    labels : ndarray of shape (C,) or None, default None
        The classes. None if the model has none.
    is_multilabel : bool, default False
        Whether each output is the probability that the label of an output is 1.
    """

    link: str
    raw: bool = False
    is_probability: bool = False
    labels: Array | None = None
    is_multilabel: bool = False

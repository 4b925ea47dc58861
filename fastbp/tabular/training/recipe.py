"""One network trained for a table: weights, learning rates and their schedule as published for tables, best epoch kept.

RealMLP-TD-S of Holzmüller, Grinsztajn and Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
trees on tabular data" (arXiv:2407.04491), table A.1, with ReLU for its activations. It knows runs and their buffers. It
must not know frames, encodings, or what a prediction is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp.kernels import entries as training
from fastbp.kernels import layout
from fastbp.kernels.input_factors import no_scaling, scaling_of
from fastbp.kernels.layout import Parameters
from fastbp.kernels.rows import Table, mersenne_twister
from fastbp.losses import Loss
from fastbp.network import Network
from fastbp.optimizers import Adam
from fastbp.results import History
from fastbp.runs import fitting
from fastbp.runs.prediction import Predictor
from fastbp.schedules import LogarithmicCosine

Array = npt.NDArray[Any]

DTYPE = np.dtype(np.float32)
SCALE_RATE = 6.0  # what the inputs' factors multiply the learning rate by
BIAS_RATE = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    learning_rate : float
        The highest of Adam's, before each layer's own factor.
    hidden : tuple of int
    epochs : int
        At most.
    batch_size : int
    dropout : float
        The share of hidden units that each step leaves out.
    patience : int, optional
        How many epochs without improvement end the training.
    """

    learning_rate: float
    hidden: tuple[int, ...] = (256, 256, 256)
    epochs: int = 256
    batch_size: int = 256
    dropout: float = 0.0
    patience: int | None = None


class Task(NamedTuple):
    """What one network is trained on, and what is measured on it.

    Attributes
    ----------
    table : Table
        All rows, of this network and of others.
    training : (n_training,) integers
        Those of them that it sees.
    held_out : (n_held_out, D_0)
        Inputs that it does not see.
    error_of : callable
        Takes its output for them, returns what is to be small.
    seed : int
        Decides the first weights, the order of the rows and the dropout.
    """

    table: Table
    training: npt.NDArray[np.int64]
    held_out: Array
    error_of: Callable[[Array], float]
    seed: int


class Trained(NamedTuple):
    """A network as it was after its best epoch.

    Attributes
    ----------
    network : Network
    epoch : int
        That epoch, counted from 1.
    output : (n_held_out, n_outputs)
        What it says of the rows that were held out.
    losses, errors : list of float
        The training loss and the error on the rows held out, one an epoch.
    divergence : DivergenceError, optional
        What ended the training, if it left the finite numbers.
    """

    network: Network
    epoch: int
    output: Array
    losses: list[float]
    errors: list[float]
    divergence: fitting.DivergenceError | None


def draw(sizes: list[int], seed: int) -> Parameters:
    """Return weights N(0, 1/fan_in) and biases N(0, 1), and zeros in the last layer.

    This is the neural-tangent parametrisation, f = Ω h / √D + β with all Ω and β N(0, 1), written as a plain network.
    """
    random = np.random.default_rng(seed)
    parameters = layout.zero_parameters(sizes, DTYPE)
    weights, biases = [], []
    for inputs, outputs in pairwise(sizes[:-1]):
        weights.append(random.standard_normal((outputs, inputs)) / np.sqrt(inputs))
        biases.append(random.standard_normal(outputs))
    weights.append(np.zeros((sizes[-1], sizes[-2])))
    biases.append(np.zeros(sizes[-1]))
    layout.write_parameters(parameters, weights, biases)
    return parameters


def rate_factors(sizes: list[int]) -> npt.NDArray[np.float64]:
    """Return what each layer's weights and biases multiply the learning rate by.

    Adam's steps do not depend on a gradient's size, so a step of η in Ω is one of η / √D in the weights Ω / √D.
    """
    return np.array([[1 / np.sqrt(inputs), BIAS_RATE] for inputs in sizes[:-1]]).reshape(-1)


def table_of(X: Array, y: Array, weights: Array) -> Table:
    """Return rows as a run takes them; y, (n, n_outputs), is what the loss takes."""
    x, targets = layout.padded_rows(X, DTYPE), layout.target_rows(y, DTYPE)
    return Table(x, targets, np.zeros(0, np.int64), weights.astype(DTYPE), len(X))


def train(
    task: Task,
    n_outputs: int,
    recipe: Recipe,
    loss: Loss,
    watch: Callable[[int, float, float], bool] = lambda *_: False,
) -> Trained:
    """Train a network, and return it as it was after its best epoch: the last one of equals.

    Parameters
    ----------
    task : Task
    n_outputs : int
    recipe : Recipe
    loss : Loss
    watch : callable
        Called after each epoch with its number, the training loss and the error; the training ends if it returns True.

    Raises
    ------
    DivergenceError
        If training left the finite numbers in the first epoch; later, that just ends it.
    """
    sizes = [task.held_out.shape[1], *recipe.hidden, n_outputs]
    n, batch_size = len(task.training), min(recipe.batch_size, len(task.training))
    rates = LogarithmicCosine(recipe.learning_rate, recipe.epochs * (n // batch_size))
    rule = Adam(rates, 0.9, 0.95).rule
    rows = n // batch_size * batch_size  # without the last batch, where it is short
    plan = training.Plan(batch_size, rows, True, loss.code, loss.parameter, rule, dropout=recipe.dropout)
    state = _initial(draw(sizes, task.seed), task.training, task.seed)
    predictor = Predictor(sizes, DTYPE)
    history, errors = History(), list[float]()
    best_epoch, best_parameters = 0, state.parameters.data.copy()
    best_output = predictor.predict(state.parameters, task.held_out, 1)

    def after_epoch(epoch: int, history: History) -> bool:
        nonlocal best_epoch, best_parameters, best_output
        output = predictor.predict(state.parameters, task.held_out, 1)
        errors.append(task.error_of(output))
        if errors[-1] <= min(errors) or best_epoch == 0:
            best_epoch, best_parameters, best_output = epoch, state.parameters.data.copy(), output
        is_stale = recipe.patience is not None and epoch - best_epoch >= recipe.patience
        return watch(epoch, history.loss[-1], errors[-1]) or is_stale

    divergence = None
    try:
        fitting.run(task.table, plan, state, rates, recipe.epochs, None, after_epoch, 1, history)
    except fitting.DivergenceError as error:
        if not errors:
            raise
        divergence = error
    state.parameters.data[:] = best_parameters
    network = Network(sizes, dtype=DTYPE, seed=task.seed)
    network.set_parameters(layout.weight_matrices(state.parameters), layout.bias_vectors(state.parameters))
    return Trained(network, best_epoch, best_output, history.loss, errors, divergence)


def _initial(parameters: Parameters, rows: npt.NDArray[np.int64], seed: int) -> training.State:
    gradients, mean, square = (layout.aligned_zeros(parameters.data.size, DTYPE) for _ in range(3))
    position = np.zeros(4, np.int64), np.array([0, 0, np.inf])
    factors, has_hidden = rate_factors(parameters.sizes.tolist()), parameters.n_layers > 1
    scaling = scaling_of(parameters, SCALE_RATE) if has_hidden else no_scaling(DTYPE)
    random = mersenne_twister(np.random.RandomState(seed))  # whose shuffle permutes these rows in place
    moments = gradients, mean, square
    return training.State(parameters, *moments, rows.copy(), random, *position, factors, scaling)

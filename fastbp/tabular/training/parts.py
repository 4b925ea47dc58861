"""The data of a training: the prepared table, the work that is shared by all networks, the tasks and the results.

These are plain dataclasses. They must not know how a network is trained, files or scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastbp._typing import Array, Floats, Integers
from fastbp.tabular.encoding.cells import Cells, Frame
from fastbp.tabular.encoding.coded import CodedRows
from fastbp.tabular.encoding.target import Target
from fastbp.tabular.own_loss import Metric

if TYPE_CHECKING:
    from fastbp.kernels.rows import TrainingRows
    from fastbp.network import Network
    from fastbp.results import DivergenceError
    from fastbp.tabular.model import TableModel

T = TypeVar("T", bound=np.generic)


FEW_ROWS = 10_000  # of a network's held-out rows, which judge and score it after Ctrl-C


def spread_over(rows: NDArray[T], n: int) -> NDArray[T]:
    """Return n of the rows, in order and at even distances, or all rows if there are not so many."""
    return rows if len(rows) <= n else rows[np.arange(n) * len(rows) // n]


@dataclass(frozen=True)
class TrainingData:
    """A table that is ready for training.

    Attributes
    ----------
    frame : Frame
        The columns to learn from.
    column : Cells
        The target, without missing cells.
    target : Classes or Quantity
        What was learned from `column`.
    reason : str
        Why the target is treated as classes or as numbers.
    weights : ndarray of shape (n,) or None
        Sample weights. Only their ratios matter. Rows of weight 0 are not used. None means equal weights.
    groups : ndarray of shape (n,) or None
        Rows with the same number are held out together.
    validation : tuple (Frame, Cells, weights) or None
        Validation rows, their target and their weights (or None). They replace the held-out rows of every network.
    notices : tuple of str
        What was left out of the table, one sentence each.
    """

    frame: Frame
    column: Cells
    target: Target
    reason: str = ""
    weights: Floats | None = None
    groups: Integers | None = None
    validation: tuple[Frame, Cells, Floats | None] | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How one network is trained. Unlike in `settings.Settings`, no None stands for a default.

    Attributes
    ----------
    metric : str or Loss
        Metric on the held-out rows that chooses the best epoch.
    quantile : float
        Quantile to predict; only the metric "quantile" uses it.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers.
    epochs : int
        Maximum number of epochs.
    batch_size : int
        Rows per minibatch.
    learning_rate : float
        Peak learning rate of Adam, before the factor of each layer.
    dropout : float
        Dropout rate of the hidden units.
    label_smoothing : float
        Share of each label that is distributed equally over all classes.
    patience : int or None
        Epochs without improvement after which the training ends.
    """

    metric: Metric
    hidden_layer_sizes: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    quantile: float = 0.5
    dropout: float = 0.0
    label_smoothing: float = 0.0
    patience: int | None = None


class EncodedRows(NamedTuple):
    """Rows as numbers."""

    X: CodedRows  # n rows: the inputs of the networks
    y: Array  # (n,): class numbers or standardised numbers
    weights: Floats  # (n,)

    def targets(self, rows: Integers) -> tuple[Array, Floats]:
        """Return y and the weights of the rows with these numbers."""
        return self.y[rows], self.weights[rows]


@dataclass(frozen=True, eq=False)
class Workload:
    """The data that all tasks of a training share. They can be pickled, so that another process can train a task.

    Attributes
    ----------
    rows : EncodedRows
        The training rows.
    validation : EncodedRows or None
        The validation rows. None means that the held-out rows are some of the training rows.
    folds : tuple of ndarray of shape (n_held_out,)
        Numbers of the rows that are held out together: of the validation rows if there are any, otherwise of the
        training rows.
    subfolds : ndarray of shape (n_scored,)
        Which part of its fold each of these rows belongs to, from 0. The epoch that is best for the other parts gives
        the outputs that a part is scored by.
    target : Classes or Quantity
    recipe : Recipe
    packed : dict of bool to TrainingRows
        The training rows as a run takes them, with the bins (True) and without (False). Both have the same arrays of
        numbers. The first task that needs them makes them, and all tasks with this object share them. They are not
        pickled.
    lock : Lock
        Held by a thread that reads or changes `packed`.
    """

    rows: EncodedRows
    validation: EncodedRows | None
    folds: tuple[Integers, ...]
    subfolds: Integers
    target: Target
    recipe: Recipe
    packed: dict[bool, TrainingRows] = field(default_factory=dict, init=False, repr=False)
    lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def scored_rows(self) -> EncodedRows:
        """The rows that `folds` numbers: the validation rows if there are any, otherwise the training rows."""
        return self.rows if self.validation is None else self.validation

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("packed", "lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, packed={}, lock=Lock())


class Task(NamedTuple):
    """One network to train, as a few numbers: its rows and settings are in the `Workload`.

    Attributes
    ----------
    network : int
        Number of the network in the training, counted from 0.
    fold : int
        Index of the network's held-out rows in the workload's folds.
    sees_bins : bool
        Whether the bins of numbers are among the network's inputs.
    seed : int
        Seed of the initial weights, the order of the rows and the dropout.
    epochs : int or None
        Maximum number of epochs. None means the recipe's number.
    activation : str
        Name of the activation of the hidden units.
    """

    network: int
    fold: int
    sees_bins: bool
    seed: int
    epochs: int | None = None
    activation: str = "relu"


class Trained(NamedTuple):
    """A network as it was after its best epoch.

    Attributes
    ----------
    network : Network
    epoch : int
        The best epoch, counted from 1.
    output : ndarray of shape (n_held_out, n_outputs)
        The network's output for its held-out rows, or for `spread_over` them if the user ended the first epoch.
    losses, errors : list of float
        The training loss and the error of the held-out rows after each epoch.
    divergence : DivergenceError or None
        The error that ended the training, if a loss or a parameter became infinite or NaN.
    scored_output : ndarray of shape (n_held_out, n_outputs)
        The output for each subfold of the held-out rows, after the epoch that was best for the other subfolds. So no
        row has chosen the epoch that it is scored by.
    passes : float
        Number of passes over the training rows.
    is_cut : bool
        Whether the time budget was too short for all epochs.
    seconds : float
        Wall time of the training, with the judging of the epochs.
    """

    network: Network
    epoch: int
    output: Array
    losses: list[float]
    errors: list[float]
    divergence: DivergenceError | None
    scored_output: Array
    passes: float = 0.0
    is_cut: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Member:
    """One network of a model, with the rows that were held out from its training.

    Attributes
    ----------
    trained : Trained
    held_out : ndarray of shape (n_held_out,)
        Numbers of the rows that `trained.output` belongs to.
    sees_bins : bool
        Whether the bins of numbers are among the network's inputs.
    """

    trained: Trained
    held_out: Integers
    sees_bins: bool

    def with_few_rows(self) -> Member:
        """Return the member with at most `FEW_ROWS` of its held-out rows, the same ones for each output of a fold."""
        rows = spread_over(self.held_out, FEW_ROWS)
        trained = self.trained._replace(
            output=spread_over(self.trained.output, FEW_ROWS),
            scored_output=spread_over(self.trained.scored_output, FEW_ROWS),
        )
        return Member(trained, rows, self.sees_bins)


@dataclass(frozen=True)
class Built:
    """A model, and what its training showed.

    Attributes
    ----------
    model : TableModel
    members : list of Member
        The model's networks, in the model's order.
    scored_rows : EncodedRows
        The rows that `rows` and the members' `held_out` number.
    rows : ndarray of shape (m,)
        The rows that were held out from at least one network.
    answers : ndarray of shape (m, C) or (m,)
        Probabilities or predicted numbers of `rows`, from the networks that did not see them.
    truth : ndarray of shape (m,)
        True class numbers or numbers of `rows`.
    notices : tuple of str
        What was left out or went wrong, one sentence each.
    is_interrupted : bool
        Whether Ctrl-C ended the training.
    """

    model: TableModel
    members: list[Member]
    scored_rows: EncodedRows
    rows: Integers
    answers: Floats
    truth: Array
    notices: tuple[str, ...]
    is_interrupted: bool

"""The settings of a training on a table, and their defaults.

It must not import anything slow: `fastbp --help` shows these defaults and has to answer quickly. It must not know how
a setting is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from fastbp.losses import Loss

ClassMetric = Literal["log_loss", "accuracy", "auc"]
NumberMetric = Literal["rmse", "mae", "quantile"]
CLASS_METRICS: tuple[ClassMetric, ...] = get_args(ClassMetric)
NUMBER_METRICS: tuple[NumberMetric, ...] = get_args(NumberMetric)

LARGE_ROWS = 20_000  # a table with more rows is trained for fewer epochs, and perhaps with fewer networks
N_ESTIMATORS, LEAST_ESTIMATORS = 6, 4
HIDDEN_LAYERS = 3
WIDTH, LARGE_WIDTH = 128, 256  # of a hidden layer; see `hidden_layer_sizes_for`
MANY_CLASSES = 10  # a target with so many classes needs the larger width
ACTIVATIONS = ("relu", "mish")  # of the networks' hidden units, in turn; see `activation_for`
EPOCHS = 256  # for up to LARGE_ROWS rows
EPOCHS_POWER, LEAST_EPOCHS = 1.75, 6  # for more rows; see `epochs_for`
BATCH_SIZE = 256
PATIENCE = 24
LABEL_SMOOTHING = 0.05
LEARNING_RATE = {"classification": 0.04, "regression": 0.07}
DROPOUT = {"classification": 0.15, "regression": 0.0}


def epochs_for(n_rows: int) -> int:
    """Return the default of `epochs` for a table with `n_rows` rows: 256 for up to 20,000 rows, 15 for 100,000.

    It is 256 (20,000 / n_rows)^1.75, and at least 6.
    """
    share: float = min(1.0, LARGE_ROWS / n_rows) ** EPOCHS_POWER
    return max(LEAST_EPOCHS, round(EPOCHS * share))


def hidden_layer_sizes_for(n_rows: int, n_outputs: int) -> tuple[int, ...]:
    """Return the default of `hidden_layer_sizes` for a table with `n_rows` rows and a network with `n_outputs` outputs.

    It is (128, 128, 128). For more than 20,000 rows, or 10 or more classes, it is (256, 256, 256).
    """
    is_large = n_rows > LARGE_ROWS or n_outputs >= MANY_CLASSES
    return (LARGE_WIDTH if is_large else WIDTH,) * HIDDEN_LAYERS


def activation_for(network: int, n_rows: int) -> str:
    """Return the activation of a network of an ensemble that is trained on `n_rows` rows; `network` counts from 0.

    The first two networks, which are compared, have the same activation. After them, each pair takes the next one of
    `ACTIVATIONS`, because networks that differ make a better mean. All networks of more than 20,000 rows have ReLU.
    """
    return ACTIVATIONS[0] if n_rows > LARGE_ROWS else ACTIVATIONS[network // 2 % len(ACTIVATIONS)]


@dataclass(frozen=True)
class Settings:
    """How the networks of a model are trained. None stands for the default of the task.

    Attributes
    ----------
    n_estimators : int or None, default None
        Number of networks. Each network has its own held-out rows, and the networks' answers are averaged. None means
        6, or for more than 20,000 rows 4 to 6, so that all of them take at most 4 times `epochs` epochs.
    metric : str, Loss or None, default None
        Metric on the held-out rows that chooses the best epoch of each network: "log_loss", "accuracy" or "auc" for
        classification, "rmse", "mae" or "quantile" for regression. A regression also trains the loss of its metric.
        None means "log_loss" or "rmse". A regression also takes a loss of `fastbp.losses`; see `own_loss.as_metric`.
    quantile : float, default 0.5
        Quantile to predict, in (0, 1). Only the metric "quantile" uses it.
    hidden_layer_sizes : tuple of int or None, default None
        Widths of the hidden layers. An empty tuple makes linear models. None means (128, 128, 128), or (256, 256, 256)
        for more than 20,000 rows or at least 10 classes.
    epochs : int or None, default None
        Maximum number of passes over the training rows. None means 256 for up to 20,000 rows, and fewer for more rows;
        see `epochs_for`. The networks of a larger table after the first two ones are trained for as many epochs as the
        first ones had at their best.
    batch_size : int, default 256
        Rows per minibatch.
    learning_rate : float or None, default None
        Peak learning rate of Adam. The schedule reaches this rate four times. None means 0.04 for classification and
        0.07 for regression.
    dropout : float or None, default None
        Dropout rate of the hidden units, in [0, 1). None means 0.15 for classification and 0 for regression.
    label_smoothing : float, default 0.05
        Share of each label that is distributed equally over all classes, in [0, 1). Classification only.
    patience : int or None, default 24
        Epochs without improvement after which the training of a network ends. None trains all epochs.
    time_budget : float or None, default None
        Seconds that the whole fit may take, with the encoding of the table and the scores. Fewer networks and fewer
        epochs are trained if they do not fit. The result then differs from run to run.
    n_threads : int or None, default None
        Number of networks that are trained at the same time. None means one per core.
    seed : int, default 0
        Seed of the held-out rows, the initial weights, the order of the rows and the dropout.
    """

    n_estimators: int | None = None
    metric: ClassMetric | NumberMetric | Loss | None = None
    quantile: float = 0.5
    hidden_layer_sizes: tuple[int, ...] | None = None
    epochs: int | None = None
    batch_size: int = BATCH_SIZE
    learning_rate: float | None = None
    dropout: float | None = None
    label_smoothing: float = LABEL_SMOOTHING
    patience: int | None = PATIENCE
    time_budget: float | None = None
    n_threads: int | None = None
    seed: int = 0

    @property
    def most_estimators(self) -> int:
        """The largest number of networks that these settings train."""
        return N_ESTIMATORS if self.n_estimators is None else self.n_estimators

    def most_epochs(self, n_rows: int) -> int:
        """Return the largest number of epochs of a network, for a table with `n_rows` rows."""
        return epochs_for(n_rows) if self.epochs is None else self.epochs

"""What may be asked for in training on a table, and what is done where nothing is.

It must not import anything slow: `fastbp --help` shows these numbers and is to be quick.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASS_METRICS = ("log_loss", "accuracy", "auc")
NUMBER_METRICS = ("rmse", "mae", "quantile")

N_ENSEMBLE = 6
HIDDEN = (256, 256, 256)
EPOCHS = 256
BATCH_SIZE = 256
PATIENCE = 24
LABEL_SMOOTHING = 0.05
LEARNING_RATE = {"classification": 0.04, "regression": 0.07}
DROPOUT = {"classification": 0.15, "regression": 0.0}


@dataclass(frozen=True)
class Settings:
    """How networks for a table are trained. None stands for what suits the task.

    Attributes
    ----------
    n_ensemble : int
        How many networks are trained and averaged, each with other rows held out.
    metric : str, optional
        What the epoch that is kept of each network is best in: "log_loss", "accuracy" or "auc" of classes, "rmse",
        "mae" or "quantile" of numbers, by which the loss that is trained goes too.
    quantile : float
        Which one, where that is the metric.
    hidden : tuple of int
    epochs : int
        At most.
    batch_size : int
    learning_rate : float, optional
        The highest of Adam's, which the schedule reaches four times.
    dropout : float, optional
        The share of hidden units that each step leaves out.
    label_smoothing : float
        The share of a label that is spread over all classes.
    patience : int, optional
        How many epochs without improvement end a network's training; None never does.
    time_budget : float, optional
        Seconds.
    n_threads : int, optional
        How many networks are trained at once; None means as many as there are cores.
    seed : int
    """

    n_ensemble: int = N_ENSEMBLE
    metric: str | None = None
    quantile: float = 0.5
    hidden: tuple[int, ...] = HIDDEN
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    learning_rate: float | None = None
    dropout: float | None = None
    label_smoothing: float = LABEL_SMOOTHING
    patience: int | None = PATIENCE
    time_budget: float | None = None
    n_threads: int | None = None
    seed: int = 0

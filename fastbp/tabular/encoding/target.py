"""The column to predict, of classes or of numbers: its cells as the network's y, and the network's output as answers.

`Classes` and `Quantity` have the same methods, so another file seldom has to ask for the kind of a target. This file
knows metrics, settings and the names of losses. It must not know files, other columns or networks.
"""

# ruff: noqa: ARG002 (each method takes what either kind of target needs)
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy import newaxis

from fastbp import losses
from fastbp._typing import Array, Floats, Integers
from fastbp.tabular import metrics, own_loss
from fastbp.tabular.encoding.cells import Cells, Value, spelled, truth_of
from fastbp.tabular.metrics import Parts, Score
from fastbp.tabular.own_loss import Metric
from fastbp.tabular.settings import CLASS_METRICS, DROPOUT, LEARNING_RATE, NUMBER_METRICS

MAX_RESIDUALS = 10_000  # of a model


@dataclass(frozen=True)
class Classes:
    """A target of classes. The network has one output per class, and its answers are probabilities.

    Attributes
    ----------
    name : str
        Name of the column.
    labels : tuple of str, int, float or bool
        The classes. The number of a class is its place in this tuple.
    """

    name: str
    labels: tuple[Value, ...]
    task: ClassVar[str] = "classification"
    metric_names: ClassVar[tuple[str, ...]] = CLASS_METRICS
    default_metric: ClassVar[str] = CLASS_METRICS[0]
    default_learning_rate: ClassVar[float] = LEARNING_RATE["classification"]
    default_dropout: ClassVar[float] = DROPOUT["classification"]

    @property
    def n_outputs(self) -> int:
        """Number of the network's outputs."""
        return len(self.labels)

    @property
    def label_texts(self) -> tuple[str, ...]:
        """The labels as text; Booleans are "false" and "true"."""
        return tuple(str(label).lower() if isinstance(label, bool) else str(label) for label in self.labels)

    @property
    def has_texts(self) -> bool:
        """Whether the labels are texts, so that the column is to be read as text."""
        return isinstance(self.labels[0], str)

    # --- from cells to y ------------------------------------------------------------------------------------

    @classmethod
    def learn(cls, cells: Cells) -> Classes:
        """Return the target whose labels are the values of a column without missing cells."""
        labels, _ = cells.distinct()
        return cls(cells.name, tuple(labels))

    def learn_again(self, cells: Cells) -> Classes:
        """Return the target for some of the rows: the same classes."""
        return self

    def encode(self, cells: Cells) -> Integers:
        """Return class numbers, (n,).

        Raises
        ------
        ValueError
            If a label is not one of `labels`.
        """
        numbers: dict[Value, int] = {label: c for c, label in enumerate(self.labels)}
        of_spellings = {_key(label): c for c, label in enumerate(self.labels)}
        of_truths = {truth_of(label): c for c, label in enumerate(self.labels)}
        if len(self.labels) > 2 or None in of_truths:  # 0 and 1 stand for false and true only among themselves
            of_truths.clear()
        values, places = cells.distinct()
        of_values = [numbers.get(v, of_spellings.get(_key(v), of_truths.get(truth_of(v), -1))) for v in values]
        classes = np.array(of_values, dtype=np.int64)[places]
        if (unknown := classes < 0).any():
            label = cells.value(int(unknown.argmax()))
            raise ValueError(f"the target {cells.name!r} holds {label!r}, which is not a class of the training rows")
        return classes

    def truth_of_cells(self, cells: Cells) -> Array:
        """Return the true class numbers, (n,), of a column without missing cells."""
        return self.encode(cells)

    def truth(self, y: Array) -> Array:
        """Return the true class numbers, (n,): y, as `encode` returned it."""
        return y

    def strata(self, y: Array) -> Integers | None:
        """Return the class numbers, (n,): each fold has its share of each class."""
        return y

    # --- training -------------------------------------------------------------------------------------------

    def loss(self, metric: Metric, quantile: float, y: Array) -> losses.Loss:
        """Return the loss to train: cross-entropy for every metric."""
        return losses.cross_entropy

    def training_targets(self, y: Array, label_smoothing: float) -> Floats:
        """Return the targets of the loss, (n, C): smoothed one-hot labels."""
        return metrics.smoothed(y, self.n_outputs, label_smoothing)

    def validation_errors(
        self, output: Array, y: Array, weights: Floats, metric: Metric, quantile: float, parts: Parts
    ) -> list[float]:
        """Return the error of each part of the held-out rows that chooses the best epoch; `output` is (n, C)."""
        return metrics.class_errors(str(metric), output, y, weights, parts)

    def row_errors(self, output: Array, y: Array, weights: Floats, metric: Metric, quantile: float) -> Floats:
        """Return an error of each row, (n,), by which two networks are compared: the log loss for every metric."""
        return metrics.refined_log_losses(output, y, weights)

    # --- answers --------------------------------------------------------------------------------------------

    def temperature(self, output: Array, y: Array, weights: Floats) -> float:
        """Return the temperature that calibrates the probabilities of held-out rows."""
        return metrics.temperature(output, y, weights)

    def answers(self, output: Array, temperature: float) -> Floats:
        """Return the calibrated probabilities, (n, C), of one network's output."""
        return metrics.softmax(output / temperature)

    def combined(self, mean_answers: Floats, n_rows: int) -> Floats:
        """Return the model's probabilities, (n, C), from the mean of its networks' probabilities.

        `n_rows` is the number of training rows; see `metrics.smoothed_towards_uniform`.
        """
        return metrics.smoothed_towards_uniform(mean_answers, n_rows)

    def decode(self, probabilities: Floats) -> dict[str, Array]:
        """Return the most probable label of each row as `prediction`, and its probability as `confidence`."""
        labels = np.array(self.labels)[probabilities.argmax(axis=1)]
        return {"prediction": labels, "confidence": probabilities.max(axis=1)}

    def error(self, probabilities: Floats, truth: Array, weights: Floats) -> float:
        """Return the log loss."""
        return metrics.log_loss(probabilities, truth, weights)

    def scores(
        self, probabilities: Floats, truth: Array, weights: Floats, metric: Metric, quantile: float
    ) -> list[Score]:
        """Return the accuracy, the log loss and the AUC."""
        return metrics.class_scores(probabilities, truth, weights)

    def residuals(self, probabilities: Floats, truth: Array) -> Floats:
        """Return no residuals, (0,): a classification has none."""
        return np.zeros(0)


@dataclass(frozen=True)
class Quantity:
    """A target of numbers. The network has one output, the standardised number (y − mean) / std.

    Attributes
    ----------
    name : str
        Name of the column.
    mean, std : float
        Mean and standard deviation of the training rows, for a user's loss as `own_loss.exact_units`. A standard
        deviation of 0 is replaced by 1.
    lowest, highest : float
        Range of the training rows. No prediction leaves this range.
    """

    name: str
    mean: float
    std: float
    lowest: float
    highest: float
    task: ClassVar[str] = "regression"
    metric_names: ClassVar[tuple[str, ...]] = NUMBER_METRICS
    default_metric: ClassVar[str] = NUMBER_METRICS[0]
    default_learning_rate: ClassVar[float] = LEARNING_RATE["regression"]
    default_dropout: ClassVar[float] = DROPOUT["regression"]
    n_outputs: ClassVar[int] = 1
    has_texts: ClassVar[bool] = False

    # --- from cells to y ------------------------------------------------------------------------------------

    @classmethod
    def learn(cls, cells: Cells) -> Quantity:
        """Return the target with the mean, standard deviation and range of a column without missing cells."""
        values = cells.floats()
        largest = float(np.abs(values).max()) or 1.0
        if cells.is_whole and cells.values.min() < cells.values.max() and np.ptp(values) < 1000 * np.spacing(largest):
            found = f"the target {cells.name!r} holds whole numbers such as {cells.value(0)}"
            raise ValueError(
                f"{found}, whose differences a float64 rounds away: subtract {cells.values.min()} from them"
            )
        std = largest * float((values / largest).std())  # the square of 1e300 would overflow
        mean = float((values / largest).mean()) * largest
        return cls(cells.name, mean, std or 1.0, float(values.min()), float(values.max()))

    def learn_again(self, cells: Cells) -> Quantity:
        """Return the target for some of the rows, with their mean, standard deviation and range."""
        return self.learn(cells)

    def encode(self, cells: Cells) -> Floats:
        """Return standardised numbers, (n,); raise as `truth_of_cells` does."""
        return (self.truth_of_cells(cells) - self.mean) / self.std

    def truth_of_cells(self, cells: Cells) -> Floats:
        """Return the true numbers, (n,), of a column without missing cells.

        Raises
        ------
        ValueError
            If the column does not hold numbers.
        """
        if cells.kind != "numbers":
            raise ValueError(f"the target held numbers in training, and column {cells.name!r} holds {cells.kind} here")
        return cells.floats()

    def truth(self, y: Array) -> Floats:
        """Return the true numbers, (n,), of what `encode` returned: at most `highest` for a training row."""
        numbers = y * self.std + self.mean
        is_in_range = y <= (self.highest - self.mean) / self.std
        return np.where(is_in_range, np.minimum(numbers, self.highest), numbers)

    def strata(self, y: Array) -> Integers | None:
        """Return None: the rows of a fold are drawn without regard to their numbers."""
        return None

    # --- training -------------------------------------------------------------------------------------------

    def loss(self, metric: Metric, quantile: float, y: Array) -> losses.Loss:
        """Return the loss to train on the standardised numbers y, (n,): the loss that the metric measures."""
        if isinstance(metric, losses.Loss):
            return own_loss.standardised(metric, self.mean, self.std, self.truth(y))
        if metric == "quantile":
            return losses.quantile(quantile)
        return {"rmse": losses.squared_error, "mae": losses.absolute_error}[metric]

    def training_targets(self, y: Array, label_smoothing: float) -> Floats:
        """Return the targets of the loss, (n, 1): the standardised numbers."""
        return y[:, newaxis]

    def validation_errors(
        self, output: Array, y: Array, weights: Floats, metric: Metric, quantile: float, parts: Parts
    ) -> list[float]:
        """Return the error of each part of the held-out rows that chooses the best epoch; `output` is (n, 1)."""
        if isinstance(metric, losses.Loss):
            errors = self.row_errors(output, y, weights, metric, quantile)
            return [metrics.weighted_mean(errors[part], weights[part]) for part in parts]
        values = output[:, 0]
        return [metrics.number_error(metric, values[part], y[part], weights[part], quantile) for part in parts]

    def row_errors(self, output: Array, y: Array, weights: Floats, metric: Metric, quantile: float) -> Floats:
        """Return an error of each row, (n,), by which two networks are compared: the loss that the metric measures.

        A user's loss is in the user's unit, as the training loss is. Other errors are those of standardised numbers.
        """
        if isinstance(metric, losses.Loss):
            if metric.is_custom:
                values = output[:, 0].astype(np.float64) * self.std + self.mean
                return own_loss.row_losses(metric, values, self.truth(y))
            return own_loss.row_losses(self.loss(metric, quantile, y), output[:, 0], y)
        if metric == "quantile":
            return metrics.quantile_losses(output[:, 0], y, quantile)
        errors = np.abs(output[:, 0] - y)
        return np.asarray(errors**2 if metric == "rmse" else errors)

    # --- answers --------------------------------------------------------------------------------------------

    def temperature(self, output: Array, y: Array, weights: Floats) -> float:
        """Return 1: numbers need no calibration."""
        return 1.0

    def answers(self, output: Array, temperature: float) -> Floats:
        """Return the numbers, (n,), of one network's output, (n, 1), in the unit of the target."""
        numbers = output[:, 0].astype(np.float64) * self.std + self.mean
        return np.asarray(np.clip(numbers, self.lowest, self.highest))

    def combined(self, mean_answers: Floats, n_rows: int) -> Floats:
        """Return the model's predictions, (n,): the mean of its networks' numbers."""
        return mean_answers

    def decode(self, values: Floats) -> dict[str, Array]:
        """Return the predicted number of each row as `prediction`."""
        return {"prediction": values}

    def error(self, values: Floats, truth: Array, weights: Floats) -> float:
        """Return the RMSE."""
        return metrics.rmse(values, truth, weights)

    def scores(self, values: Floats, truth: Array, weights: Floats, metric: Metric, quantile: float) -> list[Score]:
        """Return R², RMSE and MAE, after the loss if the metric is one; for "quantile", its loss and `share_below`."""
        if isinstance(metric, losses.Loss):
            return own_loss.scores(metric, values, truth, weights)
        if metric == "quantile":
            return metrics.quantile_scores(values, truth, weights, quantile)
        return metrics.number_scores(values, truth, weights)

    def residuals(self, values: Floats, truth: Array) -> Floats:
        """Return |y − ŷ| in ascending order, (m,), or `MAX_RESIDUALS` quantiles of them if there are more rows."""
        residuals = np.sort(np.abs(values - truth))
        if len(residuals) > MAX_RESIDUALS:
            residuals = residuals[np.linspace(0, len(residuals) - 1, MAX_RESIDUALS).round().astype(int)]
        return residuals


def _key(label: Value) -> str:
    """Return the one spelling of a label: 1.0, "1.0" and 1 have the same."""
    return spelled(str(label))


Target = Classes | Quantity


def target_to_dict(target: Target) -> dict[str, Any]:
    """Return a target as JSON can hold it."""
    stored = asdict(target)
    return {"task": target.task, **stored, **({"labels": list(target.labels)} if isinstance(target, Classes) else {})}


def target_from_dict(stored: dict[str, Any]) -> Target:
    """Return the target that `target_to_dict` stored."""
    if stored["task"] == Classes.task:
        return Classes(stored["name"], tuple(stored["labels"]))
    return Quantity(**{name: value for name, value in stored.items() if name != "task"})

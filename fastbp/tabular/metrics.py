"""How good a prediction is: what decides which epoch of a network is kept, and what a model is reported to reach.

It knows arrays of outputs, classes and numbers. It must not know networks, columns or files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_NEWTON_STEPS = 30
_PRIOR = 4.0  # rows' worth of evidence that a temperature is 1: the precision of its logarithm
_MOST = 4.0  # of that logarithm


def softmax(logits: Array) -> Floats:
    """Return exp(ŷ_c) / Σ exp(ŷ) of each row, (n, C)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def log_losses(probabilities: Floats, classes: Array) -> Floats:
    """Return −log p of each row's class."""
    own = probabilities[np.arange(len(classes)), classes]
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float64).tiny)))


def log_loss(probabilities: Floats, classes: Array, weights: Array) -> float:
    """Return the weighted mean of −log p of each row's class."""
    return _mean(log_losses(probabilities, classes), weights)


def accuracy(scores: Array, classes: Array, weights: Array) -> float:
    """Return the weighted share of rows whose class has the largest score."""
    return _mean(scores.argmax(axis=1) == classes, weights)


def auc(scores: Array, classes: Array, weights: Array) -> float:
    """Return how often a row of a class has a larger score for it than a row of none: the area under the ROC curve.

    Ties count half. For more than two classes, the mean over the classes that have rows and leave some; NaN if there
    are none.
    """
    columns = range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])
    areas = [_area(scores[:, c], classes == c, weights) for c in columns]
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else float("nan")


def _area(scores: Array, positive: Array, weights: Array) -> float:
    _, places = np.unique(scores, return_inverse=True)
    of_positive = np.bincount(places, np.where(positive, weights, 0.0))
    of_others = np.bincount(places, np.where(positive, 0.0, weights))
    below = np.cumsum(of_others) - of_others
    total = of_positive.sum() * of_others.sum()
    return float((of_positive * (below + of_others / 2)).sum() / total) if total else float("nan")


def rmse(values: Array, truth: Array, weights: Array) -> float:
    """Return the root of the weighted mean squared error."""
    errors = np.abs(values - truth)
    largest = float(errors.max(initial=0)) or 1.0  # whose square may not be finite
    return largest * float(np.sqrt(_mean((errors / largest) ** 2, weights)))


def mae(values: Array, truth: Array, weights: Array) -> float:
    """Return the weighted mean absolute error."""
    return _mean(np.abs(values - truth), weights)


def pinball(values: Array, truth: Array, weights: Array, quantile: float) -> float:
    """Return the weighted mean of the quantile loss."""
    above = truth - values
    return _mean(np.maximum(quantile * above, (quantile - 1) * above), weights)


def temperature(logits: Array, classes: Array, weights: Array, prior: float = _PRIOR) -> float:
    """Return by what to divide logits so that their softmax has the least log loss on these rows.

    A few rows without a mistake would ask for a temperature of 0, so its logarithm is drawn to 0 with the strength of
    `prior` rows (Guo, Pleiss, Sun & Weinberger 2017, "On calibration of modern neural networks", ICML, without that).
    """
    z = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own = z[np.arange(len(classes)), classes]
    s = 0.0  # the logarithm of the factor 1 / T
    for _ in range(_NEWTON_STEPS):
        t = np.exp(s)
        p = softmax(t * z)
        mean = (p * z).sum(axis=1)
        variance = (p * z * z).sum(axis=1) - mean**2
        first = t * float(weights @ (mean - own))
        step = (first + prior * s) / (t * t * float(weights @ variance) + abs(first) + prior)
        s = float(np.clip(s - np.clip(step, -1, 1), -_MOST, _MOST))
        if abs(step) < 1e-4:
            break
    return float(np.exp(-s))


def refined_log_losses(logits: Array, classes: Array, weights: Array) -> Floats:
    """Return the log loss of each row, (n,), that is left once the temperature is right.

    Their mean chooses an epoch that tells classes apart, however sure of itself it is: Berta, Holzmüller, Jordan and
    Bach (2025), "Rethinking early stopping: refine, then calibrate" (arXiv:2501.19195).
    """
    probabilities = softmax(logits / temperature(logits, classes, weights))
    return log_losses(probabilities, classes)


def error_of_classes(metric: str) -> Callable[[Array, Array, Array], float]:
    """Return the function of logits, classes and weights that is least for the best epoch by a metric."""
    if metric == "accuracy":
        return lambda logits, classes, weights: 1 - accuracy(logits, classes, weights)

    def error_of(logits: Array, classes: Array, weights: Array) -> float:
        area = auc(softmax(logits), classes, weights) if metric == "auc" else np.nan
        # Where all rows are of one class, there is no area.
        return _mean(refined_log_losses(logits, classes, weights), weights) if np.isnan(area) else 1 - area

    return error_of


def error_of_numbers(metric: str, quantile: float) -> Callable[[Array, Array, Array], float]:
    """Return the function of values, truth and weights that is least for the best epoch by a metric."""
    if metric == "quantile":
        return lambda values, truth, weights: pinball(values, truth, weights, quantile)
    return {"rmse": rmse, "mae": mae}[metric]


Score = dict[str, Any]  # measure, value, and the baseline that the best constant prediction reaches, as JSON holds it


def scores_of_classes(probabilities: Floats, classes: Array, weights: Array) -> list[Score]:
    """Return accuracy, log loss and AUC, beside those of saying of every row how common each class is."""
    shares = np.bincount(classes, weights, probabilities.shape[1]) / weights.sum()
    constant = np.broadcast_to(shares, probabilities.shape)
    return [
        _scored("accuracy", *(accuracy(p, classes, weights) for p in (probabilities, constant))),
        _scored("log loss", *(log_loss(p, classes, weights) for p in (probabilities, constant))),
        _scored("AUC", auc(probabilities, classes, weights), 0.5),
    ]


def scores_of_numbers(values: Floats, truth: Floats, weights: Floats, quantile: float | None = None) -> list[Score]:
    """Return R², RMSE and MAE, beside those of always the mean.

    Of a predicted quantile, its loss beside that of the constant, and the share of values below it, which should be
    that quantile.
    """
    if quantile is not None:
        constant = np.full(len(truth), np.quantile(truth, quantile))
        losses = (pinball(guess, truth, weights, quantile) for guess in (values, constant))
        return [_scored("quantile loss", *losses), _scored("share below", _mean(truth <= values, weights), quantile)]
    mean = np.full(len(truth), _mean(truth, weights))
    error, constant_error = (rmse(guess, truth, weights) for guess in (values, mean))
    r2 = 1 - (error / constant_error) ** 2 if constant_error else np.nan
    return [
        _scored("R²", r2, 0.0),
        _scored("RMSE", error, constant_error),
        _scored("MAE", mae(values, truth, weights), mae(mean, truth, weights)),
    ]


def _scored(measure: str, value: float, baseline: float) -> Score:
    numbers = {"value": float(value), "baseline": float(baseline)}
    return {"measure": measure, **{name: number if np.isfinite(number) else None for name, number in numbers.items()}}


def _mean(values: Array, weights: Array) -> float:
    total = float(weights.sum())
    return float(weights @ values) / total if total else float("nan")

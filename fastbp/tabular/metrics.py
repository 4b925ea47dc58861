"""Metrics: how good predictions are, their usual names, and the temperature that calibrates probabilities.

It knows arrays of outputs, class numbers and values. It must not know targets, networks, columns or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp import losses
from fastbp._typing import Array, Floats, Integers

Parts = Sequence[Integers | slice]  # the places of some of the rows

_WORDS = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "share_below": "share below prediction"}
_NEWTON_STEPS = 30
_PRIOR = 4.0  # precision of the prior on log T, in rows: the prior expects T = 1
_LARGEST_LOG = 4.0  # bound of |log T|
_BLOCK_ROWS = 16_384  # rows whose probabilities are computed at once, so that they fit the cache


def metric_words(metric: str) -> str:
    """Return the usual name of a metric.

    Parameters
    ----------
    metric : str
        A key of a score, such as "log_loss", or a value of the setting `metric`.

    Returns
    -------
    str
        Such as "log loss", "AUC" or "R²".
    """
    return _WORDS.get(metric, metric.replace("_", " "))


def validation_words(metric: str | dict[str, Any]) -> str:
    """Return the name of the error that a training minimises on the held-out rows, for a value of the setting `metric`.

    For the accuracy and the AUC, this error is their difference from 1. For a regression, it is the error of the
    standardised target, except for a user's loss, which is the description of a `Loss`.
    """
    if isinstance(metric, dict):
        loss = losses.from_description(metric)
        return metric_words(loss.name) if loss.is_custom else f"standardised {metric_words(loss.name)}"
    if metric in ("accuracy", "auc"):
        return f"1 − {metric_words(metric)}"
    if metric == "log_loss":
        return metric_words(metric)
    return f"standardised {'quantile loss' if metric == 'quantile' else metric_words(metric)}"


def softmax(logits: Array) -> Floats:
    """Return exp(ŷ_c) / Σ exp(ŷ) of each row, (n, C)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def smoothed(classes: Array, n_classes: int, share: float) -> Floats:
    """Return one-hot labels with a `share` of each label distributed equally over all classes, (n, C).

    Szegedy et al. (2016), "Rethinking the inception architecture for computer vision", CVPR, section 7.
    """
    return np.asarray((1 - share) * np.eye(n_classes)[classes] + share / n_classes)


def smoothed_towards_uniform(probabilities: Floats, n_rows: int) -> Floats:
    """Return probabilities, (n, C), shrunk towards uniform with the weight of one extra row.

    A model of n training rows cannot be certain: the smallest probability is 1 / (C (n + 1)).
    """
    return np.asarray((n_rows * probabilities + 1 / probabilities.shape[1]) / (n_rows + 1))


# --- classification ---------------------------------------------------------------------------------------------


def log_losses(probabilities: Floats, classes: Array) -> Floats:
    """Return −log p of each row's class, (n,)."""
    own = probabilities[np.arange(len(classes)), classes]
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float64).tiny)))


def log_loss(probabilities: Floats, classes: Array, weights: Array) -> float:
    """Return the weighted mean of −log p of each row's class."""
    return weighted_mean(log_losses(probabilities, classes), weights)


def accuracy(scores: Array, classes: Array, weights: Array) -> float:
    """Return the weighted share of rows whose class has the largest score."""
    return weighted_mean(scores.argmax(axis=1) == classes, weights)


def auc(scores: Array, classes: Array, weights: Array) -> float:
    """Return the area under the ROC curve.

    This is the probability that a row of a class has a larger score for this class than a row of another class. Ties
    count half. For more than two classes, the area is the mean over the classes that have some rows but not all
    of them. The area is NaN if there is no such class.
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


def temperature(logits: Array, classes: Array, weights: Array, prior: float = _PRIOR) -> float:
    """Return the T for which softmax(logits / T) has the smallest log loss on these rows.

    Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks", ICML. In addition, a normal prior
    draws log T towards 0 with the strength of `prior` rows: without the prior, a few rows that are all classified
    correctly would give T = 0.
    """
    n, is_large, s = len(classes), len(classes) > _BLOCK_ROWS, 0.0  # s = log(1 / T)
    if is_large:  # the steps begin at the answer of some rows, which saves most of them
        some = slice(None, None, -(-n // _BLOCK_ROWS))
        s = -float(np.log(temperature(logits[some], classes[some], weights[some], prior)))
    all_z = logits.astype(np.float64, order="F" if is_large else "C")  # sums over columns are faster than over rows
    all_z -= all_z.max(axis=1, keepdims=True)
    own = all_z[np.arange(n), classes]
    excess, variance = np.empty(n), np.empty(n)  # of each row: Σ p z minus the z of its class, and Σ p z² − (Σ p z)²
    room = np.empty_like(all_z[:_BLOCK_ROWS])
    for _ in range(_NEWTON_STEPS):
        t = np.exp(s)
        for start in range(0, n, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            z = all_z[rows]
            p = np.multiply(z, t, out=room[: len(z)])
            np.exp(p, out=p)
            p /= p.sum(axis=1, keepdims=True)
            p *= z
            mean = p.sum(axis=1)
            p *= z
            variance[rows] = p.sum(axis=1) - mean**2
            excess[rows] = mean - own[rows]
        first = t * float(weights @ excess)
        step = (first + prior * s) / (t * t * float(weights @ variance) + abs(first) + prior)
        s = float(np.clip(s - np.clip(step, -1, 1), -_LARGEST_LOG, _LARGEST_LOG))
        if abs(step) < 1e-4:
            break
    return float(np.exp(-s))


def refined_log_losses(logits: Array, classes: Array, weights: Array) -> Floats:
    """Return the log loss of each row, (n,), with the best temperature for these rows.

    The mean of these losses chooses the epoch that separates the classes best, even if its probabilities are too large
    or too small: Berta, Holzmüller, Jordan and Bach (2025), "Rethinking early stopping: refine, then calibrate"
    (arXiv:2501.19195).
    """
    probabilities = softmax(logits / temperature(logits, classes, weights))
    return log_losses(probabilities, classes)


def class_errors(metric: str, logits: Array, classes: Array, weights: Array, parts: Parts) -> list[float]:
    """Return the error of each part of the rows that chooses the best epoch by a metric.

    The error is 1 − accuracy, 1 − AUC or the refined log loss. The parts share one temperature.
    """
    if metric == "accuracy":
        return [1 - accuracy(logits[part], classes[part], weights[part]) for part in parts]
    areas = [np.nan] * len(parts)
    if metric == "auc":
        probabilities = softmax(logits)
        areas = [auc(probabilities[part], classes[part], weights[part]) for part in parts]
    if not np.isnan(areas).any():
        return [1 - area for area in areas]
    # If all rows of a part are of one class, their AUC is undefined and the log loss is used.
    losses = refined_log_losses(logits, classes, weights)
    means = [weighted_mean(losses[part], weights[part]) for part in parts]
    return [mean if np.isnan(area) else 1 - area for mean, area in zip(means, areas, strict=True)]


# --- regression -------------------------------------------------------------------------------------------------


def rmse(values: Array, truth: Array, weights: Array) -> float:
    """Return the root of the weighted mean squared error."""
    errors = np.abs(values - truth)
    largest = float(errors.max(initial=0)) or 1.0  # the square of a large error may overflow
    return largest * float(np.sqrt(weighted_mean((errors / largest) ** 2, weights)))


def mae(values: Array, truth: Array, weights: Array) -> float:
    """Return the weighted mean absolute error."""
    return weighted_mean(np.abs(values - truth), weights)


def quantile_losses(values: Array, truth: Array, quantile: float) -> Floats:
    """Return the quantile loss of each row, (n,), which is also called pinball loss."""
    above = truth - values
    return np.asarray(np.maximum(quantile * above, (quantile - 1) * above))


def quantile_loss(values: Array, truth: Array, weights: Array, quantile: float) -> float:
    """Return the weighted mean of the quantile loss."""
    return weighted_mean(quantile_losses(values, truth, quantile), weights)


def number_error(metric: str, values: Array, truth: Array, weights: Array, quantile: float) -> float:
    """Return the error that chooses the best epoch by a metric: the RMSE, the MAE or the quantile loss."""
    if metric == "quantile":
        return quantile_loss(values, truth, weights, quantile)
    return {"rmse": rmse, "mae": mae}[metric](values, truth, weights)


# --- scores -----------------------------------------------------------------------------------------------------

Score = dict[str, Any]  # "metric", "value" and "baseline" (the score of the best constant prediction), for JSON


def class_scores(probabilities: Floats, classes: Array, weights: Array) -> list[Score]:
    """Return accuracy, log loss and AUC. The baseline predicts the share of each class for every row."""
    shares = np.bincount(classes, weights, probabilities.shape[1]) / weights.sum()
    constant = np.broadcast_to(shares, probabilities.shape)
    return [
        score("accuracy", *(accuracy(p, classes, weights) for p in (probabilities, constant))),
        score("log_loss", *(log_loss(p, classes, weights) for p in (probabilities, constant))),
        score("auc", auc(probabilities, classes, weights), 0.5),
    ]


def number_scores(values: Floats, truth: Floats, weights: Floats) -> list[Score]:
    """Return R², RMSE and MAE. The baseline predicts the weighted mean, and for the MAE, the weighted median."""
    mean = np.full(len(truth), weighted_mean(truth, weights))
    median = np.full(len(truth), _weighted_quantile(truth, weights, 0.5))
    error, constant_error = (rmse(guess, truth, weights) for guess in (values, mean))
    r2 = 1 - (error / constant_error) ** 2 if constant_error else np.nan
    return [
        score("r2", r2, 0.0),
        score("rmse", error, constant_error),
        score("mae", mae(values, truth, weights), mae(median, truth, weights)),
    ]


def quantile_scores(values: Floats, truth: Floats, weights: Floats, quantile: float) -> list[Score]:
    """Return the quantile loss, and the share of rows at or below the prediction, which should be `quantile`.

    The baseline predicts the weighted quantile of all rows for every row.
    """
    constant = np.full(len(truth), _weighted_quantile(truth, weights, quantile))
    losses = (quantile_loss(guess, truth, weights, quantile) for guess in (values, constant))
    share_below = weighted_mean(truth <= values, weights)
    return [score("quantile_loss", *losses), score("share_below", share_below, quantile)]


def score(metric: str, value: float, baseline: float) -> Score:
    """Return a score for JSON: a number that is not finite is None."""
    numbers = {"value": float(value), "baseline": float(baseline)}
    return {"metric": metric, **{name: number if np.isfinite(number) else None for name, number in numbers.items()}}


def _weighted_quantile(values: Array, weights: Array, quantile: float) -> float:
    """Return the smallest value v such that values up to v have at least a share `quantile` of all weights."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(cumulative, quantile * cumulative[-1])]])


def weighted_mean(values: Array, weights: Array) -> float:
    """Return the weighted mean of values, (n,); NaN if all weights are 0."""
    total = float(weights.sum())
    return float(weights @ values) / total if total else float("nan")

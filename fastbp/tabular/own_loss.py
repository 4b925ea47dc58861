"""A loss of `fastbp.losses` as the metric of a regression: which ones are taken, their values and their scores.

A user's function sees numbers in the unit of the target, although a network sees standardised numbers. This file must
not know targets, networks or files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from fastbp import losses
from fastbp._typing import Array, Floats
from fastbp.losses import Loss
from fastbp.tabular import metrics
from fastbp.tabular.metrics import Score
from fastbp.tabular.settings import NumberMetric

Metric = str | Loss

_TRIED_CONSTANTS = 65
_SAME_METRIC: dict[Loss, NumberMetric] = {losses.squared_error: "rmse", losses.absolute_error: "mae"}


def as_metric(loss: Loss, quantile: float) -> tuple[NumberMetric | Loss, float]:
    """Return a loss that a user gave as the metric, and the quantile. A loss that a metric measures is this metric.

    Raises
    ------
    ValueError
        If the outputs for this loss are not predictions in the unit of y, or if its function is not known.
    """
    if loss.sees_rows:
        raise ValueError(f"metric must be a loss of single numbers, got {loss}: the networks have one output")
    if loss.link != "identity":
        is_of_classes = loss.is_of_probabilities and not loss.is_custom
        advice = "TabularClassifier" if is_of_classes else "fastbp.sklearn.MLPRegressor(loss=…)"
        raise ValueError(
            f"metric must be a loss whose outputs are predictions of y, and {loss} has the link {loss.link!r}: "
            f"use {advice}"
        )
    if loss.is_custom and loss.function is None:
        raise ValueError(
            f"the metric {loss.name} is a user's function, which a model file does not hold and a pickle only names: "
            f"set metric=fastbp.losses.{loss}"
        )
    if loss.parameter_name == "q":
        return "quantile", loss.parameter
    return _SAME_METRIC.get(loss, loss), quantile


def metric_of(stored: str | dict[str, Any]) -> Metric:
    """Return the metric that a model keeps: a name, or a loss by its description. A user's function is unknown.

    Raises
    ------
    ValueError
        If the description is not that of a loss that can be a metric.
    """
    if isinstance(stored, str):
        return stored
    loss = losses.from_description(stored)
    if loss.sees_rows or loss.link != "identity":
        raise ValueError(f"about.settings.metric must be a loss of single numbers, got {loss}")
    return loss if loss.is_custom else as_metric(loss, 0.5)[0]


def exact_units(mean: float, std: float) -> tuple[float, float]:
    """Return a mean and a std near these: std is a power of 2, and mean a multiple of std / 8.

    A whole number that is standardised with them keeps all its digits in the float32 of a network, and so does 0. A
    user's function may compare targets with such a number.
    """
    std = 2.0 ** float(np.round(np.log2(std)))
    step = std / 8 or std  # the smallest number of float64 has no eighth
    return step * float(np.round(mean / step)), std


def standardised(loss: Loss, mean: float, std: float, truth: Floats) -> Loss:
    """Return a loss for outputs and targets that are standardised with this mean and std.

    Parameters
    ----------
    loss : Loss
        As `as_metric` returns it.
    mean, std : float
    truth : ndarray of shape (n,)
        The training targets, not standardised.

    Notes
    -----
    The derivative of a user's loss is divided by about its mean size for the prediction `mean`. The step of Adam does
    not depend on this factor, but the ε of Adam and the range of float32 would depend on the user's unit. The factor is
    a power of 2, and mean and std are those of `exact_units`, so fits to parts of one table mostly share compiled code.
    """
    if not loss.is_custom:
        return loss.with_parameter(loss.parameter / std)
    from fastbp.kernels import custom_losses

    function = cast("Any", loss.function)
    _, derivatives = custom_losses.evaluated(loss, np.full(len(truth), mean), truth)
    size = float(np.abs(derivatives).mean())
    factor = 2.0 ** -float(np.round(np.log2(size))) if 1e-300 < size < 1e300 else std
    return replace(loss, function=custom_losses.standardised(function, mean, std, factor))


def row_losses(loss: Loss, values: Array, truth: Array) -> Floats:
    """Return the loss of each row, (n,), for predictions and true numbers in one unit."""
    if not loss.is_custom:  # Huber's
        r = values.astype(np.float64) - truth
        clipped = np.clip(r, -loss.parameter, loss.parameter)
        return np.asarray(clipped * (r - clipped / 2))
    from fastbp.kernels import custom_losses

    return custom_losses.evaluated(loss, values.astype(np.float64), truth.astype(np.float64))[0]


def scores(loss: Loss, values: Floats, truth: Floats, weights: Floats) -> list[Score]:
    """Return the mean loss under the name of the loss, R², RMSE and MAE.

    The baseline of the loss is that of the best constant prediction. Without the user's function, the loss is left out.
    """
    others = metrics.number_scores(values, truth, weights)
    if loss.is_custom and loss.function is None:
        return others
    key, mean_loss = loss.name, metrics.weighted_mean(row_losses(loss, values, truth), weights)
    own = metrics.score(key, mean_loss, _best_constant_loss(loss, truth, weights))
    return [own, *(score for score in others if score["metric"] != key)]


def _best_constant_loss(loss: Loss, truth: Floats, weights: Floats) -> float:
    """Return the smallest mean loss of a constant prediction within the range of the true numbers."""
    from scipy.optimize import minimize_scalar

    def mean_loss(constant: float) -> float:
        mean = metrics.weighted_mean(row_losses(loss, np.full(len(truth), constant), truth), weights)
        return mean if np.isfinite(mean) else np.inf

    tried = np.quantile(truth, np.linspace(0, 1, _TRIED_CONSTANTS))
    of_tried = [mean_loss(constant) for constant in tried]
    best = int(np.argmin(of_tried))
    near = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    found = minimize_scalar(mean_loss, bounds=near, method="bounded", options={"xatol": 1e-9 * (near[1] - near[0])})
    return min(of_tried[best], float(found.fun))

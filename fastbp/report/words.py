"""Counts, metrics, scores and settings in words, such as "log loss" for `log_loss`, for the report and the command.

It must not know pages, the terminal, or how a score is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbp import losses

_WORDS = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "share_below": "share below prediction"}
_AS_PERCENT = ("accuracy", "share_below")


def counted(n: int, noun: str) -> str:
    """Return a number and a noun, such as "1 row" or "1,500 rows"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


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


def score_words(score: Mapping[str, Any], key: str = "value") -> str:
    """Return the number of a score as text: a percentage, four digits, or a dash where the score is undefined.

    Parameters
    ----------
    score : mapping
        With the keys "metric", "value" and "baseline".
    key : {"value", "baseline"}
    """
    number = score[key]
    if number is None:
        return "–"
    return f"{number:.1%}" if score["metric"] in _AS_PERCENT else f"{number:.4g}"


def settings_words(settings: Mapping[str, Any], task: str) -> dict[str, str]:
    """Return the values of the settings that a training used, as text.

    Parameters
    ----------
    settings : mapping from str to value
        The settings that a model keeps.
    task : {"classification", "regression"}

    Returns
    -------
    dict of str to str
        By name, without settings that are None or that the task and the metric do not use.
    """
    unused = {"label_smoothing"} if task == "regression" else set()
    if settings["metric"] != "quantile":
        unused.add("quantile")
    return {name: _value(value) for name, value in settings.items() if value is not None and name not in unused}


def _value(value: Any, between: str = ",") -> str:
    if isinstance(value, dict):  # only the metric can be one
        return str(losses.from_description(value))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return between.join(_value(item, ":") for item in value) or "none"  # a pair is a label and its weight
    return str(value)

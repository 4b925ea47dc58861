"""Counts, scores and settings in words, for the report and the command.

It must not know pages, the terminal, or how a score is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastbp import losses

_AS_PERCENT = ("accuracy", "share_below")


def counted(n: int, noun: str) -> str:
    """Return a number and a noun, such as "1 row" or "1,500 rows"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


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

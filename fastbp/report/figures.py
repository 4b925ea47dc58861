"""The figures of the report, each as an SVG element.

May import NumPy and matplotlib, and knows arrays. It must not know pages, or where the numbers come from.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastbp._typing import Array

_INK, _PALE, _WARM, _GREY = "#1f4e79", "#9db8d2", "#c8553d", "#bbbbbb"
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "svg.fonttype": "none",
    "svg.hashsalt": "fastbp",
}
_WIDTH = 8.4  # inches of a page
_MAX_POINTS = 5000
_MAX_LABELS = 20
_Z_90 = 1.64  # standard errors on either side of a 90 % interval


def learning_curves(
    losses: Sequence[Sequence[float]], errors: Sequence[Sequence[float]], best: Sequence[int], error_name: str
) -> str:
    """Draw the training loss and the validation error of each network against the epoch.

    Parameters
    ----------
    losses, errors : one sequence of numbers per network
        The training loss and the validation error after each epoch.
    best : one int per network
        The best epoch, counted from 1. A dot marks this epoch.
    error_name : str
        Name of the validation error, such as "log loss".

    Returns
    -------
    str
        An SVG element, as all functions here return.
    """

    def draw(left: Axes, right: Axes) -> None:
        for network_losses, network_errors, epoch in zip(losses, errors, best, strict=True):
            epochs = np.arange(1, len(network_errors) + 1)
            left.plot(epochs, network_losses[: len(epochs)], color=_INK, alpha=0.6, linewidth=1)
            right.plot(epochs, network_errors, color=_INK, alpha=0.6, linewidth=1)
            right.plot(epoch, network_errors[epoch - 1], "o", color=_WARM, markersize=4)
        lowest = min(min(network_errors) for network_errors in errors)
        highest = np.quantile(np.concatenate(errors), 0.97)
        if highest > lowest:
            right.set_ylim(lowest - 0.08 * (highest - lowest), highest + 0.1 * (highest - lowest))
        left.set(xlabel="epoch", title="training loss")
        right.set(xlabel="epoch", title=f"validation {error_name}")

    return _picture((_WIDTH, 2.9), draw, n_panels=2)


def confusion_matrix(counts: Array, labels: Sequence[str]) -> str:
    """Draw a confusion matrix, shaded by the share of each row.

    Parameters
    ----------
    counts : (C, C) array
        The number of table rows for each true class (first axis) and predicted class (second axis).
    labels : sequence of C str
    """

    def draw(axes: Axes) -> None:
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(labels) <= _MAX_LABELS:
            for row, column in np.ndindex(*counts.shape):
                colour = "white" if shares[row, column] > 0.55 else "#333333"
                text = f"{counts[row, column]:,.0f}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        ticks = range(len(labels))
        axes.set_xticks(ticks, [shortened(label) for label in labels], rotation=45, ha="right")
        axes.set_yticks(ticks, [shortened(label) for label in labels])
        axes.set(xlabel="predicted class", ylabel="true class")

    side = 1.6 + 0.42 * len(labels)
    return _picture((min(_WIDTH, side + 1.2), min(7.5, side)), draw)


def calibration(probabilities: Array, is_right: Array) -> str:
    """Draw the accuracy against the confidence of the predictions, in bins of equally many rows.

    Parameters
    ----------
    probabilities : (n,) floats
        The probability of the predicted class of each row.
    is_right : (n,) bools
        Whether the predicted class is the true class.
    """

    def draw(axes: Axes) -> None:
        order = np.argsort(probabilities, kind="stable")
        bins = np.array_split(order, max(1, min(10, len(order) // 20)))
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
        for rows in bins:
            share = is_right[rows].mean()
            margin = _Z_90 * np.sqrt(max(share * (1 - share), 0.25 / (len(rows) + 4)) / len(rows))
            axes.plot([probabilities[rows].mean()] * 2, [share - margin, share + margin], color=_PALE, linewidth=2)
        means = [probabilities[rows].mean() for rows in bins]
        axes.plot(means, [is_right[rows].mean() for rows in bins], "o", color=_INK, markersize=5)
        lowest = max(0.0, min(means) - 0.1)
        axes.set(xlim=(lowest, 1.02), ylim=(max(0.0, lowest - 0.1), 1.05), xlabel="confidence", ylabel="accuracy")

    return _picture((3.9, 3.1), draw)


def residuals(values: Array, truth: Array) -> str:
    """Draw predicted values against true values, and a histogram of the residuals.

    Parameters
    ----------
    values, truth : (n,) floats
        The predicted and the true values.
    """

    def draw(left: Axes, right: Axes) -> None:
        chosen = np.random.default_rng(0).permutation(len(truth))[:_MAX_POINTS]
        ends = [min(truth.min(), values.min()), max(truth.max(), values.max())]
        left.plot(ends, ends, color=_GREY, linewidth=1)
        left.plot(truth[chosen], values[chosen], "o", color=_INK, alpha=0.35, markersize=3, mew=0, rasterized=True)
        left.set(xlabel="true value", ylabel="predicted value")
        right.hist(values - truth, bins=40, color=_PALE)
        right.axvline(0, color=_WARM, linewidth=1)
        right.set(xlabel="predicted − true value", ylabel="rows")

    return _picture((_WIDTH, 3.1), draw, n_panels=2)


def coverage(margins: Array, shares: Array) -> str:
    """Draw the share of rows whose absolute error is at most a margin, against the margin.

    Parameters
    ----------
    margins : (m,) floats
        Ascending.
    shares : (m,) floats
        The share of rows for each margin.
    """

    def draw(axes: Axes) -> None:
        axes.plot(margins, shares, color=_INK)
        for share in (0.5, 0.9):
            margin = np.interp(share, shares, margins)
            axes.plot([0, margin, margin], [share, share, 0], color=_WARM, linewidth=0.8)
        axes.set(xlabel="absolute error", ylabel="share of rows", ylim=(0, 1.02))
        axes.set_xlim(0, np.interp(0.99, shares, margins))

    return _picture((3.9, 3.1), draw)


def importances(growth: Mapping[str, float], error_name: str) -> str:
    """Draw the permutation importance of columns, in the order of the mapping from top to bottom.

    Parameters
    ----------
    growth : mapping from str to float
        The growth of the error when a column is shuffled. The first 20 columns are drawn.
    error_name : str
        Name of the error, such as "log loss".
    """
    names = list(growth)[:_MAX_LABELS]

    def draw(axes: Axes) -> None:
        axes.barh(range(len(names)), [growth[name] for name in names], color=_PALE)
        axes.set_yticks(range(len(names)), [shortened(name) for name in names])
        axes.invert_yaxis()
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.set(xlabel=f"growth of the {error_name} when the column is shuffled")

    return _picture((_WIDTH, 0.5 + 0.24 * len(names)), draw)


def shortened(text: str, longest: int = 24) -> str:
    """Return a text, cut and with an ellipsis if it is longer than `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _picture(size: tuple[float, float], draw: Callable[..., None], n_panels: int = 1) -> str:
    """Make a styled figure of `n_panels` axes side by side, call `draw(*axes)`, and return the figure as SVG.

    Parameters
    ----------
    size : (float, float)
        Width and height, in inches.
    draw : callable
        Takes `n_panels` axes.
    n_panels : int, default 1
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(size, layout="constrained")
        panels = figure.subplots(1, n_panels, squeeze=False)[0]
        draw(*panels)
        for axes in panels:
            for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                label.set_parse_math(False)  # a name such as $a$ is not mathematics
        buffer = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text in the SVG, and a browser has the fonts. matplotlib only measures the text without them.
            warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, dpi=150)
    text = buffer.getvalue()
    return text[text.index("<svg") :]

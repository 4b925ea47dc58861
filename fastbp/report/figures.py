"""The report's pictures, each as an SVG element: learning curves, confusions, residuals, calibration, importances.

It knows arrays and matplotlib. It must not know pages, or where the numbers come from.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Array = npt.NDArray[Any]

_INK, _PALE, _WARM = "#1f4e79", "#9db8d2", "#c8553d"
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
_MOST_POINTS = 5000
_SHOWN = 20


def learning_curves(
    losses: Sequence[Sequence[float]], errors: Sequence[Sequence[float]], best: Sequence[int], metric: str
) -> str:
    """Draw each network's training loss and its error on the rows held out, a dot at the epoch that was kept."""
    with mpl.rc_context(_STYLE):
        figure = Figure((8.4, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
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
        right.set(xlabel="epoch", title=f"{metric} on rows held out")
        return _svg(figure)


def confusion(counts: Array, labels: Sequence[str]) -> str:
    """Draw how many rows of each class (down) were taken for which (across), shaded by share of the row."""
    with mpl.rc_context(_STYLE):
        side = 1.6 + 0.42 * len(labels)
        figure = Figure((min(8.4, side + 1.2), min(7.5, side)), layout="constrained")
        axes = figure.subplots()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(labels) <= _SHOWN:
            for row, column in np.ndindex(*counts.shape):
                colour = "white" if shares[row, column] > 0.55 else "#333333"
                text = f"{counts[row, column]:,.0f}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        ticks = range(len(labels))
        axes.set_xticks(ticks, [shortened(label) for label in labels], rotation=45, ha="right")
        axes.set_yticks(ticks, [shortened(label) for label in labels])
        axes.set(xlabel="predicted", ylabel="true")
        return _svg(figure)


def calibration(probabilities: Array, is_right: Array) -> str:
    """Draw how often predictions of a confidence were right, over that confidence, in bins of equally many rows."""
    with mpl.rc_context(_STYLE):
        figure = Figure((3.9, 3.1), layout="constrained")
        axes = figure.subplots()
        order = np.argsort(probabilities, kind="stable")
        bins = np.array_split(order, max(1, min(10, len(order) // 20)))
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
        for part in bins:
            share = is_right[part].mean()
            spread = 1.64 * np.sqrt(max(share * (1 - share), 0.25 / (len(part) + 4)) / len(part))
            axes.plot([probabilities[part].mean()] * 2, [share - spread, share + spread], color=_PALE, linewidth=2)
        means = [probabilities[part].mean() for part in bins]
        axes.plot(means, [is_right[part].mean() for part in bins], "o", color=_INK, markersize=5)
        lowest = max(0.0, min(means) - 0.1)
        axes.set(xlim=(lowest, 1.02), ylim=(max(0.0, lowest - 0.1), 1.05), xlabel="confidence", ylabel="share right")
        return _svg(figure)


def residuals(values: Array, truth: Array) -> str:
    """Draw predictions over true values, and how the errors are spread."""
    with mpl.rc_context(_STYLE):
        figure = Figure((8.4, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        chosen = np.random.default_rng(0).permutation(len(truth))[:_MOST_POINTS]
        ends = [min(truth.min(), values.min()), max(truth.max(), values.max())]
        left.plot(ends, ends, color="#bbbbbb", linewidth=1)
        left.plot(truth[chosen], values[chosen], "o", color=_INK, alpha=0.35, markersize=3, mew=0, rasterized=True)
        left.set(xlabel="true", ylabel="predicted")
        right.hist(values - truth, bins=40, color=_PALE)
        right.axvline(0, color=_WARM, linewidth=1)
        right.set(xlabel="predicted − true", ylabel="rows")
        return _svg(figure)


def coverage(margins: Array, shares: Array) -> str:
    """Draw how far from its prediction a number lies in how large a share of cases."""
    with mpl.rc_context(_STYLE):
        figure = Figure((3.9, 3.1), layout="constrained")
        axes = figure.subplots()
        axes.plot(margins, shares, color=_INK)
        for share in (0.5, 0.9):
            margin = np.interp(share, shares, margins)
            axes.plot([0, margin, margin], [share, share, 0], color=_WARM, linewidth=0.8)
        axes.set(xlabel="distance from the prediction", ylabel="share of rows within", ylim=(0, 1.02))
        axes.set_xlim(0, np.interp(0.99, shares, margins))
        return _svg(figure)


def importances(growth: Mapping[str, float], what: str) -> str:
    """Draw what the error grows by without each column, the largest above."""
    names = list(growth)[:_SHOWN]
    with mpl.rc_context(_STYLE):
        figure = Figure((8.4, 0.5 + 0.24 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(names)), [growth[name] for name in names], color=_PALE)
        axes.set_yticks(range(len(names)), [shortened(name) for name in names])
        axes.invert_yaxis()
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.set(xlabel=f"growth of the {what} when the column's cells are shuffled")
        return _svg(figure)


def shortened(label: str, most: int = 24) -> str:
    """Return a text, cut where it is longer than so many characters."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _svg(figure: Figure) -> str:
    """Return the figure as an SVG element for a page."""
    _escape_dollars(figure.axes)
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Letters stay text, which a browser has fonts for; only their room is measured without.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, dpi=150)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _escape_dollars(panels: Sequence[Axes]) -> None:
    """Keep matplotlib from reading a name such as $a$ as mathematics."""
    for axes in panels:
        for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            text.set_parse_math(False)

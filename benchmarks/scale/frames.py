"""The tables of models in memory: three libraries on frames, and `Network` on an array."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.scale.processes import MIB, MissingError, digits, measured

MODELS = ("fastbp", "HistGradientBoosting", "LightGBM")
HEADER = (
    "rows",
    "model",
    "",
    "wall, s",
    "CPU, s",
    "peak, MiB",
    "peak / frame",
    "networks × epochs, or trees",
    "scores",
)
BUDGET_ROWS = 1_000_000  # a table of so many rows or more is trained with a time budget
NETWORK_COLUMNS = 30


def model_lines(rows: Sequence[int], budget: float, folder: str) -> Iterator[list[str]]:
    """Yield two lines for each number of rows and each library: training, and predicting as many fresh rows."""
    for n_rows in rows:
        for model in MODELS:
            path = os.path.join(folder, f"{model}-{n_rows}")
            limit = budget if model == "fastbp" and n_rows >= BUDGET_ROWS else None
            try:
                trained = measured("fit", model=model, n_rows=n_rows, path=path, budget=limit)
                predicted = measured("predict", model=model, n_rows=n_rows, path=path)
            except MissingError as missing:
                yield [f"{n_rows:,}", model, f"not installed: `pip install {missing}`", *[""] * 6]
                continue
            name = model if limit is None else f"{model}, time_budget={limit:g}"
            yield [f"{n_rows:,}", name, "fit", *took(trained, trained["frame"]), size_of(trained), ""]
            yield [f"{n_rows:,}", name, "predict", *took(predicted, trained["frame"]), "", scores_of(predicted)]


def network_lines(rows: Sequence[int], folder: str) -> Iterator[list[str]]:
    """Yield two lines for each number of rows: training of one network, and predicting as many fresh rows."""
    for n_rows in rows:
        path = os.path.join(folder, f"network-{n_rows}")
        trained = measured("network_fit", n_rows=n_rows, n_columns=NETWORK_COLUMNS, path=path)
        predicted = measured("network_predict", n_rows=n_rows, n_columns=NETWORK_COLUMNS, path=path)
        yield [f"{n_rows:,}", "Network", "fit", *took(trained, trained["frame"]), size_of(trained), ""]
        explained = f"R² {predicted['r2']:.3f}"
        yield [f"{n_rows:,}", "Network", "predict", *took(predicted, predicted["frame"]), "", explained]


def took(found: dict[str, Any], table_bytes: float) -> list[str]:
    """Return seconds, CPU seconds, and the peak of memory, also as a multiple of the table."""
    return [
        digits(found["wall"]),
        digits(found["cpu"]),
        f"{found['peak'] / MIB:.0f}",
        digits(found["peak"] / table_bytes, 2),
    ]


def size_of(found: dict[str, Any]) -> str:
    """Return the number of networks with their epochs, or the number of trees."""
    if "trees" in found:
        return f"{found['trees']} trees"
    least, most = min(found["epochs"]), max(found["epochs"])
    return f"{len(found['epochs'])} × {least if least == most else f'{least} to {most}'}"


def scores_of(found: dict[str, Any]) -> str:
    """Return the scores of fresh rows."""
    return f"log loss {found['log_loss']:.4f}, AUC {found['auc']:.4f}, accuracy {found['accuracy']:.4f}"

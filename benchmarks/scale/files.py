"""The table of `fastbp train` and `fastbp predict` on CSV and Parquet files, each command a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from benchmarks.scale import frames
from benchmarks.scale.processes import MIB, commanded, measured

FORMATS = ("csv", "parquet")
HEADER = (
    "rows", "file", "MiB", "command", "wall, s", "CPU, s", "peak, MiB", "peak / file", "networks × epochs", "scores"
)  # fmt: skip


def lines(rows: Sequence[int], budget: float, folder: str) -> Iterator[list[str]]:
    """Yield two lines for each number of rows and each format: `fastbp train`, and `fastbp predict` of fresh rows.

    The predictions are written in the format of the rows. A training has a time budget, so that all rows compare.
    """
    for n_rows in rows:
        paths = {each: [os.path.join(folder, f"{name}.{each}") for name in ("old", "new")] for each in FORMATS}
        for seed in (0, 1):
            sizes = measured("write", n_rows=n_rows, seed=seed, **{each: paths[each][seed] for each in FORMATS})
        for each, (old, new) in paths.items():
            model, out = os.path.join(folder, "model.fastbp"), os.path.join(folder, f"out.{each}")
            options = ["--target", "y", "--task", "classification", "--time-budget", f"{budget:g}"]
            trained = commanded("train", old, *options, "--model", model, "--json", "-q")
            size = {"epochs": [network["epochs"] for network in json.loads(trained["output"])["networks"]]}
            predicted = commanded("predict", model, new, "--probabilities", "-o", out, "-q")
            scores = frames.scores_of(measured("score", path=out))
            begin = [f"{n_rows:,}", each, f"{sizes[each] / MIB:.0f}"]
            yield [*begin, "train", *frames.took(trained, sizes[each]), frames.size_of(size), ""]
            yield [*begin, "predict", *frames.took(predicted, sizes[each]), "", scores]
            for path in (old, new, out):
                os.remove(path)

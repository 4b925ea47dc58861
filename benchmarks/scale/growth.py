"""The study of growth: measurements in one thread, the constants of `formulas` fitted to them, and a check.

The fit minimises the squared relative errors, with constants that are not negative. The points of the check take no
part in it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.scale.formulas import Constants
from benchmarks.scale.processes import MIB, digits, measured, print_lines
from benchmarks.scale.simulation import Machine, Table, simulated

COLUMNS = 19
# Rows, copies of the 19 columns, and the width of the three hidden layers.
FITTED = [(50_000, 1, 256), (100_000, 1, 256), (50_000, 2, 256), (50_000, 4, 256), (50_000, 1, 128), (100_000, 2, 128)]
CHECKED = [(200_000, 1, 256), (100_000, 3, 192), (1_000_000, 1, 256)]
READ_ROWS, CHECKED_READ_ROWS = 100_000, 1_000_000
PAIR = {"n_rows": 20_000, "n_estimators": 4, "epochs": 5}
SPREAD = {"5,000 rows of the generator": 16, "the penguins": 48}  # tables, and networks of each


def fitted(terms: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Return the constants, of 0 or more, whose sums with the terms have the least squared relative errors."""
    from scipy.optimize import nnls

    y = np.asarray(seconds, float)
    constants, _ = nnls(np.asarray(terms, float) / y[:, np.newaxis], np.ones(len(y)))
    return constants.tolist()


def constants_of(points: Sequence[dict[str, Any]], reads: dict[str, float], pair: float) -> Constants:
    """Return the constants that fit some measurements."""

    def of(part: str, *terms: str) -> list[float]:
        factors = {
            "weights": lambda p: p["n"] * p["weights"] * 1e-12,
            "columns": lambda p: p["n"] * p["columns"] * 1e-9,
            "cells": lambda p: p["n"] * p["columns"],
            "one": lambda _: MIB,
        }
        return fitted([[factors[term](point) for term in terms] for point in points], [p[part] for p in points])

    (encode,), (stored,) = of("encoding", "columns"), of("stored", "cells")
    # What is left of a fit beside its encoding and epochs may be measured as 0, so it has no relative error.
    finish = float(np.median([point["finishing"] / point["n"] for point in points])) * 1e9
    (step, gather), (forward, code) = of("epoch", "weights", "columns"), of("predicting", "weights", "columns")
    cell, base = of("peak", "cells", "one")
    return Constants(
        read_csv=reads["csv"],
        read_parquet=reads["parquet"],
        encode=encode,
        step=step,
        gather=gather,
        finish=finish,
        forward=forward,
        code=code,
        cell=cell,
        stored=stored,
        base=base,
        pair=pair,
    )


def measured_parts(points: Sequence[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """Return the parts of a fit for each point, measured in one thread."""
    return [
        {"n": n, "columns": COLUMNS * copies, **measured("parts", n_rows=n, copies=copies, width=width)}
        for n, copies, width in points
    ]


def measured_reads(n_rows: int, folder: str) -> dict[str, float]:
    """Return the nanoseconds per cell of reading each kind of file."""
    paths = {each: os.path.join(folder, f"read.{each}") for each in ("csv", "parquet")}
    measured("write", n_rows=n_rows, seed=0, **paths)
    found = {
        each: measured("reading", path=path)["cpu"] / (n_rows * (COLUMNS + 1)) * 1e9 for each, path in paths.items()
    }
    for path in paths.values():
        os.remove(path)
    return found


def print_study(folder: str) -> None:
    """Measure, fit, check, and print everything."""
    points, reads = measured_parts(FITTED), measured_reads(READ_ROWS, folder)
    one, two = (measured("several", n_jobs=n_jobs, **PAIR) for n_jobs in (1, 2))
    constants = constants_of(points, reads, two["cpu"] / one["cpu"])
    rounded = {name: float(f"{value:.3g}") for name, value in dataclasses.asdict(constants).items()}
    print(f"`Constants({', '.join(f'{name}={value:g}' for name, value in rounded.items())})`\n")
    print_lines(
        ("point", "rows", "columns", "weights", "encoding, s", "epoch, s", "predicting, s", "peak, MiB"),
        (
            line(kind, point, constants)
            for kind, each in (("fitted", points), ("checked", measured_parts(CHECKED)))
            for point in each
        ),
    )
    print("\nEach cell is the measured value / the model's value, in CPU seconds of one core.\n")
    again = measured_reads(CHECKED_READ_ROWS, folder)
    shown = ", ".join(f"{each} {reads[each]:.0f} and {again[each]:.0f}" for each in reads)
    print(f"Reading, in nanoseconds per cell, of {READ_ROWS:,} and of {CHECKED_READ_ROWS:,} rows: {shown}.\n")
    print_check(constants, one, two)
    for name, n_estimators in SPREAD.items():
        epochs = measured("spread", table=name, n_estimators=n_estimators)["epochs"]
        print(
            f"Epochs of {n_estimators} networks of {name}: {min(epochs)} to {max(epochs)}, "
            f"mean {np.mean(epochs):.1f}, standard deviation {np.std(epochs, ddof=1):.1f}."
        )


def print_check(constants: Constants, one: dict[str, Any], two: dict[str, Any]) -> None:
    """Compare the simulation with ensembles that were trained on one core and on two cores."""
    table = Table(PAIR["n_rows"], PAIR["epochs"], PAIR["epochs"])
    cores = [
        simulated(table, Machine("", n, n), PAIR["n_estimators"], constants, n_weights=round(found["weights"])).total
        for n, found in ((1, one), (2, two))
    ]
    print(
        f"An ensemble of {PAIR['n_estimators']} networks, {PAIR['n_rows']:,} rows, {PAIR['epochs']} epochs: one core "
        f"{digits(one['cpu'])} s of CPU time (simulated {digits(cores[0])} s), two cores {digits(two['wall'])} s "
        f"(simulated {digits(cores[1])} s).\n"
    )


def line(kind: str, point: dict[str, Any], constants: Constants) -> list[str]:
    """Return one line of the table of points."""
    n, columns, weights = point["n"], point["columns"], point["weights"]
    pairs = [
        (point["encoding"], constants.encoding(n, columns)),
        (point["epoch"], constants.epoch(n, columns, weights)),
        (point["predicting"], constants.predicting(n, columns, weights)),
        (point["peak"] / MIB, constants.peak(n, columns) / MIB),
    ]
    return [kind, f"{n:,}", str(columns), f"{weights:,}", *(f"{digits(a)} / {digits(b)}" for a, b in pairs)]

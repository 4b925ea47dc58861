"""Short calls: `partial_fit`, `predict` and `predict_proba` of few rows, and those of `fastbp.Network`.

The calls of both packages take turns. This file must not know how time is measured.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import microseconds
from benchmarks.drop_in.fits import print_header, print_row
from benchmarks.drop_in.network_calls import BATCH_SIZE, KERNEL_CALLS, SIZES, NetworkCalls
from benchmarks.drop_in.problems import PACKAGES, Problem, load
from benchmarks.drop_in.turns import seconds_per_call

TABLES = ("digits", "iris", "breast_cancer")
TURNS = 5  # per round
LEARNT_ROWS, PREDICTED_ROWS = (1, 32, 128), (1, 32, 100, 1000)


class Call(NamedTuple):
    """A short call of an estimator."""

    method: str
    rows: str
    of_model: Callable[[Any], Callable[[], object]]  # from a fitted estimator


def calls(problem: Problem) -> Iterator[Call]:
    """Yield each short call. A table with too few rows for a call is repeated."""
    every = len(problem.X)

    def rows_of(array: np.ndarray, rows: int) -> np.ndarray:
        return np.resize(array, (rows, *array.shape[1:]))

    for rows in LEARNT_ROWS:
        batch = rows_of(problem.X, rows), rows_of(problem.y, rows)
        yield Call("partial_fit", str(rows), lambda model, batch=batch: lambda: model.partial_fit(*batch))
    for method in ("predict", "predict_proba"):
        for rows in (*PREDICTED_ROWS, every):
            X, shown = rows_of(problem.X, rows), f"all {every}" if rows == every else str(rows)
            yield Call(method, shown, lambda model, X=X, method=method: lambda: getattr(model, method)(X))


def print_short_calls(tables: Iterable[str], rounds: int, settle: Callable[[], None]) -> None:
    """Print the times of short calls of default estimators, and the lowest ratio of each kind of call."""
    print_header("table", "call", "rows", "scikit-learn, µs", "fastbp, µs", "times faster")
    times: dict[tuple[str, str], list[float]] = {}
    for table in tables:
        problem = load(table)
        models = [problem.estimator(package, max_iter=5).fit(problem.X, problem.y) for package in PACKAGES]
        for call in calls(problem):
            theirs, own = seconds_per_call([call.of_model(model) for model in models], TURNS * rounds, settle)
            print_row(table, call.method, call.rows, microseconds(theirs), microseconds(own), f"{theirs / own:.1f}")
            times.setdefault((call.method, call.rows.split()[0]), []).append(theirs / own)
    print()
    print_header("call", "rows", "times faster: lowest", "median")
    for (method, rows), ratios in times.items():
        print_row(method, rows, f"{min(ratios):.1f}", f"{statistics.median(ratios):.1f}")


def print_network_calls(rounds: int, settle: Callable[[], None]) -> None:
    """Print the times of short calls of `fastbp.Network`."""
    made = NetworkCalls()
    of_calls = [made.fit, made.steps, made.predict, made.predictions]
    fit, steps, predict, predictions = seconds_per_call(of_calls, TURNS * rounds, settle)
    print_header(f"fastbp.Network({list(SIZES)})", "call, µs", "kernel alone, µs")
    print_row(f"fit of {BATCH_SIZE} rows, one step", microseconds(fit), microseconds(steps / KERNEL_CALLS))
    print_row("predict of one row", microseconds(predict), microseconds(predictions / KERNEL_CALLS))

"""Whole fits of both packages: by table, by width of the hidden layers, and by settings and activation.

Both packages fit the same table with the same parameters and the same `random_state`, in turns. The time is that of the
whole `fit` call, and the difference is the largest one of all results of a fit, relative to the largest number of each
array. This file must not know how a fit is computed.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drop_in.problems import PACKAGES, SETTINGS, Problem, load
from benchmarks.drop_in.turns import KernelClock

WIDTHS = ((16,), (100,), (64, 64), (256, 128, 64), (512, 512))
EPOCHS = 10  # of a fit by width
ROUNDING = 1e-9
LEFT_BEHIND = ("loss_curve_", "validation_scores_", "loss_", "best_validation_score_", "n_iter_", "t_")


class Comparison(NamedTuple):
    """The results of fits of both packages, as medians over rounds."""

    seconds: dict[str, float]  # by package
    kernel_share: float  # part of fastbp's time that is spent in compiled calls
    difference: float
    epochs: tuple[int, int]

    @property
    def times_faster(self) -> float:
        return self.seconds["scikit-learn"] / self.seconds["fastbp"]

    @property
    def columns(self) -> list[str]:
        """The columns of COLUMNS."""
        milliseconds = [three_digits(self.seconds[package] * 1e3) for package in PACKAGES]
        return [*milliseconds, f"{self.times_faster:.1f}", f"{self.kernel_share:.0%}"]


COLUMNS = ("scikit-learn, ms", "fastbp, ms", "times faster", "kernel time")


def compare(
    problem: Problem, parameters: Mapping[str, Any], rounds: int, settle: Callable[[], None] = lambda: None
) -> Comparison:
    """Fit with both packages in turns."""
    seconds: dict[str, list[float]] = {package: [] for package in PACKAGES}
    shares, models = [], {}
    for _ in range(rounds):
        for package in PACKAGES:
            models[package] = model = problem.estimator(package, **parameters)
            settle()
            with KernelClock() as clock:
                start = time.perf_counter()
                model.fit(problem.X, problem.y)
                seconds[package].append(time.perf_counter() - start)
            if package == "fastbp":
                if clock.calls == 0:
                    raise RuntimeError("the clock saw no compiled call of this fit: update KernelClock.ENTRIES")
                shares.append(clock.seconds / seconds[package][-1])
    results = [learned(model, problem.X) for model in models.values()]
    return Comparison(
        {package: statistics.median(found) for package, found in seconds.items()},
        statistics.median(shares),
        max(map(difference, *reversed(results))),
        tuple(model.n_iter_ for model in models.values()),
    )


def learned(model: Any, X: np.ndarray) -> list[np.ndarray]:
    """Return all results of a fit as arrays."""
    found = [getattr(model, name, None) for name in LEFT_BEHIND]
    predicted = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    arrays = [np.asarray(one, float) for one in found if one is not None]
    return [*arrays, *model.coefs_, *model.intercepts_, predicted]


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest difference of two arrays, relative to the largest number; infinity for different shapes."""
    if found.shape != wanted.shape:
        return np.inf
    return float(np.max(np.abs(found - wanted), initial=0) / np.max(np.abs(wanted), initial=1e-300))


def sensitivity(problem: Problem, parameters: Mapping[str, Any]) -> float:
    """Return the change of scikit-learn's results when X changes by one unit in the last place."""
    models = [problem.estimator("scikit-learn", **parameters) for _ in range(2)]
    tables = problem.X, np.nextafter(problem.X, np.inf)
    results = [learned(model.fit(X, problem.y), problem.X) for model, X in zip(models, tables, strict=True)]
    return max(map(difference, *results))


def three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_header(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_by_table(tables: Iterable[str], rounds: int, settle: Callable[[], None]) -> None:
    """Print the times of fits with default parameters."""
    print_header("table", *COLUMNS)
    times = []
    for table in tables:
        found = compare(load(table), {}, rounds, settle)
        print_row(table, *found.columns)
        times.append(found.times_faster)
    print_row("median", "", "", f"{statistics.median(times):.1f}", "")


def print_by_width(widths: Iterable[tuple[int, ...]], rounds: int, settle: Callable[[], None]) -> None:
    """Print the times of fits of the same number of epochs on the digits."""
    print_header("hidden layers", *COLUMNS)
    digits = load("digits")
    for width in widths:
        all_epochs = {"hidden_layer_sizes": width, "max_iter": EPOCHS, "n_iter_no_change": EPOCHS}
        found = compare(digits, all_epochs, rounds, settle)
        if found.epochs != (EPOCHS, EPOCHS):
            raise RuntimeError(f"the fits made {found.epochs} epochs instead of {EPOCHS} each")
        print_row(width, *found.columns)


def print_by_settings(
    settings: Iterable[str], activations: Iterable[str], tables: Iterable[str], rounds: int, settle: Callable[[], None]
) -> None:
    """Print the differences and times of fits with every setting and activation, and then the medians."""
    print_header("table", "settings", "activation", "largest difference", "scikit-learn's own change", *COLUMNS)
    times: dict[str, list[float]] = {}
    differences = []
    for setting in settings:
        for table in tables:
            problem = load(table)
            for activation in activations:
                parameters = {**SETTINGS[setting], "activation": activation}
                found = compare(problem, parameters, rounds, settle)
                differences.append(found.difference)
                times.setdefault(setting, []).append(found.times_faster)
                own = f"{sensitivity(problem, parameters):.1e}" if found.difference > ROUNDING else ""
                print_row(table, setting, activation, f"{found.difference:.1e}", own, *found.columns)
        print(f"{setting} done", file=sys.stderr)
    print(f"\nLargest difference of {len(differences)} fits: {max(differences):.1e}.\n")
    print_header("settings", "times faster: lowest", "median")
    for setting, ratios in times.items():
        print_row(setting, f"{min(ratios):.1f}", f"{statistics.median(ratios):.1f}")

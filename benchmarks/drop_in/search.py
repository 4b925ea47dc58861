"""A whole `GridSearchCV` of 24 candidates by 5 folds with the estimator of each package, in turns.

This file must not know how a fit is computed.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, ParameterGrid

from benchmarks.drop_in.fits import print_header, print_row, three_digits
from benchmarks.drop_in.problems import PACKAGES, load
from benchmarks.drop_in.turns import KernelClock

TABLE, FOLDS = "breast_cancer", 5
GRID = {
    "hidden_layer_sizes": [(25,), (50,), (100,), (50, 50)],
    "alpha": [1e-4, 1e-2, 1.0],
    "learning_rate_init": [1e-3, 1e-2],
}


def print_search(
    grid: Mapping[str, Sequence[Any]], jobs: Sequence[int | None], rounds: int, settle: Callable[[], None]
) -> None:
    """Print the times of a whole search, and the largest difference of the candidates' mean scores."""
    print(f"{len(ParameterGrid(grid))} candidates by {FOLDS} folds on {TABLE}, and the fit of the best candidate.\n")
    columns = ("scikit-learn, s", "fastbp, s", "times faster", "kernel time", "largest difference of a score")
    print_header("n_jobs", *columns)
    problem = load(TABLE)
    for n_jobs in jobs:
        seconds: dict[str, list[float]] = {package: [] for package in PACKAGES}
        shares, scores = [], {}
        for package in PACKAGES if n_jobs is not None else ():  # starts the worker processes
            _search(problem.estimator(package, max_iter=2), {"alpha": [1e-4, 1e-3]}, n_jobs).fit(problem.X, problem.y)
        for _ in range(rounds):
            for package in PACKAGES:
                search = _search(problem.estimator(package), grid, n_jobs)
                settle()
                with KernelClock() as clock:
                    start = time.perf_counter()
                    search.fit(problem.X, problem.y)
                    seconds[package].append(time.perf_counter() - start)
                scores[package] = search.cv_results_["mean_test_score"]
                if package == "fastbp":
                    shares.append(clock.seconds / seconds[package][-1])
        theirs, own = (statistics.median(seconds[package]) for package in PACKAGES)
        share = f"{statistics.median(shares):.0%}" if n_jobs is None else ""  # the clock is in this process alone
        apart = np.max(np.abs(scores["fastbp"] - scores["scikit-learn"]))
        print_row(n_jobs, three_digits(theirs), three_digits(own), f"{theirs / own:.1f}", share, f"{apart:.1e}")


def _search(estimator: Any, grid: Mapping[str, Sequence[Any]], n_jobs: int | None) -> GridSearchCV:
    return GridSearchCV(estimator, grid, cv=FOLDS, n_jobs=n_jobs)

"""Compare fastbp.sklearn with scikit-learn: `python -m benchmarks.drop_in` prints Markdown tables.

Both packages fit the same tables with the same parameters and the same `random_state`, in turns, in one process with
one thread. The difference is the largest one of all results of a fit, relative to the largest number of each array. The
time is that of the whole `fit` call, as the median of the rounds.

If a difference is larger than `ROUNDING`, the table also shows how much scikit-learn's own result changes when X
changes in the last digit, because some fits amplify every rounding error. In this comparison, scikit-learn's held-out
rows are stratified by three and more classes too, as scikit-learn documents. This file must not know how a fit is
computed.
"""

import argparse
import statistics
import sys
import time
import warnings

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import _multilayer_perceptron
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

import fastbp.sklearn
from benchmarks.common import machine, pin, usable_cores

TABLES = ("iris", "wine", "breast_cancer", "diabetes", "digits")
ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
SETTINGS = {
    "defaults": {},
    "batch_size=32": {"batch_size": 32},
    "early_stopping": {"early_stopping": True},
    "sgd": {"solver": "sgd"},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05, "tol": 1e-3},
    "lbfgs": {"solver": "lbfgs"},
}
ROUNDING = 1e-9
LEFT_BEHIND = ("loss_curve_", "validation_scores_", "loss_", "best_validation_score_", "n_iter_", "t_")


def load(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return ("MLPRegressor", scale(X), scale(y)) if name == "diabetes" else ("MLPClassifier", scale(X), y)


def learned(model, X):
    """Return all results of a fit as arrays."""
    found = [getattr(model, name, None) for name in LEFT_BEHIND]
    predicted = model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    arrays = [np.asarray(one, float) for one in found if one is not None]
    return [*arrays, *model.coefs_, *model.intercepts_, predicted]


def difference(found, wanted):
    """Return the largest difference of two arrays, relative to the largest number; infinity for different shapes."""
    if found.shape != wanted.shape:
        return np.inf
    return np.max(np.abs(found - wanted), initial=0) / np.max(np.abs(wanted), initial=1e-300)


def compare(table, parameters, rounds):
    """Return the largest difference, and the time of scikit-learn divided by the time of fastbp."""
    kind, X, y = table
    makers = [getattr(module, kind) for module in (neural_network, fastbp.sklearn)]
    seconds, left = ([], []), [None, None]
    for _ in range(rounds):
        for which, maker in enumerate(makers):
            model = maker(random_state=0, **parameters)
            start = time.perf_counter()
            model.fit(X, y)
            seconds[which].append(time.perf_counter() - start)
            left[which] = learned(model, X)
    wanted, found = left
    return max(map(difference, found, wanted)), statistics.median(seconds[0]) / statistics.median(seconds[1])


def sensitivity(table, parameters):
    """Return the change of scikit-learn's results when X changes by one unit in the last place."""
    kind, X, y = table
    models = [getattr(neural_network, kind)(random_state=0, **parameters) for _ in range(2)]
    left = [learned(model.fit(rows, y), X) for model, rows in zip(models, (X, np.nextafter(X, np.inf)), strict=True)]
    return max(map(difference, *left))


def stratify_as_documented():
    split = _multilayer_perceptron.train_test_split

    def stratified(X, y, *rest, stratify, **options):
        by = y.argmax(axis=1) if y.shape[1] > 2 else stratify
        return split(X, y, *rest, stratify=by, **options)

    _multilayer_perceptron.train_test_split = stratified


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drop_in", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="fits per number; default 3")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS, default=ACTIVATIONS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    stratify_as_documented()
    pin({min(usable_cores())})
    fastbp.sklearn.MLPRegressor(hidden_layer_sizes=2, max_iter=1).fit(
        np.zeros((4, 1)), np.zeros(4)
    )  # loads or compiles the kernels
    print(f"{machine(['fastbp', 'scikit-learn', 'numpy', 'scipy', 'numba'])}\n")
    columns = ("table", "settings", "activation", "largest difference", "scikit-learn's own change", "times faster")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    sooner, differences = {}, []
    with threadpool_limits(1):
        for setting in arguments.settings:
            for name in TABLES:
                table = load(name)
                for activation in arguments.activations:
                    parameters = {**SETTINGS[setting], "activation": activation}
                    found, times = compare(table, parameters, arguments.rounds)
                    differences.append(found)
                    sooner.setdefault(setting, []).append(times)
                    own = f"{sensitivity(table, parameters):.1e}" if found > ROUNDING else ""
                    print(f"| {name} | {setting} | {activation} | {found:.1e} | {own} | {times:.1f} |", flush=True)
            print(f"{setting} done", file=sys.stderr)
    print(f"\nLargest difference of {len(differences)} fits: {max(differences):.1e}.\n")
    print("| settings | times faster: lowest | median |\n| --- | --- | --- |")
    for setting, times in sooner.items():
        print(f"| {setting} | {min(times):.1f} | {statistics.median(times):.1f} |")


if __name__ == "__main__":
    main()

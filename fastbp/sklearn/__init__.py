"""`MLPClassifier` and `MLPRegressor` of scikit-learn, trained by fastbp: change the import, keep the rest."""

from typing import Any

import sklearn.neural_network
from sklearn.utils.validation import check_is_fitted

from fastbp.sklearn import conversion
from fastbp.sklearn.classifier import MLPClassifier
from fastbp.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """Return scikit-learn's fitted model as fastbp's, which shares nothing with it.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor

    Returns
    -------
    MLPClassifier or MLPRegressor
        With the same weights, the same history and the same state of the optimizer: `partial_fit` goes on. Its
        `to_sklearn` goes the other way.

    Raises
    ------
    TypeError
        If `model` is anything else.
    NotFittedError
        If it has not been fitted.
    """
    kinds = {
        sklearn.neural_network.MLPClassifier: MLPClassifier,
        sklearn.neural_network.MLPRegressor: MLPRegressor,
    }
    if type(model) not in kinds:
        raise TypeError(f"model must be scikit-learn's MLPClassifier or MLPRegressor, got {type(model).__name__}")
    check_is_fitted(model)
    made: MLPClassifier | MLPRegressor = conversion.from_sklearn(model, kinds[type(model)])
    return made

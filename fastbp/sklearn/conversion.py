"""Fitted models from scikit-learn's classes to fastbp's and back: the same attributes under the same names, copied."""

import copy
from typing import Any

import sklearn.neural_network

# What a fastbp estimator has after a fit, and scikit-learn's has not.
_OWN_ATTRIBUTES = ("validation_loss_curve_", "_is_stopping")


def _taken_over(model: Any, kind: type[Any]) -> Any:
    """Return an estimator of this kind with the parameters that it knows, and all else that the model has."""
    mine, known = model.get_params(deep=False), kind._get_param_names()
    made = kind(**{name: copy.deepcopy(value) for name, value in mine.items() if name in known})
    for name, value in vars(model).items():
        if name not in mine:
            setattr(made, name, copy.deepcopy(value))
    return made


def to_sklearn(model: Any) -> Any:
    """Return a fitted fastbp estimator as scikit-learn's; see `BaseMLP.to_sklearn`."""
    names = [base.__name__ for base in type(model).__mro__]
    kind = getattr(sklearn.neural_network, "MLPClassifier" if "MLPClassifier" in names else "MLPRegressor")
    if model.loss not in ("log_loss", "squared_error", "poisson"):
        raise ValueError(f"scikit-learn's {kind.__name__} has no loss {model.loss!r}")
    made = _taken_over(model, kind)
    for name in _OWN_ATTRIBUTES:
        vars(made).pop(name, None)
    return made


def from_sklearn(model: Any, kind: type[Any]) -> Any:
    """Return scikit-learn's fitted estimator as one of fastbp's."""
    made = _taken_over(model, kind)
    made.validation_loss_curve_ = None
    return made

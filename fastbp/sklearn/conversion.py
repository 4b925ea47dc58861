"""Conversion of fitted models between scikit-learn's classes and those of fastbp, with copies of all attributes."""

import copy
from typing import Any

import sklearn.neural_network

_LOSSES_OF_SKLEARN = ("log_loss", "squared_error", "poisson")
_OWN_ATTRIBUTES = ("validation_loss_curve_", "_is_stopping")  # scikit-learn's estimators do not have these


def to_sklearn(model: Any) -> Any:
    """Return a fitted estimator of fastbp as one of scikit-learn; see `BaseMLP.to_sklearn`."""
    names = [base.__name__ for base in type(model).__mro__]
    kind = getattr(sklearn.neural_network, "MLPClassifier" if "MLPClassifier" in names else "MLPRegressor")
    if model.loss not in _LOSSES_OF_SKLEARN:
        raise ValueError(f"scikit-learn's {kind.__name__} has no loss {model.loss!r}")
    return _converted(model, kind, model.__getstate__())


def from_sklearn(model: Any, kind: type[Any]) -> Any:
    """Return a fitted estimator of scikit-learn as one of this kind of fastbp."""
    made = _converted(model, kind, vars(model))
    made.validation_loss_curve_ = None
    return made


def _converted(model: Any, kind: type[Any], state: dict[str, Any]) -> Any:
    """Return an estimator of this kind with copies of the parameters that it takes and of the fitted attributes."""
    parameters, taken = model.get_params(deep=False), kind._get_param_names()
    made = kind(**{name: copy.deepcopy(value) for name, value in parameters.items() if name in taken})
    for name, value in state.items():
        if name not in parameters and name not in _OWN_ATTRIBUTES:
            setattr(made, name, copy.deepcopy(value))
    return made

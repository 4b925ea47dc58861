"""Drop-in replacements for scikit-learn's `MLPClassifier` and `MLPRegressor`, trained by fastbp.

A user changes the import and keeps the rest of the program. This folder may import scikit-learn and SciPy, `runs`,
`kernels`, and the top of fastbp below `network`: `activations`, `losses`, `optimizers`, `schedules`, `results`. It must
not know `tabular`, `report`, `tables` or `command`. Imports inside run down: onnx, classifier and regressor, base, then
stochastic, lbfgs, conversion, convergence, labels and inputs, then descent and learned, then solvers, packed and
`_compat`.
"""

import re
from typing import Any, overload

try:
    import sklearn

    if [int(number) for number in re.findall(r"\d+", sklearn.__version__)[:2]] < [1, 9]:
        raise ImportError(f"{sklearn.__version__} is installed")
except ImportError as error:
    message = f"fastbp.sklearn needs scikit-learn 1.9 or later ({error}): pip install 'fastbp[sklearn]'"
    raise ImportError(message) from error

import sklearn.neural_network
from sklearn.utils.validation import check_is_fitted

from fastbp.sklearn import conversion
from fastbp.sklearn.classifier import MLPClassifier
from fastbp.sklearn.onnx import register_onnx_converters
from fastbp.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn", "register_onnx_converters"]


@overload
def from_sklearn(model: sklearn.neural_network.MLPClassifier) -> MLPClassifier: ...


@overload  # mypy takes both for the same, because scikit-learn has no types for it
def from_sklearn(  # type: ignore[overload-cannot-match]
    model: sklearn.neural_network.MLPRegressor,
) -> MLPRegressor: ...


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """Convert a fitted model of scikit-learn to the class of fastbp with the same name.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor

    Returns
    -------
    MLPClassifier or MLPRegressor
        An independent copy with the same parameters, history and state of the optimizer. `partial_fit` can continue
        the training. The method `to_sklearn` converts in the other direction.

    Raises
    ------
    TypeError
        If `model` is of another class.
    NotFittedError
        If `model` has not been fitted.

    Examples
    --------
    >>> from sklearn import neural_network
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = neural_network.MLPClassifier(learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> model = from_sklearn(theirs)
    >>> bool((model.predict(X) == theirs.predict(X)).all())
    True
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

"""The checks of an estimator's parameters, rows and targets: scikit-learn's own, and cheaper ones that answer alike.

For arrays, the checks of scikit-learn take longer than a short call. The cheaper checks tell whether scikit-learn would
find nothing; in any other case, scikit-learn checks. This file must not know how a fit proceeds.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import is_regressor
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from fastbp import checks
from fastbp._typing import Array

_valid: set[tuple[Any, ...]] = set()  # combinations of parameters that scikit-learn has found valid
_MOST_VALID = 1000
_SIMPLE = (int, float, str, type(None))
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


class CheckedInputs:
    """The part of an estimator that checks what the user passes."""

    _parameter_constraints: dict[str, Any]
    _plain_kinds: str  # the kinds of NumPy's dtypes that `y` may have without a look at each number

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does; equal parameters of the same types only once in a process."""
        held = vars(self)
        values = [held.get(name) for name in self._parameter_constraints]
        key = (type(self), *values, *map(type, values))
        is_simple = all(map(_is_simple, values))  # others could be large, and would be kept alive
        if is_simple and key in _valid:
            return
        super()._validate_params()  # type: ignore[misc]  # of BaseEstimator
        if is_simple:
            if len(_valid) == _MOST_VALID:
                _valid.clear()
            _valid.add(key)

    def _checked(self, X: Any, y: Any, is_new: bool) -> tuple[Array, Array]:
        """Return dense rows and their `y`, both checked; one column of targets becomes a vector."""
        if self._is_plain_pair(X, y, is_new):
            if is_new:  # what `validate_data` notes
                self.n_features_in_ = X.shape[1]
                vars(self).pop("feature_names_in_", None)
            return X, y
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=is_regressor(self),
            dtype=(np.float64, np.float32),
            reset=is_new,
        )
        return _dense(X), column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _is_plain(self, X: Any) -> bool:
        """Tell whether X is an array in which scikit-learn's checks could find nothing but numbers that are not finite.

        For an array, these checks take longer than the prediction of a hundred rows.
        """
        held = vars(self)
        return _is_matrix(X) and X.shape[1] == held.get("n_features_in_") and "feature_names_in_" not in held

    def _is_plain_pair(self, X: Any, y: Any, is_new: bool) -> bool:
        """Tell whether X and y are arrays that scikit-learn's checks would return unchanged."""
        return (
            (_is_matrix(X) and X.shape[1] > 0 if is_new else self._is_plain(X))
            and type(y) is np.ndarray
            and y.shape == X.shape[:1]
            and y.dtype.kind in self._plain_kinds
            and bool(np.isfinite(X).all())
            and (y.dtype.kind != "f" or bool(np.isfinite(y).all()))
        )

    def _validated(self, X: Any, dtype: npt.DTypeLike = "numeric") -> Array:
        """Return dense rows of a fitted model that scikit-learn has checked."""
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=dtype, reset=False)
        return checks.numbers("X", _dense(X))


def _is_simple(value: Any) -> bool:
    """Tell whether a parameter is a number, a text, None, or a tuple of whole numbers."""
    return isinstance(value, _SIMPLE) or (type(value) is tuple and all(isinstance(item, int) for item in value))


def _is_matrix(X: Any) -> bool:
    """Tell whether X is an array of rows in float32 or float64."""
    return type(X) is np.ndarray and X.dtype in (SINGLE, DOUBLE) and X.ndim == 2 and len(X) > 0


def _dense(X: Any) -> Array:
    return np.asarray(X.toarray()) if issparse(X) else X

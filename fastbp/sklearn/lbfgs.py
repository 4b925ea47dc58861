"""The loss over the whole table, lowered by SciPy's L-BFGS-B over one packed vector of parameters.

The vector holds all coefficients and then all intercepts. This file must not know estimators.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result

from fastbp.sklearn.descent import Array, Objective, WholeTable

CoefPlaces = list[tuple[int, int, tuple[int, int]]]
InterceptPlaces = list[tuple[int, int]]


class Found(NamedTuple):
    """Where the minimisation ended."""

    x: Array
    loss: float
    n_iter: int


def places(sizes: Sequence[int]) -> tuple[CoefPlaces, InterceptPlaces]:
    """Return where in the vector each array lies: its first place, the one past its last, and a matrix's shape."""
    coefs: CoefPlaces = []
    start = 0
    for inputs, outputs in pairwise(sizes):
        coefs.append((start, start + inputs * outputs, (inputs, outputs)))
        start += inputs * outputs
    intercepts: InterceptPlaces = []
    for size in sizes[1:]:
        intercepts.append((start, start + size))
        start += size
    return coefs, intercepts


def pack(coefs: Sequence[Array], intercepts: Sequence[Array]) -> Array:
    """Return one vector of all."""
    return np.hstack([array.ravel() for array in (*coefs, *intercepts)])


def unpack(packed: Array, coefs: CoefPlaces, intercepts: InterceptPlaces) -> tuple[list[Array], list[Array]]:
    """Return the arrays that `pack` packed: views."""
    matrices = [packed[start:end].reshape(shape) for start, end, shape in coefs]
    return matrices, [packed[start:end] for start, end in intercepts]


def packed(
    sizes: Sequence[int],
    activation: str,
    objective: Objective,
    X: Array,
    y: Array,
    sample_weight: Array | None,
    alpha: float,
) -> Callable[[Array], tuple[float, Array]]:
    """Return the loss and its gradient as a function of the vector."""
    whole, (coefs, intercepts) = WholeTable(sizes, activation, objective, X, y, sample_weight, alpha), places(sizes)

    def value(x: Array) -> tuple[float, Array]:
        loss, by_coefs, by_intercepts = whole(*unpack(x, coefs, intercepts))
        return loss, pack(by_coefs, by_intercepts)

    return value


def minimize(
    value: Callable[[Array], tuple[float, Array]], x: Array, max_iter: int, max_fun: int, tol: float, verbose: Any
) -> Found:
    """Run L-BFGS-B from `x`, with scikit-learn's options and its warning if it did not converge."""
    shown = _get_additional_lbfgs_options_dict("iprint", 1 if verbose is True or verbose >= 1 else -1)
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol, **shown}
    result = scipy.optimize.minimize(value, x, method="L-BFGS-B", jac=True, options=options)
    n_iter = _check_optimize_result("lbfgs", result, max_iter)
    return Found(result.x, result.fun, n_iter)

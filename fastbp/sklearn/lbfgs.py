"""The loss over a whole table, lowered by SciPy's L-BFGS-B over one packed vector of parameters.

The vector holds all coefficients and then all intercepts. This file must not know estimators.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result

from fastbp import activations
from fastbp.kernels import entries as training
from fastbp.kernels import layout
from fastbp.sklearn.descent import Array, Objective, table_of

CoefPlaces = list[tuple[int, int, tuple[int, int]]]
InterceptPlaces = list[tuple[int, int]]

_STOPPED_BY_CALLBACK = 99  # SciPy's status


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


class WholeTable:
    """The loss over a whole table, and its gradient, at one vector of parameters after another.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden widths, outputs.
    activation, objective, X, y, sample_weight, alpha
        As for `Descent`; computed in float64.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        objective: Objective,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        alpha: float,
    ) -> None:
        dtype = np.dtype(np.float64)
        code = activations.NAMES.index(activation)
        self._parameters, self._gradients = (layout.zero_parameters(sizes, dtype, code) for _ in range(2))
        self._at = _addresses(sizes, self._parameters)
        self._n_weights = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
        self._table = table_of(X, y, sample_weight, dtype)
        self._workspace = layout.workspace_for(sizes, len(X), dtype)
        self._order, self._loss, self._alpha = np.arange(len(X)), objective.loss, alpha
        self._scale = objective.scale(y.shape[1])
        self._constant = objective.constant(y, sample_weight)
        self._weight = float(len(X) if sample_weight is None else np.sum(sample_weight))

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the loss and its gradient."""
        self._parameters.data[self._at] = x
        operands = self._table, self._parameters, self._gradients, self._workspace, self._order
        value = training.differentiate(*operands, self._loss.code, self._loss.parameter, False)
        gradient, weights = self._gradients.data[self._at], x[: self._n_weights]
        decay = self._alpha / self._weight
        gradient[: self._n_weights] += decay * weights
        return value * self._scale + self._constant + 0.5 * decay * float(weights @ weights), gradient


def _addresses(sizes: Sequence[int], parameters: layout.Parameters) -> Array:
    """Return where each number of a packed vector lies in the parameters' buffer, which is all zeros."""
    coefs, intercepts = places(sizes)
    numbers = np.arange(1.0, intercepts[-1][1] + 1)
    matrices, vectors = unpack(numbers, coefs, intercepts)
    layout.write_parameters(parameters, [matrix.T for matrix in matrices], vectors)
    return np.argsort(parameters.data)[-len(numbers) :]


def minimize(
    value: WholeTable,
    x: Array,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: Any,
    callback: Callable[[Array, float], bool] | None,
) -> Found:
    """Run L-BFGS-B from `x`, with scikit-learn's options and its warning if it did not converge.

    A callback is given the vector and the loss after each iteration, and ends the run if it returns True.
    """
    shown = _get_additional_lbfgs_options_dict("iprint", 1 if verbose is True or verbose >= 1 else -1)
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol, **shown}

    def watch(intermediate_result: Any) -> None:
        if callback is not None and callback(intermediate_result.x, float(intermediate_result.fun)):
            raise StopIteration

    watching = None if callback is None else watch
    result = scipy.optimize.minimize(value, x, method="L-BFGS-B", jac=True, options=options, callback=watching)
    was_stopped = result.status == _STOPPED_BY_CALLBACK
    n_iter = result.nit if was_stopped else _check_optimize_result("lbfgs", result, max_iter)
    return Found(result.x, result.fun, n_iter)

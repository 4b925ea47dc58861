"""SciPy's L-BFGS-B, which minimises the loss over all rows as a function of one vector.

The vector holds all coefficients and then all intercepts. This file must not know estimators.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # threadpoolctl has no types

from fastbp._typing import Array
from fastbp.activations import OneOrMore
from fastbp.kernels import entries, packing
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.custom_losses import loss_address
from fastbp.kernels.layout import Parameters
from fastbp.sklearn._compat import check_optimize_result, lbfgs_options
from fastbp.sklearn.descent import Objective, rows_of

CoefPlaces = list[tuple[int, int, tuple[int, int]]]
InterceptPlaces = list[tuple[int, int]]

_SLICE_NUMBERS = 60_000  # activations of a slice of rows; with their gradients, half of a core's second cache
_LEAST_SLICE_ROWS = 240  # with fewer, a slice loads and stores a wide layer's gradient for too few rows
_STOPPED_BY_CALLBACK = 99  # the status that SciPy returns


class Minimum(NamedTuple):
    """The point at which the minimisation ended."""

    vector: Array
    loss: float
    n_iter: int


def places(sizes: Sequence[int]) -> tuple[CoefPlaces, InterceptPlaces]:
    """Return the places of the arrays in the vector: the start and the end of each, and the shape of each matrix."""
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


def vector_of(coefs: Sequence[Array], intercepts: Sequence[Array]) -> Array:
    """Return all coefficients and intercepts in one vector."""
    return np.hstack([array.ravel() for array in (*coefs, *intercepts)])


def arrays_in(vector: Array, coefs: CoefPlaces, intercepts: InterceptPlaces) -> tuple[list[Array], list[Array]]:
    """Return the coefficients and intercepts in a vector, as views of the vector."""
    matrices = [vector[start:end].reshape(shape) for start, end, shape in coefs]
    return matrices, [vector[start:end] for start, end in intercepts]


class FullBatchLoss:
    """The loss over all rows, with the penalty, as a function from a vector to the loss and its gradient.

    Everything is computed in float64.

    Parameters
    ----------
    sizes : sequence of int
        Widths of all layers: inputs, hidden layers, outputs.
    activation : Activation or tuple of Activation
        Activation of all hidden layers, or one for each.
    objective : Objective
    X : ndarray of shape (n, D)
    y : ndarray of shape (n, outputs)
    sample_weight : ndarray of shape (n,) or None
    alpha : float
        α: the loss gains α ‖W‖² / 2, divided by the sum of the sample weights.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: OneOrMore,
        objective: Objective,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        alpha: float,
    ) -> None:
        dtype = np.dtype(np.float64)
        self._parameters, self._sums = packing.zero_parameters(sizes, dtype), packing.gradient_sums(sizes, dtype)
        self._activations = layer_activations(activation, len(sizes) - 2, dtype)
        self._at = _addresses(sizes, self._parameters)
        self._n_weights = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
        self._rows = rows_of(X, y, sample_weight, dtype)
        self._workspace = packing.workspace_for(sizes, _slice_rows(len(X), sizes), dtype)
        self._order, self._loss = np.arange(len(X)), objective.loss
        self._slices = range(0, len(X), self._workspace.capacity)  # the first row of each
        self._address = loss_address(objective.loss, dtype)
        self._scale = objective.scale(y.shape[1])
        self._offset = objective.mean_offset(y, sample_weight)
        self._penalty = alpha / float(len(X) if sample_weight is None else np.sum(sample_weight))

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Return the loss at `x` and its gradient."""
        self._parameters.data[self._at] = x
        operands = self._rows, self._parameters, self._activations, self._sums, self._workspace, self._order
        for first in self._slices:  # between two of them, Python handles Ctrl-C
            value = entries.differentiate(*operands, first, self._address, self._loss.parameter, False)
        gradient, weights = self._sums.gradients.data[self._at], x[: self._n_weights]
        gradient[: self._n_weights] += self._penalty * weights
        return value * self._scale + self._offset + 0.5 * self._penalty * float(weights @ weights), gradient


def _slice_rows(n: int, sizes: Sequence[int]) -> int:
    """Return how many of n rows one compiled call takes, so that all calls take about the same number."""
    most = max(_LEAST_SLICE_ROWS, _SLICE_NUMBERS // sum(sizes))
    return -(-n // -(-n // most))


def _addresses(sizes: Sequence[int], parameters: Parameters) -> Array:
    """Return the place of each number of the vector in the buffer of packed parameters, which must hold zeros."""
    coefs, intercepts = places(sizes)
    numbers = np.arange(1.0, intercepts[-1][1] + 1)
    matrices, vectors = arrays_in(numbers, coefs, intercepts)
    packing.write_parameters(parameters, [matrix.T for matrix in matrices], vectors)
    return np.argsort(parameters.data)[-len(numbers) :]


def minimize(
    loss_of: FullBatchLoss,
    start: Array,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: Any,
    callback: Callable[[Array, float], bool] | None,
) -> Minimum:
    """Run L-BFGS-B from the vector `start`, and warn as scikit-learn does if the run did not converge.

    The callback gets the vector and the loss after each iteration. The run ends if the callback returns True.
    """
    shown = lbfgs_options("iprint", 1 if verbose is True or verbose >= 1 else -1)
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol, **shown}

    def watch(intermediate_result: Any) -> None:
        if callback is not None and callback(intermediate_result.x, float(intermediate_result.fun)):
            raise StopIteration

    watching = None if callback is None else watch
    with _one_blas_thread():
        result = scipy.optimize.minimize(
            loss_of, start, method="L-BFGS-B", jac=True, options=options, callback=watching
        )
    was_stopped = result.status == _STOPPED_BY_CALLBACK
    n_iter = result.nit if was_stopped else check_optimize_result("lbfgs", result, max_iter)
    return Minimum(result.x, result.fun, n_iter)


@cache
def _blas() -> ThreadpoolController:
    """Return threadpoolctl's view of the BLAS libraries, which NumPy and SciPy have loaded by now."""
    return ThreadpoolController().select(user_api="blas")


_limit_lock = threading.Lock()
_running: list[list[dict[str, Any]]] = []  # for each minimisation, the limits before the first one


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread, because it takes longer to wake others than to compute the products of L-BFGS-B.

    With 19,801 coefficients, two threads took 9 times as long as one thread, and with 402,001 still 1.5 times as long.
    BLAS has one limit for all threads of the process, so the last of several concurrent minimisations restores it.
    """
    with _limit_lock:
        before = _running[0] if _running else _blas().info()
        _limit_blas([{**library, "num_threads": 1} for library in before])
        _running.append(before)
    try:
        yield
    finally:
        with _limit_lock:
            _running.pop()
            if not _running:
                _limit_blas(before)


def _limit_blas(libraries: list[dict[str, Any]]) -> None:
    """Set the number of threads of each library."""
    _blas().limit(limits=libraries)
    with _blas().limit():  # changes no limit, but at its end, threadpoolctl lets other threads set limits
        pass

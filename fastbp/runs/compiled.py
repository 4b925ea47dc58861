"""`CompiledNetwork`: what `Network.compile` returns, for users' own functions that Numba compiles.

This file must not know how the network was trained.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastbp._typing import Floats
from fastbp.activations import OneOrMore
from fastbp.kernels import frozen
from fastbp.kernels.custom_activations import layer_activations
from fastbp.machine import handle
from fastbp.runs.portable import plain, portable
from fastbp.runs.threads import available, for_each

_WORTH_A_THREAD = 50_000_000  # multiplications per thread: about a millisecond


class CompiledNetwork:
    """A copy of a network that functions compiled by Numba can take as an argument, and call.

    `Network.compile` makes it. A later `fit` of the network does not change the copy. The methods work in the same way
    in Python and in functions with `numba.njit`, also with `parallel=True` or `nogil=True`. Concurrent calls are
    allowed.

    Attributes
    ----------
    layer_sizes : tuple of int
        (D_0, D_1, …, D_{K+1}).
    dtype : dtype
        float32 or float64. All arrays of a call have this dtype.

    Examples
    --------
    >>> import numba, numpy as np
    >>> import fastbp
    >>> @numba.njit
    ... def total(net, X):
    ...     y, sum = np.empty(1, X.dtype), 0.0
    ...     for i in range(len(X)):
    ...         net.predict(X[i], y)
    ...         sum += y[0]
    ...     return sum
    >>> net = fastbp.Network([2, 8, 1], seed=0)
    >>> total(net.compile(), np.zeros((3, 2), np.float32))
    0.0
    """

    def __init__(self, weights: Sequence[Floats], biases: Sequence[Floats], activation: OneOrMore) -> None:
        self.dtype = weights[0].dtype
        self.layer_sizes = (weights[0].shape[1], *map(len, weights))
        self._state = tuple(weights), tuple(biases), activation
        self._numba_type_ = handle.type_of_handles(self.dtype)
        # Compiled functions read this array, and keep it in memory while they hold the network.
        self._table = frozen.freeze(weights, biases, layer_activations(activation, len(weights) - 1, self.dtype))

    def __repr__(self) -> str:
        return f"CompiledNetwork({list(self.layer_sizes)}, dtype={self.dtype.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        weights, biases, activation = self._state
        return _compiled, (weights, biases, portable(activation))

    def predict(self, x: Floats, out: Floats) -> None:
        """Write ŷ of one row x, or of each row of x, as `Network.predict` returns it.

        Numbers that are not finite are not refused; they give numbers that are not finite.

        Parameters
        ----------
        x : ndarray of shape (D_0,) or (n, D_0)
            One row or a block of rows, C-contiguous and in the dtype of the network.
        out : ndarray of shape (D_{K+1},) or (n, D_{K+1})
            Overwritten. C-contiguous and in the dtype of the network.

        Raises
        ------
        TypeError
            If an argument is not such an array. In compiled code, this is an error when the code is compiled.
        ValueError
            If the shape of an array does not fit the network.
        """
        self._call(frozen.call_predict, x, out, self.layer_sizes[-1:])

    def jacobian(self, x: Floats, out: Floats) -> None:
        """Write ∂ŷ/∂x at one row x, or at each row of x.

        At a kink of an activation, the derivative is that of the backward pass: ReLU has the derivative 0 at 0.

        Parameters
        ----------
        x : ndarray of shape (D_0,) or (n, D_0)
            As in `predict`.
        out : ndarray of shape (D_{K+1}, D_0) or (n, D_{K+1}, D_0)
            Overwritten. C-contiguous and in the dtype of the network.

        Raises
        ------
        TypeError, ValueError
            As in `predict`.
        """
        self._call(frozen.call_jacobian, x, out, (self.layer_sizes[-1], self.layer_sizes[0]))

    def _call(self, entry: Callable[..., None], x: Any, out: Any, shape: tuple[int, ...]) -> None:
        """Call an entry that writes an array of this shape for each row, after the checks that compiled code makes."""
        for name, array in (("x", x), ("out", out)):
            is_array = isinstance(array, np.ndarray) and array.dtype == self.dtype
            if not is_array or not array.flags.c_contiguous or not array.flags.aligned:
                raise TypeError(f"{name} must be a C-contiguous array of {self.dtype}: use numpy.ascontiguousarray")
        n_inputs = self.layer_sizes[0]
        if x.ndim not in (1, 2) or x.shape[-1] != n_inputs:
            raise ValueError(f"x must be of shape ({n_inputs},) or (n, {n_inputs}), got {x.shape}")
        if out.shape != x.shape[:-1] + shape:
            raise ValueError(f"out must be of shape {x.shape[:-1] + shape}, got {out.shape}")
        if not out.flags.writeable:
            raise ValueError("out is read-only")
        n = len(x) if x.ndim == 2 else 1
        entry(self, np.asarray(x).reshape(n, n_inputs), np.asarray(out).reshape(n, *shape))


def jacobians(net: CompiledNetwork, x: Floats, n_threads: int | None) -> Floats:
    """Return ∂ŷ/∂x at each row of x, which is C-contiguous and in the dtype of the network."""
    n_inputs, n_outputs = net.layer_sizes[0], net.layer_sizes[-1]
    out = np.empty((len(x), n_outputs, n_inputs), net.dtype)
    if n_threads is None:
        work = (n_outputs + 1) * sum(inputs * outputs for inputs, outputs in pairwise(net.layer_sizes))
        n_threads = max(1, min(available(), len(x) * work // _WORTH_A_THREAD))
    rows = -(-len(x) // n_threads) or 1

    def write_block(first: int) -> None:
        net.jacobian(x[first : first + rows], out[first : first + rows])

    for_each(write_block, range(0, len(x), rows), n_threads)
    return out


def _compiled(weights: Sequence[Floats], biases: Sequence[Floats], activation: Any) -> CompiledNetwork:
    """Return what a pickle described, with users' functions if they are known here."""
    return CompiledNetwork(weights, biases, plain(activation))


handle.register(frozen.METHODS)

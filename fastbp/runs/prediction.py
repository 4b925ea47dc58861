"""Prediction of ŷ for any number of rows, in blocks with a fixed memory need, and in threads if they save time.

Workspaces are kept for the next call, because making a workspace takes longer than the prediction of one row. This file
must not know how a network is trained.
"""

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import Floats
from fastbp.activations import OneOrMore, relu
from fastbp.kernels import entries as training
from fastbp.kernels import packing
from fastbp.kernels.activations import LayerActivations
from fastbp.kernels.custom_activations import layer_activations
from fastbp.kernels.layout import Parameters, Workspace
from fastbp.runs.threads import available, for_each

_FEW_ROWS = 16  # up to this number, a small workspace is used, which fits the L1 cache
_CACHED_ROWS = 144  # rows per forward pass; with this number, `layout.pitch` adds no padding
_CONVERTED_ROWS = 16 * _CACHED_ROWS  # rows that one thread converts to the network's dtype at once
_WORTH_A_THREAD = 50_000_000  # multiplications per thread: about a millisecond


class Predictor:
    """Computes ŷ for networks of one shape. Concurrent calls are allowed, because each call has its own workspace."""

    def __init__(self, sizes: Sequence[int], dtype: np.dtype[Any], activation: OneOrMore = relu) -> None:
        self._sizes = sizes
        self._dtype = dtype
        self._activation = activation
        self._work = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
        self._idle: dict[int, list[Workspace]] = {_FEW_ROWS: [], _CACHED_ROWS: []}

    def predict(self, parameters: Parameters, X: Any, n_threads: int | None) -> Floats:
        """Return ŷ for the rows of X; see `Network.predict`."""
        is_ready, activations = self._is_ready(X), self._activations
        x = X if is_ready else checks.rows("X", X, self._sizes[0])
        out = np.empty((len(x), self._sizes[-1]), self._dtype)
        if is_ready and len(x) <= _FEW_ROWS:  # one call: the blocks below would take a third of its time
            if not self._predict_ready(parameters, activations, x, out):
                checks.finite("X", X, self._dtype)
            return out
        if n_threads is None:
            worth = len(x) * self._work // _WORTH_A_THREAD
            n_threads = min(available(), worth) if worth > 1 else 1
        rows = min(_CONVERTED_ROWS, packing.round_up(-(-len(x) // n_threads), _CACHED_ROWS))
        finite: list[bool] = []

        def predict_block(first: int) -> None:
            block = slice(first, first + rows)
            finite.append(self._predict_block(parameters, activations, x[block], out[block]))

        if len(x) <= rows:
            predict_block(0)
        else:
            for_each(predict_block, range(0, len(x), rows), n_threads)
        if not all(finite):
            checks.finite("X", X, self._dtype)  # raises an error with the position
        return out

    @functools.cached_property
    def _activations(self) -> LayerActivations:
        return layer_activations(self._activation, len(self._sizes) - 2, self._dtype)

    def _is_ready(self, x: Any) -> bool:
        """Tell whether a kernel can read an array without a conversion."""
        return (
            type(x) is np.ndarray
            and x.dtype == self._dtype
            and x.ndim == 2
            and x.shape[1] == self._sizes[0]
            and x.flags.carray
        )

    def _predict_block(
        self, parameters: Parameters, activations: LayerActivations, x: npt.NDArray[Any], out: Floats
    ) -> bool:
        """Write ŷ for a block of rows; return whether all numbers of x are finite in the network's dtype."""
        if not self._is_ready(x):
            with np.errstate(all="ignore"):
                x = np.array(x, self._dtype, order="C")
        return self._predict_ready(parameters, activations, x, out)

    def _predict_ready(self, parameters: Parameters, activations: LayerActivations, x: Floats, out: Floats) -> bool:
        """Write ŷ for rows that a kernel can read; return whether all numbers of x are finite."""
        rows = _FEW_ROWS if len(x) <= _FEW_ROWS else _CACHED_ROWS
        idle = self._idle[rows]
        try:
            workspace = idle.pop()
        except IndexError:
            workspace = packing.workspace_for(self._sizes, rows, self._dtype, backward=False)
        finite: bool = training.predict(x, parameters, activations, workspace, out)
        idle.append(workspace)
        return finite

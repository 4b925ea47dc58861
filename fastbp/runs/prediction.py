"""ŷ of any number of rows: block by block, so that memory does not grow with them, and in threads where that pays.

Workspaces are kept from one call to the next, as making one takes longer than a row. This file must not know how
rows are fitted.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import Floats
from fastbp.kernels import entries as training
from fastbp.kernels import packing
from fastbp.kernels.layout import Parameters, Workspace
from fastbp.runs.threads import available, for_each

_FEW_ROWS = 16  # for which a workspace of their own size keeps to the nearest cache
_CACHED_ROWS = 144  # rows that go through all layers at once; `layout.pitch` has nothing to add to them
_CONVERTED_ROWS = 16 * _CACHED_ROWS  # rows at most that one thread brings to the network's dtype at once
_WORTH_A_THREAD = 50_000_000  # products of a weight and a number: about a millisecond


class Predictor:
    """Computes ŷ for networks of one shape. Calls may overlap: each takes a workspace and puts it back."""

    def __init__(self, sizes: Sequence[int], dtype: np.dtype[Any]) -> None:
        self._sizes = sizes
        self._dtype = dtype
        self._work = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
        self._idle: dict[int, list[Workspace]] = {_FEW_ROWS: [], _CACHED_ROWS: []}

    def predict(self, parameters: Parameters, X: Any, n_threads: int | None) -> Floats:
        """Return ŷ for the rows of X; see `Network.predict`."""
        x = X if self._is_ready(X) else checks.rows("X", X, self._sizes[0])
        out = np.empty((len(x), self._sizes[-1]), self._dtype)
        if n_threads is None:
            worth = len(x) * self._work // _WORTH_A_THREAD
            n_threads = min(available(), worth) if worth > 1 else 1
        rows = min(_CONVERTED_ROWS, packing.round_up(-(-len(x) // n_threads), _CACHED_ROWS))
        finite: list[bool] = []

        def predict_block(first: int) -> None:
            block = slice(first, first + rows)
            finite.append(self._predict_block(parameters, x[block], out[block]))

        if len(x) <= rows:
            predict_block(0)
        else:
            for_each(predict_block, range(0, len(x), rows), n_threads)
        if not all(finite):
            checks.finite("X", X, self._dtype)  # which says where
        return out

    def _is_ready(self, x: Any) -> bool:
        """Tell an array that a kernel can read as it is."""
        return (
            type(x) is np.ndarray
            and x.dtype == self._dtype
            and x.ndim == 2
            and x.shape[1] == self._sizes[0]
            and x.flags.carray
        )

    def _predict_block(self, parameters: Parameters, x: npt.NDArray[Any], out: Floats) -> bool:
        """Write ŷ for a block of rows; return whether all of x was finite in the network's dtype."""
        if not self._is_ready(x):
            with np.errstate(all="ignore"):
                x = np.array(x, self._dtype, order="C")
        rows = _FEW_ROWS if len(x) <= _FEW_ROWS else _CACHED_ROWS
        idle = self._idle[rows]
        try:
            workspace = idle.pop()
        except IndexError:
            workspace = packing.workspace_for(self._sizes, rows, self._dtype, backward=False)
        finite: bool = training.predict(x, parameters, workspace, out)
        idle.append(workspace)
        return finite

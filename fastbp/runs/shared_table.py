"""One table for many networks: rows that are checked and converted once, and the parts of it that each network takes.

This file must not know how rows are used.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastbp import checks
from fastbp._typing import Integers
from fastbp.kernels.rows import TrainingRows
from fastbp.losses import Loss
from fastbp.runs.chunks import part_of
from fastbp.runs.training_rows import checked_rows, scaled_weights


class SharedTable:
    """Rows with targets, for networks of different shapes, losses and dtypes.

    Parameters
    ----------
    X : array-like of shape (n, D_0)
    y : array-like of shape (n, D_{K+1}) or (n,)
    of : str, default ""
        Text before the names of the arguments in error messages, such as "validation ".
    is_copied : bool, default False
        Whether a memory map is copied. Only a copy can be divided into parts.
    """

    def __init__(self, X: Any, y: Any, of: str = "", is_copied: bool = False) -> None:
        self._given, self._of, self._is_copied = (X, y), of, is_copied
        self._found: dict[Any, TrainingRows] = {}

    def rows(self, sizes: Sequence[int], loss: Loss, dtype: np.dtype[Any]) -> TrainingRows:
        """Return all rows, without weights, for networks of these sizes; raise if they do not fit."""
        key = sizes[0], sizes[-1], loss, dtype
        if key not in self._found:
            found = checked_rows(*self._given, None, sizes, loss, dtype, self._of, is_copied=self._is_copied)
            for (n_inputs, _, _, kept_in), other in self._found.items():
                if (n_inputs, kept_in) == (sizes[0], dtype):  # the inputs of another loss, which are kept once
                    found = found._replace(x=other.x, storage=other.storage)
            self._found[key] = found
        return self._found[key]

    def part(
        self, sizes: Sequence[int], loss: Loss, dtype: np.dtype[Any], numbers: Integers | None, sample_weight: Any
    ) -> Callable[[], TrainingRows]:
        """Return a function that returns the rows with these numbers, or all rows, with their weights.

        Each call copies the rows with these numbers. All rows are not copied. Raise if the rows do not fit the network.
        """
        rows, weights = self.rows(sizes, loss, dtype), np.zeros(0, dtype)
        if sample_weight is not None:
            name = f"{self._of}sample_weight"
            weights = scaled_weights(name, sample_weight, rows.rows, dtype)
            if numbers is not None:  # by the largest weight of these rows, as in a fit that gets nothing else
                own = np.asarray(sample_weight)[numbers]
                weights = scaled_weights(f"{name} of these rows", own, numbers.size, dtype)
        if numbers is None:
            return lambda: rows._replace(sample_weights=weights)
        return lambda: part_of(rows, numbers)._replace(sample_weights=weights)


def row_numbers(name: str, value: Any, n: int) -> Integers:
    """Return `value` as numbers of rows; raise unless it is an array of row numbers, or of n truth values.

    Numbers may repeat, as in a bootstrap sample.
    """
    given = checks.numbers(name, value)
    if given.ndim != 1:
        raise ValueError(f"{name} must be a list of row numbers, got an array of shape {given.shape}")
    if given.dtype.kind == "b":
        if given.shape != (n,):
            raise ValueError(f"{name} must hold {n} truth values, one a row; got {given.size}")
        given = np.flatnonzero(given)
    if given.size == 0:
        raise ValueError(f"{name} holds no rows")
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold whole numbers, got an array of {given.dtype.name}")
    if (outside := (given < 0) | (given >= n)).any():
        raise ValueError(f"{name} must hold row numbers from 0 to {n - 1}, got {checks.first(given, outside)}")
    return given.astype(np.int64)

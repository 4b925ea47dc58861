"""Prediction of Dask frames by their partitions, where the rows are.

It knows Dask's frames by what they offer, and does not import Dask. It must not know how a model predicts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

M = TypeVar("M", bound=Callable[..., Any])


def by_partitions(empty: Callable[[Any], Any]) -> Callable[[M], M]:
    """Let a method that predicts an array from a table accept a Dask frame as well.

    For a Dask frame, the method returns a Dask series (of one column) or a Dask frame, with the index and the
    partitions of the rows. Nothing is computed yet.

    Parameters
    ----------
    empty : callable
        Takes the estimator, and returns what stands for no rows: an array of shape (0,), or a mapping from names to
        such arrays if the method returns several columns.

    Returns
    -------
    callable
        The decorator of the method.
    """

    def decorate(method: M) -> M:
        @functools.wraps(method)
        def predict(self: Any, X: Any, *args: Any, **settings: Any) -> Any:
            if not is_dask_frame(X):
                return method(self, X, *args, **settings)
            from dask.delayed import delayed

            meta = _like(empty(self), X._meta)
            task = functools.partial(_predict_partition, method.__name__, meta, settings)
            return X.map_partitions(task, delayed(self), *args, meta=meta)  # Dask sends the model by itself

        return predict  # type: ignore[return-value]  # the signature is the method's

    return decorate


def is_dask_frame(X: Any) -> bool:
    """Return whether a table is a frame of Dask."""
    return hasattr(X, "map_partitions") and hasattr(X, "divisions") and getattr(X, "ndim", 0) == 2


def _predict_partition(name: str, meta: Any, settings: dict[str, Any], rows: Any, model: Any, *args: Any) -> Any:
    """Return the predictions of one partition, a pandas frame, with its index and the types of `meta`."""
    predicted = getattr(model, name)(rows, *args, **settings)
    made = predicted if meta.ndim == 1 else dict(zip(meta.columns, predicted.T, strict=True))
    return _like(made, rows).astype(meta.dtypes)


def _like(columns: Any, rows: Any) -> Any:
    """Return an array as a pandas series, or a mapping as a pandas frame, with the index of the rows."""
    import pandas as pd

    return (pd.DataFrame if isinstance(columns, dict) else pd.Series)(columns, index=rows.index)

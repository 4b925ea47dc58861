"""Rows that come in chunks, one chunk after another, so that the table need not fit the memory.

It checks each chunk, and joins the rows that a chunk leaves over with the next chunk. This file must not know how rows
are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import Array, Integers
from fastbp.kernels.rows import TrainingRows
from fastbp.losses import Loss
from fastbp.runs.training_rows import checked_rows, no_rows, weight_exponent
from fastbp.schedules import LearningRate, Schedule

Chunks = Iterator[Any] | Callable[[], Iterable[Any]]


def are_chunks(X: Any) -> TypeGuard[Chunks]:
    """Tell whether somebody passes chunks of rows: an iterator, or a function that returns chunks."""
    return hasattr(X, "__next__") or callable(X)


def inputs_of_chunks(chunks: Chunks) -> Iterator[Any]:
    """Yield X of each chunk, which is X, (X, y) or (X, y, sample_weight)."""
    for chunk in _iterator(chunks):
        yield chunk[0] if isinstance(chunk, tuple) else chunk


def _iterator(chunks: Chunks) -> Iterator[Any]:
    if not callable(chunks):
        return chunks
    given = chunks()
    if not isinstance(given, Iterable):
        raise TypeError(f"the function X must return an iterable of chunks, got {checks.shown(given)}")
    return iter(given)


def checked_chunks(
    chunks: Chunks,
    y: Any,
    sample_weight: Any,
    sizes: Sequence[int],
    loss: Loss,
    dtype: npt.DTypeLike,
    epochs: int,
    learning_rate: LearningRate,
) -> ChunkedRows:
    """Return chunks to train on for so many epochs, or raise. The other arguments are those of `checked_rows`."""
    if y is not None or sample_weight is not None:
        named = "y" if y is not None else "sample_weight"
        raise ValueError(f"{named} must be None if X is chunks: each chunk is (X, y) or (X, y, sample_weight)")
    if epochs > 1 and not callable(chunks):
        raise ValueError(
            f"X is an iterator, which gives its chunks once, but epochs is {epochs}: pass a function that returns an "
            "iterator of chunks, or epochs=1"
        )
    if isinstance(learning_rate, Schedule) and learning_rate.over(0, 1) is not learning_rate:
        raise ValueError(
            f"{type(learning_rate).__name__} takes its number of steps from the fit, and nobody knows how many rows "
            "the chunks hold: give the schedule steps"
        )
    return ChunkedRows(chunks, sizes, loss, dtype)


class ChunkedRows:
    """Rows to train on that come in chunks.

    Parameters
    ----------
    chunks : iterator, or function without arguments
        Chunks (X, y) or (X, y, sample_weight). A function is called once for each epoch, and returns an iterable.
    sizes, loss, dtype
        As for `checked_rows`.
    """

    def __init__(self, chunks: Chunks, sizes: Sequence[int], loss: Loss, dtype: npt.DTypeLike) -> None:
        self._chunks, self._sizes, self._loss, self._dtype = chunks, sizes, loss, np.dtype(dtype)
        self._exponent: int | None = None  # the same for all chunks, so that only ratios of weights matter

    @property
    def none(self) -> TrainingRows:
        """No rows at all."""
        return no_rows(self._dtype)

    def epoch(self) -> Iterator[TrainingRows]:
        """Yield the rows of each chunk of an epoch. Chunks without rows are left out.

        Raises
        ------
        TypeError, ValueError
            If something is not a chunk, or holds anything that `checked_rows` refuses. The message has the number of
            the chunk, from 1.
        """
        kinds = None
        for number, chunk in enumerate(_iterator(self._chunks), 1):
            X, y, weights = checks.rows_with_targets(f"chunk {number}", chunk)
            if np.ndim(X) > 0 and len(X) == 0:
                continue
            if self._exponent is None and weights is not None:
                self._exponent = weight_exponent(checks.numbers(f"chunk {number}: sample_weight", weights))
            given = X, y, weights, self._sizes, self._loss, self._dtype, f"chunk {number}: "
            rows = checked_rows(*given, is_copied=True, exponent=self._exponent)
            kinds = kinds or _kinds(rows)
            if _kinds(rows) != kinds:
                raise ValueError(f"chunk {number} holds {_kinds(rows)}, but the chunks before it hold {kinds}")
            yield rows
        if kinds is None:
            raise ValueError("the chunks hold no rows")


def _kinds(rows: TrainingRows) -> str:
    """Return in words what rows have besides their inputs."""
    targets = "class numbers" if rows.classes.size else "targets"
    return f"{targets} with sample_weight" if rows.sample_weights.size else f"{targets} without sample_weight"


def part_of(rows: TrainingRows, numbers: Integers) -> TrainingRows:
    """Return a copy of the rows with these numbers."""

    def taken(array: Array) -> Array:
        return array.reshape(rows.rows, -1)[numbers].reshape(-1) if array.size else array

    return TrainingRows(taken(rows.x), taken(rows.y), taken(rows.classes), taken(rows.sample_weights), len(numbers))


def joined(first: TrainingRows, second: TrainingRows) -> TrainingRows:
    """Return the rows of both, one after another."""
    return TrainingRows(
        np.concatenate([first.x, second.x]),
        np.concatenate([first.y, second.y]),
        np.concatenate([first.classes, second.classes]),
        np.concatenate([first.sample_weights, second.sample_weights]),
        first.rows + second.rows,
    )

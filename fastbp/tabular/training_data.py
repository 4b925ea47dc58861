"""A table made ready for training: the target told, rows held out, the rest encoded; and what a network scores on it.

It knows frames, encodings and arrays of outputs. It must not know files or how a network is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastbp.tabular.encoding import Encoding, learn_encoding, suggestion
from fastbp.tabular.target import Classes, Quantity, Target, known_target, tell_task

FEWEST_ROWS = 5

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """Encoded rows to train on and rows held out to measure with, and how they came to be.

    Attributes
    ----------
    X, y : (n, D_0) float32, and (n,) class numbers or standardised values
        The rows to train on.
    X_held_out, y_held_out
        The others, a fifth of all.
    encoding : Encoding
        Measured on the rows to train on alone.
    target : Classes or Quantity
    reason : str
        Why the target is taken as what it is.
    notices : tuple of str
        What was left out, one sentence each.
    """

    X: npt.NDArray[np.float32]
    y: npt.NDArray[Any]
    X_held_out: npt.NDArray[np.float32]
    y_held_out: npt.NDArray[Any]
    encoding: Encoding
    target: Target
    reason: str
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """One measure on the held-out rows, and what the best constant prediction reaches on them."""

    measure: str
    value: float
    baseline: float


def prepare(frame: pl.DataFrame, target: str, task: str | None = None, seed: int = 0) -> TrainingData:
    """Make a typed frame ready for training.

    Parameters
    ----------
    frame : polars.DataFrame
    target : str
        The column to predict.
    task : {"classification", "regression"}, optional
        Told from the target if left out.
    seed : int
        Decides which fifth of the rows is held out.

    Raises
    ------
    ValueError
        If the target or the other columns are of no use; the message says why.
    """
    if target not in frame.columns:
        hint = suggestion(target, frame.columns) or f"; it has {', '.join(map(repr, frame.columns[:20]))}"
        raise ValueError(f"the table has no column {target!r}{hint}")
    if frame.width == 1:
        raise ValueError(f"the table has no column beside the target {target!r}")
    frame, notices = _with_known_target(frame, target)
    column = frame[target]
    found, reason = tell_task(column, task)
    classes = Classes.learn(column) if found == "classification" else None
    held_out = hold_out(len(column) if classes is None else classes.encode(column), seed)
    training = np.setdiff1d(np.arange(frame.height), held_out)
    encoding, left_out = learn_encoding(frame.drop(target), training)
    told = classes or Quantity.learn(column.gather(training))
    X, y = encoding.encode(frame), told.encode(column)
    return TrainingData(
        X=X[training],
        y=y[training],
        X_held_out=X[held_out],
        y_held_out=y[held_out],
        encoding=encoding,
        target=told,
        reason=reason,
        notices=(*notices, *left_out),
    )


def _with_known_target(frame: pl.DataFrame, target: str) -> tuple[pl.DataFrame, list[str]]:
    """Return the rows whose target is there, and what to say about the others."""
    column = known_target(frame[target])
    n_known = len(column) - column.null_count()
    if n_known == 0:
        raise ValueError(f"the target {target!r} is missing in every row")
    if n_known < FEWEST_ROWS:
        rows = "row" if n_known == 1 else "rows"
        raise ValueError(f"there is too little to learn from: {n_known} {rows} with a target, {FEWEST_ROWS} at least")
    notices = []
    if n_missing := len(column) - n_known:
        rows = "1 row is" if n_missing == 1 else f"{n_missing} rows are"
        notices.append(f"{rows} left out: the target {target!r} is missing there")
    return frame.with_columns(column).filter(column.is_not_null()), notices


def hold_out(classes: int | Integers, seed: int) -> Integers:
    """Choose a fifth of the rows at random, from each class its share, and never a class's only row.

    Parameters
    ----------
    classes : int or (n,) integers
        The rows' class numbers; a number n stands for n rows of one class.
    seed : int

    Returns
    -------
    (n_held_out,) integers
        Row numbers, ascending.
    """
    numbers = np.zeros(classes, dtype=np.int64) if isinstance(classes, int) else classes
    order = np.random.default_rng(seed).permutation(len(numbers))
    order = order[np.argsort(numbers[order], kind="stable")]
    order = order[np.bincount(numbers)[numbers[order]] > 1]
    return np.sort(order[2::5])


def scores(data: TrainingData, output: npt.NDArray[Any]) -> list[Score]:
    """Measure a network's output for the held-out rows: accuracy, or R² and the root of the mean squared error.

    The baselines are the commonest class and the mean of the rows to train on.
    """
    truth = data.y_held_out
    if isinstance(data.target, Classes):
        commonest = np.bincount(data.y).argmax()
        return [Score("accuracy", float(np.mean(output.argmax(axis=1) == truth)), float(np.mean(truth == commonest)))]
    squares = [float(np.mean((guess - truth) ** 2)) for guess in (output[:, 0], data.y.mean())]
    variance = float(np.var(truth)) or float("nan")
    r2, baseline_r2 = (1 - square / variance for square in squares)
    error, baseline_error = (square**0.5 * data.target.spread for square in squares)
    return [Score("R²", r2, baseline_r2), Score("RMSE", error, baseline_error)]

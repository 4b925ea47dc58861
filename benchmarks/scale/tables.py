"""A table of 19 mixed columns with a nonlinear signal, made from a seed.

This file must not know what learns from it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

LAW = 123  # seed of the effects, which training rows and fresh rows share
N_NUMBERS = 12
LEVELS = (3, 8, 20, 60, 250, 1000)
N_COLUMNS = N_NUMBERS + len(LEVELS) + 1
FRESH = 1  # seed of rows that no model was trained on
MONTHS = 36
_SECONDS_OF_YEAR = 365.25 * 86_400
_FIRST = np.datetime64("2020-01-01", "s")


def make(n_rows: int, seed: int = 0, copies: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    """Return 12 numbers (four of them with gaps), 6 columns of categories and a date, and a target of two classes.

    Parameters
    ----------
    n_rows : int
    seed : int, default 0
        Seed of the rows. Rows of another seed follow the same law.
    copies : int, default 1
        The columns are repeated so many times, each time with other cells. Only the first ones decide the target.

    Returns
    -------
    frame : DataFrame of shape (n_rows, 19 copies)
    y : ndarray of shape (n_rows,)
        0 or 1.
    """
    random = np.random.default_rng(seed)
    parts, y = [], np.zeros(0, np.int64)
    for copy in range(copies):
        frame, signal = _columns(random, n_rows)
        if copy == 0:
            y = (signal + random.logistic(size=n_rows) > 0).astype(np.int64)
        parts.append(frame.add_suffix(f"_{copy}") if copy else frame)
    return parts[0] if copies == 1 else pd.concat(parts, axis=1), y


def _columns(random: np.random.Generator, n_rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return 19 columns, and the logarithm of the odds of class 1 for each row."""
    law = np.random.default_rng(LAW)
    x = random.standard_normal((N_NUMBERS, n_rows))
    x[3] = np.exp(x[3])
    x[4] = np.round(3 * x[4])
    x[5] = random.random(n_rows)
    signal = 1.5 * np.sin(2 * x[0]) + x[1] * x[2] + 1.2 * (x[5] > 0.6) * x[6] + np.log1p(x[3]) + 0.1 * x[4] - 1
    columns: dict[str, object] = {}
    categories = {}
    for i, levels in enumerate(LEVELS):
        odds = np.arange(levels, 0, -1.0) ** 1.2
        codes = np.searchsorted(np.cumsum(odds / odds.sum()), random.random(n_rows)).clip(0, levels - 1)
        signal += (0.6 * law.standard_normal(levels))[codes]
        if i == 3:
            signal += law.standard_normal(levels)[codes] * x[7]
        codes[random.random(n_rows) < 0.02 * (i == 1)] = -1
        names = [f"level {level}" for level in range(levels)]
        categories[f"t{i}"] = pd.Categorical.from_codes(codes, categories=names)
    seconds = random.integers(0, int(MONTHS / 12 * _SECONDS_OF_YEAR), n_rows)
    signal += 0.7 * np.cos(2 * np.pi * seconds / _SECONDS_OF_YEAR)
    for j in range(N_NUMBERS):
        if j % 3 == 0:
            x[j, random.random(n_rows) < 0.03] = np.nan
        columns[f"x{j}"] = x[j]
    return pd.DataFrame(
        {**columns, **categories, "date": _FIRST + seconds.astype("timedelta64[s]")}, copy=False
    ), signal


def write(n_rows: int, seed: int, csv: str, parquet: str) -> None:
    """Write a table and its target, "y", as two files. The numbers have four decimals in both."""
    import polars as pl

    frame, y = make(n_rows, seed)
    table = pl.from_pandas(frame).with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String), y=pl.Series(y))
    table = table.with_columns(pl.col(pl.Float64).round(4).fill_nan(None))
    table.write_csv(csv, datetime_format="%Y-%m-%d %H:%M:%S")
    table.write_parquet(parquet)


def numbers(n_rows: int, n_columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a table of float32, (n_rows, n_columns), and its target, (n_rows,)."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n_rows, n_columns), dtype=np.float32)
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * random.standard_normal(n_rows, dtype=np.float32)
    return X, y

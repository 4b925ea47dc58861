"""Rows stored as codes: the inputs that they stand for, in NumPy and in the kernel, and the memory that they take."""

import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp.kernels.codes import BINS, LEVELS, VALUE
from fastbp.kernels.expansion import expand_rows, span_table
from fastbp.kernels.packing import matrix_from, panels_from
from fastbp.tabular import TabularRegressor
from fastbp.tabular.encoding import inputs as encoding_inputs
from fastbp.tabular.encoding.cells import Frame
from fastbp.tabular.encoding.coded import CodedRows, spans_of
from fastbp.tabular.encoding.columns import PERIODS, CategoryColumn, Column, DateColumn, NumberColumn
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.inputs import Coder, Encoding, learn_encoding


def number_inputs(column: NumberColumn, x: float) -> list[float]:
    """Return the inputs of a number, by the formulas of `NumberColumn`."""
    if np.isnan(x):
        return [0.0] + [1.0] * column.marks_missing + [0.0] * column.n_bins
    z = float(np.clip((x - column.median) / column.scale, -1e9, 1e9)) if column.scale else 0.0
    bins = [
        2 * (np.clip(x, lower, upper) / 2 - lower / 2) / (upper / 2 - lower / 2) - 1
        for lower, upper in pairwise(column.edges)
    ]
    return [z / np.sqrt(1 + (z / 3) ** 2)] + [0.0] * column.marks_missing + bins


def twin_of_column(column: Column, frame: Frame) -> np.ndarray:
    cells = frame[column.name]
    if isinstance(column, NumberColumn):
        return np.array([number_inputs(column, x) for x in cells.floats(column.offset)])
    if isinstance(column, CategoryColumn):
        texts = [cells.value(row) for row in range(len(cells))]
        if len(column.levels) == 2:
            return np.array([[2 * column.levels.index(text) - 1 if text in column.levels else 0] for text in texts])
        return np.array([[float(text == level) for level in column.levels] for text in texts])
    assert isinstance(column, DateColumn)
    rows = []
    for day in cells.days():
        phases = [2 * np.pi * (day % PERIODS[period]) / PERIODS[period] for period in column.periods]
        waves = [0.0 if np.isnan(phase) else wave(phase) for phase in phases for wave in (np.sin, np.cos)]
        rows.append(waves + number_inputs(column.days, day))
    return np.array(rows)


def twin(encoding: Encoding, frame: Frame) -> np.ndarray:
    """Encode cell by cell."""
    return np.hstack([twin_of_column(column, frame) for column in encoding.columns]).astype(np.float32)


def table(seed: int, n: int = 300) -> dict[str, Any]:
    """Return random columns of every kind, with gaps, infinite numbers, edges and repeated values."""
    rng = np.random.default_rng(seed)
    wild = rng.standard_normal(n) * 10.0 ** rng.integers(-300, 300, n)
    wild[rng.random(n) < 0.1] = rng.choice([np.inf, -np.inf, np.nan])
    days = np.datetime64("1990-01-01", "s") + rng.integers(0, 10**9, n).astype("timedelta64[s]")
    days[rng.random(n) < 0.1] = np.datetime64("NaT")
    letters = [
        None if rng.random() < 0.1 else rng.choice(list("abcdefghijklmnopqrstuvwxyz")[: 2 + seed]) for _ in range(n)
    ]
    return {
        "wild": wild,
        "text": letters,
        "rounded": rng.standard_normal(n).round(1),
        "days": days,
        "whole": rng.integers(0, 9, n),
        "large": rng.integers(2**60, 2**60 + 50, n),
        "two": [["x", "y"][i] for i in rng.integers(0, 2, n)],
        "constant with gaps": np.where(rng.random(n) < 0.5, np.nan, 3.0),
    }


@pytest.mark.parametrize("seed", range(6))
def test_an_encoding_equals_its_twin_cell_by_cell_and_also_for_other_rows(seed: int) -> None:
    columns = table(seed)
    encoding, _ = learn_encoding(frame_of(columns))
    assert {type(column) for column in encoding.columns} == {NumberColumn, CategoryColumn, DateColumn}
    for frame in map(frame_of, (columns, table(seed + 1))):
        x = encoding.encode(frame)
        np.testing.assert_array_equal(x, twin(encoding, frame))
        np.testing.assert_array_equal(encoding.code(frame).inputs(sees_bins=False), x[:, encoding.is_not_bin])


@given(st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=20, deadline=None)  # a loaded machine is slow
def test_blocks_of_any_size_give_the_same_bits(size: int, first: int) -> None:
    frame = frame_of(table(3))
    encoding, _ = learn_encoding(frame)
    wanted, coder = encoding.code(frame).codes, Coder(encoding, frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding_inputs, "CODED_ROWS", size)
        assert encoding.code(frame).codes.tobytes() == wanted.tobytes()
    rows = slice(first, first + size)
    assert coder.rows(rows).codes.tobytes() == wanted[rows].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "runs",
    [
        [(VALUE, 1)],
        [(VALUE, 1)] * 17,
        [(BINS, 48)],
        [(LEVELS, 100), (VALUE, 1)],
        [(VALUE, 1), (VALUE, 1), (BINS, 5), (VALUE, 1), (BINS, 48), (LEVELS, 1), (LEVELS, 3), (BINS, 11), (VALUE, 1)],
        [(LEVELS, 16), (BINS, 16), (LEVELS, 7)],
        [(BINS, 3)] * 40,
    ],
    ids=str,
)
def test_a_kernel_expands_codes_as_numpy_does(runs: list[tuple[int, int]], dtype: str) -> None:
    rng, n, spans = np.random.default_rng(0), 30, spans_of(runs)
    codes = np.empty((n, spans[-1].place + 1 + (spans[-1].kind == BINS)), np.float32)
    for kind, place, width in spans:
        codes[:, place] = rng.standard_normal(n) if kind == VALUE else rng.integers(-1, width, n)
        if kind == BINS:
            codes[:, place + 1] = np.where(codes[:, place] < 0, 0, rng.choice([-1, 1, *rng.uniform(-1, 1, 9)], n))
    coded, order = CodedRows(codes, spans), rng.permutation(n)
    for sees_bins in (True, False):
        if wanted := coded.inputs(order[5:26], sees_bins).shape[1]:
            x = coded.inputs(order[5:26], sees_bins)
            out = panels_from(np.zeros((21, wanted)), dtype)
            out.data[:] = 7
            seen = span_table(coded.spans_for(sees_bins), codes.shape[1])
            expand_rows(codes.astype(dtype).reshape(-1), seen, order, 5, out)
            np.testing.assert_array_equal(matrix_from(out), x)
            whole = out._replace(columns=-(-wanted // (64 // out.data.itemsize)) * (64 // out.data.itemsize))
            assert not matrix_from(whole)[:, wanted:].any()  # the padding


def test_a_fit_and_a_prediction_of_many_rows_take_a_few_times_the_memory_of_the_frame() -> None:
    rng, n = np.random.default_rng(0), 100_000
    columns: dict[str, Any] = {f"x{i}": rng.standard_normal(n) for i in range(12)}
    columns |= {f"k{i}": rng.integers(0, 20, n) for i in range(4)}
    y, size = columns["x0"] + columns["k0"], 17 * 8 * n
    few = {"n_estimators": 2, "epochs": 1, "hidden_layer_sizes": (4,), "n_jobs": 1}
    TabularRegressor(**few).fit({name: column[:500] for name, column in columns.items()}, y[:500])  # compiles
    tracemalloc.start()
    try:
        model = TabularRegressor(**few).fit(columns, y)
        fitted = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        model.predict(columns)
        predicted = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert fitted < 5 * size
    assert predicted < 100e6

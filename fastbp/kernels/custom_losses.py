"""Pieces of users' losses, and the address of any loss.

A user's function computes with single numbers or with one row. Its piece is compiled in each process that uses it,
because the cache could not notice an edit of what the function calls. This file must not know built-in losses.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, element_at, smaller
from fastbp.kernels.losses import PIECES, call_piece, sum_over_outputs, types_of_batch
from fastbp.losses import Loss
from fastbp.machine.arithmetic import keep_lanes
from fastbp.machine.jit import entry_of_process, inlined, jitable, njit
from fastbp.machine.line import TILE_ROWS, Line, line_length, load, store
from fastbp.machine.piece import CompilationError, Piece, reason_of


def loss_address(loss: Loss, dtype: np.dtype[Any]) -> int:
    """Return the address of the piece that computes a loss in a dtype.

    Raises
    ------
    TypeError
        If Numba cannot compile the user's function.
    ValueError
        If the loss is a user's function that a model file only names.
    """
    if not loss.is_custom:
        return PIECES[loss.name].address(dtype)
    if loss.function is None:
        raise ValueError(
            f"the loss {loss.name} is a user's function, which a model file does not hold and a pickle only names: "
            f"pass loss=fastbp.losses.{loss}"
        )
    try:
        piece = _piece_of_rows(loss.function) if loss.sees_rows else _piece_of_numbers(loss.function, dtype)
        return piece.address(dtype)
    except CompilationError as error:
        raise _not_compiled(loss, error) from error


def evaluated(loss: Loss, f: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the loss and the derivative of each row, (n,) and (n,), by a user's function of single numbers.

    Parameters
    ----------
    loss : Loss
    f, y : ndarray of shape (n,)
        Outputs and targets, in float64.

    Raises
    ------
    TypeError
        If Numba cannot compile the user's function.
    """
    assert loss.function is not None
    values, derivatives = np.empty(len(f)), np.empty(len(f))
    try:
        _evaluation(loss.function)(f, y, values, derivatives)
    except CompilationError as error:
        raise _not_compiled(loss, error) from error
    return values, derivatives


def _not_compiled(loss: Loss, error: CompilationError) -> TypeError:
    """Return an error with Numba's message, and with what to do."""
    return TypeError(f"Numba cannot compile the loss {loss.name}: {reason_of(error)}")


@functools.cache
def _evaluation(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a compiled function (ŷ, y, values, derivatives) of arrays, (n,), that fills the last two."""
    formula = njit(function)

    @entry_of_process
    def evaluate(f: Floats, y: Floats, values: Floats, derivatives: Floats) -> None:
        for k in range(len(f)):
            values[k], derivatives[k] = formula(f[k], y[k])

    evaluation: Callable[..., None] = evaluate
    return evaluation


@functools.cache
def standardised(function: Callable[..., Any], mean: float, std: float, factor: float) -> Callable[..., Any]:
    """Return a user's function for a network whose outputs and targets are (ŷ − mean) / std and (y − mean) / std.

    The value is that of the user's function. The derivative is multiplied by `factor`.
    """
    formula = njit(function)

    @functools.wraps(function)
    def loss(f: float, y: float) -> tuple[float, float]:
        value, derivative = formula(f * std + mean, y * std + mean)
        return value, derivative * factor

    return loss


# --- functions of numbers: they overwrite all ŷ with values and all y with derivatives ----------------------


@njit
def _fill_last_lines(matrix: Panels) -> None:
    """Fill the places past the last column from the first column of its panel: a function sees true numbers alone."""
    left = matrix.columns % line_length(matrix.data)
    if left > 0:
        for row in range(matrix.rows):
            at = element_at(matrix, row, matrix.columns - left)
            store(matrix.data, at, keep_lanes(load(matrix.data, at), left, matrix.data[at]))


def _fill_batch(  # type: ignore[no-untyped-def]  # the types are those of `types_of_batch`
    _parameter, f, y, _weights, _at, _weight, _losses, _line, _out, _narrow_output
):
    """Fill the last lines of ŷ and of y."""
    _fill_last_lines(f)
    _fill_last_lines(y)


@inlined
def _of_values(_parameter: float, f: Floats, f_at: int, y: Floats, y_at: int) -> tuple[Line, Line]:
    return load(f, f_at), load(y, y_at)


FILL_LAST_LINES = Piece(_fill_batch, types_of_batch, "fill_last_lines")
SUM_VALUES = sum_over_outputs(_of_values, "sum_values")


@functools.cache
def _piece_of_numbers(function: Callable[..., Any], dtype: np.dtype[Any]) -> Piece:
    """Return the piece of a user's function (ŷ, y) → (value, derivative) of single numbers.

    The function is called in one loop over many numbers, which LLVM can vectorise. What comes before and after the loop
    is the same for every function, and lies in pieces that are kept in the cache.
    """
    formula = inlined(function)
    before, after = FILL_LAST_LINES.address(dtype), SUM_VALUES.address(dtype)

    @inlined
    def evaluate(f: Floats, f_at: int, y: Floats, y_at: int, lines: int) -> None:
        for k in range(lines * line_length(f)):
            f[f_at + k], y[y_at + k] = formula(f[f_at + k], y[y_at + k])

    def batch(  # type: ignore[no-untyped-def]  # the types are those of `types_of_batch`
        parameter, f, y, weights, at, weight, losses, line, out, narrow_output
    ):
        arguments = (parameter, f, y, weights, at, weight, losses, line, out, narrow_output)
        call_piece(before, arguments)
        lanes = line_length(f.data)
        lines, panels = f.rows, (f.columns + lanes - 1) // lanes
        if f.stride == lines * lanes and y.stride == f.stride:
            lines, panels = lines * panels, 1
        for panel in range(panels):
            evaluate(f.data, f.at + panel * f.stride, y.data, y.at + panel * y.stride, lines)
        call_piece(after, arguments)

    return Piece(batch, types_of_batch)


# --- functions of rows --------------------------------------------------------------------------------------


@jitable
def _place(matrix: Panels, row: int, o: int, narrow_output: bool) -> int:
    """Return where output o of a row lies."""
    return element_at(matrix, o, row) if narrow_output else element_at(matrix, row, o)


@functools.cache
def _piece_of_rows(function: Callable[..., Any]) -> Piece:
    """Return the piece of a user's function (ŷ, y, derivative) → value of one row, which writes the derivative."""
    formula = njit(function)

    def batch(
        _parameter: float,  # a user's loss has none
        f: Panels,
        y: Panels,
        sample_weights: Floats,
        sample_weights_at: int,
        total_weight: float,
        line_losses: Floats,
        line_losses_at: int,
        out: Panels,
        narrow_output: bool,
    ) -> None:
        n, outputs = (f.columns, f.rows) if narrow_output else (f.rows, f.columns)
        lanes = line_length(out.data)
        tile = lanes if narrow_output else TILE_ROWS
        end = (n + tile - 1) // tile * tile
        width = outputs if narrow_output else (outputs + lanes - 1) // lanes * lanes
        predictions, targets, derivative = np.empty(outputs), np.empty(outputs), np.empty(outputs)
        for first in range(0, n, lanes):
            total = 0.0
            for row in range(first, smaller(first + lanes, end)):
                weight = np.float64(sample_weights[sample_weights_at + row]) if row < n else 0.0
                if weight > 0:
                    for o in range(outputs):
                        predictions[o] = f.data[_place(f, row, o, narrow_output)]
                        targets[o] = y.data[_place(y, row, o, narrow_output)]
                        derivative[o] = np.nan  # seen if the function does not write it
                    total += weight * formula(predictions, targets, derivative)
                for o in range(width):
                    scaled = derivative[o] * (weight / total_weight) if weight > 0 and o < outputs else 0.0
                    out.data[_place(out, row, o, narrow_output)] = scaled
            line_losses[line_losses_at + first // lanes] = total

    return Piece(batch, types_of_batch)

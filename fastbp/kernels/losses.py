"""The losses: value and ∂L/∂ŷ together, weighted over a batch.

Losses are computed line by line, in the network's dtype. The losses of a line of samples are summed in that dtype, and
the sums of all lines in float64. The loss of a batch is a piece, which `loss_and_gradient` calls by its address. So a
run compiles its own loss alone. This file must not know how ŷ was computed, nor what is done with its gradient.
"""

from typing import Any

import numpy as np

from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, element_at, smaller
from fastbp.machine.arithmetic import keep_lanes, maximum, minimum, sum_lanes, transpose, where_positive
from fastbp.machine.elementary import exp, log_1p_of_fraction, log_from_1
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import TILE_ROWS, Line, line_length, load, load_tile, store, zero_line
from fastbp.machine.piece import REAL, TRUTH, WHOLE, Piece, address_type, caller, tuple_type

_ROOM = 2.0**-16  # what losses are multiplied by while they are summed in float32, which is exact, so no sum overflows


# --- a line of ŷ: its losses and derivatives ----------------------------------------------------------------


@njit
def squared_error(f: Line, y: Line) -> tuple[Line, Line]:
    """½ (ŷ − y)², and ŷ − y."""
    r = f - y
    return r * r * 0.5, r


@njit
def binary_cross_entropy(f: Line, y: Line) -> tuple[Line, Line]:
    """softplus(ŷ) − y ŷ, and σ(ŷ) − y. Both are computed from exp(−|ŷ|), which cannot overflow."""
    size = maximum(f, f * -1)
    e = exp(size * -1)
    σ = where_positive(f, 1 - e) + e
    return maximum(f, 0) - y * f + log_1p_of_fraction(e), σ / (e + 1) - y


@njit
def poisson(f: Line, y: Line) -> tuple[Line, Line]:
    """exp(ŷ) − y ŷ, and exp(ŷ) − y."""
    e = exp(f)
    return e - y * f, e - y


@njit
def huber_loss(f: Line, y: Line, δ: float) -> tuple[Line, Line]:
    """½ r² within δ and δ (|r| − ½ δ) beyond, and r clipped to ±δ, for r = ŷ − y."""
    r = f - y
    clipped = minimum(maximum(r, -δ), δ)
    return clipped * (r - clipped * 0.5), clipped


@njit
def quantile_loss(f: Line, y: Line, q: float) -> tuple[Line, Line]:
    """max(q r, (q − 1) r) for r = y − ŷ, and its derivative, 0 at r = 0."""
    r = y - f
    one = r * 0 + 1
    return maximum(r * q, r * (q - 1)), where_positive(r * -1, one * (1 - q)) - where_positive(r, one * q)


@njit
def bounded_binary_cross_entropy(f: Line, y: Line, bound: float) -> tuple[Line, Line]:
    """Return the binary cross-entropy with a value of at most `bound`; 0 means no bound."""
    value, derivative = binary_cross_entropy(f, y)
    return minimum(value, bound) if bound > 0 else value, derivative


@njit
def absolute_error(f: Line, y: Line) -> tuple[Line, Line]:
    """|ŷ − y|, and its derivative, 0 at ŷ = y."""
    value, derivative = quantile_loss(f, y, 0.5)
    return value * 2.0, derivative * 2.0


# Below, `line_loss` returns a loss and its derivative for the lines at f_at and y_at.


def _of_lines(formula: Any) -> Any:
    """Return the `line_loss` of a formula that takes two lines."""

    @inlined
    def line_loss(_parameter: float, f: Floats, f_at: int, y: Floats, y_at: int) -> tuple[Line, Line]:
        return formula(load(f, f_at), load(y, y_at))

    return line_loss


def _with_parameter(formula: Any) -> Any:
    """Return the `line_loss` of a formula that takes two lines and the parameter."""

    @inlined
    def line_loss(parameter: float, f: Floats, f_at: int, y: Floats, y_at: int) -> tuple[Line, Line]:
        return formula(load(f, f_at), load(y, y_at), parameter)

    return line_loss


# --- a row of ŷ ---------------------------------------------------------------------------------------------


@inlined
def _separate_row(
    line_loss: Any,
    parameter: float,
    f: Panels,  # (n, C): ŷ
    y: Panels,  # (n, C)
    row: int,
    weight: Line,  # w of the row, in all lanes
    scale: Line,
    out: Panels,  # (n, C): ∂L/∂ŷ times scale, 0 where that is 0
) -> Line:
    """Numbers whose sum is Σ_o w ℓ(ŷ_o, y_o) of the row, for losses that are a sum over outputs."""
    total = zero_line(f.data)
    for o in range(0, f.columns, line_length(f.data)):
        left = f.columns - o
        value, derivative = line_loss(parameter, f.data, element_at(f, row, o), y.data, element_at(y, row, o))
        store(out.data, element_at(out, row, o), keep_lanes(where_positive(scale, derivative) * scale, left, 0))
        total = total + keep_lanes(where_positive(weight, value) * weight, left, 0)
    return total


# --- a line of samples of ŷ ---------------------------------------------------------------------------------


@njit
def _output_at(matrix: Panels, o: int, row: int, narrow_output: bool) -> int:
    """Return where output o of the line of samples from `row` on lies. A wide matrix's squares are transposed there."""
    if narrow_output:
        return element_at(matrix, o, row)
    lanes = line_length(matrix.data)
    return element_at(matrix, row + o % lanes, o - o % lanes)


@njit
def _transpose_squares(matrix: Panels, row: int) -> None:
    """Transpose the squares of a wide matrix from `row` on in place: to lines along the batch, or back again."""
    lanes = line_length(matrix.data)
    for column in range(0, matrix.columns, lanes):
        at = element_at(matrix, row, column)
        store(matrix.data, at, transpose(load_tile(matrix.data, at, lanes)))


@njit
def _separate_samples(
    line_loss: Any,
    parameter: float,
    f: Panels,  # (C, n): ŷ
    y: Panels,  # (C, n)
    row: int,  # the first of the line's samples
    scale: Line,
    out: Panels,  # (C, n): ∂L/∂ŷ times scale, 0 where that is 0
) -> Line:
    """Σ_o ℓ(ŷ_o, y_o) of each sample, for losses that are a sum over outputs."""
    total = zero_line(f.data)
    for o in range(f.rows):
        value, derivative = line_loss(parameter, f.data, element_at(f, o, row), y.data, element_at(y, o, row))
        store(out.data, element_at(out, o, row), where_positive(scale, derivative) * scale)
        total = total + value
    return total


@njit
def _cross_entropy_samples(
    f: Panels,  # ŷ, lines along the batch
    y: Panels,  # probabilities, lines along the batch
    narrow_output: bool,
    outputs: int,  # C
    bound: float,  # the largest −log softmax(ŷ)_o that counts, or 0 if all of it counts
    row: int,  # the first of the line's samples
    scale: Line,
    out: Panels,  # ∂L/∂ŷ times scale, 0 where that is 0; lines along the batch
) -> Line:
    """−Σ_o y_o log softmax(ŷ)_o of each sample, and ∂L/∂ŷ = softmax(ŷ) Σ_o y_o − y."""
    bound = bound if bound > 0 else np.inf
    largest = load(f.data, _output_at(f, 0, row, narrow_output))
    for o in range(1, outputs):
        largest = maximum(largest, load(f.data, _output_at(f, o, row, narrow_output)))
    normaliser, total_y = zero_line(f.data), zero_line(f.data)
    for o in range(outputs):
        e = exp(load(f.data, _output_at(f, o, row, narrow_output)) - largest)
        store(out.data, _output_at(out, o, row, narrow_output), e)
        normaliser = normaliser + e
        total_y = total_y + load(y.data, _output_at(y, o, row, narrow_output))
    log_normaliser, total = log_from_1(normaliser), zero_line(f.data)
    for o in range(outputs):
        target, at = load(y.data, _output_at(y, o, row, narrow_output)), _output_at(out, o, row, narrow_output)
        derivative = load(out.data, at) / normaliser * total_y - target
        store(out.data, at, where_positive(scale, derivative) * scale)
        surprise = log_normaliser - (load(f.data, _output_at(f, o, row, narrow_output)) - largest)
        total = total + target * minimum(surprise, bound)
    return total


@njit
def _wide_cross_entropy_samples(
    f: Panels,  # (n, C): ŷ; the line's samples are left transposed
    y: Panels,  # (n, C): probabilities; left transposed too
    bound: float,
    row: int,  # the first of the line's samples
    scale: Line,
    out: Panels,  # (n, C): ∂L/∂ŷ times scale, 0 where that is 0
) -> Line:
    """Do the same for a wide ŷ. Sums along lines, row by row, took four times as long as transposing squares."""
    lanes = line_length(out.data)
    _transpose_squares(f, row)
    _transpose_squares(y, row)
    values = _cross_entropy_samples(f, y, False, f.columns, bound, row, scale, out)
    for o in range(f.columns, (f.columns + lanes - 1) // lanes * lanes):
        store(out.data, _output_at(out, o, row, False), zero_line(out.data))
    _transpose_squares(out, row)
    return values


# --- a batch ------------------------------------------------------------------------------------------------
# The arguments of a batch are those of `loss_and_gradient`, and so are the arguments of a piece.


@njit
def _wide_batch(
    line_loss: Any,
    parameter: float,
    f: Panels,  # (n, C): ŷ, perhaps overwritten
    y: Panels,  # (n, C), perhaps overwritten
    sample_weights: Floats,
    sample_weights_at: int,
    total_weight: float,
    line_losses: Floats,
    line_losses_at: int,
    out: Panels,  # (n, C): ∂L/∂ŷ of the batch's mean, zero in the rows past n
) -> None:
    """Compute a loss that is a sum over outputs, row by row."""
    lanes = line_length(out.data)
    end = (f.rows + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    for first in range(0, f.rows, lanes):
        total = zero_line(out.data)
        for row in range(first, smaller(first + lanes, end)):
            weight = zero_line(out.data) + sample_weights[sample_weights_at + row]
            scale = weight / total_weight if total_weight > 0 else weight
            total = total + _separate_row(line_loss, parameter, f, y, row, weight * _ROOM, scale, out)
        line_losses[line_losses_at + first // lanes] = np.float64(sum_lanes(total)) / _ROOM


@njit
def _narrow_batch(
    line_loss: Any,
    parameter: float,
    f: Panels,  # (C, n): ŷ, perhaps overwritten
    y: Panels,  # (C, n), perhaps overwritten
    sample_weights: Floats,
    sample_weights_at: int,
    total_weight: float,
    line_losses: Floats,
    line_losses_at: int,
    out: Panels,  # (C, n): ∂L/∂ŷ of the batch's mean, zero past n to the end of the line
) -> None:
    """Compute a loss that is a sum over outputs, a line of samples at a time."""
    for row in range(0, f.columns, line_length(out.data)):
        weights = load(sample_weights, sample_weights_at + row)
        scale = weights / total_weight if total_weight > 0 else weights
        values = _separate_samples(line_loss, parameter, f, y, row, scale, out)
        at = line_losses_at + row // line_length(out.data)
        line_losses[at] = np.float64(sum_lanes(where_positive(weights, values) * (weights * _ROOM))) / _ROOM


def _cross_entropy_batch(
    parameter: float,
    f: Panels,  # ŷ, overwritten if it is wide
    y: Panels,  # overwritten if it is wide
    sample_weights: Floats,
    sample_weights_at: int,
    total_weight: float,
    line_losses: Floats,
    line_losses_at: int,
    out: Panels,
    narrow_output: bool,
) -> None:
    """Compute the cross-entropy, a line of samples at a time."""
    lanes = line_length(out.data)
    for row in range(0, f.columns if narrow_output else f.rows, lanes):
        weights = load(sample_weights, sample_weights_at + row)
        scale = weights / total_weight if total_weight > 0 else weights
        if narrow_output:
            values = _cross_entropy_samples(f, y, True, f.rows, parameter, row, scale, out)
        else:
            values = _wide_cross_entropy_samples(f, y, parameter, row, scale, out)
        total = where_positive(weights, values) * (weights * _ROOM)
        line_losses[line_losses_at + row // lanes] = np.float64(sum_lanes(total)) / _ROOM


# --- pieces -------------------------------------------------------------------------------------------------


def types_of_batch(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of a piece."""
    numbers = address_type(dtype)
    panels = tuple_type(Panels, numbers, WHOLE, WHOLE, WHOLE, WHOLE)
    return (REAL, panels, panels, numbers, WHOLE, REAL, address_type(np.float64), WHOLE, panels, TRUTH)


call_piece = caller(types_of_batch)


@inlined
def loss_and_gradient(
    loss: int,  # the address of the loss's piece
    parameter: float,
    f: Panels,  # ŷ: (n, C), or (C, n) if the output is narrow; perhaps overwritten
    y: Panels,  # laid out like ŷ; perhaps overwritten
    sample_weights: Floats,  # w, from sample_weights_at on; 0 past the batch
    sample_weights_at: int,
    total_weight: float,  # Σ w of the whole batch; these rows may be a part of it
    line_losses: Floats,  # Σ w ℓ of each line of samples, written from line_losses_at on
    line_losses_at: int,
    out: Panels,  # ∂L/∂ŷ of the batch's mean, laid out like ŷ; zero past the batch to the end of its tile or line
    narrow_output: bool,
) -> None:
    """L = Σ_n w_n ℓ_n / Σ_n w_n, and ∂L/∂ŷ_n = w_n ∂ℓ_n/∂ŷ_n / Σ_n w_n. All arrays are addresses."""
    at, line = sample_weights_at, line_losses_at
    if call_piece(loss, (parameter, f, y, sample_weights, at, total_weight, line_losses, line, out, narrow_output)):
        line_losses[line] = np.nan  # a user's function has raised an exception; the run ends as if it diverged


def sum_over_outputs(line_loss: Any, name: str) -> Piece:
    """Return the piece of a loss that is a sum over outputs."""

    def batch(  # type: ignore[no-untyped-def]  # the types are those of `_narrow_batch`
        parameter, f, y, weights, at, weight, losses, line, out, narrow_output
    ):
        if narrow_output:
            _narrow_batch(line_loss, parameter, f, y, weights, at, weight, losses, line, out)
        else:
            _wide_batch(line_loss, parameter, f, y, weights, at, weight, losses, line, out)

    return Piece(batch, types_of_batch, name)


PIECES = {
    "squared_error": sum_over_outputs(_of_lines(squared_error), "squared_error"),
    "binary_cross_entropy": sum_over_outputs(_with_parameter(bounded_binary_cross_entropy), "binary_cross_entropy"),
    "cross_entropy": Piece(_cross_entropy_batch, types_of_batch, "cross_entropy"),
    "poisson": sum_over_outputs(_of_lines(poisson), "poisson"),
    "huber": sum_over_outputs(_with_parameter(huber_loss), "huber"),
    "absolute_error": sum_over_outputs(_of_lines(absolute_error), "absolute_error"),
    "quantile": sum_over_outputs(_with_parameter(quantile_loss), "quantile"),
}

"""The losses: value and ∂L/∂ŷ together, weighted over a batch.

Losses are computed line by line, in the network's dtype. The losses of a line of samples are summed in that dtype, and
the sums of all lines in float64. This file must not know how ŷ was computed, nor what is done with its gradient.
"""

import numpy as np

from fastbp import losses
from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, element_at, smaller
from fastbp.machine.arithmetic import keep_lanes, maximum, minimum, sum_lanes, transpose, where_positive
from fastbp.machine.elementary import exp, log, log_1p
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import TILE_ROWS, Line, line_length, load, load_tile, store, zero_line

_SQUARED_ERROR = losses.squared_error.code
_BINARY_CROSS_ENTROPY = losses.binary_cross_entropy.code
_CROSS_ENTROPY = losses.cross_entropy.code
_POISSON = losses.poisson.code
_HUBER = losses.huber().code
_ABSOLUTE_ERROR = losses.absolute_error.code
_QUANTILE = losses.quantile().code
_ROOM = 2.0**-16  # what losses are multiplied by while they are summed in float32, which is exact, so no sum overflows
_N_LOSSES = len(losses.NAMES)  # with the codes from 0 on


@inlined
def check_loss(loss: int) -> None:
    """Raise ValueError unless a loss has this code."""
    if loss < 0 or loss >= _N_LOSSES:
        raise ValueError("no loss has this code")


# --- a line of ŷ: its losses and derivatives (or a single number, in plain Python) ---------------------------


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
    return maximum(f, 0) - y * f + log_1p(e), σ / (e + 1) - y


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


@inlined
def _line_loss(loss: int, parameter: float, f: Line, y: Line) -> tuple[Line, Line]:
    """Return values and derivatives of the loss with this code."""
    if loss == _SQUARED_ERROR:
        return squared_error(f, y)
    if loss == _BINARY_CROSS_ENTROPY:
        value, derivative = binary_cross_entropy(f, y)
        return minimum(value, parameter) if parameter > 0 else value, derivative
    if loss == _POISSON:
        return poisson(f, y)
    if loss == _HUBER:
        return huber_loss(f, y, parameter)
    if loss == _ABSOLUTE_ERROR:
        value, derivative = quantile_loss(f, y, 0.5)
        return value * 2.0, derivative * 2.0
    if loss == _QUANTILE:
        return quantile_loss(f, y, parameter)
    return f * np.nan, f * np.nan  # `check_loss` has raised before


# --- a row of ŷ ---------------------------------------------------------------------------------------------


@inlined
def _separate_row(
    loss: int,
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
        predictions, targets = load(f.data, element_at(f, row, o)), load(y.data, element_at(y, row, o))
        value, derivative = _line_loss(loss, parameter, predictions, targets)
        left = f.columns - o
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
    loss: int,
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
        at = element_at(f, o, row)
        value, derivative = _line_loss(loss, parameter, load(f.data, at), load(y.data, element_at(y, o, row)))
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
    log_normaliser, total = log(normaliser), zero_line(f.data)
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


@njit
def loss_and_gradient(
    loss: int,
    parameter: float,
    f: Panels,  # (n, C): ŷ; cross_entropy overwrites it
    y: Panels,  # (n, C); cross_entropy overwrites it too
    sample_weights: Floats,  # w, from sample_weights_at on; 0 past the batch
    sample_weights_at: int,
    total_weight: float,  # Σ w of the whole batch; these rows may be a part of it
    line_losses: Floats,  # Σ w ℓ of each line of samples, written from line_losses_at on
    line_losses_at: int,
    out: Panels,  # (n, C): ∂L/∂ŷ of the batch's mean, zero in the rows past n
) -> None:
    """L = Σ_n w_n ℓ_n / Σ_n w_n, and ∂L/∂ŷ_n = w_n ∂ℓ_n/∂ŷ_n / Σ_n w_n."""
    check_loss(loss)
    lanes = line_length(out.data)
    end = (f.rows + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    for first in range(0, f.rows, lanes):
        if loss == _CROSS_ENTROPY:
            weights = load(sample_weights, sample_weights_at + first)
            scale = weights / total_weight if total_weight > 0 else weights
            values = _wide_cross_entropy_samples(f, y, parameter, first, scale, out)
            total = where_positive(weights, values) * (weights * _ROOM)
        else:
            total = zero_line(out.data)
            for row in range(first, smaller(first + lanes, end)):
                weight = zero_line(out.data) + sample_weights[sample_weights_at + row]
                scale = weight / total_weight if total_weight > 0 else weight
                total = total + _separate_row(loss, parameter, f, y, row, weight * _ROOM, scale, out)
        line_losses[line_losses_at + first // lanes] = np.float64(sum_lanes(total)) / _ROOM


@njit
def narrow_loss_and_gradient(
    loss: int,
    parameter: float,
    f: Panels,  # (C, n): ŷ
    y: Panels,  # (C, n)
    sample_weights: Floats,  # w, from sample_weights_at on; 0 past the batch
    sample_weights_at: int,
    total_weight: float,  # Σ w of the whole batch; these samples may be a part of it
    line_losses: Floats,  # Σ w ℓ of each line of samples, written from line_losses_at on
    line_losses_at: int,
    out: Panels,  # (C, n): ∂L/∂ŷ of the batch's mean, zero past n to the end of the line
) -> None:
    """L and ∂L/∂ŷ as in `loss_and_gradient`, for a narrow ŷ, a line of samples at a time."""
    check_loss(loss)
    for row in range(0, f.columns, line_length(out.data)):
        weights = load(sample_weights, sample_weights_at + row)
        scale = weights / total_weight if total_weight > 0 else weights
        if loss == _CROSS_ENTROPY:
            values = _cross_entropy_samples(f, y, True, f.rows, parameter, row, scale, out)
        else:
            values = _separate_samples(loss, parameter, f, y, row, scale, out)
        at = line_losses_at + row // line_length(out.data)
        line_losses[at] = np.float64(sum_lanes(where_positive(weights, values) * (weights * _ROOM))) / _ROOM

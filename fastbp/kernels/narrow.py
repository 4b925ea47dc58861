"""The equations of `dense` once more, for a narrow output, which is stored with its lines along the batch.

A matrix (C, n) has one row for each output, so C outputs cost C lines for each line of samples, and not one line for
each sample. Samples past the batch are as in `dense`: any finite number, but zero in a gradient with respect to f.

D stands for the last layer's number of inputs, C for its outputs and n for the batch's rows. This file must not know
networks, losses or optimizers other than plain SGD.
"""

from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, Slice, element_at, rows_in_tiles, tiles_at
from fastbp.machine.arithmetic import fma, fma_along, fma_pairs, sum_lanes, sum_rows, transpose, where_positive
from fastbp.machine.jit import njit
from fastbp.machine.line import TILE_ROWS, Line, Tile, line_length, load, load_tile, store, zero_line, zero_tile


@njit
def _output(h: Panels, row: int, weights: Panels, o: int) -> float:
    """Return Σ_k Ω[o, k] h[row, k]."""
    sums = zero_line(h.data)
    for column in range(0, h.columns, line_length(h.data)):
        line = load(weights.data, element_at(weights, o, column))
        sums = fma(load(h.data, element_at(h, row, column)), line, sums)
    return sum_lanes(sums)


@njit
def narrow_forward(
    h: Panels,  # (n, D)
    weights: Panels,  # (C, D): Ω
    biases: Panels,  # (1, C)
    out: Panels,  # (C, n)
) -> None:
    """f_K = β_K + Ω_K h_K, for a line of samples at a time."""
    lanes = line_length(out.data)
    in_lines = (h.rows + lanes - TILE_ROWS // 2) // lanes * lanes  # a last line of few samples goes sample by sample
    for row in range(0, in_lines, lanes):
        for o in range(out.rows):  # inside, as the samples are in the nearest cache
            β = biases.data[biases.at + o]
            sums = zero_tile(out.data, lanes)
            for column in range(0, h.columns, lanes):
                samples = load_tile(h.data, element_at(h, row, column), lanes)
                sums = fma(samples, load(weights.data, element_at(weights, o, column)), sums)
            store(out.data, element_at(out, o, row), sum_rows(transpose(sums)) + β)
    for row in range(in_lines, h.rows):
        for o in range(out.rows):
            β = biases.data[biases.at + o]
            out.data[element_at(out, o, row)] = β + _output(h, row, weights, o)


@njit
def _product(g: Panels, weights: Panels, row: int, column: int) -> Tile:
    """Return (gᵀ Ω)[row : row + TILE_ROWS, column : column + lanes]."""
    d = zero_tile(g.data, TILE_ROWS)
    for o in range(g.rows):
        d = fma_along(d, g.data, element_at(g, o, row), load(weights.data, element_at(weights, o, column)))
    return d


@njit
def _row_product(g: Panels, weights: Panels, row: int, column: int) -> Line:
    """Return (gᵀ Ω)[row, column : column + lanes]."""
    d = zero_line(g.data)
    for o in range(g.rows):
        d = d + load(weights.data, element_at(weights, o, column)) * g.data[element_at(g, o, row)]
    return d


@njit
def narrow_backward_input(
    g: Panels,  # (C, n): ∂L/∂f_K
    weights: Panels,  # (C, D): Ω
    h: Panels,  # (n, D): h_K
    out: Panels,  # (n, D)
) -> None:
    """∂L/∂f_{K-1} = I[f_{K-1} > 0] ⊙ (Ω_Kᵀ ∂L/∂f_K)."""
    tiled = rows_in_tiles(g.columns)
    for column in range(0, out.columns, line_length(out.data)):
        for row in range(0, tiled, TILE_ROWS):
            active = load_tile(h.data, element_at(h, row, column), TILE_ROWS)
            store(out.data, element_at(out, row, column), where_positive(active, _product(g, weights, row, column)))
        for row in range(tiled, g.columns):
            active, d = load(h.data, element_at(h, row, column)), _row_product(g, weights, row, column)
            store(out.data, element_at(out, row, column), where_positive(active, d))


@njit
def narrow_backward_linear_input(
    g: Panels,  # (C, n): ∂L/∂f_K
    weights: Panels,  # (C, D): Ω
    has_derivative: bool,  # whether `out` holds a'(f_{K-1})
    out: Panels,  # (n, D)
) -> None:
    """∂L/∂f_{K-1} = a'(f_{K-1}) ⊙ (Ω_Kᵀ ∂L/∂f_K), or ∂L/∂h_K = Ω_Kᵀ ∂L/∂f_K for an identity and for x = h_0."""
    for column in range(0, out.columns, line_length(out.data)):
        for row in range(0, g.columns, TILE_ROWS):
            d = _product(g, weights, row, column)
            if has_derivative:
                d = d * load_tile(out.data, element_at(out, row, column), TILE_ROWS)
            store(out.data, element_at(out, row, column), d)


@njit
def _outer(g: Panels, o: int, h: Panels, column: int) -> Line:
    """Return Σ_n g[o, n] h[n, column : column + lanes]."""
    tiled = rows_in_tiles(g.columns)
    total = zero_line(g.data)
    if tiled > 0:
        sums = zero_tile(g.data, TILE_ROWS)
        for row in range(0, tiled, TILE_ROWS):
            sums = fma_pairs(sums, g.data, element_at(g, o, row), h.data, element_at(h, row, column))
        total = sum_rows(sums)
    for row in range(tiled, g.columns):
        total = total + load(h.data, element_at(h, row, column)) * g.data[element_at(g, o, row)]
    return total


@njit
def _row_sum(g: Panels, o: int) -> float:
    """Return Σ_n g[o, n]."""
    sums = zero_line(g.data)
    for row in range(0, g.columns, line_length(g.data)):
        sums = sums + load(g.data, element_at(g, o, row))
    return sum_lanes(sums)


@njit
def narrow_backward_parameters(
    g: Panels,  # (C, n): ∂L/∂f_K
    h: Panels,  # (n, D): h_K
    weights: Panels,  # (C, D): ∂L/∂Ω_K, written
    biases: Panels,  # (1, C): ∂L/∂β_K, written
) -> None:
    """∂L/∂Ω_K = ∂L/∂f_K h_Kᵀ and ∂L/∂β_K = ∂L/∂f_K, summed over the batch."""
    for column in range(0, h.columns, line_length(g.data)):
        for o in range(g.rows):  # inside, as the panel of h is in the nearest cache
            store(weights.data, element_at(weights, o, column), _outer(g, o, h, column))
    for o in range(g.rows):
        biases.data[biases.at + o] = _row_sum(g, o)


@njit
def narrow_backward_parameters_by_slices(
    g: Panels,  # (C, n): ∂L/∂f_K of a slice of the batch
    h: Panels,  # (n, D): h_K of the slice
    place: Slice,
    tiles: Floats,  # Σ so far, in TILE_ROWS lines of each line of ∂L/∂Ω_K and one line of each ∂L/∂β_K; updated
    weights: Panels,  # (C, D): ∂L/∂Ω_K, written in the last slice
    biases: Panels,  # (1, C): ∂L/∂β_K, written in the last slice
) -> None:
    """Add a slice's part of `narrow_backward_parameters`, with the same bits after the last slice."""
    lanes, tiled = line_length(g.data), rows_in_tiles(g.columns)
    for column in range(0, h.columns, lanes):
        for o in range(g.rows):
            sums, at = zero_tile(g.data, TILE_ROWS), tiles_at(weights, column, lanes) + o * lanes * lanes
            if not place.is_first:
                sums = load_tile(tiles, at, TILE_ROWS)
            for row in range(0, tiled, TILE_ROWS):
                sums = fma_pairs(sums, g.data, element_at(g, o, row), h.data, element_at(h, row, column))
            if place.is_last:
                total = sum_rows(sums)
                for row in range(tiled, g.columns):
                    total = total + load(h.data, element_at(h, row, column)) * g.data[element_at(g, o, row)]
                store(weights.data, element_at(weights, o, column), total)
            else:
                store(tiles, at, sums)
    for o in range(g.rows):
        line, at = zero_line(g.data), tiles_at(biases, 0, lanes) + o * lanes
        if not place.is_first:
            line = load(tiles, at)
        for row in range(0, g.columns, lanes):
            line = line + load(g.data, element_at(g, o, row))
        if place.is_last:
            biases.data[biases.at + o] = sum_lanes(line)
        else:
            store(tiles, at, line)


@njit
def narrow_sgd_update(
    g: Panels,  # (C, n): ∂L/∂f_K
    h: Panels,  # (n, D): h_K
    learning_rate: float,  # η
    weight_decay: float,  # λ of Ω_K
    bias_decay: float,  # λ of β_K
    weights: Panels,  # (C, D): Ω_K, updated
    biases: Panels,  # (1, C): β_K, updated
) -> None:
    """φ ← φ − η (∂L/∂φ + λ φ) for Ω_K and β_K."""
    shrinkage, bias_shrinkage = 1 - learning_rate * weight_decay, 1 - learning_rate * bias_decay
    for column in range(0, h.columns, line_length(g.data)):
        for o in range(g.rows):
            at = element_at(weights, o, column)
            d = _outer(g, o, h, column)
            store(weights.data, at, load(weights.data, at) * shrinkage - d * learning_rate)
    for o in range(g.rows):
        at = biases.at + o
        biases.data[at] = biases.data[at] * bias_shrinkage - _row_sum(g, o) * learning_rate

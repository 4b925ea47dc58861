"""The equations of forward and backward propagation, one fused kernel for each.

Every kernel takes matrices in panels (see `layout.Panels`) and writes its last argument. A product is computed tile by
tile: TILE_ROWS rows of one line each are held in registers and stored once. Buffers have room for whole tiles of rows.
A kernel may write any finite number into the rows past the batch, with one exception: in a gradient with respect to f,
the rows that fill up the batch's last tile are zero, so that sums over rows may run over whole tiles.

D and E stand for a layer's numbers of inputs and outputs, and n for the batch's rows. This file must not know
networks, losses or optimizers other than plain SGD.
"""

from fastbp._typing import Floats
from fastbp.kernels.layout import Panels, Slice, element_at, rows_in_tiles, smaller, tiles_at
from fastbp.machine.arithmetic import fma, fma_along, fma_down, fma_pairs, relu, sum_rows, transpose, where_positive
from fastbp.machine.jit import njit
from fastbp.machine.line import (
    TILE_ROWS,
    Line,
    Tile,
    line_length,
    load,
    load_tile,
    store,
    tile,
    zero_line,
    zero_tile,
)


@njit
def _product(sums: Tile, a: Panels, row: int, b: Panels, column: int) -> Tile:
    """Return sums + a[row : row + TILE_ROWS, :] b[:, column : column + lanes]."""
    lanes = line_length(a.data)
    b_at = b.at + column // lanes * b.stride
    for first in range(0, a.columns, lanes):
        a_at = a.at + first // lanes * a.stride + row * lanes
        for k in range(smaller(lanes, a.columns - first)):
            sums = fma_down(sums, a.data, a_at + k, load(b.data, b_at))
            b_at += lanes
    return sums


@njit
def _row_product(a: Panels, row: int, b: Panels, column: int) -> Line:
    """Return a[row, :] b[:, column : column + lanes]. TILE_ROWS partial sums hide the latency of an fma."""
    lanes = line_length(a.data)
    sums = zero_tile(a.data, TILE_ROWS)
    b_at = b.at + column // lanes * b.stride
    for k in range(0, a.columns, TILE_ROWS):
        a_at = a.at + k // lanes * a.stride + row * lanes + k % lanes
        sums = fma_pairs(sums, a.data, a_at, b.data, b_at + k * lanes)
    return sum_rows(sums)


@njit
def _outer(sums: Tile, a: Panels, first: int, b: Panels, column: int) -> Tile:
    """Return sums + a[:, first : first + TILE_ROWS]ᵀ b[:, column : column + lanes]."""
    lanes = line_length(a.data)
    a_at = a.at + first // lanes * a.stride + first % lanes
    b_at = b.at + column // lanes * b.stride
    for row in range(0, a.rows * lanes, lanes):
        sums = fma_along(sums, a.data, a_at + row, load(b.data, b_at + row))
    return sums


@njit
def _column_sum(g: Panels, column: int) -> Line:
    """Return the sum over rows of g[:, column : column + lanes]."""
    lanes, tiled = line_length(g.data), rows_in_tiles(g.rows)
    g_at = g.at + column // lanes * g.stride
    total = zero_line(g.data)
    if tiled > 0:
        sums = zero_tile(g.data, TILE_ROWS)
        for row in range(0, tiled, TILE_ROWS):
            sums = sums + load_tile(g.data, g_at + row * lanes, TILE_ROWS)
        total = sum_rows(sums)
    for row in range(tiled, g.rows):
        total = total + load(g.data, g_at + row * lanes)
    return total


@njit
def linear_relu_forward(
    h: Panels,  # (n, D)
    weights: Panels,  # (D, E): Ωᵀ
    biases: Panels,  # (1, E)
    out: Panels,  # (n, E)
) -> None:
    """h_{i+1} = ReLU(β_i + Ω_i h_i)."""
    lanes, tiled = line_length(out.data), rows_in_tiles(h.rows)
    for column in range(0, out.columns, lanes):
        β = load(biases.data, biases.at + column)
        out_at = out.at + column // lanes * out.stride
        for row in range(0, tiled, TILE_ROWS):
            f = _product(tile(β, TILE_ROWS), h, row, weights, column)
            store(out.data, out_at + row * lanes, relu(f))
        for row in range(tiled, h.rows):
            store(out.data, out_at + row * lanes, relu(β + _row_product(h, row, weights, column)))


@njit
def linear_forward(
    h: Panels,  # (n, D)
    weights: Panels,  # (D, E): Ωᵀ
    biases: Panels,  # (1, E)
    out: Panels,  # (n, E)
) -> None:
    """f_i = β_i + Ω_i h_i."""
    lanes, tiled = line_length(out.data), rows_in_tiles(h.rows)
    for column in range(0, out.columns, lanes):
        β = load(biases.data, biases.at + column)
        out_at = out.at + column // lanes * out.stride
        for row in range(0, tiled, TILE_ROWS):
            f = _product(tile(β, TILE_ROWS), h, row, weights, column)
            store(out.data, out_at + row * lanes, f)
        for row in range(tiled, h.rows):
            store(out.data, out_at + row * lanes, β + _row_product(h, row, weights, column))


@njit
def transpose_weights(
    weights: Panels,  # (D, E): Ωᵀ, lines along outputs
    out: Panels,  # (E, D): Ω, lines along inputs
) -> None:
    """Ω_i = (Ω_iᵀ)ᵀ, square by square in registers. Number by number it took a quarter of a step at batch 32."""
    lanes = line_length(out.data)
    for column in range(0, weights.columns, lanes):
        weights_at = weights.at + column // lanes * weights.stride
        for row in range(0, weights.rows, lanes):
            square = load_tile(weights.data, weights_at + row * lanes, lanes)
            store(out.data, out.at + row // lanes * out.stride + column * lanes, transpose(square))


@njit
def backward_input(
    g: Panels,  # (n, E): ∂L/∂f_i
    weights: Panels,  # (E, D): Ω
    h: Panels,  # (n, D): h_i = ReLU(f_{i-1}), positive where f_{i-1} is
    out: Panels,  # (n, D)
) -> None:
    """∂L/∂f_{i-1} = I[f_{i-1} > 0] ⊙ (Ω_iᵀ ∂L/∂f_i)."""
    lanes = line_length(out.data)
    for column in range(0, out.columns, lanes):
        h_at = h.at + column // lanes * h.stride
        out_at = out.at + column // lanes * out.stride
        for row in range(0, g.rows, TILE_ROWS):
            d = _product(zero_tile(g.data, TILE_ROWS), g, row, weights, column)
            active = load_tile(h.data, h_at + row * lanes, TILE_ROWS)
            store(out.data, out_at + row * lanes, where_positive(active, d))


@njit
def backward_input_small_batch(
    g: Panels,  # (n, E): ∂L/∂f_i
    weights: Panels,  # (D, E): Ωᵀ, as it is stored
    h: Panels,  # (n, D): h_i
    out: Panels,  # (n, D)
) -> None:
    """∂L/∂f_{i-1} = I[f_{i-1} > 0] ⊙ (Ω_iᵀ ∂L/∂f_i), for a batch too small to pay for transposing Ω_i."""
    lanes = line_length(out.data)
    for column in range(0, out.columns, lanes):
        for row in range(g.rows):
            d = zero_tile(out.data, lanes)
            for first in range(0, g.columns, lanes):
                weights_at = weights.at + first // lanes * weights.stride + column * lanes
                line = load(g.data, element_at(g, row, first))
                d = fma(load_tile(weights.data, weights_at, lanes), line, d)
            active = load(h.data, element_at(h, row, column))
            store(out.data, element_at(out, row, column), where_positive(active, sum_rows(transpose(d))))


@njit
def backward_linear_input(
    g: Panels,  # (n, E): ∂L/∂f_i
    weights: Panels,  # (E, D): Ω
    has_derivative: bool,  # whether `out` holds a'(f_{i-1})
    out: Panels,  # (n, D)
) -> None:
    """∂L/∂f_{i-1} = a'(f_{i-1}) ⊙ (Ω_iᵀ ∂L/∂f_i), or ∂L/∂h_i = Ω_iᵀ ∂L/∂f_i for an identity and for x = h_0."""
    lanes = line_length(out.data)
    for column in range(0, out.columns, lanes):
        out_at = out.at + column // lanes * out.stride
        for row in range(0, g.rows, TILE_ROWS):
            d = _product(zero_tile(g.data, TILE_ROWS), g, row, weights, column)
            if has_derivative:
                d = d * load_tile(out.data, out_at + row * lanes, TILE_ROWS)
            store(out.data, out_at + row * lanes, d)


@njit
def backward_parameters(
    g: Panels,  # (n, E): ∂L/∂f_i
    h: Panels,  # (n, D): h_i
    weights: Panels,  # (D, E): ∂L/∂Ω_iᵀ, written
    biases: Panels,  # (1, E): ∂L/∂β_i, written
) -> None:
    """∂L/∂Ω_i = ∂L/∂f_i h_iᵀ and ∂L/∂β_i = ∂L/∂f_i, summed over the batch."""
    lanes = line_length(g.data)
    for column in range(0, g.columns, lanes):
        weights_at = weights.at + column // lanes * weights.stride
        for first in range(0, h.columns, TILE_ROWS):
            d = _outer(zero_tile(g.data, TILE_ROWS), h, first, g, column)
            store(weights.data, weights_at + first * lanes, d)
        store(biases.data, biases.at + column, _column_sum(g, column))


@njit
def backward_parameters_by_slices(
    g: Panels,  # (n, E): ∂L/∂f_i of a slice of the batch
    h: Panels,  # (n, D): h_i of the slice
    place: Slice,
    tiles: Floats,  # Σ so far of ∂L/∂β_i, in TILE_ROWS lines; updated
    weights: Panels,  # (D, E): Σ so far of ∂L/∂Ω_iᵀ, updated
    biases: Panels,  # (1, E): ∂L/∂β_i, written in the last slice
) -> None:
    """Add a slice's part of `backward_parameters`, with the same bits after the last slice."""
    lanes, tiled = line_length(g.data), rows_in_tiles(g.rows)
    for column in range(0, g.columns, lanes):
        weights_at = weights.at + column // lanes * weights.stride
        for first in range(0, h.columns, TILE_ROWS):
            d = zero_tile(g.data, TILE_ROWS)
            if not place.is_first:
                d = load_tile(weights.data, weights_at + first * lanes, TILE_ROWS)
            store(weights.data, weights_at + first * lanes, _outer(d, h, first, g, column))
        sums, at = zero_tile(g.data, TILE_ROWS), tiles_at(biases, column, lanes)
        if not place.is_first:
            sums = load_tile(tiles, at, TILE_ROWS)
        g_at = g.at + column // lanes * g.stride
        for row in range(0, tiled, TILE_ROWS):
            sums = sums + load_tile(g.data, g_at + row * lanes, TILE_ROWS)
        if place.is_last:
            total = sum_rows(sums)
            for row in range(tiled, g.rows):
                total = total + load(g.data, g_at + row * lanes)
            store(biases.data, biases.at + column, total)
        else:
            store(tiles, at, sums)


@njit
def sgd_update_weights(
    g: Panels,  # (n, E): ∂L/∂f_i
    h: Panels,  # (n, D): h_i
    learning_rate: float,  # η
    weight_decay: float,  # λ
    weights: Panels,  # (D, E): Ω_iᵀ, updated
) -> None:
    """Ω_i ← Ω_i − η (∂L/∂f_i h_iᵀ + λ Ω_i). A tile of ∂L/∂Ω_i is held in registers and never written to memory."""
    lanes = line_length(g.data)
    shrinkage, minus_η = 1 - learning_rate * weight_decay, zero_line(g.data) - learning_rate
    for column in range(0, g.columns, lanes):
        weights_at = weights.at + column // lanes * weights.stride
        for first in range(0, h.columns, TILE_ROWS):
            d = _outer(zero_tile(g.data, TILE_ROWS), h, first, g, column)
            at = weights_at + first * lanes
            Ω = load_tile(weights.data, at, TILE_ROWS)
            if weight_decay > 0:  # a multiplication by 1 took 2 to 5 % of a step
                Ω = Ω * shrinkage
            store(weights.data, at, fma(d, minus_η, Ω))


@njit
def sgd_update_weights_small_batch(
    g: Panels,  # (n, E): ∂L/∂f_i
    h: Panels,  # (n, D): h_i
    learning_rate: float,  # η
    weight_decay: float,  # λ
    weights: Panels,  # (D, E): Ω_iᵀ, updated
) -> None:
    """Ω_i ← Ω_i − η (∂L/∂f_i h_iᵀ + λ Ω_i), row by row: half the arithmetic for a batch of one or two rows."""
    lanes = line_length(g.data)
    shrinkage = 1 - learning_rate * weight_decay
    for column in range(0, g.columns, lanes):
        weights_at = weights.at + column // lanes * weights.stride
        for first in range(0, h.columns, TILE_ROWS):
            Ω = load_tile(weights.data, weights_at + first * lanes, TILE_ROWS)
            if weight_decay > 0:
                Ω = Ω * shrinkage
            for row in range(g.rows):
                step = load(g.data, element_at(g, row, column)) * -learning_rate
                Ω = fma_along(Ω, h.data, element_at(h, row, first), step)
            store(weights.data, weights_at + first * lanes, Ω)


@njit
def sgd_update_biases(
    g: Panels,  # (n, E): ∂L/∂f_i
    learning_rate: float,  # η
    weight_decay: float,  # λ
    biases: Panels,  # (1, E): β_i, updated
) -> None:
    """β_i ← β_i − η (∂L/∂f_i + λ β_i), summed over the batch."""
    lanes = line_length(g.data)
    shrinkage = 1 - learning_rate * weight_decay
    for column in range(0, g.columns, lanes):
        at = biases.at + column // lanes * biases.stride
        store(biases.data, at, load(biases.data, at) * shrinkage - _column_sum(g, column) * learning_rate)

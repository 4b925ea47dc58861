"""Arithmetic with lines and tiles, by the rules of arrays: a line applies to each row of a tile, a number to each lane.

This file generates LLVM code. It must not know what is computed with lines.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, type_callable

from fastbp.machine.line import Line, Lines, Tile, address_of, constant, load_value, pack, row_of, shuffle, splat


def call(builder: ir.IRBuilder, name: str, *vectors: Any) -> Any:
    """Declare and call an LLVM intrinsic of vectors: llvmlite's `declare_intrinsic` takes no vector types."""
    vector = vectors[0].type
    count, number = (f"v{vector.count}", vector.element) if isinstance(vector, ir.VectorType) else ("", vector)
    width = 32 if isinstance(number, ir.FloatType) else 64
    function_type = ir.FunctionType(vector, [vector] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{count}f{width}")
    return builder.call(function, vectors)


def by_rows(builder: ir.IRBuilder, signature: Any, values: Any, compute: Callable[..., Any]) -> Any:
    """Return `compute(*vectors)` for each row of the arguments."""
    kind = signature.return_type
    arguments = list(zip(signature.args, values, strict=True))
    vectors = ([row_of(builder, k, value, row) for k, value in arguments] for row in range(kind.rows))
    return pack(builder, kind, [compute(*operands) for operands in vectors])


def _fma_from_memory(tile: Tile, array: types.Array, line: Line, spacing: int) -> Any:
    """Return the type and the code of `tile[r] + array[at + r * spacing] * line`: an outer product added to a tile."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        sums, array_value, at, factor = values
        rows = []
        for row in range(tile.rows):
            # A broadcast from memory, which x86 makes a part of the fma instruction.
            pointer = address_of(context, builder, array, array_value, at, row * spacing)
            number = splat(builder, tile.vector, builder.load(pointer, align=tile.bytes))
            rows.append(call(builder, "fma", number, factor, builder.extract_value(sums, row)))
        return pack(builder, tile, rows)

    return tile(tile, array, types.intp, line), generate


@intrinsic
def fma_down(_context: Any, tile: Tile, array: types.Array, _at: Any, line: Line) -> Any:
    """Return the tile with rows `tile[r] + array[at + r * line_length] * line`: down a panel's rows."""
    return _fma_from_memory(tile, array, line, tile.lanes)


@intrinsic
def fma_along(_context: Any, tile: Tile, array: types.Array, _at: Any, line: Line) -> Any:
    """Return the tile with rows `tile[r] + array[at + r] * line`: along one line's lanes."""
    return _fma_from_memory(tile, array, line, 1)


@intrinsic
def fma_pairs(_context: Any, tile: Tile, numbers: types.Type, _at: Any, lines: types.Type, _lines_at: Any) -> Any:
    """Return the tile with rows `tile[r] + numbers[at + r] * line r of lines from lines_at on`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        sums, numbers_value, at, lines_value, lines_at = values
        factors = load_value(context, builder, signature.return_type, lines, lines_value, lines_at)
        rows = []
        for row in range(tile.rows):
            pointer = address_of(context, builder, numbers, numbers_value, at, row)
            number = splat(builder, tile.vector, builder.load(pointer, align=tile.bytes))
            factor, addend = (builder.extract_value(value, row) for value in (factors, sums))
            rows.append(call(builder, "fma", number, factor, addend))
        return pack(builder, tile, rows)

    return tile(tile, numbers, types.intp, lines, types.intp), generate


@intrinsic
def fma(_context: Any, a: Lines, b: Lines, c: Lines) -> Any:
    """Return a * b + c, rounded once."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return by_rows(builder, signature, values, lambda x, y, z: call(builder, "fma", x, y, z))

    return c(a, b, c), generate


@intrinsic
def relu(_context: Any, lines: Lines) -> Any:
    """Return max(0, x). NaN stays NaN: otherwise a diverged unit would look like an inactive one."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        zero = constant(lines.vector, 0.0)

        def maximum(x: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", zero, x), zero, x)

        return by_rows(builder, signature, values, maximum)

    return lines(lines), generate


@intrinsic
def where_positive(_context: Any, condition: Lines, lines: Lines) -> Any:
    """Return I[condition > 0] ⊙ lines."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        zero = constant(lines.vector, 0.0)

        def mask(x: Any, kept: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", x, zero), kept, zero)

        return by_rows(builder, signature, values, mask)

    return lines(condition, lines), generate


@intrinsic
def square_root(_context: Any, lines: Lines) -> Any:
    """Return √x, lane by lane."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return by_rows(builder, signature, values, lambda x: call(builder, "sqrt", x))

    return lines(lines), generate


@intrinsic
def random_lanes(_context: Any, line: Line, _key: types.Integer, _share: types.Float) -> Any:
    """Return a line of zeros and ones, of the given line's dtype. Each lane is 1 with the probability `share`, below 1.

    The key decides the draw: each lane hashes the two halves of the key and its own number, by the finalizer of
    MurmurHash3 (Appleby 2011).
    """
    integers = ir.VectorType(ir.IntType(32), line.lanes)

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        def constant(number: int) -> Any:
            return ir.Constant(integers, [number] * line.lanes)

        def mixed(bits: Any) -> Any:
            for by, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
                bits = builder.mul(builder.xor(bits, builder.lshr(bits, constant(by))), constant(factor))
            return builder.xor(bits, builder.lshr(bits, constant(16)))

        _, key, share = values
        low, high = (
            splat(builder, integers, builder.trunc(half, ir.IntType(32)))
            for half in (key, builder.lshr(key, ir.Constant(key.type, 32)))
        )
        number = ir.Constant(integers, [lane * 0x9E3779B9 % 2**32 for lane in range(line.lanes)])
        bits = mixed(builder.xor(mixed(builder.add(low, number)), high))
        most = builder.fptoui(builder.fmul(share, ir.Constant(share.type, 2.0**32)), ir.IntType(32))
        ones, zeros = (ir.Constant(line.vector, [number] * line.lanes) for number in (1.0, 0.0))
        return builder.select(builder.icmp_unsigned("<", bits, splat(builder, integers, most)), ones, zeros)

    return line(line, types.uint64, types.float64), generate


@intrinsic
def keep_lanes(_context: Any, lines: Lines, _count: types.Integer, _other: types.Float) -> Any:
    """Return the lines with a number instead of every lane after the first `count` lanes."""
    integers = ir.VectorType(ir.IntType(32), lines.lanes)

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        last = splat(builder, integers, builder.trunc(values[1], ir.IntType(32)))
        inside = builder.icmp_signed("<", ir.Constant(integers, list(range(lines.lanes))), last)
        other = splat(builder, lines.vector, values[2])
        one = signature.return_type(lines)
        return by_rows(builder, one, values[:1], lambda line: builder.select(inside, line, other))

    return lines(lines, types.int64, lines.dtype), generate


@intrinsic
def sum_lanes(_context: Any, line: Line) -> Any:
    """Return the sum of a line's lanes, a number. The upper half is added to the lower half, again and again."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        vector, lanes = values[0], line.lanes
        while lanes > 1:
            lanes //= 2
            low = shuffle(builder, vector, vector, list(range(lanes)))
            high = shuffle(builder, vector, vector, list(range(lanes, 2 * lanes)))
            vector = builder.fadd(low, high)
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return line.dtype(line), generate


@intrinsic
def sum_rows(_context: Any, tile: Tile) -> Any:
    """Return the sum of a tile's rows, a line. Rows are added in pairs, again and again."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        rows = [builder.extract_value(values[0], row) for row in range(tile.rows)]
        while len(rows) > 1:
            rows = [builder.fadd(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return rows[0]

    return Line(tile.dtype)(tile), generate


@intrinsic
def transpose(_context: Any, square: Tile) -> Any:
    """Return the transpose of a tile with as many rows as lanes.

    The first stages move lanes within quarters of a register, which takes every CPU one cycle. The last stages move
    whole quarters between registers. Shuffles across the whole register take a half longer: they overwrite one of their
    operands, which has to be copied before.
    """
    lanes, quarter = square.lanes, 16 // square.bytes  # lanes of 128 bits

    def pair(size: int) -> tuple[list[int], list[int]]:
        """Return the lanes of two rows in turn, `size` at a time: the lower halves of quarters, then the upper."""
        low = [
            row + first + group + i
            for first in range(0, lanes, quarter)
            for group in range(0, quarter // 2, size)
            for row in (0, lanes)
            for i in range(size)
        ]
        return low, [lane + quarter // 2 for lane in low]

    even = [row + first + i for row in (0, lanes) for first in range(0, lanes, 2 * quarter) for i in range(quarter)]
    odd = [lane + quarter for lane in even]
    within = [(1, pair(1)), (2, pair(2))] if quarter == 4 else [(1, pair(1))]
    stages = [*within, (quarter, (even, odd)), (2 * quarter, (even, odd))]

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        rows = [builder.extract_value(values[0], row) for row in range(lanes)]
        for step, orders in stages:
            for a in (row for row in range(lanes) if not row & step):
                pair_of_rows = rows[a], rows[a + step]
                rows[a], rows[a + step] = (shuffle(builder, *pair_of_rows, order) for order in orders)
            if quarter == 4 and step == 2:  # the second and third column of each four have changed places
                rows = [rows[row & ~3 | (0, 2, 1, 3)[row & 3]] for row in range(lanes)]
        return pack(builder, signature.return_type, rows)

    return square(square), generate


def maximum(a: Any, b: Any) -> Any:
    """Return the greater number, lane by lane, or the number of `a` if one of the two is NaN."""
    return np.where(a <= b, b, a)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller number, lane by lane, or the number of `a` if one of the two is NaN."""
    return np.where(a >= b, b, a)


def _binary(function: Callable[..., Any], compute: Callable[[ir.IRBuilder, Any, Any], Any]) -> None:
    """Teach Numba `function(a, b)` for a line or a tile together with a line, a tile or a number."""

    @type_callable(function)
    def type_function(_context: Any) -> Any:
        def typer(a: types.Type, b: types.Type) -> types.Type | None:
            lines = [kind for kind in (a, b) if isinstance(kind, Lines)]
            others = [kind for kind in (a, b) if not isinstance(kind, Lines | types.Number)]
            return None if others or not lines else max(lines, key=lambda kind: isinstance(kind, Tile))

        return typer

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kind, kinds, operands = signature.return_type, [], []
        for operand_kind, value in zip(signature.args, values, strict=True):
            is_number = isinstance(operand_kind, types.Number)
            number = context.cast(builder, value, operand_kind, kind.dtype) if is_number else None
            operands.append(splat(builder, kind.vector, number) if is_number else value)
            kinds.append(Line(kind.dtype) if is_number else operand_kind)
        return by_rows(builder, kind(*kinds), operands, lambda a, b: compute(builder, a, b))

    for kinds in ((Lines, Lines), (Lines, types.Number), (types.Number, Lines)):
        lower_builtin(function, *kinds)(generate)


def _choose(comparison: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    return lambda builder, a, b: builder.select(builder.fcmp_unordered(comparison, a, b), a, b)


_binary(operator.add, lambda builder, a, b: builder.fadd(a, b))
_binary(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_binary(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_binary(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
_binary(maximum, _choose(">"))
_binary(minimum, _choose("<"))

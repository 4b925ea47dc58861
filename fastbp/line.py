"""One cache line of floats, and a tile of several, as Numba values; the only file that knows LLVM.

A `Line` is 64 bytes: 16 float32 or 8 float64, an LLVM vector, which LLVM splits into two AVX2 registers, one
AVX-512 register or four NEON ones. A `Tile` is a few lines that a kernel holds in registers. Arithmetic
works on both as on arrays: a line meets a tile row by row, a number meets every lane.

This file must not know what a matrix, a layer or a loss is.
"""

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LINE_BYTES = 64


def _target_features() -> str:
    """Return the features of the CPU that Numba compiles for, as LLVM writes them."""
    chosen = config.CPU_FEATURES
    return str(llvm.get_host_cpu_features().flatten() if chosen is None else chosen)


# Rows of a tile. One row is one accumulator line; there must be enough to hide the latency of an fma (4 cycles)
# and few enough to leave registers for a loaded line and a broadcast: 8 of AVX-512's 32 registers reach 100 %
# of the peak where 4 reach 93 %; AVX2 has 16 registers and a line takes two.
TILE_ROWS = 8 if "+avx512f" in _target_features() else 4


class Lines(types.Type):
    """What lines and tiles have in common: `rows` lines of `lanes` numbers of `dtype`."""

    def __init__(self, dtype: types.Float, rows: int, name: str) -> None:
        self.dtype = dtype
        self.rows = rows
        self.lanes = LINE_BYTES * 8 // dtype.bitwidth
        self.bytes = dtype.bitwidth // 8
        scalar = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
        self.vector = ir.VectorType(scalar, self.lanes)
        super().__init__(name)


class Line(Lines):
    """The Numba type of one line."""

    def __init__(self, dtype: types.Float) -> None:
        super().__init__(dtype, 1, f"Line({dtype})")


class Tile(Lines):
    """The Numba type of `rows` lines."""

    def __init__(self, dtype: types.Float, rows: int) -> None:
        super().__init__(dtype, rows, f"Tile({dtype}, {rows})")


@register_model(Line)
class _LineModel(models.PrimitiveModel):
    def __init__(self, manager: Any, line: Line) -> None:
        super().__init__(manager, line, line.vector)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows))


# --- from LLVM values to lines and back ---------------------------------------------------------------------


def _pointer(context: Any, builder: ir.IRBuilder, array: types.Type, value: Any, at: Any, offset: int) -> Any:
    """Return the address of `array[at + offset]`, plainly: NumPy indexing also tests for a negative index.

    Here and below, an array may as well be what `pointer` returned.
    """
    data = value if isinstance(array, types.CPointer) else context.make_array(array)(context, builder, value).data
    return builder.gep(data, [builder.add(at, ir.Constant(at.type, offset))])


def _load(context: Any, builder: ir.IRBuilder, kind: Lines, array: types.Array, value: Any, at: Any) -> Any:
    """Return the value of type `kind` that lies in consecutive lines from `array[at]` on."""
    pointers = [_pointer(context, builder, array, value, at, row * kind.lanes) for row in range(kind.rows)]
    vectors = [builder.bitcast(pointer, kind.vector.as_pointer()) for pointer in pointers]
    return _pack(builder, kind, [builder.load(vector, align=kind.bytes) for vector in vectors])


def _splat(builder: ir.IRBuilder, vector: ir.VectorType, scalar: Any) -> Any:
    """Return a vector of which every lane is `scalar`."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, first, nothing, [0] * vector.count)


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, lanes: list[int]) -> Any:
    """Return the vector of the given lanes of `a`, counted from 0, and of `b`, counted on."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def _call(builder: ir.IRBuilder, name: str, *vectors: Any) -> Any:
    """Call the LLVM intrinsic `name`, declared by hand: llvmlite's `declare_intrinsic` takes no vector types."""
    vector = vectors[0].type
    width = 32 if isinstance(vector.element, ir.FloatType) else 64
    function_type = ir.FunctionType(vector, [vector] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.v{vector.count}f{width}")
    return builder.call(function, vectors)


def _row(builder: ir.IRBuilder, kind: Lines, value: Any, row: int) -> Any:
    """Return the vector in a row of a tile; a line is the same in every row."""
    return builder.extract_value(value, row) if isinstance(kind, Tile) else value


def _pack(builder: ir.IRBuilder, kind: Lines, vectors: list[Any]) -> Any:
    """Return the value of type `kind` that holds `vectors`, one a row."""
    if isinstance(kind, Line):
        return vectors[0]
    tile = ir.Constant(ir.ArrayType(kind.vector, kind.rows), ir.Undefined)
    for row, vector in enumerate(vectors):
        tile = builder.insert_value(tile, vector, row)
    return tile


def _by_rows(builder: ir.IRBuilder, signature: Any, values: Any, compute: Callable[..., Any]) -> Any:
    """Return `compute(*vectors)` for each row of the arguments."""
    kind = signature.return_type
    arguments = list(zip(signature.args, values, strict=True))
    vectors = ([_row(builder, k, value, row) for k, value in arguments] for row in range(kind.rows))
    return _pack(builder, kind, [compute(*operands) for operands in vectors])


# --- memory -------------------------------------------------------------------------------------------------


def pointer(array: Any) -> Any:
    """Return the address of an array's first number, which no reference count follows; in plain Python, the array.

    Counting references to the arrays inside each step's matrices took a quarter of a small network's step.
    """
    return array


@type_callable(pointer)
def _type_pointer(_context: Any) -> Any:
    return lambda array: types.CPointer(array.dtype)


@lower_builtin(pointer, types.Array)
def _lower_pointer(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
    return context.make_array(signature.args[0])(context, builder, values[0]).data


@intrinsic
def line_length(_context: Any, array: types.Type) -> Any:
    """Return how many numbers of an array's or a line's dtype a line holds: a constant to the compiler."""
    lanes = Line(array.dtype).lanes

    def generate(context: Any, _builder: Any, _signature: Any, _values: Any) -> Any:
        return context.get_constant(types.intp, lanes)

    return types.literal(lanes)(array), generate


@intrinsic
def load(_context: Any, array: types.Array, _at: Any) -> Any:
    """Return the line that begins at `array[at]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return _load(context, builder, signature.return_type, array, *values)

    return Line(array.dtype)(array, types.intp), generate


@intrinsic(prefer_literal=True)
def load_tile(_context: Any, array: types.Array, _at: Any, rows: types.IntegerLiteral) -> Any:
    """Return the tile of `rows` (a constant) consecutive lines that begins at `array[at]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return _load(context, builder, signature.return_type, array, *values[:2])

    return Tile(array.dtype, rows.literal_value)(array, types.intp, rows), generate


@intrinsic
def store(_context: Any, array: types.Array, _at: Any, lines: Lines) -> Any:
    """Write a line, or a tile as consecutive lines, to the array from `array[at]` on."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        for row in range(lines.rows):
            pointer = _pointer(context, builder, array, values[0], values[1], row * lines.lanes)
            vector = builder.bitcast(pointer, lines.vector.as_pointer())
            builder.store(_row(builder, lines, values[2], row), vector, align=lines.bytes)
        return context.get_dummy_value()

    return types.void(array, types.intp, lines), generate


@intrinsic(prefer_literal=True)
def tile(_context: Any, line: Line, rows: types.IntegerLiteral) -> Any:
    """Return the tile of `rows` (a constant) copies of `line`."""
    kind = Tile(line.dtype, rows.literal_value)

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return _pack(builder, kind, [values[0]] * kind.rows)

    return kind(line, rows), generate


@intrinsic
def zero_line(_context: Any, array: types.Array) -> Any:
    """Return the line of zeros of the array's dtype."""
    line = Line(array.dtype)

    def generate(_context: Any, _builder: Any, _signature: Any, _values: Any) -> Any:
        return ir.Constant(line.vector, [0.0] * line.lanes)

    return line(array), generate


@intrinsic(prefer_literal=True)
def zero_tile(_context: Any, array: types.Array, rows: types.IntegerLiteral) -> Any:
    """Return the tile of `rows` (a constant) lines of zeros, of the array's dtype."""
    kind = Tile(array.dtype, rows.literal_value)

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, _values: Any) -> Any:
        return _pack(builder, kind, [ir.Constant(kind.vector, [0.0] * kind.lanes)] * kind.rows)

    return kind(array, rows), generate


# --- arithmetic ---------------------------------------------------------------------------------------------


def _fma_from_memory(tile: Tile, array: types.Array, line: Line, spacing: int) -> Any:
    """Type and generate `tile[r] + array[at + r * spacing] * line`: an outer product added to a tile."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        sums, array_value, at, factor = values
        rows = []
        for row in range(tile.rows):
            # One broadcast from memory, which x86 folds into the fma itself.
            pointer = _pointer(context, builder, array, array_value, at, row * spacing)
            number = _splat(builder, tile.vector, builder.load(pointer, align=tile.bytes))
            rows.append(_call(builder, "fma", number, factor, builder.extract_value(sums, row)))
        return _pack(builder, tile, rows)

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
def relu(_context: Any, lines: Lines) -> Any:
    """Return max(0, x). NaN stays NaN, so that no divergence hides behind a unit that looks dead."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        zero = ir.Constant(lines.vector, [0.0] * lines.lanes)

        def maximum(x: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", zero, x), zero, x)

        return _by_rows(builder, signature, values, maximum)

    return lines(lines), generate


@intrinsic
def where_positive(_context: Any, condition: Lines, lines: Lines) -> Any:
    """Return I[condition > 0] ⊙ lines."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        zero = ir.Constant(lines.vector, [0.0] * lines.lanes)

        def mask(x: Any, kept: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", x, zero), kept, zero)

        return _by_rows(builder, signature, values, mask)

    return lines(condition, lines), generate


@intrinsic
def square_root(_context: Any, lines: Lines) -> Any:
    """Return √x, lane by lane."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return _by_rows(builder, signature, values, lambda x: _call(builder, "sqrt", x))

    return lines(lines), generate


@intrinsic
def round_lanes(_context: Any, lines: Lines) -> Any:
    """Return the nearest whole number, lane by lane."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return _by_rows(builder, signature, values, lambda x: _call(builder, "rint", x))

    return lines(lines), generate


@intrinsic
def power_of_two(_context: Any, lines: Lines) -> Any:
    """Return 2^n, lane by lane, for whole n within the exponents of normal numbers."""
    bits, mantissa = (32, 23) if lines.bytes == 4 else (64, 52)
    integers = ir.VectorType(ir.IntType(bits), lines.lanes)

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        bias = ir.Constant(integers, [2 ** (bits - mantissa - 2) - 1] * lines.lanes)
        shift = ir.Constant(integers, [mantissa] * lines.lanes)

        def power(n: Any) -> Any:
            exponent = builder.add(builder.fptosi(n, integers), bias)
            return builder.bitcast(builder.shl(exponent, shift), lines.vector)

        return _by_rows(builder, signature, values, power)

    return lines(lines), generate


@intrinsic
def keep_lanes(_context: Any, line: Line, _count: types.Integer, _other: types.Float) -> Any:
    """Return the line with its first `count` lanes as they are, and a number in all the others."""
    integers = ir.VectorType(ir.IntType(32), line.lanes)

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        kept, count, other = values
        last = _splat(builder, integers, builder.trunc(count, ir.IntType(32)))
        inside = builder.icmp_signed("<", ir.Constant(integers, list(range(line.lanes))), last)
        return builder.select(inside, kept, _splat(builder, line.vector, other))

    return line(line, types.int64, line.dtype), generate


def _fold(builder: ir.IRBuilder, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Return `combine` over all lanes, half on half."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        low = _shuffle(builder, vector, vector, list(range(lanes)))
        high = _shuffle(builder, vector, vector, list(range(lanes, 2 * lanes)))
        vector = combine(low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@intrinsic
def sum_lanes(_context: Any, line: Line) -> Any:
    """Return the sum of a line's lanes, a number."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return _fold(builder, values[0], builder.fadd)

    return line.dtype(line), generate


@intrinsic
def greatest_lane(_context: Any, line: Line) -> Any:
    """Return the greatest of a line's lanes. Where some are NaN, it may be NaN or not."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return _fold(builder, values[0], lambda a, b: _choose(">")(builder, a, b))

    return line.dtype(line), generate


@intrinsic
def sum_rows(_context: Any, tile: Tile) -> Any:
    """Return the line that is the sum of a tile's rows, added two by two."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        rows = [builder.extract_value(values[0], row) for row in range(tile.rows)]
        while len(rows) > 1:
            rows = [builder.fadd(a, b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return rows[0]

    return Line(tile.dtype)(tile), generate


@intrinsic
def transpose(_context: Any, square: Tile) -> Any:
    """Return the transpose of a tile with as many rows as lanes."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        lanes, half = square.lanes, square.lanes // 2
        rows = [builder.extract_value(values[0], row) for row in range(lanes)]
        # A perfect shuffle of rows and lanes, log2(lanes) times over, is the transpose.
        low = [lane for i in range(half) for lane in (i, lanes + i)]
        high = [lane + half for lane in low]
        for _ in range(half.bit_length()):
            pairs = list(zip(rows[:half], rows[half:], strict=True))
            rows = [_shuffle(builder, a, b, order) for a, b in pairs for order in (low, high)]
        return _pack(builder, signature.return_type, rows)

    return square(square), generate


def maximum(a: Any, b: Any) -> Any:
    """Return the greater, lane by lane; `a` where either is NaN."""
    return np.where(a <= b, b, a)


def minimum(a: Any, b: Any) -> Any:
    """Return the less, lane by lane; `a` where either is NaN."""
    return np.where(a >= b, b, a)


def _binary(function: Callable[..., Any], compute: Callable[[ir.IRBuilder, Any, Any], Any]) -> None:
    """Teach Numba `function(a, b)` where a line or tile meets a line, a tile or a number."""

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
            operands.append(_splat(builder, kind.vector, number) if is_number else value)
            kinds.append(Line(kind.dtype) if is_number else operand_kind)
        return _by_rows(builder, kind(*kinds), operands, lambda a, b: compute(builder, a, b))

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

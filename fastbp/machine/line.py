"""One cache line of floats, and a tile of several, as Numba values that are loaded and stored.

A `Line` has 64 bytes: 16 float32 or 8 float64. It is an LLVM vector, which LLVM splits into two AVX2 registers, one
AVX-512 register or four NEON registers. A `Tile` is a few lines that a kernel holds in registers. A `Single` is a line
of one number. `arithmetic` computes with all of them.

This file generates LLVM code. It must not know what a matrix, a layer or a loss is.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LINE_BYTES = 64


def _target_features() -> str:
    """Return the features of the CPU that Numba compiles for, as LLVM writes them."""
    chosen = config.CPU_FEATURES
    return str(llvm.get_host_cpu_features().flatten() if chosen is None else chosen)


# Rows of a tile. Each row is one line of sums. The rows must be enough to hide the latency of an fma (4 cycles), and
# few enough to leave registers for a loaded line and a broadcast. With AVX-512, which has 32 registers, 8 rows reach
# 100 % of the peak and 4 rows reach 93 %. AVX2 has 16 registers, and a line takes two of them.
TILE_ROWS = 8 if "+avx512f" in _target_features() else 4


class Lines(types.Type):
    """What lines and tiles have in common: `rows` lines of `lanes` numbers of `dtype`.

    `vector` is the LLVM type of one line, and `integers` that of as many whole numbers with as many bits.
    """

    def __init__(self, dtype: types.Float, rows: int, name: str, lanes: int | None = None) -> None:
        self.dtype = dtype
        self.rows = rows
        self.lanes = LINE_BYTES * 8 // dtype.bitwidth if lanes is None else lanes
        self.bytes = dtype.bitwidth // 8
        self.vector: Any = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
        self.integers: Any = ir.IntType(dtype.bitwidth)
        if self.lanes > 1:
            self.vector, self.integers = (ir.VectorType(kind, self.lanes) for kind in (self.vector, self.integers))
        super().__init__(name)


class Line(Lines):
    """The Numba type of one line."""

    def __init__(self, dtype: types.Float) -> None:
        super().__init__(dtype, 1, f"Line({dtype})")


class Tile(Lines):
    """The Numba type of `rows` lines."""

    def __init__(self, dtype: types.Float, rows: int) -> None:
        super().__init__(dtype, rows, f"Tile({dtype}, {rows})")


class Single(Lines):
    """The Numba type of a line of one number, which LLVM may widen to several when it vectorises a loop.

    A product of a `Single` and a constant has the dtype of the `Single`. Numba gives a product of a float32 and a
    constant in float64.
    """

    def __init__(self, dtype: types.Float) -> None:
        super().__init__(dtype, 1, f"Single({dtype})", 1)


@register_model(Line)
@register_model(Single)
class _LineModel(models.PrimitiveModel):
    def __init__(self, manager: Any, line: Line) -> None:
        super().__init__(manager, line, line.vector)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows))


# --- from LLVM values to lines and back ---------------------------------------------------------------------


def address_of(context: Any, builder: ir.IRBuilder, array: types.Type, value: Any, at: Any, offset: int) -> Any:
    """Return the address of `array[at + offset]`, without NumPy's test for a negative index.

    Here and below, an array may also be an address from `pointer`.
    """
    data = value if isinstance(array, types.CPointer) else context.make_array(array)(context, builder, value).data
    return builder.gep(data, [builder.add(at, ir.Constant(at.type, offset))])


def load_value(context: Any, builder: ir.IRBuilder, kind: Lines, array: types.Array, value: Any, at: Any) -> Any:
    """Return the value of type `kind` that lies in consecutive lines from `array[at]` on."""
    pointers = [address_of(context, builder, array, value, at, row * kind.lanes) for row in range(kind.rows)]
    vectors = [builder.bitcast(pointer, kind.vector.as_pointer()) for pointer in pointers]
    return pack(builder, kind, [builder.load(vector, align=kind.bytes) for vector in vectors])


def splat(builder: ir.IRBuilder, vector: ir.VectorType, scalar: Any) -> Any:
    """Return a vector with `scalar` in every lane."""
    if not isinstance(vector, ir.VectorType):
        return scalar
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(ir.IntType(32), 0))
    return shuffle(builder, first, nothing, [0] * vector.count)


def constant(vector: Any, number: float) -> Any:
    """Return the constant of a vector's type with `number` in every lane."""
    return ir.Constant(vector, [number] * vector.count if isinstance(vector, ir.VectorType) else number)


def shuffle(builder: ir.IRBuilder, a: Any, b: Any, lanes: list[int]) -> Any:
    """Return the vector of the given lanes, which are counted from 0 through `a` and then on through `b`."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def row_of(builder: ir.IRBuilder, kind: Lines, value: Any, row: int) -> Any:
    """Return the vector in a row of a tile. A line counts as a tile with the line in every row."""
    return builder.extract_value(value, row) if isinstance(kind, Tile) else value


def pack(builder: ir.IRBuilder, kind: Lines, vectors: list[Any]) -> Any:
    """Return the value of type `kind` with one of the vectors in each row."""
    if not isinstance(kind, Tile):
        return vectors[0]
    tile = ir.Constant(ir.ArrayType(kind.vector, kind.rows), ir.Undefined)
    for row, vector in enumerate(vectors):
        tile = builder.insert_value(tile, vector, row)
    return tile


# --- memory -------------------------------------------------------------------------------------------------


def pointer(array: Any) -> Any:
    """Return the address of an array's first number. In Python, return the array.

    Numba counts references to arrays, but not to addresses. The counting took a quarter of a small network's step.
    """
    return array


@type_callable(pointer)
def _type_pointer(_context: Any) -> Any:
    return lambda array: types.CPointer(array.dtype)


@lower_builtin(pointer, types.Array)
def _lower_pointer(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
    return context.make_array(signature.args[0])(context, builder, values[0]).data


@lower_builtin(pointer, types.CPointer)
def _lower_address(_context: Any, _builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
    return values[0]


@intrinsic
def line_length(_context: Any, array: types.Type) -> Any:
    """Return how many numbers of an array's or a line's dtype a line holds. The compiler sees a constant."""
    lanes = Line(array.dtype).lanes  # of a line of one number too, so that its precision is known

    def generate(context: Any, _builder: Any, _signature: Any, _values: Any) -> Any:
        return context.get_constant(types.intp, lanes)

    return types.literal(lanes)(array), generate


@intrinsic
def single(_context: Any, number: types.Float) -> Any:
    """Return a number as a line of one number."""
    return Single(number)(number), lambda _context, _builder, _signature, values: values[0]


@intrinsic
def number_of(_context: Any, line: Single) -> Any:
    """Return the number of a line of one number."""
    return line.dtype(line), lambda _context, _builder, _signature, values: values[0]


@intrinsic
def load(_context: Any, array: types.Array, _at: Any) -> Any:
    """Return the line that begins at `array[at]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return load_value(context, builder, signature.return_type, array, *values)

    return Line(array.dtype)(array, types.intp), generate


@intrinsic(prefer_literal=True)
def load_tile(_context: Any, array: types.Array, _at: Any, rows: types.IntegerLiteral) -> Any:
    """Return the tile of `rows` (a constant) consecutive lines that begins at `array[at]`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return load_value(context, builder, signature.return_type, array, *values[:2])

    return Tile(array.dtype, rows.literal_value)(array, types.intp, rows), generate


@intrinsic
def store(_context: Any, array: types.Array, _at: Any, lines: Lines) -> Any:
    """Write a line, or the consecutive lines of a tile, to the array from `array[at]` on."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        for row in range(lines.rows):
            pointer = address_of(context, builder, array, values[0], values[1], row * lines.lanes)
            vector = builder.bitcast(pointer, lines.vector.as_pointer())
            builder.store(row_of(builder, lines, values[2], row), vector, align=lines.bytes)
        return context.get_dummy_value()

    return types.void(array, types.intp, lines), generate


@intrinsic(prefer_literal=True)
def tile(_context: Any, line: Line, rows: types.IntegerLiteral) -> Any:
    """Return the tile of `rows` (a constant) copies of `line`."""
    kind = Tile(line.dtype, rows.literal_value)

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return pack(builder, kind, [values[0]] * kind.rows)

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
        return pack(builder, kind, [ir.Constant(kind.vector, [0.0] * kind.lanes)] * kind.rows)

    return kind(array, rows), generate

"""Room for numbers during one call, and parts of a table of whole numbers, by their addresses.

Room of a small size lies on the stack of the thread, so concurrent calls share nothing and a call of a few dozen
nanoseconds need not ask for memory. Larger room comes from Numba's allocator.

This file generates LLVM code. It must not know what is written into the room.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastbp.machine.line import LINE_BYTES

STACK_BYTES = 65_536  # at most on the stack: a thread of macOS has 512 KB

_INT64, _BYTE_POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


def _bytes_of(builder: ir.IRBuilder, array: Any, size: Any) -> Any:
    return builder.mul(size, ir.Constant(size.type, array.dtype.bitwidth // 8))


@intrinsic
def take_room(_context: Any, array: Any, _size: Any) -> Any:
    """Return the address of room for `size` numbers of an array's dtype, which begins on a line's boundary.

    The room is a part of the function that contains this call, and ends with the function. Before the end, the function
    calls `give_room_back`. Raises MemoryError if there is no memory.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        size = _bytes_of(builder, array, values[1])
        is_small = builder.icmp_signed("<=", size, ir.Constant(size.type, STACK_BYTES))
        stack = builder.alloca(ir.IntType(8), builder.select(is_small, size, ir.Constant(size.type, 0)))
        stack.align = LINE_BYTES
        before = builder.block
        with builder.if_then(builder.not_(is_small), likely=False):
            found = context.nrt.allocate(builder, builder.add(size, ir.Constant(size.type, 2 * LINE_BYTES)))
            address = builder.ptrtoint(found, _INT64)
            address = builder.add(address, ir.Constant(_INT64, 2 * LINE_BYTES - 1))
            aligned = builder.inttoptr(builder.and_(address, ir.Constant(_INT64, -LINE_BYTES)), _BYTE_POINTER)
            builder.store(found, _place_of_heap_address(builder, aligned))
            heap_block = builder.block
        room = builder.phi(_BYTE_POINTER)
        room.add_incoming(stack, before)
        room.add_incoming(aligned, heap_block)
        return builder.bitcast(room, context.get_value_type(signature.return_type))

    return types.CPointer(array.dtype)(array, types.intp), generate


@intrinsic
def give_room_back(_context: Any, room: types.CPointer, _size: Any) -> Any:
    """Free the room of this size that `take_room` returned."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        size = _bytes_of(builder, room, values[1])
        with builder.if_then(builder.icmp_signed(">", size, ir.Constant(size.type, STACK_BYTES)), likely=False):
            aligned = builder.bitcast(values[0], _BYTE_POINTER)
            context.nrt.free(builder, builder.load(_place_of_heap_address(builder, aligned)))
        return context.get_dummy_value()

    return types.void(room, types.intp), generate


def _place_of_heap_address(builder: ir.IRBuilder, aligned: Any) -> Any:
    """Return where the address that the allocator knows is kept: in the line before the room."""
    place = builder.gep(aligned, [ir.Constant(_INT64, -LINE_BYTES)])
    return builder.bitcast(place, _BYTE_POINTER.as_pointer())


@intrinsic
def part_of(_context: Any, table: types.CPointer, _at: Any, array: Any) -> Any:
    """Return the address of numbers of an array's dtype that lie in a table of whole numbers from `table[at]` on."""
    kind = types.CPointer(array.dtype)

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        return builder.bitcast(builder.gep(values[0], [values[1]]), context.get_value_type(kind))

    return kind(table, types.intp, array), generate

"""Handles: objects of Python with methods that users' own compiled functions can call.

A handle has a table of whole numbers. The table holds the addresses of the methods, which are pieces, and everything
that the pieces read. A user's function gets the address of the table when the function runs. So Numba may keep the
user's code in a cache of the user: the code holds the call and nothing of a piece. The Numba type of a handle has the
hash of fastbp's compiled sources in its name, so after an upgrade Numba compiles the user's function again.

A compiled function that gets a handle as an argument counts the table as referenced, as it does for an array. A handle
that is a global or a closure's variable is a constant for Numba. Its address then stands in the code, so Numba refuses
to keep this code in a cache, and the handle stays in memory until the process ends.

This file generates LLVM code. It must not know what a piece computes.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, signature
from numba.extending import NativeValue, infer_getattr, lower_builtin, models, register_model, unbox
from numba.np import numpy_support

from fastbp.machine import jit
from fastbp.machine.piece import WHOLE, address_type

_TABLE = types.Array(types.int64, 1, "C")
_constants: list[Any] = []  # handles whose addresses stand in compiled code


class Method(NamedTuple):
    """A method of a handle: `method(x, out)` for one row x, or for rows with the first axis of x and of `out`.

    Its piece has the arguments (x, rows, out, table), where each but `rows` is an address.
    """

    piece: int  # the place of the piece's address in the table
    columns: int  # the place of the number of columns of x
    shape: tuple[int, ...]  # the places of the numbers that are the shape of `out` for one row


def types_of_method(dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return the types of the arguments of a method's piece."""
    numbers = address_type(dtype)
    return numbers, WHOLE, numbers, address_type(np.int64)


class Handle(types.Type):
    """The Numba type of the handles that compute with a dtype.

    Parameters
    ----------
    dtype : dtype
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = np.dtype(dtype)
        super().__init__(f"fastbp.Handle({self.dtype}, {jit.stamp()})")


@register_model(Handle)
class _HandleModel(models.StructModel):
    def __init__(self, manager: Any, handle: Handle) -> None:
        owner = types.MemInfoPointer(types.voidptr)  # counts the references to the table
        super().__init__(manager, handle, [("owner", owner), ("table", types.CPointer(types.int64))])


@unbox(Handle)
def _unbox(handle: Handle, value: Any, c: Any) -> Any:
    """Take the array `_table` of a handle."""
    native = cgutils.create_struct_proxy(handle)(c.context, c.builder)
    table = c.pyapi.object_getattr_string(value, "_table")
    unboxed = c.unbox(_TABLE, table)
    array = c.context.make_array(_TABLE)(c.context, c.builder, unboxed.value)
    native.owner, native.table = array.meminfo, array.data
    c.pyapi.decref(table)
    return NativeValue(native._getvalue(), is_error=unboxed.is_error)


@lower_constant(Handle)
def _lower_constant(context: Any, builder: ir.IRBuilder, handle: Handle, value: Any) -> Any:
    """Put the address of a handle's table into code, which Numba then keeps in no cache."""
    _constants.append(value)
    native = cgutils.create_struct_proxy(handle)(context, builder)
    native.owner = cgutils.get_null_value(native.owner.type)
    address = context.add_dynamic_addr(builder, value._table.ctypes.data, type(value).__name__)
    native.table = builder.bitcast(address, native.table.type)
    return native._getvalue()


@functools.cache
def type_of_handles(dtype: np.dtype[Any]) -> Handle:
    """Return the Numba type of the handles that compute with a dtype. A handle has it as `_numba_type_`."""
    return Handle(dtype)


def register(methods: Mapping[str, Method]) -> None:
    """Let compiled functions call these methods of handles.

    The code of a call becomes a part of the caller. As a function of its own, the call would count references to all of
    its arguments, which took half of the time of a small network, and more in several threads.
    """

    @infer_getattr
    class Methods(AttributeTemplate):
        key = Handle

        def generic_resolve(self, handle: Handle, name: str) -> Any:
            return types.BoundFunction(_template(name, methods[name]), handle) if name in methods else None

    for name, method in methods.items():
        lower_builtin(_key(name), Handle, types.Array, types.Array)(_caller(name, method))


def _key(name: str) -> str:
    """Return what Numba finds the code of a method by."""
    return f"fastbp.Handle.{name}"


def _template(name: str, method: Method) -> type[Any]:
    """Return what Numba asks for the types of a method's call."""

    class Template(AbstractTemplate):
        key = _key(name)

        def generic(self, arguments: Any, keywords: Any) -> Any:
            if keywords or len(arguments) != 2:
                raise TypingError(f"{name} takes two arguments, x and out, which are not named in compiled code")
            x, out = arguments
            _check_array(f"{name}: x", self.this, x, (1, 2))
            _check_array(f"{name}: out", self.this, out, (x.ndim - 1 + len(method.shape),))
            if not out.mutable:
                raise TypingError(f"{name}: out is read-only")
            return signature(types.none, x, out, recvr=self.this)

    return Template


def _check_array(name: str, handle: Handle, array: Any, dimensions: tuple[int, ...]) -> None:
    """Raise TypingError if an argument is not an array that a piece can read."""
    wanted = f"{name} must be a C-contiguous {handle.dtype} array with {' or '.join(map(str, dimensions))} dimensions"
    if not isinstance(array, types.Array):
        raise TypingError(f"{wanted}, not {array}")
    if array.dtype != numpy_support.from_dtype(handle.dtype):
        raise TypingError(f"{wanted}, not of {array.dtype}: convert it by astype(np.{handle.dtype})")
    if array.ndim not in dimensions:
        raise TypingError(f"{wanted}, not {array.ndim}")
    if array.layout != "C" or not array.aligned:
        raise TypingError(f"{wanted}: copy it by np.ascontiguousarray")


def _caller(name: str, method: Method) -> Any:
    """Return the generator of the code that checks the shapes and calls a piece by its address."""

    def generate(context: Any, builder: ir.IRBuilder, call: Any, values: Any) -> Any:
        handle, *kinds = call.args
        table = cgutils.create_struct_proxy(handle)(context, builder, values[0]).table
        x, out = (context.make_array(k)(context, builder, v) for k, v in zip(kinds, values[1:], strict=True))
        of_x, of_out = (cgutils.unpack_tuple(builder, array.shape) for array in (x, out))

        def word(place: int) -> Any:
            return builder.load(builder.gep(table, [ir.Constant(ir.IntType(64), place)]))

        rows = of_x[0] if len(of_x) == 2 else ir.Constant(of_x[0].type, 1)
        wanted = [*of_x[:-1], *map(word, method.shape)]
        pairs = [(of_x[-1], word(method.columns)), *zip(of_out, wanted, strict=True)]
        differ = [builder.icmp_signed("!=", *pair) for pair in pairs]
        with cgutils.if_unlikely(builder, functools.reduce(builder.or_, differ)):
            message = f"{name}: the shape of x or of out does not fit the network"
            context.call_conv.return_user_exc(builder, ValueError, (message,))
        arguments, convention = types_of_method(handle.dtype), context.call_conv
        code = convention.get_function_type(types.none, arguments).as_pointer()
        piece = builder.inttoptr(word(method.piece), code)
        given = x.data, rows, out.data, table
        status, _ = convention.call_function(builder, piece, types.none, arguments, given)
        with cgutils.if_unlikely(builder, status.is_error):
            # An exception that is passed on would keep Numba from leaving out counts of references around the call.
            convention.return_user_exc(builder, MemoryError, (f"{name}: no memory for the units of the network",))
        return context.get_dummy_value()

    return generate

"""Pieces: compiled functions that other compiled functions call by their address.

An entry holds the code of every kernel that it calls. A piece has code of its own, which is compiled, kept in the cache
and loaded by itself. So a run compiles only the pieces that it uses, and a user's own function can be one of them. A
call by address takes one or two nanoseconds, so a piece does the work of a whole batch, not of one number.

This file generates LLVM code. It must not know what a piece computes.
"""

import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.errors import NumbaError as CompilationError
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np import numpy_support

from fastbp.machine import jit, scalar_code

__all__ = [
    "BITS",
    "REAL",
    "TRUTH",
    "WHOLE",
    "CompilationError",
    "Piece",
    "address_type",
    "caller",
    "entry_address",
    "entry_caller",
    "reason_of",
    "tuple_type",
]

TypesOf = Callable[[np.dtype[Any]], tuple[Any, ...]]  # from a dtype to the Numba types of a piece's arguments


class Piece:
    """A compiled function without a result, or with a number as its result, for calls by address.

    Parameters
    ----------
    function : callable
        The function in Python.
    types_of : callable
        Returns the types of the arguments for a dtype.
    name : str, optional
        Name in the cache. Default: the code is compiled afresh in each process, and LLVM vectorises its loops.

    Attributes
    ----------
    name : str or None
    """

    def __init__(self, function: Callable[..., Any], types_of: TypesOf, name: str | None = None) -> None:
        self.name, self._types_of = name, types_of
        self._addresses: dict[np.dtype[Any], int] = {}
        self._lock = threading.Lock()
        if name is None:
            options = {**jit.OPTIONS, "no_cpython_wrapper": True}
            self._dispatcher = numba.njit(**options, **scalar_code.SCALAR_CODE)(function)
        else:
            function.__qualname__ = name
            self._dispatcher = jit.entry(function, no_cpython_wrapper=True)

    def address(self, dtype: np.dtype[Any]) -> int:
        """Return the address of the code for a dtype; compile the code first if there is none."""
        found = self._addresses.get(dtype)
        if found is None:
            with self._lock:
                found = self._addresses[dtype] = _address(self._dispatcher, self._types_of(dtype))
        return found


def _address(dispatcher: Any, signature: tuple[Any, ...]) -> int:
    """Return the address of a function's code for arguments of these types; compile the code first if there is none."""
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature]
    found = int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))
    if found == 0:  # a call would end the process
        raise RuntimeError(f"Numba gives no address for {dispatcher.py_func.__qualname__}")
    return found


def reason_of(error: CompilationError) -> str:
    """Return Numba's message without the names of its inner steps, and what to do."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Failed in nopython")]
    hint = "Functions that it calls need numba.njit. " if "Untyped global name" in str(error) else ""
    return hint + "\n".join(lines)


def caller(types_of: TypesOf, result: Any = types.none) -> Any:
    """Return the function `call(address, arguments)` for kernels, which calls a piece with a tuple of arguments.

    The function returns the piece's result of the Numba type `result`. For a piece without a result, it returns whether
    the piece ended with an exception, which only a user's function can raise. A call with arguments of other types than
    the piece has is an error when the caller is compiled.
    """

    @intrinsic
    def call(_context: Any, _address: Any, arguments: Any) -> Any:
        kinds = tuple(types.unliteral(kind) for kind in arguments.types)
        if kinds not in [types_of(np.dtype(dtype)) for dtype in (np.float32, np.float64)]:
            raise TypingError(f"a piece is called with arguments of the types {kinds}")

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            convention = context.call_conv
            code = convention.get_function_type(result, kinds).as_pointer()
            given = cgutils.unpack_tuple(builder, values[1], len(kinds))
            called = builder.inttoptr(values[0], code)
            status, returned = convention.call_function(builder, called, result, kinds, given)
            return status.is_error if result == types.none else returned

        return (types.boolean if result == types.none else result)(types.intp, arguments), generate

    return call


# --- entries, which pieces or other entries call --------------------------------------------------------------


def entry_address(entry: Any, *arguments: Any) -> int:
    """Return the address of an entry's code for arguments of these types; compile the code first if there is none."""
    return _address(entry, tuple(entry.typeof_pyval(argument) for argument in arguments))


def entry_caller(entry: Any, result: Any) -> Any:
    """Return the function `call(address, arguments)` for kernels, which calls an entry with a tuple of arguments.

    The function returns the entry's result of the Numba type `result`, and passes on an exception. `entry_address`
    gives the address, before the caller is compiled. A call with arguments of types that the entry is not compiled for
    is an error when the caller is compiled.
    """

    @intrinsic
    def call(_context: Any, _address: Any, arguments: Any) -> Any:
        kinds = tuple(types.unliteral(kind) for kind in arguments.types)
        if kinds not in entry.overloads:
            raise TypingError(f"an entry is called with arguments of the types {kinds}")

        def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            convention = context.call_conv
            called = builder.inttoptr(values[0], convention.get_function_type(result, kinds).as_pointer())
            given = cgutils.unpack_tuple(builder, values[1], len(kinds))
            status, returned = convention.call_function(builder, called, result, kinds, given)
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return returned

        return result(types.intp, arguments), generate

    return call


# --- the types of a piece's arguments -----------------------------------------------------------------------

WHOLE, BITS, REAL, TRUTH = types.intp, types.uint64, types.float64, types.boolean


def address_type(dtype: Any) -> Any:
    """Return the type of the address of numbers of a dtype."""
    return types.CPointer(numpy_support.from_dtype(np.dtype(dtype)))


def tuple_type(kind: type[Any], *fields: Any) -> Any:
    """Return the type of a NamedTuple with fields of these types."""
    return types.BaseTuple.from_types(fields, kind)

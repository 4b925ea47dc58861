"""A barrier for threads within compiled code, made of LLVM's atomic operations.

A waiting thread first spins for some microseconds, as the other threads of a step usually arrive within that time. Then
it lets other threads run between two looks at the barrier, so that more threads than cores finish too.

This file generates LLVM code. It must not know what the threads compute.
"""

import platform
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastbp.machine.jit import njit
from fastbp.machine.line import address_of

_SPINS = 400  # looks at the barrier before a waiting thread lets others run: some 10 µs
_ARRIVED, _ROUND, _ABANDONED = 0, 8, 16  # each on a cache line of its own
_INT32 = ir.IntType(32)
_IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}
_IS_ARM = platform.machine().lower() in {"aarch64", "arm64"}


class ThreadGroup(NamedTuple):
    """The threads that make a step together, as one of them sees the group."""

    thread: int  # the number of this thread, from 0
    n_threads: int
    barrier: npt.NDArray[np.int64]


def new_barrier() -> npt.NDArray[np.int64]:
    """Return a barrier without waiting threads."""
    return np.zeros(24, np.int64)


def abandon(barrier: npt.NDArray[np.int64]) -> None:
    """Let every thread go on that waits at the barrier or will wait there: one of the threads will not come."""
    barrier[_ABANDONED] = 1


@intrinsic
def _add(_context: Any, array: types.Array, _at: types.Integer, _number: types.Integer) -> Any:
    """Return array[at] and add `number` to it, in one atomic operation."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        place = address_of(context, builder, array, values[0], values[1], 0)
        return builder.atomic_rmw("add", place, values[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def _read(_context: Any, array: types.Array, _at: types.Integer) -> Any:
    """Return array[at]. Everything that the thread which wrote it had written before is visible from then on."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        place = address_of(context, builder, array, values[0], values[1], 0)
        return builder.load_atomic(place, "seq_cst", array.dtype.bitwidth // 8)

    return types.int64(array, types.intp), generate


@intrinsic
def _write(_context: Any, array: types.Array, _at: types.Integer, _number: types.Integer) -> Any:
    """Set array[at]. A thread that reads it sees everything that this thread wrote before."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        place = address_of(context, builder, array, values[0], values[1], 0)
        builder.store_atomic(values[2], place, "seq_cst", array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate


@intrinsic
def _pause(_context: Any) -> Any:
    """Tell the core that this is a waiting loop, so that the core leaves its resources to the other hyperthread."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, _values: Any) -> Any:
        hints = [ir.Constant(_INT32, 1)] if _IS_ARM else []  # ARM's hint 1 is YIELD
        if _IS_X86 or _IS_ARM:
            name = "llvm.x86.sse2.pause" if _IS_X86 else "llvm.aarch64.hint"
            function_type = ir.FunctionType(ir.VoidType(), [hint.type for hint in hints])
            builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), hints)
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _let_others_run(_context: Any) -> Any:
    """Give the rest of this thread's time slice to another thread that is ready to run."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, _values: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_INT32, []), name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@njit
def wait_for_all(barrier: npt.NDArray[np.int64], count: int) -> bool:
    """Wait until `count` threads have come to the barrier. Return False if the barrier was abandoned."""
    if count == 1:
        return True
    if _read(barrier, _ABANDONED) != 0:
        return False
    this_round = _read(barrier, _ROUND)
    if _add(barrier, _ARRIVED, 1) == count - 1:
        _write(barrier, _ARRIVED, 0)
        _write(barrier, _ROUND, this_round + 1)
        return True
    spins = 0
    while _read(barrier, _ROUND) == this_round:
        if _read(barrier, _ABANDONED) != 0:
            return False
        spins += 1
        if spins < _SPINS:
            _pause()
        else:
            _let_others_run()
    return True

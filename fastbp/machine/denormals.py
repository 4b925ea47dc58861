"""Flush-to-zero: the CPU mode in which denormal numbers count as 0. Without it, each of them costs 100 cycles or more.

Weights that decay towards zero do become denormal. A compiled run sets the mode on entry, and restores the old mode
before it returns.

This file generates LLVM code. It must not know what a run is.
"""

import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_INT32, _INT64, _BYTE_POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}
_IS_ARM = platform.machine().lower() in {"aarch64", "arm64"}
_X86_FLUSH = 1 << 15 | 1 << 6  # MXCSR: flush results to zero, and denormal operands are zero
_ARM_FLUSH = 1 << 24  # FPCR: both


def _mode(builder: ir.IRBuilder) -> Any:
    """Return this thread's floating-point mode, or 0 on a machine whose mode this file cannot set."""
    if _IS_X86:
        place = cgutils.alloca_once(builder, _INT32)
        read = ir.FunctionType(ir.VoidType(), [_BYTE_POINTER])
        function = cgutils.get_or_insert_function(builder.module, read, "llvm.x86.sse.stmxcsr")
        builder.call(function, [builder.bitcast(place, _BYTE_POINTER)])
        return builder.zext(builder.load(place), _INT64)
    if _IS_ARM:
        read = ir.FunctionType(_INT64, [])
        return builder.call(cgutils.get_or_insert_function(builder.module, read, "llvm.aarch64.get.fpcr"), [])
    return ir.Constant(_INT64, 0)


def _set_mode(builder: ir.IRBuilder, mode: Any) -> None:
    """Set this thread's floating-point mode."""
    if _IS_X86:
        place = cgutils.alloca_once_value(builder, builder.trunc(mode, _INT32))
        write = ir.FunctionType(ir.VoidType(), [_BYTE_POINTER])
        function = cgutils.get_or_insert_function(builder.module, write, "llvm.x86.sse.ldmxcsr")
        builder.call(function, [builder.bitcast(place, _BYTE_POINTER)])
    elif _IS_ARM:
        write = ir.FunctionType(ir.VoidType(), [_INT64])
        builder.call(cgutils.get_or_insert_function(builder.module, write, "llvm.aarch64.set.fpcr"), [mode])


@intrinsic
def flush_denormals(_context: Any) -> Any:
    """Set flush-to-zero in this thread and return the mode that was set before."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, _values: Any) -> Any:
        mode = _mode(builder)
        flush = _X86_FLUSH if _IS_X86 else _ARM_FLUSH if _IS_ARM else 0
        _set_mode(builder, builder.or_(mode, ir.Constant(_INT64, flush)))
        return mode

    return types.int64(), generate


@intrinsic
def restore_mode(_context: Any, _mode: types.Integer) -> Any:
    """Restore the mode that `flush_denormals` returned."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        _set_mode(builder, values[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate

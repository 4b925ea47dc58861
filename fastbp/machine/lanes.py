"""The steps that elementary functions are made of: powers of two, signs and polynomials of lines.

This file generates LLVM code. It must not know which functions are computed.
"""

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastbp.machine.arithmetic import by_rows, call
from fastbp.machine.line import Lines, constant, splat


@intrinsic
def round_lanes(_context: Any, lines: Lines) -> Any:
    """Return the nearest whole number, lane by lane."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return by_rows(builder, signature, values, lambda x: call(builder, "rint", x))

    return lines(lines), generate


@intrinsic
def absolute(_context: Any, lines: Lines) -> Any:
    """Return |x|, lane by lane."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return by_rows(builder, signature, values, lambda x: call(builder, "fabs", x))

    return lines(lines), generate


@intrinsic
def copy_sign(_context: Any, size: Lines, sign: Lines) -> Any:
    """Return |size| with the sign of `sign`, lane by lane."""

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return by_rows(builder, signature, values, lambda x, y: call(builder, "copysign", x, y))

    return size(size, sign), generate


@intrinsic
def choose(_context: Any, condition: Lines, a: Any, b: Any) -> Any:
    """Return `a` where condition > 0, else `b`, lane by lane. Each of the two is lines or a number."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kind, operands = signature.return_type, [values[0]]
        for operand_kind, value in zip(signature.args[1:], values[1:], strict=True):
            is_number = not isinstance(operand_kind, Lines)
            number = context.cast(builder, value, operand_kind, kind.dtype) if is_number else None
            operands.append(splat(builder, kind.vector, number) if is_number else value)
        zero = constant(kind.vector, 0.0)

        def pick(x: Any, a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", x, zero), a, b)

        return by_rows(builder, kind(kind, kind, kind), operands, pick)

    return condition(condition, a, b), generate


def polynomial(of_float32: tuple[float, ...], of_float64: tuple[float, ...]) -> Any:
    """Return the function c_0 xⁿ + … + c_n of lines, by Horner's rule, with coefficients for each precision.

    LLVM is told not to unroll loops, so the function has no loop.
    """

    @intrinsic
    def of_lines(_context: Any, lines: Lines) -> Any:
        coefficients = of_float32 if lines.bytes == 4 else of_float64

        def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            def horner(x: Any) -> Any:
                first, *others = (constant(lines.vector, coefficient) for coefficient in coefficients)
                return functools.reduce(lambda total, other: call(builder, "fma", total, x, other), others, first)

            return by_rows(builder, signature, values, horner)

        return lines(lines), generate

    return of_lines


def _format(lines: Lines) -> tuple[int, int]:
    """Return the bits of a number's mantissa, and the bias of its exponent."""
    return (23, 127) if lines.bytes == 4 else (52, 1023)


@intrinsic
def power_of_two(_context: Any, lines: Lines) -> Any:
    """Return 2^n, lane by lane, for whole n within the exponents of normal numbers, and 0 for the n below these."""
    mantissa, bias = _format(lines)

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        def power(n: Any) -> Any:
            exponent = builder.add(builder.fptosi(n, lines.integers), constant(lines.integers, bias))
            return builder.bitcast(builder.shl(exponent, constant(lines.integers, mantissa)), lines.vector)

        return by_rows(builder, signature, values, power)

    return lines(lines), generate


@intrinsic
def exponent(_context: Any, lines: Lines) -> Any:
    """Return n, lane by lane, where x = 2^n m with 1 ≤ m < 2, for positive and normal x."""
    mantissa, bias = _format(lines)

    def generate(_context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        def take(x: Any) -> Any:
            biased = builder.lshr(builder.bitcast(x, lines.integers), constant(lines.integers, mantissa))
            return builder.sitofp(builder.sub(biased, constant(lines.integers, bias)), lines.vector)

        return by_rows(builder, signature, values, take)

    return lines(lines), generate


@intrinsic
def near_1(_context: Any, line: Lines) -> Any:
    """Return n and m of a line, where x = 2^n m with √½ ≤ m < √2, for positive and normal x."""
    mantissa, _ = _format(line)
    least = 0x3F3504F3 if line.bytes == 4 else 0x3FE6A09E667F3BCD  # the bits of √½

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        bits, root = builder.bitcast(values[0], line.integers), constant(line.integers, least)
        n = builder.ashr(builder.sub(bits, root), constant(line.integers, mantissa))
        m = builder.sub(bits, builder.shl(n, constant(line.integers, mantissa)))
        parts = builder.sitofp(n, line.vector), builder.bitcast(m, line.vector)
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(line, 2)(line), generate

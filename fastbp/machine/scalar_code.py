"""How Numba compiles loops over a user's function of numbers, so that LLVM can vectorise them.

LLVM vectorises no loop that calls exp or a logarithm of the C library. Here such calls are pointed to the functions of
`elementary`, compiled for a line of one number. These have no branch, so LLVM widens them like any other arithmetic.

`SCALAR_CODE` holds the options of `numba.njit` for a function with such a loop. The calls may lie in the loop or in a
function that it calls, by `math` or by NumPy: exp, expm1, log, log1p, tanh, erf and sqrt. A call of another function of
the C library, such as sin, is right and not vectorised, and so is a loop that may raise an exception.

This file builds on Numba's inner parts, and edits LLVM code. It must not know what a loop computes.
"""

import functools
import re
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types

from fastbp.machine import compiler, elementary
from fastbp.machine.jit import entry
from fastbp.machine.line import number_of, single

_FORMULAS = {
    "exp": elementary.exp,
    "expm1": elementary.exp_minus_1,
    "log": elementary.log,
    "log1p": elementary.log_1p,
    "tanh": elementary.tanh,
    "erf": elementary.erf,
}
_NAMES = "|".join([*_FORMULAS, "sqrt"])
# How LLVM writes a call or a declaration: @expf( of the C library, @llvm.exp.f32( of its own.
_CALL = re.compile(rf"@(?:llvm\.)?({_NAMES})(f|\.f32|\.f64)?\(")
_DECLARATION = re.compile(rf"^declare .*{_CALL.pattern}.*\n", re.MULTILINE)
_DEFINITION = re.compile(r"^(define [^!\n]*[)\d]) \{$", re.MULTILINE)  # of a function without debugging notes
_WIDE = '"prefer-vector-width"="512"'  # where there is AVX-512, LLVM prefers half of its registers


def _new_call(call: "re.Match[str]") -> str:
    """Return the call of the own function, or of LLVM's sqrt, which sets no error number and is one instruction."""
    library = "llvm" if call[1] == "sqrt" else "fastbp"
    return f"@{library}.{call[1]}.{'f32' if call[2] in ('f', '.f32') else 'f64'}("


def _vectorisable(module: Any) -> Any:
    """Return the module with calls of own functions, with their code, and with every function to be inlined."""
    code = str(module)
    found = {_new_call(call) for call in _CALL.finditer(code)}
    code = _DEFINITION.sub(rf"\1 {_WIDE} {{", _CALL.sub(_new_call, _DECLARATION.sub("", code)))
    for call in sorted(found):
        number = "float" if call.endswith("f32(") else "double"
        code += f"\ndeclare {number} {call}{number})\n"
    edited = llvm.parse_assembly(code)
    edited.name = module.name
    for call in sorted(found):
        _, name, bits = call.split(".")
        if name in _FORMULAS:
            edited.link_in(_own_function(name, bits == "f32(").clone(), preserve=True)
    for function in edited.functions:  # a call that stays is a loop that LLVM does not vectorise
        if not function.is_declaration and not any(b"noinline" in attribute for attribute in function.attributes):
            function.add_function_attribute("alwaysinline")
    return edited


@functools.cache
def _own_function(name: str, is_float32: bool) -> Any:
    """Return a module with the function `fastbp.name.f32` or `fastbp.name.f64` of one number, to be cloned."""
    formula = _FORMULAS[name]

    def of_number(x: float) -> float:
        return number_of(formula(single(x)))  # type: ignore[no-any-return]

    of_number.__qualname__ = f"{name}_of_number"
    dispatcher = entry(of_number, no_cpython_wrapper=True)
    number = types.float32 if is_float32 else types.float64
    dispatcher.compile((number,))
    compiled = dispatcher.overloads[number,]
    module = ir.Module(f"fastbp.{name}")
    kind = ir.FloatType() if is_float32 else ir.DoubleType()
    function = ir.Function(module, ir.FunctionType(kind, [kind]), f"fastbp.{name}.f{number.bitwidth}")
    builder = ir.IRBuilder(function.append_basic_block())
    context = compiled.target_context
    callee = context.declare_function(module, compiled.fndesc)
    builder.ret(context.call_conv.call_function(builder, callee, number, (number,), function.args)[1])
    code = compiled.library._get_module_for_linking().clone()
    code.link_in(llvm.parse_assembly(cgutils.normalize_ir_text(str(module))))
    for one in code.functions:
        if not one.is_declaration:
            one.linkage = "linkonce_odr"
    return code


class _ScalarCodeLibrary(compiler.EntryLibrary):
    """Code of an entry that is written in numbers, not in vectors."""

    is_vectorised = True
    _final_module: Any

    def _optimize_final_module(self) -> None:
        self._final_module = _vectorisable(self._final_module)
        super()._optimize_final_module()


class _ScalarCodeCompiler(compiler.Compiler):
    library_class = _ScalarCodeLibrary


SCALAR_CODE: dict[str, Any] = {"pipeline_class": _ScalarCodeCompiler} if compiler.IS_AS_EXPECTED else {}

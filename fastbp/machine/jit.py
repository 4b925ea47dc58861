"""The decorators of compiled functions, with one set of options for all of them.

Every kernel of fastbp is decorated with `njit`, `inlined`, `jitable`, `entry` or `entry_by_dtype` from this file. All
kernels are then compiled with the same options and by the same compiler (see `compiler`), and the functions that Python
calls are kept in one cache (see `cache`). This file must not know what a kernel computes.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import config, types
from numba.core.registry import CPUDispatcher

from fastbp.machine import cache, compiler

T = TypeVar("T")

if config.DISABLE_JIT:
    raise ImportError(
        "fastbp's kernels compute with vectors, which exist only in compiled code, so they cannot run as Python: "
        "unset NUMBA_DISABLE_JIT (or its entry in .numba_config.yaml)"
    )

# `contract` lets a * b + c become one fused multiply-add. No option may reorder sums (reassoc) or assume finite numbers
# (nnan, ninf): divergence is found by looking for NaN. Every option has to be named: a kernel inherits any other option
# from the first caller that is compiled.
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": False,
    "no_cfunc_wrapper": True,
}


class _Entry(CPUDispatcher):
    """A function for Python to call with arguments of any types. Its machine code is kept in the cache."""

    def compile(self, signature: Any) -> Any:
        try:
            with compiler.resting_collector():
                return compiler.call_with_room(super().compile, signature)
        finally:
            self._cache.release()


class _EntryByDtype(_Entry):
    """A function that finds its machine code by the dtype of the first array in its arguments.

    The first argument is an array, or a tuple that begins with an array. The types of all arguments must follow from
    the dtype of this array. Numba's own search looks at the type of each argument and of everything in it, which took
    7 of the 10 µs of a small step.
    """

    _code: dict[np.dtype[Any], Callable[..., Any]]

    def __call__(self, *arguments: Any) -> Any:
        first = arguments[0]
        dtype = (first if type(first) is np.ndarray else first[0]).dtype
        code = self._code.get(dtype)
        if code is not None:
            return code(*arguments)
        answer = super().__call__(*arguments)
        signature = tuple(self.typeof_pyval(argument) for argument in arguments)
        self._code[dtype] = self.overloads[signature].entry_point
        return answer


def entry(function: Callable[..., Any], **options: Any) -> Any:
    """Compile `function` for Python to call, and keep its machine code in fastbp's cache."""
    options = {**OPTIONS, **options, **compiler.ENTRY}
    if not cache.IS_SUPPORTED:
        return _with_numbas_cache(function, options)
    dispatcher = numba.njit(**options)(function)
    dispatcher.__class__ = _Entry
    dispatcher._cache = cache.Cache(function, cache_directory())
    return dispatcher


def entry_by_dtype(function: Callable[..., Any]) -> Any:
    """Do the same for a function whose arguments have types that follow from one dtype; see `_EntryByDtype`."""
    dispatcher = entry(function)
    if cache.IS_SUPPORTED:
        dispatcher.__class__ = _EntryByDtype
        dispatcher._code = {}
    return dispatcher


def _with_numbas_cache(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Do the same with Numba's own cache, which does not notice an edit of a callee, or without any cache."""
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)


def cache_directory() -> Path | None:
    """Return the directory of the compiled code, if there is one."""
    return cache.directory(_all_options())


def stamp() -> str:
    """Return a hash of everything that decides compiled code."""
    return cache.stamp(_all_options())


def _all_options() -> str:
    return f"{OPTIONS} {bool(compiler.ENTRY)}"


class _Kernel(CPUDispatcher):
    """A function for other kernels to call. If Python calls it, it is compiled once more, as an entry."""

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        """Resolve a call. Constants count as numbers like others, so a constant is no reason to compile once more."""
        return super().get_call_template([types.unliteral(argument) for argument in arguments], keywords)

    def __call__(self, *arguments: Any) -> Any:
        return self.entry(*arguments)

    @functools.cached_property
    def entry(self) -> Any:
        return entry(self.py_func)


class _Jitable(_Kernel):
    """A function for kernels to call. If Python calls it, it runs as Python."""

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)


def njit(function: Callable[..., Any]) -> Any:
    """Compile `function` for other kernels to call.

    Its code becomes a part of the entry that calls it. So it is not kept by itself, and has no code that unpacks
    Python's arguments.
    """
    return _kernel(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` into each of its callers. For functions that do little but call kernels.

    Calls with a dozen arguments each, from `entries.train` down to a kernel, would take a tenth of a small step.
    """
    return _kernel(function, forceinline=True)


def _kernel(function: Callable[..., Any], **how: Any) -> Any:
    dispatcher = numba.njit(no_cpython_wrapper=True, **OPTIONS | how, **compiler.KERNEL)(function)
    dispatcher.__class__ = _Kernel
    return dispatcher


def entry_of_process(function: Callable[..., Any]) -> Any:
    """Compile `function` for Python to call, afresh in each process: for users' functions, which no cache can know."""
    return numba.njit(**OPTIONS, **compiler.ENTRY)(function)


def jitable(function: Callable[..., T]) -> Callable[..., T]:
    """Let kernels call `function`. Everywhere else, it runs as Python."""
    kernel = _kernel(function)
    kernel.__class__ = _Jitable
    jitable_function: Callable[..., T] = kernel
    return jitable_function

"""The one `njit`: its one set of options, for every kernel.

Every kernel of fastbp is decorated with this module's `njit`, `inlined`, `jitable` or `entry` and nothing else, so
that all are compiled by the same options, by the same compiler (see `compiler`), and what Python calls is kept in the
same cache (see `cache`). This file must not know what a kernel computes.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config, types
from numba.core.registry import CPUDispatcher

from fastbp.machine import cache, compiler

T = TypeVar("T")

if config.DISABLE_JIT:
    raise ImportError(
        "fastbp's kernels are written in vectors that only a compiler has, so they cannot run as plain Python: "
        "unset NUMBA_DISABLE_JIT (or its entry in .numba_config.yaml)"
    )

# `contract` lets a*b + c become one fused multiply-add. Nothing that reorders sums (reassoc) or assumes
# finite numbers (nnan, ninf): divergence is found by looking for NaN.
# An option that is not named here is taken over from whichever caller is compiled first.
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": False,
    "no_cfunc_wrapper": True,
}


class _Entry(CPUDispatcher):
    """A function for Python to call, whose machine code is kept."""

    def compile(self, signature: Any) -> Any:
        try:
            with compiler.resting_collector():
                return compiler.call_with_room(super().compile, signature)
        finally:
            self._cache.release()


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` for Python to call, and keep its machine code in fastbp's own cache."""
    if not cache.IS_SUPPORTED:
        return _with_numbas_cache(function)
    dispatcher = numba.njit(**OPTIONS, **compiler.ENTRY)(function)
    dispatcher.__class__ = _Entry
    dispatcher._cache = cache.Cache(function, cache_directory())
    return dispatcher


def _with_numbas_cache(function: Callable[..., Any]) -> Any:
    """Do the same with Numba's own cache, which misses an edit of a callee; without any where it finds no place."""
    try:
        return numba.njit(cache=True, **OPTIONS, **compiler.ENTRY)(function)
    except RuntimeError:
        return numba.njit(**OPTIONS, **compiler.ENTRY)(function)


def cache_directory() -> Path | None:
    """Return the directory where compiled code is kept, if there is one."""
    return cache.directory(f"{OPTIONS} {bool(compiler.ENTRY)}")


class _Kernel(CPUDispatcher):
    """A function for other kernels to call. Where Python calls it, it is compiled once more, as an entry."""

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        """Resolve a call: constants are numbers like others, so that they make no further specialisation."""
        return super().get_call_template([types.unliteral(argument) for argument in arguments], keywords)

    def __call__(self, *arguments: Any) -> Any:
        return self.entry(*arguments)

    @functools.cached_property
    def entry(self) -> Any:
        return entry(self.py_func)


class _PlainInPython(_Kernel):
    """A function for kernels to call, which Python calls as it was written."""

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)


def njit(function: Callable[..., Any]) -> Any:
    """Compile `function` for other kernels to call.

    Without the code that unpacks Python's arguments, and unsaved, since it becomes a part of whatever calls it.
    """
    return _kernel(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function`, which does little but call kernels, into its callers and never by itself.

    Calls with a dozen arguments each, from `training.train` down to a kernel, would be a tenth of a small step.
    """
    return _kernel(function, forceinline=True)


def _kernel(function: Callable[..., Any], **how: Any) -> Any:
    dispatcher = numba.njit(no_cpython_wrapper=True, **OPTIONS | how, **compiler.KERNEL)(function)
    dispatcher.__class__ = _Kernel
    return dispatcher


def jitable(function: Callable[..., T]) -> Callable[..., T]:
    """Let kernels call `function`, which stays plain Python everywhere else."""
    kernel = _kernel(function)
    kernel.__class__ = _PlainInPython
    jitable_function: Callable[..., T] = kernel
    return jitable_function

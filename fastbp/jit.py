"""The one `njit`: its one set of options, and where compiled code is kept.

Every kernel of fastbp is decorated with this module's `njit`, `inlined` or `entry` and nothing else. Numba's cache
knows neither the options of a function nor the callees that were compiled into it, so both are fixed here: the options
are the same everywhere, and the cache directory is named by a hash of everything that goes into compiled code.
This file must not know what a kernel computes.
"""

import functools
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from numba.core import config, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.registry import CPUDispatcher
from numba.extending import register_jitable

from fastbp import compiler

T = TypeVar("T")

if config.DISABLE_JIT:
    raise ImportError(
        "fastbp's kernels are written in vectors that only a compiler has, so they cannot run as plain Python: "
        "unset NUMBA_DISABLE_JIT (or its entry in .numba_config.yaml)"
    )

# `contract` lets a*b + c become one fused multiply-add. Nothing that reorders sums (reassoc) or assumes
# finite numbers (nnan, ninf): divergence is found by looking for NaN.
# An option that is not named here is taken over from whichever caller is compiled first.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "forceinline": False}
_WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` for Python to call, and keep its machine code in fastbp's own cache."""
    dispatcher = numba.njit(**OPTIONS, **compiler.ENTRY)(function)
    dispatcher.__class__ = _Entry
    if cache_directory() is not None:
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Entry(CPUDispatcher):
    """A function for Python to call."""

    def compile(self, signature: Any) -> Any:
        with compiler.resting_collector():
            return super().compile(signature)


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


def njit(function: Callable[..., Any]) -> Any:
    """Compile `function` for other kernels to call.

    Without the code that unpacks Python's arguments, and unsaved, since it is compiled into whatever calls it: that
    halves the time of a first fit.
    """
    return _kernel(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function`, which does little but call kernels, into its callers and never by itself.

    Calls with a dozen arguments each, from `training.train` down to a kernel, would be a tenth of a small step.
    """
    return _kernel(function, forceinline=True)


def _kernel(function: Callable[..., Any], **how: Any) -> Any:
    dispatcher = numba.njit(**OPTIONS | how, **_WITHOUT_WRAPPERS, **compiler.KERNEL)(function)
    dispatcher.__class__ = _Kernel
    return dispatcher


def jitable(function: Callable[..., T]) -> Callable[..., T]:
    """Let kernels call `function`, which stays plain Python everywhere else."""
    jitable_function: Callable[..., T] = register_jitable(**_WITHOUT_WRAPPERS, **OPTIONS, **compiler.KERNEL)(function)
    return jitable_function


def _source_stamp() -> str:
    """Name the code that is compiled: every kernel source of fastbp, Numba's and llvmlite's versions."""
    digest = hashlib.sha256(f"{sys.version_info} {numba.__version__} {llvmlite.__version__} {OPTIONS}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _user_cache() -> Path:
    """Where this system keeps a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def cache_directory() -> Path | None:
    """Make and return the writable place for compiled code, or None: `FASTBP_CACHE_DIR`, else the user's cache."""
    chosen = os.environ.get("FASTBP_CACHE_DIR")
    try:
        directory = (Path(chosen) if chosen else _user_cache() / "fastbp") / _source_stamp()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        warnings.warn(f"fastbp compiles afresh in each process: no writable cache ({error})", stacklevel=2)
        return None
    return directory


class _Locator(_CacheLocator):
    """Put the compiled code of every fastbp function in the one directory."""

    def __init__(self, line: int) -> None:
        self._line = line

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":  # noqa: ARG003 (Numba's)
        return cls(py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        return "named by the directory"

    def get_disambiguator(self) -> str:
        return str(self._line)


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):
    """Numba's cache, for which a damaged or unwritable file is a miss and not an error."""

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling damaged bytes can raise anything
            warnings.warn(f"fastbp recompiles: a file in {self.cache_path} is damaged ({error!r})", stacklevel=2)
            self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(f"fastbp could not keep compiled code in {self.cache_path} ({error})", stacklevel=2)

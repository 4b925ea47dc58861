"""Where compiled code is kept from one process to the next, and what makes it the right code.

Numba's own cache knows a function by its source file alone. After an edit of a callee, or after an upgrade, it runs old
code; it fails on a damaged file; and it mixes up files if two processes write at once. Here a directory is named by a
hash of everything that decides compiled code. Each function and signature has a file of its own, which has a checksum
and is written whole or not at all. If several processes need the same code at once, one compiles and the others wait.

Code is run, so it is read only from folders that no other user can change (`files.trust`). If anything is wrong with
the cache, code is compiled afresh, with one warning. This file must not know what the compiled code computes.
"""

import functools
import hashlib
import importlib.resources
import json
import os
import pickle
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import config, serialize
from numba.core.compiler import CompileResult

from fastbp.files.atomic import replace_file
from fastbp.files.trust import check_folder, make_private_folder, read_trusted

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from importlib.abc import Traversable

SUFFIX = ".code"
WAIT_SECONDS = 120.0  # at most, for another process that compiles the same function
_POLL_SECONDS = 0.05
# The folders and files that decide machine code. After an edit of any of them, no older code is found.
_SOURCES = ("kernels", "machine", "activations", "losses", "optimizers")
_SETTINGS = (  # of Numba, which change machine code
    "OPT",
    "CPU_NAME",
    "CPU_FEATURES",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "ENABLE_AVX",
    "USING_SVML",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "EXTEND_VARIABLE_LIFETIMES",
    "DEBUG_NRT",
    "NRT_STATS",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
)

warned: dict[str, str] = {}  # the warnings of this process, one for each kind of problem

# Whether Numba has the inner parts that this file needs. If not, `jit.entry` uses Numba's own cache.
IS_SUPPORTED = hasattr(CompileResult, "_reduce") and hasattr(CompileResult, "_rebuild")


# --- the directory ------------------------------------------------------------------------------------------


@functools.cache
def cpu() -> str:
    """Return the name of the CPU that code is compiled for, and a hash of its features."""
    features = config.CPU_FEATURES or llvm.get_host_cpu_features().flatten()
    digest = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{config.CPU_NAME or llvm.get_host_cpu_name()} {digest}"


@functools.cache
def stamp(options: str) -> str:
    """Return the same hash in the whole process, even if somebody upgrades the sources meanwhile."""
    return _stamp(options)


def _stamp(options: str) -> str:
    """Return a hash of everything that decides compiled code: sources, versions, the CPU, settings and options."""
    versions = sys.implementation.cache_tag, sys.version, np.__version__, numba.__version__, llvmlite.__version__
    settings = [f"{name}={getattr(config, name, None)}" for name in _SETTINGS]
    digest = hashlib.sha256(repr((versions, cpu(), settings, options)).encode())
    for name, source in _sources(importlib.resources.files(__package__.partition(".")[0]), ""):
        if name.split("/")[1].partition(".")[0] in _SOURCES:
            digest.update(name.encode() + source)
    return digest.hexdigest()[:24]


def _sources(folder: "Traversable", path: str) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of each Python file in a folder and in the folders below it."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{path}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, name)
        elif entry.name.endswith((".py", ".pyc")):
            yield name, entry.read_bytes()


def roots() -> Iterator[Path]:
    """Yield the places for a cache, the best first: `FASTBP_CACHE_DIR`, the user's caches, a temporary directory."""
    if chosen := os.environ.get("FASTBP_CACHE_DIR"):
        yield Path(chosen).absolute()
    with suppress(RuntimeError):  # no home directory
        if (caches := _user_caches()).is_absolute():  # a relative XDG_CACHE_HOME is invalid
            yield caches / "fastbp"
    with suppress(FileNotFoundError):  # no temporary directory
        owner = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "user")
        yield Path(tempfile.gettempdir()).absolute() / f"fastbp-{owner}"


def _user_caches() -> Path:
    """Return the directory of a user's caches on this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def directory(options: str) -> Path | None:
    """Make and return the directory of code compiled with these options, or None. Warn if the chosen one is no use."""
    problems = []
    for root in roots():
        place = root / stamp(options)
        try:
            make_private_folder(place)
            check_folder(place)
        except OSError as error:
            problems.append(f"{root}: {error.strerror or error}")
        else:
            if problems and os.environ.get("FASTBP_CACHE_DIR"):
                warn_once("place", f"fastbp keeps compiled code in {root}, as it cannot in {'; '.join(problems)}")
            return place
    warn_once("place", f"fastbp compiles afresh in each process: no place to keep code ({'; '.join(problems)})")
    return None


def warn_once(kind: str, message: str) -> None:
    """Warn once in a process for each kind of problem, even if many files or functions have it."""
    if kind not in warned:
        warned[kind] = message
        warnings.warn(message, RuntimeWarning, stacklevel=2)


# --- a file -------------------------------------------------------------------------------------------------


class CodeHeader(NamedTuple):
    """The first line of a file of compiled code."""

    function: str
    signature: str
    cpu: str
    seconds: float  # that compiling took
    digest: str  # of all bytes after the first line


def write_code(path: Path, header: CodeHeader, code: bytes) -> None:
    """Write a file of compiled code, whole or not at all. Only the owner may read or write the file."""
    replace_file(path, [json.dumps(header._asdict()).encode() + b"\n", code], permissions=0o600)


def read_code(path: Path) -> tuple[CodeHeader, bytes]:
    """Return the header and the code of a file. Raise ValueError if it is damaged, and OSError if it is not trusted."""
    first_line, _, code = read_trusted(path).partition(b"\n")
    try:
        header = CodeHeader(**json.loads(first_line))
    except (ValueError, TypeError) as error:
        raise ValueError("its header cannot be read") from error
    if header.digest != _digest(code):
        raise ValueError("its content is not what was written")
    return header, code


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


class CompileLock:
    """A lock that one process holds while it compiles a function, of all processes with the same cache.

    Parameters
    ----------
    path : Path
        The file of the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock, but not for ever. Return whether another process held it before."""
        waited = False
        if sys.platform != "win32":
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                deadline = time.monotonic() + WAIT_SECONDS
                while time.monotonic() < deadline:
                    try:
                        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return waited
                    except BlockingIOError:
                        waited = True
                        time.sleep(_POLL_SECONDS)
            except OSError:  # a read-only directory, or a file system without locks: this process compiles too
                pass
            self.release()
        return waited

    def release(self) -> None:
        """Let the next process take the lock."""
        if self._descriptor is not None:
            if sys.platform != "win32":
                with suppress(OSError):  # closing is not enough: a forked process has a copy of the descriptor
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


# --- what Numba sees ----------------------------------------------------------------------------------------


class Cache:
    """The compiled code of one function, with the methods that a Numba dispatcher calls on its cache.

    Parameters
    ----------
    function : callable
        The function in Python.
    place : Path or None
        The directory for the compiled code, if there is one.
    """

    def __init__(self, function: Callable[..., Any], place: Path | None) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._place = place
        self._source = function.__code__.co_code
        with suppress(OSError):  # a function from a prompt has no file, nor has a function in a zipped package
            self._source += Path(function.__code__.co_filename).read_bytes()
        self._of_thread = threading.local()  # its lock, and when it began to compile

    @property
    def cache_path(self) -> str | None:
        """The directory of the compiled code."""
        return None if self._place is None else str(self._place)

    def path(self, signature: Any) -> Path | None:
        """Return the file for a signature."""
        digest = _digest(repr((self._name, str(signature), self._source)).encode())[:16]
        return None if self._place is None else self._place / f"{self._name.rpartition('.')[2]}-{digest}{SUFFIX}"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled code for a signature. If there is none, take the lock and return None."""
        path = self.path(signature)
        result = self._load(path, target_context)
        if result is None and path is not None:
            lock = self._of_thread.lock = CompileLock(path.with_suffix(".lock"))
            if lock.acquire():
                result = self._load(path, target_context)
        if result is None:
            announce(self._place is not None)
        self._of_thread.started = time.perf_counter()
        return result

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write the code that was compiled for a signature to the cache."""
        path = self.path(signature)
        if path is None:
            return
        seconds = time.perf_counter() - self._of_thread.started
        try:
            code = serialize.dumps(result._reduce())
            write_code(path, CodeHeader(self._name, str(signature), cpu(), round(seconds, 2), _digest(code)), code)
        except Exception as error:  # pickling Numba's objects can raise anything
            warn_once("save", f"fastbp could not keep compiled code in {self._place} ({error})")

    def release(self) -> None:
        """Release this thread's lock, after it has compiled or failed to."""
        lock = self._of_thread.__dict__.pop("lock", None)
        if lock is not None:
            lock.release()

    def _load(self, path: Path | None, target_context: Any) -> Any:
        if path is None:
            return None
        target_context.refresh()
        try:
            check_folder(path.parent)  # again, because permissions change
            return CompileResult._rebuild(target_context, *pickle.loads(read_code(path)[1]))
        except FileNotFoundError:
            return None
        except Exception as error:  # rebuilding from a pickle can raise anything
            warn_once("load", f"fastbp recompiles: {path} is damaged or cannot be read ({error})")
            return None


@functools.cache
def announce(is_kept: bool) -> None:
    """Tell a user at a terminal, once, why the first call takes seconds."""
    if sys.stderr is not None and sys.stderr.isatty():
        how_often = "once" if is_kept else "in each process, as there is no place to keep them"
        print(f"fastbp: compiling kernels for this CPU, {how_often}", file=sys.stderr, flush=True)

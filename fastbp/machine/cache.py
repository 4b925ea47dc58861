"""Where compiled code is kept from one process to the next, and what makes it the right code.

Numba's own cache knows a function by its source file alone: it runs old code after an edit of a callee or an upgrade,
stumbles over a damaged file, and mixes up files when two processes write at once. Here the directory is named by a
hash of everything that goes into compiled code; each function and signature has a file of its own, sealed by a
checksum and put in place whole; and of processes that start cold at once, one compiles while the others wait.

Whatever is wrong with the cache, code is compiled afresh, with one warning. This file must not know what is compiled.
"""

import functools
import hashlib
import importlib.resources
import json
import os
import pickle
import stat
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

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from importlib.abc import Traversable

SUFFIX = ".code"
WAIT_SECONDS = 120.0  # for another process that compiles the same
_POLL_SECONDS = 0.05
# The folders and files that decide machine code: an edit of any of them must not find the code of before.
_SOURCES = ("kernels", "machine", "activations", "losses", "optimizers")
_SETTINGS = (  # Numba's, that change the code it makes
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

warned: dict[str, str] = {}  # what there was to warn of in this process, by its kind

# Numba's inner parts that this file builds on; where they are gone, `jit.entry` has Numba's own cache.
IS_SUPPORTED = hasattr(CompileResult, "_reduce") and hasattr(CompileResult, "_rebuild")


# --- the place ----------------------------------------------------------------------------------------------


@functools.cache
def cpu() -> str:
    """Return the CPU that code is compiled for: its name, and a hash of its features."""
    features = config.CPU_FEATURES or llvm.get_host_cpu_features().flatten()
    digest = hashlib.sha256(features.encode()).hexdigest()[:8]
    return f"{config.CPU_NAME or llvm.get_host_cpu_name()} {digest}"


def _stamp(options: str) -> str:
    """Name the code that is compiled: by the sources that decide it, versions, CPU, and settings in force."""
    versions = sys.implementation.cache_tag, sys.version, np.__version__, numba.__version__, llvmlite.__version__
    settings = [f"{name}={getattr(config, name, None)}" for name in _SETTINGS]
    digest = hashlib.sha256(repr((versions, cpu(), settings, options)).encode())
    for name, source in _sources(importlib.resources.files(__package__.partition(".")[0]), ""):
        if name.split("/")[1].partition(".")[0] in _SOURCES:
            digest.update(name.encode() + source)
    return digest.hexdigest()[:24]


def _sources(folder: "Traversable", path: str) -> Iterator[tuple[str, bytes]]:
    """Yield every file of Python code in a folder and below it: its path, and its bytes."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{path}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, name)
        elif entry.name.endswith((".py", ".pyc")):
            yield name, entry.read_bytes()


def roots() -> Iterator[Path]:
    """Yield where caches may be, the best first: `FASTBP_CACHE_DIR`, the user's caches, a temporary directory."""
    if chosen := os.environ.get("FASTBP_CACHE_DIR"):
        yield Path(chosen).absolute()
    with suppress(RuntimeError):  # no home directory
        yield _user_caches() / "fastbp"
    with suppress(FileNotFoundError):  # no temporary directory
        owner = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "user")
        yield Path(tempfile.gettempdir()) / f"fastbp-{owner}"


def _user_caches() -> Path:
    """Return where this system keeps a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def directory(options: str) -> Path | None:
    """Make and return the directory for code compiled with these options, or None; warn if it is not the best one."""
    problems = []
    stamp = _stamp(options)
    for root in roots():
        place = root / stamp
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir(mode=0o700, exist_ok=True)
            _check_trust(place)
        except OSError as error:
            problems.append(f"{root}: {error.strerror or error}")
        else:
            if problems and os.environ.get("FASTBP_CACHE_DIR"):
                warn_once("place", f"fastbp keeps compiled code in {root}, as it cannot in {'; '.join(problems)}")
            return place
    warn_once("place", f"fastbp compiles afresh in each process: no place to keep code ({'; '.join(problems)})")
    return None


def _check_trust(place: Path) -> None:
    """Raise unless nobody else can write here: what is loaded from a cache is run."""
    if sys.platform != "win32":
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError("it is not a directory")
        if status.st_uid not in (os.getuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError("others can write to it")


def warn_once(kind: str, message: str) -> None:
    """Warn, once a process for each kind of problem, however many files or functions have it."""
    if kind not in warned:
        warned[kind] = message
        warnings.warn(message, RuntimeWarning, stacklevel=2)


# --- a file -------------------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """What the first line of a file of compiled code says."""

    function: str
    signature: str
    cpu: str
    seconds: float  # that compiling took
    digest: str  # of all that follows


def write_code(path: Path, kept: Kept, code: bytes) -> None:
    """Put a file in its place, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=path.stem, suffix=".tmp", dir=path.parent)  # for the owner alone
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(kept._asdict()).encode() + b"\n")
            file.write(code)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def read_code(path: Path) -> tuple[Kept, bytes]:
    """Return a file's first line and its code, or raise ValueError if it is damaged."""
    head, _, code = path.read_bytes().partition(b"\n")
    try:
        kept = Kept(**json.loads(head))
    except (ValueError, TypeError) as error:
        raise ValueError("its head cannot be read") from error
    if kept.digest != _digest(code):
        raise ValueError("its content is not what was written")
    return kept, code


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


class _Turn:
    """The turn to compile one function, which one process has of all those with the same cache."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Wait for it, but not for ever; return whether somebody else had it first."""
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
            except OSError:  # a read-only directory, or a file system without locks: each for itself
                pass
            self.give_back()
        return waited

    def give_back(self) -> None:
        """Let the next process have its turn."""
        if self._descriptor is not None:
            if sys.platform != "win32":
                with suppress(OSError):  # a copy of the descriptor, in a forked process, would hold it on
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


# --- what Numba sees ----------------------------------------------------------------------------------------


class Cache:
    """One function's compiled code, in the shape in which a Numba dispatcher wants its cache.

    Parameters
    ----------
    function : callable
        The function as it was written.
    place : Path or None
        Where to keep its code, if there is a place.
    """

    def __init__(self, function: Callable[..., Any], place: Path | None) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._place = place
        self._source = function.__code__.co_code
        with suppress(OSError):  # a function that was typed in has no file, nor has one in a zipped package
            self._source += Path(function.__code__.co_filename).read_bytes()
        self._of_thread = threading.local()  # its turn, and when it began to compile

    @property
    def cache_path(self) -> str | None:
        """The directory."""
        return None if self._place is None else str(self._place)

    def path(self, signature: Any) -> Path | None:
        """Return the file for a signature."""
        digest = _digest(repr((self._name, str(signature), self._source)).encode())[:16]
        return None if self._place is None else self._place / f"{self._name.rpartition('.')[2]}-{digest}{SUFFIX}"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what is kept for a signature; None, and the turn to compile, if there is nothing."""
        path = self.path(signature)
        result = self._load(path, target_context)
        if result is None and path is not None:
            turn = self._of_thread.turn = _Turn(path.with_suffix(".lock"))
            if turn.take():
                result = self._load(path, target_context)
        if result is None:
            announce(self._place is not None)
        self._of_thread.started = time.perf_counter()
        return result

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled for a signature."""
        path = self.path(signature)
        if path is None:
            return
        seconds = time.perf_counter() - self._of_thread.started
        try:
            code = serialize.dumps(result._reduce())
            write_code(path, Kept(self._name, str(signature), cpu(), round(seconds, 2), _digest(code)), code)
        except Exception as error:  # pickling what Numba gives can raise anything
            warn_once("save", f"fastbp could not keep compiled code in {self._place} ({error})")

    def release(self) -> None:
        """Let other processes go on: this thread has compiled, or failed to."""
        turn = self._of_thread.__dict__.pop("turn", None)
        if turn is not None:
            turn.give_back()

    def _load(self, path: Path | None, target_context: Any) -> Any:
        if path is None:
            return None
        target_context.refresh()
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(read_code(path)[1]))
        except FileNotFoundError:
            return None
        except Exception as error:  # rebuilding from a pickle can raise anything
            warn_once("load", f"fastbp recompiles: {path} is damaged or cannot be read ({error})")
            return None


@functools.cache
def announce(kept: bool) -> None:
    """Say once, to somebody who sits at a terminal, why the first call takes seconds."""
    if sys.stderr is not None and sys.stderr.isatty():
        how_often = "once" if kept else "in each process, as there is no place to keep them"
        print(f"fastbp: compiling kernels for this CPU, {how_often}", file=sys.stderr, flush=True)

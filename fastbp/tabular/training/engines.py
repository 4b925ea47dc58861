"""How the work of a training travels to other processes and machines: the workload once, and a few numbers per task.

It knows executors, joblib and Dask by what they offer, and imports neither joblib nor Dask by itself. It must not know
columns, or how the results of several tasks are collected.
"""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastbp.tabular.training.parts import Task, Trained, Workload
from fastbp.tabular.training.recipe import train_task

_ALIGNMENT = 64  # bytes: the arrays of a mapped file begin at multiples of a cache line
_QUESTION_SECONDS = 0.25  # a task asks at most this often whether the training has ended
_LOCAL_PROCESSES = "LokyBackend", "MultiprocessingBackend"  # backends of joblib whose workers see this machine's files


class JoblibEngine(NamedTuple):
    """An active backend of joblib, in place of an executor."""

    backend: Any
    n_jobs: int


Engine = Executor | JoblibEngine


def active_engine(n_jobs: int | None) -> Engine | None:
    """Return what `joblib.parallel_config` chose for the networks of an ensemble, or None for threads of this process.

    Parameters
    ----------
    n_jobs : int or None
        Number of networks at the same time, as joblib counts them.

    Returns
    -------
    Executor, JoblibEngine or None
        Dask's own executor for the backend "dask". None if no backend of processes is chosen, if the number is 1,
        or in a task of another training or search that such a backend runs.
    """
    joblib = sys.modules.get("joblib")
    if joblib is None:  # nobody can have chosen a backend
        return None
    backend, n_chosen = joblib.parallel.get_active_backend(prefer="threads")
    if getattr(backend, "uses_threads", False) or backend.nesting_level or _is_in_dask_task():
        return None
    client = getattr(backend, "client", None)
    if client is not None and hasattr(client, "get_executor"):
        return client.get_executor()  # type: ignore[no-any-return]  # of Dask
    n = backend.effective_n_jobs(n_chosen if n_jobs is None else n_jobs)
    return None if n == 1 else JoblibEngine(backend, n)


def _is_in_dask_task() -> bool:
    """Return whether a Dask worker runs this thread. Waiting there for other tasks could block the cluster."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


# --- the workload on its way ------------------------------------------------------------------------------------


class Parcel:
    """A workload as it is submitted with every task: as itself. This fits threads.

    Executors that are not known get the whole table with each task.

    Attributes
    ----------
    contents : object
        The workload, or what stands for it.
    is_ended : callable
        Tells a task whether the training has ended.
    """

    def __init__(self, workload: Workload, is_ended: Callable[[], bool]) -> None:
        self.contents: Any = workload
        self.is_ended = is_ended

    def end(self) -> None:
        """Let tasks that have begun end with their current epoch, and let the others not begin, where they can tell."""


class ThreadParcel(Parcel):
    """The workload for threads of this process."""

    def __init__(self, workload: Workload) -> None:
        self._event = threading.Event()
        super().__init__(workload, self._event.is_set)

    def end(self) -> None:
        """End the tasks."""
        self._event.set()


class FileParcel(Parcel):
    """The workload in a temporary file that all processes of this machine map into memory.

    The file is removed with the workload, and at the exit of this process.
    """

    def __init__(self, workload: Workload) -> None:
        folder = Path(tempfile.mkdtemp(prefix="fastbp-"))
        weakref.finalize(workload, shutil.rmtree, folder, ignore_errors=True)
        self._flag = folder / "goes-on"
        self._flag.touch()
        self.contents = WorkloadFile(str(folder / "workload"))
        self.contents.write(workload)
        self.is_ended: Callable[[], bool] = _HasNoFile(str(self._flag))

    def end(self) -> None:
        """End the tasks."""
        self._flag.unlink(missing_ok=True)


class DaskParcel(Parcel):
    """The workload in the memory of every worker of a Dask cluster."""

    def __init__(self, workload: Workload, client: Any) -> None:
        name = f"fastbp-{uuid.uuid4().hex}"
        self.contents = client.scatter(workload, broadcast=True, hash=False)
        self._event = sys.modules["distributed"].Event(name, client=client)
        self.is_ended: Callable[[], bool] = _HasEvent(name)

    def end(self) -> None:
        """End the tasks."""
        self._event.set()


_parcels: weakref.WeakKeyDictionary[Workload, tuple[Any, Parcel]] = weakref.WeakKeyDictionary()


def parcel_for(engine: Engine, workload: Workload) -> Parcel:
    """Return the workload as tasks of this engine carry it. Several calls for one workload prepare it once.

    Parameters
    ----------
    engine : Executor or JoblibEngine
    workload : Workload

    Returns
    -------
    Parcel
    """
    if isinstance(engine, ThreadPoolExecutor):
        return ThreadParcel(workload)
    client = dask_client(engine)
    if client is None and not _is_local(engine):
        return Parcel(workload, _never)
    key = None if client is None else client.id
    known = _parcels.get(workload)
    if known is not None and known[0] == key:
        return known[1]
    parcel = FileParcel(workload) if client is None else DaskParcel(workload, client)
    _parcels[workload] = key, parcel
    return parcel


def dask_client(engine: Engine) -> Any:
    """Return the client of an executor of Dask, or None for another engine."""
    is_dask = type(engine).__module__.partition(".")[0] == "distributed"
    return engine._client if is_dask else None  # type: ignore[union-attr]  # Dask has no public name for the client


def _is_local(engine: Engine) -> bool:
    """Return whether an engine's workers are processes of this machine."""
    if isinstance(engine, JoblibEngine):
        return type(engine.backend).__name__ in _LOCAL_PROCESSES
    is_loky = any("loky" in kind.__module__.split(".") for kind in type(engine).__mro__)
    return is_loky or isinstance(engine, ProcessPoolExecutor)


class WorkloadFile(NamedTuple):
    """A file that holds a workload: its arrays are mapped into memory, so all processes of a machine share them."""

    path: str

    def write(self, workload: Workload) -> None:
        """Write the workload to the file."""
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(workload, protocol=5, buffer_callback=buffers.append)
        pieces = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        with open(self.path, "wb") as file:
            sizes = pickle.dumps([piece.nbytes for piece in pieces])
            file.write(len(sizes).to_bytes(8, "little") + sizes)
            for piece in pieces:
                file.write(bytes(-file.tell() % _ALIGNMENT))
                file.write(piece)

    def read(self) -> Workload:
        """Return the workload of the file. Its arrays can be written to, and the file stays as it is."""
        with open(self.path, "rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        place = 8 + int.from_bytes(mapped[:8], "little")
        pieces = []
        for size in pickle.loads(mapped[8:place]):
            place += -place % _ALIGNMENT
            pieces.append(mapped[place : place + size])
            place += size
        workload: Workload = pickle.loads(pieces[0], buffers=pieces[1:])
        return workload


class _HasNoFile(NamedTuple):
    """Tells whether a file is gone."""

    path: str

    def __call__(self) -> bool:
        return not os.path.exists(self.path)


class _HasEvent(NamedTuple):
    """Tells a task of Dask whether an event of the cluster is set."""

    name: str

    def __call__(self) -> bool:
        return bool(sys.modules["distributed"].Event(self.name).is_set())


def _never() -> bool:
    return False


# --- in a worker ------------------------------------------------------------------------------------------------

_opened: dict[WorkloadFile, Workload] = {}  # the file that this worker opened last
_lock = threading.Lock()


def train_carried(
    contents: Any, is_ended: Callable[[], bool], task: Task, deadline: float, is_first: bool
) -> Trained | None:
    """Train a network in a worker; return None if it is too late to begin.

    Parameters
    ----------
    contents : Workload or WorkloadFile
    is_ended : callable
        Tells whether the training has ended. It is asked a few times a second.
    task : Task
    deadline : float
        The time at which the network ends with its current epoch, by the system's clock, which machines share.
    is_first : bool
        Whether the network begins even if it is late, because a model needs at least one network.

    Returns
    -------
    Trained or None
    """
    asked_at, answer = -1.0, False

    def is_late(*_: float) -> bool:
        nonlocal asked_at, answer
        now = time.monotonic()
        if not answer and now - asked_at > _QUESTION_SECONDS:
            asked_at, answer = now, is_ended()
        return answer or is_interrupted.is_set() or time.time() > deadline

    with _interrupts() as is_interrupted:
        if is_late() and not is_first:
            return None
        return train_task(contents if isinstance(contents, Workload) else _workload_of(contents), task, is_late)


def outcome_of(k: int, *arguments: Any) -> tuple[int, Any]:
    """Return the index of a task with what `train_carried` returns or raises, so that an error ends no other task."""
    try:
        return k, train_carried(*arguments)
    except Exception as error:
        return k, error


def _workload_of(file: WorkloadFile) -> Workload:
    """Return the workload of a file. A worker reads the same file once."""
    with _lock:
        if file not in _opened:
            _opened.clear()
            _opened[file] = file.read()
        return _opened[file]


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets in a worker process, where a terminal sends Ctrl-C to all processes."""
    is_interrupted = threading.Event()
    multiprocessing = sys.modules.get("multiprocessing")
    is_worker = multiprocessing is not None and multiprocessing.parent_process() is not None
    if not is_worker or threading.current_thread() is not threading.main_thread():
        yield is_interrupted
        return
    before = signal.signal(signal.SIGINT, lambda *_: is_interrupted.set())
    try:
        yield is_interrupted
    finally:
        signal.signal(signal.SIGINT, before)

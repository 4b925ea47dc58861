"""How the work of a training travels to other processes and machines: the workload once, and a few numbers per task.

It knows in what a workload reaches the workers of an engine, and what a worker does with it. It must not know how the
results of several tasks are collected.
"""

from __future__ import annotations

import math
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fastbp.tabular.own_loss import Metric
from fastbp.tabular.training.engines import Engine, dask_client, is_local
from fastbp.tabular.training.pace import EndedError, Pace, least_share
from fastbp.tabular.training.parts import Task, Trained, Workload
from fastbp.tabular.training.recipe import train_task

_ALIGNMENT = 64  # bytes: the arrays of a mapped file begin at multiples of a cache line
_QUESTION_SECONDS = 0.25  # a task asks at most this often whether the training has ended
_N_AT_ONCE = 2  # networks that are taken to begin at the same time: a worker does not know the others


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

    contents: Any
    is_ended: Callable[[], bool]

    def __init__(self, workload: Workload, is_ended: Callable[[], bool]) -> None:
        self.contents = workload
        self.is_ended = is_ended

    def end(self) -> None:
        """Let tasks that have begun end between two slices, and let the others not begin, where they can tell."""


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

    Raises
    ------
    TypeError
        If the workload holds a user's loss that cannot be pickled.
    """

    def __init__(self, workload: Workload) -> None:
        _check_pickled(workload.recipe.metric)
        folder = Path(tempfile.mkdtemp(prefix="fastbp-"))
        weakref.finalize(workload, shutil.rmtree, folder, ignore_errors=True)
        self._flag = folder / "goes-on"
        self._flag.touch()
        self.contents = WorkloadFile(str(folder / "workload"))
        self.contents.write(workload)
        self.is_ended = _HasNoFile(str(self._flag))

    def end(self) -> None:
        """End the tasks."""
        self._flag.unlink(missing_ok=True)


class DaskParcel(Parcel):
    """The workload in the memory of every worker of a Dask cluster."""

    def __init__(self, workload: Workload, client: Any) -> None:
        name = f"fastbp-{uuid.uuid4().hex}"
        self.contents = client.scatter(workload, broadcast=True, hash=False)
        self._event = sys.modules["distributed"].Event(name, client=client)
        self.is_ended = _HasEvent(name)

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
    if client is None and not is_local(engine):
        return Parcel(workload, _never)
    key = None if client is None else client.id
    known = _parcels.get(workload)
    if known is not None and known[0] == key:
        return known[1]
    parcel = FileParcel(workload) if client is None else DaskParcel(workload, client)
    _parcels[workload] = key, parcel
    return parcel


def _check_pickled(metric: Metric) -> None:
    """Raise a `TypeError` unless a metric can be pickled."""
    try:
        pickle.dumps(metric)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"executor trains in other processes, and pickle cannot send them the loss {metric}: define its function "
            f"at the top level of a module ({error})"
        ) from error


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


class TrainedFile(NamedTuple):
    """A file that holds a trained network, beside the file of the workload.

    A pool of processes returns results through one pipe. If a worker is killed while it writes a large result, the
    reader waits for the rest of the result for ever. A path is so short that the system writes all of it or nothing.
    """

    path: str

    @classmethod
    def beside(cls, file: WorkloadFile, trained: Trained) -> TrainedFile:
        """Write a trained network to a new file, and return the file."""
        made = cls(f"{file.path}-{uuid.uuid4().hex}")
        Path(made.path).write_bytes(pickle.dumps(trained, protocol=5))
        return made

    def take(self) -> Trained:
        """Return the trained network, and remove the file."""
        path = Path(self.path)
        trained: Trained = pickle.loads(path.read_bytes())
        path.unlink()
        return trained


@dataclass(frozen=True)
class _HasNoFile:
    """Tells whether a file is gone."""

    path: str

    def __call__(self) -> bool:
        return not os.path.exists(self.path)


@dataclass(frozen=True)
class _HasEvent:
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
    contents: Any, is_ended: Callable[[], bool], task: Task, deadline: float, n_rounds: int
) -> Trained | TrainedFile | None:
    """Train a network in a worker; return None if it is left out, because it is too late.

    Parameters
    ----------
    contents : Workload or WorkloadFile
    is_ended : callable
        Tells whether the training has ended. It is asked a few times a second.
    task : Task
    deadline : float
        The time at which the network ends, by the system's clock, which machines share.
    n_rounds : int
        Number of networks that are to be trained one after another until then, this network included.

    Returns
    -------
    Trained, TrainedFile or None
        A file if the contents are a file.
    """
    with _interrupts() as is_interrupted:
        was_ended = _asked_rarely(is_ended)

        def has_ended() -> bool:
            return is_interrupted.is_set() or was_ended()

        left = deadline - time.time()
        if task.network > 0 and (left <= 0 or has_ended()):
            return None
        workload = _workload_of(contents) if isinstance(contents, WorkloadFile) else contents
        pace = Pace(left, n_rounds, least_share(task.network, _N_AT_ONCE), has_ended)
        try:
            trained = train_task(workload, task, pace=pace)
        except EndedError:
            return None
        return TrainedFile.beside(contents, trained) if isinstance(contents, WorkloadFile) else trained


def outcome_of(k: int, *arguments: Any) -> tuple[int, Any]:
    """Return the index of a task with what `train_carried` returns or raises, so that an error ends no other task."""
    try:
        return k, train_carried(*arguments)
    except Exception as error:
        return k, error


def _asked_rarely(is_ended: Callable[[], bool]) -> Callable[[], bool]:
    """Return a function that passes on a question at most every `_QUESTION_SECONDS`, until the answer is yes."""
    asked_at, answer = -math.inf, False

    def has_ended() -> bool:
        nonlocal asked_at, answer
        now = time.monotonic()
        if not answer and now - asked_at > _QUESTION_SECONDS:
            asked_at, answer = now, is_ended()
        return answer

    return has_ended


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

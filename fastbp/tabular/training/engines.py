"""What can train networks in place of threads: executors, the backends of joblib, and Dask.

It knows them by what they offer, and imports neither joblib nor Dask by itself. It must not know workloads or tasks.
"""

from __future__ import annotations

import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, NamedTuple

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


def dask_client(engine: Engine) -> Any:
    """Return the client of an executor of Dask, or None for another engine."""
    is_dask = type(engine).__module__.partition(".")[0] == "distributed"
    return engine._client if is_dask else None  # type: ignore[union-attr]  # Dask has no public name for the client


def is_local(engine: Engine) -> bool:
    """Return whether an engine's workers are processes of this machine."""
    if isinstance(engine, JoblibEngine):
        return type(engine.backend).__name__ in _LOCAL_PROCESSES
    is_loky = any("loky" in kind.__module__.split(".") for kind in type(engine).__mro__)
    return is_loky or isinstance(engine, ProcessPoolExecutor)

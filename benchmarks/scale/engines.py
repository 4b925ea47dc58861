"""The table of engines: the same networks in threads, in processes and on a Dask cluster, with a hash of each model.

The cluster is on the loopback address.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks.scale import tables
from benchmarks.scale.processes import digits, timed

ENGINES = ("threads", "joblib, loky", "spawned processes", "Dask, two workers")
N_WORKERS = 2
HEADER = ("engine", "start, s", "fit, wall s", "hash of the model's parameters")


@contextlib.contextmanager
def started(engine: str) -> Iterator[Any]:
    """Start one of ENGINES; yield what `fit` takes as its executor."""
    if engine == "joblib, loky":
        import joblib

        with joblib.parallel_config("loky", n_jobs=N_WORKERS):
            yield None
    elif engine == "spawned processes":
        with ProcessPoolExecutor(N_WORKERS, mp_context=multiprocessing.get_context("spawn")) as executor:
            yield executor
    elif engine == "Dask, two workers":
        from distributed import Client, LocalCluster

        place = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
        with LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, **place) as cluster, Client(cluster) as client:
            yield client.get_executor()
    else:
        yield None


def digest(model: Any) -> str:
    """Return a hash of all weights and biases."""
    sha = hashlib.sha256()
    for network in model.model_.networks:
        for array in (*network.weights, *network.biases):
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def fit(engine: str, n_rows: int, n_estimators: int, epochs: int) -> dict[str, Any]:
    """Train on one engine, after a small training that starts it."""
    from fastbp.tabular import TabularClassifier

    X, y = tables.make(n_rows)
    model = TabularClassifier(n_estimators=n_estimators, epochs=epochs)
    with contextlib.ExitStack() as stack:

        def start() -> Any:
            executor = stack.enter_context(started(engine))
            TabularClassifier(n_estimators=N_WORKERS, epochs=1).fit(X[:600], y[:600], executor=executor)
            return executor

        executor, starting = timed(start)
        _, took = timed(lambda: model.fit(X, y, executor=executor))
    return {"start": starting["wall"], "wall": took["wall"], "hash": digest(model)}


def line(engine: str, found: dict[str, Any]) -> list[str]:
    """Return one line of the table."""
    return [engine, digits(found["start"]), digits(found["wall"]), f"`{found['hash']}`"]

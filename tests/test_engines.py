"""Networks in other processes and on a Dask cluster: the same bits, also after a worker was killed."""

import hashlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor
from test_ensemble import SlowClasses, assert_same_networks, tasks, workload

from fastbp.tabular import TabularClassifier, TabularRegressor
from fastbp.tabular.training import engines, pool
from fastbp.tabular.training.engines import FileParcel, JoblibEngine, Parcel, active_engine, train_carried
from fastbp.tabular.training.parts import Task
from fastbp.tabular.training.recipe import train_task

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning:distributed", "default::ResourceWarning")

ROWS = np.random.default_rng(0).standard_normal((400, 3))
FRAME = pd.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1], "c": np.where(ROWS[:, 2] > 0, "x", "y")})
LABELS = np.where(ROWS[:, 0] + (ROWS[:, 2] > 0) > 0, "yes", "no")


def model(**settings):
    return TabularClassifier(**{"n_estimators": 4, "epochs": 5, "hidden_layer_sizes": (16,), **settings})


def digest(fitted):
    sha = hashlib.sha256()
    for network in fitted.model_.networks:
        for array in (*network.weights, *network.biases):
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def wanted():
    return digest(model().fit(FRAME, LABELS))


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster, timeout="60s") as made:
        yield made


@contextmanager
def spawned(n=2):
    with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as processes:
        yield processes


# --- the same bits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_backend_of_joblib_trains_the_same_networks(backend, wanted, monkeypatch):
    reports, in_threads = [], []
    start = pool._Threads.start
    monkeypatch.setattr(pool._Threads, "start", lambda *each: in_threads.append(start(*each)))
    with joblib.parallel_config(backend, n_jobs=2):
        assert digest(model(callback=reports.append).fit(FRAME, LABELS)) == wanted
    assert bool(in_threads) == (backend == "threading")
    assert {report.network for report in reports if report.is_over} >= {0, 1, 2, 3}


def test_executors_of_processes_train_the_same_networks(wanted):
    with spawned() as processes:
        assert digest(model().fit(FRAME, LABELS, executor=processes)) == wanted
    with get_reusable_executor(2) as own:  # joblib cannot take over an executor that it did not make
        assert digest(model().fit(FRAME, LABELS, executor=own)) == wanted


def test_a_dask_cluster_trains_the_same_networks_and_reports_each(client, wanted):
    reports = []
    assert digest(model(callback=reports.append).fit(FRAME, LABELS, executor=client.get_executor())) == wanted
    assert sorted(report.network for report in reports) in ([0, 1, 2, 3], [0, 1, 2, 3, 4])
    with joblib.parallel_config("dask"):
        assert type(active_engine(-1)).__module__.startswith("distributed")
        assert digest(model().fit(FRAME, LABELS)) == wanted


def test_only_a_chosen_backend_of_processes_takes_the_place_of_threads():
    assert active_engine(-1) is None
    with joblib.parallel_config("threading"):
        assert active_engine(-1) is None
    with joblib.parallel_config("loky"):
        assert active_engine(1) is None
        assert isinstance(active_engine(3), JoblibEngine)
        assert active_engine(3).n_jobs == 3
    with joblib.parallel_config("loky", n_jobs=2):
        assert joblib.Parallel()([joblib.delayed(active_engine)(-1)]) == [None]  # inside, threads


def test_a_search_on_a_cluster_trains_in_threads_of_its_workers(client):
    with joblib.parallel_config("dask"):
        (inside,) = joblib.Parallel()([joblib.delayed(_fit_inside)()])
    assert inside == digest(model(n_estimators=2).fit(FRAME, LABELS))
    assert client.nthreads()


def _fit_inside():
    assert active_engine(-1) is None
    return digest(model(n_estimators=2).fit(FRAME, LABELS))


# --- what travels -----------------------------------------------------------------------------------------------


def test_a_task_of_a_process_is_small_and_a_worker_reads_the_table_once(monkeypatch):
    shared = workload(n=20_000)
    with spawned(1) as processes:
        parcel = engines.parcel_for(processes, shared)
        assert engines.parcel_for(processes, shared) is parcel
    call = train_carried, parcel.contents, parcel.is_ended, tasks()[0], 1e18, True
    assert len(pickle.dumps(call)) < 1000 < 100_000 < len(pickle.dumps(shared))
    reads, read = [], engines.WorkloadFile.read
    monkeypatch.setattr(engines.WorkloadFile, "read", lambda file: reads.append(file) or read(file))
    for task in tasks():
        trained = train_carried(parcel.contents, parcel.is_ended, task, 1e18, True)
        np.testing.assert_array_equal(trained.output, train_task(shared, task).output)
    assert len(reads) == 1


def test_the_file_of_a_workload_is_removed_with_the_workload():
    shared = workload()
    parcel = FileParcel(shared)
    got = parcel.contents.read()
    np.testing.assert_array_equal(got.rows.X, shared.rows.X)
    folder = os.path.dirname(parcel.contents.path)
    assert os.path.exists(folder)
    del shared
    assert not os.path.exists(folder)


def test_dask_gets_the_table_once_per_worker(client):
    shared = workload(n=20_000)
    parcel = engines.parcel_for(client.get_executor(), shared)
    assert engines.parcel_for(client.get_executor(), shared) is parcel
    assert len(client.who_has([parcel.contents])[parcel.contents.key]) == len(client.nthreads()) == 2
    assert len(pickle.dumps((train_carried, parcel.is_ended, tasks()[0]))) < 1000


def test_another_executor_gets_the_table_with_each_task():
    class Unknown(ThreadPoolExecutor):
        pass

    assert type(engines.parcel_for(JoblibEngine(object(), 2), workload())) is Parcel
    with Unknown(2) as unknown:
        assert_same_networks(
            pool.train_all(workload(), tasks(), executor=unknown), pool.train_all(workload(), tasks(), n_threads=1)
        )


# --- the end of a training --------------------------------------------------------------------------------------


def slow():
    from dataclasses import replace

    from test_ensemble import RECIPE

    return workload(SlowClasses, replace(RECIPE, epochs=10_000))


@pytest.mark.parametrize("kind", ["pool", "loky", "dask", "threads"])
def test_the_end_reaches_networks_that_workers_have_begun(kind, request):
    started = time.monotonic()
    threading.Timer(4, os.kill, [os.getpid(), signal.SIGINT]).start()  # wakes the main thread
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if kind == "pool":
            with spawned() as executor:
                ensemble = pool.train_all(slow(), tasks(3), executor=executor)
        elif kind == "threads":
            with ThreadPoolExecutor(2) as executor:
                ensemble = pool.train_all(slow(), tasks(3), executor=executor)
        elif kind == "loky":
            with joblib.parallel_config("loky", n_jobs=2):
                ensemble = pool.train_all(slow(), tasks(3), executor=active_engine(2))
        else:
            cluster = request.getfixturevalue("client")
            cluster.run(sys.path.insert, 0, os.path.dirname(__file__))
            ensemble = pool.train_all(slow(), tasks(3), executor=cluster.get_executor())
    finally:
        signal.signal(signal.SIGINT, before)
    assert ensemble.is_interrupted
    assert 1 <= len(ensemble.trained) <= 2
    assert all(len(trained.errors) < 10_000 for trained in ensemble.trained)
    assert time.monotonic() - started < 60


def test_the_budget_reaches_networks_that_workers_have_begun():
    with spawned() as executor:
        ensemble = pool.train_all(slow(), tasks(3), time_budget=5, executor=executor)
    assert not ensemble.is_ended
    assert len(ensemble.trained) >= 1


# --- killed workers ---------------------------------------------------------------------------------------------


def long_model(**settings):
    return model(epochs=400, patience=None, hidden_layer_sizes=(64, 64), **settings)


@pytest.fixture(scope="module")
def long_wanted():
    return digest(long_model().fit(FRAME, LABELS))


class Killer:
    """Kills a process when the first network is over, while others are on their way."""

    def __init__(self, find_pid):
        self.find_pid, self.killed = find_pid, []

    def __call__(self, progress):  # noqa: ARG002 (a callback)
        if not self.killed:
            self.killed.append(self.find_pid())
            os.kill(self.killed[0], signal.SIGKILL)


def worker_pids():
    """Return the processes of this process that loky started."""
    return [process.pid for process in get_reusable_executor()._processes.values()]


def test_a_killed_worker_of_dask_loses_only_its_task(client, long_wanted):
    client.wait_for_workers(2, timeout=60)
    killer = Killer(lambda: next(iter(client.run(os.getpid).values())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = long_model(callback=killer).fit(FRAME, LABELS, executor=client.get_executor())
    assert killer.killed
    assert digest(fitted) == long_wanted
    client.wait_for_workers(2, timeout=60)


def test_a_killed_worker_of_a_pool_is_replaced_by_threads_with_one_warning(long_wanted):
    with spawned() as processes:
        killer = Killer(lambda: next(iter(processes._processes)))
        with pytest.warns(RuntimeWarning, match="a worker process died") as caught:
            fitted = long_model(callback=killer).fit(FRAME, LABELS, executor=processes)
    assert killer.killed
    assert digest(fitted) == long_wanted
    assert sum("worker process died" in str(each.message) for each in caught) == 1


def test_a_killed_worker_of_loky_is_replaced_by_a_new_one(long_wanted):
    joblib.Parallel(2, backend="loky")([joblib.delayed(os.getpid)() for _ in range(4)])
    killer = Killer(lambda: _first_child_of_loky())
    with joblib.parallel_config("loky", n_jobs=2), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = long_model(callback=killer).fit(FRAME, LABELS)
    assert killer.killed
    assert digest(fitted) == long_wanted
    assert sum("in new processes" in str(each.message) for each in caught) == 1


def _first_child_of_loky():
    from joblib.externals.loky import reusable_executor

    return next(iter(reusable_executor._executor._processes))


def test_a_task_that_kills_every_worker_is_an_error(monkeypatch):
    monkeypatch.setattr(engines.WorkloadFile, "write", lambda *_: None)
    monkeypatch.setattr(pool, "outcome_of", _die)
    with joblib.parallel_config("loky", n_jobs=2), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BrokenProcessPool):
            pool.train_all(workload(), tasks(), executor=active_engine(2))


def _die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


# --- a cache that is empty --------------------------------------------------------------------------------------


def test_two_workers_with_an_empty_cache_compile_each_function_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    with spawned() as processes:
        ensemble = pool.train_all(workload(), [Task(k, 0, True, 0) for k in range(2)], executor=processes)
    np.testing.assert_array_equal(ensemble.trained[0].output, ensemble.trained[1].output)
    files = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.suffix not in (".lock", ".tmp")}
    code = (
        "import fastbp.startup; d = fastbp.startup.diagnose(); print(len(d.problems), sum(map(len, d.kept.values())))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert out.split()[0] == "0"
    assert int(out.split()[1]) > 0
    assert {path: path.stat().st_ino for path in files} == files


# --- Dask frames ------------------------------------------------------------------------------------------------


def dask_frame(rows=FRAME):
    return pytest.importorskip("dask.dataframe").from_pandas(rows, npartitions=3)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_dask_frame_is_predicted_lazily_by_partitions(method):
    fitted = model().fit(FRAME, LABELS)
    lazy = getattr(fitted, method)(dask_frame())
    assert lazy.npartitions == 3
    got = lazy.compute(scheduler="synchronous")
    np.testing.assert_array_equal(np.asarray(got), getattr(fitted, method)(FRAME))
    assert got.index.equals(FRAME.index)
    assert np.all(got.dtypes == lazy.dtypes)
    if method == "predict_proba":
        assert list(got.columns) == ["no", "yes"]


def test_intervals_of_a_dask_frame_and_empty_partitions():
    fitted = TabularRegressor(n_estimators=2, epochs=3, hidden_layer_sizes=(8,)).fit(FRAME, FRAME["a"])
    few = FRAME[FRAME["a"] > 1]
    lazy = dask_frame()
    lazy = lazy[lazy["a"] > 1]
    for coverage in ((), (0.8,)):
        got = fitted.predict_interval(lazy, *coverage).compute(scheduler="synchronous")
        np.testing.assert_allclose(got.to_numpy(), fitted.predict_interval(few, *coverage), rtol=1e-5)
    assert list(got.columns) == ["lower", "upper"]
    none = dask_frame()
    assert len(fitted.predict(none[none["a"] > 99]).compute(scheduler="synchronous")) == 0


def test_fit_asks_for_the_rows_of_a_dask_collection():
    lazy = dask_frame()
    with pytest.raises(TypeError, match=r"X is a Dask collection.*X\.compute\(\)"):
        model().fit(lazy, LABELS)
    with pytest.raises(TypeError, match=r"y is a Dask collection.*y\.compute\(\)"):
        model().fit(FRAME, lazy["c"])


def test_a_cancelled_task_of_an_executor_is_not_taken_for_a_death():
    future = Future()
    future.cancel()
    future.set_running_or_notify_cancel()
    reports = pool._Reports(tasks(1))
    with ThreadPoolExecutor(1) as executor:
        pool._Futures(executor, reports, None)._report(0, future)
    assert reports.outcomes == {0: None}
    assert reports.lost() == []

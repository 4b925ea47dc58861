"""Networks in other processes and on a Dask cluster: the same bits, also after a worker was killed."""

import hashlib
import math
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor
from test_ensemble import RECIPE, SlowClasses, assert_same_networks, tasks, workload

import fastbp
from fastbp.runs.threads import available_to_jobs, cores
from fastbp.tabular import TabularClassifier, TabularRegressor
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.training import pool, remote
from fastbp.tabular.training.engines import JoblibEngine, active_engine
from fastbp.tabular.training.parcels import FileParcel, Parcel, TrainedFile, WorkloadFile, parcel_for, train_carried
from fastbp.tabular.training.parts import Task
from fastbp.tabular.training.recipe import train_task

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
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
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
        assert digest(model(callback=reports.append, n_jobs=2).fit(FRAME, LABELS)) == wanted
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


def test_a_task_and_its_result_are_small_and_a_worker_reads_the_table_once(monkeypatch):
    shared = workload(n=20_000)
    with spawned(1) as processes:
        parcel = parcel_for(processes, shared)
        assert parcel_for(processes, shared) is parcel
    call = train_carried, parcel.contents, parcel.is_ended, tasks()[0], math.inf, 1
    assert len(pickle.dumps(call)) < 1000 < 100_000 < len(pickle.dumps(shared))
    reads, read = [], WorkloadFile.read
    monkeypatch.setattr(WorkloadFile, "read", lambda file: reads.append(file) or read(file))
    for task in tasks():
        trained = train_carried(parcel.contents, parcel.is_ended, task, math.inf, 1)
        assert isinstance(trained, TrainedFile)
        assert len(pickle.dumps((task.network, trained))) < select.PIPE_BUF // 4  # a pipe takes all of it, or nothing
        np.testing.assert_array_equal(trained.take().output, train_task(shared, task).output)
        assert not os.path.exists(trained.path)
    assert len(reads) == 1


def test_a_result_that_cannot_be_read_is_an_error():
    shared = workload()
    parcel = FileParcel(shared)
    lost = train_carried(parcel.contents, parcel.is_ended, tasks()[0], math.inf, 1)
    os.remove(lost.path)
    assert isinstance(remote._received(lost), FileNotFoundError)


def test_the_file_of_a_workload_is_removed_with_the_workload():
    shared = workload()
    parcel = FileParcel(shared)
    got = parcel.contents.read()
    np.testing.assert_array_equal(got.rows.X.codes, shared.rows.X.codes)
    folder = os.path.dirname(parcel.contents.path)
    assert os.path.exists(folder)
    del shared
    assert not os.path.exists(folder)


def test_dask_gets_the_table_once_per_worker(client):
    shared = workload(n=20_000)
    parcel = parcel_for(client.get_executor(), shared)
    assert parcel_for(client.get_executor(), shared) is parcel
    assert len(client.who_has([parcel.contents])[parcel.contents.key]) == len(client.nthreads()) == 2
    assert len(pickle.dumps((train_carried, parcel.is_ended, tasks()[0]))) < 1000
    key = parcel.contents.key
    del shared, parcel
    for _ in range(100):  # the workers forget the table with the training
        if not client.run_on_scheduler(lambda dask_scheduler: key in dask_scheduler.tasks):
            return
        time.sleep(0.1)
    pytest.fail("the table is still there")


def test_another_executor_gets_the_table_with_each_task():
    class Unknown(ThreadPoolExecutor):
        pass

    assert type(parcel_for(JoblibEngine(object(), 2), workload())) is Parcel
    with Unknown(2) as unknown:
        assert_same_networks(
            pool.train_all(workload(), tasks(), executor=unknown), pool.train_all(workload(), tasks(), n_threads=1)
        )


# --- a worker's share of its machine ------------------------------------------------------------------------------


def test_a_worker_has_its_own_share_of_the_threads(client):
    assert set(client.run(_threads_of_this_process).values()) == {("1", 1)}
    with joblib.parallel_config("loky", n_jobs=2):
        (of_loky,) = joblib.Parallel()([joblib.delayed(_threads_of_this_process)()])
    share = max(1, cores() // 2)
    assert of_loky == (str(share), share)


def _threads_of_this_process():
    return os.environ.get("OMP_NUM_THREADS"), available_to_jobs()


def test_workers_of_a_cluster_compile_ahead_of_time(client):
    folders = client.run(fastbp.warmup, ["float32"])
    assert len(folders) == 2
    assert set(folders.values()) == {fastbp.warmup(["float32"])}  # of this machine, which has one home


# --- the end of a training --------------------------------------------------------------------------------------


def slow():
    return workload(SlowClasses, replace(RECIPE, epochs=10_000))


@contextmanager
def executor_of(kind, request):
    if kind == "pool":
        with spawned() as executor:
            yield executor
    elif kind == "loky":
        with joblib.parallel_config("loky", n_jobs=2):
            yield active_engine(2)
    elif kind == "threads":
        with ThreadPoolExecutor(2) as executor:
            yield executor
    else:
        client = request.getfixturevalue("client")
        client.wait_for_workers(2, timeout=60)
        yield client.get_executor()


def executor_is_warm(executor):
    """Train two networks, so that the workers have started and have loaded compiled code."""
    pool.train_all(workload(), tasks(2), executor=executor)


@pytest.mark.parametrize("kind", ["pool", "loky", "dask", "threads"])
def test_ctrl_c_reaches_networks_that_workers_have_begun(kind, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with executor_of(kind, request) as executor:
            executor_is_warm(executor)
            started = time.monotonic()
            threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGINT]).start()  # wakes the main thread
            ensemble = pool.train_all(slow(), tasks(3), executor=executor)
            seconds = time.monotonic() - started
    finally:
        signal.signal(signal.SIGINT, before)
    assert ensemble.is_interrupted
    assert 1 <= len(ensemble.trained) <= 2
    assert all(1 <= len(trained.errors) < 10_000 for trained in ensemble.trained)
    assert seconds < 30  # a network has 200 seconds of epochs


@pytest.mark.parametrize("kind", ["pool", "loky", "dask"])
def test_the_budget_reaches_networks_that_workers_have_begun(kind, request):
    with executor_of(kind, request) as executor:
        executor_is_warm(executor)
        started = time.monotonic()
        ensemble = pool.train_all(slow(), tasks(3), time_budget=2, executor=executor)
    assert time.monotonic() - started < 30  # a network has 200 seconds of epochs
    assert not ensemble.is_ended
    assert 1 <= len(ensemble.trained) <= 2
    assert all(1 <= len(trained.errors) < 10_000 for trained in ensemble.trained)


# --- killed workers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedClasses(Classes):
    """Writes down which process begins a training, and takes a while to judge an epoch."""

    folder: str = ""

    def loss(self, *args):
        Path(self.folder, f"{time.time_ns()}-{os.getpid()}-{uuid.uuid4().hex}").touch()
        return super().loss(*args)

    def validation_errors(self, *args):
        time.sleep(0.02)
        return super().validation_errors(*args)

    def begun(self):
        """Return the process of each training that was begun, in their order."""
        return [int(path.name.split("-")[1]) for path in sorted(Path(self.folder).iterdir())]


def recorded(folder):
    folder.mkdir()
    shared = workload(RecordedClasses, replace(RECIPE, epochs=60, patience=None))
    return replace(shared, target=replace(shared.target, folder=str(folder)))


def killer_of(shared):
    """Return a callback that kills the process of the last network that was begun, in the middle of this network."""
    killed = []

    def kill(progress):
        if progress.is_over and not killed:
            while len(shared.target.begun()) < 3:  # the two workers go on with a third network
                time.sleep(0.01)
            time.sleep(0.2)  # of 1.2 seconds that it takes
            killed.append(shared.target.begun()[-1])
            os.kill(killed[0], signal.SIGKILL)

    return killed, kill


@pytest.mark.parametrize("kind", ["pool", "loky", "dask"])
def test_after_a_worker_was_killed_only_lost_networks_are_trained_again(kind, request, tmp_path):
    in_threads = pool.train_all(recorded(tmp_path / "threads"), tasks(5), n_threads=5)
    shared = recorded(tmp_path / kind)
    killed, kill = killer_of(shared)
    with executor_of(kind, request) as executor, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ensemble = pool.train_all(shared, tasks(5), callback=kill, executor=executor)
    assert_same_networks(ensemble, in_threads)
    begun = shared.target.begun()
    assert killed[0] in begun
    told = [str(each.message) for each in caught if "worker process died" in str(each.message)]
    if kind == "dask":  # a cluster gives the task to another worker, and nobody else notices
        assert len(begun) == 6
        assert not told
        executor._client.wait_for_workers(2, timeout=60)
    else:  # a pool ends with one of its processes, so that both of its tasks are lost
        assert 6 <= len(begun) <= 7
        assert len(told) == 1
        assert ("in new processes" if kind == "loky" else "in threads of this process") in told[0]
    assert ensemble.lost_executor == (kind == "pool")


def test_a_fit_goes_on_in_threads_with_one_warning_after_a_pool_died(wanted):
    killed = []

    def kill(_):
        if not killed:
            killed.append(next(iter(processes._processes)))
            os.kill(killed[0], signal.SIGKILL)

    with spawned() as processes, pytest.warns(RuntimeWarning, match="a worker process died") as caught:
        fitted = model(callback=kill).fit(FRAME, LABELS, executor=processes)
    assert digest(fitted) == wanted
    assert sum("worker process died" in str(each.message) for each in caught) == 1


def test_a_task_that_kills_every_worker_is_an_error(monkeypatch):
    monkeypatch.setattr(WorkloadFile, "write", lambda *_: None)
    monkeypatch.setattr(remote, "outcome_of", _die)
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
    got, whole = lazy.compute(scheduler="synchronous"), getattr(fitted, method)(FRAME)
    if method == "predict":
        np.testing.assert_array_equal(got, whole)
    else:  # the rounding depends on the rows that are predicted together
        np.testing.assert_allclose(got, whole, atol=1e-6)
    assert got.index.equals(FRAME.index)
    assert np.all(got.dtypes == lazy.dtypes)
    if method == "predict_proba":
        assert list(got.columns) == ["no", "yes"]


def test_workers_predict_a_dask_frame(client):
    fitted = TabularRegressor(n_estimators=1, epochs=2, hidden_layer_sizes=(8,)).fit(FRAME, FRAME["a"])
    got = client.compute(fitted.predict(dask_frame())).result(timeout=60)
    np.testing.assert_allclose(got, fitted.predict(FRAME), rtol=1e-5, atol=1e-6)


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
    none = none[none["a"] > 99]
    assert len(fitted.predict(none).compute(scheduler="synchronous")) == 0
    classes = model().fit(FRAME, LABELS)
    for lazy in (classes.predict(none), classes.predict_proba(none)):
        got = lazy.compute(scheduler="synchronous")
        assert len(got) == 0
        assert np.all(got.dtypes == lazy.dtypes)


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
        remote.FutureTrainer(executor, reports.finish, None)._report(0, future)
    assert reports.outcomes == {0: None}
    assert reports.lost() == []

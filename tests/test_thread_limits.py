"""Limits of threads that others set: environment, threadpoolctl, workers; and one BLAS thread in L-BFGS."""

import os
import sys
import threading
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import scipy.optimize
import threadpoolctl

from fastbp import SGD, Network
from fastbp.runs import fitting, threads
from fastbp.runs.threads import available, available_to_jobs
from fastbp.sklearn import MLPRegressor, lbfgs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((330, 5))
Y = RNG.standard_normal((330, 1))


@pytest.fixture(autouse=True)
def without_limits(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


# --- what others allow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [("1", 1), ("3", 3), (" 2 ", 2), ("4,2", 4), ("99", 8), ("0", 8), ("", 8), ("-1", 8), ("all", 8), ("1.5", 8)],
)
def test_the_environment_limits_the_threads(name, value, wanted, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "_libraries", lambda _: [])
    monkeypatch.setenv(name, value)
    assert available() == wanted


@pytest.mark.parametrize(
    ("libraries", "wanted"),
    [
        ([], 8),
        ([("blas", 1)], 1),
        ([("blas", 1), ("openmp", 8)], 8),  # a limit for BLAS alone, or a BLAS without threads
        ([("blas", 8), ("openmp", 1)], 1),
        ([("openmp", 1), ("openmp", 4)], 4),  # one of two libraries has a limit of its own
        ([("blas", None)], 8),  # threadpoolctl does not know the number
    ],
)
def test_threadpoolctl_limits_the_threads(libraries, wanted, monkeypatch):
    views = [SimpleNamespace(user_api=api, num_threads=number) for api, number in libraries]
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "_libraries", lambda _: views)
    assert available() == wanted


def test_libraries_are_listed_again_only_after_an_import(monkeypatch):
    made = []

    def controller():
        made.append(len(made))
        return SimpleNamespace(lib_controllers=[SimpleNamespace(user_api="openmp", num_threads=1)])

    threads._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(ThreadpoolController=controller))
    assert (available(), available(), len(made)) == (1, 1, 1)
    monkeypatch.setitem(sys.modules, "a_module_with_a_library", None)
    assert (available(), len(made)) == (1, 2)
    threads._libraries.cache_clear()


def test_a_threadpoolctl_that_fails_is_no_limit(monkeypatch):
    def controller():
        raise PermissionError("/proc/self/maps")

    monkeypatch.setattr(threads, "cores", lambda: 8)
    for module in (SimpleNamespace(ThreadpoolController=controller), SimpleNamespace()):
        threads._libraries.cache_clear()
        monkeypatch.setitem(sys.modules, "threadpoolctl", module)
        assert available() == 8
    threads._libraries.cache_clear()


def numbers_of_threads(monkeypatch, **options):
    """Return the numbers of threads of a fit that is worth sharing."""
    seen = set()
    train = fitting.train
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "train", lambda *arguments: seen.add(arguments[-1].n_threads) or train(*arguments))
        patch.setattr(threads, "_FIRST_TRIAL", 0.0)
        options = {"batch_size": 110, "epochs": 10, "optimizer": SGD(1e-6), **options}
        Network((5, 256, 256, 1), seed=0).fit(X, Y, **options)
    return seen


def test_a_fit_honours_limits_that_are_set_when_it_begins(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.setattr(threads, "_libraries", lambda _: [])
    assert 2 in numbers_of_threads(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        assert numbers_of_threads(monkeypatch) == {1}
        assert 2 in numbers_of_threads(monkeypatch, n_threads=2)
    assert 2 in numbers_of_threads(monkeypatch)


def test_a_fit_honours_the_limits_of_threadpoolctl_itself(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    with threadpoolctl.threadpool_limits(1):
        assert numbers_of_threads(monkeypatch) == {1}
        assert 2 in numbers_of_threads(monkeypatch, n_threads=2)
    with threadpoolctl.threadpool_limits(2):
        assert 2 in numbers_of_threads(monkeypatch)


def in_worker():
    return os.getpid(), available(), available_to_jobs()


def test_the_workers_of_joblib_share_the_cores():
    share = max(1, joblib.cpu_count() // 2)
    for pid, *counts in joblib.Parallel(2, backend="loky")(joblib.delayed(in_worker)() for _ in range(2)):
        assert pid != os.getpid()
        assert counts == [share, share]
    joblib.externals.loky.get_reusable_executor().shutdown()


def test_all_jobs_means_all_cores_whatever_the_users_environment_says(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (available(), available_to_jobs()) == (1, 8)


# --- BLAS -----------------------------------------------------------------------------------------------------


def blas_threads():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


def test_lbfgs_keeps_blas_to_one_thread(monkeypatch):
    seen, minimize = [], scipy.optimize.minimize

    def watched(*arguments, **options):
        seen.append(blas_threads())
        return minimize(*arguments, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", watched)
    vectors = []
    for n in (3, 2):
        with threadpoolctl.threadpool_limits(n, user_api="blas"):
            before = blas_threads()
            model = MLPRegressor(hidden_layer_sizes=(2000,), solver="lbfgs", max_iter=15, random_state=0, tol=0.0)
            with pytest.warns(UserWarning, match="converge"):
                model.fit(X, Y.ravel())
            assert blas_threads() == before
        vectors.append(np.concatenate([each.ravel() for each in (*model.coefs_, *model.intercepts_)]).tobytes())
    assert all(number == 1 for numbers in seen for number in numbers)
    assert vectors[0] == vectors[1]


def test_the_last_of_several_minimisations_restores_the_threads_of_blas():
    entered, others_entered, left, ended = (threading.Event() for _ in range(4))

    def first():
        with lbfgs._one_blas_thread():
            entered.set()
            others_entered.wait(30)
        left.set()
        ended.wait(30)  # the thread lives on

    before = blas_threads()
    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(30)
    with lbfgs._one_blas_thread():
        others_entered.set()
        assert left.wait(30)
        assert all(number == 1 for number in blas_threads())
    assert blas_threads() == before
    ended.set()
    thread.join()

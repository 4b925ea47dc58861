"""Folds, and networks that are trained at the same time: in threads, and through executors."""

import multiprocessing
import pickle
import signal
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from queue import SimpleQueue

import numpy as np
import pytest

from fastbp.kernels.codes import BINS, VALUE
from fastbp.results import DivergenceError, Progress
from fastbp.tabular.encoding.coded import CodedRows, spans_of
from fastbp.tabular.encoding.target import Classes, Quantity
from fastbp.tabular.training import pool
from fastbp.tabular.training.folds import folds
from fastbp.tabular.training.judging import better_of
from fastbp.tabular.training.parts import EncodedRows, Member, Recipe, Task, Trained, Workload
from fastbp.tabular.training.pool import train_all
from fastbp.tabular.training.recipe import train_task

RECIPE = Recipe("log_loss", hidden_layer_sizes=(8,), epochs=5, batch_size=16, learning_rate=0.04)

# --- folds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n_networks"), [(1, 1), (5, 5), (8, 8), (20, 20), (5, 7)])
def test_each_row_is_held_out_once_before_any_is_held_out_twice(k, n_networks):
    held_out = folds(103, k, n_networks, 0)
    assert len(held_out) == n_networks
    counts = np.bincount(np.concatenate(held_out), minlength=103)
    assert counts.max() - counts.min() <= 1
    parts = 5 if k <= 5 else min(k, 10)
    assert {len(rows) for rows in held_out} <= {103 // parts, 103 // parts + 1}


def test_each_fold_has_its_share_of_each_class():
    classes = np.repeat([0, 1, 2], [100, 50, 25])
    for rows in folds(175, 5, 5, 0, classes):
        np.testing.assert_array_equal(np.bincount(classes[rows]), [20, 10, 5])


def test_a_class_always_keeps_a_row_to_train_on():
    classes = np.array([0, 0, 1, 2, 2, 2, *[3] * 14])
    for seed in range(20):
        for rows in folds(20, 5, 5, seed, classes):
            assert set(np.delete(classes, rows)) == {0, 1, 2, 3}


def test_rows_of_a_group_are_held_out_together():
    groups = np.random.default_rng(0).integers(0, 17, 300)
    held_out = folds(300, 5, 5, 0, groups=groups)
    for rows in held_out:
        assert not set(groups[rows]) & set(np.delete(groups, rows))
        assert 30 <= len(rows) <= 90
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), np.arange(300))
    with pytest.raises(ValueError, match="only one group"):
        folds(300, 5, 5, 0, groups=np.zeros(300))


def test_the_seed_decides_which_rows_are_held_out():
    same = [folds(100, 5, 1, 3)[0].tolist() for _ in range(2)]
    assert same[0] == same[1] != folds(100, 5, 1, 4)[0].tolist()


# --- networks at the same time ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlowClasses(Classes):
    """Takes a while to judge an epoch."""

    def validation_errors(self, output, y, weights, metric, quantile, parts):  # noqa: ARG002
        time.sleep(0.02)
        return [0.0] * len(parts)


@dataclass(frozen=True)
class FailingClasses(Classes):
    """Cannot judge an epoch."""

    def validation_errors(self, output, y, weights, metric, quantile, parts):  # noqa: ARG002
        raise RuntimeError("out of luck")


def workload(kind=Classes, recipe=RECIPE, n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3)).astype(np.float32)
    target = Quantity("y", 0.0, 1.0, -9.0, 9.0) if kind is Quantity else kind("y", ("no", "yes"))
    y = X[:, 0].astype(float) if kind is Quantity else (X[:, 0] > 0).astype(int)
    folds_of_rows = (np.arange(10), np.arange(10, 20))
    coded = CodedRows(
        np.hstack([X, np.zeros((n, 1), np.float32), X[:, :1] / 9]), spans_of([(VALUE, 1)] * 3 + [(BINS, 1)])
    )
    return Workload(EncodedRows(coded, y, np.ones(n)), None, folds_of_rows, np.arange(n) % 2, target, recipe)


def tasks(n_networks=3):
    return [Task(network=k, fold=k % 2, sees_bins=k != 1, seed=k) for k in range(n_networks)]


def assert_same_networks(got, wanted):
    assert got.tasks == wanted.tasks
    for a, b in zip(got.trained, wanted.trained, strict=True):
        np.testing.assert_array_equal(a.output, b.output)
        assert (a.epoch, a.losses, a.errors) == (b.epoch, b.losses, b.errors)
        for ours, theirs in zip(a.network.weights, b.network.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_networks_are_the_same_for_any_number_of_threads(n_threads):
    together = train_all(workload(), tasks(), n_threads=n_threads)
    assert_same_networks(together, train_all(workload(), tasks(), n_threads=1))
    assert together.tasks == tasks()
    assert not together.is_ended


@pytest.mark.parametrize("kind", [Classes, Quantity])
def test_networks_are_the_same_in_threads_of_an_executor_and_in_other_processes(kind):
    recipe = replace(RECIPE, metric="rmse") if kind is Quantity else RECIPE
    wanted = train_all(workload(kind, recipe), tasks(), n_threads=2)
    with ThreadPoolExecutor(2) as threads:
        assert_same_networks(train_all(workload(kind, recipe), tasks(), executor=threads), wanted)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert_same_networks(train_all(workload(kind, recipe), tasks(), executor=processes), wanted)


def test_a_task_is_small_for_any_number_of_rows_and_a_workload_is_pickled_without_its_packed_rows():
    shared = workload(n=20_000)
    assert len(pickle.dumps(tasks()[0])) < 1000
    before = len(pickle.dumps(shared))
    train_task(shared, tasks()[0])
    rows = shared.packed[True]
    train_task(shared, tasks()[2])
    assert list(shared.packed) == [True]
    assert shared.packed[True] is rows
    assert len(pickle.dumps(shared)) == before
    assert pickle.loads(pickle.dumps(shared)).packed == {}


def test_validation_rows_replace_the_held_out_rows():
    X, y, weights = workload().rows
    few = replace(X, codes=X.codes[:20])
    shared = replace(workload(), validation=EncodedRows(few, y[:20], weights[:20]), folds=(np.arange(20),))
    changed = replace(shared, validation=EncodedRows(few, 1 - y[:20], weights[:20]))
    one, other = (train_task(work, tasks()[0]) for work in (shared, changed))
    assert one.output.shape == (20, 2)
    assert one.losses == other.losses
    assert one.errors != other.errors
    flipped = replace(shared, rows=EncodedRows(X, np.where(np.arange(60) < 20, 1 - y, y), weights))
    assert train_task(flipped, tasks()[0]).losses != one.losses  # row numbers of the fold are not left out here


# --- progress, and the end of a training ------------------------------------------------------------------------


def test_progress_is_reported_after_each_epoch_and_at_the_end():
    events = []
    train_all(workload(), tasks(2), n_threads=2, callback=events.append)
    for k in range(2):
        of_one = [event for event in events if event.network == k]
        assert [event.epoch for event in of_one[:-1]] == [1, 2, 3, 4, 5]
        assert [event.is_over for event in of_one] == [False] * 5 + [True]
        assert all(isinstance(event, Progress) and event.loss > 0 for event in of_one)
        best = of_one[of_one[-1].epoch - 1]
        assert of_one[-1] == best._replace(is_over=True)


def test_an_executor_reports_each_network_when_it_is_over():
    events = []
    with ThreadPoolExecutor(2) as executor:
        ensemble = train_all(workload(), tasks(3), callback=events.append, executor=executor)
    assert sorted(event.network for event in events) == [0, 1, 2]
    assert {(event.network, event.epoch, event.is_over) for event in events} == {
        (task.network, trained.epoch, True) for task, trained in zip(ensemble.tasks, ensemble.trained, strict=True)
    }


@pytest.mark.parametrize("end", [True, np.True_])
def test_a_callback_that_returns_true_ends_the_training_without_an_interruption(end):
    shared = workload(SlowClasses, replace(RECIPE, epochs=1000))
    ensemble = train_all(shared, tasks(3), n_threads=1, callback=lambda progress: end)  # noqa: ARG005
    assert ensemble.is_ended
    assert not ensemble.is_interrupted
    assert [len(trained.errors) < 1000 for trained in ensemble.trained] == [True]


def test_a_callback_that_returns_another_true_value_ends_nothing():
    ensemble = train_all(workload(), tasks(2), callback=lambda progress: progress.epoch)
    assert [len(trained.errors) for trained in ensemble.trained] == [5, 5]
    assert not ensemble.is_ended


def test_a_spent_budget_leaves_the_networks_that_there_was_time_for():
    shared = workload(SlowClasses, replace(RECIPE, epochs=1000))
    ensemble = train_all(shared, tasks(9), n_threads=2, time_budget=0.3)
    assert 1 <= len(ensemble.trained) <= 2
    assert not ensemble.is_ended


def test_no_budget_at_all_makes_one_epoch_of_one_network():
    ensemble = train_all(workload(), tasks(9), n_threads=1, time_budget=1e-9)
    assert [len(trained.errors) for trained in ensemble.trained] == [1]


def test_a_budget_is_kept_by_an_executor_too():
    with ThreadPoolExecutor(2) as executor:
        ensemble = train_all(workload(), tasks(9), time_budget=1e-9, executor=executor)
    assert [task.network for task in ensemble.tasks] == [0]
    assert [len(trained.errors) for trained in ensemble.trained] == [1]


class InterruptedExecutor(Executor):
    """Trains a task when it is submitted, but for the last ones; a first Ctrl-C comes before these begin."""

    def __init__(self, n_begun):
        self.n_begun, self.waiting = n_begun, []

    def submit(self, function, /, *args):
        future = Future()
        if self.n_begun:
            self.n_begun -= 1
            future.set_running_or_notify_cancel()
            future.set_result(function(*args))
        else:
            self.waiting.append(future)
        return future


def interrupt(_):
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def default_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_interrupts")
def test_ctrl_c_ends_each_network_with_its_epoch():
    def at_epoch_2(progress):
        if progress.epoch == 2 and not progress.is_over:
            interrupt(progress)

    shared = workload(SlowClasses, replace(RECIPE, epochs=1000))
    ensemble = train_all(shared, tasks(3), n_threads=1, callback=at_epoch_2)
    assert ensemble.is_interrupted
    assert ensemble.is_ended
    assert [2 <= len(trained.errors) < 1000 for trained in ensemble.trained] == [True]


@pytest.mark.usefixtures("default_interrupts")
def test_a_second_ctrl_c_is_raised():
    with pytest.raises(KeyboardInterrupt):
        train_all(workload(SlowClasses, replace(RECIPE, epochs=1000)), tasks(2), n_threads=2, callback=interrupt)


@pytest.mark.usefixtures("default_interrupts")
def test_ctrl_c_cancels_what_an_executor_has_not_begun():
    executor = InterruptedExecutor(n_begun=2)
    ensemble = train_all(workload(), tasks(4), callback=lambda p: p.network == 0 and interrupt(p), executor=executor)
    assert ensemble.is_interrupted
    assert [task.network for task in ensemble.tasks] == [0, 1]
    assert all(future.cancelled() for future in executor.waiting)


class LosingQueue(SimpleQueue):
    """Ctrl-C comes right after the last report of a network has been taken, so the report is lost."""

    is_lossy = True

    def get(self):
        event = super().get()
        if self.is_lossy and not (isinstance(event, Progress) and not event.is_over):
            self.is_lossy = False
            raise KeyboardInterrupt
        return event


@pytest.mark.parametrize("kind", [None, ThreadPoolExecutor])
def test_ctrl_c_at_the_end_of_a_network_neither_loses_nor_waits_for_the_network(monkeypatch, kind):
    monkeypatch.setattr(pool, "SimpleQueue", LosingQueue)
    found = []

    def train_two():
        with nullcontext() if kind is None else kind(2) as executor:
            found.append(train_all(workload(), tasks(2), n_threads=2, executor=executor))

    thread = threading.Thread(target=train_two, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert found[0].is_interrupted
    assert len(found[0].trained) >= 1


def test_an_error_of_a_network_is_raised():
    with pytest.raises(RuntimeError, match="out of luck"):
        train_all(workload(FailingClasses), tasks(3), n_threads=2)
    with ThreadPoolExecutor(2) as executor, pytest.raises(RuntimeError, match="out of luck"):
        train_all(workload(FailingClasses), tasks(3), executor=executor)


def test_an_error_of_the_callback_is_raised_and_ends_the_training():
    def fail(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train_all(workload(), tasks(), n_threads=2, callback=fail)


def test_divergence_everywhere_is_an_error():
    wild = replace(RECIPE, metric="rmse", learning_rate=1e30, hidden_layer_sizes=(64, 64), batch_size=8)
    with pytest.raises(DivergenceError):
        train_all(workload(Quantity, wild), tasks(), n_threads=2)


# --- the better one of two networks -----------------------------------------------------------------------------


def members(outputs, sees_bins=(True, False)):
    rows = np.arange(len(outputs[0]))
    networks = [Trained(None, 1, o[:, np.newaxis], [0.0], [0.0], None, o[:, np.newaxis]) for o in outputs]
    return [Member(network, rows, bins) for network, bins in zip(networks, sees_bins, strict=True)]


def test_two_networks_for_a_quantile_are_compared_by_the_quantile_loss():
    y = np.random.default_rng(0).random(200)
    high, centre = np.full(200, 0.9), np.full(200, 0.5)  # the absolute error of 0.5 is smaller
    shared = replace(
        workload(Quantity, replace(RECIPE, metric="quantile", quantile=0.9)),
        rows=EncodedRows(CodedRows.of_inputs(y[:, np.newaxis]), y, y**0),
    )
    assert [member.sees_bins for member in better_of(members((high, centre)), shared)] == [True]


def test_two_networks_are_compared_by_the_weighted_errors_of_the_rows():
    rng = np.random.default_rng(0)
    y, weights = rng.standard_normal(200), np.where(np.arange(200) < 40, 4.9, 0.025)
    right_for_few, right_for_many = np.where(weights > 1, y, y + 1), np.where(weights > 1, y + 1, y)
    shared = replace(
        workload(Quantity, replace(RECIPE, metric="rmse")),
        rows=EncodedRows(CodedRows.of_inputs(y[:, np.newaxis]), y, weights),
    )
    kept = better_of(members((right_for_few, right_for_many)), shared)
    assert [member.sees_bins for member in kept] == [True]


def test_ctrl_c_while_threads_start_keeps_the_networks_that_are_trained(monkeypatch):
    from fastbp.tabular import TabularRegressor

    start, calls = pool._Threads.start, []

    def interrupted(self, *arguments):
        calls.append(self)
        if len(calls) == 2:  # the first two networks are trained, and the others begin
            raise KeyboardInterrupt
        start(self, *arguments)

    monkeypatch.setattr(pool._Threads, "start", interrupted)
    frame = {"a": np.random.default_rng(0).standard_normal(200)}
    model = TabularRegressor(n_estimators=6, hidden_layer_sizes=(8,), epochs=3)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(frame, np.sin(frame["a"]))
    assert len(calls) == 2
    assert 1 <= len(model.model_.networks) <= 2
    assert np.isfinite(model.predict(frame)).all()
    calls.clear()
    calls.append(None)
    with pytest.raises(KeyboardInterrupt):  # nothing is trained yet
        model.fit(frame, np.sin(frame["a"]))


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_after_ctrl_c_the_model_is_scored_on_a_few_held_out_rows(is_interrupted, is_large, monkeypatch):
    from fastbp.tabular import TabularClassifier
    from fastbp.tabular.training import build, parts

    for module in (build, parts):
        monkeypatch.setattr(module, "FEW_ROWS", 50 if is_large else 500)
    errors = [KeyboardInterrupt] if is_interrupted else []

    def interrupt_once(progress):
        if progress.is_over and progress.network == 1 and errors:  # two networks with the same held-out rows
            raise errors.pop()

    frame = {"a": np.random.default_rng(0).standard_normal(1000)}
    y = (np.sin(3 * frame["a"]) > 0).astype(int)
    model = TabularClassifier(n_estimators=6, hidden_layer_sizes=(8,), epochs=30, callback=interrupt_once, n_jobs=2)
    with pytest.warns(UserWarning, match="interrupted by user") if is_interrupted else nullcontext():
        model.fit(frame, y)
    n_networks, n_scored = len(model.model_.networks), model.model_.about["rows_held_out"]
    assert n_networks <= 2 if is_interrupted else n_networks >= 5
    assert n_scored == {(True, True): 50, (True, False): 200}.get((is_interrupted, is_large), 1000)
    wanted = ["the training was interrupted: only 50 held-out rows of each network are scored"]
    assert list(model.notices_) == (wanted if n_scored == 50 else [])
    assert model.score(frame, y) > 0.8
    assert model.scores_["accuracy"] > 0.8


@pytest.mark.parametrize("n_tasks", [1, 2, 5])
def test_an_executor_that_cancels_every_task_is_an_error_that_says_so(n_tasks):
    class Cancelling(Executor):
        def submit(self, _function, /, *_):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(RuntimeError, match="every task was cancelled from outside"):
        train_all(workload(), [Task(k, k, True, k) for k in range(n_tasks)], executor=Cancelling())

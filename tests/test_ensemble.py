"""Rows held out, and networks trained side by side."""

import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from fastbp import losses
from fastbp.runs.fitting import DivergenceError
from fastbp.tabular.training.pool import Progress, folds, train_all
from fastbp.tabular.training.recipe import Recipe, Task, table_of

RECIPE = Recipe(learning_rate=0.04, hidden=(8,), epochs=5, batch_size=16)
CROSS_ENTROPY = losses.resolve("cross_entropy")


@pytest.mark.parametrize(("k", "n_networks"), [(1, 1), (5, 5), (8, 8), (20, 20), (5, 7)])
def test_each_row_is_held_out_once_before_any_is_twice(k, n_networks):
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
    with pytest.raises(ValueError, match="one group alone"):
        folds(300, 5, 5, 0, groups=np.zeros(300))


def test_the_seed_decides_which_rows_are_held_out():
    same = [folds(100, 5, 1, 3)[0].tolist() for _ in range(2)]
    assert same[0] == same[1] != folds(100, 5, 1, 4)[0].tolist()


def tasks(n_networks=3, error_of=lambda _: 0.0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)).astype(np.float32)
    table = table_of(X, np.eye(2)[(X[:, 0] > 0).astype(int)], np.ones(60))
    return [Task(table, np.arange(10, 60), X[:10], error_of, seed) for seed in range(n_networks)]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_networks_are_the_same_whatever_the_number_of_threads(n_threads):
    alone = train_all(tasks(), 2, RECIPE, CROSS_ENTROPY, 1)
    together = train_all(tasks(), 2, RECIPE, CROSS_ENTROPY, n_threads)
    for a, b in zip(alone.trained, together.trained, strict=True):
        np.testing.assert_array_equal(a.output, b.output)
    assert together.tasks == [0, 1, 2]


def test_progress_is_told_after_each_epoch_and_at_the_end():
    events = []
    train_all(tasks(2), 2, RECIPE, CROSS_ENTROPY, 2, progress=events.append)
    for k in range(2):
        of_one = [event for event in events if event.network == k]
        assert [event.epoch for event in of_one] == [1, 2, 3, 4, 5, 5]
        assert [event.is_over for event in of_one] == [False] * 5 + [True]
        assert all(isinstance(event, Progress) and event.loss > 0 for event in of_one)


def slow_error(_):
    time.sleep(0.02)
    return 0.0


def test_a_spent_budget_leaves_the_networks_that_there_was_time_for():
    ensemble = train_all(tasks(9, slow_error), 2, replace(RECIPE, epochs=1000), CROSS_ENTROPY, 2, time_budget=0.3)
    assert 1 <= len(ensemble.trained) <= 2
    assert not ensemble.is_interrupted


def test_no_budget_at_all_makes_one_epoch_of_one_network():
    ensemble = train_all(tasks(9), 2, RECIPE, CROSS_ENTROPY, 1, time_budget=1e-9)
    assert [len(trained.errors) for trained in ensemble.trained] == [1]


def test_ctrl_c_ends_each_network_with_its_epoch():
    def interrupt(event):
        if event.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ensemble = train_all(tasks(3, slow_error), 2, RECIPE, CROSS_ENTROPY, 1, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ensemble.is_interrupted
    assert [len(trained.errors) < 5 for trained in ensemble.trained] == [True]


def test_what_a_network_raises_is_raised_here():
    def fail(_):
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        train_all(tasks(3, fail), 2, RECIPE, CROSS_ENTROPY, 2)


def test_what_progress_raises_ends_the_training():
    def fail(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train_all(tasks(), 2, RECIPE, CROSS_ENTROPY, 2, progress=fail)


def test_divergence_everywhere_is_an_error():
    wild = Recipe(learning_rate=1e30, hidden=(64, 64), epochs=5, batch_size=8)
    with pytest.raises(DivergenceError):
        train_all(tasks(), 2, wild, losses.resolve("squared_error"), 2)

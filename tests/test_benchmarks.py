"""Every implementation does the same descent: the same parameters, to rounding, after unshuffled epochs."""

import ast
import os
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import fastbp
from benchmarks import bench_short_calls, bench_training, drill, first_fit, many
from benchmarks.common import (
    BATCH_SIZES,
    HIDDEN_LAYERS,
    WIDTHS,
    Problem,
    cell_problem,
    initial_parameters,
    pin,
    step_flops,
    usable_cores,
)
from benchmarks.drop_in import fits, search, turns
from benchmarks.drop_in.__main__ import SECTIONS
from benchmarks.drop_in.__main__ import main as drop_in
from benchmarks.drop_in.network_calls import NetworkCalls
from benchmarks.drop_in.problems import load
from benchmarks.kernel_calls import fastbp_calls, numpy_calls
from benchmarks.peers import IMPLEMENTATIONS, prepare
from fastbp import losses

CORES = usable_cores()
TOLERANCE = {"float32": 2e-4, "float64": 1e-11}  # relative to the largest value of an array


@pytest.mark.parametrize("sizes", [(5, 1), (16, 16, 1), (7, 12, 9, 3), (16, 32, 32, 32, 32, 1)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 8, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in IMPLEMENTATIONS if name != "numpy"])
def test_each_ends_where_numpy_ends(name, dtype, batch_size, sizes):
    pytest.importorskip(IMPLEMENTATIONS[name].module)
    if name == "sklearn" and sizes[-1] > 1:
        pytest.skip("its squared error is a mean over outputs too")
    problem = Problem(sizes, batch_size, dtype, rows=6 * batch_size)
    ends = {}
    for each in ("numpy", name):
        trainer = prepare(each, problem, learning_rate=0.05, shuffle=False)
        before = initial_parameters(problem)
        trainer.train(1)
        trainer.train(2)
        ends[each] = trainer.parameters()
        assert all(np.abs(now - then).max() > 1e-3 for now, then in zip(ends[each][0], before[0], strict=True))
    for expected, found in zip(ends["numpy"], ends[name], strict=True):
        for array, other in zip(expected, found, strict=True):
            assert other.dtype == array.dtype == np.dtype(dtype)
            assert other.shape == array.shape
            np.testing.assert_allclose(other, array, rtol=0, atol=TOLERANCE[dtype] * max(1, np.abs(array).max()))


@pytest.mark.parametrize("name", list(IMPLEMENTATIONS))
def test_shuffling_changes_where_an_epoch_ends_but_keeps_every_row(name):
    pytest.importorskip(IMPLEMENTATIONS[name].module)
    # One batch: the order of its rows changes nothing. Several: it does.
    for rows, same in ((32, True), (128, False)):
        problem = Problem((16, 8, 1), 32, "float64", rows)
        plain, mixed = (prepare(name, problem, learning_rate=0.05, shuffle=flag) for flag in (False, True))
        for trainer in (plain, mixed):
            trainer.train(1)
        assert np.allclose(plain.parameters()[0][0], mixed.parameters()[0][0], rtol=1e-10, atol=1e-12) is same


def test_the_grid_is_whole_batches_and_short_epochs():
    for K in HIDDEN_LAYERS:
        for width in WIDTHS:
            for batch_size in BATCH_SIZES:
                problem = cell_problem(K, width, batch_size, "float32")
                assert 4 <= problem.steps <= 1024
                assert problem.rows <= 16384
                assert problem.steps == 4 or problem.steps * step_flops(problem.sizes, batch_size) <= 2**28


def test_rows_that_are_no_whole_batches_are_refused():
    with pytest.raises(ValueError, match="whole number"):
        Problem((16, 1), 32, "float32", 33)


def test_a_kernel_and_its_rival_multiply_the_same_matrices():
    for kernel in ("forward", "backward_input", "backward_parameters"):
        found, product = (make(kernel, 16, 32, "float32") for make in (fastbp_calls, numpy_calls))
        found.repeat(2)
        product.repeat(2)
        kept = found.result() != 0  # the rest is what ReLU or its mask took away
        assert kept.mean() == 1 if kernel == "backward_parameters" else 0.3 < kept.mean() < 0.7
        np.testing.assert_allclose(found.result()[kept], product.result()[kept], rtol=0, atol=1e-4)


def test_no_loss_is_left_out_of_the_suite():
    assert bench_training.Losses.params == losses.NAMES


@pytest.mark.parametrize("name", list(IMPLEMENTATIONS))
def test_an_epoch_of_the_suite_leaves_the_parameters_where_they_are(name):
    pytest.importorskip(IMPLEMENTATIONS[name].module)
    problem = cell_problem(2, 16, 256, "float32")
    trainer = prepare(name, problem)
    trainer.train(3)
    for found, begun in zip(trainer.parameters(), initial_parameters(problem), strict=True):
        for array, first in zip(found, begun, strict=True):
            np.testing.assert_allclose(array, first, atol=1e-4)


def test_a_peer_that_is_not_installed_is_a_skipped_cell(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setattr(bench_training, "pin_to_one_core", lambda: None)
    with pytest.raises(NotImplementedError, match="jax is not installed"):
        bench_training.Implementations().setup("jax", 2, 16)


def test_the_drill_finds_the_line_that_it_slows_down(tmp_path):
    path = tmp_path / drill.FILE
    path.parent.mkdir(parents=True)
    source = (drill.ROOT / drill.FILE).read_text(encoding="utf-8")
    path.write_text(source, encoding="utf-8")
    drill.slow_down(tmp_path)
    slowed = path.read_text(encoding="utf-8")
    assert len(slowed.splitlines()) == len(source.splitlines()) + 1
    calls = [node for node in ast.walk(ast.parse(slowed)) if isinstance(node, ast.Call)]
    assert sum(ast.unparse(call.func) == "linear_relu_forward" for call in calls) == 2


# The comparison with scikit-learn.


def first_table(text):
    """Return the cells of each row of the first Markdown table, without the header."""
    table = text[text.index("\n| --- |") :].strip().split("\n\n")[0]
    return [line[2:-2].split(" | ") for line in table.splitlines()[1:]]


@pytest.mark.parametrize(
    ("options", "column", "wanted"),
    [
        (["short", "--tables", "iris"], 1, ["partial_fit"] * 3 + ["predict"] * 5 + ["predict_proba"] * 5),
        (["fits", "--tables", "iris", "wine"], 0, ["iris", "wine", "median"]),
        (["widths"], 0, ["(3,)", "(4, 5)"]),
        (["settings", "--tables", "iris", "--settings", "sgd", "lbfgs", "--activations", "tanh"], 1, ["sgd", "lbfgs"]),
        (["search"], 0, ["None", "2"]),
    ],
    ids=list(SECTIONS),
)
def test_the_comparison_with_scikit_learn_prints_each_of_its_tables(monkeypatch, capsys, options, column, wanted):
    monkeypatch.setattr(turns, "SECONDS", 1e-4)
    monkeypatch.setattr(turns, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(fits, "WIDTHS", [(3,), (4, 5)])
    monkeypatch.setattr(search, "GRID", {"hidden_layer_sizes": [3], "max_iter": [2, 3]})
    for threads in turns.THREADS:
        drop_in(["--only", *options, "--threads", threads, "--rounds", "1"])
        printed = capsys.readouterr().out
        assert f"\n## {SECTIONS[options[0]]}, {turns.THREADS[threads]}\n" in printed
        found = [row[column] for row in first_table(printed)]
        assert found == (["None"] if options == ["search"] and threads == "one" else wanted)


def test_each_fit_of_the_comparison_is_the_same_and_shows_the_kernels_part():
    found = fits.compare(load("iris"), {"max_iter": 300, "tol": 1e-3}, rounds=1)
    assert found.difference < fits.ROUNDING
    assert found.epochs[0] == found.epochs[1] < 300
    assert 0 < found.kernel_share < 1


def test_results_of_other_shapes_differ_infinitely():
    assert fits.difference(np.zeros(3), np.zeros(4)) == np.inf
    assert fits.difference(np.array([1.0, 4.0]), np.array([2.0, 4.0])) == 0.25


def test_a_fit_that_the_clock_does_not_see_is_an_error(monkeypatch):
    monkeypatch.setattr(turns.KernelClock, "ENTRIES", ())
    with pytest.raises(RuntimeError, match="the clock saw no compiled call"):
        fits.compare(load("iris"), {"tol": 1.0}, rounds=1)


def test_the_clock_counts_the_compiled_calls_of_its_thread_while_it_runs():
    network, X = fastbp.Network([4, 3, 1], seed=0), np.zeros((8, 4), np.float32)
    network.predict(X)
    clock = turns.KernelClock()
    with clock:
        network.predict(X)
        assert clock.calls == 1
        assert clock.seconds > 0
        network.loss(X, X[:, 0])
        assert clock.calls == 2
        other = threading.Thread(target=network.predict, args=(X,))
        other.start()
        other.join()
    network.predict(X)
    assert clock.calls == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity of processes")
def test_one_thread_is_one_core_and_afterwards_all_cores_are_usable():
    def threads_of_libraries():
        return {pool["num_threads"] for pool in threadpool_info()}

    pin(CORES)
    before = threads_of_libraries()
    with turns.using("one"):
        assert usable_cores() == {min(CORES)}
        assert threads_of_libraries() == {1}
    with turns.using("default"):
        assert usable_cores() == CORES
        assert threads_of_libraries() == before


def test_short_calls_take_turns(monkeypatch):
    monkeypatch.setattr(turns, "SECONDS", 0.0)
    made = []
    calls = [lambda name=name: made.append(name) for name in "ab"]
    turns.seconds_per_call(calls, 3, lambda: made.append("|"))
    assert "".join(made) == "aaabbb" + 3 * "|aa|bb"


def test_the_kernel_alone_predicts_what_the_network_predicts():
    calls = NetworkCalls()
    calls.predictions()
    np.testing.assert_allclose(calls.out, calls.network.predict(calls.rows), rtol=0, atol=1e-6)
    assert calls.out.std() > 0.1


@pytest.mark.parametrize(("implementation", "package"), [("fastbp", "fastbp"), ("scikit-learn", "sklearn")])
def test_the_short_calls_of_the_suite_are_those_of_the_named_package(implementation, package):
    suite = bench_short_calls.Estimators()
    suite.setup(implementation, "iris")
    assert type(suite.model).__module__.partition(".")[0] == package
    first = suite.model.t_
    suite.time_partial_fit_of_32_rows(implementation, "iris")
    suite.time_predict_proba_of_one_row(implementation, "iris")
    assert suite.model.t_ == first + 32


@pytest.mark.parametrize(("fit", "fails"), [(4.0, False), (5.1, True)])
def test_a_first_fit_that_crept_up_is_an_error(fit, fails, monkeypatch, capsys):
    measured = iter([fit, 4.0])
    monkeypatch.setattr(first_fit, "seconds", lambda *_: (9.0, next(measured)))
    monkeypatch.setattr(first_fit, "output_of", lambda *_: "| train | 2.90 |\n")
    monkeypatch.setattr(sys, "argv", ["first_fit", "--rounds", "1"])
    if fails:
        with pytest.raises(SystemExit, match=r"more than 1\.25 times as long"):
            first_fit.main()
    else:
        first_fit.main()
    assert "| train | 2.90 |" in capsys.readouterr().out


def test_ways_to_train_many_networks_are_compared(monkeypatch, capsys):
    monkeypatch.setattr(many, "WIDTHS", (32,))
    monkeypatch.setattr(many, "LEARNING_RATES", (1e-2,))
    monkeypatch.setattr(many, "cores", lambda: 1)  # no worker processes
    many.main(["--rounds", "1", "--epochs", "4", "--batch-size", "32"])
    _, _, title, _, *lines = capsys.readouterr().out.strip().splitlines()
    assert title.startswith("| 2 networks, 4 epochs, batch size 32 | seconds |")
    best = {line.split(" | ")[0]: float(line.split(" | ")[3]) for line in lines if line.startswith("|")}
    assert len(best) >= 3
    assert max(best.values()) < 0.6  # the variance of y is about 1.5, so a network that predicts the mean has 0.75

"""The study of growth: its rows, its jobs, its model of time and memory, and its simulation."""

import dataclasses
import json
import math
import re
import sys

import numpy as np
import pytest
from command_line import command
from threadpoolctl import threadpool_limits

from benchmarks.scale import __main__ as scale
from benchmarks.scale import engines, files, frames, growth, jobs, processes, simulation, tables
from benchmarks.scale.formulas import Constants
from benchmarks.scale.simulation import Machine, Table

CONSTANTS = Constants(
    read_csv=200, read_parquet=20, encode=180, step=35, gather=30, finish=300, forward=16, code=310,
    cell=26, stored=11.4, base=350, pair=1.1,
)  # fmt: skip


def here(job, **arguments):
    """Run a job in this process."""
    return {"peak": 2**20, **json.loads(json.dumps(getattr(jobs, job)(**arguments)))}


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_table_has_nineteen_mixed_columns_and_follows_one_law():
    frame, y = tables.make(4000)
    assert frame.shape == (4000, tables.N_COLUMNS) == (4000, 19)
    assert sum(dtype.kind == "f" for dtype in frame.dtypes) == 12
    assert [len(frame[f"t{i}"].cat.categories) for i in range(6)] == list(tables.LEVELS)
    assert frame["date"].dtype.kind == "M"
    assert (frame.isna().sum() > 0).sum() == 5
    assert 0.3 < y.mean() < 0.7
    again, same = tables.make(4000)
    assert again.equals(frame)
    assert (same == y).all()
    fresh, other = tables.make(4000, tables.FRESH)
    assert not fresh.equals(frame)
    # Fresh rows share the effects of the three levels.
    rates, of_fresh = ([ys[X["t0"] == f"level {i}"].mean() for i in range(3)] for X, ys in ((frame, y), (fresh, other)))
    assert np.ptp(rates) > 0.1
    np.testing.assert_allclose(of_fresh, rates, atol=0.05)
    wide, of_wide = tables.make(4000, copies=2)
    assert wide.shape == (4000, 38)
    assert wide.iloc[:, :19].equals(frame)
    assert of_wide.shape == (4000,)


# --- jobs ---------------------------------------------------------------------------------------------------------


def test_the_tables_of_models_have_a_line_for_each_fit_and_prediction(monkeypatch, tmp_path):
    monkeypatch.setattr(frames, "measured", here)
    monkeypatch.setattr(frames, "BUDGET_ROWS", 1)
    monkeypatch.setattr(frames, "MODELS", ("fastbp", "HistGradientBoosting"))
    with threadpool_limits(1):
        lines = list(frames.model_lines([1000], 0.5, str(tmp_path)))
    lines += frames.network_lines([1000], str(tmp_path))
    assert [line[2] for line in lines] == ["fit", "predict"] * 3
    assert all(len(line) == len(frames.HEADER) for line in lines)
    assert lines[0][1] == "fastbp, time_budget=0.5"
    assert lines[2][7] == "100 trees"
    of_fastbp, of_trees = (float(re.search(r"AUC (\S+),", lines[i][8])[1]) for i in (1, 3))
    assert 0.6 < of_trees < 0.9
    assert 0.3 < of_fastbp < 0.9  # a busy machine trains for one epoch
    assert lines[5][8].startswith("R² ")


def test_the_table_of_files_has_a_line_for_each_command(monkeypatch, tmp_path):
    def commanded(*arguments):
        return {"output": command(*arguments).stdout, "wall": 1.0, "cpu": 1.0, "peak": 2**20}

    monkeypatch.setattr(files, "measured", here)
    monkeypatch.setattr(files, "commanded", commanded)
    lines = list(files.lines([600], 0.3, str(tmp_path)))
    assert [(line[1], line[3]) for line in lines] == [(f, c) for f in files.FORMATS for c in ("train", "predict")]
    assert all(len(line) == len(files.HEADER) for line in lines)
    assert all("AUC 0." in line[-1] for line in lines[1::2])
    assert [path.name for path in tmp_path.iterdir()] == ["model.fastbp"]


def test_a_package_that_is_not_installed_is_a_line_that_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(jobs, "PACKAGES", {"LightGBM": "lightgbm_that_is_not_there"})
    monkeypatch.setattr(sys, "argv", ["jobs", "fit", json.dumps({"model": "LightGBM", "n_rows": 9, "path": ""})])
    jobs.main()
    assert json.loads(capsys.readouterr().out) == {"missing": "lightgbm_that_is_not_there"}

    def missing(*_, **__):
        raise processes.MissingError("lightgbm")

    monkeypatch.setattr(frames, "measured", missing)
    assert all("pip install lightgbm" in line[2] for line in frames.model_lines([9], 1.0, str(tmp_path)))


def test_the_peak_is_that_of_the_process_that_was_started():
    small, large = (
        processes.finished([sys.executable, "-c", f"print(len(b'x' * {n}))"])["peak"] for n in (1, 300 * 2**20)
    )
    assert 290 * 2**20 < large - small < 330 * 2**20
    with pytest.raises(SystemExit, match="status 3"):
        processes.finished([sys.executable, "-c", "raise SystemExit(3)"])


# --- engines ------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_all_parameters():
    first, same, other = (engines.fit("threads", 600, 2, epochs)["hash"] for epochs in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize("is_same", [True, False])
def test_engines_that_train_other_models_are_an_error(is_same, monkeypatch, capsys):
    hashes = iter(["a"] * 4 if is_same else ["a", "a", "b", "a"])
    monkeypatch.setattr(
        scale, "measured", lambda job, **_: {} if job == "warm_up" else {"start": 1, "wall": 2, "hash": next(hashes)}
    )
    if is_same:
        scale.main(["--only", "engines"])
    else:
        with pytest.raises(SystemExit, match="different models"):
            scale.main(["--only", "engines"])
    printed = capsys.readouterr().out
    assert printed.count("`a`") == (4 if is_same else 3)
    assert f"The 4 models are {'the same to the bit' if is_same else 'NOT the same'}." in printed


# --- the model ----------------------------------------------------------------------------------------------------


def test_the_constants_are_found_in_exact_measurements():
    points = []
    for n, columns, weights in ((20_000, 19, 300_000), (50_000, 38, 100_000), (10_000, 19, 90_000)):
        points.append(
            {
                "n": n,
                "columns": columns,
                "weights": weights,
                "encoding": CONSTANTS.encoding(n, columns),
                "epoch": CONSTANTS.epoch(n, columns, weights),
                "finishing": CONSTANTS.finishing(n),
                "predicting": CONSTANTS.predicting(n, columns, weights),
                "stored": CONSTANTS.stored * n * columns,
                "peak": CONSTANTS.peak(n, columns),
            }
        )
    found = growth.constants_of(points, {"csv": 200, "parquet": 20}, 1.1)
    for name, value in dataclasses.asdict(CONSTANTS).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name
    shown = growth.line("fitted", points[0], CONSTANTS)
    assert all(len(set(pair.split(" / "))) == 1 for pair in shown[4:])


# --- the simulation -----------------------------------------------------------------------------------------------


def test_networks_go_to_the_worker_that_is_free_first():
    assert simulation.schedule(np.ones(10), np.ones(1)) == 10
    assert simulation.schedule(np.ones(10), np.ones(4)) == 3
    assert simulation.schedule(np.array([3.0, 1, 1, 1]), np.ones(2)) == 3
    assert simulation.schedule(np.ones(3), np.array([1.0, 2.0])) == 1
    assert simulation.schedule(np.ones(0), np.ones(2)) == 0


def test_one_core_does_all_work_and_many_cores_wait_for_two_networks():
    table = Table(50_000, 10, 10)
    one = simulation.simulated(table, Machine("", 1, 1), 9, CONSTANTS)
    epoch = CONSTANTS.epoch(50_000, simulation.COLUMNS, simulation.WEIGHTS)
    assert one.work == pytest.approx(100 * epoch)
    assert one.total == pytest.approx(one.encoding + one.work + one.end)
    many = simulation.simulated(table, Machine("", 10**4, 1), 9, CONSTANTS)
    assert many.first == many.later == pytest.approx(10 * epoch)
    assert many.total == pytest.approx(one.encoding + 20 * epoch + one.end)


def test_stragglers_make_a_fit_longer():
    machine = Machine("", 8, 8)
    even, uneven = (simulation.simulated(Table(20_000, 60, 60, sd), machine, 9, CONSTANTS) for sd in (0, 10))
    assert even.total < uneven.total < 1.5 * even.total


def test_memory_slows_down_only_what_does_not_fit_the_cache():
    weights, arrays = 10**6, 4 * 10**6
    roomy = Machine("", 64, 64, cache=64 * 5 * arrays, bandwidth=1e9)
    tight = Machine("", 64, 64, cache=64 * 5 * arrays - 1, bandwidth=1e9)
    assert simulation.slowdown(roomy, 64, 1.0, weights) == 1
    assert simulation.slowdown(tight, 64, 1.0, weights) == pytest.approx(64 * 8 * arrays / 1e9)
    assert simulation.slowdown(tight, 1, 1.0, weights) == 1


def test_each_worker_gets_a_copy_through_the_card_of_its_machine():
    assert simulation.sending(Machine("", 64, 64), 1e9) == 0
    assert simulation.sending(Machine("", 64, 16, network=1e9), 1e9) == 16 + 2


def test_the_simulation_prints_its_tables(capsys):
    scale.main(["--simulate"])
    printed = capsys.readouterr().out
    n_lines = len(simulation.TABLES) * len(simulation.N_NETWORKS) * len(simulation.MACHINES)
    rows = [line for line in printed.splitlines() if line.startswith("| 1,000,000 |")]
    assert len(rows) == n_lines // 3 + 2
    seconds = [float(row.split(" | ")[3]) for row in rows[:9]]
    assert all(math.isfinite(each) and each > 0 for each in seconds)
    assert seconds[0] > seconds[1]  # 64 cores are faster than one

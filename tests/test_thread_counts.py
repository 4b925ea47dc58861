"""How many threads a fit uses: which numbers it tries, and how it finds the fastest one."""

import time

import numpy as np
import pytest
from networks import bits

from fastbp import SGD, Network
from fastbp.runs import fitting, threads
from fastbp.runs.threads import ThreadPool, counts_up_to

RNG = np.random.default_rng(0)
X = RNG.standard_normal((330, 5))
Y = RNG.standard_normal((330, 1))


# --- which are tried ------------------------------------------------------------------------------------------


def test_counts_double_up_to_the_most():
    assert [counts_up_to(most) for most in (1, 2, 3, 4, 6, 16)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4],
        [1, 2, 4, 6],
        [1, 2, 4, 8, 16],
    ]


@pytest.mark.parametrize(
    ("sizes", "batch_size", "epochs", "wanted"),
    [
        ((5, 16, 1), 32, 10**4, []),  # a step is too short
        ((5, 512, 512, 1), 8, 100, []),  # a batch has too few rows
        ((5, 256, 256, 1), 128, 7, []),  # the run is too short
        ((5, 256, 256, 1), 128, 8, [[1, 2, 4, 8]]),
    ],
)
def test_only_long_steps_of_long_runs_are_shared(sizes, batch_size, epochs, wanted, monkeypatch):
    monkeypatch.setattr(fitting, "available", lambda: 64)
    seen = []
    monkeypatch.setattr(fitting, "ThreadPool", lambda counts: seen.append(counts) or ThreadPool([1]))
    options = {"batch_size": batch_size, "epochs": epochs, "optimizer": SGD(1e-6), "callback": lambda _: True}
    Network(sizes, seed=0).fit(X, Y, **options)
    assert [counts for counts in seen if counts != [1]] == wanted


# --- which is the fastest -------------------------------------------------------------------------------------


class Simulation:
    """A pool on a clock of its own, whose steps take `seconds_of(count, now)`."""

    def __init__(self, monkeypatch, counts, seconds_of):
        self.now, self.calls = 0.0, []  # of each call: when it began, its number of threads, its seconds
        self._pool, self._seconds_of = ThreadPool(counts), seconds_of
        monkeypatch.setattr(threads.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(ThreadPool, "_call", self._call)

    def _call(self, _, count):
        seconds = self._steps * self._seconds_of(count, self.now)
        self.calls.append((self.now, count, seconds))
        self.now += seconds
        return self._steps, None

    def run(self, until, call_seconds=0.1):
        """Make calls of at most this duration, as `fitting` does."""
        most, before = 16, -1
        while self.now < until:
            self._steps = self._pool.steps(most)
            before = self.now
            self._pool.call(None, self._steps)
            most = max(1, min(int(call_seconds / (self.now - before) * self._steps), 8 * most))
        return self

    def share(self, count, since, until):
        """Return the share of this number of threads in the time between two moments."""
        calls = [call for call in self.calls if since <= call[0] < until]
        return sum(call[2] for call in calls if call[1] == count) / sum(call[2] for call in calls)

    def steps_lost(self, alone):
        """Return the time that one thread, with `alone` seconds a step, would have saved, as a share of its time."""
        steps = sum(seconds / self._seconds_of(count, now) for now, count, seconds in self.calls)
        return self.now / (steps * alone) - 1


@pytest.mark.parametrize("call_seconds", [0.1, 0.0008])
@pytest.mark.parametrize("fastest", [1, 2, 4, 8, 16])
def test_the_fastest_count_is_found_and_kept(fastest, call_seconds, monkeypatch):
    def seconds_of(count, _):
        return 1e-4 * (1 + abs(np.log2(count / fastest)))

    run = Simulation(monkeypatch, [1, 2, 4, 8, 16], seconds_of).run(6, call_seconds)
    assert run.share(fastest, 0.2, 6) > 0.9


@pytest.mark.parametrize("step", [1e-6, 0.0008])
def test_a_run_that_is_too_short_to_gain_stays_with_one_thread(step, monkeypatch):
    run = Simulation(monkeypatch, [1, 2, 4], lambda count, _: step / count).run(0.029, 0.0008)
    assert {count for _, count, _ in run.calls} == {1}


@pytest.mark.parametrize("until", [0.05, 0.1, 0.4, 3])
@pytest.mark.parametrize("call_seconds", [0.1, 0.0008])
@pytest.mark.parametrize("factor", [1.01, 1.5, 3])
def test_threads_that_do_not_help_cost_little(factor, call_seconds, until, monkeypatch):
    run = Simulation(monkeypatch, [1, 2, 4], lambda count, _: 1e-4 * factor ** (count > 1)).run(until, call_seconds)
    assert run.steps_lost(1e-4) < 0.06
    assert len({count for _, count, _ in run.calls}) > 1


def test_a_second_core_is_left_to_others_where_it_saves_almost_nothing(monkeypatch):
    run = Simulation(monkeypatch, [1, 2], lambda count, _: 1e-4 * (0.97 if count > 1 else 1)).run(3)
    assert run.share(1, 0, 3) > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_short_calls_are_measured_together(seed, monkeypatch):
    random = np.random.default_rng(seed)

    def seconds_of(count, _):
        return (1e-4 if count == 1 else 0.8e-4) * random.lognormal(0, 0.3)

    run = Simulation(monkeypatch, [1, 2], seconds_of).run(10, 0.0008)
    assert run.share(2, 0.5, 10) > 0.9


@pytest.mark.parametrize("start", np.arange(0.5, 1.5, 0.13))
def test_a_change_by_chance_is_soon_undone(start, monkeypatch):
    fallen_back = []

    def seconds_of(count, now):  # two threads are slow until one thread has been tried
        if now >= start + 0.1 and count == 1:
            fallen_back.append(now)
        return 3e-4 if now >= start and count == 2 and not fallen_back else 2e-4 / count

    run = Simulation(monkeypatch, [1, 2], seconds_of).run(4)
    assert run.share(1, fallen_back[0], fallen_back[0] + 0.1) > 0.9
    assert run.share(2, fallen_back[0] + 0.35, fallen_back[0] + 0.6) > 0.9


def test_a_long_step_is_tried_seldom_where_more_threads_do_not_help(monkeypatch):
    run = Simulation(monkeypatch, [1, 2], lambda count, _: 0.3 * count).run(120)
    assert run.steps_lost(0.3) < 0.04


@pytest.mark.parametrize("call_seconds", [0.1, 0.01, 0.0008])
@pytest.mark.parametrize("start", np.arange(1.0, 2.0, 0.13))
def test_a_fit_uses_fewer_threads_while_another_process_is_busy(start, call_seconds, monkeypatch):
    def seconds_of(count, now):  # measured with four layers of width 256 and batches of 32
        return 390e-6 if count == 1 else 510e-6 if start <= now < 4 else 234e-6

    run = Simulation(monkeypatch, [1, 2], seconds_of).run(7, call_seconds)
    assert run.share(2, 0.1, start) > 0.95
    assert run.share(1, start + 0.35, start + 1) > 0.9
    assert run.share(1, start + 1, 4) > 0.95
    assert run.share(2, 5, 7) > 0.95


@pytest.mark.parametrize("start", np.arange(0.5, 1.5, 0.07))
def test_one_slow_call_does_not_change_the_count(start, monkeypatch):
    slow = []

    def seconds_of(count, now):
        if now >= start and count == 2 and not slow:
            slow.append(now)
            return 4e-4
        return 2e-4 / count

    run = Simulation(monkeypatch, [1, 2], seconds_of).run(3)
    end = next(now for now, *_ in run.calls if now > slow[0])
    assert run.share(2, end, end + 0.3) > 0.85


def test_a_busy_machine_is_noticed_by_a_fit(monkeypatch):
    """The same with real threads: a second thread that always comes late."""
    monkeypatch.setattr(fitting, "available", lambda: 2)
    seen, train = [], fitting.train

    def slow(*arguments):
        group = arguments[-1]
        if group.thread == 1:
            time.sleep(0.02)
        elif arguments[-3].size:
            seen.append(group.n_threads)
        return train(*arguments)

    monkeypatch.setattr(fitting, "train", slow)
    network, alone = (Network((5, 256, 256, 1), seed=0) for _ in range(2))
    options = {"batch_size": 110, "epochs": 100, "optimizer": SGD(1e-6), "seed": 0}
    network.fit(X, Y, **options, callback=lambda _: False)
    assert 0 < seen.count(2) < len(seen) / 10
    alone.fit(X, Y, **options, n_threads=1)
    assert bits(network) == bits(alone)

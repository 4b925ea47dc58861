"""Threads make one step together: the same bits at any count, and an end whatever becomes of one of them."""

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from networks import bits

from fastbp import SGD, Adam, DivergenceError, Lion, Network
from fastbp.machine.barrier import ThreadGroup, abandon, new_barrier, wait_for_all
from fastbp.machine.jit import entry
from fastbp.runs import fitting, threads
from fastbp.runs.threads import ThreadPool

RNG = np.random.default_rng(0)
X = RNG.standard_normal((330, 5))
SIZES = [(5, 40, 33, 1), (5, 40, 70, 20), (5, 1), (5, 300)]
OPTIMIZERS = [
    SGD(0.05, weight_decay=0.01),
    SGD(0.02, momentum=0.9, nesterov=True),
    Adam(0.01),
    SGD(0.05, weight_decay=0.01, max_gradient_norm=0.5),
    Lion(1e-3, max_gradient_norm=0.5),
]


def targets(sizes):
    return np.random.default_rng(1).standard_normal((len(X), sizes[-1]))


def trained(sizes, n_threads, dtype="float32", **options):
    net = Network(sizes, dtype, seed=0)
    history = net.fit(X, targets(sizes), n_threads=n_threads, **{"epochs": 3, "batch_size": 75, "seed": 1, **options})
    return bits(net), history.loss


# --- one result -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_any_number_of_threads_has_the_same_result(sizes, optimizer, dtype):
    wanted = trained(sizes, 1, dtype, optimizer=optimizer)
    for n_threads in (2, 3, 5, None):
        assert trained(sizes, n_threads, dtype, optimizer=optimizer) == wanted


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 47, 64, 330])
def test_batches_of_every_size_are_shared_without_a_trace(batch_size):
    sizes, options = (5, 20, 1), {"batch_size": batch_size, "epochs": 1, "optimizer": SGD(0.01)}
    assert trained(sizes, 3, **options) == trained(sizes, 1, **options)


def test_losses_and_weights_of_samples_are_shared_too():
    w = np.random.default_rng(2).random(len(X))
    w[::7] = 0
    classes = np.random.default_rng(3).integers(0, 12, len(X))
    for sizes, y, loss in (((5, 9, 12), classes, "cross_entropy"), ((5, 9, 3), classes % 3, "cross_entropy")):
        results = []
        for n_threads in (1, 4):
            net = Network(sizes, seed=0)
            history = net.fit(X, y, loss, SGD(0.1), 64, 4, sample_weight=w, seed=0, n_threads=n_threads)
            results.append((bits(net), history.loss))
        assert results[0] == results[1]


def test_a_run_may_change_its_number_of_threads_from_slice_to_slice(monkeypatch):
    wanted = trained((5, 64, 64, 2), 1, epochs=40)
    monkeypatch.setattr(fitting, "available", lambda: 4)
    monkeypatch.setattr(fitting, "_WORTH_SHARING", 1)
    monkeypatch.setattr(fitting, "_FIRST_SLICE", 2)
    monkeypatch.setattr(fitting, "SLICE_SECONDS", 1e-4)
    monkeypatch.setattr(fitting, "_WORTH_A_TRIAL", 0)
    for name in ("_FIRST_TRIAL", "_MEASURED_SECONDS", "_TRIAL_SECONDS", "_REST_SHARE", "_CHECK_SHARE"):
        monkeypatch.setattr(threads, name, 0.0)
    seen = set()
    monkeypatch.setattr(fitting, "train", lambda *a, call=fitting.train: seen.add(a[-1].n_threads) or call(*a))
    assert trained((5, 64, 64, 2), None, epochs=40) == wanted
    assert len(seen) > 1


def test_divergence_is_found_by_any_number_of_threads():
    found = []
    for n_threads in (1, 3):
        net = Network((5, 40, 2), seed=0)
        with pytest.raises(DivergenceError) as caught:
            net.fit(X, targets((2,)), optimizer=SGD(50.0), batch_size=64, epochs=5, seed=0, n_threads=n_threads)
        found.append((bits(net), str(caught.value), caught.value.history.loss))
    assert found[0] == found[1]


def test_rows_are_predicted_to_the_same_bits_by_any_number_of_threads():
    net, many = Network((5, 40, 33, 3), seed=0), np.random.default_rng(0).standard_normal((7001, 5))
    wanted = net.predict(many, n_threads=1)
    for n_threads in (2, 5, None):
        assert np.array_equal(net.predict(many, n_threads=n_threads), wanted)
    singly = np.concatenate([net.predict(many[i : i + 2048]) for i in range(0, 7001, 2048)])
    assert np.array_equal(singly, wanted)


def test_one_network_predicts_in_many_threads_at_once():
    net = Network((5, 40, 33, 3), seed=0)
    wanted, wrong = net.predict(X), []

    def work():
        wrong.extend(1 for _ in range(50) if not np.array_equal(net.predict(X), wanted))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# --- the barrier ----------------------------------------------------------------------------------------------


@entry
def count_together(group, rounds, counts):
    """Add one to this thread's count a round, and look whether the others are ever a round behind."""
    thread, n_threads, barrier = group
    for r in range(rounds):
        counts[thread] += 1
        if not wait_for_all(barrier, n_threads):
            return r
        for other in range(n_threads):
            if counts[other] < r + 1:
                return -1
        if not wait_for_all(barrier, n_threads):
            return r
    return rounds


@pytest.mark.parametrize("n_threads", [1, 2, 5, 16])
def test_nobody_passes_a_barrier_before_all_are_there(n_threads):
    counts, rounds = np.zeros(16, np.int64), 200
    with ThreadPool([n_threads]) as pool:
        assert pool.call(lambda group: count_together(group, rounds, counts), rounds) == rounds
    assert counts[:n_threads].tolist() == [rounds] * n_threads


def test_those_who_wait_are_let_go_when_one_will_not_come():
    barrier, counts, came = new_barrier(), np.zeros(16, np.int64), []
    count_together(ThreadGroup(0, 1, new_barrier()), 1, counts)  # compiled before the clock runs
    waiting = [
        threading.Thread(target=lambda k=k: came.append(count_together(ThreadGroup(k, 3, barrier), 5, counts)))
        for k in (0, 1)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)
    assert not came
    abandon(barrier)
    for thread in waiting:
        thread.join(timeout=30)
    assert came == [0, 0]
    assert count_together(ThreadGroup(2, 3, barrier), 5, counts) == 0


# --- what if one fails ----------------------------------------------------------------------------------------


def failing(monkeypatch, thread, after, error):
    """Let a thread of a group fail in its call number `after`, before it makes a step."""
    calls = {}

    def train(*arguments, call=fitting.train):
        group = arguments[-1]
        if group.n_threads > 1:
            calls[group.thread] = calls.get(group.thread, 0) + 1
            if group.thread == thread and calls[thread] == after:
                raise error
        return call(*arguments)

    monkeypatch.setattr(fitting, "train", train)


@pytest.mark.parametrize("after", [1, 2])
def test_a_fit_goes_on_alone_when_another_thread_fails(after, monkeypatch):
    wanted = trained((5, 64, 2), 1, epochs=50)
    failing(monkeypatch, 2, after, MemoryError("no memory"))
    with pytest.warns(RuntimeWarning, match="goes on with one thread, as another failed: MemoryError"):
        assert trained((5, 64, 2), 3, epochs=50) == wanted


def refuse_threads(monkeypatch, after):
    """Let the system start so many threads and no more."""
    started = []

    def start(thread, start=threading.Thread.start):
        if len(started) == after:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("after", [0, 1])
def test_a_fit_goes_on_alone_when_no_thread_can_be_started(after, monkeypatch):
    wanted = trained((5, 64, 2), 1)
    refuse_threads(monkeypatch, after)
    with pytest.warns(RuntimeWarning, match="can't start new thread"):
        assert trained((5, 64, 2), 3) == wanted


@pytest.mark.parametrize("after", [0, 1])
def test_rows_are_predicted_by_as_many_threads_as_there_are(after, monkeypatch):
    net, many = Network((5, 40, 3), seed=0), np.random.default_rng(0).standard_normal((9001, 5))
    wanted = net.predict(many, n_threads=1)
    refuse_threads(monkeypatch, after)
    assert np.array_equal(net.predict(many, n_threads=3), wanted)


@pytest.mark.parametrize("row", [0, 4000, 9000])
def test_bad_rows_are_named_whichever_thread_meets_them(row):
    net, many = Network((5, 40, 3), seed=0), np.zeros((9001, 5))
    many[row, 3] = np.nan
    with pytest.raises(ValueError, match=rf"X holds nan at \[{row}, 3\]"):
        net.predict(many, n_threads=3)


def test_a_thread_that_fails_is_not_taken_for_divergence(monkeypatch):
    rates = iter([0.01] * 30 + [1e38] * 1000)
    failing(monkeypatch, 1, 1, MemoryError("no memory"))
    net = Network((5, 64, 2), seed=0)
    with pytest.warns(RuntimeWarning, match="no memory"), pytest.raises(DivergenceError) as caught:
        net.fit(X, targets((2,)), optimizer=SGD(lambda _: next(rates)), batch_size=33, epochs=9, n_threads=2)
    assert (caught.value.epoch, caught.value.learning_rate) == (4, 1e38)


CTRL_C = """
import faulthandler, itertools, signal, sys
import numpy as np
from fastbp import Network

faulthandler.dump_traceback_later(120, exit=True)
rng = np.random.default_rng(0)
X, y = rng.standard_normal((512, 16)), rng.standard_normal(512)
net = Network((16, 64, 64, 1), seed=0)
net.fit(X, y, n_threads=2)
signal.signal(signal.SIGALRM, signal.default_int_handler)
caught = 0
for i in range(300):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.002 + i % 20 / 1000)
            net.fit(X, y, batch_size=128, epochs=10**6, callback=lambda *_: None, n_threads=2)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        caught += 1
assert np.isfinite(net.predict(X)).all()
print(caught)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that interrupt")
def test_ctrl_c_at_any_moment_ends_a_fit_of_several_threads():
    done = subprocess.run([sys.executable, "-c", CTRL_C], capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stdout.strip()) == (0, "300"), done.stderr


@pytest.mark.parametrize("started", [False, True])
def test_an_interrupt_while_a_thread_starts_leaves_none_behind(started, monkeypatch):
    before, start = threading.active_count(), threading.Thread.start

    def interrupted(self):
        if started:
            start(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Network((5, 64, 2), seed=0).fit(X, targets((2,)), batch_size=75, n_threads=2)
    assert threading.active_count() == before


def test_an_interrupt_reaches_the_caller_and_leaves_no_thread_behind(monkeypatch):
    before = threading.active_count()
    failing(monkeypatch, 0, 2, KeyboardInterrupt())
    net = Network((5, 64, 2), seed=0)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, targets((2,)), epochs=1000, batch_size=75, n_threads=3)
    assert threading.active_count() == before
    assert np.isfinite(net.predict(X)).all()


def test_threads_end_with_their_fit():
    before = threading.active_count()
    trained((5, 64, 2), 4)
    assert threading.active_count() == before

"""Training has one result, to the bit: however it is sliced, stopped, saved, watched or run side by side."""

import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from networks import bits

from fastbp import SGD, Adagrad, Adam, AdamW, DivergenceError, Lion, Network, RMSprop, schedules
from fastbp.runs import fitting

RNG = np.random.default_rng(0)
X = RNG.standard_normal((75, 3))
y = np.sin(X @ [[1, 2], [3, 4], [5, 6]])

OPTIMIZERS = {
    "plain SGD": SGD(0.05, weight_decay=0.01),
    "momentum": SGD(0.02, momentum=0.9),
    "Nesterov": SGD(0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": Adam(0.01, weight_decay=0.1),
    "Adam with warm-up and cosine": Adam(schedules.WarmUp(schedules.Cosine(0.02, steps=60), steps=7)),
    "AdamW, clipped": AdamW(0.01, max_gradient_norm=0.1),
    "SGD, clipped": SGD(0.05, max_gradient_norm=0.1, weight_decay=0.1, decay_biases=False),
    "RMSprop": RMSprop(0.001),
    "RMSprop with momentum": RMSprop(0.001, momentum=0.9, weight_decay=0.1, decay_biases=False),
    "Adagrad": Adagrad(0.05, initial_accumulator_value=0.1),
    "Lion": Lion(0.001, weight_decay=0.1),
    "SGD with one's own schedule": SGD(lambda step: 0.1 / (1 + step), momentum=0.5),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
# SLICE_SECONDS, _FIRST_SLICE and _GROWTH
SLICINGS = {"a step a slice": (0, 1, 1), "few steps": (2e-4, 3, 2), "one slice": (1e9, 10**6, 10**6)}
each_slicing = pytest.mark.parametrize("slicing", SLICINGS.values(), ids=SLICINGS)


def network(dtype="float32"):
    return Network([3, 17, 5, 2], dtype, seed=0)


def fit(net, optimizer, epochs=10, **options):
    """Train in batches that do not divide the rows."""
    return net.fit(X, y, optimizer=optimizer, epochs=epochs, **{"batch_size": 8, **options})


def slice_by(monkeypatch, slicing):
    for name, value in zip(("SLICE_SECONDS", "_FIRST_SLICE", "_GROWTH"), slicing, strict=True):
        monkeypatch.setattr(fitting, name, value)


# --- one result -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_one_seed_has_one_result(optimizer, dtype):
    one, other = network(dtype), network(dtype)
    assert fit(one, optimizer).loss == fit(other, optimizer).loss
    assert bits(one) == bits(other)


def test_another_process_has_the_same_result():
    here = network()
    fit(here, OPTIMIZERS["Adam"])
    code = "import test_continue as t; net = t.network(); t.fit(net, t.OPTIMIZERS['Adam']); print(t.bits(net))"
    command, folder = [sys.executable, "-c", code], Path(__file__).parent
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(bits(here))


@each_slicing
@each_optimizer
def test_slices_do_not_change_the_result(optimizer, slicing, monkeypatch):
    whole, sliced = network(), network()
    history = fit(whole, optimizer)
    slice_by(monkeypatch, slicing)
    other = fit(sliced, optimizer)
    assert (other.loss, other.learning_rate) == (history.loss, history.learning_rate)
    assert len(other.seconds) == len(history.seconds) == 10
    assert bits(sliced) == bits(whole)


@each_optimizer
def test_a_run_that_is_watched_has_the_same_result(optimizer):
    alone, watched = network(), network()
    history = fit(alone, optimizer)
    seen = fit(watched, optimizer, validation_data=(X[:5], y[:5]), callback=lambda *_: watched.predict(X))
    assert (seen.loss, seen.learning_rate) == (history.loss, history.learning_rate)
    assert bits(watched) == bits(alone)


def test_networks_that_train_side_by_side_have_the_results_that_they_have_alone():
    jobs = [(dtype, optimizer) for dtype in ("float32", "float64") for optimizer in list(OPTIMIZERS.values())[:4]]
    alone, together = ([network(dtype) for dtype, _ in jobs] for _ in range(2))
    for net, (_, optimizer) in zip(alone, jobs, strict=True):
        fit(net, optimizer, epochs=200)
    at_once = threading.Barrier(len(jobs))

    def run(net, optimizer):
        at_once.wait()
        fit(net, optimizer, epochs=200)

    threads = [threading.Thread(target=run, args=(net, job[1])) for net, job in zip(together, jobs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bits(net) for net in together] == [bits(net) for net in alone]


# --- stopped and continued --------------------------------------------------------------------------------------


@each_optimizer
def test_two_fits_are_one_of_their_epochs_together(optimizer):
    whole, parts = network(), network()
    history, first, second = fit(whole, optimizer), fit(parts, optimizer, 4), fit(parts, optimizer, 6)
    assert first.loss + second.loss == history.loss
    assert first.learning_rate + second.learning_rate == history.learning_rate
    assert bits(parts) == bits(whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_optimizer
def test_saving_and_loading_in_between_changes_nothing(optimizer, dtype, tmp_path):
    whole, parts = network(dtype), network(dtype)
    fit(whole, optimizer)
    fit(parts, optimizer, 4)
    parts.save(tmp_path / "half.fastbp")
    loaded = Network.load(tmp_path / "half.fastbp")
    assert bits(loaded) == bits(parts)
    fit(loaded, optimizer, 6)
    assert bits(loaded) == bits(whole)


@each_optimizer
def test_a_callback_may_save_what_can_be_continued(optimizer, tmp_path):
    def callback(progress):
        if progress.epoch == 4:
            whole.save(tmp_path / "fourth.fastbp")

    whole = network()
    fit(whole, optimizer, callback=callback)
    loaded = Network.load(tmp_path / "fourth.fastbp")
    fit(loaded, optimizer, 6)
    assert bits(loaded) == bits(whole)


def test_another_optimizer_starts_afresh():
    net, fresh = network(), network()
    fit(net, Adam(0.01))
    fit(net, SGD(0.02, momentum=0.9))
    fresh.set_parameters(net.weights, net.biases)
    assert net.to_tensors()[1]["step"] == 100
    for one in (net, fresh):
        fit(one, Adam(0.01), seed=1)
    assert bits(net) == bits(fresh)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@each_optimizer
def test_a_callback_that_raises_leaves_a_network_that_continues(optimizer, error):
    def callback(progress):
        if progress.epoch == 4:
            raise error

    whole, stopped = network(), network()
    fit(whole, optimizer)
    with pytest.raises(error):
        fit(stopped, optimizer, callback=callback)
    fit(stopped, optimizer, 6)
    assert bits(stopped) == bits(whole)


LONG_FIT = """
import signal
import numpy as np, fastbp
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with SIGINT ignored
X = np.random.default_rng(0).standard_normal((300_000, 8))
y = X[:, 0] * X[:, 1]
net = fastbp.Network([8, 64, 64, 1], seed=0)
net.fit(X[:100], y[:100], epochs=1)
before = net.loss(X, y)
for _ in range(3):
    steps = net.to_tensors()[1]["step"]
    print("training", flush=True)
    try:
        net.fit(X, y, epochs=10**6)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    assert net.to_tensors()[1]["step"] > steps
    assert np.isfinite(net.predict(X)).all()
net.fit(X[:5000], y[:5000], epochs=1)
assert net.loss(X, y) < before
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole group of processes")
def test_ctrl_c_is_answered_within_a_second_and_leaves_a_usable_network():
    with subprocess.Popen([sys.executable, "-c", LONG_FIT], stdout=subprocess.PIPE, text=True) as process:
        waits, watchdog = [], threading.Timer(120, process.kill)
        watchdog.daemon = True
        watchdog.start()
        for _ in range(3):
            assert process.stdout.readline() == "training\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            sent = time.perf_counter()
            assert process.stdout.readline() == "stopped\n"
            waits.append(time.perf_counter() - sent)
        process.wait()
        watchdog.cancel()
    assert process.returncode == 0
    assert min(waits) < 1


# --- divergence -------------------------------------------------------------------------------------------------


class StopError(Exception):
    """What the twin of a diverging run is stopped by."""


def stops_at(last, schedule):
    def rate(step):
        if step == last:
            raise StopError
        return schedule(step)

    return rate


@each_slicing
@pytest.mark.parametrize("make", [SGD, lambda rate: SGD(rate, momentum=0.9), lambda rate: Adam(rate, weight_decay=1)])
def test_a_diverging_run_keeps_what_it_was_before_the_step_that_failed(make, slicing, monkeypatch):
    schedule = schedules.Step(0.1, every=3, factor=10.0)
    net, twin = network(), network()
    slice_by(monkeypatch, slicing)
    with pytest.raises(DivergenceError) as caught:
        fit(net, make(schedule))
    error, steps = caught.value, net.to_tensors()[1]["step"]
    assert steps > 10
    assert error.epoch == steps // 10 + 1  # there are ten batches
    assert error.learning_rate == pytest.approx(schedule(steps))
    assert f"epoch {error.epoch} at learning rate {error.learning_rate:g}" in str(error)
    assert len(error.history.loss) == error.epoch - 1
    assert all(np.isfinite(a).all() for a in (*net.weights, *net.biases))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)

    slice_by(monkeypatch, SLICINGS["a step a slice"])
    with pytest.raises(StopError):
        fit(twin, make(stops_at(steps, schedule)))
    assert bits(twin)[0] == bits(net)[0]


def test_a_bias_that_leaves_the_numbers_is_noticed_though_relu_hides_it():
    net = Network([1, 1, 1], seed=0)
    net.set_parameters([[[1.0]], [[1e9]]], [[1e-30], [1e-8]])
    # h_1 = 1e-30 and ŷ = 1e-8, so ∂L/∂β_0 is 10, and β_0 goes to −∞: h_1 and the loss stay finite from then on.
    with pytest.raises(DivergenceError):
        net.fit([[0.0]], [0.0], optimizer=SGD(1e38), epochs=3)
    assert net.biases[0] == np.float32(1e-30)


def test_moments_that_leave_the_numbers_are_noticed_though_adam_only_stands_still():
    net = network()
    with pytest.raises(DivergenceError):
        net.fit(1e18 * X, y, optimizer=Adam(0.01))  # g is about 1e36, g² beyond float32
    assert all(np.isfinite(tensor).all() for tensor in net.to_tensors()[0].values())


# --- denormals --------------------------------------------------------------------------------------------------


def keeps_denormals():
    return np.float32(1e-40) * np.float32(1) > 0 and np.float64(1e-310) * np.float64(1) > 0


def test_flushing_denormals_stays_within_the_run():
    seen = []
    fit(network(), SGD(0.01), callback=lambda *_: seen.append(keeps_denormals()))
    with pytest.raises(DivergenceError):
        fit(network(), SGD(1e30))
    assert seen == [True] * 10
    assert keeps_denormals()

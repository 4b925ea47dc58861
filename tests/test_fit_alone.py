"""Only one fit at a time changes a network; predictions, copies and other networks go on meanwhile."""

import copy
import pickle
import threading

import numpy as np
import pytest

from fastbp import Adam, Network

X = np.linspace(-1, 1, 60).reshape(20, 3)
Y = X[:, :1] ** 2


def bits(network):
    return [array.tobytes() for array in (*network.weights, *network.biases)]


@pytest.fixture
def running():
    """A network whose fit waits in its callback until the test has ended."""
    network, entered, leave = Network([3, 8, 1], seed=0), threading.Event(), threading.Event()

    def wait(_):
        entered.set()
        leave.wait(60)

    thread = threading.Thread(target=network.fit, args=(X, Y), kwargs={"epochs": 2, "callback": wait})
    thread.start()
    assert entered.wait(60)
    yield network
    leave.set()
    thread.join(60)
    network.fit(X, Y, epochs=1)  # the next fit may begin


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": Adam()}, {"epochs": 1, "n_threads": 2}, {"loss": "huber", "patience": 2}], ids=str
)
def test_a_second_fit_in_another_thread_is_refused_and_changes_nothing(running, options):
    before = bits(running)
    with pytest.raises(RuntimeError, match="being fitted"):
        running.fit(X, Y, **options)
    assert bits(running) == before


@pytest.mark.parametrize(
    "use",
    [
        lambda network: network.predict(X),
        lambda network: network.loss(X, Y),
        lambda network: network.gradients(X, Y),
        lambda network: network.forward(X),
        lambda network: pickle.loads(pickle.dumps(network)).fit(X, Y, epochs=1),
        lambda network: copy.deepcopy(network).fit(X, Y, epochs=1),
        lambda network: copy.copy(network).fit(X, Y, epochs=1),
        lambda _: Network([3, 1], seed=0).fit(X, Y, epochs=1),
    ],
)
def test_everything_but_a_second_fit_is_allowed_meanwhile(running, use):
    assert use(running) is not None


def test_a_network_can_be_saved_meanwhile(running, tmp_path):
    running.save(tmp_path / "model.fastbp")
    assert bits(Network.load(tmp_path / "model.fastbp")) == bits(running)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_a_callback_that_fits_the_same_network_gets_the_error(epochs):
    network = Network([3, 8, 1], seed=0)
    with pytest.raises(RuntimeError, match="callback"):
        network.fit(X, Y, epochs=epochs, callback=lambda progress: progress.model.fit(X, Y, epochs=1))
    network.fit(X, Y, epochs=epochs)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"dropout": 2}, {"loss": "none"}])
def test_a_fit_that_is_refused_leaves_the_network_free(wrong):
    network = Network([3, 1], seed=0)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        network.fit(X, Y, **wrong)
    network.fit(X, Y, epochs=1)

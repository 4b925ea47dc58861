"""The source of a NumPy program answers as the network that wrote it."""

import numpy as np
import pytest

import fastbp
from fastbp import activations


def program(network):
    namespace = {}
    exec(compile(network.to_numpy(), "network.py", "exec"), namespace)
    return namespace


def check(network, X):
    found, wanted = program(network)["predict"](X), network.predict(X)
    assert found.dtype == wanted.dtype
    tolerance = 2e-6 if network.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * max(1, np.abs(wanted).max(initial=0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_answers_the_same(name, dtype):
    X = np.random.default_rng(0).normal(size=(60, 3)) * np.logspace(-3, 2, 60)[:, None]
    check(fastbp.Network([3, 8, 8, 2], dtype=dtype, seed=0, activation=name), X)


@pytest.mark.parametrize("n_hidden", range(5))
def test_every_depth_answers_the_same_with_own_activations(n_hidden):
    own = [activations.leaky_relu(0.3), activations.elu(0.5), "identity", activations.elu(0.7)][:n_hidden]
    network = fastbp.Network([4, *[7, 5, 9, 6][:n_hidden], 3], seed=1, activation=own)
    network.set_parameters(network.weights, [biases + 0.3 for biases in network.biases])
    check(network, np.random.default_rng(1).normal(size=(50, 4)))
    check(network, np.empty((0, 4)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_parameters_come_back_to_the_bit(dtype):
    network = fastbp.Network([100, 200, 1], dtype=dtype, seed=2)
    found = program(network)
    for own, given in zip((*found["WEIGHTS"], *found["BIASES"]), (*network.weights, *network.biases), strict=True):
        assert own.dtype == given.dtype
        assert np.array_equal(own, given)


def test_the_source_is_short():
    source = fastbp.Network([2, 3, 1], seed=0, activation="gelu").to_numpy()
    assert sum(bool(line) for line in source.splitlines()) < 32
    assert max(map(len, source.splitlines())) <= 120


def test_a_users_activation_is_refused_by_name():
    def squared(f):
        return f * f, 2 * f

    with pytest.raises(ValueError, match="squared"):
        fastbp.Network([2, 4, 1], activation=activations.custom(squared), seed=0).to_numpy()

"""A network goes to torch and comes back; what has no counterpart is refused by name."""

import sys

import numpy as np
import pytest

import fastbp
from fastbp import activations

OWN = [activations.leaky_relu(0.3), activations.elu(0.5), *activations.NAMES]


def squared(f):
    return f * f, 2 * f


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", OWN, ids=str)
def test_every_activation_goes_to_torch_and_back(activation, dtype):
    torch = pytest.importorskip("torch")
    network = fastbp.Network(
        [3, 8, 5, 2], dtype=dtype, seed=0, activation=[activation, "relu" if activation == "tanh" else "tanh"]
    )
    network.set_parameters(network.weights, [biases - 0.2 for biases in network.biases])
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(dtype) * 3
    sequential = network.to_torch()
    with torch.no_grad():
        found = sequential(torch.from_numpy(X)).numpy()
    tolerance = 2e-6 if dtype == "float32" else 1e-8  # torch's softplus is f from 20 on
    np.testing.assert_allclose(found, network.predict(X), rtol=tolerance, atol=tolerance)
    again = fastbp.Network.from_torch(sequential)
    assert (again.layer_sizes, again.dtype, again.activation) == (network.layer_sizes, dtype, network.activation)
    assert np.array_equal(again.predict(X), network.predict(X))
    with torch.no_grad():
        sequential[0].weight.zero_()
    assert again.weights[0].any()
    assert network.weights[0].any()


def test_to_torch_takes_no_random_numbers():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fastbp.Network([3, 1], seed=0).to_torch()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sequential_of_a_user_is_taken_with_what_does_nothing_at_prediction():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Dropout(0.3), nn.GELU())
    sequential = nn.Sequential(nn.Flatten(), inner, nn.Linear(5, 4), nn.Identity(), nn.Linear(4, 2)).eval()
    network = fastbp.Network.from_torch(sequential)
    assert network.activation == ["gelu", "identity"]
    X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    with torch.no_grad():
        wanted = sequential(torch.from_numpy(X).reshape(20, 2, 3)).numpy()
    np.testing.assert_allclose(network.predict(X), wanted, rtol=2e-6, atol=2e-6)
    network.fit(X, wanted, epochs=2)
    half = fastbp.Network.from_torch(nn.Sequential(nn.Linear(2, 1)).to(torch.bfloat16))
    assert half.dtype == np.float32


def test_what_has_no_counterpart_is_refused_by_name():
    nn = pytest.importorskip("torch").nn
    for modules, told in (
        ([nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)], "1 = BatchNorm1d"),
        ([nn.Sequential(nn.Linear(2, 2), nn.PReLU()), nn.Linear(2, 1)], r"0\.1 = PReLU"),
        ([nn.Linear(2, 2), nn.ReLU6(), nn.Linear(2, 1)], "1 = ReLU6"),
        ([nn.Linear(2, 2), nn.Softplus(beta=2), nn.Linear(2, 1)], "1 = Softplus"),
        ([nn.Linear(2, 2), nn.Softplus(threshold=1), nn.Linear(2, 1)], "1 = Softplus"),
        ([nn.Linear(2, 2), nn.Hardtanh(0, 6), nn.Linear(2, 1)], "1 = Hardtanh"),
        ([nn.Linear(2, 2), nn.LeakyReLU(-1.0), nn.Linear(2, 1)], "1 = LeakyReLU"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.Tanh(), nn.Linear(2, 1)], "2 = Tanh"),
        ([nn.ReLU(), nn.Linear(2, 1)], "0 = ReLU"),
        ([nn.Linear(2, 1), nn.Sigmoid()], "ends in the activation logistic"),
        ([nn.ReLU()], "0 = ReLU"),
        ([], "no Linear"),
        ([nn.Linear(2, 3), nn.Linear(2, 1)], "weights"),
    ):
        with pytest.raises(ValueError, match=told):
            fastbp.Network.from_torch(nn.Sequential(*modules))
    with pytest.raises(TypeError, match="Linear"):
        fastbp.Network.from_torch(nn.Linear(2, 1))
    with pytest.raises(ValueError, match="squared"):
        fastbp.Network([2, 4, 1], activation=activations.custom(squared), seed=0).to_torch()


def test_a_missing_torch_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (fastbp.Network([2, 1], seed=0).to_torch, lambda: fastbp.Network.from_torch(None)):
        with pytest.raises(ImportError, match="pip install torch"):
            call()

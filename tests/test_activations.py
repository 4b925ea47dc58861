"""Activations with parameters, lists of activations, and users' own: values, gradients, files and messages."""

import copy
import math
import pickle

import numba
import numpy as np
import pytest

import fastbp
from fastbp import Network, activations
from fastbp.gradient_check import check_gradients
from fastbp.kernels.activations import PIECES
from fastbp.sklearn import MLPClassifier, MLPRegressor

torch = pytest.importorskip("torch")
functional = torch.nn.functional
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((53, 4)), rng.standard_normal((53, 3))


@numba.njit
def gaussian(f):
    return math.exp(-f * f)


def bump(f):
    h = gaussian(f)
    return h, -2 * f * h


def square(f):
    return f * f, 2 * f


def numpy_tanh(f):
    h = np.tanh(f)
    return h, 1 - h * h


CUSTOM = {
    "bump": (activations.custom(bump), lambda f: torch.exp(-f * f)),
    "square": (activations.custom(square), torch.square),
    "numpy_tanh": (activations.custom(numpy_tanh, gain=1.5), torch.tanh),
    "leaky_relu": (activations.leaky_relu(0.3), lambda f: functional.leaky_relu(f, 0.3)),
    "leaky_relu of slope 0": (activations.leaky_relu(0.0), torch.relu),
    "elu": (activations.elu(2.5), lambda f: functional.elu(f, 2.5)),
    "gelu": (activations.gelu, functional.gelu),
    "relu": (activations.relu, torch.relu),
    "identity": (activations.identity, lambda f: f),
}


def autograd(net, functions, x, y):
    weights, biases = ([torch.tensor(a, requires_grad=True) for a in arrays] for arrays in (net.weights, net.biases))
    h = torch.tensor(x)
    for weight, bias, function in zip(weights, biases, [*functions, lambda f: f], strict=True):
        h = function(h @ weight.T + bias)
    loss = ((h - torch.tensor(y)) ** 2).sum(1).mean() / 2
    loss.backward()
    return loss.item(), [a.grad.numpy() for a in (*weights, *biases)], h.detach().numpy()


@pytest.mark.parametrize("seed", range(24))
def test_a_list_of_activations_equals_autograd(seed):
    random = np.random.default_rng(seed)
    sizes = [4, *random.integers(1, 70, int(random.integers(1, 6))).tolist(), int(random.choice([3, 3, 40]))]
    names = random.choice(list(CUSTOM), len(sizes) - 2)
    given, functions = zip(*(CUSTOM[name] for name in names), strict=True)
    net, n = Network(sizes, "float64", seed, activation=list(given)), int(random.integers(1, 54))
    net.set_parameters(net.weights, [random.normal(0, 0.3, size) for size in sizes[1:]])
    y = random.standard_normal((n, sizes[-1]))
    wanted_loss, wanted, outputs = autograd(net, functions, X[:n], y)
    found = net.gradients(X[:n], y)
    np.testing.assert_allclose(net.predict(X[:n]), outputs, rtol=1e-11, atol=1e-11)
    assert found.loss == pytest.approx(wanted_loss, rel=1e-11)
    for a, b in zip((*found.weights, *found.biases), wanted, strict=True):
        assert np.linalg.norm(a - b) <= 1e-11 * (np.linalg.norm(b) or 1)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_fit_changes_no_bit_by_the_number_of_threads(n_threads, dropout):
    layers = ["gelu", activations.custom(bump), "softplus", "leaky_relu"]
    nets = [Network([4, 40, 33, 17, 50, 3], seed=1, activation=layers) for _ in range(2)]
    for net, threads in zip(nets, (1, n_threads), strict=True):
        net.fit(X, Y, batch_size=50, epochs=5, optimizer=fastbp.Adam(0.01), n_threads=threads, dropout=dropout)
    for a, b in zip(nets[0].weights, nets[1].weights, strict=True):
        assert np.array_equal(a, b)


def test_a_custom_copy_of_tanh_learns_the_same():
    nets = [Network([4, 9, 3], "float64", 1, activation=one) for one in ("tanh", activations.custom(numpy_tanh))]
    losses = [net.fit(X, Y, epochs=20).loss for net in nets]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_padding_stays_zero_where_an_activation_of_zero_is_not_zero():
    net = Network([4, 5, 3], activation=activations.custom(bump), seed=0)  # bump(0) = 1
    history = net.fit(X, Y, epochs=30)
    wider = Network([4, 5, 3], activation=activations.custom(bump), seed=0)
    assert history.loss == wider.fit(X, Y, epochs=30).loss
    outputs = net.predict(X)
    h = np.exp(-((X @ net.weights[0].T + net.biases[0]) ** 2))
    np.testing.assert_allclose(outputs, h @ net.weights[1].T + net.biases[1], rtol=2e-5, atol=2e-5)


def test_gradients_of_every_kind_pass_the_check():
    for layers in (["hard_tanh", "elu"], ["mish", activations.elu(0.5)], [activations.custom(bump), "selu"]):
        net = Network([4, 6, 5, 3], "float64", 0, activation=layers)
        assert check_gradients(net, X[:9], Y[:9]).ok


def test_initial_weights_have_the_gain_of_the_activation_that_follows():
    net = Network([400, 300, 200, 1], seed=0, activation=["selu", "gelu"])
    assert net.weights[0].var() * 400 == pytest.approx(1, rel=0.05)
    assert net.weights[1].var() * 300 == pytest.approx(2, rel=0.05)
    custom = Network([400, 300, 1], seed=0, activation=activations.custom(bump, gain=3))
    assert custom.weights[0].var() * 400 == pytest.approx(3, rel=0.05)


# --- names, copies and files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "activation",
    [
        *("gelu", "elu", activations.elu(0.5), activations.leaky_relu(0.2)),
        *(["gelu", "relu"], [activations.elu(2.0), "identity"]),
    ],
    ids=str,
)
def test_a_network_keeps_its_activations(activation, tmp_path):
    net = Network([3, 4, 5, 1], seed=0, activation=activation)
    assert net.activation == activation
    assert eval(repr(net), vars(activations) | {"Network": Network}).activation == activation
    net.fit(X[:, :3], Y[:, 0], epochs=2)
    net.save(tmp_path / "net.fastbp")
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "net.fastbp")):
        assert other.activation == activation
        assert np.array_equal(other.predict(X[:, :3]), net.predict(X[:, :3]))


def test_the_default_parameter_is_the_name():
    assert Network([3, 4, 1], activation=activations.elu()).activation == "elu"
    assert Network([3, 4, 1], activation=("tanh",)).activation == ["tanh"]
    assert Network([3, 1], activation=[]).activation == "relu"


def test_a_loaded_network_needs_the_function_of_its_activation(tmp_path):
    own = activations.custom(square)
    net = Network([4, 6, 5, 3], seed=0, activation=["relu", own])
    net.fit(X, Y, epochs=1)
    net.save(tmp_path / "net.fastbp")
    loaded = Network.load(tmp_path / "net.fastbp")
    assert repr(loaded) == "Network([4, 6, 5, 3], dtype='float32', activation=['relu', custom(square)])"
    with pytest.raises(ValueError, match="square is a user's function, which a model file does not hold: load the"):
        loaded.predict(X)
    loaded = Network.load(tmp_path / "net.fastbp", activation=["relu", own])
    assert np.array_equal(loaded.predict(X), net.predict(X))
    assert loaded.fit(X, Y, epochs=1).loss == net.fit(X, Y, epochs=1).loss
    for other in ("relu", ["relu", "relu"], ["tanh", own], ["relu", activations.custom(bump)], ["relu", own, own]):
        with pytest.raises(ValueError, match="activation"):
            Network.load(tmp_path / "net.fastbp", activation=other)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_copies_keep_the_function_and_pickles_its_place():
    net = Network([4, 6, 5, 3], seed=0, activation=["relu", activations.custom(square)])
    model = MLPRegressor(hidden_layer_sizes=(5,), activation=activations.custom(square), max_iter=3, random_state=0)
    model.fit(X, Y)
    for trained in (net, model):
        for other in (copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
            assert np.array_equal(other.predict(X), trained.predict(X))

    def local(f):
        return f, 1.0

    net = Network([4, 6, 3], seed=0, activation=activations.custom(local))
    assert np.array_equal(copy.deepcopy(net).predict(X), net.predict(X))
    with pytest.raises(ValueError, match="local is a user's function"):
        pickle.loads(pickle.dumps(net)).predict(X)


def test_the_drop_in_takes_every_activation():
    for activation in ("gelu", ["silu", activations.custom(bump)]):
        model = MLPRegressor(hidden_layer_sizes=(7, 5), activation=activation, max_iter=30, random_state=0)
        with pytest.warns(UserWarning, match="Maximum iterations"):
            model.fit(X, Y)
        net = Network([4, 7, 5, 3], "float64", activation=activation)
        net.set_parameters([a.T for a in model.coefs_], model.intercepts_)
        np.testing.assert_allclose(model.predict(X), net.predict(X), rtol=1e-12)
    found = MLPClassifier((5,), activation="mish", solver="lbfgs", random_state=0, max_iter=500).fit(X, X[:, 0] > 0)
    assert found.score(X, X[:, 0] > 0) > 0.95
    with pytest.raises(ValueError, match="one for each of the 2, got a list of 1"):
        MLPRegressor(hidden_layer_sizes=(7, 5), activation=["gelu"]).fit(X, Y)


# --- messages -----------------------------------------------------------------------------------------------


def returns_one(f):
    return f


def takes_two(f, y):
    return f, y


def wrong_derivative(f):
    return f * f * f, 3 * f


def twice(f):
    return 2 * f


def calls_python(f):
    return twice(f), 2.0


def fails_beyond_one(f):
    if abs(f) > 8:
        raise ValueError("too large")
    return f, 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: activations.custom(3), TypeError, "function must be a function of f, got 3"),
        (lambda: activations.custom(takes_two), TypeError, "function must take f, and takes_two does not"),
        (lambda: activations.custom(square, gain=0), ValueError, "gain must be"),
        (lambda: activations.leaky_relu(-1), ValueError, "negative_slope must be"),
        (lambda: activations.elu("a"), TypeError, "alpha must be"),
        (lambda: Network([3, 4, 1], activation=square), TypeError, r"activations.custom\(function\) makes"),
        (lambda: Network([3, 4, 1], activation=activations.elu), TypeError, r"call it, as in activations.elu\(\)"),
        (lambda: Network([3, 4, 1], activation=["relu"] * 2), ValueError, "one for each of the 1, got a list of 2"),
        (lambda: Network([3, 4, 1], activation=["gulu"]), ValueError, "must be one of relu, .*; got 'gulu'"),
        (lambda: Network([3, 4, 1], activation=activations.custom(returns_one)), TypeError, "must return"),
        (lambda: Network([3, 4, 1], activation=activations.custom(wrong_derivative)), ValueError, "is wrong: for f = "),
        (
            lambda: Network([4, 4, 1], activation=activations.custom(calls_python)).predict(X),
            TypeError,
            "cannot compile the activation calls_python: Functions that it calls need numba.njit",
        ),
        (
            lambda: Network([4, 4, 3], activation=activations.custom(fails_beyond_one)).fit(100 * X, Y),
            fastbp.DivergenceError,
            "loss",
        ),
    ],
)
def test_a_wrong_activation_is_one_clear_error(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_every_piece_has_a_name_that_users_can_give():
    assert set(PIECES) == set(activations.NAMES) - {"relu", "identity"}

"""Losses of one's own: built-in losses written anew, PyTorch's derivatives, one clear error before the first step."""

import math

import networks
import numba
import numpy as np
import pytest

import fastbp
from fastbp import losses
from fastbp.sklearn import MLPRegressor

DTYPES = ("float32", "float64")
SIZES = [(4, 6, 1), (4, 6, 3), (4, 9, 17), (4, 9, 20)]  # narrow outputs and wide ones


# --- losses that are written anew ---------------------------------------------------------------------------


def squared(f, y):
    r = f - y
    return 0.5 * r * r, r


def binary_cross_entropy(f, y):
    e = math.exp(-abs(f))
    return max(f, 0.0) - y * f + math.log1p(e), (1.0 if f > 0 else e) / (1 + e) - y


def poisson(f, y):
    e = math.exp(f)
    return e - y * f, e - y


def huber(f, y):
    r = f - y
    clipped = min(max(r, -0.7), 0.7)
    return clipped * (r - clipped * 0.5), clipped


def absolute(f, y):
    r = f - y
    return abs(r), np.sign(r)


def pinball(q):
    def loss(f, y):
        r = y - f
        return max(q * r, (q - 1) * r), (1 - q) * (r < 0) - q * (r > 0)

    return loss


def squared_row(f, y, derivative):
    total = 0.0
    for o in range(len(f)):
        derivative[o] = f[o] - y[o]
        total += 0.5 * derivative[o] ** 2
    return total


COPIES = {
    "squared_error": (losses.custom(squared), losses.squared_error),
    "binary_cross_entropy": (losses.custom(binary_cross_entropy, link="logistic"), losses.binary_cross_entropy),
    "poisson": (losses.custom(poisson, link="exp"), losses.poisson),
    "huber": (losses.custom(huber), losses.huber(0.7)),
    "absolute_error": (losses.custom(absolute), losses.absolute_error),
    "quantile": (losses.custom(pinball(0.9)), losses.quantile(0.9)),
    "squared_error by rows": (losses.custom_rows(squared_row), losses.squared_error),
}
TO_THE_BIT = ("squared_error", "huber")
each_copy = pytest.mark.parametrize("name", COPIES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_size = pytest.mark.parametrize("sizes", SIZES, ids=str)


def batch(n, sizes, of=losses.squared_error, seed=0):
    """Return rows, targets and weights, of which every third is 0."""
    random = np.random.default_rng([seed, n, *sizes])
    X, shape = random.standard_normal((n, sizes[0])), (n, sizes[-1])
    y = 2 * random.standard_normal(shape)
    if of.link == "logistic":
        y = random.random(shape)
    if of.link == "exp":
        y = random.poisson(2.0, shape).astype(float)
    return X, y, random.random(n) * (np.arange(n) % 3 > 0)


def error_of(dtype, sizes, name):
    """Return the relative error that the rounding of a loss and its sum over outputs can explain."""
    return (1e-14 if dtype == "float64" else 1e-5) * (1 if name in TO_THE_BIT else 4) * (1 + sizes[-1] / 8)


@each_copy
@each_dtype
@each_size
@pytest.mark.parametrize("n", [1, 16, 37])
def test_a_copy_has_the_loss_and_the_gradients_of_the_built_in_loss(name, dtype, sizes, n):
    own, built_in = COPIES[name]
    net = networks.network(*sizes, dtype=dtype)
    X, y, weight = batch(n, sizes, built_in)
    for sample_weight in (None, weight + (n == 1)):
        got, wanted = (net.gradients(X, y, loss, sample_weight) for loss in (own, built_in))
        error = error_of(dtype, sizes, name)
        np.testing.assert_allclose(got.loss, wanted.loss, rtol=error)
        assert net.loss(X, y, own, sample_weight) == got.loss
        for a, b in zip((*got.weights, *got.biases), (*wanted.weights, *wanted.biases), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=error * np.abs(b).max())
        if name in TO_THE_BIT:
            assert all(np.array_equal(a, b) for a, b in zip(got.weights, wanted.weights, strict=True))
        # The gradient of ŷ is the derivative itself, so no sum over rows hides an error.
        ulps = 0 if name in TO_THE_BIT else 4
        ε = np.finfo(dtype).eps * ulps
        np.testing.assert_allclose(got.f[-1], wanted.f[-1], rtol=ε, atol=ε * np.abs(y).max() / max(n / 4, 1))


def positive_only(f, y):
    if y <= 0:
        raise ValueError("a target that is not there")
    return 0.5 * (f - y) ** 2, f - y


@each_dtype
@each_size
@pytest.mark.parametrize("n", [1, 16, 37])
def test_a_function_sees_true_targets_alone(dtype, sizes, n):
    """The last line of a batch and the last panel of the outputs have places that stand for no row and no output."""
    net = networks.network(*sizes, dtype=dtype)
    X, y, _ = batch(n, sizes)
    y = np.abs(y) + 0.1
    assert net.loss(X, y, losses.custom(positive_only)) == pytest.approx(net.loss(X, y), rel=1e-5)


@each_copy
@each_dtype
@each_size
def test_a_fit_with_a_copy_is_the_fit_with_the_built_in_loss(name, dtype, sizes):
    own, built_in = COPIES[name]
    X, y, weight = batch(75, sizes, built_in)
    held_out = batch(21, sizes, built_in, seed=1)
    options = {"batch_size": 16, "epochs": 4, "sample_weight": weight, "validation_data": held_out}
    nets = [networks.network(*sizes, dtype=dtype) for _ in "ab"]
    history, wanted = (
        net.fit(X, y, loss, fastbp.SGD(0.01, momentum=0.9), **options)
        for net, loss in zip(nets, (own, built_in), strict=True)
    )
    error = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(history.loss, wanted.loss, rtol=error)
    np.testing.assert_allclose(history.validation_loss, wanted.validation_loss, rtol=error)
    for a, b in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=error * np.abs(b).max())
        assert name not in TO_THE_BIT or np.array_equal(a, b)


@each_copy
@each_size
def test_the_gradient_check_takes_a_copy(name, sizes):
    own, built_in = COPIES[name]
    X, y, weight = batch(6, sizes, built_in)
    for dtype in DTYPES:
        check = fastbp.check_gradients(networks.network(*sizes, dtype=dtype), X, y, own, weight)
        assert check.ok, f"\n{check}"


# --- PyTorch's derivatives ----------------------------------------------------------------------------------


def asymmetric(f, y):
    r = f - y
    return (3 * r * r, 6 * r) if r > 0 else (0.5 * r * r, r)


def focal(f, y):
    """−(1 − p)² log p of the class that is there, for y of 0 or 1."""
    sign = 2 * y - 1
    p = 1 / (1 + math.exp(-sign * f))
    return -((1 - p) ** 2) * math.log(p), sign * (1 - p) ** 2 * (2 * p * math.log(p) - (1 - p))


def log_cosh(f, y):
    r = f - y
    return abs(r) + math.log1p(math.exp(-2 * abs(r))) - math.log(2), math.tanh(r)


def gaussian(f, y, derivative):
    r, precision = f[0] - y[0], math.exp(-f[1])
    derivative[0] = r * precision
    derivative[1] = 0.5 * (1 - r * r * precision)
    return 0.5 * (f[1] + r * r * precision)


def ordinal(f, y, derivative):
    """Cumulative logits of three classes: the cuts are 0 and 2, ŷ_0 is the place, and exp(ŷ_1 / 8) the scale."""
    scale = math.exp(f[1] / 8)
    low, high = (0.0 - f[0]) * scale, (2.0 - f[0]) * scale
    s, t = 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))
    ds, dt = s * (1 - s), t * (1 - t)
    if y[0] == 0:
        p, by_low, by_high = s, ds, 0.0
    elif y[0] == 1:
        p, by_low, by_high = t - s, -ds, dt
    else:
        p, by_low, by_high = 1 - t, 0.0, -dt
    derivative[0] = (by_low + by_high) * scale / p
    derivative[1] = -(by_low * low + by_high * high) / p / 8
    return -math.log(p)


def in_torch(torch):
    """Return the same losses for tensors ŷ and y, (n, outputs), one number per row."""

    def ordinal_of(f, y):
        s, t = (torch.sigmoid((cut - f[:, 0]) * torch.exp(f[:, 1] / 8)) for cut in (0.0, 2.0))
        p = torch.where(y[:, 0] == 0, s, torch.where(y[:, 0] == 1, t - s, 1 - t))
        return -torch.log(p)

    def focal_of(f, y):
        p = torch.sigmoid((2 * y - 1) * f)
        return (-((1 - p) ** 2) * torch.log(p)).sum(1)

    def asymmetric_of(f, y):
        r = f - y
        return torch.where(r > 0, 3 * r**2, 0.5 * r**2).sum(1)

    return {
        "asymmetric": asymmetric_of,
        "focal": focal_of,
        "log_cosh": lambda f, y: torch.log(torch.cosh(f - y)).sum(1),
        "gaussian": lambda f, y: 0.5 * (f[:, 1] + (f[:, 0] - y[:, 0]) ** 2 * torch.exp(-f[:, 1])),
        "ordinal": ordinal_of,
    }


NUMBERS, ROWS = (asymmetric, focal, log_cosh), (gaussian, ordinal)


@pytest.mark.parametrize("function", [*NUMBERS, *ROWS], ids=lambda function: function.__name__)
def test_gradients_are_those_of_pytorch(function):
    torch = pytest.importorskip("torch")
    wanted_loss = in_torch(torch)[function.__name__]
    sees_rows = function in ROWS
    loss = losses.custom_rows(function) if sees_rows else losses.custom(function)
    for seed in range(12):
        random = np.random.default_rng(seed)
        sizes = [*random.integers(1, 12, random.integers(1, 4)), 2 if sees_rows else random.choice([1, 2, 5, 16, 21])]
        n = int(random.integers(1, 50))
        net = fastbp.Network(sizes, "float64", seed=seed, activation=random.choice(["relu", "tanh"]))
        X, weight = random.standard_normal((n, sizes[0])), random.random(n) * (np.arange(n) % 4 != 1)
        y = random.standard_normal((n, 1 if sees_rows else sizes[-1]))
        y = {focal: (y > 0.5) * 1.0, ordinal: np.digitize(y, [-0.5, 0.5]) * 1.0}.get(function, y)
        parameters = [torch.tensor(np.array(a), requires_grad=True) for a in (*net.weights, *net.biases)]
        h = torch.tensor(X)
        K = len(sizes) - 2
        for i, (Ω, β) in enumerate(zip(parameters[: K + 1], parameters[K + 1 :], strict=True)):
            f = h @ Ω.T + β
            h = torch.relu(f) if net.activation == "relu" else torch.tanh(f)
            assert (i == K) == (f.shape[1] == sizes[-1] and i + 1 == len(net.weights))
        value = (wanted_loss(f, torch.tensor(y)) * torch.tensor(weight)).sum() / weight.sum()
        value.backward()
        for targets in (y, y[:, 0]) if y.shape[1] == 1 else (y,):
            got = net.gradients(X, targets, loss, weight)
            np.testing.assert_allclose(got.loss, value.item(), rtol=1e-11)
            for a, b in zip((*got.weights, *got.biases), parameters, strict=True):
                largest = max(1e-3, float(b.grad.abs().max()))
                np.testing.assert_allclose(a, b.grad.numpy(), rtol=0, atol=1e-11 * largest)


# --- threads, and functions of every kind -------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(4, 64, 2), (4, 64, 20)], ids=str)
@pytest.mark.parametrize("function", [log_cosh, squared_row], ids=lambda function: function.__name__)
def test_any_number_of_threads_gives_the_same_bits(function, sizes):
    loss = losses.custom_rows(function) if function is squared_row else losses.custom(function)
    X, y, weight = batch(700, sizes)
    fits = [
        networks.fitted(X, y, loss, net=sizes, batch_size=256, sample_weight=weight, n_threads=n_threads)
        for n_threads in (1, 2)
    ]
    assert fits[0] == fits[1]


@numba.njit
def squared_of(r):
    return 0.5 * r * r


def calls_another(f, y):
    return squared_of(f - y), f - y


def test_functions_of_every_kind_train_alike():
    half = 0.5
    X, y, _ = batch(50, (4, 8, 3))
    wanted = networks.network(4, 8, 3, dtype="float64")
    wanted.fit(X, y, epochs=2)
    for function in (
        lambda f, y: (0.5 * (f - y) ** 2, f - y),
        lambda f, y: (half * (f - y) ** 2, f - y),
        lambda f, y, scale=0.5: (scale * (f - y) ** 2, f - y),
        calls_another,
        numba.njit(squared),
    ):
        net = networks.network(4, 8, 3, dtype="float64")
        net.fit(X, y, losses.custom(function), epochs=2)
        for a, b in zip(net.weights, wanted.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)


def test_two_functions_of_one_name_do_not_mix():
    X, y, _ = batch(20, (4, 1))
    net = networks.network(4, 1, dtype="float64")
    own = [losses.custom(pinball(q)) for q in (0.1, 0.9)]
    assert own[0] != own[1]
    for loss, q in zip(own * 2, (0.1, 0.9) * 2, strict=True):
        assert net.loss(X, y, loss) == pytest.approx(net.loss(X, y, losses.quantile(q)), rel=1e-14)


@pytest.mark.parametrize(("function", "at"), [(absolute, 0.0), (huber, 0.7), (pinball(0.9), 0.0)])
def test_the_gradient_check_leaves_out_kinks_of_a_function(function, at):
    X, y, _ = batch(6, (4, 5, 1))
    for seed in range(12):
        net = fastbp.Network((4, 5, 1), "float64", seed, "tanh")
        for distance in (0.0, 3e-7, -2e-6, 4e-6):
            near = y.copy()
            near[0] = net.predict(X)[0] + at + distance
            check = fastbp.check_gradients(net, X, near, losses.custom(function))
            assert all(array.ok for array in check.arrays), f"\n{check}"
    assert sum(array.checked for array in check.arrays) > 0


def test_two_kinks_that_cancel_for_half_a_step_are_left_out_too():
    net = fastbp.Network((1, 1), "float64")
    net.set_parameters([[[1.0]]], [[0.0]])
    y = 1e-5 * np.array([-0.75, 0.25])
    check = fastbp.check_gradients(net, [[0.0], [0.0]], y, losses.custom(absolute), epsilon=1e-5)
    assert [(array.ok, array.kinks) for array in check.arrays] == [(True, 0), (True, 1)]


def test_the_gradient_check_sees_a_wrong_gradient_beside_a_kink(monkeypatch):
    X, y, _ = batch(6, (4, 5, 1))
    net = fastbp.Network((4, 5, 1), "float64", 0, "tanh")
    right = net.gradients

    def wrong(*arguments, **keywords):
        gradients = right(*arguments, **keywords)
        gradients.weights[0][2, 3] *= 1 + 5e-6
        return gradients

    y[0] = net.predict(X)[0] + 0.1  # near a kink, but not within a step
    monkeypatch.setattr(net, "gradients", wrong)
    check = fastbp.check_gradients(net, X, y, losses.custom(squared))
    assert [array.name for array in check.arrays if not array.ok] == ["Ω_0"]
    assert all(array.kinks == 0 for array in check.arrays)
    check = fastbp.check_gradients(net, X, y, losses.custom(absolute))
    assert [array.name for array in check.arrays if not array.ok] == ["Ω_0"]


def test_kinks_are_not_refuted_and_a_row_may_be_wide():
    def hinge(f, _):  # its kink lies where ŷ is a whole number
        return abs(f - round(f)), 1.0 if f > round(f) else -1.0

    X, y, _ = batch(40, (4, 60))
    net = networks.network(4, 60, dtype="float64")
    for loss in (losses.custom(hinge), losses.custom(absolute), losses.custom_rows(squared_row)):
        assert math.isfinite(net.loss(X, y.round(), loss))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_regressor_takes_a_function(solver):
    X, y, _ = batch(60, (4, 2))
    options = {"hidden_layer_sizes": (7,), "solver": solver, "max_iter": 5, "random_state": 0}
    own = MLPRegressor(loss=losses.custom(squared), **options).fit(X, y)
    wanted = MLPRegressor(**options).fit(X, y)
    np.testing.assert_allclose(own.predict(X), wanted.predict(X), rtol=1e-9, atol=1e-9)

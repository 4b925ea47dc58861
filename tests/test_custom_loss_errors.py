"""Losses of one's own that are wrong are one clear error, and model files hold only their names."""

import functools
import math

import networks
import numpy as np
import pytest

import fastbp
from fastbp import losses

X = np.random.default_rng(0).standard_normal((40, 3))
Y = 3 * X[:, :1]


def squared(f, y):
    return 0.5 * (f - y) ** 2, f - y


def by_rows(f, y, derivative):
    derivative[0] = f[0] - y[0]
    return 0.5 * derivative[0] ** 2


class Callable:
    def __call__(self, f, y):
        return squared(f, y)


@pytest.mark.parametrize(
    "function", [3, "huber", None, list, functools.partial(squared), Callable(), by_rows, math.hypot]
)
def test_what_is_no_function_of_two_numbers_is_refused(function):
    with pytest.raises(TypeError, match="function must"):
        losses.custom(function)


def test_a_function_of_rows_takes_three_arguments_and_a_link_has_a_name():
    with pytest.raises(TypeError, match="function must take"):
        losses.custom_rows(squared)
    with pytest.raises(ValueError, match="link must be one of"):
        losses.custom(squared, link="probit")


def not_compiled(f, y):
    type("x", (), {})
    return squared(f, y)


def silent(f, y, _derivative):
    return 0.5 * (f[0] - y[0]) ** 2


WRONG = [
    (losses.custom(not_compiled), TypeError, "Numba cannot compile the loss not_compiled"),
    (losses.custom(lambda f, _y: (f * f, f)), ValueError, "derivative of the loss <lambda> is wrong: for ŷ = "),
    (losses.custom(lambda f, y: (0.5 * (f - y) ** 2, 1.001 * (f - y))), ValueError, "is wrong"),
    (losses.custom(lambda f, _y: f), TypeError, "must return"),
    (losses.custom(lambda f, _y: (f, 1.0, 0.0)), TypeError, "must return"),
    (losses.custom(lambda f, y: (math.log(f - y), 1 / (f - y))), TypeError, "math domain|positive input"),
    (losses.custom(lambda _f, _y: (math.inf, 0.0)), ValueError, "is not finite"),
    (losses.custom_rows(silent), ValueError, "does not write every derivative"),
    (losses.custom_rows(lambda _f, _y, d: d.fill(1.0)), TypeError, "must return the loss"),
    (squared, TypeError, "makes a loss of a function"),
    (losses.custom, TypeError, "call it"),
]


@pytest.mark.parametrize(("loss", "kind", "message"), WRONG)
def test_a_wrong_function_is_one_error_and_the_network_is_unchanged(loss, kind, message):
    net = networks.network(3, 5, 1, dtype="float64")
    before = networks.bits(net)
    for _ in range(2):
        for call in (net.fit, net.loss, net.gradients):
            with pytest.raises(kind, match=message):
                call(X, Y, loss=loss)
    assert networks.bits(net) == before


@pytest.mark.parametrize("place", [300.0, 1e5])
def test_a_wrong_branch_is_found_whatever_the_unit_of_the_targets(place):
    loss = losses.custom(lambda f, y: (0.5 * (f - y) ** 2, f - y if f < y else 2 * (f - y)))
    with pytest.raises(ValueError, match="is wrong"):
        networks.network(3, 1).loss(X, Y + place, loss)


def test_a_value_that_cancels_refutes_no_derivative():
    def ordinal(f, _y):  # log of a difference of two numbers near 1
        low, high = 1 / (1 + math.exp(-12 * f)), 1 / (1 + math.exp(-12 * f - 24))
        return -math.log(high - low + 1e-18), -12 * (high * (1 - high) - low * (1 - low)) / (high - low + 1e-18)

    X, y = np.ones((5, 1)), np.zeros((5, 1))
    assert math.isfinite(networks.network(1, 1, dtype="float64").loss(X, y, losses.custom(ordinal)))


def test_an_error_in_the_compiled_function_is_seen():
    def late(f, y):
        if f - y > 1e6:
            raise ValueError
        return 0.5 * (f - y) ** 2, f - y

    net = networks.network(3, 1, dtype="float64")
    assert not math.isfinite(net.loss(X * 1e9, Y, losses.custom(late)))


def test_a_model_file_holds_the_name_and_predicts(tmp_path):
    net = networks.network(3, 5, 1)
    net.fit(X, Y, losses.custom(squared, link="exp"), epochs=2)
    net.save(tmp_path / "net.fastbp")
    made = fastbp.Network.load(tmp_path / "net.fastbp")
    assert np.array_equal(made.predict(X), net.predict(X))
    assert str(made.trained_loss) == "custom(squared)"
    assert made.trained_loss.link == "exp"
    for call in (made.fit, made.loss, made.gradients):
        with pytest.raises(ValueError, match=r"pass loss=fastbp\.losses\.custom\(squared\)"):
            call(X, Y)
    before = networks.bits(made)
    made.fit(X, Y, loss=losses.custom(squared), epochs=1)
    assert networks.bits(made) != before
    assert made.fit(X, Y, epochs=1).loss[0] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"parameter": 1.0},
        {"is_custom": 1},
        {"sees_rows": "no"},
        {"link": "probit"},
        {"more": 1},
        {"link": None},
    ],
)
def test_a_damaged_description_is_refused(change):
    described = losses.custom(squared).describe()
    assert losses.from_description(described).name == "squared"
    with pytest.raises(ValueError, match="loss must be the description of one"):
        losses.from_description(described | change)

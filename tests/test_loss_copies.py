"""Copies of what was trained with a loss of one's own: which of them know the function, and that all predict."""

import copy
import pickle
import sys
import types

import networks
import numba
import numpy as np
import pytest

import fastbp
from fastbp import losses
from fastbp.sklearn import MLPRegressor

X = np.random.default_rng(0).standard_normal((40, 3))
Y = 3 * X[:, 0]


def squared(f, y):
    return 0.5 * (f - y) ** 2, f - y


@numba.njit
def compiled(f, y):
    return 0.5 * (f - y) ** 2, f - y


def by_rows(f, y, derivative):
    derivative[0] = f[0] - y[0]
    return 0.5 * derivative[0] ** 2


class Costs:
    @staticmethod
    def cost(f, y):
        return 0.5 * (f - y) ** 2, f - y


def local():
    def loss(f, y):
        return 0.5 * (f - y) ** 2, f - y

    return loss


def trained(loss):
    net = networks.network(3, 5, 1)
    net.fit(X, Y, loss, epochs=2)
    return net


def fitted(loss):
    return MLPRegressor(loss=loss, hidden_layer_sizes=(5,), solver="sgd", max_iter=2, random_state=0).fit(X, Y)


def copied(made):
    return [copy.deepcopy(made), copy.copy(made)]


def pickled(made):
    return [pickle.loads(pickle.dumps(made, protocol)) for protocol in (2, pickle.HIGHEST_PROTOCOL)]


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FOUND = [losses.custom(squared), losses.custom(compiled), losses.custom(Costs.cost), losses.custom_rows(by_rows)]
each_found = pytest.mark.parametrize("loss", FOUND, ids=str)


@each_found
def test_copies_and_pickles_of_a_network_know_a_function_of_a_module(loss):
    net = trained(loss)
    for made in (*copied(net), *pickled(net)):
        assert made.trained_loss == loss
        assert made.loss(X, Y) == net.loss(X, Y)
        assert made.fit(X, Y, epochs=1).loss[0] > 0
        assert networks.bits(made) != networks.bits(net)


def test_copies_of_a_network_know_any_function_and_pickles_its_name():
    net = trained(losses.custom(local(), link="exp"))
    for made in copied(net):
        assert made.trained_loss == net.trained_loss
        made.fit(X, Y, epochs=1)
    for made in pickled(net):
        np.testing.assert_array_equal(made.predict(X), net.predict(X))
        assert made.trained_loss.function is None
        assert (str(made.trained_loss), made.trained_loss.link) == ("custom(loss)", "exp")
        with pytest.raises(ValueError, match=r"pass loss=fastbp\.losses\.custom\(loss\)"):
            made.loss(X, Y)


@pytest.mark.parametrize("make", [trained, fitted])
@pytest.mark.parametrize("left", ["no module", "no function", "a number", "another function", "the function"])
def test_a_pickle_is_read_where_the_function_is_missing(monkeypatch, make, left):
    module, other = types.ModuleType("costs_of_a_user"), types.ModuleType("costs_of_a_user")
    source = "def cost(f, y):\n    return 0.5 * (f - y) ** 2, f - y\n"
    exec(source, vars(module))
    monkeypatch.setitem(sys.modules, "costs_of_a_user", module)
    made = make(losses.custom(module.cost))
    text = pickle.dumps(made)
    assert b"cost" in text
    if left == "no module":
        monkeypatch.delitem(sys.modules, "costs_of_a_user")
    elif left == "no function":
        del module.cost
    elif left == "a number":
        module.cost = 3
    elif left == "another function":  # a new version of the module
        exec(source, vars(other))
        monkeypatch.setitem(sys.modules, "costs_of_a_user", other)
    found = pickle.loads(text)
    np.testing.assert_array_equal(found.predict(X), made.predict(X))
    loss = found.trained_loss if make is trained else found.loss
    wanted = {"another function": getattr(other, "cost", None), "the function": getattr(module, "cost", None)}
    assert loss.function is wanted.get(left)
    assert str(loss) == "custom(cost)"


def test_a_function_whose_name_means_another_one_now_is_pickled_by_its_name_alone(monkeypatch):
    old = squared
    net = trained(losses.custom(old))
    monkeypatch.setattr(sys.modules[__name__], "squared", local())
    assert pickle.loads(pickle.dumps(net)).trained_loss.function is None


@pytest.mark.parametrize("loss", [None, "huber", losses.quantile(0.9)])
def test_other_losses_are_copied_and_pickled_as_before(loss):
    net = networks.network(3, 5, 1)
    if loss is not None:
        net.fit(X, Y, loss)
    for made in (*copied(net), *pickled(net)):
        assert made.trained_loss == net.trained_loss
        assert networks.bits(made) == networks.bits(net)


@each_found
def test_copies_and_pickles_of_an_estimator_know_a_function_of_a_module(loss):
    model = fitted(loss)
    for made in (*copied(model), *pickled(model)):
        assert made.loss == loss
        np.testing.assert_array_equal(made.predict(X), model.predict(X))
        made.partial_fit(X, Y)


def test_copies_of_an_estimator_know_any_function_and_pickles_its_name():
    model = fitted(losses.custom(local()))
    for made in copied(model):
        assert made.loss == model.loss
        made.partial_fit(X, Y)
    for made in pickled(model):
        np.testing.assert_array_equal(made.predict(X), model.predict(X))
        assert made.loss.function is None
        with pytest.raises(ValueError, match=r"pass loss=fastbp\.losses\.custom\(loss\)"):
            made.partial_fit(X, Y)


def test_an_estimator_that_was_never_fitted_is_pickled_with_the_function_itself():
    """So cloudpickle can send a function of a notebook to the workers of a search."""
    model = MLPRegressor(loss=losses.custom(squared))
    assert isinstance(model.__getstate__()["loss"], losses.Loss)
    assert pickle.loads(pickle.dumps(model)).loss.function is squared
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(MLPRegressor(loss=losses.custom(local())))


def test_a_model_file_holds_no_place_of_a_function(tmp_path):
    trained(losses.custom(squared)).save(tmp_path / "net.fastbp")
    assert b"test_loss_copies" not in (tmp_path / "net.fastbp").read_bytes()
    assert fastbp.Network.load(tmp_path / "net.fastbp").trained_loss.function is None


@pytest.mark.parametrize(
    ("loss", "was"),
    [(losses.custom(squared), r"custom\(squared\)"), (losses.custom_rows(by_rows), r"custom_rows\(by_rows\)")],
)
def test_probabilities_need_a_link_and_the_message_says_how(loss, was):
    wanted = rf"binary_cross_entropy or losses\.custom\(function, link='logistic' or 'softmax'\); .* with {was}"
    with pytest.raises(ValueError, match=wanted):
        trained(loss).predict_proba(X)
    assert trained(losses.custom(squared, link="logistic")).predict_proba(X).shape == (40, 2)

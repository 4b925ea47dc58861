"""A network for tables: each part of the recipe against its formula, and a whole training against its NumPy twin."""

from dataclasses import replace

import numpy as np
import pytest
import reference

from fastbp import activations, losses
from fastbp.kernels.packing import bias_vectors, target_rows, weight_matrices
from fastbp.results import DivergenceError
from fastbp.schedules import LogarithmicCosine
from fastbp.tabular.encoding.coded import CodedRows, SeenRows
from fastbp.tabular.metrics import softmax
from fastbp.tabular.training.parts import Recipe
from fastbp.tabular.training.recipe import BIAS_RATE, SCALE_RATE, draw, packed, rate_factors, train
from fastbp.tabular.training.subfolds import Subfolds

RECIPE = Recipe("log_loss", hidden_layer_sizes=(7, 5), epochs=6, batch_size=16, learning_rate=0.04)


def table(n: int = 75, inputs: int = 4, classes: int = 3):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, inputs)).astype(np.float32)
    y = (X @ rng.standard_normal((inputs, classes)) + rng.standard_normal((n, classes))).argmax(axis=1)
    return X, np.eye(classes)[y], rng.random(n) + 0.5


SUBFOLD_OF = np.arange(15) % 2


def trained_on(
    X, y, weights, recipe=RECIPE, loss=losses.cross_entropy, error_of=None, pace=None, activation=activations.relu
):
    """Train with the first 15 rows held out."""
    truth = y[:15].argmax(axis=1)

    def log_loss(output):
        return -float(np.log(softmax(output)[np.arange(len(truth)), truth]).mean())

    def errors_of(output, parts):
        return [(error_of or log_loss)(output)] * len(parts)

    rows = np.arange(15, len(X))
    coded, targets = CodedRows.of_inputs(X), target_rows(y, "float32")
    held_out = SeenRows(coded, np.arange(15), True)
    shape = errors_of, y.shape[1], recipe, loss
    chosen = packed(coded, targets, weights), rows, held_out, SUBFOLD_OF
    return train(*chosen, *shape, seed=3, pace=pace, activation=activation)


def test_first_weights_are_normal_by_fan_in_biases_normal_and_the_last_layer_zero():
    parameters = draw([400, 300, 300, 5], 0)
    weights, biases = weight_matrices(parameters), bias_vectors(parameters)
    for Ω, β in zip(weights[:2], biases[:2], strict=True):
        np.testing.assert_allclose(Ω.std() * np.sqrt(Ω.shape[1]), 1, rtol=0.02)
        np.testing.assert_allclose([β.std(), 1 + β.mean()], 1, atol=0.15)
    assert not weights[2].any()
    assert not biases[2].any()


def test_learning_rates_are_those_of_the_neural_tangent_parametrisation():
    np.testing.assert_allclose(rate_factors([9, 16, 4, 2]), [1 / 3, 0.1, 1 / 4, 0.1, 1 / 2, 0.1])


def relu(f):
    return np.maximum(f, 0), np.heaviside(f, 0)


def mish(f):
    t, σ = np.tanh(np.logaddexp(0, f)), 1 / (1 + np.exp(-f))
    return f * t, t + f * σ * (1 - t**2)


def twin(X, y, weights, recipe, seed, n_steps=None, activated=relu):
    """Train in plain NumPy; return the weights, the biases and the mean loss after each epoch, or part of an epoch."""
    arrays = draw([X.shape[1], *recipe.hidden_layer_sizes, y.shape[1]], seed)
    Ω, β = list(weight_matrices(arrays)), list(bias_vectors(arrays))
    n_layers, scale = len(Ω), np.ones(X.shape[1])
    arrays = [a.astype(float) for a in (*Ω, *β, scale)]
    scale_rate = SCALE_RATE if recipe.hidden_layer_sizes else 0.0
    rates = [*(1 / np.sqrt(a.shape[1]) for a in Ω), *[BIAS_RATE] * n_layers, scale_rate]
    moments = [[np.zeros(a.shape), np.zeros(a.shape)] for a in arrays]
    order, random, per_epoch = np.arange(len(X)), np.random.RandomState(seed), len(X) // recipe.batch_size
    schedule, after = LogarithmicCosine(recipe.learning_rate, recipe.epochs * per_epoch), []
    n_steps = recipe.epochs * per_epoch if n_steps is None else n_steps
    for step in range(n_steps):
        batch = step % per_epoch  # the rows that do not fill a batch are not used
        if batch == 0:
            random.shuffle(order)
            total = total_weight = 0.0
        rows = order[batch * recipe.batch_size :][: recipe.batch_size]
        Ω, β, s = arrays[:n_layers], arrays[n_layers:-1], arrays[-1]
        h, slopes = [X[rows] * s], []
        for i in range(n_layers - 1):
            for made, held in zip(activated(h[i] @ Ω[i].T + β[i]), (h, slopes), strict=True):
                held.append(made)
        loss, weight, g = reference.loss_and_gradient("cross_entropy", h[-1] @ Ω[-1].T + β[-1], y[rows], weights[rows])
        total, total_weight = total + loss, total_weight + weight
        by_Ω, by_β = [g.T @ h[-1]], [g.sum(axis=0)]
        for i in reversed(range(n_layers - 1)):
            g = (g @ Ω[i + 1]) * slopes[i]
            by_Ω.insert(0, g.T @ h[i])
            by_β.insert(0, g.sum(axis=0))
        of_scaled = g @ Ω[0]
        η = float(schedule(step))
        for i, gradient in enumerate([*by_Ω, *by_β, (of_scaled * X[rows]).sum(axis=0)]):
            stepped = reference.adam_step(
                arrays[i], gradient, *moments[i], η * rates[i], 0.9, 0.95, 1e-8, 0.0, step + 1
            )
            arrays[i], *moments[i] = stepped
        if batch == per_epoch - 1 or step == n_steps - 1:
            weights_on_inputs = [arrays[0] * arrays[-1], *arrays[1:n_layers]]
            after.append((weights_on_inputs, arrays[n_layers:-1], total / total_weight))
    return after


@pytest.mark.parametrize("activated", [relu, mish])
@pytest.mark.parametrize("hidden", [(7, 5), (20,), ()], ids=str)
def test_a_training_agrees_with_its_numpy_twin(hidden, activated):
    recipe = replace(RECIPE, hidden_layer_sizes=hidden)
    X, y, weights = table()
    wanted = twin(X[15:].astype(float), y[15:], weights[15:], recipe, 3, activated=activated)
    trained = trained_on(X, y, weights, recipe, activation=activations.resolve(activated.__name__))
    np.testing.assert_array_equal(trained.network.predict(X[:15]), trained.output)
    Ω, β, _ = wanted[trained.epoch - 1]
    for got, expected in zip((*trained.network.weights, *trained.network.biases), (*Ω, *β), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4)


def test_the_best_epoch_is_kept_and_the_last_of_equals():
    X, y, weights = table()
    errors = iter([5.0, 2.0, 3.0, 2.0, 4.0, 6.0])
    trained = trained_on(X, y, weights, error_of=lambda _: next(errors))
    assert trained.epoch == 4
    assert trained.errors == [5.0, 2.0, 3.0, 2.0, 4.0, 6.0]
    np.testing.assert_array_equal(trained.network.predict(X[:15]), trained.output)


def test_each_subfold_of_the_held_out_rows_is_scored_after_the_epoch_that_is_best_for_the_others(monkeypatch):
    X, y, weights = table()
    planned = iter([(3, 9), (1, 8), (3, 9), (3, 7), (3, 8), (3, 9)])  # errors of the others of each
    outputs = []

    def judge(self, output, errors):
        outputs.append(output)
        errors[:] = next(planned)
        judge_subfolds(self, output, errors)

    judge_subfolds = Subfolds.judge
    monkeypatch.setattr(Subfolds, "judge", judge)
    errors = iter([3.0, 3.0, 2.0, 3.0, 3.0, 3.0])
    trained = trained_on(X, y, weights, error_of=lambda _: next(errors))
    assert trained.epoch == 3
    np.testing.assert_array_equal(trained.output, outputs[2])
    np.testing.assert_array_equal(trained.scored_output[::2], outputs[1][::2])
    np.testing.assert_array_equal(trained.scored_output[1::2], outputs[3][1::2])


def test_an_undefined_error_is_never_the_best():
    X, y, weights = table()
    errors = iter([np.nan, 5.0, np.nan, 5.0, 6.0, np.nan])
    assert trained_on(X, y, weights, error_of=lambda _: next(errors)).epoch == 4
    assert trained_on(X, y, weights, error_of=lambda _: np.nan).epoch == 1


def test_patience_ends_a_training_that_does_not_improve():
    X, y, weights = table()
    errors = iter([5.0, 2.0, 3.0, 3.0, 4.0, 6.0])
    trained = trained_on(X, y, weights, replace(RECIPE, patience=2), error_of=lambda _: next(errors))
    assert (trained.epoch, len(trained.errors)) == (2, 4)


def test_rows_held_out_are_never_trained_on():
    X, y, weights = table()
    trained = trained_on(X, y, weights, error_of=lambda _: 0.0)
    others = X.copy(), y.copy(), weights.copy()
    others[0][:15], others[1][:15], others[2][:15] = 1e6, 0, 1e6
    again = trained_on(*others, error_of=lambda _: 0.0)
    for a, b in zip(trained.network.weights, again.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_that_diverges_at_once_says_so():
    X, y, weights = table()
    with pytest.raises(DivergenceError):
        trained_on(X, y, weights, replace(RECIPE, learning_rate=1e30), losses.squared_error)

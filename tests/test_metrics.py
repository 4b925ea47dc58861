"""Metrics against scikit-learn's, and temperatures against a search."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics as theirs

from fastbp.tabular import metrics

RNG = np.random.default_rng(0)


def rows(n=200, classes=3):
    logits = RNG.standard_normal((n, classes)) * 2
    y = (logits + RNG.gumbel(size=(n, classes)) * 1.5).argmax(axis=1)
    return logits, y, RNG.random(n) + 0.1


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_metrics_of_classes_are_scikit_learns(classes):
    logits, y, w = rows(classes=classes)
    p = metrics.softmax(logits)
    np.testing.assert_allclose(metrics.log_loss(p, y, w), theirs.log_loss(y, p, sample_weight=w))
    np.testing.assert_allclose(metrics.accuracy(p, y, w), theirs.accuracy_score(y, p.argmax(1), sample_weight=w))
    score = p[:, 1] if classes == 2 else p
    wanted = theirs.roc_auc_score(y, score, sample_weight=w, multi_class="ovr")
    np.testing.assert_allclose(metrics.auc(p, y, w), wanted)


def test_ties_count_half_in_the_auc():
    p = np.round(metrics.softmax(rows(classes=2)[0]), 1)
    y = RNG.integers(0, 2, len(p))
    np.testing.assert_allclose(metrics.auc(p, y, np.ones(len(p))), theirs.roc_auc_score(y, p[:, 1]))


def test_a_class_without_rows_is_left_out_of_the_auc_and_a_single_class_has_no_auc():
    p, w = metrics.softmax(rows(50)[0]), np.ones(50)
    y = np.arange(50) % 2
    each = [theirs.roc_auc_score(y == c, p[:, c]) for c in (0, 1)]
    np.testing.assert_allclose(metrics.auc(p, y, w), np.mean(each))
    assert np.isnan(metrics.auc(p, np.zeros(50, int), w))
    assert np.isfinite(metrics.class_errors("auc", p, np.zeros(50, int), w, [slice(None)]))


def test_metrics_of_numbers_are_scikit_learns():
    truth, values, w = RNG.standard_normal(99), RNG.standard_normal(99), RNG.random(99)
    np.testing.assert_allclose(
        metrics.rmse(values, truth, w) ** 2, theirs.mean_squared_error(truth, values, sample_weight=w)
    )
    np.testing.assert_allclose(
        metrics.mae(values, truth, w), theirs.mean_absolute_error(truth, values, sample_weight=w)
    )
    wanted = theirs.mean_pinball_loss(truth, values, sample_weight=w, alpha=0.2)
    np.testing.assert_allclose(metrics.quantile_loss(values, truth, w, 0.2), wanted)
    r2 = metrics.number_scores(values, truth, w)[0]
    assert r2["metric"] == "r2"
    np.testing.assert_allclose(r2["value"], theirs.r2_score(truth, values, sample_weight=w))


@pytest.mark.parametrize("factor", [0.2, 1.0, 30.0])
def test_the_temperature_is_the_best_of_a_search(factor):
    logits, y, w = rows()
    logits = logits * factor
    candidates = np.geomspace(0.02, 50, 4001)
    losses = [metrics.log_loss(metrics.softmax(logits / t), y, w) * w.sum() + 2 * np.log(t) ** 2 for t in candidates]
    np.testing.assert_allclose(metrics.temperature(logits, y, w), candidates[np.argmin(losses)], rtol=3e-3)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_temperature_of_many_rows_is_that_of_all_of_them(n_classes):
    random = np.random.default_rng(n_classes)
    n = 3 * metrics._BLOCK_ROWS + 7  # some of the rows have a temperature of their own
    logits = 3 * random.standard_normal((n, n_classes)).astype(np.float32)
    y = (logits / 2 + random.gumbel(size=(n, n_classes))).argmax(axis=1)
    w = random.uniform(0, 2, n)

    def objective(s):
        return metrics.log_loss(metrics.softmax(logits * np.exp(s)), y, w) * w.sum() + 2 * s**2

    best = minimize_scalar(objective, bracket=(-1, 0), tol=1e-12).x
    assert metrics.temperature(logits, y, w) == pytest.approx(np.exp(-best), rel=1e-6)


def test_a_few_rows_without_a_mistake_do_not_give_certainty():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]])
    y, w = np.array([0, 1]), np.ones(2)
    assert 0.5 < metrics.temperature(logits, y, w) < 1
    assert metrics.temperature(logits, y, w, prior=1e-9) < 0.1


def test_the_refined_log_loss_does_not_depend_on_the_scale_of_the_logits():
    logits, y, w = rows(2000)
    once, thrice = (metrics.refined_log_losses(logits * factor, y, w).mean() for factor in (1, 3))
    np.testing.assert_allclose(once, thrice, rtol=1e-4)


def test_scores_have_those_of_the_best_constant_as_baseline():
    logits, y, w = rows()
    scores = {score["metric"]: score["baseline"] for score in metrics.class_scores(metrics.softmax(logits), y, w)}
    shares = np.bincount(y, w) / w.sum()
    np.testing.assert_allclose(scores["accuracy"], shares.max())
    np.testing.assert_allclose(scores["log_loss"], -(shares * np.log(shares)).sum())
    assert scores["auc"] == 0.5


@pytest.mark.parametrize("weights", [np.ones(201), RNG.random(201)], ids=["equal weights", "weights"])
def test_no_constant_number_has_a_better_score_than_the_baseline(weights):
    truth = RNG.exponential(size=201)
    values = RNG.exponential(size=201)
    scores = [*metrics.number_scores(values, truth, weights), *metrics.quantile_scores(values, truth, weights, 0.8)]
    baselines = {score["metric"]: score["baseline"] for score in scores}
    constants = [np.full(201, constant) for constant in np.linspace(0, 4, 2001)]
    for metric, loss in {
        "rmse": metrics.rmse,
        "mae": metrics.mae,
        "quantile_loss": lambda *rows: metrics.quantile_loss(*rows, 0.8),
    }.items():
        losses = [loss(constant, truth, weights) for constant in constants]
        np.testing.assert_allclose(baselines[metric], min(losses), rtol=1e-4)


def test_a_quantile_has_its_loss_and_the_share_below_as_scores():
    truth, w = RNG.random(1000), np.ones(1000)
    loss, share = metrics.quantile_scores(np.full(1000, 0.8), truth, w, 0.8)
    assert (loss["metric"], share["metric"]) == ("quantile_loss", "share_below")
    np.testing.assert_allclose([loss["value"], share["value"]], [loss["baseline"], 0.8], atol=0.04)


def test_a_share_of_each_label_is_distributed_over_all_classes():
    wanted = [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]
    np.testing.assert_allclose(metrics.smoothed(np.array([2, 0]), 4, 0.2), wanted)


def test_a_model_of_few_rows_is_never_certain():
    shrunk = metrics.smoothed_towards_uniform(np.array([[1.0, 0.0, 0.0, 0.0]]), 9)
    np.testing.assert_allclose(shrunk, [[0.925, 0.025, 0.025, 0.025]])

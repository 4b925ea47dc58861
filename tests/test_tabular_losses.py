"""`TabularRegressor(metric=)` takes losses: functions in the unit of y that are trained, compared and scored."""

import copy
import math
import multiprocessing
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from command_line import run
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastbp import losses
from fastbp.kernels import custom_losses
from fastbp.report import page
from fastbp.tabular import TabularClassifier, TabularRegressor, metrics, own_loss
from fastbp.tabular.encoding.cells import Frame, cells_of
from fastbp.tabular.encoding.target import Quantity
from fastbp.tabular.settings import Settings
from fastbp.tabular.training.build import build
from fastbp.tabular.training.parts import TrainingData

FEW = {"n_estimators": 2, "hidden_layer_sizes": (16,), "epochs": 12}


def rows(n=1500, seed=0):
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, 3))
    return X, 100 + 3 * X[:, 0] + 2 * random.standard_normal(n)


def cost(f, y):
    """A piece too many costs 1, and a piece too few costs 5."""
    return (f - y, 1.0) if f > y else (5 * (y - f), -5.0)


def squared(f, y):
    return 0.5 * (f - y) ** 2, f - y


def huber(f, y):
    r = f - y
    clipped = min(max(r, -1.5), 1.5)
    return clipped * (r - clipped / 2), clipped


def fitted(metric, X, y, **options):
    return TabularRegressor(metric=metric, **FEW | options).fit(X, y)


# --- what is learned ----------------------------------------------------------------------------------------


def test_predictions_move_in_the_cheap_direction_and_cost_less():
    X, y = rows()
    new, truth = rows(seed=1)
    for_cost, for_rmse = (fitted(metric, X, y).predict(new) for metric in (losses.custom(cost), "rmse"))
    assert np.mean(for_cost > truth) == pytest.approx(5 / 6, abs=0.07)  # the 5/6-quantile minimises the cost
    assert np.mean(for_rmse > truth) == pytest.approx(1 / 2, abs=0.07)
    paid = [np.mean([cost(f, y)[0] for f, y in zip(p, truth, strict=True)]) for p in (for_cost, for_rmse)]
    assert paid[0] < 0.8 * paid[1]


@pytest.mark.parametrize("power", [-60, 30])
def test_the_unit_of_y_changes_nothing_but_the_unit_of_predictions(power):
    """The function sees y in its unit; neither Adam's ε nor float32 may know the unit."""
    X, y = rows(600)
    wanted = fitted(losses.custom(squared), X, y)
    got = fitted(losses.custom(squared), X, np.ldexp(y, power))
    np.testing.assert_array_equal(got.predict(X), np.ldexp(wanted.predict(X), power))
    assert got.scores_["squared"] == math.ldexp(wanted.scores_["squared"], 2 * power)


def test_whole_numbers_reach_the_function_as_they_are():
    def of_whole_numbers(f, y):
        if y != math.floor(y) or (y < 0) != (y == -7):
            return math.nan, math.nan
        return 0.5 * (f - y) ** 2, f - y

    X, _ = rows(600)
    y = np.where(X[:, 1] > 1, -7.0, np.round(np.exp(3 + X[:, 0])))
    y[:50] = 0
    model = fitted(losses.custom(of_whole_numbers), X, y)
    assert model.scores_["of_whole_numbers"] < model.model_.about["scores"][0]["baseline"]


@pytest.mark.parametrize(
    ("values", "std"),
    [([3.0, 3.0], 1.0), ([1e299, 3e299], 2.0**993), ([0.0, 1e-323], 5e-324), ([0.0, 8.0], 4.0), ([7.0, 107.0], 64.0)],
)
def test_exact_units_are_powers_of_2_near_the_standard_deviation(values, std):
    learned = Quantity.learn(cells_of("y", values))
    target = replace(
        learned, **dict(zip(("mean", "std"), own_loss.exact_units(learned.mean, learned.std), strict=True))
    )
    assert target.std == std
    assert abs(target.mean - learned.mean) <= std / 8
    np.testing.assert_allclose(target.truth(target.encode(cells_of("y", values))), values, rtol=1e-15)


@pytest.mark.parametrize("delta", [0.3, 1.5])
def test_huber_takes_delta_in_the_unit_of_y(delta):
    def own(f, y):
        r = f - y
        clipped = min(max(r, -delta), delta)
        return clipped * (r - clipped / 2), clipped

    X, y = rows()
    y[::20] += 300  # outliers, which a squared error would follow
    built_in, copied = (fitted(metric, X, y, epochs=40) for metric in (losses.huber(delta), losses.custom(own)))
    assert np.abs(built_in.predict(X) - copied.predict(X)).mean() < 0.5
    assert built_in.scores_["huber"] == pytest.approx(copied.scores_["own"], rel=0.03)
    of_rows = [own(f, y)[0] for f, y in zip(built_in.predict(X), y, strict=True)]
    np.testing.assert_allclose(own_loss.row_losses(losses.huber(delta), built_in.predict(X), y), of_rows, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "same"),
    [
        (losses.squared_error, {"metric": "rmse"}),
        (losses.absolute_error, {"metric": "mae"}),
        (losses.quantile(0.8), {"metric": "quantile", "quantile": 0.8}),
    ],
)
def test_the_loss_of_a_metric_is_the_metric(loss, same):
    X, y = rows(300)
    got, wanted = fitted(loss, X, y), TabularRegressor(**FEW | same).fit(X, y)
    np.testing.assert_array_equal(got.predict(X), wanted.predict(X))
    assert got.scores_ == wanted.scores_


def test_sample_weights_count():
    X, y = np.zeros((400, 1)), np.tile([0.0, 10.0], 200)
    X[:, 0] = np.random.default_rng(0).standard_normal(400)
    for weights, wanted, paid in (([20.0, 1.0], 0, 50 / 21), ([1.0, 1.0], 10, 10 / 2)):
        model = TabularRegressor(metric=losses.custom(cost), **FEW | {"epochs": 40})
        model.fit(X, y, sample_weight=np.tile(weights, 200))
        assert abs(np.median(model.predict(X)) - wanted) < 2
        assert model.scores_["cost"] == pytest.approx(paid, rel=0.2)


def test_validation_rows_are_judged_by_the_function_and_with_their_weights():
    X, y = rows(600)
    weights = np.random.default_rng(2).random(200)
    seen = []
    model = TabularRegressor(metric=losses.custom(cost), n_estimators=1, hidden_layer_sizes=(16,), epochs=8)
    model.set_params(callback=seen.append).fit(X[200:], y[200:], validation_data=(X[:200], y[:200], weights))
    of_rows = [cost(f, y)[0] for f, y in zip(model.predict(X[:200]), y[:200], strict=True)]
    wanted = np.average(of_rows, weights=weights)
    assert min(progress.validation_loss for progress in seen) == pytest.approx(wanted, rel=1e-5)
    assert model.scores_["cost"] == pytest.approx(wanted, rel=0.05)  # each subfold by the epoch of the others
    assert 0.5 * wanted < seen[-1].loss < 2 * wanted  # the training loss is in the same unit


def test_two_networks_are_compared_by_the_function():
    target = Quantity("y", mean=10.0, std=4.0, lowest=0.0, highest=20.0)
    output, y = np.array([[0.5], [-0.5]], np.float32), np.zeros(2)
    got = target.row_errors(output, y, np.ones(2), losses.custom(cost), 0.5)
    np.testing.assert_array_equal(got, [2.0, 10.0])  # 12 and 8 for 10
    parts = [slice(None), np.array([1])]
    assert target.validation_errors(output, y, np.array([3.0, 1.0]), losses.custom(cost), 0.5, parts) == [4.0, 10.0]
    standardised = target.row_errors(output, y, np.ones(2), losses.huber(1.0), 0.5)
    np.testing.assert_allclose(standardised, (1 * (2 - 0.5)) / 16)


def test_the_derivative_is_that_of_the_networks_output():
    target = Quantity("y", mean=10.0, std=4.0, lowest=0.0, highest=20.0)
    truth = np.array([8.0, 13.0, 11.0])
    y = (truth - 10) / 4
    trained = target.loss(losses.custom(squared), 0.5, y)
    function = trained.function.__wrapped__
    assert function is squared
    values, derivatives = custom_losses.evaluated(trained, np.array([0.0, 1.0, -2.0]), y)
    np.testing.assert_allclose(values, [0.5 * (f - t) ** 2 for f, t in zip((10, 14, 2), truth, strict=True)])
    np.testing.assert_allclose(derivatives, [(f - t) / 2 for f, t in zip((10, 14, 2), truth, strict=True)])


def test_fits_to_parts_of_a_table_share_compiled_code():
    X, y = rows(600)
    compiled = custom_losses.standardised.cache_info().misses
    for seed in range(8):
        some = np.random.default_rng(seed).choice(600, 500, replace=False)
        TabularRegressor(metric=losses.custom(huber), **FEW | {"epochs": 1}).fit(X[some], y[some])
    assert custom_losses.standardised.cache_info().misses - compiled <= 2


@pytest.mark.parametrize("slope", [0.0, math.inf, math.nan])
def test_the_derivative_keeps_its_unit_where_its_size_is_unknown(slope):
    def loss(f, y):
        return 0.5 * (f - y) ** 2, slope if f == 10 else f - y

    target = Quantity("y", mean=10.0, std=4.0, lowest=0.0, highest=20.0)
    trained = target.loss(losses.custom(loss), 0.5, np.array([0.5, 2.0]))
    _, derivatives = custom_losses.evaluated(trained, np.array([1.0, -2.0]), np.array([0.5, 2.0]))
    np.testing.assert_allclose(derivatives, [4 * 2, 4 * -16])  # 14 for 12, and 2 for 18


# --- scores -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [cost, squared, huber])
def test_the_baseline_is_the_best_constant(function):
    random = np.random.default_rng(0)
    truth, weights = random.gamma(1.0, size=80) * 10, random.random(80)
    (own, *others) = own_loss.scores(losses.custom(function), truth + 1, truth, weights)
    assert (own["metric"], [score["metric"] for score in others]) == (function.__name__, ["r2", "rmse", "mae"])
    constants = np.linspace(truth.min(), truth.max(), 4001)
    values = [np.average([function(c, t)[0] for t in truth], weights=weights) for c in constants]
    assert min(values) * (1 - 1e-4) <= own["baseline"] <= min(values)
    assert own["value"] == pytest.approx(function(1.0, 0.0)[0])


def test_a_function_that_is_called_as_a_metric_has_this_key():
    def rmse(f, y):
        return 0.5 * (f - y) ** 2, f - y

    X, y = rows(200)
    scores = fitted(losses.custom(rmse), X, y).model_.about["scores"]
    assert [score["metric"] for score in scores] == ["rmse", "r2", "mae"]
    assert scores[0]["value"] < 4 < scores[0]["baseline"] < 10


def test_intervals_cover_as_many_rows_as_they_say():
    X, y = rows()
    new, truth = rows(seed=1)
    low, high = fitted(losses.custom(cost), X, y).predict_interval(new, coverage=0.8).T
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.8, abs=0.05)


# --- other threads and processes ----------------------------------------------------------------------------


def test_threads_and_processes_train_the_same_networks():
    X, y = rows(300)
    wanted = fitted(losses.custom(cost), X, y, n_jobs=1).predict(X)
    model = TabularRegressor(metric=losses.custom(cost), **FEW)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), wanted)
    with ThreadPoolExecutor(2) as threads:
        np.testing.assert_array_equal(model.fit(X, y, executor=threads).predict(X), wanted)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        np.testing.assert_array_equal(model.fit(X, y, executor=processes).predict(X), wanted)


def test_a_function_that_cannot_be_sent_to_a_process_is_one_error():
    def local(f, y):
        return squared(f, y)

    def plain(f, y):
        return 0.5 * (f - y) ** 2, f - y

    X, y = rows(100)
    with ProcessPoolExecutor(1) as processes:
        with pytest.raises(
            TypeError, match=r"cannot send them the loss custom\(plain\): define its function at the top"
        ):
            TabularRegressor(metric=losses.custom(plain), **FEW).fit(X, y, executor=processes)
        with pytest.raises(TypeError, match=r"Numba cannot compile the loss local: Functions that it calls need numba"):
            TabularRegressor(metric=losses.custom(local), **FEW).fit(X, y, executor=processes)


# --- what is refused ----------------------------------------------------------------------------------------


def by_rows(f, y, derivative):
    derivative[0] = f[0] - y[0]
    return 0.5 * derivative[0] ** 2


def wrong_slope(f, y):
    return 0.5 * (f - y) ** 2, 1.01 * (f - y)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (losses.custom_rows(by_rows), r"a loss of single numbers, got custom_rows\(by_rows\)"),
        (losses.poisson, r"poisson has the link 'exp': use fastbp.sklearn.MLPRegressor"),
        (losses.custom(squared, link="exp"), r"custom\(squared\) has the link 'exp': use fastbp.sklearn"),
        (losses.cross_entropy, "cross_entropy has the link 'softmax': use TabularClassifier"),
        (losses.binary_cross_entropy, "binary_cross_entropy has the link 'logistic': use TabularClassifier"),
        (
            losses.custom(wrong_slope),
            r"the derivative of the loss wrong_slope is wrong: for ŷ = .* central differences",
        ),
        (squared, "The 'metric' parameter of TabularRegressor must be"),
        ("huber", "The 'metric' parameter of TabularRegressor must be"),
    ],
)
def test_a_loss_that_does_not_fit_is_one_error(metric, message):
    X, y = rows(60)
    model = TabularRegressor(metric=metric, **FEW)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_classifier_takes_no_loss():
    with pytest.raises(ValueError, match="The 'metric' parameter of TabularClassifier must be"):
        TabularClassifier(metric=losses.cross_entropy).fit([[1], [2]], ["a", "b"])


# --- parameters, copies and files ---------------------------------------------------------------------------


def test_a_clone_has_the_function():
    model = TabularRegressor(metric=losses.custom(cost), **FEW)
    cloned = clone(model)
    assert cloned.get_params() == model.get_params()
    assert cloned.metric.function is cost
    assert cloned.set_params(metric="mae").metric == "mae"
    assert "metric=custom(cost)" in repr(model)


def test_copies_of_a_fitted_model_keep_what_they_can_of_the_function():
    def local(f, y):
        return 0.5 * (f - y) ** 2, f - y

    X, y = rows(200)
    for function, is_found in ((cost, True), (local, False)):
        model = fitted(losses.custom(function), X, y)
        copied, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        for made in (copied, pickled):
            np.testing.assert_array_equal(made.predict(X), model.predict(X))
        assert copied.metric.function is function
        assert pickled.metric.function is (function if is_found else None)
        assert str(pickled.metric) == f"custom({function.__name__})"
        copied.fit(X, y)
    with pytest.raises(ValueError, match=r"set metric=fastbp\.losses\.custom\(local\)"):
        pickled.fit(X, y)
    pickled.set_params(metric=losses.custom(local)).fit(X, y)


@pytest.mark.parametrize("metric", [losses.custom(cost), losses.huber(2.5)], ids=str)
def test_a_model_file_holds_the_name_and_predicts(tmp_path, metric):
    X, y = rows(200)
    model = fitted(metric, X, y)
    model.save(tmp_path / "model.fastbp")
    loaded = TabularRegressor.load(tmp_path / "model.fastbp")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.predict_interval(X), model.predict_interval(X))
    assert loaded.scores_ == model.scores_
    assert str(loaded.metric) == str(metric)
    assert (loaded.metric == metric) == (not metric.is_custom)
    assert b"tests" not in (tmp_path / "model.fastbp").read_bytes()
    if metric.is_custom:
        with pytest.raises(ValueError, match="the metric cost is a user's function, which a model file does not hold"):
            loaded.fit(X, y)


def test_the_command_reads_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = rows(200)
    TabularRegressor(metric=losses.custom(cost), **FEW).fit({"a": X[:, 0], "b": X[:, 1]}, y).save("model.fastbp")
    lines = [f"{a},{b},{t}" for a, b, t in zip(X[:, 0], X[:, 1], y, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,y", *lines]))
    told = run("inspect", "model.fastbp")
    assert "custom(cost)" in told
    assert "cost" in told.split("metric")[0]
    scores = run("evaluate", "model.fastbp", "table.csv")
    assert "RMSE" in scores
    assert "cost" not in scores  # the function is not there
    assert run("predict", "model.fastbp", "table.csv").splitlines()[0] == "a,b,y,prediction"


@pytest.mark.parametrize(
    ("metric", "words"), [(losses.custom(cost), ">cost<"), (losses.huber(2.0), "standardised huber")]
)
def test_the_report_names_the_loss(tmp_path, metric, words):
    X, y = rows(200)
    column = cells_of("y", y)
    frame = Frame(cells_of(name, X[:, i]) for i, name in enumerate("abc"))
    data = TrainingData(frame, column, Quantity.learn(column))
    built = build(data, Settings(metric=metric, **FEW))
    page.write_report(tmp_path / "report.html", built, data, "table.csv")
    text = (tmp_path / "report.html").read_text()
    assert words in text
    assert str(metric) in text


def test_a_few_constants_at_which_the_loss_is_not_finite_do_no_harm():
    def positive(f, y):
        return (f - y) / f + math.log(f / 3) if f > 0 else math.inf, 0.0

    truth = np.array([0.0, 1.0, 2.0, 6.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (own, *_) = own_loss.scores(losses.custom(positive), truth + 1, truth, np.ones(4))
    assert math.isfinite(own["baseline"])
    assert own["baseline"] <= metrics.weighted_mean(
        own_loss.row_losses(losses.custom(positive), truth * 0 + 2, truth), np.ones(4)
    )

"""What fastbp's estimators have beyond scikit-learn's: class weights, validation data, losses, dropout, callbacks."""

import copy
import itertools
import re
import signal
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

from scipy.sparse import csr_matrix, issparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss, make_scorer, mean_pinball_loss
from sklearn.preprocessing import scale

import fastbp.losses
from fastbp import activations
from fastbp.kernels import dropout, entries
from fastbp.kernels.packing import matrix_from, panels_from
from fastbp.machine.jit import entry
from fastbp.runs.run import Patience
from fastbp.sklearn import MLPClassifier, MLPRegressor, convergence, from_sklearn, lbfgs
from fastbp.sklearn.descent import Descent, Objective
from fastbp.sklearn.packed import arrays_of, parameters_of
from fastbp.sklearn.solvers import SGDOptimizer, packed_moments

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, species = load_iris(return_X_y=True)
X = scale(X)
names = np.array(["setosa", "versicolor", "virginica"])[species]
rows, progression = (scale(array) for array in load_diabetes(return_X_y=True))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True))


# --- lbfgs by slices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 3, 9])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_slices_of_rows_change_no_bit_of_the_loss_and_gradient_of_lbfgs(activation, outputs, weighted, monkeypatch):
    random = np.random.default_rng(0)
    table, targets = random.standard_normal((517, 7)), random.standard_normal((517, outputs))
    weight = random.uniform(0, 2, 517) if weighted else None
    model = MLPRegressor(hidden_layer_sizes=(33, 18), activation=activation, random_state=0, max_iter=1)
    model.fit(table, targets.squeeze())
    vector = lbfgs.vector_of(model.coefs_, model.intercepts_)

    def bits(slice_rows):
        monkeypatch.setattr(lbfgs, "_slice_rows", lambda *_: slice_rows)
        loss_of = model._full_batch_loss(table, targets, weight)
        losses_and_gradients = [loss_of(vector * factor) for factor in (1, 2)]  # nothing is left from an evaluation
        return [(loss, gradient.tobytes()) for loss, gradient in losses_and_gradients]

    whole = bits(517)
    assert [bits(n) for n in (16, 100, 256, 516)] == [whole] * 4


def test_ctrl_c_ends_lbfgs_between_two_slices_of_an_evaluation(monkeypatch):
    calls, differentiate = [], entries.differentiate

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return differentiate(*arguments)

    monkeypatch.setattr(entries, "differentiate", interrupted)
    model = MLPRegressor(hidden_layer_sizes=(100,), solver="lbfgs", random_state=0)
    with pytest.raises(KeyboardInterrupt):  # as in scikit-learn
        model.fit(np.tile(rows, (10, 1)), np.tile(progression, 10))
    assert len(calls) == 2
    assert calls[1][6] > 0  # the number of the second slice's first row


# --- class_weight -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weights_are_sample_weights(solver):
    model = MLPClassifier((5,), solver=solver, max_iter=9, random_state=0)
    weight = np.where(species == 1, 3.0, 1.0)
    plain = clone(model).fit(X, names, sample_weight=weight)
    assert same(clone(model).set_params(class_weight={"versicolor": 3}).fit(X, names), plain)
    assert not same(clone(model).fit(X, names), plain)


def test_class_weights_multiply_sample_weights():
    model, weight = MLPClassifier((5,), max_iter=9, random_state=0), np.linspace(0.1, 2, 150)
    few = species[:120]
    both = clone(model).set_params(class_weight="balanced").fit(X[:120], few, sample_weight=weight[:120])
    balance = 120 / 3 / np.bincount(few)[few]
    assert same(both, clone(model).fit(X[:120], few, sample_weight=weight[:120] * balance))


def test_balanced_weights_cannot_be_known_from_a_part():
    with pytest.raises(ValueError, match="compute_class_weight"):
        MLPClassifier(class_weight="balanced").partial_fit(X, names, classes=np.unique(names))


# --- validation data ----------------------------------------------------------------------------------------


def test_the_loss_of_validation_data_is_noted_after_each_epoch():
    history = []
    model = MLPClassifier((5,), max_iter=9, random_state=0, callback=lambda progress: history.append(progress.loss))
    assert model.fit(X[::2], names[::2]).validation_loss_curve_ is None
    validated = clone(model).fit(X[::2], names[::2], validation_data=(X[1::2], names[1::2]))
    assert same(validated, model)  # nothing else changes
    assert len(validated.validation_loss_curve_) == 9
    wanted = log_loss(names[1::2], validated.predict_proba(X[1::2]))
    assert validated.validation_loss_curve_[-1] == pytest.approx(wanted)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_the_validation_loss_is_the_training_loss_of_the_same_rows(loss):
    y, weight = np.random.default_rng(0).poisson(3, (442, 2)).astype(float), np.linspace(0.1, 2, 442)
    model = MLPRegressor(loss, (5,), solver="sgd", alpha=0, batch_size=442, learning_rate_init=1e-300, max_iter=2)
    model.fit(rows, y, sample_weight=weight, validation_data=(rows, y, weight))
    assert model.validation_loss_curve_ == pytest.approx(model.loss_curve_)


def test_early_stopping_scores_validation_data():
    model = MLPClassifier((5,), early_stopping=True, n_iter_no_change=3, random_state=0, max_iter=50)
    model.fit(X[::2], names[::2], validation_data=(X[1::2], names[1::2]))
    assert model.score(X[1::2], names[1::2]) == pytest.approx(model.best_validation_score_)
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "validation_data must be"),
        ((X, names, None, None), "validation_data must be"),
        ((X, np.full(150, "rose")), "classes that are not in y.*rose"),
        ((X[:, :2], names), "2 features"),
        ((X[:9], names), "inconsistent numbers of samples"),
    ],
)
def test_validation_data_that_does_not_fit_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(max_iter=2).fit(X, names, validation_data=data)


def test_lbfgs_refuses_what_needs_epochs():
    for parameters, options in (({"dropout": 0.5}, {}), ({}, {"validation_data": (X, names)})):
        with pytest.raises(ValueError, match="for the solvers"):
            MLPClassifier(solver="lbfgs", **parameters).fit(X, names, **options)


# --- scoring ------------------------------------------------------------------------------------------------


def test_early_stopping_by_any_scorer():
    model = MLPClassifier((5,), early_stopping=True, max_iter=30, scoring="neg_log_loss", random_state=0)
    model.fit(X[::2], names[::2], validation_data=(X[1::2], names[1::2]))
    assert model.validation_scores_ == pytest.approx(-np.array(model.validation_loss_curve_))
    assert -log_loss(names[1::2], model.predict_proba(X[1::2])) == pytest.approx(model.best_validation_score_)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_the_default_score_is_that_of_its_name(kind):
    by_name = "accuracy" if kind is MLPClassifier else "r2"
    y = names if kind is MLPClassifier else X @ [1, 2, 3, 4]
    models = [
        kind(hidden_layer_sizes=(5,), early_stopping=True, max_iter=30, scoring=scoring, random_state=0).fit(X, y)
        for scoring in (None, by_name)
    ]
    assert models[0].validation_scores_ == pytest.approx(models[1].validation_scores_)


def test_held_out_rows_are_stratified_by_three_classes_and_more_if_asked_for():
    seen = []
    scoring = make_scorer(lambda y, _: seen.append(np.unique(y, return_counts=True)[1].tolist()) or 0.5)
    MLPClassifier((5,), early_stopping=True, stratify=True, max_iter=1, scoring=scoring).fit(X, names)
    assert seen == [[5, 5, 5]]
    rare = np.where(np.arange(150) == 0, "rare", names)
    MLPClassifier((5,), early_stopping=True, stratify=True, max_iter=1).fit(X, rare)  # too rare to share, and no error


# --- losses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("parameters", "formula"),
    [
        ({"loss": "absolute_error"}, abs),
        ({"loss": "huber", "delta": 0.3}, lambda r: np.where(abs(r) < 0.3, r * r / 2, 0.3 * (abs(r) - 0.15))),
        ({"loss": "quantile", "quantile": 0.9}, lambda r: np.maximum(0.9 * r, -0.1 * r)),
    ],
)
def test_the_reported_loss_is_the_formulas_mean(parameters, formula, solver):
    y = np.column_stack([progression, rows[:, 0]])
    model = MLPRegressor(hidden_layer_sizes=(5,), solver=solver, alpha=0, max_iter=40, random_state=0, **parameters)
    model.fit(rows, y, **({"validation_data": (rows, y)} if solver == "adam" else {}))
    reported = model.validation_loss_curve_[-1] if solver == "adam" else model.loss_
    assert reported == pytest.approx(formula(y - model.predict(rows)).mean())


def test_a_quantile_is_learned():
    model = MLPRegressor("quantile", (20,), quantile=0.9, learning_rate_init=0.01, random_state=0).fit(
        rows, progression
    )
    assert 0.85 < (progression < model.predict(rows)).mean() < 0.95
    middle = MLPRegressor("absolute_error", (20,), learning_rate_init=0.01, random_state=0).fit(rows, progression)
    losses = [mean_pinball_loss(progression, one.predict(rows), alpha=0.9) for one in (model, middle)]
    assert losses[0] < losses[1]


# --- dropout ------------------------------------------------------------------------------------------------


@entry
def drop(keep_probability, key, layer, first, h):
    dropout.drop_units(dropout.Dropout(keep_probability, np.uint64(key), 0), layer, first, h)


def mask(keep_probability, key, layer, first, shape, dtype=np.float64):
    panels = panels_from(np.ones(shape, dtype), dtype)
    drop(keep_probability, key, layer, first, panels)
    return matrix_from(panels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_are_dropped_at_random_each_by_itself(dtype):
    found = mask(0.7, 1, 0, 0, (800, 100), dtype)
    assert set(np.unique(found)) == {0, dtype(1) / dtype(0.7)}
    kept = found > 0
    assert abs(kept.mean() - 0.7) < 4 * np.sqrt(0.21 / kept.size)
    for axis in (0, 1):  # as far apart as so many coins would be
        spread = kept.mean(axis=axis).std() / np.sqrt(0.21 / kept.shape[axis])
        assert 0.75 < spread < 1.25
    for shift, axis in itertools.product((1, 4, 8, 16), (0, 1)):
        together = (kept & np.roll(kept, shift, axis)).mean()
        assert abs(together - 0.49) < 0.008
    others = [mask(0.7, 2, 0, 0, (800, 100), dtype), mask(0.7, 1, 1, 0, (800, 100), dtype)]
    for other in others:
        assert abs((kept & (other > 0)).mean() - 0.49) < 0.008


def test_rows_drop_the_same_units_whoever_takes_them():
    assert np.array_equal(mask(0.5, 7, 2, 0, (64, 24))[32:], mask(0.5, 7, 2, 32, (32, 24)))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("n", [2, 50])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity", "gelu"])
def test_a_step_with_dropout_descends_the_loss_of_the_thinned_network(activation, n, momentum):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    sizes, kept = (4, 20, 12, 3), 0.6
    coefs = [rng.standard_normal(shape) / 2 for shape in itertools.pairwise(sizes)]
    intercepts = [rng.standard_normal(size) for size in sizes[1:]]
    x, y = rng.standard_normal((n, 4)), rng.standard_normal((n, 3))
    random_state = np.random.RandomState(3)
    key = int(random_state.get_state()[1][0])
    masks = [mask(kept, key, layer, 0, (n, size)) for layer, size in enumerate(sizes[1:-1])]
    tensors = [torch.tensor(array, requires_grad=True) for array in coefs + intercepts]
    h = torch.tensor(x)
    functions = {"identity": lambda f: f, "logistic": torch.sigmoid, "relu": torch.relu, "tanh": torch.tanh}
    functions["gelu"] = torch.nn.functional.gelu
    for layer in range(3):
        h = h @ tensors[layer] + tensors[3 + layer]
        if layer < 2:
            h = functions[activation](h) * torch.tensor(masks[layer])
    (((h - torch.tensor(y)) ** 2).sum(1) / 2).mean().backward()
    optimizer = SGDOptimizer(coefs + intercepts, 0.1, momentum=momentum)
    objective, parameters = Objective(fastbp.losses.squared_error), parameters_of(coefs, intercepts)
    moments = packed_moments(optimizer, np.float64)
    problem = parameters, activations.resolve(activation), objective, x, y, None, n, False
    descent = Descent(*problem, random_state, 0.0, optimizer, moments, 1 - kept)
    descent.fit([0.1], Patience(np.inf), None)
    factor = 0.1 * (1 + momentum)  # by Nesterov
    for found, tensor in zip(itertools.chain(*arrays_of(descent.parameters)), tensors, strict=True):
        np.testing.assert_allclose(found, (tensor - factor * tensor.grad).detach().numpy(), rtol=1e-9, atol=1e-12)


def test_dropout_learns_and_predicts_with_all_units():
    model = MLPClassifier((50,), dropout=0.5, learning_rate_init=0.01, random_state=0).fit(X, names)
    assert model.score(X, names) > 0.95
    assert np.array_equal(model.predict_proba(X), model.predict_proba(X))
    assert same(model, clone(model).fit(X, names))
    assert not same(model, clone(model).set_params(dropout=0.0).fit(X, names))


# --- callback -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_callback_sees_the_fitted_model_and_may_end_the_fit(solver):
    seen = []

    def callback(progress):
        model = progress.model
        assert (progress.epoch, progress.loss) == (model.n_iter_, model.loss_)
        seen.append((model.n_iter_, model.loss_, model.predict_proba(X)))
        return model.n_iter_ == 7

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MLPClassifier((5,), solver=solver, callback=callback, random_state=0).fit(X, names)
    assert [n_iter for n_iter, _, _ in seen] == list(range(1, 8))
    assert model.n_iter_ == 7
    assert seen[-1][1] == model.loss_
    assert np.array_equal(seen[-1][2], model.predict_proba(X))


def len_of_history(progress):
    return len(progress.model.loss_curve_)  # not True, so the fit goes on


def test_a_callback_changes_nothing():
    parameters = {"hidden_layer_sizes": (5,), "max_iter": 20, "random_state": 0}
    watched = MLPClassifier(**parameters, callback=len_of_history).fit(X, names)
    assert same(watched, MLPClassifier(**parameters).fit(X, names))


# --- hints --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "scaled", "hint"),
    [
        ({}, 1, "raise max_iter"),
        ({}, 1000, "root mean square of 1e.03: scale X"),
        ({"solver": "sgd", "learning_rate_init": 9.0, "momentum": 0.99}, 1, "lower learning_rate_init"),
    ],
)
def test_the_warning_says_what_to_do(parameters, scaled, hint):
    model = MLPClassifier((5,), **{"max_iter": 15, "random_state": 0, "n_iter_no_change": 99, **parameters})
    with pytest.warns(ConvergenceWarning, match=f"Maximum iterations .15. reached .* converged yet.*{hint}"):
        model.fit(X * scaled, names)


def test_dead_units_are_counted():
    coefs = [np.ones((4, 9)), np.ones((9, 5)), np.ones((5, 3))]
    intercepts = [np.repeat([-100.0, 100.0], [4, 5]), np.repeat([-1e6, 1.0], [3, 2]), np.zeros(3)]
    hint = convergence.advice(X, coefs, intercepts, "relu", [1.0, 0.5])
    assert hint == "3 of 5 units of hidden layer 2 are 0 for every row: lower learning_rate_init."
    assert convergence.advice(X, coefs, intercepts, "tanh", [1.0, 0.5]) == "The loss still falls: raise max_iter."


# --- conversion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_models_go_to_scikit_learn_and_back(kind, solver):
    table = (X, names) if kind == "MLPClassifier" else (rows, progression)
    theirs = getattr(neural_network, kind)(hidden_layer_sizes=(5, 4), solver=solver, max_iter=9, random_state=0)
    theirs.fit(*table)
    ours = from_sklearn(theirs)
    assert ours.get_params().items() >= theirs.get_params().items()
    again = ours.to_sklearn()
    assert type(again) is type(theirs)
    assert vars(again).keys() == vars(theirs).keys()
    for model in (ours, again):
        assert same(model, theirs)
        predict = "predict_proba" if kind == "MLPClassifier" else "predict"
        np.testing.assert_allclose(getattr(model, predict)(table[0]), getattr(theirs, predict)(table[0]))
    if solver != "lbfgs":
        for _ in range(3):
            for model in (theirs, ours, again):
                model.partial_fit(*table)
        for model in (ours, again):
            for a, b in zip(model.coefs_, theirs.coefs_, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_conversion_refuses_what_it_cannot_convert():
    with pytest.raises(ValueError, match="no loss 'huber'"):
        MLPRegressor("huber", (3,), max_iter=2).fit(rows, progression).to_sklearn()
    with pytest.raises(NotFittedError):
        MLPRegressor().to_sklearn()
    with pytest.raises(NotFittedError):
        from_sklearn(neural_network.MLPRegressor())
    with pytest.raises(TypeError, match=re.escape("got KMeans")):
        from_sklearn(KMeans())


# --- what goes on from an earlier fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (70, 1)])
def test_another_number_of_outputs_is_an_error_and_reads_no_foreign_memory(solver, before, after):
    rng = np.random.default_rng(0)
    X, y, other = (rng.standard_normal((30, 4)), *(rng.standard_normal((30, n)).squeeze() for n in (before, after)))
    model = MLPRegressor(hidden_layer_sizes=(5,), solver=solver, max_iter=2, warm_start=True)
    model.fit(X, y)
    coefs = [coef.copy() for coef in model.coefs_]
    with pytest.raises(ValueError, match=f"y has {after} outputs, and the model was fitted with {before}"):
        model.fit(X, other)
    assert model.n_outputs_ == before
    assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, coefs, strict=True))


def test_other_hidden_layers_or_another_link_are_errors_where_a_fit_goes_on():
    X, y = load_diabetes(return_X_y=True)
    model = MLPRegressor(hidden_layer_sizes=(5,)).partial_fit(X, y)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \[5, 5\], and the model was fitted with \[5\]"):
        clone_of(model, hidden_layer_sizes=(5, 5)).partial_fit(X, y)
    with pytest.raises(ValueError, match="loss='poisson' does not go on"):
        clone_of(model, loss="poisson").partial_fit(X, y)


def clone_of(model, **parameters):
    return copy.deepcopy(model).set_params(**parameters)


def test_indicators_are_not_taken_for_classes():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier((5,)).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        model.partial_fit(X, np.eye(3, dtype=int)[y])
    with pytest.raises(ValueError, match="validation_data has columns of labels, y has classes"):
        MLPClassifier((5,)).fit(X, y, validation_data=(X, np.eye(3, dtype=int)[y]))


def test_sparse_indicators_come_back_sparse():
    X, y = load_iris(return_X_y=True)
    labels = np.eye(3, dtype=int)[y][:, :2]
    options = {"hidden_layer_sizes": (5,), "random_state": 0, "class_weight": "balanced"}
    options |= {"early_stopping": True, "scoring": "f1_macro"}
    dense, sparse = (MLPClassifier(**options).fit(X, given) for given in (labels, csr_matrix(labels)))
    assert issparse(sparse.predict(X))
    np.testing.assert_array_equal(sparse.predict(X).toarray(), dense.predict(X))
    assert sparse.score(X, csr_matrix(labels)) == dense.score(X, labels)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_model_of_scikit_learn_trained_on_float32_rows_goes_on(solver):
    X, y = load_diabetes(return_X_y=True)
    X = X.astype(np.float32)
    theirs = neural_network.MLPRegressor(hidden_layer_sizes=(5,), solver=solver, random_state=0).partial_fit(X, y)
    ours = from_sklearn(theirs).partial_fit(X, y)
    theirs.partial_fit(X, y)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert ours.predict(X.astype(float)).dtype == theirs.predict(X.astype(float)).dtype


def test_settings_that_the_optimizer_was_made_with_stay():
    X, y = load_diabetes(return_X_y=True)
    models = [
        kind(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, y)
        for kind in (MLPRegressor, neural_network.MLPRegressor)
    ]
    for change in ({"learning_rate_init": 0.5}, {"solver": "sgd"}):
        for model in models:
            model.set_params(**change).partial_fit(X, y)
        np.testing.assert_allclose(models[0].coefs_[0], models[1].coefs_[0], rtol=1e-9)


@pytest.mark.parametrize("weights", [-1.0, np.inf, np.nan])
def test_weights_that_are_negative_or_not_finite_are_errors(weights):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match=r"weights must be finite and not negative|contains NaN|infinity"):
        MLPRegressor(hidden_layer_sizes=(5,)).fit(X, y, sample_weight=np.full(len(y), weights))


def test_descent_goes_on_from_lbfgs():
    X, y = load_diabetes(return_X_y=True)
    model = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", max_iter=5).fit(X, y)
    model.set_params(solver="adam").partial_fit(X, y)
    assert len(model.loss_curve_) == 1


def test_a_subclass_is_converted_as_what_it_is():
    class Mine(MLPRegressor):
        pass

    X, y = load_diabetes(return_X_y=True)
    converted = Mine(hidden_layer_sizes=(5,)).partial_fit(X, y).to_sklearn()
    assert type(converted) is neural_network.MLPRegressor


# --- one fit after another ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_later_fit_without_held_out_rows_reports_no_validation_loss(solver):
    seen = []
    model = MLPClassifier((5,), max_iter=3, random_state=0, warm_start=True, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, names, validation_data=(X, names))
        model.set_params(solver=solver, callback=lambda progress: seen.append(progress.validation_loss)).fit(X, names)
    assert len(seen) > 0
    assert np.isnan(seen).all()


@pytest.mark.parametrize("loss", ["poisson", "squared_error", "huber"])
def test_a_batch_whose_rows_all_weigh_nothing_is_passed_over(loss):
    weight = np.ones(len(X))
    weight[:40] = 0
    plain = {"solver": "sgd", "momentum": 0.0, "shuffle": False, "batch_size": 20, "alpha": 0.0}
    model = MLPRegressor(loss, (5,), max_iter=3, random_state=0, tol=0.0, **plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, np.abs(X[:, 0]), weight)
        without = clone(model).fit(X[40:], np.abs(X[40:, 0]), weight[40:])
    assert np.isfinite(model.loss_curve_).all()
    np.testing.assert_allclose(model.predict(X), without.predict(X), rtol=1e-9)


@pytest.mark.parametrize("watching", [{"callback": lambda _: None}, {"verbose": True}], ids=["callback", "verbose"])
def test_a_fit_without_early_stopping_goes_on_from_one_with_it(watching):
    model = MLPClassifier((5,), max_iter=4, random_state=0, early_stopping=True, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, names)
        model.set_params(early_stopping=False, **watching).fit(X, names)
    assert np.isfinite(model.best_loss_)

"""The drop-in goes scikit-learn's way, step by step: the same draws, the same batches, the same epochs, to rounding."""

import itertools

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

from sklearn import neural_network
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.preprocessing import scale

import fastbp.sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
TABLES = {
    "multiclass": (scale(IRIS), SPECIES),
    "binary": (scale(CANCER)[:300], MALIGNANT[:300]),
    "multilabel": (scale(DIABETES)[:200], (RNG.standard_normal((200, 3)) > 0).astype(int)),
    "numbers": (scale(DIABETES)[:300], scale(PROGRESSION)[:300]),
    "multi-output": (scale(DIABETES)[:200], RNG.standard_normal((200, 3))),
    "many outputs": (scale(IRIS), RNG.standard_normal((150, 30))),
    "counts": (scale(DIABETES)[:200], RNG.poisson(3, 200).astype(float)),
}
KINDS = {name: "MLPClassifier" if name in ("multiclass", "binary", "multilabel") else "MLPRegressor" for name in TABLES}
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd"},
    "invscaling": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.1,
        "nesterovs_momentum": False,
    },
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.1,
        "tol": 1e-2,
        "n_iter_no_change": 2,
    },
    "plain": {"solver": "sgd", "momentum": 0, "shuffle": False},
    "lbfgs": {"solver": "lbfgs"},
}


def learned(model):
    """Return everything that a fit left behind, as arrays."""
    names = ("loss_curve_", "validation_scores_", "n_iter_", "t_", "best_loss_", "loss_", "best_validation_score_")
    kept = {name: getattr(model, name, None) for name in names}
    numbers = {name: np.array(value, float) for name, value in kept.items() if value is not None}
    arrays = {f"coefs_[{i}]": array for i, array in enumerate(model.coefs_)}
    return {**numbers, **arrays, **{f"intercepts_[{i}]": array for i, array in enumerate(model.intercepts_)}}


def assert_same(table, fit, tolerance=1e-6, **parameters):
    """Fit both with the same parameters; compare all that they learned, and what they predict."""
    X, y = TABLES[table]
    theirs, ours = (
        fit(getattr(module, KINDS[table])(**{"random_state": 1, "max_iter": 30, **parameters}), X, y)
        for module in (neural_network, fastbp.sklearn)
    )
    wanted, found = learned(theirs), learned(ours)
    assert wanted.keys() == found.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        largest = np.max(np.abs(array), initial=1e-300)
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance * largest, err_msg=name)
    predict = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    wanted, found = (getattr(model, predict)(X) for model in (theirs, ours))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
    return ours


def plain_fit(model, X, y):
    return model.fit(X, y)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("table", ["multiclass", "binary", "numbers"])
def test_every_activation_with_every_solver(table, activation, solver):
    assert_same(table, plain_fit, activation=activation, **SOLVERS[solver])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("table", ["multilabel", "multi-output", "many outputs"])
def test_many_outputs(table, solver):
    assert_same(table, plain_fit, solver=solver, hidden_layer_sizes=(20, 9), alpha=0.1)


@pytest.mark.parametrize("solver", ["adam", "adaptive"])
@pytest.mark.parametrize("table", ["binary", "numbers", "multilabel", "multi-output", "multiclass"])
def test_early_stopping(table, solver):
    assert_same(table, plain_fit, early_stopping=True, **SOLVERS[solver])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weighted", [False, True])
def test_poisson(solver, weighted):
    weight = RNG.uniform(0, 2, 200) if weighted else None
    assert_same("counts", lambda model, X, y: model.fit(X, y, sample_weight=weight), solver=solver, loss="poisson")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("solver", "batch_size"), list(itertools.product(["adam", "sgd"], [7, 32, "auto"])))
def test_sample_weights_and_short_batches(solver, batch_size, early_stopping):
    weight = RNG.uniform(0.1, 3, 300)
    options = {"solver": solver, "batch_size": batch_size, "early_stopping": early_stopping, "max_iter": 8}
    assert_same("binary", lambda model, X, y: model.fit(X, y, sample_weight=weight), **options)


@pytest.mark.parametrize("solver", ["adam", "sgd", "invscaling"])
def test_partial_fits_and_warm_starts_go_on(solver):
    def step(model, X, y):
        for _ in range(4):
            model.partial_fit(X, y)
        return model

    def again(model, X, y):
        return model.fit(X, y).fit(X, y)

    assert_same("numbers", step, **SOLVERS[solver])
    assert_same("numbers", again, warm_start=True, max_iter=6, **SOLVERS[solver])


def test_a_saturated_model_has_the_same_clipped_loss():
    model = assert_same("multiclass", plain_fit, solver="sgd", learning_rate_init=30.0, max_iter=10)
    assert max(model.loss_curve_) > 5


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_float32_stays_float32(solver):
    def fit(model, X, y):
        return model.fit(X.astype(np.float32), y)

    assert_same("multiclass", fit, tolerance=1e-4, solver=solver)


def test_a_model_without_hidden_layers():
    assert_same("multiclass", plain_fit, hidden_layer_sizes=())


def test_another_bit_generator_than_numpys_oldest():
    states = [np.random.RandomState(np.random.PCG64(5)) for _ in range(2)]
    assert_same("multiclass", lambda model, X, y: model.set_params(random_state=states.pop()).fit(X, y), max_iter=5)

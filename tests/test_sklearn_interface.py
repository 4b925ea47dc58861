"""The drop-in stands where scikit-learn's classes stand: its own tests, its checks of estimators, its tools."""

import importlib.util
import re
import subprocess
import sys

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp.sklearn import MLPClassifier, MLPRegressor

X, y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)


def test_scikit_learns_own_tests_pass(tmp_path):
    source = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp").origin
    with open(source, encoding="utf-8") as file:
        text = file.read()
    ours = "from fastbp.sklearn import MLPClassifier, MLPRegressor"
    swapped = text.replace("from sklearn.neural_network import MLPClassifier, MLPRegressor", ours)
    assert swapped.count(ours) == 1
    path = tmp_path / "test_swapped.py"
    path.write_text(swapped, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sklearn.conftest", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 57


def is_slow(estimator):
    return isinstance(estimator, MLPRegressor) and estimator.solver == "sgd"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        MLPClassifier(max_iter=100),
        MLPClassifier(solver="lbfgs", activation="tanh", max_iter=100),
        MLPRegressor(max_iter=100),
        MLPRegressor(solver="sgd", learning_rate="adaptive", activation="logistic", max_iter=100),
        MLPRegressor(solver="lbfgs", max_iter=100),
    ],
    expected_failed_checks=lambda estimator: (
        {"check_regressors_train": "scikit-learn's own learns too slowly too"} if is_slow(estimator) else {}
    ),
)
def test_scikit_learns_checks_of_estimators_pass(estimator, check):
    check(estimator)


@pytest.fixture
def model():
    return MLPClassifier((8,), learning_rate_init=0.1, max_iter=300, tol=1e-3, random_state=0)


def test_grid_search(model):
    search = GridSearchCV(model, {"alpha": [1e-4, 100.0], "activation": ["relu", "tanh"]}, cv=3).fit(X, y)
    assert search.best_params_["alpha"] == 1e-4
    assert search.best_score_ > 0.85


def test_cross_validation_in_two_processes(model):
    assert cross_val_score(model, X, y, cv=3, n_jobs=2).mean() > 0.85


def test_pipeline_with_frames_for_output(model):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(X, schema=["a", "b", "c", "d"])
    pipeline = make_pipeline(StandardScaler().set_output(transform="polars"), model).fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert pipeline.score(frame, y) > 0.85


def test_a_clone_learns_the_same(model):
    other = clone(model).fit(X, y)
    assert np.array_equal(other.predict_proba(X), model.fit(X, y).predict_proba(X))


def test_bagging(model):
    assert BaggingClassifier(model, n_estimators=3, random_state=0).fit(X, y).score(X, y) > 0.85


def test_calibration(model):
    assert CalibratedClassifierCV(model, cv=3).fit(X, y).score(X, y) > 0.85


def test_permutation_importance(model):
    found = permutation_importance(model.fit(X, y), X, y, n_repeats=3, random_state=0)
    assert found.importances_mean[2:].sum() > found.importances_mean[:2].sum()


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_dumped_model_goes_on_learning_to_the_bit(model, solver, tmp_path):
    model.set_params(solver=solver).partial_fit(X, y, classes=[0, 1, 2])
    joblib.dump(model, tmp_path / "model.joblib")
    other = joblib.load(tmp_path / "model.joblib")
    for _ in range(3):
        model.partial_fit(X, y)
        other.partial_fit(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, other.coefs_, strict=True))


def test_metadata_is_routed(model):
    weight = np.where(y == 0, 1e-6, 1.0)
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_val_score(model, X, y, cv=3, params={"sample_weight": weight})
    by_hand = [
        clone(model).fit(X[a], y[a], sample_weight=weight[a]).score(X[b], y[b], sample_weight=weight[b])
        for a, b in StratifiedKFold(3).split(X, y)
    ]
    assert routed == pytest.approx(by_hand)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_best_parameters_are_copies(model):
    model.set_params(early_stopping=True, warm_start=True, max_iter=5).fit(X, y)
    best = [array.copy() for array in model._best_coefs]
    model.set_params(early_stopping=False).fit(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(best, model._best_coefs, strict=True))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_batch_whose_rows_all_weigh_nothing_changes_nothing():
    model = MLPClassifier((4,), solver="sgd", batch_size=50, shuffle=False, momentum=0, max_iter=3, random_state=0)
    weight = np.repeat([1.0, 0.0, 1.0], 50)
    some, turns = np.flatnonzero(weight), np.arange(150) % 3
    whole, part = clone(model).fit(X, turns, sample_weight=weight), model.fit(X[some], turns[some])
    for found, wanted in zip(whole.coefs_, part.coefs_, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_sparse_rows_are_taken():
    sparse = pytest.importorskip("scipy.sparse")
    rows, numbers = load_diabetes(return_X_y=True)
    dense = MLPRegressor("poisson", (5,), learning_rate_init=0.01, tol=0.1, max_iter=1000, random_state=0).fit(
        rows, numbers
    )
    thin = clone(dense).fit(sparse.csr_array(rows), numbers)
    assert np.array_equal(thin.predict(sparse.csc_array(rows)), dense.predict(rows))

"""What the estimators of the drop-in hold between two calls: parameters, moments, and the arrays that users see."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

from sklearn import neural_network
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from fastbp.sklearn import MLPClassifier, MLPRegressor

X, numbers = load_iris(return_X_y=True)
X = scale(X)
names = np.array(["setosa", "versicolor", "virginica"])[numbers]


def by_numpy(model, rows):
    """Return a ReLU network's outputs from its arrays."""
    h = rows
    for layer, (matrix, vector) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        h = h @ matrix + vector
        h = h if layer == len(model.coefs_) - 1 else np.maximum(h, 0)
    return h


CHANGES = {
    "nothing": lambda _: None,
    "a number in place": lambda model: model.coefs_[0].__setitem__((0, 0), 3.0),
    "an intercept in place": lambda model: model.intercepts_[1].__iadd__(0.25),
    "an array": lambda model: model.coefs_.__setitem__(1, model.coefs_[1] * 2),
    "all arrays": lambda model: setattr(model, "coefs_", [matrix[::-1].copy() for matrix in model.coefs_]),
    "the dtype": lambda model: setattr(model, "coefs_", [matrix.astype(np.float32) for matrix in model.coefs_]),
    "a partial fit": lambda model: model.partial_fit(X[:20], X[:20, :1].ravel()),
    "another fit": lambda model: model.set_params(hidden_layer_sizes=(3,)).fit(X, X[:, :1].ravel()),
    "a pickle": lambda model: vars(model).update(vars(pickle.loads(pickle.dumps(model)))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_predictions_follow_the_arrays_whatever_happens_to_them(change):
    model = MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, X[:, :1].ravel())
        model.predict(X)
        CHANGES[change](model)
    for _ in range(2):
        np.testing.assert_allclose(model.predict(X), by_numpy(model, X).ravel(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["nothing", "a number in place", "an array", "all arrays"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_partial_fit_goes_on_from_the_arrays_and_moments_whatever_happens_to_them(solver, change):
    y, models = X[:, 0], []
    for kind in (MLPRegressor, neural_network.MLPRegressor):
        model = kind(hidden_layer_sizes=(5,), solver=solver, random_state=0)
        for step in range(4):
            model.partial_fit(X, y)
            if step == 1:
                CHANGES[change](model)
            if step == 2:
                model = pickle.loads(pickle.dumps(model))
        models.append(model)
    for found, wanted in zip(*(model.coefs_ + model.intercepts_ for model in models), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_predictions_do_not_unpack_and_a_reader_gets_arrays_of_the_last_fit():
    model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, X[:, 0])
    before = model.coefs_[0].copy()
    model.partial_fit(X, X[:, 0])
    model.predict(X)
    pickle.dumps(model)
    assert "coefs_" not in vars(model)
    assert not np.array_equal(model.coefs_[0], before)
    assert "intercepts_" in vars(model)
    with pytest.raises(AttributeError, match="has no attribute 'coefs_'"):
        MLPRegressor().coefs_  # noqa: B018 (the look-up is what is tested)


def test_an_estimator_and_its_copies_learn_apart():
    model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0).partial_fit(X, X[:, 0])
    shallow, deep = copy.copy(model), copy.deepcopy(model)
    before = deep.predict(X)
    model.partial_fit(X, X[:, 0])
    for other in (shallow, deep):
        assert np.array_equal(other.predict(X), before)
    deep.partial_fit(X, X[:, 0])
    assert np.array_equal(deep.predict(X), model.predict(X))


@pytest.mark.parametrize("random_state", [None, 3, np.int64(3), "stream"])
@pytest.mark.parametrize("n", [2, 150, 1200])
def test_partial_fits_draw_the_same_orders_as_scikit_learns(n, random_state):
    rows, models = np.resize(X, (n, 4)) + np.arange(n)[:, None] / n, []
    for kind in (MLPRegressor, neural_network.MLPRegressor):
        np.random.seed(1)  # noqa: NPY002 (the stream that `random_state=None` stands for)
        seed = np.random.RandomState(7) if random_state == "stream" else random_state
        model = kind(hidden_layer_sizes=(5,), batch_size=min(n, 16), random_state=seed)
        for _ in range(3):
            model.partial_fit(rows, rows[:, 0])
        models.append((model, np.random.random() if random_state is None else 0))  # noqa: NPY002 (the same stream)
    (ours, next_ours), (theirs, next_theirs) = models
    assert next_ours == next_theirs
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


def test_equal_numbers_of_another_type_are_checked_once_more():
    MLPRegressor(hidden_layer_sizes=(5,), max_iter=1, shuffle=True).partial_fit(X, X[:, 0])
    with pytest.raises(ValueError, match="shuffle"):
        MLPRegressor(hidden_layer_sizes=(5,), max_iter=1, shuffle=1).partial_fit(X, X[:, 0])


def test_packed_parameters_are_in_no_pickle_and_in_no_model_of_scikit_learn():
    model = MLPClassifier((5,), max_iter=5, random_state=0, tol=1.0, n_iter_no_change=1).fit(X, names)
    assert not {"_packed", "_moments"} & set(model.__getstate__())
    assert not {"_packed", "_moments"} & set(vars(model.to_sklearn()))
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("is_read", [False, True])
def test_moments_of_other_layers_are_refused(solver, is_read):
    model = MLPRegressor(hidden_layer_sizes=(5,), solver=solver, random_state=0).partial_fit(X, X[:, 0])
    if is_read:
        model = pickle.loads(pickle.dumps(model))
    other = MLPRegressor(hidden_layer_sizes=(40,), random_state=0).partial_fit(X, X[:, 0])
    model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    model.set_params(hidden_layer_sizes=(40,))
    with pytest.raises(ValueError, match="the optimizer's moments have other shapes"):
        model.partial_fit(X, X[:, 0])


def test_what_was_checked_keeps_no_callback_alive():
    class Watch:
        def __call__(self, _):
            return False

    watch = Watch()
    seen = weakref.ref(watch)
    MLPRegressor(hidden_layer_sizes=(5,), max_iter=1, callback=watch).partial_fit(X, X[:, 0])
    del watch
    gc.collect()
    assert seen() is None


def test_sizes_that_scikit_learn_takes_are_taken():
    for sizes in ([5], np.array([5]), (np.int64(5),), ([5],), 5):
        assert MLPRegressor(hidden_layer_sizes=sizes)._validate_params() is None

"""Every dtype that scikit-learn takes is taken, at every method; every other one is refused in one line."""

import functools
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.9")

from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from fastbp.sklearn import MLPClassifier, MLPRegressor

CODES = "?bBhHiIlLqQefdgFDGOSUMmV"
WHOLE = np.random.default_rng(0).integers(0, 2, (30, 3))
OPTIONS = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def cast(numbers, code):
    """Return zeros and ones in a dtype; text and times that begin with digits too."""
    if code in "SU":
        return numbers.astype(int).astype(code)
    if code == "V":
        return numbers.astype("i4").view("V4")
    return numbers.astype(int).astype({"M": "M8[s]", "m": "m8[s]"}.get(code, code))


def trained(kind, solver="adam"):
    y = WHOLE[:, 0] if "Classifier" in kind.__name__ else WHOLE[:, 0].astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(solver=solver, **OPTIONS).fit(WHOLE.astype(float), y)


def answer(call):
    """Return what a call returns, or the error that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except (TypeError, ValueError) as error:
            return error


def assert_alike(ours, theirs):
    """Assert that both calls returned nearly the same numbers or labels, or that both refused, ours in one line."""
    ours, theirs = answer(ours), answer(theirs)
    if isinstance(theirs, Exception):
        assert isinstance(ours, TypeError if isinstance(theirs, TypeError) else ValueError), ours
        assert str(ours) == str(theirs) or "\n" not in str(ours)
    elif np.asarray(theirs).dtype.kind in "fc":
        np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=1e-6, atol=1e-9)
    else:
        np.testing.assert_array_equal(ours, theirs)


PAIRS = [(MLPClassifier, neural_network.MLPClassifier), (MLPRegressor, neural_network.MLPRegressor)]
METHODS = ["predict", "predict_proba", "predict_log_proba", "score"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pair", PAIRS, ids=["classifier", "regressor"])
def test_rows_to_predict(pair, code, method):
    if not hasattr(pair[0], method):
        pytest.skip("a regressor has no probabilities")
    models, X = [trained(kind) for kind in pair], cast(WHOLE, code)
    for rows in (X, X[:1], np.asfortranarray(X), X[::2]):
        rest = (WHOLE[: len(rows), 0],) if method == "score" else ()
        if len(rows) > 1 or method != "score":
            assert_alike(*(functools.partial(getattr(model, method), rows, *rest) for model in models))


@pytest.mark.parametrize("method", ["adam", "sgd", "lbfgs", "partial_fit"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pair", PAIRS, ids=["classifier", "regressor"])
def test_rows_to_train_on(pair, code, method):
    X, y = cast(WHOLE, code), WHOLE[:, 0]

    def fitted(kind):
        if method == "partial_fit":
            model = trained(kind)
            return model.partial_fit(X, y).partial_fit(X[::-1], y[::-1]).predict(WHOLE.astype(float))
        return kind(solver=method, **OPTIONS).fit(X, y).predict(WHOLE.astype(float))

    assert_alike(*(lambda kind=kind: fitted(kind) for kind in pair))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pair", PAIRS, ids=["classifier", "regressor"])
def test_targets(pair, code, method):
    X, y = WHOLE.astype(float), cast(WHOLE[:, 0], code)

    def fitted(kind):
        model = kind(**OPTIONS)
        if method == "fit":
            return model.fit(X, y).predict(X)
        classes = (np.unique(y),) if "Classifier" in kind.__name__ else ()
        return model.partial_fit(X, y, None, *classes).partial_fit(X, y, None, *classes).predict(X)

    assert_alike(*(lambda kind=kind: fitted(kind) for kind in pair))


@pytest.mark.parametrize("code", CODES)
def test_weights(code):
    X, weight = WHOLE.astype(float), cast(WHOLE[:, 1], code)

    def fitted(kind):
        return kind(batch_size=30, **OPTIONS).fit(X, WHOLE[:, 0], sample_weight=weight).predict_proba(X)

    assert_alike(*(lambda kind=kind: fitted(kind) for kind in PAIRS[0]))


@pytest.mark.parametrize("value", ["1e300", "1e4000", "nan", "inf"])
@pytest.mark.parametrize("method", ["predict", "fit", "partial_fit"])
def test_long_doubles_that_are_not_finite_in_float64_are_refused(method, value):
    X = WHOLE.astype(np.longdouble)
    X[3, 1] = np.longdouble(value)
    model = trained(MLPRegressor)
    rest = () if method == "predict" else (WHOLE[:, 0],)
    found = answer(lambda: getattr(model, method)(X, *rest))
    if value == "1e300" and method == "predict":
        assert np.isfinite(found).all()
        return
    assert isinstance(found, ValueError), found
    assert "\n" not in str(found) or value == "nan"  # in scikit-learn's words

"""The drop-in beside other libraries: skl2onnx, skops, notebooks, `help()`, and a scikit-learn that is not there."""

import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

from sklearn import neural_network
from sklearn.externals._numpydoc.docscrape import FunctionDoc
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp.sklearn
from fastbp.sklearn import MLPClassifier, MLPRegressor, register_onnx_converters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROOT = Path(__file__).parent.parent
CLASSES = (MLPClassifier, MLPRegressor)
X = 3 + np.random.default_rng(0).standard_normal((90, 4)).astype(np.float32)
CLASS = np.digitize(X[:, 0] + X[:, 1], [5.5, 6.5])  # 0, 1 or 2

each_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def classifier(**options):
    return MLPClassifier((8,), max_iter=20, learning_rate_init=0.02, random_state=0, **options)


def regressor(**options):
    return MLPRegressor(hidden_layer_sizes=(8, 5), max_iter=20, learning_rate_init=0.02, random_state=0, **options)


def in_a_pipeline(model):
    return make_pipeline(StandardScaler(), model)


# --- ONNX -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def outputs_in_onnx():
    """Return the function that converts an estimator to ONNX and gives its outputs by name."""
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    register_onnx_converters()

    def outputs(model, X, **options):
        converted = skl2onnx.to_onnx(model, X[:1], options=options or None)
        session_options = onnxruntime.SessionOptions()
        session_options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            converted.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        found = dict(zip(names, session.run(None, {"X": X}), strict=True))
        for output in session.get_outputs():  # the shapes that the model declares are those that it gives
            if isinstance(found[output.name], np.ndarray):
                assert output.shape[1:] == list(found[output.name].shape[1:])
        return found

    return outputs


TARGETS = {
    "two classes": CLASS > 0,
    "three classes": CLASS,
    "numbers of classes beyond 32 bits": 2**40 + CLASS,
    "classes as floats": CLASS.astype(np.float64),
    "strings": np.array(["a", "bc", "ä"])[CLASS],
    "strings as objects": np.array(["a", "bc", "ä"], dtype=object)[CLASS],
    "two strings": np.array(["no", "yes"])[(CLASS > 0).astype(int)],
    "two labels": (X[:, :2] > 3).astype(int),
    "four labels": (X > 3).astype(int),
}


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_classifier_in_a_pipeline_predicts_the_same_in_onnx(outputs_in_onnx, y, dtype):
    model = in_a_pipeline(classifier()).fit(X.astype(dtype), y)
    found = outputs_in_onnx(model, X.astype(dtype), zipmap=False)
    assert list(found) == ["label", "probabilities"]
    assert found["probabilities"].dtype == dtype
    expected = model.predict_proba(X.astype(dtype))
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=2e-6 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(found["label"], model.predict(X.astype(dtype)))
    assert len(np.unique(found["label"])) > 1


@pytest.mark.parametrize("options", [{}, {"loss": "poisson"}, {"loss": "huber"}, {"loss": "quantile", "quantile": 0.8}])
@pytest.mark.parametrize("n_outputs", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_regressor_in_a_pipeline_predicts_the_same_in_onnx(outputs_in_onnx, options, n_outputs, dtype):
    y = np.abs(X[:, 0] if n_outputs == 1 else X[:, :n_outputs])
    model = in_a_pipeline(regressor(**options)).fit(X.astype(dtype), y)
    (found,) = outputs_in_onnx(model, X.astype(dtype)).values()
    assert found.dtype == dtype
    expected = model.predict(X.astype(dtype)).reshape(len(X), n_outputs)
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", sorted(MLPRegressor._parameter_constraints["loss"][0].options))
def test_every_loss_of_the_regressor_converts(outputs_in_onnx, loss):
    model = regressor(loss=loss).fit(X, np.abs(X[:, 0]))
    (found,) = outputs_in_onnx(model, X).values()
    np.testing.assert_allclose(found.ravel(), model.predict(X), rtol=2e-6)


@pytest.mark.parametrize("activation", sorted(MLPClassifier._parameter_constraints["activation"][0].options))
@pytest.mark.parametrize("sizes", [(), (6,), (6, 5)])
def test_every_activation_and_depth_converts(outputs_in_onnx, activation, sizes):
    model = MLPClassifier(sizes, activation, max_iter=10, random_state=0).fit(X - 3, CLASS)
    found = outputs_in_onnx(model, X - 3, zipmap=False)
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X - 3), rtol=0, atol=2e-6)


def test_a_search_converts_and_whole_numbers_are_rows_too(outputs_in_onnx):
    rows = (4 * X).astype(np.int64)
    model = GridSearchCV(in_a_pipeline(classifier()), {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2).fit(rows, CLASS)
    found = outputs_in_onnx(model, rows, zipmap=False)
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(found["label"], model.predict(rows))


def test_the_options_of_skl2onnx_do_what_they_say(outputs_in_onnx):
    model = classifier().fit(X, TARGETS["strings"])
    p = model.predict_proba(X)
    labels, dicts = outputs_in_onnx(model, X).values()  # zipmap is skl2onnx's default
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_allclose([[row[name] for name in model.classes_] for row in dicts], p, rtol=0, atol=2e-6)
    columns = outputs_in_onnx(model, X, zipmap="columns")
    np.testing.assert_allclose(np.transpose([columns[f"s{name}"] for name in model.classes_]), p, rtol=0, atol=2e-6)
    found = outputs_in_onnx(model, X, zipmap=False, output_class_labels=True)
    np.testing.assert_array_equal(found["class_labels"], model.classes_)
    numbered = outputs_in_onnx(model, X, zipmap=False, nocl=True)
    np.testing.assert_array_equal(model.classes_[numbered["label"]], model.predict(X))


def test_a_model_of_one_class_is_refused(outputs_in_onnx):
    model = classifier().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="one class cannot be converted"):
        outputs_in_onnx(model, X)


def test_the_example_of_the_converters_runs():
    pytest.importorskip("skl2onnx")
    outcome = doctest.testmod(sys.modules["fastbp.sklearn.onnx"])
    assert outcome.attempted >= 7
    assert outcome.failed == 0


def test_a_missing_skl2onnx_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[onnx\]'") as caught:
        register_onnx_converters()
    assert isinstance(caught.value.__cause__, ImportError)


# --- skops ------------------------------------------------------------------------------------------------------------


def trusted_in_the_documents():
    """Return the types that docs/sklearn.md tells skops to trust."""
    (listed,) = re.findall(r"^TRUSTED = \[\n(.*?)^\]", (ROOT / "docs/sklearn.md").read_text("utf-8"), re.M | re.S)
    return re.findall(r'"(.*)"', listed)


FITTED = {
    f"{solver} {name}": (make, solver, y)
    for solver in ("sgd", "adam", "lbfgs")
    for name, make, y in (
        ("classes", classifier, TARGETS["strings"]),
        ("labels", classifier, TARGETS["two labels"]),
        ("numbers", regressor, X[:, :2]),
    )
}


@pytest.mark.parametrize("case", FITTED.values(), ids=FITTED)
@pytest.mark.parametrize("surround", [lambda model: model, in_a_pipeline], ids=["alone", "pipeline"])
def test_skops_saves_a_model_and_asks_for_no_type_but_those_of_the_documents(case, surround):
    io = pytest.importorskip("skops.io")
    make, solver, y = case
    model = surround(make(solver=solver)).fit(X, y)
    before = model.predict(X)
    data = io.dumps(model)
    asked = io.get_untrusted_types(data=data)
    assert len(asked) == (1 if solver == "lbfgs" else 2)
    assert set(asked) <= set(trusted_in_the_documents())
    loaded = io.loads(data, trusted=trusted_in_the_documents())
    np.testing.assert_array_equal(loaded.predict(X), before)
    if solver != "lbfgs" and surround is not in_a_pipeline:
        for one in (model, loaded):
            one.partial_fit(X, y)
        np.testing.assert_array_equal(loaded.coefs_[0], model.coefs_[0])


def test_the_documents_list_no_type_that_skops_never_asks_for():
    io = pytest.importorskip("skops.io")
    models = [make(solver=solver).fit(X, y) for make, solver, y in FITTED.values()]
    asked = {name for model in models for name in io.get_untrusted_types(data=io.dumps(model))}
    assert sorted(asked) == sorted(trusted_in_the_documents())


# --- notebooks and help() ---------------------------------------------------------------------------------------------


def described(page):
    """Return the names in an estimator's HTML page that have a description."""
    return set(re.findall(r'<span class="param-doc-description"\s[^>]*>\s*(\w+): ', page))


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_notebook_describes_every_parameter_and_every_fitted_attribute(make):
    model = make()
    assert described(model._repr_html_()) == set(model.get_params())
    model.fit(X, CLASS)
    fitted = {name for name, _ in inspect.getmembers(model) if name.endswith("_") and not name.startswith("_")}
    assert described(model._repr_html_()) == set(model.get_params()) | fitted
    assert "dropout: float, default=0.0<br><br>Not in scikit-learn." in model._repr_html_()


@each_class
def test_the_links_of_a_notebook_lead_to_scikit_learns_page_of_the_class(kind):
    original = getattr(neural_network, kind.__name__)
    link = original()._get_doc_link()
    assert link.endswith(f"/sklearn.neural_network.{kind.__name__}.html")
    links = set(re.findall(r'href="([^"#]*)', kind()._repr_html_()))
    assert links == {link}
    assert link in in_a_pipeline(kind())._repr_html_()


@each_class
def test_the_class_of_a_user_has_no_link_and_still_has_a_page(kind):
    page = type("Mine", (kind,), {"__module__": "mine", "__init__": kind.__init__})()._repr_html_()
    assert "neural_network" not in page
    assert "hidden_layer_sizes" in page


PUBLIC = [
    (kind, name) for kind in CLASSES for name, member in inspect.getmembers(kind, callable) if not name.startswith("_")
]


@pytest.mark.parametrize(("kind", "name"), PUBLIC, ids=lambda value: getattr(value, "__name__", value))
def test_help_describes_every_argument_and_result_of_every_method(kind, name):
    method = getattr(kind, name)
    told = FunctionDoc(method)
    described = {word.strip(" *") for parameter in told["Parameters"] for word in parameter.name.split(",")}
    assert described == set(inspect.signature(method).parameters) - {"self"}
    assert told["Summary"]
    assert told["Returns"]
    assert {"fit", "partial_fit", "predict", "score", "to_sklearn", "set_fit_request"} <= set(dir(kind))


# --- the types of fitted attributes -----------------------------------------------------------------------------------


def type_of(value):
    """Return the type of a fitted attribute; of an array with its dtype and axes, of a list with its items' types."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of {value.ndim} axes"
    if isinstance(value, list):
        return f"list of {sorted({type_of(item) for item in value})}"
    return type(value).__name__


def fitted_types(model):
    names = {name for name, _ in inspect.getmembers(model) if name.endswith("_") and not name.startswith("_")}
    return {name: type_of(getattr(model, name)) for name in sorted(names - {"validation_loss_curve_"})}


SETTINGS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive"},
    "lbfgs": {"solver": "lbfgs"},
    "adam with early stopping": {"early_stopping": True},
    "sgd with early stopping": {"solver": "sgd", "early_stopping": True, "learning_rate": "invscaling"},
}
PROBLEMS = {
    "strings": (MLPClassifier, TARGETS["strings"]),
    "two classes": (MLPClassifier, TARGETS["two classes"]),
    "labels": (MLPClassifier, TARGETS["two labels"]),
    "numbers": (MLPRegressor, X[:, 0].astype(np.float64)),  # of float32, scikit-learn's losses have seven digits
    "two outputs": (MLPRegressor, X[:, :2].astype(np.float64)),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(("kind", "y"), PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_fitted_attribute_has_scikit_learns_type(kind, y, settings, dtype):
    original = getattr(neural_network, kind.__name__)
    weight = np.linspace(0.5, 2, len(X))
    ours, theirs = (one(max_iter=3, random_state=0, **settings) for one in (kind, original))
    for sample_weight in (None, weight):
        for model in (ours, theirs):
            model.fit(X.astype(dtype), y, sample_weight)
        assert fitted_types(ours) == fitted_types(theirs)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(("kind", "y"), PROBLEMS.values(), ids=PROBLEMS)
def test_every_attribute_has_scikit_learns_type_after_partial_fit(kind, y, solver):
    original = getattr(neural_network, kind.__name__)
    ours, theirs = (one(solver=solver, random_state=0) for one in (kind, original))
    first = {"classes": np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])} if kind is MLPClassifier else {}
    for options in (first, {}):
        for model in (ours, theirs):
            model.partial_fit(X, y, **options)
        assert fitted_types(ours) == fitted_types(theirs)


# --- a scikit-learn that is missing or too old ------------------------------------------------------------------------


def importing_with(folder):
    """Return what `import fastbp.sklearn` writes in a process that looks for packages in this folder first."""
    path = os.pathsep.join(map(str, (folder, Path(fastbp.__file__).parent.parent)))
    command = [sys.executable, "-c", "import fastbp.sklearn"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_a_missing_scikit_learn_says_what_to_install(tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ModuleNotFoundError(\"No module named 'sklearn'\", name='sklearn')\n")
    written = importing_with(tmp_path)
    assert "The above exception was the direct cause" in written
    assert written.splitlines()[-1] == (
        "ImportError: fastbp.sklearn needs scikit-learn 1.9 or later (No module named 'sklearn'): "
        "pip install 'fastbp[sklearn]'"
    )


@pytest.mark.parametrize("version", ["1.8.2", "1.6.1", "0.24"])
def test_a_scikit_learn_that_is_too_old_says_what_to_install(tmp_path, version):
    (tmp_path / "sklearn.py").write_text(f"__version__ = {version!r}\n")
    assert importing_with(tmp_path).splitlines()[-1] == (
        f"ImportError: fastbp.sklearn needs scikit-learn 1.9 or later ({version} is installed): "
        "pip install 'fastbp[sklearn]'"
    )


@pytest.mark.parametrize("version", ["1.9.dev0", "1.9.0rc1", "1.10.0", "2.0"])
def test_no_later_scikit_learn_is_called_too_old(tmp_path, version):
    (tmp_path / "sklearn.py").write_text(f"__version__ = {version!r}\n")
    assert "needs scikit-learn" not in importing_with(tmp_path)  # this file has no `neural_network`


def test_importing_the_drop_in_does_not_import_the_libraries_that_it_can_do_without():
    program = "import sys, fastbp.sklearn; print({'skl2onnx', 'onnx', 'skops'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_example_in_the_docstring_of_each_class_runs():
    for kind in CLASSES:
        for test in doctest.DocTestFinder(recurse=False).find(kind, kind.__name__):
            assert test.examples
            assert doctest.DocTestRunner().run(test).failed == 0

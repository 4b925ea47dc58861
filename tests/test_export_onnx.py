"""A model in ONNX answers as the model itself: networks, whole tables, and every activation."""

import datetime

import numpy as np
import pytest

import fastbp
from fastbp import activations
from fastbp.tabular import TabularClassifier, TabularRegressor

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

N = 90
EPOCH = np.datetime64("1970-01-01T00:00:00", "us")


def answers_of(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = {one.name for one in session.get_inputs()}
    return dict(zip(names, session.run(None, {k: v for k, v in inputs.items() if k in wanted}), strict=True))


def table(seed):
    """Return a table with gaps, dates, odd texts and truth values, in lists."""
    random = np.random.default_rng(seed)

    def gaps(values):
        return [None if random.random() < 0.15 else value for value in values]

    days = random.integers(-2000, 20000, N)
    return {
        "size": gaps((random.normal(size=N) * 10.0 ** random.integers(-3, 6)).tolist()),
        "count": random.integers(-5, 900, N).tolist(),
        "label": gaps(random.choice(["a'\"b", "", "é漢", "1", "2"], N).tolist()),
        "truth": gaps(random.choice([True, False], N).tolist()),
        "day": gaps([datetime.datetime(1970, 1, 1) + datetime.timedelta(days=int(d), hours=5) for d in days]),
        "huge": (2**60 + random.integers(0, 1000, N)).tolist(),
    }


def in_onnx(frame):
    def floats(values):
        return np.array([np.nan if value is None else value for value in values], float)

    def texts(values):
        return np.array(["missing" if value is None else str(value) for value in values], object)

    days = [np.nan if d is None else (np.datetime64(d, "us") - EPOCH).astype(np.int64) / 86400e6 for d in frame["day"]]
    return {
        "size": floats(frame["size"]),
        "count": floats(frame["count"]),
        "column 2": texts(frame["label"]),  # an output has the name of this column
        "truth": texts(frame["truth"]),
        "day": np.array(days),
        "huge": np.array(frame["huge"], np.int64),
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("hidden", [(), (8,), (8, 8), (8, 8, 8), (8, 8, 8, 8)])
def test_a_classifier_of_a_raw_table_answers_the_same(tmp_path, seed, hidden):
    frame, other = table(seed), table(seed + 100)
    other["label"][:4] = ["never seen", "1.0", "2.000", ""]
    kinds = ([["x", "ÿ", "rare"][min(i % 45, 2) % 3] for i in range(N)], [i % 3 + 5 for i in range(N)])
    model = TabularClassifier(n_estimators=2, hidden_layer_sizes=hidden, epochs=5).fit(frame, kinds[seed % 2])
    model.to_onnx(tmp_path / "model.onnx")
    found, wanted = answers_of(tmp_path / "model.onnx", in_onnx(other)), model.predict_proba(other)
    np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-5)
    assert np.array_equal(found["label"], model.predict(other))


@pytest.mark.parametrize("seed", range(100))
def test_a_regressor_of_a_raw_table_answers_the_same_with_intervals(tmp_path, seed):
    frame, other = table(seed), table(seed + 100)
    y = np.random.default_rng(seed).normal(size=N) + 10
    model = TabularRegressor(n_estimators=2, hidden_layer_sizes=(8,), epochs=5).fit(frame, y)
    model.to_onnx(tmp_path / "model.onnx", coverage=0.8)
    found = answers_of(tmp_path / "model.onnx", in_onnx(other))
    np.testing.assert_allclose(found["prediction"], model.predict(other), rtol=1e-5)
    interval = model.predict_interval(other, 0.8)
    np.testing.assert_allclose(np.column_stack([found["lower"], found["upper"]]), interval, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", activations.NAMES)
def test_every_activation_answers_the_same_in_both_dtypes(tmp_path, name, dtype):
    network = fastbp.Network([3, 8, 8, 2], dtype=dtype, seed=0, activation=name)
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype) * 3
    network.to_onnx(tmp_path / "network.onnx")
    (found,) = answers_of(tmp_path / "network.onnx", {"X": X}).values()
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, network.predict(X), rtol=tolerance, atol=tolerance)


def test_a_users_activation_is_refused_by_name(tmp_path):
    def squared(f):
        return f * f, 2 * f

    network = fastbp.Network([2, 4, 1], activation=activations.custom(squared), seed=0)
    with pytest.raises(ValueError, match="squared"):
        network.to_onnx(tmp_path / "network.onnx")


def test_a_missing_onnx_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbp\[onnx\]'"):
        fastbp.Network([2, 1], seed=0).to_onnx(tmp_path / "network.onnx")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["texts", "two", "many", "multilabel", "numbers"])
def test_the_drop_in_answers_the_same(tmp_path, kind, dtype):
    from fastbp.sklearn import MLPClassifier, MLPRegressor

    random = np.random.default_rng(0)
    X = random.normal(size=(60, 3)).astype(dtype)
    targets = {
        "texts": random.choice(["a", "é", ""], 60),
        "two": random.integers(0, 2, 60),
        "many": random.integers(5, 9, 60),
        "multilabel": random.integers(0, 2, (60, 3)),
        "numbers": random.normal(size=60),
    }
    made = MLPRegressor if kind == "numbers" else MLPClassifier
    model = made(
        hidden_layer_sizes=(8,), activation="gelu", max_iter=20, tol=0.1, n_iter_no_change=2, random_state=0
    ).fit(X, targets[kind])
    model.to_onnx(tmp_path / "model.onnx")
    found = answers_of(tmp_path / "model.onnx", {"X": X})
    if kind == "numbers":
        np.testing.assert_allclose(found["prediction"], model.predict(X), rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), rtol=1e-5, atol=1e-6)
        assert np.array_equal(found["label"], model.predict(X))


def test_a_network_of_a_cross_entropy_gives_probabilities_too(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    for n_outputs, loss in ((1, "binary_cross_entropy"), (2, "binary_cross_entropy"), (3, "cross_entropy")):
        y = np.arange(40) % 3 if n_outputs == 3 else np.ones((40, n_outputs))
        network = fastbp.Network([3, 4, n_outputs], seed=0)
        network.fit(X, y, loss, epochs=1)
        network.to_onnx(tmp_path / "network.onnx")
        found = answers_of(tmp_path / "network.onnx", {"X": X})
        np.testing.assert_allclose(found["prediction"], network.predict(X), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["probabilities"], network.predict_proba(X), rtol=1e-5)


def test_the_command_exports_a_model_file(tmp_path):
    from typer.testing import CliRunner

    from fastbp.command.app import app

    frame = table(0)
    model = TabularRegressor(n_estimators=1, hidden_layer_sizes=(), epochs=1).fit(frame, np.arange(N) + 1.0)
    model.save(tmp_path / "model.fastbp")
    result = CliRunner().invoke(app, ["export", str(tmp_path / "model.fastbp"), "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 0
    found = answers_of(tmp_path / "model.onnx", in_onnx(frame))
    np.testing.assert_allclose(found["prediction"], model.predict(frame), rtol=1e-5)

"""Model files that fastbp 0.1.0 wrote load to the same bits and give the answers that 0.1.0 gave.

`models/answers.json` holds those answers. Bits are compared within the file; answers to rounding, as another processor
adds up in another order.
"""

import datetime
import json
import pathlib

import numpy as np
import pytest

import fastbp
from fastbp.files import model_file
from fastbp.tabular import TableModel, TabularClassifier, TabularRegressor

MODELS = pathlib.Path(__file__).parent / "models"
ANSWERS = json.loads((MODELS / "answers.json").read_text(encoding="utf-8"))
KINDS = {"classifier": TabularClassifier, "regressor": TabularRegressor}


def file_of(name):
    return MODELS / f"{name}-0.1.fastbp"


def frame():
    stored = ANSWERS["classifier"]["frame"]
    return {**stored, "day": [datetime.date.fromisoformat(day) for day in stored["day"]]}


def assert_close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)


def assert_same_tensors(got, wanted):
    assert set(got) == set(wanted)
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype
        assert got[name].tobytes() == tensor.tobytes(), name


@pytest.mark.parametrize("name", KINDS)
def test_a_table_model_loads_to_the_bits_in_its_file_and_is_saved_with_the_same(name, tmp_path):
    tensors, _ = model_file.read(file_of(name))
    TableModel.load(file_of(name)).save(tmp_path / "again.fastbp")
    assert_same_tensors(model_file.read(tmp_path / "again.fastbp")[0], tensors)


def test_a_classifier_answers_as_it_did():
    model = TabularClassifier.load(file_of("classifier"))
    assert model.predict(frame()).tolist() == ANSWERS["classifier"]["labels"]
    assert_close(model.predict_proba(frame()), ANSWERS["classifier"]["probabilities"])


def test_a_regressor_answers_as_it_did():
    model = TabularRegressor.load(file_of("regressor"))
    assert_close(model.predict(frame()), ANSWERS["regressor"]["values"])
    assert_close(model.predict_interval(frame(), coverage=0.8), ANSWERS["regressor"]["bounds of 80 %"])


@pytest.mark.parametrize("name", KINDS)
def test_an_estimator_that_was_loaded_has_the_parameters_and_scores_of_its_training(name):
    model = KINDS[name].load(file_of(name))
    widths = model.hidden_layer_sizes
    assert (model.n_estimators, len(widths), model.epochs) == (2, {"classifier": 1, "regressor": 2}[name], 12)
    assert model.n_jobs == -1
    assert all(np.isfinite(value) for value in model.scores_.values())
    wanted = {"classifier": ["accuracy", "log_loss", "auc"], "regressor": ["r2", "rmse", "mae"]}[name]
    assert list(model.scores_) == wanted


@pytest.mark.parametrize("name", KINDS)
def test_a_table_model_has_the_present_names_and_keeps_them_when_it_is_saved_again(name, tmp_path):
    model = TableModel.load(file_of(name))
    assert {"n_estimators", "hidden_layer_sizes"} <= set(model.about["settings"])
    assert not {"n_ensemble", "hidden"} & set(model.about["settings"])
    model.save(tmp_path / "again.fastbp")
    again = TableModel.load(tmp_path / "again.fastbp")
    assert (again.about, again.target, again.encoding) == (model.about, model.target, model.encoding)


def test_a_network_loads_to_the_bits_in_its_file():
    tensors, _ = model_file.read(file_of("network"))
    assert_same_tensors(fastbp.Network.load(file_of("network")).to_tensors()[0], tensors)


def test_a_network_answers_as_it_did_and_goes_on_as_it_did():
    net = fastbp.Network.load(file_of("network"))
    X, y = np.linspace(-1, 1, 36).reshape(12, 3), np.linspace(0, 1, 24).reshape(12, 2) ** 2
    assert_close(net.predict(X), ANSWERS["network"]["predictions"])
    optimizer = fastbp.Adam(fastbp.schedules.Cosine(0.01, steps=50), weight_decay=0.01)
    net.fit(X, y, loss=fastbp.losses.huber(0.5), optimizer=optimizer, batch_size=5, epochs=3)
    assert_close(net.predict(X), ANSWERS["network"]["predictions after 3 more epochs"])

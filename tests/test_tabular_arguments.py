"""Arguments of the tabular estimators: NumPy's numbers, targets with gaps, validation rows and wrong tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fastbp.tabular import TabularClassifier, TabularRegressor
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.inputs import learn_encoding
from fastbp.tabular.encoding.target import Quantity
from fastbp.tabular.model import TableModel

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
NUMBERS = X @ [1.0, -2.0, 0.5]
LABELS = np.where(NUMBERS > 0, "high", "low")
FEW: dict[str, Any] = {"n_estimators": 2, "epochs": 3, "hidden_layer_sizes": (8,), "n_jobs": 1}


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": (np.int64(8),)},
        {"hidden_layer_sizes": [np.int32(8), np.uint8(4)]},
        {"learning_rate": np.float32(0.01)},
        {"dropout": np.float16(0.25)},
        {"epochs": np.int16(3), "batch_size": np.int64(16), "patience": np.int32(2)},
        {"time_budget": np.int64(60), "n_estimators": np.int8(2)},
        {"random_state": np.int64(3), "n_jobs": np.int64(1)},
    ],
)
def test_a_model_with_numpy_numbers_as_parameters_can_be_saved(parameters: dict[str, Any], tmp_path: Path) -> None:
    for model, y in ((TabularClassifier(**FEW | parameters), LABELS), (TabularRegressor(**FEW | parameters), NUMBERS)):
        model.fit(X, y).save(tmp_path / "model")
        again = type(model).load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        json.dumps(model.model_.about)


@pytest.mark.parametrize("class_weight", [{"high": np.float32(2.5), "low": 1}, {np.str_("high"): 3, "low": np.int8(1)}])
def test_class_weights_of_numpy_can_be_saved(class_weight: Any, tmp_path: Path) -> None:
    TabularClassifier(**FEW, class_weight=class_weight, label_smoothing=np.float32(0.1)).fit(X, LABELS).save(
        tmp_path / "model"
    )


@pytest.mark.parametrize("value", [None, "nan", "inf", "-Infinity", "NaN", float("nan"), float("-inf")])
def test_a_number_to_predict_that_is_none_is_named_with_its_row(value: Any) -> None:
    for y in ([*NUMBERS[:59], value], np.array([*NUMBERS[:59], value], dtype=object)):
        with pytest.raises(ValueError, match=r"y\[59\] is|y contains|NaN|infinity"):
            TabularRegressor(**FEW).fit(X, y)
        with pytest.raises(ValueError, match=r"y\[59\] is|y contains|NaN|infinity"):
            TabularRegressor(**FEW).fit(X, NUMBERS, validation_data=(X, y))


@pytest.mark.parametrize("value", ["nan", "inf", None])
def test_the_message_about_a_number_names_what_was_found(value: Any) -> None:
    y = np.array(NUMBERS, dtype=object)
    y[7] = value
    with pytest.raises(ValueError, match=rf"y\[7\] is {value!r}: y .*remove"):
        TabularRegressor(**FEW).fit(X, y)


@pytest.mark.parametrize("library", ["objects", "pandas", "polars"])
def test_a_missing_label_is_named_with_its_row(library: str) -> None:
    labels = [None if i in (4, 9) else label for i, label in enumerate(LABELS.tolist())]
    y: Any = np.array(labels, dtype=object)
    if library == "pandas":
        y = pytest.importorskip("pandas").Series(labels, dtype="string")
    elif library == "polars":
        y = pl.Series(labels)
    with pytest.raises(ValueError, match=r"y\[4\] is .*: y has missing labels"):
        TabularClassifier(**FEW).fit(X, y)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(X, NUMBERS)], "1 pair such"),
        (((X, NUMBERS), (X, NUMBERS)), "2 pairs such"),
        ([(X, NUMBERS, np.ones(60)), (X, NUMBERS)], "2 pairs such"),
        ([({"x0": X[:, 0]}, NUMBERS)], "1 pair such"),
        ([[X.tolist(), NUMBERS.tolist()]], "1 pair such"),
        ([(pl.DataFrame(X), pl.Series(NUMBERS))], "1 pair such"),
    ],
)
def test_pairs_in_a_list_are_no_validation_data(pairs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"validation_data holds {message} as .* in a list: pass the one pair"):
        TabularRegressor(**FEW).fit(X, NUMBERS, validation_data=pairs)


@pytest.mark.parametrize("pair", [([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]], [1.0, 2.0]), [X[:2], NUMBERS[:2]]])
def test_a_pair_of_lists_is_validation_data(pair: Any) -> None:
    TabularRegressor(**FEW).fit(X, NUMBERS, validation_data=pair)


@pytest.mark.parametrize("class_weight", ["balanced", {"high": 3.0, "low": 1.0}, {"high": 0.25}])
def test_validation_rows_have_the_class_weights_of_the_training_rows(class_weight: Any) -> None:
    labels, held = np.where(NUMBERS > 1, "high", "low"), slice(1, None, 2)
    n, counts = 30, {label: int((labels[::2] == label).sum()) for label in ("high", "low")}
    weight_of = {"high": 1.0, "low": 1.0} | (
        {label: n / (2 * count) for label, count in counts.items()} if class_weight == "balanced" else class_weight
    )
    of_rows = np.array([weight_of[label] for label in labels])
    weighted = TabularClassifier(**FEW, class_weight=class_weight)
    weighted.fit(X[::2], labels[::2], validation_data=(X[held], labels[held]))
    by_hand = TabularClassifier(**FEW)
    by_hand.fit(X[::2], labels[::2], of_rows[::2], validation_data=(X[held], labels[held], of_rows[held]))
    assert weighted.model_.temperature == by_hand.model_.temperature
    np.testing.assert_array_equal(weighted.predict_proba(X), by_hand.predict_proba(X))


def test_unknown_texts_are_a_warning_of_the_estimator() -> None:
    texts = np.array(["a", "b", "c"])[RNG.integers(0, 3, 60)].tolist()
    model = TabularRegressor(**FEW).fit({"kind": texts, "x": X[:, 0]}, NUMBERS)
    with pytest.warns(UserWarning, match="column 'kind': 2 of 3 cells hold no frequent text of the training: 'A', 'B'"):
        model.predict({"kind": ["A", "B", "c"], "x": [0.0, 1.0, 2.0]})


def test_a_list_of_records_trains_and_predicts_by_names() -> None:
    records = [{"a": row[0], "b": row[1]} for row in X.tolist()]
    model = TabularRegressor(**FEW).fit(records, NUMBERS)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(model.predict([{"b": 0.5, "a": 1.0}]), model.predict({"a": [1.0], "b": [0.5]}))


@pytest.mark.parametrize("first", [10**17, 2**63 - 100, -(2**62)])
def test_a_model_of_large_whole_numbers_keeps_their_differences_in_its_file(first: int, tmp_path: Path) -> None:
    places = RNG.integers(0, 99, 60)
    frame = {"a": np.int64(first) + places, "b": X[:, 0]}
    small = {"a": places, "b": X[:, 0]}
    model = TabularRegressor(**FEW).fit(frame, NUMBERS)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(TabularRegressor.load(tmp_path / "model").predict(frame), model.predict(frame))
    np.testing.assert_allclose(
        model.predict(frame), TabularRegressor(**FEW).fit(small, NUMBERS).predict(small), rtol=1e-3
    )


@pytest.mark.parametrize("n", [500, 1000, 2000])
def test_the_columns_of_a_wide_table_are_compared_in_sets(n: int) -> None:
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    encoding, _ = learn_encoding(frame_of({f"c{i}": [1.0, 2.0, 4.0] for i in range(n)}))
    model = TableModel((), encoding, Quantity("y", 0.0, 1.0, 0.0, 1.0), 3)
    frame = frame_of({"other": [1.0]} | {f"c{i}": [1.0] for i in range(n)})
    frame = frame.renamed([Name(name) for name in frame.names])
    assert len(model.unknown_columns(frame)) == 1
    assert compared <= 4 * n

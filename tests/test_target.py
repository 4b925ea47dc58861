"""Targets made into y and back, the fifth of the rows that is held out, and the scores on it."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from fastbp.tabular.target import (
    Classes,
    Quantity,
    known_target,
    target_from_dict,
    target_to_dict,
    tell_task,
)
from fastbp.tabular.training_data import hold_out, prepare, scores

# --- the target -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 5, "classification"),
        ([True, False] * 5, "classification"),
        ([0, 1] * 5, "classification"),
        ([1.0, 2.0] * 5, "classification"),
        (list(range(3)) * 4, "classification"),
        (list(range(10)), "regression"),
        (list(range(30)) * 9, "regression"),
        ([0.5, 1.0] * 5, "regression"),
    ],
)
def test_texts_truth_values_and_few_whole_numbers_are_classes(values: list[Any], task: str) -> None:
    assert tell_task(pl.Series("y", values))[0] == task


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_task_asked_for_is_taken(task: str) -> None:
    assert tell_task(pl.Series("y", [1, 2, 3] * 5), task) == (task, "as asked")


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (["a"] * 5, None, "'y' has the value 'a' in every row"),
        ([2.0] * 5, None, "'y' has the value 2.0 in every row"),
        (["a", "b"] * 5, "regression", "regression needs numbers"),
        (list("abcdefgh"), None, "too many to be classes"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], "classification", "too many to be classes"),
    ],
)
def test_a_target_of_no_use_says_why(values: list[Any], task: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tell_task(pl.Series("y", values), task)


def test_a_target_of_dates_is_refused() -> None:
    with pytest.raises(ValueError, match="dates or times"):
        known_target(pl.Series("y", range(5)).cast(pl.Date))


@pytest.mark.parametrize("labels", [["b", "a", "b"], [2, 1, 2], [True, False, True], [2.0, 1.0, 2.0]])
def test_predicted_labels_are_those_of_the_table_and_of_their_type(labels: list[Any]) -> None:
    column = pl.Series("y", labels)
    stored = target_to_dict(Classes.learn(column))
    assert json.loads(json.dumps(stored)) == stored
    target = target_from_dict(stored)
    logits = np.eye(2, dtype=np.float32)[target.encode(column)]
    predicted = target.decode(logits)["prediction"]
    assert predicted.to_list() == labels
    assert predicted.dtype == column.dtype


def test_confidence_is_the_softmax_of_the_largest_logit() -> None:
    target = Classes("y", ("a", "b", "c"))
    confidence = target.decode(np.array([[0, np.log(2), 0], [1e4, 0, -1e4]], dtype=np.float32))["confidence"]
    assert confidence.to_list() == [0.5, 1.0]


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [1e300, -1e300, 5e299], [1e-300, 2e-300, 4e-300], [-7, 0, 2**53]])
def test_a_quantity_is_standardised_and_comes_back(values: list[float]) -> None:
    column = pl.Series("y", values)
    target = target_from_dict(json.loads(json.dumps(target_to_dict(Quantity.learn(column)))))
    y = target.encode(column)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(
        target.decode(y[:, np.newaxis])["prediction"], values, rtol=1e-6, atol=1e-6 * max(values)
    )


# --- rows held out ----------------------------------------------------------------------------------------------


def test_a_fifth_is_held_out_from_every_class_alike() -> None:
    classes = np.repeat([0, 1, 2], [100, 50, 25])
    held_out = hold_out(classes, seed=0)
    np.testing.assert_array_equal(np.bincount(classes[held_out]), [20, 10, 5])


def test_a_class_always_keeps_a_row_to_train_on() -> None:
    classes = np.array([0, 0, 1, 2, 2, 2, *[3] * 14])
    for seed in range(50):
        assert set(np.delete(classes, hold_out(classes, seed))) == {0, 1, 2, 3}


def test_the_seed_decides_which_rows_are_held_out() -> None:
    np.testing.assert_array_equal(hold_out(100, seed=3), hold_out(100, seed=3))
    assert not np.array_equal(hold_out(100, seed=3), hold_out(100, seed=4))
    assert len(hold_out(100, seed=3)) == 20


def table(n: int) -> pl.DataFrame:
    x = np.linspace(-1, 1, n)
    return pl.DataFrame({"x": x, "y": 3 * x + 5, "kind": np.where(x > 0.2, "high", "low")})


def test_training_rows_and_held_out_rows_make_up_the_table() -> None:
    data = prepare(table(50), "y")
    both = np.concatenate([data.X, data.X_held_out])
    assert (len(data.X), len(data.X_held_out)) == (40, 10)
    np.testing.assert_array_equal(np.sort(both[:, 0]), np.sort(data.encoding.encode(table(50))[:, 0]))


def test_rows_without_a_target_are_left_out_and_told_of() -> None:
    frame = table(50).with_columns(y=pl.when(pl.int_range(50) < 3).then(None).otherwise("y"))
    data = prepare(frame, "y")
    assert len(data.y) + len(data.y_held_out) == 47
    assert "3 rows" in data.notices[0]


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        (table(50), "kin", r"no column 'kin' \(did you mean 'kind'\?\)"),
        (table(50), "zzz", "it has 'x', 'y', 'kind'"),
        (table(50).select("y"), "y", "no column beside"),
        (table(50).with_columns(y=pl.lit(None)), "y", "missing in every row"),
        (table(1), "y", "1 row with a target"),
        (table(4), "y", "4 rows with a target"),
    ],
)
def test_a_table_of_no_use_says_why(frame: pl.DataFrame, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(frame, target)


def test_accuracy_stands_beside_that_of_the_commonest_class() -> None:
    data = prepare(table(50), "kind")
    (accuracy,) = scores(data, np.eye(2)[data.y_held_out])
    assert accuracy.value == 1
    assert accuracy.baseline == np.mean(data.y_held_out == np.bincount(data.y).argmax())


def test_r2_and_rmse_are_in_the_targets_own_unit_beside_those_of_the_mean() -> None:
    data = prepare(table(50), "y")
    assert isinstance(data.target, Quantity)
    truth = data.y_held_out * data.target.spread + data.target.mean
    guess = truth + 0.25
    r2, rmse = scores(data, ((guess - data.target.mean) / data.target.spread)[:, np.newaxis])
    np.testing.assert_allclose(r2.value, 1 - 0.25**2 / truth.var())
    np.testing.assert_allclose(rmse.value, 0.25)
    np.testing.assert_allclose(rmse.baseline, np.sqrt(np.mean((truth - data.target.mean) ** 2)))

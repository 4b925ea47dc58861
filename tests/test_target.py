"""Targets told, made into y and back, and parted from the table."""

import json
from typing import Any

import numpy as np
import pytest

from fastbp.tables.preparing import prepare
from fastbp.tabular.encoding.cells import Frame, cells_of
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.target import (
    Classes,
    Quantity,
    known_target,
    target_from_dict,
    target_to_dict,
    tell_task,
)
from fastbp.tabular.metrics import softmax

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
    assert tell_task(cells_of("y", values))[0] == task


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_task_asked_for_is_taken(task: str) -> None:
    assert tell_task(cells_of("y", [1, 2, 3] * 5), task) == (task, "as asked")


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
        tell_task(cells_of("y", values), task)


def test_a_target_of_dates_is_refused() -> None:
    with pytest.raises(ValueError, match="holds dates, neither"):
        known_target(cells_of("y", np.arange(5).astype("datetime64[D]")))


@pytest.mark.parametrize("labels", [["b", "a", "b"], [2, 1, 2], [True, False, True], [2.0, 1.0, 2.0]])
def test_predicted_labels_are_those_of_the_table_and_of_their_type(labels: list[Any]) -> None:
    column = cells_of("y", labels)
    stored = target_to_dict(Classes.learn(column))
    assert json.loads(json.dumps(stored)) == stored
    target = target_from_dict(stored)
    logits = np.eye(2, dtype=np.float32)[target.encode(column)]
    predicted = target.decode(logits)["prediction"]
    assert predicted.tolist() == labels
    assert predicted.dtype == np.array(labels).dtype


def test_confidence_is_the_softmax_of_the_largest_logit() -> None:
    target = Classes("y", ("a", "b", "c"))
    confidence = target.decode(softmax(np.array([[0, np.log(2), 0], [1e4, 0, -1e4]], dtype=np.float32)))["confidence"]
    np.testing.assert_allclose(confidence, [0.5, 1.0], rtol=1e-7)


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [1e300, -1e300, 5e299], [1e-300, 2e-300, 4e-300], [-7, 0, 2**53]])
def test_a_quantity_is_standardised_and_comes_back(values: list[float]) -> None:
    column = cells_of("y", values)
    target = target_from_dict(json.loads(json.dumps(target_to_dict(Quantity.learn(column)))))
    y = target.encode(column)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(target.values(y), values, rtol=1e-6, atol=1e-6 * max(values))


def test_no_predicted_quantity_leaves_the_range_that_was_seen() -> None:
    target = Quantity.learn(cells_of("y", [1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(target.values(np.array([-99.0, 99.0])), [1, 4])


def test_a_label_or_a_kind_that_was_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="'y' holds 'c', which is no class known"):
        Classes("y", ("a", "b")).encode(cells_of("y", ["a", "c"]))
    with pytest.raises(ValueError, match="'y' held numbers in training and holds text"):
        Quantity("y", 0.0, 1.0, 0.0, 1.0).encode(cells_of("y", ["a", "c"]))


# --- the table -------------------------------------------------------------------------------------------------


def table(n: int, y: Any = None) -> Frame:
    x = np.linspace(-1, 1, n)
    return frame_of({"x": x, "y": 3 * x + 5 if y is None else y, "kind": np.where(x > 0.2, "high", "low")})


def test_the_target_is_parted_from_the_columns_to_learn_from() -> None:
    data = prepare(table(50), "y")
    assert data.frame.names == ["x", "kind"]
    np.testing.assert_array_equal(data.column.values, table(50)["y"].values)


def test_a_column_of_groups_is_not_learned_from() -> None:
    data = prepare(table(50), "y", group="kind")
    assert data.frame.names == ["x"]
    np.testing.assert_array_equal(data.groups == data.groups[0], np.linspace(-1, 1, 50) <= 0.2)
    with pytest.raises(ValueError, match="no column 'knd'"):
        prepare(table(50), "y", group="knd")


def test_rows_without_a_target_are_left_out_and_told_of() -> None:
    data = prepare(table(50, [None] * 3 + [1, 2, 3.5, 4, 5] * 9 + [1, 7]), "y")
    assert (len(data.frame), len(data.column)) == (47, 47)
    assert "3 rows" in data.notices[0]


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        (table(50), "kin", r"no column 'kin' \(did you mean 'kind'\?\)"),
        (table(50), "zzz", "it has 'x', 'y', 'kind'"),
        (table(50).without("x", "kind"), "y", "no column beside"),
        (table(50, [None] * 50), "y", "missing in every row"),
        (table(1), "y", "1 row with a target"),
        (table(4), "y", "4 rows with a target"),
    ],
)
def test_a_table_of_no_use_says_why(frame: Frame, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(frame, target)

"""Columns made into inputs, targets into y and back, and the fifth of the rows that is held out."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.tabular.encoding import MOST_LEVELS, Encoding, learn_encoding
from fastbp.tabular.target import (
    Classes,
    Quantity,
    known_target,
    target_from_dict,
    target_to_dict,
    tell_task,
)
from fastbp.tabular.training_data import hold_out, prepare, scores


def learned(columns: dict[str, Any], training: list[int] | None = None) -> tuple[Encoding, list[str]]:
    frame = pl.DataFrame(columns, strict=False)
    return learn_encoding(frame, np.arange(frame.height) if training is None else np.array(training))


def inputs(columns: dict[str, Any]) -> np.ndarray:
    return learned(columns)[0].encode(pl.DataFrame(columns, strict=False))


# --- numbers ----------------------------------------------------------------------------------------------------


def test_numbers_are_centred_at_the_median_and_scaled_by_the_quartiles() -> None:
    z = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # quartiles one apart
    np.testing.assert_allclose(inputs({"a": 7 + 4 * z})[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)


def test_order_is_kept_and_an_outlier_leaves_the_others_apart() -> None:
    x = inputs({"a": [1.0, 2.0, 3.0, 4.0, 1e300]})[:, 0]
    assert np.all(np.diff(x) > 0)
    assert x[3] - x[0] > 1
    assert x[4] <= 3


def test_a_missing_number_is_the_median_and_marked() -> None:
    x = inputs({"a": [1.0, None, 2.0, float("nan"), 3.0]})
    np.testing.assert_array_equal(x[:, 1], [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(x[[1, 3], 0], x[[2, 2], 0])


def test_nothing_is_marked_where_nothing_was_missing_in_training() -> None:
    encoding, _ = learned({"a": [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(encoding.encode(pl.DataFrame({"a": [None, 2.0]})), [[0], [0]])


def test_infinite_numbers_count_as_missing_and_are_told_of() -> None:
    columns = {"a": [1.0, float("inf"), 2.0, float("-inf")]}
    np.testing.assert_array_equal(inputs(columns)[:, 1], [0, 1, 0, 1])
    assert "2 infinite values" in learned(columns)[1][0]


def test_a_constant_with_gaps_is_zero_beside_its_mark() -> None:
    encoding, _ = learned({"a": [5.0, None, 5.0]})
    np.testing.assert_array_equal(encoding.encode(pl.DataFrame({"a": [5.0, None, 9.0]})), [[0, 0], [0, 1], [0, 0]])


def test_a_column_that_is_mostly_one_value_is_scaled_by_its_range() -> None:
    x = inputs({"a": [0.0] * 9 + [8.0]})[:, 0]
    assert x[0] == 0
    assert x[9] == np.float32(2 / np.sqrt(1 + (2 / 3) ** 2))


def test_whole_numbers_are_exact_before_they_are_scaled() -> None:
    near = 2**53 - 4
    x = inputs({"a": [near, near + 1, near + 2, near + 3, near + 4]})[:, 0]
    np.testing.assert_array_equal(x, inputs({"a": [-2, -1, 0, 1, 2]})[:, 0])


@given(st.lists(st.floats() | st.none(), min_size=2, max_size=20))
def test_inputs_are_finite_and_bounded_whatever_the_numbers(numbers: list[float | None]) -> None:
    frame = pl.DataFrame({"a": pl.Series(numbers, dtype=pl.Float64), "b": [0.5, *[1.5] * (len(numbers) - 1)]})
    encoding, _ = learn_encoding(frame, np.arange(frame.height))
    x = encoding.encode(frame)
    assert x.dtype == np.float32
    assert np.all(np.abs(x) <= 3)


# --- categories -------------------------------------------------------------------------------------------------


def test_each_text_has_an_input_and_missing_or_unknown_ones_none() -> None:
    encoding, _ = learned({"a": ["x", "y", "x", "y", None]})
    x = encoding.encode(pl.DataFrame({"a": ["y", "x", None, "z"]}))
    np.testing.assert_array_equal(x, [[0, 1], [1, 0], [0, 0], [0, 0]])


def test_truth_values_and_polars_categories_are_texts() -> None:
    truth = inputs({"a": [True, False, True, False, None]})
    np.testing.assert_array_equal(truth, [[0, 1], [1, 0], [0, 1], [1, 0], [0, 0]])
    texts = pl.Series("a", ["x", "y", "x", "y"])
    np.testing.assert_array_equal(inputs({"a": texts.cast(pl.Categorical)}), inputs({"a": texts}))


def test_a_text_that_occurs_once_has_no_input() -> None:
    encoding, _ = learned({"a": ["x", "y", "x", "rare", "y"]})
    assert encoding.columns[0] == type(encoding.columns[0])("a", ("x", "y"))


def test_of_very_many_texts_the_commonest_have_inputs() -> None:
    texts = [f"t{i}" for i in range(MOST_LEVELS + 50) for _ in range(2)] + ["t149", "t148"]
    encoding, _ = learned({"a": texts})
    assert encoding.width == MOST_LEVELS
    assert {"t148", "t149"} <= set(encoding.columns[0].levels)


# --- what is left out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([None] * 6, "empty"),
        ([7] * 6, "7 in every row"),
        (["x"] * 6, "'x' in every row"),
        (["ann", "bob", "cem", "dee", "eve", "flo"], "hardly ever repeat"),
        ([0, 1, 2, 3, 4, 5], "counts the rows"),
        ([1, 2, 3, 4, 5, 6], "counts the rows"),
        ([[1], [2], [3], [4], [5], [6]], "List"),
        (pl.Series(range(6)).cast(pl.Date), "dates"),
    ],
)
def test_a_column_of_no_use_is_left_out_and_named(column: Any, reason: str) -> None:
    encoding, notices = learned({"of no use": column, "good": [1.0, 2.0, 3.5, 1.5, 3.0, 2.5]})
    assert [kept.name for kept in encoding.columns] == ["good"]
    assert "'of no use'" in notices[0]
    assert reason in notices[0]


def test_a_year_that_rises_by_one_is_kept() -> None:
    assert learned({"year": [1990, 1991, 1992, 1993]})[0].width == 1


def test_no_column_of_use_is_an_error_that_says_why() -> None:
    with pytest.raises(ValueError, match=r"no column is left.*'a'"):
        learned({"a": [1.0, 1.0, 1.0]})


def test_medians_scales_and_levels_come_from_the_training_rows_alone() -> None:
    columns = {"a": [1.0, 2.0, 3.0, 900.0, None], "b": ["x", "x", "y", "y", "y"]}
    assert learned(columns, [0, 1, 2])[0] == learned({name: column[:3] for name, column in columns.items()})[0]


# --- another table ----------------------------------------------------------------------------------------------


@pytest.fixture
def penguins() -> Encoding:
    return learned({"bill length": [39.1, 40.2, None, 36.7], "island": ["Dream", "Biscoe", "Dream", "Biscoe"]})[0]


def test_columns_are_found_by_name_in_any_order_and_others_passed_over(penguins: Encoding) -> None:
    frame = pl.DataFrame({"island": ["Dream"], "new": [1], "bill length": [40.0]})
    np.testing.assert_array_equal(penguins.encode(frame), penguins.encode(frame.select("bill length", "island")))


def test_a_column_that_is_not_there_is_named_with_the_nearest_that_is(penguins: Encoding) -> None:
    with pytest.raises(ValueError, match=r"'bill length' \(did you mean 'Bill_Length'\?\)"):
        penguins.encode(pl.DataFrame({"Bill_Length": [1.0], "island": ["Dream"]}))


def test_text_in_a_column_of_numbers_is_named_with_its_row(penguins: Encoding) -> None:
    frame = pl.DataFrame({"bill length": ["1.5", None, "long"], "island": ["Dream"] * 3})
    with pytest.raises(ValueError, match=r"'bill length' held numbers.*text here \('long' in row 3\)"):
        penguins.encode(frame)


def test_numbers_in_a_column_of_text_are_named(penguins: Encoding) -> None:
    with pytest.raises(ValueError, match="'island' held text in training and holds numbers here"):
        penguins.encode(pl.DataFrame({"bill length": [1.0], "island": [3]}))


@pytest.mark.parametrize("dtype", [pl.String, pl.Float64, pl.Null])
def test_a_column_with_nothing_in_it_is_missing_whatever_its_type(dtype: Any, penguins: Encoding) -> None:
    empty = pl.Series([None, None], dtype=dtype)
    x = penguins.encode(pl.DataFrame({"bill length": empty, "island": empty}))
    np.testing.assert_array_equal(x, [[0, 1, 0, 0], [0, 1, 0, 0]])


def test_an_encoding_from_its_json_gives_the_same_bits() -> None:
    columns = {"a": [0.1, 0.7, None, 1 / 3], "b": ["x", "y", "x", "y"], "c": [1e300, -5e-324, 3.3, 0.0]}
    encoding, _ = learned(columns)
    again = Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert again == encoding
    frame = pl.DataFrame(columns)
    assert again.encode(frame).tobytes() == encoding.encode(frame).tobytes()


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
    target = target_from_dict(json.loads(json.dumps(target_to_dict(Classes.learn(column)))))
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
    classes = np.array([0, 1, 1, 2, 2, 2, *[3] * 14])
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

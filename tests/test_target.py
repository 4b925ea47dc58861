"""Targets: the inferred task, y and back, the mathematics of each kind, and the split of a table."""

import json
from typing import Any

import numpy as np
import pytest

from fastbp import losses
from fastbp.tables.preparing import infer_task, prepare
from fastbp.tabular import metrics
from fastbp.tabular.encoding.cells import Frame, cells_of
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.target import Classes, Quantity, target_from_dict, target_to_dict
from fastbp.tabular.encoding.target_cells import clean_target
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
    assert infer_task(cells_of("y", values))[0] == task


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_task_asked_for_is_taken(task: str) -> None:
    assert infer_task(cells_of("y", [1, 2, 3] * 5), task) == (task, "as asked")


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
def test_a_target_that_cannot_be_learned_says_why(values: list[Any], task: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer_task(cells_of("y", values), task)


def test_a_target_of_dates_is_refused() -> None:
    with pytest.raises(ValueError, match="holds dates, neither"):
        clean_target(cells_of("y", np.arange(5).astype("datetime64[D]")))


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
def test_a_quantity_is_standardised_and_restored(values: list[float]) -> None:
    column = cells_of("y", values)
    target = target_from_dict(json.loads(json.dumps(target_to_dict(Quantity.learn(column)))))
    y = target.encode(column)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(target.truth(y), values, rtol=1e-6, atol=1e-6 * max(values))
    np.testing.assert_allclose(target.answers(y[:, np.newaxis], 1.0), values, rtol=1e-6, atol=1e-6 * max(values))


def test_no_predicted_quantity_leaves_the_range_of_the_training_rows() -> None:
    target = Quantity.learn(cells_of("y", [1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(target.answers(np.array([[-99.0], [99.0]]), 1.0), [1, 4])


def test_a_label_or_a_kind_that_was_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="'y' holds 'c', which is not a class"):
        Classes("y", ("a", "b")).encode(cells_of("y", ["a", "c"]))
    with pytest.raises(ValueError, match="held numbers in training, and column 'y' holds text"):
        Quantity("y", 0.0, 1.0, 0.0, 1.0).encode(cells_of("y", ["a", "c"]))


def test_truth_values_are_known_by_their_texts_too() -> None:
    target = Classes.learn(cells_of("y", [True, False]))
    np.testing.assert_array_equal(target.encode(cells_of("y", ["true", "False", "TRUE"])), [1, 0, 1])
    with pytest.raises(ValueError, match="'y' holds 'yes'"):
        target.encode(cells_of("y", ["true", "yes"]))


def test_the_largest_number_of_the_training_rows_is_restored_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        column = cells_of("y", np.minimum(rng.uniform(1, 100), rng.normal(30, 10, 50)))
        target = Quantity.learn(column)
        assert target.truth(target.encode(column)).max() <= target.highest
    beyond = cells_of("y", [target.highest + 5])
    np.testing.assert_allclose(target.truth(target.encode(beyond)), [target.highest + 5])


# --- the mathematics of each kind -------------------------------------------------------------------------------

CLASSES, QUANTITY = Classes("y", ("a", "b", "c")), Quantity("y", mean=10.0, std=4.0, lowest=0.0, highest=20.0)
LOGITS = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
NUMBERS = np.random.default_rng(1).integers(0, 3, 40)
WEIGHTS = np.random.default_rng(2).random(40)


@pytest.mark.parametrize("target", [CLASSES, QUANTITY])
def test_each_kind_of_target_has_metrics_and_defaults_of_its_own(target: Any) -> None:
    other = QUANTITY if target is CLASSES else CLASSES
    assert target.default_metric in target.metric_names
    assert not set(target.metric_names) & set(other.metric_names)
    assert target.default_learning_rate != other.default_learning_rate


def test_the_metric_chooses_the_loss_to_train() -> None:
    assert {CLASSES.loss(metric, 0.5, NUMBERS) for metric in CLASSES.metric_names} == {losses.cross_entropy}
    got = [QUANTITY.loss(metric, 0.9, np.zeros(3)) for metric in ("rmse", "mae", "quantile")]
    assert got == [losses.squared_error, losses.absolute_error, losses.quantile(0.9)]


def test_classes_train_on_smoothed_labels_and_a_quantity_on_one_column() -> None:
    np.testing.assert_array_equal(CLASSES.training_targets(NUMBERS, 0.0), np.eye(3)[NUMBERS])
    np.testing.assert_allclose(CLASSES.training_targets(NUMBERS, 0.3).max(axis=1), 0.8)
    y = np.array([1.0, -1.0])
    np.testing.assert_array_equal(QUANTITY.training_targets(y, 0.3), [[1.0], [-1.0]])


def test_folds_are_stratified_by_classes_alone() -> None:
    np.testing.assert_array_equal(CLASSES.strata(NUMBERS), NUMBERS)
    assert QUANTITY.strata(np.zeros(3)) is None


def test_a_part_of_the_rows_keeps_the_classes_and_has_a_mean_of_its_own() -> None:
    assert CLASSES.learn_again(cells_of("y", ["a", "b"])) == CLASSES
    assert QUANTITY.learn_again(cells_of("y", [1.0, 3.0])).mean == 2.0


def test_errors_that_choose_an_epoch_are_those_of_the_metric() -> None:
    errors, whole = [], [slice(None)]
    for metric in CLASSES.metric_names:
        errors += CLASSES.validation_errors(LOGITS, NUMBERS, WEIGHTS, metric, 0.5, whole)
    p, refined = softmax(LOGITS), CLASSES.row_errors(LOGITS, NUMBERS, WEIGHTS, "log_loss", 0.5)
    wanted = [np.average(refined, weights=WEIGHTS), 1 - metrics.accuracy(p, NUMBERS, WEIGHTS)]
    np.testing.assert_allclose(errors, [*wanted, 1 - metrics.auc(p, NUMBERS, WEIGHTS)], rtol=1e-6)
    y, output = np.zeros(40), LOGITS[:, :1]
    errors = []
    for metric in QUANTITY.metric_names:
        errors += QUANTITY.validation_errors(output, y, WEIGHTS, metric, 0.9, whole)
    wanted = [metrics.rmse(output[:, 0], y, WEIGHTS), metrics.mae(output[:, 0], y, WEIGHTS)]
    np.testing.assert_allclose(errors, [*wanted, metrics.quantile_loss(output[:, 0], y, WEIGHTS, 0.9)])
    for metric, power in (("rmse", 2), ("mae", 1)):
        row_errors = QUANTITY.row_errors(output, y, WEIGHTS, metric, 0.9)
        np.testing.assert_allclose(row_errors, np.abs(output[:, 0]) ** power, rtol=1e-6)
    row_errors = QUANTITY.row_errors(output, y, WEIGHTS, "quantile", 0.9)
    np.testing.assert_allclose(row_errors, np.abs(output[:, 0]) * np.where(output[:, 0] < 0, 0.9, 0.1), rtol=1e-6)


def test_classes_are_calibrated_and_answered_with_probabilities() -> None:
    assert CLASSES.temperature(LOGITS, NUMBERS, WEIGHTS) == metrics.temperature(LOGITS, NUMBERS, WEIGHTS)
    answers = CLASSES.answers(LOGITS, 2.0)
    np.testing.assert_array_equal(answers, softmax(LOGITS / 2))
    np.testing.assert_array_equal(CLASSES.combined(answers, 40), metrics.smoothed_towards_uniform(answers, 40))
    assert CLASSES.residuals(answers, NUMBERS).size == 0
    assert CLASSES.error(answers, NUMBERS, WEIGHTS) == metrics.log_loss(answers, NUMBERS, WEIGHTS)
    names = [score["metric"] for score in CLASSES.scores(answers, NUMBERS, WEIGHTS, "auc", 0.5)]
    assert names == ["accuracy", "log_loss", "auc"]


def test_a_quantity_is_answered_in_its_own_unit() -> None:
    output, truth = np.array([[1.0], [0.0], [-9.0]], np.float32), np.array([15.0, 10.0, 3.0])
    assert QUANTITY.temperature(output, truth, WEIGHTS[:3]) == 1
    answers = QUANTITY.combined(QUANTITY.answers(output, 1.0), 3)
    np.testing.assert_array_equal(answers, [14, 10, 0])
    np.testing.assert_array_equal(QUANTITY.residuals(answers, truth), [0, 1, 3])
    assert QUANTITY.error(answers, truth, np.ones(3)) == pytest.approx(np.sqrt(10 / 3))
    names = [[s["metric"] for s in QUANTITY.scores(answers, truth, np.ones(3), m, 0.5)] for m in ("mae", "quantile")]
    assert names == [["r2", "rmse", "mae"], ["quantile_loss", "share_below"]]


def test_a_model_keeps_quantiles_of_very_many_residuals() -> None:
    truth = np.random.default_rng(0).standard_normal(50_000)
    residuals = QUANTITY.residuals(np.zeros(50_000), truth)
    assert len(residuals) == 10_000
    assert residuals[-1] == np.abs(truth).max()
    np.testing.assert_allclose(np.quantile(residuals, 0.9), np.quantile(np.abs(truth), 0.9), rtol=1e-3)


# --- the table -------------------------------------------------------------------------------------------------


def table(n: int, y: Any = None) -> Frame:
    x = np.linspace(-1, 1, n)
    return frame_of({"x": x, "y": 3 * x + 5 if y is None else y, "kind": np.where(x > 0.2, "high", "low")})


def test_the_target_is_separated_from_the_columns_to_learn_from() -> None:
    data = prepare(table(50), "y")
    assert data.frame.names == ["x", "kind"]
    np.testing.assert_array_equal(data.column.values, table(50)["y"].values)
    assert (data.weights, data.groups, data.validation, data.notices) == (None, None, None, ())
    assert data.reason == "50 different values"


def test_a_column_of_groups_is_not_learned_from() -> None:
    data = prepare(table(50), "y", group="kind")
    assert data.frame.names == ["x"]
    np.testing.assert_array_equal(data.groups == data.groups[0], np.linspace(-1, 1, 50) <= 0.2)
    with pytest.raises(ValueError, match="no column 'knd'"):
        prepare(table(50), "y", group="knd")


def test_rows_without_a_target_are_left_out_with_a_notice() -> None:
    data = prepare(table(50, [None] * 3 + [1, 2, 3.5, 4, 5] * 9 + [1, 7]), "y")
    assert (len(data.frame), len(data.column)) == (47, 47)
    assert "3 rows" in data.notices[0]


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        (table(50), "kin", r"no column 'kin' \(did you mean 'kind'\?\)"),
        (table(50), "zzz", "it has 'x', 'y', 'kind'"),
        (table(50).without("x", "kind"), "y", "no column besides"),
        (table(50, [None] * 50), "y", "missing in every row"),
        (table(1), "y", "1 row with a target"),
        (table(4), "y", "4 rows with a target"),
    ],
)
def test_a_table_that_cannot_be_learned_from_says_why(frame: Frame, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(frame, target)

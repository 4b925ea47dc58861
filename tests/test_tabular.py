"""`TabularClassifier` and `TabularRegressor` as users call them: any frame in, the same predictions out."""

import inspect
import json
import pickle
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
from command_line import run
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastbp
from fastbp import losses
from fastbp.command.texts import inspection_text
from fastbp.report.importance import importances
from fastbp.results import DivergenceError, History
from fastbp.tabular import Progress, TableModel, TabularClassifier, TabularRegressor
from fastbp.tabular.encoding.cells import cells_of
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.inputs import Encoding
from fastbp.tabular.encoding.target import Classes, Quantity
from fastbp.tabular.settings import Settings
from fastbp.tabular.training import build as building
from fastbp.tabular.training import pool
from fastbp.tabular.training.build import build
from fastbp.tabular.training.folds import folds
from fastbp.tabular.training.parts import TrainingData

FEW = {"n_estimators": 2, "epochs": 4, "hidden_layer_sizes": (8,)}


def frame(n: int = 60) -> pl.DataFrame:
    """Numbers, truth values, texts, categories and dates, with gaps."""
    rng = np.random.default_rng(0)
    columns = {
        "size": rng.standard_normal(n),
        "count": rng.integers(0, 9, n),
        "flag": rng.random(n) > 0.5,
        "colour": rng.choice(["red", "green", "blue"], n),
        "day": pl.Series(rng.integers(17_000, 18_000, n)).cast(pl.Date).cast(pl.Datetime("us")),
    }
    gaps = [
        pl.when(pl.int_range(n) % (7 + i) == 0).then(None).otherwise(name).alias(name) for i, name in enumerate(columns)
    ]
    return pl.DataFrame(columns).with_columns(*gaps, kind=pl.Series(rng.choice(["a", "b"], n)).cast(pl.Categorical))


def labels(table: pl.DataFrame) -> np.ndarray:
    return np.where(
        table["size"].fill_null(0).to_numpy() + (table["colour"] == "red").fill_null(False).to_numpy() > 0.5,
        "big",
        "small",
    )


# --- tables and targets -----------------------------------------------------------------------------------------------


def in_pyarrow(table: pl.DataFrame):
    pytest.importorskip("pyarrow")
    return table.to_arrow()


def in_pandas(table: pl.DataFrame):
    pandas = pytest.importorskip("pandas")
    columns = {name: table[name].to_list() for name in table.columns}
    made = pandas.DataFrame({name: pandas.Series(cells, dtype=object) for name, cells in columns.items()})
    for name in ("size", "count"):
        made[name] = made[name].astype(float)
    made["day"] = pandas.to_datetime(made["day"])
    return made.astype({"kind": "category"})


def in_mapping(table: pl.DataFrame):
    return {name: table[name].to_list() for name in table.columns}


@pytest.mark.parametrize("convert", [in_pyarrow, in_pandas, in_mapping])
def test_the_predictions_are_the_same_to_the_bit_for_every_kind_of_table(convert) -> None:
    table = frame()
    other, y = convert(table), labels(table)
    of_polars, of_other = (TabularClassifier(**FEW).fit(X, y) for X in (table, other))
    wanted = of_polars.predict_proba(table)
    for model in (of_polars, of_other):
        for X in (table, other):
            np.testing.assert_array_equal(model.predict_proba(X), wanted)


def test_arrays_of_numbers_and_of_objects_are_tables_too() -> None:
    X, y = load_iris(return_X_y=True)
    wanted = TabularClassifier(**FEW).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(TabularClassifier(**FEW).fit(X.astype(object), y).predict_proba(X.tolist()), wanted)
    mixed = np.column_stack([X.astype(object), np.array(["u", "v", "w"], object)[y]])
    assert TabularClassifier(**FEW).fit(mixed, y).model_.encoding.categories == {"x4"}


def test_columns_are_found_by_name_and_a_missing_one_is_named() -> None:
    table = frame()
    model = TabularClassifier(**FEW).fit(table, labels(table))
    wanted = model.predict_proba(table)
    np.testing.assert_array_equal(model.predict_proba(table.select(reversed(table.columns))), wanted)
    with pytest.raises(ValueError, match=r"lacks a column of the model: 'colour' \(did you mean 'color'\?\)"):
        model.predict(table.rename({"colour": "color"}))
    with pytest.warns(UserWarning, match="does not know a column of the table: 'new'"):
        np.testing.assert_array_equal(model.predict_proba(table.with_columns(new=1)), wanted)


def test_an_array_stands_for_the_columns_in_their_order() -> None:
    X, y = load_iris(return_X_y=True, as_frame=False)
    named = pl.DataFrame(X, schema=["a", "b", "c", "d"])
    model = TabularClassifier(**FEW).fit(named, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(X), model.predict(named))
    unnamed = TabularClassifier(**FEW).fit(X, y)
    assert not hasattr(unnamed, "feature_names_in_")
    np.testing.assert_array_equal(unnamed.predict(named), unnamed.predict(X))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros(5), ValueError, "Reshape your data"),
        (np.zeros((5, 0)), ValueError, "0 feature"),
        (pl.LazyFrame({"a": [1]}), TypeError, "lazy"),
        ({"a": [[1], [2]] * 5}, ValueError, "no column is left"),
        ({"a": np.zeros((10, 2))}, ValueError, "one-dimensional"),
        ({"a": [1] * 10, "b": [2] * 9}, ValueError, "differ in length: 'a' 10, 'b' 9"),
        ({1: [1] * 10, "1": [2] * 10}, ValueError, "two columns named '1'"),
    ],
)
def test_an_argument_that_is_no_table_says_why(X, error, message) -> None:
    with pytest.raises(error, match=message):
        TabularClassifier(**FEW).fit(X, ["a", "b"] * 5)


def test_missing_labels_and_numbers_are_errors() -> None:
    table = frame(10)
    with pytest.raises(ValueError, match="y must hold numbers"):
        TabularRegressor(**FEW).fit(table, ["a", "b"] * 5)
    with pytest.raises(ValueError, match="missing labels"):
        TabularClassifier(**FEW).fit(table, ["a", None] * 5)
    with pytest.raises(ValueError, match="NaN"):
        TabularRegressor(**FEW).fit(table, [np.nan] * 10)
    for model in (TabularClassifier(**FEW), TabularRegressor(**FEW)):
        with pytest.raises(ValueError, match="y holds dates"):
            model.fit(table, table["day"].fill_null(strategy="backward").fill_null(strategy="forward"))
    with pytest.raises(ValueError, match="1 class"):
        TabularClassifier(**FEW).fit(table, ["a"] * 10)


def test_every_kind_of_missing_cell_and_number_in_pandas_is_understood() -> None:
    pandas = pytest.importorskip("pandas")
    cells = {
        "Int64": pandas.array([1, None, 3] * 8, dtype="Int64"),
        "Float64": pandas.array([1.5, None, 3] * 8, dtype="Float64"),
        "boolean": pandas.array([True, None, False] * 8, dtype="boolean"),
        "string": pandas.array(["a", None, "b"] * 8, dtype="string"),
        "mixed": pandas.Series([1, 2.5, None] * 8, dtype=object),
        "truth": pandas.Series([np.nan, True, False] * 8, dtype=object),
        "number": pandas.Series([pandas.NA, 2, 3] * 8, dtype=object),
        "levels": pandas.Categorical([1, None, 3] * 8),
        "lasting": pandas.to_timedelta([1, None, 3] * 8, unit="h"),
        "moment": pandas.to_datetime(["2024-01-01", None, "2024-06-01"] * 8).tz_localize("Europe/Oslo"),
    }
    frame = frame_of(pandas.DataFrame(cells))
    kinds = {column.name: column.kind for column in frame}
    numbers, texts = ["Int64", "Float64", "mixed", "number", "lasting"], ["boolean", "string", "truth", "levels"]
    assert kinds == {**dict.fromkeys(numbers, "numbers"), **dict.fromkeys(texts, "text"), "moment": "dates"}
    assert {column.n_missing for column in frame} == {8}
    assert set(frame["levels"].levels) == {"1", "3"}
    assert frame["truth"].levels == ("false", "true")


def test_categories_of_numbers_are_the_same_with_and_without_gaps() -> None:
    pandas = pytest.importorskip("pandas")
    whole = pandas.DataFrame({"a": pandas.Categorical([1, 2, 3] * 9), "b": range(27)})
    gaps = whole.assign(a=pandas.Categorical([1, 2, None] * 9, categories=[1, 2, 3]))
    encode = TabularRegressor(**FEW).fit(whole, range(27)).model_.encoding.encode
    np.testing.assert_array_equal(encode(frame_of(gaps))[:2], encode(frame_of(whole))[:2])
    assert not encode(frame_of(gaps))[2, :3].any()


def test_classes_in_a_categorical_series_are_those_of_its_categories() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    for made in (pandas.Series(pandas.Categorical(y), index=np.arange(150) + 7), pl.Series(y), y.reshape(-1).tolist()):
        model = TabularClassifier(**FEW).fit(X, made)
        assert model.classes_.tolist() == [0, 1, 2]
        assert 0 <= model.score(X, np.array(y)) <= 1


def test_truth_values_in_an_array_of_objects_are_classes() -> None:
    model = TabularClassifier(**FEW).fit({"a": range(2, 32)}, np.array([True, False] * 15, dtype=object))
    assert model.classes_.dtype == bool


@pytest.mark.parametrize("kind", ["texts", "dates", "numbers", "gaps"])
def test_groups_of_every_type_are_held_out_together(kind, monkeypatch) -> None:
    number = np.arange(60) % 5
    groups = {
        "texts": pl.Series(number).cast(pl.String),
        "dates": number.astype("datetime64[D]"),
        "numbers": number.tolist(),
        "gaps": [None if i == 0 else f"g{i}" for i in number],
    }
    seen = []
    monkeypatch.setattr(building, "folds", lambda *given: seen.append(given[-1]) or folds(*given))
    TabularRegressor(**FEW).fit({"a": np.arange(60) % 7}, np.arange(60), groups=groups[kind])
    same = number[:, np.newaxis] == number
    np.testing.assert_array_equal(seen[0][:, np.newaxis] == seen[0], same)


def test_a_frame_named_as_arrays_are_is_found_by_name_after_loading(tmp_path: Path) -> None:
    X = pl.DataFrame(load_diabetes(return_X_y=True)[0][:, :3], schema=["x0", "x1", "x2"])
    model = TabularRegressor(**FEW).fit(X, load_diabetes(return_X_y=True)[1])
    model.save(tmp_path / "model.fastbp")
    loaded = TabularRegressor.load(tmp_path / "model.fastbp")
    np.testing.assert_array_equal(loaded.predict(X.select("x2", "x0", "x1")), model.predict(X))
    assert loaded.notices_ == model.notices_ == ()


# --- models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [["b", "a"], [2, 1], [True, False], [2.0, 1.0]])
def test_predicted_classes_are_those_of_y_and_of_their_type(values) -> None:
    y = np.array(values * 30)
    model = TabularClassifier(n_estimators=1, hidden_layer_sizes=(16,)).fit(
        {"x": y == values[0], "noise": np.arange(60) % 7}, y
    )
    predicted = model.predict({"x": [True, False], "noise": [1, 2]})
    assert predicted.tolist() == values
    assert predicted.dtype == model.classes_.dtype == y.dtype


def test_probabilities_are_calibrated_and_scores_are_of_rows_that_were_held_out() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 3))
    p = 1 / (1 + np.exp(-2 * X[:, 0]))
    y = rng.random(600) < p
    model = TabularClassifier(n_estimators=3, hidden_layer_sizes=(32,)).fit(X[:300], y[:300])
    got = model.predict_proba(X[300:])[:, 1]
    assert np.abs(got - p[300:]).mean() < 0.08
    best = -np.mean(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert best - 0.05 < model.scores_["log_loss"] < best + 0.1


def test_the_leaderboard_shows_each_network_with_its_error_and_weight(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    reports: list[Progress] = []
    model = TabularClassifier(**FEW, callback=reports.append).fit(X, y)
    best = {report.network: report for report in reports if report.is_over}
    assert [one["error"] for one in model.leaderboard_] == sorted(one["error"] for one in model.leaderboard_)
    assert len(model.leaderboard_) == len(model.model_.networks)
    assert sum(one["weight"] for one in model.leaderboard_) == pytest.approx(1)
    errors = {report.validation_loss: report.epoch for report in best.values()}
    for one in model.leaderboard_:
        assert errors[one["error"]] == one["epoch"] <= one["epochs"]
        assert one["layer_sizes"] == model.model_.networks[one["network"]].layer_sizes
    model.save(tmp_path / "model.fastbp")
    assert TabularClassifier.load(tmp_path / "model.fastbp").leaderboard_ == model.leaderboard_


def test_scores_are_not_flattered_by_the_choice_of_epochs() -> None:
    scores, labels = [], np.arange(60) % 2
    for seed in range(12):
        noise = np.random.default_rng(seed).standard_normal((60, 5))
        model = TabularClassifier(hidden_layer_sizes=(32,), random_state=seed).fit(noise, labels)
        scores.append([model.scores_["accuracy"], model.scores_["auc"]])
    assert np.mean(scores, axis=0) == pytest.approx([0.5, 0.5], abs=0.06)  # 0.6 if each row chooses its own epoch


def test_a_number_lies_in_its_interval_with_the_wanted_coverage() -> None:
    X, y = load_diabetes(return_X_y=True)
    covered = []
    for seed in range(5):  # 142 rows cover 50 % with a standard deviation of 5 %
        order = np.random.default_rng(seed).permutation(len(X))
        rows, new = order[:300], order[300:]
        model = TabularRegressor(n_estimators=5, hidden_layer_sizes=(32,)).fit(X[rows], y[rows])
        assert model.score(X[new], y[new]) > 0.3
        bounds = [model.predict_interval(X[new], coverage).T for coverage in (0.9, 0.5)]
        covered.append([((lower <= y[new]) & (y[new] <= upper)).mean() for lower, upper in bounds])
    assert np.mean(covered, axis=0) == pytest.approx([0.9, 0.5], abs=0.06)
    np.testing.assert_array_equal(model.predict_interval(X), model.predict_interval(X, coverage=0.9))
    with pytest.raises(ValueError, match="coverage must be at most"):
        model.predict_interval(X, 0.9999)
    with pytest.raises(ValueError, match="between 0 and 1"):
        model.predict_interval(X, 1.5)


@pytest.mark.parametrize(("metric", "quantile"), [("rmse", 0.5), ("mae", 0.5), ("quantile", 0.9)])
def test_the_metric_decides_what_is_predicted(metric, quantile) -> None:
    rng = np.random.default_rng(0)
    X, noise = rng.standard_normal((2000, 1)), rng.exponential(size=2000)
    wanted = {"rmse": 1.0, "mae": np.log(2), "quantile": np.log(10)}[metric]
    model = TabularRegressor(metric=metric, quantile=quantile, n_estimators=2, hidden_layer_sizes=(16,)).fit(X, noise)
    assert abs(model.predict(X).mean() - wanted) < 0.25


def test_class_weights_act_as_sample_weights() -> None:
    X, y = load_iris(return_X_y=True)
    weights = np.where(y == 2, 5.0, 1.0)
    by_class = TabularClassifier(**FEW, class_weight={0: 1, 1: 1, 2: 5}).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(TabularClassifier(**FEW).fit(X, y, sample_weight=weights).predict_proba(X), by_class)
    assert not np.array_equal(TabularClassifier(**FEW).fit(X, y).predict_proba(X), by_class)


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_only_the_ratios_of_weights_matter(factor) -> None:
    X, y = load_iris(return_X_y=True)
    weights = np.arange(150) % 3 + 1.0
    models = [TabularClassifier(**FEW).fit(X, y, sample_weight=w) for w in (weights, weights * factor)]
    np.testing.assert_allclose(models[1].predict_proba(X), models[0].predict_proba(X), rtol=1e-4)


def test_a_row_of_weight_0_is_as_if_it_were_not_there() -> None:
    X, y = load_diabetes(return_X_y=True)
    wild = np.arange(len(y)) % 5 == 0
    y[wild] = 1e9
    weighted = TabularRegressor(**FEW).fit(X, y, sample_weight=~wild * 3.0)
    without = TabularRegressor(**FEW).fit(X[~wild], y[~wild])
    np.testing.assert_array_equal(weighted.predict_interval(X), without.predict_interval(X))
    with pytest.raises(ValueError, match="0 for all but 1"):
        TabularRegressor(**FEW).fit(X, y, sample_weight=np.arange(len(y)) == 3)


def test_a_fit_that_fails_leaves_what_was_fitted() -> None:
    X, y = load_iris(return_X_y=True)
    model = TabularClassifier(**FEW).fit(X, y)
    wanted = model.predict(X)
    with pytest.raises(ValueError, match="no column is left"):
        model.fit(np.zeros((4, 4)), ["a", "b"] * 2)
    np.testing.assert_array_equal(model.predict(X), wanted)


@pytest.mark.parametrize("sizes", [(0,), (-5,), (5.7,), ("a",)])
def test_widths_that_are_not_possible_are_named(sizes) -> None:
    with pytest.raises((TypeError, ValueError), match=r"hidden_layer_sizes\[0\]"):
        TabularClassifier(hidden_layer_sizes=sizes).fit(*load_iris(return_X_y=True))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_targets_of_any_size_are_learned(scale) -> None:
    X, y = load_diabetes(return_X_y=True)
    model = TabularRegressor(n_estimators=2, hidden_layer_sizes=(16,)).fit(X, y * scale)
    np.testing.assert_allclose(model.scores_["r2"], 0.45, atol=0.1)
    np.testing.assert_allclose(model.scores_["rmse"] / scale, 56, atol=6)


def test_a_single_column_that_counts_the_rows_is_learned_from() -> None:
    X = np.arange(100)[:, np.newaxis]
    assert TabularRegressor(n_estimators=2, hidden_layer_sizes=(16,)).fit(X, X[:, 0] ** 2).scores_["r2"] > 0.9


def test_a_quantile_is_scored_by_its_loss_and_by_the_share_below() -> None:
    y = np.random.default_rng(0).exponential(size=600)
    model = TabularRegressor(metric="quantile", quantile=0.8, n_estimators=6, hidden_layer_sizes=(16,)).fit(
        np.random.default_rng(1).random((600, 1)), y
    )
    assert abs(model.scores_["share_below"] - 0.8) < 0.06
    assert model.scores_["quantile_loss"] > 0


def test_networks_of_a_later_wave_that_diverge_are_dropped_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    train_all, calls = building.train_all, []

    def fails_later(*arguments, **options):
        calls.append(arguments)
        if len(calls) > 1:
            raise DivergenceError(1, 0.5, History())
        return train_all(*arguments, **options)

    monkeypatch.setattr(building, "train_all", fails_later)
    model = TabularClassifier(**FEW | {"n_estimators": 4}).fit(*load_iris(return_X_y=True))
    assert 1 <= len(model.model_.networks) <= 2
    assert model.notices_ == ("all further networks diverged, and are dropped",)


def test_a_kind_of_network_that_diverges_at_once_is_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    train_task = pool.train_task

    def diverges_with_bins(workload, task, *watch_and_pace):
        if task.sees_bins:
            raise DivergenceError(1, 0.5, History())
        return train_task(workload, task, *watch_and_pace)

    monkeypatch.setattr(pool, "train_task", diverges_with_bins)
    model = TabularClassifier(**FEW | {"n_estimators": 4}).fit(*load_iris(return_X_y=True))
    assert [network["sees_bins"] for network in model.model_.about["networks"]] == [False] * 4
    assert model.notices_ == ("1 network diverged in its first epoch, and is dropped",)


def test_validation_data_are_held_out_from_all_networks() -> None:
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="validation_data holds no rows"):
        TabularClassifier(**FEW).fit(X, y, validation_data=(X[:0], y[:0]))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TabularClassifier(**FEW).fit(X, y, validation_data=(X, y[1:]))
    with pytest.raises(ValueError, match=r"validation_data must be \(X, y\) or \(X, y, sample_weight\)"):
        TabularClassifier(**FEW).fit(X, y, validation_data=(X,))
    model = TabularClassifier(**FEW).fit(X[::2], y[::2], validation_data=(X[1::2], y[1::2]))
    assert model.model_.about["rows_held_out"] == 75
    p = model.predict_proba(X[1::2])
    assert model.scores_["accuracy"] == pytest.approx(np.mean(p.argmax(axis=1) == y[1::2]), abs=0.05)


def test_weights_of_validation_data_count_in_the_scores() -> None:
    X, y = load_iris(return_X_y=True)
    weights = np.arange(75) % 4 * 0.5
    fitted = [
        TabularClassifier(**FEW).fit(X[::2], y[::2], validation_data=(X[1::2][rows], y[1::2][rows], weights[rows]))
        for rows in (slice(None), weights > 0)
    ]
    right = fitted[0].predict(X[1::2]) == y[1::2]
    assert 0 < right.mean() < 1
    assert fitted[0].scores_["accuracy"] == pytest.approx(np.average(right, weights=weights), abs=0.05)
    assert fitted[0].scores_ == fitted[1].scores_  # a row of weight 0 is as if it were not there
    assert fitted[0].model_.about["rows_held_out"] == (weights > 0).sum()


def test_validation_data_whose_weights_are_all_0_are_an_error() -> None:
    table, y = frame_of({"a": np.arange(20) % 7}), cells_of("y", np.arange(20.0))
    data = TrainingData(table, y, Quantity.learn(y), validation=(table, y, np.zeros(20)))
    with pytest.raises(ValueError, match="sample_weight of validation_data is 0 for all but 0 of the rows"):
        build(data, Settings())


def test_weights_of_validation_data_choose_the_epoch() -> None:
    X, y = load_diabetes(return_X_y=True)
    shared = TabularRegressor(n_estimators=1, hidden_layer_sizes=(8,), epochs=30, learning_rate=0.5)
    half = np.arange(442) % 2 == 0
    weights = [np.where(y[half] > 150, w, 1.0) for w in (1e-6, 1e6)]
    models = [clone(shared).fit(X[~half], y[~half], validation_data=(X[half], y[half], w)) for w in weights]
    assert not np.array_equal(models[0].predict(X), models[1].predict(X))


def test_a_callback_that_returns_true_ends_the_fit_without_a_warning() -> None:
    X, y = load_iris(return_X_y=True)
    seen = []

    def callback(progress) -> bool:
        seen.append(progress)
        return progress.epoch == 3

    options = {"n_estimators": 4, "hidden_layer_sizes": (8,), "epochs": 100_000, "patience": None, "n_jobs": 1}
    model = TabularClassifier(**options, callback=callback).fit(X, y)
    assert isinstance(seen[0], Progress)
    assert len(model.model_.networks) == 1
    assert 3 <= model.model_.about["networks"][0]["epochs"] < 100_000
    assert 0 <= model.score(X, y) <= 1


class CountingExecutor(ThreadPoolExecutor):
    count = 0

    def submit(self, *arguments):
        self.count += 1
        return super().submit(*arguments)


def test_networks_can_be_trained_through_an_executor() -> None:
    X, y = load_iris(return_X_y=True)
    for kind, target in ((TabularClassifier, y), (TabularRegressor, y + 0.5)):
        wanted = kind(**FEW).fit(X, target).model_.answers(X)
        with CountingExecutor(2) as executor:
            got = kind(**FEW).fit(X, target, executor=executor).model_.answers(X)
        np.testing.assert_array_equal(got, wanted)
        assert executor.count >= 2


@pytest.mark.parametrize(
    ("n_jobs", "of_context", "n_threads"), [(-1, 3, None), (None, None, 1), (None, 3, 3), (2, 3, 2)]
)
def test_n_jobs_means_what_scikit_learn_means(n_jobs, of_context, n_threads) -> None:
    model = TabularClassifier(**FEW, n_jobs=n_jobs)
    context = nullcontext() if of_context is None else joblib.parallel_config("threading", n_jobs=of_context)
    with context:
        model.fit(*load_iris(return_X_y=True))
    assert model.model_.about["settings"]["n_threads"] == n_threads


def test_the_same_seed_gives_the_same_bits_for_any_number_of_jobs() -> None:
    table = frame()
    y = labels(table)
    outputs = [
        TabularClassifier(**FEW, n_jobs=n, random_state=s).fit(table, y).predict_proba(table)
        for n, s in ((1, 3), (4, 3), (1, 4))
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


def test_a_network_that_is_clearly_worse_is_dropped_and_its_kind_with_it() -> None:
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    steps = cells_of("y", np.where(np.floor(x * 20) % 2 == 0, "even", "odd"))
    settings = Settings(n_estimators=3, hidden_layer_sizes=(32,), epochs=60)
    built = build(TrainingData(frame_of({"x": x}), steps, Classes.learn(steps)), settings)
    assert [member.sees_bins for member in built.members] == [True] * 3
    line = cells_of("y", np.where(rng.random(2000) < x, "even", "odd"))
    built = build(TrainingData(frame_of({"x": x}), line, Classes.learn(line)), settings)
    assert len(built.members) == 3


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (
            ["a", "b"],
            {"metric": "rmse"},
            "the metric of classification must be one of log_loss, accuracy, auc, not rmse",
        ),
        ([1.5, 2.5], {"metric": "auc"}, "the metric of regression must be one of rmse, mae, quantile, not auc"),
        (["a", "b"], {"hidden_layer_sizes": (0,)}, r"hidden_layer_sizes\[0\] must be at least 1"),
    ],
)
def test_a_setting_that_does_not_fit_the_target_is_an_error(labels, settings, message) -> None:
    column = cells_of("y", labels * 10)
    target = Classes.learn(column) if labels == ["a", "b"] else Quantity.learn(column)
    with pytest.raises(ValueError, match=message):
        build(TrainingData(frame_of({"x": np.arange(20) % 7}), column, target), Settings(**settings))


def test_a_margin_is_the_conformal_quantile_of_the_residuals() -> None:
    model = TableModel((), Encoding((), ()), Quantity("y", 0, 1, 0, 1), 9, residuals=np.arange(1.0, 10.0))
    assert [model.margin(coverage) for coverage in (0.9, 0.8, 0.5, 0.01)] == [9, 8, 5, 1]
    with pytest.raises(ValueError, match=r"coverage must be at most 0\.9, because the model has 9 residuals"):
        model.margin(0.91)


def test_importances_are_large_for_columns_that_matter() -> None:
    rng = np.random.default_rng(0)
    table = {name: rng.standard_normal(400) for name in "abc"}
    y = cells_of("y", np.where(2 * table["b"] + 0.5 * table["c"] > 0, "yes", "no"))
    data = TrainingData(frame_of(table), y, Classes.learn(y))
    built = build(data, Settings(n_estimators=2, hidden_layer_sizes=(16,)))
    growth = importances(built)
    assert list(growth) == ["b", "c", "a"]
    assert growth["b"] > 0.5 > abs(growth["a"])


# --- one file ---------------------------------------------------------------------------------------------------


def test_a_saved_model_predicts_the_same_to_the_bit_in_another_process(tmp_path: Path) -> None:
    table = frame()
    model = TabularClassifier(**FEW, random_state=7).fit(table, labels(table))
    model.save(tmp_path / "model.fastbp")
    table.write_parquet(tmp_path / "table.parquet")
    script = (
        "import sys, polars, numpy; from fastbp.tabular import TabularClassifier\n"
        "model = TabularClassifier.load(sys.argv[1]); table = polars.read_parquet(sys.argv[2])\n"
        "numpy.save(sys.argv[3], model.predict_proba(table))\n"
    )
    files = [str(tmp_path / name) for name in ("model.fastbp", "table.parquet", "out.npy")]
    subprocess.run([sys.executable, "-c", script, *files], check=True, timeout=120)
    np.testing.assert_array_equal(np.load(files[2]), model.predict_proba(table))
    loaded = TabularClassifier.load(files[0])
    assert loaded.get_params() == {**model.get_params(), "learning_rate": 0.04, "dropout": 0.15}
    assert loaded.classes_.tolist() == ["big", "small"]
    assert loaded.scores_ == model.scores_
    with pytest.raises(ValueError, match="a model for classification, not for regression"):
        TabularRegressor.load(files[0])


def test_a_model_predicts_with_numpy_and_numba_alone(tmp_path: Path) -> None:
    table = frame()
    model = TabularClassifier(**FEW).fit(table, labels(table))
    model.save(tmp_path / "model.fastbp")
    with open(tmp_path / "columns.pickle", "wb") as file:
        pickle.dump(in_mapping(table), file)
    script = (
        "import pickle, sys, numpy\n"
        "for name in ('narwhals', 'pandas', 'polars', 'pyarrow', 'scipy', 'sklearn', 'typer', 'rich', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "from fastbp.tabular import TableModel\n"
        "try:\n"
        "    from fastbp.tabular import TabularClassifier\n"
        "except ModuleNotFoundError as error:\n"
        "    assert \"pip install 'fastbp[tabular]'\" in str(error)\n"
        "model = TableModel.load(sys.argv[1]); columns = pickle.load(open(sys.argv[2], 'rb'))\n"
        "numpy.save(sys.argv[3], model.answers(columns))\n"
    )
    files = [str(tmp_path / name) for name in ("model.fastbp", "columns.pickle", "out.npy")]
    subprocess.run([sys.executable, "-W", "error", "-c", script, *files], check=True, timeout=120)
    np.testing.assert_array_equal(np.load(files[2]), model.predict_proba(table))


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 2.5}])
def test_class_weights_are_kept_in_the_file(class_weight, tmp_path: Path) -> None:
    model = TabularClassifier(**FEW, class_weight=class_weight).fit(
        {"a": range(2, 32), "b": [1.5, 2] * 15}, [0, 1] * 15
    )
    model.save(tmp_path / "model.fastbp")
    loaded = TabularClassifier.load(tmp_path / "model.fastbp")
    assert loaded.class_weight == class_weight
    assert ("class_weight" in inspection_text(loaded.model_)) == (class_weight is not None)


def test_the_command_and_the_estimator_read_each_others_models(tmp_path: Path) -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=False)
    table = pl.DataFrame(X[:, :4], schema=["age", "sex", "bmi", "bp"]).with_columns(y=y)
    table.write_csv(tmp_path / "table.csv")
    files = [tmp_path / name for name in ("table.csv", "model.fastbp", "out.csv", "mine.fastbp")]
    options = ["--n-estimators", 2, "--epochs", 4, "--hidden-layer-sizes", "8"]
    run("train", files[0], "--target", "y", "--model", files[1], *options)
    model = TabularRegressor(**FEW).fit(table.drop("y"), table["y"])
    np.testing.assert_array_equal(
        TabularRegressor.load(files[1]).predict(table.drop("y")), model.predict(table.drop("y"))
    )
    model.save(files[3])
    run("predict", files[3], files[0], "-o", files[2], "--coverage", 0.8)
    written = pl.read_csv(files[2])
    np.testing.assert_allclose(written["prediction"], model.predict(table.drop("y")), rtol=1e-6)
    bounds = model.predict_interval(table.drop("y"), 0.8)
    np.testing.assert_allclose(written.select("lower", "upper").to_numpy(), bounds, rtol=1e-6)


def test_a_model_says_what_is_in_it(tmp_path: Path) -> None:
    table = frame()
    TabularClassifier(**FEW).fit(table, labels(table)).save(tmp_path / "model.fastbp")
    text = run("inspect", tmp_path / "model.fastbp")
    for what in (
        "2 classes: big, small",
        "60 rows",
        "accuracy",
        "colour, category",
        "day, date",
        "size, number, some missing",
    ):
        assert what in text
    assert json.loads(run("inspect", tmp_path / "model.fastbp", "--json"))["rows"] == 60
    assert TableModel.load(tmp_path / "model.fastbp").n_rows == 60


# --- names ------------------------------------------------------------------------------------------------------


def test_the_package_shows_its_names_and_finds_them() -> None:
    assert {"Progress", "TableModel", "TabularClassifier", "TabularRegressor"} <= set(dir(fastbp.tabular))
    assert fastbp.tabular.TabularClassifier is TabularClassifier
    assert fastbp.tabular.Progress is fastbp.results.Progress
    with pytest.raises(AttributeError, match="has no attribute 'Classifier'"):
        fastbp.tabular.Classifier  # noqa: B018


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_a_docstring_lists_every_parameter_and_attribute(kind) -> None:
    documented = set(re.findall(r"^    (\w+) : ", kind.__doc__, re.MULTILINE))
    y = [1, 2] * 10
    fitted = {name for name in vars(kind(**FEW).fit({"a": np.arange(20) % 7}, y)) if name.endswith("_")}
    assert documented == set(inspect.signature(kind).parameters) | fitted


# --- with scikit-learn ----------------------------------------------------------------------------------


def test_it_is_cloned_and_cross_validated() -> None:
    X, y = load_iris(return_X_y=True)
    model = TabularClassifier(n_estimators=1, hidden_layer_sizes=(32,))
    assert clone(model).get_params() == model.get_params()
    assert cross_val_score(model, X, y, cv=3).min() > 0.9


SMALL = {"n_estimators": 2, "hidden_layer_sizes": (16,), "epochs": 60}
BY_CHANCE = {
    "check_sample_weight_equivalence_on_dense_data": "a weight of 2 is not two rows: folds and batches consist of rows"
}


@parametrize_with_checks(
    [TabularClassifier(**SMALL), TabularRegressor(**SMALL), TabularRegressor(metric=losses.huber(1.5), **SMALL)],
    expected_failed_checks=lambda _: BY_CHANCE,
)
def test_scikit_learns_checks_pass(estimator, check) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check(estimator)

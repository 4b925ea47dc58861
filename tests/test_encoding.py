"""The columns of a table encoded as the inputs of a network."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastbp.tabular.encoding.cells import cells_of
from fastbp.tabular.encoding.columns import MAX_LEVELS, DateColumn, NumberColumn
from fastbp.tabular.encoding.frames import frame_of
from fastbp.tabular.encoding.inputs import MAX_BINS, MAX_BINS_OF_TABLE, Encoding, bins_for, learn_encoding
from fastbp.tabular.encoding.target import Quantity


def learned(columns: dict[str, Any]) -> tuple[Encoding, list[str]]:
    return learn_encoding(frame_of(columns))


def inputs(columns: dict[str, Any]) -> np.ndarray:
    return learned(columns)[0].encode(frame_of(columns))


# --- numbers ----------------------------------------------------------------------------------------------------


def test_numbers_are_centred_at_the_median_and_scaled_by_the_quartiles() -> None:
    z = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # quartiles one apart
    np.testing.assert_allclose(inputs({"a": 7 + 4 * z})[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)


def test_order_is_kept_and_an_outlier_leaves_the_others_apart() -> None:
    x = inputs({"a": [1.0, 2.0, 3.0, 4.0, 1e300]})[:, 0]
    assert np.all(np.diff(x) > 0)
    assert x[3] - x[0] > 1
    assert x[4] <= 3


def test_a_missing_number_is_zero_everywhere_but_in_its_mark() -> None:
    x = inputs({"a": [1.0, None, 2.0, float("nan"), 3.0]})
    np.testing.assert_array_equal(x[:, 1], [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(x[[1, 3]][:, [0, *range(2, x.shape[1])]], 0)
    assert x.shape[1] > 2


def test_nothing_is_marked_where_nothing_was_missing_in_training() -> None:
    encoding, _ = learned({"a": [1.0, 2.0, 3.0]})
    x = encoding.encode(frame_of({"a": [None, 2.0]}))
    np.testing.assert_array_equal(x[0], 0)
    np.testing.assert_array_equal(x[1, 0], 0)


def test_infinite_numbers_count_as_missing_with_a_notice() -> None:
    columns = {"a": [1.0, float("inf"), 2.0, float("-inf")]}
    np.testing.assert_array_equal(inputs(columns)[:, 1], [0, 1, 0, 1])
    assert "2 infinite values" in learned(columns)[1][0]


def test_a_constant_with_gaps_is_zero_beside_its_mark() -> None:
    encoding, _ = learned({"a": [5.0, None, 5.0]})
    np.testing.assert_array_equal(encoding.encode(frame_of({"a": [5.0, None, 9.0]})), [[0, 0], [0, 1], [0, 0]])


def test_a_column_that_is_mostly_one_value_is_scaled_by_its_range() -> None:
    x = inputs({"a": [0.0] * 9 + [8.0]})[:, 0]
    assert x[0] == 0
    assert x[9] == np.float32(2 / np.sqrt(1 + (2 / 3) ** 2))


def test_whole_numbers_are_exact_before_they_are_scaled() -> None:
    near = 2**53 - 4
    x = inputs({"a": [near, near + 1, near + 2, near + 3, near + 4]})[:, 0]
    np.testing.assert_array_equal(x, inputs({"a": [-2, -1, 0, 1, 2]})[:, 0])


@settings(deadline=None)  # a loaded machine is slow
@given(st.lists(st.floats() | st.none(), min_size=2, max_size=20))
@example([-1.7e308, -1.7e308, 1.7e308, 1.7e308])
@example([5e-324, 0.0])
def test_inputs_are_finite_and_bounded_for_all_numbers(numbers: list[float | None]) -> None:
    frame = frame_of({"a": np.array(numbers, dtype=float), "b": [0.5, *[1.5] * (len(numbers) - 1)]})
    encoding, _ = learn_encoding(frame)
    x = encoding.encode(frame)
    assert x.dtype == np.float32
    assert np.all(np.abs(x) <= 3)


@pytest.mark.parametrize("bins", [1, 4, 7])
def test_bins_are_piecewise_linear_between_quantiles(bins: int) -> None:
    rng = np.random.default_rng(0)
    known, x = rng.standard_normal(200), np.linspace(-4, 4, 99)
    column = NumberColumn.learn("a", known, bins)
    edges = np.quantile(known, np.linspace(0, 1, bins + 1))
    np.testing.assert_array_equal(column.edges, edges if bins > 1 else [])
    wanted = [np.interp(x, [lower, upper], [-1, 1]) for lower, upper in pairwise(column.edges)]
    got = Encoding((column,), ("a",)).encode(frame_of({"a": x}))
    np.testing.assert_allclose(got[:, 1:].T, np.reshape(wanted, (column.n_bins, len(x))), atol=1e-6)


def test_more_rows_make_more_bins_and_more_columns_fewer() -> None:
    assert bins_for(100, 1) < bins_for(1000, 1) < bins_for(10**5, 1) == MAX_BINS
    assert bins_for(10**5, 100) * 100 <= MAX_BINS_OF_TABLE


def test_a_network_can_do_without_the_bins() -> None:
    columns = {"a": [3, 1, 4, 1, 5, 9, 2], "b": ["x", "y", "z"] * 2 + ["x"], "c": [1.5, None] * 3 + [2.5]}
    encoding, _ = learned(columns)
    x = encoding.encode(frame_of(columns))
    without_bins = encoding.for_width(x, 6)
    np.testing.assert_array_equal(without_bins, x[:, encoding.is_not_bin])
    assert without_bins.shape[1] == 1 + 3 + 2 < x.shape[1]
    np.testing.assert_array_equal(without_bins[:, 1:4], np.eye(3)[[0, 1, 2] * 2 + [0]])
    np.testing.assert_array_equal(without_bins[:, 5], [0, 1] * 3 + [0])
    np.testing.assert_array_equal(encoding.for_width(x, x.shape[1]), x)


# --- dates ------------------------------------------------------------------------------------------------------


def test_a_date_is_days_and_its_place_in_each_period_that_training_saw() -> None:
    days = pl.Series("d", range(0, 800, 5)).cast(pl.Date)
    encoding, _ = learned({"d": days})
    (column,) = encoding.columns
    assert isinstance(column, DateColumn)
    assert column.periods == ("year", "week")
    x = encoding.encode(frame_of({"d": days}))
    phase = 2 * np.pi * np.arange(0, 800, 5) / 365.2425
    np.testing.assert_allclose(x[:, :2], np.column_stack([np.sin(phase), np.cos(phase)]), atol=1e-6)
    np.testing.assert_array_equal(np.argsort(x[:, 4]), np.arange(160))


def test_times_of_day_have_a_period_of_their_own_and_their_own_clock() -> None:
    hours = pl.Series("d", [0, 7, 13, 30, 41, 50]) * 3_600_000_000
    here = hours.cast(pl.Datetime("us"))
    (column,) = learned({"d": here})[0].columns
    assert column.periods == ("day",)
    there = here.dt.replace_time_zone("Asia/Tokyo")
    np.testing.assert_array_equal(inputs({"d": here}), inputs({"d": there}))
    np.testing.assert_array_equal(inputs({"d": here}), inputs({"d": here.cast(pl.Datetime("ns"))}))


def test_a_missing_date_is_zero_and_marked() -> None:
    columns = {"d": pl.Series([0, None, 500, 900]).cast(pl.Date)}
    x = inputs(columns)
    assert np.count_nonzero(x[1]) == 1
    assert x[1].max() == 1


def test_lengths_of_time_are_numbers() -> None:
    seconds = pl.Series([1, 2, 4, 8])
    np.testing.assert_array_equal(inputs({"a": (seconds * 1000).cast(pl.Duration("ms"))}), inputs({"a": seconds}))


# --- categories -------------------------------------------------------------------------------------------------


def test_each_text_has_an_input_and_missing_or_unknown_ones_none() -> None:
    encoding, _ = learned({"a": ["x", "y", "x", "y", "w", "w", None]})
    x = encoding.encode(frame_of({"a": ["y", "x", None, "z"]}))
    np.testing.assert_array_equal(x, [[0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]])


def test_two_texts_share_an_input() -> None:
    encoding, _ = learned({"a": ["x", "y", "x", "y", None]})
    x = encoding.encode(frame_of({"a": ["y", "x", None, "z"]}))
    np.testing.assert_array_equal(x, [[1], [-1], [0], [0]])


def test_truth_values_and_polars_categories_are_texts() -> None:
    truth = inputs({"a": [True, False, True, False, None]})
    np.testing.assert_array_equal(truth, [[1], [-1], [1], [-1], [0]])
    texts = pl.Series("a", ["x", "y", "x", "y"])
    np.testing.assert_array_equal(inputs({"a": texts.cast(pl.Categorical)}), inputs({"a": texts}))


def test_truth_has_one_spelling() -> None:
    encoding, _ = learned({"a": [True, False, True, False]})
    x = encoding.encode(frame_of({"a": ["True", "FALSE", "true", None]}))
    np.testing.assert_array_equal(x[:, 0], [1, -1, 1, 0])


def test_a_text_that_occurs_once_has_no_input() -> None:
    encoding, _ = learned({"a": ["x", "y", "x", "rare", "y"]})
    assert encoding.columns[0] == type(encoding.columns[0])("a", ("x", "y"))


def test_of_very_many_texts_the_most_frequent_have_inputs() -> None:
    texts = [f"t{i}" for i in range(MAX_LEVELS + 50) for _ in range(2)] + ["t149", "t148"]
    encoding, _ = learned({"a": texts})
    assert encoding.width == MAX_LEVELS
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
        ([[1], [2], [3], [4], [5], [6]], "list values"),
        (pl.Series([5] * 6).cast(pl.Date), "1970-01-06 in every row"),
        (pl.Series([None] * 6, dtype=pl.Date), "empty"),
    ],
)
def test_a_column_that_cannot_be_used_is_left_out_and_named(column: Any, reason: str) -> None:
    encoding, notices = learned({"useless": column, "good": [1.0, 2.0, 3.5, 1.5, 3.0, 2.5]})
    assert [kept.name for kept in encoding.columns] == ["good"]
    assert "'useless'" in notices[0]
    assert reason in notices[0]


def test_a_year_that_rises_by_one_is_kept() -> None:
    assert len(learned({"year": [1990, 1991, 1992, 1993]})[0].columns) == 1


def test_a_table_without_a_usable_column_is_an_error_that_says_why() -> None:
    with pytest.raises(ValueError, match=r"no column is left.*'a'"):
        learned({"a": [1.0, 1.0, 1.0]})


# --- another table ----------------------------------------------------------------------------------------------


@pytest.fixture
def penguins() -> Encoding:
    return learned({"bill length": [39.1, 40.2, None, 36.7], "island": ["Dream", "Biscoe", "Dream", "Biscoe"]})[0]


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored(penguins: Encoding) -> None:
    columns = {"island": ["Dream"], "new": [1], "bill length": [40.0]}
    again = {name: columns[name] for name in ("bill length", "island")}
    np.testing.assert_array_equal(penguins.encode(frame_of(columns)), penguins.encode(frame_of(again)))


def test_a_column_that_is_not_there_is_named_with_the_nearest_that_is(penguins: Encoding) -> None:
    with pytest.raises(ValueError, match=r"'bill length' \(did you mean 'Bill_Length'\?\)"):
        penguins.encode(frame_of({"Bill_Length": [1.0], "island": ["Dream"]}))


def test_text_in_a_column_of_numbers_is_named_with_its_row(penguins: Encoding) -> None:
    frame = frame_of({"bill length": ["1.5", None, "long"], "island": ["Dream"] * 3})
    with pytest.raises(ValueError, match=r"'bill length' held numbers.*text here \('long' in row 3\)"):
        penguins.encode(frame)


def test_numbers_in_a_column_of_text_are_named(penguins: Encoding) -> None:
    with pytest.raises(ValueError, match="'island' held text in training and holds numbers here"):
        penguins.encode(frame_of({"bill length": [1.0], "island": [3]}))


@pytest.mark.parametrize("dtype", [pl.String, pl.Float64, pl.Null])
def test_an_empty_column_is_missing_for_any_type(dtype: Any, penguins: Encoding) -> None:
    empty = pl.Series([None, None], dtype=dtype)
    x = penguins.encode(frame_of({"bill length": empty, "island": empty}))
    np.testing.assert_array_equal(x, [[0, 1, *[0] * (x.shape[1] - 2)]] * 2)


def test_an_encoding_from_its_json_gives_the_same_bits() -> None:
    dates = pl.Series([0, None, 500, 900]).cast(pl.Date)
    columns = {"a": [0.1, 0.7, None, 1 / 3], "b": ["x", "y", "x", "y"], "c": [1e300, -5e-324, 3.3, 0.0], "d": dates}
    encoding, _ = learned(columns)
    stored = encoding.to_dict()
    assert json.loads(json.dumps(stored)) == stored
    again = Encoding.from_dict(json.loads(json.dumps(stored)))
    assert again == encoding
    frame = frame_of(columns)
    assert again.encode(frame).tobytes() == encoding.encode(frame).tobytes()


# --- texts that the training did not see -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trained", "asked", "places"),
    [
        (["1", "2", "K"], ["1.0", "2.00", "K"], [0, 1, 2]),
        (["1.0", "2.0", "K"], ["1", "2", "K"], [0, 1, 2]),
        (["7", "8", "x"], [7.0, 8.0, None], [0, 1, -1]),
        (["7", "8", "x"], [8, 7, 9], [1, 0, -1]),
        ([1.0, 2.0, "K"], ["1", "2.0", "K"], [0, 1, 2]),
        (["-3", "0", "n"], np.array([-3.0, 0.0, np.nan]), [0, 1, -1]),
        ([True, False, "?"], ["TRUE", "False", "?"], [2, 1, 0]),
    ],
)
def test_a_whole_number_is_one_level_in_every_spelling(trained: list[Any], asked: Any, places: list[int]) -> None:
    encoding, _ = learned({"a": trained * 2})
    wanted = [[float(place == level) for level in range(3)] for place in places]
    np.testing.assert_array_equal(encoding.encode(frame_of({"a": asked})), wanted)


@pytest.mark.parametrize("trained", [[True, False], ["True", "False"], ["1", "0"], ["true", "FALSE"], ["1.0", "0.0"]])
@pytest.mark.parametrize("asked", [[1, 0], [True, False], ["1", "0"], ["TRUE", "false"], [1.0, 0.0], ["1.0", "0"]])
def test_0_and_1_stand_for_false_and_true(trained: list[Any], asked: list[Any]) -> None:
    encoding, _ = learned({"a": trained * 2})
    np.testing.assert_array_equal(encoding.encode(frame_of({"a": asked})), [[1], [-1]])


@pytest.mark.parametrize("asked", [[True, False, None], ["TRUE", "False", None], ["true", "false", None]])
def test_truth_values_stand_for_the_numbers_0_and_1(asked: list[Any]) -> None:
    encoding, _ = learned({"a": [1, 0, 1, 0, 1, None]})
    numbers = encoding.encode(frame_of({"a": [1, 0, None]}))
    np.testing.assert_array_equal(encoding.encode(frame_of({"a": asked})), numbers)


@pytest.mark.parametrize("asked", [["true", "no"], ["1", "0"], ["x"]])
def test_other_texts_do_not_stand_for_numbers(asked: list[Any]) -> None:
    encoding, _ = learned({"a": [1, 0, 1, 0]})
    with pytest.raises(ValueError, match="'a' held numbers in training and holds text here"):
        encoding.encode(frame_of({"a": asked}))


@pytest.mark.parametrize("trained", [[3, 8, 4, 9], [-1.0, 0.0, 1.0], [2**60, 2**60 + 1, 2**60]])
def test_truth_values_do_not_stand_for_other_numbers(trained: list[Any]) -> None:
    encoding, _ = learned({"a": trained})
    with pytest.raises(ValueError, match="'a' held numbers in training and holds text here"):
        encoding.encode(frame_of({"a": [True, False]}))


@pytest.mark.parametrize(
    ("asked", "n_unknown", "example"),
    [(["A", "B", "C"], 3, "'A', 'B', 'C'"), (["a", "z", "z", None], 2, "'z'"), ([" a", "b "], 2, "' a', 'b '")],
)
def test_a_column_of_mostly_unknown_texts_is_named_with_examples(asked: Any, n_unknown: int, example: str) -> None:
    encoding, _ = learned({"a": ["a", "b", "c"] * 2, "n": [1.5, 2.5] * 3})
    n = sum(value is not None for value in asked)
    (notice,) = encoding.unknown_levels(frame_of({"a": asked, "n": [1.5] * len(asked)}))
    assert f"column 'a': {n_unknown} of {n} cells" in notice
    assert f": {example}; the model knows 'a', 'b', 'c'" in notice


@pytest.mark.parametrize("asked", [["a", "b"], ["a", "z"], [None, None], ["z", "b", "c", None]])
def test_a_few_unknown_texts_are_not_worth_a_notice(asked: Any) -> None:
    encoding, _ = learned({"a": ["a", "b", "c"] * 2})
    assert encoding.unknown_levels(frame_of({"a": asked})) == []


# --- whole numbers beyond 2^53, pandas' index, wide tables --------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [10**17 + i for i in (0, 1, 5, 9)],
        [-(2**63) + i for i in (7, 0, 3, 1)],
        np.array([2**64 - 1 - i for i in (4, 0, 2, 9)], dtype=np.uint64),
        [2**53 + 1, 2**53 + 3, None, 2**53 + 8, 2**53 + 9],
    ],
)
def test_whole_numbers_keep_their_differences(values: Any) -> None:
    encoding, notices = learned({"a": values})
    assert notices == []
    small = [None if value is None else int(value) - int(values[0]) for value in values]
    x = encoding.encode(frame_of({"a": values}))
    np.testing.assert_allclose(x[:, 0], inputs({"a": small})[:, 0], atol=1e-6)
    assert len(set(x[:, 0])) == len(values)
    again = Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert again.encode(frame_of({"a": values})).tobytes() == x.tobytes()


@pytest.mark.parametrize("first", [10**17, -(10**18), 2**60])
def test_a_target_whose_differences_would_be_rounded_away_is_refused(first: int) -> None:
    message = rf"holds whole numbers such as {first}, whose differences .*: subtract {first} from them"
    with pytest.raises(ValueError, match=message):
        Quantity.learn(cells_of("y", [first, first + 3, first + 50]))
    assert Quantity.learn(cells_of("y", [first, first + 10**9])).std > 0


def test_an_offset_is_stored_only_where_it_is_needed() -> None:
    (stored,) = learned({"a": [1, 5, 2, 9]})[0].to_dict()["columns"]
    assert "offset" not in stored
    (stored,) = learned({"a": [2**60, 2**60 + 1, 2**60 + 2]})[0].to_dict()["columns"]
    assert stored["offset"] == 2**60 + 1


@pytest.mark.parametrize("value", [2.0**60, -1e17, 2**70])
def test_a_constant_of_floats_is_named_only_as_far_as_a_float_can_tell(value: float) -> None:
    _, notices = learned({"a": [value] * 3, "b": [1.5, 2.5, 4.0]})
    assert "in every row, as far as a float64 can tell" in notices[0]


@pytest.mark.parametrize("name", ["__index_level_0__", "__index_level_1__", "__index_level_12__"])
def test_pandas_index_is_no_input_and_not_needed_for_predictions(name: str) -> None:
    encoding, notices = learned({name: [5, 3, 8, 1], "a": [1.5, 0.5, 2.5, 4.0]})
    assert [column.name for column in encoding.columns] == ["a"]
    assert notices == [f"column {name!r} is left out: it is pandas' index"]
    assert encoding.encode(frame_of({"a": [1.0]})).shape == (1, encoding.width)


def test_many_missing_columns_are_counted() -> None:
    encoding, _ = learned({f"c{i}": [1.0, 2.0, 4.0] for i in range(40)})
    with pytest.raises(ValueError, match=r"lacks columns of the model: 'c0'.*'c4'.* and 35 more"):
        encoding.check_columns(["other"])


def test_the_names_of_a_wide_table_are_not_sought_one_by_one() -> None:
    class Counted(str):
        n_compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Counted.n_compared += 1
            return str.__eq__(self, other)

    names = [f"c{i}" for i in range(2000)]
    encoding, _ = learned({name: [1.0, 2.0, 4.0] for name in names})
    encoding.check_columns([Counted(name) for name in names])
    assert Counted.n_compared <= 10 * len(names)

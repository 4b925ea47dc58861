"""Schedules follow their formulas, and give the same bits however a run is sliced."""

import math

import numpy as np
import pytest

from fastbp import schedules
from fastbp.runs.rates import evaluate

FORMULAS = [
    (schedules.Constant(0.3), lambda _: 0.3),
    (schedules.Step(0.5, every=10, factor=0.5), lambda t: 0.5 * 0.5 ** (t // 10)),
    (schedules.InverseScaling(0.5, power=0.25), lambda t: 0.5 / (t + 1) ** 0.25),
    (
        schedules.Cosine(0.5, steps=40, final=0.1),
        lambda t: 0.1 + 0.4 * (1 + math.cos(math.pi * min(t / 40, 1))) / 2,
    ),
    (
        schedules.LogarithmicCosine(0.5, steps=40),
        lambda t: 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * min(t / 40, 1)))) / 2,
    ),
    (schedules.WarmUp(0.5, steps=4), lambda t: 0.5 * min((t + 1) / 4, 1)),
    (
        schedules.WarmUp(schedules.Step(0.5, every=10), steps=4),
        lambda t: min((t + 1) / 4, 1) * 0.5 * 0.1 ** (max(t - 4, 0) // 10),
    ),
    (schedules.WarmUp(lambda t: 1 / (int(t) + 1), steps=4), lambda t: min((t + 1) / 4, 1) / (max(t - 4, 0) + 1)),
    (lambda t: 2.0**-t, lambda t: 2.0**-t),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=lambda value: type(value).__name__)
def test_rates_follow_the_formula(schedule, formula):
    wanted = [formula(t) for t in range(60)]
    np.testing.assert_allclose(evaluate(schedule, 0, 60), wanted, rtol=1e-14)
    np.testing.assert_allclose([schedule(t) for t in range(60)], wanted, rtol=1e-14)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in FORMULAS], ids=lambda value: type(value).__name__)
def test_slices_hold_the_bits_of_the_whole(schedule):
    whole = evaluate(schedule, 0, 2100)
    for first, count in ((0, 1), (1, 7), (1000, 100), (1023, 2), (2047, 53)):
        assert np.array_equal(evaluate(schedule, first, count), whole[first : first + count])


@pytest.mark.parametrize(
    ("spanning", "counted"),
    [
        (schedules.Cosine(0.5, final=0.1), schedules.Cosine(0.5, 300, 0.1)),
        (schedules.LogarithmicCosine(0.5, cycles=3), schedules.LogarithmicCosine(0.5, 300, 3)),
        (schedules.WarmUp(schedules.Cosine(0.5), 50), schedules.WarmUp(schedules.Cosine(0.5, 250), 50)),
        (schedules.WarmUp(0.5, 50), schedules.WarmUp(0.5, 50)),
        (schedules.Constant(0.5), schedules.Constant(0.5)),
    ],
    ids=str,
)
def test_a_schedule_is_told_the_length_of_a_run(spanning, counted):
    wanted = evaluate(counted, 0, 300)
    assert np.array_equal(evaluate(schedules.over_run(spanning, 0, 300), 0, 300), wanted)
    is_told = spanning != counted
    later = schedules.over_run(spanning, 1000, 300)
    if is_told:
        np.testing.assert_allclose(evaluate(later, 1000, 300), wanted, rtol=1e-14)
        for first, count in ((1000, 1), (1020, 9), (1023, 2), (1290, 10)):
            sliced = evaluate(later, first, count)
            assert np.array_equal(sliced, evaluate(later, 1000, 300)[first - 1000 :][:count])
    assert schedules.over_run(counted, 1000, 77) is counted
    assert schedules.over_run(0.25, 1000, 77) == 0.25


def test_a_schedule_that_is_not_told_how_long_a_run_is_says_so():
    with pytest.raises(ValueError, match="Cosine does not know how many steps there are: give it steps"):
        schedules.Cosine(0.5)(3)


def test_a_number_is_the_rate_of_every_step():
    assert evaluate(0.25, 10, 3).tolist() == [0.25] * 3


@pytest.mark.parametrize("rate", [math.nan, math.inf, -0.1])
def test_a_schedule_that_leaves_the_numbers_gives_the_rates_so_far_and_then_its_step(rate):
    def schedule(step):
        return rate if step == 3 else 0.1

    assert evaluate(schedule, 0, 5).tolist() == [0.1] * 3
    with pytest.raises(ValueError, match="learning_rate at step 3 must be finite and not negative"):
        evaluate(schedule, 3, 2)


def test_schedules_with_the_same_numbers_are_the_same():
    assert schedules.Cosine(0.1, 5) == schedules.Cosine(0.1, 5) != schedules.Cosine(0.1, 6)
    assert schedules.describe(schedules.WarmUp(schedules.Cosine(0.1, 5), 2)) == {
        "schedule": "WarmUp",
        "then": {"schedule": "Cosine", "initial": 0.1, "steps": 5, "final": 0.0},
        "steps": 2,
    }
    assert schedules.describe(lambda _: 0.1) == "custom"

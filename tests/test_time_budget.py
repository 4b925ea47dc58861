"""A time budget: what it bounds, where it ends a training, and the learning rates of the steps that fit."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from test_recipe import RECIPE, table, trained_on, twin

from fastbp.runs import fitting
from fastbp.schedules import LogarithmicCosine
from fastbp.tabular import TabularClassifier, TabularRegressor, settings
from fastbp.tabular.encoding import coded
from fastbp.tabular.encoding.target import Classes, Quantity
from fastbp.tabular.settings import Settings, epochs_for
from fastbp.tabular.training import build, pool, recipe
from fastbp.tabular.training.build import recipe_for
from fastbp.tabular.training.pace import USEFUL_ROWS, EndedError, Pace
from fastbp.tabular.training.parts import Member, Trained, spread_over

# --- the end of a training ----------------------------------------------------------------------------------------


class EndAt(Pace):
    """Ends a training before a step. The learning rates are those of a training with time for all epochs."""

    def __init__(self, step, error=None):
        super().__init__()
        self._step, self._error = step, error

    def is_late(self, step):
        if step == self._step and self._error is not None:
            raise self._error
        return step == self._step


@pytest.fixture
def single_steps(monkeypatch):
    """Make one step a slice."""
    monkeypatch.setattr(fitting, "_FIRST_SLICE", 1)
    monkeypatch.setattr(fitting, "SLICE_SECONDS", 0)


@pytest.mark.usefixtures("single_steps")
@pytest.mark.parametrize("step", [2, 3, 5, 6])
def test_a_training_that_ends_inside_an_epoch_is_that_of_its_steps(step):
    X, y, weights = table()  # three batches make an epoch
    errors = iter(range(9, 0, -1))
    trained = trained_on(X, y, weights, error_of=lambda _: next(errors), pace=EndAt(step))
    after = twin(X[15:].astype(float), y[15:], weights[15:], RECIPE, 3, n_steps=step)
    assert trained.epoch == len(trained.errors) == len(after) == -(-step // 3)
    assert trained.passes == pytest.approx(step / 3)
    Ω, β, _ = after[-1]
    for got, expected in zip((*trained.network.weights, *trained.network.biases), (*Ω, *β), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(trained.losses, [loss for *_, loss in after], rtol=1e-4)
    np.testing.assert_array_equal(trained.network.predict(X[:15]), trained.output)


@pytest.mark.usefixtures("single_steps")
def test_a_part_of_an_epoch_is_kept_only_if_it_is_the_best():
    X, y, weights = table()
    errors = iter([5.0, 2.0, 3.0])
    cut = trained_on(X, y, weights, error_of=lambda _: next(errors), pace=EndAt(8))
    assert (cut.epoch, cut.errors) == (2, [5.0, 2.0, 3.0])
    errors = iter([5.0, 2.0])
    whole = trained_on(X, y, weights, error_of=lambda _: next(errors), pace=EndAt(6))
    np.testing.assert_array_equal(cut.output, whole.output)


@pytest.mark.usefixtures("single_steps")
def test_steps_after_the_last_epoch_are_dropped_if_the_user_ends_the_training():
    X, y, weights = table()
    cut, whole = (trained_on(X, y, weights, pace=pace) for pace in (EndAt(8, EndedError()), EndAt(6)))
    assert (cut.losses, cut.errors) == (whole.losses, whole.errors)
    np.testing.assert_array_equal(cut.output, whole.output)
    with pytest.raises(EndedError):
        trained_on(X, y, weights, pace=EndAt(2, EndedError()))


class EndsWhileJudging(Pace):
    """Is ended by the user after so many questions of the judging."""

    def __init__(self, n_questions):
        super().__init__(is_ended=lambda: self.n_left < 0)
        self.n_left = n_questions

    def has_ended(self):
        self.n_left -= 1
        return super().has_ended()

    def is_late(self, _step):
        return False


@pytest.fixture
def few_rows(monkeypatch):
    """Predict two rows a block, and judge five rows after the end by the user."""
    monkeypatch.setattr(coded, "BLOCK_ROWS", 2)
    monkeypatch.setattr(recipe, "FEW_ROWS", 5)


@pytest.mark.usefixtures("few_rows")
def test_the_first_judging_takes_a_few_rows_if_the_user_ends_the_training_meanwhile():
    X, y, weights = table()  # 15 rows are held out, in 8 blocks
    lengths = []

    def error_of(output):
        lengths.append(len(output))
        time.sleep(0.001)  # so that the clock shows that an epoch is judged
        return 1.0

    trained = trained_on(X, y, weights, error_of=error_of, pace=EndsWhileJudging(3))
    assert lengths == [5]
    assert trained.epoch == len(trained.losses) == len(trained.errors) == 1
    np.testing.assert_allclose(trained.output, trained.network.predict(spread_over(X[:15], 5)), rtol=1e-4)


@pytest.mark.usefixtures("few_rows")
def test_a_later_judging_is_broken_off_if_the_user_ends_the_training_meanwhile():
    X, y, weights = table()
    trained = trained_on(X, y, weights, error_of=lambda _: time.sleep(0.001) or 1.0, pace=EndsWhileJudging(8 + 3))
    assert trained.epoch == len(trained.losses) == len(trained.errors) == 1
    np.testing.assert_allclose(trained.output, trained.network.predict(X[:15]), rtol=1e-4)


def test_spread_rows_are_in_order_at_even_distances():
    assert spread_over(np.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert spread_over(np.arange(3), 4).tolist() == [0, 1, 2]


# --- the plan -----------------------------------------------------------------------------------------------------


class Machine:
    """A fake clock, and a training on it: each step takes some seconds, and each judging too."""

    def __init__(self, seconds_of_step, seconds_of_judging=0.0, speed=lambda _: 1.0):
        self.now, self._step, self._judging, self._speed = 100.0, seconds_of_step, seconds_of_judging, speed

    def clock(self):
        return self.now

    def judge(self):
        self.now += self._judging
        return 0.0

    def train(self, pace, epochs=50, steps_per_epoch=400, batch_size=256, n_judged=0):
        """Return the learning rate of each step that is made before the pace ends the training."""
        rates = pace.plan(LogarithmicCosine(1.0), epochs, steps_per_epoch, batch_size, n_judged)
        made = []
        while len(made) < epochs * steps_per_epoch and not pace.is_late(len(made)):
            slice_end = min(len(made) + 30, (len(made) // steps_per_epoch + 1) * steps_per_epoch)
            for step in range(len(made), slice_end):
                made.append(float(rates(step)))
                self.now += self._step * self._speed(self.now - 100)
            if slice_end % steps_per_epoch == 0:
                pace.timed(self.judge)
        return made


@pytest.mark.parametrize("judging", [0.0, 0.5])
@pytest.mark.parametrize("speed", [lambda _: 1.0, lambda now: 2.0 if now > 9 else 1.0], ids=["steady", "slower"])
def test_the_waves_end_when_the_budget_ends(judging, speed):
    machine = Machine(0.003, judging, speed)
    pace = Pace(20, clock=machine.clock)
    made = machine.train(pace, n_judged=10_000)
    assert pace.is_cut
    assert 19 - judging < machine.now - 100 < 20.1 - judging  # the rest is for the last judging
    assert max(made) == pytest.approx(1, abs=0.01)
    assert made[-1] < 0.05
    rises = np.flatnonzero((np.diff(made) > 0)[1:] & (np.diff(made) < 0)[:-1])
    assert len(rises) == 3  # four waves


def test_the_waves_of_a_training_with_enough_time_are_those_without_a_budget():
    machine = Machine(0.001)
    pace = Pace(60, clock=machine.clock)
    made = machine.train(pace)
    assert not pace.is_cut
    np.testing.assert_allclose(made, LogarithmicCosine(1.0, 50 * 400)(np.arange(50 * 400)), atol=1e-9)


@pytest.mark.parametrize(("seconds", "wanted"), [(100, 100 / 3), (7, 7), (13, 13 / 2)])
def test_a_round_of_networks_gets_its_share_only_if_each_can_see_enough_rows(seconds, wanted):
    machine = Machine(6 / (USEFUL_ROWS // 256))  # six seconds for the least useful training
    machine.train(Pace(seconds, n_rounds=3, clock=machine.clock), epochs=1000)
    assert machine.now - 100 == pytest.approx(wanted, abs=0.4)


def test_a_network_that_may_be_left_out_ends_without_a_judging_if_its_time_is_too_short():
    machine = Machine(6 / (USEFUL_ROWS // 256))
    for seconds in (0.1, 2):
        began = machine.now
        with pytest.raises(EndedError):
            machine.train(Pace(seconds, least=0.5, clock=machine.clock))
        assert machine.now - began < 0.5
    assert machine.train(Pace(4, least=0.5, clock=machine.clock))


def test_the_first_network_makes_some_steps_if_the_budget_ended_before_it_began():
    machine = Machine(0.02)  # the first slice takes 0.6 seconds
    pace = Pace(-1.0, clock=machine.clock)
    assert len(machine.train(pace)) == 30
    assert pace.is_cut


def test_the_end_by_the_user_leaves_no_network_without_a_judged_epoch_but_the_first_one():
    first, second = Pace(is_ended=lambda: True), Pace(least=0.5, is_ended=lambda: True)
    assert not first.is_late(0)
    assert first.is_late(1)
    with pytest.raises(EndedError):
        second.is_late(0)
    first.timed(lambda: time.sleep(0.001) or 0.0)
    with pytest.raises(EndedError):
        first.is_late(2)


# --- whole fits ---------------------------------------------------------------------------------------------------


def large_table(n=60_000):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 19))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * rng.standard_normal(n)


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_a_budget_bounds_the_whole_fit_and_a_notice_says_what_is_left_out(kind):
    X, y = large_table()
    y = y if kind is TabularRegressor else (y > 0).astype(int)
    kind(n_estimators=2, epochs=1).fit(X[:500], y[:500])  # loads the compiled code
    for _ in range(3):  # other processes may take the machine for some seconds
        began = time.monotonic()
        model = kind(time_budget=3.0, epochs=256).fit(X, y)
        seconds = time.monotonic() - began
        networks = len(model.model_.networks)
        assert networks < 6
        (notice,) = model.notices_
        assert notice.startswith(f"{networks} of 6 networks w")
        assert notice.endswith(" of 256 epochs: time_budget=3")
        if seconds < 5 and model.score(X, y) > 0.5:
            break
    assert 1.5 < seconds < 5  # two seconds more than the budget at most
    assert model.score(X, y) > 0.5


def test_a_budget_that_is_long_enough_leaves_nothing_out():
    X, y = large_table(300)
    options = {"n_estimators": 3, "epochs": 4, "hidden_layer_sizes": (8,), "random_state": 0}
    free, bounded = (TabularRegressor(**options, time_budget=budget).fit(X, y) for budget in (None, 60.0))
    assert bounded.notices_ == free.notices_ == ()
    assert [network["epochs"] for network in bounded.model_.about["networks"]] == [4, 4, 4]


def test_a_budget_that_the_encoding_has_spent_makes_one_network_of_a_few_steps():
    X, y = large_table(20_000)
    model = TabularRegressor(time_budget=1e-3, hidden_layer_sizes=(8,)).fit(X, y)
    assert len(model.model_.networks) == 1
    (notice,) = model.notices_
    assert notice.startswith("1 of 6 networks was trained, for 0.")


# --- networks and epochs by the number of rows ------------------------------------------------------------------


def test_large_tables_are_trained_for_fewer_epochs():
    epochs = [epochs_for(n) for n in (2, 20_000, 20_001, 50_000, 100_000, 10**6, 10**8)]
    assert epochs[:3] == [256, 256, 256]
    assert epochs == sorted(epochs, reverse=True)
    assert len(set(epochs[2:6])) == 4
    assert epochs[-1] == epochs_for(10**9) >= 1
    assert recipe_for(Settings(), Quantity("y", 0.0, 1.0, -9.0, 9.0), 100_000).epochs == epochs[4]


def test_few_rows_with_few_classes_have_narrow_networks():
    number, nine, ten = Quantity("y", 0.0, 1.0, -9.0, 9.0), *(Classes("y", tuple(range(n))) for n in (9, 10))
    narrow, wide = (128,) * 3, (256,) * 3
    wanted = {(number, 20_000): narrow, (nine, 2): narrow, (ten, 2): wide, (number, 20_001): wide, (nine, 10**6): wide}
    for (target, n), widths in wanted.items():
        assert recipe_for(Settings(), target, n).hidden_layer_sizes == widths
        assert recipe_for(Settings(hidden_layer_sizes=(7,)), target, n).hidden_layer_sizes == (7,)
        assert recipe_for(Settings(hidden_layer_sizes=()), target, n).hidden_layer_sizes == ()


def activations_of(model):
    return [network.activation for network in model.model_.networks]


def test_pairs_of_networks_take_the_activations_in_turn(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "better_of", lambda pair, _: pair)
    X, y = large_table(200)
    model = TabularRegressor(hidden_layer_sizes=(4, 3), epochs=2).fit(X, y)
    assert activations_of(model) == ["relu", "relu", "mish", "mish", "relu", "relu"]
    model.save(tmp_path / "model")
    again = TabularRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert activations_of(again) == activations_of(model)
    assert activations_of(TabularRegressor(n_estimators=1, epochs=1).fit(X, y)) == ["relu"]


def test_the_number_of_epochs_can_be_given_and_is_kept_by_the_model():
    X, y = large_table(200)
    options = {"n_estimators": 1, "hidden_layer_sizes": (4,), "patience": None}
    for epochs, wanted in ((None, 256), (3, 3)):
        model = TabularRegressor(**options, epochs=epochs).fit(X, y)
        assert model.epochs == epochs
        assert model.model_.about["settings"]["epochs"] == len(model.model_.about["networks"]) * wanted
        assert model.model_.about["networks"][0]["epochs"] == wanted


@pytest.fixture
def large_rows(monkeypatch):
    """Treat tables of more than 100 rows as large."""
    for module in (settings, build):
        monkeypatch.setattr(module, "LARGE_ROWS", 100)


@dataclass(frozen=True)
class Planned(Quantity):
    """Judges the epochs of a network by given errors."""

    errors: Iterator[int] = field(default_factory=lambda: iter(()))

    def validation_errors(self, *_):
        return [float(next(self.errors))] * 3


def test_the_best_number_of_epochs_is_unknown_if_the_budget_ended_a_network_at_its_best():
    def member(epoch, n_epochs, *, is_cut):
        errors = [0.0] * n_epochs
        trained = Trained(None, epoch, np.zeros(0), errors, errors, None, np.zeros(0), is_cut=is_cut)
        return Member(trained, np.zeros(0, int), True)

    whole, past_its_best, at_its_best = (
        member(3, 9, is_cut=False),
        member(2, 4, is_cut=True),
        member(4, 4, is_cut=True),
    )
    assert build._best_epochs([whole, past_its_best]) == 3
    assert build._best_epochs([whole, at_its_best]) is None


@pytest.mark.usefixtures("large_rows")
@pytest.mark.parametrize(("best", "n_networks"), [(1, 6), (7, 6), (8, 5), (11, 4), (15, 4)])
def test_later_networks_of_a_large_table_take_the_best_number_of_epochs_of_the_first_ones(
    monkeypatch, best, n_networks
):
    errors = defaultdict(lambda: iter([*range(best, 0, -1), *[best + 1] * 99]))
    train_task = recipe.train_task

    def judged_by_plan(workload, task, *watch_and_pace):
        target = Planned(**vars(workload.target), errors=errors[task.network])
        return train_task(replace(workload, target=target), task, *watch_and_pace)

    monkeypatch.setattr(pool, "train_task", judged_by_plan)
    X, y = large_table(500)
    model = TabularRegressor(hidden_layer_sizes=(4,), batch_size=32, n_jobs=1).fit(X, y)
    assert activations_of(model) == ["relu"] * n_networks
    assert model.model_.about["settings"]["epochs"] == epochs_for(500) == 15
    epochs = [network["epochs"] for network in model.model_.about["networks"]]
    assert len(epochs) == n_networks
    n_first = epochs.count(15) if best < 15 else 2
    assert 1 <= n_first <= 2
    assert epochs[n_first:] == [best] * (n_networks - n_first)


@pytest.mark.usefixtures("large_rows")
def test_numbers_of_networks_and_epochs_that_are_given_are_kept():
    X, y = large_table(500)
    y = np.random.default_rng(1).permutation(y)  # more epochs only overfit
    options = {"hidden_layer_sizes": (4,), "batch_size": 32}
    model = TabularRegressor(**options, epochs=7).fit(X, y)
    assert [network["epochs"] for network in model.model_.about["networks"]] == [7] * 6
    assert len(TabularRegressor(**options, n_estimators=8).fit(X, y).model_.networks) == 8

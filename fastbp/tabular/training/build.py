"""A model made from a table: what is held out from which network, what inputs it sees, and what the answers are worth.

It knows every part of a model and how to train one. It must not know files, the terminal, or whose frame it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastbp import checks, losses
from fastbp.kernels.rows import Table
from fastbp.runs.fitting import DivergenceError
from fastbp.tabular import metrics
from fastbp.tabular.encoding.cells import Cells, Floats, Frame
from fastbp.tabular.encoding.inputs import Encoding, learn_encoding, suggestion
from fastbp.tabular.encoding.target import Classes, Target, known_target
from fastbp.tabular.model import MOST_RESIDUALS, TableModel, mixed
from fastbp.tabular.settings import CLASS_METRICS, DROPOUT, LEARNING_RATE, NUMBER_METRICS, Settings
from fastbp.tabular.training.pool import Progress, folds, train_all
from fastbp.tabular.training.recipe import Recipe, Task, Trained, table_of

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

_PLAINLY = 2.0  # standard errors by which one network must be better than another for the others to follow it


class Rows(NamedTuple):
    """Encoded rows."""

    X: Array  # (n, D_0)
    y: Array  # (n,): class numbers or standardised values
    weights: Floats  # (n,)


@dataclass(frozen=True)
class Member:
    """One network of a model.

    Attributes
    ----------
    trained : Trained
    held_out : (m,) integers
        The rows that its output is for.
    sees_bins : bool
        Whether its inputs have the bins of numbers among them.
    """

    trained: Trained
    held_out: Integers
    sees_bins: bool


@dataclass(frozen=True)
class Built:
    """A model, and what was seen while it was made.

    Attributes
    ----------
    model : TableModel
    members : list of Member
        As the model's networks.
    rows : (m,) integers
        The rows that some network had not seen: of those to train on, or of `eval_set`.
    answers : (m, C) or (m,)
        The probabilities or values that such networks gave them.
    truth : (m,)
        Their class numbers or values.
    outside : Rows
        What `rows` and the members' `held_out` are numbers of.
    notices : tuple of str
    is_interrupted : bool
    """

    model: TableModel
    members: list[Member]
    rows: Integers
    answers: Floats
    truth: Array
    outside: Rows
    notices: tuple[str, ...]
    is_interrupted: bool


def build(
    frame: Frame,
    column: Cells,
    target: Target,
    settings: Settings,
    weights: Floats | None = None,
    groups: Array | None = None,
    eval_set: tuple[Frame, Cells] | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Built:
    """Train networks on a frame.

    The first two see the same rows, one with the bins of numbers among its inputs and one without. If one of them is
    plainly better on the rows held out, the other is dropped and the rest are as the better one; else both kinds go on
    in turn.

    Parameters
    ----------
    frame : Frame
        The columns to learn from.
    column : Cells
        The target, without a gap.
    target : Classes or Quantity
    settings : Settings
    weights : (n,), optional
        Only how they compare matters; a row of weight 0 is as if it were not there.
    groups : (n,), optional
        Rows of a group are held out together.
    eval_set : (frame, column), optional
        Rows to hold out from every network, instead of some of the others.
    progress : callable, optional
        Called in this thread after each epoch of each network.

    Raises
    ------
    ValueError
        If no column is of use, or an argument does not fit the others.
    DivergenceError
        If all networks left the finite numbers.
    """
    started = time.monotonic()
    if weights is not None:
        frame, column, target, weights, groups = _weighty(frame, column, target, weights, groups)
    encoding, notices = learn_encoding(frame)
    n, settings = len(column), resolved(settings, target)
    rows = Rows(encoding.encode(frame), target.encode(column), np.ones(n) if weights is None else weights)
    has_choice = settings.n_ensemble > 1 and not encoding.plain.all()
    if eval_set is None:
        classes = rows.y if isinstance(target, Classes) else None
        outside, count = rows, settings.n_ensemble
        held_out = folds(n, count - has_choice, count, settings.seed, classes, groups)
    else:
        y = target.encode(eval_set[1])
        outside = Rows(encoding.encode(eval_set[0]), y, np.ones(len(y)))
        held_out = [np.arange(len(y))] * settings.n_ensemble
    trainer = _Trainer(rows, outside, target, encoding, settings, progress, started)
    members = trainer.train([(held_out[0], True), (held_out[0], False)][: 1 + has_choice])
    kinds = [True]
    if len(members) == 2:
        members, kinds = _chosen(members, trainer)
    left = range(1, 1 + settings.n_ensemble - len(members))
    members += trainer.train([(held_out[k], kinds[k % len(kinds)]) for k in left])
    return _finished(members, trainer, (*notices, *trainer.notices))


def _weighty(
    frame: Frame, column: Cells, target: Target, weights: Floats, groups: Array | None
) -> tuple[Frame, Cells, Target, Floats, Array | None]:
    """Return the rows whose weight is not 0, with weights of mean 1."""
    counts = weights > 0
    if counts.sum() < 2:
        raise ValueError(f"sample_weight is 0 for all but {counts.sum()} of the rows; two rows at least must count")
    if not counts.all():
        frame, column = frame.take(counts), column.take(counts)
        target = target if isinstance(target, Classes) else target.learn(column)
        groups = None if groups is None else groups[counts]
    weights = weights[counts] / weights.max()
    return frame, column, target, weights / weights.mean(), groups


def evaluate(model: TableModel, frame: Frame, name: str) -> tuple[list[dict[str, Any]], int, list[str]]:
    """Return a model's scores on a frame, the number of its rows with an answer, and what is to be said of it.

    Raises
    ------
    ValueError
        If the column `name`, which holds the answers, or one that the model needs is missing or of another kind.
    """
    if name not in frame.names:
        raise ValueError(f"the table has no column {name!r}{suggestion(name, frame.names)}")
    column = known_target(frame[name]).renamed(model.target.name)
    known = ~column.missing
    if not known.any():
        raise ValueError(f"the target {name!r} is missing in every row")
    n = column.n_missing
    notices = [f"{n} row{'s' * (n > 1)} without an answer left out"] if n else []
    rows, column = frame.take(known), column.take(known)
    weights = np.ones(len(column))
    if isinstance(model.target, Classes):
        scores = metrics.scores_of_classes(model.probabilities(rows), model.target.encode(column), weights)
    else:
        settings = model.about["settings"]
        quantile = settings["quantile"] if settings["metric"] == "quantile" else None
        scores = metrics.scores_of_numbers(model.values(rows), model.target.numbers(column), weights, quantile)
    return scores, len(column), notices


def resolved(settings: Settings, target: Target) -> Settings:
    """Return settings with what suits the target where nothing was asked for.

    Raises
    ------
    ValueError
        If the metric is for another kind of target.
    """
    known = CLASS_METRICS if isinstance(target, Classes) else NUMBER_METRICS
    metric = settings.metric or known[0]
    if metric not in known:
        raise ValueError(f"the metric of {target.task} must be one of {', '.join(known)}, not {metric}")
    for i, width in enumerate(settings.hidden):
        checks.whole_number(f"hidden[{i}]", width, 1)
    checks.layer_sizes([1, *settings.hidden, target.n_outputs])
    rate = LEARNING_RATE[target.task] if settings.learning_rate is None else settings.learning_rate
    dropout = DROPOUT[target.task] if settings.dropout is None else settings.dropout
    return replace(settings, metric=metric, learning_rate=rate, dropout=dropout)


class _Trainer:
    """Trains networks for one table until time or patience is over."""

    def __init__(
        self,
        rows: Rows,
        outside: Rows,
        target: Target,
        encoding: Encoding,
        settings: Settings,
        progress: Callable[[Progress], object] | None,
        started: float,
    ) -> None:
        self.rows, self.outside, self.target, self.encoding, self.settings = rows, outside, target, encoding, settings
        self.is_interrupted = False
        self.notices: list[str] = []
        self._progress = progress
        self._n_begun = 0
        self._tables: dict[bool, Table] = {}
        budget = settings.time_budget
        self._deadline = np.inf if budget is None else started + budget
        self._seeds = np.random.SeedSequence(settings.seed)
        if isinstance(target, Classes):
            self._loss, self._error = losses.resolve("cross_entropy"), metrics.error_of_classes(str(settings.metric))
        else:
            quantile = settings.quantile
            names = {"rmse": "squared_error", "mae": "absolute_error"}
            name = names.get(str(settings.metric))
            self._loss = losses.resolve(name) if name else losses.quantile(quantile)
            self._error = metrics.error_of_numbers(str(settings.metric), quantile)

    def train(self, wanted: Sequence[tuple[Integers, bool]]) -> list[Member]:
        """Train a network for each pair of rows to hold out and whether it sees bins, as far as there is time."""
        left = self._deadline - time.monotonic()
        if not wanted or self.is_interrupted or (self._n_begun and left <= 0):
            return []
        tasks = [self._task(held_out, sees_bins) for held_out, sees_bins in wanted]
        first, self._n_begun = self._n_begun, self._n_begun + len(tasks)

        def told(event: Progress) -> None:
            if self._progress is not None:
                self._progress(event._replace(network=first + event.network))

        s = self.settings
        assert s.learning_rate is not None
        assert s.dropout is not None
        recipe = Recipe(s.learning_rate, s.hidden, s.epochs, s.batch_size, s.dropout, s.patience)
        budget = None if np.isinf(left) else left
        try:
            done = train_all(tasks, self.target.n_outputs, recipe, self._loss, s.n_threads, budget, told)
        except DivergenceError:
            if first == 0:
                raise
            self.notices.append(f"{len(tasks)} networks left the finite numbers in their first epoch, and are dropped")
            return []
        self.is_interrupted = done.is_interrupted
        return [Member(trained, *wanted[k]) for trained, k in zip(done.trained, done.tasks, strict=True)]

    def _task(self, held_out: Integers, sees_bins: bool) -> Task:
        view = slice(None) if sees_bins else self.encoding.plain
        if sees_bins not in self._tables:
            is_numbers = not isinstance(self.target, Classes)
            smoothing = self.settings.label_smoothing
            y = self.rows.y[:, np.newaxis] if is_numbers else smoothed(self.rows.y, self.target.n_outputs, smoothing)
            self._tables[sees_bins] = table_of(self.rows.X[:, view], y, self.rows.weights)
        training = np.arange(len(self.rows.y))
        if self.outside is self.rows:
            training = np.delete(training, held_out)
        truth, weights = self.outside.y[held_out], self.outside.weights[held_out]

        def error_of(output: Array) -> float:
            return self._error(output if isinstance(self.target, Classes) else output[:, 0], truth, weights)

        (seed,) = self._seeds.spawn(1)[0].generate_state(1)
        X = np.ascontiguousarray(self.outside.X[held_out][:, view])
        return Task(self._tables[sees_bins], training, X, error_of, int(seed))


def smoothed(classes: Array, n_classes: int, share: float) -> Floats:
    """Return 1 for each row's class and 0 for the others, (n, C), with a share of the 1 spread over all C alike.

    Szegedy et al. (2016), "Rethinking the inception architecture for computer vision", CVPR, section 7.
    """
    return np.asarray((1 - share) * np.eye(n_classes)[classes] + share / n_classes)


def _chosen(pair: list[Member], trainer: _Trainer) -> tuple[list[Member], list[bool]]:
    """Return which of two networks to keep, and whether those after them see bins, in turn."""
    held_out = pair[0].held_out
    truth, weights = trainer.outside.y[held_out], trainer.outside.weights[held_out]
    if isinstance(trainer.target, Classes):
        of_each = [metrics.refined_log_losses(member.trained.output, truth, weights) for member in pair]
    else:
        of_each = [np.abs(member.trained.output[:, 0] - truth) for member in pair]
        of_each = [errors**2 if trainer.settings.metric == "rmse" else errors for errors in of_each]
    difference = of_each[1] - of_each[0]
    noise = difference.std() / np.sqrt(len(difference))
    if abs(difference.mean()) <= _PLAINLY * noise:
        return pair, [True, False]
    better = pair[0] if difference.mean() > 0 else pair[1]
    return [better], [better.sees_bins]


def _finished(members: list[Member], trainer: _Trainer, notices: tuple[str, ...]) -> Built:
    """Return the model of these networks, with what they are worth on rows that they did not see."""
    target, outside, n = trainer.target, trainer.outside, len(trainer.rows.y)
    temperature, residuals = 1.0, np.zeros(0)
    if isinstance(target, Classes):
        outputs = np.concatenate([member.trained.output for member in members])
        seen = np.concatenate([member.held_out for member in members])
        temperature = metrics.temperature(outputs, outside.y[seen], outside.weights[seen])
    total = np.zeros((len(outside.y), target.n_outputs))
    count = np.zeros(len(outside.y))
    for member in members:
        output = member.trained.output
        if isinstance(target, Classes):
            total[member.held_out] += metrics.softmax(output / temperature)
        else:
            total[member.held_out] += target.values(output)
        count[member.held_out] += 1
    (rows,) = np.nonzero(count)
    answers = total[rows] / count[rows, np.newaxis]
    truth = outside.y[rows]
    if isinstance(target, Classes):
        answers = mixed(answers, n)
        scores = metrics.scores_of_classes(answers, truth, outside.weights[rows])
    else:
        answers, truth = answers[:, 0], truth * target.spread + target.mean
        residuals = np.sort(np.abs(answers - truth))
        if len(residuals) > MOST_RESIDUALS:
            residuals = residuals[np.linspace(0, len(residuals) - 1, MOST_RESIDUALS).round().astype(int)]
        quantile = trainer.settings.quantile if trainer.settings.metric == "quantile" else None
        scores = metrics.scores_of_numbers(answers, truth, outside.weights[rows], quantile)
    diverged = [member.trained.divergence for member in members if member.trained.divergence is not None]
    if diverged:
        rate = f"{trainer.settings.learning_rate:g}"
        told = f"{len(diverged)} of {len(members)} networks left the finite numbers, at learning rate {rate}"
        notices = (*notices, told)
    about = {
        "settings": {**asdict(trainer.settings), "hidden": list(trainer.settings.hidden)},
        "scores": scores,
        "rows_held_out": len(rows),
        "notices": list(notices),
        "networks": [
            {"sees_bins": m.sees_bins, "epoch": m.trained.epoch, "epochs": len(m.trained.errors)} for m in members
        ],
    }
    networks = tuple(member.trained.network for member in members)
    model = TableModel(networks, trainer.encoding, target, n, temperature, residuals, about)
    return Built(model, members, rows, answers, truth, outside, notices, trainer.is_interrupted)

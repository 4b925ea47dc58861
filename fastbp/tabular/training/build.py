"""A model made from a table: the rows held out from each network, the inputs it sees, and the end of the training.

It knows every part of a model and how networks are trained. It must not know files, the terminal or other libraries'
frames.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import Floats
from fastbp.losses import Loss
from fastbp.results import DivergenceError, Progress
from fastbp.tabular import own_loss
from fastbp.tabular.encoding.cells import Cells, Frame
from fastbp.tabular.encoding.inputs import Encoding, learn_encoding
from fastbp.tabular.encoding.target import Quantity, Target
from fastbp.tabular.settings import (
    LARGE_ROWS,
    LEAST_ESTIMATORS,
    Settings,
    activation_for,
    hidden_layer_sizes_for,
)
from fastbp.tabular.training.engines import Engine
from fastbp.tabular.training.folds import folds, subfolds
from fastbp.tabular.training.judging import better_of, finished
from fastbp.tabular.training.parts import (
    FEW_ROWS,
    Built,
    EncodedRows,
    Member,
    Recipe,
    Task,
    TrainingData,
    Workload,
    spread_over,
)
from fastbp.tabular.training.pool import train_all
from fastbp.tabular.training.progress import TrainingProgress
from fastbp.tabular.training.recipe import check_loss

_FINISHING_SECONDS = 0.1  # of a small table
_FINISHING_SECONDS_OF_NUMBER = 2e-6  # more seconds for each output of a scored row


def build(
    data: TrainingData,
    settings: Settings,
    callback: Callable[[Progress], object] | None = None,
    executor: Engine | None = None,
    started: float | None = None,
    progress: TrainingProgress | None = None,
) -> Built:
    """Train networks on a table and make a model of them.

    The first two networks see the same rows, one with the bins of numbers among its inputs and one without. If one of
    them is clearly better on the held-out rows, the other one is dropped and all further networks are of its kind.
    Otherwise the two kinds alternate.

    Parameters
    ----------
    data : TrainingData
    settings : Settings
        None stands for the default of the task.
    callback : callable, optional
        Called in this thread with a `Progress` after each epoch of each network. If it returns True, the training
        ends as after Ctrl-C, but the model does not count as interrupted.
    executor : concurrent.futures.Executor or JoblibEngine, optional
        Trains the networks in place of threads; see `pool.train_all`.
    started : float, optional
        Time of `time.monotonic` at which the time budget begins. Default: now.
    progress : TrainingProgress, optional
        Is told what happens.

    Returns
    -------
    Built

    Raises
    ------
    ValueError
        If a setting is out of range, no column can be learned from, or the validation data do not fit the table.
    DivergenceError
        If every network diverged.
    """
    started = time.monotonic() if started is None else started
    deadline = started + (math.inf if settings.time_budget is None else settings.time_budget)
    data = drop_zero_weights(data)
    recipe = recipe_for(settings, data.target, len(data.frame))
    is_shortened = settings.epochs is None and len(data.frame) > LARGE_ROWS
    n_networks = settings.most_estimators
    if isinstance(recipe.metric, Loss) and recipe.metric.is_custom and isinstance(target := data.target, Quantity):
        mean, std = own_loss.exact_units(target.mean, target.std)
        data = replace(data, target=replace(target, mean=mean, std=std))
    encoding, notices = learn_encoding(data.frame)
    has_choice = n_networks > 1 and not encoding.is_not_bin.all()
    workload = _workload(data, encoding, recipe, n_networks, has_choice, settings.seed)
    check_loss(workload)
    progress = progress or TrainingProgress(settings, len(data.frame), recipe.metric)
    progress.say("preparing the compiled code")
    trainer = _Trainer(workload, settings, deadline - _finishing_seconds(workload), callback, executor, progress)
    members = trainer.train([(0, True), (0, False)][: 1 + has_choice], n_later=n_networks - 1)
    if trainer.scores_few_rows:
        members = [member.with_few_rows() for member in members]
    if len(members) == 2:
        members = better_of(members, workload)
    kinds = [member.sees_bins for member in members]
    epochs = _best_epochs(members) if is_shortened else None
    if epochs is not None and settings.n_estimators is None:  # all networks take at most 4 times the recipe's epochs
        n_networks = min(n_networks, 2 + (LEAST_ESTIMATORS - 2) * recipe.epochs // epochs)
    left = range(1, 1 + n_networks - len(members))
    members += trainer.train([(fold, kinds[fold % len(kinds)]) for fold in left], epochs=epochs)
    kept = {**asdict(settings), **asdict(recipe), "n_estimators": n_networks}
    kept["hidden_layer_sizes"] = list(recipe.hidden_layer_sizes)
    kept["metric"] = recipe.metric.describe() if isinstance(recipe.metric, Loss) else recipe.metric
    if trainer.scores_few_rows:
        members = [member.with_few_rows() for member in members]
        trainer.notices += _few_rows_notices(workload)
    notices = [*notices, *trainer.notices, *_cut_notices(members, n_networks, recipe.epochs, settings.time_budget)]
    return finished(members, workload, encoding, kept, notices, trainer.is_interrupted)


def _best_epochs(members: Sequence[Member]) -> int | None:
    """Return the number of epochs after which the last network was at its best, or None if time ended one before."""
    trained = [member.trained for member in members]
    if any(network.is_cut and network.epoch == len(network.errors) for network in trained):
        return None
    return max(network.epoch for network in trained)


def _finishing_seconds(workload: Workload) -> float:
    """Return an estimate of the seconds from the end of the last network to the saved model, for a time budget."""
    n_numbers = len(workload.scored_rows.y) * workload.target.n_outputs
    return _FINISHING_SECONDS + _FINISHING_SECONDS_OF_NUMBER * n_numbers


def _cut_notices(members: Sequence[Member], n_networks: int, epochs: int, time_budget: float | None) -> list[str]:
    """Return a sentence on what the time budget left out, if it left anything out."""
    passes = [member.trained.passes for member in members]
    is_cut = any(member.trained.is_cut for member in members)
    if time_budget is None or not (is_cut or len(members) < n_networks):
        return []
    least, most = f"{min(passes):.3g}", f"{max(passes):.3g}"
    passed = least if least == most else f"{least} to {most}"
    each = "each for " if len(members) > 1 else "for "
    verb = "was" if len(members) == 1 else "were"
    return [
        f"{len(members)} of {n_networks} networks {verb} trained, {each}{passed} of {epochs} epochs: "
        f"time_budget={time_budget:g}"
    ]


def _few_rows_notices(workload: Workload) -> list[str]:
    """Return a sentence on the held-out rows that are not scored after Ctrl-C, if there are any."""
    if all(len(fold) <= FEW_ROWS for fold in workload.folds):
        return []
    return [f"the training was interrupted: only {FEW_ROWS:,} held-out rows of each network are scored"]


def recipe_for(settings: Settings, target: Target, n_rows: int) -> Recipe:
    """Return how each network is trained: the settings, with the default for the target and the rows for each None.

    Raises
    ------
    TypeError, ValueError
        If the metric is for another kind of target, or a width is not a whole number of at least 1.
    """
    metric = settings.metric or target.default_metric
    if not isinstance(metric, Loss) and metric not in target.metric_names:
        raise ValueError(f"the metric of {target.task} must be one of {', '.join(target.metric_names)}, not {metric}")
    widths = settings.hidden_layer_sizes
    widths = hidden_layer_sizes_for(n_rows, target.n_outputs) if widths is None else widths
    for i, width in enumerate(widths):
        checks.whole_number(f"hidden_layer_sizes[{i}]", width, 1)
    checks.layer_sizes([1, *widths, target.n_outputs])
    rate, dropout = settings.learning_rate, settings.dropout
    return Recipe(
        metric=metric,
        quantile=settings.quantile,
        hidden_layer_sizes=widths,
        epochs=settings.most_epochs(n_rows),
        batch_size=settings.batch_size,
        learning_rate=target.default_learning_rate if rate is None else rate,
        dropout=target.default_dropout if dropout is None else dropout,
        label_smoothing=settings.label_smoothing,
        patience=settings.patience,
    )


def drop_zero_weights(data: TrainingData) -> TrainingData:
    """Return the data without rows of weight 0. The remaining weights have the mean 1.

    The validation rows are treated in the same way.

    Raises
    ------
    ValueError
        If fewer than two training rows, or no validation row, have a weight above 0.
    """
    if data.weights is not None:
        counts, weights = _positive_weights(data.weights, "sample_weight", 2)
        data = replace(data, weights=weights)
        if not counts.all():
            column = data.column.take(counts)
            groups = None if data.groups is None else data.groups[counts]
            target = data.target.learn_again(column)
            data = replace(data, frame=data.frame.take(counts), column=column, target=target, groups=groups)
    if data.validation is not None and (given := data.validation[2]) is not None:
        frame, column, _ = data.validation
        counts, weights = _positive_weights(given, "the sample_weight of validation_data", 1)
        data = replace(data, validation=(frame.take(counts), column.take(counts), weights))
    return data


def _positive_weights(weights: Floats, name: str, least: int) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return which rows have a weight above 0, (n,), and the weights of these rows, of mean 1."""
    counts = weights > 0
    if counts.sum() < least:
        wanted = "two rows" if least == 2 else "one row"
        raise ValueError(
            f"{name} is 0 for all but {counts.sum()} of the rows; at least {wanted} must have a positive weight"
        )
    positive = weights[counts] / weights.max()  # so that their sum is finite
    return counts, positive / positive.mean()


def _workload(
    data: TrainingData, encoding: Encoding, recipe: Recipe, n_networks: int, has_choice: bool, seed: int
) -> Workload:
    """Return the encoded rows and the folds."""
    rows = _encoded(data.frame, data.column, data.weights, encoding, data.target)
    if data.validation is None:
        validation, groups, strata = None, data.groups, data.target.strata(rows.y)
        held_out = folds(len(rows.y), n_networks - has_choice, n_networks, seed, strata, groups)
    else:
        validation = _encoded(*data.validation, encoding, data.target)
        groups, strata = None, data.target.strata(validation.y)
        held_out = [np.arange(len(validation.y))] * n_networks
    n_scored = len((rows if validation is None else validation).y)
    subfold_of = subfolds(held_out, n_scored, seed, strata, groups)
    return Workload(rows, validation, tuple(held_out), subfold_of, data.target, recipe)


def _encoded(frame: Frame, column: Cells, weights: Floats | None, encoding: Encoding, target: Target) -> EncodedRows:
    y = target.encode(column)
    return EncodedRows(encoding.code(frame), y, np.ones(len(y)) if weights is None else weights)


class _Trainer:
    """Trains networks for one workload in several waves, until the time budget or the user ends the training."""

    def __init__(
        self,
        workload: Workload,
        settings: Settings,
        deadline: float,
        callback: Callable[[Progress], object] | None,
        executor: Engine | None,
        progress: TrainingProgress,
    ) -> None:
        self.is_interrupted = False
        self.scores_few_rows = False  # after Ctrl-C, which is to be answered soon
        self.notices: list[str] = []
        self._workload, self._settings, self._deadline = workload, settings, deadline
        self._callback, self._executor, self._progress = callback, executor, progress
        self._is_ended = False
        self._n_begun = 0

    def train(self, wanted: Sequence[tuple[int, bool]], n_later: int = 0, epochs: int | None = None) -> list[Member]:
        """Train a network for each pair of a fold and whether the network sees bins, if there is time left.

        A time budget keeps some time for `n_later` further networks. `epochs` replaces the recipe's number of epochs.
        """
        left, first = self._deadline - time.monotonic(), self._n_begun
        if not wanted or self._is_ended or (first and left <= 0):
            return []
        tasks = [
            Task(
                network,
                fold,
                sees_bins,
                _seed_of_network(network, self._settings.seed),
                epochs,
                activation_for(network, len(self._workload.rows.y)),
            )
            for network, (fold, sees_bins) in enumerate(wanted, first)
        ]
        self._n_begun += len(tasks)
        try:
            ensemble = train_all(
                self._workload,
                tasks,
                n_threads=self._settings.n_threads,
                time_budget=None if math.isinf(left) else left,
                n_later=n_later,
                callback=self._report,
                executor=self._executor,
                count_rows=self._progress.count_rows,
            )
        except DivergenceError:
            if first == 0:
                raise
            self.notices.append("all further networks diverged, and are dropped")
            return []
        except KeyboardInterrupt:  # while threads start, or a second time: the networks so far are a model
            if first == 0:
                raise
            self._is_ended = self.is_interrupted = self.scores_few_rows = True
            return []
        if n := ensemble.n_diverged:
            who = "1 network diverged in its" if n == 1 else f"{n} networks diverged in their"
            self.notices.append(f"{who} first epoch, and {'is' if n == 1 else 'are'} dropped")
        self._is_ended, self.is_interrupted = ensemble.is_ended, ensemble.is_interrupted
        if ensemble.lost_executor:
            self._executor = None
        folds_of = self._workload.folds
        members = [
            Member(trained, spread_over(folds_of[task.fold], len(trained.output)), task.sees_bins)
            for trained, task in zip(ensemble.trained, ensemble.tasks, strict=True)
        ]
        n_held_out = [len(folds_of[task.fold]) for task in ensemble.tasks]
        self.scores_few_rows = self.is_interrupted or [len(m.held_out) for m in members] != n_held_out
        return members

    def _report(self, report: Progress) -> object:
        """Pass a report on, and return what the callback returns."""
        self._progress(report)
        return None if self._callback is None else self._callback(report)


def _seed_of_network(network: int, seed: int) -> int:
    """Return the seed of one network, independent of the seeds of the other networks."""
    (state,) = np.random.SeedSequence(seed, spawn_key=(network,)).generate_state(1)
    return int(state)

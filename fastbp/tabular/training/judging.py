"""The comparison of two networks, the scores of a model on a table, and the finished model with its own scores.

It knows trained networks, targets and models. It must not know how a network is trained, files or the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp._typing import Array, Floats, Integers
from fastbp.tabular import own_loss
from fastbp.tabular.encoding.cells import Frame
from fastbp.tabular.encoding.inputs import Encoding, suggestion
from fastbp.tabular.encoding.target_cells import clean_target
from fastbp.tabular.metrics import Score
from fastbp.tabular.model import TableModel
from fastbp.tabular.training.parts import Built, Member, Workload

N_STANDARD_ERRORS = 2.0  # a network that is better by more than this decides the kind of all further networks


def evaluate(model: TableModel, frame: Frame, name: str) -> tuple[list[Score], int, list[str]]:
    """Return a model's scores on a table.

    Parameters
    ----------
    model : TableModel
    frame : Frame
        The columns of the training table, and the true values of the target.
    name : str
        Name of the column with the true values. Rows without a true value are left out.

    Returns
    -------
    scores : list of dict
        "metric", "value" and "baseline" (the score of the best constant prediction).
    n_rows : int
        Number of rows with a true value.
    notices : list of str
        What was left out, one sentence each.

    Raises
    ------
    ValueError
        If a column is missing, or holds another kind of cells than in training.
    """
    if name not in frame.names:
        raise ValueError(f"the table has no column {name!r}{suggestion(name, frame.names)}")
    column = clean_target(frame[name])
    known = ~column.missing
    if not known.any():
        raise ValueError(f"the target {name!r} is missing in every row")
    n = column.n_missing
    notices = [f"{n} row{'s are' if n > 1 else ' is'} left out: the target {name!r} is missing there"] if n else []
    rows, column = frame.take(known), column.take(known)
    settings, weights = model.about["settings"], np.ones(len(column))
    truth = model.target.truth_of_cells(column)
    metric = own_loss.metric_of(settings["metric"])
    scores = model.target.scores(model.answers(rows), truth, weights, metric, settings["quantile"])
    return scores, len(column), notices


def better_of(pair: Sequence[Member], workload: Workload) -> list[Member]:
    """Return the better one of two networks with the same held-out rows, or both if neither is clearly better.

    A network is clearly better if the weighted mean difference of the rows' errors is larger than `N_STANDARD_ERRORS`
    standard errors.
    """
    y, weights = workload.scored_rows.targets(pair[0].held_out)
    target, recipe = workload.target, workload.recipe
    first, second = (
        target.row_errors(member.trained.output, y, weights, recipe.metric, recipe.quantile) for member in pair
    )
    difference = weights * (second - first)
    standard_error = difference.std() / np.sqrt(len(difference))
    if abs(difference.mean()) <= N_STANDARD_ERRORS * standard_error:
        return list(pair)
    return [pair[0] if difference.mean() > 0 else pair[1]]


def finished(
    members: Sequence[Member],
    workload: Workload,
    encoding: Encoding,
    settings: dict[str, Any],
    notices: Sequence[str],
    is_interrupted: bool,
) -> Built:
    """Return the model of some networks, with its temperature, residuals and scores from their held-out rows.

    Parameters
    ----------
    members : sequence of Member
        At least one.
    workload : Workload
    encoding : Encoding
    settings : dict
        The settings that the model keeps. No None stands for a default.
    notices : sequence of str
    is_interrupted : bool
    """
    target, recipe = workload.target, workload.recipe
    n_rows = len(workload.rows.y)
    temperature, of_halves = _temperatures(members, workload)
    rows, mean_answers = _mean_answers(members, workload, of_halves)
    answers = target.combined(mean_answers, n_rows)
    del mean_answers  # a large array, which is not needed while the scores are computed
    y, weights = workload.scored_rows.targets(rows)
    truth = target.truth(y)
    notices = (*notices, *_divergence_notices(members, recipe.learning_rate))
    about = {
        "settings": settings,
        "scores": target.scores(answers, truth, weights, recipe.metric, recipe.quantile),
        "rows_held_out": len(rows),
        "notices": list(notices),
        "networks": [_facts(member) for member in members],
    }
    networks = tuple(member.trained.network for member in members)
    residuals = target.residuals(answers, truth)
    model = TableModel(networks, encoding, target, n_rows, temperature, residuals, about)
    return Built(
        model=model,
        members=list(members),
        scored_rows=workload.scored_rows,
        rows=rows,
        answers=answers,
        truth=truth,
        notices=notices,
        is_interrupted=is_interrupted,
    )


def _facts(member: Member) -> dict[str, Any]:
    """Return what a model keeps about the training of one of its networks, as JSON can hold it."""
    epoch, errors = member.trained.epoch, member.trained.errors
    error = float(errors[epoch - 1])
    known = error if np.isfinite(error) else None
    return {"sees_bins": member.sees_bins, "epoch": epoch, "epochs": len(errors), "error": known}


def _temperatures(members: Sequence[Member], workload: Workload) -> tuple[float, Floats]:
    """Return the temperature that fits the outputs of all networks, and those that fit each half of the rows.

    A half consists of the subfolds with even numbers, or of those with odd numbers.
    """
    rows = np.concatenate([member.held_out for member in members])
    output = np.concatenate([member.trained.output for member in members])
    y, weights = workload.scored_rows.targets(rows)

    def fitted(of: Array | slice) -> float:
        return workload.target.temperature(output[of], y[of], weights[of])

    half_of = workload.subfolds[rows] % 2
    return fitted(slice(None)), np.array([fitted(half_of == half) for half in (0, 1)])


def _mean_answers(members: Sequence[Member], workload: Workload, temperatures: Floats) -> tuple[Integers, Floats]:
    """Return the rows that a network did not see, (m,), and the mean answer of these networks for each row, (m, …).

    A row of one half has the temperature of the other half.
    """
    is_answered = np.zeros(len(workload.scored_rows.y), bool)
    for member in members:
        is_answered[member.held_out] = True
    (rows,) = np.nonzero(is_answered)
    one_row = workload.target.answers(members[0].trained.output[:1], 1.0)
    count, total = np.zeros(len(rows)), np.zeros((len(rows), *one_row.shape[1:]))
    for member in members:
        places = member.held_out if is_answered.all() else np.searchsorted(rows, member.held_out)
        half_of = workload.subfolds[member.held_out] % 2
        for half, temperature in enumerate(temperatures[::-1]):
            output = member.trained.scored_output[half_of == half]
            total[places[half_of == half]] += workload.target.answers(output, temperature)
        count[places] += 1
    total.T[...] /= count
    return rows, total


def _divergence_notices(members: Sequence[Member], learning_rate: float) -> list[str]:
    n = sum(member.trained.divergence is not None for member in members)
    if n == 0:
        return []
    return [f"{n} of {len(members)} networks diverged at learning rate {learning_rate:g}, after the best epoch"]

"""A table prepared for training: the target is separated from the other columns, and its task is inferred.

It knows frames of cells, targets and how their texts are read. It must not know files, encodings or how a network is
trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fastbp.tables.kinds import Reading, odd_cells
from fastbp.tables.notation import known_of, numbers_of
from fastbp.tabular.encoding.cells import Cells, Frame
from fastbp.tabular.encoding.columns import NumberColumn
from fastbp.tabular.encoding.inputs import suggestion
from fastbp.tabular.encoding.target import Classes, Quantity
from fastbp.tabular.encoding.target_cells import clean_target
from fastbp.tabular.training.parts import TrainingData

if TYPE_CHECKING:
    from fastbp.tabular.model import TableModel

MIN_ROWS = 5
MAX_WHOLE_CLASSES = 20  # more different whole numbers are a regression
MIN_ROWS_PER_CLASS = 3  # on average; two different whole numbers are always a classification


def prepare(frame: Frame, target: str, task: str | None = None, group: str | None = None) -> TrainingData:
    """Split a table into its target and the columns to learn from.

    Parameters
    ----------
    frame : Frame
    target : str
        Name of the column to predict. Rows without a target are left out.
    task : {"classification", "regression"}, optional
        Inferred from the target by default; see `infer_task`.
    group : str, optional
        Name of a column with groups. Rows of one group are held out together, and the column is not an input.

    Returns
    -------
    TrainingData

    Raises
    ------
    ValueError
        If a column does not exist, or the target cannot be learned. The message says why.
    """
    _check_columns(frame, target, group)
    column = clean_target(frame[target])
    known = ~column.missing
    n_known = len(column) - column.n_missing
    if n_known == 0:
        raise ValueError(f"the target {target!r} is missing in every row")
    if n_known < MIN_ROWS:
        rows = "row" if n_known == 1 else "rows"
        needed = f"at least {MIN_ROWS} are needed"
        raise ValueError(f"there is too little to learn from: {n_known} {rows} with a target, and {needed}")
    notices = []
    if n_missing := column.n_missing:
        rows = "1 row is" if n_missing == 1 else f"{n_missing} rows are"
        notices.append(f"{rows} left out: the target {target!r} is missing there")
    column = column.take(known)
    try:
        inferred, reason = infer_task(column, task)
    except ValueError as error:
        raise ValueError(f"{error}{_odd_cells(frame[target])}") from None
    return TrainingData(
        frame=frame.without(target, *([] if group is None else [group])).take(known),
        column=column,
        target=Classes.learn(column) if inferred == Classes.task else Quantity.learn(column),
        reason=reason,
        groups=None if group is None else frame[group].take(known).distinct()[1],
        notices=tuple(notices),
    )


def reading_of(model: TableModel, target: str | None = None) -> Reading:
    """Return how to read a table for a model: as its training table.

    Parameters
    ----------
    model : TableModel
    target : str, optional
        Name of the column with the true values, if the table has one.
    """
    stored = model.about.get("reading", {})
    numbers = {column.name for column in model.encoding.columns if isinstance(column, NumberColumn)}
    texts, odd = set(model.encoding.categories), dict(stored.get("odd", {}))
    if target is not None:
        if model.target.has_texts:
            texts.add(target)
        else:
            numbers.add(target)
        odd[target] = odd.get(model.target.name, [])
    return Reading(stored.get("decimal_mark"), odd, numbers, texts)


def _check_columns(frame: Frame, target: str, group: str | None) -> None:
    for name in (target, group):
        if name is not None and name not in frame.names:
            hint = suggestion(name, frame.names) or f"; it has {', '.join(map(repr, frame.names[:20]))}"
            raise ValueError(f"the table has no column {name!r}{hint}")
    if group == target:
        raise ValueError(f"the column {target!r} cannot be both target and group")
    if len(frame.names) == 1 + (group is not None):
        raise ValueError(f"the table has no column besides the target {target!r}")


def _odd_cells(cells: Cells) -> str:
    """Return which cells of a column of texts are no numbers, or an empty text if most of them are none."""
    if cells.kind != "text" or cells.is_truth:
        return ""
    text = known_of(pl.Series([cells.value(row) for row in range(len(cells))], dtype=pl.String))
    values = min((numbers_of(text, mark) for mark in ".,"), key=pl.Series.null_count)
    n_cells, n_good = len(text) - text.null_count(), len(values) - values.null_count()
    if n_good < 0.5 * n_cells or n_good == n_cells:
        return ""
    found = odd_cells(text, values, range(1, len(text) + 1), "row")
    return f"; {n_good:,} of {n_cells:,} cells are numbers, but not {found}: correct these cells or leave them empty"


def infer_task(cells: Cells, task: str | None = None) -> tuple[str, str]:
    """Return whether a target is a classification or a regression.

    Texts and Booleans are a classification. Whole numbers are a classification if there are at most two different
    values, or at most `MAX_WHOLE_CLASSES` with `MIN_ROWS_PER_CLASS` rows per value on average. All other numbers are a
    regression.

    Parameters
    ----------
    cells : Cells
        The target as `clean_target` returned it, without its missing cells.
    task : {"classification", "regression"}, optional
        The task that the user asks for. It is returned if the target is suitable for it.

    Returns
    -------
    task : str
    reason : str
        In words.

    Raises
    ------
    ValueError
        If the target is not suitable for the task. The message says why.
    """
    values, _ = cells.distinct()
    name, n_rows, n_values = cells.name, len(cells), len(values)
    if n_values == 1:
        raise ValueError(f"the target {name!r} has the value {values[0]!r} in every row: there is nothing to learn")
    if cells.kind == "numbers":
        is_whole = cells.is_whole or bool((cells.values == np.round(cells.values)).all())
        is_few = n_values <= 2 or (n_values <= MAX_WHOLE_CLASSES and n_rows >= MIN_ROWS_PER_CLASS * n_values)
        inferred = "classification" if is_whole and is_few else "regression"
        reason = f"{n_values:,} different {'whole numbers' if is_whole else 'values'}"
        if is_whole:  # the other task is possible too
            reason += f"; --task {'regression' if is_few else 'classification'} if that is wrong"
    else:
        inferred, reason = "classification", "true or false" if cells.is_truth else "text"
        if task == "regression":
            raise ValueError(f"regression needs numbers, and the target {name!r} holds text ({cells.value(0)!r})")
    if task is not None:
        inferred, reason = task, "as asked"
    if inferred == "classification" and 2 < n_rows < 2 * n_values:
        shown = f"{n_values} different values ({cells.value(0)!r}, {cells.value(1)!r}, …) in {n_rows} rows"
        raise ValueError(f"the target {name!r} has {shown}: too many to be classes")
    return inferred, reason

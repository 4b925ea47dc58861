"""A table made ready for training: the target told, and the rows without one left out.

It knows frames of cells and targets. It must not know files, encodings or how a network is trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastbp.tabular.encoding.cells import Cells, Frame
from fastbp.tabular.encoding.inputs import suggestion
from fastbp.tabular.encoding.target import Classes, Quantity, Target, known_target, tell_task

FEWEST_ROWS = 5


@dataclass(frozen=True)
class TrainingData:
    """Rows to train on, and how the target was told.

    Attributes
    ----------
    frame : Frame
        The columns to learn from.
    column : Cells
        The target, without a gap.
    target : Classes or Quantity
    reason : str
        Why the target is taken as what it is.
    groups : (n,) integers, optional
        Rows of the same number are to be held out together.
    notices : tuple of str
        What was left out, one sentence each.
    """

    frame: Frame
    column: Cells
    target: Target
    reason: str
    groups: npt.NDArray[np.int64] | None
    notices: tuple[str, ...]


def prepare(frame: Frame, target: str, task: str | None = None, group: str | None = None) -> TrainingData:
    """Part a frame into its target and the columns to learn from.

    Parameters
    ----------
    frame : Frame
    target : str
        The column to predict.
    task : {"classification", "regression"}, optional
        Told from the target if left out.
    group : str, optional
        A column that is not learned from; rows that are equal in it are held out together.

    Raises
    ------
    ValueError
        If a column is not there, or the target is of no use; the message says why.
    """
    for name in (target, group):
        if name is not None and name not in frame.names:
            hint = suggestion(name, frame.names) or f"; it has {', '.join(map(repr, frame.names[:20]))}"
            raise ValueError(f"the table has no column {name!r}{hint}")
    if group == target:
        raise ValueError(f"the column {target!r} cannot be both target and group")
    if len(frame.names) == 1 + (group is not None):
        raise ValueError(f"the table has no column beside the target {target!r}")
    column = known_target(frame[target])
    known = ~column.missing
    n_known = len(column) - column.n_missing
    if n_known == 0:
        raise ValueError(f"the target {target!r} is missing in every row")
    if n_known < FEWEST_ROWS:
        rows = "row" if n_known == 1 else "rows"
        raise ValueError(f"there is too little to learn from: {n_known} {rows} with a target, {FEWEST_ROWS} at least")
    notices = []
    if n_missing := column.n_missing:
        rows = "1 row is" if n_missing == 1 else f"{n_missing} rows are"
        notices.append(f"{rows} left out: the target {target!r} is missing there")
    column = column.take(known)
    found, reason = tell_task(column, task)
    told = Classes.learn(column) if found == Classes.task else Quantity.learn(column)
    groups = None if group is None else frame[group].take(known).distinct()[1]
    features = frame.without(target, *([] if group is None else [group])).take(known)
    return TrainingData(features, column, told, reason, groups, tuple(notices))

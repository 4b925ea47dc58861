"""The settings of a fit of a network: their checks, and the run that follows from them.

This file must not know where rows come from, or how many networks are trained.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastbp import checks, losses, optimizers
from fastbp.losses import Loss
from fastbp.optimizers import Optimizer
from fastbp.runs.checkpoint import Checkpoint
from fastbp.runs.run import Run


class FitSettings(NamedTuple):
    """The checked settings of a fit; see `Network.fit`."""

    loss: Loss
    optimizer: Optimizer
    batch_size: int
    epochs: int
    shuffle: bool
    drop_last: bool
    seed: int | None
    dropout: float
    l2_penalty: float
    patience: int | None
    restore_best: bool


def checked_settings(
    trained_loss: Loss | None,
    dtype: np.dtype[Any],
    loss: Any,
    optimizer: Any,
    batch_size: Any,
    epochs: Any,
    shuffle: Any,
    drop_last: Any,
    seed: Any,
    dropout: Any,
    l2_penalty: Any,
    patience: Any,
    restore_best: Any,
) -> FitSettings:
    """Return the settings of a fit of a network with this loss and dtype.

    Raises
    ------
    TypeError, ValueError
        If a setting is invalid.
    """
    return FitSettings(
        losses.resolve_or_trained(loss, trained_loss),
        optimizers.checked(optimizer, dtype),
        checks.whole_number("batch_size", batch_size, 1, math.inf),
        checks.whole_number("epochs", epochs, 1, 2**31),
        checks.flag("shuffle", shuffle),
        checks.flag("drop_last", drop_last),
        checks.seed(seed),
        checks.fraction("dropout", dropout),
        checks.not_negative("l2_penalty", l2_penalty),
        None if patience is None else checks.whole_number("patience", patience, 1),
        checks.flag("restore_best", restore_best),
    )


def begin(settings: FitSettings, held: Checkpoint, rows: Any, run_over: type[Run] = Run) -> tuple[Checkpoint, Run]:
    """Return the checkpoint of a fit that continues another one, and its run over `rows`.

    Parameters
    ----------
    settings : FitSettings
    held : Checkpoint
        The state of the network. The parameters are changed in place.
    rows : TrainingRows or ChunkedRows
    run_over : type, default Run
        `Run`, or `ChunkedRun` for chunks.
    """
    rule, penalty = settings.optimizer.rule, settings.l2_penalty
    begun = held.for_fit(settings.optimizer, settings.loss, settings.seed)
    run = run_over(
        begun.parameters,
        rows,
        activation=begun.activation,
        loss=settings.loss,
        rule=rule._replace(penalty=penalty) if penalty > 0 else rule,
        batch_size=settings.batch_size,
        random=begun.random,
        shuffle=settings.shuffle,
        drop_last=settings.drop_last,
        step=begun.step,
        mean=begun.mean,
        square=begun.square,
        dropout=settings.dropout,
    )
    return begun, run

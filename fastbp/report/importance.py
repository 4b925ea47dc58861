"""How much a model leans on each column: what its error grows by when the column's cells are dealt out anew.

Permutation importance (Breiman 2001, "Random forests", section 10), on rows that a network has not seen. It knows
built models. It must not know how they are shown.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp.tabular import metrics
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.model import view_of
from fastbp.tabular.training.build import Built, Member

_MOST_ROWS = 2000  # that are looked at for each network

Array = npt.NDArray[Any]


def importances(built: Built, seed: int = 0) -> dict[str, float]:
    """Return by how much the log loss, or the RMSE, grows without each column, the largest first.

    Zero, or a little less, means that the model does as well without it, as long as the others are there.
    """
    random = np.random.default_rng(seed)
    columns = built.model.encoding.columns
    starts = np.cumsum([0, *(column.width for column in columns)])
    growth = np.zeros(len(columns))
    for member in built.members:
        chosen = member.held_out
        if len(chosen) > _MOST_ROWS:
            chosen = random.choice(chosen, _MOST_ROWS, replace=False)
        X, y, weights = built.outside.X[chosen].copy(), built.outside.y[chosen], built.outside.weights[chosen]
        before = _error(built, member, X, y, weights)
        for i, (start, end) in enumerate(pairwise(starts)):
            kept = X[:, start:end].copy()
            X[:, start:end] = kept[random.permutation(len(kept))]
            growth[i] += (_error(built, member, X, y, weights) - before) / len(built.members)
            X[:, start:end] = kept
    order = np.argsort(-growth, kind="stable")
    return {columns[i].name: float(growth[i]) for i in order}


def _error(built: Built, member: Member, X: Array, y: Array, weights: Array) -> float:
    network, target = member.trained.network, built.model.target
    output = network.predict(view_of(X, built.model.encoding, network.layer_sizes[0]))
    if isinstance(target, Classes):
        return metrics.log_loss(metrics.softmax(output / built.model.temperature), y, weights)
    return metrics.rmse(target.values(output[:, 0]), y * target.spread + target.mean, weights)

"""Permutation importance: how much the error on held-out rows grows when one column is shuffled.

Breiman (2001), "Random forests", Machine Learning 45(1), section 10. It knows built models. It must not know how the
importances are shown.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastbp._typing import Array, Floats
from fastbp.tabular.training.parts import Built, Member

_MAX_ROWS = 2000  # of each network


def importances(built: Built, seed: int = 0) -> dict[str, float]:
    """Return the permutation importance of each column.

    The cells of a column are shuffled among the held-out rows of each network, and the networks' errors are compared
    with their errors on the unchanged rows. An importance around zero means that the model predicts as well without
    the column, because the column is irrelevant or because other columns hold the same information.

    Parameters
    ----------
    built : Built
    seed : int, default 0
        Seed of the permutations, and of the choice of rows where a network has more than 2000 held-out rows.

    Returns
    -------
    dict of str to float
        The growth of the log loss (classification) or of the RMSE in the unit of the target (regression), averaged
        over the networks. The largest importance comes first.
    """
    random = np.random.default_rng(seed)
    columns = built.model.encoding.columns
    starts = np.cumsum([0, *(column.width for column in columns)])
    growth = np.zeros(len(columns))
    for member in built.members:
        chosen = member.held_out
        if len(chosen) > _MAX_ROWS:
            chosen = random.choice(chosen, _MAX_ROWS, replace=False)
        X, targets = built.scored_rows.X.inputs(chosen), built.scored_rows.targets(chosen)
        error = _error(built, member, X, *targets)
        for i, (start, end) in enumerate(pairwise(starts)):
            unchanged = X[:, start:end].copy()
            X[:, start:end] = unchanged[random.permutation(len(unchanged))]
            growth[i] += (_error(built, member, X, *targets) - error) / len(built.members)
            X[:, start:end] = unchanged
    order = np.argsort(-growth, kind="stable")
    return {columns[i].name: float(growth[i]) for i in order}


def _error(built: Built, member: Member, X: Array, y: Array, weights: Floats) -> float:
    """Return the log loss or the RMSE of one network on some rows."""
    network, model, target = member.trained.network, built.model, built.model.target
    output = network.predict(model.encoding.for_width(X, network.layer_sizes[0]))
    return target.error(target.answers(output, model.temperature), target.truth(y), weights)

"""Advice for a fit that did not converge. This file must not know estimators."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp._typing import Array

_LARGE = 10.0  # root mean square of a column; a standardised column has 1
_N_SAMPLED = 200  # rows in which dead units are looked for first


def advice(
    X: Array, coefs: Sequence[Array], intercepts: Sequence[Array], activation: Any, losses: Sequence[float]
) -> str:
    """Return one sentence or more with the likely cause and what to do.

    Parameters
    ----------
    X : ndarray of shape (n, D)
        The training rows.
    coefs, intercepts : list of ndarray
        The parameters at the end of the fit.
    activation : str, Activation or list of these
    losses : list of float
        The mean loss of each epoch.
    """
    hints = [_on_scale(X), _on_losses(losses), _on_dead_units(X, coefs, intercepts) if activation == "relu" else ""]
    found = " ".join(filter(None, hints))
    return found or "The loss still falls: raise max_iter."


def _on_scale(X: Array) -> str:
    """Return advice if a column of X is not scaled, otherwise an empty text."""
    largest = float(np.sqrt(np.einsum("nd,nd->d", X, X, dtype=np.float64).max() / len(X)))
    if largest <= _LARGE:
        return ""
    return f"A column of X has a root mean square of {largest:.3g}: scale X, as with StandardScaler."


def _on_losses(losses: Sequence[float]) -> str:
    """Return advice if the loss rose, otherwise an empty text."""
    recent = min(losses[-10:])
    if losses[-1] <= losses[0] and recent <= min(losses) + 0.1 * abs(min(losses)):
        return ""
    return "The loss rose: lower learning_rate_init."


def _on_dead_units(X: Array, coefs: Sequence[Array], intercepts: Sequence[Array]) -> str:
    """Return advice if most units of a hidden layer are 0 for all rows, otherwise an empty text.

    A unit that is 0 for all rows is 0 for a sample of them too. So the sample alone can rule dead units out.
    """
    sample = X[:: -(-len(X) // _N_SAMPLED)]
    if not any(2 * dead > size for dead, size in _dead_units(sample, coefs, intercepts)):
        return ""
    for layer, (dead, size) in enumerate(_dead_units(X, coefs, intercepts), 1):
        if 2 * dead > size:
            return f"{dead} of {size} units of hidden layer {layer} are 0 for every row: lower learning_rate_init."
    return ""


def _dead_units(X: Array, coefs: Sequence[Array], intercepts: Sequence[Array]) -> list[tuple[int, int]]:
    """Return the number of units that are 0 for all rows, and the number of all units, for each hidden layer."""
    h, found = X, []
    for matrix, vector in zip(coefs[:-1], intercepts[:-1], strict=True):
        h = np.maximum(h @ matrix + vector, 0)
        found.append((int((~h.any(axis=0)).sum()), h.shape[1]))
    return found

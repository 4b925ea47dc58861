"""What a fit that did not converge suffers from, where that can be told. This file must not know estimators."""

from collections.abc import Sequence

import numpy as np

from fastbp.sklearn.descent import Array

_LARGE = 10.0  # root mean square of a column; a standardised one has 1
_ROWS = 200  # that are looked at first


def on_convergence(
    X: Array, coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, losses: Sequence[float]
) -> str:
    """Return what to do, in a sentence or more.

    Parameters
    ----------
    X : ndarray of shape (n, D)
        The rows of the fit.
    coefs, intercepts : list of ndarray
        Where it ended.
    activation : str
    losses : list of float
        The mean loss of each epoch.
    """
    hints = [_on_scale(X), _on_losses(losses), _on_dead_units(X, coefs, intercepts) if activation == "relu" else ""]
    found = " ".join(filter(None, hints))
    return found or "The loss still falls: raise max_iter."


def _on_scale(X: Array) -> str:
    largest = float(np.sqrt(np.einsum("nd,nd->d", X, X, dtype=np.float64).max() / len(X)))
    if largest <= _LARGE:
        return ""
    return f"A column of X has a root mean square of {largest:.3g}: scale X, as with StandardScaler."


def _on_losses(losses: Sequence[float]) -> str:
    recent = min(losses[-10:])
    if losses[-1] <= losses[0] and recent <= min(losses) + 0.1 * abs(min(losses)):
        return ""
    return "The loss rose: lower learning_rate_init."


def _on_dead_units(X: Array, coefs: Sequence[Array], intercepts: Sequence[Array]) -> str:
    some = X[:: -(-len(X) // _ROWS)]
    if not any(2 * dead > size for dead, size in _dead_units(some, coefs, intercepts)):
        return ""
    for layer, (dead, size) in enumerate(_dead_units(X, coefs, intercepts), 1):
        if 2 * dead > size:
            return f"{dead} of {size} units of hidden layer {layer} are 0 for every row: lower learning_rate_init."
    return ""


def _dead_units(X: Array, coefs: Sequence[Array], intercepts: Sequence[Array]) -> list[tuple[int, int]]:
    """Return how many units of each hidden layer are 0 for all rows, and how many there are."""
    h, found = X, []
    for matrix, vector in zip(coefs[:-1], intercepts[:-1], strict=True):
        h = np.maximum(h @ matrix + vector, 0)
        found.append((int((~h.any(axis=0)).sum()), h.shape[1]))
    return found

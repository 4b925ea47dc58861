"""Checks of rows against the network's shape and the loss, and their conversion to the layout of kernels.

Memory maps are read where they are.
This file knows losses by their properties. It must not know how rows are used.
"""

from collections.abc import Sequence
from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp import checks
from fastbp._typing import Array, Floats, Integers
from fastbp.kernels.packing import padded_rows, target_rows
from fastbp.kernels.rows import TrainingRows
from fastbp.kernels.strided import STRIDED, storage_of
from fastbp.losses import Loss
from fastbp.runs.loss_check import check_custom_loss


def checked_rows(
    X: Any,
    y: Any,
    sample_weight: Any,
    sizes: Sequence[int],
    loss: Loss,
    dtype: npt.DTypeLike,
    of: str = "",
    *,
    is_copied: bool = False,
    exponent: int | None = None,
) -> TrainingRows:
    """Return rows to train on or to evaluate, or raise.

    Parameters
    ----------
    X : array-like of shape (n, D_0)
        Inputs.
    y : array-like of shape (n, D_{K+1})
        Targets. The shape may be (n,) if D_{K+1} = 1, or for class numbers if the loss takes classes.
    sample_weight : array-like of shape (n,) or None
        Weights of the rows. None means 1 for each row.
    sizes : sequence of int
        (D_0, …, D_{K+1}).
    loss : Loss
        Loss of the targets.
    dtype : dtype
        Dtype of the network.
    of : str, default ""
        Text before the names of the arguments in error messages, such as "validation ".
    is_copied : bool, default False
        Whether a memory map is copied, too.
    exponent : int, optional
        The weights are divided by this power of 2. Default: `weight_exponent` of these weights.

    Returns
    -------
    TrainingRows

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.
    """
    n_inputs, n_outputs = sizes[0], sizes[-1]
    x = checks.matrix(f"{of}X", X, n_inputs, dtype)
    n = len(x)
    if n == 0:
        raise ValueError(f"{of}X holds no rows")
    targets, classes, values = checks.numbers(f"{of}y", y), np.zeros(0, np.int64), np.zeros((0, n_outputs), dtype)
    if loss.takes_classes and targets.shape == (n,) and n_outputs > 1:
        classes = _class_numbers(f"{of}y", targets, n_outputs, loss)
    else:
        targets = _with_zeros(targets, n, n_outputs) if loss.sees_rows else targets
        _check_shape(f"{of}y", targets.shape, n, n_outputs, loss)
        values = checks.finite(f"{of}y", targets, dtype).reshape(n, n_outputs)
        _check_range(f"{of}y", values, loss)
        check_custom_loss(loss, values)
    weights = np.zeros(0, dtype)
    if sample_weight is not None:
        weights = scaled_weights(f"{of}sample_weight", sample_weight, n, dtype, exponent)
    targets = target_rows(values, dtype)
    if not is_copied and _is_mapped(x):
        return TrainingRows(_flat_view(x), targets, classes, weights, n, storage_of(x), STRIDED.address(x.dtype))
    return TrainingRows(padded_rows(x, dtype), targets, classes, weights, n)


def no_rows(dtype: npt.DTypeLike) -> TrainingRows:
    """Return no rows at all."""
    nothing = np.zeros(0, dtype)
    return TrainingRows(nothing, nothing, np.zeros(0, np.int64), nothing, 0)


def _is_mapped(x: Floats) -> bool:
    """Tell whether a matrix is a part of a memory map whose rows a kernel can read where they are."""
    owner: Any = x
    while owner is not None and not isinstance(owner, mmap):
        owner = getattr(owner, "obj" if isinstance(owner, memoryview) else "base", None)
    if not isinstance(owner, mmap):
        return False
    step, (n, columns) = x.itemsize, x.shape
    are_rows_apart = x.strides[0] % step == 0 and x.strides[0] >= columns * step
    return bool(x.flags.aligned and x.strides[1] == step and (are_rows_apart or n == 1))


class _FlatView:
    """The numbers of a matrix from its first to its last one, for NumPy. A kernel only reads them.

    A view that NumPy makes of a read-only map is read-only too, and Numba would compile again for its type.
    """

    def __init__(self, matrix: Floats) -> None:
        self._matrix = matrix
        described = dict(matrix.__array_interface__)
        described["data"] = (described["data"][0], False)
        described["shape"] = (int(storage_of(matrix)[1]),)
        described["strides"] = None
        self.__array_interface__ = described


def _flat_view(matrix: Floats) -> Floats:
    """Return the numbers of a matrix, with those between its rows, as an array that keeps the matrix alive."""
    return np.asarray(_FlatView(matrix))


def _with_zeros(targets: Array, n: int, n_outputs: int) -> Array:
    """Return targets with a column of zeros for each output that has no target."""
    columns = targets.reshape(n, -1) if targets.shape == (n,) else targets
    if columns.ndim != 2 or columns.shape[0] != n or not 0 < columns.shape[1] < n_outputs:
        return targets
    return np.hstack([columns, np.zeros((n, n_outputs - columns.shape[1]), columns.dtype)])


def _check_shape(name: str, shape: tuple[int, ...], n: int, n_outputs: int, loss: Loss) -> None:
    """Raise unless y has one row per row of X, and one column per output."""
    if shape == (n, n_outputs) or (shape == (n,) and n_outputs == 1):
        return
    takes_classes = loss.takes_classes and n_outputs > 1
    wanted = f"({n}, {n_outputs})"
    if takes_classes or n_outputs == 1:
        wanted += f", or ({n},) of class numbers" if takes_classes else f" or ({n},)"
    hint = f": {name}.ravel() is a list of class numbers" if takes_classes and shape == (n, 1) else ""
    why = f"as X has {n} rows and the network {n_outputs} output{'s' * (n_outputs > 1)}"
    raise ValueError(f"{name} must be of shape {wanted}, {why}; got {shape}{hint}")


def _class_numbers(name: str, y: Array, n_classes: int, loss: Loss) -> Integers:
    """Return y as integers from 0 to C − 1, or raise."""
    with np.errstate(invalid="ignore"):
        fits = (y >= 0) & (y < n_classes) & (y == np.floor(y))
    if not fits.all():
        wanted = f"class numbers 0 to {n_classes - 1}, one per output of the network, for {loss.name}"
        raise ValueError(f"{name} must hold {wanted}; got {checks.first(y, ~fits)}")
    return y.astype(np.int64)


def _check_range(name: str, y: Floats, loss: Loss) -> None:
    """Raise if a target lies outside the range of the loss."""
    if loss.takes_classes and y.shape[1] == 1 and abs(y - 1).max() > 1e-3:
        raise ValueError(
            f"{name} must be 1 throughout for {loss.name} of a single output, which is the only class; got "
            f"{checks.first(y, y != 1)}. Two classes need two outputs, or binary_cross_entropy"
        )
    is_bounded = loss.lowest > -np.inf or loss.highest < np.inf
    if is_bounded and (outside := (y < loss.lowest) | (y > loss.highest)).any():
        wanted = f"lie in [{loss.lowest:g}, {loss.highest:g}]" if loss.highest < np.inf else "not be negative"
        raise ValueError(f"{name} must {wanted} for {loss.name}, got {checks.first(y, outside)}")
    if loss.takes_classes and abs(y.sum(1) - 1).max() > 1e-3:
        row = int(abs(y.sum(1) - 1).argmax())
        raise ValueError(f"{name} must hold probabilities for {loss.name}, but row {row} adds up to {y[row].sum()}")


def scaled_weights(name: str, value: Any, n: int, dtype: npt.DTypeLike, exponent: int | None = None) -> Floats:
    """Return a weight for each row, or raise. The weights are divided by 2^exponent, see `checked_rows`."""
    weights = checks.finite(name, value, dtype)
    if weights.shape != (n,):
        raise ValueError(f"{name} must be of shape ({n},), one number a row; got {weights.shape}")
    if (weights < 0).any():
        raise ValueError(f"{name} must not be negative, got {checks.first(weights, weights < 0)}")
    least = np.finfo(dtype).tiny  # smaller numbers count as 0 in compiled code
    if weights.max() < least:
        raise ValueError(f"{name} must not be 0, or below {least:.1e}, throughout; the largest is {weights.max()}")
    with np.errstate(over="ignore"):
        total = weights.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise ValueError(f"{name} must have a finite sum, got {total}")
    # Only the ratios of weights matter. A power of 2 as a factor changes no ratio, and with the largest weight at about
    # 1, products of weights and losses do not overflow. The result is a copy; for a view, Numba would compile again.
    exponent = weight_exponent(weights) if exponent is None else exponent
    scaled: Floats = np.ldexp(weights, -exponent).astype(dtype)
    return scaled


def weight_exponent(weights: Array) -> int:
    """Return the exponent of the largest weight as a power of 2."""
    return int(np.frexp(np.max(weights))[1])

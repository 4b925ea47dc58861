"""What users hand in, checked and brought to one form; each error names the argument, what it got and what it wanted.

Kernels trust their buffers, so everything is checked here, before anything is changed. This file must not know of
layers or training.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp.batches import Table
from fastbp.layout import Floats, Integers, padded_rows
from fastbp.losses import Loss

_LARGEST_NETWORK = 2**31  # parameters: more than a CPU trains, and a guard against slips such as 2**40


def whole_number(name: str, value: Any, least: int, most: int = 2**63 - 1) -> int:
    """Return `value` as an int, or raise unless it is one within `least` and `most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        raise ValueError(f"{name} must be {bound}, got {value}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool, or raise unless it is one."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def seed(value: Any) -> int | None:
    """Return a seed, or raise unless it is None or a whole number that is not negative."""
    return None if value is None else whole_number("seed", value, 0, 2**128 - 1)


def instance(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    """Return `value`, or raise unless it is of one of these classes."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
    return value


def function(name: str, value: Any) -> None:
    """Raise unless `value` is None or can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}")


def validation_rows(value: Any) -> tuple[Any, Any, Any]:
    """Return (X, y, sample_weight), or raise unless it is a tuple of the three or of the first two."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise TypeError("validation must be (X, y) or (X, y, sample_weight)")
    X, y, *rest = value
    return X, y, rest[0] if rest else None


def float_dtype(value: Any) -> np.dtype[Any]:
    """Return float32 or float64, or raise."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise ValueError(f"dtype must be float32 or float64, got {value!r}") from None
    if value is None or dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {value!r}")
    return np.dtype(dtype.name)


def layer_sizes(value: Any) -> tuple[int, ...]:
    """Return (D_0, …, D_{K+1}), or raise unless there are two or more numbers, none below 1."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        raise TypeError(f"layer_sizes must be a list such as [16, 64, 1], got {value!r}")
    if len(value) < 2:
        raise ValueError(f"layer_sizes must hold at least the inputs and the outputs, got {list(value)}")
    sizes = tuple(whole_number(f"layer_sizes[{i}]", size, 1) for i, size in enumerate(value))
    n_parameters = sum((a + 1) * b for a, b in pairwise(sizes))
    if n_parameters > _LARGEST_NETWORK:
        raise ValueError(f"layer_sizes {list(sizes)} ask for {n_parameters:.3g} parameters; at most 2**31 can be had")
    return sizes


def numbers(name: str, value: Any) -> npt.NDArray[Any]:
    """Return `value` as an array of real numbers of any dtype, or raise."""
    if hasattr(value, "toarray"):
        raise TypeError(f"{name} is sparse; fastbp takes dense arrays: {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; fill them first")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"{name} must hold numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got an array of {array.dtype}")
    return array


def finite(name: str, value: Any, dtype: npt.DTypeLike) -> Floats:
    """Return `value` as a C-ordered array of `dtype`, or raise where it is not finite in that dtype."""
    given = numbers(name, value)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(given, dtype).reshape(given.shape)
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        found = given[place]
        why = f"too large for {np.dtype(dtype).name}" if np.isfinite(found) else "not a finite number"
        raise ValueError(f"{name} holds {found} at index {place}: {why}")
    return array


def matrix(name: str, value: Any, columns: int, dtype: npt.DTypeLike) -> Floats:
    """Return `value` as a finite (n, columns) array, or raise."""
    array = finite(name, value, dtype)
    if array.ndim != 2:
        hint = f": {name}.reshape(-1, 1) is one column, {name}.reshape(1, -1) one row" if array.ndim == 1 else ""
        raise ValueError(f"{name} must be of shape (n, {columns}), one row a sample, got {array.shape}{hint}")
    if array.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} columns, as the network has inputs; got shape {array.shape}")
    return array


def arrays(name: str, value: Any, shapes: Sequence[tuple[int, ...]], dtype: npt.DTypeLike) -> list[Floats]:
    """Return finite arrays of these shapes, or raise."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str | bytes):
        raise TypeError(f"{name} must be a list of {len(shapes)} arrays, got {type(value).__name__}")
    if len(value) != len(shapes):
        raise ValueError(f"{name} must hold {len(shapes)} arrays, one a layer; got {len(value)}")
    found = [finite(f"{name}[{i}]", array, dtype) for i, array in enumerate(value)]
    for i, (array, shape) in enumerate(zip(found, shapes, strict=True)):
        if array.shape != shape:
            raise ValueError(f"{name}[{i}] must be of shape {shape}, got {array.shape}")
    return found


def _class_numbers(y: npt.NDArray[Any], n_classes: int) -> Integers:
    if not np.isfinite(y).all() or (y != np.floor(y)).any():
        raise ValueError("y must hold class numbers (whole, from 0 on) for cross_entropy, or be of shape (n, C)")
    if y.min() < 0 or y.max() >= n_classes:
        wrong = y.min() if y.min() < 0 else y.max()
        raise ValueError(f"y holds class {wrong}, but the network's outputs are classes 0 to {n_classes - 1}")
    return y.astype(np.int64)


def _check_range(y: Floats, loss: Loss) -> None:
    """Raise where `y` lies outside what the loss is defined for."""
    if loss.name in ("binary_cross_entropy", "cross_entropy") and (y.min() < 0 or y.max() > 1):
        raise ValueError(f"y must lie in [0, 1] for {loss.name}, got {y.min()} to {y.max()}")
    if loss.name == "cross_entropy" and abs(y.sum(1) - 1).max() > 1e-3:
        row = int(abs(y.sum(1) - 1).argmax())
        raise ValueError(f"y must hold probabilities for cross_entropy, but row {row} adds up to {y[row].sum()}")
    if loss.name == "poisson" and y.min() < 0:
        raise ValueError(f"y must not be negative for poisson, got {y.min()}")


def table(
    X: Any, y: Any, sample_weight: Any, sizes: Sequence[int], loss: Loss, dtype: npt.DTypeLike, of: str = ""
) -> Table:
    """Return (X, y, sample_weight) as rows to train on, or raise; `of` tells apart the validation's arguments."""
    n_inputs, n_outputs = sizes[0], sizes[-1]
    x = matrix(f"{of}X", X, n_inputs, dtype)
    n = len(x)
    if n == 0:
        raise ValueError(f"{of}X holds no rows")
    targets, classes, rows = numbers(f"{of}y", y), np.zeros(0, np.int64), np.zeros((0, n_outputs), dtype)
    if loss.name == "cross_entropy" and targets.shape == (n,) and n_outputs > 1:
        classes = _class_numbers(targets, n_outputs)
    else:
        wanted = (n, n_outputs)
        shapes = {wanted, (n,)} if n_outputs == 1 else {wanted}
        if targets.shape not in shapes:
            also = " (or (n,) class numbers)" if loss.name == "cross_entropy" and n_outputs > 1 else ""
            raise ValueError(f"{of}y must be of shape {wanted}{also}, as X has rows; got {targets.shape}")
        rows = finite(f"{of}y", targets, dtype).reshape(wanted)
        _check_range(rows, loss)
    weights = np.zeros(0, dtype)
    if sample_weight is not None:
        weights = _sample_weights(f"{of}sample_weight", sample_weight, n, dtype)
    return Table(padded_rows(x, dtype), padded_rows(rows, dtype), classes, weights, n)


def _sample_weights(name: str, value: Any, n: int, dtype: npt.DTypeLike) -> Floats:
    weights = finite(name, value, dtype)
    if weights.shape != (n,):
        raise ValueError(f"{name} must be of shape ({n},), one number a row; got {weights.shape}")
    if weights.min() < 0:
        raise ValueError(f"{name} must not be negative, got {weights.min()}")
    total = math.fsum(weights)
    if not 0 < total <= np.finfo(dtype).max:
        raise ValueError(f"{name} must have a positive, finite sum, got {total}")
    return weights

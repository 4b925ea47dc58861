"""Checks and conversions of arguments. Each error message has the argument's name, the allowed and the actual value.

Kernels do not check their buffers, so every argument is checked here before anything is changed. An argument of a wrong
type raises a TypeError. A wrong value of the right type raises a ValueError. This file imports only NumPy.
"""

import math
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastbp._typing import Array, Floats

_LARGEST_NETWORK = 2**31  # parameters; catches mistakes such as a width of 2**40
_LONGEST_SHOWN = 80  # characters of a value in a message
_CHECKED_AT_ONCE = 1 << 18  # numbers
_TRUTH_VALUES = (bool, np.bool_)  # tuples, because `isinstance` takes three times as long for a union
_WHOLE_NUMBERS = (int, np.integer)
_REAL_NUMBERS = (int, float, np.integer, np.floating)
# Types that float() accepts, perhaps with a warning, although they are not real numbers.
_NO_NUMBERS = (str, bytes, complex, np.complexfloating, np.datetime64, np.timedelta64, np.ndarray)


def shown(value: Any) -> str:
    """Return `value` as text for a message: one line, shortened if it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a number of very many digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# --- single values ------------------------------------------------------------------------------------------


def whole_number(name: str, value: Any, least: int, most: float = 2**63 - 1) -> int:
    """Return `value` as an int; raise unless it is an integer from `least` to `most`."""
    if isinstance(value, _TRUTH_VALUES) or not isinstance(value, _WHOLE_NUMBERS):
        raise TypeError(f"{name} must be a whole number, got {shown(value)}")
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        raise ValueError(f"{name} must be {bound}, got {shown(value)}")
    return int(value)


def real_number(name: str, value: Any) -> float:
    """Return `value` as a float; raise unless it is a real number, infinity or NaN."""
    if isinstance(value, _TRUTH_VALUES) or not isinstance(value, _REAL_NUMBERS):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf if value > 0 else -math.inf


def not_negative(name: str, value: Any) -> float:
    """Return `value` as a float; raise unless it is finite and at least 0."""
    number = real_number(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {shown(value)}")
    return number


def positive(name: str, value: Any) -> float:
    """Return `value` as a float; raise unless it is finite and greater than 0."""
    number = real_number(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {shown(value)}")
    return number


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float; raise unless it lies in [0, 1)."""
    number = not_negative(name, value)
    if number >= 1:
        raise ValueError(f"{name} must be less than 1, got {shown(value)}")
    return number


def between(name: str, value: Any, low: float, high: float) -> float:
    """Return `value` as a float; raise unless it lies in (low, high), where low ≥ 0."""
    number = not_negative(name, value)
    if not low < number < high:
        raise ValueError(f"{name} must lie between {low} and {high}, got {shown(value)}")
    return number


def choice(name: str, value: Any, names: Sequence[str]) -> int:
    """Return the position of `value` in `names`; raise if `value` is not among them."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(names)}; got {shown(value)}")
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {shown(value)}")
    return list(names).index(value)


def thread_count(value: Any) -> int | None:
    """Return a number of threads; raise unless it is None or an integer from 1 to 1024."""
    return None if value is None else whole_number("n_threads", value, 1, 1024)


def flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; raise unless it is True or False."""
    if not isinstance(value, _TRUTH_VALUES):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def seed(value: Any) -> int | None:
    """Return a seed; raise unless it is None or an integer from 0 to 2**128 − 1."""
    return None if value is None else whole_number("seed", value, 0, 2**128 - 1)


def instance(name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    """Return `value`; raise unless it is an instance of one of these classes."""
    if isinstance(value, kinds):
        return value
    names = [kind.__name__ for kind in kinds]
    wanted = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if isinstance(value, type) and issubclass(value, kinds):
        raise TypeError(f"{name} must be an instance of {wanted}, got the class itself: call {value.__name__}(…)")
    raise TypeError(f"{name} must be an instance of {wanted}, got {shown(value)}")


def function(name: str, value: Any) -> None:
    """Raise unless `value` is None or can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {shown(value)}")


def path(value: Any) -> str:
    """Return a path as text, or raise. `open` would take an integer as a file descriptor, and close this file."""
    try:
        return os.fsdecode(value)
    except TypeError:
        raise TypeError(f"path must be a string or a path, got {shown(value)}") from None


def validation_data(value: Any) -> tuple[Any, Any, Any]:
    """Return (X, y, sample_weight); raise unless `value` is (X, y) or (X, y, sample_weight)."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"validation_data must be (X, y) or (X, y, sample_weight), got {shown(value)}")
    if len(value) not in (2, 3):
        raise ValueError(f"validation_data must be (X, y) or (X, y, sample_weight), got {len(value)} of them")
    X, y, *rest = value
    return X, y, rest[0] if rest else None


def float_dtype(value: Any) -> np.dtype[Any]:
    """Return float32 or float64, or raise."""
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        try:
            if value is not None and dtype == value:
                return dtype
        except (TypeError, ValueError):  # not a dtype
            break
    raise ValueError(f"dtype must be float32 or float64, got {shown(value)}")


def layer_sizes(value: Any) -> tuple[int, ...]:
    """Return (D_0, …, D_{K+1}); raise unless there are at least two integers, each at least 1."""
    if not _is_list(value):
        raise TypeError(f"layer_sizes must be a list such as [16, 64, 1], got {shown(value)}")
    if len(value) < 2:
        raise ValueError(f"layer_sizes must hold at least the inputs and the outputs, got {shown(list(value))}")
    sizes = tuple(whole_number(f"layer_sizes[{i}]", size, 1) for i, size in enumerate(value))
    n_parameters = sum((a + 1) * b for a, b in pairwise(sizes))
    if n_parameters > _LARGEST_NETWORK:
        asked = f"layer_sizes {shown(list(sizes))} ask for {n_parameters:.3g} parameters"
        raise ValueError(f"{asked}; at most 2**31 are allowed")
    return sizes


def _is_list(value: Any) -> bool:
    """Tell whether a value is a sequence or array, and not a scalar or text."""
    return np.ndim(value) > 0 if isinstance(value, np.ndarray) else isinstance(value, Sequence) and not _is_text(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


# --- arrays -------------------------------------------------------------------------------------------------


def numbers(name: str, value: Any) -> Array:
    """Return `value` as an array of real numbers of any dtype, or raise."""
    if type(value) is np.ndarray and value.ndim > 0 and value.dtype.kind in "biuf":
        return value
    if hasattr(value, "toarray"):
        raise TypeError(f"{name} is sparse; fastbp takes dense arrays: {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; fill them first")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from error
    except (TypeError, RuntimeError) as error:  # PyTorch's tensors raise these
        raise TypeError(f"{name} cannot be turned into an array: {error}") from error
    if array.ndim == 0 and array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got {shown(value)}")
    if array.dtype == object:
        return _numbers_of_objects(name, array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got an array of {array.dtype.type.__name__.rstrip('_')}")
    return array


def _numbers_of_objects(name: str, array: Array) -> npt.NDArray[np.float64]:
    """Return an array of objects as numbers, or raise. A frame with a column of text becomes such an array."""
    found = np.empty(array.size)
    for i, cell in enumerate(array.ravel().tolist()):
        try:
            if isinstance(cell, _NO_NUMBERS):
                raise TypeError
            found[i] = math.nan if cell is None else float(cell)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must hold numbers, got {shown(cell)}{_at(array, i)}") from None
        except OverflowError:
            raise ValueError(f"{name} holds {shown(cell)}{_at(array, i)}: too large for float64") from None
        if cell is None:
            raise ValueError(f"{name} holds None{_at(array, i)}: fill what is missing first")
    return found.reshape(array.shape)


def _at(array: Array, flat_index: int) -> str:
    """Return the position in an array as text."""
    place = [int(i) for i in np.unravel_index(flat_index, array.shape)]
    return f" at [{', '.join(map(str, place))}]"


def first(array: Array, wrong: npt.NDArray[np.bool_]) -> str:
    """Return the first wrong number and its position, as text."""
    i = int(np.flatnonzero(wrong)[0])
    return f"{array.ravel()[i]!s}{_at(array, i)}"


def finite(name: str, value: Any, dtype: npt.DTypeLike) -> Floats:
    """Return `value` as an array of `dtype`; raise if a number is not finite in this dtype."""
    given = numbers(name, value)
    if given.dtype == dtype:
        array = given
    else:
        with np.errstate(all="ignore"):
            array = np.asarray(given, dtype)
    if not _are_finite(array):
        wrong = ~np.isfinite(array)
        infinite = ~np.isfinite(given)
        if infinite.any():
            raise ValueError(f"{name} holds {first(given, infinite)}: not a finite number")
        raise ValueError(f"{name} holds {first(given, wrong)}: too large for {np.dtype(dtype).name}")
    return array


def _are_finite(array: Floats) -> bool:
    """Return whether all numbers are finite, without an array of truth values for all of them."""
    if array.size <= _CHECKED_AT_ONCE:
        return bool(np.isfinite(array).all())
    rows = max(1, _CHECKED_AT_ONCE * len(array) // array.size)
    return all(np.isfinite(array[first : first + rows]).all() for first in range(0, len(array), rows))


def rows(name: str, value: Any, columns: int) -> Array:
    """Return `value` as a (n, columns) array of real numbers of any dtype, or raise."""
    array = numbers(name, value)
    if array.ndim != 2:
        hint = f": {name}.reshape(-1, 1) is one column, {name}.reshape(1, -1) one row" if array.ndim == 1 else ""
        raise ValueError(f"{name} must be of shape (n, {columns}), one row a sample, got {array.shape}{hint}")
    if array.shape[1] != columns:
        hint = f": one row a sample, so perhaps {name}.T" if array.shape[0] == columns else ""
        raise ValueError(f"{name} must have {columns} columns, one per input of the network; got {array.shape}{hint}")
    return array


def matrix(name: str, value: Any, columns: int, dtype: npt.DTypeLike) -> Floats:
    """Return `value` as a finite (n, columns) array, or raise."""
    return finite(name, rows(name, value, columns), dtype)


def arrays(name: str, value: Any, shapes: Sequence[tuple[int, ...]], dtype: npt.DTypeLike) -> list[Floats]:
    """Return finite arrays of these shapes, or raise."""
    if not _is_list(value):
        raise TypeError(f"{name} must be a list of {len(shapes)} arrays, got {shown(value)}")
    if len(value) != len(shapes):
        raise ValueError(f"{name} must hold {len(shapes)} arrays, one a layer; got {len(value)}")
    found = [finite(f"{name}[{i}]", array, dtype) for i, array in enumerate(value)]
    for i, (array, shape) in enumerate(zip(found, shapes, strict=True)):
        if array.shape != shape:
            raise ValueError(f"{name}[{i}] must be of shape {shape}, got {array.shape}")
    return found

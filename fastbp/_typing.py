"""Names of types, for annotations. This file must not know what the arrays hold."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if sys.version_info >= (3, 11):
    from typing import Self as Self
elif TYPE_CHECKING:
    from typing_extensions import Self as Self
else:  # fastbp does not depend on typing_extensions
    Self = Any

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

FloatName = Literal["float32", "float64"]  # the dtypes that kernels are compiled for
FloatDType = FloatName | type[float] | type[np.float32] | type[np.float64] | np.dtype[np.floating[Any]]
LayerSizes = Sequence[int | np.integer[Any]] | npt.NDArray[np.integer[Any]]
MaybeArray = npt.ArrayLike | None
RandomState = int | np.integer[Any] | np.random.RandomState | None  # what scikit-learn's `check_random_state` takes
BatchSize = int | Literal["auto"]
Scoring = str | Callable[[Any, Any, Any], Any] | None  # a scorer's name, or a function of an estimator, X and y
HeldOut = tuple[Any, Any] | tuple[Any, Any, Any] | list[Any]  # (X, y) or (X, y, sample_weight)

Method = TypeVar("Method", bound=Callable[..., Any])


class MethodDecorator(Protocol):
    """A function that returns a decorator. For type checkers, the decorated method keeps its signature."""

    def __call__(self, *args: Any, **options: Any) -> Callable[[Method], Method]:
        """Return the decorator."""

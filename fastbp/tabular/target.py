"""The column to predict: whether it is classes or a quantity, and its way to the network's y and back.

It knows typed columns and arrays. It must not know files, the other columns or how the network is trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from fastbp.tabular.columns import Floats, floats, kind

Label = str | int | float | bool

MOST_WHOLE_CLASSES = 20  # whole numbers with more different values are a quantity
FEWEST_ROWS_PER_CLASS = 3  # and so are those with fewer rows a value, except that two values are always classes


@dataclass(frozen=True)
class Classes:
    """A target of classes, numbered in the order of their labels; the network has one output a class."""

    name: str
    labels: tuple[Label, ...]
    task: ClassVar[str] = "classification"

    @property
    def n_outputs(self) -> int:
        """Number of the network's outputs."""
        return len(self.labels)

    @property
    def has_texts(self) -> bool:
        """Whether the labels are to be read as text."""
        return isinstance(self.labels[0], str)

    @classmethod
    def learn(cls, column: pl.Series) -> Classes:
        """Take the labels from a column without missing values."""
        return cls(column.name, tuple(column.unique().sort().to_list()))

    def encode(self, column: pl.Series) -> npt.NDArray[np.int64]:
        """Return class numbers, (n,).

        Raises
        ------
        ValueError
            If a label is not among those learned.
        """
        numbers = list(range(self.n_outputs))
        codes = column.replace_strict(list(self.labels), numbers, default=-1, return_dtype=pl.Int64).to_numpy()
        if (unknown := codes < 0).any():
            raise ValueError(
                f"the target {self.name!r} holds {column[int(unknown.argmax())]!r}, which is no class known"
            )
        return codes

    def decode(self, probabilities: Floats) -> pl.DataFrame:
        """Return the label of the largest probability, and that as its confidence, to four digits."""
        labels = pl.Series(self.labels).gather(probabilities.argmax(axis=1))
        return pl.DataFrame({"prediction": labels, "confidence": np.round(probabilities.max(axis=1), 4)})


@dataclass(frozen=True)
class Quantity:
    """A target of numbers, standardised for the network: (y − mean) / spread; no prediction leaves the range seen."""

    name: str
    mean: float
    spread: float
    lowest: float
    highest: float
    task: ClassVar[str] = "regression"
    n_outputs: ClassVar[int] = 1
    has_texts: ClassVar[bool] = False

    @classmethod
    def learn(cls, column: pl.Series) -> Quantity:
        """Take mean, standard deviation and range from a column without missing values."""
        values = floats(column)
        largest = float(np.abs(values).max()) or 1.0
        spread = largest * float((values / largest).std())  # the square of 1e300 would overflow
        mean = float((values / largest).mean()) * largest
        return cls(column.name, mean, spread or 1.0, float(values.min()), float(values.max()))

    def numbers(self, column: pl.Series) -> Floats:
        """Return a column's values, (n,).

        Raises
        ------
        ValueError
            If it holds something else than numbers.
        """
        if kind(column) != "numbers":
            raise ValueError(f"the target {self.name!r} held numbers in training and holds {kind(column)} here")
        return floats(column)

    def encode(self, column: pl.Series) -> Floats:
        """Return standardised values, (n,)."""
        return (self.numbers(column) - self.mean) / self.spread

    def values(self, output: npt.NDArray[Any]) -> Floats:
        """Return what standardised outputs stand for."""
        return np.clip(output.astype(np.float64) * self.spread + self.mean, self.lowest, self.highest)

    def decode(self, values: Floats) -> pl.DataFrame:
        """Return predicted values to seven digits, all that float32 has."""
        return pl.DataFrame({"prediction": pl.Series(values).round_sig_figs(7)})


Target = Classes | Quantity


def target_to_dict(target: Target) -> dict[str, Any]:
    """Return a target as what JSON can hold."""
    stored = asdict(target)
    return {"task": target.task, **stored, **({"labels": list(target.labels)} if isinstance(target, Classes) else {})}


def target_from_dict(stored: dict[str, Any]) -> Target:
    """Restore a target from what `target_to_dict` returned."""
    if stored["task"] == Classes.task:
        return Classes(stored["name"], tuple(stored["labels"]))
    return Quantity(**{name: value for name, value in stored.items() if name != "task"})


def known_target(column: pl.Series) -> pl.Series:
    """Return the target as numbers, truth values or texts, null where it is missing, NaN or infinite.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    what = kind(column)
    if what == "numbers":
        if column.dtype.is_integer():
            return column
        column = column.cast(pl.Float64)
        return column.set(column.is_nan() | column.is_infinite(), None)
    if what == "text":
        return column if column.dtype == pl.Boolean else column.cast(pl.String)
    raise ValueError(f"the target {column.name!r} holds {what}, neither classes nor numbers")


def tell_task(column: pl.Series, task: str | None = None) -> tuple[str, str]:
    """Say whether a target is classes or a quantity.

    Text and truth values are classes. Whole numbers are classes if there are at most two different ones, or at most
    `MOST_WHOLE_CLASSES` with `FEWEST_ROWS_PER_CLASS` rows to each on average. All other numbers are a quantity.

    Parameters
    ----------
    column : polars.Series
        What `known_target` returned, without its missing values.
    task : {"classification", "regression"}, optional
        What the user wants; it is checked rather than told.

    Returns
    -------
    str, str
        The task, and the reason in words.

    Raises
    ------
    ValueError
        If the target is of no use for the task; the message says why.
    """
    name, n_rows, n_values = column.name, len(column), column.n_unique()
    if n_values == 1:
        raise ValueError(f"the target {name!r} has the value {column[0]!r} in every row: there is nothing to learn")
    if column.dtype.is_numeric():
        whole = column.dtype.is_integer() or bool((column == column.round()).all())
        few = n_values <= 2 or (n_values <= MOST_WHOLE_CLASSES and n_rows >= FEWEST_ROWS_PER_CLASS * n_values)
        found = "classification" if whole and few else "regression"
        reason = f"{n_values:,} different {'whole numbers' if whole else 'values'}"
        if whole:  # where the other task is possible too
            reason += f"; --task {'regression' if few else 'classification'} if that is wrong"
    else:
        found, reason = "classification", "text" if column.dtype == pl.String else "true or false"
        if task == "regression":
            raise ValueError(f"regression needs numbers, and the target {name!r} holds text ({column[0]!r})")
    if task is not None:
        found, reason = task, "as asked"
    if found == "classification" and 2 < n_rows < 2 * n_values:
        raise ValueError(
            f"the target {name!r} has {n_values} different values ({column[0]!r}, {column[1]!r}, …) in {n_rows} rows: "
            "too many to be classes"
        )
    return found, reason

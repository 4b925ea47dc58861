"""The column to predict: whether it is classes or a quantity, and its way to the network's y and back.

It knows cells and arrays. It must not know files, the other columns or how the network is trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastbp.tabular.encoding.cells import Cells, Floats, Value

MOST_WHOLE_CLASSES = 20  # whole numbers with more different values are a quantity
FEWEST_ROWS_PER_CLASS = 3  # and so are those with fewer rows a value, except that two values are always classes


@dataclass(frozen=True)
class Classes:
    """A target of classes, numbered in the order of their labels; the network has one output a class."""

    name: str
    labels: tuple[Value, ...]
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
    def learn(cls, cells: Cells) -> Classes:
        """Take the labels from a column without missing values."""
        labels, _ = cells.distinct()
        return cls(cells.name, tuple(labels))

    def encode(self, cells: Cells) -> npt.NDArray[np.int64]:
        """Return class numbers, (n,).

        Raises
        ------
        ValueError
            If a label is not among those learned.
        """
        numbers = {label: c for c, label in enumerate(self.labels)}
        values, places = cells.distinct()
        classes = np.array([numbers.get(value, -1) for value in values], dtype=np.int64)[places]
        if (unknown := classes < 0).any():
            label = cells.value(int(unknown.argmax()))
            raise ValueError(f"the target {self.name!r} holds {label!r}, which is no class known")
        return classes

    def decode(self, probabilities: Floats) -> dict[str, npt.NDArray[Any]]:
        """Return the label of the largest probability, and that as its confidence."""
        labels = np.array(self.labels)[probabilities.argmax(axis=1)]
        return {"prediction": labels, "confidence": probabilities.max(axis=1)}


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
    def learn(cls, cells: Cells) -> Quantity:
        """Take mean, standard deviation and range from a column without missing values."""
        values = cells.floats()
        largest = float(np.abs(values).max()) or 1.0
        spread = largest * float((values / largest).std())  # the square of 1e300 would overflow
        mean = float((values / largest).mean()) * largest
        return cls(cells.name, mean, spread or 1.0, float(values.min()), float(values.max()))

    def numbers(self, cells: Cells) -> Floats:
        """Return a column's values, (n,).

        Raises
        ------
        ValueError
            If it holds something else than numbers.
        """
        if cells.kind != "numbers":
            raise ValueError(f"the target {self.name!r} held numbers in training and holds {cells.kind} here")
        return cells.floats()

    def encode(self, cells: Cells) -> Floats:
        """Return standardised values, (n,)."""
        return (self.numbers(cells) - self.mean) / self.spread

    def values(self, output: npt.NDArray[Any]) -> Floats:
        """Return what standardised outputs stand for."""
        return np.clip(output.astype(np.float64) * self.spread + self.mean, self.lowest, self.highest)


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


def known_target(cells: Cells) -> Cells:
    """Return the target with infinite numbers as missing ones.

    Raises
    ------
    ValueError
        If it holds something else than numbers, truth values or texts.
    """
    if cells.kind == "text":
        return cells
    if cells.kind == "numbers":
        return replace(cells, missing=cells.missing | ~np.isfinite(cells.values))
    raise ValueError(f"the target {cells.name!r} holds {cells.kind}, neither classes nor numbers")


def tell_task(cells: Cells, task: str | None = None) -> tuple[str, str]:
    """Say whether a target is classes or a quantity.

    Text and truth values are classes. Whole numbers are classes if there are at most two different ones, or at most
    `MOST_WHOLE_CLASSES` with `FEWEST_ROWS_PER_CLASS` rows to each on average. All other numbers are a quantity.

    Parameters
    ----------
    cells : Cells
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
    values, _ = cells.distinct()
    name, n_rows, n_values = cells.name, len(cells), len(values)
    if n_values == 1:
        raise ValueError(f"the target {name!r} has the value {values[0]!r} in every row: there is nothing to learn")
    if cells.kind == "numbers":
        whole = cells.is_whole or bool((cells.values == np.round(cells.values)).all())
        few = n_values <= 2 or (n_values <= MOST_WHOLE_CLASSES and n_rows >= FEWEST_ROWS_PER_CLASS * n_values)
        found = "classification" if whole and few else "regression"
        reason = f"{n_values:,} different {'whole numbers' if whole else 'values'}"
        if whole:  # where the other task is possible too
            reason += f"; --task {'regression' if few else 'classification'} if that is wrong"
    else:
        found, reason = "classification", "true or false" if cells.is_truth else "text"
        if task == "regression":
            raise ValueError(f"regression needs numbers, and the target {name!r} holds text ({cells.value(0)!r})")
    if task is not None:
        found, reason = task, "as asked"
    if found == "classification" and 2 < n_rows < 2 * n_values:
        shown = f"{n_values} different values ({cells.value(0)!r}, {cells.value(1)!r}, …) in {n_rows} rows"
        raise ValueError(f"the target {name!r} has {shown}: too many to be classes")
    return found, reason

"""What the command says: about a table, a training run under a progress bar, its scores, and compiled code.

It knows numbers and words. It must not know how anything is read, encoded or trained.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fastbp.network import Network
from fastbp.startup import Diagnosis
from fastbp.tabular.encoding import Encoding, NumberColumn
from fastbp.tabular.target import Classes
from fastbp.tabular.training_data import Score, TrainingData

_SHOWN = 6
_SECONDS_BETWEEN_UPDATES = 0.05


class TrainingProgress:
    """A bar on stderr with epoch, loss, validation loss and samples/s; it is a callback of `Network.fit`.

    Attributes
    ----------
    epochs_done : int
    seconds : float
        What the epochs done have taken.
    """

    def __init__(self, epochs: int, n_rows: int, quiet: bool) -> None:
        columns = [TextColumn("epoch {task.completed}/{task.total}"), BarColumn(20), TextColumn("{task.description}")]
        self._progress = Progress(*columns, console=Console(stderr=True), disable=quiet)
        self._task = self._progress.add_task("preparing the compiled code", total=epochs)
        self._epochs = epochs
        self._n_rows = n_rows
        self._next_update = 0.0
        self.epochs_done = 0
        self.seconds = 0.0

    def __enter__(self) -> TrainingProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._progress.disable:
            return  # some versions of rich end a line that never began
        if isinstance(error, Exception) or self.epochs_done == 0:
            self._progress.live.transient = True  # a run that failed leaves its error as the only line
            self._progress.live.stop()
        else:
            self._progress.stop()

    def __call__(self, epoch: int, history: Any) -> None:  # noqa: ARG002 (the history tells it)
        """Show the epoch that has just ended."""
        self.epochs_done = len(history.loss)
        self.seconds += history.seconds[-1]
        now = time.perf_counter()
        if now >= self._next_update or self.epochs_done == self._epochs:
            self._next_update = now + _SECONDS_BETWEEN_UPDATES
            rate = self._n_rows / max(history.seconds[-1], 1e-9)
            text = f"loss {history.loss[-1]:.4f}  validation {history.validation_loss[-1]:.4f}  {rate:,.0f} samples/s"
            self._progress.update(self._task, completed=self.epochs_done, description=text)


class WarmupProgress:
    """A bar on stderr with the function that is being compiled; it is what `startup.warmup` reports to."""

    def __init__(self, steps: int, quiet: bool) -> None:
        columns = [TextColumn("{task.completed}/{task.total}"), BarColumn(20), TextColumn("{task.description}")]
        self._progress = Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
        self._task = self._progress.add_task("", total=steps, completed=-1)

    def __enter__(self) -> WarmupProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, dtype: str, name: str) -> None:
        """Show what comes next."""
        self._progress.update(self._task, advance=1, description=f"{dtype} {name}")


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Give versions, CPU and the cache of compiled code, a line each, and at the end what is wrong."""
    lines = [
        ("versions", ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())),
        ("CPU", f"{diagnosis.cpu}, {diagnosis.cores} core{'s' * (diagnosis.cores > 1)} to use"),
    ]
    if diagnosis.place is None:
        lines.append(("cache", "nowhere: every process compiles"))
    else:
        access = "" if diagnosis.place_is_writable else ", read-only"
        lines.append(("cache", f"{diagnosis.place}, {diagnosis.bytes / 1e6:.1f} MB{access}"))
    for dtype, kept in diagnosis.kept.items():
        hits = [f"{name} ({seconds:.1f} s spared)" for name, seconds in kept.items()]
        missing = diagnosis.missing[dtype]
        parts = ["hit: " + ", ".join(hits)] * bool(hits) + ["to be compiled: " + ", ".join(missing)] * bool(missing)
        lines.append((dtype, "; ".join(parts)))
    if diagnosis.older:
        where = ", ".join(sorted({str(path.parent) for path in diagnosis.older}))
        size = f"{len(diagnosis.older)} of other versions, CPUs or settings, {diagnosis.older_bytes / 1e6:.1f} MB"
        lines.append(("folders", f"{size}, in {where}; they may be deleted"))
    lines += [("problem", problem) for problem in diagnosis.problems] or [("problems", "none")]
    return "\n".join(f"{name:9} {text}" for name, text in lines)


def target_text(data: TrainingData) -> str:
    """Say what the target was taken for, and why."""
    target = data.target
    if not isinstance(target, Classes):
        return f"{target.name}, numbers ({data.reason}): mean {target.mean:.5g}, standard deviation {target.spread:.5g}"
    counts = np.bincount(np.concatenate([data.y, data.y_held_out]), minlength=target.n_outputs)
    classes = [f"{target.labels[i]} {counts[i]}" for i in np.argsort(-counts, kind="stable")]
    return f"{target.name}, {len(classes)} classes ({data.reason}): {_listed(classes)}"


def input_texts(encoding: Encoding) -> list[str]:
    """Say which columns are numbers and which are categories."""
    numbers = [column.name for column in encoding.columns if isinstance(column, NumberColumn)]
    categories = [column.name for column in encoding.columns if not isinstance(column, NumberColumn)]
    kinds = [(numbers, "number", "numbers"), (categories, "category", "categories")]
    return [f"{len(names)} {one if len(names) == 1 else many}: {_listed(names)}" for names, one, many in kinds if names]


def network_text(network: Network) -> str:
    """Give the layers' widths and the number of parameters."""
    return f"{'-'.join(map(str, network.layer_sizes))}, {network.n_parameters:,} parameters"


def score_text(data: TrainingData, scores: Sequence[Score]) -> str:
    """Give the scores beside what the best constant prediction reaches."""
    if isinstance(data.target, Classes):
        (accuracy,) = scores
        commonest = data.target.labels[int(np.bincount(data.y).argmax())]
        return f"accuracy {accuracy.value:.1%} (always {commonest}: {accuracy.baseline:.1%})"
    r2, rmse = scores
    return f"R² {r2.value:.3f}, RMSE {rmse.value:.5g} (always the mean: R² {r2.baseline:.3f}, RMSE {rmse.baseline:.5g})"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")

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

from fastbp.startup import Diagnosis, SelfTest
from fastbp.tabular.columns import CategoryColumn, Column, DateColumn, NumberColumn
from fastbp.tabular.encoding import Encoding
from fastbp.tabular.ensemble import Progress as Event
from fastbp.tabular.model import TableModel
from fastbp.tabular.target import Classes
from fastbp.tabular.training_data import TrainingData

_SHOWN = 6
_SECONDS_BETWEEN_UPDATES = 0.05


class TrainingProgress:
    """A bar on stderr with networks, epoch, loss and error; it is what `building.build` reports to.

    Parameters
    ----------
    networks : int
    epochs : int
        Of each network, at most.
    metric : str
        What the error is.
    quiet : bool
    """

    def __init__(self, networks: int, epochs: int, metric: str, quiet: bool) -> None:
        columns = [TextColumn("network {task.fields[network]}"), BarColumn(20), TextColumn("{task.description}")]
        self._progress = Progress(*columns, console=Console(stderr=True), disable=quiet)
        self._task = self._progress.add_task("reading the table", total=networks * epochs, network=f"0/{networks}")
        self._networks, self._epochs, self._metric = networks, epochs, metric.replace("_", " ")
        self._over = 0
        self._done: dict[int, int] = {}
        self._next_update = 0.0
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._started

    def __enter__(self) -> TrainingProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._progress.disable:
            return  # some versions of rich end a line that never began
        if error is not None:
            self._progress.live.transient = True  # a run that failed leaves its error as the only line
            self._progress.live.stop()
        else:
            self._progress.stop()

    def say(self, what: str) -> None:
        """Show what is being done before the first epoch."""
        self._progress.update(self._task, description=what)

    def __call__(self, event: Event) -> None:
        """Show the epoch that has just ended."""
        self._over += event.is_over
        self._networks = max(self._networks, event.network + 1)  # one more, if one of the first two was dropped
        self._done[event.network] = self._epochs if event.is_over else event.epoch
        now = time.perf_counter()
        if now >= self._next_update or event.is_over:
            self._next_update = now + _SECONDS_BETWEEN_UPDATES
            self._progress.update(
                self._task,
                total=self._networks * self._epochs,
                completed=sum(self._done.values()),
                network=f"{self._over}/{self._networks}",
                description=f"epoch {event.epoch}  loss {event.loss:.4f}  {self._metric} held out {event.error:.4f}",
            )


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


def self_test_text(test: SelfTest) -> str:
    """Say how a small network compares with plain NumPy."""
    verdict = "as NumPy has them" if test.is_right else "WRONG"
    speed = f"training steps at {test.times_sooner:.1f} times NumPy's speed"
    return f"gradients {verdict} (within {test.difference:.0e}), {speed}"


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Give versions, CPU and the cache of compiled code, a line each, and at the end what is wrong."""
    lines = [
        ("versions", ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())),
        ("CPU", f"{diagnosis.cpu}, {diagnosis.cores} core{'s' * (diagnosis.cores > 1)} to use"),
        ("features", ", ".join(diagnosis.features) or "none that kernels know"),
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
    counts = np.bincount(target.encode(data.column), minlength=target.n_outputs)
    classes = [f"{target.labels[i]} {counts[i]}" for i in np.argsort(-counts, kind="stable")]
    return f"{target.name}, {len(classes)} classes ({data.reason}): {_listed(classes)}"


def input_texts(encoding: Encoding) -> list[str]:
    """Say which columns are numbers, which are categories and which are dates."""
    kinds = [
        (NumberColumn, "number", "numbers"),
        (CategoryColumn, "category", "categories"),
        (DateColumn, "date", "dates"),
    ]
    texts = []
    for kind, one, many in kinds:
        names = [column.name for column in encoding.columns if isinstance(column, kind)]
        if names:
            texts.append(f"{len(names)} {one if len(names) == 1 else many}: {_listed(names)}")
    return texts


def networks_text(model: TableModel) -> str:
    """Give the number of networks, the layers' widths and the number of parameters."""
    shapes: dict[str, int] = {}
    for network in model.networks:
        shape = f"{'-'.join(map(str, network.layer_sizes))}, {network.n_parameters:,} parameters"
        shapes[shape] = shapes.get(shape, 0) + 1
    return " and ".join(f"{count} of {shape}" for shape, count in shapes.items())


def inspection_text(model: TableModel) -> str:
    """Give all that is in a model, a line each."""
    about, target = model.about, model.target
    lines = [("version", f"fastbp {about['version']}")]
    if isinstance(target, Classes):
        lines.append(("target", f"{target.name}, {target.n_outputs} classes: {_listed(list(map(str, target.labels)))}"))
    else:
        text = f"mean {target.mean:.5g}, standard deviation {target.spread:.5g}"
        lines.append(("target", f"{target.name}, numbers from {target.lowest:.5g} to {target.highest:.5g}: {text}"))
    lines.append(("trained", f"{model.n_rows:,} rows"))
    lines.append(("held out", f"{about['rows_held_out']:,} rows, {score_text(about['scores'])}"))
    lines.append(("networks", networks_text(model)))
    epochs = ", ".join(f"{network['epoch']} of {network['epochs']}" for network in about["networks"])
    lines.append(("epochs", f"best of those made: {epochs}"))
    settings = ", ".join(f"{name} {value}" for name, value in about["settings"].items() if value is not None)
    lines.append(("settings", settings))
    lines += [("column", column_text(column)) for column in model.encoding.columns]
    if model.encoding.left_out:
        lines.append(("left out", ", ".join(model.encoding.left_out)))
    return "\n".join(f"{name:9} {text}" for name, text in lines)


def column_text(column: Column) -> str:
    """Say how one column is encoded."""
    inputs = f"{column.width} input{'s' * (column.width != 1)}"
    if isinstance(column, CategoryColumn):
        return f"{column.name}, category, {inputs}: {_listed(column.levels)}"
    if isinstance(column, DateColumn):
        periods = f" with its place in the {', '.join(column.periods)}" if column.periods else ""
        return f"{column.name}, date{periods}, {inputs}"
    missing = ", missing in places" * column.marks_missing
    return f"{column.name}, number{missing}, {inputs}: median {column.median:.5g}, quartiles {column.scale:.5g} apart"


def score_text(scores: Sequence[dict[str, Any]]) -> str:
    """Give each score beside what the best constant prediction reaches."""
    return (
        ", ".join(f"{score['measure']} {_score(score, 'value')} ({_score(score, 'baseline')})" for score in scores)
        + "; in brackets, of the best constant"
    )


def _score(score: dict[str, Any], what: str) -> str:
    value = score[what]
    if value is None:
        return "–"
    return f"{value:.1%}" if score["measure"] == "accuracy" else f"{value:.4g}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")

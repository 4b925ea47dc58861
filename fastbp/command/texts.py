"""What the command prints: a table, a model and its scores, the machine and its compiled code, in words.

May import `tables`, `tabular` and `report.words`. It must not know how anything is read, encoded or trained.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from fastbp.command.options import STDIN
from fastbp.command.terminal import visible
from fastbp.report.words import counted, score_words, settings_words
from fastbp.tables.reading import Table
from fastbp.tabular.encoding.columns import CategoryColumn, Column, DateColumn, NumberColumn
from fastbp.tabular.encoding.inputs import Encoding
from fastbp.tabular.encoding.target import Classes, Target, target_to_dict
from fastbp.tabular.metrics import metric_words, validation_words
from fastbp.tabular.model import TableModel
from fastbp.tabular.training.parts import TrainingData

if TYPE_CHECKING:
    from fastbp.startup import Diagnosis, SelfTest

Line = tuple[str, str]  # a label and a text

_COLUMNS = 100  # of the terminal
_N_SHOWN = 6


# --- the terminal ---------------------------------------------------------------------------------------------------


def source_name(data: Path) -> str:
    """Return what a table is called: the name of its file, or "standard input"."""
    return "standard input" if data == STDIN else data.name


def print_notes(notices: Iterable[str], is_quiet: bool) -> None:
    """Print each notice as a line on stderr, unless the user asked for quiet."""
    for notice in () if is_quiet else notices:
        typer.echo(visible(f"note: {notice}"), err=True)


def lines_text(lines: Iterable[Line]) -> str:
    """Return labels in a narrow column and texts beside them, wrapped at 100 characters."""
    return "\n".join(
        textwrap.fill(
            visible(f"{label:9} {text}", kept="\t\n\x0b\x0c\r"),  # textwrap turns these into spaces
            _COLUMNS,
            subsequent_indent=" " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for label, text in lines
    )


# --- tables and models ----------------------------------------------------------------------------------------------


def table_text(name: str, table: Table, data: TrainingData) -> str:
    """Describe the table that a model is trained on, and its target."""
    counts = None
    if isinstance(data.target, Classes):
        counts = np.bincount(data.target.encode(data.column), minlength=data.target.n_outputs)
    target = f"{data.target.name}, {_target_text(data.target, data.reason, counts)}"
    size = f"{name}, {counted(table.cells.height, 'row')}, {counted(table.cells.width, 'column')}"
    return lines_text([("table", size), ("target", target)])


def training_text(model: TableModel, seconds: float) -> str:
    """Describe the inputs and the networks of a model that has just been trained, and its scores."""
    about = model.about
    epochs = sum(network["epochs"] for network in about["networks"])
    lines = [("inputs", text) for text in _input_texts(model.encoding)]
    lines.append(("networks", _networks_text(model)))
    lines.append(("trained", f"{counted(model.n_rows, 'row')}, {counted(epochs, 'epoch')} in all, {seconds:.2f} s"))
    lines += score_lines("held out", about["scores"], about["rows_held_out"])
    return lines_text(lines)


def inspection_text(model: TableModel) -> str:
    """Describe everything in a model: target, scores, networks, settings and columns."""
    about, target = model.about, model.target
    settings = settings_words(about["settings"], target.task)
    lines = [
        ("version", f"fastbp {about['version']}"),
        ("target", f"{target.name}, {_target_text(target)}"),
        ("trained", counted(model.n_rows, "row")),
        *score_lines("held out", about["scores"], about["rows_held_out"]),
        ("networks", _networks_text(model)),
        *(("network", text) for text in _network_texts(model)),
        ("settings", ", ".join(f"{name}={value}" for name, value in settings.items())),
        *(("column", column_text(column)) for column in model.encoding.columns),
    ]
    if model.encoding.left_out:
        lines.append(("left out", ", ".join(model.encoding.left_out)))
    return lines_text(lines)


def model_summary(model: TableModel) -> dict[str, Any]:
    """Return a model as `--json` prints it: target, rows, scores, settings, columns and layer sizes."""
    return {
        "target": target_to_dict(model.target),
        "rows": model.n_rows,
        **model.about,
        "temperature": model.temperature,
        "columns": model.encoding.to_dict()["columns"],
        "left_out": list(model.encoding.left_out),
        "layer_sizes": [list(network.layer_sizes) for network in model.networks],
    }


def column_text(column: Column) -> str:
    """Describe how one column is encoded."""
    inputs = counted(column.width, "input")
    if isinstance(column, CategoryColumn):
        return f"{column.name}, category, {inputs}: {_listed(column.levels)}"
    if isinstance(column, DateColumn):
        periods = f" with its phase in the {', '.join(column.periods)}" if column.periods else ""
        return f"{column.name}, date{periods}, {inputs}"
    missing = ", some missing" * column.marks_missing
    scale = f"median {column.offset + column.median:.5g}, scale {column.scale:.5g}"
    return f"{column.name}, number{missing}, {inputs}: {scale}"


def score_lines(label: str, scores: Sequence[dict[str, Any]], n_rows: int | None = None) -> list[Line]:
    """Return the scores of a model, each with the score of the best constant prediction in parentheses.

    Parameters
    ----------
    label : str
    scores : sequence of dict
        With the keys "metric", "value" and "baseline".
    n_rows : int, optional
        Number of rows that were scored. Default: the number is not shown.
    """
    texts = [
        f"{metric_words(score['metric'])} {score_words(score)} ({score_words(score, 'baseline')})" for score in scores
    ]
    rows = [] if n_rows is None else [counted(n_rows, "row")]
    return [(label, ", ".join([*rows, *texts])), ("", "(in parentheses: the best constant prediction)")]


def _target_text(target: Target, reason: str = "", counts: Any = None) -> str:
    """Describe the kind of the target, the reason for it, and its classes or its distribution."""
    because = f" ({reason})" * bool(reason)
    if isinstance(target, Classes):
        labels = [str(label) for label in target.labels]
        if counts is not None:
            labels = [f"{labels[c]} {counts[c]}" for c in np.argsort(-counts, kind="stable")]
        return f"{len(labels)} classes{because}: {_listed(labels)}"
    extent = f"from {target.lowest:.5g} to {target.highest:.5g}"
    return f"numbers{because}: {extent}, mean {target.mean:.5g}, standard deviation {target.std:.5g}"


def _input_texts(encoding: Encoding) -> list[str]:
    """Return which columns are numbers, which are categories and which are dates, one text a kind."""
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


def _networks_text(model: TableModel) -> str:
    """Return the number of networks, their layer sizes and their numbers of parameters."""
    counts: dict[str, int] = {}
    for network in model.networks:
        shape = f"{'-'.join(map(str, network.layer_sizes))}, {network.n_parameters:,} parameters"
        counts[shape] = counts.get(shape, 0) + 1
    return " and ".join(f"{count} of {shape}" for shape, count in counts.items())


def _network_texts(model: TableModel) -> list[str]:
    """Return the settings, the best epoch and the error of each network, the one with the smallest error first."""
    error_name = validation_words(model.about["settings"]["metric"])
    texts = []
    for one in model.leaderboard:
        sees = "bins" if one["sees_bins"] else "no bins"
        error = "" if one["error"] is None else f", {error_name} {one['error']:.4g}"
        sizes = "-".join(map(str, one["layer_sizes"]))
        epochs = f"best epoch {one['epoch']} of {one['epochs']}"
        texts.append(f"{sizes}, {one['activation']}, {sees}, {epochs}{error}, weight {one['weight']:.1%}")
    return texts


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _N_SHOWN
    return ", ".join(names[:_N_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


# --- the machine ----------------------------------------------------------------------------------------------------


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Describe versions, CPU and the cache of compiled code, and list the problems last."""
    lines = [
        ("versions", ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())),
        ("CPU", f"{diagnosis.cpu}, {diagnosis.cores} core{'s' * (diagnosis.cores > 1)} available"),
        ("features", ", ".join(diagnosis.features) or "none that the kernels use"),
    ]
    if diagnosis.place is None:
        cache = "nowhere: every process compiles"
    else:
        access = "" if diagnosis.place_is_writable else ", read-only"
        cache = f"{diagnosis.place}, {diagnosis.bytes / 1e6:.1f} MB{access}"
    functions = []
    for dtype, kept in diagnosis.kept.items():
        hits = [f"{name} ({seconds:.1f} s saved)" for name, seconds in kept.items()]
        missing = diagnosis.missing[dtype]
        parts = [("compiled", hits), ("to be compiled", missing)]
        functions.append((dtype, "; ".join(f"{label}: {', '.join(names)}" for label, names in parts if names)))
    paths = []  # not wrapped, so that a path can be copied
    if diagnosis.older:
        folders = ", ".join(sorted({str(path.parent) for path in diagnosis.older}))
        size = f"{len(diagnosis.older)} of other versions, CPUs or settings, {diagnosis.older_bytes / 1e6:.1f} MB"
        paths.append(("folders", f"{size}, in {folders}; they may be deleted"))
    paths += [("problem", problem) for problem in diagnosis.problems] or [("problems", "none")]
    unwrapped = [visible(f"{label:9} {text}") for label, text in paths]
    return "\n".join([lines_text(lines), visible(f"cache     {cache}"), lines_text(functions), *unwrapped])


def self_test_text(test: SelfTest) -> str:
    """Describe how a small network compares with plain NumPy."""
    verdict = "agree with NumPy" if test.is_right else "are WRONG"
    speed = f"training steps {test.speedup:.1f} times as fast as NumPy"
    return f"gradients {verdict} (relative difference {test.difference:.0e}), {speed}"

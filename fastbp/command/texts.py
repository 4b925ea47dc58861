"""What the command says: about a table, a model and its scores, the machine and compiled code.

It knows numbers and words. It must not know how anything is read, encoded or trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp.startup import Diagnosis, SelfTest
from fastbp.tables.preparing import TrainingData
from fastbp.tabular.encoding.columns import CategoryColumn, Column, DateColumn, NumberColumn
from fastbp.tabular.encoding.inputs import Encoding
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.model import TableModel

_SHOWN = 6


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

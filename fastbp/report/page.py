"""The report of a training: one HTML page that needs nothing else.

It knows what was built and how pages are written. It must not know how anything was trained or drawn.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastbp import __version__
from fastbp.files.atomic import replace_file
from fastbp.report import figures
from fastbp.report.importance import importances
from fastbp.tables.preparing import TrainingData
from fastbp.tabular.encoding.cells import Cells, date_text
from fastbp.tabular.encoding.columns import CategoryColumn, Column, DateColumn, text_counts
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.training.build import Built

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 880px; margin: 2.5em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin: 2em 0 .6em; color: #1f4e79; }
p.lead { color: #555; margin-top: 0; } p.note { color: #555; font-size: .92em; }
table { border-collapse: collapse; font-size: .92em; } th { text-align: left; font-weight: 600; }
th, td { padding: .25em .9em .25em 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; } .side { display: flex; flex-wrap: wrap; gap: 1.5em; align-items: center; }
.scroll { overflow-x: auto; } footer { margin-top: 3em; color: #888; font-size: .85em; }
"""
_LEAST_CELLS_TOLD = 3
_LONGEST = 40  # characters of a text


def write_report(path: Path, built: Built, data: TrainingData, name: str) -> None:
    """Write a page about a training to `path`, whole or not at all."""
    replace_file(path, [report(built, data, name).encode()])


def report(built: Built, data: TrainingData, name: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    built : Built
    data : TrainingData
        What it was built from.
    name : str
        What the table is called.
    """
    model, target = built.model, built.model.target
    what = f"{target.n_outputs} classes" if isinstance(target, Classes) else "a number"
    lead = (
        f"{model.n_rows:,} rows of {name}, {len(model.encoding.columns)} columns, {len(model.networks)} "
        f"network{'s' * (len(model.networks) != 1)}; the target is {what}."
    )
    parts = [
        f"<h1>{_escape(target.name)}</h1><p class=lead>{_escape(lead)}</p>",
        "<h2>Scores</h2>",
        _scores(built),
        "<h2>Learning curves</h2>",
        figures.learning_curves(
            [member.trained.losses for member in built.members],
            [member.trained.errors for member in built.members],
            [member.trained.epoch for member in built.members],
            _metric(built),
        ),
        "<p class=note>A line for each network; the dot is the epoch that was kept.</p>",
        *(_of_classes(built, target) if isinstance(target, Classes) else _of_numbers(built)),
        "<h2>Which columns matter</h2>",
        _importances(built),
        "<h2>Columns</h2>",
        _columns(data, model.encoding.columns),
        "<h2>Settings</h2>",
        _settings(built),
    ]
    if notices := (*data.notices, *built.notices):
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{_escape(notice)}</li>" for notice in notices), "</ul>"]
    title = f"{_escape(target.name)} – fastbp"
    head = f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>"
    meta = '<meta name=viewport content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    footer = f"<footer>fastbp {__version__}</footer>"
    return f"{head}{meta}<style>{_STYLE}</style></head><body>\n{body}\n{footer}</body></html>\n"


def _metric(built: Built) -> str:
    name = str(built.model.about["settings"]["metric"]).replace("_", " ")
    return name if isinstance(built.model.target, Classes) else f"{name}, in standard deviations,"


def _settings(built: Built) -> str:
    of_no_use = {"quantile"} if built.model.about["settings"]["metric"] != "quantile" else set()
    of_no_use |= set() if isinstance(built.model.target, Classes) else {"label_smoothing"}
    settings = built.model.about["settings"].items()
    rows = [[name.replace("_", " "), _value(value)] for name, value in settings if name not in of_no_use]
    return _table(["setting", "value"], [row for row in rows if row[1] != "–"])


def _scores(built: Built) -> str:
    rows = [
        [score["measure"], _value(score["value"]), _value(score["baseline"])] for score in built.model.about["scores"]
    ]
    told = f"On {len(built.rows):,} rows, each answered by networks that had not seen it in training."
    return _table(["", "model", "best constant"], rows) + f"<p class=note>{told}</p>"


def _of_classes(built: Built, target: Classes) -> Iterable[str]:
    taken = built.answers.argmax(axis=1)
    counts = np.zeros((target.n_outputs, target.n_outputs))
    np.add.at(counts, (built.truth, taken), 1)
    confidence = built.answers.max(axis=1)
    yield "<h2>Confusions and calibration</h2><div class=side>"
    yield figures.confusion(counts, [str(label) for label in target.labels])
    yield figures.calibration(confidence, taken == built.truth)
    yield "</div><p class=note>Right: of the rows that were answered with so much confidence, how many were right; on "
    yield "the line, the model is as sure as it may be. Bars: where 90 % of such shares lie by chance.</p>"


def _of_numbers(built: Built) -> Iterable[str]:
    residuals = built.model.residuals
    yield "<h2>Residuals</h2>"
    yield figures.residuals(built.answers, built.truth)
    if len(residuals) and residuals[-1] > 0:
        yield figures.coverage(residuals, (np.arange(len(residuals)) + 1) / len(residuals))
        yield "<p class=note>How far a number lies from its prediction, in what share of rows; in red, half of them "
        yield "and nine tenths.</p>"


def _importances(built: Built) -> str:
    what = "log loss" if isinstance(built.model.target, Classes) else "RMSE"
    told = "A column can look dispensable because another one says the same."
    return figures.importances(importances(built), what) + f"<p class=note>{told}</p>"


def _columns(data: TrainingData, columns: Sequence[Column]) -> str:
    by_name = {column.name: column for column in columns}
    rows = []
    for cells in data.frame:
        learned = by_name.get(cells.name)
        used = "left out" if learned is None else f"{learned.width} input{'s' * (learned.width != 1)}"
        share = f"{cells.n_missing / len(cells):.1%}" if cells.n_missing else ""
        rows.append([cells.name, _kind(learned, cells), share, _summary(cells), used])
    return "<div class=scroll>" + _table(["column", "kind", "missing", "values", "used as"], rows) + "</div>"


def _kind(learned: Column | None, cells: Cells) -> str:
    if isinstance(learned, CategoryColumn):
        return "category"
    return "date" if isinstance(learned, DateColumn) else cells.kind.removesuffix("s")


def _summary(cells: Cells) -> str:
    """Return the range and quartiles of numbers, the first and the last date, the commonest texts."""
    if cells.missing.all() or cells.kind not in ("numbers", "text", "dates"):
        return ""
    if cells.kind == "numbers":
        values = cells.floats()
        values = values[~np.isnan(values)]
        if not len(values):
            return ""
        lowest, lower, median, upper, highest = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        return f"{lowest:.4g} … {lower:.4g} · {median:.4g} · {upper:.4g} … {highest:.4g}"
    if cells.kind == "dates":
        days = cells.days()
        return f"{date_text(np.nanmin(days))} … {date_text(np.nanmax(days))}"
    counts = text_counts(cells)
    commonest = [f"{figures.shortened(text, _LONGEST)} {n:,}" for text, n in counts.most_common(_LEAST_CELLS_TOLD)]
    return ", ".join(commonest) + (f" and {len(counts) - len(commonest)} more" if len(counts) > len(commonest) else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _escape(text: str) -> str:
    return html.escape(str(text))

"""The report of a training: one HTML page that needs no other file.

May import `tabular`, `files` and the other files of `report/`. It must not know how anything was trained or drawn.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fastbp._version import __version__
from fastbp.files.atomic import replace_file
from fastbp.report import figures
from fastbp.report.importance import importances
from fastbp.report.words import counted, score_words, settings_words
from fastbp.tabular.encoding.cells import Cells, date_text
from fastbp.tabular.encoding.columns import CategoryColumn, Column, DateColumn, text_counts
from fastbp.tabular.encoding.target import Classes
from fastbp.tabular.metrics import metric_words, validation_words
from fastbp.tabular.training.parts import Built, TrainingData

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 880px; margin: 2.5em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin: 2em 0 .6em; color: #1f4e79; }
p.lead { color: #555; margin-top: 0; } p.note { color: #555; font-size: .92em; }
table { border-collapse: collapse; font-size: .92em; } th { text-align: left; font-weight: 600; }
th, td { padding: .25em .9em .25em 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
svg { max-width: 100%; height: auto; } .side { display: flex; flex-wrap: wrap; gap: 1.5em; align-items: center; }
.scroll { overflow-x: auto; } footer { margin-top: 3em; color: #888; font-size: .85em; }
"""
_N_TEXTS = 3  # most frequent texts that are shown for a column
_MAX_LENGTH = 40  # characters of such a text


def write_report(path: Path, built: Built, data: TrainingData, table_name: str) -> None:
    """Write the report of a training to a file. The file is replaced as a whole or not at all.

    Parameters
    ----------
    path : Path
        Where to write.
    built : Built
        The model, and what its training showed.
    data : TrainingData
        The rows that the model was trained on.
    table_name : str
        Name of the table on the page.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    replace_file(path, [report(built, data, table_name).encode()])


def report(built: Built, data: TrainingData, table_name: str) -> str:
    """Return the report of a training as HTML; parameters as for `write_report`."""
    model, target = built.model, built.model.target
    kind = f"classification, {target.n_outputs} classes" if isinstance(target, Classes) else "regression"
    lead = (
        f"{kind.capitalize()}. Trained on {model.n_rows:,} rows of {table_name}, "
        f"{counted(len(model.encoding.columns), 'column')}, {counted(len(model.networks), 'network')}."
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
            validation_words(model.about["settings"]["metric"]),
        ),
        _note("One line for each network. The dot marks the best epoch, whose parameters the model keeps."),
        *(_classification(built, target) if isinstance(target, Classes) else _regression(built)),
        "<h2>Permutation importance</h2>",
        _importances(built),
        "<h2>Columns</h2>",
        _columns(data, model.encoding.columns),
        "<h2>Networks</h2>",
        _networks(built),
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


# --- sections -------------------------------------------------------------------------------------------------------


def _scores(built: Built) -> str:
    scores = built.model.about["scores"]
    rows = [[metric_words(score["metric"]), score_words(score), score_words(score, "baseline")] for score in scores]
    return _table(["metric", "model", "best constant prediction"], rows) + _note(
        f"On {len(built.rows):,} held-out rows. Each row is predicted by the networks that were not trained on it."
    )


def _classification(built: Built, target: Classes) -> Iterable[str]:
    predicted = built.answers.argmax(axis=1)
    counts = np.zeros((target.n_outputs, target.n_outputs))
    np.add.at(counts, (built.truth, predicted), 1)
    confidence = built.answers.max(axis=1)
    yield "<h2>Confusion matrix and calibration</h2><div class=side>"
    yield figures.confusion_matrix(counts, [str(label) for label in target.labels])
    yield figures.calibration(confidence, predicted == built.truth)
    yield "</div>"
    yield _note(
        "Left: the number of held-out rows by true and predicted class. Right: the accuracy of predictions against "
        "their confidence, which is the probability of the predicted class. Calibrated predictions lie on the line. "
        "Bars are 90 % intervals of the accuracy."
    )


def _regression(built: Built) -> Iterable[str]:
    errors = built.model.residuals
    yield "<h2>Residuals</h2>"
    yield figures.residuals(built.answers, built.truth)
    yield _note("Left: predicted against true values of the held-out rows. Right: the distribution of the residuals.")
    if len(errors) and errors[-1] > 0:
        yield figures.coverage(errors, (np.arange(len(errors)) + 1) / len(errors))
        yield _note(
            "The share of held-out rows whose absolute error is at most the value on the axis. Red lines mark 50 % "
            "and 90 % of the rows."
        )


def _importances(built: Built) -> str:
    error = "log loss" if isinstance(built.model.target, Classes) else "RMSE"
    return figures.importances(importances(built), error) + _note(
        f"How much the {error} on held-out rows grows when one column is shuffled. The importance of a column can be "
        "small because another column holds the same information."
    )


def _columns(data: TrainingData, columns: Sequence[Column]) -> str:
    by_name = {column.name: column for column in columns}
    rows = []
    for cells in data.frame:
        column = by_name.get(cells.name)
        use = "left out" if column is None else counted(column.width, "input")
        share = f"{cells.n_missing / len(cells):.1%}" if cells.n_missing else ""
        rows.append([cells.name, _kind(column, cells), share, _summary(cells), use])
    return (
        "<div class=scroll>"
        + _table(["column", "kind", "missing", "values", "used as"], rows)
        + "</div>"
        + _note(
            "Values: minimum … lower quartile · median · upper quartile … maximum of numbers; first … last date; the "
            "most frequent texts, each with its number of rows."
        )
    )


def _networks(built: Built) -> str:
    rows = []
    for one in built.model.leaderboard:
        seconds = built.members[one["network"]].trained.seconds
        error = "–" if one["error"] is None else f"{one['error']:.4g}"
        sizes, sees = "-".join(map(str, one["layer_sizes"])), "yes" if one["sees_bins"] else "no"
        epochs = f"{one['epoch']} of {one['epochs']}"
        rows.append([sizes, str(one["activation"]), sees, epochs, error, f"{seconds:.2f}", f"{one['weight']:.1%}"])
    error_name = validation_words(built.model.about["settings"]["metric"])
    head = ["layer sizes", "activation", "sees bins", "best epoch", error_name, "seconds", "weight"]
    return f"<div class=scroll>{_table(head, rows)}</div>" + _note(
        "Errors are those of each network's own held-out rows after its best epoch, which these rows chose."
    )


def _settings(built: Built) -> str:
    settings = settings_words(built.model.about["settings"], built.model.target.task)
    return _table(["setting", "value"], [[name.replace("_", " "), value] for name, value in settings.items()])


# --- cells of the table ---------------------------------------------------------------------------------------------


def _kind(column: Column | None, cells: Cells) -> str:
    if isinstance(column, CategoryColumn):
        return "category"
    return "date" if isinstance(column, DateColumn) else cells.kind.removesuffix("s")


def _summary(cells: Cells) -> str:
    """Return the quartiles of numbers, the first and the last date, or the most frequent texts."""
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
        return f"{date_text(float(np.nanmin(days)))} … {date_text(float(np.nanmax(days)))}"
    counts = text_counts(cells)
    shown = [f"{figures.shortened(text, _MAX_LENGTH)} {n:,}" for text, n in counts.most_common(_N_TEXTS)]
    return ", ".join(shown) + (f" and {len(counts) - len(shown)} more" if len(counts) > len(shown) else "")


# --- HTML -----------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def _note(text: str) -> str:
    return f"<p class=note>{_escape(text)}</p>"


def _escape(text: str) -> str:
    return html.escape(str(text))

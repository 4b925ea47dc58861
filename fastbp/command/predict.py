"""The sub-commands that use a trained model: `predict`, `evaluate` and `inspect`.

May import every other folder, inside functions where they are slow to import. It must not hold any rule about tables
or networks.
"""

import json
import sys
from typing import TYPE_CHECKING

import typer

from fastbp.command import options
from fastbp.command.terminal import visible

if TYPE_CHECKING:
    from fastbp.tabular.model import TableModel


def predict(
    model: options.Model,
    data: options.Data,
    output: options.Output = None,
    probabilities: options.Probabilities = False,
    coverage: options.Coverage = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a table with the predictions of a model added as new columns.

    The new columns are `prediction` and, for classification, `confidence`: the probability of the predicted class. The
    other columns stay as they are, and a text table keeps its separator. The table may lack the target.
    """
    options.check_share("--coverage", coverage)

    from fastbp.command.texts import print_notes
    from fastbp.tables.preparing import reading_of
    from fastbp.tables.reading import read_table
    from fastbp.tables.writing import beside, table_text, write_table
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.model import TableModel

    loaded = TableModel.load(model)
    _check_task(loaded, probabilities, coverage)
    table = read_table(data)
    output = None if output == options.STDIN else output
    if output is not None:
        options.check_output("--output", output, [model, data], devices=True)
    table = table.read_like(reading_of(loaded))
    typed = table.typed(keep=loaded.encoding.names)
    frame = frame_of(typed.frame)
    answered, notices = beside(table.cells, loaded.predict(frame, probabilities, coverage))
    print_notes(
        [
            *table.notices,
            *typed.notices,
            *loaded.unknown_columns(frame),
            *loaded.encoding.unknown_levels(frame),
            *notices,
        ],
        quiet,
    )
    if output is None:
        text = table_text(answered, table)
        # A terminal gets no commands from cells. A pipe or a file gets the cells as they are.
        typer.echo((visible(text, kept="\t\n") if sys.stdout.isatty() else text).encode(), nl=False)
    else:
        write_table(answered, output, table)


def evaluate(
    model: options.Model,
    data: options.Data,
    target: options.Answers = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a model on a table that holds the true values, next to the best constant prediction.

    Scores on the training rows are too good: use other rows.
    """
    from fastbp.command.texts import lines_text, print_notes, score_lines, source_name
    from fastbp.report.words import counted
    from fastbp.tables.preparing import reading_of
    from fastbp.tables.reading import read_table
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.encoding.inputs import suggestion
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.training import judging

    loaded = TableModel.load(model)
    table = read_table(data)
    name = target or loaded.target.name
    if target is None and name not in table.cells.columns:
        hint = f"{suggestion(name, table.cells.columns)}: --target names the column of the true values"
        raise ValueError(f"the table has no column {name!r}{hint}")
    table.check_single(name)
    typed = table.read_like(reading_of(loaded, name)).typed(keep=(*loaded.encoding.names, name))
    frame = frame_of(typed.frame)
    scores, n_rows, notices = judging.evaluate(loaded, frame, name)
    print_notes([*table.notices, *typed.notices, *loaded.encoding.unknown_levels(frame), *notices], quiet)
    if as_json:
        typer.echo(json.dumps({"rows": n_rows, "scores": scores}))
    else:
        size = f"{source_name(data)}, {counted(n_rows, 'row')}"
        typer.echo(lines_text([("table", size), *score_lines("scores", scores)]))


def inspect(model: options.Model, as_json: options.AsJson = False) -> None:
    """Print what a model file holds: target, columns, networks, scores and settings."""
    from fastbp.command.texts import inspection_text, model_summary
    from fastbp.tabular.model import TableModel

    loaded = TableModel.load(model)
    typer.echo(json.dumps(model_summary(loaded)) if as_json else inspection_text(loaded))


def _check_task(model: "TableModel", probabilities: bool, coverage: float | None) -> None:
    """Raise a `ValueError` if an option asks for something that the model cannot give."""
    wanted_tasks = (("--probabilities", probabilities, "classification"), ("--coverage", coverage, "regression"))
    for option, value, task in wanted_tasks:
        if value and model.target.task != task:
            name = model.target.name
            raise ValueError(f"{option} is for {task}, and the model of {name!r} is for {model.target.task}")
    if coverage:
        with options.named("--coverage"):
            model.margin(coverage)

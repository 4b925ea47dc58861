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
    from collections.abc import Iterator

    from polars import DataFrame

    from fastbp.command.progress import PhaseProgress
    from fastbp.tables.loading import Source
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

    from fastbp.command.progress import PhaseProgress
    from fastbp.command.texts import print_notes
    from fastbp.tables.loading import Source
    from fastbp.tables.writing import table_texts, write_table
    from fastbp.tabular.model import TableModel

    loaded = TableModel.load(model)
    _check_task(loaded, probabilities, coverage)
    output = None if output == options.STDIN else output
    if output is not None:
        options.check_output("--output", output, [model, data], devices=True)
    is_terminal = output is None and sys.stdout.isatty()  # a bar would stand between the rows
    with PhaseProgress(quiet or is_terminal) as progress, Source(data, progress.of("reading", "bytes")) as source:
        predicted = _Predicted(loaded, source, probabilities, coverage, progress)
        if output is not None:
            write_table(predicted, output, predicted.like, progress.of("writing", "bytes"))
        else:
            for text in table_texts(predicted, predicted.like):
                # A terminal gets no commands from cells. A pipe or a file gets the cells as they are.
                typer.echo((visible(text, kept="\t\n") if is_terminal else text).encode(), nl=False)
    print_notes(predicted.notices, quiet)


class _Predicted:
    """The rows of a table in blocks, with predictions beside them. The rows are iterated once.

    Parameters
    ----------
    model : TableModel
    source : Source
    probabilities : bool
    coverage : float or None
    progress : PhaseProgress

    Attributes
    ----------
    like : Table
        Has the dialect of the file.
    """

    def __init__(
        self,
        model: "TableModel",
        source: "Source",
        probabilities: bool,
        coverage: float | None,
        progress: "PhaseProgress",
    ) -> None:
        from fastbp.tables.preparing import reading_of
        from fastbp.tables.streams import stream_of
        from fastbp.tables.unknown import UnknownLevels

        used = {column.name for column in model.encoding.columns}
        self._stream = stream_of(source, reading_of(model), used, model.encoding.names, progress)
        self._model, self._options, self._progress = model, (probabilities, coverage), progress
        self._levels = UnknownLevels(model.encoding)
        self._renamed: list[str] = []
        self.like = self._stream.like

    @property
    def notices(self) -> list[str]:
        """What was guessed or repaired, and what the model does not know, one sentence each."""
        from fastbp.tabular.encoding.frames import frame_of

        columns = self._model.unknown_columns(frame_of({name: [""] for name in self._stream.names}))
        return [*self._stream.notices, *columns, *self._levels.notices(), *self._renamed]

    def __iter__(self) -> "Iterator[DataFrame]":
        from fastbp.tables.writing import beside
        from fastbp.tabular.encoding.frames import frame_of

        self._model.encoding.check_columns(self._stream.names)
        n_done = 0
        for cells, typed in self._stream.parts():
            self._progress("predicting", "rows", n_done, self._stream.n_rows)
            try:
                frame = frame_of(typed)
                added = self._model.predict(frame, *self._options)
            except ValueError:
                self._model.predict(frame_of(self._stream.whole()), *self._options)  # its message counts all rows
                raise
            self._levels.count(frame)
            answered, self._renamed = beside(cells, added)
            yield answered
            n_done += cells.height
        self._progress("predicting", "rows", n_done, n_done)


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

"""The sub-commands that work on tables: `train`, `predict`, `evaluate`, `inspect`.

It knows the terminal and the order of things. It must not hold any rule about tables or networks. What is slow to
import is imported where it is needed, so that `fastbp --help` answers at once.
"""

import json
import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastbp.tabular import settings as defaults
from fastbp.tabular.settings import Settings

if TYPE_CHECKING:
    from fastbp.tables.preparing import TrainingData
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.training.build import Built

INTERRUPTED = 130

_STDIN = "-"


class InterruptedTrainingError(Exception):
    """Ctrl-C ended a training; what there is of the model is saved."""


class Task(str, Enum):
    """What a target may be taken for."""

    classification = "classification"
    regression = "regression"


class Metric(str, Enum):
    """What a model may be asked to be good in."""

    log_loss = "log_loss"
    accuracy = "accuracy"
    auc = "auc"
    rmse = "rmse"
    mae = "mae"
    quantile = "quantile"


_Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="CSV, TSV, JSON lines, any of them gzipped, or Parquet; - for standard input.",
        show_default=False,
    ),
]
_Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that `fastbp train` saved.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


def train(
    data: _Data,
    target: Annotated[str, typer.Option(help="The column to predict.", show_default=False)],
    model: Annotated[Path, typer.Option(help="Where to save the model.")] = Path("model.fastbp"),
    task: Annotated[
        Task | None, typer.Option(help="What the target is; told from the column if left out.", show_default=False)
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(
            help="What to be good in: log_loss for classes and rmse for numbers if left out.", show_default=False
        ),
    ] = None,
    quantile: Annotated[float, typer.Option(help="Which quantile to predict, with --metric quantile.")] = 0.5,
    networks: Annotated[int, typer.Option(min=1, help="How many networks to train and average.")] = defaults.N_ENSEMBLE,
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = ",".join(map(str, defaults.HIDDEN)),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows, at most.")] = defaults.EPOCHS,
    patience: Annotated[
        int, typer.Option(min=1, help="Passes without improvement that end a network's training.")
    ] = defaults.PATIENCE,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per step.")] = defaults.BATCH_SIZE,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help=f"The highest rate of the schedule; {defaults.LEARNING_RATE['classification']} for classes and "
            f"{defaults.LEARNING_RATE['regression']} for numbers if left out.",
            show_default=False,
        ),
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(help="Seconds after which the best so far is taken.", show_default=False)
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="A column whose equal values are held out together; not learned from.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the held-out rows, the first weights and the order.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Where to write a report, one HTML page.", show_default=False)
    ] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Train networks to predict one column of a table from the others, and save them as one model.

    Each network is trained without some of the rows; the score on those is printed beside that of the best constant
    prediction. Numbers are scaled, texts and dates encoded, missing cells learned from.

    Ctrl-C ends the training after the epoch; the model so far is measured and saved, and the exit code is 130.
    """
    wanted = Settings(
        n_ensemble=networks,
        metric=metric.value if metric else None,
        quantile=quantile,
        hidden=_widths(hidden),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        time_budget=time_budget,
        seed=seed,
    )
    _check_options(learning_rate, time_budget, quantile)

    from fastbp.command.progress import TrainingProgress, waiting
    from fastbp.command.texts import input_texts, networks_text, score_text, target_text
    from fastbp.tables.preparing import prepare
    from fastbp.tables.reading import read_table
    from fastbp.tables.writing import check_writable
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.training.build import resolved

    for path, option in ((model, "--model"), (report, "--report")):
        if path is not None:
            _refuse_to_replace(data, path, option)
            check_writable(path)
    if report is not None:
        from fastbp.report.page import write_report  # now, as it needs one more package

        if report.resolve() == model.resolve():
            raise ValueError(f"--report {report} would replace the model")
    with waiting("reading the table", quiet):
        table = read_table(data)
        ready = prepare(frame_of(table.values()), target, task.value if task else None, group)
    wanted = resolved(wanted, ready.target)
    _note([*table.notices, *ready.notices], quiet)
    if not as_json:
        typer.echo(f"table     {_name(data)}, {table.cells.height:,} rows, {table.cells.width:,} columns")
        typer.echo(f"target    {target_text(ready)}")
    progress = TrainingProgress(networks, epochs, str(wanted.metric), quiet)
    with progress:
        built = _build(ready, wanted, progress)
    built.model.save(model)
    _note(built.notices, quiet)
    about = built.model.about
    if as_json:
        typer.echo(json.dumps({"model": str(model), "seconds": round(progress.seconds, 3), **_described(built.model)}))
    else:
        for text in input_texts(built.model.encoding):
            typer.echo(f"inputs    {text}")
        typer.echo(f"networks  {networks_text(built.model)}")
        passes = sum(network["epochs"] for network in about["networks"])
        typer.echo(f"trained   {built.model.n_rows:,} rows, {passes:,} epochs in all, {progress.seconds:.2f} s")
        typer.echo(f"held out  {about['rows_held_out']:,} rows, {score_text(about['scores'])}")
        typer.echo(f"saved     {model}")
    if report is not None:
        write_report(report, built, ready, _name(data))
        if not as_json:
            typer.echo(f"report    {report}")
    if built.is_interrupted:
        raise InterruptedTrainingError("interrupted; the model so far is saved")


def predict(
    model: _Model,
    data: _Data,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write; stdout if left out. Parquet if it ends in .parquet."),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add each class's probability too, in a column of its own.")
    ] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Add `lower` and `upper`, between which a number lies in all but this share of cases, such as 0.1.",
            show_default=False,
        ),
    ] = None,
    quiet: _Quiet = False,
) -> None:
    """Write a table with its predictions added: the column `prediction` and, for classes, `confidence`.

    The other columns stay as they are, and text keeps its separator. The target need not be among them.
    """
    from fastbp.tables.reading import read_table
    from fastbp.tables.writing import beside, check_writable, table_text, write_table
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.model import TableModel

    loaded = TableModel.load(model)
    table = read_table(data)
    output = None if output == Path(_STDIN) else output
    if output is not None:
        for source in (model, data):
            _refuse_to_replace(source, output, "--output")
        check_writable(output, devices=True)
    frame = frame_of(table.values(loaded.encoding.categories))
    answered, notices = beside(table.cells, loaded.predict(frame, probabilities, interval))
    _note([*table.notices, *loaded.unknown_columns(frame), *notices], quiet)
    if output is None:
        typer.echo(table_text(answered, table).encode(), nl=False)
    else:
        write_table(answered, output, table)


def evaluate(
    model: _Model,
    data: _Data,
    target: Annotated[
        str | None,
        typer.Option(help="The column with the answers; the model's target if left out.", show_default=False),
    ] = None,
    as_json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Say how good a model is on a table that holds the answers, beside the best constant prediction."""
    from fastbp.command.texts import score_text
    from fastbp.tables.reading import read_table
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.training.build import evaluate as scores_of

    loaded = TableModel.load(model)
    table = read_table(data)
    name = target or loaded.target.name
    as_text = loaded.encoding.categories | ({name} if loaded.target.has_texts else frozenset())
    scores, n_rows, notices = scores_of(loaded, frame_of(table.values(as_text)), name)
    _note([*table.notices, *notices], quiet)
    if as_json:
        typer.echo(json.dumps({"rows": n_rows, "scores": scores}))
    else:
        typer.echo(f"{_name(data)}, {n_rows:,} rows, {score_text(scores)}")


def inspect(model: _Model, as_json: _Json = False) -> None:
    """Say what is in a model: its target, columns, networks, scores and settings."""
    from fastbp.command.texts import inspection_text
    from fastbp.tabular.model import TableModel

    loaded = TableModel.load(model)
    typer.echo(json.dumps(_described(loaded)) if as_json else inspection_text(loaded))


def _build(ready: "TrainingData", wanted: Settings, progress: Any) -> "Built":
    from fastbp import DivergenceError
    from fastbp.tabular.training.build import build

    progress.say("encoding the table, preparing the compiled code")
    try:
        return build(ready.frame, ready.column, ready.target, wanted, groups=ready.groups, progress=progress)
    except KeyboardInterrupt:
        raise InterruptedTrainingError("interrupted; nothing is saved") from None
    except DivergenceError as error:
        raise ValueError(
            f"training diverged in epoch {error.epoch}: try a --learning-rate below {wanted.learning_rate:g}"
        ) from None


def _described(model: "TableModel") -> dict[str, Any]:
    """Return a model as JSON holds it."""
    from fastbp.tabular.encoding.target import target_to_dict

    return {
        "target": target_to_dict(model.target),
        "rows": model.n_rows,
        **model.about,
        "temperature": model.temperature,
        "columns": model.encoding.to_dict()["columns"],
        "left_out": list(model.encoding.left_out),
        "layer_sizes": [list(network.layer_sizes) for network in model.networks],
    }


def _widths(hidden: str) -> tuple[int, ...]:
    """Return the widths in a text such as `64,64`; an empty text means no hidden layer."""
    try:
        widths = tuple(int(width) for width in hidden.split(",")) if hidden.strip() else ()
    except ValueError:
        widths = (0,)
    if min(widths, default=1) < 1:
        raise ValueError(f"--hidden takes widths of at least 1 such as 64,64, not {hidden!r}")
    return widths


def _check_options(learning_rate: float | None, time_budget: float | None, quantile: float) -> None:
    for option, number in (("--learning-rate", learning_rate), ("--time-budget", time_budget)):
        if number is not None and not 0 < number < math.inf:
            raise ValueError(f"{option} must be positive and finite, not {number}")
    if not 0 < quantile < 1:
        raise ValueError(f"--quantile must lie between 0 and 1, not {quantile}")


def _refuse_to_replace(source: Path, output: Path, option: str) -> None:
    if output.exists() and source.exists() and output.samefile(source):
        raise ValueError(f"{option} {output} would replace the file that is read")


def _name(data: Path) -> str:
    return "standard input" if str(data) == _STDIN else data.name


def _note(notices: Any, quiet: bool) -> None:
    for notice in [] if quiet else notices:
        typer.echo(f"note: {notice}", err=True)

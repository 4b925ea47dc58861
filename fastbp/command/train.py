"""The sub-command `train`: read a table, train networks, save a model, print its scores and write a report.

May import every other folder, inside functions where they are slow to import. It must not hold any rule about tables
or networks.
"""

import json
import os
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fastbp.command import options
from fastbp.command.options import DEFAULTS
from fastbp.command.terminal import visible
from fastbp.tabular.settings import PATIENCE, Settings

if TYPE_CHECKING:
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.training.parts import Built, TrainingData
    from fastbp.tabular.training.progress import TrainingProgress


class InterruptedTrainingError(Exception):
    """Ctrl-C ended a training. The message says whether a model was saved."""


def train(
    data: options.Data,
    target: options.Target,
    model: options.ModelFile = Path("model.fastbp"),
    task: options.Task = None,
    metric: options.Metric = None,
    quantile: options.Quantile = None,
    n_estimators: options.Estimators = None,
    hidden_layer_sizes: options.HiddenLayers = None,
    epochs: options.Epochs = None,
    patience: options.Patience = PATIENCE,
    batch_size: options.BatchSize = DEFAULTS.batch_size,
    learning_rate: options.LearningRate = None,
    time_budget: options.TimeBudget = None,
    group: options.Group = None,
    seed: options.Seed = DEFAULTS.seed,
    report: options.Report = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Train neural networks that predict one column of a table from the other columns.

    The table needs no preparation: numbers are scaled, texts and dates are encoded, and cells may be missing. Each
    network is validated on rows that are held out from its training. The scores on these rows are printed next to the
    scores of the best constant prediction. All networks are saved in one model file.

    Ctrl-C ends the training. The model so far is scored and saved, and the exit code is 130.
    """
    options.check_quantile(quantile, metric)
    options.check_positive("--learning-rate", learning_rate)
    options.check_positive("--time-budget", time_budget)
    settings = Settings(
        n_estimators=n_estimators,
        hidden_layer_sizes=options.widths_of(hidden_layer_sizes),
        metric=metric,
        quantile=DEFAULTS.quantile if quantile is None else quantile,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        time_budget=time_budget,
        seed=seed,
    )

    from fastbp.command import texts
    from fastbp.command.progress import PhaseProgress
    from fastbp.runs.display import showing
    from fastbp.tables.preparing import prepare
    from fastbp.tables.reading import read_table
    from fastbp.tabular.encoding.frames import frame_of
    from fastbp.tabular.training.progress import TrainingProgress

    options.check_output("--model", model, [data])
    if report is not None:
        from fastbp.report.page import write_report  # before the training, because matplotlib may not be installed

        options.check_output("--report", report, [data])
        if report.resolve() == model.resolve():
            raise ValueError(f"--report {report} would replace the model")
    with PhaseProgress(quiet) as reading:
        table = read_table(data, reading.of("reading", "bytes"))
        for named in filter(None, (target, group)):
            table.check_single(named)
        typed = table.typed(keep=(target, group), report=reading.of("recognising numbers and dates", "columns"))
        reading("preparing the table", "", 0, 0)
        rows = prepare(frame_of(typed.frame), target, task, group)
    options.check_metric(rows.target, metric)
    name = texts.source_name(data)
    texts.print_notes([*table.notices, *typed.notices, *rows.notices], quiet)
    if not as_json:
        typer.echo(texts.table_text(name, table, rows))
    progress = TrainingProgress(settings, len(rows.frame), metric or rows.target.default_metric)
    started = time.perf_counter()
    with showing(progress.line, verbose=not quiet):
        built = _built(rows, settings, progress)
    seconds = time.perf_counter() - started
    built.model.about["reading"] = typed.reading.to_dict()
    saved, failure = _saved(built.model, model)
    texts.print_notes(built.notices, quiet)
    if as_json:
        summary = texts.model_summary(built.model)
        typer.echo(json.dumps({"model": str(saved), "seconds": round(seconds, 3), **summary}))
    else:
        typer.echo(texts.training_text(built.model, seconds))
        typer.echo(visible(f"saved     {saved}"))
    if failure is not None:
        raise ValueError(f"--model: {failure}; the model is saved as {saved} instead")
    if report is not None:
        write_report(report, built, rows, name)
        if not as_json:
            typer.echo(visible(f"report    {report}"))
    if built.is_interrupted:
        raise InterruptedTrainingError("interrupted; the model so far is saved")


def _saved(trained: "TableModel", model: Path) -> tuple[Path, Exception | None]:
    """Save a model, in another folder if it cannot be saved where it was wanted, so that no training is lost.

    Returns
    -------
    Path
        Where the model is saved: `model`, or a new file in the current or in the temporary directory.
    Exception or None
        Why the model could not be saved as `model`.
    """
    try:
        trained.save(model)
        return model, None
    except (OSError, ValueError) as error:  # such as a full disk, or a folder that was deleted during the training
        failure = ValueError(f"{model}: {error.strerror}") if isinstance(error, OSError) else error
    for folder in (os.getcwd, partial(tempfile.mkdtemp, prefix="fastbp-")):  # where nobody else can plant a link
        with suppress(OSError):
            other = Path(folder(), f"{model.stem or 'model'}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.fastbp")
            trained.save(other)
            return other, failure
    raise failure


def _built(rows: "TrainingData", settings: Settings, progress: "TrainingProgress") -> "Built":
    """Train the networks, and translate the errors of a training into messages about the options."""
    from fastbp import DivergenceError
    from fastbp.tabular.training.build import build

    try:
        return build(rows, settings, progress=progress)
    except KeyboardInterrupt:
        raise InterruptedTrainingError("interrupted; nothing is saved") from None
    except DivergenceError as error:
        rate = settings.learning_rate or rows.target.default_learning_rate
        raise ValueError(f"training diverged in epoch {error.epoch}: try a --learning-rate below {rate:g}") from None

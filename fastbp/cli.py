"""The command `fastbp`: its sub-commands, their options, and every error as one line on stderr with exit code 2.

It knows the terminal and the order of things. It must not hold any rule about tables or networks. What is slow to
import is imported where it is needed, so that `fastbp --help` answers at once.
"""

import math
import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from fastbp.tabular import defaults

if TYPE_CHECKING:
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.training_data import TrainingData

_INSTALL = "the command needs more packages: pip install 'fastbp[tabular]'"


def _fail(message: str, exit_code: int = 2) -> NoReturn:
    print("fastbp:", " ".join(message.split()), file=sys.stderr)
    sys.exit(exit_code)


try:
    import typer
    from typer.core import TyperGroup
except ModuleNotFoundError:  # nothing but the command imports this file, so it may end the process
    _fail(_INSTALL)

# What a wrong option raises. Newer typers have their own copy of click, older ones import it; both put it here.
_UsageError: Any = typer.BadParameter.__mro__[2]
_INTERRUPTED = 130


class _OneLineErrors(TyperGroup):
    """Sub-commands whose errors are one line on stderr and exit code 2, however they come about."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        try:
            sys.exit(super().main(*args, **options | {"standalone_mode": False}))
        except _UsageError as error:
            _fail(error.format_message())
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("polars", "rich"):
                raise
            _fail(_INSTALL)
        except FileNotFoundError as error:
            _fail(f"there is no file {error.filename}")
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except (ValueError, MemoryError) as error:
            _fail(str(error))
        except (KeyboardInterrupt, typer.Abort):
            _fail("interrupted", _INTERRUPTED)


app = typer.Typer(
    cls=_OneLineErrors,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Task(str, Enum):
    """What a target may be taken for."""

    classification = "classification"
    regression = "regression"


def _print_version(wanted: bool) -> None:
    if wanted:
        from fastbp import __version__

        typer.echo(f"fastbp {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _fastbp(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train a multilayer perceptron on a small table, and predict with it."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(short_help="Train a network on a table, and save it.")
def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="CSV, TSV, either of them gzipped, or Parquet.", show_default=False)
    ],
    target: Annotated[str, typer.Option(help="The column to predict.", show_default=False)],
    model: Annotated[Path, typer.Option(help="Where to save network and encoding.")] = Path("model.fastbp"),
    task: Annotated[
        Task | None, typer.Option(help="What the target is; told from the column if left out.", show_default=False)
    ] = None,
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = ",".join(map(str, defaults.HIDDEN)),
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Passes over the rows; if left out, as many as make {defaults.STEPS} steps, but no fewer than "
            f"{defaults.FEWEST_EPOCHS} and no more than {defaults.MOST_EPOCHS}.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per step.")] = defaults.BATCH_SIZE,
    learning_rate: Annotated[
        float, typer.Option(help="Adam's first rate; it falls to 0 along a cosine.")
    ] = defaults.LEARNING_RATE,
    seed: Annotated[int, typer.Option(min=0, help="Decides the held-out rows, the first weights and the order.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Train a network to predict one column of a table from the others, and save it.

    A fifth of the rows is held out and never trained on; the score on them is printed beside that of the best
    constant prediction. Columns of text are one-hot encoded, numbers scaled; what is missing is filled with the median.

    Ctrl-C ends the training after the current step; the network so far is measured and saved, and the exit code is 130.
    """
    widths = _widths(hidden)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"--learning-rate must be positive and finite, not {learning_rate}")

    from fastbp.report import input_texts, network_text, score_text, target_text
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.reading import read_table
    from fastbp.tabular.training_data import prepare, scores
    from fastbp.tabular.writing import check_writable

    table = read_table(data)
    _refuse_to_replace(data, model, "--model")
    check_writable(model)
    frame = table.values()
    ready = prepare(frame, target, task.value if task else None, seed)
    n_rows = len(ready.y)
    result = TableModel.untrained(ready, widths, seed)
    epochs = epochs or defaults.default_epochs(n_rows, batch_size)

    _note([*table.notices, *ready.notices], quiet)
    typer.echo(f"table     {data.name}, {frame.height:,} rows, {frame.width:,} columns")
    typer.echo(f"target    {target_text(ready)}")
    for text in input_texts(ready.encoding):
        typer.echo(f"inputs    {text}")
    typer.echo(f"network   {network_text(result.network)}")
    done, seconds = _fit(result, ready, epochs, batch_size, learning_rate, quiet)
    result.save(model)
    typer.echo(f"trained   {n_rows:,} rows, {done} of {epochs} epochs, {seconds:.2f} s")
    text = score_text(ready, scores(ready, result.network.predict(ready.X_held_out)))
    typer.echo(f"held out  {len(ready.y_held_out):,} rows, {text}")
    typer.echo(f"saved     {model}")
    if done < epochs:
        _fail(f"interrupted after {done} of {epochs} epochs; the network so far is saved", _INTERRUPTED)


@app.command(short_help="Write a table with its predictions added.")
def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A file that `fastbp train` saved.", show_default=False)
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A table with the columns of the training table.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write; stdout if left out. Parquet if it ends in .parquet."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes.")] = False,
) -> None:
    """Write a table with its predictions added: the column `prediction` and, for classes, `confidence`.

    The other columns stay as they are, and text keeps its separator. The target need not be among them.
    """
    from fastbp.tabular.model import TableModel
    from fastbp.tabular.reading import read_table
    from fastbp.tabular.writing import beside, check_writable, table_text, write_table

    loaded = TableModel.load(model)
    table = read_table(data)
    if output is not None:
        for source in (model, data):
            _refuse_to_replace(source, output, "--output")
        check_writable(output, devices=True)
    predictions = loaded.predict(table.values(loaded.encoding.categories))
    frame, notices = beside(table.cells, predictions)
    _note([*table.notices, *notices], quiet)
    if output is None:
        typer.echo(table_text(frame, table).encode(), nl=False)
    else:
        write_table(frame, output, table)


@app.command(short_help="Work through backpropagation's toy example.")
def toy(
    x: Annotated[float, typer.Option(help="The input x.")] = 0.5,
    y: Annotated[float, typer.Option(help="The target y, from 0 to 1.")] = 1.0,
    weight: Annotated[float, typer.Option(help="The weight Ω_0.")] = 0.8,
    bias: Annotated[float, typer.Option(help="The bias β_0.")] = 0.1,
) -> None:
    """Work through backpropagation's toy example, line by line: one neuron, forward and backward."""
    from fastbp.toy import worked_example

    typer.echo(str(worked_example(x, y, weight, bias)))


class Dtype(str, Enum):
    """What networks compute in."""

    float32 = "float32"
    float64 = "float64"


@app.command(short_help="Compile all kernels for this CPU ahead of time.")
def warmup(
    dtype: Annotated[
        Dtype | None, typer.Option(help="What networks will compute in; both if left out.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Compile all kernels for this CPU ahead of time, so that no first call has to, and say where they are kept.

    What is kept already is loaded, which takes a second.
    """
    from fastbp.report import WarmupProgress
    from fastbp.startup import DTYPES, ENTRIES, warmup

    dtypes = [dtype.value] if dtype else DTYPES
    started = time.perf_counter()
    with WarmupProgress(len(dtypes) * len(ENTRIES), quiet) as progress:
        place = warmup(dtypes, progress)
    seconds = time.perf_counter() - started
    where = f"kept in {place}" if place else "kept nowhere: every process will compile again"
    typer.echo(f"{' and '.join(dtypes)} ready after {seconds:.1f} s, {where}")


@app.command(short_help="Report the cache of compiled code, and what is wrong.")
def doctor() -> None:
    """Report where compiled code is kept, what is there and what is not, the CPU it is for, and what is wrong.

    Nothing is compiled. The exit code is 1 if something is wrong.
    """
    from fastbp.report import diagnosis_text
    from fastbp.startup import diagnose

    diagnosis = diagnose()
    typer.echo(diagnosis_text(diagnosis))
    sys.exit(1 if diagnosis.problems else 0)


def _widths(hidden: str) -> list[int]:
    """Return the widths in a text such as `64,64`; an empty text means no hidden layer."""
    try:
        widths = [int(width) for width in hidden.split(",")] if hidden.strip() else []
    except ValueError:
        widths = [0]
    if min(widths, default=1) < 1:
        raise ValueError(f"--hidden takes widths of at least 1 such as 64,64, not {hidden!r}")
    return widths


def _fit(
    model: "TableModel",
    data: "TrainingData",
    epochs: int,
    batch_size: int,
    learning_rate: float,
    quiet: bool,
) -> tuple[int, float]:
    """Train under a progress bar, until Ctrl-C at most; return the number of epochs done and their seconds."""
    from fastbp import DivergenceError
    from fastbp.report import TrainingProgress

    progress = TrainingProgress(epochs, len(data.y), quiet)
    try:
        with progress:
            model.fit(data, epochs, batch_size, learning_rate, progress)
    except KeyboardInterrupt:
        if progress.epochs_done == 0:
            _fail("interrupted before the first epoch ended; nothing is saved", _INTERRUPTED)
    except DivergenceError as error:
        raise ValueError(
            f"training diverged in epoch {error.epoch}: try a --learning-rate below {learning_rate:g}"
        ) from None
    return progress.epochs_done, progress.seconds


def _refuse_to_replace(source: Path, output: Path, option: str) -> None:
    if output.exists() and output.samefile(source):
        raise ValueError(f"{option} {output} would replace the file that is read")


def _note(notices: list[str], quiet: bool) -> None:
    for notice in [] if quiet else notices:
        typer.echo(f"note: {notice}", err=True)


def main() -> None:
    """Run the command."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows no Ω is no reason to fail
    app()

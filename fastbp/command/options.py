"""The options of the sub-commands: names, help texts, defaults and checks of the values.

May import `tabular.settings`, and `tables` inside a function. It must not know what a sub-command does with an option.
Nothing slow is imported here, so that `fastbp --help` answers at once.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fastbp.tabular.settings import (
    EPOCHS,
    LARGE_ROWS,
    LEARNING_RATE,
    LEAST_ESTIMATORS,
    MANY_CLASSES,
    N_ESTIMATORS,
    ClassMetric,
    NumberMetric,
    Settings,
    hidden_layer_sizes_for,
)

if TYPE_CHECKING:
    from fastbp.tabular.encoding.target import Target as TargetColumn

DEFAULTS = Settings()
SMALL_WIDTHS, LARGE_WIDTHS = (",".join(map(str, hidden_layer_sizes_for(n_rows, 1))) for n_rows in (1, LARGE_ROWS + 1))
STDIN = Path("-")  # also standard output, as a value of --output

TaskName = Literal["classification", "regression"]
MetricName = Literal[ClassMetric, NumberMetric]
DtypeName = Literal["float32", "float64"]

# --- shared by sub-commands -----------------------------------------------------------------------------------------

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="The table: CSV, TSV or JSON lines, each also gzipped, or Parquet. - is standard input.",
        show_default=False,
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file that `fastbp train` saved.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes.")]

# --- of `train` -----------------------------------------------------------------------------------------------------

Target = Annotated[str, typer.Option(metavar="COLUMN", help="Column to predict.", show_default=False)]
ModelFile = Annotated[Path, typer.Option(metavar="FILE", help="File to save the model in.")]
Task = Annotated[
    TaskName | None, typer.Option(help="Kind of target. Default: inferred from the column.", show_default=False)
]
Metric = Annotated[
    MetricName | None,
    typer.Option(
        help="Metric to optimise. Default: log_loss for classification, rmse for regression.", show_default=False
    ),
]
Quantile = Annotated[
    float | None,
    typer.Option(
        metavar="Q",
        help=f"Quantile to predict, with --metric quantile. Default: {DEFAULTS.quantile}.",
        show_default=False,
    ),
]
Estimators = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help=f"Number of networks, whose predictions are averaged. Default: {N_ESTIMATORS}, or for more than "
        f"{LARGE_ROWS} rows {LEAST_ESTIMATORS} to {N_ESTIMATORS}.",
        show_default=False,
    ),
]
HiddenLayers = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHS",
        help="Widths of the hidden layers, separated by commas. An empty text means no hidden layer. Default: "
        f"{SMALL_WIDTHS}, or for more than {LARGE_ROWS} rows or at least {MANY_CLASSES} classes "
        f"{LARGE_WIDTHS}.",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help=f"Maximum number of epochs of each network. Default: {EPOCHS} for up to {LARGE_ROWS} rows, and fewer "
        "for more rows.",
        show_default=False,
    ),
]
Patience = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Epochs without improvement after which the training of a network ends."),
]
BatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Rows per minibatch.")]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help=f"Peak learning rate of the schedule. Default: {LEARNING_RATE['classification']} for classification, "
        f"{LEARNING_RATE['regression']} for regression.",
        show_default=False,
    ),
]
TimeBudget = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Time for the encoding, the training and the scores, without the reading of files.",
        show_default=False,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column whose equal values form groups. Rows of one group are held out together. The column is not an "
        "input.",
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="Seed of the held-out rows, the initial weights and the order of the rows."),
]
Report = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File to write an HTML report to.", show_default=False)
]

# --- of `predict` and `evaluate` ------------------------------------------------------------------------------------

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write to. The ending .parquet gives Parquet, and .gz gives compressed text. "
        "Default: standard output.",
        show_default=False,
    ),
]
ExportFile = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="File to write, which ends in .onnx.", show_default=False),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Add a column with the probability of each class. Classification only.")
]
Coverage = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Add the columns `lower` and `upper`, an interval that covers the true value with about this "
        "probability, such as 0.9. Regression only.",
        show_default=False,
    ),
]
Answers = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="Column of the true values. Default: the target of the model.",
        show_default=False,
    ),
]

# --- of `warmup` ----------------------------------------------------------------------------------------------------

Dtype = Annotated[
    DtypeName | None, typer.Option(help="Floating-point type of the networks. Default: both.", show_default=False)
]


@contextmanager
def named(option: str) -> Iterator[None]:
    """Put the name of an option before the message of a `ValueError` that the value of the option causes."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def widths_of(text: str | None) -> tuple[int, ...] | None:
    """Return the widths in a value of --hidden-layer-sizes, such as ``64,64``.

    An empty text has no width. None means that the option was not given, and stays None.

    Raises
    ------
    ValueError
        If a width is not a whole number of at least 1, or if the widths ask for too many parameters.
    """
    if text is None:
        return None
    try:
        widths = tuple(int(width) for width in text.split(",")) if text.strip() else ()
    except ValueError:
        widths = (0,)
    if min(widths, default=1) < 1:
        raise ValueError(f"--hidden-layer-sizes takes widths of at least 1 such as 64,64, not {text!r}")
    from fastbp import checks

    with named("--hidden-layer-sizes"):
        checks.layer_sizes([1, *widths, 1])
    return widths


def check_metric(target: "TargetColumn", metric: str | None) -> None:
    """Raise a `ValueError` if a metric was given that does not fit the target."""
    if metric is not None and metric not in target.metric_names:
        known = ", ".join(target.metric_names)
        raise ValueError(f"--metric must be one of {known} for {target.task} of {target.name!r}, not {metric}")


def check_positive(option: str, number: float | None) -> None:
    """Raise a `ValueError` if a number was given that is not positive and finite."""
    if number is not None and not 0 < number < math.inf:
        raise ValueError(f"{option} must be positive and finite, not {number}")


def check_share(option: str, share: float | None) -> None:
    """Raise a `ValueError` if a share was given that does not lie between 0 and 1, both excluded."""
    if share is not None and not 0 < share < 1:
        raise ValueError(f"{option} must lie between 0 and 1, not {share}")


def check_quantile(quantile: float | None, metric: str | None) -> None:
    """Raise a `ValueError` if --quantile is out of range, or if the metric does not use a quantile."""
    check_share("--quantile", quantile)
    if quantile is not None and metric != "quantile":
        raise ValueError("--quantile is only used with --metric quantile")


def check_output(option: str, output: Path, sources: Sequence[Path], devices: bool = False) -> None:
    """Raise a `ValueError` unless `output` is a file that can be written and that is none of the files that are read.

    Parameters
    ----------
    option : str
        Name of the option that holds `output`.
    output : Path
    sources : sequence of Path
        The files that are read.
    devices : bool, default False
        Whether `output` may be a device or a pipe.
    """
    from fastbp.tables.writing import check_writable

    if output == STDIN:
        raise ValueError(f"{option} takes the name of a file, not standard output")
    try:
        output.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # such as a symbolic link to itself
        raise ValueError(f"{option}: cannot write {output}: {error.strerror}") from None
    for source in sources:
        if output.exists() and source.exists() and output.samefile(source):
            raise ValueError(f"{option} {output} would replace the file that is read")
    with named(option):
        check_writable(output, devices)

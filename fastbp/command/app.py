"""The command `fastbp`: its sub-commands, their options, and every error as one line on stderr with exit code 2.

It knows the terminal and the order of things. It must not hold any rule about tables or networks. What is slow to
import is imported where it is needed, so that `fastbp --help` answers at once.
"""

import sys
import time
from enum import Enum
from typing import Annotated, Any, NoReturn

_INSTALL = "the command needs more packages: pip install 'fastbp[tabular]'"


def _fail(message: str, exit_code: int = 2) -> NoReturn:
    print("fastbp:", " ".join(message.split()), file=sys.stderr)
    sys.exit(exit_code)


try:
    import typer
    from typer.core import TyperGroup
except ModuleNotFoundError:  # nothing but the command imports this file, so it may end the process
    _fail(_INSTALL)

from fastbp.command import train as table_commands  # noqa: E402 (it needs typer too)

# What a wrong option raises. Newer typers have their own copy of click, older ones import it; both put it here.
_UsageError: Any = typer.BadParameter.__mro__[2]


class _OneLineErrors(TyperGroup):
    """Sub-commands whose errors are one line on stderr and exit code 2, however they come about."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        try:
            sys.exit(super().main(*args, **options | {"standalone_mode": False}))
        except _UsageError as error:
            _fail(error.format_message())
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("matplotlib", "narwhals", "polars", "rich"):
                raise
            _fail(_INSTALL)
        except FileNotFoundError as error:
            _fail(f"there is no file {error.filename}")
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except table_commands.InterruptedTrainingError as error:
            _fail(str(error), table_commands.INTERRUPTED)
        except (ValueError, MemoryError) as error:
            _fail(str(error))
        except (KeyboardInterrupt, typer.Abort):
            _fail("interrupted", table_commands.INTERRUPTED)


app = typer.Typer(
    cls=_OneLineErrors,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    """Train multilayer perceptrons on a small table, and predict with them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command(short_help="Train on a table, and save the model.")(table_commands.train)
app.command(short_help="Write a table with its predictions added.")(table_commands.predict)
app.command(short_help="Say how good a model is on a table with known answers.")(table_commands.evaluate)
app.command(short_help="Say what is in a model.")(table_commands.inspect)


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
    from fastbp.command.progress import WarmupProgress
    from fastbp.startup import DTYPES, ENTRIES, warmup

    dtypes = [dtype.value] if dtype else DTYPES
    started = time.perf_counter()
    with WarmupProgress(len(dtypes) * len(ENTRIES), quiet) as progress:
        place = warmup(dtypes, progress)
    seconds = time.perf_counter() - started
    where = f"kept in {place}" if place else "kept nowhere: every process will compile again"
    typer.echo(f"{' and '.join(dtypes)} ready after {seconds:.1f} s, {where}")


@app.command(short_help="Report the CPU, the cache of compiled code, and what is wrong.")
def doctor() -> None:
    """Report versions, the CPU and its features, where compiled code is kept, and what is wrong.

    What is compiled already is tested against NumPy, for a second at most; nothing is compiled. The exit code is 1 if
    something is wrong.
    """
    from fastbp.command.texts import diagnosis_text, self_test_text
    from fastbp.startup import diagnose, self_test

    diagnosis = diagnose()
    typer.echo(diagnosis_text(diagnosis))
    is_right = True
    for dtype, missing in diagnosis.missing.items():
        if missing:
            typer.echo(f"self-test {dtype}: not made, as not all is compiled; `fastbp warmup` does that")
            continue
        test = self_test(dtype)
        is_right &= test.is_right
        typer.echo(f"self-test {dtype}: {self_test_text(test)}")
    sys.exit(1 if diagnosis.problems or not is_right else 0)


def main() -> None:
    """Run the command."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows no Ω is no reason to fail
    app()

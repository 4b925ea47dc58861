"""The command `fastbp`: its sub-commands, and every error as one line on stderr with exit code 2.

An error that nobody foresaw is a bug of fastbp. Its line says so, and its traceback is printed only if the environment
variable FASTBP_TRACEBACK is 1.

May import the other files of `command/`. It must not know the options of a sub-command. Nothing slow is imported here,
so that `fastbp --help` answers at once.
"""

import os
import sys
from typing import Annotated, Any, NoReturn

from fastbp.command.terminal import visible

_INSTALL = "the command needs more packages: pip install 'fastbp[tabular]'"
_REPORT = "please report it with the traceback, which FASTBP_TRACEBACK=1 prints"
_OPTIONAL_PACKAGES = ("matplotlib", "narwhals", "polars")
_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def _fail(message: str, exit_code: int = 2) -> NoReturn:
    print("fastbp:", visible(" ".join(message.split())), file=sys.stderr)
    sys.exit(exit_code)


try:
    import typer
    from typer.core import TyperGroup
except ModuleNotFoundError:  # only the command imports this file, so this file may end the process
    _fail(_INSTALL)

from fastbp.command import doctor, export, predict, train  # noqa: E402 (these files need typer too)

# The base class of the errors that a wrong option raises. New versions of typer hold their own copy of click and old
# versions import click, so the class is reached through typer.
_UsageError: Any = typer.BadParameter.__mro__[2]


class _OneLineErrors(TyperGroup):
    """A group of sub-commands whose errors are one line on stderr and exit code 2, wherever they are raised."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        try:
            exit_code = super().main(*args, **options | {"standalone_mode": False})
            if exit_code == _INTERRUPTED:  # new versions of typer return this code after Ctrl-C
                raise KeyboardInterrupt
            sys.exit(exit_code)
        except _UsageError as error:
            _fail(error.format_message())
        except ImportError as error:  # such as NUMBA_DISABLE_JIT=1, which leaves no kernels
            is_optional = (error.name or "").partition(".")[0] in _OPTIONAL_PACKAGES
            _fail(_INSTALL if is_optional else str(error))
        except FileNotFoundError as error:
            _fail(f"there is no file {error.filename}")
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except train.InterruptedTrainingError as error:
            _fail(str(error), _INTERRUPTED)
        except (ValueError, MemoryError) as error:
            _fail(str(error))
        except (KeyboardInterrupt, typer.Abort):
            _fail("interrupted", _INTERRUPTED)
        except Exception as error:
            if os.environ.get("FASTBP_TRACEBACK") == "1":
                raise
            _fail(f"this is a bug of fastbp: {type(error).__name__}: {str(error)[:200]}; {_REPORT}")


app = typer.Typer(
    cls=_OneLineErrors,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from fastbp._version import __version__

        typer.echo(f"fastbp {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _fastbp(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train multilayer perceptrons on a table, and predict with them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command(short_help="Train a model on a table.")(train.train)
app.command(short_help="Write a table with predictions added.")(predict.predict)
app.command(short_help="Score a model on a table with true values.")(predict.evaluate)
app.command(short_help="Print what a model file holds.")(predict.inspect)
app.command(short_help="Write a trained model as ONNX.")(export.export)
app.command(short_help="Print backpropagation through one neuron, step by step.")(doctor.toy)
app.command(short_help="Compile all kernels for this CPU ahead of time.")(doctor.warmup)
app.command(short_help="Report the CPU, the compiled code and any problem.")(doctor.doctor)


def main() -> None:
    """Run the command."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # an encoding without Ω must not make the command fail
    app()

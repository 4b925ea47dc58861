"""The sub-commands that need no table: `toy`, `warmup` and `doctor`.

May import `toy`, `startup` and the files of `command/`, inside functions where they are slow to import. It must not
know how code is compiled or kept.
"""

import sys
import time
from typing import Annotated

import typer

from fastbp.command.options import Dtype, Quiet
from fastbp.command.terminal import visible


def toy(
    x: Annotated[float, typer.Option(help="The input x.")] = 0.5,
    y: Annotated[float, typer.Option(help="The target y, from 0 to 1.")] = 1.0,
    weight: Annotated[float, typer.Option(help="The weight Ω_0.")] = 0.8,
    bias: Annotated[float, typer.Option(help="The bias β_0.")] = 0.1,
) -> None:
    """Print the forward and the backward pass through one neuron, line by line, with numbers."""
    from fastbp.toy import worked_example

    typer.echo(str(worked_example(x, y, weight, bias)))


def warmup(dtype: Dtype = None, quiet: Quiet = False) -> None:
    """Compile all kernels for this CPU ahead of time, and print where the compiled code is kept.

    Later processes then load the kernels and compile nothing. Kernels that are already compiled are only loaded, which
    takes about a second.
    """
    from fastbp.command.progress import WarmupProgress
    from fastbp.startup import DTYPES, FUNCTIONS
    from fastbp.startup import warmup as compile_kernels

    dtypes = [dtype] if dtype else DTYPES
    started = time.perf_counter()
    with WarmupProgress(len(dtypes) * len(FUNCTIONS), quiet) as progress:
        directory = compile_kernels(dtypes, progress)
    seconds = time.perf_counter() - started
    where = f"kept in {directory}" if directory else "kept nowhere: every process will compile again"
    typer.echo(visible(f"{' and '.join(dtypes)} ready after {seconds:.1f} s, {where}"))


def doctor() -> None:
    """Print versions, the CPU and its features, where compiled code is kept, and any problem.

    Compiled kernels are tested against NumPy, which takes about a second. Nothing is compiled. The exit code is 1 if
    there is a problem.
    """
    from fastbp.command.texts import diagnosis_text, self_test_text
    from fastbp.startup import ENTRIES, diagnose, self_test

    diagnosis = diagnose()
    typer.echo(diagnosis_text(diagnosis))
    is_right = True
    for dtype, missing in diagnosis.missing.items():
        if set(missing) & set(ENTRIES):  # the others are compiled in a moment
            typer.echo(f"self-test {dtype}: skipped, because kernels are not compiled; run `fastbp warmup` first")
            continue
        test = self_test(dtype)
        is_right &= test.is_right
        typer.echo(f"self-test {dtype}: {self_test_text(test)}")
    sys.exit(1 if diagnosis.problems or not is_right else 0)

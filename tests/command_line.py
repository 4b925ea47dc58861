"""Helpers of the tests of the command: calls of the command, and a small table."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fastbp.command.app import app
from fastbp.runs import display

_SECONDS_TO_FIRST_LINE = display.SECONDS_TO_FIRST_LINE

# Options of a short training.
FEW = ["--n-estimators", 2, "--epochs", 3, "--hidden-layer-sizes", "8"]


def command(*arguments: object) -> Result:
    """Run the command in this process. A slow machine writes no lines of progress that a test does not ask for."""
    with pytest.MonkeyPatch.context() as patch:
        if display.SECONDS_TO_FIRST_LINE == _SECONDS_TO_FIRST_LINE:
            patch.setattr(display, "SECONDS_TO_FIRST_LINE", 600.0)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(*arguments: object) -> str:
    """Run a command that must succeed, and return its stdout."""
    result = command(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def error(*arguments: object) -> str:
    """Run a command that must fail, and return its one line on stderr."""
    result = command(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert re.fullmatch(r"fastbp: .*\n", result.stderr), result.stderr
    return result.stderr


def write_table(name: str = "table.csv", n: int = 40, separator: str = ",") -> Path:
    """Write a table with a column of numbers, of categories, of classes and of a quantity, and a missing cell."""
    lines = ["width cm,colour,kind,price"]
    for i in range(n):
        width = "NA" if i == 7 else f"{i % 10}.50"
        lines.append(f"{width},{'red' if i % 3 else 'green'},{'big' if i % 10 > 4 else 'small'},{i % 10 + i % 3 / 8}")
    text = "\n".join(lines) + "\n"
    if separator == ";":
        text = text.replace(",", ";").replace(".", ",")
    path = Path(name)
    path.write_text(text)
    return path

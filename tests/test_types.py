"""What a type checker says of a user's script is what happens when the script runs.

`typed/user_script.py` is checked with mypy and with pyright, as basedpyright brings it.
"""

import ast
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import sklearn.base
import sklearn.neural_network
import sklearn.utils.metaestimators

import fastbp
from fastbp import activations, losses
from fastbp._typing import FloatName
from fastbp.command.options import DtypeName, MetricName
from fastbp.sklearn import MLPClassifier, MLPRegressor, _compat, stochastic
from fastbp.tabular import TabularClassifier, TabularRegressor, settings
from fastbp.tabular import base as tabular_base

SCRIPT = Path(__file__).parent / "typed" / "user_script.py"
WRONG_LINES = {
    number
    for number, line in enumerate(SCRIPT.read_text(encoding="utf-8").splitlines(), 1)
    if re.search(r"  # error: \w", line)
}


def lines_that_mypy_reports(folder, cache):
    """Return the numbers of the lines of the script that mypy reports. The cache spares later runs 20 s."""
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--output=json"]
    for line in output_of("mypy", *options, SCRIPT.name, folder=folder).splitlines():
        error = json.loads(line)
        if error["severity"] == "error":
            assert error["file"] == SCRIPT.name, error
            yield error["line"]


def lines_that_pyright_reports(folder, cache):  # noqa: ARG001 (pyright keeps no cache)
    """Return the numbers of the lines of the script that pyright reports."""
    settings = {"typeCheckingMode": "standard", "include": [SCRIPT.name]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    report = output_of("basedpyright", f"--pythonpath={sys.executable}", "--outputjson", folder=folder)
    for error in json.loads(report)["generalDiagnostics"]:
        if error["severity"] == "error":
            yield error["range"]["start"]["line"] + 1


def output_of(checker, *arguments, folder):
    """Return what a checker prints about the script in a folder, in which it finds fastbp as it is installed."""
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install 'fastbp[lint]'")
    shutil.copy(SCRIPT, folder)
    command = [sys.executable, "-m", checker, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: there are errors
    return done.stdout


@pytest.mark.parametrize("reported", [lines_that_mypy_reports, lines_that_pyright_reports])
def test_a_checker_reports_each_wrong_line_and_no_other(reported, tmp_path, pytestconfig):
    assert WRONG_LINES
    assert set(reported(tmp_path, pytestconfig.cache.mkdir("types-of-users"))) == WRONG_LINES


def test_each_wrong_line_raises_and_every_other_line_runs(capsys):
    pytest.importorskip("typing_extensions", reason="the script needs typing_extensions, which mypy brings")
    names = {"__name__": "user_script"}
    for statement in ast.parse(SCRIPT.read_text(encoding="utf-8")).body:
        code = compile(ast.Module([statement], []), f"{SCRIPT.name}:{statement.lineno}", "exec")
        if statement.lineno not in WRONG_LINES:
            exec(code, names)
            continue
        try:
            exec(code, names)
        except Exception:  # of any kind: other tests look at the messages
            continue
        pytest.fail(f"line {statement.lineno} is wrong and runs: {ast.unparse(statement)}")
    assert "Progress(epoch=10" in capsys.readouterr().out  # by `callback=print`: the script has run


def test_the_types_of_names_hold_the_names_that_are_taken():
    assert typing.get_args(activations.ActivationName) == activations.NAMES
    assert set(typing.get_args(losses.LossName)) == set(losses.NAMES)
    assert len(typing.get_args(losses.LossName)) == len(losses.NAMES)
    of_numbers = {name for name in losses.NAMES if not losses.resolve(name).is_of_probabilities}
    assert set(typing.get_args(losses.NumberLossName)) == of_numbers
    assert set(typing.get_args(losses.Link)) == {losses.resolve(name).link for name in losses.NAMES}
    for name in typing.get_args(FloatName):
        assert fastbp.Network([1, 1], dtype=name).dtype.name == name
    assert typing.get_args(DtypeName) == typing.get_args(FloatName)
    assert set(typing.get_args(MetricName)) == {*settings.CLASS_METRICS, *settings.NUMBER_METRICS}


def test_the_types_of_the_drop_ins_names_hold_scikit_learns():
    of_theirs = sklearn.neural_network.MLPClassifier._parameter_constraints
    assert set(typing.get_args(stochastic.Solver)) == of_theirs["solver"][0].options
    assert set(typing.get_args(stochastic.RateSchedule)) == of_theirs["learning_rate"][0].options
    assert set(activations.NAMES) > of_theirs["activation"][0].options
    assert {*stochastic.STOCHASTIC_SOLVERS, "lbfgs"} == of_theirs["solver"][0].options


@pytest.mark.parametrize(
    ("parameter", "kind", "names"),
    [
        ("solver", MLPClassifier, typing.get_args(stochastic.Solver)),
        ("activation", MLPClassifier, activations.NAMES),
        ("learning_rate", MLPClassifier, typing.get_args(stochastic.RateSchedule)),
        ("loss", MLPRegressor, typing.get_args(losses.NumberLossName)),
        ("metric", TabularClassifier, settings.CLASS_METRICS),
        ("metric", TabularRegressor, settings.NUMBER_METRICS),
    ],
)
def test_an_estimator_takes_exactly_the_names_of_the_type(parameter, kind, names):
    assert kind._parameter_constraints[parameter][0].options == set(names)


def test_the_decorators_with_types_are_scikit_learns_own():
    assert _compat.fit_context is sklearn.base._fit_context
    assert tabular_base.fit_context is sklearn.base._fit_context
    assert _compat.available_if is sklearn.utils.metaestimators.available_if


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, fastbp.Network])
@pytest.mark.parametrize("method", ["__init__", "fit", "predict"])
def test_annotations_are_short_in_help_and_can_be_evaluated(kind, method):
    """`help` shows the name of a type, not the type that it stands for. Pydantic and beartype evaluate annotations."""
    assert "numpy." not in str(inspect.signature(getattr(kind, method)))
    assert typing.get_type_hints(getattr(kind, method))

"""The toy example gives the slides' numbers, shows them line by line, and says where the loss is undefined."""

import dataclasses
import doctest
import math
import subprocess
import sys

import numpy as np
import pytest

from fastbp import toy
from fastbp.toy import worked_example


def test_every_line_has_the_value_worked_out_by_hand():
    example = worked_example(x=2.0, y=1.0, weight=0.125, bias=0.25)
    # f_0 = 1/4 + 1/8 · 2 = 1/2; L = −log 1/2; ∂L/∂h_1 = (1/2 − 1) / (1/2 · 1/2) = −2; ∂L/∂Ω_0 = −2 · 2 = −4
    assert example.f_0 == 0.5
    assert example.h_1 == 0.5
    assert math.isclose(example.L, math.log(2), rel_tol=1e-15)
    assert example.dL_dh_1 == -2.0
    assert example.dL_df_0 == -2.0
    assert example.dL_dbeta_0 == -2.0
    assert example.dL_dOmega_0 == -4.0


def test_a_target_of_0_and_a_target_between_are_worked_out_too():
    # h_1 = 1/4 everywhere: (1/4 − y) / (3/16)
    assert math.isclose(worked_example(1.0, 0.0, 0.25, 0.0).dL_dh_1, 4 / 3, rel_tol=1e-15)
    assert math.isclose(worked_example(1.0, 0.0, 0.25, 0.0).L, -math.log(0.75), rel_tol=1e-15)
    assert worked_example(1.0, 0.25, 0.25, 0.0).dL_dh_1 == 0.0
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert math.isclose(worked_example(1.0, 0.25, 0.25, 0.0).L, entropy, rel_tol=1e-15)


def test_a_vector_x_gives_a_gradient_of_its_shape():
    example = worked_example(x=[1, -2, 4], y=1, weight=[0.5, 0.125, 0.125], bias=-0.25)
    assert example.f_0 == 0.5  # −1/4 + 1/2 − 1/4 + 1/2
    assert example.dL_dOmega_0.tolist() == [-2.0, 4.0, -8.0]
    assert example.dL_dbeta_0 == -2.0


def test_a_vector_of_one_agrees_with_the_scalar():
    vector, scalar = worked_example([2.0], 1, [0.3], 0.1), worked_example(2.0, 1, 0.3, 0.1)
    assert vector.L == scalar.L
    assert vector.dL_dOmega_0.tolist() == [scalar.dL_dOmega_0]


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("x", "weight", "bias"), [(0.7, 0.5, 0.1), (-0.7, -0.5, 0.1), (3.0, -0.2, 0.8)])
def test_the_gradients_are_the_slopes_of_the_loss(x, y, weight, bias):
    example, step = worked_example(x, y, weight, bias), 1e-6
    by_bias = worked_example(x, y, weight, bias + step).L - worked_example(x, y, weight, bias - step).L
    by_weight = worked_example(x, y, weight + step, bias).L - worked_example(x, y, weight - step, bias).L
    assert math.isclose(example.dL_dbeta_0, by_bias / (2 * step), rel_tol=1e-8, abs_tol=1e-8)
    assert math.isclose(example.dL_dOmega_0, by_weight / (2 * step), rel_tol=1e-8, abs_tol=1e-8)


def test_log_1_minus_h_keeps_its_digits_where_h_is_small():
    example = worked_example(x=1.0, y=0.0, weight=1e-12, bias=0.0)
    assert math.isclose(example.L, 1e-12, rel_tol=1e-11)


def test_printing_shows_the_slides_lines_with_their_numbers():
    assert str(worked_example(x=2.0, y=1.0, weight=0.125, bias=0.25)).splitlines() == [
        "x = 2, y = 1, Ω_0 = 0.125, β_0 = 0.25",
        "",
        "Forward pass",
        "(1) f_0 = β_0 + Ω_0·x                     = 0.25 + 0.125·2                    = 0.5",
        "(2) h_1 = ReLU(f_0)                       = max(0, 0.5)                       = 0.5",
        "(3) L = −y log h_1 − (1 − y) log(1 − h_1) = −1 log 0.5 − (1 − 1) log(1 − 0.5) = 0.693147",
        "",
        "Backward pass",
        "(3) ∂L/∂h_1 = (h_1 − y) / (h_1 (1 − h_1)) = (0.5 − 1) / (0.5 (1 − 0.5)) = −2",
        "(2) ∂L/∂f_0 = I[f_0 > 0] ⊙ ∂L/∂h_1        = I[0.5 > 0] · (−2)           = −2",
        "(1) ∂L/∂β_0 = ∂L/∂f_0                     = (−2)                        = −2",
        "(1) ∂L/∂Ω_0 = ∂L/∂f_0 · xᵀ                = (−2) · 2                    = −4",
    ]


def test_a_long_vector_is_printed_short():
    text = str(worked_example(np.arange(1000.0), 1, np.full(1000, 1e-6), -0.25))
    assert "[0 1 2 … 997 998 999]" in text
    assert max(map(len, text.splitlines())) < 200


@pytest.mark.parametrize(("weight", "bias"), [(-1.0, 0.5), (0.0, 0.0)])
def test_h_1_of_0_is_answered_by_why_the_loss_is_undefined_there(weight, bias):
    with pytest.raises(ValueError, match=r"undefined at h_1 = .* = 0: .*logarithm of 0.*raise bias"):
        worked_example(1.0, 1.0, weight, bias)


@pytest.mark.parametrize(("bias", "logarithm"), [(1.0, "0.0"), (1.5, "-0.5")])
def test_h_1_of_1_and_more_is_answered_by_why_the_loss_is_undefined_there(bias, logarithm):
    with pytest.raises(ValueError, match=rf"undefined at h_1 = {bias}: .*logarithm of {logarithm}.*lower bias"):
        worked_example(1.0, 0.0, 0.0, bias)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["x", "y", "weight", "bias"])
def test_what_is_not_finite_is_refused_by_name(name, bad):
    arguments = {"x": 1.0, "y": 1.0, "weight": 0.25, "bias": 0.25, name: bad}
    with pytest.raises(ValueError, match=f"^{name} must be finite"):
        worked_example(**arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"y": 1.5}, ValueError, r"^y must be from 0 to 1, got 1\.5"),
        ({"y": -0.1}, ValueError, "^y must be from 0 to 1"),
        ({"y": [0, 1]}, ValueError, r"^y must be a number, got an array of shape \(2,\)"),
        ({"bias": [0.1]}, ValueError, "^bias must be a number"),
        ({"x": [1, 2]}, ValueError, r"^weight must have the shape of x, got \(\) for x of \(2,\)"),
        ({"x": [1, 2], "weight": [1, 2, 3]}, ValueError, "^weight must have the shape of x"),
        ({"x": [[1]]}, ValueError, "^x must be a number or a vector"),
        ({"x": []}, ValueError, "^x must be a number or a vector"),
        ({"x": "1"}, TypeError, "^x must be real numbers, got '1'"),
        ({"weight": 1j}, TypeError, "^weight must be real numbers"),
        ({"bias": None}, TypeError, "^bias must be real numbers"),
        ({"x": 1e200, "weight": 1e200}, ValueError, "overflows"),
        ({"x": [1e200, 1e200], "weight": [1e200, -1e200]}, ValueError, "overflows"),
        ({"x": 0.0, "bias": 1e-320}, ValueError, "gradient overflows"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(arguments, kind, reason):
    with pytest.raises(kind, match=reason):
        worked_example(**{"x": 1.0, "y": 1.0, "weight": 0.25, "bias": 0.25} | arguments)


def test_an_example_cannot_be_changed_and_keeps_no_hold_on_its_input():
    x = np.array([1.0, 2.0])
    example = worked_example(x, 1, [0.1, 0.2], 0.1)
    x[0] = 99
    assert example.x.tolist() == [1.0, 2.0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        example.h_1 = 0.5
    with pytest.raises(ValueError, match="read-only"):
        example.dL_dOmega_0[0] = 0


def test_the_docstring_example_is_true():
    outcome = doctest.testmod(toy)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_the_toy_needs_no_numba():
    code = "import sys, fastbp.toy; fastbp.toy.worked_example(1, 1, 0.5, 0); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0

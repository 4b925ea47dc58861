"""exp, logarithms, tanh and the logistic function of lines: a few dozen operations for all lanes at once.

The results are within 2 units in the last place, in float32 and in float64. This file must not know what these
functions are used for.
"""

import math

from fastbp.machine.arithmetic import exponent, fma, maximum, minimum, power_of_two, round_lanes, where_positive
from fastbp.machine.jit import inlined, njit
from fastbp.machine.line import Lines, line_length

_LOG2_E = 1.4426950408889634
# ln 2 as a sum of two parts. The first has 9 bits, so its product with a whole number is exact in float32 too.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.1219444005469058277e-4
_INVERSE_FACTORIALS = tuple(1 / math.factorial(k) for k in range(15))


@inlined
def _terms(x: Lines) -> int:
    """Return how many terms of e^r's series give half a unit in the last place at |r| = ½ ln 2."""
    return 8 if line_length(x) == 16 else 13


@njit
def exp(x: Lines) -> Lines:
    """e^x = 2^n e^r, where x = n ln 2 + r, |r| ≤ ½ ln 2, and e^r = 1 + r (1 + r/2 (1 + r/3 (…)))."""
    limit = 105.0 if line_length(x) == 16 else 746.0  # for a greater |x|, e^x is 0 or infinite
    bounded = minimum(maximum(x, -limit), limit)
    n = round_lanes(bounded * _LOG2_E)
    r = bounded - n * _LN2_HIGH - n * _LN2_LOW
    series = r * _INVERSE_FACTORIALS[_terms(x)] + _INVERSE_FACTORIALS[_terms(x) - 1]
    for k in range(_terms(x) - 2, -1, -1):
        series = series * r + _INVERSE_FACTORIALS[k]
    # 2^n as a product of two factors, because n may be too large or too small for the exponent of a normal number.
    half = round_lanes(n * 0.5)
    return series * power_of_two(half) * power_of_two(n - half)


@njit
def exp_minus_1(x: Lines) -> Lines:
    """e^x − 1 = 2^n (e^r − 1) + (2^n − 1) with n and r as in `exp`, for −80 ≤ x ≤ 0. Small x lose no digits."""
    n = round_lanes(x * _LOG2_E)
    high = x - n * _LN2_HIGH
    r = high - n * _LN2_LOW
    lost = high - r - n * _LN2_LOW  # what rounding took from r
    series = r * _INVERSE_FACTORIALS[_terms(x) + 1] + _INVERSE_FACTORIALS[_terms(x)]
    for k in range(_terms(x) - 1, 1, -1):
        series = series * r + _INVERSE_FACTORIALS[k]
    power = power_of_two(n)
    return (r + (series * (r * r) + lost)) * power + (power - 1)


@njit
def _over_sum(x: Lines, a: float, b: Lines) -> Lines:
    """x / (a + b) for |b| ≤ a: the quotient by the rounded sum, corrected for what rounding took from the sum."""
    rounded = b + a
    lost = b - (rounded - a)
    inverse = 1 / rounded
    quotient = x * inverse
    rest = fma(quotient * -1, rounded, x) - quotient * lost
    return quotient + rest * inverse


@njit
def tanh(x: Lines) -> Lines:
    """tanh |x| = (1 − e^{−2|x|}) / (1 + e^{−2|x|}), with the sign of x."""
    size = minimum(maximum(x, x * -1), 20)  # for a greater |x|, tanh |x| rounds to 1
    e = exp_minus_1(size * -2)
    sign = where_positive(x, size * 0 + 2) - 1  # ±1; `size * 0` keeps NaN
    return _over_sum(e * -1, 2, e) * sign


@njit
def logistic(x: Lines) -> Lines:
    """σ(x) = 1 / (1 + e^{−x}), computed from e^{−|x|}, which cannot overflow."""
    e = exp(maximum(x, x * -1) * -1)
    return _over_sum(where_positive(x, 1 - e) + e, 1, e)


@njit
def log_1p(x: Lines) -> Lines:
    """log(1 + x) = 2 (s + s³/3 + s⁵/5 + …) with s = x / (2 + x), for 0 ≤ x ≤ 1, and so s ≤ 1/3."""
    s = x / (x + 2)
    square = s * s
    series = s * 0
    for k in range(33, 1, -2):
        series = (series + 1 / k) * square
    return s * 2 + s * 2 * series


@njit
def log(x: Lines) -> Lines:
    """log x = n ln 2 + log(1 + (m − 1)), where x = 2^n m and 1 ≤ m < 2, for x ≥ 1: a smaller x would lose digits."""
    n = exponent(x)
    m = x * power_of_two(n * -1)
    return n * _LN2_HIGH + (n * _LN2_LOW + log_1p(m - 1))

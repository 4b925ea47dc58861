"""exp and logarithms of lines: a few dozen multiplications and additions for all lanes instead of a call for each.

All serve float32 and float64 to within 2 units in the last place. This file must not know what they are used for.
"""

from fastbp.arithmetic import exponent, maximum, minimum, power_of_two, round_lanes
from fastbp.jit import njit
from fastbp.line import Lines, line_length

_LOG2_E = 1.4426950408889634
# ln 2 in two parts. The first has 9 bits, so that its product with a whole number is exact in float32 too.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.1219444005469058277e-4


@njit
def exp(x: Lines) -> Lines:
    """e^x = 2^n e^r, where x = n ln 2 + r, |r| ≤ ½ ln 2, and e^r = 1 + r (1 + r/2 (1 + r/3 (…)))."""
    limit = 105.0 if line_length(x) == 16 else 746.0  # beyond it e^x is 0 or infinite
    bounded = minimum(maximum(x, -limit), limit)
    n = round_lanes(bounded * _LOG2_E)
    r = bounded - n * _LN2_HIGH - n * _LN2_LOW
    series = r * 0 + 1
    for k in range(13, 0, -1):
        series = series * r * (1 / k) + 1
    # 2^n in two factors: n itself may leave the exponents of normal numbers.
    half = round_lanes(n * 0.5)
    return series * power_of_two(half) * power_of_two(n - half)


@njit
def log_1p(x: Lines) -> Lines:
    """log(1 + x) = 2 (s + s³/3 + s⁵/5 + …) for s = x / (2 + x); for 0 ≤ x ≤ 1, where s ≤ 1/3."""
    s = x / (x + 2)
    square = s * s
    series = s * 0
    for k in range(33, 1, -2):
        series = (series + 1 / k) * square
    return s * 2 + s * 2 * series


@njit
def log(x: Lines) -> Lines:
    """log x = n ln 2 + log(1 + (m − 1)), where x = 2^n m and 1 ≤ m < 2; for x ≥ 1, below which digits would cancel."""
    n = exponent(x)
    m = x * power_of_two(n * -1)
    return n * _LN2_HIGH + (n * _LN2_LOW + log_1p(m - 1))

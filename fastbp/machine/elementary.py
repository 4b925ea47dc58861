"""exp, logarithms, tanh, the logistic function and erf of lines: a few dozen operations for all lanes at once.

The results are within 2 units in the last place, in float32 and in float64, where nothing else is said. This file must
not know what these functions are used for.

The coefficients of polynomials are those of the smallest largest error (Remez 1934). A comment beside them says where
and how large the error is, for float32 and for float64.
"""

import math

from fastbp.machine.arithmetic import fma, maximum, minimum, where_positive
from fastbp.machine.jit import inlined, njit
from fastbp.machine.lanes import absolute, choose, copy_sign, exponent, near_1, polynomial, power_of_two, round_lanes
from fastbp.machine.line import Lines, line_length

_LOG2_E = 1.4426950408889634
# ln 2 as a sum of two parts. The first has 9 bits, so its product with a whole number is exact in float32 too.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.1219444005469058277e-4
_INVERSE_FACTORIALS = tuple(1 / math.factorial(k) for k in range(14, -1, -1))
# The series of e^r, and of (e^r − 1 − r) / r², with half a unit in the last place at |r| = ½ ln 2.
_exp_series = polynomial(_INVERSE_FACTORIALS[-9:], _INVERSE_FACTORIALS[-14:])
_exp_minus_1_series = polynomial(_INVERSE_FACTORIALS[-10:-2], _INVERSE_FACTORIALS[-15:-2])


@njit
def exp(x: Lines) -> Lines:
    """e^x = 2^n e^r, where x = n ln 2 + r, |r| ≤ ½ ln 2, and e^r = 1 + r (1 + r/2 (1 + r/3 (…)))."""
    limit = 105.0 if line_length(x) == 16 else 746.0  # for a greater |x|, e^x is 0 or infinite
    bounded = minimum(maximum(x, -limit), limit)
    n = round_lanes(bounded * _LOG2_E)
    r = bounded - n * _LN2_HIGH - n * _LN2_LOW
    # 2^n as a product of two factors, because n may be too large or too small for the exponent of a normal number.
    half = round_lanes(n * 0.5)
    return _exp_series(r) * power_of_two(half) * power_of_two(n - half)


@inlined
def _reduced_exp_minus_1(x: Lines) -> tuple[Lines, Lines]:
    """Return n and e^r − 1, with n and r as in `exp`. Small x lose no digits."""
    n = round_lanes(x * _LOG2_E)
    high = x - n * _LN2_HIGH
    r = high - n * _LN2_LOW
    lost = high - r - n * _LN2_LOW  # what rounding took from r
    return n, r + (_exp_minus_1_series(r) * (r * r) + lost)


@njit
def exp_minus_1(x: Lines) -> Lines:
    """e^x − 1 = 2 (2^{n−1} (e^r − 1) + (2^{n−1} − ½)): 2^n itself may be infinite."""
    limit = 89.0 if line_length(x) == 16 else 710.0  # for a greater x, e^x is infinite
    n, rest = _reduced_exp_minus_1(minimum(maximum(x, -40), limit))  # for a smaller x, e^x − 1 rounds to −1
    power = power_of_two(n - 1)
    return (rest * power + (power - 0.5)) * 2


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
    n, rest = _reduced_exp_minus_1(size * -2)
    power = power_of_two(n)
    e = rest * power + (power - 1)
    sign = where_positive(x, size * 0 + 2) - 1  # ±1; `size * 0` keeps NaN
    return _over_sum(e * -1, 2, e) * sign


@njit
def logistic(x: Lines) -> Lines:
    """σ(x) = 1 / (1 + e^{−x}), computed from e^{−|x|}, which cannot overflow."""
    e = exp(absolute(x) * -1)
    return _over_sum(where_positive(x, 1 - e) + e, 1, e)


# --- logarithms ---------------------------------------------------------------------------------------------

# log(1 + x) = 2s + s q(s²) s² with s = x / (2 + x). For |s| ≤ 3 − √8, errors 8.2e-10 and 1.5e-18; for 0 ≤ s ≤ 1/3,
# 4.5e-9 and 1.4e-18.
_log_series = polynomial(
    (0.298776344710435357, 0.399773452679775737, 0.66666777749727576),
    (
        *(0.147684594201777553, 0.153171165938104255, 0.181834290797727839, 0.222222015578382872),
        *(0.285714287082110255, 0.399999999996024625, 0.666666666666669725),
    ),
)
_log_series_to_2 = polynomial(
    (0.280119478628282243, 0.2800182131622424, 0.400215256362335213, 0.666664163216824195),
    (
        *(0.169659524811398172, 0.0837026016988244954, 0.120987042142484977, 0.133019801507857594),
        *(0.153864763313830821, 0.181817482649204047, 0.222222238307603839, 0.285714285504515657),
        *(0.400000000001321978, 0.66666666666666395),
    ),
)


@inlined
def _log_near_1(n: Lines, x: Lines) -> Lines:
    """n ln 2 + log(1 + x) for √½ ≤ 1 + x < √2. The terms are added from the smallest on."""
    s = x / (x + 2)
    half_square = x * x * 0.5
    series = _log_series(s * s) * (s * s)
    return n * _LN2_HIGH - (half_square - (s * (half_square + series) + n * _LN2_LOW) - x)


@inlined
def _with_limits(logarithm: Lines, x: Lines) -> Lines:
    """Return log x for each x: −∞ for 0, NaN for negative x and NaN, ∞ for ∞, and the given logarithm elsewhere."""
    return choose(x, choose(math.inf - x, logarithm, x), choose(absolute(x), math.nan, x - math.inf))


@njit
def log(x: Lines) -> Lines:
    """log x = n ln 2 + log m, where x = 2^n m and √½ ≤ m < √2. Numbers below the normal ones are scaled before."""
    missing = (2.0**-126 if line_length(x) == 16 else 2.0**-1022) - x
    n, m = near_1(choose(missing, x * 2.0**54, x))
    return _with_limits(_log_near_1(n - choose(missing, 54, 0), m - 1), x)


@njit
def log_1p(x: Lines) -> Lines:
    """log(1 + x) = n ln 2 + log m, where 1 + x = 2^n m, with what rounding took from 1 + x added to m."""
    sum_ = x + 1
    lost = x - (sum_ - 1)
    n, m = near_1(sum_)
    scale = power_of_two(maximum(n * -1, -60))  # beyond, what is lost does not count
    return _with_limits(_log_near_1(n, m - 1 + lost * scale), sum_)


@njit
def softplus(x: Lines) -> Lines:
    """log(1 + e^x) = max(x, 0) + log(1 + e^{−|x|})."""
    e = exp(absolute(x) * -1)
    s = e / (e + 2)
    return maximum(x, 0) + (e - s * (e - _log_series_to_2(s * s) * (s * s)))


@njit
def log_1p_of_fraction(x: Lines) -> Lines:
    """log(1 + x) = 2 (s + s³/3 + s⁵/5 + …) with s = x / (2 + x), for 0 ≤ x ≤ 1, and so s ≤ 1/3."""
    s = x / (x + 2)
    square = s * s
    series = s * 0
    for k in range(33, 1, -2):
        series = (series + 1 / k) * square
    return s * 2 + s * 2 * series


@njit
def log_from_1(x: Lines) -> Lines:
    """log x = n ln 2 + log(1 + (m − 1)), where x = 2^n m and 1 ≤ m < 2, for x ≥ 1: a smaller x would lose digits."""
    n = exponent(x)
    m = x * power_of_two(n * -1)
    return n * _LN2_HIGH + (n * _LN2_LOW + log_1p_of_fraction(m - 1))


# --- the normal distribution --------------------------------------------------------------------------------

_INVERSE_ROOT_2_PI = 0.3989422804014327
# e^r for |r| ≤ ½ ln 2: errors 3.1e-9 and 3.7e-18.
_short_exp_series = polynomial(
    (0.00138144576676945451, 0.00836878058815589853, 0.041668394681661007, 0.166665201090142934, 0.499999934, 1.0, 1.0),
    (
        *(2.49995884790194112e-8, 2.76303768309235882e-7, 2.75575887343111626e-6, 2.48014927726274524e-5),
        *(1.98412695029163011e-4, 1.38888889439060551e-3, 8.333333333496654e-3, 4.16666666665292958e-2),
        *(0.166666666666664083, 0.50000000000000107, 1.0, 1.0),
    ),
)
# e^{x²/2} (1 − Φ(x)) as a quotient, for 0 ≤ x ≤ 13.265 and 0 ≤ x ≤ 37.65: relative errors 5.0e-9 and 9.2e-19.
_tail_numerator = polynomial(
    (0.39894794789894398931, 3.9688245211348491867, 17.999429675143549402, 43.258998125681363524, 49.652905),
    (
        *(0.39894228040153820654, 12.436984008264373778, 190.29535571160754255, 1859.0168833582222479),
        *(12751.17307730161518, 63922.261621628470493, 236891.56155203455288, 641706.89395032701838),
        *(1221581.8143881920009, 1489615.5808069848954, 900573.87503970056029),
    ),
)
_tail_denominator = polynomial(
    (1.0, 9.9491031895796247689, 46.101424167421450083, 118.59699270839797126, 165.75260490357241626, 99.30581),
    (
        *(1.0, 31.174895766309482629, 477.99971915137402592, 4691.0391790095067377, 32437.450671922473334),
        *(164826.86341098041153, 624817.52401414859607, 1759742.2780741864316, 3596617.5783298148153),
        *(5066318.5713071735896, 4416339.1431271421739, 1801147.75007940111924),
    ),
)
# erf(x) / x − 1 as a polynomial of x², for |x| ≤ 1: errors 1.2e-9 and 1.3e-19, relative to erf.
_erf_series = polynomial(
    (
        *(7.85384982842940885e-5, -8.01020269927250679e-4, 5.18833048259248783e-3, -0.0268538145820725174),
        *(0.112835852486056348, -0.376126258374651042, 0.12837916572955937),
    ),
    (
        *(5.94525558422348744e-11, -1.13656706718271593e-9, 1.46578835309196535e-8, -1.63500261920772685e-7),
        *(1.64609729541537657e-6, -1.49255935187282267e-5, 1.20553310375511081e-4, -8.54832697876514882e-4),
        *(5.22397762478136979e-3, -0.0268661706450729592, 0.112837916709548579, -0.376126389031837476),
        0.12837916709551257,
    ),
)


@inlined
def _upper_tail(x: Lines) -> tuple[Lines, Lines]:
    """Return 1 − Φ(x) and e^{−x²/2} for x ≥ 0, both 0 where e^{−x²/2} is below the normal numbers."""
    x = minimum(x, 13.265 if line_length(x) == 16 else 37.65)  # there n is just below the exponents of normal numbers
    square = x * x
    lost = fma(x, x, square * -1)  # what rounding took from the square
    n = round_lanes(square * (-0.5 * _LOG2_E))
    r = square * -0.5 - n * _LN2_HIGH - n * _LN2_LOW - lost * 0.5
    e = _short_exp_series(r) * power_of_two(n)
    return _tail_numerator(x) / _tail_denominator(x) * e, e


@njit
def normal_distribution(x: Lines) -> tuple[Lines, Lines]:
    """Return Φ(x) = ½ (1 + erf(x/√2)) and φ(x) = e^{−x²/2} / √(2π).

    Both keep their digits far from 0. There Φ(x) is within 5 units in the last place in float32 and within 7 in
    float64, and φ(x) within 3. Results below the normal numbers are 0 or have fewer digits.
    """
    tail, e = _upper_tail(absolute(x))
    return choose(x, 1 - tail, tail), e * _INVERSE_ROOT_2_PI


@njit
def erf(x: Lines) -> Lines:
    """Return erf(x) = 1 − 2 (1 − Φ(√2 |x|)) with the sign of x, and x + x q(x²) for |x| < 1."""
    size = absolute(x)
    tail, _ = _upper_tail(size * math.sqrt(2))
    return choose(1 - size, fma(x, _erf_series(x * x), x), copy_sign(1 - tail * 2, x))

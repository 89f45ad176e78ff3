"""Numbers of about 31 digits as pairs of float64 (Dekker 1971, Knuth; Hida, Li and Bailey 2001), compiled.

A number is a pair (high, low) with |low| at most half a unit in the last place of high.
"""

from __future__ import annotations

import math
from fractions import Fraction

from evsim.testing.compiled import compiled

_SPLITTER = 134217729.0
_LN2 = 0.6931471805599453, 2.3190468138462996e-17
_HALVINGS = 9


def _digits(value: Fraction) -> tuple[float, float]:
    high = float(value)
    return high, float(value - Fraction(high))


_INVERSE = tuple(_digits(Fraction(1, math.factorial(n))) for n in range(22))
"""1 / n!."""


@compiled
def two_sum(a, b):  # type: ignore[no-untyped-def]
    """a + b exactly, of two float64."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


@compiled
def two_product(a, b):  # type: ignore[no-untyped-def]
    """a b exactly, of two float64."""
    p = a * b
    x = _SPLITTER * a
    a_high = x - (x - a)
    a_low = a - a_high
    x = _SPLITTER * b
    b_high = x - (x - b)
    b_low = b - b_high
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


@compiled
def add(a, b):  # type: ignore[no-untyped-def]
    """a + b."""
    s, e = two_sum(a[0], b[0])
    t, f = two_sum(a[1], b[1])
    s, e = two_sum(s, e + t)
    return two_sum(s, e + f)


@compiled
def negative(a):  # type: ignore[no-untyped-def]
    """-a."""
    return -a[0], -a[1]


@compiled
def subtract(a, b):  # type: ignore[no-untyped-def]
    """a - b."""
    return add(a, (-b[0], -b[1]))


@compiled
def multiply(a, b):  # type: ignore[no-untyped-def]
    """a b."""
    p, e = two_product(a[0], b[0])
    return two_sum(p, e + (a[0] * b[1] + a[1] * b[0]))


@compiled
def divide(a, b):  # type: ignore[no-untyped-def]
    """a / b, by three digits of 53 bits."""
    q = a[0] / b[0]
    r = subtract(a, multiply((q, 0.0), b))
    q2 = r[0] / b[0]
    r = subtract(r, multiply((q2, 0.0), b))
    return add(two_sum(q, q2), (r[0] / b[0], 0.0))


@compiled
def _by_powers(x, first, last, dd_from):  # type: ignore[no-untyped-def]
    """sum x^(n - first) / n!, n = first ... last (Horner); for terms from ``dd_from`` on float64 suffices."""
    tail = 0.0
    for n in range(last, dd_from - 1, -1):
        tail = tail * x[0] + _INVERSE[n][0]
    total = (tail, 0.0)
    for n in range(dd_from - 1, first - 1, -1):
        total = add(multiply(total, x), _INVERSE[n])
    return total


@compiled
def exponential(x):  # type: ignore[no-untyped-def]
    """exp(x), 0 below -740; with fewer digits below -650, where the second number is too small."""
    if x[0] < -740.0:
        return 0.0, 0.0
    k = math.floor(x[0] / _LN2[0] + 0.5)
    r = subtract(x, multiply((k, 0.0), _LN2))
    scale = 1.0 / 2.0**_HALVINGS
    r = (r[0] * scale, r[1] * scale)
    # exp(r) - 1 by its series, then exp(2 r) - 1 = 2 e + e^2.
    e = multiply(r, _by_powers(r, 1, 9, 7))
    for _ in range(_HALVINGS):
        e = add((2.0 * e[0], 2.0 * e[1]), multiply(e, e))
    e = add(e, (1.0, 0.0))
    return math.ldexp(e[0], int(k)), math.ldexp(e[1], int(k))


@compiled
def growth(y):  # type: ignore[no-untyped-def]
    """(exp(y) - 1) / y, 1 at y = 0."""
    if abs(y[0]) > 0.1:
        return divide(subtract(exponential(y), (1.0, 0.0)), y)
    return _by_powers(y, 1, 21, 13)

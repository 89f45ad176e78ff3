"""Values of the C library's functions, by which machines are told apart whose last bits differ."""

import math

from .jit import leaf

FUNCTIONS = 4


@leaf
def library_values(x, out):
    """exp, expm1, log1p and log at arguments of both signs, of sizes that neurons meet: out (FUNCTIONS, x.size).

    x : (n,) within (0, 1)
    """
    for k in range(x.size):
        y = 40.0 * (x[k] - 0.5)
        out[0, k] = math.exp(y)
        out[1, k] = math.expm1(0.05 * y)
        out[2, k] = math.log1p(y / 21.0)
        out[3, k] = math.log(3.0 * x[k])

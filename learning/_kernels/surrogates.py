"""Secondary activations: what stands in for the derivative of a threshold, as scalar formulas."""

import math

from evsim._kernels.jit import formula, leaf

TRIANGLE, SIGMOID, FAST, LORENTZIAN, RECTANGLE = range(5)


@formula
def surrogate(shape, z):
    """Shape of a secondary activation at z, the scaled distance from threshold; even in z, 1 at z = 0."""
    a = abs(z)
    if shape == TRIANGLE:
        return max(1.0 - a, 0.0)
    if shape == SIGMOID:
        e = math.exp(-a)
        return 4.0 * e / ((1.0 + e) * (1.0 + e))
    if shape == FAST:
        return 1.0 / ((1.0 + a) * (1.0 + a))
    if shape == LORENTZIAN:
        return 1.0 / (1.0 + a * a)
    return 1.0 if a < 1.0 else 0.0


@leaf
def surrogates(shape, height, z, out):
    """``out``: height times the shape at each z."""
    for k in range(z.size):
        out[k] = height * surrogate(shape, z[k])

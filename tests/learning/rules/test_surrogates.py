"""Secondary activations against quadrature and the papers' formulas."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from evsim.learning.surrogates import S1, S2, S3, S4, SHAPES, TSSL, Surrogate


@pytest.mark.parametrize("shape", SHAPES)
def test_the_integral_is_what_quadrature_finds(shape):
    psi = Surrogate(shape, slope=3.0, height=0.7)
    borders = [-np.inf, -2.0, 2.0 / 3.0, 1.0, 4.0 / 3.0, np.inf]
    found = sum(quad(lambda u: float(psi(u)), a, b, limit=200)[0] for a, b in pairwise(borders))
    assert found == pytest.approx(psi.integral, rel=1e-6)


def test_the_papers_activations():
    u = np.linspace(-0.7, 2.3, 41)
    x = u - 1.0
    np.testing.assert_allclose(S1(u), 1.0 / (100.0 * np.abs(x) + 1.0) ** 2, rtol=1e-13)
    np.testing.assert_allclose(S2(u), 0.3 * np.maximum(1.0 - np.abs(x), 0.0), rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(S3(u), 4.0 * expit(4.0 * x) * (1.0 - expit(4.0 * x)), rtol=1e-12)
    np.testing.assert_allclose(S4(u), 1.0 / (1.0 + (10.0 * x) ** 2), rtol=1e-13)
    z = -x / 0.2
    np.testing.assert_allclose(TSSL(u), np.exp(z) / ((1.0 + np.exp(z)) ** 2 * 0.2), rtol=1e-12)


@pytest.mark.parametrize("bad", [{"shape": "square"}, {"slope": 0.0}, {"height": -1.0}, {"slope": float("nan")}])
def test_refuses(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Surrogate(**bad)

"""The membrane formulas against 50 digits: every ratio of time constants, any sign of the time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from evsim._kernels.neurons.lif import decay, fade, flow_u, phi, psp, psp_peak, rise_bound
from evsim.testing.closed_form import flow
from evsim.testing.strategies import ratios

EPS = 2.0**-52

tau_ms = st.sampled_from([2.0, 10.0, 20.0]) | st.floats(1.0, 50.0)
currents = st.floats(-10.0, 20.0)
potentials = st.floats(-3.0, 3.0)


def plain(f):
    """The Python function behind a compiled one (itself where compilation is switched off)."""
    return getattr(f, "py_func", f)


def exact_psp(t: float, tau_m: float, tau_s: float) -> mpf:
    with mp.workdps(50):
        return flow(mpf(t), mpf(tau_m), [mpf(tau_s)]).psps[0]


def relative_error(found: float, exact: mpf) -> float:
    return float(abs(mpf(found) - exact) / abs(exact)) if exact else abs(found)


@given(tau_m=tau_ms, ratio=ratios(), x=st.floats(-4.0, 25.0))
def test_psp_keeps_all_digits_for_every_ratio_and_sign_of_time(tau_m, ratio, x) -> None:
    tau_s = tau_m / ratio
    t = x * min(tau_m, tau_s) if abs(x) > 1e-9 else 0.0
    allowed = 4.0 * EPS * (2.0 + abs(t) / tau_m + abs(t) / tau_s)
    assert relative_error(psp(t, tau_m, tau_s), exact_psp(t, tau_m, tau_s)) <= allowed


@pytest.mark.parametrize("gap", [0.0, 1e-15, -1e-15, 1e-12, -1e-12, 1e-9, 1e-7, -1e-7, 1e-4])
@pytest.mark.parametrize("t", [-3.0, 1e-9, 0.5, 10.0, 80.0])
def test_psp_has_no_hole_near_equal_time_constants(gap, t) -> None:
    tau_s = 10.0 * (1.0 + gap)
    assert relative_error(psp(t, 10.0, tau_s), exact_psp(t, 10.0, tau_s)) <= 16 * EPS * (1.0 + abs(t) / 10.0)


def test_psp_is_zero_at_zero_and_of_slope_one_over_tau_m() -> None:
    assert psp(0.0, 20.0, 5.0) == 0.0
    assert psp(1e-12, 20.0, 5.0) == pytest.approx(1e-12 / 20.0, rel=1e-11)


def test_psp_of_a_long_time_is_zero_and_not_nan() -> None:
    for tau_s in (0.2, 5.0, 20.0, 200.0):
        assert psp(1e6, 20.0, tau_s) == 0.0


@given(tau_m=tau_ms, ratio=ratios() | st.floats(-9.0, -4.0).map(lambda x: 1.0 + 10.0**x))
def test_psp_peak_is_the_maximum(tau_m, ratio) -> None:
    """At s* = log(tau_m / tau_s) / (1 / tau_s - 1 / tau_m), and tau at equal time constants."""
    tau_s = tau_m / ratio
    with mp.workdps(50):
        m, s = mpf(tau_m), mpf(tau_s)
        at = m if m == s else mp.log(m / s) / (1 / s - 1 / m)
        exact = flow(at, m, [s]).psps[0]
    assert relative_error(psp_peak(tau_m, tau_s), exact) <= 64 * EPS


@given(x=st.floats(-30.0, 30.0) | st.floats(-1e-8, 1e-8))
def test_phi_is_accurate_around_zero(x) -> None:
    with mp.workdps(50):
        exact = -mp.expm1(-mpf(x)) / mpf(x) if x else mpf(1)
    assert relative_error(phi(x), exact) <= 4 * EPS


@given(data=st.data())
def test_flow_is_the_closed_form(data) -> None:
    tau_m = data.draw(tau_ms)
    taus = [tau_m / data.draw(ratios()) for _ in range(2)]
    u, i_exc, i_inh = data.draw(potentials), data.draw(currents), data.draw(currents)
    t = data.draw(st.just(0.0) | st.floats(1e-9, 100.0))
    with mp.workdps(50):
        f = flow(mpf(t), mpf(tau_m), [mpf(tau) for tau in taus])
        expected = {0: (), 1: (mpf(i_exc),), 2: (mpf(i_exc), mpf(i_inh))}
        for n, values in expected.items():
            exact = f.potential(mpf(u), values)
            terms = float(f.potential(abs(mpf(u)), [abs(i) for i in values]))
            found = flow_u(t, u, i_exc, i_inh, tau_m, *taus, n)
            assert abs(float(mpf(found) - exact)) <= 8 * EPS * terms * (1.0 + t / min(tau_m, *taus)) + 1e-300


@given(data=st.data())
def test_two_short_flows_are_one_long_flow(data) -> None:
    tau_m = data.draw(tau_ms)
    tau_s = tau_m / data.draw(ratios())
    u, i = data.draw(potentials), data.draw(currents)
    a, b = data.draw(st.floats(0.0, 30.0)), data.draw(st.floats(0.0, 30.0))
    once = flow_u(a + b, u, i, 0.0, tau_m, tau_s, 1.0, 1)
    half = flow_u(a, u, i, 0.0, tau_m, tau_s, 1.0, 1)
    twice = flow_u(b, half, i * decay(a, tau_s), 0.0, tau_m, tau_s, 1.0, 1)
    assert twice == pytest.approx(once, rel=1e-12, abs=1e-12)


@given(data=st.data())
def test_the_bound_without_exponential_lies_above_the_trace(data) -> None:
    tau_m = data.draw(tau_ms)
    taus = [tau_m / data.draw(ratios()) for _ in range(2)]
    u, i_exc, i_inh = data.draw(potentials), data.draw(currents), data.draw(currents)
    h = data.draw(st.floats(0.0, 50.0))
    bound = rise_bound(u, max(i_exc, 0.0) + max(i_inh, 0.0), h / tau_m)
    for k in range(21):
        above = flow_u(h * k / 20.0, u, i_exc, i_inh, tau_m, *taus, 2)
        assert above <= bound + 1e-13 * (abs(u) + abs(i_exc) + abs(i_inh))


def test_decay_and_fade_are_the_exponential() -> None:
    assert decay(3.0, 2.0) == pytest.approx(math.exp(-1.5), rel=EPS)
    assert fade(3.0, 4.0, 2.0) == pytest.approx(4.0 * math.exp(-1.5), rel=2 * EPS)
    assert fade(math.inf, 0.0, 2.0) == 0.0


@pytest.mark.parametrize("tau_s", [0.2, 5.0, 20.0 * (1 - 1e-12), 20.0, 20.0 * (1 + 1e-12), 30.0, 200.0])
def test_compiled_formulas_agree_with_plain_python(tau_s) -> None:
    for t in (-2.0, 0.0, 1e-9, 0.7, 25.0):
        assert plain(psp)(t, 20.0, tau_s) == pytest.approx(psp(t, 20.0, tau_s), rel=4 * EPS)
        assert plain(phi)(t) == pytest.approx(phi(t), rel=4 * EPS)
        assert plain(decay)(t, tau_s) == pytest.approx(decay(t, tau_s), rel=4 * EPS)
        state = (0.3, 2.0, -1.0, 20.0, tau_s, 7.0, 2)
        assert plain(flow_u)(t, *state) == pytest.approx(flow_u(t, *state), rel=64 * EPS)
    assert plain(psp_peak)(20.0, tau_s) == pytest.approx(psp_peak(20.0, tau_s), rel=4 * EPS)
    assert plain(rise_bound)(0.2, 1.5, 0.15) == rise_bound(0.2, 1.5, 0.15)
    assert plain(fade)(2.0, 1.5, tau_s) == pytest.approx(fade(2.0, 1.5, tau_s), rel=4 * EPS)

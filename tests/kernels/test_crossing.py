"""The crossing solver against 50 digits: existence and time, closed forms, and grazing on its own."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from mpmath import mp, mpf

from evsim._kernels.neurons.crossing import (
    crossing,
    crossing_delta,
    crossing_double,
    crossing_newton,
    crossing_one,
    crossing_two,
    grazes,
    peak_time,
)
from evsim._kernels.neurons.lif import psp_peak
from evsim.testing.closed_form import flow, oracle_crossing
from evsim.testing.strategies import ratios

EPS = 2.0**-52
NEAR = 1e-9
"""States whose answer changes when theta moves by this share of the terms graze; they are left out."""

tau_ms = st.sampled_from([2.0, 10.0, 20.0]) | st.floats(1.0, 50.0)


def coarse(x: float) -> float:
    """Tiny values become 0: where terms of 1 cancel to 1e-100, 50 digits do not suffice for the oracle."""
    return x if abs(x) > 1e-6 else 0.0


thetas = (st.sampled_from([1.0, 1.0, 0.0, -0.5, 1e-3]) | st.floats(-2.0, 3.0)).map(coarse)
ends = st.just(math.inf) | st.floats(0.01, 120.0)
currents = (st.floats(-10.0, 20.0) | st.floats(-1.0, 4.0)).map(coarse)


def plain(f):
    """The Python function behind a compiled one (itself where compilation is switched off)."""
    return getattr(f, "py_func", f)


def finite_end(h: float, *taus: float) -> float:
    return h if h < math.inf else 800.0 * max(taus)


def check(found, u, i, taus, theta, tau_m, h) -> None:
    """Existence as the oracle says, and |t - t_true| <= 4 eps condition."""
    end = finite_end(h, tau_m, *taus)
    scale = max(abs(theta), abs(u), *(abs(x) for x in i), 0.0)
    lower, exact, upper = (
        oracle_crossing(u, i, taus, level, tau_m, end)
        for level in (theta - NEAR * scale, theta, theta + NEAR * scale)
    )
    assume((lower < mp.inf) == (upper < mp.inf) and u < theta - NEAR * scale)
    assert (found < math.inf) == (exact < mp.inf), (found, exact)
    if found == math.inf:
        return
    assert 0.0 <= found <= end
    assume(upper - lower < 1e-3 * (1 + exact))
    with mp.workdps(50):
        f = flow(exact, mpf(tau_m), [mpf(tau) for tau in taus])
        size = float(f.potential(abs(mpf(u)), [abs(mpf(x)) for x in i]))
        climb = abs(float(f.current([mpf(x) for x in i]) - theta)) / tau_m
        error = float(abs(mpf(found) - exact))
    assert error <= 4 * EPS * ((size + abs(theta)) / climb + float(exact))


@given(data=st.data())
def test_crossing_with_one_receptor_is_the_oracles(data) -> None:
    tau_m = data.draw(tau_ms)
    tau_s = tau_m / data.draw(ratios())
    theta = data.draw(thetas)
    u = theta - data.draw(st.floats(1e-3, 4.0))
    i, h = data.draw(currents), data.draw(ends)
    found = crossing_one(u, i, theta, tau_m, tau_s, psp_peak(tau_m, tau_s), h)
    check(found, u, [i], [tau_s], theta, tau_m, h)


@given(data=st.data())
def test_crossing_with_two_receptors_is_the_oracles(data) -> None:
    tau_m = data.draw(tau_ms)
    taus = [tau_m / data.draw(ratios()) for _ in range(2)]
    theta = data.draw(thetas)
    u = theta - data.draw(st.floats(1e-3, 4.0))
    i = [coarse(data.draw(st.floats(0.0, 30.0))), -coarse(data.draw(st.just(0.0) | st.floats(0.0, 30.0)))]
    h = data.draw(ends)
    found = crossing_two(u, *i, theta, tau_m, *taus, psp_peak(tau_m, taus[0]), h)
    check(found, u, i, taus, theta, tau_m, h)


@given(u=st.floats(-5.0, 2.0), theta=thetas, tau_m=tau_ms, h=ends)
def test_crossing_with_delta_synapses_is_the_oracles(u, theta, tau_m, h) -> None:
    found = crossing_delta(u, theta, tau_m, h)
    if u >= theta:
        assert found == 0.0
    else:
        check(found, u, [], [], theta, tau_m, h)


@given(data=st.data())
def test_closed_form_of_ratio_two_is_the_oracles(data) -> None:
    tau_m = data.draw(tau_ms)
    theta = data.draw(thetas)
    u = theta - data.draw(st.floats(1e-3, 4.0))
    i = data.draw(currents)
    assume(theta < 0.0 or i > theta)
    check(crossing_double(u, i, theta, tau_m), u, [i], [0.5 * tau_m], theta, tau_m, math.inf)


@given(data=st.data())
def test_newton_agrees_with_the_closed_form(data) -> None:
    theta = data.draw(thetas.filter(lambda x: x != 0.0))
    u = theta - data.draw(st.floats(1e-3, 4.0))
    i = data.draw(currents)
    assume(theta < 0.0 or i > theta)
    check(crossing_newton(u, i, theta, 20.0, 10.0, math.inf), u, [i], [10.0], theta, 20.0, math.inf)


@example(i=2.72, tau=10.0)
@given(i=st.floats(2.7183, 1e4), tau=tau_ms)
def test_equal_time_constants_give_lambert_w(i, tau) -> None:
    """u = i (t / tau) exp(-t / tau) = 1 at t = -tau W0(-1 / i)."""
    found = crossing_one(0.0, i, 1.0, tau, tau, psp_peak(tau, tau), math.inf)
    with mp.workdps(50):
        exact = -tau * mp.lambertw(-1 / mpf(i))
        climb = float(abs(i * mp.exp(-exact / tau) - 1)) / tau
    assert abs(float(mpf(found) - exact)) <= 4 * EPS * (2.0 / climb + float(exact))


@given(
    tau_m=tau_ms, ratio=ratios(), theta=st.floats(0.0, 3.0), gap=st.floats(1e-6, 4.0), i=st.floats(-20.0, 0.0)
)
def test_inhibition_alone_never_fires_a_neuron_below_a_positive_threshold(
    tau_m, ratio, theta, gap, i
) -> None:
    tau_s = tau_m / ratio
    u = theta - gap
    assert crossing_one(u, i, theta, tau_m, tau_s, psp_peak(tau_m, tau_s), math.inf) == math.inf
    assert crossing_two(u, 0.0, i, theta, tau_m, 5.0, tau_s, psp_peak(tau_m, 5.0), math.inf) == math.inf
    assert crossing_delta(u, theta, tau_m, math.inf) == math.inf


@given(tau_m=tau_ms, ratio=ratios(), i=st.floats(-20.0, 0.0))
def test_inhibition_only_delays_a_neuron_whose_bias_is_above_threshold(tau_m, ratio, i) -> None:
    """theta = -1: without current the crossing is at tau_m log 2."""
    tau_s = tau_m / ratio
    free = crossing_delta(-2.0, -1.0, tau_m, math.inf)
    assert free == pytest.approx(tau_m * math.log(2.0), rel=4 * EPS)
    held = crossing_one(-2.0, i, -1.0, tau_m, tau_s, psp_peak(tau_m, tau_s), math.inf)
    assert free * (1.0 - 4 * EPS) <= held < math.inf


@pytest.mark.parametrize("tau_s", [5.0, 10.0, 15.0, 19.0, 20.0, 30.0, 20.0 * (1 + 1e-9)])
def test_threshold_at_rest_is_reached_only_where_the_current_suffices(tau_s) -> None:
    """theta = 0: u exp(t / tau_m) grows to u0 + i tau_s / (tau_m - tau_s); no limit if tau_m <= tau_s."""
    peak = psp_peak(20.0, tau_s)
    limit = tau_s / (20.0 - tau_s) if tau_s < 20.0 else math.inf
    for i in (0.01, 0.5, 3.5, 10.0):
        found = crossing_one(-1.0, i, 0.0, 20.0, tau_s, peak, math.inf)
        assert (found < math.inf) == (i * limit > 1.0)
        split = crossing_two(-1.0, i, -1e-30, 0.0, 20.0, tau_s, 7.0, peak, math.inf)
        if i > 0.01:
            assert split == pytest.approx(found, rel=1e-12)


def test_two_receptors_at_rest_threshold_do_not_fire_when_everything_has_faded() -> None:
    """theta = 0 with lasting inhibition: u stays below 0 until float64 knows no smaller number."""
    for u in (-1.0, -1e-3, -1e-20):
        for taus in ((5.0, 10.0), (10.0, 5.0), (5.0, 40.0)):
            found = crossing_two(u, 0.1, -3.0, 0.0, 20.0, *taus, psp_peak(20.0, taus[0]), math.inf)
            assert (found < math.inf) == (oracle_crossing(u, [0.1, -3.0], taus, 0.0, 20.0, 8000.0) < mp.inf)


@given(data=st.data())
def test_two_receptors_with_bias_above_threshold_always_fire_in_the_end(data) -> None:
    """theta < 0: the trace ends at 0, above theta, whatever the currents do before."""
    tau_m = data.draw(tau_ms)
    taus = [tau_m / data.draw(ratios()) for _ in range(2)]
    theta = -data.draw(st.floats(0.01, 3.0))
    u = theta - data.draw(st.floats(1e-3, 4.0))
    i = [data.draw(st.floats(0.0, 30.0)), -data.draw(st.floats(0.0, 30.0))]
    assert crossing_two(u, *i, theta, tau_m, *taus, psp_peak(tau_m, taus[0]), math.inf) < math.inf


def test_two_receptors_fire_for_every_pair_of_slow_time_constants() -> None:
    """At the end of such a trace all terms of its slope have faded together."""
    for k in range(400):
        tau_m, tau_exc, tau_inh = 10.0 + 0.001 * k, 36.8 - 0.03 * k, 5.2 + 0.02 * k
        for i_exc, i_inh in ((0.4, -0.02), (0.4, -1.5), (0.0, -1.7), (1e-250, -1.7)):
            state = (-1.5, i_exc, i_inh, -0.577, tau_m, tau_exc, tau_inh, psp_peak(tau_m, tau_exc))
            assert crossing_two(*state, math.inf) == pytest.approx(crossing_two(*state, 200.0), rel=1e-14)
            assert crossing_two(*state, 200.0) < math.inf


@given(data=st.data())
def test_the_end_of_the_interval_only_cuts_off(data) -> None:
    """With a finite h the crossing is the same one, or none if it lies behind h."""
    tau_m = data.draw(tau_ms)
    tau_exc, tau_inh = tau_m / data.draw(ratios()), tau_m / data.draw(ratios())
    i_exc, i_inh = data.draw(st.floats(0.5, 30.0)), -data.draw(st.floats(0.0, 10.0))
    n = data.draw(st.sampled_from([1, 2]))
    peak = psp_peak(tau_m, tau_exc)
    free = crossing(0.0, i_exc, i_inh, 1.0, tau_m, tau_exc, tau_inh, peak, n, math.inf)
    h = data.draw(st.floats(0.01, 60.0))
    cut = crossing(0.0, i_exc, i_inh, 1.0, tau_m, tau_exc, tau_inh, peak, n, h)
    assume(abs(free - h) > 1e-6)
    assert cut == (pytest.approx(free, rel=1e-7) if free < h else math.inf)


def test_a_potential_at_threshold_crosses_at_once() -> None:
    for u in (1.0, 1.5):
        assert crossing_one(u, -5.0, 1.0, 20.0, 5.0, 0.1, 1.0) == 0.0
        assert crossing_two(u, 0.0, -5.0, 1.0, 20.0, 5.0, 9.0, 0.1, 1.0) == 0.0
        assert crossing_delta(u, 1.0, 20.0, 1.0) == 0.0


# ------------------------------------------------------------------------------------------------ grazing

GRAZING_TAUS = [
    (20.0, 5.0),
    (20.0, 10.0),
    (10.0, 10.0),
    (10.0, 10.0 * (1 + 1e-12)),
    (10.0, 30.0),
    (20.0, 0.4),
]


def at_the_peak(tau_m: float, tau_s: float, excess: float) -> float:
    """Current from rest whose peak is 1 + excess."""
    with mp.workdps(50):
        m, s = mpf(tau_m), mpf(tau_s)
        top = m if m == s else mp.log(m / s) / (1 / s - 1 / m)
        return float((1 + mpf(excess)) / flow(top, m, [s]).psps[0])


@pytest.mark.parametrize("tau_m, tau_s", GRAZING_TAUS)
@pytest.mark.parametrize("size", [1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9])
def test_a_grazing_peak_is_counted_and_a_clear_one_is_decided(tau_m, tau_s, size) -> None:
    peak = psp_peak(tau_m, tau_s)
    for excess in (size, -size):
        i = at_the_peak(tau_m, tau_s, excess)
        for n, inhibition in ((1, 0.0), (2, -1e-30)):
            found = crossing(0.0, i, inhibition, 1.0, tau_m, tau_s, 7.0, peak, n, math.inf)
            counted = grazes(0.0, i, inhibition, 1.0, tau_m, tau_s, 7.0, n, math.inf)
            top = peak_time(0.0, i, inhibition, tau_m, tau_s, 7.0, n, math.inf)
            assert not math.isnan(found)
            if size <= 1e-13:
                assert counted
            if size >= 1e-11:
                assert not counted
                assert (found < math.inf) == (excess > 0.0)
            if found < math.inf:
                assert found == pytest.approx(top, rel=1e-2)


def test_a_peak_behind_the_end_is_not_counted() -> None:
    i = at_the_peak(20.0, 5.0, 0.0)
    top = peak_time(0.0, i, 0.0, 20.0, 5.0, 1.0, 1, math.inf)
    assert grazes(0.0, i, 0.0, 1.0, 20.0, 5.0, 1.0, 1, top * 1.01)
    assert not grazes(0.0, i, 0.0, 1.0, 20.0, 5.0, 1.0, 1, top * 0.99)


@given(tau_m=tau_ms, ratio=ratios(), u=st.floats(-2.0, 2.0), i=currents)
def test_the_peak_is_where_the_current_meets_the_potential(tau_m, ratio, u, i) -> None:
    tau_s = tau_m / ratio
    top = peak_time(u, i, 0.0, tau_m, tau_s, 1.0, 1, math.inf)
    if i <= max(u, 0.0):
        assert top == math.inf
    elif top < math.inf:
        with mp.workdps(50):
            f = flow(mpf(top), mpf(tau_m), [mpf(tau_s)])
            potential, current = f.potential(mpf(u), [mpf(i)]), f.current([mpf(i)])
            size = f.potential(abs(mpf(u)), [abs(mpf(i))]) + abs(current)
        assert abs(potential - current) <= 1e-12 * size * (1 + top / min(tau_m, tau_s))


# ------------------------------------------------------------------------------------- compiled and plain

STATES = [
    (u, i_exc, i_inh, theta, 20.0, tau_exc, tau_inh, n, h)
    for u in (-1.5, 0.0)
    for i_exc in (0.4, 3.0, 12.0)
    for i_inh in (0.0, -2.0)
    for theta in (1.0, 0.25, -0.5)
    for tau_exc, tau_inh in ((5.0, 10.0), (10.0, 3.0), (20.0, 20.0), (33.0, 8.0))
    for n in (0, 1, 2)
    for h in (math.inf, 6.0)
    if u < theta
]


def test_compiled_solvers_agree_with_plain_python() -> None:
    for u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, n, h in STATES:
        peak = psp_peak(tau_m, tau_exc)
        state = (u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh)
        assert plain(crossing)(*state, peak, n, h) == crossing(*state, peak, n, h)
        assert plain(grazes)(*state, n, h) == grazes(*state, n, h)
        found = crossing_one(u, i_exc, theta, tau_m, tau_exc, peak, h)
        assert plain(crossing_one)(u, i_exc, theta, tau_m, tau_exc, peak, h) == pytest.approx(
            found, rel=1e-14
        )
        if tau_exc != tau_inh:
            found = crossing_two(*state, peak, h)
            assert plain(crossing_two)(*state, peak, h) == pytest.approx(found, rel=1e-14)
        if theta < 0.0 or i_exc > theta:
            found = crossing_newton(u, i_exc, theta, tau_m, tau_exc, h)
            assert plain(crossing_newton)(u, i_exc, theta, tau_m, tau_exc, h) == pytest.approx(
                found, rel=1e-13
            )
            found = crossing_double(u, i_exc, theta, tau_m)
            assert plain(crossing_double)(u, i_exc, theta, tau_m) == pytest.approx(found, rel=1e-14)
        found = crossing_delta(u, theta, tau_m, h)
        assert plain(crossing_delta)(u, theta, tau_m, h) == pytest.approx(found, rel=1e-14)

"""Factors of the flow back to the start of a cell, against 50 digits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from mpmath import mp, mpf

from evsim._kernels.window.series import LONG, current_factors, kick_factors
from evsim.testing.closed_form import flow

ROUND = 2.0**-53
"""Half the spacing of float64 above 1: the error of one rounding, 1.11e-16."""

RATIOS = [0.1, 0.3, 0.5, 0.999, 1 - 1e-8, 1 - 1e-12, 1.0, 1 + 1e-12, 1 + 1e-8, 1.01, 2.0, 3.7, 10.0, 37.0, 100.0]
"""tau_m / tau_s."""

SHARES = [1e-9, 1e-3, 1 / 64 - 1e-9, 1 / 64, 1 / 64 + 1e-9, 0.05, 0.1, 0.2, LONG]
"""Cell length over the shortest time constant: both sides of the switches between the series, and the longest."""


def instants(h: float) -> np.ndarray:
    """Ends and inside of a cell, ms."""
    inside = np.random.default_rng(0).uniform(0.0, h, 6)
    return np.concatenate([[0.0, h * 1e-12, h * 1e-3, 0.5 * h, np.nextafter(h, 0.0), h], inside])


def exact(t: float, tau_m: float, tau_s: float) -> tuple[mpf, mpf]:
    """exp(t/tau_s) and P(-t)."""
    f = flow(-mpf(t), mpf(tau_m), [mpf(tau_s)])
    return f.decays[0], f.psps[0]


def cells(tau_m: float, ratio: float) -> Iterator[tuple[float, float, np.ndarray]]:
    """(tau_s, h, times) for every length of a cell."""
    tau_s = tau_m / ratio
    for share in SHARES:
        h = share * min(tau_m, tau_s)
        yield tau_s, h, instants(h)


def relative(found: float, value: mpf) -> float:
    return float(abs(mpf(float(found)) - value) / abs(value)) if value else abs(float(found))


def test_kick_factors_are_the_exponential_to_two_roundings() -> None:
    """Worst of 84,000 random points: 1.9 roundings, 2.1e-16."""
    worst = 0.0
    with mp.workdps(50):
        for tau_m in (0.7, 2.0, 10.0, 20.0, 33.3):
            for _, h, times in cells(tau_m, 1.0):
                decay = np.empty(times.size)
                kick_factors(times, times.size, decay, tau_m, h)
                worst = max(worst, *(relative(d, mp.exp(mpf(t) / mpf(tau_m))) for t, d in zip(times, decay)))
    assert worst <= 2.5 * ROUND


@pytest.mark.parametrize("ratio", RATIOS)
def test_current_factors_are_the_closed_form_to_a_few_roundings(ratio) -> None:
    """Worst of 84,000 random points: decay 2.3 roundings, 2.5e-16; psp 4.8 roundings, 5.3e-16."""
    worst_decay = worst_psp = 0.0
    with mp.workdps(50):
        for tau_m in (0.7, 2.0, 10.0, 20.0):
            for tau_s, h, times in cells(tau_m, ratio):
                decay, psp = np.empty(times.size), np.empty(times.size)
                current_factors(times, times.size, decay, psp, tau_m, tau_s, h)
                for t, d, p in zip(times, decay, psp):
                    exact_decay, exact_psp = exact(t, tau_m, tau_s)
                    worst_decay = max(worst_decay, relative(d, exact_decay))
                    worst_psp = max(worst_psp, relative(p, exact_psp))
    assert worst_decay <= 3.0 * ROUND
    assert worst_psp <= 6.0 * ROUND


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.0, 10.0, 100.0])
def test_no_series_is_cut_short(ratio) -> None:
    """Late in the longest cell, where a missing term is largest: roundings average out, a missing term does not."""
    rng = np.random.default_rng(1)
    errors = []
    with mp.workdps(50):
        for tau_m in rng.uniform(5.0, 20.0, 30):
            tau_s = tau_m / ratio
            h = LONG * min(tau_m, tau_s)
            times = rng.uniform(0.97 * h, h, 10)
            decay, psp = np.empty(times.size), np.empty(times.size)
            current_factors(times, times.size, decay, psp, tau_m, tau_s, h)
            for t, d, p in zip(times, decay, psp):
                exact_decay, exact_psp = exact(t, tau_m, tau_s)
                errors.append((float(mpf(float(d)) / exact_decay - 1), float(mpf(float(p)) / exact_psp - 1)))
    assert np.all(np.abs(np.mean(errors, axis=0)) < 1.5 * ROUND)


@pytest.mark.parametrize("ratio", RATIOS)
def test_an_input_is_a_jump_at_the_start_of_its_cell(ratio) -> None:
    """P(t - s) = P(-s) exp(-t/tau_m) + exp(s/tau_s) P(t), for inputs at s within a cell and all t after it.

    Relative to the terms, which cancel where t is close to s. Measured worst: 3.9 roundings, 4.3e-16.
    """
    worst = 0.0
    with mp.workdps(50):
        for tau_s, h, times in cells(10.0, ratio):
            decay, psp = np.empty(times.size), np.empty(times.size)
            current_factors(times, times.size, decay, psp, 10.0, tau_s, h)
            for s, d, p in zip(times, decay, psp):
                for t in (s, h, 2.0 * h, h + 3.0, h + 40.0):
                    f = flow(mpf(t), mpf(10.0), [mpf(tau_s)])
                    terms = mpf(float(p)) * f.leak, mpf(float(d)) * f.psps[0]
                    later = flow(mpf(t) - mpf(s), mpf(10.0), [mpf(tau_s)]).psps[0]
                    size = max(abs(terms[0]), abs(terms[1]))
                    worst = max(worst, float(abs(sum(terms) - later) / size) if size else float(abs(later)))
    assert worst <= 8.0 * ROUND


@pytest.mark.parametrize("share", SHARES)
def test_the_series_meet_where_they_switch(share) -> None:
    """Cells a hair apart take different series; their factors differ by roundings."""
    for tau_m, tau_s in ((10.0, 10.0), (20.0, 5.0), (5.0, 20.0)):
        h = share * min(tau_m, tau_s)
        times = instants(h)
        decay, psp = np.empty((2, times.size)), np.empty((2, times.size))
        for k, length in enumerate((h, LONG * min(tau_m, tau_s))):
            current_factors(times, times.size, decay[k], psp[k], tau_m, tau_s, length)
        np.testing.assert_allclose(decay[0], decay[1], rtol=6.0 * ROUND)
        np.testing.assert_allclose(psp[0], psp[1], rtol=12.0 * ROUND, atol=1e-300)


def test_an_input_at_the_start_of_the_cell_is_a_plain_jump() -> None:
    decay, psp, kick = np.empty(1), np.empty(1), np.empty(1)
    for tau_s in (0.5, 10.0, 70.0):
        current_factors(np.zeros(1), 1, decay, psp, 10.0, tau_s, 0.1)
        assert decay[0] == 1.0 and psp[0] == 0.0
    kick_factors(np.zeros(1), 1, kick, 10.0, 0.1)
    assert kick[0] == 1.0


def test_only_the_first_n_are_written() -> None:
    times = np.full(5, 0.1)
    decay, psp = np.full(5, -1.0), np.full(5, -1.0)
    current_factors(times, 3, decay, psp, 10.0, 5.0, 0.2)
    assert np.all(decay[3:] == -1.0) and np.all(psp[3:] == -1.0)
    kick_factors(times, 2, decay, 10.0, 0.2)
    assert decay[1] == pytest.approx(np.exp(0.01)) and decay[2] == pytest.approx(np.exp(0.02))

"""Slopes dr/dc of the rate of a leaky integrate-and-fire neuron by its mean drive, in closed form.

Units: rates r per ms; drive c in threshold units per ms, so that a constant drive has the free potential tau_m c; all
potentials above v_rest + bias. Every function takes arrays that broadcast together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erfcx

from evsim.types import Floats

_PANELS, _NODES, _STEEPEST, _LEAST_NOISE = 16, 8, 25.0, 0.02


def analytic_rate(c: Any, tau_m: float, theta: Any, u_reset: Any = 0.0, t_ref: Any = 0.0) -> tuple[Floats, Floats]:
    """Rate and slope for a constant drive; both 0 below rheobase (tau_m c <= theta).

    With x = tau_m c:  r = 1/(t_ref + tau_m ln((x - u_reset)/(x - theta))),
    dr/dc = r^2 tau_m^2 (theta - u_reset)/((x - theta)(x - u_reset)).
    """
    x, theta, u_reset, t_ref = np.broadcast_arrays(tau_m * np.asarray(c, np.float64), theta, u_reset, t_ref)
    rate, slope = np.zeros(x.shape), np.zeros(x.shape)
    fires = x > theta
    over, rise = (x - theta)[fires], (theta - u_reset)[fires]
    interval = t_ref[fires] + tau_m * np.log1p(rise / over)
    rate[fires] = 1.0 / interval
    slope[fires] = tau_m**2 * rise / (over * (over + rise)) / interval**2
    return rate, slope


def diffusion_rate(
    c: Any, noise: Any, tau_m: float, theta: Any, u_reset: Any = 0.0, t_ref: Any = 0.0
) -> tuple[Floats, Floats]:
    """Rate and slope for white noise around the drive (Siegert 1951; Brunel 2000, eq. 21).

    noise : sum_j q_j^2 r_j, per ms, of Poisson inputs of rate r_j that kick the potential by q_j each

    With s^2 = tau_m noise, a = (u_reset - tau_m c)/s, b = (theta - tau_m c)/s and g(x) = e^(x^2) (1 + erf x):
    r = 1/(t_ref + tau_m sqrt(pi) int_a^b g),  dr/dc = r^2 tau_m^2 sqrt(pi)/s (g(b) - g(a)). Where s is below 2 % of the
    way from reset to threshold: the constant drive's. A neuron more than 25 s below threshold is silent.
    """
    arrays = (np.asarray(v, np.float64) for v in (c, noise, theta, u_reset, t_ref))
    c, noise, theta, u_reset, t_ref = np.broadcast_arrays(*arrays)
    rate, slope = analytic_rate(c, tau_m, theta, u_reset, t_ref)
    noisy = tau_m * noise > (_LEAST_NOISE * (theta - u_reset)) ** 2
    if not noisy.any():
        return rate, slope
    s = np.sqrt(tau_m * noise[noisy])
    x = tau_m * c[noisy]
    a, b = (u_reset[noisy] - x) / s, (theta[noisy] - x) / s
    r, by_c = np.zeros(s.shape), np.zeros(s.shape)
    near = b < _STEEPEST
    a, b, s = a[near], b[near], s[near]
    waited = t_ref[noisy][near] + tau_m * np.sqrt(np.pi) * _area(a, b)
    r[near] = 1.0 / waited
    # Twice a division: far below threshold the square would overflow.
    by_c[near] = tau_m**2 * np.sqrt(np.pi) / s * ((erfcx(-b) - erfcx(-a)) / waited / waited)
    rate[noisy], slope[noisy] = r, by_c
    return rate, slope


def _area(a: Floats, b: Floats) -> Floats:
    """int_a^b g(x) dx; panels that grow with the distance from b, where g is steepest."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.linspace(0.0, 1.0, _PANELS + 1) ** 2
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    y = (middle[:, None] + half[:, None] * nodes).ravel()
    w = (half[:, None] * weights).ravel()
    x = b[:, None] - (b - a)[:, None] * y
    # Not by @, in which a value depends on how many there are.
    values: Floats = (b - a) * (erfcx(-x) * w).sum(axis=1)
    return values


def interval_slope(
    places: np.ndarray, times: Floats, climb: Floats, starts: np.ndarray, duration: float, tau_m: float, t_ref: Floats
) -> Floats:
    """Slope from recorded spikes: r^2 mean_k[tau_m (1 - exp(-(t_k - release)/tau_m))/(du/dt at t_k)], (n_places,).

    places : where each spike belongs, spikes ordered by (place, time); starts : (n_places + 1,) where each place begins
    climb : tau_m du/dt at each spike, > 0; duration : of the sample, r = spikes/duration; t_ref : (n_places,)

    A drive that rises by dc moves spike k by -tau_m (1 - exp(..))/(du/dt) dc, as counted from the reset before it.
    """
    since = np.diff(times, prepend=0.0) - t_ref[places]
    first = starts[:-1][np.diff(starts) > 0]
    since[first] = times[first]
    shift = tau_m * -np.expm1(-since / tau_m) / (climb / tau_m)
    total = np.bincount(places, weights=shift, minlength=starts.size - 1)
    return np.diff(starts) * total / duration**2

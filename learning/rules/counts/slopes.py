"""How a neuron's S-PSPs grow with its own spike count, in closed form.

For a source whose spikes are independent of the neuron's, on average e = o_j (tau_s/T) m(o), with o_j the source's
count and m the sum over the neuron's intervals of 1 - exp(-d/tau_m), d the time between release and spike. What the
spikes of the neuron are supposed to be like gives m. ST-RSBP's authors tabulate e by simulating random trains and fit
polynomials (``"published"``); the other forms need no table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import hyp1f1

from evsim.spikes import SpikeBatch
from evsim.types import Floats

FORMS = ("regular", "poisson", "intervals", "published")
_DEGREE, _FULL = 4, 0.999


def regular_mean(counts: Any, t_stop: float, tau_m: float, t_ref: Any = 0.0) -> tuple[Floats, Floats]:
    """m(o) and dm/do for equal intervals T/o: m = o (1 - exp(-y)), y = (T/o - t_ref)/tau_m.

    dm/do = 1 - exp(-y) (1 + x), x = T/(o tau_m). counts : > 0; all arrays broadcast together
    """
    o, t_ref = _that_fit(counts, t_stop, t_ref)
    x = t_stop / (o * tau_m)
    y = x - t_ref / tau_m
    return -o * np.expm1(-y), -np.expm1(-y) - x * np.exp(-y)


def poisson_mean(counts: Any, t_stop: float, tau_m: float, t_ref: Any = 0.0) -> tuple[Floats, Floats]:
    """m(o) and dm/do for a Poisson train with dead time: m = o/(1 + tau_m/(T/o - t_ref))."""
    o, t_ref = _that_fit(counts, t_stop, t_ref)
    free = t_stop - o * t_ref
    below = free + o * tau_m
    slope = ((free - o * t_ref) * below - o * free * (tau_m - t_ref)) / below**2
    return o * free / below, slope


def uniform_mean(counts: Any, t_stop: float, tau_m: float, t_ref: Any = 0.0) -> Floats:
    """m(o) for o spikes drawn uniformly in [0, T] that keep t_ref apart: what the authors' tables estimate.

    m = o (1 - 1F1(1; o + 1; -z)), z = (T - (o - 1) t_ref)/tau_m, since each of the o + 1 spacings of o uniform numbers
    is Beta(1, o)
    """
    o, t_ref = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(t_ref, np.float64))
    z = np.maximum(t_stop - (o - 1.0) * t_ref, 0.0) / tau_m
    mean: Floats = o * (1.0 - hyp1f1(1.0, o + 1.0, -z))
    return mean


def interval_means(outputs: SpikeBatch, tau_m: float, t_ref: Any = 0.0) -> tuple[Floats, Floats]:
    """m and dm/do of each neuron's recorded intervals, scaled by 1/o as its count changes, (samples, n); 0 if silent.

    With D_f the intervals (the first from 0), x_f = D_f/tau_m and y_f = (D_f - t_ref)/tau_m (first: y = x):
    m = sum_f 1 - exp(-y_f), dm/do = mean_f [1 - exp(-y_f) (1 + x_f)].
    """
    shape = len(outputs), outputs.size
    order = np.lexsort((outputs.times, outputs.places()))
    place, times = outputs.places()[order], outputs.times[order]
    x = np.diff(times, prepend=0.0)
    first = np.diff(place, prepend=-1) != 0
    x[first] = times[first]
    dead = np.where(first, 0.0, np.broadcast_to(np.asarray(t_ref, np.float64), outputs.size)[place % outputs.size])
    y = np.maximum(x - dead, 0.0) / tau_m
    gain = -np.expm1(-y)
    sums = [
        np.bincount(place, weights=v, minlength=shape[0] * shape[1]).reshape(shape)
        for v in (gain, gain - x / tau_m * np.exp(-y))
    ]
    slope: Floats = sums[1] / np.maximum(outputs.counts(), 1)
    return sums[0].astype(np.float64), slope


def published_slope(counts: Any, t_stop: float, tau_m: float, t_ref: float = 0.0, table: int = 50) -> Floats:
    """dm/do as the authors take it: the derivative of a polynomial of degree 4 through the means of random trains.

    The means at counts 1 ... ``table`` (as many as fit between refractory periods) are those of ``uniform_mean``.
    Counts beyond the table are read at its end. The fit is an approximation: near saturation its slope can be negative.
    """
    powers, most = _fit(float(t_stop), float(tau_m), float(t_ref), table)
    slope: Floats = np.polynomial.polynomial.polyval(np.minimum(np.asarray(counts, np.float64), most), powers)
    return slope


@lru_cache(maxsize=64)
def _fit(t_stop: float, tau_m: float, t_ref: float, table: int) -> tuple[np.ndarray, float]:
    most = table if t_ref == 0.0 else max(min(table, int(t_stop / t_ref)), 1)
    n = np.arange(1, most + 1)
    fit = np.polynomial.Polynomial.fit(n, uniform_mean(n, t_stop, tau_m, t_ref), min(_DEGREE, most - 1))
    return fit.deriv().convert().coef, float(most)


def elasticity(form: str, outputs: SpikeBatch, t_stop: float, tau_m: float, t_ref: Any) -> Floats:
    """d log e/d log o of each neuron, (samples, n), by a form other than "published"; 0 where it is silent.

    For neurons reset to rest sum_j w_ij e_ij = nu o_i holds exactly; so this is also (1/nu) sum_j w_ij de_ij/do_i.
    """
    counts = outputs.counts()
    o = np.maximum(counts, 1)
    if form == "regular":
        mean, slope = regular_mean(o, t_stop, tau_m, t_ref)
    elif form == "poisson":
        mean, slope = poisson_mean(o, t_stop, tau_m, t_ref)
    else:
        mean, slope = interval_means(outputs, tau_m, t_ref)
    out = np.zeros(counts.shape)
    np.divide(slope * o, mean, out=out, where=(counts > 0) & (mean > 0))
    return out


def _that_fit(counts: Any, t_stop: float, t_ref: Any) -> tuple[Floats, Floats]:
    """Counts that leave at least a thousandth of the time free, and t_ref, of one shape."""
    o, t_ref = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(t_ref, np.float64))
    room = np.full(o.shape, np.inf)
    np.divide(_FULL * t_stop, t_ref, out=room, where=t_ref > 0.0)
    return np.minimum(o, room), t_ref

"""Statistics of spike trains, and the stationary rate of a neuron in noise.

Every function takes the spikes with start <= t < stop of an interval [t_start, t_stop), in ms. Rates are in Hz.
Coefficients of variation and correlations have the definitions of elephant, which the tests hold them to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.checks import number, whole, whole_numbers
from evsim.errors import InputError
from evsim.spikes import SpikeTrains
from evsim.types import Floats, Ints

_MS_PER_S = 1000.0
_WHOLE = 1e-9
"""Relative slack in "a whole number of bins": 1000 ms are 10,000 bins of 0.1 ms, whatever their quotient."""
_RARE = 26.0
"""(v_th - mu) / sigma beyond which e^{u^2} overflows soon; the rate is then below 1e-290 Hz."""
_QUAD = {"epsabs": 0.0, "epsrel": 1e-12, "limit": 500}


def rates(spikes: SpikeTrains, t_stop: float, t_start: float = 0.0) -> Floats:
    """Mean rate of each neuron, shape (size,), Hz; 0 for the silent ones.

    Raises
    ------
    ValueError : the interval [t_start, t_stop), ms, is empty or not finite.
    """
    _, neurons, t_start, t_stop = _within(spikes, t_start, t_stop)
    counts = np.bincount(neurons, minlength=spikes.size).astype(np.float64)
    return counts * (_MS_PER_S / (t_stop - t_start))


def population_rate(
    spikes: SpikeTrains, t_stop: float, bin_width: float = 1.0, t_start: float = 0.0
) -> tuple[Floats, Floats]:
    """Spikes per neuron and time in bins, as ``(edges, rate)``.

    edges : (n_bins + 1,), ms, from t_start to t_stop. Where the interval is no whole number of bins, the last one
        is shorter, so that no spike is left out; its rate is taken over its own width.
    rate : (n_bins,), Hz, mean over the neurons

    Raises
    ------
    ValueError : an empty interval, a bin_width that is not > 0 ms, or a population without neurons.
    """
    times, _, t_start, t_stop = _within(spikes, t_start, t_stop)
    bin_width = number("bin_width", bin_width, unit="ms", above=0.0)
    if spikes.size == 0:
        raise InputError("the rate of a population is a mean over its neurons; this one has none (size = 0).")
    n_bins = max(1, int(np.ceil(_bins(t_start, t_stop, bin_width) * (1.0 - _WHOLE))))
    edges: Floats = t_start + bin_width * np.arange(n_bins + 1, dtype=np.float64)
    edges[-1] = t_stop
    rate: Floats = np.diff(np.searchsorted(times, edges)) * (_MS_PER_S / spikes.size) / np.diff(edges)
    return edges, rate


def cv_isi(spikes: SpikeTrains, t_stop: float, t_start: float = 0.0, min_spikes: int = 10) -> Floats:
    """Coefficient of variation (standard deviation / mean) of each neuron's inter-spike intervals, shape (size,).

    0 for a clock, 1 for a Poisson process. The variance is divided by the number of intervals.

    min_spikes : neurons with fewer spikes in [t_start, t_stop), ms, get NaN. Short trains give a CV that is too
        small, as a long interval must fit in to be seen.

    Raises
    ------
    ValueError : an empty interval; min_spikes below 3, which are two intervals.
    """
    times, neurons, _, _ = _within(spikes, t_start, t_stop)
    min_spikes = whole("min_spikes", min_spikes)
    if min_spikes < 3:
        raise InputError(f"min_spikes must be at least 3, which are two intervals; got {min_spikes}.")
    times = times[np.argsort(neurons, kind="stable")]
    counts = np.bincount(neurons, minlength=spikes.size)
    firsts = np.cumsum(counts) - counts
    result = np.full(spikes.size, np.nan)
    # Neurons with equally many spikes together: a call per neuron takes 100 times as long.
    for count in np.unique(counts[counts >= min_spikes]):
        members = np.flatnonzero(counts == count)
        trains = times[firsts[members, None] + np.arange(count)]
        intervals = np.diff(trains, axis=1)
        with np.errstate(invalid="ignore"):  # all spikes at one instant
            result[members] = intervals.std(axis=1) / intervals.mean(axis=1)
    return result


def active(spikes: SpikeTrains, t_stop: float, t_start: float = 0.0, at_most: int | None = None) -> NDArray[np.int64]:
    """Indices of the neurons that fired in [t_start, t_stop), ms, ascending.

    at_most : if more fired, so many of them, evenly chosen

    Raises
    ------
    ValueError : an empty interval, or at_most below 1.
    """
    _, neurons, _, _ = _within(spikes, t_start, t_stop)
    if at_most is not None and whole("at_most", at_most) < 1:
        raise InputError(f"at_most must be at least 1, or None for all that fired; got {at_most}.")
    fired = np.flatnonzero(np.bincount(neurons, minlength=spikes.size))
    if at_most is None or fired.size <= at_most:
        return fired
    return fired[np.linspace(0, fired.size - 1, at_most).round().astype(np.int64)]


def correlation(
    spikes: SpikeTrains,
    t_stop: float,
    t_start: float = 0.0,
    bin_width: float = 2.0,
    neurons: Sequence[int] | Ints | None = None,
) -> Floats:
    """Pearson correlation of spike counts in bins, between all pairs of n neurons, shape (n, n).

    A neuron whose count is the same in all bins (a silent one, for instance) has no correlation: its row and column
    are NaN.

    bin_width : ms. Only whole bins count; what is left of [t_start, t_stop) after the last one is not used.
    neurons : rows of the result, in this order; None: ``active(spikes, t_stop, t_start, at_most=200)``

    Raises
    ------
    ValueError : an empty interval, fewer than two bins, no neuron to compare.
    IndexError : a neuron that does not exist.
    """
    times, sources, t_start, t_stop = _within(spikes, t_start, t_stop)
    bin_width = number("bin_width", bin_width, unit="ms", above=0.0)
    n_bins = int(_bins(t_start, t_stop, bin_width) * (1.0 + _WHOLE))
    if n_bins < 2:
        raise InputError(
            f"correlation needs two bins or more; bins of {bin_width} ms in [{t_start}, {t_stop}) ms make {n_bins}. "
            "Use a smaller bin_width or a longer interval."
        )
    rows = _rows(spikes, t_stop, t_start, neurons)
    counts = _binned(times, sources, rows, t_start, n_bins, bin_width)
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).reshape(-1)
    # Sums of integers: exact below 2^53.
    covariance = n_bins * (counts @ counts.T).toarray() - np.outer(total, total)
    variance = covariance.diagonal()
    with np.errstate(invalid="ignore"):
        return np.asarray(covariance / np.sqrt(np.outer(variance, variance)), dtype=np.float64)


def mean_correlation(
    spikes: SpikeTrains,
    t_stop: float,
    t_start: float = 0.0,
    bin_width: float = 2.0,
    neurons: Sequence[int] | Ints | None = None,
) -> float:
    """Mean of `correlation` over all pairs of different neurons that have one.

    Arguments and errors as for `correlation`.

    Raises
    ------
    ValueError : fewer than two of the neurons have a correlation.
    """
    matrix = correlation(spikes, t_stop, t_start, bin_width, neurons)
    pairs = matrix[~np.eye(matrix.shape[0], dtype=bool)]
    pairs = pairs[~np.isnan(pairs)]
    if pairs.size == 0:
        raise InputError(
            f"a mean correlation needs two neurons that fired in [{t_start}, {t_stop}) ms; of the {matrix.shape[0]} "
            "asked for there are fewer. Choose others, or a longer interval."
        )
    return float(pairs.mean())


def siegert_rate(mu: float, sigma: float, tau_m: float, v_th: float, v_reset: float, t_ref: float) -> float:
    """Stationary rate, Hz, of a leaky integrate-and-fire neuron in Gaussian white noise.

    Brunel (2000), J. Comput. Neurosci. 8, 183-208, eq. 21, for  tau_m dv/dt = -v + mu + sigma sqrt(tau_m) xi(t):

        1 / rate = t_ref + tau_m sqrt(pi) int_{(v_reset - mu)/sigma}^{(v_th - mu)/sigma} e^{u^2} (1 + erf u) du

    That many weak Poisson inputs (delta synapses of J mV at nu per ms) make such a noise is the diffusion
    approximation, with mu = tau_m sum(J nu) and sigma^2 = tau_m sum(J^2 nu).

    Parameters
    ----------
    mu : mV, mean potential that the input would hold without a threshold, from the same zero as v_th
    sigma : mV, >= 0. The standard deviation of that free potential is sigma / sqrt(2). 0: constant input
    tau_m, t_ref : ms
    v_th, v_reset : mV

    Returns 0.0 where the rate is below what float64 can express.

    Raises
    ------
    ValueError : a parameter is not finite or out of its range.
    """
    _check_neuron(mu, sigma, tau_m, v_th, v_reset, t_ref)
    passage = _mean_passage(mu, sigma, v_th, v_reset)
    return _MS_PER_S / (t_ref + tau_m * passage)


def siegert_cv(mu: float, sigma: float, tau_m: float, v_th: float, v_reset: float, t_ref: float) -> float:
    """Coefficient of variation of the inter-spike intervals of the neuron of `siegert_rate`.

    Brunel (2000), appendix, with rate in 1/ms and integration limits as in `siegert_rate`:

        CV^2 = 2 pi (rate tau_m)^2 int e^{x^2} int_{-inf}^{x} e^{u^2} (1 + erf u)^2 du dx

    Parameters as for `siegert_rate`. 1.0 in the limit of rare spikes, 0.0 for sigma = 0.

    Raises
    ------
    ValueError : a parameter is not finite or out of its range, or a neuron without noise that never fires.
    """
    _check_neuron(mu, sigma, tau_m, v_th, v_reset, t_ref)
    passage = _mean_passage(mu, sigma, v_th, v_reset)
    if sigma == 0.0:
        if np.isinf(passage):
            raise InputError(f"without noise, mu = {mu} mV never reaches v_th = {v_th} mV: there is no interval.")
        return 0.0
    low, high = (v_reset - mu) / sigma, (v_th - mu) / sigma
    if high > _RARE:
        return 1.0
    scale = np.exp(-(max(high, 0.0) ** 2))
    return float(np.sqrt(2.0 * np.pi * _passage_spread(low, high)) / ((t_ref / tau_m + passage) * scale))


def _mean_passage(mu: float, sigma: float, v_th: float, v_reset: float) -> float:
    """Mean time from v_reset to v_th in units of tau_m; inf where it never or hardly ever happens."""
    from scipy.integrate import quad
    from scipy.special import erfcx

    if sigma == 0.0:
        return float(np.log((mu - v_reset) / (mu - v_th))) if mu > v_th else np.inf
    low, high = (v_reset - mu) / sigma, (v_th - mu) / sigma
    if high > _RARE:
        return np.inf
    # e^{u^2} (1 + erf u) = erfcx(-u). With u = sinh s its slow tail towards -inf, 1/|u|, becomes flat.
    value, _ = quad(lambda s: erfcx(-np.sinh(s)) * np.cosh(s), np.arcsinh(low), np.arcsinh(high), **_QUAD)
    return float(np.sqrt(np.pi) * value)


def _passage_spread(low: float, high: float) -> float:
    """The double integral of `siegert_cv`, times exp(-2 max(high, 0)^2), which keeps it within float64."""
    from scipy.integrate import quad
    from scipy.special import erfcx

    top = max(high, 0.0) ** 2

    def inner(x: float) -> float:
        # u = x - t / (1 + |x|): the integrand then falls off over t of order 1.
        scale = 1.0 + abs(x)

        def integrand(t: float) -> float:
            s = t / scale
            return float((np.exp((x - 0.5 * s) * s - top) * erfcx(s - x)) ** 2)

        end = 40.0 if x <= 0.0 else scale * (x + 8.0)
        return float(quad(integrand, 0.0, end, **(_QUAD | {"epsrel": 1e-11}))[0] / scale)

    value, _ = quad(
        lambda s: inner(float(np.sinh(s))) * np.cosh(s), np.arcsinh(low), np.arcsinh(high), **(_QUAD | {"epsrel": 1e-9})
    )
    return float(value)


def _check_neuron(mu: float, sigma: float, tau_m: float, v_th: float, v_reset: float, t_ref: float) -> None:
    named = {"mu": mu, "sigma": sigma, "tau_m": tau_m, "v_th": v_th, "v_reset": v_reset, "t_ref": t_ref}
    for name, value in named.items():
        number(name, value)
    number("tau_m", tau_m, unit="ms", above=0.0)
    if sigma < 0.0:
        raise InputError(f"sigma must be >= 0 mV; got {sigma!r}. Use 0 for constant input.")
    if t_ref < 0.0:
        raise InputError(f"t_ref must be >= 0 ms; got {t_ref!r}. Use 0 for no refractory period.")
    if v_reset >= v_th:
        raise InputError(f"v_reset must be below v_th; got v_reset = {v_reset!r}, v_th = {v_th!r} mV.")


def _within(spikes: SpikeTrains, t_start: float, t_stop: float) -> tuple[Floats, Ints, float, float]:
    """Times and neurons of the spikes in [t_start, t_stop), and these two in ms."""
    if not isinstance(spikes, SpikeTrains):
        raise InputError(f'SpikeTrains are needed, as rec["exc"] of a recording; got {type(spikes).__name__}.')
    t_start, t_stop = interval(t_start, t_stop)
    first, last = np.searchsorted(spikes.times, [t_start, t_stop])
    return spikes.times[first:last], spikes.neurons[first:last], t_start, t_stop


def interval(t_start: float, t_stop: float) -> tuple[float, float]:
    """Both ends in ms. Raises ValueError : not finite, or t_start >= t_stop."""
    try:
        ends = number("t_start", t_start, unit="ms"), number("t_stop", t_stop, unit="ms")
    except InputError as error:
        raise InputError(f"an interval [t_start, t_stop) needs finite t_start < t_stop (ms); {error}") from error
    if not ends[0] < ends[1]:
        raise InputError(
            f"an interval [t_start, t_stop) needs finite t_start < t_stop (ms); got [{t_start}, {t_stop})."
        )
    return ends


def _rows(
    spikes: SpikeTrains, t_stop: float, t_start: float, neurons: Sequence[int] | Ints | None
) -> NDArray[np.int64]:
    """The neurons asked for, checked; a sample of those that fired for None."""
    if neurons is None:
        rows = active(spikes, t_stop, t_start, at_most=200)
        if rows.size == 0:
            raise InputError(f"no neuron to compare: none fired in [{t_start}, {t_stop}) ms.")
        return rows
    try:
        rows = whole_numbers("neurons", neurons)
    except InputError:
        rows = np.empty(0, np.int64)
    if rows.ndim != 1 or rows.size == 0:
        raise InputError(f"neurons must be a list of one index or more, or None for a sample; got {neurons!r}.")
    if rows.min() < 0 or rows.max() >= spikes.size:
        bad = rows[(rows < 0) | (rows >= spikes.size)][0]
        raise IndexError(f"neuron {bad} asked for, but there are {spikes.size} (0 ... {spikes.size - 1}).")
    return rows.astype(np.int64)


def _bins(t_start: float, t_stop: float, bin_width: float) -> float:
    return (t_stop - t_start) / bin_width


def _binned(
    times: Floats, sources: Ints, rows: NDArray[np.int64], t_start: float, n_bins: int, bin_width: float
) -> Any:
    """Spike counts of the neurons ``rows``, a sparse (rows, n_bins): most bins of most neurons are empty."""
    from scipy.sparse import csr_array

    place = np.floor((times - t_start) / bin_width)
    inside = (place < n_bins) & np.isin(sources, rows)
    place, sources = place[inside].astype(np.int64), sources[inside]
    all_counts = csr_array(
        (np.ones(place.size), (sources, place)), shape=(int(max(rows.max(), sources.max(initial=0))) + 1, n_bins)
    )
    return all_counts[rows]

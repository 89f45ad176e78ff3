"""Poisson drive in continuous time: its statistics, and that any part of it is a part of the same whole.

Random ones are tested with fixed seeds at p > 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evsim import LIF, Network
from evsim._kernels.random.drive import drive_cell, poisson_count, thin
from evsim._kernels.random.poisson import alias_table
from evsim.description.poisson import PoissonDrive
from evsim.description.projections import STRIDE
from evsim.synapses.drives import drive_blocks, drive_spikes
from helpers.goodness import fit

C = 0.5
"""Length of a cell, ms."""


def drive(rate: Any, rate_max: float | None = None) -> PoissonDrive:
    return PoissonDrive("pop", rate, 1.0, rate_max)


def equal(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b))


@cache
def forty_neurons() -> tuple[np.ndarray, np.ndarray]:
    """40 neurons at 100 Hz for 10 s."""
    return drive_spikes(drive(100.0), 0, 40, 1, C, range(20_000))


def binned(times: np.ndarray, neurons: np.ndarray, size: int, duration: float, width: float) -> np.ndarray:
    """Counts, (n_bins, size)."""
    n = round(duration / width)
    return np.bincount((times // width).astype(np.int64) * size + neurons, minlength=n * size).reshape(n, size)


# ------------------------------------------------------------------------------------------- one number


def counts_of(mean: float, n: int, cells: np.ndarray | None = None) -> np.ndarray:
    stream = np.random.SeedSequence([1, 2]).generate_state(1, np.uint64)[0]
    first = np.arange(n, dtype=np.uint64) if cells is None else cells
    return np.array([poisson_count(mean, stream, x << np.uint64(24)) for x in first])


@pytest.mark.parametrize("mean", [1e-3, 0.3, 5.0, 9.999, 10.0, 12.0, 50.0, 300.0, 5000.0, 4e6])
def test_a_poisson_number_has_its_law(mean) -> None:
    counts = counts_of(mean, 20_000)
    assert fit(counts, stats.poisson(mean)) > 1e-4
    assert abs(counts.mean() - mean) < 4.0 * np.sqrt(mean / 20_000)
    assert abs(counts.var() - mean) < 4.0 * np.sqrt((mean + 2.0 * mean**2) / 20_000)


def test_a_poisson_number_of_mean_zero_is_zero() -> None:
    assert np.all(counts_of(0.0, 100) == 0)


def test_poisson_numbers_of_neighbouring_cells_are_independent() -> None:
    for mean in (5.0, 12.0):
        counts = counts_of(mean, 20_000)
        for lag in (1, 2, 3):
            assert abs(np.corrcoef(counts[lag:], counts[:-lag])[0, 1]) < 4.0 / np.sqrt(20_000)


# ----------------------------------------------------------------------------------------------- one cell


def cell_of(
    mean: float, width: int, cell: int, seed: int = 1, t0: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Events of one cell as the kernel gives them, unordered: times after t0, neurons."""
    streams = np.random.SeedSequence([seed, 0, 0]).generate_state(4, np.uint64)
    when, who = np.empty(int(2.0 * mean) + 100), np.empty(int(2.0 * mean) + 100, np.int64)
    start = cell * C if t0 is None else t0
    n = drive_cell(
        streams, cell, mean, 0, width, np.empty(0), np.empty(0, np.int64), when, who, start, start + C
    )  # fmt: skip
    return when[:n], who[:n]


@pytest.mark.parametrize("width", [1, 7, 276, STRIDE])
def test_events_pick_the_neurons_of_a_block_uniformly(width) -> None:
    _, who = cell_of(60_000.0, width, 3)
    counts = np.bincount(who)
    assert counts.size == width
    assert width == 1 or stats.chisquare(counts).pvalue > 1e-4


def test_times_are_uniform_within_a_cell() -> None:
    when, _ = cell_of(60_000.0, 8, 0)
    assert stats.kstest(when / C, "uniform").pvalue > 1e-4
    assert stats.kstest(when * 1000.0 % 1.0, "uniform").pvalue > 1e-4  # no grid
    assert np.unique(when).size == when.size


def test_times_and_neurons_of_consecutive_events_are_independent() -> None:
    """Two events share a hash for their neurons; neither the pair nor its times may tell of each other."""
    when, who = cell_of(60_000.0, 8, 1)
    n = who.size // 2 * 2
    for lag in (0, 1):
        table = np.zeros((8, 8))
        np.add.at(table, (who[lag : n - lag : 2], who[lag + 1 : n - lag : 2]), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-4
    table = np.zeros((8, 10))
    np.add.at(table, (who, (when / C * 10).astype(np.int64)), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4
    assert abs(np.corrcoef(when[1:], when[:-1])[0, 1]) < 4.0 / np.sqrt(n)


def test_cells_and_seeds_share_no_event() -> None:
    first, _ = cell_of(1000.0, 8, 0, t0=0.0)
    for cell, seed in ((1, 1), (0, 2), (2**30, 1)):
        other, _ = cell_of(1000.0, 8, cell, seed, t0=0.0)
        assert not np.any(np.isin(first, other))


def test_what_does_not_fit_is_counted_and_not_written() -> None:
    streams = np.random.SeedSequence(0).generate_state(4, np.uint64)
    when, who = np.full(10, -1.0), np.full(10, -1)
    n = drive_cell(streams, 0, 1000.0, 0, 8, np.empty(0), np.empty(0, np.int64), when, who, 0.0, C)
    assert n > 800 and np.all(when == -1.0) and np.all(who == -1)


# --------------------------------------------------------------------------------------------- many neurons


def test_counts_of_neurons_are_poisson() -> None:
    """40 neurons at 100 Hz: in bins of 10 ms, the mean is 1 and so is the variance."""
    counts = binned(*forty_neurons(), 40, 10_000.0, 10.0)
    n = counts.size
    assert abs(counts.mean() - 1.0) < 4.0 / np.sqrt(n)
    assert abs(counts.var() - 1.0) < 4.0 * np.sqrt(3.0 / n)
    assert fit(counts.ravel(), stats.poisson(1.0)) > 1e-4


@pytest.mark.parametrize("c", [0.5, 8.0, 50.0])
def test_intervals_of_a_neuron_are_exponential(c) -> None:
    """With cells much shorter and much longer than an interval."""
    times, neurons = forty_neurons() if c == C else drive_spikes(drive(100.0), 0, 40, 2, c, range(int(10_000 / c)))
    for k in (0, 17, 39):
        gaps = np.diff(times[neurons == k])
        assert gaps.size > 850
        assert stats.kstest(gaps, "expon", args=(0.0, 10.0)).pvalue > 1e-4


def test_intervals_of_the_whole_population_are_exponential() -> None:
    assert stats.kstest(np.diff(forty_neurons()[0]), "expon", args=(0.0, 0.25)).pvalue > 1e-4


@pytest.mark.parametrize("width", [0.5, 10.0, 100.0])
def test_neurons_are_independent(width) -> None:
    """All 780 pairs: none stands out, and together they are as small as chance has them."""
    counts = binned(*forty_neurons(), 40, 10_000.0, width)
    n = counts.shape[0]
    r = np.corrcoef(counts.T)[np.triu_indices(40, 1)]
    assert np.abs(r).max() < 5.0 / np.sqrt(n)
    assert 1e-4 < stats.chi2(r.size).cdf(n * np.sum(r**2)) < 1.0 - 1e-4


def test_a_neuron_is_independent_of_its_past() -> None:
    counts = binned(*forty_neurons(), 40, 10_000.0, C)
    for lag in (1, 2):
        r = np.corrcoef(counts[lag:].ravel(), counts[:-lag].ravel())[0, 1]
        assert abs(r) < 4.0 / np.sqrt(counts.size)


def test_a_population_of_several_blocks_is_driven_evenly() -> None:
    """1300 neurons: the last block is narrower, its rate is the same."""
    _, neurons = drive_spikes(drive(200.0), 0, 1300, 3, C, range(400))
    counts = np.bincount(neurons, minlength=1300)
    assert counts.size == 1300 and stats.chisquare(counts).pvalue > 1e-4
    assert fit(counts, stats.poisson(40.0)) > 1e-4
    blocks = np.add.reduceat(counts, [0, STRIDE, 2 * STRIDE]) / np.array([STRIDE, STRIDE, 276]) / 40.0
    assert np.all(np.abs(blocks - 1.0) < 4.0 / np.sqrt(40.0 * 276))


def test_blocks_do_not_repeat_each_other() -> None:
    times, neurons = drive_spikes(drive(200.0), 0, 2 * STRIDE, 3, C, range(100))
    assert not np.any(np.isin(times[neurons < STRIDE], times[neurons >= STRIDE]))


def test_spikes_are_ordered_by_time() -> None:
    times, _ = drive_spikes(drive(200.0), 0, 1300, 3, C, range(100))
    assert np.all(np.diff(times) > 0.0)


# -------------------------------------------------------------------------------------------- unequal rates


def unequal() -> np.ndarray:
    """Of two blocks and a bit: mixed with silent ones, all equal, and nearly all silent; Hz."""
    rng = np.random.default_rng(4)
    rates = np.concatenate([rng.gamma(1.0, 100.0, STRIDE), np.full(STRIDE, 60.0), np.zeros(60)])
    rates[[0, 5, 200, STRIDE - 1]] = 0.0
    rates[[7, 2 * STRIDE + 30]] = 5000.0
    return rates


def test_every_neuron_has_its_own_rate_and_silent_ones_none() -> None:
    rates = unequal()
    times, neurons = drive_spikes(drive(rates), 0, rates.size, 5, C, range(2000))
    counts = np.bincount(neurons, minlength=rates.size)
    assert np.all(counts[rates == 0.0] == 0)
    used = rates > 5.0  # more than 5 expected
    law = stats.poisson(rates[used])
    # Each count through its own law, randomised within its step, is uniform.
    u = law.cdf(counts[used] - 1) + np.random.default_rng(0).uniform(size=used.sum()) * law.pmf(counts[used])
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    assert np.sum((counts[used] - rates[used]) ** 2 / rates[used]) < stats.chi2(used.sum()).ppf(1.0 - 1e-4)
    assert stats.kstest(times / 1000.0, "uniform").pvalue > 1e-4


def test_intervals_of_a_neuron_among_others_of_other_rates_are_exponential() -> None:
    times, neurons = drive_spikes(drive(unequal()), 0, unequal().size, 5, C, range(2000))
    for k in (7, 2 * STRIDE + 30):
        assert stats.kstest(np.diff(times[neurons == k]), "expon", args=(0.0, 0.2)).pvalue > 1e-4


def test_rates_of_zero_emit_nothing() -> None:
    for rates in (0.0, np.zeros(700)):
        times, neurons = drive_spikes(drive(rates), 0, 700, 1, C, range(1000))
        assert times.size == neurons.size == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_alias_table_holds_the_given_probabilities(seed) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, STRIDE + 1))
    rates = rng.gamma(rng.choice([0.05, 1.0, 50.0]), 1.0, n) * (rng.uniform(size=n) < rng.choice([0.1, 0.5, 1.0]))
    rates[rng.integers(n)] = 1.0
    threshold, alias = np.empty(n), np.empty(n, np.int64)
    alias_table(rates, rates.sum(), threshold, alias, np.empty(n, np.int64))
    assert np.all((threshold >= 0.0) & (threshold <= 1.0))
    p = (threshold + np.bincount(alias, weights=1.0 - threshold, minlength=n)) / n
    np.testing.assert_allclose(p, rates / rates.sum(), atol=1e-14)
    assert np.all(p[rates == 0.0] == 0.0)


# ------------------------------------------------------------------------------------------ varying rates


def wave(t: np.ndarray) -> np.ndarray:
    """Hz."""
    return 200.0 * (1.0 + np.sin(2.0 * np.pi * t / 100.0)) * (t % 250.0 < 200.0)


def expected_events(t: np.ndarray) -> np.ndarray:
    """Integral of ``wave`` from 0, on a fine grid."""
    grid = np.arange(0.0, 2000.0 + 1e-9, 0.01)
    total = np.concatenate([[0.0], np.cumsum(0.5 * (wave(grid[:-1] + 1e-7) + wave(grid[1:] - 1e-7)) * 1e-5)])
    return np.interp(t, grid, total)


@pytest.mark.parametrize("c", [0.5, 10.0])
def test_a_varying_rate_rescales_time(c) -> None:
    """In units of expected events the process is a Poisson process of rate 1."""
    times, neurons = drive_spikes(drive(wave, 400.0), 0, 30, 6, c, range(int(2000 / c)))
    pooled = np.diff(30 * expected_events(times))
    assert pooled.size > 8000 and stats.kstest(pooled, "expon").pvalue > 1e-4
    singles = np.concatenate([np.diff(expected_events(times[neurons == k])) for k in range(30)])
    assert stats.kstest(singles, "expon").pvalue > 1e-4
    assert np.all(wave(times) > 0.0)


def test_a_varying_rate_drives_all_neurons_evenly() -> None:
    _, neurons = drive_spikes(drive(wave, 400.0), 0, 1300, 6, 1.0, range(200))
    assert stats.chisquare(np.bincount(neurons, minlength=1300)).pvalue > 1e-4


def test_a_looser_bound_does_not_change_the_rate() -> None:
    counts = [drive_spikes(drive(wave, bound), 0, 300, 7, C, range(400))[0].size for bound in (400.0, 1600.0)]
    mean = 300 * expected_events(np.array([200.0]))[0]
    assert np.all(np.abs(np.array(counts) - mean) < 4.0 * np.sqrt(mean))


def test_a_rate_at_its_bound_is_the_constant_drive() -> None:
    cells = range(500)
    constant = drive_spikes(drive(80.0), 2, 700, 8, C, cells)
    assert equal(drive_spikes(drive(lambda t: np.full(t.size, 80.0), 80.0), 2, 700, 8, C, cells), constant)
    assert drive_spikes(drive(lambda t: 0.0 * t, 80.0), 2, 700, 8, C, cells)[0].size == 0
    assert drive_spikes(drive(lambda t: 0.0 * t, 0.0), 2, 700, 8, C, cells)[0].size == 0


def test_thinning_keeps_each_event_by_its_own_share() -> None:
    share = np.repeat([0.0, 0.1, 0.5, 0.99, 1.0], 20_000)
    kept = np.empty(share.size, np.bool_)
    thin(np.uint64(12345), 9, share, kept)
    n = kept.reshape(5, -1).sum(axis=1)
    assert n[0] == 0 and n[4] == 20_000
    for k, p in ((1, 0.1), (2, 0.5), (3, 0.99)):
        assert abs(n[k] - 20_000 * p) < 4.0 * np.sqrt(20_000 * p * (1.0 - p))
    half = kept[40_000:60_000].astype(float)
    assert abs(np.corrcoef(half[1:], half[:-1])[0, 1]) < 4.0 / np.sqrt(20_000)


@pytest.mark.parametrize("rate", [lambda t: 100.1 + 0.0 * t, lambda t: -0.1 + 0.0 * t, lambda t: np.nan + t])
def test_a_rate_outside_its_bounds_is_refused(rate) -> None:
    with pytest.raises(ValueError, match=r"the rate function gave .* Hz, outside \[0, rate_max = 100.0\]"):
        drive_spikes(drive(rate, 100.0), 0, 100, 1, C, range(100))


# ---------------------------------------------------------------------------------------- times within cells


@pytest.mark.parametrize("c", [0.5, 102 / 1024, 65 / 2**14])
@pytest.mark.parametrize("around", [0.0, 1.0, 1e3, 2.0**20, 1e6, 1e9])
def test_times_lie_within_their_cells(c, around) -> None:
    """Also late, and where the numbers' spacing doubles."""
    first = max(0, int(around / c) - 3)
    for cell in range(first, first + 6):
        times, _ = drive_spikes(drive(1000.0 / c), 0, 600, 1, c, range(cell, cell + 1))
        assert times.size > 400
        assert times.min() >= cell * c and times.max() < (cell + 1) * c


def test_times_stay_within_cells_that_hold_few_numbers() -> None:
    """8192 float64 numbers to a cell: rounding to the nearest would reach its end about twelve times in 200,000."""
    c, first = 0.125, 2**39 - 20
    seen = 0
    for cell in range(first, first + 40):
        times, _ = drive_spikes(drive(40_000_000.0), 0, 1, 1, c, range(cell, cell + 1))
        assert np.all((times >= cell * c) & (times < (cell + 1) * c))
        seen += times.size
    assert seen > 190_000


def test_times_are_uniform_late_in_a_run() -> None:
    c = 102 / 1024
    first = int(1e6 / c)
    times, _ = drive_spikes(drive(500.0), 0, 600, 1, c, range(first, first + 200))
    assert stats.kstest(times / c - first, stats.uniform(0, 200).cdf).pvalue > 1e-4
    assert stats.kstest(times / c % 1.0, "uniform").pvalue > 1e-4


# ------------------------------------------------------------------------------------- parts of one whole


KINDS: dict[str, Callable[[], PoissonDrive]] = {
    "equal": lambda: drive(150.0),
    "unequal": lambda: drive(np.random.default_rng(0).gamma(1.0, 100.0, 1300)),
    "varying": lambda: drive(wave, 400.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_cells_drawn_apart_are_those_drawn_together(kind) -> None:
    whole = drive_spikes(KINDS[kind](), 1, 1300, 9, C, range(60))
    order = (range(40, 60), range(0, 1), range(1, 40))
    parts = [drive_spikes(KINDS[kind](), 1, 1300, 9, C, cells) for cells in order]
    joined = tuple(np.concatenate([parts[k][i] for k in (1, 2, 0)]) for i in range(2))
    assert whole[0].size > 1000 and equal(whole, joined)


@pytest.mark.parametrize("kind", KINDS)
def test_the_drive_of_one_neuron_is_its_part_of_all(kind) -> None:
    times, neurons = drive_spikes(KINDS[kind](), 1, 1300, 9, C, range(200))
    for k in (0, STRIDE - 1, STRIDE, 777, 1299):
        mine = neurons == k
        assert equal(drive_spikes(KINDS[kind](), 1, 1300, 9, C, range(200), neuron=k), (times[mine], neurons[mine]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_drive_and_another_seed_another(kind) -> None:
    one, again, other = (drive_spikes(KINDS[kind](), 0, 1300, seed, C, range(60)) for seed in (1, 1, 2))
    assert equal(one, again)
    assert not np.any(np.isin(one[0], other[0]))


def test_two_drives_onto_a_population_are_independent() -> None:
    """Their counts correlate no more than by chance, at any time and any neuron; no instant is shared."""
    first, second = forty_neurons(), drive_spikes(drive(100.0), 1, 40, 1, C, range(20_000))
    assert not np.any(np.isin(first[0], second[0]))
    for width in (C, 10.0):
        a, b = (binned(*spikes, 40, 10_000.0, width) for spikes in (first, second))
        n = a.shape[0]
        r = np.corrcoef(a.T, b.T)[:40, 40:].ravel()
        assert np.abs(r).max() < 5.0 / np.sqrt(n)
        assert 1e-4 < stats.chi2(r.size).cdf(n * np.sum(r**2)) < 1.0 - 1e-4


def test_a_drive_of_more_neurons_begins_with_the_same_blocks() -> None:
    """What a block gets depends on itself alone."""
    small = drive_spikes(drive(100.0), 0, STRIDE, 1, C, range(100))
    times, neurons = drive_spikes(drive(100.0), 0, 1300, 1, C, range(100))
    mine = neurons < STRIDE
    assert equal(small, (times[mine], neurons[mine]))


def test_blocks_cover_the_population() -> None:
    blocks = drive_blocks(drive(100.0), 0, 1300, 1, C)
    assert [(b.first, b.width) for b in blocks] == [(0, STRIDE), (STRIDE, STRIDE), (2 * STRIDE, 276)]
    assert sum(b.mean for b in blocks) == pytest.approx(1300 * 0.1 * C, rel=1e-12)


@pytest.mark.parametrize("driver", ["queue", "window"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_driver_delivers_exactly_these_spikes(driver, kind) -> None:
    """Each event lifts a delta neuron over its threshold, so what comes out is what went in."""
    net = Network()
    net.add_population("before", size=3, neuron=LIF())
    net.add_population("pop", size=1300, neuron=LIF(tau_syn=None))
    net.add_poisson("before", rate=10.0, weight=0.1)
    given = KINDS[kind]()
    net.add_poisson("pop", rate=given.rate, rate_max=given.rate_max, weight=2.0)
    rec = net.simulate(20.3, seed=11, driver=driver)
    times, neurons = drive_spikes(given, 1, 1300, 11, rec.cell, range(int(20.3 / rec.cell) + 1))
    before = times < 20.3
    assert before.sum() > 1000
    assert rec["pop"].times.tobytes() == times[before].tobytes()
    assert np.array_equal(rec["pop"].neurons, neurons[before])

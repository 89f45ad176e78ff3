"""evsim.plot: what is drawn is what was recorded."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from evsim import LIF, SpikeTrains, plot
from evsim.analysis import population_rate

pytestmark = pytest.mark.pictures


def poisson(size, t_stop, hertz, seed=0):
    rng = np.random.default_rng(seed)
    n = rng.poisson(size * hertz * t_stop / 1000.0)
    return SpikeTrains(rng.uniform(0.0, t_stop, n), rng.integers(0, size, n), size)


def marks(ax, line=0):
    """(time, row) of the marks of a line, sorted."""
    return sorted(zip(*(a.tolist() for a in ax.lines[line].get_data())))


def labels(ax):
    return [int(t.get_text()) for t in ax.get_yticklabels()]


def saved(fig):
    image = io.BytesIO()
    fig.savefig(image)
    return image.getvalue()


def test_raster_draws_every_spike_of_a_small_population_at_its_exact_time():
    spikes = poisson(10, 100.0, 30.0)
    (ax,) = plot.raster({"out": spikes}, 100.0).axes
    assert marks(ax) == sorted(zip(spikes.times.tolist(), spikes.neurons.tolist()))
    assert labels(ax) == list(range(10))
    assert ax.get_title(loc="left") == f"out: 10 neurons, {len(spikes)} spikes"


def test_raster_draws_at_most_200_evenly_chosen_neurons_of_a_large_population():
    spikes = {"E": poisson(10_000, 200.0, 30.0), "I": poisson(2_500, 200.0, 30.0, seed=1)}
    fig = plot.raster(spikes, 150.0, t_start=50.0)
    for ax, s in zip(fig.axes, spikes.values()):
        chosen = np.linspace(0, s.size - 1, 200).round().astype(int)
        expected = [(t, row) for row, n in enumerate(chosen) for t in s.of(n).tolist() if 50.0 <= t < 150.0]
        assert marks(ax) == sorted(expected)
        assert labels(ax) == [0, s.size - 1]
    within = np.sum((spikes["E"].times >= 50.0) & (spikes["E"].times < 150.0))
    assert fig.axes[0].get_title(loc="left") == f"E: 200 of 10,000 neurons, {within:,} spikes in all"
    assert fig.axes[-1].get_xlim() == (50.0, 150.0)
    assert saved(fig).startswith(b"\x89PNG")


def test_raster_takes_numbers_and_lists_of_neurons_by_population():
    spikes = {"a": poisson(50, 100.0, 30.0), "b": poisson(50, 100.0, 30.0), "c": poisson(50, 100.0, 30.0)}
    a, b, c = plot.raster(spikes, 100.0, neurons={"a": 3, "b": [7, 2]}).axes
    assert labels(a) == [0, 24, 49]
    assert labels(b) == [7, 2]
    assert marks(b) == sorted([(t, 0) for t in spikes["b"].of(7)] + [(t, 1) for t in spikes["b"].of(2)])
    assert labels(c) == [0, 49]
    assert len(marks(c)) == len(spikes["c"])
    assert [len(labels(ax)) for ax in plot.raster(spikes, 100.0, neurons=4).axes] == [4, 4, 4]


@pytest.mark.parametrize("neurons", [200, 5, {"out": [1, 2]}])
def test_the_highlighted_neuron_is_always_drawn_over_the_others(neurons):
    spikes = {"in": poisson(30, 100.0, 10.0), "out": poisson(1000, 100.0, 30.0)}
    first, last = plot.raster(spikes, 100.0, highlight=333, neurons=neurons).axes
    assert [t for t, _ in marks(last, 1)] == spikes["out"].of(333).tolist()
    assert set(marks(last, 1)) <= set(marks(last, 0))
    assert len(first.lines) == 1
    assert last.lines[1].get_color() != last.lines[0].get_color() == first.lines[0].get_color()


def test_rasters_of_nothing_are_drawn_too():
    empty = SpikeTrains([], [], 3)
    assert saved(plot.raster({"silent": empty, "none": SpikeTrains([], [], 0)}, 10.0))


def test_rates_draws_one_line_per_population_with_its_mean():
    spikes = {"E": poisson(100, 100.0, 30.0), "I": poisson(25, 100.0, 60.0)}
    fig = plot.rates(spikes, 95.0, bin_width=2.0, t_start=10.0, title="some network")
    (ax,) = fig.axes
    for step, text, (name, s) in zip(ax.patches, ax.get_legend().get_texts(), spikes.items()):
        edges, rate = population_rate(s, 95.0, 2.0, 10.0)
        assert np.array_equal(step.get_data().values, rate)
        assert np.array_equal(step.get_data().edges, edges)
        mean = np.sum((s.times >= 10.0) & (s.times < 95.0)) / s.size / 0.085
        assert text.get_text() == f"{name}, mean {mean:.1f} Hz"
    assert len(ax.patches) == 2
    assert saved(fig)


class Ramps:
    """Stands for a Recording: each potential climbs to the threshold of 1 at every spike."""

    t_stop = 100.0
    network = SimpleNamespace(populations={"out": SimpleNamespace(neuron=LIF(v_th=1.0))})

    def __init__(self, spikes):
        self.spikes = spikes

    def __getitem__(self, name):
        return self.spikes

    def voltage(self, population, neuron, times):
        own = np.concatenate([[0.0], self.spikes.of(neuron), [2.0 * self.t_stop]])
        k = np.maximum(np.searchsorted(own, times), 1)
        return (times - own[k - 1]) / (own[k] - own[k - 1])


def test_voltage_marks_spikes_at_threshold_and_writes_their_times_where_they_are_few():
    few, many = [23.456789, 60.0], np.linspace(5.0, 95.0, 11)
    spikes = SpikeTrains(np.concatenate([few, many]), np.repeat([0, 1], [2, 11]), 3)
    fig = plot.voltage(Ramps(spikes), "out", [0, 1, 2])
    for ax, times in zip(fig.axes, (few, many, [])):
        curve, _, triangles = ax.lines
        assert set(times) <= set(curve.get_xdata())
        assert curve.get_ydata().max() <= 1.0
        assert triangles.get_xdata().tolist() == list(times)
        assert np.all(triangles.get_ydata() == 1.0)
    written = [[t.get_text() for t in ax.texts] for ax in fig.axes]
    assert written == [["23.4568", "60.0000", "t* (ms)"], [], []]
    assert fig.axes[0].get_ylim()[1] > 1.1
    assert saved(fig)


def test_labels_of_a_burst_do_not_overlap():
    spikes = SpikeTrains([50.0, 51.0, 52.0, 55.0, 70.0], np.zeros(5, int), 1)
    fig = plot.voltage(Ramps(spikes), "out", [0])
    saved(fig)
    texts = fig.axes[0].texts
    boxes = [t.get_window_extent() for t in texts]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert "70.0000" in [t.get_text() for t in texts] and len(texts) == 5  # one of the burst found no room


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"t_start": 100.0}, ValueError, r"t_start < t_stop \(ms\); got \[100.0, 100.0\)"),
        ({"neurons": 0}, ValueError, "at least one neuron of 'a' must be drawn; neurons asks for 0"),
        ({"neurons": {"a": []}}, ValueError, "neurons lists none"),
        ({"neurons": {"z": 5}}, ValueError, r"neurons names \['z'\], but the populations are a"),
        ({"neurons": {"a": [3, 50]}}, IndexError, "neuron 50 of 'a' asked for, but there are 50"),
    ],
)
def test_errors_name_what_came(options, error, words):
    with pytest.raises(error, match=words):
        plot.raster({"a": poisson(50, 100.0, 10.0)}, 100.0, **options)

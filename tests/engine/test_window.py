"""The window engine on recurrent networks: the spikes of queue and twin, the same bits however it is cut."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import evsim
from evsim import LIF, Bernoulli, FixedIndegree, FixedOutdegree, GrazingWarning, Network, Simulation, SpikeTrains
from evsim.testing.strategies import NetworkDescription, small_networks
from helpers.busy import assert_bits, busy
from helpers.engines import assert_same, decidable, run, spikes_of
from helpers.examples import examples
from helpers.reference import simulate_twin

quick = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def recurrent(draw, receptors: int) -> NetworkDescription:
    """Recurrent, one set of time constants per population; delays on a coarse grid (ties, borders) or anywhere."""
    d = draw(small_networks(recurrent=True, delays="positive", receptors=receptors))
    neurons = list(d.neurons)
    for p in range(len(d.populations)):
        first = d.neurons[d.population_range(p).start]
        for k in d.population_range(p):
            neurons[k] = neurons[k].with_(tau_m=first.tau_m, tau_syn=first.tau_syn)
    grid = draw(st.booleans())
    synapses, spikes = list(d.synapses), d.input_spikes
    if grid:
        synapses = [(source, target, w, max(0.5, round(2 * delay) / 2)) for source, target, w, delay in synapses]
        # Ties at instants that float64 holds: all times are multiples of 1/2, no neuron fires by itself.
        spikes = sorted((round(2 * t) / 2, source) for t, source in spikes if t < d.t_stop - 1.0)
        neurons = [n.with_(bias=min(n.bias, 0.9 * (n.v_th - n.v_rest))) for n in neurons]
    else:
        # No two ways to one instant: float64 would decide by its last bit which comes first.
        synapses = [
            (source, target, w, max(delay, 0.02) * (1.0 + 0.00137 * k))
            for k, (source, target, w, delay) in enumerate(synapses)
        ]
        neurons = [n.with_(t_ref=n.t_ref * (1.0 + 0.0173 * k)) for k, n in enumerate(neurons, 1)]
    return NetworkDescription(d.n_inputs, d.populations, neurons, synapses, spikes, d.t_stop)


@pytest.mark.parametrize("receptors", [0, 1, 2])
@settings(quick, max_examples=examples(40))
@given(data=st.data())
def test_window_queue_and_twin_give_the_same_spikes(data, receptors) -> None:
    description = data.draw(recurrent(receptors))
    assume(decidable(description))
    expected = simulate_twin(*description.arguments())
    assert_same(spikes_of(description, "queue"), expected)
    assert_same(spikes_of(description, "window"), expected)


def assert_same_but_for_the_last_cell(window, queue) -> None:
    """The same spikes; the window engine counts events once their cell is complete."""
    for name in window:
        for k in range(window[name].size):
            np.testing.assert_allclose(window[name].of(k), queue[name].of(k), rtol=0.0, atol=1e-9)
    assert 0.97 * queue.synaptic_events < window.synaptic_events <= queue.synaptic_events


KINDS = pytest.mark.parametrize("kind", ["one", "few", "own"])
RECEPTORS = pytest.mark.parametrize("tau_syn", [None, 5.0, (2.0, 8.0)])


@KINDS
@RECEPTORS
def test_a_busy_recurrent_network_has_the_spikes_of_the_queue(kind, tau_syn) -> None:
    net, x = busy(kind, tau_syn)
    window = run(net, x, 60.0, "window", seed=5)
    queue = run(net, x, 60.0, "queue", seed=5)
    assert len(window["a"]) > 700 and len(window["b"]) > 50
    assert_same_but_for_the_last_cell(window, queue)


@KINDS
@RECEPTORS
def test_any_number_of_threads_gives_the_same_bits(kind, tau_syn) -> None:
    net, x = busy(kind, tau_syn)
    whole = run(net, x, 40.0, "window", seed=5)
    for threads in (2, 4, 8):
        assert_bits(run(net, x, 40.0, "window", seed=5, threads=threads), whole)


@KINDS
@pytest.mark.parametrize("driver", ["window", "queue"])
def test_chunks_of_any_length_give_the_same_bits(kind, driver) -> None:
    net, x = busy(kind, 5.0)
    whole = run(net, x, 40.0, driver, seed=5)
    for chunk in (40.0, 16.0, 7.3, 0.75):
        chunks = list(net.run(40.0, chunk, {"in": x}, seed=5, driver=driver, threads=2))
        assert [c.t_stop for c in chunks][-1] == 40.0 and len(chunks) == int(np.ceil(40.0 / chunk))
        assert all(np.all((c["a"].times >= c.t_start) & (c["a"].times < c.t_stop)) for c in chunks)
        assert_bits(evsim.join(chunks), whole)
        assert sum(c.synaptic_events for c in chunks) == whole.synaptic_events


@KINDS
@pytest.mark.parametrize("driver", ["window", "queue"])
@pytest.mark.parametrize("at", [8.0, 11.1])
def test_a_saved_state_resumes_with_the_same_bits(kind, driver, at) -> None:
    net, x = busy(kind, (2.0, 8.0))
    whole = run(net, x, 30.0, driver, seed=5)
    before = Simulation(net, seed=5, driver=driver)
    first = before.advance_to(at, {"in": x})
    state = before.state()
    before.advance(3.0)  # what goes on afterwards does not reach into the saved state
    second = Simulation(net, seed=5, driver=driver, threads=2, state=state).advance_to(30.0)
    assert_bits(evsim.join([first, second]), whole)


def test_inputs_given_later_are_as_good_as_inputs_given_at_once() -> None:
    net, x = busy("own", 5.0)
    whole = run(net, x, 40.0, "window", seed=5)
    simulation = Simulation(net, seed=5, driver="window")
    chunks = []
    for stop in (3.3, 17.0, 40.0):
        mine = (x.times >= simulation.time) & (x.times < stop)
        chunks.append(simulation.advance_to(stop, {"in": SpikeTrains(x.times[mine], x.neurons[mine], x.size)}))
    assert_bits(evsim.join(chunks), whole)


def test_a_spike_at_the_border_of_a_window_is_delivered_once() -> None:
    """Kicks fire the first neuron at exact borders of cells and windows; the chain passes them on."""
    net = Network()
    net.add_input("in", size=1)
    net.add_population("chain", size=4, neuron=LIF(tau_m=10.0, tau_syn=None, t_ref=0.5))
    eye = np.eye(4, k=1) * 1.5
    net.connect("in", "chain", weight=np.array([[1.5, 0.0, 0.0, 0.0]]))
    net.connect("chain", "chain", weight=eye, delay=1.0)
    borders = [0.0, 1.0, 2.0, 5.0, 5.5, 9.0]
    x = SpikeTrains(borders, np.zeros(6, np.int64), size=1)
    for driver in ("window", "queue"):
        rec = run(net, x, 20.0, driver)
        for k in range(4):
            assert rec["chain"].of(k).tolist() == [t + k for t in borders]


def test_a_crossing_that_rounds_to_the_border_of_a_cell_is_one_spike() -> None:
    """Biases are tuned so that neurons fire within a few ulp of a border, before, at or after it."""
    cell = 0.25
    border = 40 * cell
    base = 1.0 / -np.expm1(-border / 20.0)
    bias = base * (1.0 + np.arange(-40, 41) * 2.0**-52)
    net = Network()
    net.add_population("out", size=81, neuron=LIF(tau_m=20.0, tau_syn=1.0, t_ref=100.0, bias=bias))
    rec = net.simulate(50.0, driver="window")
    assert rec.cell == cell
    assert rec["out"].counts().tolist() == [1] * 81
    np.testing.assert_allclose(rec["out"].times, border, rtol=0.0, atol=1e-12)


def test_autapses_and_multapses_are_summed_before_one_threshold_test() -> None:
    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=1, neuron=LIF(tau_m=10.0, tau_syn=None, v_reset=-0.5))
    net.connect("in", "out", weight=1.0, delay=1.0)
    net.connect("out", "out", weight=np.array([0.9, -0.3, 0.9]), delay=2.0, rule=evsim.FixedTotalNumber(3))
    x = SpikeTrains([0.0], [0], size=1)
    expected = run(net, x, 12.0, "queue")["out"].times
    assert expected.tolist()[:2] == [1.0, 3.0]
    assert np.array_equal(run(net, x, 12.0, "window")["out"].times, expected)


def test_neurons_without_refractoriness_can_fire_many_times_in_one_cell() -> None:
    net = Network()
    bias = np.linspace(20.0, 400.0, 70)
    net.add_population("out", size=70, neuron=LIF(tau_m=5.0, tau_syn=None, t_ref=0.0, bias=bias))
    window = net.simulate(20.0, driver="window")
    queue = net.simulate(20.0, driver="queue")
    assert len(window["out"]) > 30_000
    assert np.array_equal(window["out"].counts(), queue["out"].counts())
    np.testing.assert_allclose(np.sort(window["out"].times), np.sort(queue["out"].times), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("tau_syn", [None, 5.0, (2.0, 8.0)])
def test_voltages_of_a_driven_network_pass_through_threshold_at_its_spikes(tau_syn) -> None:
    net, x = busy("own", tau_syn)
    rec = run(net, x, 40.0, "window", seed=5)
    n = int(np.argmax(rec["a"].counts()))
    spikes = rec["a"].of(n)
    v_th = net.populations["a"].neuron.v_th[n]
    grid = np.linspace(0.0, 40.0, 4001)
    v = rec.voltage("a", n, grid)
    assert spikes.size > 0
    assert np.all(v[~np.isin(grid, spikes)] < v_th)
    if tau_syn is not None:
        just = rec.voltage("a", n, spikes - 1e-7)
        np.testing.assert_allclose(just, v_th, rtol=0.0, atol=1e-4)


def test_a_part_of_the_neurons_can_be_recorded_and_nothing_else_changes() -> None:
    net, x = busy("one", None)
    whole = run(net, x, 30.0, "window", seed=5)
    part = run(net, x, 30.0, "window", seed=5, record={"a": [3, 400], "b": []})
    mine = np.isin(whole["a"].neurons, [3, 400])
    assert np.array_equal(part["a"].times, whole["a"].times[mine])
    assert len(part["b"]) == 0 and part.synaptic_events == whole.synaptic_events


def test_progress_is_told_in_biological_time_and_changes_nothing() -> None:
    net, x = busy("own", 5.0)
    reached: list[float] = []
    whole = run(net, x, 30.0, "window", seed=5)
    assert_bits(run(net, x, 30.0, "window", seed=5, progress=reached.append), whole)
    assert reached == sorted(reached) and reached[-1] == 30.0 and len(reached) > 1


@pytest.mark.parametrize("driver", ["window", "queue"])
def test_an_interrupted_run_goes_on_and_has_lost_nothing(driver) -> None:
    def interrupt(t: float) -> None:
        raise KeyboardInterrupt

    net, x = busy("own", 5.0)
    whole = run(net, x, 120.0, driver, seed=5)
    simulation = Simulation(net, seed=5, driver=driver)
    with pytest.raises(KeyboardInterrupt):
        simulation.advance_to(120.0, {"in": x}, progress=interrupt)
    assert 0.0 < simulation.time < 120.0
    saved = Simulation(net, seed=5, driver=driver, state=simulation.state())
    assert_bits(simulation.advance_to(120.0), whole)
    assert_bits(saved.advance_to(120.0), whole)


@pytest.mark.parametrize("rule", [FixedIndegree(30), FixedOutdegree(30), Bernoulli(0.05)])
def test_drawn_weights_and_delays_are_those_of_the_queue(rule) -> None:
    net = Network()
    net.add_population("a", size=600, neuron=LIF(tau_m=10.0, tau_syn=3.0, t_ref=1.0))
    net.add_poisson("a", rate=800.0, weight=0.4)
    net.connect("a", "a", weight=scipy.stats.norm(-0.05, 0.01), rule=rule,
                delay=lambda rng, n: rng.uniform(0.4, 3.0, n))  # fmt: skip
    window, queue = (net.simulate(40.0, seed=2, driver=d) for d in ("window", "queue"))
    assert window.synaptic_events > 25_000
    assert_same_but_for_the_last_cell(window, queue)


def test_grazing_peaks_of_a_recurrent_network_are_counted() -> None:
    from evsim._kernels.neurons.lif import psp_peak

    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=2, neuron=LIF(tau_m=20.0, tau_syn=5.0))
    net.connect("in", "out", weight=np.array([[1.0 / psp_peak(20.0, 5.0), 0.0]]))
    with pytest.warns(GrazingWarning):
        assert net.simulate(30.0, {"in": SpikeTrains([1.0], [0], size=1)}, driver="window").grazing == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.simulate(30.0, {"in": SpikeTrains([], np.empty(0, int), size=1)}, driver="window")


def test_the_window_driver_says_what_it_cannot_run() -> None:
    net = Network()
    net.add_population("out", size=2, neuron=LIF(tau_m=np.array([10.0, 20.0])))
    with pytest.raises(evsim.NetworkError, match="different time constants"):
        net.simulate(1.0, driver="window")
    net = Network()
    net.add_population("out", size=2, neuron=LIF(tau_syn=None))
    net.connect("out", "out", weight=0.1, delay=np.array([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(evsim.NetworkError, match="no delay"):
        net.simulate(1.0, driver="window")

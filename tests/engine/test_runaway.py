"""Runs that cannot end say so: neurons without progress, runaway activity, spikes beyond the memory."""

import numpy as np
import pytest

import evsim
from evsim import LIF, Network, Simulation, SpikeTrains
from evsim.errors import NetworkError, RunawayError

STUCK = {
    "reset just below threshold": (LIF(tau_m=10.0, tau_syn=2.0, v_reset=float(np.nextafter(1.0, 0.0)), bias=2.0), 0.0),
    "immense current": (LIF(tau_m=10.0, tau_syn=2.0), 1e18),
    "immense bias": (LIF(tau_m=10.0, tau_syn=2.0, bias=1e20), 0.0),
}


def one(neuron: LIF, weight: float) -> Network:
    net = Network()
    net.add_input("in", 1)
    net.add_population("a", 1, neuron)
    net.connect("in", "a", weight=weight)
    return net


@pytest.mark.parametrize("driver", ["queue", "window", "sweep"])
@pytest.mark.parametrize("kind", STUCK)
def test_a_neuron_that_makes_no_progress_is_named(driver, kind):
    with pytest.raises(RunawayError, match=r"neuron 0 of 'a' spikes .* t_ref > 0"):
        one(*STUCK[kind]).simulate(10.0, {"in": SpikeTrains([1.0], [0], 1)}, driver=driver)


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_an_interval_of_a_few_ulps_is_called_runaway(driver):
    net = one(LIF(tau_m=10.0, tau_syn=2.0, v_reset=1.0 - 1e-12, bias=2.0), 0.0)
    with pytest.raises(RunawayError, match=r"neuron 0 of 'a' spikes 1.*e[+]11 times a ms"):
        net.simulate(10.0, {"in": SpikeTrains([1.0], [0], 1)}, driver=driver)


def test_spikes_at_an_instant_of_input_are_no_lack_of_progress():
    net = Network()
    net.add_input("in", 1)
    net.add_population("a", 1, LIF(tau_syn=None, t_ref=0.0))
    net.connect("in", "a", weight=2.0, delay=1.0)
    x = SpikeTrains([1.0, 1.0, 1.0, 2.0], [0, 0, 0, 0], 1)
    for driver in ("queue", "window"):
        assert net.simulate(10.0, {"in": x}, driver=driver)["a"].times.tolist() == [2.0, 3.0]


def test_neurons_that_excite_each_other_without_bound_are_named():
    net = Network()
    net.add_population("p", 7, LIF(tau_m=10.0, tau_syn=None, bias=1.3, v_init=np.linspace(-0.9, 0.9, 7)))
    net.connect("p", "p", weight=0.5, delay=lambda g, n: g.uniform(0.2, 3.0, n))
    sim = Simulation(net, seed=1)
    early, other = sim.advance(11.0)["p"], Simulation(net, seed=1, driver="window").advance(11.0)["p"]
    assert len(early) > 3 * np.searchsorted(early.times, 9.0) and np.array_equal(early.neurons, other.neurons)
    with pytest.raises(RunawayError, match=r"runaway activity at .* of 'p' spikes .* times a ms"):
        sim.advance(100.0)


def test_many_spikes_at_a_bearable_rate_take_no_more_memory_than_they_need():
    net = Network()
    net.add_population("n", 50, LIF(tau_m=20.0, tau_syn=None, bias=10.0))
    net.connect("n", "n", weight=0.0, delay=1.0, rule=evsim.OneToOne())
    sim = Simulation(net, driver="queue")
    n = len(sim.advance(4000.0)["n"])
    assert n == 50 * int(np.floor(4000.0 / (20.0 * np.log(10.0 / 9.0))))
    assert sim.engine._run._live.deliveries.times.size <= 2048


def test_no_synapse_of_a_projection_with_delays_of_its_own_is_no_crash():
    def own(g, n):
        return g.uniform(1.0, 2.0, n)

    zeros = np.zeros((3, 700))
    for rule, delay in ((evsim.FixedIndegree(0), own), (evsim.Bernoulli(1e-9), own), (None, zeros)):
        net = Network()
        net.add_input("in", 3)
        net.add_population("a", 700, LIF(tau_m=10.0, tau_syn=2.0, bias=1.2, t_ref=1.0))
        net.connect("a", "a", weight=-0.001, delay=1.0, rule=evsim.FixedIndegree(30))
        net.connect("in", "a", weight=3.0, delay=delay, rule=rule)
        x = {"in": SpikeTrains(np.linspace(1.0, 90.0, 60), np.arange(60) % 3, 3)}
        a, b = (net.simulate(100.0, x, driver=d)["a"] for d in ("queue", "window"))
        assert len(a) > 3000 and np.array_equal(a.neurons, b.neurons)
        np.testing.assert_allclose(a.times, b.times, rtol=0.0, atol=1e-10)


def test_buffers_that_outgrow_the_memory_are_a_network_error(monkeypatch):
    from evsim.engine import runaway

    monkeypatch.setattr(runaway, "_LARGE", 1 << 16)
    monkeypatch.setattr("evsim.memory.free_memory", lambda: float(1 << 18))
    net = Network()
    net.add_population("n", 50, LIF(tau_m=20.0, tau_syn=None, bias=10.0))
    sim = Simulation(net, driver="queue")
    with pytest.raises(NetworkError, match=r"spikes need .* MiB more"):
        sim.advance(100000.0)


def test_a_tiny_delay_is_left_to_the_queue():
    for delay in (1e-4, lambda g, n: g.uniform(1e-9, 3.0, n) ** 2):
        net = Network()
        net.add_population("a", 100, LIF(t_ref=2.0, bias=1.2))
        net.connect("a", "a", weight=0.01, delay=delay, rule=evsim.FixedIndegree(10))
        assert Simulation(net).driver == "queue"
    net.projections.clear()
    net.connect("a", "a", weight=0.01, delay=1.0, rule=evsim.FixedIndegree(10))
    assert Simulation(net).driver == "window"


def test_the_sweep_asks_for_its_memory(monkeypatch):
    net = Network()
    net.add_input("in", 2000)
    net.add_population("a", 2000, LIF())
    net.connect("in", "a", weight=1e-6, delay=1.0)
    x = {"in": SpikeTrains([1.0], [0], 2000)}
    monkeypatch.setattr("evsim.engine.select.free_memory", lambda: 1e6)
    assert net.simulate(5.0, x).driver == "window"
    monkeypatch.setattr("evsim.memory.free_memory", lambda: 1e6)
    with pytest.raises(NetworkError, match="the sweep, which keeps whole matrices"):
        net.simulate(5.0, x, driver="sweep")


@pytest.mark.parametrize("driver", ["queue", "window", "sweep"])
def test_an_interval_of_denormal_length_is_simulated(driver):
    net = Network()
    net.add_population("a", 4, LIF(v_init=2.0, t_ref=1.0))
    assert net.simulate(1e-310, driver=driver)["a"].times.tolist() == [0.0] * 4


def test_sorting_clustered_spikes_gives_their_order():
    from evsim._kernels.sorting import sort_spikes

    rng = np.random.default_rng(0)
    for times in (rng.uniform(0.0, 10.0, 5000), 5.0 + 1e-9 * rng.uniform(size=5000), rng.integers(0, 3, 5000) * 1.0):
        neurons, currents = rng.integers(0, 50, 5000).astype(np.int32), rng.normal(size=5000)
        out = np.empty(5000), np.empty(5000, np.int32), np.empty(5000)
        sort_spikes(times, neurons, currents, 0.0, 10.0, *out)
        order = np.lexsort((neurons, times))
        for a, b in zip(out, (times, neurons, currents)):
            assert np.array_equal(a, b[order])

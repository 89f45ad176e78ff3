"""The engine as a whole: all drivers, the slow twin and 50 digits agree; each rule of the semantics."""

from __future__ import annotations

import math
import sys
import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

import evsim
from evsim import LIF, GrazingWarning, Network, NetworkError, Simulation, SpikeBatch, SpikeTrains
from evsim._kernels.neurons.lif import psp_peak
from evsim.engine.sweep.layers import pack_layer, run_layer, run_layer_batch
from evsim.testing.closed_form import flow
from evsim.testing.oracle import replay_network, replay_neuron
from evsim.testing.strategies import NetworkDescription, lif_parameters, small_networks
from helpers.engines import CLOSE, NEAR, assert_same, away_from_grazing, decidable, run, spikes_of
from helpers.examples import examples
from helpers.reference import psp, simulate_twin

DELTA = LIF(tau_m=10.0, tau_syn=None)
DRIVERS = ["queue", "window", "sweep"]

quick = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
brief = settings(quick, max_examples=examples(6))


def one_neuron(lif: LIF, arrivals: list[tuple[float, float]], t_stop: float, driver: str = "queue"):
    """A run of one neuron "out" with the given (time, weight), without delay."""
    net = Network()
    net.add_input("in", size=max(len(arrivals), 1))
    net.add_population("out", size=1, neuron=lif)
    weights = np.array([[w] for _, w in arrivals]) if arrivals else 0.0
    net.connect("in", "out", weight=weights)
    train = SpikeTrains([t for t, _ in arrivals], np.arange(len(arrivals)), size=max(len(arrivals), 1))
    return run(net, train, t_stop, driver)


def times_of(
    lif: LIF, arrivals: list[tuple[float, float]], t_stop: float, driver: str = "queue"
) -> list[float]:
    return one_neuron(lif, arrivals, t_stop, driver)["out"].times.tolist()


# ------------------------------------------------------------------------------- all engines, same spikes


@pytest.mark.parametrize("receptors", [0, 1, 2])
@pytest.mark.parametrize("delays", ["positive", "any"])
@quick
@given(data=st.data())
def test_queue_gives_the_spikes_of_the_twin_on_recurrent_networks(data, receptors, delays) -> None:
    description = data.draw(small_networks(recurrent=True, delays=delays, receptors=receptors))
    assume(decidable(description))
    assert_same(spikes_of(description, "queue"), simulate_twin(*description.arguments()))


@st.composite
def layered(draw) -> NetworkDescription:
    """Feed-forward, with one set of time constants and one delay per population."""
    d = draw(small_networks(recurrent=False, delays=draw(st.sampled_from(["zero", "positive"]))))
    neurons, synapses = list(d.neurons), []
    for p in range(len(d.populations)):
        first = d.neurons[d.population_range(p).start]
        for k in d.population_range(p):
            neurons[k] = neurons[k].with_(tau_m=first.tau_m, tau_syn=first.tau_syn)
    delays = {}
    for source, target, weight, delay in d.synapses:
        layer = (source < d.n_inputs, target < d.populations[0])
        synapses.append((source, target, weight, delays.setdefault(layer, delay)))
    return NetworkDescription(d.n_inputs, d.populations, neurons, synapses, d.input_spikes, d.t_stop)


@settings(quick, max_examples=examples(60))
@given(layered())
def test_sweep_queue_and_twin_give_the_same_spikes_on_layers(description) -> None:
    assume(decidable(description))
    expected = simulate_twin(*description.arguments())
    assert_same(spikes_of(description, "queue"), expected)
    assert_same(spikes_of(description, "sweep"), expected)


@pytest.mark.parametrize("receptors", [0, 1, 2])
@brief
@given(data=st.data())
def test_queue_gives_the_spikes_of_the_oracle_on_recurrent_networks(data, receptors) -> None:
    description = data.draw(small_networks(delays="any", receptors=receptors, t_stop=20.0))
    truth = replay_network(*description.arguments())
    assume(away_from_grazing(truth))
    assert_same(spikes_of(description, "queue"), truth)


@pytest.mark.parametrize("tau_syn", [None, 5.0, 20.0, (5.0, 10.0)])
def test_a_busy_layer_has_the_same_spikes_in_the_same_order_in_all_drivers(tau_syn) -> None:
    """150 inputs, 40 neurons, 200 ms: groups with many candidates, refractory neurons, both signs."""
    rng = np.random.default_rng(7)
    net = Network()
    net.add_input("in", size=150)
    net.add_population(
        "out", size=40, neuron=LIF(tau_syn=tau_syn, t_ref=2.0, bias=rng.uniform(-0.3, 1.1, 40))
    )
    scale = 0.12 if tau_syn is None else 0.35
    net.connect("in", "out", weight=rng.normal(0.3 * scale, scale, (150, 40)), delay=1.0)
    x = evsim.encode.poisson(np.full(150, 20.0), 200.0, seed=3)
    queue, *others = (run(net, x, 200.0, driver)["out"] for driver in DRIVERS)
    assert len(queue) > 100
    for other in others:
        assert np.array_equal(queue.neurons, other.neurons)
        np.testing.assert_allclose(other.times, queue.times, rtol=0.0, atol=CLOSE)


@pytest.mark.parametrize("tau_syn", [None, 0.02, 5.0, (0.02, 5.0), (5.0, 0.02), 0.5, (0.5, 5.0), (5.0, 0.5)])
@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_a_quiet_spell_that_fades_all_currents_loses_no_spike(tau_syn, bias) -> None:
    """Before, between and after the inputs nothing is left of a current, to the last bit of float64."""
    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=2, neuron=LIF(tau_m=20.0, tau_syn=tau_syn, t_ref=500.0, bias=bias))
    weight = 1.5 if tau_syn is None else 3000.0
    net.connect("in", "out", weight=np.array([[weight, 0.0]]))
    for times in ([], [6000.0], [0.0, 12000.0], [3000.0 + 0.5 * k for k in range(12)]):
        x = SpikeTrains(times, np.zeros(len(times), np.int64), size=1)
        # Windows of 0.02 ms / 4 would be 4 million.
        drivers = DRIVERS if np.min(tau_syn or 1.0) > 0.1 else ["queue", "sweep"]
        queue, *others = (run(net, x, 20000.0, driver)["out"] for driver in drivers)
        assert (len(queue) > 0) == (bias > 1.0 or len(times) > 0)
        for other in others:
            assert np.array_equal(queue.neurons, other.neurons)
            np.testing.assert_allclose(other.times, queue.times, rtol=1e-14, atol=0.0)


@quick
@given(data=st.data())
def test_a_neuron_in_millivolts_is_as_exact_as_one_in_threshold_units(data) -> None:
    lif = LIF(
        tau_m=data.draw(st.floats(5.0, 30.0)), tau_syn=data.draw(st.sampled_from([None, 5.0, (2.0, 9.0)])),
        v_th=-50.0 + data.draw(st.floats(-1.0, 1.0)), v_reset=-66.1, v_rest=-65.3, t_ref=1.7,
        bias=data.draw(st.floats(-5.0, 25.0)),
    )  # fmt: skip
    assume(abs(lif.v_th - lif.v_rest - lif.bias) > 1e-3)
    unit = 15.0 if lif.tau_syn is None else 60.0
    arrivals = data.draw(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(-unit, 2 * unit)), max_size=8))
    truth = replay_neuron(lif, sorted(arrivals), 40.0)
    assume(truth.margin > NEAR)
    found = times_of(lif, sorted(arrivals), 40.0)
    assert len(found) == len(truth)
    for t, spike in zip(found, truth):
        assert abs(mpf(t) - spike.time) <= 4 * 2.0**-52 * spike.condition


def test_two_layers_and_skip_connections_are_the_same_in_all_drivers() -> None:
    rng = np.random.default_rng(11)
    net = Network()
    net.add_input("in", size=30)
    net.add_population("last", size=5, neuron=LIF(tau_syn=(4.0, 12.0)))
    net.add_population("first", size=12, neuron=LIF(t_ref=1.0))
    net.connect("in", "first", weight=rng.normal(0.4, 0.5, (30, 12)))
    net.connect("first", "last", weight=rng.normal(0.5, 0.7, (12, 5)), delay=0.5)
    net.connect("in", "last", weight=rng.normal(0.1, 0.3, (30, 5)), delay=2.0)
    x = evsim.encode.poisson(np.full(30, 60.0), 150.0, seed=1)
    queue, *others = (run(net, x, 150.0, driver) for driver in DRIVERS)
    for other, name in product(others, ("first", "last")):
        assert len(queue[name]) > 20
        assert np.array_equal(queue[name].neurons, other[name].neurons)
        np.testing.assert_allclose(other[name].times, queue[name].times, rtol=0.0, atol=CLOSE)
        np.testing.assert_allclose(other.currents[name], queue.currents[name], rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------------------------- semantics


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_spike_at_exactly_t_stop_belongs_to_the_next_chunk(driver) -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, bias=2.0, t_ref=1.0)
    first = times_of(lif, [], 50.0, driver)[0]
    assert times_of(lif, [], first, driver) == []
    assert times_of(lif, [], math.nextafter(first, 99.0), driver) == [first]


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_arrival_at_exactly_t_stop_belongs_to_the_next_chunk(driver) -> None:
    assert times_of(DELTA, [(5.0, 2.0)], 5.0, driver) == []
    assert times_of(DELTA, [(5.0, 2.0)], 5.5, driver) == [5.0]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("tau_syn", [None, 5.0, (5.0, 10.0)])
def test_an_initial_potential_at_threshold_fires_at_zero(driver, tau_syn) -> None:
    for v_init in (1.0, 1.5):
        assert times_of(LIF(tau_syn=tau_syn, v_init=v_init), [], 5.0, driver) == [0.0]
        assert times_of(LIF(tau_syn=tau_syn, v_init=v_init), [(0.0, -9.0)], 5.0, driver) == [0.0]
    assert times_of(LIF(tau_syn=tau_syn, v_init=0.999), [], 5.0, driver) == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_input_at_exactly_a_predicted_spike_time_arrives_after_the_spike(driver) -> None:
    """The kick would have prevented the spike; after it, it lowers the reset potential instead."""
    lif = LIF(tau_m=10.0, tau_syn=None, bias=2.0)
    first, second = times_of(lif, [], 20.0, driver)[:2]
    later = times_of(lif, [(first, -1.0)], 20.0, driver)
    assert later[0] == first
    assert later[1] == pytest.approx(first + 10.0 * math.log(3.0), abs=CLOSE)
    assert later[1] > second


@pytest.mark.parametrize("driver", DRIVERS)
def test_kicks_of_one_instant_are_summed_before_the_threshold_test(driver) -> None:
    assert times_of(DELTA, [(1.0, 2.0), (1.0, -1.5)], 5.0, driver) == []
    assert times_of(DELTA, [(1.0, -1.5), (1.0, 2.5)], 5.0, driver) == [1.0]
    assert times_of(DELTA, [(1.0, 0.5)] * 2, 5.0, driver) == [1.0]


def test_kicks_of_one_instant_are_summed_along_a_zero_delay_chain() -> None:
    """a and b hear the input; a, b -> c and c, input -> d without delay. All at t = 1."""
    net = Network()
    net.add_input("in", size=1)
    for name in "dcba":  # declared against the direction of the chain
        net.add_population(name, size=1, neuron=DELTA)
    for pre, post, weight in [
        ("in", "a", 1.5), ("in", "b", 1.5), ("a", "c", 0.6),
        ("b", "c", 0.6), ("c", "d", -1.0), ("in", "d", 1.5),
    ]:  # fmt: skip
        net.connect(pre, post, weight=weight)
    for driver in ("queue", "sweep"):
        rec = run(net, SpikeTrains([1.0], [0], size=1), 5.0, driver)
        times = [rec[name].times.tolist() for name in "abcd"]
        assert times == [[1.0], [1.0], [1.0], []]


@pytest.mark.parametrize("driver", DRIVERS)
def test_currents_integrate_during_refractoriness(driver) -> None:
    """An input in refractoriness drives the neuron after its release as far as it has not yet decayed."""
    lif = LIF(tau_m=10.0, tau_syn=5.0, t_ref=3.0, v_init=1.0)
    (zero, found) = times_of(lif, [(1.0, 8.0)], 12.0, driver)[:2]
    assert zero == 0.0
    rest = 8.0 * math.exp(-2.0 / 5.0)
    low, high = 0.0, 5.0
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if rest * psp(middle, 10.0, 5.0) < 1.0 else (low, middle)
    assert found == pytest.approx(3.0 + high, abs=CLOSE)


@pytest.mark.parametrize("driver", DRIVERS)
def test_kicks_during_refractoriness_are_lost_unless_kept(driver) -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, t_ref=2.0, v_reset=-0.5, v_init=1.0)
    kicks = [(1.0, 1.0), (2.5, 1.0)]
    assert times_of(lif, kicks, 9.0, driver) == [0.0]
    kept = lif.with_(keep_refractory_input=True)
    # At 2.5: (-0.5 + exp(-0.1)) exp(-0.05) + 1 > 1.
    assert times_of(kept, kicks, 9.0, driver) == [0.0, 2.5]
    v = one_neuron(kept, kicks[:1], 9.0, driver).voltage("out", 0, [4.0])
    assert v == pytest.approx((-0.5 + math.exp(-0.1)) * math.exp(-0.2), rel=1e-14)


@pytest.mark.parametrize("driver", DRIVERS)
def test_kept_kicks_that_reach_threshold_fire_at_release(driver) -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, t_ref=2.0, v_init=1.0, keep_refractory_input=True)
    assert times_of(lif, [(1.0, 1.5)], 9.0, driver) == [0.0, 2.0]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_kick_at_exactly_the_release_comes_after_it(driver) -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, t_ref=2.0, v_init=1.0)
    before = math.nextafter(2.0, 0.0)
    assert times_of(lif, [(2.0, 1.5)], 9.0, driver) == [0.0, 2.0]
    assert times_of(lif, [(before, 1.5)], 9.0, driver) == [0.0]


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_reset_is_exact_and_leaks_nothing_of_the_old_potential(driver) -> None:
    """However far above threshold the kick went, the neuron starts again from v_reset."""
    lif = LIF(tau_m=10.0, tau_syn=None, v_reset=-0.25)
    for kick in (1.0, 5.0, 1e6):
        assert times_of(lif, [(1.0, kick), (1.0, 0.0), (2.0, 1.0)], 9.0, driver) == [1.0]
        v = one_neuron(lif, [(1.0, kick)], 9.0, driver).voltage("out", 0, [3.0])
        assert v == pytest.approx(-0.25 * math.exp(-0.2), rel=1e-14)


def test_a_zero_delay_cycle_of_delta_synapses_is_refused() -> None:
    net = Network()
    net.add_population("a", size=2, neuron=DELTA)
    net.add_population("b", size=2, neuron=DELTA)
    net.connect("a", "b", weight=1.0)
    net.connect("b", "a", weight=1.0)
    with pytest.raises(NetworkError, match=r"cycle of delta synapses without delay.*a delay > 0"):
        net.simulate(5.0)


def test_a_cycle_of_delta_synapses_with_one_delay_is_allowed() -> None:
    net = Network()
    net.add_population("a", size=1, neuron=DELTA.with_(v_init=1.0))
    net.add_population("b", size=1, neuron=DELTA)
    net.connect("a", "b", weight=1.0)
    net.connect("b", "a", weight=1.0, delay=2.0)
    rec = net.simulate(5.0)
    assert rec["a"].times.tolist() == rec["b"].times.tolist() == [0.0, 2.0, 4.0]


def test_a_zero_delay_cycle_of_exponential_synapses_is_allowed() -> None:
    a, b = LIF(tau_syn=5.0, v_init=1.0, t_ref=3.0), LIF(tau_syn=5.0, t_ref=3.0)
    net = Network()
    net.add_population("a", size=1, neuron=a)
    net.add_population("b", size=1, neuron=b)
    net.connect("a", "b", weight=12.0)
    net.connect("b", "a", weight=12.0)
    rec = net.simulate(40.0)
    expected = simulate_twin([a, b], [(0, 1, 12.0, 0.0), (1, 0, 12.0, 0.0)], [], 0, 40.0)
    found = sorted([(t, k) for k, name in enumerate("ab") for t in rec[name].times.tolist()])
    assert len(found) > 4
    assert_same(found, expected)


def test_a_neuron_may_excite_itself_at_once_through_a_current() -> None:
    lif = LIF(tau_syn=5.0, v_init=1.0, t_ref=1.0)
    net = Network()
    net.add_population("a", size=1, neuron=lif)
    net.connect("a", "a", weight=10.0)
    expected = [t for t, _ in simulate_twin([lif], [(0, 0, 10.0, 0.0)], [], 0, 20.0)]
    np.testing.assert_allclose(net.simulate(20.0)["a"].times, expected, rtol=0.0, atol=CLOSE)
    assert len(expected) > 3


def test_the_first_of_equal_spike_times_is_the_lower_neuron() -> None:
    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=9, neuron=DELTA)
    net.connect("in", "out", weight=1.5)
    for driver in DRIVERS:
        rec = run(net, SpikeTrains([1.0, 2.0], [0, 0], size=1), 5.0, driver)
        assert rec["out"].neurons.tolist() == [*range(9), *range(9)]


def test_automatic_choice_gives_the_sweep_to_layers_and_the_queue_to_the_rest() -> None:
    net = Network()
    net.add_input("in", size=2)
    net.add_population("out", size=3, neuron=LIF())
    net.connect("in", "out", weight=1.0)
    x = SpikeTrains([1.0], [0], size=2)
    assert net.simulate(5.0, inputs={"in": x}).driver == "sweep"
    net.connect("out", "out", rule=evsim.FixedIndegree(2), weight=-0.1, delay=1.5)
    assert net.simulate(5.0, inputs={"in": x}).driver == "queue"


# ------------------------------------------------------------------------------------------ buffers that grow


@pytest.mark.parametrize("driver", DRIVERS)
def test_thousands_of_spikes_outgrow_the_first_buffer_and_none_is_lost(driver) -> None:
    """A free-running neuron fires at k (period): 30 neurons, more than 4096 spikes in all."""
    bias = np.linspace(2.0, 6.0, 30)
    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=30, neuron=LIF(tau_m=2.0, tau_syn=3.0, bias=bias))
    net.connect("in", "out", weight=0.0)
    t_stop = 300.0
    rec = run(net, SpikeTrains([100.0], [0], size=1), t_stop, driver)
    assert len(rec["out"]) > 4096
    for k, b in enumerate(bias):
        period = 2.0 * math.log(b / (b - 1.0))
        expected = period * np.arange(1, int(t_stop / period) + 1)
        np.testing.assert_allclose(rec["out"].of(k), expected, rtol=1e-13, atol=0.0)


def test_thousands_of_spikes_on_their_way_outgrow_the_first_queue() -> None:
    """3000 sources fire within 1 ms and are heard 10 ms later: each spike reaches its own target."""
    n = 3000
    net = Network()
    net.add_input("in", size=n)
    net.add_population("out", size=n, neuron=DELTA)
    net.connect("in", "out", weight=1.5, delay=10.0, rule=evsim.OneToOne())
    times = np.random.default_rng(0).uniform(0.0, 1.0, n)
    rec = run(net, SpikeTrains(times, np.arange(n), size=n), 30.0)
    order = np.argsort(times, kind="stable")
    assert np.array_equal(rec["out"].neurons, order)
    assert np.array_equal(rec["out"].times, times[order] + 10.0)
    assert rec.synaptic_events == n


# ------------------------------------------------------------------------------------------------- voltage


def test_voltage_is_v_th_at_spikes_and_v_reset_in_refractoriness() -> None:
    lif = LIF(tau_m=20.0, tau_syn=5.0, v_th=-50.0, v_reset=-70.0, v_rest=-65.0, t_ref=2.0, bias=18.0)
    rec = one_neuron(lif, [(3.0, 5.0), (30.0, 40.0)], 100.0)
    spikes = rec["out"].times
    assert spikes.size >= 2
    np.testing.assert_allclose(rec.voltage("out", 0, spikes), -50.0, rtol=1e-15)
    for after in (1e-9, 0.5, 1.999):
        np.testing.assert_allclose(rec.voltage("out", 0, spikes + after), -70.0, rtol=1e-15)
    assert rec.voltage("out", 0, [0.0]) == pytest.approx(-65.0, rel=1e-15)


def exact_voltage(lif: LIF, arrivals: list[tuple[float, float]], spikes: list[float], t: float) -> float:
    """v(t-) in 50 digits: all input since the last release, currents from the very beginning."""
    with mp.workdps(50):
        tau_m, taus = mpf(lif.tau_m), [mpf(tau) for tau in lif.receptor_taus()]
        v_inf = mpf(lif.v_rest) + mpf(lif.bias)
        past = [s for s in spikes if s < t]
        release = mpf(past[-1] + lif.t_ref) if past else mpf(0)
        if past and t < release:
            return float(lif.v_reset)
        u = mpf(lif.v_reset if past else lif.v_rest) - v_inf
        flows = flow(mpf(t) - release, tau_m, taus)
        v = v_inf + u * flows.leak
        for arrival, w in arrivals:
            if arrival >= t:
                continue
            k = 1 if len(taus) == 2 and w < 0 else 0
            if not taus:
                v += w * mp.exp(-(mpf(t) - arrival) / tau_m) if arrival >= release else 0
            elif arrival < release:
                v += w * flow(release - arrival, tau_m, taus).decays[k] * flows.psps[k]
            else:
                v += w * flow(mpf(t) - arrival, tau_m, taus).psps[k]
        return float(v)


@pytest.mark.parametrize("tau_syn", [None, 5.0, 20.0, (5.0, 12.0)])
@pytest.mark.parametrize("driver", DRIVERS)
def test_voltage_is_the_closed_form_between_events(tau_syn, driver) -> None:
    """In mV, with bias, sparse and dense instants in any order."""
    lif = LIF(tau_m=20.0, tau_syn=tau_syn, v_th=-50.0, v_reset=-68.0, v_rest=-65.0, t_ref=2.0, bias=6.0)
    rng = np.random.default_rng(5)
    scale = 8.0 if tau_syn is None else 25.0
    arrivals = [
        (float(t), float(w)) for t, w in zip(np.sort(rng.uniform(0, 70, 14)), rng.normal(scale, scale, 14))
    ]
    rec = one_neuron(lif, arrivals, 80.0, driver)
    spikes = rec["out"].times.tolist()
    assert spikes
    instants = rng.permutation(np.append(rng.uniform(0.0, 80.0, 60), [0.0, 80.0]))
    expected = [exact_voltage(lif, arrivals, spikes, float(t)) for t in instants]
    np.testing.assert_allclose(rec.voltage("out", 0, instants), expected, rtol=0.0, atol=1e-10)


def test_voltage_keeps_the_shape_of_the_instants() -> None:
    rec = one_neuron(LIF(), [(1.0, 1.0)], 10.0)
    times = np.array([[4.0, 1.0], [2.0, 9.0]])
    assert rec.voltage("out", 0, times).shape == (2, 2)
    assert rec.voltage("out", 0, times)[1, 0] == rec.voltage("out", 0, [2.0])[0]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("keep", [False, True])
def test_voltage_does_not_count_a_kick_again_after_the_spike_it_caused(driver, keep) -> None:
    """With other kicks of the same instant, and without refractoriness or with kept input."""
    for t_ref in (0.0, 1.0):
        lif = LIF(tau_m=10.0, tau_syn=None, v_reset=-0.5, t_ref=t_ref, keep_refractory_input=keep)
        for kicks in ([1.5], [1.5, -0.3], [0.6, 0.6], [-0.3, 1.5]):
            rec = one_neuron(lif, [(1.0, w) for w in kicks], 9.0, driver)
            assert rec["out"].times.tolist() == [1.0]
            assert rec.voltage("out", 0, [3.0]) == pytest.approx(-0.5 * math.exp(-(2.0 - t_ref) / 10.0))


def test_voltage_counts_a_kick_at_a_predicted_spike_after_it() -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, bias=2.0)
    first = times_of(lif, [], 20.0)[0]
    rec = one_neuron(lif, [(first, -1.0)], first + 5.0)
    v = rec.voltage("out", 0, [first + 2.0])
    assert v == pytest.approx(2.0 - 3.0 * math.exp(-0.2), rel=1e-13)


@quick
@given(data=st.data())
def test_no_voltage_between_spikes_is_above_threshold(data) -> None:
    lif = data.draw(lif_parameters())
    arrivals = data.draw(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(-2.0, 4.0)), max_size=6))
    rec = one_neuron(lif, arrivals, 40.0)
    away = np.array([t for t in np.linspace(0.0, 40.0, 300) if np.all(np.abs(rec["out"].times - t) > 1e-6)])
    assume(lif.v_init is None or lif.v_init < lif.v_th)
    assert np.all(rec.voltage("out", 0, away) < float(lif.v_th) + 1e-9)


# ------------------------------------------------------------------------------------------------- grazing


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_grazing_network_warns_and_a_clear_one_does_not(driver) -> None:
    for factor, grazing in ((1.0, True), (1.0 + 1e-9, False), (1.0 - 1e-9, False)):
        net = Network()
        net.add_input("in", size=1)
        net.add_population("out", size=2, neuron=LIF(tau_m=20.0, tau_syn=5.0))
        net.connect("in", "out", weight=np.array([[factor / psp_peak(20.0, 5.0), 0.0]]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rec = net.simulate(50.0, inputs={"in": SpikeTrains([1.0], [0], size=1)}, driver=driver)
        assert rec.grazing == int(grazing)
        assert [w.category for w in caught] == [GrazingWarning] * int(grazing)
        if grazing:
            assert "cannot be decided in float64" in str(caught[0].message)
            assert caught[0].filename == __file__ or sys.version_info < (3, 12)
        else:
            assert rec["out"].counts().tolist() == [int(factor > 1.0), 0]


# ------------------------------------------------------------------------------------ the same bits, always


def layer_and_input(tau_syn=5.0, n=300, samples=6):
    rng = np.random.default_rng(2)
    lif = LIF(tau_syn=tau_syn, t_ref=1.0, bias=rng.uniform(-0.2, 0.5, n))
    weight = rng.normal(0.05, 0.3, (50, n))
    batch = evsim.encode.poisson(rng.uniform(0.0, 60.0, (samples, 50)), 80.0, seed=9)
    return weight, lif, batch


def same_bits(a: SpikeBatch, b: SpikeBatch) -> bool:
    names = ("times", "neurons", "offsets", "currents")
    return all(getattr(a, n).tobytes() == getattr(b, n).tobytes() for n in names)


@pytest.mark.parametrize("tau_syn", [None, 5.0, (5.0, 10.0)])
def test_any_block_width_gives_the_same_bits(tau_syn) -> None:
    weight, lif, batch = layer_and_input(tau_syn, samples=2)
    expected = run_layer_batch(pack_layer(weight, lif), batch, 80.0)
    assert expected.times.size > 100
    for width in (1, 7, 8, 64, 300, 512):
        assert same_bits(run_layer_batch(pack_layer(weight, lif, width), batch, 80.0), expected)


@pytest.mark.parametrize("tau_syn", [None, 5.0, (5.0, 10.0)])
def test_any_number_of_threads_gives_the_same_bits(tau_syn) -> None:
    weight, lif, batch = layer_and_input(tau_syn)
    layer = pack_layer(weight, lif, 32)
    expected = run_layer_batch(layer, batch, 80.0)
    alone = run_layer(layer, batch.sample(0).times, batch.sample(0).neurons, 80.0)
    for threads in (2, 3, 16):
        assert same_bits(run_layer_batch(layer, batch, 80.0, threads=threads), expected)
        shared = run_layer(layer, batch.sample(0).times, batch.sample(0).neurons, 80.0, threads)
        for name in ("times", "neurons", "currents"):
            assert getattr(shared, name).tobytes() == getattr(alone, name).tobytes()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_repeats_itself_to_the_bit_for_any_number_of_threads(driver) -> None:
    weight, lif, batch = layer_and_input()
    net = Network()
    net.add_input("in", size=50)
    net.add_population("out", size=300, neuron=lif)
    net.connect("in", "out", weight=weight, delay=0.7)
    expected = run(net, batch.sample(0), 60.0, driver)["out"]
    for threads in (1, 2, 5):
        again = run(net, batch.sample(0), 60.0, driver, threads=threads)["out"]
        assert again.times.tobytes() == expected.times.tobytes()
        assert again.neurons.tobytes() == expected.neurons.tobytes()


def test_a_batch_may_be_split_or_reordered_without_changing_a_bit() -> None:
    weight, lif, batch = layer_and_input()
    layer = pack_layer(weight, lif)
    whole = run_layer_batch(layer, batch, 80.0, delay=0.3)
    order = [4, 1, 5, 0, 3, 2]
    shuffled = run_layer_batch(
        layer, SpikeBatch.from_trains([batch.sample(k) for k in order]), 80.0, delay=0.3
    )
    for place, k in enumerate(order):
        part = run_layer_batch(layer, SpikeBatch.from_trains([batch.sample(k)]), 80.0, delay=0.3)
        a, b = whole.offsets[k : k + 2]
        c, d = shuffled.offsets[place : place + 2]
        for name in ("times", "neurons", "currents"):
            expected = getattr(whole, name)[a:b].tobytes()
            assert getattr(part, name).tobytes() == expected
            assert getattr(shuffled, name)[c:d].tobytes() == expected


def test_a_random_network_is_drawn_from_its_seed_alone() -> None:
    def times(seed: int) -> np.ndarray:
        net = Network()
        net.add_population("a", size=30, neuron=LIF(bias=np.linspace(1.1, 2.0, 30)))
        net.connect("a", "a", rule=evsim.FixedIndegree(5), weight=-0.3, delay=1.0)
        return net.simulate(100.0, seed=seed)["a"].times

    assert times(1).tobytes() == times(1).tobytes()
    assert times(1).tobytes() != times(2).tobytes()


def test_a_simulation_for_one_run_takes_the_sweep_and_is_run_once():
    net = Network()
    net.add_input("in", 50)
    net.add_population("out", 80, LIF(tau_syn=5.0))
    net.connect("in", "out", weight=0.3, delay=1.0)
    x = {"in": SpikeTrains(np.linspace(1.0, 90.0, 200), np.arange(200) % 50, 50)}
    sim = Simulation(net, once=True)
    with pytest.raises(ValueError, match=r"no spikes were given for input 'in'; pass .* an empty one for silence"):
        sim.advance(100.0)
    rec = sim.advance(100.0, x)
    assert sim.driver == rec.driver == "sweep" and len(rec["out"]) > 100
    assert np.array_equal(rec["out"].times, net.simulate(100.0, x, driver="sweep")["out"].times)
    with pytest.raises(NetworkError, match=r"was made for one run .*Make another one"):
        sim.advance(10.0)
    with pytest.raises(NetworkError, match="the sweep runs in one piece and cannot be continued"):
        sim.state()
    with pytest.raises(ValueError, match="driver must be one of auto, queue, window; got 'sweep'"):
        Simulation(net, driver="sweep")

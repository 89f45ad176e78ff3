"""What a user gave is kept as it was given: arrays that change afterwards change nothing, and values refuse changes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import evsim
from evsim import LIF, FixedIndegree, Network, NetworkError, Simulation, SpikeBatch, SpikeTrains, encode
from evsim.description.network import Population
from evsim.learning import Dense
from helpers.examples import examples

PARAMETERS = ("tau_m", "tau_syn", "v_th", "v_reset", "v_rest", "t_ref", "bias", "v_init")


def spoil(*arrays: np.ndarray) -> None:
    for a in arrays:
        a[...] = -7 if a.dtype.kind in "iu" else -7.25


def test_one_buffer_may_be_used_for_all_trials() -> None:
    buffer, trains = np.empty(3), []
    for k in range(3):
        buffer[:] = (1.0 + k, 5.0 + k, 9.0 + k)
        trains.append(SpikeTrains(buffer, [0, 0, 0], 1))
    assert [t.times.tolist() for t in trains] == [[1.0, 5.0, 9.0], [2.0, 6.0, 10.0], [3.0, 7.0, 11.0]]


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 4)), max_size=20), st.booleans(), st.booleans())
def test_spike_trains_and_batches_own_their_arrays(spikes, in_order, contiguous) -> None:
    spikes = sorted(spikes) if in_order else spikes
    step = 1 if contiguous else 2
    times, neurons = np.zeros(step * len(spikes))[::step], np.zeros(step * len(spikes), np.int32)[::step]
    times[:], neurons[:] = [s[0] for s in spikes], [s[1] for s in spikes]
    trains = SpikeTrains(times, neurons, 5)
    offsets, currents = np.array([0, len(spikes)]), np.arange(float(len(spikes)))
    batch = SpikeBatch(trains.times, trains.neurons, offsets, 5, currents)
    loose = SpikeBatch(t := trains.times.copy(), n := trains.neurons.copy(), offsets, 5, currents)
    before = pickle.dumps([trains, batch, loose])
    spoil(times, neurons, t, n, offsets, currents)
    assert pickle.dumps([trains, batch, loose]) == before


@settings(deadline=None, max_examples=examples(40))
@given(st.integers(0, 2**32 - 1))
def test_no_array_given_to_a_network_changes_what_it_simulates(seed) -> None:
    rng = np.random.default_rng(seed)
    values = {name: rng.uniform(5.0, 9.0, 6) for name in PARAMETERS} | {"v_reset": rng.uniform(0.0, 1.0, 6)}
    taus = rng.uniform(2.0, 4.0, 6), rng.uniform(5.0, 9.0, 6)
    dense, delay, per_synapse = rng.normal(9.0, 3.0, (3, 6)), rng.uniform(0.1, 2.0, (3, 6)), rng.normal(1.0, 1.0, 12)
    sparse, rates = scipy.sparse.random(6, 6, 0.5, "coo", rng=rng), np.full(6, 900.0)
    csr, csr_delay = sparse.tocsr(), sparse.tocsr() + 0.0
    times, sources = np.sort(rng.uniform(0.0, 20.0, 9)), rng.integers(0, 3, 9)

    def network() -> tuple[Network, dict[str, SpikeTrains]]:
        net = Network()
        net.add_input("in", 3)
        net.add_population("a", 6, LIF(**values))
        net.add_population("b", 6, LIF(tau_syn=taus, v_init=values["v_init"]))
        net.connect("in", "a", weight=dense, delay=delay)
        net.connect("a", "b", weight=per_synapse, delay=np.abs(per_synapse), rule=FixedIndegree(2))
        net.connect("a", "a", weight=sparse, delay=1.0)
        net.connect("b", "a", weight=csr, delay=csr_delay)
        net.connect("a", "b", weight=stats.norm(loc := np.full(36, 2.0), 0.5), delay=0.5, rule=evsim.AllToAll())
        net.add_poisson("a", rate=rates, weight=3.0)
        given.append(loc)
        return net, {"in": SpikeTrains(times, sources, 3)}

    given: list[np.ndarray] = []
    net, inputs = network()
    want = net.simulate(30.0, inputs, seed=3)
    net, inputs = network()
    spoil(*values.values(), *taus, dense, delay, per_synapse, rates, times, sources, *given)
    spoil(sparse.data, sparse.row, sparse.col, csr.data, csr.indices, csr_delay.data)
    got = net.simulate(30.0, inputs, seed=3)
    assert len(want["a"]) > 0
    for name in ("a", "b"):
        assert got[name] == want[name]
        assert np.array_equal(got.voltage(name, 1, [5.0, 29.0]), want.voltage(name, 1, [5.0, 29.0]))


def test_what_encoders_give_is_their_own() -> None:
    values = np.full((2, 3), 0.5)
    made = encode.latency(values, 10.0), encode.poisson(400.0 * values, 10.0), encode.regular(values, 1e4)
    currents = encode.analog_current(values, weight := np.ones((3, 2)))
    before = pickle.dumps([made, currents])
    spoil(values, weight)
    assert pickle.dumps([made, currents]) == before


def test_a_layer_keeps_the_neuron_that_it_was_given() -> None:
    v_th = np.array([1.0, 2.0])
    layer = Dense(3, 2, LIF(v_th=v_th))
    spoil(v_th)
    assert layer.theta.tolist() == [1.0, 2.0]


def test_handed_out_arrays_refuse_to_be_changed() -> None:
    trains, neuron = SpikeTrains([1.0], [0], 1), LIF(v_th=np.ones(2), tau_syn=(np.ones(2), 5.0))
    batch = SpikeBatch.from_trains([trains])
    for array in (trains.times, trains.neurons, batch.sample(0).times, neuron.v_th, neuron.tau_syn[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


# -------------------------------------------------------------------------------------------- networks


def driven(size: int = 4) -> Network:
    net = Network()
    net.add_input("i", 1)
    net.add_population("n", size, LIF(tau_syn=None))
    net.connect("i", "n", weight=2.0, delay=5.0)
    return net


CHANGES: dict[str, Callable[[Network], Any]] = {
    "a Poisson drive": lambda net: net.add_poisson("n", rate=1e4, weight=2.0),
    "a projection": lambda net: net.connect("n", "n", weight=-100.0, delay=1.0),
    "a population": lambda net: net.add_population("more", 2, LIF()),
    "an input": lambda net: net.add_input("more", 2),
    "other neurons": lambda net: net.populations.update(n=Population(4, LIF(bias=9.0))),
    "no population": lambda net: net.populations.clear(),
    "another projection": lambda net: net.projections.__setitem__(0, driven().projections[0]),
    "another size": lambda net: net.inputs.update(i=2),
}


@pytest.mark.parametrize("driver", ["queue", "window"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_is_refused_by_its_simulation_and_changes_no_recording(driver, change) -> None:
    net = driven()
    sim = Simulation(net, driver=driver)
    first = sim.advance(10.0, {"i": SpikeTrains([8.0], [0], 1)})
    before = first.voltage("n", [0, 1], [3.0, 9.5])
    state = sim.state()["network"]
    CHANGES[change](net)
    with pytest.raises(NetworkError, match=r"was changed after this Simulation was made of it \(.+\).*new Simulation"):
        sim.advance(30.0)
    assert np.array_equal(first.voltage("n", [0, 1], [3.0, 9.5]), before)
    assert sim.state()["network"] == state


def test_a_simulation_goes_on_where_its_network_is_as_it_was() -> None:
    net = driven()
    sim = Simulation(net)
    sim.advance(10.0, {"i": SpikeTrains([8.0], [0], 1)})
    assert len(sim.advance(30.0)["n"]) == 4


def test_a_recording_replays_the_network_that_ran() -> None:
    net = driven()
    rec = net.simulate(20.0, {"i": SpikeTrains([1.0], [0], 1)}, driver="sweep")
    before = rec.voltage("n", 0, np.linspace(0.0, 20.0, 9))
    net.add_poisson("n", rate=1e5, weight=2.0)
    net.populations["n"] = Population(4, LIF(tau_m=1.0))
    assert np.array_equal(rec.voltage("n", 0, np.linspace(0.0, 20.0, 9)), before)
    assert rec.network.drives == () and len(net.simulate(20.0, {"i": SpikeTrains([], [], 1)})["n"]) > 100


@pytest.mark.parametrize("change", CHANGES)
def test_the_network_of_a_recording_cannot_be_changed_but_copied(change) -> None:
    rec = driven().simulate(1.0, {"i": SpikeTrains([], [], 1)})
    if change != "another projection":
        with pytest.raises(NetworkError, match=r"network\.copy\(\)"):
            CHANGES[change](rec.network)
    with pytest.raises(NetworkError, match=r"network\.copy\(\)"):
        rec.network.populations = {}
    other = rec.network.copy()
    CHANGES[change](other)
    assert list(rec.network.populations) == ["n"] and rec.network.populations["n"].neuron == LIF(tau_syn=None)


def test_a_recording_and_its_network_can_be_pickled() -> None:
    rec = driven().simulate(20.0, {"i": SpikeTrains([1.0], [0], 1)})
    back = pickle.loads(pickle.dumps(rec))
    assert back["n"] == rec["n"] and back.network.populations["n"].neuron == LIF(tau_syn=None)
    assert np.array_equal(back.voltage("n", 0, [7.0]), rec.voltage("n", 0, [7.0]))
    with pytest.raises(NetworkError, match="stays so"):
        back.network.add_input("more", 1)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda net: net.populations.update(n="LIF"), "must be a Population"),
        (lambda net: net.populations.update(n=Population(4, LIF(bias=np.ones(3)))), r"bias has shape \(3,\)"),
        (lambda net: net.populations.update(n=Population(0, LIF())), "integer size >= 1; got 0"),
        (lambda net: net.populations.pop("n") and net.add_population("m", 1, LIF()), "no population 'n'"),
        (lambda net: net.inputs.update(i=1.5), r"integer size >= 1; got 1\.5"),
        (lambda net: net.projections.append("i to n"), "made by connect; got str"),
        (lambda net: net.drives.append(5.0), "made by add_poisson; got float"),
    ],
)
def test_parts_put_there_by_hand_are_checked_before_anything_runs(change, message) -> None:
    net = driven()
    change(net)
    with pytest.raises(NetworkError, match=message):
        net.simulate(1.0, {"i": SpikeTrains([], [], 1)})


def test_chunks_of_different_runs_are_not_joined() -> None:
    one, other = Simulation(driven()), Simulation(driven(5))
    a = one.advance(5.0)
    other.advance(5.0)
    with pytest.raises(ValueError, match="not chunks of one run"):
        evsim.join([a, other.advance(5.0)])
    assert evsim.join([a, one.advance(5.0)]).t_stop == 10.0


# ---------------------------------------------------------------------------------- equality and words


def test_values_are_equal_by_value() -> None:
    assert LIF() == LIF(tau_m=20) != LIF(tau_m=21.0)
    assert LIF(v_th=np.array([1.0, 2.0])) == LIF(v_th=[1.0, 2.0]) != LIF(v_th=[1.0, 3.0])
    assert LIF(tau_syn=(5.0, 6.0)) == LIF(tau_syn=(5.0, 6.0)) != LIF(tau_syn=5.0) != LIF(tau_syn=None)
    assert LIF(v_init=0.0) != LIF() != "LIF"
    a, b = (SpikeTrains([2.0, 1.0], [0, 1], 2) for _ in range(2))
    assert a == b != SpikeTrains([1.0, 2.0], [1, 0], 3) and a != SpikeTrains([1.0, 2.0], [0, 1], 2) and a != 3
    assert SpikeBatch.from_trains([a, b]) == SpikeBatch.from_trains([b, a]) != SpikeBatch.from_trains([a])
    assert len({a, b, LIF(bias=[1.0]), LIF(bias=np.ones(1)), LIF(v_rest=-0.0), LIF()}) == 3
    assert len({SpikeBatch.from_trains([a]), SpikeBatch.from_trains([b])}) == 1


def test_every_value_says_itself_in_one_line() -> None:
    net = driven(1000)
    net.populations["n"] = Population(1000, LIF(tau_syn=None, bias=np.linspace(0.0, 0.5, 1000)))
    net.connect("n", "n", weight=np.full((1000, 1000), -0.1), delay=1.0)
    rec = net.simulate(20.0, {"i": SpikeTrains([1.0], [0], 1)})
    batch = SpikeBatch.from_trains([rec["n"]])
    things = [net, rec, rec.network, rec["n"], batch, net.populations["n"].neuron, Simulation(net), *net.projections]
    for thing in things:
        assert "\n" not in repr(thing) and len(repr(thing)) < 200
    assert repr(rec["n"]) == "SpikeTrains(1,000 spikes from 6 to 6 ms of 1,000 neurons)"
    assert repr(LIF()).startswith("LIF(tau_m=20.0, tau_syn=5.0, ")
    assert "bias=<1,000 from 0 to 0.5>" in repr(net.populations["n"].neuron)
    assert repr(SpikeTrains([], [], 3)) == "SpikeTrains(no spikes of 3 neurons)"


def test_rooms_and_the_version_are_there_after_import() -> None:
    assert evsim.plot.raster and evsim.analysis.rates and evsim.presets.brunel and evsim.simulate.simulate
    assert evsim.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        evsim.nothing  # noqa: B018

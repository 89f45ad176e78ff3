"""One network over ranks: the same bits for any number of them and of threads, saved on some and resumed on others."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import evsim
from evsim import LIF, STDP, FixedIndegree, GrazingWarning, Network, Simulation, SpikeTrains
from evsim.engine.window import exchange
from evsim.engine.window import run as window_run
from evsim.engine.window.partition import cuts_of_ranks
from evsim.errors import InputError, NetworkError
from evsim.networks.literature import preset
from evsim.ranks.threads import over_thread_ranks
from evsim.testing.strategies import small_networks
from helpers.busy import assert_bits, busy
from helpers.examples import examples

SHAPES = [(2, 1), (2, 2), (3, 1), (4, 1)]
"""Ranks, and threads of each."""


def equal_trees(a, b) -> bool:
    """The same keys, lengths, values and bits."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal_trees(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal_trees, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b


def simulated(net, t_stop, inputs=None, comm=None, **options):
    """Recording and final state."""
    sim = Simulation(net, seed=5, driver="window", comm=comm, **options)
    recording = sim.advance_to(t_stop, inputs)
    return recording, sim.state()


def assert_same_on_all_ranks(net, t_stop, inputs=None, shapes=SHAPES, on_rank=lambda comm: None):
    recording, state = simulated(net, t_stop, inputs)
    for ranks, threads in shapes:

        def work(comm, threads=threads):
            on_rank(comm)
            return simulated(net, t_stop, inputs, comm, threads=threads)

        for of_rank, state_of_rank in over_thread_ranks(ranks, work):
            assert_bits(of_rank, recording)
            assert of_rank.synaptic_events == recording.synaptic_events
            assert equal_trees(state_of_rank, state)
    return recording


@pytest.mark.parametrize(("kind", "tau_syn"), [("one", None), ("few", 5.0), ("own", (2.0, 8.0))])
def test_a_busy_network_has_the_same_bits_on_any_number_of_ranks(kind, tau_syn) -> None:
    net, x = busy(kind, tau_syn)
    assert len(assert_same_on_all_ranks(net, 25.3, {"in": x})["a"]) > 300


@pytest.mark.parametrize(("name", "scale"), [("brunel", 0.04), ("cuba", 0.1), ("microcircuit", 0.02)])
def test_networks_of_the_literature_have_the_same_bits(name, scale) -> None:
    recording = assert_same_on_all_ranks(preset(name, scale, 1), 30.0, shapes=[(2, 1), (3, 1)])
    assert sum(map(len, recording.spikes.values())) > 5


def test_a_burst_that_one_message_does_not_hold(monkeypatch) -> None:
    net = Network()
    net.add_population("a", 3 * exchange.SLOT, LIF(tau_m=10.0, t_ref=2.0, bias=1.5))
    net.add_population("b", 90, LIF(tau_m=20.0))
    net.connect("a", "b", weight=0.01, delay=1.0, rule=FixedIndegree(40))
    net.connect("b", "a", weight=-0.01, delay=1.5, rule=FixedIndegree(3))
    recording = assert_same_on_all_ranks(net, 40.0, shapes=[(2, 1), (3, 2)])
    assert np.unique(recording["a"].times).size < len(recording["a"]) / exchange.SLOT
    # As many messages, of a few spikes each: what does not fit goes by the second one.
    monkeypatch.setattr(exchange, "SLOT", 1)
    assert_same_on_all_ranks(net, 40.0, shapes=[(2, 1)])


def test_more_ranks_than_blocks_and_ranks_whose_neurons_never_spike() -> None:
    net = Network()
    net.add_population("loud", 20, LIF(tau_m=10.0, t_ref=1.0, bias=1.3))
    net.add_population("silent", 20, LIF(tau_m=10.0, bias=0.5))
    net.connect("loud", "silent", weight=0.001, delay=0.7)
    recording = assert_same_on_all_ranks(net, 30.0, shapes=[(2, 1), (4, 1), (5, 2)])
    assert len(recording["loud"]) and not len(recording["silent"])


@settings(
    max_examples=examples(25), deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
@given(data=st.data(), ranks=st.integers(2, 4))
def test_any_small_network_has_the_same_bits(data, ranks) -> None:
    d = data.draw(small_networks(recurrent=True, delays="positive", receptors=data.draw(st.integers(0, 2))))
    neurons = list(d.neurons)
    for p in range(len(d.populations)):
        first = d.neurons[d.population_range(p).start]
        for k in d.population_range(p):
            neurons[k] = neurons[k].with_(tau_m=first.tau_m, tau_syn=first.tau_syn)
    synapses = [(source, target, w, max(delay, 0.05)) for source, target, w, delay in d.synapses]
    d = type(d)(d.n_inputs, d.populations, neurons, synapses, d.input_spikes, d.t_stop)
    assume(d.t_stop > 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrazingWarning)
        assert_same_on_all_ranks(d.network()[0], d.t_stop, {"in": d.input_trains()}, shapes=[(ranks, 1)])


def test_ranks_drop_the_same_delivered_spikes(monkeypatch) -> None:
    net, x = busy("few", 5.0)
    whole, _ = simulated(net, 30.0, {"in": x})
    monkeypatch.setattr(window_run, "_MANY", 20)

    def in_chunks(comm):
        sim = Simulation(net, seed=5, driver="window", comm=comm)
        return [sim.advance_to(t, {"in": x} if t == 1.0 else None) for t in np.arange(1.0, 30.5, 1.0)], sim.state()

    results = over_thread_ranks(3, in_chunks)
    for chunks, state in results:
        assert_bits(evsim.join(chunks), whole)
        assert equal_trees(state, results[0][1])
    assert results[0][1]["engine"]["spikes"][2].size < 0.5 * sum(len(whole[name]) for name in whole)


@pytest.mark.parametrize("kind", ["one", "own"])
def test_a_state_saved_on_three_ranks_is_resumed_on_one_and_two(kind) -> None:
    net, x = busy(kind, 5.0)
    whole, end = simulated(net, 30.0, {"in": x})

    def begin(comm):
        sim = Simulation(net, seed=5, driver="window", comm=comm)
        return sim.advance_to(11.1, {"in": x}), sim.state()

    def go_on(comm, state):
        sim = Simulation(net, seed=5, driver="window", state=state, comm=comm)
        return sim.advance_to(30.0), sim.state()

    first, state = over_thread_ranks(3, begin)[0]
    resumed = [go_on(None, state), *over_thread_ranks(2, lambda comm: go_on(comm, state))]
    for second, state_at_end in resumed:
        assert_bits(evsim.join([first, second]), whole)
        assert equal_trees(state_at_end, end)
    alone = begin(None)
    assert equal_trees(alone[1], state)


def test_a_damaged_state_is_refused_on_ranks_too() -> None:
    net, x = busy("own", 5.0)
    _, state = simulated(net, 10.0, {"in": x})

    def resume(comm):
        Simulation(net, seed=5, driver="window", state=state, comm=comm)

    cells = state["engine"]["mutable"][1]
    for place, k in ((cells, 0), (state["engine"]["mutable"][2], 0), (state["engine"]["mutable"][3], 2)):
        good = place[k]
        place[k] = good[:-1]
        with pytest.raises(InputError, match="this state is damaged"):
            over_thread_ranks(2, resume)
        place[k] = good
    over_thread_ranks(2, resume)


def test_each_rank_holds_its_share_of_the_synapses() -> None:
    net = preset("brunel", 0.4, 1)
    alone = Simulation(net, driver="window").engine.synapse_bytes
    for ranks in (2, 4):
        held = over_thread_ranks(ranks, lambda comm: Simulation(net, comm=comm).engine.synapse_bytes)
        assert sum(held) == pytest.approx(alone, rel=0.01)
        assert max(held) < 1.25 * alone / ranks


@pytest.mark.parametrize(
    ("work", "ranks", "cuts"),
    [
        ([1, 1, 1, 1], 2, [0, 2, 4]),
        ([1, 1, 1, 1], 4, [0, 1, 2, 3, 4]),
        ([3, 1, 1, 1], 2, [0, 1, 4]),
        ([1, 1, 1, 9], 2, [0, 3, 4]),
        ([1], 3, [0, 0, 1, 1]),
        ([1, 1], 1, [0, 2]),
    ],
)
def test_blocks_go_to_ranks_in_stretches_of_equal_work(work, ranks, cuts) -> None:
    assert cuts_of_ranks(np.array(work, np.float64), ranks).tolist() == cuts


def test_networks_that_ranks_cannot_share_are_refused() -> None:
    def of_two(**options):
        return lambda net: over_thread_ranks(2, lambda comm: Simulation(net, comm=comm, **options))

    net = Network()
    net.add_population("a", 4, LIF())
    net.connect("a", "a", weight=0.1, delay=1.0)
    of_two()(net)
    with pytest.raises(NetworkError, match=r"2 ranks can share .* but driver='queue' was asked for"):
        of_two(driver="queue")(net)
    plastic = Network()
    plastic.add_population("a", 4, LIF())
    plastic.connect("a", "a", weight=0.1, delay=1.0, plasticity=STDP(a_plus=0.1, a_minus=0.1, w_max=1.0))
    with pytest.raises(NetworkError, match=r"but the projection 'a' to 'a' is plastic. Simulate it in one process"):
        of_two()(plastic)
    without = Network()
    without.add_population("a", 4, LIF(tau_syn=5.0))
    without.connect("a", "a", weight=0.1, delay=0.0)
    with pytest.raises(NetworkError, match="has no delay"):
        of_two()(without)


def test_ranks_that_are_given_different_things_are_told() -> None:
    net = Network(inputs={"in": 1})
    net.add_population("a", 4, LIF())
    net.connect("in", "a", weight=0.1, delay=1.0)

    def of_seed(comm):
        Simulation(net, seed=comm.rank // 2, comm=comm)

    with pytest.raises(InputError, match=r"do not agree on the seed: 0 on rank 0, 1 on rank 2 .* rank 0: 2, 3\)"):
        over_thread_ranks(4, of_seed)

    def of_input(comm):
        Simulation(net, comm=comm).advance(5.0, {"in": SpikeTrains([1.0 + comm.rank], [0], 1)})

    with pytest.raises(InputError, match="do not agree on the input spikes"):
        over_thread_ranks(2, of_input)

    def of_network(comm):
        other = net.copy() if hasattr(net, "copy") else net
        other.connect("a", "a", weight=0.1 + comm.rank, delay=1.0)
        Simulation(other, comm=comm)

    with pytest.raises(InputError, match="do not agree on the network"):
        over_thread_ranks(2, of_network)
    with pytest.raises(InputError, match="comm must be a communicator of mpi4py"):
        Simulation(net, comm=3)


def test_a_rank_that_fails_ends_the_others() -> None:
    net, x = busy("one", 5.0)

    def work(comm):
        def progress(t):
            if comm.rank == 1 and t > 10.0:
                raise KeyError("rank 1")

        Simulation(net, seed=5, driver="window", comm=comm, threads=2).advance(1000.0, {"in": x}, progress=progress)

    with pytest.raises(KeyError, match="rank 1"):
        over_thread_ranks(3, work)

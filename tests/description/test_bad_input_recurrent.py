"""Recurrent networks, Poisson drives and simulations that go on: bad input is refused, and the error says why."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy import stats

import evsim
from evsim import LIF, FixedIndegree, FixedOutdegree, FixedTotalNumber, Network, NetworkError, Simulation, SpikeTrains
from evsim.description.connectivity import AllToAll, ConnectionRule
from evsim.synapses.drives import drive_blocks

DRIVERS = ["queue", "window"]


@pytest.fixture(scope="module", autouse=True)
def drivers_are_loaded() -> None:
    """So that no test measures the time and memory of that."""
    for driver in DRIVERS:
        Simulation(recurrent(), driver=driver)


def recurrent(size: int = 100, neuron: LIF | None = None, **connection: Any) -> Network:
    """An input of 2 and a population onto itself."""
    net = Network()
    net.add_input("in", size=2)
    net.add_population("exc", size=size, neuron=neuron or LIF(tau_syn=None))
    values = {"weight": 0.1, "delay": 1.0, "rule": FixedIndegree(10)} | connection
    net.connect("exc", "exc", **values)
    return net


def input_at(*times: float) -> dict[str, SpikeTrains]:
    return {"in": SpikeTrains(times, np.zeros(len(times), np.int64), size=2)}


# ------------------------------------------------------------------------------------------------- delays


@pytest.mark.parametrize("delay", [-0.5, np.full(1000, -0.5)])
def test_a_negative_delay_is_refused(delay) -> None:
    with pytest.raises(NetworkError, match=r"connect\('exc', 'exc'\): delay must be >= 0 ms; got -0.5"):
        recurrent(delay=delay)


def test_a_negative_sparse_delay_is_refused() -> None:
    weight = scipy.sparse.eye(100, format="csr")
    with pytest.raises(NetworkError, match=r"delay must be >= 0 ms; got -1\.0"):
        recurrent(weight=weight, delay=-weight, rule=None)


@pytest.mark.parametrize("neuron", [LIF(tau_syn=None), LIF()], ids=["delta", "current"])
def test_the_window_refuses_a_recurrent_projection_without_delay_and_names_the_queue(neuron) -> None:
    net = recurrent(delay=0.0, neuron=neuron)
    with pytest.raises(NetworkError, match=r"'window' cannot run .* 'exc' to 'exc' has no delay\. Use driver='queue'"):
        Simulation(net, driver="window")


@pytest.mark.parametrize(
    "delay, rule",
    [
        (np.where(np.arange(1000) == 500, 0.0, 1.0), FixedIndegree(10)),
        (np.where(np.arange(1000) == 500, 0.0, np.arange(1000.0)), FixedIndegree(10)),
        (lambda rng, n: rng.integers(0, 3, n) * 0.5, FixedIndegree(10)),
    ],
    ids=["one of few", "one of many", "drawn"],
)
def test_the_window_refuses_a_single_synapse_without_delay(delay, rule) -> None:
    with pytest.raises(NetworkError, match=r"a synapse between neurons has no delay\. Use driver='queue'"):
        Simulation(recurrent(delay=delay, rule=rule), driver="window")


def test_auto_takes_the_queue_where_one_of_several_delays_is_zero() -> None:
    net = recurrent(delay=np.where(np.arange(1000) == 500, 0.0, 1.0), neuron=LIF())
    assert Simulation(net, driver="auto").driver == "queue"


def test_the_queue_refuses_a_cycle_of_delta_synapses_without_delay() -> None:
    with pytest.raises(NetworkError, match=r"a cycle of delta synapses without delay runs through neuron \d+ .*> 0"):
        Simulation(recurrent(delay=0.0), driver="queue")
    net = Network()
    for name in ("a", "b", "c"):
        net.add_population(name, size=3, neuron=LIF(tau_syn=None))
    for source, target in (("a", "b"), ("b", "c"), ("c", "a")):
        net.connect(source, target, weight=0.1, delay=0.0, rule=evsim.OneToOne())
    with pytest.raises(NetworkError, match="a cycle of delta synapses without delay"):
        net.simulate(1.0, driver="queue")


def test_the_window_refuses_neurons_of_different_time_constants() -> None:
    net = recurrent(neuron=LIF(tau_m=np.linspace(10.0, 20.0, 100)))
    with pytest.raises(NetworkError, match=r"the neurons of 'exc' have different time constants\. Use driver='queue'"):
        Simulation(net, driver="window")


# ------------------------------------------------------------------------------------------------ degrees


def test_without_multapses_degrees_larger_than_the_population_are_refused() -> None:
    once = {"multapses": False}
    with pytest.raises(NetworkError, match=r"indegree of 101 is larger than the population of 100 sources"):
        recurrent(rule=FixedIndegree(101, **once))
    with pytest.raises(NetworkError, match=r"outdegree of 101 is larger than the population of 100 targets"):
        recurrent(rule=FixedOutdegree(101, **once))
    with pytest.raises(NetworkError, match=r"10001 synapses are more than the 10000 pairs"):
        recurrent(rule=FixedTotalNumber(10_001, **once))
    with pytest.raises(NetworkError, match=r"indegree of 100 is larger than the population of 99 sources"):
        recurrent(rule=FixedIndegree(100, **once, autapses=False))
    for rule in (FixedIndegree(100, **once), FixedOutdegree(100, **once), FixedTotalNumber(10_000, **once)):
        recurrent(rule=rule)
    for rule in (FixedIndegree(101), FixedOutdegree(101), FixedTotalNumber(10_001)):
        recurrent(rule=rule)


@pytest.mark.parametrize("degree", [-1, 2.5, "3", None])
def test_degrees_must_be_integers_and_not_negative(degree) -> None:
    for rule, name in ((FixedIndegree, "indegree"), (FixedOutdegree, "outdegree"), (FixedTotalNumber, "synapses")):
        with pytest.raises(NetworkError, match=f"{name} must be an integer >= 0; got"):
            rule(degree)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_probabilities_must_be_probabilities(p) -> None:
    with pytest.raises(NetworkError, match=r"a probability in \[0, 1\]; got"):
        evsim.Bernoulli(p)


# ------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["weight", "delay"])
def test_values_that_are_not_finite_are_refused(name, bad) -> None:
    for value in (bad, np.where(np.arange(1000) == 7, bad, 1.0)):
        with pytest.raises(NetworkError, match=f"{name} must be finite; it holds NaN or infinity"):
            recurrent(**{name: value})


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["weight", "delay"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_drawn_values_that_are_not_finite_are_refused(driver, name, bad) -> None:
    net = recurrent(**{name: lambda rng, n: np.where(np.arange(n) == n - 1, bad, 1.0)})
    with pytest.raises(NetworkError, match=f"drawn {name} must be finite; it holds NaN or infinity"):
        Simulation(net, driver=driver)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_drawn_values_beyond_float32_are_refused(driver) -> None:
    with pytest.raises(NetworkError, match="drawn weight must be finite"):
        Simulation(recurrent(weight=lambda rng, n: np.full(n, 1e39)), driver=driver)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("delay", [stats.norm(0.5, 1.0), lambda rng, n: rng.normal(0.5, 1.0, n)])
def test_drawn_delays_below_zero_are_refused(driver, delay) -> None:
    with pytest.raises(NetworkError, match=r"drawn delays must be >= 0 ms; got -\d.*Clip or truncate the distribution"):
        Simulation(recurrent(delay=delay), driver=driver)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["weight", "delay"])
@pytest.mark.parametrize(
    "draw, shape",
    [
        (lambda rng, n: 1.0, r"\(\)"),
        (lambda rng, n: np.ones(n + 1), r"\(1001,\)"),
        (lambda rng, n: np.ones((n, 1)), r"\(1000, 1\)"),
    ],
)
def test_drawn_values_of_another_shape_are_refused(driver, name, draw, shape) -> None:
    net = recurrent(**{name: draw})
    with pytest.raises(NetworkError, match=rf"{name} was asked for 1000 values, shape .1000,.; it gave shape {shape}"):
        Simulation(net, driver=driver)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["weight", "delay"])
def test_a_number_per_synapse_must_be_there_for_each(driver, name) -> None:
    with pytest.raises(NetworkError, match=f"{name} has 999 values, but the rule made 1000 synapses"):
        Simulation(recurrent(**{name: np.linspace(1.0, 2.0, 999)}), driver=driver)


def test_a_threshold_at_or_below_reset_is_refused() -> None:
    for v_th in (0.0, -1.0, np.linspace(-0.5, 1.0, 100)):
        with pytest.raises(ValueError, match="v_reset must be below v_th, or the neuron would fire without end"):
            LIF(tau_syn=None, v_th=v_th)


# ------------------------------------------------------------------------------------------------- memory


def huge(n_pre: int, n_post: int, rule: ConnectionRule | None, **values: Any) -> Network:
    net = Network()
    net.add_input("in", size=n_pre)
    net.add_population("exc", size=n_post, neuron=LIF(tau_syn=None))
    net.connect("in", "exc", rule=rule, **({"weight": 0.1, "delay": 1.0} | values))
    return net


TOO_LARGE: dict[str, Callable[[], Network]] = {
    "indegree": lambda: huge(10**9, 300, FixedIndegree(10**9)),
    "outdegree": lambda: huge(10**9, 300, FixedOutdegree(300)),
    "total": lambda: huge(1000, 1000, FixedTotalNumber(10**12)),
    "bernoulli": lambda: huge(10**10, 300, evsim.Bernoulli(0.1)),
    "all": lambda: huge(10**10, 300, None),
    "own values": lambda: huge(10**10, 300, AllToAll(), weight=stats.norm(), delay=stats.uniform()),
}


def forbid_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the check is broken, the test must not fill the memory."""

    def drawn(*_: Any) -> None:
        pytest.fail("synapses were drawn before the memory was checked")

    names = (
        "engine.window.packing.SynapseSampler",
        "synapses.flat_network.sample_synapses",
        "engine.cells.sample_synapses",
    )
    for name in names:
        monkeypatch.setattr(f"evsim.{name}", drawn)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_network_too_large_for_the_memory_is_refused_at_once(driver, name, monkeypatch) -> None:
    """Before anything is drawn: quickly, and with the figures."""
    forbid_drawing(monkeypatch)
    net = TOO_LARGE[name]()
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(NetworkError, match=r"would take about \S+ GiB, but \S+ GiB of memory are free. Use fewer"):
        Simulation(net, driver=driver)
    took, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 0.5 and peak < 2**20


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_large_population_is_refused_before_its_neurons_are_laid_out(driver, monkeypatch) -> None:
    forbid_drawing(monkeypatch)
    net = Network()
    net.add_population("exc", size=10**6, neuron=LIF(tau_syn=None))
    net.connect("exc", "exc", weight=0.1, delay=1.0, rule=FixedIndegree(10**6))
    tracemalloc.start()
    with pytest.raises(NetworkError, match=r"would take about \S+ GiB"):
        Simulation(net, driver=driver)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def with_free_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("evsim.memory.psutil.virtual_memory", lambda: SimpleNamespace(available=free))


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_memory_that_is_free_decides(driver, monkeypatch) -> None:
    net = huge(1000, 1000, FixedIndegree(1000))
    with_free_memory(monkeypatch, 2**20)
    with pytest.raises(NetworkError, match=r"1e\+06 synapses would take .* GiB, but 0\.000977 GiB of memory are free"):
        Simulation(net, driver=driver)
    with_free_memory(monkeypatch, 2**30)
    Simulation(net, driver=driver)


@pytest.mark.parametrize("driver", DRIVERS)
def test_neurons_count_too(driver, monkeypatch) -> None:
    net = Network()
    net.add_population("exc", size=100_000, neuron=LIF(tau_syn=None))
    with_free_memory(monkeypatch, 2**20)
    with pytest.raises(NetworkError, match="would take about"):
        Simulation(net, driver=driver)


MADE = {
    "indegree": lambda: huge(1000, 1000, FixedIndegree(500)),
    "outdegree": lambda: huge(60_000, 60_000, FixedOutdegree(1)),
    "all": lambda: huge(2000, 300, AllToAll()),
}


@pytest.mark.parametrize(
    "name, driver",
    [
        ("indegree", "queue"),
        ("indegree", "window"),
        ("outdegree", "queue"),
        ("outdegree", "window"),
        ("all", "queue"),
        ("all", "window"),
    ],
)
def test_making_a_network_takes_about_the_memory_that_was_asked_for(name, driver, monkeypatch) -> None:
    """At most twice that, and 16 MiB."""
    net = MADE[name]()
    asked: list[float] = []
    for room in ("engine.window.packing", "synapses.flat_network"):
        monkeypatch.setattr(f"evsim.{room}.check_memory", lambda need, what: asked.append(need))
    tracemalloc.start()
    Simulation(net, driver=driver)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.0 * asked[0] + 2**24


# ------------------------------------------------------------------------------------------ Poisson drives


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("alone", [True, False])
def test_rates_must_be_finite_and_not_negative(bad, alone) -> None:
    rate = bad if alone else np.where(np.arange(100) == 9, bad, 5.0)
    with pytest.raises(NetworkError, match=r"add_poisson\('exc'\): rates must be finite(;| and >= 0 Hz; got)"):
        recurrent().add_poisson("exc", rate=rate, weight=0.1)


@pytest.mark.parametrize("rate_max", [-1.0, math.nan, math.inf])
def test_the_bound_of_a_rate_must_be_finite_and_not_negative(rate_max) -> None:
    with pytest.raises(NetworkError, match="rate_max must be finite and >= 0 Hz; got"):
        recurrent().add_poisson("exc", rate=np.sin, weight=0.1, rate_max=rate_max)


def test_the_bound_of_a_rate_is_one_number() -> None:
    with pytest.raises(NetworkError, match="rate_max"):
        recurrent().add_poisson("exc", rate=np.cos, weight=0.1, rate_max=np.full(100, 5.0))


def test_a_rate_that_is_a_function_needs_a_bound() -> None:
    with pytest.raises(NetworkError, match="a rate that is a function of time needs rate_max, a bound in Hz"):
        recurrent().add_poisson("exc", rate=np.sin, weight=0.1)


@pytest.mark.parametrize("target", ["nobody", "in"])
def test_a_drive_needs_a_population(target) -> None:
    with pytest.raises(NetworkError, match=f"drives a population; there is none named '{target}'. Known: exc"):
        recurrent().add_poisson(target, rate=1.0, weight=0.1)
    with pytest.raises(NetworkError, match="Known: none yet"):
        Network().add_poisson(target, rate=1.0, weight=0.1)


@pytest.mark.parametrize("rate", [np.ones(99), np.ones(1), [1.0, 2.0]])
def test_rates_of_another_shape_are_refused(rate) -> None:
    with pytest.raises(NetworkError, match=r"rate must be a number or have shape \(100,\); got \(\d+,\)"):
        recurrent().add_poisson("exc", rate=rate, weight=0.1)
    with pytest.raises(NetworkError, match=r"rates must be finite|rate must be a number or have shape"):
        recurrent().add_poisson("exc", rate=np.ones((100, 2)), weight=0.1)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_the_weight_of_a_drive_must_be_finite(weight) -> None:
    with pytest.raises(NetworkError, match=r"add_poisson\('exc'\): weight must be finite; got"):
        recurrent().add_poisson("exc", rate=1.0, weight=weight)


def test_a_rate_too_high_for_a_cell_is_refused() -> None:
    """Cells are shorter where rates are high, so only the blocks themselves can be asked for too much."""
    net = recurrent()
    net.add_poisson("exc", rate=1e9, weight=0.1)
    with pytest.raises(
        NetworkError, match=r"1e\+08 events in 1 ms onto 100 neurons are too many \(at most 8388608\). Use a lower rate"
    ):
        drive_blocks(net.drives[0], 0, 100, 1, 1.0)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("rate", [lambda t: 20.0 + 0.0 * t, lambda t: -1.0 + 0.0 * t, lambda t: math.nan * t])
def test_a_rate_outside_its_bound_stops_the_run(driver, rate) -> None:
    net = recurrent()
    net.add_poisson("exc", rate=rate, weight=0.1, rate_max=10.0)
    with pytest.raises(ValueError, match=r"outside \[0, rate_max = 10.0\]. Give a rate_max that bounds it"):
        Simulation(net, driver=driver).advance(100.0)


# --------------------------------------------------------------------------------------------- simulations


def test_an_unknown_driver_is_refused() -> None:
    for driver in ("grid", "sweep", None):
        with pytest.raises(ValueError, match="driver must be one of auto, queue, window; got"):
            Simulation(recurrent(), driver=driver)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_simulation_needs_a_thread_and_a_population(driver) -> None:
    with pytest.raises(ValueError, match="threads must be >= 1; got 0"):
        Simulation(recurrent(), threads=0, driver=driver)
    with pytest.raises(NetworkError, match="the network has no population to simulate; add one with add_population"):
        Simulation(Network(), driver=driver)


@pytest.mark.parametrize("numbers", [[100], [-1], [0, 5, 100]])
def test_neurons_to_record_must_exist(numbers) -> None:
    with pytest.raises(ValueError, match=r"record: neurons of 'exc' are 0 \.\.\. 99; got"):
        Simulation(recurrent(), record={"exc": numbers})


@pytest.mark.parametrize("name", ["nobody", "in"])
def test_populations_to_record_must_exist(name) -> None:
    with pytest.raises(ValueError, match=f"record names '{name}'; populations are exc"):
        Simulation(recurrent(), record={name: [0]})


@pytest.mark.parametrize("numbers", [[2.7], np.arange(100) % 2 == 0])
def test_neurons_to_record_must_be_integers(numbers) -> None:
    with pytest.raises(ValueError, match="record"):
        Simulation(recurrent(), record={"exc": numbers})


@pytest.mark.parametrize("driver", DRIVERS)
def test_input_before_the_time_reached_is_refused(driver) -> None:
    sim = Simulation(recurrent(), driver=driver)
    with pytest.raises(ValueError, match=r"input 'in' has a spike at -0\.5 ms; the simulation starts at 0 ms"):
        sim.advance(5.0, input_at(-0.5))
    sim.advance(5.0, input_at(0.0, 7.0))
    with pytest.raises(ValueError, match=r"'in' has a spike at 4\.9 ms; the simulation starts at 5 ms: shift the"):
        sim.advance(5.0, input_at(4.9, 8.0))
    assert sim.time == 5.0
    sim.advance(5.0, input_at(5.0))


@pytest.mark.parametrize("driver", DRIVERS)
def test_unknown_inputs_and_inputs_of_another_size_are_refused(driver) -> None:
    sim = Simulation(recurrent(), driver=driver)
    with pytest.raises(ValueError, match="'exc', which is no input of this network; inputs: in"):
        sim.advance(1.0, {"exc": SpikeTrains([], [], size=100)})
    with pytest.raises(ValueError, match="input 'in' has size 2, but its spike trains have size 3"):
        sim.advance(1.0, {"in": SpikeTrains([], [], size=3)})


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("duration", [0.0, -1.0, math.nan, math.inf])
def test_a_simulation_advances_by_a_finite_time_above_zero(driver, duration) -> None:
    sim = Simulation(recurrent(), driver=driver)
    with pytest.raises(ValueError, match="duration must be finite and > 0 ms; got"):
        sim.advance(duration)
    sim.advance(2.0)
    for stop in (2.0, 1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"the end must be finite and after the time reached, 2\.0 ms; got"):
            sim.advance_to(stop)


@pytest.mark.parametrize("chunk", [0.0, -1.0, math.nan, math.inf])
def test_chunks_are_finite_and_longer_than_zero(chunk) -> None:
    with pytest.raises(ValueError, match="chunk must be finite and > 0 ms; got"):
        next(recurrent().run(10.0, chunk))


# -------------------------------------------------------------------------------------------------- states


def state_of(net: Network, **options: Any) -> dict[str, Any]:
    sim = Simulation(net, **options)
    sim.advance(3.0)
    return sim.state()


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_state_of_another_seed_is_refused(driver) -> None:
    state = state_of(recurrent(), seed=1, driver=driver)
    with pytest.raises(ValueError, match=r"belongs to another simulation: its seed is 1, here it is 2\. Resume with"):
        Simulation(recurrent(), seed=2, driver=driver, state=state)


def test_a_state_of_another_driver_is_refused() -> None:
    for mine, other in (("queue", "window"), ("window", "queue")):
        state = state_of(recurrent(), driver=other)
        with pytest.raises(ValueError, match=f"its driver is {other}, here it is {mine}"):
            Simulation(recurrent(), driver=mine, state=state)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_state_of_a_network_of_other_synapses_is_refused(driver) -> None:
    state = state_of(recurrent(), driver=driver)
    with pytest.raises(ValueError, match="its synapses is 1000, here it is 1100"):
        Simulation(recurrent(rule=FixedIndegree(11)), driver=driver, state=state)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_state_of_a_network_of_other_neurons_is_refused(driver) -> None:
    state = state_of(recurrent(rule=FixedTotalNumber(500)), driver=driver)
    with pytest.raises(ValueError, match="belongs to another simulation"):
        Simulation(recurrent(size=1000, rule=FixedTotalNumber(500)), driver=driver, state=state)


# ---------------------------------------------------------------------------------------------- recordings


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_voltage_of_a_later_chunk_is_refused(driver) -> None:
    sim = Simulation(recurrent(), driver=driver)
    first, second = sim.advance(5.0), sim.advance(5.0)
    first.voltage("exc", 0, [1.0])
    with pytest.raises(ValueError, match=r"this chunk begins at 5.0 ms; join the chunks first \(evsim.join\)"):
        second.voltage("exc", 0, [7.0])
    evsim.join([first, second]).voltage("exc", 0, [7.0])


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_voltage_of_a_partial_recording_is_refused(driver) -> None:
    rec = recurrent().simulate(5.0, input_at(), record={"exc": [3]}, driver=driver)
    with pytest.raises(ValueError, match="replayed from all spikes, but not all were recorded; leave out record="):
        rec.voltage("exc", 3, [1.0])


def test_chunks_with_a_gap_or_out_of_order_are_not_joined() -> None:
    chunks = list(recurrent().run(9.0, 3.0))
    with pytest.raises(ValueError, match=r"a chunk ends at 3.0 ms, but the next begins at 6.0 ms; pass all, in order"):
        evsim.join([chunks[0], chunks[2]])
    with pytest.raises(ValueError, match=r"a chunk ends at 6\.0 ms, but the next begins at 0\.0 ms"):
        evsim.join([chunks[1], chunks[0]])
    with pytest.raises(ValueError, match="there are no chunks to join"):
        evsim.join([])

"""Every door for numbers: units are converted or refused, ids never wrap, what is no number is told in a sentence."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import evsim
from evsim import LIF, FixedIndegree, Network, NetworkError, Simulation, SpikeBatch, SpikeTrains, analysis, encode, plot
from evsim.checks import numbers
from evsim.synapses import flat_network

NO_SPIKES = SpikeTrains([], [], 2)


def network() -> Network:
    net = Network()
    net.add_input("i", 2)
    net.add_population("n", 3, LIF(t_ref=1.0))
    net.connect("i", "n", weight=9.0, delay=1.0)
    return net


def recording() -> evsim.Recording:
    return network().simulate(20.0, {"i": SpikeTrains([1.0, 5.0], [0, 1], 2)})


FACTORS = {"ms": 1.0, "second": 1e3, "Hz": 1.0, "kHz": 1e3}


class Pint:
    """As pint's quantities: ``to`` and ``magnitude``, and an array protocol that drops the unit."""

    def __init__(self, magnitude: Any, units: str) -> None:
        self.magnitude, self.units = magnitude, units

    def to(self, unit: str) -> Pint:
        if unit == "dimensionless" or (unit == "ms") != (self.units in ("ms", "second")):
            raise TypeError(f"cannot convert {self.units} to {unit}")
        return Pint(np.asarray(self.magnitude) * FACTORS[self.units] / FACTORS[unit], unit)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.magnitude, dtype=dtype)


class Astropy(Pint):
    """As astropy's: ``unit`` and ``to_value``."""

    def __init__(self, magnitude: Any, unit: str) -> None:
        self.magnitude, self.unit, self._pint = magnitude, unit, Pint(magnitude, unit)

    def to_value(self, unit: str) -> Any:
        return self._pint.to(unit or "dimensionless").magnitude

    to = property()  # type: ignore[assignment]


def seconds(kind: str, values: Any) -> Any:
    if kind == "quantities":
        pq = pytest.importorskip("quantities")
        return values * pq.s
    if kind == "neo":
        neo = pytest.importorskip("neo")
        return neo.SpikeTrain(np.atleast_1d(values), units="s", t_stop=1e3)
    if kind == "timedelta64":
        return (1000 * np.asarray(values)).astype("m8[ms]")
    if kind == "timedelta":
        made = [datetime.timedelta(seconds=v) for v in np.ravel(values)]
        return made if np.ndim(values) else made[0]
    if kind == "list":
        return [Pint(v, "second") for v in values] if np.ndim(values) else Pint(values, "second")
    return {"pint": Pint, "astropy": Astropy}[kind](values, "second")


KINDS = ["quantities", "timedelta64", "timedelta", "list", "pint", "astropy"]


@pytest.mark.parametrize("kind", [*KINDS, "neo"])
def test_spike_times_with_a_unit_are_converted(kind) -> None:
    assert SpikeTrains(seconds(kind, np.array([0.5, 1.0])), [0, 1], 2).times.tolist() == [500.0, 1000.0]
    assert SpikeBatch(seconds(kind, np.array([0.5, 1.0])), [0, 1], [0, 2], 2).times.tolist() == [500.0, 1000.0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_time_with_a_unit_is_converted(kind) -> None:
    t = seconds(kind, 0.02)
    assert LIF(tau_m=t, tau_syn=(t, t), t_ref=t) == LIF(tau_m=20.0, tau_syn=(20.0, 20.0), t_ref=20.0)
    net = network()
    net.connect("i", "n", weight=1.0, delay=t)
    assert net.projections[1].delay == 20.0
    x = {"i": NO_SPIKES}
    assert network().simulate(t, x).t_stop == 20.0
    assert [r.t_stop for r in network().run(t, seconds(kind, 0.01), x)] == [10.0, 20.0]
    assert Simulation(network()).advance(t).t_stop == 20.0
    rec = recording()
    assert np.array_equal(rec.voltage("n", 0, seconds(kind, np.array([0.002, 0.01]))), rec.voltage("n", 0, [2.0, 10.0]))
    assert encode.latency([0.5], t).times.tolist() == [10.0]
    assert encode.linear([1.0], 1.0, t).times.tolist() == [20.0]
    assert len(encode.regular([100.0], t)) == 2 and encode.poisson([900.0], t) == encode.poisson([900.0], 20.0)
    assert encode.with_spike(SpikeBatch.from_trains([NO_SPIKES]), t).times.tolist() == [20.0]
    assert np.array_equal(analysis.rates(rec["n"], t), analysis.rates(rec["n"], 20.0))
    assert analysis.population_rate(rec["n"], t, seconds(kind, 0.01))[0].tolist() == [0.0, 10.0, 20.0]


def test_rates_with_a_unit_are_converted() -> None:
    net = network()
    net.add_poisson("n", rate=Pint(np.ones(3), "kHz"), weight=1.0)
    net.add_poisson("n", rate=lambda t: 5.0 + 0.0 * t, rate_max=Pint(2.0, "kHz"), weight=1.0)
    assert net.drives[0].rate.tolist() == [1000.0] * 3 and net.drives[1].rate_max == 2000.0
    assert encode.poisson(Pint([0.9], "kHz"), 20.0) == encode.poisson([900.0], 20.0)


UNITS_REFUSED: dict[str, Callable[[Any], Any]] = {
    "v_th": lambda q: LIF(v_th=q),
    "v_reset": lambda q: LIF(v_reset=q, v_th=1e9),
    "v_rest": lambda q: LIF(v_rest=q),
    "bias": lambda q: LIF(bias=[q, q]),
    "v_init": lambda q: LIF(v_init=q),
    "weight": lambda q: network().connect("i", "n", weight=q),
    "drive": lambda q: network().add_poisson("n", rate=1.0, weight=q),
    "neurons": lambda q: SpikeTrains([1.0], [q], 2),
    "values": lambda q: encode.latency([q], 10.0),
    "currents": lambda q: encode.analog_current([q], [[1.0]]),
}


@pytest.mark.parametrize("door", UNITS_REFUSED)
def test_a_unit_where_none_is_meant_is_refused(door) -> None:
    for value in (Pint(1.0, "ms"), Astropy(1.0, "kHz"), np.timedelta64(1, "ms"), datetime.timedelta(1)):
        with pytest.raises(ValueError, match=r"must be plain numbers; got .*divide by it"):
            UNITS_REFUSED[door](value)
    pq = pytest.importorskip("quantities")
    with pytest.raises(ValueError, match="must be plain numbers; got the unit 'mV'"):
        UNITS_REFUSED[door](1.0 * pq.mV)


def test_a_unit_that_is_no_time_is_refused() -> None:
    for bad in (Pint(1.0, "Hz"), Astropy(1.0, "kHz")):
        with pytest.raises(ValueError, match=r"t_ref must be in ms; got the unit '.?Hz', which cannot be converted"):
            LIF(t_ref=bad)
    with pytest.raises(ValueError, match="rates must be in Hz; got a duration"):
        encode.poisson(np.array([1], "m8[s]"), 10.0)
    with pytest.raises(ValueError, match="must be finite"):
        SpikeTrains(np.array(["NaT"], "m8[s]"), [0], 1)


# ------------------------------------------------------------------------------------------------- numbers

BAD = ["1.0", True, None, 1j, np.nan, np.inf, -np.inf, 1e200, [[1.0], [1.0, 2.0]], np.datetime64("2020"), {}, object()]
NUMBERS: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, name=name: LIF(**{name: x}) for name in ("tau_m", "v_th", "v_reset", "v_rest", "t_ref", "bias")},
    "tau_syn": lambda x: LIF(tau_syn=(5.0, x)),
    "spike times": lambda x: SpikeTrains([np.inf if x == 1e200 else x], [0], 1),
    "currents": lambda x: SpikeBatch([1.0], [0], [0, 1], 1, [x]),
    "weight": lambda x: network().connect("i", "n", weight=x),
    "delay": lambda x: network().connect("i", "n", weight=1.0, delay=x),
    "weights": lambda x: network().connect("i", "n", weight=np.full((2, 3), x)),
    "rate": lambda x: network().add_poisson("n", rate=x, weight=1.0),
    "drive": lambda x: network().add_poisson("n", rate=1.0, weight=x),
    "t_stop": lambda x: network().simulate(x, {"i": NO_SPIKES}),
    "chunk": lambda x: next(network().run(1.0, x, {"i": NO_SPIKES})),
    "duration": lambda x: Simulation(network()).advance(x),
    "voltage": lambda x: recording().voltage("n", 0, [x]),
    "poisson": lambda x: encode.poisson([x], 10.0),
    "poisson duration": lambda x: encode.poisson([1.0], x),
    "latency": lambda x: encode.latency([x], 10.0),
    "threshold": lambda x: encode.latency([1.0], 10.0, threshold=x),
    "early": lambda x: encode.linear([1.0], x, 10.0),
    "phase": lambda x: encode.regular([1.0], 10.0, phase=x),
    "analog": lambda x: encode.analog_current([x], [[1.0]]),
    "bin": lambda x: analysis.population_rate(NO_SPIKES, 10.0, x),
    "interval": lambda x: analysis.rates(NO_SPIKES, x),
    "siegert": lambda x: analysis.siegert_rate(x, 1.0, 20.0, 20.0, 0.0, 2.0),
    "raster": lambda x: plot.raster({"n": NO_SPIKES}, x) if x is not None else plot.raster({}, x),
}


@pytest.mark.parametrize("door", NUMBERS)
@pytest.mark.parametrize("bad", BAD, ids=lambda x: "object" if type(x) is object else repr(x))
def test_what_is_no_number_is_refused_in_a_sentence(door, bad) -> None:
    with pytest.raises(ValueError, match=r"[a-z].* .*\.$"):
        NUMBERS[door](bad)


@pytest.mark.parametrize("driver", ["queue", "window"])
@pytest.mark.parametrize(
    "rate, words",
    [
        (lambda t: 100.0 if t < 50.0 else 20.0, r"must take an array of times .* np\.where"),
        (lambda t: np.outer(t, [1.0, 2.0]), r"must give one rate for each of \d+ times; it gave shape"),
    ],
)
def test_a_rate_function_that_takes_no_array_is_told(driver, rate, words) -> None:
    net = Network()
    net.add_population("n", 2, LIF())
    net.add_poisson("n", rate=rate, rate_max=1e4, weight=1.0)
    with pytest.raises(NetworkError, match=rf"add_poisson\('n'\): the rate function {words}"):
        net.simulate(10.0, driver=driver)


def test_masked_numbers_are_refused() -> None:
    times = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    with pytest.raises(ValueError, match="times has masked entries"):
        SpikeTrains(times, [0, 0], 1)
    assert SpikeTrains(np.ma.masked_array([1.0]), [0], 1).times.tolist() == [1.0]


def test_the_place_of_a_bad_number_is_told() -> None:
    with pytest.raises(ValueError, match=r"w must be finite; it holds NaN or infinity: w\[1, 2\] is nan\."):
        numbers("w", [[1.0, 2.0, 3.0], [1.0, 2.0, np.nan]])
    with pytest.raises(ValueError, match=r"w must be at most 1e\+150 in size; w\[0\] is -1e\+151\. .*another unit"):
        numbers("w", [-1e151])


# --------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("n", [2**31, 2**32 + 1, 720575940621039145])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_ids_that_do_not_fit_are_refused(n, dtype) -> None:
    with pytest.raises(ValueError, match=r"at most 2\^31 - 1 = 2147483647.*np\.unique\(ids, return_inverse=True\)"):
        SpikeTrains([0.0], np.array([n], dtype), n + 1)
    with pytest.raises(ValueError, match="32 bits"):
        SpikeBatch([0.0], np.array([n], dtype), [0, 1], n + 1)
    with pytest.raises(ValueError, match=f"index {n} is out of range"):
        SpikeTrains([0.0], np.array([n], dtype), 5)
    with pytest.raises(ValueError, match="record: neurons of 'n' are 0"):
        network().simulate(1.0, {"i": NO_SPIKES}, record={"n": np.array([n], dtype)})
    with pytest.raises(IndexError, match=f"neuron {n} asked for"):
        recording().voltage("n", np.array([n], dtype), [1.0])


def test_the_largest_id_is_kept() -> None:
    assert SpikeTrains([0.0], np.array([2**31 - 2], np.uint64), 2**31 - 1).neurons.tolist() == [2**31 - 2]


def test_more_neurons_than_32_bits_can_number_are_refused(monkeypatch) -> None:

    monkeypatch.setattr(flat_network, "MOST", 4)
    with pytest.raises(NetworkError, match="at most 4 inputs and neurons; this one has 5"):
        Simulation(network())


@pytest.mark.parametrize("offsets", [[0.0, 1.0], ["0", "1"], [0, 2**63], [0, 1.5], [False, True]])
def test_offsets_are_integers(offsets) -> None:
    with pytest.raises(ValueError, match="offsets"):
        SpikeBatch([1.0], [0], np.array(offsets), 1)


@pytest.mark.parametrize("currents", [[1.0, 2.0], [], 1.0, [[1.0]]])
def test_there_is_one_current_for_each_spike(currents) -> None:
    with pytest.raises(ValueError, match="currents must have one value per spike"):
        SpikeBatch([1.0], [0], [0, 1], 1, currents)


@pytest.mark.parametrize("keys", [[0.5], [True], ["a"], [2**65]])
def test_keys_of_random_streams_are_integers(keys) -> None:
    with pytest.raises(ValueError, match="keys must be integers"):
        encode.poisson([[5.0]], 10.0, keys=keys)
    large = encode.poisson([[900.0]], 10.0, keys=np.array([2**64 - 1], np.uint64))
    assert large == encode.poisson([[900.0]], 10.0, keys=[-1]) != encode.poisson([[900.0]], 10.0, keys=[1])


# ---------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("option", ["seed", "threads"])
@pytest.mark.parametrize("bad", [-1, 1.5, "1", None, True, np.nan])
@pytest.mark.parametrize("driver", ["queue", "window", "sweep"])
def test_seeds_and_threads_are_whole_numbers(option, bad, driver) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be .*>= [01]; got"):
        network().simulate(1.0, {"i": NO_SPIKES}, driver=driver, **{option: bad})


@pytest.mark.parametrize("driver", ["queue", "window", "sweep", "auto"])
def test_every_driver_records_what_is_asked_for(driver) -> None:
    spikes = {"i": SpikeTrains([1.0, 5.0, 9.0], [0, 1, 0], 2)}
    whole = network().simulate(20.0, spikes, driver=driver)
    rec = network().simulate(20.0, spikes, driver=driver, record={"n": [0, 2]})
    kept = whole["n"].neurons != 1
    assert rec["n"] == SpikeTrains(whole["n"].times[kept], whole["n"].neurons[kept], 3) and len(rec["n"]) > 0
    assert np.array_equal(rec.currents["n"], whole.currents["n"][kept])
    assert whole.complete and not rec.complete and network().simulate(1.0, spikes, driver=driver, record={}).complete
    for record, words in (
        ({"nobody": [99]}, "record names 'nobody'; populations are n"),
        ({"n": [3]}, r"neurons of 'n' are 0 \.\.\. 2"),
        ({"n": [0.0]}, "their numbers, integers"),
        ({"n": [True]}, "their numbers, integers"),
        (["n"], r"record must map populations .* got \['n'\]"),
        ("n", "record must map populations"),
    ):
        with pytest.raises(ValueError, match=words):
            network().simulate(20.0, spikes, driver=driver, record=record)


@pytest.mark.parametrize("driver", ["queue", "window", "sweep"])
def test_every_driver_tells_its_progress(driver) -> None:
    reached: list[float] = []
    network().simulate(20.0, {"i": NO_SPIKES}, driver=driver, progress=reached.append)
    assert reached[-1] == 20.0


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: network().simulate(1.0, {"i": np.ones(2)}), r"input 'i' needs evsim\.SpikeTrains; got ndarray"),
        (lambda: network().simulate(1.0, NO_SPIKES), "inputs must be a mapping"),
        (lambda: network().connect("i", "n", weight=1.0, rule="indegree"), r"rule must be .* got 'indegree'"),
        (lambda: network().connect("i", "n", weight=1.0, plasticity="stdp"), r"plasticity must be evsim\.STDP"),
        (lambda: network().add_population("m", 2, "LIF"), r"population 'm' needs neuron = LIF\(\.\.\.\); got 'LIF'"),
        (lambda: network().add_population("m", True, LIF()), "integer size >= 1; got True"),
        (lambda: network().add_population(3, 2, LIF()), "names of inputs and populations are text; got 3"),
        (lambda: network().add_poisson("n", rate=1.0, weight=np.ones(3)), r"weight must be one number; got shape .3,"),
        (lambda: LIF(v_th=np.ones(2), bias=np.zeros(3)), "equally many; v_th has 2, bias has 3"),
        (lambda: LIF(keep_refractory_input="no"), "True or False; got 'no'"),
        (lambda: LIF(tau_syn=[5.0, 10.0]), r"two things.*tuple \(5\.0, 10\.0\).*np\.array\(\[5\.0, 10\.0\]\)"),
        (lambda: plot.raster({}, 10.0), "there is no population to draw"),
        (lambda: plot.raster({"n": NO_SPIKES}), "t_stop is needed"),
        (lambda: plot.raster(NO_SPIKES, 10.0), r"spikes must be a recording, or"),
        (lambda: plot.rates({}, 10.0), "there is no population to draw"),
        (lambda: plot.voltage(recording(), "n", []), "at least one neuron must be drawn"),
        (lambda: analysis.rates([1.0, 2.0], 10.0), "SpikeTrains are needed"),
        (lambda: encode.poisson([1e18], 1e9), "spikes, as many as these rates give .* would take about"),
        (lambda: encode.regular(np.full(9, 1e18), 1e9), "would take about"),
        (lambda: encode.analog_current([1e149] * 40, np.full((40, 1), 1e149)), "values @ weight must be"),
        (lambda: recording().voltage("n", [[0]], [1.0]), "a number or a list of numbers"),
        (lambda: recording().voltage("n", 0.5, [1.0]), "neuron must be integers"),
        (lambda: recording().synapses(1.5), "number must be an integer"),
    ],
)
def test_what_does_not_fit_a_door_is_told_in_a_sentence(call, words) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_a_sparse_matrix_keeps_the_order_of_its_entries_and_its_type_is_checked() -> None:
    import scipy.sparse

    coo = scipy.sparse.coo_array(([1.0, 2.0, 3.0], ([1, 0, 1], [2, 0, 2])), shape=(2, 3))
    net = network()
    net.connect("i", "n", weight=coo, delay=1.0)
    assert net.projections[1].weight.data.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(NetworkError, match="weight must be a number, or hold numbers; got booleans"):
        net.connect("i", "n", weight=coo.astype(bool))


# --------------------------------------------------------------------------------------------- voltages


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_voltages_of_several_neurons_are_those_of_each(driver) -> None:
    net = Network()
    net.add_input("i", 3)
    net.add_population("n", 1100, LIF(tau_m=20.0, tau_syn=(3.0, 6.0), t_ref=1.0, v_init=np.linspace(0.0, 0.5, 1100)))
    net.connect("i", "n", weight=np.random.default_rng(1).normal(1.0, 1.0, (3, 1100)), delay=1.0)
    net.connect("n", "n", weight=-0.2, delay=1.5, rule=FixedIndegree(7))
    net.add_poisson("n", rate=300.0, weight=0.5)
    rec = net.simulate(30.0, {"i": encode.poisson(np.full(3, 200.0), 30.0)}, driver=driver)
    neurons, times = [3, 1099, 600, 3], np.array([[29.0, 0.0], [7.5, 30.0]])
    many = rec.voltage("n", neurons, times)
    assert many.shape == (4, 2, 2) and rec.voltage("n", [], times).shape == (0, 2, 2)
    assert np.array_equal(many, np.stack([rec.voltage("n", k, times) for k in neurons]))
    assert rec.voltage("n", np.int64(3), 29.0) == many[0, 0, 0]

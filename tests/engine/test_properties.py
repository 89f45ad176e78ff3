"""What holds for every network: symmetries under which spikes change in a known way or not at all."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

import evsim
from evsim import LIF, Network, SpikeTrains
from evsim.testing.strategies import lif_parameters, peak_of_unit_psp, spike_trains
from helpers.examples import examples

T_STOP = 40.0
N_IN = 3
DRIVERS = st.sampled_from(["queue", "window", "sweep"])
UNCUT = st.sampled_from(["queue", "sweep"])
"""The window engine cuts time into cells whose length does not scale: there the last bits may differ."""
ULPS = 1e-13  # ms

quick = settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def layers(draw, size: int = 3) -> tuple[LIF, np.ndarray, SpikeTrains]:
    """One neuron model for all, a (N_IN, size) weight matrix, and input spikes."""
    lif = draw(lif_parameters())
    unit = float(lif.v_th - lif.v_rest) / peak_of_unit_psp(lif)
    weight = [[draw(st.floats(-1.0, 2.0)) * unit for _ in range(size)] for _ in range(N_IN)]
    return lif, np.array(weight), draw(spike_trains(N_IN, T_STOP))


def run(lif, weight, spikes, driver, t_stop=T_STOP, delay=1.0, recurrent=None):
    """Spikes of a layer, with recurrent (weight, delay) if given; grazing cases are rejected."""
    net = Network()
    net.add_input("in", size=weight.shape[0])
    net.add_population("out", size=weight.shape[1], neuron=lif)
    net.connect("in", "out", weight=weight, delay=delay)
    if recurrent is not None:
        net.connect("out", "out", weight=recurrent[0], delay=recurrent[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", evsim.GrazingWarning)
        rec = net.simulate(t_stop, inputs={"in": spikes}, driver=driver)
    if rec.grazing:
        reject()
    return rec["out"]


def assert_same(found: SpikeTrains, expected: SpikeTrains, shift: float = 0.0, close: float = ULPS) -> None:
    for k in range(expected.size):
        assert found.of(k).size == expected.of(k).size
        np.testing.assert_allclose(found.of(k), expected.of(k) + shift, rtol=0.0, atol=close)


@quick
@given(layer=layers(), driver=DRIVERS)
def test_spikes_come_out_in_order_of_time_then_neuron(layer, driver) -> None:
    out = run(*layer, driver)
    gaps = np.diff(out.times)
    assert np.all(gaps >= 0.0)
    assert np.all(np.diff(out.neurons)[gaps == 0.0] >= 0)
    assert np.all((out.times >= 0.0) & (out.times < T_STOP))


@quick
@given(layer=layers(), driver=DRIVERS)
def test_spikes_of_a_neuron_are_a_refractory_time_apart(layer, driver) -> None:
    lif = layer[0]
    out = run(*layer, driver)
    for k in range(out.size):
        assert np.all(np.diff(out.of(k)) >= lif.t_ref - ULPS)


@quick
@given(layer=layers(), null=spike_trains(2, T_STOP, max_spikes=30), driver=DRIVERS)
def test_inputs_of_weight_zero_change_nothing(layer, null, driver) -> None:
    """They split the flow into more steps, which may move a spike by a few last bits."""
    lif, weight, spikes = layer
    times = np.concatenate([spikes.times, null.times])
    more = SpikeTrains(times, np.concatenate([spikes.neurons, null.neurons + N_IN]), N_IN + 2)
    expected = run(lif, weight, spikes, driver)
    found = run(lif, np.vstack([weight, np.zeros((2, weight.shape[1]))]), more, driver)
    assert found.counts().tolist() == expected.counts().tolist()
    assert_same(found, expected, close=1e-10)


@quick
@given(layer=layers(), shift=st.sampled_from([0.25, 3.0, 17.0]) | st.floats(0.0, 30.0), driver=DRIVERS)
def test_later_inputs_give_spikes_later_by_as_much(layer, shift, driver) -> None:
    """From rest and without bias, where waiting changes nothing."""
    lif, weight, spikes = layer
    lif = lif.with_(bias=0.0, v_init=None)
    later = SpikeTrains(spikes.times + shift, spikes.neurons, N_IN)
    expected = run(lif, weight, spikes, driver, T_STOP)
    found = run(lif, weight, later, driver, T_STOP + shift)
    assume(not np.any(np.abs(expected.times - T_STOP) < 1e-6))
    if lif.tau_syn is None:  # rounding may move a kick across an end of refractoriness
        ends = expected.times + lif.t_ref
        gaps = np.abs(ends[:, None] - (spikes.times + 1.0)[None, :])
        assume(not np.any(gaps < 1e-6))
    assert_same(found, expected, shift, close=1e-9)


@quick
@given(layer=layers(), power=st.integers(-12, 12), driver=DRIVERS)
def test_scaling_weights_and_potentials_by_a_power_of_two_changes_no_bit(layer, power, driver) -> None:
    lif, weight, spikes = layer
    scale = 2.0**power
    names = ("v_th", "v_reset", "v_rest", "bias")
    scaled = lif.with_(**{name: getattr(lif, name) * scale for name in names})
    if lif.v_init is not None:
        scaled = scaled.with_(v_init=lif.v_init * scale)
    expected = run(lif, weight, spikes, driver)
    found = run(scaled, weight * scale, spikes, driver)
    assert found.times.tobytes() == expected.times.tobytes()
    assert found.neurons.tobytes() == expected.neurons.tobytes()


@quick
@given(layer=layers(), power=st.integers(-12, 12), driver=UNCUT)
def test_scaling_all_times_by_a_power_of_two_scales_every_bit(layer, power, driver) -> None:
    lif, weight, spikes = layer
    scale = 2.0**power
    taus = tuple(tau * scale for tau in lif.receptor_taus())
    tau_syn = {0: None, 1: taus[0] if taus else None, 2: taus}[len(taus)]
    slow = lif.with_(tau_m=lif.tau_m * scale, t_ref=lif.t_ref * scale, tau_syn=tau_syn)
    expected = run(lif, weight, spikes, driver)
    later = SpikeTrains(spikes.times * scale, spikes.neurons, N_IN)
    found = run(slow, weight, later, driver, T_STOP * scale, delay=scale)
    assert found.times.tobytes() == (expected.times * scale).tobytes()
    assert found.neurons.tobytes() == expected.neurons.tobytes()


@quick
@given(layer=layers(size=4), order=st.permutations(range(4)), driver=DRIVERS)
def test_relabelling_neurons_relabels_the_output(layer, order, driver) -> None:
    lif, weight, spikes = layer
    expected = run(lif, weight, spikes, driver)
    found = run(lif, weight[:, order], spikes, driver)
    for place, k in enumerate(order):
        assert found.of(place).tobytes() == expected.of(k).tobytes()


@quick
@given(layer=layers(size=4), order=st.permutations(range(4)), data=st.data())
def test_relabelling_a_recurrent_network_relabels_the_output(layer, order, data) -> None:
    lif, weight, spikes = layer
    lif = lif.with_(t_ref=max(lif.t_ref, 1.0))
    unit = float(lif.v_th - lif.v_rest) / peak_of_unit_psp(lif)
    w = np.array([[data.draw(st.floats(-1.0, 0.6)) * unit for _ in range(4)] for _ in range(4)])
    delay = np.array([[data.draw(st.sampled_from([0.5, 1.0, 2.3])) for _ in range(4)] for _ in range(4)])
    expected = run(lif, weight, spikes, "queue", recurrent=(w, delay))
    swapped = np.ix_(order, order)
    found = run(lif, weight[:, order], spikes, "queue", recurrent=(w[swapped], delay[swapped]))
    # Inputs of one instant are summed in source order, so that last bits may differ.
    for place, k in enumerate(order):
        assert found.of(place).size == expected.of(k).size
        np.testing.assert_allclose(found.of(place), expected.of(k), rtol=0.0, atol=1e-9)


@quick
@given(layer=layers(), driver=DRIVERS)
def test_neurons_that_no_input_reaches_stay_silent(layer, driver) -> None:
    lif, weight, spikes = layer
    lif = lif.with_(bias=min(lif.bias, 0.0), v_init=None)
    weight = weight.copy()
    weight[:, 1] = 0.0
    assert run(lif, weight, spikes, driver).of(1).size == 0


@quick
@given(layer=layers(), driver=DRIVERS)
def test_a_longer_run_begins_with_the_shorter_one(layer, driver) -> None:
    short = run(*layer, driver, t_stop=23.0)
    whole = run(*layer, driver)
    first = whole.times < 23.0
    near_end = np.any(np.abs(whole.times - 23.0) < 1e-6)
    assume(not near_end)
    assert_same(short, SpikeTrains(whole.times[first], whole.neurons[first], whole.size), close=1e-10)


@quick
@given(layer=layers(), driver=DRIVERS)
def test_inputs_after_a_spike_do_not_change_it(layer, driver) -> None:
    """Causality: dropping all input from some time on leaves every earlier spike."""
    lif, weight, spikes = layer
    cut = 20.0
    early = SpikeTrains(spikes.times[spikes.times < cut], spikes.neurons[spikes.times < cut], N_IN)
    expected, found = (run(lif, weight, x, driver) for x in (spikes, early))
    for k in range(expected.size):
        a, b = expected.of(k), found.of(k)
        n = np.count_nonzero(a < cut + 1.0 - 1e-9)
        np.testing.assert_allclose(b[:n], a[:n], rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("driver", ["queue", "sweep"])
def test_splitting_a_projection_into_two_changes_nothing(driver) -> None:
    rng = np.random.default_rng(4)
    weight, lif = rng.normal(0.3, 0.4, (20, 6)), LIF(tau_syn=(5.0, 8.0))
    x = evsim.encode.poisson(np.full(20, 40.0), 100.0, seed=1)
    net = Network()
    net.add_input("in", size=20)
    net.add_population("out", size=6, neuron=lif)
    left, right = weight.copy(), weight.copy()
    left[:, 3:], right[:, :3] = 0.0, 0.0
    net.connect("in", "out", weight=left, delay=1.0)
    net.connect("in", "out", weight=right, delay=1.0)
    expected = run(lif, weight, x, driver, 100.0)
    assert len(expected) > 5
    assert_same(net.simulate(100.0, inputs={"in": x}, driver=driver)["out"], expected, close=1e-11)

"""The sweep comes back from its kernels now and then: it can be interrupted, and its result does not depend on when."""

import time

import numpy as np
import pytest

from evsim import LIF, SpikeTrains
from evsim.engine.sweep import layers as sweep
from evsim.engine.sweep.layers import pack_layer, run_layer, run_layer_batch
from evsim.spikes import SpikeBatch

NEURONS = {
    "one receptor": LIF(tau_m=20.0, tau_syn=5.0, t_ref=2.0),
    "no refractoriness": LIF(tau_m=20.0, tau_syn=5.0, t_ref=0.0),
    "two receptors": LIF(tau_m=20.0, tau_syn=(5.0, 8.0), t_ref=15.0),
    "delta, input kept": LIF(tau_m=20.0, tau_syn=None, t_ref=3.0, keep_refractory_input=True),
}


def inputs(n: int, seed: int = 0, t_stop: float = 100.0, size: int = 20) -> SpikeTrains:
    rng = np.random.default_rng(seed)
    return SpikeTrains(np.sort(rng.uniform(0.0, t_stop, n)), rng.integers(0, size, n), size)


def layer(neuron: LIF, n_out: int = 30, width: int | None = 8) -> sweep.Layer:
    weight = np.random.default_rng(1).normal(0.05, 0.3, (20, n_out))
    return pack_layer(weight, neuron, width)


def counted(monkeypatch, name: str) -> list[int]:
    """How often a kernel is called from now on."""
    calls, original = [0], getattr(sweep, name)

    def wrapped(*args):
        calls[0] += 1
        return original(*args)

    monkeypatch.setattr(sweep, name, wrapped)
    return calls


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_the_result_does_not_depend_on_where_the_sweep_pauses(monkeypatch, neuron):
    x, layered = inputs(1500), layer(neuron)
    whole = run_layer(layered, x.times, x.neurons, 100.0)
    assert whole.times.size > 50
    calls = counted(monkeypatch, "sweep_layer")
    for budget in (1, 8 * 48, 8 * 1000):
        monkeypatch.setattr(sweep, "_BUDGET", budget)
        calls[0] = 0
        cut = run_layer(layered, x.times, x.neurons, 100.0)
        assert calls[0] >= 4 * 1500 * 8 // (budget + 16 * 8)
        for name in ("times", "neurons", "currents"):
            assert getattr(cut, name).tobytes() == getattr(whole, name).tobytes()
        assert cut.grazing == whole.grazing


def test_peaks_at_threshold_are_counted_once_where_the_output_is_enlarged_after_a_pause(monkeypatch):
    # One input whose peak is just below threshold; long after it strong ones, of more spikes than the output holds.
    at = np.log(4.0) * 20.0 / 3.0
    peak = (np.exp(-at / 20.0) - np.exp(-at / 5.0)) / 3.0
    times = np.append(0.0, np.arange(100.0, 400.0, 0.5))
    weight = np.stack([np.full(8, (1.0 - 1e-13) / peak), np.full(8, 50.0)])
    sources = np.ones(times.size, np.int32)
    sources[0] = 0
    layered = pack_layer(weight, LIF(tau_m=20.0, tau_syn=5.0))
    whole = run_layer(layered, times, sources, 400.0)
    assert whole.times.size > 1024 + 16 * 8 and whole.grazing == 8
    monkeypatch.setattr(sweep, "_BUDGET", 1)
    cut = run_layer(layered, times, sources, 400.0)
    assert cut.times.tobytes() == whole.times.tobytes() and cut.grazing == whole.grazing


def test_long_samples_of_a_batch_pause_and_short_ones_go_together(monkeypatch):
    layered = layer(NEURONS["one receptor"])
    batch = SpikeBatch.from_trains([inputs(n, n) for n in (30, 1500, 0, 40, 50, 900, 20)])
    whole = run_layer_batch(layered, batch, 100.0, delay=0.3)
    monkeypatch.setattr(sweep, "_BUDGET", 30 * 100)
    long, short = counted(monkeypatch, "sweep_layer"), counted(monkeypatch, "sweep_samples")
    for threads in (1, 2):
        long[0] = short[0] = 0
        cut = run_layer_batch(layered, batch, 100.0, delay=0.3, threads=threads)
        assert long[0] > 20 and 0 < short[0] < 6
        assert cut.times.tobytes() == whole.times.tobytes() and cut.currents.tobytes() == whole.currents.tobytes()
        assert np.array_equal(cut.neurons, whole.neurons) and np.array_equal(cut.offsets, whole.offsets)


def test_a_sample_of_many_spikes_is_simulated_twice_at_most(monkeypatch):
    # Once for the number of its spikes, once more with room for them: not once for each doubling of the room.
    layered = layer(LIF(tau_m=20.0, tau_syn=5.0, bias=50.0), n_out=8)
    calls = counted(monkeypatch, "sweep_samples")
    out = run_layer_batch(layered, SpikeBatch.from_trains([inputs(10, t_stop=4000.0)]), 4000.0)
    assert out.times.size > 30 * (1024 + 16 * 8) and calls[0] <= 2


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_ends_the_sweep_at_its_next_pause(monkeypatch, threads):
    calls, original = [0], sweep.sweep_layer

    def interrupted(*args):
        calls[0] += 1
        if calls[0] == 20:
            raise KeyboardInterrupt
        if calls[0] > 20:
            time.sleep(0.001)  # the other thread is told within a few of these, however busy the machine is
        return original(*args)

    monkeypatch.setattr(sweep, "sweep_layer", interrupted)
    monkeypatch.setattr(sweep, "_BUDGET", 1)
    x = inputs(20_000)
    with pytest.raises(KeyboardInterrupt):
        run_layer(layer(NEURONS["one receptor"]), x.times, x.neurons, 100.0, threads)
    assert calls[0] < 4 * 20_000 // 16 // 4

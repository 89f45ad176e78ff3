"""evsim.learning.streaming: the gradients of the whole sample, from windows; memory that does not grow with time."""

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError, RunawayError
from evsim.learning import STLLR, Dense, Readout, Recurrent, Sequential, StreamingSTLLR, VoltageCrossEntropy, ottt
from evsim.learning.protocols import backward
from evsim.learning.surrogates import S3
from helpers.memory import peaks

NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.2, bias=0.1)
LOSS = VoltageCrossEntropy(0.02)


def network(kind, neuron=NEURON, hidden=1, delay=0.8):
    first = (
        Recurrent(6, 5, neuron, delay=delay, recurrent_delay=1.5, recurrent_scale=1.0)
        if kind == "recurrent"
        else Dense(6, 5, neuron, delay=delay)
    )
    more = [Dense(5, 5, neuron, delay=0.3) for _ in range(hidden - 1)]
    model = Sequential(first, *more, Readout(5, 3, LIF(tau_m=20.0, tau_syn=5.0), feature="integral", delay=0.4))
    kicks = 0.3 if neuron.tau_syn is None else 1.0
    model.init(3, scale=[0.6 * kicks] * hidden + [1.0], mean=[0.9 * kicks] * hidden + [0.0])
    return model


def windows(train, duration, length):
    ends = np.append(np.arange(length, duration, length), duration)
    for start, end in zip(ends - np.diff(ends, prepend=0.0), ends):
        mine = (train.times >= start) & (train.times < end)
        yield end, SpikeTrains(train.times[mine], train.neurons[mine], train.size)


@pytest.mark.parametrize("kind, neuron", [
    ("dense", NEURON), ("recurrent", NEURON.with_(t_ref=1.2)), ("dense", LIF(tau_m=20.0, tau_syn=None)),
])  # fmt: skip
@pytest.mark.parametrize("rule", [
    STLLR(form="spikes", a_post=-0.7), STLLR(a_post=0.5, psi=S3, step=0.05, supervise_from=9.0), ottt(step=0.05),
])  # fmt: skip
def test_a_stream_has_the_spikes_and_gradients_of_the_whole(kind, neuron, rule):
    rng = np.random.default_rng(2)
    train = SpikeTrains(rng.uniform(0.0, 38.0, 40), rng.integers(0, 6, 40), 6)
    model = network(kind, neuron)
    spikes = model.forward(SpikeBatch.from_trains([train]), 40.0)
    assert spikes[1].times.size > 5
    _, signal = LOSS(spikes[-1], np.array([1]))
    expected, _ = backward(model, rule, spikes, signal, 40.0)
    stream = StreamingSTLLR(model, rule, 40.0)
    for end, part in windows(train, 40.0, 3.7):
        stream.advance(part, end)
    gradients, voltages = stream.finish(LOSS, 1)
    np.testing.assert_allclose(voltages.values, spikes[-1].values, rtol=1e-11, atol=1e-12)
    for a, b in zip(gradients, expected):
        assert a.keys() == b.keys()
        for name, g in b.items():
            close = 1e-10 if rule.form == "spikes" else 1e-6
            np.testing.assert_allclose(a[name], g, rtol=0, atol=close * np.abs(g).max())


def test_random_feedback_streams_through_any_number_of_layers():
    rng = np.random.default_rng(2)
    train = SpikeTrains(rng.uniform(0.0, 38.0, 90), rng.integers(0, 6, 90), 6)
    model, rule = network("dense", hidden=2), STLLR(feedback="random", form="spikes", a_post=0.4)
    spikes = model.forward(SpikeBatch.from_trains([train]), 40.0)
    expected, _ = backward(model, rule, spikes, LOSS(spikes[-1], np.array([1]))[1], 40.0)
    stream = StreamingSTLLR(model, rule, 40.0)
    for end, part in windows(train, 40.0, 5.0):
        stream.advance(part, end)
    for a, b in zip(stream.finish(LOSS, 1)[0], expected):
        assert np.abs(b["weight"]).max() > 0
        np.testing.assert_allclose(a["weight"], b["weight"], rtol=0, atol=1e-10 * np.abs(b["weight"]).max())


def streamed(duration, rule):
    """A sample streams, whose spikes are drawn window by window."""
    rng = np.random.default_rng(0)
    model = Sequential(Dense(20, 30, NEURON), Readout(30, 5, LIF(tau_m=20.0, tau_syn=5.0), feature="integral"))
    model.init(3, scale=[0.5, 1.0], mean=[0.5, 0.0])
    stream = StreamingSTLLR(model, rule, duration)
    for k in range(int(duration / 10.0)):
        spikes = SpikeTrains(rng.uniform(10.0 * k, 10.0 * (k + 1), 8), rng.integers(0, 20, 8), 20)
        stream.advance(spikes, 10.0 * (k + 1))
    stream.finish(LOSS, 0)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [STLLR(a_post=-1.0), ottt()])
def test_memory_does_not_grow_with_duration(rule):
    short, long = peaks(lambda: streamed(400.0, rule), lambda: streamed(3200.0, rule))
    assert long < 1.1 * short


def test_what_a_stream_cannot_do_is_refused():
    model = network("dense")
    with pytest.raises(GradientError, match="cannot be backpropagated"):
        StreamingSTLLR(network("dense", hidden=2), STLLR(), 40.0)
    with pytest.raises(GradientError, match="feature integral"):
        StreamingSTLLR(Sequential(Dense(6, 5, NEURON)), STLLR(), 40.0)
    stream = StreamingSTLLR(model, STLLR(), 40.0)
    with pytest.raises(ValueError, match="at most at 40"):
        stream.advance(SpikeTrains([], [], 6), 50.0)
    with pytest.raises(ValueError, match=r"got 7\.0"):
        stream.advance(SpikeTrains([7.0], [0], 6), 5.0)
    with pytest.raises(ValueError, match="advance to it first"):
        stream.finish(LOSS, 0)


def test_a_neuron_that_spikes_without_end_is_reported():
    neuron = LIF(tau_m=20.0, tau_syn=5.0, v_reset=1.0 - 1e-16, bias=2.0)
    model = Sequential(Dense(2, 3, neuron), Readout(3, 2, LIF(), feature="integral"))
    model.init(1)
    stream = StreamingSTLLR(model, STLLR(), 100.0)
    with pytest.raises(RunawayError, match="spikes for ever at about"):
        stream.advance(SpikeTrains([], np.empty(0, np.int64), 2), 100.0)

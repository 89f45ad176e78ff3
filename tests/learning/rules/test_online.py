"""A loss at every moment in a stream, and weight updates within a sample."""

import numpy as np
import pytest

from evsim import LIF, SpikeTrains
from evsim.errors import GradientError
from evsim.learning import STLLR, Dense, MomentaryCrossEntropy, Readout, Recurrent, Sequential, StreamingSTLLR, ottt
from evsim.learning.protocols import backward
from evsim.learning.surrogates import S3
from evsim.spikes import SpikeBatch
from helpers.memory import RUNS, peaks

T = 40.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.2, bias=0.1)
OUT = LIF(tau_m=12.0, tau_syn=4.0, v_rest=0.2, bias=0.1, v_init=0.5)
LOSS = MomentaryCrossEntropy(0.5, 0.05)


def network(feature="count", kind="dense", hidden=1, delay=0.4, every=6.0, since=0.0):
    first = Dense(6, 5, NEURON, delay=0.8)
    if kind == "recurrent":
        first = Recurrent(6, 5, NEURON, delay=0.8, recurrent_delay=1.5, recurrent_scale=1.0)
    more = [Dense(5, 5, NEURON, delay=0.3) for _ in range(hidden - 1)]
    model = Sequential(first, *more, Readout(5, 3, OUT, feature, delay=delay, every=every, since=since))
    model.init(3, scale=[0.6] * hidden + [1.0], mean=[0.9] * hidden + [0.0])
    return model


def sample(seed=2, duration=T, size=40):
    rng = np.random.default_rng(seed)
    return SpikeTrains(np.sort(rng.uniform(0.0, duration - 2.0, size)), rng.integers(0, 6, size), 6)


def pieces(train, duration, length):
    ends = np.append(np.arange(length, duration, length), duration)
    for start, end in zip(ends - np.diff(ends, prepend=0.0), ends):
        mine = (train.times >= start) & (train.times < end)
        yield end, SpikeTrains(train.times[mine], train.neurons[mine], train.size)


def streamed(model, rule, length=3.7, rate=None):
    """What a stream gives; with a rate, gradient steps as soon as a window has ended, and their sum over -rate."""
    stream = StreamingSTLLR(model, rule, T, LOSS, 1)
    total = None
    for end, part in pieces(sample(), T, length):
        stream.advance(part, end)
        if rate is None:
            continue
        found = stream.taken()
        total = found if total is None else [{k: a[k] + b[k] for k in a} for a, b in zip(total, found)]
        for layer, g in zip(model.layers, found):
            for name, value in g.items():
                getattr(layer, name)[:] -= rate * value
    last, out = stream.finish()
    return (last if total is None else [{k: a[k] + b[k] for k in a} for a, b in zip(total, last)]), out


RULES = [STLLR(form="spikes", a_post=-0.7), STLLR(a_post=0.5, psi=S3, step=0.05, supervise_from=9.0), ottt(step=0.05)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["dense", "recurrent"])
@pytest.mark.parametrize("feature", ["potential", "integral", "count"])
@pytest.mark.parametrize(
    ("delay", "every", "since"), [(0.4, 6.0, 0.0), (2.5, 1.1, 7.0), (2.5, 1.1, 0.0), (0.0, T, 0.0)]
)
def test_a_stream_has_the_values_and_gradients_of_the_whole(rule, kind, feature, delay, every, since):
    if feature == "potential" and every == T:
        return
    model = network(feature, kind, delay=delay, every=every, since=since)
    spikes = model.forward(SpikeBatch.from_trains([sample()]), T)
    assert spikes[1].times.size > 5
    expected, _ = backward(model, rule, spikes, LOSS(spikes[-1], np.array([1]))[1], T)
    gradients, out = streamed(model, rule)
    np.testing.assert_allclose(out.values, spikes[-1].values, rtol=1e-11, atol=1e-11)
    for a, b in zip(gradients, expected):
        assert a.keys() == b.keys()
        for name, g in b.items():
            close = 1e-10 if rule.form == "spikes" else 2e-6
            np.testing.assert_allclose(a[name], g, rtol=0, atol=close * np.abs(g).max() + 1e-13)


def test_layers_stream_with_random_feedback():
    rule = STLLR(form="spikes", a_post=0.3, feedback="random")
    model = network(hidden=3)
    spikes = model.forward(SpikeBatch.from_trains([sample()]), T)
    expected, _ = backward(model, rule, spikes, LOSS(spikes[-1], np.array([1]))[1], T)
    for a, b in zip(streamed(model, rule)[0], expected):
        np.testing.assert_allclose(a["weight"], b["weight"], rtol=0, atol=1e-10 * np.abs(b["weight"]).max())


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
@pytest.mark.parametrize("feature", ["potential", "integral", "count"])
def test_updates_within_a_sample_add_up_to_the_sum_as_they_become_small(kind, feature):
    """OTTT_O and OTTT_A."""
    whole, _ = streamed(network(feature, kind), ottt(step=0.05), 2.0)
    rates, rows = (4e-3, 2e-3, 1e-3), []
    for rate in rates:
        found, _ = streamed(network(feature, kind), ottt(step=0.05), 2.0, rate)
        rows.append([np.linalg.norm(a[k] - b[k]) / np.linalg.norm(b[k]) for a, b in zip(found, whole) for k in b])
    for errors in np.transpose(rows):
        slopes = np.diff(np.log(errors)) / np.diff(np.log(rates))
        assert errors[0] > 1e-5 and np.all((0.8 < slopes) & (slopes < 1.2)), (errors, slopes)


def test_updates_hold_from_the_moment_they_are_made():
    """The window after an update has the spikes of the new weights, on the state that the old ones left."""
    model, train = network(), sample()
    stream = StreamingSTLLR(model, ottt(), T, LOSS, 1)
    parts = list(pieces(train, T, 20.0))
    stream.advance(parts[0][1], 20.0)
    assert all(np.any(g["weight"]) for g in stream.taken()) and not any(np.any(g["weight"]) for g in stream.taken())
    model.layers[0].weight = np.zeros((6, 5))
    for end, part in parts[1:]:
        stream.advance(part, end)
    _, out = stream.finish()
    assert not out.values[0, -1].any(), "without input to the hidden layer it has fallen silent"
    assert streamed(network(), ottt(), 20.0)[1].values[0, -1].any()


def online(duration):
    """Work that learns a sample of that many ms window by window; what grows with its windows is made before: the
    pieces, and streams, with a value for each window."""
    parts = list(pieces(sample(3, duration, int(duration)), duration, 10.0))
    streams = [StreamingSTLLR(network(every=10.0), ottt(), duration, LOSS, 1) for _ in range(RUNS)]

    def learn():
        stream = streams.pop()
        for end, part in parts:
            stream.advance(part, end)
            for layer, g in zip([*(s.layer for s in stream.stages), stream.readout], stream.taken()):
                layer.weight -= 1e-3 * g["weight"]

    return learn


@pytest.mark.slow
def test_memory_does_not_grow_with_the_duration():
    short, long = peaks(online(200.0), online(1600.0))
    assert long < 1.3 * short


def test_what_a_stream_is_given_and_when():
    model = network()
    with pytest.raises(GradientError, match="takes loss and label at its beginning if its Readout has every"):
        StreamingSTLLR(model, ottt(), T)
    with pytest.raises(GradientError, match="backpropagated through potentials gone by"):
        StreamingSTLLR(network(hidden=2), ottt(), T, LOSS, 1)
    stream = StreamingSTLLR(model, ottt(), T, LOSS, 1)
    stream.advance(sample(), T)
    with pytest.raises(GradientError, match="finish takes none"):
        stream.finish(LOSS, 1)
    whole = Sequential(model.layers[0], Readout(5, 3, OUT, "integral"))
    stream = StreamingSTLLR(whole, ottt(), T)
    stream.advance(sample(), T)
    with pytest.raises(GradientError, match="the error is known at the end only: give the Readout every"):
        stream.taken()
    with pytest.raises(GradientError, match="finish needs the loss and the label"):
        stream.finish()

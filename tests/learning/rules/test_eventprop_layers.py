"""EventProp on layers: one mechanism by two kernels, readouts, delays, threads and batches, hard cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError
from evsim.learning import (
    CountLoss,
    Dense,
    EventProp,
    Readout,
    Recurrent,
    Sequential,
    SmoothCountLoss,
    Trainer,
    TrainingOptions,
    TTFSLoss,
    check_gradient,
    conditioning,
)
from evsim.learning.training.optimisers import SGD
from helpers.examples import examples

T_STOP = 50.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.3, bias=0.1, v_init=0.2)


def batch(n=4, size=8, spikes=25, seed=0):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, 35.0, spikes), rng.integers(0, size, spikes), size) for _ in range(n)]
    )


def drawn(layer, seed=1, scale=1.5, mean=0.8):
    layer.init(np.random.default_rng(seed), scale, mean)
    return layer


def pull_of(outputs, seed=2):
    shape = outputs.values.shape if hasattr(outputs, "values") else outputs.times.shape
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=examples(15))
@given(
    ratio=st.sampled_from([4.0, 2.0, 1.0, 1.0 + 1e-9, 0.5, 20.0]),
    t_ref=st.sampled_from([0.0, 1.5, 12.0]),
    seed=st.integers(0, 99),
)
def test_both_kernels_give_the_same_gradient(ratio, t_ref, seed):
    neuron = NEURON.with_(tau_syn=20.0 / ratio, t_ref=t_ref)
    layer = drawn(Dense(8, 6, neuron, delay=0.5), seed, scale=1.5 * ratio**0.5)
    x = batch(seed=seed)
    y = layer.forward(x, T_STOP)
    fast, d_fast = EventProp().backward(layer, x, y, pull_of(y), T_STOP)
    general, d_general = EventProp(neuron_parameters=True).backward(layer, x, y, pull_of(y), T_STOP)
    size = np.abs(general["weight"]).max() + 1.0
    assert fast["weight"] == pytest.approx(general["weight"], abs=1e-11 * size)
    assert d_fast == pytest.approx(d_general, abs=1e-11 * (np.abs(d_general).max() + 1.0))


LAYERS = {
    "dense": lambda: Dense(8, 6, NEURON, delay=0.5),
    "by input": lambda: Dense(8, 6, NEURON, trainable_delays="input", max_delay=4.0),
    "by synapse": lambda: Dense(8, 6, NEURON, trainable_delays="synapse", max_delay=4.0),
    "recurrent": lambda: Recurrent(
        8, 6, NEURON.with_(t_ref=1.0), recurrent_scale=1.0, trainable_recurrent_delays="synapse", max_delay=4.0
    ),
    "two receptors": lambda: Dense(8, 6, NEURON.with_(tau_syn=(5.0, 9.0))),
    "inhibited": lambda: Dense(8, 6, NEURON, lateral_inhibition=0.5),
    "max": lambda: Readout(8, 6, NEURON, delay=0.5),
    "max by input": lambda: Readout(8, 6, NEURON, trainable_delays="input", max_delay=4.0),
    "integral": lambda: Readout(8, 6, NEURON, feature="integral", weighting=20.0),
}
PARAMETERS = ("tau_m", "tau_syn", "v_th", "v_reset", "v_rest", "bias", "v_init", "t_ref")


def total(layer, x, pull):
    out = layer.forward(x, T_STOP)
    return float((getattr(out, "values", None) if hasattr(out, "values") else out.times).ravel() @ pull.ravel())


@pytest.mark.parametrize("kind", LAYERS)
def test_differences_of_the_engine_agree(kind):
    layer, x, h = drawn(LAYERS[kind]()), batch(), 1e-6
    out = layer.forward(x, T_STOP)
    pull = pull_of(out)
    gradients, by_time = EventProp(neuron_parameters=True).backward(layer, x, out, pull, T_STOP)
    pulled = layer.pull_back(gradients)
    rng = np.random.default_rng(0)
    for name, array in layer.parameters().items():
        flat = array.reshape(-1)
        for k in rng.integers(0, flat.size, 4):
            before, ends = flat[k], []
            for change in (h, -h):
                flat[k] = before + change
                ends.append(total(layer, x, pull))
            flat[k] = before
            assert pulled[name].ravel()[k] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=2e-6, abs=2e-6), name
    for k in rng.integers(0, x.times.size, 5):
        ends = []
        for change in (h, -h):
            times = x.times.copy()
            times[k] += change
            ends.append(total(layer, SpikeBatch(times, x.neurons, x.offsets, x.size), pull))
        assert by_time[k] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=2e-6, abs=2e-6)
    base = layer.neuron
    for name in PARAMETERS:
        if name not in gradients or (name == "t_ref" and base.t_ref == 0.0) or name == "tau_syn":
            continue
        ends = []
        for change in (h, -h):
            layer.neuron = base.with_(**{name: getattr(base, name) + change})
            ends.append(total(layer, x, pull))
        layer.neuron = base
        assert gradients[name].sum() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("kind", LAYERS)
def test_threads_change_no_bit(kind):
    layer, x = drawn(LAYERS[kind]()), batch(n=20)
    out = layer.forward(x, T_STOP)
    one, more = (EventProp().backward(layer, x, out, pull_of(out), T_STOP, threads=n) for n in (1, 3))
    assert all(np.array_equal(one[0][k], more[0][k]) for k in one[0]) and np.array_equal(one[1], more[1])


def test_the_gradient_of_a_batch_is_the_sum_of_its_parts():
    layer, x = drawn(LAYERS["dense"]()), batch(n=12)
    out = layer.forward(x, T_STOP)
    pull = pull_of(out)
    whole, _ = EventProp().backward(layer, x, out, pull, T_STOP)
    parts = []
    for rows in (np.arange(5), np.arange(5, 12)):
        mine = np.concatenate([np.arange(out.offsets[k], out.offsets[k + 1]) for k in rows])
        parts.append(EventProp().backward(layer, x.take(rows), out.take(rows), pull[mine], T_STOP)[0]["weight"])
    assert whole["weight"] == pytest.approx(parts[0] + parts[1], rel=1e-12, abs=1e-12)


def test_a_silent_layer_has_a_gradient_of_zero():
    layer, x = Dense(8, 6, LIF()), batch()
    out = layer.forward(x, T_STOP)
    gradients, by_time = EventProp().backward(layer, x, out, np.empty(0), T_STOP)
    assert not gradients["weight"].any() and not by_time.any()


def test_a_grazing_spike_has_a_large_finite_gradient_that_min_slope_clips():
    layer = Dense(1, 1, LIF(tau_m=20.0, tau_syn=10.0))
    x = SpikeBatch.from_trains([SpikeTrains([1.0], [0], 1)])
    layer.weight[...] = 4.0 * (1.0 + 1e-10)
    out = layer.forward(x, T_STOP)
    exact, clipped = (EventProp(min_slope=m).backward(layer, x, out, np.ones(1), T_STOP)[0] for m in (1e-9, 0.1))
    assert out.times.size == 1 and conditioning(layer, out)[0] > 1e4
    assert np.isfinite(exact["weight"]).all() and abs(exact["weight"][0, 0]) > 1e4 * abs(clipped["weight"][0, 0]) / 1e3


def test_kicks_that_arrive_together_have_no_derivative():
    layer = Dense(2, 1, LIF(tau_syn=None))
    layer.weight[...] = 0.6
    together = SpikeBatch.from_trains([SpikeTrains([3.0, 3.0], [0, 1], 2)])
    out = layer.forward(together, T_STOP)
    assert out.times.tolist() == [3.0]
    with pytest.raises(GradientError, match="several kicks arrived at once"):
        EventProp().backward(layer, together, out, np.ones(1), T_STOP)
    apart = SpikeBatch.from_trains([SpikeTrains([3.0, 4.0], [0, 1], 2)])
    out = layer.forward(apart, T_STOP)
    gradients, by_time = EventProp().backward(layer, apart, out, np.ones(1), T_STOP)
    assert by_time.tolist() == [0.0, 1.0] and not gradients["weight"].any()


def test_a_loss_that_a_rule_cannot_start_from_is_refused():
    model = Sequential(Dense(8, 3, NEURON))
    with pytest.raises(GradientError, match="CountLoss gives derivatives by counts, but EventProp starts from times"):
        Trainer(model, EventProp(), CountLoss(), SGD(), TrainingOptions())
    with pytest.raises(ValueError, match="nothing can follow"):
        Sequential(Readout(8, 3, NEURON), Dense(3, 3, NEURON))


def test_check_gradient_finds_the_rule_true_and_a_broken_rule_false():
    model = Sequential(
        Dense(5, 6, LIF(), trainable_delays="input", max_delay=3.0), Recurrent(6, 3, LIF(), recurrent_scale=0.5)
    )
    model.init(seed=2, scale=[1.0, 0.5], mean=[3.0, 3.0])
    x = batch(n=2, size=5, spikes=12)
    labels = np.array([0, 2])
    report = check_gradient(model, EventProp(), TTFSLoss(), x, labels, T_STOP, replays=2)
    assert {r.parameter for r in report.rows} == {"weight", "delay", "recurrent_weight", "recurrent_delay"}
    for row in report.rows:
        assert row.relative_error < {"FD float64": 1e-5, "FD 50 digits": 1e-9, "EventProp": 1e-14}[row.against]

    class Broken(EventProp):
        def backward(self, *args, **kwargs):
            gradients, signal = super().backward(*args, **kwargs)
            return {k: -0.5 * g for k, g in gradients.items()}, signal

    for row in check_gradient(model, Broken(), TTFSLoss(), x, labels, T_STOP, replays=0).rows:
        if row.against == "EventProp" and row.relative_error > 0:
            assert row.cosine == pytest.approx(-1.0) and row.scale == pytest.approx(-0.5) and row.sign_agreement == 0.0


def test_smooth_counts_pull_spikes_over_the_end():
    model = Sequential(drawn(Dense(8, 3, NEURON)))
    x = batch()
    loss = SmoothCountLoss(end=T_STOP, desired=20.0, undesired=0.0, width=5.0)
    out = model.forward(x, T_STOP)[-1]
    _, slope = loss(out, np.zeros(4, int))
    assert (slope[out.neurons == 0] >= 0).all() and (slope[out.neurons > 0] <= 0).all() and slope.any()

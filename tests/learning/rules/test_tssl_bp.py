"""evsim.learning.rules.tssl_bp: against the chain rule, and the formulas written out."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError, SilentLayerError
from evsim.learning import (
    TSSLBP,
    Dense,
    EventProp,
    PSCCount,
    PSCDistance,
    Readout,
    Recurrent,
    Sequential,
    Trainer,
    TrainingOptions,
    VanRossum,
    VoltageCrossEntropy,
    check_gradient,
    desired_trains,
)
from evsim.learning._kernels.tssl import SPIKE
from evsim.learning.protocols import backward
from evsim.learning.rules.tssl.events import replay, spike_errors
from evsim.learning.surrogates import TSSL
from evsim.learning.training.optimisers import Adam
from helpers.examples import examples

T = 60.0
TAU_M, TAU_S = 20.0, 5.0
NEURON = LIF(tau_m=TAU_M, tau_syn=TAU_S)
EXACT = TSSLBP(inter="true", intra="exact", silent="none", max_gain=np.inf)
LABELS = np.array([0, 1, 2, 0])


def batch(seed=0, n=4, size=10, spikes=40, last=45.0):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, last, spikes), rng.integers(0, size, spikes), size) for _ in range(n)]
    )


def network(neuron=NEURON, seed=1, scale=0.5, mean=0.6, sizes=(10, 12, 8, 3), **kinds):
    model = Sequential(*(Dense(a, b, neuron, **kinds) for a, b in pairwise(sizes)))
    model.init(seed, scale=scale, mean=mean)
    return model


def run(model, inputs, loss, labels=LABELS):
    spikes = model.forward(inputs, T)
    return spikes, loss(spikes[-1], labels)[1]


def weights_of(gradients):
    return [g["weight"] for g in gradients]


# ------------------------------------------------------------------------------------------ the chain rule


@settings(max_examples=examples(15), deadline=None)
@given(
    ratio=st.sampled_from([4.0, 2.0, 1.0, 1.0 + 1e-9, 0.5]),
    t_ref=st.sampled_from([0.0, 1.5, 9.0]),
    reset=st.sampled_from([0.0, -0.3, 0.2]),
    seed=st.integers(0, 99),
)
def test_with_true_terms_it_is_the_exact_gradient(ratio, t_ref, reset, seed):
    neuron = NEURON.with_(tau_syn=TAU_M / ratio, t_ref=t_ref, v_reset=reset, bias=0.05, v_init=0.1)
    model = network(neuron, seed, 0.5 * ratio**0.5, 0.5, delay=0.3)
    spikes, pull = run(model, batch(seed), PSCDistance(desired_trains(3, T, 6.0), TAU_S, T))
    want, d_input = backward(model, EventProp(), spikes, pull.by_time, T, wants_signal=True)
    got, found = backward(model, EXACT, spikes, pull, T, wants_signal=True)
    for a, b in zip(weights_of(got), weights_of(want)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())
    np.testing.assert_allclose(found.by_time, d_input, rtol=1e-9, atol=1e-9 * np.abs(d_input).max(initial=1e-300))


@pytest.mark.parametrize("feature", ["max", "integral"])
def test_with_true_terms_it_is_the_exact_gradient_below_a_readout(feature):
    model = Sequential(Dense(10, 12, NEURON), Readout(12, 3, NEURON, feature=feature, delay=0.4))
    model.init(2, scale=0.5, mean=0.6)
    spikes, signal = run(model, batch(), VoltageCrossEntropy(0.5))
    want, _ = backward(model, EventProp(), spikes, signal, T)
    got, _ = backward(model, EXACT, spikes, signal, T)
    for a, b in zip(weights_of(got), weights_of(want)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())


def test_trained_delays_by_input_have_the_exact_derivative():
    model = network(sizes=(10, 8, 3), trainable_delays="input", max_delay=4.0)
    spikes, signal = run(model, batch(), VanRossum(desired_trains(3, T, 6.0), 10.0))
    want, _ = backward(model, EventProp(), spikes, signal, T)
    got, _ = backward(model, EXACT, spikes, signal, T)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a["delay"], b["delay"], rtol=1e-9, atol=1e-9 * np.abs(b["delay"]).max())
    with pytest.raises(GradientError, match="no gradient by delays"):
        backward(model, TSSLBP(), spikes, signal, T)


# ------------------------------------------------------------------------------- the formulas, written out


def unit_psp(t):
    return TAU_S / (TAU_M - TAU_S) * (np.exp(-t / TAU_M) - np.exp(-t / TAU_S))


def s_psp(span, age):
    """Response at a spike to an arrival ``age`` earlier, for a neuron released ``span`` earlier."""
    inside = np.minimum(age, span)
    return np.where(age > 0.0, np.exp(-(age - inside) / TAU_S) * unit_psp(inside), 0.0)


def slow_psi(rule, train, slopes, pull):
    """psi of each spike of one sample, in order."""
    psi, following = np.zeros(len(train)), {}
    for k in range(len(train) - 1, -1, -1):
        n, t = train.neurons[k], train.times[k]
        gain = min(1.0 / slopes[k], rule.max_gain * rule.reference_step)
        carried = 0.0
        if n in following:
            later = following[n]
            carried = psi[later] * np.exp(-(train.times[later] - t) / TAU_M) / TAU_M
        psi[k] = gain * (pull[k] / rule.reference_step + (carried if rule.intra == "code" else 0.0))
        following[n] = k
    return psi


def slow_layer(layer, inputs, outputs, psi):
    """Gradient (n_in, n_out) and C at the input spikes, pair by pair, of one sample."""
    gradient, c = np.zeros_like(layer.weight), np.zeros(len(inputs))
    released = {}
    for k in range(len(outputs)):
        t, n = outputs.times[k], outputs.neurons[k]
        e = s_psp(t - released.get(n, 0.0), t - inputs.times)
        np.add.at(gradient[:, n], inputs.neurons, psi[k] * e)
        c += psi[k] * e * layer.weight[inputs.neurons, n]
        released[n] = t
    return gradient, c


@pytest.mark.parametrize("intra", ["code", "none"])
@pytest.mark.parametrize("step, max_gain", [(1.0, 8.0), (3.0, 8.0), (3.0, 1.0)])
def test_gradients_are_those_of_the_published_formulas(intra, step, max_gain):
    rule = TSSLBP(intra=intra, silent="none", reference_step=step, max_gain=max_gain)
    model = network(sizes=(10, 12, 3))
    spikes, pull = run(model, batch(n=1), PSCDistance(desired_trains(3, T, 6.0), TAU_S, T), LABELS[:1])
    got, below = backward(model, rule, spikes, pull, T, wants_signal=True)
    c, bounded = pull.by_psc, 0
    for k in (1, 0):
        out = spikes[k + 1]
        slopes = (out.currents - 1.0) / TAU_M
        bounded += np.count_nonzero(1.0 / slopes > max_gain * step)
        psi = slow_psi(rule, out.sample(0), slopes, c)
        gradient, c = slow_layer(model.layers[k], spikes[k].sample(0), out.sample(0), psi)
        np.testing.assert_allclose(got[k]["weight"], gradient, rtol=1e-10, atol=1e-12 * np.abs(gradient).max())
    np.testing.assert_allclose(below.by_psc, c, rtol=1e-10, atol=1e-12 * np.abs(c).max())
    assert spikes[1].counts().max() > 2 and (bounded > 0 or max_gain == 8.0)
    asked = batch(9, n=1, spikes=15)
    psi_1 = spike_errors(rule, model.layers[0], spikes[0], spikes[1], _signal(model, rule, spikes, pull), T).psi
    wanted = slow_layer(model.layers[0], asked.sample(0), spikes[1].sample(0), psi_1)[1]
    np.testing.assert_allclose(below.at(asked), wanted, rtol=1e-10, atol=1e-12 * np.abs(wanted).max())


def _signal(model, rule, spikes, pull):
    """The PSCGradient at the first layer's output."""
    return rule.backward(model.layers[1], spikes[1], spikes[2], pull, T, is_output=True)[1]


def test_c_below_an_integral_readout_is_the_change_by_one_more_spike():
    readout = Readout(10, 3, NEURON, feature="integral", weighting=15.0, delay=0.7)
    readout.init(np.random.default_rng(0), 0.5, 0.2)
    inputs = batch(n=1)
    signal = np.array([[0.3, -1.0, 0.6]])
    _, pull = TSSLBP().backward(readout, inputs, readout.forward(inputs, T), signal, T)
    asked = batch(4, n=1, spikes=5)
    base = readout.forward(inputs, T).values[0]
    for k, (t, j) in enumerate(zip(asked.times, asked.neurons)):
        train = SpikeTrains(np.append(inputs.times, t), np.append(inputs.neurons, j), 10)
        more = readout.forward(SpikeBatch.from_trains([train]), T).values[0]
        assert pull.at(asked)[k] == pytest.approx(signal[0] @ (more - base), rel=1e-9)


def test_c_below_a_maximum_is_the_response_there():
    readout = Readout(10, 2, NEURON)
    readout.init(np.random.default_rng(0), 0.5, 0.4)
    inputs, signal = batch(n=1), np.array([[0.5, -2.0]])
    v = readout.forward(inputs, T)
    _, pull = TSSLBP().backward(readout, inputs, v, signal, T)
    age = v.times[0][None, :] - inputs.times[:, None]
    response = np.where(age > 0.0, unit_psp(np.maximum(age, 0.0)), 0.0)
    np.testing.assert_allclose(
        pull.by_psc, np.sum(response * readout.weight[inputs.neurons] * signal, axis=1), atol=1e-12
    )


# ------------------------------------------------------------------------------------------ quiet stretches


def potential(layer, inputs, released, n, times):
    """u of neuron n at ``times`` after its release, summed over all arrivals."""
    age = times[:, None] - inputs.times[None, :]
    return s_psp(times[:, None] - released, age) @ layer.weight[inputs.neurons, n]


def test_virtual_spikes_are_the_highest_local_maxima_of_quiet_stretches_or_their_middle():
    layer = Dense(10, 6, NEURON)
    layer.init(np.random.default_rng(3), 0.6, 0.6)
    layer.weight[:, 0], layer.weight[:, 1] = -0.1, 0.0
    inputs = batch(n=2, spikes=30)
    outputs = layer.forward(inputs, T)
    _, tops, u_top = replay(layer, inputs, outputs, T, 0.25)
    found = {(s, n): [] for s in range(2) for n in range(6)}
    for s, n, t, u in zip(tops.samples(), tops.neurons, tops.times, u_top):
        found[s, n].append((t, u))
    kinds = {"top": 0, "middle": 0, "none": 0}
    for s, n in found:
        own = outputs.sample(s).of(n)
        for start, end in zip([0.0, *own], [*own, T]):
            trace = np.sum(np.exp(-(start - own[own <= start]) / TAU_S))
            quiet = start + TAU_S * np.log(trace / 0.25) if trace else 0.0
            if quiet >= end:
                continue
            grid = np.linspace(quiet, end, 6001)[1:-1]
            u = potential(layer, inputs.sample(s), start, n, grid)
            peaks = np.flatnonzero((u[1:-1] > u[:-2]) & (u[1:-1] >= u[2:])) + 1
            inside = [x for x in found[s, n] if start < x[0] <= end]
            if peaks.size:
                best = peaks[np.argmax(u[peaks])]
                assert len(inside) == 1
                assert inside[0][0] == pytest.approx(grid[best], abs=2.0 * (grid[1] - grid[0]))
                assert inside[0][1] == pytest.approx(u[best], abs=1e-4)
                kinds["top"] += 1
            elif end == T:
                middle = 0.5 * (quiet + T)
                height = potential(layer, inputs.sample(s), start, n, np.array([middle]))[0]
                assert inside == [(pytest.approx(middle, rel=1e-12), pytest.approx(height, abs=1e-12))]
                kinds["middle"] += 1
            else:
                assert not inside
                kinds["none"] += 1
    assert kinds["top"] > 8 and kinds["middle"] > 1 and sum(map(len, found.values())) == tops.times.size


def test_a_virtual_spike_is_blamed_sigma_times_c_and_hands_nothing_through_a_reset():
    model = network(sizes=(10, 6, 3), mean=0.3)
    rule = TSSLBP()
    spikes, pull = run(model, batch(), PSCDistance(desired_trains(3, T, 6.0), TAU_S, T))
    found = spike_errors(rule, model.layers[1], spikes[1], spikes[2], pull, T)
    _, tops, u = replay(model.layers[1], spikes[1], spikes[2], T, rule.quiet)
    assert tops.times.size > 4
    np.testing.assert_allclose(found.silent[found.kinds != SPIKE], TSSL(u) * pull.at(tops), rtol=1e-12)
    assert not found.silent[found.kinds == SPIKE].any() and not found.inter[found.kinds != SPIKE].any()
    alone = spike_errors(TSSLBP(silent="none"), model.layers[1], spikes[1], spikes[2], pull, T)
    np.testing.assert_array_equal(found.psi[found.kinds == SPIKE], alone.psi)


def test_steps_are_all_multiples_in_quiet_stretches_and_act_on_the_current_alone():
    layer, h = Dense(10, 6, NEURON), 3.0
    layer.init(np.random.default_rng(3), 0.6, 0.6)
    inputs = batch(n=2, spikes=30)
    outputs = layer.forward(inputs, T)
    labels = np.array([0, 1])
    _, pull = PSCDistance(batch(4, n=2, size=6, spikes=10), TAU_S, T)(outputs, labels)
    for silent, quiet in (("steps", 0.25), ("only", np.inf)):
        rule = TSSLBP(silent=silent, reference_step=h)
        _, found, u = replay(layer, inputs, outputs, T, quiet, h)
        wanted = []
        for s, n, k in np.ndindex(2, 6, int(T / h)):
            own = outputs.sample(s).of(n)
            own = own[own < k * h]
            released = own.max(initial=0.0)
            trace = np.sum(np.exp(-(k * h - own) / TAU_S))
            if k > 0 and trace < quiet:
                height = potential(layer, inputs.sample(s), released, n, np.array([k * h]))[0]
                wanted.append((s, k * h, n, height))
        seen = list(zip(found.samples(), found.times, found.neurons, u))
        np.testing.assert_allclose(seen, sorted(wanted), atol=1e-12)
        events = spike_errors(rule, layer, inputs, outputs, pull, T)
        mine = events.kinds != SPIKE
        np.testing.assert_allclose(events.silent[mine], TSSL(u) * pull.at(found), rtol=1e-12)
        assert np.any(events.inter[~mine]) == (silent == "steps")
        got = rule.backward(layer, inputs, outputs, pull, T)[0]["weight"]
        without = TSSLBP(silent="none", reference_step=h).backward(layer, inputs, outputs, pull, T)[0]["weight"]
        gradient = np.zeros((10, 6)) if silent == "only" else without
        for (s, t, n, _), psi in zip(sorted(wanted), TSSL(u) * pull.at(found)):
            train = inputs.sample(s)
            old = train.times < t
            np.add.at(gradient[:, n], train.neurons[old], psi * h / TAU_M * np.exp(-(t - train.times[old]) / TAU_S))
        np.testing.assert_allclose(got, gradient, rtol=1e-10, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize("t_ref", [0.0, 7.2])
def test_replaced_spikes_act_where_their_neuron_is_not_quiet_and_in_their_own_step(t_ref):
    layer, h = Dense(10, 6, NEURON.with_(t_ref=t_ref)), 3.0
    layer.init(np.random.default_rng(3), 0.6, 0.8)
    inputs = batch(n=2, spikes=60)
    outputs = layer.forward(inputs, T)
    _, pull = PSCDistance(batch(4, n=2, size=6, spikes=10), TAU_S, T)(outputs, np.array([0, 1]))
    rule = TSSLBP(silent="replace", reference_step=h)
    steps = spike_errors(TSSLBP(silent="steps", reference_step=h), layer, inputs, outputs, pull, T)
    events = spike_errors(rule, layer, inputs, outputs, pull, T)
    np.testing.assert_array_equal(events.silent[events.silent != 0], steps.silent[steps.silent != 0])
    gradient, kinds = np.zeros((10, 6)), {"whole": 0, "first": 0, "part": 0, "held": 0}
    for s in range(2):
        train, mine = inputs.sample(s), slice(steps.offsets[s], steps.offsets[s + 1])
        last, trace = {}, {}
        for t, n, psi, kind in zip(steps.times[mine], steps.neurons[mine], steps.psi[mine], steps.kinds[mine]):
            arrived = train.times < t
            now = h / TAU_M * np.where(arrived, np.exp(-np.where(arrived, t - train.times, 0.0) / TAU_S), 0.0)
            share = now
            if kind == SPIKE:
                released = last[n] + t_ref if n in last else 0.0
                since = max(last[n] + TAU_S * np.log(trace[n] / 0.25), released) if n in last else 0.0
                if since >= t:
                    share = s_psp(t - released, t - train.times)
                elif since > released:
                    share = now + np.exp((since - t) / TAU_M) * s_psp(since - released, since - train.times)
                what = "whole" if since >= t else "part" if since > released else "held" if n in last else "first"
                kinds[what] += 1
                trace[n] = 1.0 + (trace[n] * np.exp((last[n] - t) / TAU_S) if n in last else 0.0)
                last[n] = t
            np.add.at(gradient[:, n], train.neurons, psi * share)
    got = rule.backward(layer, inputs, outputs, pull, T)[0]["weight"]
    np.testing.assert_allclose(got, gradient, rtol=1e-10, atol=1e-12 * np.abs(gradient).max())
    assert kinds["first"] > 5 and kinds["part"] > 2 and kinds["held" if t_ref else "whole"] > 2, kinds


def test_the_surrogate_is_the_authors_and_bounded():
    u = np.linspace(-3.0, 3.0, 13)
    z = np.clip((1.0 - u) / 0.2, -8.0, 8.0)
    np.testing.assert_allclose(TSSLBP().surrogate(u, 1.0), np.exp(z) / ((1.0 + np.exp(z)) ** 2 * 0.2), rtol=1e-12)
    assert TSSLBP().surrogate(2.0, 2.0) == pytest.approx(1.25 / 2.0)


def test_a_silent_network_learns_to_fire_only_with_the_surrogate_path():
    x = np.random.default_rng(0).random((12, 10))
    y = np.arange(12) % 2
    options = TrainingOptions(
        duration=40.0, encoder="latency", window=(0.0, 20.0), epochs=30, batch_size=6, rate=2e-2, schedule="constant"
    )
    loss = PSCDistance(desired_trains(2, 40.0, 4.0), 10.0, 40.0)
    counts = {}
    for silent in ("steps", "none"):
        model = Sequential(*(Dense(a, b, LIF(tau_m=20.0, tau_syn=10.0)) for a, b in ((10, 20), (20, 2))))
        model.init(3, scale=[0.01, 0.01], mean=[0.05, 0.05])
        trainer = Trainer(model, TSSLBP(silent=silent, reference_step=4.0), loss, Adam(), options)
        if silent == "none":
            with pytest.raises(SilentLayerError):
                list(trainer.epochs(x, y, x, y))
        else:
            rows = list(trainer.epochs(x, y, x, y))
            assert rows[0]["spikes"] == 0 and rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
        counts[silent] = [s.times.size for s in model.forward(options.encode(x, np.arange(12), 1), 40.0)[1:]]
    assert counts["none"] == [0, 0] and min(counts["steps"]) > 20


def test_while_a_layer_is_below_the_rate_of_the_warm_up_it_learns_by_the_surrogate_alone():
    model, loss = network(), PSCDistance(desired_trains(3, T, 6.0), TAU_S, T)
    spikes, pull = run(model, batch(), loss)
    (layer, before, after), count = (model.layers[-1], *spikes[-2:]), spikes[-1].counts().mean()
    own, only = (TSSLBP(silent=s).backward(layer, before, after, pull, T) for s in ("replace", "only"))
    assert not np.array_equal(own[0]["weight"], only[0]["weight"])
    for warm_up, wanted in ((0.0, own), (count * (1 - 1e-9), own), (count * (1 + 1e-9), only)):
        got = TSSLBP(silent="replace", warm_up=warm_up).backward(layer, before, after, pull, T)
        np.testing.assert_array_equal(got[0]["weight"], wanted[0]["weight"])
        np.testing.assert_array_equal(got[1].by_psc, wanted[1].by_psc)
    # From times there is no C where no spike is, so the rule stays as it is.
    slope = VanRossum(desired_trains(3, T, 6.0), 10.0)(spikes[-1], LABELS)[1]
    rules = TSSLBP(silent="none"), TSSLBP(silent="none", warm_up=99.0)
    alone, warm = (rule.backward(layer, before, after, slope, T)[0]["weight"] for rule in rules)
    np.testing.assert_array_equal(alone, warm)


def test_the_warm_up_wakes_a_silent_network_and_then_leaves_it_to_the_rule():
    x, y = np.random.default_rng(0).random((12, 10)), np.arange(12) % 2
    options = TrainingOptions(
        duration=40.0, encoder="latency", window=(0.0, 20.0), epochs=30, batch_size=6, rate=2e-2, schedule="constant"
    )
    loss = PSCDistance(desired_trains(2, 40.0, 4.0), 10.0, 40.0)
    model = Sequential(*(Dense(a, b, LIF(tau_m=20.0, tau_syn=10.0)) for a, b in ((10, 20), (20, 2))))
    model.init(3, scale=[0.01, 0.01], mean=[0.05, 0.05])
    trainer = Trainer(model, TSSLBP(silent="none", warm_up=0.3, reference_step=4.0), loss, Adam(), options)
    rows = list(trainer.epochs(x, y, x, y))
    assert rows[0]["spikes"] == 0 and rows[0]["surrogate_share_0"] == 1.0
    spikes = model.forward(options.encode(x, np.arange(12), 1), 40.0)
    assert min(s.counts().mean() for s in spikes[1:]) > 0.3 and rows[-1]["surrogate_share_0"] == 0.0


# --------------------------------------------------------------------------------------------------- the door


@pytest.mark.parametrize("rule", [
    TSSLBP(), EXACT, TSSLBP(inter="true", silent="steps"), TSSLBP(silent="only"),
    TSSLBP(silent="replace"), TSSLBP(warm_up=99.0),
])  # fmt: skip
def test_threads_change_no_bit_and_a_batch_is_the_sum_of_its_parts(rule):
    model, loss = network(), PSCDistance(desired_trains(3, T, 6.0), TAU_S, T)
    inputs, labels = batch(n=20), np.arange(20) % 3
    spikes, pull = run(model, inputs, loss, labels)
    alone, _ = backward(model, rule, spikes, pull, T)
    for threads in (2, 3):
        got, _ = backward(model, rule, spikes, pull, T, threads)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(weights_of(alone), weights_of(got)))
    total = [np.zeros_like(w) for w in model.weights]
    for part in (np.arange(7), np.arange(7, 20)):
        some, its_pull = run(model, inputs.take(part), loss, labels[part])
        for t, g in zip(total, weights_of(backward(model, rule, some, its_pull, T)[0])):
            t += g
    for a, b in zip(weights_of(alone), total):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("silent", ["none", "virtual", "steps", "replace", "only"])
def test_no_spikes_give_zeros(silent):
    model = network(mean=0.0, scale=0.0)
    nothing = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(3, np.int64), 10)
    spikes, pull = run(model, nothing, PSCDistance(desired_trains(3, T, 6.0), TAU_S, T), LABELS[:2])
    gradients, below = backward(model, TSSLBP(silent=silent), spikes, pull, T, wants_signal=True)
    assert not any(g.any() for g in weights_of(gradients)) and below.by_psc.size == 0


@pytest.mark.parametrize("loss", [
    VanRossum(desired_trains(3, T, 6.0), 10.0), PSCCount(TAU_S, T, 5.0, 1.0),
    PSCDistance(desired_trains(3, T, 6.0), TAU_S, T),
])  # fmt: skip
def test_every_loss_of_trains_starts_it_and_has_a_true_gradient_beside(loss):
    report = check_gradient(network(), TSSLBP(), loss, batch(), LABELS, T, differences=0, replays=0)
    exact = check_gradient(network(), EXACT, loss, batch(), LABELS, T, differences=4, replays=0)
    assert len(report.rows) == 3 and all(np.isfinite(r.cosine) for r in report.rows)
    assert all(r.relative_error < (1e-9 if r.against == "EventProp" else 1e-4) for r in exact.rows)


def test_from_derivatives_by_times_the_output_layer_has_the_chain_rules_inter_term():
    model, loss = network(sizes=(10, 3)), VanRossum(desired_trains(3, T, 6.0), 2.0 * TAU_S)
    spikes, slope = run(model, batch(), loss)
    code, _ = backward(model, TSSLBP(silent="none", intra="none", reference_step=2.0), spikes, slope, T)
    true, _ = backward(model, TSSLBP(silent="none", intra="none", reference_step=2.0, inter="true"), spikes, slope, T)
    np.testing.assert_allclose(code[0]["weight"], true[0]["weight"] * TAU_S / 2.0, rtol=1e-12)
    with pytest.raises(GradientError, match="loss of PSCs"):
        backward(model, TSSLBP(silent="only"), spikes, slope, T)


@pytest.mark.parametrize(("layer", "words"), [
    (Dense(10, 3, NEURON, lateral_inhibition=0.5), "lateral"), (Recurrent(10, 3, NEURON), "recurrent"),
    (Dense(10, 3, NEURON.with_(tau_syn=None)), "one exponential current"),
    (Dense(10, 3, NEURON.with_(tau_syn=(5.0, 9.0))), "one exponential current"),
    (Dense(10, 3, NEURON, delay=np.ones((10, 3))), "delays must be one number, or one per sending neuron"),
])  # fmt: skip
def test_layers_that_it_cannot_follow_are_refused(layer, words):
    layer.init(np.random.default_rng(0), 0.5, 0.5)
    outputs = layer.forward(batch(), T)
    with pytest.raises(GradientError, match=words):
        TSSLBP().backward(layer, batch(), outputs, np.zeros(outputs.times.size), T)


@pytest.mark.parametrize("bad", [
    {"inter": "x"}, {"intra": "x"}, {"silent": "x"}, {"a": 0.0}, {"max_gain": -1.0}, {"reference_step": 0.0},
    {"max_z": np.nan}, {"quiet": 1.0}, {"quiet": 0.0}, {"warm_up": -1.0},
])  # fmt: skip
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        TSSLBP(**bad)

"""evsim.learning.rules.hm2bp: the gradients against the formulas, written out sample by sample in NumPy."""

import numpy as np
import pytest

from evsim.learning import HM2BP, CountLoss, Dense, Sequential
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains

T_STOP = 100.0
SILENT_INPUTS, SILENT_OUTPUTS = [10, 11], [3, 18]
OFF = {"silent_psp": 0.0, "silent_micro": 0.0, "silent_ratio": 0.0, "fake_target_train": False}


# ------------------------------------------------------------------------------------------- slow reference



def backward(rule, *around, **switches):
    """Weight gradient and signal of a rule."""
    gradients, signal = rule.backward(*around, **switches)
    return gradients["weight"], signal


def unit_psp(t, tau_m, tau_s):
    """Potential t ms after an arriving unit spike, from rest; tau_m != tau_s."""
    return tau_s / (tau_m - tau_s) * (np.exp(-t / tau_m) - np.exp(-t / tau_s))


def pair_sums(inputs, outputs, neuron, delay):
    """S-PSPs (n_post, n_pre) by the pair kernel, summed over all pairs of spikes."""
    tau_m, tau_s, t_ref = float(neuron.tau_m), float(neuron.tau_syn), float(neuron.t_ref)
    arrivals = inputs.times + delay
    e = np.zeros((outputs.size, inputs.size))
    for i in range(outputs.size):
        release = 0.0
        for t in outputs.of(i):
            x = t - arrivals
            m = np.minimum(t - release, x)
            response = np.where(x > 0, np.exp(-(x - m) / tau_s) * unit_psp(m, tau_m, tau_s), 0.0)
            e[i] += np.bincount(inputs.neurons, weights=response, minlength=inputs.size)
            release = t + t_ref
    return e


def lateral_gamma(rule, layer, train, error):
    """gamma_j = 1/(1 - w0^2 sum_l (e_lj/o_j) (e_jl/o_l)/(nu_l nu_j)), l != j, the silent as in the rule."""
    o, nu = train.counts(), layer.theta
    scale = layer.neuron.tau_syn / layer.neuron.tau_m
    e = pair_sums(train, train, layer.neuron, layer.lateral_delay)
    gamma = np.ones(o.size)

    def hop(i, j):
        if o[i] == 0 and i != np.argmin(error):
            return 0.0
        return (rule.silent_ratio * scale if 0 in (o[i], o[j]) else e[i, j] / o[j]) / nu[i]

    for j in range(o.size):
        loops = sum(hop(k, j) * hop(j, k) for k in range(o.size) if k != j)
        gamma[j] = 1.0 / (1.0 - layer.lateral_inhibition**2 * loops)
    return gamma


def slow_backward(rule, layer, inputs, outputs, signal, is_output=False):
    """Gradients (n_in, n_out) and the signal to the inputs (samples, n_in), neuron by neuron."""
    nu, w = layer.theta, layer.weight
    tau_m, t_ref = layer.neuron.tau_m, layer.neuron.t_ref
    scale = layer.neuron.tau_syn / tau_m
    gradient, back = np.zeros_like(w), np.zeros((len(inputs), layer.n_in))
    for k, (pre, post) in enumerate(zip(inputs, outputs)):
        delta = signal[k] / nu
        passed = delta
        if is_output and layer.lateral_inhibition > 0:
            delta = delta * lateral_gamma(rule, layer, post, signal[k])
        passed = delta if rule.pass_lateral else passed
        target = int(np.argmin(signal[k]))
        wanted = int(np.floor(-signal[k, target]))
        if is_output and rule.fake_target_train and post.counts()[target] == 0 and wanted > 0:
            fake = [(n + 0.5) * T_STOP / wanted for n in range(wanted)]
            if rule.fake_step:
                gap = rule.fake_step * (T_STOP // (wanted * rule.fake_step))
                fake = [n * gap for n in range(1, 999) if n * gap < T_STOP]
            post = SpikeTrains([*post.times, *fake], [*post.neurons, *([target] * len(fake))], post.size)
        o, o_pre, e = post.counts(), pre.counts(), pair_sums(pre, post, layer.neuron, layer.delay)
        for i in range(layer.n_out):
            active = o_pre > 0
            if o[i] > 0:
                s = w[:, i] @ e[i] / (nu[i] * o[i])
                interval = T_STOP / o[i]
                gamma = np.expm1((interval - t_ref) / tau_m) / (interval / tau_m)
                ratio = np.where(active, e[i] / np.maximum(o_pre, 1), rule.silent_ratio * scale)
            else:
                e[i] = np.where(active, rule.silent_psp * scale, 0.0)
                summed = active if rule.silent_sources == "active" else slice(None)
                s = w[summed, i].sum() * rule.silent_micro * scale / nu[i]
                gamma = 1.0
                ratio = np.full(layer.n_in, rule.silent_ratio * scale)
            micro = 1.0 + s if rule.micro == "paper" else 1.0
            macro = min(gamma, rule.max_gamma) if rule.micro == "meanfield" else 1.0
            gradient[:, i] += delta[i] * macro * micro * e[i]
            back[k] += passed[i] * macro * (micro if rule.pass_factor else 1.0) * w[:, i] * ratio
    return gradient, back


# ------------------------------------------------------------------------------------------------- the cases


def make_case(seed=1, lateral=0.0, n_samples=3):
    """A layer of 12 inputs and 20 neurons (blocks of three, the last short), some silent on both sides."""
    rng = np.random.default_rng(seed)
    neuron = LIF(tau_m=20.0, tau_syn=5.0, t_ref=2.0, v_th=rng.uniform(0.3, 0.8, 20))
    layer = Dense(12, 20, neuron, delay=0.7, lateral_inhibition=lateral, lateral_delay=1.3)
    layer.weight = rng.uniform(-0.5, 1.5, (12, 20))
    layer.weight[:, SILENT_OUTPUTS] = -0.2 - rng.uniform(0.0, 1.0, (12, 2))
    trains = []
    for _ in range(n_samples):
        n = int(rng.integers(40, 80))
        trains.append(SpikeTrains(rng.uniform(0.0, T_STOP, n), rng.integers(0, 10, n), 12))
    inputs = SpikeBatch.from_trains(trains)
    outputs = layer.forward(inputs, T_STOP)
    signal = rng.normal(0.0, 2.0, (n_samples, 20))
    signal[0, 5] = 0.0
    return layer, inputs, outputs, signal


def assert_close(got, expected):
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * np.abs(b).max())


def test_the_cases_have_silent_and_busy_neurons_on_both_sides():
    _, inputs, outputs, _ = make_case()
    assert not inputs.counts()[:, SILENT_INPUTS].any() and not outputs.counts()[:, SILENT_OUTPUTS].any()
    assert np.count_nonzero(outputs.counts() > 1) > 30


@pytest.mark.parametrize("micro", ["paper", "none", "meanfield"])
@pytest.mark.parametrize(
    "switches",
    [{}, OFF, {"silent_psp": 0.3, "silent_micro": 0.7, "silent_ratio": 2.0}, {"silent_sources": "all"}],
)
def test_gradients_and_signal_are_those_of_the_formulas(micro, switches):
    layer, inputs, outputs, signal = make_case()
    rule = HM2BP(micro=micro, **switches)
    got = backward(rule, layer, inputs, outputs, signal, T_STOP)
    assert_close(got, slow_backward(rule, layer, inputs, outputs, signal))
    assert np.count_nonzero(got[0]) > 100


def test_arrivals_in_s_psps_may_have_another_delay_than_in_the_network():
    layer, inputs, outputs, signal = make_case(3, lateral=0.2)
    got = backward(HM2BP(psp_delay=2.1), layer, inputs, outputs, signal, T_STOP, is_output=True)
    twin = Dense(12, 20, layer.neuron, delay=2.1, lateral_inhibition=0.2, lateral_delay=2.1)
    twin.weight = layer.weight
    want = backward(HM2BP(), twin, inputs, outputs, signal, T_STOP, is_output=True)
    assert all(np.array_equal(a, b) for a, b in zip(got, want))
    same = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP, is_output=True)
    assert not any(np.array_equal(a, b) for a, b in zip(got, same))


@pytest.mark.parametrize("micro", ["paper", "none", "meanfield"])
@pytest.mark.parametrize("fake_step", [0.0, 1.0, 3.0])
def test_a_silent_target_gets_a_regular_train_of_the_wanted_count(micro, fake_step):
    layer, inputs, outputs, signal = make_case(2)
    signal[0, 3], signal[1, 18] = -7.9, -5.0
    rule = HM2BP(micro=micro, fake_step=fake_step)
    got = backward(rule, layer, inputs, outputs, signal, T_STOP, is_output=True)
    assert_close(got, slow_backward(rule, layer, inputs, outputs, signal, is_output=True))
    hidden = backward(rule, layer, inputs, outputs, signal, T_STOP)
    changed = np.flatnonzero(np.any(got[0] != hidden[0], axis=0))
    assert changed.tolist() == [3, 18]
    without = HM2BP(micro=micro, fake_target_train=False)
    got = backward(without, layer, inputs, outputs, signal, T_STOP, is_output=True)
    assert all(np.array_equal(a, b) for a, b in zip(got, hidden))


def test_the_train_of_a_silent_target_leaves_room_for_the_refractory_period():
    # With 2 ms of refractoriness 50 spikes fit into 100 ms, and each but the first finds V just reset.
    layer, inputs, outputs, signal = make_case(2, n_samples=1)
    gradients = []
    for count in (50.0, 70.0, 500.0):
        signal[0, 3] = -count
        gradient, _ = backward(HM2BP(micro="none"), layer, inputs, outputs, signal, T_STOP, is_output=True)
        gradients.append(gradient[:, 3] / count)
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-12)
    np.testing.assert_allclose(gradients[2], gradients[0], rtol=1e-12)


def test_a_silent_neuron_that_is_not_wanted_gets_no_train():
    layer, inputs, outputs, signal = make_case(2)
    signal[:, 3], signal[:, 18], signal[:, 0] = -7.9, 3.0, -9.0
    rule = HM2BP()
    got = backward(rule, layer, inputs, outputs, signal, T_STOP, is_output=True)
    assert all(
        np.array_equal(a, b) for a, b in zip(got, backward(rule, layer, inputs, outputs, signal, T_STOP))
    )


@pytest.mark.parametrize("micro", ["paper", "none", "meanfield"])
@pytest.mark.parametrize("passes", [True, False])
def test_lateral_inhibition_multiplies_the_errors_by_gamma(micro, passes):
    layer, inputs, outputs, signal = make_case(3, lateral=0.2)
    signal[0, 3] = -6.5
    rule = HM2BP(micro=micro, pass_lateral=passes)
    got = backward(rule, layer, inputs, outputs, signal, T_STOP, is_output=True)
    assert_close(got, slow_backward(rule, layer, inputs, outputs, signal, is_output=True))
    gammas = np.array([lateral_gamma(rule, layer, o, s) for o, s in zip(outputs, signal)])
    assert np.abs(gammas - 1.0).max() > 0.01
    assert np.all(gammas[1, SILENT_OUTPUTS] == 1.0)


def test_gamma_is_one_without_lateral_inhibition_and_below_the_output_layer():
    layer, inputs, outputs, signal = make_case(3)
    rule = HM2BP(fake_target_train=False)
    at_output = backward(rule, layer, inputs, outputs, signal, T_STOP, is_output=True)
    hidden = backward(rule, layer, inputs, outputs, signal, T_STOP)
    layer.lateral_inhibition = 0.2
    inhibited = backward(rule, layer, inputs, outputs, signal, T_STOP)
    for a, b, c in zip(at_output, hidden, inhibited):
        assert np.array_equal(a, b) and np.array_equal(b, c)


def test_silent_psp_0_teaches_silent_neurons_nothing_and_others_as_before():
    layer, inputs, outputs, signal = make_case()
    with_it, _ = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    without, _ = backward(HM2BP(silent_psp=0.0), layer, inputs, outputs, signal, T_STOP)
    spoke = outputs.counts().all(axis=0)
    assert np.array_equal(with_it[:, spoke], without[:, spoke])
    assert not without[:, SILENT_OUTPUTS].any() and with_it[:10, SILENT_OUTPUTS].all()


def test_silent_micro_0_leaves_silent_neurons_the_plain_gradient():
    layer, inputs, outputs, signal = make_case()
    zero, _ = backward(HM2BP(silent_micro=0.0), layer, inputs, outputs, signal, T_STOP)
    none, _ = backward(HM2BP(micro="none"), layer, inputs, outputs, signal, T_STOP)
    paper, _ = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    assert np.array_equal(zero[:, SILENT_OUTPUTS], none[:, SILENT_OUTPUTS])
    assert np.all(paper[:10, SILENT_OUTPUTS] != none[:10, SILENT_OUTPUTS])


def test_silent_ratio_0_passes_nothing_to_or_from_silent_neurons():
    layer, inputs, outputs, signal = make_case()
    only_silent = np.zeros_like(signal)
    only_silent[:, SILENT_OUTPUTS] = signal[:, SILENT_OUTPUTS]
    for ratio, passes in ((0.0, False), (1.0, True)):
        rule = HM2BP(silent_ratio=ratio)
        assert backward(rule, layer, inputs, outputs, only_silent, T_STOP)[1].any() == passes
        assert backward(rule, layer, inputs, outputs, signal, T_STOP)[1][:, SILENT_INPUTS].any() == passes


def test_max_gamma_bounds_the_meanfield_factor():
    layer, inputs, outputs, signal = make_case()
    none = backward(HM2BP(micro="none"), layer, inputs, outputs, signal, T_STOP)
    bounded = backward(HM2BP(micro="meanfield", max_gamma=0.5), layer, inputs, outputs, signal, T_STOP)
    spoke = outputs.counts().all(axis=0)
    np.testing.assert_allclose(bounded[0][:, spoke], 0.5 * none[0][:, spoke], rtol=1e-12)


def test_the_papers_micro_factor_is_2_for_every_spiking_neuron():
    layer, inputs, outputs, signal = make_case(n_samples=6)
    paper, back = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    none, same_back = backward(HM2BP(micro="none"), layer, inputs, outputs, signal, T_STOP)
    spoke = outputs.counts().all(axis=0)
    assert np.count_nonzero(spoke) > 5
    np.testing.assert_allclose(paper[:, spoke], 2.0 * none[:, spoke], rtol=1e-12, atol=0.0)
    assert np.array_equal(back, same_back)


def test_with_lateral_inhibition_the_micro_factor_is_not_2():
    layer, inputs, outputs, signal = make_case(lateral=0.2, n_samples=1)
    paper, _ = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    none, _ = backward(HM2BP(micro="none"), layer, inputs, outputs, signal, T_STOP)
    learns = (outputs.counts().all(axis=0))[None, :] & (none != 0.0)
    factor = paper[learns] / none[learns]
    assert factor.min() > 2.0 - 1e-9 and np.median(factor) > 2.05


@pytest.mark.parametrize("micro", ["paper", "none", "meanfield"])
def test_the_factor_of_the_gradients_can_be_passed_on(micro):
    layer, inputs, outputs, signal = make_case()
    plain = HM2BP(micro=micro, silent_ratio=0.0)
    rule = HM2BP(micro=micro, silent_ratio=0.0, pass_factor=True)
    got = backward(rule, layer, inputs, outputs, signal, T_STOP)
    assert_close(got, slow_backward(rule, layer, inputs, outputs, signal))
    _, back = backward(plain, layer, inputs, outputs, signal, T_STOP)
    np.testing.assert_allclose(got[1], (2.0 if micro == "paper" else 1.0) * back, rtol=1e-12)


@pytest.mark.parametrize("lateral", [0.0, 0.2])
def test_threads_change_no_bit_of_the_gradients(lateral):
    layer, inputs, outputs, signal = make_case(lateral=lateral, n_samples=7)
    alone = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP, is_output=True, threads=1)
    for threads in (2, 3):
        got = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP, is_output=True, threads=threads)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, got))


def test_the_gradient_of_a_batch_is_the_sum_over_its_parts():
    layer, inputs, outputs, signal = make_case(n_samples=7)
    whole, back = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    running, backs = np.zeros_like(whole), []
    for part in (slice(0, 3), slice(3, 4), slice(4, 7)):
        some = (SpikeBatch.from_trains(list(b)[part]) for b in (inputs, outputs))
        gradient, signal_in = backward(HM2BP(), layer, *some, signal[part], T_STOP)
        running += gradient
        backs.append(signal_in)
    np.testing.assert_allclose(running, whole, rtol=1e-12, atol=1e-12 * np.abs(whole).max())
    assert np.array_equal(np.concatenate(backs), back)


def test_a_signal_that_is_not_wanted_is_not_computed_and_changes_no_gradient():
    layer, inputs, outputs, signal = make_case()
    wanted = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    unwanted = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP, wants_signal=False)
    assert wanted[0].tobytes() == unwanted[0].tobytes()
    assert wanted[1].any() and not unwanted[1].any()


def test_no_error_gives_no_gradient_and_no_signal():
    layer, inputs, outputs, signal = make_case()
    gradient, back = backward(HM2BP(), layer, inputs, outputs, 0.0 * signal, T_STOP, is_output=True)
    assert not gradient.any() and not back.any()


def test_rows_of_silent_inputs_get_no_gradient():
    layer, inputs, outputs, signal = make_case()
    gradient, _ = backward(HM2BP(), layer, inputs, outputs, signal, T_STOP)
    assert not gradient[SILENT_INPUTS].any()


@pytest.mark.parametrize("micro", ["paper", "none", "meanfield"])
def test_steps_against_the_gradient_lower_the_loss(micro):
    rng = np.random.default_rng(7)
    neuron = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0)
    model = Sequential(Dense(10, 16, neuron.with_(v_th=0.4)), Dense(16, 3, neuron.with_(v_th=0.5)))
    model.init(seed=1)
    trains = [SpikeTrains(rng.uniform(0.0, T_STOP, 80), rng.integers(0, 10, 80), 10) for _ in range(6)]
    inputs, labels = SpikeBatch.from_trains(trains), np.arange(6) % 3
    loss, rule = CountLoss(desired=12.0, undesired=2.0, margin=1.0), HM2BP(micro=micro)
    values = []
    for _ in range(12):
        spikes = model.forward(inputs, T_STOP)
        value, signal = loss(spikes[-1], labels)
        values.append(value.sum())
        for k in (1, 0):
            layer = model.layers[k]
            gradient, signal = backward(rule,
                layer, spikes[k], spikes[k + 1], signal, T_STOP, is_output=k == 1
            )
            layer.weight -= 0.02 * gradient / np.sqrt(np.mean(gradient**2))
    assert min(values[-3:]) < 0.5 * values[0]


def test_an_unknown_micro_mode_is_refused():
    with pytest.raises(ValueError, match="paper, none, meanfield"):
        HM2BP(micro="exact")

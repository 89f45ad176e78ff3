"""evsim.learning.rules.st_rsbp: gradients against a count-level model solved by itself, and against loops."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.integrate import quad

from evsim.cli.main import main
from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    STRSBP,
    CountLoss,
    Dense,
    EventProp,
    Readout,
    Recurrent,
    Sequential,
    VoltageCrossEntropy,
    s_psp,
)
from evsim.learning.layers.readout import arrival_factors
from evsim.learning.protocols import backward
from evsim.learning.rules.counts.slopes import interval_means, poisson_mean, published_slope, regular_mean
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains

T_STOP = 100.0
QUIET = {"silent_psp": 0.0, "silent_ratio": 0.0, "fake_target_train": False, "least_diagonal": 1e-9}
SILENT = [3, 7]


def some_layer(kind=Recurrent, seed=1, n_in=6, n_out=9, samples=3, t_ref=1.5, strength=0.5, **options):
    """A layer with silent neurons and a silent input, its input spikes, and what it makes of them."""
    rng = np.random.default_rng(seed)
    neuron = LIF(tau_m=20.0, tau_syn=5.0, t_ref=t_ref, v_th=rng.uniform(0.3, 0.8, n_out))
    layer = kind(n_in, n_out, neuron, delay=rng.uniform(0.0, 2.0, n_in), **options)
    layer.weight = rng.uniform(-0.4, 1.4, (n_in, n_out))
    layer.weight[:, SILENT] = -1.0
    if kind is Recurrent:
        layer.recurrent_weight = rng.normal(0.0, strength, (n_out, n_out)) / np.sqrt(n_out)
        layer.recurrent_weight[:, SILENT] = -0.3
    trains = [SpikeTrains(rng.uniform(0.0, T_STOP, 50), rng.integers(0, n_in - 1, 50), n_in) for _ in range(samples)]
    inputs = SpikeBatch.from_trains(trains)
    outputs = layer.forward(inputs, T_STOP)
    assert (outputs.counts() > 1).sum() >= 4 * samples and not outputs.counts()[:, SILENT].any()
    return layer, inputs, outputs, rng.normal(0.0, 1.0, (samples, n_out))


def psps(layer, pre, post):
    """e of input and recurrent synapses of one sample, (n_post, n_in) and (n_post, n_post)."""
    moved = SpikeTrains(pre.times + layer.delay[pre.neurons], pre.neurons, pre.size)
    inner = s_psp(post, post, layer.neuron, T_STOP, float(np.max(layer.recurrent_delay)))
    return s_psp(moved, post, layer.neuron, T_STOP), inner


def close(got, expected, tolerance=1e-10):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def neurons_own_slope(form, train, i, neuron):
    """d log e/d log o of neuron i, by differences of the mean that the form supposes."""
    o = train.counts()[i]
    if form == "intervals":
        times = train.of(i)
        gaps = np.diff(times, prepend=0.0)
        dead = np.where(np.arange(o) > 0, neuron.t_ref, 0.0)

        def mean(c):
            return c * np.mean(-np.expm1(-(gaps * o / c - dead) / neuron.tau_m))
    else:
        of = {"regular": regular_mean, "poisson": poisson_mean}[form]

        def mean(c):
            return of(c, T_STOP, neuron.tau_m, neuron.t_ref)[0]

    h = 1e-4 * o
    return o * (mean(o + h) - mean(o - h)) / (2 * h) / mean(o)


# ------------------------------------------------------------------------------------------ the count-level model


class CountModel:
    """Counts that solve nu o = sum w e(o_in, o) + sum r e(o, o), e scaled from the measured ones by the closed form."""

    def __init__(self, layer, pre, post, form):
        self.layer, self.form, self.post = layer, form, post
        self.o_in, self.o = pre.counts().astype(float), post.counts().astype(float)
        self.spoke = self.o > 0
        self.e_in, self.e_rec = psps(layer, pre, post)

    def own(self, o):
        """m(o)/m(o measured) of each neuron."""
        neuron, out = self.layer.neuron, np.ones(o.size)
        for i in np.flatnonzero(self.spoke):
            if self.form == "intervals":
                gaps = np.diff(self.post.of(i), prepend=0.0)
                dead = np.where(np.arange(gaps.size) > 0, neuron.t_ref, 0.0)
                values = [c * np.mean(-np.expm1(-(gaps * self.o[i] / c - dead) / neuron.tau_m))
                          for c in (o[i], self.o[i])]  # fmt: skip
            else:
                of = {"regular": regular_mean, "poisson": poisson_mean}[self.form]
                values = [of(c, T_STOP, neuron.tau_m, neuron.t_ref)[0] for c in (o[i], self.o[i])]
            out[i] = values[0] / values[1]
        return out

    def residual(self, o, o_in, w, r):
        own = self.own(o)[:, None]
        share = np.divide(o, self.o, out=np.zeros(o.size), where=self.spoke)
        share_in = np.divide(o_in, self.o_in, out=np.zeros(o_in.size), where=self.o_in > 0)
        a = (w.T * self.e_in * own * share_in).sum(1) + (r.T * self.e_rec * own * share).sum(1)
        return np.where(self.spoke, self.layer.theta * o - a, 0.0)

    def jacobian(self):
        """Of the residual by the counts of the neurons that spoke, where they were measured, by differences."""
        live = np.flatnonzero(self.spoke)
        columns = []
        for i in live:
            step = 1e-5 * np.eye(self.o.size)[i]
            ends = [self.residual(o, self.o_in, self.layer.weight, self.layer.recurrent_weight)[live]
                    for o in (self.o + step, self.o - step)]  # fmt: skip
            columns.append((ends[0] - ends[1]) / 2e-5)
        return live, np.stack(columns, axis=1)

    def counts(self, jacobian, o_in=None, w=None, r=None):
        """The counts near the measured ones, by Newton's method with one Jacobian; the silent stay silent."""
        o_in = self.o_in if o_in is None else o_in
        w = self.layer.weight if w is None else w
        r = self.layer.recurrent_weight if r is None else r
        o, (live, slopes) = self.o.copy(), jacobian
        for _ in range(30):
            step = np.linalg.solve(slopes, self.residual(o, o_in, w, r)[live])
            o[live] -= step
            if np.abs(step).max() < 1e-13:
                return o
        raise AssertionError("Newton's method did not converge")


@pytest.mark.parametrize("form", ["regular", "poisson", "intervals"])
def test_the_gradients_are_those_of_the_count_level_model(form):
    layer, inputs, outputs, signal = some_layer(samples=1)
    model = CountModel(layer, inputs.sample(0), outputs.sample(0), form)
    np.testing.assert_allclose(model.residual(model.o, model.o_in, layer.weight, layer.recurrent_weight), 0, atol=1e-12)
    rule = STRSBP(slopes=form, **QUIET)
    gradients, below = rule.backward(layer, inputs, outputs, signal, T_STOP)

    jacobian = model.jacobian()

    def difference(name, place):
        def central(h):
            values = []
            for change in (h, -h):
                moved = {"w": layer.weight, "r": layer.recurrent_weight, "o_in": model.o_in}[name].copy()
                moved[place] += change
                values.append(signal[0] @ model.counts(jacobian, **{name: moved}))
            return (values[0] - values[1]) / (2 * h)

        return (4.0 * central(5e-5) - central(1e-4)) / 3.0

    close(gradients["weight"][:, :5], [[difference("w", (i, n)) for n in range(5)] for i in range(6)], 1e-6)
    rows = [[difference("r", (p, n)) for n in range(9)] for p in (0, 2, 3, 5)]
    close(gradients["recurrent_weight"][[0, 2, 3, 5]], rows, 1e-6)
    close(below[0, :5], [difference("o_in", j) for j in range(5)], 1e-6)


def test_counts_are_held_up_by_inputs_and_feedback_exactly():
    layer, inputs, outputs, _ = some_layer()
    for pre, post in zip(inputs, outputs):
        e_in, e_rec = psps(layer, pre, post)
        a = (layer.weight.T * e_in).sum(1) + (layer.recurrent_weight.T * e_rec).sum(1)
        np.testing.assert_allclose(a / layer.theta, post.counts(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["regular", "poisson", "intervals"])
def test_one_adjoint_solve_equals_the_solve_by_columns(form):
    layer, inputs, outputs, signal = some_layer()
    rule = STRSBP(slopes=form, silent_psp=0.3, silent_ratio=0.7, least_diagonal=0.2)
    gradients, below = rule.backward(layer, inputs, outputs, signal, T_STOP)
    scale, nu = 5.0 / 20.0, layer.theta
    by_w, by_r = np.zeros(layer.weight.shape), np.zeros(layer.recurrent_weight.shape)
    for k, (pre, post) in enumerate(zip(inputs, outputs)):
        e_in, e_rec = psps(layer, pre, post)
        o_in, o = pre.counts(), post.counts()
        omega = np.eye(9)
        phi = np.zeros((9, 6))
        for n in range(9):
            if o[n]:
                omega[n, n] = max(1.0 - neurons_own_slope(form, post, n, layer.neuron), 0.2)
            for p in range(9):
                ratio = e_rec[n, p] / o[p] if o[n] and o[p] else 0.7 * scale
                omega[n, p] -= layer.recurrent_weight[p, n] * ratio / nu[n]
                if o[p] and not o[n]:
                    e_rec[n, p] = 0.3 * scale
            for j in range(6):
                phi[n, j] = layer.weight[j, n] * (e_in[n, j] / o_in[j] if o[n] and o_in[j] else 0.7 * scale)
                if o_in[j] and not o[n]:
                    e_in[n, j] = 0.3 * scale
        inverse = np.linalg.inv(omega) / nu
        close(below[k], signal[k] @ (inverse @ phi), 1e-6)
        by_w += (signal[k] @ inverse)[None] * e_in.T
        by_r += (signal[k] @ inverse)[None] * e_rec.T
    close(gradients["weight"], by_w, 1e-6)
    close(gradients["recurrent_weight"], by_r, 1e-6)
    assert gradients["weight"][:5, SILENT].all() and not gradients["weight"][5].any()


@pytest.mark.parametrize("switches", [{}, QUIET, {"silent_psp": 0.3, "silent_ratio": 2.0}])
def test_without_feedback_it_is_hm2bp_with_the_meanfield_factor(switches):
    rng = np.random.default_rng(3)
    layer, inputs, outputs, signal = some_layer(Dense, samples=5)
    layer.delays.fixed = np.asarray(0.7)
    signal[0, 3] = -7.9
    for is_output in (False, True):
        rule = STRSBP(**switches)
        twin = HM2BP(
            "meanfield", silent_psp=rule.silent_psp, silent_ratio=rule.silent_ratio,
            fake_target_train=rule.fake_target_train, max_gamma=1.0 / rule.least_diagonal,
        )  # fmt: skip
        around = layer, inputs, outputs, signal, T_STOP
        mine, his = (r.backward(*around, is_output=is_output) for r in (rule, twin))
        close(mine[0]["weight"], his[0]["weight"], 1e-11)
        close(mine[1], his[1], 1e-11)
    recurrent, inputs, outputs, _ = some_layer(Recurrent, samples=5, strength=0.0)
    recurrent.recurrent_weight[:] = 0.0
    outputs, signal = recurrent.forward(inputs, T_STOP), rng.normal(0.0, 1.0, (5, 9))
    layer.weight, layer.delays.fixed, layer.neuron = recurrent.weight, recurrent.delay, recurrent.neuron
    mine, his = (STRSBP(**switches).backward(x, inputs, outputs, signal, T_STOP) for x in (recurrent, layer))
    close(mine[0]["weight"], his[0]["weight"], 1e-11)
    close(mine[1], his[1], 1e-11)


def test_hops_add_up_to_the_solve():
    layer, inputs, outputs, signal = some_layer(strength=0.3)
    solved, below = STRSBP().backward(layer, inputs, outputs, signal, T_STOP)
    system = STRSBP().system(layer, inputs, outputs, T_STOP)
    diagonal = system.omega * system.nu
    step = system.feedback / diagonal[:, :, None]
    assert max(np.abs(np.linalg.eigvals(s)).max() for s in step) < 0.9
    for hops, name in ((300, "solve"), (0, "none"), (2, "two")):
        got, down = STRSBP(hops=hops).backward(layer, inputs, outputs, signal, T_STOP)
        if name == "solve":
            close(got["recurrent_weight"], solved["recurrent_weight"])
            close(down, below)
            continue
        lam = signal / diagonal
        if name == "two":
            f = step.transpose(0, 2, 1)
            own = signal / diagonal
            back = system.feedback.transpose(0, 2, 1) / diagonal[:, :, None]
            lam = own + np.einsum("kpl,kl->kp", back, own) + np.einsum("kpl,klm,km->kp", back, back, own)
            assert f.shape == back.shape
        close(got["recurrent_weight"], np.einsum("kl,klp->pl", lam, system.recurrent_psp))


def test_published_credit_keeps_weights_to_their_own_neuron():
    layer, inputs, outputs, signal = some_layer()
    rule = STRSBP(credit="published", slopes="published", **{**QUIET, "least_diagonal": 1e-4})
    got, below = rule.backward(layer, inputs, outputs, signal, T_STOP)
    system = rule.system(layer, inputs, outputs, T_STOP)
    assert not np.einsum("kii->ki", system.feedback).any()
    by_w, by_r = np.zeros(layer.weight.shape), np.zeros(layer.recurrent_weight.shape)
    for k, (pre, post) in enumerate(zip(inputs, outputs)):
        e_in, e_rec = psps(layer, pre, post)
        o_in, o, omega, nu = pre.counts(), post.counts(), np.eye(9), layer.theta
        # The authors' table begins at a count of 1, and is read there for the silent.
        at_least_one, inputs_at_least_one = np.maximum(o, 1), np.maximum(o_in, 1)
        for n in range(9):
            pull = layer.weight[:, n] @ inputs_at_least_one + layer.recurrent_weight[:, n] @ at_least_one
            omega[n, n] = 1.0 - pull * (5.0 / T_STOP) * published_slope(at_least_one[n], T_STOP, 20.0, 1.5) / nu[n]
        for n in np.flatnonzero(o):
            for p in np.flatnonzero(o):
                if p != n:
                    omega[n, p] = -layer.recurrent_weight[p, n] * e_rec[n, p] / o[p] / nu[n]
        np.testing.assert_allclose(system.omega[k], np.diag(omega), rtol=1e-10)
        delta = signal[k] / nu
        by_w += delta / np.diag(omega) * e_in.T
        by_r += delta / np.diag(omega) * e_rec.T
        phi = layer.weight.T * np.divide(e_in, o_in, out=np.zeros(e_in.shape), where=o_in > 0)
        close(below[k], signal[k] @ np.linalg.solve(omega, phi / nu[:, None]))
    close(got["weight"], by_w)
    close(got["recurrent_weight"], by_r)


def test_transposed_credit_multiplies_from_the_other_side():
    layer, inputs, outputs, signal = some_layer(n_in=9)
    rule = STRSBP(credit="transposed", **QUIET)
    got, below = rule.backward(layer, inputs, outputs, signal, T_STOP)
    published, _ = STRSBP(credit="published", **QUIET).backward(layer, inputs, outputs, signal, T_STOP)
    assert np.array_equal(got["weight"], published["weight"])
    system = rule.system(layer, inputs, outputs, T_STOP)
    for k, (pre, post) in enumerate(zip(inputs, outputs)):
        e_in, _ = psps(layer, pre, post)
        phi = layer.weight.T * np.divide(e_in, pre.counts(), out=np.zeros(e_in.shape), where=pre.counts() > 0)
        omega = system.matrix()[k] / layer.theta[:, None]
        close(below[k], (signal[k] / layer.theta) @ phi @ np.linalg.inv(omega))


def test_lateral_inhibition_is_feedback_that_is_not_trained():
    layer, inputs, outputs, signal = some_layer(Dense, lateral_inhibition=0.2, lateral_delay=1.3)
    rule = STRSBP(**QUIET)
    gradients, _ = rule.backward(layer, inputs, outputs, signal, T_STOP)
    assert set(gradients) == {"weight"}
    twin = Recurrent(6, 9, layer.neuron, delay=layer.delay, recurrent_delay=1.3)
    twin.weight, twin.recurrent_weight = layer.weight, -0.2 * (1.0 - np.eye(9))
    other, _ = rule.backward(twin, inputs, twin.forward(inputs, T_STOP), signal, T_STOP)
    close(gradients["weight"], other["weight"])
    twin.lateral_inhibition, twin.lateral_delay, twin.recurrent_weight = 0.2, 1.3, 0.0 * twin.recurrent_weight
    both, _ = rule.backward(twin, inputs, twin.forward(inputs, T_STOP), signal, T_STOP)
    close(both["weight"], gradients["weight"])


def test_a_silent_target_gets_a_train():
    layer, inputs, outputs, signal = some_layer()
    signal[1, 3] = -6.0
    with_it, _ = STRSBP(silent_psp=0.0).backward(layer, inputs, outputs, signal, T_STOP, is_output=True)
    without, _ = STRSBP(silent_psp=0.0).backward(layer, inputs, outputs, signal, T_STOP)
    assert with_it["weight"][:5, 3].all() and not without["weight"][:, 3].any()


# --------------------------------------------------------------------------------------------------- readouts


@pytest.mark.parametrize("rule", [STRSBP(), HM2BP()], ids=["st-rsbp", "hm2bp"])
def test_an_integral_readout_is_seen_by_counts(rule):
    _, inputs, _, _ = some_layer()
    layer = Readout(6, 4, LIF(tau_m=20.0, tau_syn=5.0), feature="integral", weighting=60.0, delay=0.8)
    rng = np.random.default_rng(4)
    layer.init(rng)
    values, signal = layer.forward(inputs, T_STOP), rng.normal(0.0, 1.0, (3, 4))
    gradients, below = rule.backward(layer, inputs, values, signal, T_STOP, is_output=True)
    exact, _ = EventProp().backward(layer, inputs, values, signal, T_STOP)
    close(gradients["weight"], exact["weight"], 1e-13)
    # The shares of all spikes of a sample add up to its values.
    np.testing.assert_allclose((below * inputs.counts()).sum(1), (values.values * signal).sum(1), rtol=1e-12)

    def share(t):
        return arrival_factors(layer, SpikeBatch(np.array([t]), np.zeros(1, np.int32), np.array([0, 1]), 6),
                               T_STOP, False)[0, 0]  # fmt: skip

    mean = quad(share, 0.0, T_STOP, epsabs=1e-12)[0] / T_STOP
    np.testing.assert_allclose(below[:, 5], signal @ layer.weight[5] * mean, rtol=1e-9)
    layer.feature = "max"
    with pytest.raises(GradientError, match="integral"):
        rule.backward(layer, inputs, values, signal, T_STOP)


# -------------------------------------------------------------------------------------------- what a rule owes


def test_threads_change_no_bit():
    layer, inputs, outputs, signal = some_layer(samples=7)
    alone = STRSBP().backward(layer, inputs, outputs, signal, T_STOP)
    for threads in (2, 3):
        got = STRSBP().backward(layer, inputs, outputs, signal, T_STOP, threads=threads)
        assert all(got[0][k].tobytes() == alone[0][k].tobytes() for k in alone[0])
        assert got[1].tobytes() == alone[1].tobytes()


@pytest.mark.parametrize("credit", ["adjoint", "published", "transposed"])
def test_a_signal_that_is_not_wanted_changes_no_gradient(credit):
    layer, inputs, outputs, signal = some_layer(n_in=9)
    rule = STRSBP(credit=credit)
    wanted = rule.backward(layer, inputs, outputs, signal, T_STOP)
    unwanted = rule.backward(layer, inputs, outputs, signal, T_STOP, wants_signal=False)
    assert all(wanted[0][k].tobytes() == unwanted[0][k].tobytes() for k in wanted[0])
    assert wanted[1].any() and not unwanted[1].any()


def test_no_spikes_at_all_give_numbers():
    layer, _, _, signal = some_layer()
    none = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(4, np.int64), 6)
    for rule in (STRSBP(), STRSBP(slopes="intervals", silent_ratio=0.0), STRSBP(slopes="published", hops=2)):
        gradients, below = rule.backward(layer, none, layer.forward(none, T_STOP), signal, T_STOP)
        assert not gradients["weight"].any() and not gradients["recurrent_weight"].any()
        assert np.all(np.isfinite(below)) and below.any() == (rule.silent_ratio > 0)


def test_a_system_without_solution_says_what_to_do():
    neuron = LIF(tau_m=20.0, tau_syn=5.0, v_th=0.25)
    layer = Recurrent(1, 1, neuron)
    silent = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(2, np.int64), 1)
    layer.recurrent_weight[:] = 2.0
    with pytest.raises(GradientError, match="hops"):
        STRSBP().backward(layer, silent, silent, np.ones((1, 1)), T_STOP)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Dense(2, 2, LIF(tau_syn=None)), "exponential current"),
        (Dense(2, 2, LIF(tau_syn=(5.0, 3.0))), "exponential current"),
        (Dense(2, 2, LIF(), delay=np.ones((2, 2))), "delays"),
        (Recurrent(2, 2, LIF(), trainable_recurrent_delays="input", max_delay=3.0), "delays"),
        (Dense(2, 2, LIF(bias=2.0)), "threshold"),
        (Readout(2, 2, LIF(), feature="integral", trainable_delays="input", max_delay=3.0), "delays"),
    ],
)
def test_layers_that_it_cannot_treat_are_refused(layer, words):
    none = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(2, np.int64), 2)
    out = none if isinstance(layer, Dense) else layer.forward(none, T_STOP)
    with pytest.raises(GradientError, match=words):
        STRSBP().backward(layer, none, out, np.zeros((1, 2)), T_STOP)


def test_transposed_needs_as_many_inputs_as_neurons():
    layer, inputs, outputs, signal = some_layer()
    with pytest.raises(GradientError, match="6 and 9"):
        STRSBP(credit="transposed").backward(layer, inputs, outputs, signal, T_STOP)


@pytest.mark.parametrize(
    "options", [{"slopes": "linear"}, {"credit": "all"}, {"hops": -1}, {"least_diagonal": 0.0}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        STRSBP(**options)


@pytest.mark.parametrize("readout", [False, True])
@pytest.mark.parametrize("rule", [STRSBP(), STRSBP(hops=2, slopes="intervals"), STRSBP(credit="published")], ids=str)
def test_steps_against_the_gradient_lower_the_loss(rule, readout):
    rng = np.random.default_rng(7)
    neuron = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0, v_th=0.4)
    last = Readout(16, 3, neuron, feature="integral") if readout else Dense(16, 3, neuron)
    model = Sequential(Recurrent(10, 16, neuron, recurrent_scale=0.2), last)
    model.init(seed=1)
    trains = [SpikeTrains(rng.uniform(0.0, T_STOP, 80), rng.integers(0, 10, 80), 10) for _ in range(6)]
    inputs, labels = SpikeBatch.from_trains(trains), np.arange(6) % 3
    loss = VoltageCrossEntropy(0.1) if readout else CountLoss(desired=12.0, undesired=2.0, margin=1.0)
    values = []
    for _ in range(25):
        spikes = model.forward(inputs, T_STOP)
        value, signal = loss(spikes[-1], labels)
        values.append(value.sum())
        gradients, _ = backward(model, rule, spikes, signal, T_STOP)
        for layer, gradient in zip(model.layers, gradients):
            pulled = layer.pull_back(gradient)
            for name, array in layer.parameters().items():
                array -= 0.03 * np.sign(pulled[name])
    assert min(values[-4:]) < 0.6 * values[0]


def test_intervals_of_a_batch_are_counted_from_the_start_of_each_sample():
    _, _, outputs, _ = some_layer()
    mean, slope = interval_means(outputs, 20.0, 1.5)
    for k, train in enumerate(outputs):
        for i in range(9):
            x = np.diff(train.of(i), prepend=0.0) / 20.0
            y = x - np.where(np.arange(x.size) > 0, 1.5 / 20.0, 0.0)
            assert mean[k, i] == pytest.approx(np.sum(1 - np.exp(-y)), rel=1e-12, abs=1e-15)
            assert slope[k, i] == pytest.approx(np.mean(1 - np.exp(-y) * (1 + x)) if x.size else 0.0, abs=1e-12)


def test_the_command_line_trains_recurrent_layers_with_it(tmp_path):
    arguments = ["train", "--dataset", "digits", "--rule", "st-rsbp", "--train-size", "60", "--test-size", "20"]
    some = ["--hidden", "10", "--epochs", "1", "--duration", "40", "--threads", "1", "--rule-option", "hops=1"]
    result = CliRunner().invoke(main, [*arguments, *some, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "summary.json").read_text())["rule"] == "st-rsbp"

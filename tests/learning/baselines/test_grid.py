"""Surrogate-gradient BPTT: the grid converges to the exact engine, and the gradient equals a forward-mode twin's."""

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError
from evsim.learning import Adam, CountLoss, Dense, Readout, Recurrent, Sequential, TrainingOptions, VoltageCrossEntropy
from evsim.learning.baselines.grid import GridModel, GridTrainer, SurrogateBPTT
from evsim.learning.surrogates import SHAPES

NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.3, bias=0.1, v_init=0.2)
T_STOP = 40.0


def batch(n=3, size=6, spikes=20, seed=0):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, 30.0, spikes), rng.integers(0, size, spikes), size) for _ in range(n)]
    )


def network(kind="dense", t_ref=0.0, last=Dense, **of_last):
    neuron = NEURON.with_(t_ref=t_ref)
    first = (
        Recurrent(6, 5, neuron, delay=1.0, recurrent_delay=1.5, recurrent_scale=1.5)
        if kind == "recurrent"
        else Dense(6, 5, neuron, delay=1.0)
    )
    model = Sequential(first, last(5, 4, neuron, delay=0.5, **of_last))
    model.init(3, scale=[0.8, 0.8], mean=[1.0, 0.9])
    return model


def twin(model, inputs, move, t_stop, rule, signal_of):
    """Forward mode, step by step in plain words: the directional derivative of sum(signal outputs) along ``move``."""
    steps = max(1, int(np.ceil(t_stop / rule.dt - 1e-9)))
    total = 0.0
    for sample in range(len(inputs)):
        train = inputs.sample(sample)
        s, ds = np.zeros((steps, inputs.size)), np.zeros((steps, inputs.size))
        for t, n in zip(train.times, train.neurons):
            if round(t / rule.dt) < steps:
                s[round(t / rule.dt), n] += 1.0
        for layer, change in zip(model.layers, move):
            n = layer.neuron
            readout = isinstance(layer, Readout)
            em, es = np.exp(-rule.dt / n.tau_m), np.exp(-rule.dt / n.tau_syn)
            p = n.tau_syn / (n.tau_m - n.tau_syn) * (em - es)
            theta = np.inf if readout else n.v_th - n.v_rest - n.bias
            reset, hold = n.v_reset - n.v_rest - n.bias, round(n.t_ref / rule.dt)
            u, du = np.full(layer.n_out, n.v_init - n.v_rest - n.bias), np.zeros(layer.n_out)
            i, di, held = np.zeros(layer.n_out), np.zeros(layer.n_out), np.zeros(layer.n_out, int)
            out, dout, trace, dtrace = (np.zeros((steps, layer.n_out)) for _ in range(4))
            shift = round(float(layer.delays.value()) / rule.dt)
            back = round(float(layer.recurrent_delays.value()) / rule.dt) if isinstance(layer, Recurrent) else 0
            for k in range(steps):
                if k:
                    u, du = em * u + p * i, em * du + p * di
                    i, di = es * i, es * di
                if k >= shift:
                    i = i + s[k - shift] @ layer.weight
                    di = di + ds[k - shift] @ layer.weight + s[k - shift] @ change["weight"]
                if back and k >= back:
                    i = i + out[k - back] @ layer.recurrent_weight
                    di = di + dout[k - back] @ layer.recurrent_weight + out[k - back] @ change["recurrent_weight"]
                trace[k], dtrace[k] = u, du
                if readout:
                    continue
                rests = held > 0
                u, du = np.where(rests, reset, u), np.where(rests, 0.0, du)
                out[k] = (u >= theta) & ~rests
                psi = np.where(rests, 0.0, rule.surrogate(u / theta)) / theta
                dout[k] = psi * du
                held = np.where(out[k] > 0, hold, np.maximum(held - 1, 0))
                through = 0.0 if rule.detach_reset else dout[k] * (reset - u)
                u, du = np.where(out[k] > 0, reset, u), np.where(out[k] > 0, 0.0, du) + through
            s, ds = out, dout
        signal = signal_of[sample]
        if readout and layer.feature == "max":
            top = np.argmax(trace, axis=0)
            total += signal @ dtrace[top, np.arange(layer.n_out)]
        else:
            total += signal @ dout.sum(axis=0)
    return total


class Given:
    """A loss with a derivative of one's choice."""

    signal = "counts"

    def __init__(self, signal):
        self.given = signal

    def __call__(self, outputs, labels):
        return np.zeros(len(outputs)), self.given


@pytest.mark.parametrize(
    ("kind", "settings", "last", "t_ref"),
    [
        ("dense", {}, {}, 0.0),
        ("recurrent", {}, {}, 2.0),
        ("dense", {"detach_reset": False}, {"last": Readout}, 2.0),
        ("recurrent", {"detach_reset": False}, {}, 0.0),
        ("dense", {"dt": 0.25, "shape": "fast-sigmoid", "slope": 3.0, "height": 0.7}, {}, 2.0),
        ("recurrent", {"shape": "triangle", "slope": 0.8}, {"last": Readout}, 0.0),
    ],
)
def test_the_gradient_is_that_of_a_forward_mode_twin(kind, settings, last, t_ref):
    model, rule, inputs = network(kind, t_ref, **last), SurrogateBPTT(**{"dt": 0.5, **settings}), batch(2)
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(2, 4))
    found, spikes, _ = GridModel(model, rule).gradients(Given(signal), inputs, np.zeros(2, int), T_STOP)
    assert spikes[1].times.size > 20
    for parameter in sorted({name for g in found for name in g}):
        move = [
            {k: rng.normal(size=v.shape) * (k == parameter) for k, v in layer.parameters().items()}
            for layer in model.layers
        ]
        mine = sum(np.sum(g[k] * m[k]) for g, m in zip(found, move) for k in g)
        true = twin(model, inputs, move, T_STOP, rule, signal)
        assert mine == pytest.approx(true, rel=1e-10, abs=1e-10) and true != 0.0


def test_one_neuron_by_hand():
    """One input spike at 0, no output spike: dcount/dw = sum_n psi(w P(n dt)/theta)/theta P(n dt)."""
    rule = SurrogateBPTT(dt=1.0)
    model = Sequential(Dense(1, 1, LIF(tau_m=20.0, tau_syn=5.0)))
    model.layers[0].weight[:] = 1.5
    inputs = SpikeBatch.from_trains([SpikeTrains([0.0], [0], 1)])
    found, spikes, _ = GridModel(model, rule).gradients(Given(np.ones((1, 1))), inputs, np.zeros(1, int), 30.0)
    assert spikes[1].times.size == 0
    t = np.arange(30.0)
    p = (np.exp(-t / 20.0) - np.exp(-t / 5.0)) / 3.0
    z = 4.0 * (1.5 * p - 1.0)
    psi = 4.0 * np.exp(z) / (1.0 + np.exp(z)) ** 2
    assert found[0]["weight"][0, 0] == pytest.approx(np.sum(psi * p), rel=1e-12)


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_spikes_converge_to_the_exact_ones_at_first_order(kind, t_ref):
    model, inputs = network(kind, t_ref), batch(1, spikes=12)
    exact = model.forward(inputs, T_STOP)
    order = [np.lexsort((s.times, s.neurons)) for s in exact]
    errors = []
    for dt in (0.004, 0.002, 0.001):
        grid = GridModel(model, SurrogateBPTT(dt=dt)).forward(inputs, T_STOP)
        for a, b in zip(exact[1:], grid[1:]):
            assert np.array_equal(a.counts(), b.counts())
        theirs = [np.lexsort((s.times, s.neurons)) for s in grid]
        errors.append(np.mean(np.abs(grid[2].times[theirs[2]] - exact[2].times[order[2]])))
    assert 0.0 < errors[0] < 0.05
    assert errors[2] < 0.4 * errors[0]


@pytest.mark.parametrize("feature", ["max", "integral"])
@pytest.mark.parametrize("weighting", [None, 15.0])
def test_readout_values_converge_and_their_gradient_by_the_readout_weights_is_a_difference(feature, weighting):
    model = network(last=Readout, feature=feature, weighting=weighting)
    inputs, labels = batch(), np.array([0, 1, 3])
    exact = model.forward(inputs, T_STOP)[-1].values
    fine = GridModel(model, SurrogateBPTT(dt=0.002))
    np.testing.assert_allclose(fine.forward(inputs, T_STOP)[-1].values, exact, rtol=5e-3, atol=5e-3)
    grid = GridModel(model, SurrogateBPTT(dt=0.5))
    loss = VoltageCrossEntropy(0.3)
    found, _, _ = grid.gradients(loss, inputs, labels, T_STOP)
    w = model.layers[1].weight
    for at in ((0, 0), (2, 3), (4, 1)):
        values = []
        for change in (1e-6, -2e-6):
            w[at] += change
            values.append(loss(grid.forward(inputs, T_STOP)[-1], labels)[0].sum())
        w[at] += 1e-6
        assert found[1]["weight"][at] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_the_integral_passes_the_same_gradient_to_hidden_spikes_as_more_inputs_would():
    """The readout's integral is linear in its input spikes: one more spike at grid point n adds gain(n) w."""
    model, rule, inputs = network(last=Readout, feature="integral", weighting=15.0), SurrogateBPTT(dt=0.5), batch(1)
    grid = GridModel(model, rule)
    from evsim.learning.baselines.grid_steps import Grid, backward_readout, forward_readout

    g, layer = Grid(0.5, 80, 1, T_STOP), model.layers[1]
    hidden = grid.forward(inputs, T_STOP)[1]
    values, record = forward_readout(g, layer, hidden)
    signal = np.random.default_rng(4).normal(size=(1, 4))
    _, by_spike = backward_readout(g, layer, hidden, record, signal, True)
    train = hidden.sample(0)
    for step in (0, 10, 77):
        more = SpikeTrains(np.append(train.times, 0.5 * step), np.append(train.neurons, 2), 5)
        change = forward_readout(g, layer, SpikeBatch.from_trains([more]))[0].values - values.values
        assert by_spike[step, 2] == pytest.approx(np.sum(change * signal), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_torch_finds_the_same_gradient(kind):
    torch = pytest.importorskip("torch")
    model, rule, inputs = network(kind), SurrogateBPTT(dt=0.5), batch()
    signal = np.random.default_rng(1).normal(size=(3, 4))
    found, _, _ = GridModel(model, rule).gradients(Given(signal), inputs, np.zeros(3, int), T_STOP)

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u, theta):
            ctx.save_for_backward(u)
            ctx.theta = theta
            return (u >= theta).double()

        @staticmethod
        def backward(ctx, pull):
            (u,) = ctx.saved_tensors
            z = torch.sigmoid(4.0 * (u / ctx.theta - 1.0))
            return pull * 4.0 * z * (1.0 - z) / ctx.theta, None

    steps = 80
    s = torch.zeros(steps, 3, 6, dtype=torch.float64)
    for k, (t, n) in enumerate(zip(inputs.times, inputs.neurons)):
        s[round(t / 0.5), inputs.samples()[k], n] += 1.0
    arrays = []
    for layer in model.layers:
        n = layer.neuron
        em, es = np.exp(-0.5 / n.tau_m), np.exp(-0.5 / n.tau_syn)
        p = n.tau_syn / (n.tau_m - n.tau_syn) * (em - es)
        own = {k: torch.tensor(v, requires_grad=True) for k, v in layer.parameters().items()}
        arrays.append(own)
        u = torch.full((3, layer.n_out), n.v_init - n.bias, dtype=torch.float64)
        i = torch.zeros(3, layer.n_out, dtype=torch.float64)
        shift, out = round(float(layer.delays.value()) / 0.5), []
        for k in range(steps):
            if k:
                u, i = em * u + p * i, es * i
            if k >= shift:
                i = i + s[k - shift] @ own["weight"]
            if "recurrent_weight" in own and k >= 3:
                i = i + out[k - 3] @ own["recurrent_weight"]
            fired = Spike.apply(u, n.v_th - n.bias)
            out.append(fired)
            u = torch.where(fired.detach() > 0, torch.full_like(u, n.v_reset - n.bias), u)
        s = torch.stack(out)
    (s.sum(0) * torch.tensor(signal)).sum().backward()
    for mine, theirs in zip(found, arrays):
        for name, g in mine.items():
            np.testing.assert_allclose(g, theirs[name].grad.numpy(), rtol=1e-9, atol=1e-9)


def test_silence_gives_zeros_for_the_readout_and_no_failure():
    model = network(last=Readout)
    empty = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(3, np.int64), 6)
    model.layers[0].neuron = model.layers[1].neuron = LIF(tau_m=20.0, tau_syn=5.0)
    found, spikes, _ = GridModel(model, SurrogateBPTT()).gradients(
        VoltageCrossEntropy(), empty, np.zeros(2, int), T_STOP
    )
    assert spikes[1].times.size == 0 and not any(g["weight"].any() for g in found)


@pytest.mark.parametrize("dt", [100.0, 40.0, 25.0])
def test_a_step_longer_than_sample_or_delay_is_no_failure(dt):
    grid = GridModel(network("recurrent"), SurrogateBPTT(dt=dt))
    found, spikes, _ = grid.gradients(CountLoss(2.0, 0.0, 0.0), batch(), np.zeros(3, int), T_STOP)
    assert all(np.isfinite(g).all() for f in found for g in f.values())
    assert spikes[1].times.size == 0 or spikes[1].times.max() < T_STOP


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_surrogate_goes_through(shape):
    grid = GridModel(network(), SurrogateBPTT(dt=0.5, shape=shape, slope=2.0))
    found, _, _ = grid.gradients(CountLoss(9.0, 0.0, 0.0), batch(), np.zeros(3, int), T_STOP)
    assert all(g["weight"].any() for g in found)


def trainer(model, epochs):
    options = TrainingOptions(
        duration=T_STOP, encoder="latency", window=(0.0, 20.0), epochs=epochs, batch_size=10, rate=0.1, seed=2
    )
    return GridTrainer(model, SurrogateBPTT(dt=1.0), VoltageCrossEntropy(0.3), Adam(), options)


def points(n=60):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    x = np.clip(rng.uniform(0.0, 0.3, (n, 6)) + 0.6 * (np.arange(6) % 2 == y[:, None]), 0.0, 1.0)
    return x, y


def test_it_learns_and_resumes_to_the_bit():
    x, y = points()

    def fresh():
        model = Sequential(Dense(6, 5, LIF()), Readout(5, 4, LIF(), feature="integral"))
        model.init(3, scale=[0.8, 0.3], mean=[1.0, 0.0])
        return trainer(model, 6)

    whole = fresh()
    rows = list(whole.epochs(x, y, x, y))
    assert rows[-1]["test_accuracy"] > 0.95 and rows[-1]["train_loss"] < rows[0]["train_loss"]
    cut = fresh()
    steps = cut.epochs(x, y, x, y)
    next(steps)
    after = fresh()
    after.load(cut.state())
    list(after.epochs(x, y, x, y))
    for a, b in zip(whole.model.parameters(), after.model.parameters()):
        assert np.array_equal(a[1], b[1])


def test_what_it_cannot_take_is_refused():
    with pytest.raises(ValueError, match="dt must be finite and > 0"):
        SurrogateBPTT(dt=0.0)
    with pytest.raises(ValueError, match="shape must be one of"):
        SurrogateBPTT(shape="step")
    for layer in (
        Dense(3, 2, NEURON, lateral_inhibition=1.0),
        Dense(3, 2, NEURON, delay=np.ones(3)),
        Dense(3, 2, NEURON, trainable_delays="input", max_delay=2.0),
        Dense(3, 2, NEURON.with_(tau_syn=None)),
    ):
        with pytest.raises(GradientError, match="SurrogateBPTT cannot train layer 0, Dense"):
            GridModel(Sequential(layer), SurrogateBPTT())

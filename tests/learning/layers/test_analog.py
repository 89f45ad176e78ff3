"""Constant input through the third basis function: forward in closed form, gradients against differences."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from evsim import LIF, SpikeBatch
from evsim.errors import GradientError, NetworkError
from evsim.learning import (
    TSSLBP,
    Adam,
    Analog,
    AnalogBatch,
    Dense,
    EventProp,
    PSCDistance,
    Sequential,
    Trainer,
    TrainingOptions,
    desired_trains,
    tssl_report,
)
from evsim.learning.protocols import backward
from evsim.learning.rules.tssl.report import EXACT

T, TAU_M, TAU_S = 50.0, 20.0, 7.0
NEURON = LIF(tau_m=TAU_M, tau_syn=TAU_S, t_ref=1.0, v_reset=-0.2, bias=0.05, v_init=0.1)


def network(neuron=NEURON):
    model = Sequential(Analog(6, 8, neuron), Dense(8, 3, neuron))
    model.init(1, scale=[0.3, 0.5], mean=[0.3, 0.6])
    return model


def values(n=4, seed=0):
    return AnalogBatch.of(np.random.default_rng(seed).normal(0.15, 0.15, (n, 6)))


def test_potential_and_spikes_are_those_of_the_differential_equation():
    model, x = network(), values(2)
    layer = model.layers[0]
    out = layer.forward(x, T)
    for sample in range(2):
        drive = x.values[sample] @ layer.weight
        for n in range(8):
            own, start, u0 = out.sample(sample).of(n), 0.0, 0.1
            for k, t in enumerate([*own, T]):
                found = solve_ivp(
                    lambda s, u, w=drive[n]: (-u + 0.05 + w * TAU_S * (1.0 - np.exp(-s / TAU_S))) / TAU_M,
                    (start, t), [u0], rtol=1e-11, atol=1e-12,
                )  # fmt: skip
                end = found.y[0, -1]
                assert (end == pytest.approx(1.0, abs=1e-9)) if k < own.size else (end < 1.0 or start >= T)
                start, u0 = min(t + 1.0, T), -0.2
    currents = (x.values @ layer.weight)[out.samples(), out.neurons] * TAU_S * -np.expm1(-out.times / TAU_S)
    np.testing.assert_allclose(out.currents, currents, rtol=1e-12, atol=1e-13)
    assert out.times.size > 10


def test_the_exact_switches_give_differences_of_the_loss():
    model, x, labels = network(), values(), np.array([0, 1, 2, 0])
    loss, h = PSCDistance(desired_trains(3, T, 5.0), TAU_S, T), 1e-6
    spikes = model.forward(x, T)
    _, pull = loss(spikes[-1], labels)
    found, _ = backward(model, EXACT, spikes, pull, T)
    w = model.layers[0].weight
    for i, j in [(0, 0), (1, 3), (2, 5), (5, 7), (3, 2)]:
        before, ends = w[i, j], []
        for change in (h, -h):
            w[i, j] = before + change
            ends.append(loss(model.forward(x, T)[-1], labels)[0].sum())
        w[i, j] = before
        assert found[0]["weight"][i, j] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8)
    assert spikes[1].counts().max() > 1


@pytest.mark.parametrize("silent", ["virtual", "steps", "replace", "only"])
def test_it_is_the_limit_of_many_small_spikes(silent):
    rule, labels = TSSLBP(silent=silent, reference_step=4.0), np.array([0, 1])
    model, x = network(NEURON.with_(t_ref=0.0)), values(2)
    loss = PSCDistance(desired_trains(3, T, 5.0), TAU_S, T)
    spikes = model.forward(x, T)
    want, _ = backward(model, rule, spikes, loss(spikes[-1], labels)[1], T)
    per_ms = 400
    times = (np.arange(T * per_ms) + 0.5) / per_ms
    errors = []
    for sample in range(2):
        # One input for each sample stands for all: its synapses carry the sample's sum w x.
        twin = Sequential(Dense(1, 8, model.layers[0].neuron), model.layers[1])
        twin.layers[0].weight = (x.values[sample] @ model.layers[0].weight)[None, :] / per_ms
        dense = SpikeBatch(times, np.zeros(times.size, np.int32), np.array([0, times.size]), 1)
        around = twin.forward(dense, T)
        assert around[1].times == pytest.approx(spikes[1].sample(sample).times, abs=1e-2)
        got, _ = backward(twin, rule, around, loss(around[-1], labels[sample : sample + 1])[1], T)
        errors.append(got[0]["weight"] / per_ms)
    # dL/dw = sum over samples of x dL/d(w x); the twin gives the latter.
    total = sum(np.outer(x.values[k], errors[k][0]) for k in range(2))
    np.testing.assert_allclose(want[0]["weight"], total, rtol=0.02, atol=2e-3 * np.abs(total).max())


def test_a_trainer_takes_values_as_they_are_and_logs_the_surrogate_share():
    x = np.random.default_rng(0).normal(0.1, 0.2, (24, 6))
    y = (x[:, 0] > x[:, 1]).astype(np.int64)
    model = Sequential(Analog(6, 12, LIF(tau_syn=10.0)), Dense(12, 2, LIF(tau_syn=10.0)))
    model.init(2, scale=[0.3, 0.2], mean=[0.3, 0.1])
    options = TrainingOptions(duration=40.0, epochs=25, batch_size=6, rate=3e-2)
    loss = PSCDistance(desired_trains(2, 40.0, 4.0), 10.0, 40.0)
    trainer = Trainer(model, TSSLBP(silent="steps", reference_step=4.0), loss, Adam(), options)
    data = AnalogBatch.of(x)
    rows = list(trainer.epochs(data, y, data, y))
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
    assert all(0.0 < r["surrogate_share_0"] < 1.0 and 0.0 <= r["clipped_share_1"] <= 1.0 for r in rows)
    report = tssl_report(model, trainer.rule, loss, data, y, 40.0)
    assert [r.layer for r in report] == [0, 1] and all(
        r.inter + r.intra + r.surrogate == pytest.approx(1.0) and -1.0 <= r.cosine <= 1.0 for r in report
    )


def test_the_report_of_the_exact_rule_says_so():
    model, x, labels = network(), values(), np.array([0, 1, 2, 0])
    for row in tssl_report(model, EXACT, PSCDistance(desired_trains(3, T, 5.0), TAU_S, T), x, labels, T):
        assert row.cosine == pytest.approx(1.0) and row.scale == pytest.approx(1.0)
        assert row.surrogate == 0.0 and row.clipped == 0.0


def test_what_cannot_be_is_refused():
    model, x = network(), values()
    spikes = model.forward(x, T)
    with pytest.raises(GradientError, match="no spikes at its input"):
        backward(model, EventProp(), spikes, np.zeros(spikes[-1].times.size), T)
    with pytest.raises(ValueError, match="AnalogBatch"):
        model.forward(SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(2, np.int64), 6), T)
    with pytest.raises(ValueError, match="finite"):
        AnalogBatch.of([[1.0, np.nan]])
    with pytest.raises(ValueError, match="shape"):
        AnalogBatch.of([1.0])
    with pytest.raises(IndexError):
        x.take([4])
    for tau in (None, (5.0, 9.0)):
        with pytest.raises(NetworkError):
            Analog(3, 2, LIF(tau_syn=tau))
    np.testing.assert_array_equal(x.take([2, 0]).values, x.values[[2, 0]])

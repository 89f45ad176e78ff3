"""evsim.learning.dropout: masks that belong to the sample, and the chain rule through them."""

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    STLLR,
    STRSBP,
    TSSLBP,
    Adam,
    CountLoss,
    Dense,
    EventProp,
    PSCCount,
    RateBased,
    Readout,
    Recurrent,
    Sequential,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
    ottt,
)
from evsim.learning.baselines import GridModel, GridTrainer, SurrogateBPTT
from evsim.learning.protocols import backward
from evsim.learning.training.dropout import Masks

T = 40.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0)
LABELS = np.array([0, 1, 2, 0])


def batch(n=4, size=8, spikes=30, seed=0):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, 30.0, spikes), rng.integers(0, size, spikes), size) for _ in range(n)]
    )


def network(last="readout", middle=Dense, delay=0.0):
    layers = [
        Dense(8, 9, NEURON),
        middle(9, 7, NEURON, delay=delay, **({"recurrent_scale": 0.4} if middle is Recurrent else {})),
        Readout(7, 3, NEURON, feature="integral") if last == "readout" else Dense(7, 3, NEURON),
    ]
    model = Sequential(*layers)
    model.init(1, scale=[0.5, 0.5, 0.5], mean=[0.7, 0.6, 0.5])
    return model


def masks_of(model, share=0.4, keys=(3, 4, 5, 6), seed=2, epoch=1):
    return Masks(model, share, seed, epoch, np.array(keys))


def gradients_of(model, rule, loss, masks, inputs, labels):
    spikes = masks.forward(inputs, T)
    of_layers = backward(model, rule, spikes, loss(spikes[-1], labels)[1], T, masks=masks)[0]
    # By the weights of training; by the model's own they are ``scale`` times that, but for the first layer's.
    return [{**g, "weight": g["weight"] * (masks.scale if k else 1.0)} for k, g in enumerate(of_layers)]


# ------------------------------------------------------------------------------------------------ the masks


def test_a_mask_belongs_to_seed_epoch_and_sample_alone():
    model = network()
    whole = masks_of(model)
    for k, key in enumerate((3, 4, 5, 6)):
        for mine, all_of_them in zip(masks_of(model, keys=(key,)).keep, whole.keep):
            np.testing.assert_array_equal(mine[0], all_of_them[k])
    for other in (masks_of(model, epoch=2), masks_of(model, seed=3), masks_of(model, keys=(13, 14, 15, 16))):
        assert not all(np.array_equal(a, b) for a, b in zip(whole.keep, other.keep))
    assert not np.array_equal(whole.keep[0][:, :7], whole.keep[1])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_that_is_left_out_is_the_one_asked_for(share):
    model = Sequential(Dense(2, 100, NEURON), Dense(100, 50, NEURON), Dense(50, 2, NEURON))
    masks = masks_of(model, share, keys=np.arange(400))
    for keep in masks.keep:
        sd = np.sqrt(share * (1 - share) / keep.size)
        assert abs(1.0 - keep.mean() - share) < 5 * sd
    assert masks.scale == pytest.approx(1.0 / (1.0 - share))


def test_spikes_of_a_neuron_are_handed_on_for_the_whole_sample_or_not_at_all():
    model = network(last="spikes")
    masks = masks_of(model)
    spikes = masks.forward(batch(), T)
    handed = masks.handed(spikes)
    assert handed[0] is spikes[0] and spikes[1].times.size > handed[1].times.size > 0
    for k, keep in enumerate(masks.keep):
        np.testing.assert_array_equal(handed[k + 1].counts(), spikes[k + 1].counts() * keep)
    # The first layer does not know of it.
    np.testing.assert_array_equal(spikes[1].times, model.forward(batch(), T)[1].times)


def test_without_a_share_nothing_changes():
    model = network()
    masks = masks_of(model, 0.0)
    plain = model.forward(batch(), T)
    np.testing.assert_array_equal(masks.forward(batch(), T)[-1].values, plain[-1].values)
    loss = VoltageCrossEntropy(0.1)
    with_masks = gradients_of(model, EventProp(), loss, masks, batch(), LABELS)
    without = backward(model, EventProp(), plain, loss(plain[-1], LABELS)[1], T)[0]
    for a, b in zip(with_masks, without):
        np.testing.assert_array_equal(a["weight"], b["weight"])


# ------------------------------------------------------------------------------------------- the chain rule


@pytest.mark.parametrize("middle", [Dense, Recurrent])
def test_the_gradient_through_the_masks_is_the_derivative_of_the_loss_with_them(middle):
    model, inputs, loss = network(middle=middle, delay=0.7), batch(), VoltageCrossEntropy(0.1)
    found = gradients_of(model, EventProp(), loss, masks_of(model), inputs, LABELS)
    rng, step = np.random.default_rng(0), 1e-6
    for layer, gradient in zip(model.layers, found):
        for name in layer.weight_shapes():
            g, weight = gradient[name], getattr(layer, name)
            for place in [tuple(rng.integers(0, weight.shape)) for _ in range(6)]:
                values = []
                for sign in (1.0, -1.0):
                    weight[place] += sign * step
                    values.append(loss(masks_of(model).forward(inputs, T)[-1], LABELS)[0].sum())
                    weight[place] -= sign * step
                slope = (values[0] - values[1]) / (2 * step)
                assert g[place] == pytest.approx(slope, rel=1e-5, abs=1e-6 * np.abs(g).max())


RULES = [
    (EventProp(), "readout"), (TSSLBP(), "spikes"), (TSSLBP(silent="replace"), "readout"),
    (STLLR(step=0.5), "readout"), (STLLR(feedback="random", step=0.5), "readout"), (ottt(step=0.5), "readout"),
    (RateBased(), "readout"), (RateBased(windows=4), "readout"), (HM2BP(), "counts"), (STRSBP(), "counts"),
    (STLLR(step=0.5), "counts"), (SurrogateBPTT(dt=0.5), "readout"),
]  # fmt: skip


@pytest.mark.parametrize("rule, last", RULES, ids=[f"{type(r).__name__}-{k}" for k, (r, _) in enumerate(RULES)])
def test_every_rule_learns_what_it_learns_in_the_network_without_the_neurons_left_out(rule, last):
    """Of one sample: synapses of a neuron that is left out have weight 0, the others 1/(1 - share) of theirs."""
    model, inputs, labels = network(last=last), batch(1), LABELS[:1]
    loss = {"readout": VoltageCrossEntropy(0.1), "spikes": PSCCount(5.0, T, 6.0, 1.0), "counts": CountLoss(9.0, 1.0)}
    masks = masks_of(model, keys=(3,))
    thinned = network(last=last)
    for k, keep in enumerate(masks.keep):
        assert 0 < keep.sum() < keep.size
        thinned.layers[k + 1].weight = model.layers[k + 1].weight * masks.scale * keep[0][:, None]
    if isinstance(rule, SurrogateBPTT):
        found, spikes, value = GridModel(model, rule).gradients(loss[last], inputs, labels, T, masks=masks)
        found = [{**g, "weight": g["weight"] * (masks.scale if k else 1.0)} for k, g in enumerate(found)]
        wanted, _, wanted_value = GridModel(thinned, rule).gradients(loss[last], inputs, labels, T)
        assert value == wanted_value
    else:
        found = gradients_of(model, rule, loss[last], masks, inputs, labels)
        spikes = thinned.forward(inputs, T)
        wanted, _ = backward(thinned, rule, spikes, loss[last](spikes[-1], labels)[1], T)
    assert spikes[1].times.size > 5
    # Quadratures are cut at all arrivals, also at those by a weight of 0.
    close = 1e-6 if isinstance(rule, STLLR | RateBased) else 1e-9
    for k, (a, b) in enumerate(zip(found, wanted)):
        rows = slice(None) if k == 0 else masks.keep[k - 1][0]
        columns = masks.keep[k][0] if k < len(masks.keep) else slice(None)
        mine, other = a["weight"][rows][:, columns], b["weight"][rows][:, columns] * (masks.scale if k else 1.0)
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(mine, other, rtol=close, atol=0.01 * close * np.abs(other).max())
        # What is left out learns nothing, from either side.
        assert not np.delete(a["weight"], np.arange(a["weight"].shape[0])[rows], 0).any()
        assert not np.delete(a["weight"], np.arange(a["weight"].shape[1])[columns], 1).any()


class OwnSignal(EventProp):
    """A rule that hands on what nobody else knows."""

    def backward(self, *args, **switches):
        gradients, _ = super().backward(*args, **switches)
        return gradients, object()


def test_a_signal_of_an_unknown_kind_is_refused():
    with pytest.raises(GradientError, match="hidden_dropout cannot pass on a signal that is a object"):
        gradients_of(network(), OwnSignal(), VoltageCrossEntropy(0.1), masks_of(network()), batch(), LABELS)


# ------------------------------------------------------------------------------------------------- training


def trainer(kind=Trainer, rule=None, **changes):
    options = {"duration": T, "encoder": "regular", "max_rate": 200.0, "epochs": 3, "batch_size": 5, "rate": 1e-2,
               "hidden_dropout": 0.3, **changes}  # fmt: skip
    return kind(network(), rule or EventProp(), VoltageCrossEntropy(0.1), Adam(), TrainingOptions(**options))


def rows_of(trained, until=None):
    x, y = np.random.default_rng(3).random((20, 8)), np.arange(20) % 3
    rows = []
    for row in trained.epochs(x, y, x, y):
        rows.append({k: v for k, v in row.items() if not k.startswith(("seconds", "samples_per"))})
        if until is not None and len(rows) == until:
            break
    return rows


@pytest.mark.parametrize("kind, rule", [
    (Trainer, EventProp()), (Trainer, STLLR()), (Trainer, TSSLBP()), (GridTrainer, SurrogateBPTT()),
])  # fmt: skip
def test_training_with_dropout_resumes_bit_for_bit_with_any_number_of_threads(kind, rule):
    whole = trainer(kind, rule)
    rows = rows_of(whole)
    first = trainer(kind, rule)
    rows_of(first, 1)
    resumed = trainer(kind, rule, threads=2)
    resumed.load(first.state())
    assert rows_of(resumed) == rows[1:]
    for a, b in zip(whole.model.weights, resumed.model.weights):
        np.testing.assert_array_equal(a, b)
    without = trainer(kind, rule, hidden_dropout=0.0)
    assert rows_of(without)[0]["train_loss"] != rows[0]["train_loss"]


def test_an_evaluation_leaves_no_neuron_out_and_events_are_those_delivered():
    one, other = trainer(hidden_dropout=0.9), trainer(hidden_dropout=0.0)
    x, y = np.random.default_rng(3).random((20, 8)), np.arange(20) % 3
    assert one.evaluate(x, y).loss == other.evaluate(x, y).loss
    with_dropout, without = (rows_of(t, 1)[0] for t in (one, other))
    assert with_dropout["input_spikes"] == without["input_spikes"]
    assert with_dropout["synaptic_events"] < without["synaptic_events"]


@pytest.mark.parametrize("share", [-0.1, 1.0, np.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="hidden_dropout"):
        TrainingOptions(hidden_dropout=share)

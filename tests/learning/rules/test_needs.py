"""evsim.learning.needs: what each rule takes of a layer is what it can train, and the rest is refused beforehand."""

import numpy as np
import pytest

from evsim import LIF
from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    SGD,
    STLLR,
    STRSBP,
    TSSLBP,
    Analog,
    Conv2d,
    CountLoss,
    Dense,
    EventProp,
    RateBased,
    Readout,
    Recurrent,
    Sequential,
    SpikingPool2d,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
    ottt,
)
from evsim.learning.baselines.grid import GridTrainer, SurrogateBPTT
from evsim.learning.layers.analog import AnalogBatch
from evsim.learning.needs import Needs, check_layer, obstacles, takes
from evsim.spikes import SpikeBatch

T = 40.0
LIF1 = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0)
RULES = [
    EventProp(), HM2BP(), RateBased(), RateBased(estimator="interval"), STLLR(), ottt(), STLLR(feedback="random"),
    STRSBP(), STRSBP(credit="transposed"), TSSLBP(), TSSLBP(inter="true"), SurrogateBPTT(),
]  # fmt: skip
LAYERS = {
    "dense": lambda: Dense(6, 5, LIF1),
    "recurrent": lambda: Recurrent(6, 5, LIF1, recurrent_scale=0.3),
    "square": lambda: Recurrent(6, 6, LIF1, recurrent_scale=0.3),
    "recurrent delays by synapse": lambda: Recurrent(6, 5, LIF1, recurrent_delay=np.linspace(1, 2, 25).reshape(5, 5)),
    "lateral": lambda: Dense(6, 5, LIF1, lateral_inhibition=0.2),
    "analog": lambda: Analog(6, 5, LIF1),
    "delta": lambda: Dense(6, 5, LIF1.with_(tau_syn=None)),
    "delta, kept": lambda: Dense(6, 5, LIF1.with_(tau_syn=None, keep_refractory_input=True)),
    "two currents": lambda: Dense(6, 5, LIF1.with_(tau_syn=(5.0, 8.0))),
    "delays by input": lambda: Dense(6, 5, LIF1, delay=np.linspace(0.0, 2.0, 6)),
    "delays by synapse": lambda: Dense(6, 5, LIF1, delay=np.linspace(0.0, 2.0, 30).reshape(6, 5)),
    "trained by input": lambda: Dense(6, 5, LIF1, trainable_delays="input", max_delay=3.0),
    "trained by synapse": lambda: Dense(6, 5, LIF1, trainable_delays="synapse", max_delay=3.0),
    "trained thresholds": lambda: Dense(6, 5, LIF1, trainable=("v_th",)),
    "own t_ref": lambda: Dense(6, 5, LIF1.with_(t_ref=np.linspace(1.0, 2.0, 5))),
    "above threshold at rest": lambda: Dense(6, 5, LIF1.with_(bias=1.5)),
    "convolution": lambda: Conv2d((1, 2, 3), 4, 2, LIF1),
    "spiking pool": lambda: SpikingPool2d((1, 2, 3), 2, LIF1.with_(v_th=0.3), trainable=("bias",)),
    "max": lambda: Readout(6, 5, LIF1),
    "readout, delays by input": lambda: Readout(6, 5, LIF1, feature="integral", delay=np.linspace(0.0, 2.0, 6)),
}


def inputs(layer):
    if isinstance(layer, Analog):
        return AnalogBatch.of(np.linspace(0.0, 0.4, 12).reshape(2, 6))
    rng = np.random.default_rng(1)
    times = np.concatenate([np.sort(rng.uniform(0.0, T, 60)) for _ in range(2)])
    return SpikeBatch(times, rng.integers(0, 6, 120).astype(np.int32), np.array([0, 60, 120]), 6)


def trainer_of(rule, layer):
    """A trainer of one layer, with a Readout above a layer that spikes."""
    layers = [layer] if isinstance(layer, Readout) else [layer, Readout(layer.n_out, 3, LIF1, feature="integral")]
    model = Sequential(*layers)
    model.init(2, scale=0.3, mean=0.5)
    kind = GridTrainer if isinstance(rule, SurrogateBPTT) else Trainer
    return kind(model, rule, VoltageCrossEntropy(scale=0.1), SGD(), TrainingOptions(duration=T))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("rule", RULES, ids=[f"{type(r).__name__}-{k}" for k, r in enumerate(RULES)])
def test_a_layer_is_trained_or_refused_before_anything_is_computed(rule, kind):
    layer = LAYERS[kind]()
    refused = next(obstacles(rule.needs, layer, False), None)
    if refused is not None:
        with pytest.raises(GradientError, match="cannot train layer 0, ") as error:
            trainer_of(rule, layer)
        assert refused in str(error.value) and "\n" not in str(error.value)
        return
    gradients, _, _ = trainer_of(rule, layer).gradients(inputs(layer), np.array([0, 2]))
    assert all(np.isfinite(g).all() for g in gradients)
    # Spikes through delta synapses are at arrivals, which no weight moves.
    assert gradients[0].any() or (isinstance(rule, EventProp) and "delta" in kind)


def test_a_hidden_layer_hands_its_signal_on_through_equal_delays():
    def model():
        return Sequential(
            Dense(6, 6, LIF1), Dense(6, 5, LIF1, delay=np.linspace(0.0, 2.0, 6)),
            Readout(5, 3, LIF1, feature="integral"),
        )  # fmt: skip

    options = TrainingOptions(duration=T)
    with pytest.raises(GradientError, match=r"layer 1, Dense.*all equal"):
        Trainer(model(), STLLR(), VoltageCrossEntropy(), SGD(), options)
    Trainer(model(), STLLR(feedback="random"), VoltageCrossEntropy(), SGD(), options)
    Trainer(model(), RateBased(), VoltageCrossEntropy(), SGD(), options)


def test_a_rule_of_ones_own_may_declare_what_it_needs():
    class Mine:
        signals = ("counts",)
        needs = Needs(recurrent=False)

        def backward(self, layer, inputs, outputs, signal, t_stop, **switches):
            return {"weight": np.zeros_like(layer.weight)}, np.zeros((len(inputs), layer.n_in))

    options = TrainingOptions(duration=T)
    Trainer(Sequential(Dense(6, 5, LIF1)), Mine(), CountLoss(), SGD(), options)
    with pytest.raises(GradientError, match="Mine cannot train layer 0, Recurrent"):
        Trainer(Sequential(Recurrent(6, 5, LIF1)), Mine(), CountLoss(), SGD(), options)
    del Mine.needs
    check_layer(Mine(), Recurrent(6, 5, LIF1))


def test_the_table_of_what_rules_take():
    rows = {type(rule).__name__: takes(rule.needs) for rule in RULES}
    assert [name for name, row in rows.items() if row["recurrent"]] == [
        "EventProp", "RateBased", "STLLR", "STRSBP", "SurrogateBPTT"
    ]  # fmt: skip
    assert [name for name, row in rows.items() if row["analog"]] == ["TSSLBP"]
    assert [name for name, row in rows.items() if row["trained neurons"]] == ["EventProp"]
    assert [name for name, row in rows.items() if not row["readout max"]] == ["HM2BP", "STLLR", "STRSBP"]

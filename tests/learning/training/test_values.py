"""Encoders, schedules and trained arrays as values: what a name stands for, and what each kind is for."""

import numpy as np
import pytest

from evsim import LIF
from evsim.learning import Dense, Readout, Recurrent, Sequential, TrainingOptions
from evsim.learning.layers.analog import AnalogBatch
from evsim.learning.layers.parameter import Kind
from evsim.learning.training import encoders, schedules

X = np.random.default_rng(3).random((5, 6))
KEYS = np.arange(5)
VALUES = {
    "poisson": encoders.Poisson(300.0),
    "regular": encoders.Regular(300.0),
    "latency": encoders.Latency((2.0, 30.0)),
    "linear": encoders.Linear((2.0, 30.0)),
    "analog": encoders.Currents(300.0),
}


@pytest.mark.parametrize("name", VALUES)
def test_an_encoder_and_its_name_give_the_same_bits(name):
    options = {"duration": 40.0, "seed": 4, "dropout": 0.1}
    named = TrainingOptions(encoder=name, max_rate=300.0, window=(2.0, 30.0), **options).encode(X, KEYS, 2)
    value = TrainingOptions(encoder=VALUES[name], **options).encode(X, KEYS, 2)
    if isinstance(named, AnalogBatch):
        assert np.array_equal(named.values, value.values)
        return
    assert np.array_equal(named.times, value.times) and np.array_equal(named.neurons, value.neurons)
    assert len(named.times)


@pytest.mark.parametrize(
    ("name", "value"),
    [("constant", schedules.Constant()), ("sqrt", schedules.InverseSqrt()), ("cosine", schedules.Cosine()),
     ("exponential", schedules.Exponential(0.8))],
)  # fmt: skip
def test_a_schedule_and_its_name_give_the_same_step_sizes(name, value):
    named = TrainingOptions(schedule=name, decay=0.8, rate=0.3, epochs=7)
    given = TrainingOptions(schedule=value, rate=0.3, epochs=7)
    for epoch in range(1, 8):
        assert named.rate_at(epoch, 0.4) == given.rate_at(epoch, 0.4)


def test_the_step_sizes_are_those_of_their_formulas():
    def at(schedule, epoch, progress=0.0):
        return TrainingOptions(schedule=schedule, rate=0.6, epochs=4).rate_at(epoch, progress)

    assert at(schedules.InverseSqrt(), 4) == 0.3
    assert at(schedules.Cosine(), 3) == pytest.approx(0.3)
    assert at(schedules.Cosine(), 4, 1.0) == pytest.approx(0.0, abs=1e-15)
    assert at(schedules.Exponential(0.5), 3) == pytest.approx(0.15)


def test_an_encoder_of_ones_own_is_a_function():
    latency = encoders.Latency((0.0, 5.0))
    options = TrainingOptions(duration=9.0, encoder=lambda values, samples: latency(values, samples))
    assert options.encode(X, KEYS, 1).times.max() <= 5.0


@pytest.mark.parametrize("wrong", [{"encoder": "poison"}, {"encoder": 3}, {"schedule": "cosinus"}, {"schedule": 0.1}])
def test_what_is_neither_a_name_nor_a_value_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be"):
        TrainingOptions(**wrong)


def test_kinds_of_trained_arrays():
    model = Sequential(
        Dense(4, 5, LIF(), trainable=("v_th", "tau_m"), trainable_delays="input", max_delay=5.0),
        Recurrent(5, 3, LIF(), trainable_delays="synapse", trainable_recurrent_delays="input", max_delay=5.0),
        Readout(3, 2, LIF()),
    )
    kinds = [(p.name, p.kind) for p in model.trained_arrays()]
    assert [name for name, kind in kinds if kind is Kind.WEIGHT] == ["weight", "weight", "recurrent_weight", "weight"]
    assert [name for name, kind in kinds if kind is Kind.DELAY] == [
        "delay_logit", "delay_logit", "recurrent_delay_logit"
    ]  # fmt: skip
    assert sum(kind is Kind.NEURON for _, kind in kinds) == 2
    assert [name for name, _ in model.parameters()] == [name for name, _ in kinds]
    for (_, array), p in zip(model.parameters(), model.trained_arrays()):
        assert array is p.array


def test_each_kind_has_its_step_size():
    options = TrainingOptions(rate=0.1, delay_rate=0.02, neuron_rate=0.05)
    assert [options.rate_share(k) for k in (Kind.WEIGHT, Kind.DELAY, Kind.NEURON)] == pytest.approx([1.0, 0.2, 0.5])
    assert all(TrainingOptions().rate_share(k) == 1.0 for k in Kind)

"""Whatever a rule, a loss, a layer or an optimiser is given or gives back: wrong names, shapes, types and numbers."""

import dataclasses
import math
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    SGD,
    STLLR,
    STRSBP,
    TSSLBP,
    Adam,
    CountLoss,
    CountRegularisation,
    CustomLoss,
    Dense,
    EventProp,
    GradientClipping,
    PSCCount,
    PSCDistance,
    RateBased,
    Readout,
    Recurrent,
    Sequential,
    SilentVoltage,
    SmoothCountLoss,
    StreamingSTLLR,
    TargetTimes,
    TargetTrains,
    Trainer,
    TrainingOptions,
    TTFSLoss,
    VanRossum,
    VoltageCrossEntropy,
    WeightBumping,
    WeightClipping,
    backward,
    calibrate,
    check_gradient,
    s_psp,
)
from evsim.learning.baselines.grid import SurrogateBPTT
from evsim.learning.psc_gradient import PSCGradient
from evsim.learning.spsp import s_psp_batch
from evsim.learning.surrogates import Surrogate

T = 60.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0)
LABELS = np.array([0, 1, 2])


def model(*, seed=1):
    m = Sequential(Dense(4, 10, NEURON), Dense(10, 3, NEURON))
    m.init(seed=seed, mean=[3.0, 2.0], scale=[1.0, 0.5])
    return m


def batch(n=3, size=4, seed=0):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains([SpikeTrains(rng.uniform(1.0, 20.0, size), np.arange(size), size) for _ in range(n)])


def trained(rule, loss=None, **options):
    """A first epoch of a rule."""
    x, y = batch(), LABELS
    settings = {"duration": T, "epochs": 1, "batch_size": 3, "schedule": "constant", **options}
    return list(Trainer(model(), rule, loss or TTFSLoss(), Adam(), TrainingOptions(**settings)).epochs(x, y, x, y))


class Changed(EventProp):
    """EventProp whose answer is changed by ``change(gradients, signal)``."""

    def __init__(self, change):
        super().__init__()
        object.__setattr__(self, "change", change)

    def backward(self, *args, **switches):
        return self.change(*super().backward(*args, **switches))


def renamed(g, s):
    return {"weights": g["weight"]}, s


def transposed(g, s):
    return {"weight": g["weight"].T.copy()}, s


def not_finite(g, s):
    return {"weight": np.where(np.arange(g["weight"].size).reshape(g["weight"].shape) == 3, np.nan, g["weight"])}, s


WRONG_ANSWERS = [
    (renamed, "gives a gradient 'weights'; there are weight, .*Is 'weight' meant"),
    (transposed, r"gives 'weight' of shape \(3, 10\); it must be \(10, 3\)"),
    (not_finite, r"'weight' with a value that is not finite, at \(1, 0\)"),
    (lambda g, s: ({}, s), "gives no gradient 'weight', which the layer trains"),
    (lambda g, s: (g["weight"], s), r"must return gradients by name, .*got an array of shape \(10, 3\)"),
    (lambda g, s: g["weight"], "must return .gradients by name, signal of the layer below"),
    (lambda g, s: ({"weight": g["weight"].astype(object)}, s), "must be an array of real numbers"),
    (lambda g, s: (g, s[:-1]), r"the signal that .*backward, for layer 1, .* must have shape"),
    (lambda g, s: (g, s * np.nan), r"the signal that .* not finite"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_ANSWERS)
def test_a_wrong_answer_of_a_rule_is_refused_by_all_who_ask_it(change, message):
    m, x, rule = model(), batch(), Changed(change)
    spikes = m.forward(x, T)
    signal = TTFSLoss()(spikes[-1], LABELS)[1]
    for ask in (
        lambda: backward(m, rule, spikes, signal, T),
        lambda: check_gradient(m, rule, TTFSLoss(), x, LABELS, T, differences=0, replays=0),
        lambda: trained(rule),
    ):
        with pytest.raises(GradientError, match=message):
            ask()


def test_a_signal_of_the_wrong_length_is_refused_before_a_kernel_sees_it():
    m, x = model(), batch()
    spikes = m.forward(x, T)
    signal = TTFSLoss()(spikes[-1], LABELS)[1]
    for wrong in (signal[:-1], np.append(signal, 0.0), signal[:, None], np.zeros((3, 3))):
        with pytest.raises(GradientError, match="must have shape"):
            EventProp().backward(m.layers[1], spikes[1], spikes[2], wrong, T)
    too_long = CustomLoss(lambda train, label: (0.0, np.zeros(len(train) + 1)))
    for loss in (too_long, *(Odd(way) for way in ("short", "nan", "value", "alone"))):
        with pytest.raises(GradientError):
            trained(EventProp(), loss)


@dataclass(frozen=True)
class Odd:
    """A loss that is wrong in one way."""

    way: str
    signal: ClassVar[str] = "times"

    def __call__(self, outputs, labels):
        value, slope = TTFSLoss()(outputs, labels)
        return {
            "short": (value, slope[:-1]),
            "nan": (value, slope * np.nan),
            "value": (value[:-1], slope),
            "alone": slope,
        }[self.way]

    def predict(self, outputs):
        return TTFSLoss().predict(outputs)


class NoSignals:
    def backward(self, layer, inputs, outputs, signal, t_stop, **switches):
        return {}, signal


class BareSignals(NoSignals):
    signals = "times"


class NoSwitches:
    signals = ("times",)

    def backward(self, layer, inputs, outputs, signal, t_stop):
        return {}, signal


class NoBackward:
    signals = ("times",)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (NoSignals(), r"NoSignals must say from what kinds .*signals = \('times',\)"),
        (BareSignals(), r"BareSignals must say .*got 'times'"),
        (NoSwitches(), "does not take is_output, wants_signal, threads; a rule is called as backward"),
        (NoBackward(), "NoBackward has no method backward"),
    ],
)
def test_a_rule_that_is_none_is_told_what_it_lacks(rule, message):
    with pytest.raises(GradientError, match=message):
        trained(rule)


class Plain:
    """A rule that is no dataclass."""

    signals = ("times",)

    def __init__(self):
        self.scale = 2.0

    def backward(self, *args, **switches):
        return EventProp().backward(*args, **switches)


def test_a_rule_need_not_be_a_dataclass():
    x = batch()
    trainer = Trainer(model(), Plain(), TTFSLoss(), Adam(), TrainingOptions(duration=T, epochs=1))
    list(trainer.epochs(x, LABELS, x, LABELS))
    assert trainer.state()["rule"] == {"scale": 2.0}


# ------------------------------------------------------------------------------- direct calls of the rules

RULES = [
    (EventProp(), lambda y: np.ones(y.times.size)),
    (HM2BP(), lambda y: np.ones((len(y), y.size))),
    (STRSBP(), lambda y: np.ones((len(y), y.size))),
    (RateBased(), lambda y: np.ones((len(y), y.size))),
    (STLLR(), lambda y: np.ones((len(y), y.size))),
    (TSSLBP(), lambda y: np.ones(y.times.size)),
]


def with_currents(y, currents):
    batch = SpikeBatch(y.times, y.neurons, y.offsets, y.size)
    object.__setattr__(batch, "currents", currents)  # past the door of the batch itself
    return batch


@pytest.mark.parametrize(("rule", "signal_of"), RULES, ids=lambda v: type(v).__name__)
def test_no_rule_reads_beyond_what_it_is_given(rule, signal_of):
    m, x = model(), batch()
    layer, inputs, outputs = m.layers[0], x, m.forward(x, T)[1]
    good = signal_of(outputs)
    rule.backward(layer, inputs, outputs, good, T)
    wrong = {
        "a signal that is too short": (layer, inputs, outputs, good[:-1], T),
        "a signal of another shape": (layer, inputs, outputs, good[None, None], T),
        "a signal that is not finite": (layer, inputs, outputs, good * np.nan, T),
        "no array": (layer, inputs, outputs, object(), T),
        "other inputs": (layer, batch(size=5), outputs, good, T),
        "fewer samples": (layer, inputs.take([0, 1]), outputs, good, T),
        "another layer": (m.layers[1], inputs, outputs, good, T),
        "values of a readout": (layer, inputs, Readout(4, 10, NEURON).forward(x, T), good, T),
        "short currents": (layer, inputs, with_currents(outputs, outputs.currents[:-1]), good, T),
        "single precision": (layer, inputs, with_currents(outputs, outputs.currents.astype(np.float32)), good, T),
        "currents that are not finite": (layer, inputs, with_currents(outputs, outputs.currents * np.inf), good, T),
        "no duration": (layer, inputs, outputs, good, math.nan),
        "no layer": (object(), inputs, outputs, good, T),
    }
    for what, arguments in wrong.items():
        with pytest.raises(ValueError, match=r"backward|learning signal"):
            rule.backward(*arguments)
            pytest.fail(what)


def test_a_pull_of_another_batch_is_refused():
    m, x = model(), batch()
    spikes = m.forward(x, T)
    pull = PSCCount(5.0, T)(spikes[-1], LABELS)[1]
    short = PSCGradient(pull.by_psc[:-1], pull.by_time[:-1], pull.at)
    for rule in (TSSLBP(), EventProp()):
        with pytest.raises(GradientError, match=r"by_psc|must be an array"):
            rule.backward(m.layers[1], spikes[1], spikes[2], short, T)


def test_a_learning_signal_of_another_batch_is_refused():
    m, x = model(), batch()
    spikes = m.forward(x, T)
    _, credit = STLLR().backward(m.layers[1], spikes[1], spikes[2], np.ones((3, 3)), T)
    few = SpikeBatch.from_trains(list(spikes[1])[:2])
    with pytest.raises(GradientError, match="learning signal is of"):
        STLLR().backward(m.layers[0], x.take([0, 1]), few, credit, T)


def test_psps_of_batches_of_different_length_are_refused():
    x = batch()
    with pytest.raises(ValueError, match="same samples"):
        s_psp_batch(x, x.take([0]), NEURON, T)
    with pytest.raises(ValueError, match="t_stop must be finite"):
        s_psp(x.sample(0), x.sample(1), NEURON, math.nan)


# ------------------------------------------------------------------------------------------------- layers

LAYERS = [
    lambda: Dense(4, 2, LIF()),
    lambda: Recurrent(4, 2, LIF()),
    lambda: Dense(4, 2, LIF(), lateral_inhibition=0.1),
    lambda: Readout(4, 2, LIF()),
    lambda: Readout(4, 2, LIF(), feature="integral"),
]


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("shape", [(2, 4), (2, 2), (4, 1), (8,)])
def test_weights_of_another_shape_are_refused_with_both_shapes(make, shape):
    layer = make()
    layer.weight = np.ones(shape)
    message = rf"must have shape \(4, 2\); got \({shape[0]}"
    with pytest.raises(ValueError, match=message):
        layer.forward(batch(), T)
    if type(layer) is Dense:
        with pytest.raises(ValueError, match=message):
            EventProp().backward(layer, batch(), make().forward(batch(), T), np.ones(1), T)
        with pytest.raises(ValueError, match=message):
            calibrate(Sequential(layer), batch(), TrainingOptions(duration=T), [1.0])


def test_weights_are_copied_as_float64():
    layer, given = Dense(4, 2, LIF()), np.ones((4, 2), np.float32)
    layer.weight = given
    given[...] = 7.0
    assert layer.weight.dtype == np.float64 and layer.weight.flags.c_contiguous and np.all(layer.weight == 1.0)
    layer.weight = np.arange(8).reshape(2, 4).T
    assert layer.weight.dtype == np.float64 and layer.weight.flags.c_contiguous
    for wrong in (np.ones((4, 2), complex), np.full((4, 2), "a"), None):
        with pytest.raises(ValueError, match="weight of Dense"):
            layer.weight = wrong


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_refused_by_the_next_pass(make, value):
    layer = make()
    layer.weight[1, 1] = value
    with pytest.raises(ValueError, match=r"weight of .*\(4, 2\) must be finite; the entry \(1, 1\)"):
        layer.forward(batch(), T)
    m = Sequential(make())
    with pytest.raises(ValueError, match="must be finite"):
        m.set_parameters([np.full(a.shape, value) for _, a in m.parameters()])


@pytest.mark.parametrize("make", LAYERS)
def test_a_layer_takes_its_own_number_of_inputs(make):
    for inputs, duration, message in (
        (batch(size=5), T, "takes 4 inputs; the spikes have 5"),
        (batch(), math.inf, "t_stop must be finite"),
        (batch(), 0.0, "t_stop must be > 0"),
        (np.ones((3, 4)), T, "takes a SpikeBatch"),
    ):
        with pytest.raises(ValueError, match=message):
            make().forward(inputs, duration)


def test_layers_and_models_are_made_of_what_they_say():
    with pytest.raises(ValueError, match="a model is made of layers"):
        Sequential(Dense, 3)
    with pytest.raises(ValueError, match="given as a LIF"):
        Dense(4, 2, {"tau_m": 20.0})
    for scale, mean in ((math.nan, None), (-1.0, None), (1.0, math.nan)):
        with pytest.raises(ValueError, match=r"scale|mean"):
            model().init(1, scale=scale, mean=mean)


# --------------------------------------------------------------------------------------------- optimisers


@pytest.mark.parametrize("make", [Adam, SGD])
def test_an_optimiser_writes_into_nothing_but_what_fits(make):
    w, g = [np.zeros((3, 2))], [np.ones((3, 2))]
    good = make()
    good.step(w, g, 0.1)
    state = good.state()
    for name in [key for key, value in state.items() if isinstance(value, list)]:
        other = make()
        a = state[name][0]
        for short in ([a[:-1]], [a.astype(np.float32)], [a * np.nan], [a, a]):
            with pytest.raises(ValueError, match=r"saved optimiser|belong together|shape|there are"):
                other.load({**state, name: short})
                other.step(w, g, 0.1)
    for weights, gradients, rates in (
        (w, [np.ones((2, 2))], 0.1),
        (w, g * 2, 0.1),
        (w, g, [0.1, 0.1]),
        (w, g, math.nan),
        ([np.zeros((3, 2), np.float32)], g, 0.1),
    ):
        with pytest.raises(ValueError):
            make().step(weights, gradients, rates)
    with pytest.raises(ValueError, match="lacks"):
        make().load({"kind": state["kind"]})


@pytest.mark.parametrize("make", [Adam, SGD])
def test_only_what_is_named_decays(make):
    w = [np.ones(3), np.ones(3)]
    make(weight_decay=0.5).step(w, [np.zeros(3), np.zeros(3)], 0.1, 1, [True, False])
    assert np.all(w[0] < 1.0) and np.all(w[1] == 1.0)


def test_weight_decay_leaves_trained_delays_alone():
    m = Sequential(Dense(4, 3, NEURON, trainable_delays="synapse", max_delay=10.0))
    m.init(seed=1, mean=3.0)
    m.layers[0].delays.logit[...] = 3.0
    before = m.layers[0].weight.copy()

    class Flat(TTFSLoss):
        def __call__(self, outputs, labels):
            value, slope = super().__call__(outputs, labels)
            return value, 0.0 * slope

    options = TrainingOptions(duration=T, epochs=2, rate=1e-2, schedule="constant")
    list(Trainer(m, EventProp(), Flat(), Adam(weight_decay=0.5), options).epochs(batch(), LABELS, batch(), LABELS))
    assert np.all(m.layers[0].delays.logit == 3.0) and np.all(np.abs(m.layers[0].weight) < np.abs(before))


# ------------------------------------------------------------------------------------------------ options

TARGETS = SpikeBatch.from_trains([SpikeTrains([5.0], [0], 3)] * 3)
PARTS = [
    *[rule for rule, _ in RULES], SurrogateBPTT(), Surrogate(),
    CountLoss(), SmoothCountLoss(T), TTFSLoss(missing=90.0), TargetTimes(5.0, 15.0, missing=90.0), VanRossum(TARGETS),
    TargetTrains(TARGETS), PSCCount(5.0, T), PSCDistance(TARGETS, 5.0, T), VoltageCrossEntropy(), CustomLoss(len),
    WeightBumping(), CountRegularisation(), SilentVoltage(), GradientClipping(), WeightClipping(),
    TrainingOptions(window=(0.0, 20.0), bias_spike=0.0, delay_rate=1e-3, regularise=(0.1, 0.5, 2.0)),
    Dense(4, 2, LIF()), Recurrent(4, 2, LIF()), Readout(4, 2, LIF(), weighting=5.0),
]  # fmt: skip


def numeric_fields():
    for part in PARTS:
        for f in fields(part):
            if f.init and str(f.type).startswith(("float", "int", "bool", "tuple[float")):
                yield pytest.param(part, f.name, str(f.type), id=f"{type(part).__name__}.{f.name}")


def given(part):
    return {f.name: getattr(part, f.name) for f in fields(part) if f.init}


@pytest.mark.parametrize(("part", "name", "kind"), list(numeric_fields()))
def test_every_option_refuses_what_is_no_number(part, name, kind):
    wrongs = ["a", object()]
    if kind.startswith("tuple"):
        wrongs += [(math.nan,) * len(getattr(part, name)), 1.0]
    elif kind.startswith("bool"):
        wrongs += ["False", 1.0, math.nan]
    else:
        wrongs += [math.nan, True] + ([1.5] if kind.startswith("int") else [])
    for wrong in wrongs:
        with pytest.raises(ValueError, match=name):
            type(part)(**{**given(part), name: wrong})


@pytest.mark.parametrize("part", PARTS, ids=lambda p: type(p).__name__)
def test_infinite_options_are_refused_where_they_mean_nothing(part):
    allowed = {"max_gamma", "tau_pre", "tau_post", "max_gain", "max_z"}
    for f in fields(part):
        if f.init and str(f.type).startswith("float") and f.name not in allowed:
            with pytest.raises(ValueError, match=f.name):
                type(part)(**{**given(part), f.name: math.inf})


def test_optimisers_and_calibration_refuse_what_is_no_number():
    for make, name in ((Adam, "beta1"), (Adam, "epsilon"), (Adam, "weight_decay"), (SGD, "momentum")):
        for value in (math.nan, -1.0, "a"):
            with pytest.raises(ValueError, match=name):
                make(**{name: value})
    for targets in ([math.nan, 1.0], [0.0, 1.0], [1.0]):
        with pytest.raises(ValueError, match=r"target|calibrate"):
            calibrate(model(), batch(), TrainingOptions(duration=T), targets)
    with pytest.raises(ValueError, match="needs samples"):
        calibrate(model(), batch(), TrainingOptions(duration=T), [1.0, 1.0], samples=0)


# ------------------------------------------------------------------------------------- samples and labels


@pytest.mark.parametrize("encoder", ["poisson", "regular", "latency", "linear"])
def test_every_encoder_wants_values_from_0_to_1(encoder):
    options = TrainingOptions(duration=100.0, encoder=encoder)
    options.encode(np.array([[0.0, 0.5, 1.0]]), np.arange(1), 1)
    for values, message in (
        ([[0.0, 3.0, 16.0]], r"\[0, 1\]; got 0.0 ... 16.0"),
        ([[0, 128, 255]], r"\[0, 1\]"),
        ([[-0.1, 0.5, 1.0]], r"\[0, 1\]"),
        ([[np.nan, 0.5, 1.0]], "finite"),
        ([[[0.5]]], "shape"),
    ):
        with pytest.raises(ValueError, match=message):
            options.encode(np.array(values), np.arange(1), 1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:2], "shape"),
        (LABELS.astype(float), "integers"),
        (np.array([0.0, np.nan, 1.0]), "integers"),
        (np.eye(3, dtype=int), "shape"),
        (np.array([0, 1, 3]), r"0 \.\.\. 2"),
        (np.array([0, -1, 2]), r"0 \.\.\. 2"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    x = batch()
    for y, y_test in ((labels, LABELS), (LABELS, labels)):
        trainer = Trainer(model(), EventProp(), TTFSLoss(), Adam(), TrainingOptions(duration=T, epochs=1))
        with pytest.raises(ValueError, match=message):
            list(trainer.epochs(x, y, x, y_test))


@pytest.mark.parametrize(
    ("rule", "loss"),
    [
        (EventProp(), TTFSLoss()),
        (EventProp(), VanRossum(TARGETS)),
        (TSSLBP(), PSCCount(5.0, T)),
        (HM2BP(), CountLoss()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_boosting_weights_the_samples_of_every_kind_of_loss(rule, loss):
    """The gradient with factors is that of each sample times its factor."""
    m, x = model(), batch()
    trainer = Trainer(m, rule, loss, Adam(), TrainingOptions(duration=T))
    factors = np.array([1.0, 4.0, 0.5])
    got = trainer.gradients(x, LABELS, factors)[0]
    alone = [trainer.gradients(x.take([k]), LABELS[[k]])[0] for k in range(3)]
    for k, g in enumerate(got):
        np.testing.assert_allclose(g, sum(f * a[k] for f, a in zip(factors, alone)) / 3, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("regulariser", [WeightBumping(), CountRegularisation(), SilentVoltage()])
def test_silence_is_no_error_where_a_remedy_can_wake_neurons(regulariser):
    x = batch()
    m = Sequential(Dense(4, 5, NEURON), Dense(5, 3, NEURON))
    m.init(seed=1, scale=0.01)
    options = TrainingOptions(duration=T, epochs=2, schedule="constant")
    rows = list(Trainer(m, EventProp(), TTFSLoss(), Adam(), options, [regulariser]).epochs(x, LABELS, x, LABELS))
    assert rows[-1]["spikes"] == 0 and len(rows) == 2


def test_a_stream_takes_its_own_inputs():
    m = Sequential(Dense(4, 5, NEURON), Readout(5, 3, NEURON, feature="integral"))
    m.init(seed=1)
    with pytest.raises(ValueError, match="t_stop"):
        StreamingSTLLR(m, STLLR(), math.nan)
    stream = StreamingSTLLR(m, STLLR(), T)
    with pytest.raises(ValueError, match="4 inputs"):
        stream.advance(SpikeTrains([1.0], [6], 7), 10.0)
    m.layers[0].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        StreamingSTLLR(m, STLLR(), T)


def test_options_are_checked_before_a_dataclass_is_used():
    """Also by ``dataclasses.replace``, which the command line uses."""
    with pytest.raises(ValueError, match="rate"):
        dataclasses.replace(TrainingOptions(), rate=math.nan)

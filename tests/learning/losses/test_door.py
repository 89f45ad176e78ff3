"""evsim.learning.losses: what is refused, what silence gives, and losses of the user's own."""

import numpy as np
import pytest

from evsim.errors import GradientError
from evsim.learning.layers.readout import Voltages
from evsim.learning.losses import (
    CountLoss,
    CustomLoss,
    SmoothCountLoss,
    TargetTimes,
    TargetTrains,
    TTFSLoss,
    VanRossum,
    VoltageCrossEntropy,
)
from evsim.spikes import SpikeBatch, SpikeTrains

TARGETS = SpikeBatch(np.array([3.0, 9.0, 5.0]), np.array([0, 1, 2]), np.array([0, 2, 3]), 3)
OF_SPIKES = [
    CountLoss(),
    SmoothCountLoss(end=30.0),
    TTFSLoss(),
    TTFSLoss(missing=40.0),
    TargetTimes(8.0, 12.0),
    TargetTimes(8.0, 12.0, shift_invariant=True, missing=30.0),
    VanRossum(TARGETS),
    TargetTrains(TARGETS, penalty=1.0),
    CustomLoss(lambda train, label: float(np.sum(train.times)) + label, chooses=lambda train: len(train)),
]


def silent(samples):
    return SpikeBatch(np.empty(0), np.empty(0, np.int64), np.zeros(samples + 1, np.int64), 3)


def name(loss):
    return type(loss).__name__


@pytest.mark.parametrize("loss", OF_SPIKES, ids=name)
@pytest.mark.parametrize("samples", [0, 2])
def test_silence_and_no_samples_have_finite_losses_and_integer_classes(loss, samples):
    batch = silent(samples)
    value, slope = loss(batch, np.zeros(samples, np.int64))
    assert value.shape == (samples,) and value.dtype == slope.dtype == np.float64 and np.all(np.isfinite(value))
    assert slope.shape == ((samples, 3) if loss.signal == "counts" else (0,))
    guess = loss.predict(batch)
    assert guess.shape == (samples,) and guess.dtype.kind == "i"


@pytest.mark.parametrize("loss", OF_SPIKES, ids=name)
@pytest.mark.parametrize("labels", [np.array([1.0, 0.0]), np.array([True, False])])
def test_labels_that_are_no_integers_are_refused(loss, labels):
    with pytest.raises(ValueError, match=r"labels must be integers; got (float64|bool)"):
        loss(silent(2), labels)


@pytest.mark.parametrize("loss", OF_SPIKES, ids=name)
def test_a_number_of_labels_other_than_of_samples_is_refused(loss):
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\); got \(1,\)"):
        loss(silent(2), np.array([0]))


@pytest.mark.parametrize("loss", OF_SPIKES, ids=name)
def test_labels_may_be_a_list_or_of_any_integer_type(loss):
    batch = SpikeBatch(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 1]), np.array([0, 1, 3]), 3)
    wanted = loss(batch, np.array([1, 0]))
    for labels in ([1, 0], np.array([1, 0], np.uint8)):
        for a, b in zip(loss(batch, labels), wanted):
            assert np.array_equal(a, b)


def test_labels_of_voltages_are_checked_too():
    zero = np.zeros((2, 3))
    v = Voltages(zero, zero, zero.astype(np.int64), zero)
    for labels, why in (([0, 3], "must lie in 0 ... 2"), ([0], "shape"), ([0.0, 1.0], "integers")):
        with pytest.raises(ValueError, match=why):
            VoltageCrossEntropy()(v, np.array(labels))


@pytest.mark.parametrize(
    "make",
    [
        lambda: TTFSLoss(tau0=0.0),
        lambda: TTFSLoss(tau1=-1.0),
        lambda: TTFSLoss(alpha=np.nan),
        lambda: TTFSLoss(missing=np.inf),
        lambda: TargetTimes(np.nan, 1.0),
        lambda: TargetTimes(1.0, np.inf),
        lambda: TargetTimes(1.0, 2.0, missing=np.nan),
        lambda: SmoothCountLoss(end=np.inf),
        lambda: SmoothCountLoss(end=10.0, width=0.0),
        lambda: VanRossum(TARGETS, tau=0.0),
        lambda: TargetTrains(TARGETS, penalty=np.nan),
        lambda: VoltageCrossEntropy(scale=0.0),
        lambda: VoltageCrossEntropy(scale=np.nan),
        lambda: CustomLoss(lambda train, label: 0.0, step=0.0),
    ],
)
def test_parameters_without_meaning_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.parametrize("loss", [VanRossum(TARGETS), TargetTrains(TARGETS)], ids=name)
def test_targets_of_other_neurons_than_the_outputs_are_refused(loss):
    with pytest.raises(ValueError, match="the targets have 3 neurons, the outputs 4"):
        loss(SpikeBatch(np.empty(0), np.empty(0, np.int64), np.array([0, 0]), 4), np.array([0]))


def late_batch():
    """Spikes seconds after the start, where t + step is rounded noticeably."""
    times = np.array([5000.123, 5003.25, 5009.5, 5001.0, 5002.75])
    return SpikeBatch(times, np.array([0, 1, 0, 2, 1]), np.array([0, 3, 5]), 3)


def test_a_custom_loss_without_a_derivative_gets_that_of_van_rossum_right():
    exact = VanRossum(TARGETS, tau=4.0)
    mine = CustomLoss(lambda train, label: exact(SpikeBatch.from_trains([train]), np.array([label]))[0][0])
    times = np.array([2.0, 4.5, 8.0, 10.0])
    batch = SpikeBatch(times, np.array([0, 1, 0, 2]), np.array([0, 3, 4]), 3)
    for a, b in zip(mine(batch, np.array([0, 1])), exact(batch, np.array([0, 1]))):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-9)


def test_differences_divide_by_the_distance_that_a_spike_really_moved():
    batch = late_batch()
    _, slope = CustomLoss(lambda train, label: float(np.sum(train.times - 5000.0)), step=1e-8)(batch, np.array([0, 0]))
    assert slope == pytest.approx(np.ones(5), rel=1e-12)


def test_a_given_derivative_is_used_as_it_is_and_may_depend_on_neuron_and_label():
    loss = CustomLoss(lambda train, label: (1.0, (train.neurons + 1.0) * label))
    value, slope = loss(late_batch(), np.array([10, 100]))
    assert value.tolist() == [1.0, 1.0] and slope.tolist() == [10.0, 20.0, 10.0, 300.0, 200.0]


@pytest.mark.parametrize("given", [None, np.zeros(1), np.zeros(2), [1.0, 2.0], "one"])
def test_a_custom_loss_that_gives_no_number_is_refused(given):
    with pytest.raises(GradientError, match="one number per sample"):
        CustomLoss(lambda train, label: given)(silent(1), np.array([0]))
    with pytest.raises(GradientError, match="one number per sample"):
        CustomLoss(lambda train, label: (given, np.zeros(0)))(silent(1), np.array([0]))


def test_a_custom_loss_that_gives_three_things_is_refused():
    with pytest.raises(GradientError, match="got 3"):
        CustomLoss(lambda train, label: (1.0, np.zeros(0), 2.0))(silent(1), np.array([0]))


def test_a_custom_derivative_that_is_not_finite_is_refused():
    with pytest.raises(GradientError, match="not finite"):
        CustomLoss(lambda train, label: (0.0, np.full(len(train), np.inf)))(late_batch(), np.array([0, 0]))


def test_a_custom_loss_may_choose_the_class_itself():
    last = CustomLoss(lambda train, label: 0.0, chooses=lambda train: int(train.neurons[-1]))
    assert last.predict(late_batch()).tolist() == [0, 1]
    assert CustomLoss(lambda train, label: 0.0).predict(SpikeBatch.from_trains([
        SpikeTrains([1.0, 2.0, 3.0], [2, 1, 2], 3)
    ])).tolist() == [2]  # fmt: skip

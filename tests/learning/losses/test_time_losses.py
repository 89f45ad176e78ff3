"""evsim.learning.losses: derivatives by spike times and readout values, against differences and plain formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.errors import GradientError
from evsim.learning import (
    CustomLoss,
    SmoothCountLoss,
    TargetTimes,
    TargetTrains,
    TTFSLoss,
    VanRossum,
    VoltageCrossEntropy,
)
from evsim.learning.layers.readout import Voltages
from evsim.spikes import SpikeBatch, SpikeTrains

N_OUT = 3


@st.composite
def outputs(draw, samples=2):
    """Output spikes at least 0.05 ms apart, silent neurons and samples among them."""
    trains = []
    for _ in range(samples):
        steps = draw(st.lists(st.integers(1, 400), max_size=8))
        times = 0.05 * np.cumsum(steps) + 0.001
        neurons = draw(st.lists(st.integers(0, N_OUT - 1), min_size=len(steps), max_size=len(steps)))
        trains.append(SpikeTrains(times, np.array(neurons, np.int64), N_OUT))
    return SpikeBatch.from_trains(trains)


def targets():
    return SpikeBatch.from_trains([
        SpikeTrains([3.0123, 9.0456, 20.0789], [0, 1, 0], N_OUT),
        SpikeTrains([5.0321], [2], N_OUT),
        SpikeTrains([], np.empty(0, np.int64), N_OUT),
    ])  # fmt: skip


LOSSES = [
    TTFSLoss(),
    TTFSLoss(tau0=2.0, tau1=10.0, alpha=1e-2, missing=40.0),
    TargetTimes(correct=8.0, wrong=12.0),
    TargetTimes(correct=8.0, wrong=12.0, shift_invariant=True, missing=30.0),
    SmoothCountLoss(end=30.0, desired=3.0, undesired=1.0, width=4.0),
    VanRossum(targets(), tau=7.0),
    TargetTrains(targets(), penalty=2.0),
    CustomLoss(lambda train, label: float(np.sum(np.sin(train.times) * (train.neurons + 1)) + label)),
    CustomLoss(lambda train, label: (float(np.sum(train.times**2)), 2.0 * train.times)),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@given(spikes=outputs(), labels=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_the_derivative_is_that_of_the_value(loss, spikes, labels):
    labels, step = np.array(labels), 1e-6
    value, slope = loss(spikes, labels)
    assert value.shape == (2,) and slope.shape == spikes.times.shape
    for s in range(spikes.times.size):
        moved = []
        for change in (step, -step):
            times = spikes.times.copy()
            times[s] += change
            moved.append(loss(SpikeBatch(times, spikes.neurons, spikes.offsets, N_OUT), labels)[0].sum())
        scale = max(1.0, np.abs(value).max())
        assert slope[s] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-5, abs=2e-9 * scale / step * 1e-1)


def test_one_spike_against_none_has_a_van_rossum_distance_of_a_half():
    spikes = SpikeBatch.from_trains([SpikeTrains([4.0], [1], N_OUT)])
    assert VanRossum(targets())(spikes, np.array([2]))[0] == pytest.approx([0.5])


def test_coinciding_spikes_have_finite_derivatives():
    spikes = SpikeBatch.from_trains([targets().sample(0)])
    value, slope = VanRossum(targets())(spikes, np.array([0]))
    assert value == pytest.approx([0.0], abs=1e-15) and np.all(np.abs(slope) < 1e-15)


def test_first_spikes_decide_and_silence_is_no_class():
    spikes = SpikeBatch.from_trains([
        SpikeTrains([1.0, 2.0, 3.0, 4.0], [2, 0, 0, 1], N_OUT), SpikeTrains([], np.empty(0, np.int64), N_OUT)
    ])  # fmt: skip
    assert TTFSLoss().predict(spikes).tolist() == [2, -1]
    value, slope = TTFSLoss(silent_loss=7.0)(spikes, np.array([0, 1]))
    assert value[1] == 7.0 and slope[2] == 0.0 and slope[0] < 0.0 < slope[1]


def test_ttfs_is_the_published_formula():
    spikes = SpikeBatch.from_trains([SpikeTrains([1.0, 1.2, 2.0], [0, 1, 2], N_OUT)])
    t = np.array([1.0, 1.2, 2.0])
    wanted = -np.log(np.exp(-1.2 / 0.5) / np.exp(-t / 0.5).sum()) + 3e-3 * (np.exp(1.2 / 6.4) - 1)
    assert TTFSLoss()(spikes, np.array([1]))[0] == pytest.approx([wanted], rel=1e-14)


def test_extreme_times_stay_finite():
    spikes = SpikeBatch.from_trains([SpikeTrains([1e-3, 900.0], [0, 1], N_OUT)])
    value, slope = TTFSLoss(alpha=0.0)(spikes, np.array([1]))
    assert np.isfinite(value).all() and np.isfinite(slope).all()
    assert value[0] == pytest.approx(2 * (900.0 - 1e-3))


def test_the_voltage_loss_is_a_cross_entropy():
    v = np.array([[0.3, -1.0, 2.0]])
    zero = np.zeros_like(v)
    value, slope = VoltageCrossEntropy(scale=2.0)(Voltages(v, zero, zero.astype(int), zero), np.array([0]))
    p = np.exp(2 * v[0]) / np.exp(2 * v[0]).sum()
    assert value == pytest.approx([-np.log(p[0])]) and slope[0] == pytest.approx(2 * (p - [1, 0, 0]))


@pytest.mark.parametrize("loss", LOSSES[:7], ids=lambda loss: type(loss).__name__)
def test_labels_that_are_no_class_are_refused(loss):
    spikes = SpikeBatch.from_trains([SpikeTrains([1.0], [0], N_OUT)])
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\.\. 2"):
        loss(spikes, np.array([3]))
    with pytest.raises(ValueError, match="shape"):
        loss(spikes, np.array([0, 1]))


def test_a_custom_loss_that_is_not_finite_or_of_another_shape_is_refused():
    spikes = SpikeBatch.from_trains([SpikeTrains([1.0], [0], N_OUT)])
    with pytest.raises(GradientError, match="not finite"):
        CustomLoss(lambda train, label: np.nan)(spikes, np.array([0]))
    with pytest.raises(GradientError, match="one derivative per spike"):
        CustomLoss(lambda train, label: (0.0, np.zeros(2)))(spikes, np.array([0]))

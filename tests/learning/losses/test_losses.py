"""evsim.learning.losses: values and derivatives from spike counts."""

import numpy as np
import pytest

from evsim.learning import CountLoss
from evsim.spikes import SpikeBatch, SpikeTrains


def with_counts(*rows):
    """A batch of recordings with these counts; neurons take turns, so that order plays no part."""
    trains = []
    for row in rows:
        neurons = np.repeat(np.arange(len(row)), row)
        trains.append(SpikeTrains(np.linspace(1.0, 9.0, neurons.size), neurons[::-1], len(row)))
    return SpikeBatch.from_trains(trains)


def test_the_loss_is_half_the_squared_distance_from_the_wanted_counts():
    value, error = CountLoss(desired=9, undesired=2, margin=0)(
        with_counts([4, 2, 0], [9, 2, 2]), np.array([1, 0])
    )
    assert error.tolist() == [[2.0, -7.0, -2.0], [0.0, 0.0, 0.0]]
    assert value.tolist() == [0.5 * (4 + 49 + 4), 0.0]


def test_an_error_up_to_the_margin_is_none_and_beyond_it_whole():
    value, error = CountLoss(desired=35, undesired=5, margin=5)(
        with_counts([10, 30, 0, 11], [40, 41, 5, 0]), np.array([1, 0])
    )
    assert error.tolist() == [[0.0, 0.0, 0.0, 6.0], [0.0, 36.0, 0.0, 0.0]]
    assert value.tolist() == [18.0, 648.0]


def test_the_defaults_are_the_published_counts():
    assert CountLoss() == CountLoss(desired=35.0, undesired=5.0, margin=5.0)


def test_the_error_is_the_derivative_of_the_value():
    loss, labels = CountLoss(desired=12, undesired=2, margin=3), np.array([2])
    counts = [9, 0, 4, 7]
    _, error = loss(with_counts(counts), labels)
    for i in (0, 2, 3):
        more, less = list(counts), list(counts)
        more[i] += 1
        less[i] -= 1
        (up,), (down,) = loss(with_counts(more), labels)[0], loss(with_counts(less), labels)[0]
        assert error[0, i] == (up - down) / 2


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_a_label_without_an_output_neuron_is_refused(labels):
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\.\. 2.*one neuron per class"):
        CountLoss()(with_counts([1, 1, 1], [1, 1, 1]), np.array(labels))


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [[0, 1]]])
def test_a_number_of_labels_other_than_of_samples_is_refused(labels):
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\)"):
        CountLoss()(with_counts([1, 1, 1], [1, 1, 1]), np.array(labels))


def test_the_predicted_class_has_most_spikes_and_ties_go_to_the_smallest_index():
    batch = with_counts([1, 5, 2], [3, 7, 7], [0, 0, 0])
    assert CountLoss().predict(batch).tolist() == [1, 1, 0]

"""evsim.learning.augment: samples moved on their grid, against plain arithmetic for each event."""

import math

import numpy as np
import pytest

from evsim.learning import TrainingOptions
from evsim.learning.training.augmentation import RandomAffine
from evsim.spikes import SpikeBatch

GRID = (7, 5, 2)


def batch(samples=6, n=30, grid=GRID, seed=1):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 10, (samples, n)), axis=1).ravel()
    return SpikeBatch(times, rng.integers(0, math.prod(grid), samples * n), np.arange(samples + 1) * n, math.prod(grid))


def plain(spikes, grid, shift, turn, zoom, seed, epoch, keys):
    """Each spike's pixel by the formula, one after the other."""
    width, height, _ = grid
    out = []
    for key, train in zip(keys, spikes):
        z, a, dx, dy = np.random.default_rng([seed, epoch, key, 8]).uniform(-1, 1, 4)
        z, a, dx, dy = z * zoom, math.radians(a * turn), dx * shift, dy * shift
        kept = []
        for time, unit in zip(train.times.tolist(), train.neurons.tolist()):
            channel, y, x = unit // (width * height), unit // width % height, unit % width
            u, v = x - (width - 1) / 2, y - (height - 1) / 2
            x = round((width - 1) / 2 + (1 + z) * (math.cos(a) * u - math.sin(a) * v) + dx)
            y = round((height - 1) / 2 + (1 + z) * (math.sin(a) * u + math.cos(a) * v) + dy)
            if 0 <= x < width and 0 <= y < height:
                kept.append((time, (channel * height + y) * width + x))
        out.append(kept)
    return out


@pytest.mark.parametrize("moves", [(1.5, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 0.4), (1.0, 20.0, 0.2)])
def test_every_spike_goes_where_the_formula_says(moves):
    spikes, keys = batch(), [5, 0, 9, 2, 7, 1]
    moved = RandomAffine(*moves)(spikes, GRID, 3, 4, np.array(keys))
    wanted = plain(spikes, GRID, *moves, 3, 4, keys)
    assert [list(zip(t.times.tolist(), t.neurons.tolist())) for t in moved] == wanted
    assert moved.size == spikes.size
    assert moved.times.size < spikes.times.size


def test_no_move_changes_nothing():
    spikes = batch()
    same = RandomAffine(0.0, 0.0, 0.0)(spikes, GRID, 1, 1, np.arange(6))
    for name in ("times", "neurons", "offsets"):
        assert np.array_equal(getattr(same, name), getattr(spikes, name))


def test_a_sample_moves_the_same_wherever_it_stands_and_anew_in_each_epoch():
    spikes = batch()
    whole = RandomAffine(2.0, 20.0, 0.2)(spikes, GRID, 1, 1, np.arange(6))
    alone = RandomAffine(2.0, 20.0, 0.2)(spikes.take([4]), GRID, 1, 1, np.array([4]))
    assert np.array_equal(alone.neurons, whole.sample(4).neurons)
    later = RandomAffine(2.0, 20.0, 0.2)(spikes.take([4]), GRID, 1, 2, np.array([4]))
    assert not np.array_equal(alone.neurons, later.neurons)


def test_silent_samples_and_no_samples_stay_so():
    silent = SpikeBatch(np.empty(0), np.empty(0, np.int32), [0, 0, 0], 70)
    assert len(RandomAffine(1.0, 1.0, 0.1)(silent, GRID, 1, 1, np.arange(2))) == 2
    assert len(RandomAffine(1.0, 1.0, 0.1)(silent.take([]), GRID, 1, 1, np.arange(0))) == 0


def test_a_grid_that_the_inputs_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="a grid of 7 x 5 x 1 has 35 inputs, not 70"):
        RandomAffine(1.0, 0.0, 0.0)(batch(), (7, 5, 1), 1, 1, np.arange(6))


def test_training_moves_samples_and_testing_does_not():
    spikes, keys = batch(), np.arange(6)
    options = TrainingOptions(shift=1.0, grid=GRID, bias_spike=0.0)
    moved = RandomAffine(1.0, 0.0, 0.0)(spikes, GRID, options.seed, 1, keys)
    trained, tested = options.encode(spikes, keys, 1), options.encode(spikes, keys, -2)
    for got, wanted in ((trained, moved), (tested, spikes)):
        assert got.size == spikes.size + 1
        assert np.array_equal(got.neurons[got.neurons < 70], wanted.neurons)


@pytest.mark.parametrize("values", [{"shift": -1.0}, {"turn": -1.0}, {"zoom": 1.0}])
def test_moves_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="shift and turn must be >= 0"):
        TrainingOptions(**values)


def test_moves_without_a_grid_are_refused():
    with pytest.raises(ValueError, match="no grid of pixels"):
        TrainingOptions(shift=1.0).encode(batch(), np.arange(6), 1)

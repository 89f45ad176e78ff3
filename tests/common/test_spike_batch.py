"""SpikeBatch.take: samples selected in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.spikes import SpikeBatch

BATCH = SpikeBatch(
    times=np.array([1.0, 2.0, 2.0, 0.5, 3.0, 4.0]),
    neurons=np.array([0, 1, 2, 2, 0, 0], np.int32),
    offsets=np.array([0, 3, 3, 4, 6]),
    size=3,
    currents=np.arange(6.0) + 10.0,
)


@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_sample_comes_whole_and_in_the_given_order(rows):
    taken = BATCH.take(rows)
    assert (len(taken), taken.size) == (len(rows), BATCH.size)
    for k, row in enumerate(rows):
        old, new = slice(*BATCH.offsets[row : row + 2]), slice(*taken.offsets[k : k + 2])
        assert np.array_equal(taken.times[new], BATCH.times[old])
        assert np.array_equal(taken.neurons[new], BATCH.neurons[old])
        assert np.array_equal(taken.currents[new], BATCH.currents[old])


@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_generated_batches_agree_with_joining_their_samples(data, counts):
    offsets = np.append(0, np.cumsum(counts))
    times = np.concatenate([np.arange(c) + 100.0 * k for k, c in enumerate(counts)])
    batch = SpikeBatch(times, np.arange(offsets[-1]) % 5, offsets, 5)
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=10))
    joined = SpikeBatch.from_trains([batch.sample(k) for k in rows])
    taken = batch.take(np.array(rows))
    for name in ("times", "neurons", "offsets"):
        assert np.array_equal(getattr(taken, name), getattr(joined, name))
    assert taken.currents is None


def test_taking_nothing_gives_no_sample():
    assert len(BATCH.take([])) == 0
    assert BATCH.take([]).times.size == 0


@pytest.mark.parametrize("rows", [[4], [-1], [[0, 1]], 2])
def test_what_is_no_list_of_samples_is_refused(rows):
    with pytest.raises(IndexError, match=r"1-D indices 0 \.\.\. 3"):
        BATCH.take(rows)


@pytest.mark.parametrize("rows", [[0.5], np.array([True, False, True, False])])
def test_fractions_and_masks_are_refused_and_not_rounded_to_indices(rows):
    with pytest.raises(IndexError, match="samples must be integers"):
        BATCH.take(rows)

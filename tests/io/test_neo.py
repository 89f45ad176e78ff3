"""evsim.io.neo: there and back without the loss of a bit, and other units on the way in."""

import sys

import neo
import numpy as np
import pytest
import quantities as pq
from hypothesis import given
from hypothesis import strategies as st

from evsim import SpikeTrains
from evsim.io.neo import from_neo, to_neo

SIZE = 4


@st.composite
def any_spikes(draw):
    """Spikes of SIZE neurons at any float64, ties between neurons and within one included."""
    instants = st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 0.1, 0.1 + 0.2, 5e-324, 1e9])
    spikes = draw(st.lists(st.tuples(instants, st.integers(0, SIZE - 1)), max_size=30))
    return SpikeTrains([t for t, _ in spikes], np.array([k for _, k in spikes], np.int64), SIZE)


@given(spikes=any_spikes())
def test_there_and_back_keeps_every_bit(spikes):
    trains = to_neo(spikes, t_stop=1e9, t_start=-1e9)
    back = from_neo(trains)
    assert (len(trains), back.size, len(back)) == (SIZE, SIZE, len(spikes))
    for k, train in enumerate(trains):
        assert train.magnitude.tobytes() == spikes.of(k).tobytes() == back.of(k).tobytes()
        assert train.units == pq.ms and train.dtype == np.float64
        assert (float(train.t_start), float(train.t_stop)) == (-1e9, 1e9)


@given(spikes=any_spikes())
def test_equal_times_come_back_ordered_by_neuron(spikes):
    back = from_neo(to_neo(spikes, t_stop=1e9, t_start=-1e9))
    expected = np.lexsort((spikes.neurons, spikes.times))
    assert np.array_equal(back.times, spikes.times[expected])
    assert np.array_equal(back.neurons, spikes.neurons[expected])


def test_what_is_done_to_the_trains_leaves_the_spikes_alone():
    spikes = SpikeTrains([1.0, 2.0], [0, 0], 1)
    to_neo(spikes, 10.0)[0].magnitude[0] = 5.0
    assert spikes.times.tolist() == [1.0, 2.0]


def test_other_units_are_rescaled_to_ms():
    trains = [
        neo.SpikeTrain([0.5, 0.25], units="s", t_stop=1.0),
        neo.SpikeTrain(np.array([1500, 2500]), units="us", t_stop=1e6),
        neo.SpikeTrain([], units="s", t_stop=1.0),
    ]
    spikes = from_neo(trains)
    assert spikes.times.tolist() == pytest.approx([1.5, 2.5, 250.0, 500.0], rel=1e-15)
    assert (spikes.neurons.tolist(), spikes.size) == ([1, 1, 0, 0], 3)


def test_no_trains_make_no_neurons():
    spikes = from_neo([])
    assert (len(spikes), spikes.size) == (0, 0)
    assert to_neo(spikes, 10.0) == []


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: to_neo(SpikeTrains([1.0, 9.0], [0, 0], 1), 5.0), ValueError, "1 do not, the first at 9.0 ms"),
        (lambda: to_neo(SpikeTrains([1.0], [0], 1), 5.0, 2.0), ValueError, r"\[2.0, 5.0\] ms"),
        (lambda: to_neo(SpikeTrains([], [], 1), np.nan), ValueError, "finite"),
        (lambda: from_neo(neo.SpikeTrain([1.0], units="ms", t_stop=2.0)), TypeError, r"Use \[train\]"),
        (lambda: from_neo([[1.0, 2.0]]), TypeError, "entry 0 is list"),
    ],
)
def test_errors_name_what_came(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("call", [lambda: to_neo(SpikeTrains([], [], 1), 1.0), lambda: from_neo([])])
def test_without_neo_the_error_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "neo", None)
    with pytest.raises(ImportError, match="pip install neo"):
        call()

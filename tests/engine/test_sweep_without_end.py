"""Neurons that spike without end: the sweep says so, and leaves fast but sensible ones alone."""

import numpy as np
import pytest

from evsim import LIF, Network, SpikeBatch, SpikeTrains
from evsim.errors import RunawayError
from evsim.learning import Dense, Sequential

ONE = SpikeTrains([1.0], [0], 1)


def layer(weight, **parameters):
    model = Sequential(Dense(1, 2, LIF(tau_m=20.0, tau_syn=5.0, **parameters)))
    model.set_parameters([np.array([[0.5, weight]])])
    return model


def network(weight):
    net = Network()
    net.add_input("in", 1)
    net.add_population("out", 1, LIF(tau_m=20.0, tau_syn=5.0))
    net.connect("in", "out", weight=weight, delay=1.0)
    return net


@pytest.mark.parametrize("weight", [1e9, 1e14, 1e17, 1e20, 1e100])
def test_a_weight_that_makes_a_neuron_spike_without_end_is_an_error(weight):
    with pytest.raises(RunawayError, match=r"neuron 1 of the layer spikes without end at about 1.*t_ref > 0"):
        layer(weight).forward(SpikeBatch.from_trains([ONE, ONE]), 20.0)
    with pytest.raises(RunawayError, match="neuron 0 of 'out' spikes without end at about 2"):
        network(weight).simulate(20.0, inputs={"in": ONE}, driver="sweep")


def test_a_refractory_time_bounds_the_spikes_of_any_weight():
    (out,) = layer(1e20, t_ref=1.0).forward(SpikeBatch.from_trains([ONE]), 20.0)[1:]
    assert out.counts().tolist() == [[0, 19]]


def test_fast_neurons_are_no_error():
    """Some 10^5 spikes at up to 500 a ms: beyond biology, not beyond the buffers."""
    out = layer(1e4).forward(SpikeBatch.from_trains([ONE]), 400.0)[-1]
    assert out.counts()[0, 1] > 2000
    steady = Sequential(Dense(1, 1, LIF(tau_m=20.0, tau_syn=5.0, bias=4000.0)))
    counts = steady.forward(SpikeBatch.from_trains([ONE]), 2000.0)[-1].counts()
    assert counts[0, 0] > 2**18

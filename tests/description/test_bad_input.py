"""Bad input is refused at the door, by an error that says what came and what to do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse

import evsim
from evsim import LIF, Network, NetworkError, SpikeBatch, SpikeTrains


def small_net() -> Network:
    net = Network()
    net.add_input("in", size=2)
    net.add_population("out", size=3, neuron=LIF())
    net.connect("in", "out", weight=1.0, delay=1.0)
    return net


NO_SPIKES = SpikeTrains([], [], size=2)

# ------------------------------------------------------------------------------------------- spike trains


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_times_that_are_not_finite_are_refused_by_position(bad) -> None:
    with pytest.raises(ValueError, match=r"times\[1\].*Remove or repair"):
        SpikeTrains([0.5, bad, 2.0], [0, 0, 0], size=1)


@pytest.mark.parametrize("bad", [-1, 3, 2**40])
def test_indices_out_of_range_are_refused_with_the_range(bad) -> None:
    with pytest.raises(ValueError, match=rf"index {bad} is out of range.*allows 0 \.\.\. 2"):
        SpikeTrains([1.0, 2.0], np.array([0, bad]), size=3)


@pytest.mark.parametrize("neurons", [[0.0, 1.0], [True, False], ["a", "b"]])
def test_indices_that_are_not_integers_are_refused(neurons) -> None:
    with pytest.raises(ValueError, match="neurons must be integers"):
        SpikeTrains([1.0, 2.0], neurons, size=3)


@pytest.mark.parametrize("times, neurons", [([1.0], [0, 1]), ([[1.0]], [[0]]), (1.0, 0)])
def test_times_and_neurons_of_other_shapes_are_refused(times, neurons) -> None:
    with pytest.raises(ValueError, match="1-D and equally long; got shapes"):
        SpikeTrains(times, neurons, size=3)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be an integer >= 0; got -1"):
        SpikeTrains([], [], size=-1)


def test_a_neuron_that_does_not_exist_has_no_spikes_to_give() -> None:
    with pytest.raises(IndexError, match=r"neuron 2 asked for, but there are 2"):
        NO_SPIKES.of(2)


def test_spike_trains_sort_and_keep_ties_in_their_given_order() -> None:
    trains = SpikeTrains([3.0, 1.0, 3.0, 1.0, 1.0], [4, 2, 0, 3, 1], size=5)
    assert trains.times.tolist() == [1.0, 1.0, 1.0, 3.0, 3.0]
    assert trains.neurons.tolist() == [2, 3, 1, 4, 0]


def test_a_batch_refuses_times_that_decrease_within_a_sample() -> None:
    with pytest.raises(ValueError, match="SpikeTrains, which sorts"):
        SpikeBatch([1.0, 3.0, 2.0], [0, 0, 0], [0, 3], size=1)
    batch = SpikeBatch([1.0, 3.0, 2.0], [0, 0, 0], [0, 2, 3], size=1)
    assert batch.sample(1).times.tolist() == [2.0]


@pytest.mark.parametrize("offsets", [[1, 3], [0, 2, 1, 3], [], [[0, 3]]])
def test_a_batch_refuses_offsets_that_are_none(offsets) -> None:
    with pytest.raises(ValueError, match="offsets must start at 0"):
        SpikeBatch([1.0, 2.0, 3.0], [0, 0, 0], offsets, size=1)


def test_a_batch_refuses_offsets_that_do_not_cover_the_spikes() -> None:
    with pytest.raises(ValueError, match="offsets end at 2, but there are 3 spikes"):
        SpikeBatch([1.0, 2.0, 3.0], [0, 0, 0], [0, 2], size=1)


def test_a_batch_joins_only_recordings_of_one_size() -> None:
    with pytest.raises(ValueError, match=r"same size; got sizes \[2, 3\]"):
        SpikeBatch.from_trains([NO_SPIKES, SpikeTrains([], [], size=3)])
    with pytest.raises(ValueError, match="at least one recording"):
        SpikeBatch.from_trains([])


# ------------------------------------------------------------------------------------------------ neurons


@pytest.mark.parametrize("name", ["tau_m", "tau_syn"])
@pytest.mark.parametrize("bad", [0.0, -1.0, np.array([5.0, -5.0])])
def test_time_constants_must_be_positive(name, bad) -> None:
    with pytest.raises(ValueError, match=f"{name} must be > 0 ms; got"):
        LIF(**{name: bad})


def test_both_synaptic_time_constants_are_checked() -> None:
    with pytest.raises(ValueError, match=r"tau_syn \(inhibitory\) must be > 0 ms"):
        LIF(tau_syn=(5.0, -1.0))
    with pytest.raises(ValueError, match=r"must be \(excitatory, inhibitory\); got 3 values"):
        LIF(tau_syn=(5.0, 6.0, 7.0))


@pytest.mark.parametrize("name", ["tau_m", "tau_syn", "v_th", "v_reset", "v_rest", "t_ref", "bias", "v_init"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_parameters_must_be_finite(name, bad) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        LIF(**{name: bad})


def test_a_negative_refractory_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"t_ref must be >= 0 ms; got -1.0. Use 0"):
        LIF(t_ref=-1.0)


@pytest.mark.parametrize("v_reset", [1.0, 2.0, np.array([0.0, 1.0])])
def test_a_reset_at_or_above_threshold_is_refused(v_reset) -> None:
    with pytest.raises(ValueError, match="v_reset must be below v_th, or the neuron would fire without end"):
        LIF(v_reset=v_reset)


def test_parameter_arrays_must_fit_the_population() -> None:
    with pytest.raises(NetworkError, match=r"size 3, but v_th has shape \(2,\); give one number or 3"):
        Network().add_population("out", size=3, neuron=LIF(v_th=np.ones(2)))
    with pytest.raises(ValueError, match="one number per neuron; got shape"):
        LIF(v_th=np.ones((2, 2)))


# ---------------------------------------------------------------------------------------------- the network


def test_a_name_can_be_used_once_only() -> None:
    net = small_net()
    for add in (lambda: net.add_input("out", size=1), lambda: net.add_population("in", 1, LIF())):
        with pytest.raises(NetworkError, match="is taken; names of inputs and populations are unique"):
            add()


@pytest.mark.parametrize("size", [0, -2])
def test_sizes_must_be_positive(size) -> None:
    with pytest.raises(NetworkError, match=f"must have an integer size >= 1; got {size}"):
        Network().add_input("in", size=size)


@pytest.mark.parametrize("size", [2.5, "2", None])
def test_sizes_must_be_integers(size) -> None:
    for make in (
        lambda: Network().add_input("in", size=size),
        lambda: Network().add_population("out", size=size, neuron=LIF()),
        lambda: SpikeTrains([], [], size=size),
    ):
        with pytest.raises(ValueError, match=r"size.*; got"):
            make()


@pytest.mark.parametrize("source, target", [("in", "nobody"), ("nobody", "out")])
def test_unknown_names_are_refused_with_the_known_ones(source, target) -> None:
    with pytest.raises(NetworkError, match="no input or population is named 'nobody'; known: in, out"):
        small_net().connect(source, target, weight=1.0)


def test_nothing_can_be_sent_to_an_input() -> None:
    with pytest.raises(NetworkError, match="'in' is an input; spikes can only be sent to a population"):
        small_net().connect("out", "in", weight=1.0)


@pytest.mark.parametrize("name", ["weight", "delay"])
@pytest.mark.parametrize("shape", [(3, 2), (3,), (2, 3, 1)])
def test_weights_and_delays_of_another_shape_are_refused(name, shape) -> None:
    values = {"weight": 1.0, "delay": 1.0, name: np.ones(shape)}
    with pytest.raises(
        NetworkError, match=rf"{name} must be a number or have shape .* = \(2, 3\); got shape"
    ):
        small_net().connect("in", "out", **values)


@pytest.mark.parametrize("name", ["weight", "delay"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_and_delays_must_be_finite(name, bad) -> None:
    matrix = np.ones((2, 3))
    matrix[1, 2] = bad
    for value in (bad, matrix, scipy.sparse.csr_matrix(matrix)):
        values = {"weight": scipy.sparse.csr_matrix(np.ones((2, 3))), "delay": 1.0, name: value}
        with pytest.raises(NetworkError, match=f"{name} must be finite; it holds NaN or infinity"):
            small_net().connect("in", "out", **values)


def test_negative_delays_are_refused() -> None:
    for delay in (-0.5, np.array([[1.0, 1.0, 1.0], [1.0, -0.5, 1.0]])):
        with pytest.raises(NetworkError, match=r"delay must be >= 0 ms; got -0.5"):
            small_net().connect("in", "out", weight=1.0, delay=delay)


def test_a_sparse_delay_must_have_the_entries_of_a_sparse_weight() -> None:
    eye, full = scipy.sparse.eye(2, 3), scipy.sparse.csr_matrix(np.ones((2, 3)))
    with pytest.raises(NetworkError, match="a sparse delay needs a sparse weight"):
        small_net().connect("in", "out", weight=1.0, delay=full)
    with pytest.raises(NetworkError, match="sparse weight and delay must have the same entries"):
        small_net().connect("in", "out", weight=eye, delay=full)


def test_rules_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(NetworkError, match="indegree must be an integer >= 0; got -1"):
        evsim.FixedIndegree(-1)
    with pytest.raises(NetworkError, match="OneToOne needs populations of equal size; got 2 and 3"):
        small_net().connect("in", "out", weight=1.0, rule=evsim.OneToOne())
    with pytest.raises(NetworkError, match="one number per synapse; got shape"):
        small_net().connect("in", "out", weight=np.ones((2, 3)), rule=evsim.AllToAll())
    with pytest.raises(NetworkError, match="weight has 5 values, but the rule made 6 synapses"):
        small_net().connect("in", "out", weight=np.ones(5), rule=evsim.AllToAll())


# ---------------------------------------------------------------------------------------------- simulation


@pytest.mark.parametrize("t_stop", [0.0, -1.0, math.inf, math.nan])
def test_the_end_must_be_finite_and_positive(t_stop) -> None:
    with pytest.raises(ValueError, match="t_stop must be finite and > 0 ms; got"):
        small_net().simulate(t_stop, inputs={"in": NO_SPIKES})


def test_a_missing_input_is_named() -> None:
    for inputs in (None, {}):
        with pytest.raises(ValueError, match="no spikes were given for input 'in'; pass inputs="):
            small_net().simulate(1.0, inputs=inputs)


def test_an_unknown_input_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'other', which is no input of this network; inputs: in"):
        small_net().simulate(1.0, inputs={"in": NO_SPIKES, "other": NO_SPIKES})


def test_an_input_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="input 'in' has size 2, but its spike trains have size 5"):
        small_net().simulate(1.0, inputs={"in": SpikeTrains([], [], size=5)})


def test_spikes_before_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="starts at 0 ms: shift the times"):
        small_net().simulate(1.0, inputs={"in": SpikeTrains([-0.1, 0.5], [0, 1], size=2)})


def test_an_unknown_driver_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"driver must be one of auto, queue, window, sweep.*; got 'grid'"):
        small_net().simulate(1.0, inputs={"in": NO_SPIKES}, driver="grid")


@pytest.mark.parametrize("driver", ["queue", "sweep"])
def test_no_threads_are_too_few(driver) -> None:
    with pytest.raises(ValueError, match="threads must be >= 1; got 0"):
        small_net().simulate(1.0, inputs={"in": NO_SPIKES}, threads=0, driver=driver)


def test_the_sweep_refuses_what_it_cannot_run_and_names_the_queue() -> None:
    recurrent = small_net()
    recurrent.connect("out", "out", weight=1.0, delay=1.0)
    several = small_net()
    several.connect("in", "out", weight=1.0, delay=np.arange(6.0).reshape(2, 3))
    mixed = Network()
    mixed.add_population("out", size=2, neuron=LIF(tau_m=np.array([10.0, 20.0])))
    cases = [(recurrent, "it is recurrent"), (several, "several delays"), (mixed, "different time constants")]
    for net, why in cases:
        with pytest.raises(NetworkError, match=rf"{why}.*Use driver='queue'"):
            net.simulate(1.0, inputs={name: NO_SPIKES for name in net.inputs}, driver="sweep")


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(NetworkError, match="add one with add_population"):
        Network().simulate(1.0)


def test_a_recording_names_its_populations() -> None:
    rec = small_net().simulate(10.0, inputs={"in": NO_SPIKES})
    with pytest.raises(KeyError, match="no population 'hidden' was recorded; there are out"):
        rec["hidden"]


def test_voltages_are_only_known_where_the_run_was() -> None:
    rec = small_net().simulate(10.0, inputs={"in": NO_SPIKES})
    for times in ([10.5], [-0.1], [math.nan]):
        with pytest.raises(ValueError, match=r"voltage times must lie within \[0, 10.0\] ms"):
            rec.voltage("out", neuron=0, times=times)
    with pytest.raises(IndexError, match=r"neuron 3 asked for, but 'out' has 0 \.\.\. 2"):
        rec.voltage("out", neuron=3, times=[1.0])

"""EventProp against 50 digits, against the forward tangent, and against itself."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from evsim import GrazingWarning
from evsim.errors import GradientError
from evsim.learning import network_gradient
from evsim.testing import (
    KINDS,
    SpikesChanged,
    clear_of_grazing,
    random_direction,
    small_networks,
    spike_time_derivatives,
    tangent,
    untied,
)
from evsim.testing.oracle import replay_network
from helpers.examples import examples

quick = settings(deadline=None, suppress_health_check=list(HealthCheck))
CLEAR = 1e-6


def recorded(description):
    net, inputs = description.network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrazingWarning)
        return net.simulate(description.t_stop, inputs=inputs, driver="queue")


def all_spikes(description, recording):
    """(time, neuron) of all populations by (time, neuron), and for each population where its spikes stand there."""
    first = np.append(0, np.cumsum(description.populations))
    names = list(recording)
    times = np.concatenate([recording[p].times for p in names])
    neurons = np.concatenate([recording[p].neurons + first[k] for k, p in enumerate(names)])
    order = np.lexsort((neurons, times))
    where = np.empty(order.size, int)
    where[order] = np.arange(order.size)
    cuts = np.append(0, np.cumsum([len(recording[p]) for p in names]))
    places = {p: where[cuts[k] : cuts[k + 1]] for k, p in enumerate(names)}
    return list(zip(times[order], neurons[order])), places


def by_kind(description, recording, gradient):
    """A NetworkGradient as one array per kind of parameter, in the order of the description."""
    n = len(description.synapses)
    order = np.lexsort(([s for _, s in description.input_spikes], [t for t, _ in description.input_spikes]))
    fed = np.zeros(len(description.input_spikes))
    if fed.size:
        trains = recording.inputs["in"]
        for k, (t, s) in enumerate(description.input_spikes):
            same = np.flatnonzero((trains.times == t) & (trains.neurons == s))
            twin = sum(x == (t, s) for x in description.input_spikes[:k])
            fed[k] = gradient.inputs["in"][same[twin]]
    assert order.size == fed.size
    out = {
        "weight": np.array([gradient.weight[k][0] for k in range(n)]),
        "delay": np.array([gradient.delay[k][0] for k in range(n)]),
        "input": fed,
    }
    parts = list(gradient.neuron.values())
    for kind in ("tau_m", "v_th", "v_reset", "v_rest", "bias", "v_init", "t_ref"):
        out[kind] = np.concatenate([p[kind] for p in parts])
    for r, kind in enumerate(("tau_exc", "tau_inh")):
        rows = []
        for p, size in zip(parts, description.populations):
            taus = np.atleast_2d(p.get("tau_syn", np.zeros((0, size))))
            rows.append(taus[r] if r < len(taus) else np.zeros(size))
        out[kind] = np.concatenate(rows)
    return out


def adjoint(description, seed):
    """Spikes, a random dL/dt of each, and the adjoint's gradient by kind; ties and grazing cases are not tried."""
    assume(clear_of_grazing(replay_network(*description.arguments()), CLEAR))
    rec = recorded(description)
    spikes, places = all_spikes(description, rec)
    assume(spikes and untied(description, spikes))
    pull = np.random.default_rng(seed).normal(size=len(spikes))
    return spikes, pull, gradients(description, rec, pull, places)


def compare(description, seed, kinds=KINDS):
    spikes, pull, found = adjoint(description, seed)
    for kind in kinds:
        direction = random_direction(description, (kind,), seed)
        try:
            wanted_spikes, slopes = spike_time_derivatives(description, direction)
        except SpikesChanged:
            assume(False)
        assert [n for _, n in wanted_spikes] == [n for _, n in spikes]
        size = np.abs(found[kind] * direction[kind]).sum() + np.abs(pull * slopes).sum()
        assert found[kind] @ direction[kind] == pytest.approx(pull @ slopes, abs=1e-9 * size + 1e-25), kind


def gradients(description, recording, pull, places):
    """The adjoint's gradient by kind; cases in which there is none are not tried."""
    try:
        gradient = network_gradient(recording, {p: pull[places[p]] for p in places})
    except GradientError:
        assume(False)
    return by_kind(description, recording, gradient)


def some_kinds():
    """Two kinds of parameter: all of them would take a minute per network."""
    return st.lists(st.sampled_from(KINDS), min_size=2, max_size=2, unique=True)


@settings(quick, max_examples=examples(12))
@given(description=small_networks(recurrent=False, receptors=1), seed=st.integers(0, 99), kinds=some_kinds())
def test_layers_agree_with_50_digits(description, seed, kinds):
    compare(description, seed, kinds)


@settings(quick, max_examples=examples(12))
@given(description=small_networks(t_stop=20.0, max_spikes=8), seed=st.integers(0, 99), kinds=some_kinds())
def test_recurrent_networks_agree_with_50_digits(description, seed, kinds):
    compare(description, seed, kinds)


@settings(quick, max_examples=examples(12))
@given(description=small_networks(receptors=2, t_stop=20.0, max_spikes=8), seed=st.integers(0, 99), kinds=some_kinds())
def test_two_receptors_agree_with_50_digits(description, seed, kinds):
    compare(description, seed, kinds)


@settings(quick, max_examples=examples(60))
@given(description=small_networks(), seed=st.integers(0, 99))
def test_the_adjoint_is_the_transpose_of_the_forward_tangent(description, seed):
    spikes, pull, found = adjoint(description, seed)
    for kind in KINDS:
        direction = random_direction(description, (kind,), seed)
        moves = tangent(description, spikes, direction)
        size = np.abs(found[kind] * direction[kind]).sum() + np.abs(pull * moves).sum()
        assert found[kind] @ direction[kind] == pytest.approx(pull @ moves, abs=1e-12 * size + 1e-300), kind

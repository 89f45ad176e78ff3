"""evsim.presets: the networks of the literature are the ones that were published."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import truncnorm

import evsim
from evsim.analysis import siegert_rate
from evsim.description.distributions import Truncated, normal
from evsim.description.projections import expected_synapses
from evsim.networks import literature as presets
from evsim.synapses.sampling import sample_synapses


def projection(net, source, target):
    (found,) = [(k, p) for k, p in enumerate(net.projections) if (p.source, p.target) == (source, target)]
    return found


def synapses(net, source, target):
    k, p = projection(net, source, target)
    return sample_synapses(p, k, net.size_of(source), net.size_of(target), seed=3)


@pytest.mark.parametrize(("name", "w"), [("brunel", 0.1), ("brunel-exp", 1.0)])
def test_brunel_has_the_inputs_weights_and_delays_of_the_paper(name, w):
    net = presets.preset(name, scale=0.05)
    assert {k: p.size for k, p in net.populations.items()} == {"exc": 500, "inh": 125}
    for source, inputs, weight in (("exc", 50, w), ("inh", 12, -5.0 * w)):
        for target in ("exc", "inh"):
            s = synapses(net, source, target)
            assert np.all(np.bincount(s.post, minlength=net.size_of(target)) == inputs)
            assert np.all(s.weight == weight) and np.all(s.delay == 1.5)


def test_full_brunel_is_the_network_of_12500_neurons():
    net = presets.brunel()
    assert sum(p.size for p in net.populations.values()) == 12_500
    rules = {p.source: p.rule for p in net.projections}
    assert rules == {"exc": evsim.FixedIndegree(1000), "inh": evsim.FixedIndegree(250)}


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_the_drive_of_brunel_is_20_khz_and_follows_eta(scale):
    for eta, rate in ((2.0, 20_000.0), (0.9, 9_000.0)):
        net = presets.brunel(eta=eta, scale=scale)
        assert [(d.target, d.weight) for d in net.drives] == [("exc", 0.1), ("inh", 0.1)]
        assert [d.rate for d in net.drives] == pytest.approx([rate, rate])


def test_potentials_of_brunel_exp_have_the_integral_of_those_of_brunel():
    delta, exponential = presets.brunel(j=0.2), presets.brunel_exp(j=0.2)
    for a, b in zip(delta.projections, exponential.projections):
        neuron = exponential.populations[b.target].neuron
        assert b.weight * neuron.tau_syn == pytest.approx(a.weight * neuron.tau_m)
    assert [d.rate for d in delta.drives] == [d.rate for d in exponential.drives]


def test_rate_of_brunel_is_that_of_mean_field_theory():
    """Brunel (2000), eq. 21 with the recurrent input, in the stationary state."""
    net = presets.brunel(scale=0.2)
    measured = net.simulate(600.0, seed=2, threads=2)
    late = measured["exc"].times >= 100.0

    def surplus(nu):
        mu = 20.0 * (20.0 * 0.1 + (200 * 0.1 - 50 * 0.5) * nu / 1e3)
        sigma = np.sqrt(20.0 * (20.0 * 0.01 + (200 * 0.01 + 50 * 0.25) * nu / 1e3))
        return siegert_rate(mu, sigma, 20.0, 20.0, 0.0, 2.0) - nu

    assert np.sum(late) / 2000 / 0.5 == pytest.approx(brentq(surplus, 1.0, 200.0), rel=0.03)


def test_cuba_is_connected_at_random_and_starts_between_reset_and_threshold():
    net = presets.cuba(seed=1)
    for source, size, weight in (("exc", 3200, 1.62), ("inh", 800, -9.0)):
        s = synapses(net, source, "inh")
        expected, sd = 0.02 * size * 800, np.sqrt(0.02 * 0.98 * size * 800)
        assert abs(s.pre.size - expected) < 5 * sd
        assert np.unique(np.stack([s.pre, s.post]), axis=1).shape[1] == s.pre.size
        assert np.all(s.weight == weight) and np.all(s.delay == 0.1)
    v = [p.neuron.v_init for p in net.populations.values()]
    assert all(x.min() >= -60.0 and x.max() < -50.0 and abs(x.mean() + 55.0) < 0.5 for x in v)
    assert not np.array_equal(v[0], presets.cuba(seed=2).populations["exc"].neuron.v_init)
    assert not np.array_equal(v[0][:800], v[1])


def test_cuba_sustains_its_activity_without_a_drive():
    rec = presets.cuba().simulate(300.0, seed=1, threads=2)
    for name in ("exc", "inh"):
        late = rec[name].times >= 200.0
        assert 3.0 < np.sum(late) / rec[name].size / 0.1 < 9.0


def test_the_full_microcircuit_has_the_sizes_and_connection_probabilities_of_the_paper():
    net = presets.microcircuit()
    assert sum(p.size for p in net.populations.values()) == 77_169
    assert sum(expected_synapses(p, 1, 1) for p in net.projections) == pytest.approx(299e6, rel=1e-3)
    for source, target, p in (("L23E", "L23E", 0.1009), ("L5I", "L5E", 0.3726), ("L6E", "L4I", 0.1057),
                              ("L23I", "L6I", 0.0010), ("L5I", "L4E", 0.0003), ("L6I", "L6E", 0.2252)):  # fmt: skip
        pairs = net.size_of(source) * net.size_of(target)
        number = projection(net, source, target)[1].rule.synapses
        assert 1.0 - (1.0 - 1.0 / pairs) ** number == pytest.approx(p, abs=1e-6)
    assert not [p for p in net.projections if p.source == "L6I" and p.target != "L6E" and p.target != "L6I"]
    assert [d.rate for d in net.drives] == [12800, 12000, 16800, 15200, 16000, 15200, 23200, 16800]


def test_a_synapse_of_the_microcircuit_causes_a_potential_of_0_15_mv_by_a_current_of_87_8_pa():
    full = presets.microcircuit()
    w = full.drives[0].weight
    assert w * 250.0 / 10.0 == pytest.approx(87.81, abs=0.005)
    net = evsim.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, full.populations["L4E"].neuron.with_(v_init=None))
    net.connect("in", "out", weight=w)
    rec = net.simulate(10.0, {"in": evsim.SpikeTrains([1.0], [0], 1)}, driver="queue")
    v = rec.voltage("out", 0, np.linspace(0.0, 10.0, 10_001))
    assert v.max() + 65.0 == pytest.approx(0.15, abs=1e-6)


def test_weights_and_delays_of_the_microcircuit():
    net = presets.microcircuit(scale=0.05)
    w = net.drives[0].weight
    for source, target, factor in (("L4E", "L4E", 1.0), ("L4E", "L23E", 2.0), ("L4I", "L4E", -4.0)):
        s = synapses(net, source, target)
        n = s.pre.size
        assert n == projection(net, source, target)[1].rule.synapses
        assert np.all(np.sign(s.weight) == np.sign(factor))
        assert s.weight.mean() == pytest.approx(factor * w, rel=0.5 / np.sqrt(n))
        assert s.weight.std() == pytest.approx(0.1 * abs(factor) * w, rel=4.0 / np.sqrt(n))
        mean, sd = (1.5, 0.75) if factor > 0 else (0.75, 0.375)
        cut = truncnorm((0.1 - mean) / sd, np.inf, mean, sd)
        assert s.delay.min() >= np.float32(0.1) and np.mean(s.delay == s.delay.min()) < 1e-3
        assert s.delay.mean() == pytest.approx(cut.mean(), abs=4.0 * sd / np.sqrt(n))


def test_initial_potentials_of_the_microcircuit_lie_below_threshold():
    net = presets.microcircuit(seed=5)
    for name, mean, sd in (("L23E", -68.28, 5.36), ("L6I", -61.43, 4.48)):
        v = net.populations[name].neuron.v_init
        assert v.max() < -50.0
        assert v.mean() == pytest.approx(mean, abs=0.2) and v.std() == pytest.approx(sd, abs=0.2)


def moments(net, target):
    """Mean and variance of the input of a neuron at the published rates, bias included."""
    neuron = net.populations[target].neuron
    total, square = 0.0, 0.0
    for p in net.projections:
        if p.target == target:
            rate = p.rule.synapses / net.size_of(target) * presets.MICROCIRCUIT_RATES[p.source] / 1e3
            w = p.weight(np.random.default_rng(0), 20_000)
            total += rate * np.mean(w)
            square += rate * np.mean(w**2)
    (drive,) = [d for d in net.drives if d.target == target]
    total += drive.rate / 1e3 * drive.weight
    square += drive.rate / 1e3 * drive.weight**2
    return neuron.bias + total * neuron.tau_syn, square


@pytest.mark.parametrize("target", ["L23E", "L5I"])
def test_a_scaled_microcircuit_keeps_mean_and_variance_of_the_input(target):
    full, small = (moments(presets.microcircuit(scale), target) for scale in (1.0, 0.1))
    assert presets.microcircuit().populations[target].neuron.bias == 0.0
    assert small[0] == pytest.approx(full[0], abs=0.05) and small[1] == pytest.approx(full[1], rel=5e-3)


def test_rates_of_a_scaled_microcircuit_are_ordered_as_published():
    """With a tenth of the neurons, rates are 0.5 to 1 of the published ones (an independent simulation on a grid
    of 0.1 ms has the same: 0.48, 2.15, 4.0, 5.1, 7.1, 7.8, 0.88, 7.05 Hz)."""
    net = presets.microcircuit(scale=0.1)
    rec = net.simulate(300.0, seed=1, threads=2)
    for name, published in presets.MICROCIRCUIT_RATES.items():
        measured = np.sum(rec[name].times >= 100.0) / rec[name].size / 0.2
        assert 0.35 * published < measured < 1.3 * published, name


def test_a_network_depends_on_its_seed_alone():
    for name in presets.PRESETS:
        a, b = (presets.preset(name, 0.02, seed=4) for _ in range(2))
        for p, q in zip(a.populations.values(), b.populations.values()):
            assert np.array_equal(p.neuron.v_init, q.neuron.v_init)


@pytest.mark.parametrize(("name", "scale", "words"), [("brunl", 1.0, "brunel-exp"), ("cuba", 0.0, "scale must be"),
                                                      ("microcircuit", np.nan, "scale must be")])  # fmt: skip
def test_what_no_preset_has_is_refused(name, scale, words):
    with pytest.raises(evsim.NetworkError, match=words):
        presets.preset(name, scale)


def test_values_outside_are_drawn_again_and_not_moved_to_the_bound():
    drawn = normal(0.0, 1.0, low=-0.5, high=2.0)(np.random.default_rng(1), 100_000)
    cut = truncnorm(-0.5, 2.0)
    assert drawn.min() > -0.5 and drawn.max() < 2.0
    assert drawn.mean() == pytest.approx(cut.mean(), abs=0.01) and drawn.std() == pytest.approx(cut.std(), abs=0.01)


def test_bounds_that_a_distribution_never_meets_are_refused():
    with pytest.raises(evsim.NetworkError, match="low <= high"):
        normal(0.0, 1.0, low=1.0, high=0.0)
    with pytest.raises(evsim.NetworkError, match="3 of 3 values"):
        Truncated(lambda rng, n: np.zeros(n), low=1.0)(np.random.default_rng(0), 3)

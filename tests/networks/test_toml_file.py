"""evsim.network_toml: what a file declares, and what it says of a file that declares nothing."""

import tomllib

import numpy as np
import pytest

import evsim
from evsim.networks.toml_file import declare, load_network
from evsim.synapses.sampling import sample_synapses
from helpers.paths import DOCS

BASE = """
[inputs.in]
size = 4
[populations.a]
size = 3
"""


def network(text):
    return declare(tomllib.loads(text)).network


def test_the_example_of_the_documentation():
    found = load_network(DOCS / "network.toml", seed=1)
    net = found.network
    assert (net.inputs, found.files, found.t_stop) == (
        {"stimulus": 20}, {"stimulus": DOCS / "network_spikes.txt"}, 400.0
    )  # fmt: skip
    exc, inh = (net.populations[name] for name in ("exc", "inh"))
    assert (exc.size, exc.neuron.tau_m, inh.neuron.tau_m, inh.neuron.bias) == (400, 20.0, 10.0, 4.0)
    assert exc.neuron.v_init.min() >= 0.0 and exc.neuron.v_init.max() <= 19.9
    assert [type(p.rule).__name__ for p in net.projections] == [
        "FixedIndegree", "FixedIndegree", "Bernoulli", "FixedTotalNumber", "FixedOutdegree", "ConnectionList"
    ]  # fmt: skip
    s = sample_synapses(net.projections[0], 0, 400, 400, seed=1)
    assert s.weight.min() >= 0.0 and s.weight.mean() == pytest.approx(0.6, abs=0.005)
    assert s.delay.min() >= np.float32(0.1)
    assert [(d.target, d.rate, d.weight) for d in net.drives] == [("exc", 800.0, 6.0), ("inh", 800.0, 4.0)]


def test_a_file_is_the_network_that_it_writes_down():
    text = """
    [inputs.in]
    size = 2
    [populations.out]
    size = 3
    tau_m = 10.0
    tau_syn = [2.0, 4.0]
    v_th = [1.0, 1.5, 2.0]
    v_init = 0.5
    [populations.delta]
    size = 1
    tau_syn = "delta"
    keep_refractory_input = true
    [[connect]]
    source = "in"
    target = "out"
    weight = [[1, 2, 3], [4, 5, 6]]
    delay = 1.5
    [[connect]]
    source = "out"
    target = "delta"
    rule = "FixedIndegree"
    indegree = 2
    weight = [0.5, 0.25]
    [[poisson]]
    target = "out"
    rate = [10.0, 20.0, 30.0]
    weight = 0.1
    """
    net = network(text)
    neuron = net.populations["out"].neuron
    assert (neuron.tau_syn, neuron.v_init, list(neuron.v_th)) == ((2.0, 4.0), 0.5, [1.0, 1.5, 2.0])
    assert net.populations["delta"].neuron.tau_syn is None
    assert net.populations["delta"].neuron.keep_refractory_input is True
    assert net.projections[0].rule is None and np.array_equal(net.projections[0].weight, [[1, 2, 3], [4, 5, 6]])
    assert net.projections[1].rule == evsim.FixedIndegree(2) and net.projections[1].delay == 0.0
    assert list(net.drives[0].rate) == [10.0, 20.0, 30.0]


def test_drawn_parameters_depend_on_the_seed():
    text = BASE + 'v_init = {dist = "uniform", scale = 0.5}\nt_ref = {dist = "uniform", loc = 1.0}'
    a, b, other = (declare(tomllib.loads(text), seed=s).network.populations["a"].neuron for s in (1, 1, 2))
    assert np.array_equal(a.v_init, b.v_init) and not np.array_equal(a.v_init, other.v_init)
    assert not np.allclose(a.v_init * 2.0, a.t_ref - 1.0)


CONNECT = BASE + '[[connect]]\nsource = "in"\ntarget = "a"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + "taum = 1.0", r"\[populations.a\] has the unknown key taum; it knows size, tau_m"),
        ("[population.a]\nsize = 1", "the file has the unknown key population; it knows t_stop, inputs"),
        (BASE + "[inputs.b]\nsize = 1\nspikes = 'x'", r"\[inputs.b\] has the unknown key spikes"),
        ("[populations.a]\ntau_m = 1.0", r"\[populations.a\] lacks size"),
        ("populations = 3", r"\[populations.NAME\]"),
        (BASE + "[connect]\nsource = 'in'", r"\[\[connect\]\] before each"),
        (BASE + "tau_m = -1.0", r"\[populations.a\]: tau_m must be > 0 ms"),
        (BASE + "tau_m = 'slow'", "tau_m: a number was expected; got 'slow'"),
        (BASE + "tau_m = [1.0, 2.0]", "size 3, but tau_m has shape"),
        (BASE + "tau_syn = [1.0, 2.0, 3.0, 4.0]", r"\[excitatory, inhibitory\] or a list .* of the 3"),
        (BASE + "[populations.b]\nsize = 0", "size >= 1"),
        (BASE + 'v_init = {dist = "norml"}', "got 'norml'"),
        (BASE + 'v_init = {dist = "poisson", mu = 1.0}', "got 'poisson'"),
        (BASE + 'v_init = {dist = "norm", mean = 1.0}', "unknown key mean; it knows dist, loc, scale, min, max"),
        (BASE + 'v_init = {dist = "gamma", scale = 1.0}', "gamma lacks a"),
        (BASE + 'v_init = {dist = "norm", scale = -1.0}', "norm does not exist with"),
        (BASE + 'v_init = {dist = "uniform", min = 2.0}', "Choose bounds"),
        (CONNECT, "number 1 lacks weight"),
        (CONNECT + "weight = 1.0\nindegree = 3", "unknown key indegree; it knows source, target, weight, delay, rule"),
        (CONNECT + "weight = 1.0\nrule = 'FixedIndegree'", "lacks indegree"),
        (CONNECT + "weight = 1.0\nrule = 'Random'", "rule is 'Random'; rules are AllToAll"),
        (CONNECT + "weight = 1.0\nrule = 'Bernoulli'\np = 2.0", r"\[0, 1\]; got 2"),
        (
            CONNECT + "weight = 1.0\nrule = 'FixedIndegree'\nindegree = 9\nmultapses = false",
            "larger than the population of 4",
        ),
        (CONNECT + "weight = [[1, 2], [3]]", "a list of numbers was expected"),
        (CONNECT + "weight = 1.0\nautapses = false", "unknown key autapses"),
        (CONNECT + "weight = 1.0\nrule = 'OneToOne'\nautapses = false", "unknown key autapses"),
        (CONNECT + "weight = 1.0\nrule = 'Bernoulli'\np = 0.5\nautapses = 0", "autapses must be true or false; got 0"),
        (CONNECT + "weight = 1.0\nrule = ['Bernoulli']", "rules are AllToAll"),
        (CONNECT + "weight = 1.0\npre = [0]", "number 1 lacks post"),
        (CONNECT + "pre = [0]\npost = [0]", "number 1 lacks weight"),
        (CONNECT + "weight = 1.0\npre = [0]\npost = [0, 1]", "equally long"),
        (CONNECT + "weight = 1.0\npre = [0]\npost = ['x']", "post must be a list of integers"),
        (CONNECT + "weight = 1.0\npre = [0]\npost = [3]", r"post\[0\] is 3, but the population has 0 ... 2"),
        (CONNECT + "weight = 1.0\npre = [0]\npost = [1]\nrule = 'OneToOne'", "unknown key rule"),
        (CONNECT + "weight = 1.0\nfile = 3", "file must be the name of a text file"),
        (CONNECT + "weight = 1.0\ndelay = -1.0", "delay must be >= 0 ms"),
        (BASE + "[[connect]]\nsource = 'x'\ntarget = 'a'\nweight = 1.0", "named 'x'; known: in, a"),
        (BASE + "[[poisson]]\ntarget = 'a'\nrate = -3.0\nweight = 1.0", "rates must be finite and >= 0"),
        (BASE + "[[poisson]]\ntarget = 'a'\nrate = 3.0", r"\[\[poisson\]\] number 1 lacks weight"),
    ],
)
def test_an_impossible_file_is_refused_with_its_place(text, words):
    with pytest.raises(evsim.NetworkError, match=words):
        network(text)


def test_switches_of_rules_are_read():
    rule = "rule = 'FixedIndegree'\nindegree = 2\nmultapses = false\nautapses = false"
    net = network(BASE + f'[[connect]]\nsource = "a"\ntarget = "a"\nweight = 1.0\n{rule}')
    assert net.projections[0].rule == evsim.FixedIndegree(2, multapses=False, autapses=False)


def test_lists_of_synapses_are_read_from_the_file_or_from_another(tmp_path):
    inline = CONNECT + "pre = [3, 0, 0]\npost = [2, 1, 1]\nweight = [0.1, 0.2, 0.3]\ndelay = 1.5"
    s = sample_synapses(network(inline).projections[0], 0, 4, 3, seed=1)
    assert (s.pre.tolist(), s.post.tolist()) == ([3, 0, 0], [2, 1, 1])
    assert (s.weight.tolist(), s.delay.tolist()) == ([0.1, 0.2, 0.3], [1.5] * 3)
    texts = {
        "all.txt": ("# pre post weight delay\n3 2 0.1 1.5\n\n0, 1, 0.2, 1.5  # a comment\n0 1 0.3 1.5\n", ""),
        "weights.csv": ("3,2,0.1\n0,1,0.2\n0,1,0.3\n", "delay = 1.5"),
        "pairs.txt": ("\ufeff3 2\n0 1\n0 1\n", "weight = [0.1, 0.2, 0.3]\ndelay = 1.5"),
    }
    for name, (text, rest) in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        tree = tomllib.loads(CONNECT + f'file = "{name}"\n' + rest)
        again = sample_synapses(declare(tree, tmp_path).network.projections[0], 0, 4, 3, seed=1)
        assert all(np.array_equal(getattr(again, f), getattr(s, f)) for f in ("pre", "post", "weight", "delay"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 1 2 3 4", "line 2: source and target"),
        ("0", "line 2: source and target"),
        ("0.5 1", "line 2: source and target"),
        ("0 x", "line 2: source and target.* got '0 x'"),
        ("0 1\n0 1 0.5", "line 3: source and target"),
        ("0 1 nan 1.0", "weight must be finite"),
        ("0 1 1.0 -1.0", "delay must be >= 0 ms"),
        ("4 1 1.0 1.0", r"pre\[0\] is 4, but the population has 0 ... 3"),
        ("0 99999999999999999999 1.0 1.0", "post"),
    ],
)
def test_an_impossible_list_of_synapses_is_refused_with_its_place(text, words, tmp_path):
    (tmp_path / "s.txt").write_text(f"# a list\n{text}")
    tree = tomllib.loads(CONNECT + 'file = "s.txt"' + ("" if text.count(" ") == 3 else "\nweight = 1.0"))
    with pytest.raises(evsim.NetworkError, match=rf"number 1: .*{words}"):
        declare(tree, tmp_path)


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "s.txt").write_bytes(b"\x89HDF\r\n\xff\xfe")
    with pytest.raises(evsim.NetworkError, match=r"s\.txt, line 1: .*not UTF-8"):
        declare(tomllib.loads(CONNECT + 'file = "s.txt"\nweight = 1.0'), tmp_path)


def test_time_constants_of_synapses_have_one_meaning():
    def tau(text, size=3):
        return network(f"[populations.a]\nsize = {size}\ntau_syn = {text}").populations["a"].neuron.tau_syn

    assert tau("[2.0, 4.0]") == (2.0, 4.0) == tau("{excitatory = 2.0, inhibitory = 4.0}", size=2)
    assert tau("[2.0, 4.0, 5.0]").tolist() == [2.0, 4.0, 5.0]
    assert tau("{per_neuron = [2.0, 4.0]}", 2).tolist() == [2.0, 4.0]
    pair = tau("{excitatory = [1.0, 2.0], inhibitory = [3.0, 4.0]}", 2)
    assert [t.tolist() for t in pair] == [[1.0, 2.0], [3.0, 4.0]]
    assert tau('{dist = "uniform", loc = 1.0}').shape == (3,)
    with pytest.raises(evsim.NetworkError, match=r"Write {excitatory = 2\.0, inhibitory = 4\.0}, or {per_neuron"):
        tau("[2.0, 4.0]", size=2)
    with pytest.raises(evsim.NetworkError, match="unknown key exc; it knows excitatory, inhibitory"):
        tau("{exc = 2.0, inhibitory = 4.0}")
    with pytest.raises(evsim.NetworkError, match="keep_refractory_input must be True or False; got 'no'"):
        network("[populations.a]\nsize = 1\nkeep_refractory_input = 'no'")


def test_errors_name_the_file(tmp_path):
    file = tmp_path / "net.toml"
    file.write_text("size = [")
    with pytest.raises(evsim.NetworkError, match=r"net\.toml is not valid TOML"):
        load_network(file)
    file.write_text("size = 3")
    with pytest.raises(evsim.NetworkError, match=r"net\.toml: the file has the unknown key size"):
        load_network(file)

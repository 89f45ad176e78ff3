"""evsim simulate: what it writes, how it resumes, and what it says when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

import evsim
from evsim.analysis import cv_isi, mean_correlation
from evsim.cli.main import main
from evsim.engine.select import choose
from evsim.experiment.network_report import first_excitatory
from evsim.experiment.network_run import load_spikes, tiny
from evsim.io import runs
from evsim.networks.toml_file import load_network

NETWORK = """
[inputs.in]
size = 3
file = "spikes.txt"
[populations.inh]
size = 20
tau_m = 10.0
v_th = 20.0
[populations.exc]
size = 80
v_th = 20.0
t_ref = 2.0
v_init = {dist = "uniform", scale = 15.0}
[[connect]]
source = "exc"
target = "inh"
rule = "FixedIndegree"
indegree = 10
weight = 3.0
delay = 1.5
[[connect]]
source = "inh"
target = "exc"
rule = "Bernoulli"
p = 0.3
weight = {dist = "norm", loc = -4.0, scale = 0.4, max = 0.0}
delay = {dist = "norm", loc = 1.0, scale = 0.5, min = 0.2}
[[connect]]
source = "in"
target = "exc"
weight = 5.0
delay = 30.0
[[poisson]]
target = "exc"
rate = 800.0
weight = 8.0
"""
KEYS = {
    "network", "driver", "t_stop", "wall_seconds", "build_seconds", "spikes", "rate_hz", "rates", "cv", "correlation",
    "synapses", "synaptic_events", "threads", "seed", "peak_memory_mb", "cell_ms", "versions",
}  # fmt: skip


@pytest.fixture
def net(tmp_path):
    (tmp_path / "spikes.txt").write_text("# time, source\n5.0 0\n\n12.5, 2\n70.25 1\n")
    (tmp_path / "net.toml").write_text(NETWORK)
    return tmp_path / "net.toml"


def run(*args, plots=False):
    given = ["simulate", *args, "--threads", 2, *([] if plots else ["--no-plots"])]
    return CliRunner().invoke(main, [str(a) for a in given])


def good(*args, **more):
    result = run(*args, **more)
    assert result.exit_code == 0, result.output
    return result


def summary(out):
    return json.loads((out / "summary.json").read_text())


def spikes(out):
    return {k: (s.times.tobytes(), s.neurons.tobytes()) for k, s in runs.load_recording(out / "run.h5").spikes.items()}


def direct(net, t_stop, seed=1):
    """The same run through the library."""
    found = load_network(net, seed)
    given = {"in": evsim.SpikeTrains([5.0, 12.5, 70.25], [0, 2, 1], 3)}
    return evsim.Simulation(found.network, seed=seed).advance_to(t_stop, given)


@pytest.mark.pictures
def test_a_run_leaves_what_it_promises(net, tmp_path):
    out = tmp_path / "run"
    text = good(net, "--t-stop", 400, "--out", out, plots=True).output
    found, rec = summary(out), direct(net, 400.0)
    assert KEYS <= set(found)
    assert found["spikes"] == len(rec["exc"]) + len(rec["inh"]) > 500
    assert found["rates"] == pytest.approx({k: len(rec[k]) / rec[k].size / 0.4 for k in ("inh", "exc")})
    assert found["rate_hz"] == pytest.approx(found["spikes"] / 100 / 0.4)
    assert (found["t_stop"], found["seed"], found["threads"], found["driver"]) == (400.0, 1, 2, "window")
    assert found["synaptic_events"] == rec.synaptic_events and found["cell_ms"] == rec.cell
    assert found["synapses"] > 500 and 0.0 < found["wall_seconds"] < 60.0 and found["peak_memory_mb"] > 10.0
    assert found["cv"] == pytest.approx(np.nanmean(np.concatenate([cv_isi(rec[k], 400.0) for k in rec])))
    assert found["correlation"] == pytest.approx(mean_correlation(rec["exc"], 400.0))
    assert spikes(out) == {k: (s.times.tobytes(), s.neurons.tobytes()) for k, s in rec.items()}
    for name in ("raster", "rates", "voltage"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for words in ("wall time / biological time", "ns per event and thread", "peak memory", f"{found['spikes']:,}"):
        assert words in text


@pytest.mark.parametrize("driver", ["window", "queue"])
def test_a_resumed_run_is_the_unbroken_run_to_the_bit(net, tmp_path, driver):
    """Cut where no window ends, before an input spike that is not yet on its way."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    good(net, "--t-stop", 120, "--driver", driver, "--out", whole)
    good(net, "--t-stop", 41.7, "--driver", driver, "--out", cut)
    wall = summary(cut)["wall_seconds"]
    good(net, "--t-stop", 120, "--resume", "--chunk", 33.1, "--out", cut)
    assert spikes(whole) == spikes(cut)
    a, b = summary(whole), summary(cut)
    for key in ("spikes", "rates", "cv", "correlation", "synaptic_events", "t_stop", "driver"):
        assert a[key] == b[key], key
    assert b["wall_seconds"] > wall


def test_a_killed_run_goes_on_from_its_last_chunk(net, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "evsim", "simulate", str(net), "--t-stop", "50000", "--chunk", "20"]
    child = subprocess.Popen([*command, "--out", str(out), "--no-plots"], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while not (out / "state.h5").exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    reached = runs.load_state(out / "state.h5")[0]["time"]
    good(net, "--t-stop", reached + 35.0, "--resume", "--out", out)
    rec = direct(net, reached + 35.0)
    assert spikes(out) == {k: (s.times.tobytes(), s.neurons.tobytes()) for k, s in rec.items()}


def test_spikes_saved_beyond_the_state_are_not_counted_twice(net, tmp_path):
    """A kill between the two files leaves spikes of a chunk whose state was not saved."""
    out = tmp_path / "run"
    good(net, "--t-stop", 50, "--out", out)
    state = (out / "state.h5").read_bytes()
    good(net, "--t-stop", 80, "--resume", "--out", out)
    (out / "state.h5").write_bytes(state)
    good(net, "--t-stop", 100, "--resume", "--out", out)
    rec = direct(net, 100.0)
    assert spikes(out) == {k: (s.times.tobytes(), s.neurons.tobytes()) for k, s in rec.items()}
    assert summary(out)["spikes"] == sum(len(s) for s in rec.values())


def test_a_finished_run_is_reported_again(net, tmp_path):
    out = tmp_path / "run"
    good(net, "--t-stop", 60, "--out", out)
    before = summary(out)
    good(net, "--t-stop", 60, "--resume", "--out", out)
    after = summary(out)
    for key in ("build_seconds", "peak_memory_mb"):
        before.pop(key), after.pop(key)
    assert before == after


def test_the_warm_up_is_simulated_and_not_counted(net, tmp_path):
    whole, late, cut = (tmp_path / k for k in "abc")
    good(net, "--t-stop", 100, "--out", whole)
    good(net, "--t-stop", 60, "--warmup", 40, "--out", late)
    found = summary(late)
    times = np.concatenate([s.times for s in runs.load_recording(whole / "run.h5").spikes.values()])
    kept = np.concatenate([s.times for s in runs.load_recording(late / "run.h5").spikes.values()])
    assert np.array_equal(kept, times[times >= 40.0])
    assert (found["spikes"], found["t_stop"], found["warmup"]) == (kept.size, 60.0, 40.0)
    assert found["rate_hz"] == pytest.approx(kept.size / 100 / 0.06)
    assert found["synaptic_events"] < summary(whole)["synaptic_events"]
    good(net, "--t-stop", 10, "--warmup", 40, "--out", cut)
    good(net, "--t-stop", 60, "--warmup", 40, "--resume", "--out", cut)
    assert spikes(cut) == spikes(late) and summary(cut)["synaptic_events"] == found["synaptic_events"]


def test_only_the_first_neurons_are_recorded_but_all_are_counted(net, tmp_path):
    whole, some = tmp_path / "whole", tmp_path / "some"
    good(net, "--t-stop", 100, "--out", whole)
    good(net, "--t-stop", 100, "--record", 30, "--out", some, plots=True)
    all_spikes = runs.load_recording(whole / "run.h5").spikes
    for name, s in runs.load_recording(some / "run.h5").spikes.items():
        mine = all_spikes[name].neurons < 30
        assert s.size == min(30, all_spikes[name].size)
        assert np.array_equal(s.times, all_spikes[name].times[mine])
    assert summary(some)["rates"] == summary(whole)["rates"]
    assert not (some / "voltage.png").exists()


def test_an_input_can_be_an_earlier_run(net, tmp_path):
    good(net, "--t-stop", 60, "--out", tmp_path / "first")
    second = tmp_path / "second.toml"
    text = 't_stop = 70.0\n[inputs.exc]\nsize = 80\nfile = "first/run.h5"\n[populations.out]\nsize = 1\n'
    second.write_text(text + '[[connect]]\nsource = "exc"\ntarget = "out"\nweight = 2.0\ndelay = 1.0\n')
    good(second, "--out", tmp_path / "out")
    found = summary(tmp_path / "out")
    fed = runs.load_recording(tmp_path / "first" / "run.h5").spikes["exc"]
    assert found["synaptic_events"] == len(fed) and found["t_stop"] == 70.0 and found["driver"] == "queue"


@pytest.mark.parametrize(
    ("text", "words"),
    [("1.0 0\n2.0\n", "line 2"), ("1.0 0 3\n", "line 1"), ("a b\n", "line 1"), ("1.0 9\n", r"0 \.\.\. 2"),
     ("1.0 0.5\n", "integers"), ("nan 0\n", "finite")],
)  # fmt: skip
def test_spike_files_that_hold_no_spikes_are_refused(tmp_path, text, words):
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(ValueError, match=words):
        load_spikes(tmp_path / "s.txt", "in", 3)


def test_an_empty_spike_file_is_a_silent_input(tmp_path):
    (tmp_path / "s.txt").write_text("# none\n")
    assert len(load_spikes(tmp_path / "s.txt", "in", 3)) == 0


def test_a_preset_runs_and_names_its_populations(tmp_path):
    good("brunel", "--scale", 0.02, "--t-stop", 30, "--out", tmp_path)
    found = summary(tmp_path)
    assert (found["neurons"], found["synapses"], list(found["rates"])) == (250, 250 * 25, ["exc", "inh"])


@pytest.mark.pictures
def test_the_microcircuit_is_shown_beside_the_published_rates(tmp_path):
    text = good("microcircuit", "--scale", 0.01, "--t-stop", 20, "--out", tmp_path, plots=True).output
    assert "one run of NEST" in text and "7.569" in text
    assert (tmp_path / "rates_2.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["brunl"], "presets are brunel, brunel-exp, cuba, microcircuit"),
        (["cuba", "--scale", "0"], "scale must be finite and > 0"),
        (["cuba", "--t-stop", "-1"], "t_stop must be finite and > 0 ms"),
        (["cuba", "--chunk", "0"], "chunk must be finite and > 0 ms"),
        (["cuba", "--warmup", "-1"], "warmup must be finite and >= 0 ms"),
        (["cuba", "--driver", "sweep"], "window"),
        (["NET", "--scale", "2", "--t-stop", "1"], "scale is for presets"),
        (["NET"], "add t_stop (ms) to it, or give --t-stop"),
        (["NET", "--resume", "--t-stop", "1"], "leave --resume out"),
    ],
)
def test_a_wrong_request_is_answered_by_one_sentence(net, tmp_path, arguments, words):
    result = run(*[str(net) if a == "NET" else a for a in arguments], "--out", tmp_path / "out")
    text = " ".join(result.output.split())
    assert result.exit_code in (1, 2) and words in text and "Traceback" not in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[[poisson]]", "[[poison]]"), "unknown key poison; it knows t_stop, inputs, populations, connect, poisson"),
        (("tau_m = 10.0", "tau_n = 10.0"), "[populations.inh] has the unknown key tau_n"),
        (('file = "spikes.txt"', ""), "the input 'in' has no spikes"),
        (('"spikes.txt"', '"other.txt"'), "other.txt"),
    ],
)
def test_a_wrong_file_is_answered_by_one_sentence(net, tmp_path, change, words):
    net.write_text(NETWORK.replace(*change))
    result = run(net, "--t-stop", 1, "--out", tmp_path / "out")
    text = " ".join(result.output.split())
    assert result.exit_code == 1 and words in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cuba"], "network = a file (now 'cuba')"),
        (["NET", "--seed", "2"], "seed = 1 (now 2)"),
        (["NET", "--warmup", "5"], "warmup = 0.0 (now 5.0)"),
        (["NET", "--record", "5"], "record = None (now 5)"),
        (["NET", "--driver", "queue"], "its driver is window, here it is queue"),
        (["NET", "--t-stop", "10"], "has reached 30 ms; give a later --t-stop"),
        (["OTHER"], "network = a file (now one of other contents)"),
    ],
)
def test_another_run_is_not_resumed(net, tmp_path, arguments, words):
    out = tmp_path / "run"
    good(net, "--t-stop", 30, "--out", out)
    before = (out / "state.h5").read_bytes()
    other = tmp_path / "other.toml"
    other.write_text(NETWORK.replace("weight = 3.0", "weight = 3.5"))
    names = {"NET": net, "OTHER": other}
    result = run(*("--t-stop", 60), *[names.get(a, a) for a in arguments], "--resume", "--out", out)
    text = " ".join(result.output.split())
    assert result.exit_code == 1 and words in text and "Traceback" not in text
    assert (out / "state.h5").read_bytes() == before


def test_another_time_in_the_file_and_comments_are_no_other_network(net, tmp_path):
    good(net, "--t-stop", 30, "--out", tmp_path / "run")
    net.write_text("# a remark\nt_stop = 60.0\n" + NETWORK)
    good(net, "--resume", "--out", tmp_path / "run")
    assert summary(tmp_path / "run")["t_stop"] == 60.0


def test_a_tiny_network_needs_the_same_driver_and_keeps_the_kinds(net):
    whole = load_network(net).network
    small = tiny(whole)
    assert choose(whole) == "window" and all(p.size == 20 for p in small.populations.values())
    assert [p.weight for p in small.projections] == [p.weight for p in whole.projections]
    other = evsim.Network()
    other.add_population("a", 5, evsim.LIF(tau_syn=(np.full(5, 2.0), 3.0), v_th=np.arange(1.0, 6.0)))
    other.add_population("b", 3, evsim.LIF(tau_syn=None, v_init=np.zeros(3)))
    other.connect("a", "b", weight=np.full((5, 3), 0.1), delay=0.0)
    other.add_poisson("b", rate=[1.0, 2.0, 3.0], weight=1.0)
    small = tiny(other)
    assert small.populations["b"].neuron.tau_syn is None and small.populations["a"].neuron.tau_syn[0].shape == (20,)
    assert small.projections[0].weight.shape == (20, 20) and small.drives[0].rate.shape == (20,)
    evsim.Simulation(small, driver="queue").advance(1.0)


def test_the_first_excitatory_population(net):
    found = load_network(net).network
    assert first_excitatory(found) == "exc"
    only = evsim.Network()
    only.add_population("i", 3, evsim.LIF())
    only.connect("i", "i", weight=-1.0, delay=1.0)
    assert first_excitatory(only) == "i"


def test_help_loads_nothing_heavy():
    code = "import sys; from evsim.cli.main import main\ntry: main(['simulate', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'numba', 'scipy', 'matplotlib', 'rich', 'h5py', 'elephant'} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert child.stdout.strip().endswith("[]")


def test_the_recording_of_another_run_beside_a_state_is_noticed(net, tmp_path):
    """A new run that is killed after its first recording, before its first state, leaves such a folder."""
    for seed in (1, 2):
        good(net, "--t-stop", 40, "--seed", seed, "--out", tmp_path / str(seed))
    (tmp_path / "1" / "run.h5").write_bytes((tmp_path / "2" / "run.h5").read_bytes())
    result = run(net, "--t-stop", 60, "--seed", 1, "--resume", "--out", tmp_path / "1")
    assert result.exit_code == 1 and "not of the same run" in result.output.replace("\n", " ")


def test_files_of_equal_runs_are_equal(net, tmp_path):
    for name in ("a", "b"):
        good(net, "--t-stop", 40, "--out", tmp_path / name)
    assert (tmp_path / "a" / "run.h5").read_bytes() == (tmp_path / "b" / "run.h5").read_bytes()


@pytest.mark.parametrize(
    "delay", ['{dist = "uniform", scale = 1e-7}', '{dist = "uniform", loc = -1e-9, scale = 2e-9, min = 0.0}']
)
def test_drawn_delays_that_the_window_engine_cannot_use_leave_the_network_to_the_queue(tmp_path, delay):
    """Only drawing tells: by its declaration the network is one for the window engine."""
    (tmp_path / "net.toml").write_text(f"""
[populations.exc]
size = 100
bias = 1.2
t_ref = 2.0
v_init = {{dist = "uniform", scale = 0.9}}
[[connect]]
source = "exc"
target = "exc"
rule = "FixedIndegree"
indegree = 5
weight = 0.01
delay = {delay}
""")
    network = load_network(tmp_path / "net.toml", 1).network
    assert choose(network) == "window"
    good(tmp_path / "net.toml", "--t-stop", 20, "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["driver"] == "queue" and summary["spikes"] > 0
    right = network.simulate(20.0, seed=1)["exc"]
    assert runs.load_recording(tmp_path / "out" / "run.h5").spikes["exc"].times.tobytes() == right.times.tobytes()
    good(tmp_path / "net.toml", "--t-stop", 30, "--out", tmp_path / "out", "--resume")

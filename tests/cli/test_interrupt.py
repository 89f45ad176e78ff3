"""Signals, kills, folders in use: what a command leaves, what it says, and that the continued run is the same run."""

import json
import os
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.engine.simulation import Simulation
from evsim.experiment import network_steps
from evsim.experiment.network_run import SimulateConfig
from evsim.experiment.network_steps import _stops
from evsim.io import atomic, parts, runs
from evsim.learning import Trainer
from evsim.spikes import SpikeTrains

NETWORK = """
[populations.exc]
size = 40
bias = 1.3
t_ref = 2.0
v_init = {dist = "uniform", scale = 0.9}
[[connect]]
source = "exc"
target = "exc"
weight = 0.01
delay = 1.5
[[poisson]]
target = "exc"
rate = 500.0
weight = 0.05
"""
SMALL = [
    "train", "--dataset", "digits", "--train-size", "40", "--test-size", "10", "--hidden", "8", "--duration", "30",
    "--threads", "1", "--seed", "3",
]  # fmt: skip


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.toml").write_text(NETWORK)
    return tmp_path / "net.toml"


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def simulate(net, out, *args):
    return run("simulate", net, "--threads", 1, "--no-plots", "--out", out, *args)


def good(result):
    assert result.exit_code == 0, result.output
    return result


def spikes(out):
    found = runs.load_recording(out / "run.h5")
    return found.t_stop, {k: (s.times.tobytes(), s.neurons.tobytes()) for k, s in found.spikes.items()}


def after(monkeypatch, owner, name, calls, action):
    """``owner.name`` does ``action`` after so many calls."""
    original, left = getattr(owner, name), [calls]

    def wrapped(*args, **kwargs):
        out = original(*args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            action()
        return out

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize(
    ("number", "code", "options"),
    [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ("--chunk", "30")), (signal.SIGHUP, 129, ("--warmup", "50"))],
)
def test_an_interrupted_simulation_is_saved_and_says_how_to_continue(net, tmp_path, monkeypatch, number, code, options):
    whole, cut = tmp_path / "whole", tmp_path / "cut [1]"
    good(simulate(net, whole, "--t-stop", 120, *options))
    with monkeypatch.context() as patch:
        # The first call is the one of the network that has the kernels compiled.
        after(patch, Simulation, "advance_to", 4, lambda: os.kill(os.getpid(), number))
        result = simulate(net, cut, "--t-stop", 120, *options)
    assert result.exit_code == code and "interrupted at" in result.output
    reached = runs.load_state(cut / "state.h5")[0]["time"]
    assert 0.0 < reached < 120.0 and spikes(cut)[0] == reached and not (cut / "spikes").exists()
    command = result.output.splitlines()[-2].strip()
    assert command == f"evsim simulate {net} --threads 1 --no-plots --out '{cut}' --t-stop 120 " + (
        " ".join([*options, "--resume"])
    )
    good(simulate(net, cut, "--t-stop", 120, *options, "--resume"))
    assert spikes(cut) == spikes(whole)
    a, b = (json.loads((out / "summary.json").read_text()) for out in (whole, cut))
    assert all(a[key] == b[key] for key in ("spikes", "rates", "synaptic_events", "cv"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_python_drops_is_not_lost(monkeypatch, net, tmp_path):
    """What is raised within a weakref callback or ``__del__`` is printed and forgotten."""

    class Thing:
        pass

    def drop():
        def callback(_):
            os.kill(os.getpid(), signal.SIGINT)
            return [None] * 3

        thing = Thing()
        reference = weakref.ref(thing, callback)
        del thing
        assert reference() is None

    after(monkeypatch, Simulation, "advance_to", 1, drop)  # that of the network that has the kernels compiled
    result = simulate(net, tmp_path / "out", "--t-stop", 120)
    assert result.exit_code == 130 and not (tmp_path / "out").exists()


def test_a_second_signal_ends_at_once(monkeypatch, net, tmp_path):
    def twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    after(monkeypatch, Simulation, "advance_to", 3, twice)
    result = simulate(net, tmp_path / "out", "--t-stop", 120)
    assert result.exit_code == 130 and not (tmp_path / "out").exists()


class Killed(BaseException):
    """Nothing of the command line catches it, as nothing catches a kill."""


@pytest.mark.parametrize("late", [False, True], ids=["before the file is in place", "after it"])
def test_a_run_killed_at_any_of_its_writes_goes_on_to_the_same_bits(net, tmp_path, monkeypatch, late):
    monkeypatch.setattr(network_steps, "_SAVE_SECONDS", 0.0)
    arguments = ("--t-stop", 90, "--chunk", 30)
    good(simulate(net, tmp_path / "whole", *arguments))
    right = spikes(tmp_path / "whole")

    def killed_at(number, cut, *more):
        replace, left = os.replace, [number]

        def replaced(*args):
            left[0] -= 1
            if left[0] == 0 and not late:
                raise Killed
            replace(*args)
            if left[0] == 0:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, "replace", replaced)
            try:
                return simulate(net, cut, *arguments, *more)
            except Killed:
                return None

    for number in range(1, 20):
        cut = tmp_path / f"cut-{number}"
        result = killed_at(number, cut)
        if result is not None:
            good(result)
            break
        resume = (cut / "state.h5").exists()
        if resume:  # killed once more, in the same place
            killed_at(number, cut, "--resume")
        good(simulate(net, cut, *arguments, "--resume" if resume else "--overwrite"))
        assert spikes(cut) == right and not (cut / "spikes").exists()
    assert number == 9  # three chunks of two files, run.h5 and summary.json


def test_a_chunk_saves_its_own_spikes_only(net, tmp_path, monkeypatch):
    monkeypatch.setattr(network_steps, "_SAVE_SECONDS", 0.0)
    saved = []
    original = parts.save_part
    monkeypatch.setattr(parts, "save_part", lambda *a: (saved.append(a), original(*a)))
    good(simulate(net, tmp_path / "out", "--t-stop", 100, "--chunk", 10))
    assert [(a[1], a[3], a[4]) for a in saved] == [(k + 1, 10.0 * k, 10.0 * (k + 1)) for k in range(10)]
    assert all(np.all((a[2]["exc"].times >= a[3]) & (a[2]["exc"].times < a[4])) for a in saved)
    joined = np.concatenate([a[2]["exc"].times for a in saved])
    assert np.array_equal(joined, runs.load_recording(tmp_path / "out" / "run.h5").spikes["exc"].times)


def test_many_short_chunks_are_saved_twice_a_second_at_most(net, tmp_path, monkeypatch):
    calls = []
    original = network_steps._save
    monkeypatch.setattr(network_steps, "_save", lambda *a: (calls.append(time.perf_counter()), original(*a)))
    good(simulate(net, tmp_path / "many", "--t-stop", 200, "--chunk", 0.5))
    assert len(calls) < 100 and np.all(np.diff(calls[:-1]) > 0.4)
    monkeypatch.undo()
    good(simulate(net, tmp_path / "one", "--t-stop", 200))
    assert spikes(tmp_path / "many") == spikes(tmp_path / "one")


def test_parts_of_another_run_or_with_a_gap_are_not_joined(tmp_path):
    one = {"n": SpikeTrains([1.0], [0], 2)}
    for number, (start, stop, name) in enumerate([(0.0, 5.0, "a"), (5.0, 9.0, "b"), (9.0, 12.0, "a")], start=1):
        parts.save_part(tmp_path, number, one, start, stop, name)
    assert len(parts.load_parts(tmp_path, 5.0, {"id": "a"})["n"]) == 1
    for stop in (9.0, 12.0):
        with pytest.raises(ValueError, match=r"its spikes end at 5 ms.*--overwrite"):
            parts.load_parts(tmp_path, stop, {"id": "a"})
    with pytest.raises(ValueError, match="its spikes end at 0 ms"):
        parts.load_parts(tmp_path, 5.0, {"id": "c"})


def test_chunks_end_exactly_where_the_run_ends():
    for t_stop, chunk, number in ((21.0, 0.7, 30), (42.0, 0.7, 60), (69.0, 2.3, 30), (84.0, 5.6, 15), (1.0, 0.3, 4)):
        found = list(_stops(SimulateConfig("x", chunk=chunk), t_stop))
        assert len(found) == number and found[-1] == t_stop and np.all(np.diff(found) > 0.1 * chunk)
    for tenths in range(1, 60):
        for length in range(1, 60):
            found = list(_stops(SimulateConfig("x", chunk=tenths / 10, warmup=0.3), length / 10))
            assert found[0] == 0.3 and found[-1] == 0.3 + length / 10 and np.all(np.diff(found) > 1e-3)
            assert len(found) == 1 + -(-length // tenths)


def test_a_run_of_awkward_chunks_ends_well(net, tmp_path):
    good(simulate(net, tmp_path / "out", "--t-stop", 21, "--chunk", 0.7))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["t_stop"] == 21.0


@pytest.mark.parametrize("options", [(), ("--chunk", "10")])
def test_a_simulation_in_use_or_finished_is_not_replaced_unasked(net, tmp_path, monkeypatch, options):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        after(patch, network_steps, "_save", 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert simulate(net, out, "--t-stop", 60, "--seed", 1, *options).exit_code in (0, 130)
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    result = simulate(net, out, "--t-stop", 60, "--seed", 2, *options)
    text = " ".join(result.output.split())
    assert result.exit_code == 1 and all(w in text for w in ("--resume", "--overwrite", "another --out", str(out)[:20]))
    assert before == {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert simulate(net, out, "--t-stop", 60, "--resume", "--overwrite").exit_code == 1
    good(simulate(net, out, "--t-stop", 30, "--seed", 2, "--overwrite"))
    good(simulate(net, tmp_path / "fresh", "--t-stop", 30, "--seed", 2))
    assert spikes(out) == spikes(tmp_path / "fresh")
    (out / "mine.txt").write_text("stays")
    good(simulate(net, out, "--t-stop", 30, "--overwrite"))
    assert (out / "mine.txt").exists()


def test_a_training_run_is_not_replaced_unasked(tmp_path):
    out = tmp_path / "out"
    good(run(*SMALL, "--epochs", 2, "--out", out))
    before = (out / "run.h5").read_bytes()
    for command in ((*SMALL, "--epochs", 1), ("demo", "--epochs", 1)):
        result = run(*command, "--out", out)
        assert result.exit_code == 1 and "--overwrite" in result.output and (out / "run.h5").read_bytes() == before
    good(run(*SMALL, "--epochs", 1, "--out", out, "--overwrite"))
    assert runs.load_run(out / "run.h5")["epoch"] == 1


@pytest.fixture(scope="module")
def three_epochs(tmp_path_factory):
    """The weights of a training that nothing interrupted."""
    out = tmp_path_factory.mktemp("training")
    good(run(*SMALL, "--epochs", 3, "--out", out / "whole"))
    return runs.load_run(out / "whole" / "run.h5")["weights"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_says_how_to_continue(tmp_path, monkeypatch, three_epochs, number, code):
    with monkeypatch.context() as patch:
        after(patch, Trainer, "_train_epoch", 2, lambda: os.kill(os.getpid(), number))
        result = run(*SMALL, "--epochs", 3, "--out", tmp_path / "cut", "--overwrite")
    assert result.exit_code == code and "interrupted after 1 complete epochs" in result.output
    assert result.output.splitlines()[-2].endswith("--epochs 3 --out " + str(tmp_path / "cut") + " --resume")
    good(run(*SMALL, "--epochs", 3, "--out", tmp_path / "cut", "--resume"))
    weights = runs.load_run(tmp_path / "cut" / "run.h5")["weights"]
    assert all(np.array_equal(x, y) for x, y in zip(three_epochs, weights, strict=True))
    assert len((tmp_path / "cut" / "metrics.csv").read_text().splitlines()) == 4


def test_a_training_interrupted_in_its_first_epoch_leaves_nothing(tmp_path, monkeypatch):
    after(monkeypatch, Trainer, "_train_epoch", 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = run(*SMALL, "--epochs", 3, "--out", tmp_path / "a" / "b")
    assert result.exit_code == 143 and not (tmp_path / "a").exists() and "--resume" not in result.output


def test_a_start_that_fails_leaves_no_folder(tmp_path, net):
    for command in (
        (*SMALL, "--loss", "ttfs"), ("train", "--dataset", "mnist", "--data-dir", "nowhere"),
        ("simulate", net, "--t-stop", "1e-400"), ("gradcheck", "--rule", "none"),
    ):  # fmt: skip
        assert run(*command, "--out", tmp_path / "a" / "b").exit_code in (1, 2)
        assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_two_commands_do_not_write_into_one_folder(tmp_path, net):
    pytest.importorskip("fcntl")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "evsim", "simulate", str(net), "--t-stop", "1e7", "--chunk", "20", "--no-plots"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen([*command, "--out", str(out)], **pipes)
    until = time.monotonic() + 600
    while not (out / "state.h5").exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.01)
    result = simulate(net, out, "--t-stop", 100, "--overwrite")
    assert result.exit_code == 1 and "another evsim is writing" in result.output
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 143 and "--resume" in said
    assert spikes(out)[0] == runs.load_state(out / "state.h5")[0]["time"]


def test_what_a_kill_leaves_of_a_part_goes_with_the_parts(net, tmp_path):
    out = tmp_path / "out"
    (out / "spikes").mkdir(parents=True)
    (out / "spikes" / ".evsim-0123.tmp").write_bytes(b"half")
    good(simulate(net, out, "--t-stop", 60, "--overwrite"))
    assert not (out / "spikes").exists()

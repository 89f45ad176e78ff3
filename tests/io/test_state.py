"""evsim.io.runs: the state of a simulation on the disk."""

import errno
import os

import numpy as np
import pytest

import evsim
from evsim.errors import RunFileError
from evsim.io import runs
from helpers.resealed import edited


def network():
    net = evsim.Network()
    net.add_input("in", 5)
    net.add_population("a", 80, evsim.LIF(tau_m=10.0, tau_syn=(2.0, 4.0), t_ref=1.0))
    net.connect("in", "a", weight=0.5, delay=40.0)
    net.connect("a", "a", weight=-0.1, delay=lambda rng, n: rng.uniform(0.5, 4.0, n), rule=evsim.FixedIndegree(10))
    net.add_poisson("a", rate=800.0, weight=0.5)
    return net


def simulation(driver, **more):
    return evsim.Simulation(network(), seed=3, driver=driver, **more)


INPUT = {"in": evsim.SpikeTrains([1.0, 12.0, 31.0], [0, 3, 4], 5)}


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_a_simulation_goes_on_from_a_file_as_if_it_had_never_stopped(tmp_path, driver):
    whole = simulation(driver)
    first = whole.advance_to(20.3, INPUT)
    runs.save_state(tmp_path / "state.h5", whole.state(), {"who": ["me", 1]})
    second = whole.advance_to(60.0)
    state, meta = runs.load_state(tmp_path / "state.h5")
    again = simulation(driver, state=state)
    resumed = again.advance_to(60.0)
    assert meta == {"who": ["me", 1]} and len(first["a"]) > 0 and len(second["a"]) > 0
    assert resumed["a"].times.tobytes() == second["a"].times.tobytes()
    assert np.array_equal(resumed["a"].neurons, second["a"].neurons)
    assert resumed.synaptic_events == second.synaptic_events


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    else:
        assert a == b


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_every_leaf_of_a_state_comes_back(tmp_path, driver):
    sim = simulation(driver)
    sim.advance_to(7.7, INPUT)
    state = sim.state()
    runs.save_state(tmp_path / "s.h5", state, {})
    same(state, runs.load_state(tmp_path / "s.h5")[0])


def test_what_is_no_state_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without seed, driver"):
        runs.save_state(tmp_path / "s.h5", {"time": 1.0}, {})
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("entry", ["meta", "state/engine"])
def test_a_state_that_lacks_something_is_refused(tmp_path, entry):
    runs.save_state(tmp_path / "s.h5", simulation("queue").state(), {})
    with edited(tmp_path / "s.h5") as file:
        del file[entry]
    with pytest.raises(RunFileError, match=f"lacks {entry.split('/')[-1]}"):
        runs.load_state(tmp_path / "s.h5")


def test_a_state_is_neither_a_run_nor_a_recording(tmp_path):
    runs.save_state(tmp_path / "s.h5", simulation("queue").state(), {})
    with pytest.raises(RunFileError, match="holds a state, but a run was asked for"):
        runs.load_run(tmp_path / "s.h5")
    runs.save_recording(tmp_path / "r.h5", {}, 1.0, {})
    with pytest.raises(RunFileError, match="holds a recording, but a state was asked for"):
        runs.load_state(tmp_path / "r.h5")


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_state_is_refused(tmp_path, keep):
    path = tmp_path / "s.h5"
    runs.save_state(path, simulation("window").state(), {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunFileError):
        runs.load_state(path)


def test_a_full_disk_keeps_the_old_state(tmp_path, monkeypatch):
    sim = simulation("queue")
    sim.advance_to(5.0)
    runs.save_state(tmp_path / "s.h5", sim.state(), {})
    sim.advance_to(9.0)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="free space"):
        runs.save_state(tmp_path / "s.h5", sim.state(), {})
    assert runs.load_state(tmp_path / "s.h5")[0]["time"] == 5.0
    assert os.listdir(tmp_path) == ["s.h5"]

"""Commands with --mpi as users start them: mpiexec, ranks that fail or are killed, launchers that MPI does not know."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.io.runs import load_recording, load_state
from helpers.mpi import mpi, mpi_command, mpi_environment, run_ranks

SIMULATE = [
    "simulate", "cuba", "--scale", "0.05", "--driver", "window", "--t-stop", "60", "--no-plots", "--threads", "1",
]  # fmt: skip


def evsim(ranks: int, *args: object) -> subprocess.CompletedProcess[str]:
    """``evsim ARGS`` on ranks; --mpi is not added."""
    program = mpi_command(ranks, ["-m", "evsim", *map(str, args)])
    return subprocess.run(program, env=mpi_environment(), capture_output=True, text=True, timeout=120, check=False)


def alone(*args: object) -> str:
    """The same in this process; returns what it says."""
    result = CliRunner().invoke(main, list(map(str, args)))
    assert result.exit_code == 0, result.output
    return result.output


def bits(folder) -> list[bytes]:
    """Spikes of a run, and its state without what the saved run is called."""
    spikes = load_recording(folder / "run.h5").spikes
    state, _ = load_state(folder / "state.h5")
    arrays = [a for train in spikes.values() for a in (train.times, train.neurons)]
    arrays += [a for part in state["engine"]["mutable"] for a in part if isinstance(a, np.ndarray)]
    return [np.ascontiguousarray(a).tobytes() for a in arrays]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of the run in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    alone(*SIMULATE, "--out", folder)
    return folder


@mpi
def test_simulate_over_ranks_has_the_same_bits_and_resumes_on_others(unbroken, tmp_path):
    ended = evsim(3, *SIMULATE, "--mpi", "--t-stop", "25", "--out", tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("3 ranks, 1 thread each") == 1
    assert ended.stdout.count("results in") == 1
    ended = evsim(2, *SIMULATE, "--mpi", "--resume", "--out", tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    assert "resumed at 25 ms" in ended.stdout
    assert "ranks have nothing to do" not in ended.stdout
    assert bits(tmp_path / "run") == bits(unbroken)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["ranks"] == 2


@mpi
@pytest.mark.slow
def test_ranks_without_neurons_are_told(tmp_path):
    few = ["simulate", "cuba", "--scale", "0.01", "--t-stop", "5", "--no-plots", "--mpi", "--out", tmp_path / "run"]
    ended = evsim(3, *few)
    assert ended.returncode == 0, ended.stderr
    assert "1 of 3 ranks have nothing to do: the network is cut into 2 blocks" in ended.stdout


@pytest.mark.slow
@mpi
def test_what_all_ranks_meet_is_said_once(tmp_path):
    ended = evsim(3, "simulate", "no-such-network", "--mpi", "--out", tmp_path / "run")
    assert ended.returncode == 1
    assert ended.stderr.count("neither a preset nor a file") == 1
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.h5").write_bytes(b"")
    ended = evsim(2, *SIMULATE, "--mpi", "--out", tmp_path / "old")  # which only rank 0 looks at
    assert ended.returncode == 1
    assert ended.stderr.count("holds a run already") == 1
    assert "ABORT" not in ended.stderr


@mpi
@pytest.mark.slow
def test_a_rank_that_fails_says_why_and_ends_all(tmp_path):
    code = f"""
        import sys, time
        from evsim.engine.simulation import Simulation
        from evsim.errors import InputError
        from evsim.ranks.mpi import world

        advance = Simulation.advance_to

        def failing(self, stop, *args, **options):
            if world().rank == 1 and stop > 20.0:
                raise InputError("no more disk on this node")
            return advance(self, stop, *args, **options)

        Simulation.advance_to = failing
        sys.argv = ["evsim", *{SIMULATE!r}, "--chunk", "10", "--mpi", "--out", {str(tmp_path / "run")!r}]
        from evsim.cli.main import main
        main()
    """
    began = time.monotonic()
    ended = run_ranks(2, code, seconds=60.0)
    assert ended.returncode != 0
    assert "Error on rank 1 of 2, which ends all: no more disk on this node" in ended.stderr
    assert time.monotonic() - began < 30.0


@mpi
@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_job_and_the_run_resumes(unbroken, tmp_path, victim):
    """Long chunks of a long run, one rank killed within it; what was saved goes on to the bits of an unbroken run."""
    out = tmp_path / "run"
    long = [*SIMULATE, "--t-stop", "100000", "--chunk", "5", "--mpi", "--out", str(out)]
    program = mpi_command(2, ["-m", "evsim", *long])
    with subprocess.Popen(program, env=mpi_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        until = time.monotonic() + 60.0
        while not (out / "state.h5").exists() and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(_ranks_of(job.pid)[victim], signal.SIGKILL)
        killed = time.monotonic()
        job.communicate(timeout=30)
        assert job.returncode != 0
        assert time.monotonic() - killed < 15.0
    reached = load_state(out / "state.h5")[0]["time"]
    end = ["--t-stop", str(reached + 20.0)]
    alone(*SIMULATE, *end, "--out", tmp_path / "whole")
    ended = evsim(3, *SIMULATE, *end, "--mpi", "--resume", "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert bits(out) == bits(tmp_path / "whole")


def _ranks_of(mpiexec: int) -> list[int]:
    """Process ids of the ranks that an mpiexec has started, rank 0 first."""
    import psutil

    found = {}
    for child in psutil.Process(mpiexec).children(recursive=True):
        rank = child.environ().get("OMPI_COMM_WORLD_RANK")
        if rank is not None and rank not in found:
            found[rank] = child.pid
    return [found[str(k)] for k in range(len(found))]


def test_without_mpi4py_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    result = CliRunner().invoke(main, [*SIMULATE, "--mpi", "--out", "never"])
    assert result.exit_code == 1
    assert "needs mpi4py and an MPI library: pip install mpi4py" in re.sub(r"\s+", " ", result.output)


@mpi
def test_a_launcher_that_mpi_does_not_know_is_told(tmp_path):
    command = [sys.executable, "-m", "evsim", *SIMULATE, "--mpi", "--out", str(tmp_path / "run")]
    ended = subprocess.run(
        command, env={**mpi_environment(), "PMI_SIZE": "4"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "started 4 processes (PMI_SIZE=4), but each of them is alone" in re.sub(r"\s+", " ", ended.stderr)


def test_several_processes_without_mpi_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    result = CliRunner().invoke(main, [*SIMULATE, "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "started as 3 processes" in re.sub(r"\s+", " ", result.output)
    assert not (tmp_path / "run").exists()


def test_a_run_resumed_where_the_c_library_differs_is_told(tmp_path, monkeypatch):
    from evsim import versions

    alone(*SIMULATE, "--t-stop", "10", "--out", tmp_path / "run")
    monkeypatch.setattr(versions, "c_library", lambda: "0" * 12)
    said = alone(*SIMULATE, "--t-stop", "20", "--resume", "--out", tmp_path / "run")
    assert "other last bits of exp" in said
    train = "train --dataset digits --rule linear --train-size 40 --test-size 4 --threads 1 --out".split()
    monkeypatch.undo()
    alone(*train, tmp_path / "trained", "--epochs", "1")
    monkeypatch.setattr(versions, "c_library", lambda: "0" * 12)
    said = alone(*train, tmp_path / "trained", "--epochs", "1", "--resume")
    assert "other last bits of exp" in said

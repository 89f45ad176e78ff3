"""A network simulated in chunks: started or resumed, saved after each chunk, ended at any time.

A folder RUN holds run.h5 (spikes), state.h5 (from which a run is resumed), summary.json and pictures. While a run
lasts, its new spikes are in RUN/spikes (see ``evsim.io.parts``).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from evsim.engine.select import choose
from evsim.engine.simulation import Simulation
from evsim.errors import GrazingWarning, RunFileError, warn_of_grazing
from evsim.experiment.network_run import Declaration, Run, SimulateConfig, Tally, tiny
from evsim.io import parts, runs
from evsim.memory import peak_memory_mb
from evsim.network import Network
from evsim.ranks.alone import ALONE
from evsim.ranks.first import on_first
from evsim.ranks.protocol import Communicator
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains
from evsim.versions import package_versions

_PIECE_SECONDS = 0.25
"""Wall time between two looks at whether a signal asked for an end."""

_SAVE_SECONDS = 0.5
"""Least wall time between two saved chunks: what a kill can cost, and a bound on what many short chunks cost."""

_FIRST_PIECE = 1.0 / 200.0
"""Share of a chunk that is simulated before the first look."""


def advance(
    run: Run,
    out: Path,
    inputs: Mapping[str, SpikeTrains],
    ended: Callable[[], bool],
    progress: Callable[[float], None] | None,
) -> None:
    """Simulate to the end, chunk by chunk, or until ``ended`` says so; all that was simulated is saved then.

    inputs : all spikes, unless the simulation has them from its state; progress : called with the time reached, ms

    Over ranks all of them call this; how far a piece goes, when to save and whether to end is settled by rank 0, and by
    any rank that was asked to end.
    """
    comm = run.comm
    grazing, saved = 0, time.perf_counter()
    for stop in _stops(run.config, run.declared.t_stop):
        piece = (stop - run.end) * _FIRST_PIECE
        while run.end < stop and not any(comm.objects(ended())):
            # A piece so short is not worth an end of its own.
            upto = comm.first(run.end + piece if run.end + 1.5 * piece < stop else stop)
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GrazingWarning)
                recording = run.simulation.advance_to(upto, inputs, progress=progress)
            seconds = time.perf_counter() - began
            run.tally.peak_memory_mb = max(run.tally.peak_memory_mb, peak_memory_mb())
            inputs = {}
            if upto > run.begin:
                _add(run, recording, seconds)
                grazing += recording.grazing
            piece *= min(max(_PIECE_SECONDS / max(seconds, 1e-9), 0.25), 4.0)
        enough = any(comm.objects(ended()))
        due = enough or run.end >= run.total or time.perf_counter() - saved >= _SAVE_SECONDS
        if run.end > run.saved and comm.first(due):
            _save(run, out)
            saved = time.perf_counter()
        if enough:
            break
    if run.saved > 0.0:
        run.whole = on_first(comm, lambda: parts.join_parts(out, run.end, _about(run)))
    warn_of_grazing(grazing)


def _identity(config: SimulateConfig, declared: Declaration) -> dict[str, Any]:
    """What must be the same for a run to be continued."""
    return {
        "network": declared.source,
        "scale": config.scale,
        "seed": config.seed,
        "warmup": config.warmup,
        "record": config.record,
    }


def saved_state(config: SimulateConfig, declared: Declaration, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """State and meta to resume from.

    Raises RunFileError : there are none in ``out``, or they are of another run or beyond its end.
    """
    path = out / "state.h5"
    if not path.exists():
        raise RunFileError(f"--resume was asked for, but there is no run in {out}; leave --resume out.")
    state, meta = runs.load_state(path)
    before, now = meta.get("run", {}), _identity(config, declared)

    def text(value: Any) -> str:
        return "a file" if isinstance(value, dict) else repr(value)

    changed = [
        f"{k} = {text(before.get(k))} (now {'one of other contents' if isinstance(v, dict) else repr(v)})"
        for k, v in now.items()
        if before.get(k) != v
    ]
    if changed:
        raise RunFileError(
            f"{path} was made with other settings: {'; '.join(changed)}. Give the same, or another --out."
        )
    if state["time"] > config.warmup + declared.t_stop:
        raise RunFileError(f"the run in {out} has reached {state['time'] - config.warmup:g} ms; give a later --t-stop.")
    return state, meta


def begin(
    config: SimulateConfig,
    declared: Declaration,
    saved: tuple[dict[str, Any], dict[str, Any]] | None,
    out: Path,
    stage: Callable[[str], AbstractContextManager[object]],
    comm: Communicator = ALONE,
) -> Run:
    """Build the network, or build it again and resume. saved : of ``saved_state``; stage : says what is being done

    The kernels are compiled before, by a tiny network of the same kind: neither building nor simulating is timed
    with compilation in it.
    """
    state, meta = saved or (None, {})
    driver = state["driver"] if state and config.driver == "auto" else config.driver
    small, likely = tiny(declared.network), choose(declared.network) if driver == "auto" else driver
    if comm.size > 1 and driver == "auto":
        likely = "window"
    with stage("loading kernels"):
        # First on one rank alone: what has to be compiled is compiled once.
        on_first(comm, lambda: _simulate_a_little(small, config.threads, likely, ALONE))
        _simulate_a_little(small, config.threads, likely, comm)
    with stage("building the network"):
        began = time.perf_counter()
        simulation = Simulation(
            declared.network, seed=config.seed, threads=config.threads, driver=driver, state=state, comm=comm
        )
        seconds = time.perf_counter() - began
    if simulation.driver != likely:
        # Drawn delays turned out to be none, or too small for the window engine.
        with stage("loading kernels"):
            _simulate_a_little(small, config.threads, simulation.driver, comm)
    new = runs.run_id(_identity(config, declared), simulation.driver, package_versions())
    if state is None:
        return Run(config, declared, simulation, seconds, Tally(), comm, new)
    tally = Tally(**meta["tally"])
    run = Run(config, declared, simulation, seconds, tally, comm, meta.get("id", new), simulation.time)
    on_first(comm, lambda: parts.join_parts(out, simulation.time, _about(run), meta))
    return run


def _simulate_a_little(small: Network, threads: int, driver: str, comm: Communicator) -> None:
    """So that all kernels are loaded."""
    Simulation(small, threads=threads, driver=driver, comm=comm).advance(2.0)


def _stops(config: SimulateConfig, t_stop: float) -> Iterator[float]:
    """Ends of the warm-up and of the chunks, ms, ascending; the last one is the end, exactly."""
    if config.warmup > 0.0:
        yield config.warmup
    end = config.warmup + t_stop
    if config.chunk is not None:
        for k in count(1):
            stop = config.warmup + k * config.chunk
            # Rounding must not leave a last chunk of some units in the last place.
            if stop + 1e-9 * config.chunk >= end:
                break
            yield stop
    yield end


def _add(run: Run, recording: Recording, seconds: float) -> None:
    tally = run.tally
    tally.wall_seconds += seconds
    tally.synaptic_events += recording.synaptic_events
    for name, train in recording.spikes.items():
        tally.spikes[name] = tally.spikes.get(name, 0) + len(train)
        n = _recorded(run.config, train.size)
        recorded = train.neurons < n
        run.spikes.setdefault(name, []).append(SpikeTrains(train.times[recorded], train.neurons[recorded], n))


def _recorded(config: SimulateConfig, size: int) -> int:
    """Neurons of a population whose spikes are saved."""
    return min(size, config.record or size)


def _about(run: Run) -> dict[str, Any]:
    return {"id": run.id, "run": _identity(run.config, run.declared), "versions": package_versions()}


def _save(run: Run, out: Path) -> None:
    """Spikes first: a state without its spikes could not be continued, spikes beyond the state are left out."""
    new = {}
    for name, population in run.declared.network.populations.items():
        pieces = run.spikes.get(name, [])
        times = np.concatenate([np.empty(0), *(p.times for p in pieces)])
        neurons = np.concatenate([np.empty(0, np.int64), *(p.neurons for p in pieces)])
        new[name] = SpikeTrains(times, neurons, _recorded(run.config, population.size))
    run.parts += 1
    state = run.simulation.state()

    def write() -> None:
        parts.save_part(out, run.parts, new, run.saved, run.end, run.id)
        runs.save_state(out / "state.h5", state, {**_about(run), "tally": asdict(run.tally)})

    on_first(run.comm, write)
    run.saved, run.spikes = run.end, {}

"""``evsim simulate``: a preset or a network from a file, in chunks, saved after each, resumed to the bit.

A folder RUN holds run.h5 (spikes), state.h5 (from which ``--resume`` continues), summary.json and pictures. While a run
lasts, its new spikes are in RUN/spikes (see ``evsim.io.parts``).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from evsim.cli.folder import results_folder
from evsim.cli.kernels import has_kernels
from evsim.cli.signals import Interrupted, requests, say_how_to_resume
from evsim.cli.simulate_results import report
from evsim.engine.select import choose
from evsim.engine.simulation import Simulation
from evsim.errors import GrazingWarning, RunFileError, warn_of_grazing
from evsim.experiment.network_run import Declaration, Run, SimulateConfig, Tally, declare, tiny
from evsim.io import parts, runs
from evsim.memory import peak_memory_mb
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains

console = Console()

_PIECE_SECONDS = 0.25
"""Wall time between two looks at whether a signal asked for an end."""

_SAVE_SECONDS = 0.5
"""Least wall time between two saved chunks: what a kill can cost, and a bound on what many short chunks cost."""

_FIRST_PIECE = 1.0 / 200.0
"""Share of a chunk that is simulated before the first look."""


def simulate_run(
    config: SimulateConfig, out: Path, *, resume: bool = False, overwrite: bool = False, plots: bool = True
) -> None:
    """Simulate, and leave in ``out``: run.h5, state.h5 (after every chunk, and where it is interrupted), summary.json,
    PNGs.

    Raises
    ------
    NetworkError, ValueError, DataError : see ``declare``; also a network that the driver cannot run
    RunFileError : an earlier run in ``out`` that neither ``resume`` nor ``overwrite`` asks for; ``resume`` without a
        run, of another run, or to a time that lies behind it
    Interrupted : a signal ended it; spikes and state are saved
    """
    declared = declare(config)
    saved = _saved(config, declared, out) if resume else None
    with results_folder(out, resume=resume, overwrite=overwrite) as clear:
        run = _start(config, declared, saved, out)
        clear()
        _announce(run, saved is not None)
        _advance(run, out, {} if saved else declared.inputs)
        report(run, out, plots)


def _announce(run: Run, resumed: bool) -> None:
    """One line on what runs, and one on an option that this run does not use."""
    config, driver = run.config, run.simulation.driver
    threads = f"{run.threads} threads" if driver == "window" else f"1 thread (the {driver} engine uses one)"
    console.print(
        f"[bold]{escape(config.network)}[/]: "
        f"{sum(p.size for p in run.declared.network.populations.values()):,} neurons, "
        f"{run.simulation.engine.n_synapses:,} synapses, driver {driver}, {threads}, seed {config.seed}"
        + (f", going on at {run.end:g} ms" if resumed else ""),
        highlight=False,
        soft_wrap=True,
    )
    if config.chunk is not None and config.chunk >= run.declared.t_stop:
        console.print(f"--chunk {config.chunk:g} is not used: the run is no longer than that", highlight=False)


def _advance(run: Run, out: Path, inputs: Mapping[str, SpikeTrains]) -> None:
    """Simulate to the end, chunk by chunk. inputs : all spikes, unless the simulation has them from its state.

    Raises Interrupted : a signal asked for an end; all that was simulated is saved before.
    """
    grazing, saved = 0, time.perf_counter()
    with requests() as request, _progress() as bar:
        task = bar.add_task("", total=run.config.warmup + run.declared.t_stop)
        tell = (lambda t: bar.update(task, completed=t)) if console.is_terminal else None
        for stop in _stops(run.config, run.declared.t_stop):
            piece = (stop - run.end) * _FIRST_PIECE
            while run.end < stop and not request.number:
                # A piece so short is not worth an end of its own.
                upto = run.end + piece if run.end + 1.5 * piece < stop else stop
                began = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", GrazingWarning)
                    recording = run.simulation.advance_to(upto, inputs, progress=tell)
                seconds = time.perf_counter() - began
                run.tally.peak_memory_mb = max(run.tally.peak_memory_mb, peak_memory_mb())
                inputs = {}
                if upto > run.begin:
                    _add(run, recording, seconds)
                    grazing += recording.grazing
                piece *= min(max(_PIECE_SECONDS / max(seconds, 1e-9), 0.25), 4.0)
            last = request.number or run.end >= run.config.warmup + run.declared.t_stop
            if run.end > run.saved and (last or time.perf_counter() - saved >= _SAVE_SECONDS):
                _save(run, out)
                saved = time.perf_counter()
            if request.number:
                break
        if run.saved > 0.0:
            run.whole = parts.join_parts(out, run.end, _about(run))
    warn_of_grazing(grazing)
    total = run.config.warmup + run.declared.t_stop
    if run.end < total:
        if run.saved > 0.0:
            say_how_to_resume(f"interrupted at {run.end:g} of {total:g} ms; saved in {out}. To continue:")
        raise Interrupted(request.number)


def _identity(config: SimulateConfig, declared: Declaration) -> dict[str, Any]:
    """What must be the same for a run to be continued."""
    return {
        "network": declared.source,
        "scale": config.scale,
        "seed": config.seed,
        "warmup": config.warmup,
        "record": config.record,
    }


def _saved(config: SimulateConfig, declared: Declaration, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """State and meta to resume from, after checking that they are of the same run."""
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


def _start(
    config: SimulateConfig, declared: Declaration, saved: tuple[dict[str, Any], dict[str, Any]] | None, out: Path
) -> Run:
    """Build the network, or build it again and go on.

    The kernels are compiled before, by a tiny network of the same kind: neither building nor simulating is timed
    with compilation in it.
    """
    state, meta = saved or (None, {})
    driver = state["driver"] if state and config.driver == "auto" else config.driver
    small, likely = tiny(declared.network), choose(declared.network) if driver == "auto" else driver
    if not has_kernels():
        console.print("compiling kernels, once on this machine: about a minute")
    with console.status("loading kernels"):
        Simulation(small, threads=config.threads, driver=likely).advance(2.0)
    with console.status("building the network"):
        began = time.perf_counter()
        simulation = Simulation(
            declared.network, seed=config.seed, threads=config.threads, driver=driver, state=state
        )
        seconds = time.perf_counter() - began
    if simulation.driver != likely:
        # Drawn delays turned out to be none, or too small for the window engine.
        with console.status("loading kernels"):
            Simulation(small, threads=config.threads, driver=simulation.driver).advance(2.0)
    new = runs.run_id(_identity(config, declared), simulation.driver, runs.package_versions())
    if state is None:
        return Run(config, declared, simulation, seconds, Tally(), new)
    tally = Tally(**meta["tally"])
    run = Run(config, declared, simulation, seconds, tally, meta.get("id", new), simulation.time)
    parts.join_parts(out, simulation.time, _about(run), meta)
    return run


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
        kept = train.neurons < n
        run.spikes.setdefault(name, []).append(SpikeTrains(train.times[kept], train.neurons[kept], n))


def _recorded(config: SimulateConfig, size: int) -> int:
    """Neurons of a population whose spikes are saved."""
    return min(size, config.record or size)


def _about(run: Run) -> dict[str, Any]:
    return {"id": run.id, "run": _identity(run.config, run.declared), "versions": runs.package_versions()}


def _save(run: Run, out: Path) -> None:
    """Spikes first: a state without its spikes could not be continued, spikes beyond the state are left out."""
    new = {}
    for name, population in run.declared.network.populations.items():
        pieces = run.spikes.get(name, [])
        times = np.concatenate([np.empty(0), *(p.times for p in pieces)])
        neurons = np.concatenate([np.empty(0, np.int64), *(p.neurons for p in pieces)])
        new[name] = SpikeTrains(times, neurons, _recorded(run.config, population.size))
    run.parts += 1
    parts.save_part(out, run.parts, new, run.saved, run.end, run.id)
    runs.save_state(out / "state.h5", run.simulation.state(), {**_about(run), "tally": asdict(run.tally)})
    run.saved, run.spikes = run.end, {}


def _progress() -> Progress:
    return Progress(
        TextColumn("simulating"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} ms"),
        TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip

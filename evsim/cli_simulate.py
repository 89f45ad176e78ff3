"""``evsim simulate``: a preset or a network from a file, in chunks, saved after each, resumed to the bit.

A folder RUN holds run.h5 (spikes), state.h5 (from which ``--resume`` goes on), summary.json and pictures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from evsim.choice import choose
from evsim.cli_simulate_network import Declaration, SimulateConfig, declare, tiny
from evsim.cli_simulate_results import report
from evsim.errors import RunFileError
from evsim.io import runs
from evsim.memory import peak_memory_mb
from evsim.recording import Recording
from evsim.simulation import Simulation
from evsim.types import SpikeTrains

console = Console()


@dataclass
class Tally:
    """What a run has cost and emitted since the warm-up; spikes by population, of all neurons.

    peak_memory_mb : of the process, building and simulating; saving and statistics come after it
    """

    wall_seconds: float = 0.0
    synaptic_events: int = 0
    peak_memory_mb: float = 0.0
    spikes: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class Run:
    """A simulation with what it has left so far. spikes : of the recorded neurons, by population, in parts.

    id : common to its files, see ``runs.run_id``
    """

    config: SimulateConfig
    declared: Declaration
    simulation: Simulation
    build_seconds: float
    tally: Tally
    spikes: dict[str, list[SpikeTrains]]
    id: str

    @property
    def begin(self) -> float:
        """End of the warm-up, ms."""
        return self.config.warmup

    @property
    def end(self) -> float:
        """Time reached, ms."""
        return self.simulation.time

    def trains(self) -> dict[str, SpikeTrains]:
        """Recorded spikes, ms since the start of the simulation."""
        for name, parts in self.spikes.items():
            whole = SpikeTrains(
                np.concatenate([p.times for p in parts]), np.concatenate([p.neurons for p in parts]), parts[0].size
            )
            self.spikes[name] = [whole]
        return {name: parts[0] for name, parts in self.spikes.items()}


def simulate_run(config: SimulateConfig, out: Path, *, resume: bool = False, plots: bool = True) -> None:
    """Simulate, and leave in ``out``: run.h5 and state.h5 (after every chunk), summary.json, PNGs.

    Raises
    ------
    NetworkError, ValueError, DataError : see ``declare``; also a network that the driver cannot run
    RunFileError : ``resume`` without a run, of another run, or to a time that lies behind it
    """
    declared = declare(config)
    saved = _saved(config, declared, out) if resume else None
    out.mkdir(parents=True, exist_ok=True)
    run = _start(config, declared, saved, out)
    console.print(
        f"[bold]{escape(config.network)}[/]: {sum(p.size for p in declared.network.populations.values()):,} neurons, "
        f"{run.simulation.engine.n_synapses:,} synapses, driver {run.simulation.driver}, {config.threads} threads, "
        f"seed {config.seed}" + (f", going on at {run.end:g} ms" if saved else ""),
        highlight=False,
        soft_wrap=True,
    )
    _advance(run, out, {} if saved else declared.inputs)
    report(run, out, plots)


def _advance(run: Run, out: Path, inputs: Mapping[str, SpikeTrains]) -> None:
    """Simulate to the end, chunk by chunk. inputs : all spikes, unless the simulation has them from its state."""
    stops = [stop for stop in _stops(run.config, run.declared.t_stop) if stop > run.end]
    with _progress() as bar:
        task = bar.add_task("", total=run.config.warmup + run.declared.t_stop)
        tell = (lambda t: bar.update(task, completed=t)) if console.is_terminal else None
        for stop in stops:
            began = time.perf_counter()
            recording = run.simulation.advance_to(stop, inputs, progress=tell)
            seconds = time.perf_counter() - began
            run.tally.peak_memory_mb = max(run.tally.peak_memory_mb, peak_memory_mb())
            inputs = {}
            if stop > run.begin:
                _add(run, recording, seconds)
            _save(run, out)


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
    driver = config.driver
    if driver == "auto":
        driver = state["driver"] if state else choose(declared.network)
    with console.status("compiling (once for each machine)"):
        Simulation(tiny(declared.network), threads=config.threads, driver=driver).advance(2.0)
    with console.status("building the network"):
        began = time.perf_counter()
        simulation = Simulation(
            declared.network, seed=config.seed, threads=config.threads, driver=driver, state=state
        )
        seconds = time.perf_counter() - began
    new = runs.run_id(_identity(config, declared), simulation.driver, runs.package_versions())
    if state is None:
        empty = {
            name: SpikeTrains([], np.empty(0, np.int64), min(p.size, config.record or p.size))
            for name, p in declared.network.populations.items()
        }
        return Run(config, declared, simulation, seconds, Tally(), {k: [v] for k, v in empty.items()}, new)
    recorded = runs.load_recording(out / "run.h5")
    runs.check_same_run(out / "run.h5", recorded.meta, meta)
    if recorded.t_stop < simulation.time:
        raise RunFileError(f"{out / 'run.h5'} ends before {out / 'state.h5'}; they are not of the same run.")
    spikes = {}
    for name, s in recorded.spikes.items():
        n = int(np.searchsorted(s.times, simulation.time))
        spikes[name] = [SpikeTrains(s.times[:n], s.neurons[:n], s.size)]
    return Run(config, declared, simulation, seconds, Tally(**meta["tally"]), spikes, meta.get("id", new))


def _stops(config: SimulateConfig, t_stop: float) -> Iterator[float]:
    """Ends of the warm-up and of the chunks, ms."""
    if config.warmup > 0.0:
        yield config.warmup
    step = config.chunk or t_stop
    for k in range(1, int(np.ceil(t_stop / step)) + 1):
        yield config.warmup + min(k * step, t_stop)


def _add(run: Run, recording: Recording, seconds: float) -> None:
    tally = run.tally
    tally.wall_seconds += seconds
    tally.synaptic_events += recording.synaptic_events
    for name, train in recording.spikes.items():
        tally.spikes[name] = tally.spikes.get(name, 0) + len(train)
        n = run.spikes[name][0].size
        kept = train.neurons < n
        run.spikes[name].append(SpikeTrains(train.times[kept], train.neurons[kept], n))


def _save(run: Run, out: Path) -> None:
    """Spikes first: a state without its spikes could not be continued, spikes beyond the state are dropped."""
    about = {"id": run.id, "run": _identity(run.config, run.declared), "versions": runs.package_versions()}
    runs.save_recording(out / "run.h5", run.trains(), run.end, about)
    runs.save_state(out / "state.h5", run.simulation.state(), {**about, "tally": asdict(run.tally)})


def _progress() -> Progress:
    return Progress(
        TextColumn("simulating"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} ms"),
        TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip

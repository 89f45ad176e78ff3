"""``evsim simulate``: what the simulation of a preset or of a network from a file says on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from evsim.cli.ranks import folder_of_ranks
from evsim.cli.signals import Interrupted, command_line, requests, say_how_to_resume
from evsim.experiment.kernels import has_kernels
from evsim.experiment.network_report import published_rates, report
from evsim.experiment.network_run import Run, SimulateConfig, declare
from evsim.experiment.network_steps import advance, begin, saved_state
from evsim.experiment.resumed import resumed_elsewhere
from evsim.ranks.alone import ALONE
from evsim.ranks.first import on_first
from evsim.ranks.protocol import Communicator


def simulate_run(
    config: SimulateConfig,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    plots: bool = True,
    comm: Communicator = ALONE,
) -> None:
    """Simulate, and leave in ``out``: run.h5, state.h5 (after every chunk, and where it is interrupted), summary.json,
    PNGs. Over ranks all call this; rank 0 reads, writes and prints.

    Raises
    ------
    InputError : see ``declare``; also a network that the engine cannot run
    RunFileError : an earlier run in ``out`` that neither ``resume`` nor ``overwrite`` asks for; ``resume`` without a
        run, of another run, or to a time that lies behind it
    Interrupted : a signal ended it; spikes and state are saved
    """
    console = Console()
    declared = declare(config)
    saved = on_first(comm, lambda: saved_state(config, declared, out)) if resume else None
    with folder_of_ranks(comm, out, resume=resume, overwrite=overwrite) as clear:
        if not has_kernels():
            console.print("compiling kernels, once on this machine: about a minute")
        run = begin(config, declared, saved, out, console.status, comm)
        clear()
        _say_what_runs(run, saved is not None, console)
        if saved is not None and (note := resumed_elsewhere(saved[1])):
            console.print(note, highlight=False, soft_wrap=True)
        with requests() as request, _progress(console) as bar:
            task = bar.add_task("", total=run.total)
            progress = (lambda t: bar.update(task, completed=t)) if console.is_terminal else None
            advance(run, out, {} if saved else declared.inputs, lambda: bool(request.number), progress)
        if run.end < run.total:
            if run.saved > 0.0 and comm.rank == 0:
                say_how_to_resume(f"interrupted at {run.end:g} of {run.total:g} ms; saved in {out}. To continue:")
            raise Interrupted(max(comm.objects(request.number)))
        summary, files = on_first(comm, lambda: report(run, out, plots, command_line()))
    console.print(f"results in {out}", markup=False, highlight=False, soft_wrap=True)
    console.print(_table(summary, files))
    console.print(_rates(run, summary))


def _say_what_runs(run: Run, resumed: bool, console: Console) -> None:
    """One line on what runs, and one on an option that this run does not use."""
    config, driver = run.config, run.simulation.driver
    counted = f"{run.threads} thread{'s' * (run.threads > 1)}"
    threads = counted if driver == "window" else f"1 thread (the {driver} engine uses one)"
    if run.comm.size > 1:
        threads = f"{run.comm.size} ranks, {threads} each"
    console.print(
        f"[bold]{escape(config.network)}[/]: "
        f"{sum(p.size for p in run.declared.network.populations.values()):,} neurons, "
        f"{run.simulation.engine.n_synapses:,} synapses, engine {driver}, {threads}, seed {config.seed}"
        + (f", resumed at {run.end:g} ms" if resumed else ""),
        highlight=False,
        soft_wrap=True,
    )
    if run.idle_ranks:
        console.print(
            f"{run.idle_ranks} of {run.comm.size} ranks have nothing to do: the network is cut into "
            f"{run.comm.size - run.idle_ranks} blocks of neurons, which go to one rank each",
            highlight=False,
            soft_wrap=True,
        )
    if config.chunk is not None and config.chunk >= run.declared.t_stop:
        console.print(f"--chunk {config.chunk:g} is not used: the run is no longer than that", highlight=False)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("simulating"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} ms"),
        TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip


def _table(summary: dict[str, Any], files: list[str]) -> Table:
    wall, events = summary["wall_seconds"], summary["synaptic_events"]
    threads = summary["threads"] * summary["ranks"]
    biological = summary["t_stop"] / 1e3
    table = Table(show_header=False)
    table.add_row("neurons, synapses", f"{summary['neurons']:,}, {summary['synapses']:,}")
    table.add_row("building", f"{summary['build_seconds']:.2f} s")
    table.add_row("simulating", f"[bold]{wall:.2f} s[/] for {summary['t_stop']:g} ms, without compiling")
    table.add_row("wall time / biological time", f"{wall / biological:.3g}")
    if events:
        table.add_row("synaptic events", f"{events:,}, {events / wall / 1e6:.1f} million a second")
        table.add_row("ns per event and thread", f"{wall / events * 1e9 * threads:.2f}")
    table.add_row("spikes, mean rate", f"{summary['spikes']:,}, {summary['rate_hz']:.3f} Hz")
    for key, label in (("cv", "mean CV of intervals"), ("correlation", "mean correlation, 2 ms")):
        if summary[key] is not None:
            table.add_row(label, f"{summary[key]:.4f}")
    table.add_row("peak memory", f"{summary['peak_memory_mb']:.0f} MB")
    table.add_row("files", ", ".join(files))
    return table


def _rates(run: Run, summary: dict[str, Any]) -> Table:
    published = published_rates(run)
    scale = "" if run.config.scale == 1.0 else " at full scale"
    nest = [f"one run of NEST{scale}, Hz"] if published else []
    table = Table("population", "neurons", "spikes", "rate, Hz", *nest)
    for name, population in run.declared.network.populations.items():
        row = [name, f"{population.size:,}", f"{run.tally.spikes[name]:,}", f"{summary['rates'][name]:.3f}"]
        table.add_row(*row, *([f"{published[name]:.3f}"] if published else []))
    return table

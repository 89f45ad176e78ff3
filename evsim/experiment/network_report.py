"""What is reported of a simulated network: a summary and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evsim import plot, streams
from evsim.analysis import active, cv_isi, mean_correlation
from evsim.description.projections import Projection, is_distribution
from evsim.errors import InputError
from evsim.experiment.network_run import Run
from evsim.io import runs
from evsim.network import Network
from evsim.networks.literature import MICROCIRCUIT_RATES, PRESETS
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains
from evsim.versions import package_versions

_SMALL = 1000
"""Neurons of a network whose voltages are drawn."""

_RASTER_MS = 400.0
_RASTER_ROWS = 480
_FEWEST_ROWS = 50

_CURVES = 4
"""Populations in a picture of rates."""


def report(run: Run, out: Path, plots: bool, command: str) -> tuple[dict[str, Any], list[str]]:
    """Write summary.json and, if asked for, the PNGs into ``out``; returns the summary and the names of all files.

    command : that made the run, for the summary
    """
    figures = summary(run, command)
    runs.write_json(out / "summary.json", figures)
    names = ["run.h5", "state.h5", "summary.json"]
    if plots:
        for name, figure in pictures(run).items():
            figure.savefig(out / f"{name}.png")
            names.append(f"{name}.png")
    return figures, names


def summary(run: Run, command: str) -> dict[str, Any]:
    """Figures of the time after the warm-up; t_stop, warmup and cell in ms, rates in Hz, None for what is unknown."""
    populations = run.declared.network.populations
    duration = run.end - run.begin
    sizes = {name: p.size for name, p in populations.items()}
    spikes = run.tally.spikes
    neurons = sum(sizes.values())
    cv, correlation = statistics(run.declared.network, run.trains(), run.begin, run.end)
    return {
        "network": run.config.network,
        "driver": run.simulation.driver,
        "t_stop": duration,
        "warmup": run.config.warmup,
        "wall_seconds": run.tally.wall_seconds,
        "build_seconds": run.build_seconds,
        "neurons": neurons,
        "synapses": int(run.simulation.engine.n_synapses),
        "spikes": sum(spikes.values()),
        "rate_hz": sum(spikes.values()) / neurons / duration * 1e3,
        "rates": {name: spikes[name] / size / duration * 1e3 for name, size in sizes.items()},
        "cv": cv,
        "correlation": correlation,
        "synaptic_events": run.tally.synaptic_events,
        "threads": run.threads,
        "ranks": run.comm.size,
        "seed": run.config.seed,
        "scale": run.config.scale,
        "recorded": run.config.record,
        "command": command,
        "peak_memory_mb": run.tally.peak_memory_mb,
        "cell_ms": run.simulation.engine.c,
        "versions": package_versions(),
    }


def statistics(
    network: Network, trains: dict[str, SpikeTrains], begin: float, end: float
) -> tuple[float | None, float | None]:
    """Mean CV of the intervals of the neurons with 10 spikes or more; mean correlation of the spike counts in bins
    of 2 ms of 200 neurons of the first excitatory population. None where there is none."""
    of_neurons = np.concatenate([cv_isi(s, end, begin) for s in trains.values()])
    cv = None if np.all(np.isnan(of_neurons)) else float(np.nanmean(of_neurons))
    try:
        return cv, mean_correlation(trains[first_excitatory(network)], end, begin)
    except InputError:
        return cv, None


def first_excitatory(network: Network) -> str:
    """The first population without inhibitory synapses of its own; the first one if there is none."""
    inhibits = {p.source for p in network.projections if _a_weight(p) < 0.0}
    names = list(network.populations)
    return next((name for name in names if name not in inhibits), names[0])


def _a_weight(p: Projection) -> float:
    if is_distribution(p.weight):
        return float(p.weight(streams.rng("example", 0), 1)[0])
    return float(np.min(p.weight))


def pictures(run: Run) -> dict[str, Any]:
    """Figures by name: raster, rates, and the voltages of a small network."""
    trains = run.trains()
    rows = max(_FEWEST_ROWS, _RASTER_ROWS // len(trains))
    begin = max(run.begin, run.end - _RASTER_MS)
    title = run.config.network if run.config.network in PRESETS else Path(run.config.network).name
    figures = {"raster": plot.raster(trains, run.end, t_start=begin, neurons=rows, title=title)}
    names = list(trains)
    for k, first in enumerate(range(0, len(names), _CURVES)):
        shown = {name: trains[name] for name in names[first : first + _CURVES]}
        figures["rates" if k == 0 else f"rates_{k + 1}"] = plot.rates(
            shown, run.end, bin_width=_bin_width(run.end - run.begin), t_start=run.begin,
            title=title if len(shown) < 3 else "",  # the legend needs the room
        )  # fmt: skip
    whole = run.config.record is None and run.begin == 0.0
    if whole and sum(s.size for s in trains.values()) <= _SMALL:
        name = first_excitatory(run.declared.network)
        chosen = active(trains[name], run.end, at_most=3)
        if chosen.size:
            figures["voltage"] = plot.voltage(_recording(run, trains), name, chosen.tolist())
    return figures


def _bin_width(duration: float) -> float:
    """1, 2, 5, 10, 20 ... ms, so that there are at most 250 bins."""
    return next(m * 10.0**e for e in range(12) for m in (1.0, 2.0, 5.0) if m * 10.0**e * 250.0 >= duration)


def _recording(run: Run, trains: dict[str, SpikeTrains]) -> Recording:
    """The whole run as one recording, from the beginning; its currents are not known any more."""
    net, sim = run.declared.network, run.simulation
    currents = {name: np.full(len(s), np.nan) for name, s in trains.items()}
    return Recording(
        trains, run.end, run.declared.inputs, currents, net, sim.driver, sim.seed, run.tally.synaptic_events, 0,
        cell=sim.engine.c,
    )  # fmt: skip


def published_rates(run: Run) -> dict[str, float]:
    """Rates of one run of NEST by population, Hz, at full scale; none but of the microcircuit."""
    return MICROCIRCUIT_RATES if run.config.network == "microcircuit" else {}

"""Which network ``evsim simulate`` is to run: a preset or a TOML file, with the spikes of its inputs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from evsim.description.projections import is_distribution
from evsim.engine.simulation import Simulation
from evsim.errors import DataError, InputError, NetworkError
from evsim.experiment.examples import EXAMPLES, find_file
from evsim.io import runs
from evsim.network import Network
from evsim.networks.literature import PRESETS, preset
from evsim.networks.toml_file import load_network
from evsim.ranks.protocol import Communicator
from evsim.spikes import SpikeTrains
from evsim.text_files import read_spikes

_TINY = 20
"""Neurons of the populations that are simulated to have the kernels compiled."""


@dataclass(frozen=True)
class SimulateConfig:
    """What is simulated. Times in ms; ``t_stop`` is counted from the end of the warm-up.

    network : name of a preset, or path of a TOML file
    record : the first so many neurons of each population have their spikes saved; None: all
    chunk : after every so many ms the run is saved; None: at the end
    """

    network: str
    t_stop: float | None = None
    warmup: float = 0.0
    seed: int = 1
    threads: int = 1
    driver: str = "auto"
    scale: float = 1.0
    record: int | None = None
    chunk: float | None = None


@dataclass(frozen=True, eq=False)
class Declaration:
    """A network with the spikes of its inputs, how long to simulate it, and what tells it from others."""

    network: Network
    inputs: dict[str, SpikeTrains]
    t_stop: float
    source: Any


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
    """A simulation with what it has left so far.

    comm : ranks that share it; files are rank 0's
    id : common to its files, see ``runs.run_id``
    saved : ms, end of what is saved; parts : number of parts saved since run.h5
    spikes : of the recorded neurons, by population, since ``saved``, in pieces
    whole : all recorded spikes, once the run has ended
    """

    config: SimulateConfig
    declared: Declaration
    simulation: Simulation
    build_seconds: float
    tally: Tally
    comm: Communicator
    id: str
    saved: float = 0.0
    parts: int = 0
    spikes: dict[str, list[SpikeTrains]] = field(default_factory=dict)
    whole: dict[str, SpikeTrains] = field(default_factory=dict)

    @property
    def begin(self) -> float:
        """End of the warm-up, ms."""
        return self.config.warmup

    @property
    def threads(self) -> int:
        """Threads that the engine uses."""
        return self.config.threads if self.simulation.driver == "window" else 1

    @property
    def idle_ranks(self) -> int:
        """Ranks that have no neurons to simulate."""
        return getattr(self.simulation.engine, "idle_ranks", 0)

    @property
    def end(self) -> float:
        """Time reached, ms."""
        return self.simulation.time

    @property
    def total(self) -> float:
        """Time at which the run is complete, ms, the warm-up included."""
        return self.config.warmup + self.declared.t_stop

    def trains(self) -> dict[str, SpikeTrains]:
        """All recorded spikes of a run that has ended, ms since the start of the simulation."""
        return self.whole


def declare(config: SimulateConfig) -> Declaration:
    """The network that is asked for.

    Raises
    ------
    NetworkError : neither a preset nor a network file, or a file that declares no possible network
    ValueError : times that are not > 0, a scale for a file, a file that does not say how long and no t_stop
    DataError : a spike file that cannot be read
    """
    if not (np.isfinite(config.warmup) and config.warmup >= 0.0):
        raise InputError(f"warmup must be finite and >= 0 ms; got {config.warmup}.")
    if config.network in PRESETS:
        net = preset(config.network, config.scale, config.seed)
        declared = Declaration(net, {}, PRESETS[config.network][1], config.network)
    else:
        declared = _from_file(config)
    if config.t_stop is not None:
        declared = replace(declared, t_stop=config.t_stop)
    for name, value in (("t_stop", declared.t_stop), ("chunk", config.chunk)):
        if value is not None and not (np.isfinite(value) and value > 0.0):
            raise InputError(f"{name} must be finite and > 0 ms; got {value}.")
    return declared


def _from_file(config: SimulateConfig) -> Declaration:
    path = find_file(config.network)
    if not path.is_file():
        raise NetworkError(
            f"{config.network!r} is neither a preset nor a file; presets are {', '.join(PRESETS)}, and a file is a "
            f"network in TOML, as the example {EXAMPLES / 'network.toml'} (by its name: network)."
        )
    if config.scale != 1.0:
        raise InputError("scale is for presets; change the sizes in the file instead.")
    file = load_network(path, config.seed)
    if file.t_stop is None and config.t_stop is None:
        raise InputError(f"{path} does not say how long to simulate; add t_stop (ms) to it, or give --t-stop.")
    inputs = {}
    for name, size in file.network.inputs.items():
        if name not in file.files:
            raise NetworkError(f"{path}: the input {name!r} has no spikes; add file = '...' to [inputs.{name}].")
        inputs[name] = load_spikes(file.files[name], name, size)
    source = {k: v for k, v in file.tree.items() if k != "t_stop"}
    return Declaration(file.network, inputs, file.t_stop or 0.0, source)


def load_spikes(path: Path, name: str, size: int) -> SpikeTrains:
    """Spikes of an input from a recording (.h5; the population ``name``, or the only one) or from text.

    Text has two columns, time in ms and source, separated by blanks or a comma; # begins a comment.

    Raises DataError : no such spikes, or sources beyond ``size``.
    """
    if path.suffix in (".h5", ".hdf5"):
        spikes = runs.load_recording(path).spikes
        if name not in spikes and len(spikes) != 1:
            raise DataError(f"{path} holds {', '.join(spikes)}; none of them is {name!r}. Name the input like one.")
        train = spikes[name] if name in spikes else next(iter(spikes.values()))
        times, sources = train.times, train.neurons.astype(np.float64)
    else:
        times, sources = read_spikes(path)
    if np.any(sources != np.floor(sources)) or np.any((sources < 0) | (sources >= size)):
        raise DataError(f"{path}: sources of the input {name!r} must be integers 0 ... {size - 1}; got others.")
    return SpikeTrains(times, sources.astype(np.int64), size)


def tiny(network: Network) -> Network:
    """A network of the same kinds of neurons, synapses and drives, but of a few neurons: it needs the same kernels."""
    small = Network(inputs={name: _TINY for name in network.inputs})
    for name, population in network.populations.items():
        neuron = population.neuron
        few = {
            k: tuple(_few(tau, _TINY) for tau in v) if isinstance(v, tuple) else _few(v, _TINY)
            for k, v in neuron.asdict().items()
        }
        small.add_population(name, _TINY, neuron.with_(**few))
    for p in network.projections:
        # As all-to-all connections without a delay may be refused where those of the network are not. Delays that are
        # drawn may be so small that the window engine, which needs no other kernels for them, would take minutes.
        delay = 1.0 if is_distribution(p.delay) else _few(p.delay, (_TINY, _TINY)) + 1.0
        weight = p.weight if is_distribution(p.weight) else _few(p.weight, (_TINY, _TINY))
        small.connect(p.source, p.target, weight=weight, delay=delay)
    for d in network.drives:
        small.add_poisson(d.target, rate=_few(d.rate, _TINY), weight=d.weight, rate_max=d.rate_max)
    return small


def _few(value: Any, shape: int | tuple[int, ...]) -> Any:
    """Some of many values; a number as it is."""
    return value if np.ndim(value) == 0 else np.resize(value, shape)

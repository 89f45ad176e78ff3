"""A simulation that goes on: in chunks of any length, saved and resumed at any instant, always the same bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from evsim import streams
from evsim.checks import number
from evsim.description.network import NetworkDescription
from evsim.description.snapshot import changes, take_snapshot
from evsim.engine.door import after, check_options, checked_inputs, recorded_neurons
from evsim.engine.feed import NOTHING, Feed
from evsim.engine.make import DRIVERS, make_engine
from evsim.engine.state_check import checked_progress, refuse, spikes, table
from evsim.errors import InputError, NetworkError, warn_of_grazing
from evsim.ranks.given import check_same, ranks_of
from evsim.results.recording import Recording
from evsim.spikes import SpikeTrains
from evsim.synapses.sampling import names_of_sampled

_PIECES = 200
_WINDOWS = 50
"""A run tells its progress at most so often, and not before so many windows."""


class _Position(NamedTuple):
    """How far a simulation has come; replaced as a whole, so that no interrupt leaves it half changed.

    time : to which the engine has come, or will be brought before anything else; feed : the inputs it is given
    given : inputs that no recording has told of, by name; parts : spikes that no recording has told of, those before
    ``collected`` ms; since : time, events and grazing peaks of the last recording
    """

    time: float = 0.0
    feed: Feed = NOTHING
    given: Mapping[str, SpikeTrains] = {}
    parts: tuple[tuple[np.ndarray, ...], ...] = ()
    collected: float = 0.0
    since: tuple[float, int, int] = (0.0, 0, 0)


class Simulation:
    """A network being simulated.

    It can be interrupted at any moment, by Ctrl-C or any other exception, and goes on as if it had not been: the next
    call returns what was left, too. ``time`` then says how far it has come, inputs given to the interrupted call stay.

    >>> sim = Simulation(net, seed=1, threads=2)
    >>> first = sim.advance(100.0)          # 0 ... 100 ms
    >>> second = sim.advance(50.0)          # 100 ... 150 ms

    Parameters
    ----------
    network : kept as it is now; see ``take_snapshot``
    seed : integer >= 0, of random connectivity and Poisson drive
    threads : used by the window engine; no result depends on it
    driver : "auto", "queue" (any network) or "window" (every delay between neurons > 0)
    record : population name -> neuron numbers whose spikes are kept; populations not named are kept whole
    state : what ``state()`` of a simulation of the same network, seed and driver gave; it is continued
    once : the run is one call of ``advance``; then the sweep (feed-forward networks) can be taken, too
    comm : a communicator of mpi4py, whose ranks share the network and all make the same calls; each gets the whole
        recording. What interrupts one of them ends them all

    Raises
    ------
    NetworkError : no population, a network that the engine cannot run or the memory cannot hold
    ValueError : unknown driver or population, neuron numbers out of range, a state of another network
    """

    def __init__(
        self,
        network: NetworkDescription,
        *,
        seed: int = 0,
        threads: int = 1,
        driver: str = "auto",
        record: Mapping[str, ArrayLike] | None = None,
        state: Mapping[str, Any] | None = None,
        once: bool = False,
        comm: Any = None,
    ) -> None:
        check_options(seed, threads, driver, DRIVERS if once else DRIVERS[:-1])
        if not network.populations:
            raise NetworkError("the network has no population to simulate; add one with add_population.")
        self._declared = network
        self.network = take_snapshot(network)
        self.seed = int(seed)
        self._position = _Position()
        self._record = recorded_neurons(self.network, record)
        self._ranks = ranks_of(comm)
        if self._ranks.size > 1:
            check_same(self._ranks, "the seed", self.seed)
            check_same(self._ranks, "the network", _fingerprint(self.network, self.seed))
        self.engine = make_engine(self.network, driver, self.seed, int(threads), once, self._ranks)
        self._once = once
        if state is not None:
            self._resume(state)

    @property
    def driver(self) -> str:
        """Name of the engine: "queue", "window", or, for a run that is made ``once``, "sweep"."""
        return self.engine.name

    @property
    def time(self) -> float:
        """Time reached, ms."""
        return self._position.time

    def advance(
        self,
        duration: float,
        inputs: Mapping[str, SpikeTrains] | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        """Simulate the next ``duration`` ms and return their spikes; see ``advance_to``."""
        duration = number("duration", duration, unit="ms", above=0.0)
        return self.advance_to(self.time + duration, inputs, progress=progress)

    def advance_to(
        self,
        stop: float,
        inputs: Mapping[str, SpikeTrains] | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        """Simulate up to ``stop`` ms and return the spikes since the last call.

        inputs : spikes of the declared inputs at times >= ``time``; those after the interval are kept for later.
            One that is not named has no further spikes; a simulation for one run (``once``) wants all of them
        progress : called with the time reached, ms; what it raises ends the call as an interrupt would

        Raises
        ------
        ValueError : an end that is not after ``time``, inputs that are unknown, of the wrong size, before ``time``, or
            missing in a simulation for one run
        NetworkError : the network was changed after the simulation was made; a second call where it was for one
        RunawayError : neurons that spike without bound, or more spikes than the memory holds
        """
        left = self._position.since[0] < self.time
        stop = after("the end", stop, self.time, or_equal=left)
        if changed := changes(self._declared, self.network):
            raise NetworkError(
                f"the network was changed after this Simulation was made of it ({changed}), and it would not count. "
                "Make a new Simulation of it."
            )
        if self._once and self.time > 0.0 and not left:
            raise NetworkError("this Simulation was made for one run (once=True), which is done. Make another one.")
        given = checked_inputs(self.network, inputs, self.time, self._once)
        if self._ranks.size > 1:
            check_same(self._ranks, "the end, ms", stop)
            check_same(self._ranks, "the input spikes", _hash_of(given))
        self._settle()
        self._position = self._fed(given)
        self._settle()
        for t in self._stops(stop):
            # Said before it is done: an interrupted piece is completed before anything else.
            self._position = self._position._replace(time=t)
            self._settle()
            if progress is not None:
                progress(t)
        recording = self._recording()
        warn_of_grazing(recording.grazing)
        p = self._position
        done = p._replace(
            feed=NOTHING._replace(number=p.feed.number), given={}, parts=(),
            since=(p.time, self.engine.events, self.engine.grazing),
        )  # fmt: skip
        # The last step: it is not done before all else is, and nothing after it can be interrupted.
        self._position = done
        return recording

    def _settle(self) -> None:
        """Bring the engine to where the simulation says that it is, and collect its spikes."""
        p = self._position
        self.engine.run_to(p.time, p.feed, p.collected)
        if p.collected < p.time:
            spikes = self.engine.spikes(p.collected, p.time)
            self._position = p._replace(parts=(*p.parts, spikes), collected=p.time)

    def _fed(self, given: Mapping[str, SpikeTrains]) -> _Position:
        """The position with further inputs."""
        p = self._position
        times = np.concatenate([np.empty(0), *(t.times for t in given.values())])
        sources = np.concatenate(
            [np.empty(0, np.int64), *(t.neurons + self.engine.offset[k] for k, t in given.items())]
        )
        both = {k: _together(p.given[k], t) if k in p.given else t for k, t in given.items()}
        return p._replace(feed=Feed(p.feed.number + 1, times, sources), given={**p.given, **both})

    def __repr__(self) -> str:
        return f"Simulation({self.network!r}, driver {self.driver!r}, seed {self.seed}, at {self.time:g} ms)"

    def state(self) -> dict[str, Any]:
        """Everything but the network, as a tree of plain values: ``evsim.io.runs.save_state`` writes it.

        Valid at any time, after an interrupt too; the piece that was interrupted is completed first.
        """
        self._settle()
        p = self._position
        return {
            "time": self.time,
            "seed": self.seed,
            "driver": self.driver,
            "synapses": self.engine.n_synapses,
            "network": _fingerprint(self.network, self.seed),
            "emitted": [list(part) for part in p.parts],
            "given": {name: [t.times, t.neurons] for name, t in p.given.items()},
            "since": list(p.since),
            "engine": self.engine.state(),
        }

    def _resume(self, state: Mapping[str, Any]) -> None:
        table(state, "state", "seed", "driver", "synapses", "network")
        for name, here in (("seed", self.seed), ("driver", self.driver), ("synapses", self.engine.n_synapses)):
            if not isinstance(state[name], (int, np.integer, str)) or state[name] != here:
                raise InputError(
                    f"this state belongs to another simulation: its {name} is {state[name]}, here it is {here}. "
                    "Resume with the same network, seed and driver."
                )
        saved = state["network"] if isinstance(state["network"], str) else ""
        if saved != _fingerprint(self.network, self.seed):
            if saved == _fingerprint(self.network, None):
                raise InputError(
                    "this state was saved by an earlier version of evsim, which draws other synapses or drive for this "
                    "network and seed. Simulate it from the start, or continue with the version that saved it."
                )
            raise InputError("this state belongs to another simulation: its network is declared differently.")
        time, emitted, since = checked_progress(state, sum(p.size for p in self.network.populations.values()))
        trains = {}
        for name, pair in table(state.get("given", {}), "given").items():
            if name not in self.network.inputs:
                refuse("given", f"names an input {name!r} that the network has not")
            size = self.network.inputs[name]
            times, neurons = spikes(pair, f"given/{name}", (np.float64, np.int32), size)
            trains[name] = SpikeTrains(times, neurons, size)
        self.engine.set_state(state["engine"], time)
        self._position = _Position(
            time, given=trains, parts=tuple(tuple(part) for part in emitted), collected=time, since=since
        )

    def _stops(self, stop: float) -> list[float]:
        """Where to pause on the way, at borders of windows, and the end."""
        window = self.engine.pause
        if stop == self.time:
            return []
        step = window * max(_WINDOWS, int((stop - self.time) / window / _PIECES))
        k = np.arange(int(self.time / step) + 1, int(np.ceil(stop / step)))
        return [*(step * k).tolist(), stop]

    def _recording(self) -> Recording:
        times, neurons, all_currents = (np.concatenate(x) for x in zip(*self._position.parts))
        start, events, grazing = self._position.since
        spikes, currents = {}, {}
        for name, population in self.network.populations.items():
            first = self.engine.offset[name] - self.engine.n_inputs
            local = neurons - np.int32(first)
            of_population = (local >= 0) & (local < population.size)
            if name in self._record:
                of_population[of_population] = self._record[name][local[of_population]]
            spikes[name] = SpikeTrains(times[of_population], local[of_population], population.size)
            currents[name] = all_currents[of_population]
        silent = {k: SpikeTrains([], np.empty(0, np.int64), n) for k, n in self.network.inputs.items()}
        return Recording(
            spikes, self.time, {**silent, **self._position.given}, currents, self.network, self.driver, self.seed,
            self.engine.events - events, self.engine.grazing - grazing, start, self.engine.c, not self._record,
            self.engine.weights(),
        )  # fmt: skip


def _together(a: SpikeTrains, b: SpikeTrains) -> SpikeTrains:
    return SpikeTrains(np.concatenate([a.times, b.times]), np.concatenate([a.neurons, b.neurons]), a.size)


def _hash_of(trains: Mapping[str, SpikeTrains]) -> str:
    digest = hashlib.sha256()
    for name, train in sorted(trains.items()):
        digest.update(name.encode())
        digest.update(train.times.tobytes())
        digest.update(train.neurons.tobytes())
    return digest.hexdigest()


def _fingerprint(network: NetworkDescription, seed: int | None) -> str:
    """Of all that is declared, but for functions, which cannot be compared; and of the streams that version 1 had not.

    seed : None leaves these out, as version 1 did
    """
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if callable(value) or hasattr(value, "rvs"):
            digest.update(b"drawn")
        elif hasattr(value, "tocoo"):
            coo = value.tocoo()
            for part in (coo.row, coo.col, coo.data):
                digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(value, np.ndarray):
            digest.update(value.tobytes())
        else:
            digest.update(repr(value).encode())

    for name, size in network.inputs.items():
        add((name, size))
    for name, population in network.populations.items():
        add((name, population.size))
        for value in population.neuron.asdict().values():
            for part in value if isinstance(value, tuple) else (value,):
                add(part)
    for p in network.projections:
        for value in (p.source, p.target, p.rule, p.plasticity, p.weight, p.delay):
            add(value)
    for drive in network.drives:
        for value in (drive.target, drive.rate, drive.weight, drive.rate_max):
            add(value)
    if seed is not None:
        sizes = [network.populations[p.target].size for p in network.projections]
        names: list[Any] = []
        for k, (p, size) in enumerate(zip(network.projections, sizes)):
            names += names_of_sampled(p, k, size, seed)
        for k in range(len(network.drives)):
            names += streams.renamed("drive", seed, k, 0)
        # Nothing is added where there are none: states of version 1 stay what they are.
        if names:
            add(names)
    return digest.hexdigest()

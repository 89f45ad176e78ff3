"""A network as its user declares it: inputs, populations, projections. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from evsim.connect import Projection, Rule, check_projection
from evsim.connection_list import ConnectionList
from evsim.drive import PoissonDrive
from evsim.errors import NetworkError
from evsim.plasticity import STDP
from evsim.types import LIF, SpikeTrains

if TYPE_CHECKING:
    from evsim.recording import Recording


@dataclass(frozen=True, eq=False)
class Population:
    """``size`` neurons with the parameters ``neuron``."""

    size: int
    neuron: LIF


@dataclass(eq=False)
class Network:
    """Inputs, populations of LIF neurons, and the projections between them.

    >>> net = Network()
    >>> net.add_input("in", size=2)
    >>> net.add_population("out", size=3, neuron=LIF(t_ref=2.0))
    >>> net.connect("in", "out", weight=0.5, delay=1.0)
    """

    inputs: dict[str, int] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    projections: list[Projection] = field(default_factory=list)
    drives: list[PoissonDrive] = field(default_factory=list)

    def add_input(self, name: str, size: int) -> None:
        """Declare ``size`` sources whose spikes are given to ``simulate``."""
        self._new_name(name, size)
        self.inputs[name] = int(size)

    def add_population(self, name: str, size: int, neuron: LIF) -> None:
        """Declare ``size`` neurons. Array parameters of ``neuron`` must have one value per neuron.

        Raises NetworkError : name taken, size < 1, or parameter arrays of another length.
        """
        self._new_name(name, size)
        for key, value in neuron.asdict().items():
            for part in value if isinstance(value, tuple) else (value,):
                shape = np.shape(part) if part is not None else ()
                if shape not in ((), (size,)):
                    raise NetworkError(
                        f"population {name!r} has size {size}, but {key} has shape {shape}; "
                        f"give one number or {size}."
                    )
        self.populations[name] = Population(int(size), neuron)

    def connect(
        self,
        source: str,
        target: str,
        *,
        weight: Any,
        delay: Any = 0.0,
        rule: Rule | None = None,
        pre: ArrayLike | None = None,
        post: ArrayLike | None = None,
        plasticity: STDP | None = None,
    ) -> int:
        """Connect an input or population to a population.

        Parameters
        ----------
        weight : number, (pre, post) array, or scipy.sparse matrix (only its entries are synapses, also those that hold
            0); with a ``rule``, or ``pre`` and ``post``: a number, or one number per synapse in their order, which is
            that of ``Recording.synapses``. Or a distribution: a frozen one of scipy.stats, or a function of
            (Generator, n) that gives n numbers; these are kept as float32
        delay : ms, >= 0; a number, or like ``weight``; sparse delays have the entries of the weights, in any order
        rule : AllToAll(), OneToOne(), FixedIndegree(k), FixedOutdegree(k), FixedTotalNumber(n), Bernoulli(p), which
            say what their order is; None: all pairs, or the sparse entries
        pre, post : (n,) integers, in place of a rule: synapse i leads from ``pre[i]`` to ``post[i]``; pairs may repeat
        plasticity : STDP(...): the weights change at exact times (queue driver)

        Returns the number of the projection, by which ``Recording.weights`` names it.

        Raises NetworkError : unknown names, wrong shapes, NaN weights, negative delays, more synapses than a rule
            without multapses can draw, weights outside the bounds of their plasticity (drawn ones: once drawn).
        """
        n_pre, n_post = self.size_of(source), self.size_of(target)
        if target in self.inputs:
            raise NetworkError(f"{target!r} is an input; spikes can only be sent to a population.")
        if pre is not None or post is not None:
            where = f"connect({source!r}, {target!r})"
            if pre is None or post is None:
                given = "pre" if post is None else "post"
                raise NetworkError(f"{where}: pre and post belong together; got only {given}.")
            if rule is not None:
                raise NetworkError(f"{where}: give a rule, or pre and post, not both.")
            try:
                rule = ConnectionList(cast(Any, pre), cast(Any, post))
            except ValueError as error:
                raise NetworkError(f"{where}: {error}") from None
        projection = Projection(source, target, weight, delay, rule, plasticity)
        check_projection(projection, n_pre, n_post)
        self.projections.append(projection)
        return len(self.projections) - 1

    def add_poisson(self, target: str, *, rate: Any, weight: float, rate_max: float | None = None) -> None:
        """Drive every neuron of a population with a Poisson process of its own, in continuous time.

        Parameters
        ----------
        rate : Hz, >= 0; a number, (size,) array, or a function of times (n,) in ms that gives (n,) Hz
        weight : of every event, threshold units
        rate_max : Hz, bound of a rate that is a function

        Raises NetworkError : unknown population, rates or weights that are not finite, a function without bound.
        """
        if target not in self.populations:
            known = ", ".join(self.populations) or "none yet"
            raise NetworkError(f"add_poisson drives a population; there is none named {target!r}. Known: {known}.")
        drive = PoissonDrive(target, rate, float(weight), rate_max)
        if np.shape(drive.rate) not in ((), (self.size_of(target),)):
            raise NetworkError(
                f"add_poisson({target!r}): rate must be a number or have shape ({self.size_of(target)},); "
                f"got {np.shape(drive.rate)}."
            )
        self.drives.append(drive)

    def size_of(self, name: str) -> int:
        """Number of sources or neurons behind a name; NetworkError if it is unknown."""
        if name in self.inputs:
            return self.inputs[name]
        if name in self.populations:
            return self.populations[name].size
        known = ", ".join([*self.inputs, *self.populations]) or "none yet"
        raise NetworkError(f"no input or population is named {name!r}; known: {known}.")

    def simulate(
        self, t_stop: float, inputs: Mapping[str, SpikeTrains] | None = None, **options: Any
    ) -> Recording:
        """Simulate [0, t_stop) ms and return all spikes; options: see ``evsim.simulate.simulate``."""
        from evsim.simulate import simulate

        return simulate(self, t_stop, inputs, **options)

    def run(
        self, t_stop: float, chunk: float, inputs: Mapping[str, SpikeTrains] | None = None, **options: Any
    ) -> Iterator[Recording]:
        """Simulate [0, t_stop) ms in chunks of ``chunk`` ms; see ``evsim.simulate.run``."""
        from evsim.simulate import run

        return run(self, t_stop, chunk, inputs, **options)

    def _new_name(self, name: str, size: int) -> None:
        if name in self.inputs or name in self.populations:
            raise NetworkError(f"the name {name!r} is taken; names of inputs and populations are unique.")
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise NetworkError(f"{name!r} must have an integer size >= 1; got {size!r}.")

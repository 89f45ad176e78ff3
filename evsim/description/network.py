"""A network as its user declares it: inputs, populations, projections. Nothing is computed here."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from evsim.checks import frozen, number, numbers
from evsim.description.connection_list import ConnectionList
from evsim.description.connectivity import ConnectionRule
from evsim.description.plasticity import STDP
from evsim.description.poisson import PoissonDrive
from evsim.description.projections import Projection, check_projection, is_distribution
from evsim.errors import InputError, NetworkError
from evsim.neurons.lif import LIF


@dataclass(frozen=True, eq=False)
class Population:
    """``size`` neurons with the parameters ``neuron``."""

    size: int
    neuron: LIF


@dataclass(eq=False)
class NetworkDescription:
    """Inputs, populations of LIF neurons, and the projections between them.

    A network is built, then simulated. A simulation and its recording keep the network as it was when they were made
    (``snapshot``), so that later changes count for later simulations only. Given arrays are copied.

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

        Raises NetworkError : name taken, size < 1, no LIF, or parameter arrays of another length.
        """
        self._new_name(name, size)
        check_population(name, size, neuron)
        self.populations[name] = Population(int(size), neuron)

    def connect(
        self,
        source: str,
        target: str,
        *,
        weight: Any,
        delay: Any = 0.0,
        rule: ConnectionRule | None = None,
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
        plasticity : STDP(...): the weights change at exact times (queue engine)

        Returns the number of the projection, by which ``Recording.weights`` names it.

        Raises NetworkError : unknown names, wrong shapes, NaN weights, negative delays, more synapses than a rule
            without multapses can draw, weights outside the bounds of their plasticity (drawn ones: once drawn).
        """
        n_pre, n_post = self.size_of(source), self.size_of(target)
        if target in self.inputs:
            raise NetworkError(f"{target!r} is an input; spikes can only be sent to a population.")
        where = f"connect({source!r}, {target!r})"
        if pre is not None or post is not None:
            if pre is None or post is None:
                named = "pre" if post is None else "post"
                raise NetworkError(f"{where}: pre and post belong together; got only {named}.")
            if rule is not None:
                raise NetworkError(f"{where}: give a rule, or pre and post, not both.")
            with _named(where):
                rule = ConnectionList(cast(Any, pre), cast(Any, post))
        with _named(where):
            weight, delay = _owned("weight", weight, None), _owned("delay", delay, "ms")
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
        with _named(f"add_poisson({target!r})"):
            if not callable(rate):
                rate = numbers("rates", rate, unit="Hz")
            if rate_max is not None:
                rate_max = number("rate_max", rate_max, unit="Hz", low=0.0)
            weight = number("weight", weight)
        drive = PoissonDrive(target, rate, weight, rate_max)
        check_rate(drive, self.size_of(target))
        self.drives.append(drive)

    def size_of(self, name: str) -> int:
        """Number of sources or neurons behind a name; NetworkError if it is unknown."""
        if name in self.inputs:
            return self.inputs[name]
        if name in self.populations:
            return self.populations[name].size
        known = ", ".join([*self.inputs, *self.populations]) or "none yet"
        raise NetworkError(f"no input or population is named {name!r}; known: {known}.")

    def copy(self) -> Self:
        """A network with the same parts, which can be changed by itself."""
        return type(self)(dict(self.inputs), dict(self.populations), list(self.projections), list(self.drives))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name} {size:,}" for name, size in self.inputs.items())
        populations = ", ".join(f"{name} {p.size:,}" for name, p in self.populations.items())
        return (
            f"Network(inputs: {inputs or 'none'}; populations: {populations or 'none'}; "
            f"{len(self.projections)} projections, {len(self.drives)} Poisson drives)"
        )

    def _new_name(self, name: str, size: int) -> None:
        if not isinstance(name, str):
            raise NetworkError(f"names of inputs and populations are text; got {name!r}.")
        if name in self.inputs or name in self.populations:
            raise NetworkError(f"the name {name!r} is taken; names of inputs and populations are unique.")
        check_size(name, size)


def check_population(name: str, size: int, neuron: LIF) -> None:
    """Raise NetworkError unless ``neuron`` is a LIF whose arrays have ``size`` values, and there is a size."""
    check_size(name, size)
    if not isinstance(neuron, LIF):
        raise NetworkError(f"population {name!r} needs neuron = LIF(...); got {neuron!r}.")
    for key, value in neuron.asdict().items():
        for part in value if isinstance(value, tuple) else (value,):
            shape = np.shape(part) if part is not None else ()
            if shape not in ((), (size,)):
                raise NetworkError(
                    f"population {name!r} has size {size}, but {key} has shape {shape}; give one number or {size}."
                )


def check_rate(drive: PoissonDrive, size: int) -> None:
    """Raise NetworkError unless a rate given by neuron has ``size`` values."""
    if np.shape(drive.rate) not in ((), (size,)):
        raise NetworkError(
            f"add_poisson({drive.target!r}): rate must be a number or have shape ({size},); got {np.shape(drive.rate)}."
        )


def check_size(name: str, size: int) -> None:
    """Raise NetworkError unless ``size`` is an integer >= 1."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise NetworkError(f"{name!r} must have an integer size >= 1; got {size!r}.")


def _owned(name: str, value: Any, unit: str | None) -> Any:
    """Weights or delays as a network keeps them: numbers as they are, copies of arrays and sparse matrices."""
    if hasattr(value, "tocoo"):
        if len(value.shape) != 2:
            raise NetworkError(f"a sparse {name} must have two dimensions, (pre, post); got shape {value.shape}.")
        try:
            coo = value.tocoo(copy=True)
        except ValueError as error:
            raise NetworkError(
                f"{name} is a damaged sparse matrix: it has entries outside of its shape ({error})."
            ) from error
        coo.data = np.atleast_1d(numbers(name, coo.data))
        coo.row, coo.col = frozen(coo.row), frozen(coo.col)
        return coo
    if hasattr(value, "rvs"):
        # A frozen distribution of scipy.stats holds the arrays that it was given.
        return copy.deepcopy(value)
    return value if is_distribution(value) else numbers(name, value, unit=unit)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say at which door an error of a value came up."""
    try:
        yield
    except InputError as error:
        raise NetworkError(f"{where}: {error}") from error

"""A network as it was at one moment: what a simulation runs on and a recording keeps, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, TypeVar

from evsim.description.network import NetworkDescription, Population, check_population, check_rate, check_size
from evsim.description.poisson import PoissonDrive
from evsim.description.projections import Projection, check_projection
from evsim.errors import NetworkError

K = TypeVar("K")
V = TypeVar("V")


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise NetworkError(
        "this is the network as it was simulated, and it stays so. Change a copy of it, network.copy(), or the network "
        "that you built, and simulate that."
    )


class _ReadOnly(dict[K, V]):
    """A dictionary that refuses to be changed."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[K, V]]]:
        return type(self), (dict(self),)


class Snapshot(NetworkDescription):
    """An unchangeable network. Its values are those of the original: they are frozen and own their arrays.

    original : the class of what it was taken of; it has the same verbs
    """

    original: ClassVar[type[NetworkDescription]] = NetworkDescription

    def __init__(self, network: NetworkDescription) -> None:
        fields = {
            "inputs": _ReadOnly(network.inputs),
            "populations": _ReadOnly(network.populations),
            "projections": tuple(network.projections),
            "drives": tuple(network.drives),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse()

    _new_name = connect = add_poisson = _refuse

    def copy(self) -> Any:
        """A network of the original class with the same parts, which can be changed by itself."""
        return self.original(dict(self.inputs), dict(self.populations), list(self.projections), list(self.drives))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[NetworkDescription]]:
        return take_snapshot, (self.copy(),)


def _snapshot_of(original: type[NetworkDescription]) -> type[Snapshot]:
    return type("Snapshot", (Snapshot, original), {"original": original, "__doc__": Snapshot.__doc__})


def take_snapshot(network: NetworkDescription) -> Snapshot:
    """The network of now, checked: its parts may have been put there by hand. A snapshot itself is returned as it is.

    Raises NetworkError : parts of another type, sizes or shapes that do not fit.
    """
    if isinstance(network, Snapshot):
        return network
    for name, size in network.inputs.items():
        check_size(name, size)
        if name in network.populations:
            raise NetworkError(f"{name!r} is the name of an input and of a population.")
    for name, population in network.populations.items():
        if not isinstance(population, Population):
            kind = type(population).__name__
            raise NetworkError(f"population {name!r} must be a Population(size, neuron); got {kind}.")
        check_population(name, population.size, population.neuron)
    for p in network.projections:
        if not isinstance(p, Projection):
            raise NetworkError(f"projections must be made by connect; got {type(p).__name__}.")
        if p.target not in network.populations:
            raise NetworkError(f"{p}: there is no population {p.target!r}.")
        check_projection(p, network.size_of(p.source), network.size_of(p.target))
    for drive in network.drives:
        if not isinstance(drive, PoissonDrive):
            raise NetworkError(f"drives must be made by add_poisson; got {type(drive).__name__}.")
        if drive.target not in network.populations:
            raise NetworkError(f"add_poisson({drive.target!r}): there is no population of that name.")
        check_rate(drive, network.size_of(drive.target))
    return _snapshot_of(type(network))(network)


def changes(network: NetworkDescription, snapshot: NetworkDescription) -> str:
    """What of a network is no longer as in its snapshot, in words; "" if nothing."""
    said = []
    for kind, now, then in (
        ("input", network.inputs, snapshot.inputs),
        ("population", network.populations, snapshot.populations),
    ):
        for name in {**then, **now}:
            # Values are frozen: a change puts another object in their place.
            if name not in now:
                said.append(f"{kind} {name!r} was removed")
            elif name not in then:
                said.append(f"{kind} {name!r} was added")
            elif now[name] is not then[name] and not (kind == "input" and now[name] == then[name]):
                said.append(f"{kind} {name!r} was replaced")
    for what, new, old in (
        ("projection", network.projections, snapshot.projections),
        ("Poisson drive", network.drives, snapshot.drives),
    ):
        if len(new) != len(old):
            said.append(f"there are {len(new)} {what}s where there were {len(old)}")
        elif any(a is not b for a, b in zip(new, old)):
            said.append(f"a {what} was replaced")
    if list(network.populations) != list(snapshot.populations) and not said:
        said.append("the populations have another order")
    return "; ".join(said)

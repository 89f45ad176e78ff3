"""A network from a TOML file; ``docs/network.toml`` shows every table.

Values of neurons and synapses are numbers, lists of numbers, or distributions
``{dist = "norm", loc = 1.5, scale = 0.75, min = 0.1}``: a continuous distribution of scipy.stats with its
parameters, and bounds; what falls outside is drawn again. Times in ms, rates in Hz.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evsim import streams
from evsim.description.connection_list import read_connection_list
from evsim.description.connectivity import (
    AllToAll,
    Bernoulli,
    ConnectionRule,
    FixedIndegree,
    FixedOutdegree,
    FixedTotalNumber,
    OneToOne,
)
from evsim.description.distributions import Truncated
from evsim.errors import DataError, NetworkError
from evsim.network import Network
from evsim.neurons.lif import LIF
from evsim.text_files import read_toml
from evsim.types import Floats

_RULES: dict[str, tuple[type[ConnectionRule], tuple[str, ...], tuple[str, ...]]] = {
    "AllToAll": (AllToAll, (), ("autapses",)),
    "OneToOne": (OneToOne, (), ()),
    "FixedIndegree": (FixedIndegree, ("indegree",), ("multapses", "autapses")),
    "FixedOutdegree": (FixedOutdegree, ("outdegree",), ("multapses", "autapses")),
    "FixedTotalNumber": (FixedTotalNumber, ("synapses",), ("multapses", "autapses")),
    "Bernoulli": (Bernoulli, ("p",), ("autapses",)),
}
"""Each rule with the keys that it needs, and its switches."""

_NEURON = tuple(f.name for f in fields(LIF))


@dataclass(frozen=True)
class Declared:
    """What a file declares.

    files : the spike file of each input that has one; t_stop : ms, or None; tree : the file, parsed
    """

    network: Network
    files: dict[str, Path]
    t_stop: float | None
    tree: Mapping[str, Any]


def load_network(path: str | os.PathLike[str], seed: int = 0) -> Declared:
    """Read a network from a TOML file. seed : of drawn parameters of neurons, such as initial potentials.

    Raises
    ------
    FileNotFoundError, OSError : the file cannot be read.
    NetworkError : not TOML, unknown or missing keys, or values that no network can have.
    """
    file = Path(path)
    try:
        tree = read_toml(file)
    except DataError as error:
        raise NetworkError(str(error)) from error
    try:
        return declare(tree, file.parent, seed)
    except NetworkError as error:
        raise NetworkError(f"{file}: {error}") from error


def declare(tree: Mapping[str, Any], folder: Path = Path(), seed: int = 0) -> Declared:
    """The network that a parsed file declares. folder : that files are named from.

    Raises NetworkError : see ``load_network``.
    """
    _check("the file", tree, (), ("t_stop", "inputs", "populations", "connect", "poisson"))
    net = Network()
    files = {}
    for name, table in _tables(tree, "inputs"):
        where = f"[inputs.{name}]"
        _check(where, table, ("size",), ("file",))
        with _named(where):
            net.add_input(name, table["size"])
            if "file" in table:
                files[name] = folder / table["file"]
    for k, (name, table) in enumerate(_tables(tree, "populations")):
        where = f"[populations.{name}]"
        _check(where, table, ("size",), _NEURON)
        with _named(where):
            net.add_population(name, table["size"], _neuron(table, seed, k))
    for k, table in enumerate(_list(tree, "connect")):
        _connect(net, f"[[connect]] number {k + 1}", table, folder)
    for k, table in enumerate(_list(tree, "poisson")):
        where = f"[[poisson]] number {k + 1}"
        _check(where, table, ("target", "rate", "weight"), ())
        with _named(where):
            net.add_poisson(table["target"], rate=_numbers(table["rate"]), weight=_number(table["weight"]))
    t_stop = tree.get("t_stop")
    return Declared(net, files, None if t_stop is None else _number(t_stop), tree)


def _neuron(table: Mapping[str, Any], seed: int, population: int) -> LIF:
    parameters: dict[str, Any] = {}
    for k, name in enumerate(_NEURON):
        if name not in table:
            continue
        value = table[name]
        with _named(name):
            if name == "keep_refractory_input":
                parameters[name] = value
            elif name == "tau_syn" and value == "delta":
                parameters[name] = None
            elif name == "tau_syn":
                parameters[name] = _tau_syn(value, table["size"], streams.rng("parameters", seed, population, k))
            elif isinstance(value, dict):
                parameters[name] = _distribution(value)(streams.rng("parameters", seed, population, k), table["size"])
            else:
                parameters[name] = _numbers(value)
    return LIF(**parameters)


def _tau_syn(value: Any, size: int, rng: np.random.Generator) -> Any:
    """A number, a list of one for each neuron, [excitatory, inhibitory], or a table that says which."""
    if isinstance(value, dict) and "dist" not in value:
        if "per_neuron" in value:
            _check("tau_syn", value, ("per_neuron",), ())
            return np.asarray(_numbers(value["per_neuron"]))
        _check("tau_syn", value, ("excitatory", "inhibitory"), ())
        return _numbers(value["excitatory"]), _numbers(value["inhibitory"])
    if isinstance(value, dict):
        return _distribution(value)(rng, size)
    if not isinstance(value, list) or len(value) == size != 2:
        return _numbers(value)
    if len(value) != 2:
        raise NetworkError(
            f"must be [excitatory, inhibitory] or a list with one value for each of the {size} neurons; got "
            f"{len(value)} values."
        )
    if size == 2:
        raise NetworkError(
            f"for a population of 2, {value} could mean two things. Write {{excitatory = {value[0]}, inhibitory = "
            f"{value[1]}}}, or {{per_neuron = {value}}}."
        )
    return tuple(_number(v) for v in value)


def _connect(net: Network, where: str, table: Mapping[str, Any], folder: Path) -> None:
    if any(key in table for key in ("pre", "post", "file")):
        _connect_list(net, where, table, folder)
        return
    name = table.get("rule", "AllToAll")
    if not isinstance(name, str) or name not in _RULES:
        raise NetworkError(f"{where}: rule is {name!r}; rules are {', '.join(_RULES)}.")
    kind, needed, switches = _RULES[name]
    usable = switches if "rule" in table else ()
    _check(where, table, ("source", "target", "weight", *needed), ("delay", "rule", *usable))
    with _named(where):
        arguments = {k: table[k] for k in needed} | {k: _switch(k, table[k]) for k in switches if k in table}
        net.connect(
            table["source"],
            table["target"],
            weight=_value(table["weight"]),
            delay=_value(table.get("delay", 0.0)),
            rule=kind(**arguments) if "rule" in table else None,
        )


def _connect_list(net: Network, where: str, table: Mapping[str, Any], folder: Path) -> None:
    """Synapses as lists pre and post, or in a file that may hold their weights and delays too."""
    with _named(where):
        listed: dict[str, Any] = {}
        if "file" in table:
            if not isinstance(table["file"], str):
                raise NetworkError(f"file must be the name of a text file; got {table['file']!r}.")
            listed = dict(read_connection_list(folder / table["file"]))
    ends = () if "file" in table else ("pre", "post")
    needed = ("source", "target", *(("weight",) if "weight" not in listed else ()), *ends)
    _check(where, table, needed, ("file",) * ("file" in table) + ("delay",) * ("delay" not in listed))
    with _named(where):
        net.connect(
            table["source"],
            table["target"],
            pre=table["pre"] if "pre" in table else listed["pre"],
            post=table["post"] if "post" in table else listed["post"],
            weight=listed["weight"] if "weight" in listed else _value(table["weight"]),
            delay=listed["delay"] if "delay" in listed else _value(table.get("delay", 0.0)),
        )


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise NetworkError(f"{name} must be true or false; got {value!r}.")
    return value


def _value(value: Any) -> float | Floats | Callable[[np.random.Generator, int], Floats]:
    return _distribution(value) if isinstance(value, dict) else _numbers(value)


def _distribution(table: Mapping[str, Any]) -> Truncated:
    import scipy.stats

    name = table.get("dist")
    kind = getattr(scipy.stats, name, None) if isinstance(name, str) else None
    if not isinstance(kind, scipy.stats.rv_continuous):
        raise NetworkError(
            f"a distribution needs dist, the name of a continuous one of scipy.stats (norm, uniform, lognorm, gamma "
            f"...); got {name!r}."
        )
    shapes = [s.strip() for s in kind.shapes.split(",")] if kind.shapes else []
    _check(f"the distribution {name}", table, ("dist", *shapes), ("loc", "scale", "min", "max"))
    frozen = kind(**{k: _number(v) for k, v in table.items() if k not in ("dist", "min", "max")})
    if np.isnan(frozen.support()[0]):
        raise NetworkError(f"the distribution {name} does not exist with {frozen.kwds}; see scipy.stats.{name}.")
    return Truncated(
        lambda rng, n: frozen.rvs(size=n, random_state=rng),
        _number(table.get("min", -np.inf)),
        _number(table.get("max", np.inf)),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NetworkError(f"a number was expected; got {value!r}.")
    try:
        return float(value)
    except OverflowError as error:
        raise NetworkError(f"a number of {len(str(value))} digits is beyond float64.") from error


def _numbers(value: Any) -> float | Floats:
    """A number, or a list of numbers (of lists) as an array."""
    if not isinstance(value, list):
        return _number(value)
    try:
        return np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise NetworkError(f"a number or a list of numbers was expected; got {value!r}.") from error


def _tables(tree: Mapping[str, Any], name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    group = tree.get(name, {})
    if not isinstance(group, dict) or not all(isinstance(table, dict) for table in group.values()):
        raise NetworkError(f"{name} must be tables: write [{name}.NAME] and its keys below.")
    return group.items()


def _list(tree: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    group = tree.get(name, [])
    if not isinstance(group, list) or not all(isinstance(table, dict) for table in group):
        raise NetworkError(f"{name} must be a list of tables: write [[{name}]] before each.")
    return group


def _check(where: str, table: Mapping[str, Any], needed: Iterable[str], allowed: Iterable[str]) -> None:
    needed = tuple(needed)
    known = (*needed, *allowed)
    if unknown := [key for key in table if key not in known]:
        raise NetworkError(f"{where} has the unknown key {', '.join(unknown)}; it knows {', '.join(known)}.")
    if missing := [key for key in needed if key not in table]:
        raise NetworkError(f"{where} lacks {', '.join(missing)}; it knows {', '.join(known)}.")


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say in which part of the file an error lies."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:  # values go from the file into constructors as they are
        raise NetworkError(f"{where}: {error}") from error
    except MemoryError as error:
        raise NetworkError(f"{where} needs more memory than there is; are its sizes right?") from error

"""What every way to simulate checks: its options, the spikes that are fed in, the neurons that are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.checks import number, whole, whole_numbers
from evsim.description.network import NetworkDescription
from evsim.errors import InputError
from evsim.spikes import SpikeTrains


def check_options(seed: int, threads: int, driver: str, drivers: Sequence[str]) -> None:
    """Raise ValueError for a seed that is no integer >= 0, threads below 1, or a driver that does not exist."""
    whole("seed", seed, low=0)
    whole("threads", threads, low=1)
    if driver not in drivers:
        raise InputError(f"driver must be one of {', '.join(drivers)}; got {driver!r}.")


def after(name: str, time: Any, reached: float, or_equal: bool = False) -> float:
    """A time in ms later than ``reached``, or equal to it; ValueError for any other."""
    try:
        return number(name, time, unit="ms", above=None if or_equal else reached, low=reached if or_equal else None)
    except InputError as error:
        if "must be finite" not in str(error):
            raise
        raise InputError(f"{name} must be finite and after the time reached, {reached} ms; got {time}.") from error


def checked_inputs(
    network: NetworkDescription, inputs: Any, start: float, every: bool = False
) -> dict[str, SpikeTrains]:
    """Spikes by name of their input.

    every : none may be missing: there is no later chunk in which it could come

    Raises InputError : missing or unknown inputs, other sizes, spikes before ``start`` ms.
    """
    if inputs is not None and not isinstance(inputs, Mapping):
        raise InputError(f"inputs must be a mapping, {{name: SpikeTrains}}; got {type(inputs).__name__}.")
    for name, train in (inputs or {}).items():
        if name not in network.inputs:
            raise InputError(f"spikes were given for {name!r}, which is no input of this network; "
                             f"inputs: {', '.join(network.inputs) or 'none'}.")  # fmt: skip
        if not isinstance(train, SpikeTrains):
            raise InputError(f"input {name!r} needs evsim.SpikeTrains; got {type(train).__name__}.")
        size = network.inputs[name]
        if train.size != size:
            raise InputError(f"input {name!r} has size {size}, but its spike trains have size {train.size}.")
        if len(train) and train.times[0] < start:
            raise InputError(
                f"input {name!r} has a spike at {train.times[0]} ms; the simulation starts at {start:g} ms: shift the "
                "times."
            )
    missing = [name for name in network.inputs if name not in (inputs or {})]
    if every and missing:
        name = missing[0]
        raise InputError(
            f"no spikes were given for input {name!r}; pass inputs={{{name!r}: SpikeTrains}}, an empty one for silence."
        )
    return dict(inputs or {})


def recorded_neurons(network: NetworkDescription, record: Any) -> dict[str, NDArray[np.bool_]]:
    """Which neurons are kept, (size,) bool, of the populations that ``record`` names.

    Raises ValueError : no mapping, unknown populations, neurons that are no numbers or out of range.
    """
    if record is None:
        return {}
    if not isinstance(record, Mapping):
        raise InputError(
            f"record must map populations to the numbers of their neurons, {{'exc': [0, 1, 2]}}; got {record!r}. "
            "Populations that it does not name are kept whole; [] keeps none."
        )
    chosen = {}
    for name, neurons in record.items():
        if name not in network.populations:
            raise InputError(f"record names {name!r}; populations are {', '.join(network.populations)}.")
        size = network.populations[name].size
        try:
            numbers = whole_numbers("neurons", neurons)
        except InputError as error:
            raise InputError(f"record: neurons of {name!r} must be their numbers, integers; {error}") from error
        if numbers.size and (numbers.min() < 0 or numbers.max() >= size):
            raise InputError(
                f"record: neurons of {name!r} are 0 ... {size - 1}; got {numbers.min()} ... {numbers.max()}."
            )
        chosen[name] = np.zeros(size, np.bool_)
        chosen[name][numbers.astype(np.int64)] = True
    return chosen

"""Spike trains of neo (https://neo.readthedocs.io), the exchange format of the ecosystem: elephant, NWB, NIX.

neo is optional: ``pip install neo``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from evsim.checks import number
from evsim.errors import InputError
from evsim.spikes import SpikeTrains

if TYPE_CHECKING:
    import neo


def to_neo(spikes: SpikeTrains, t_stop: float, t_start: float = 0.0) -> list[neo.SpikeTrain]:
    """One ``neo.SpikeTrain`` in ms for each neuron, the silent ones too, in the order of the neurons.

    Times keep all their bits: ``from_neo(to_neo(spikes, t_stop))`` has the same.

    t_start, t_stop : ms, the recorded interval, which every train carries. neo allows a spike at t_stop.

    Raises
    ------
    ImportError : neo is not installed.
    ValueError : a spike outside [t_start, t_stop].
    """
    try:
        import neo
    except ImportError as error:
        raise _missing("to_neo", error) from error
    t_start, t_stop = number("t_start", t_start, unit="ms"), number("t_stop", t_stop, unit="ms")
    if not t_start <= t_stop:
        raise InputError(f"t_start and t_stop must be finite, t_start <= t_stop (ms); got {t_start} and {t_stop}.")
    outside = np.flatnonzero((spikes.times < t_start) | (spikes.times > t_stop))
    if outside.size:
        raise InputError(
            f"every spike must lie in [t_start, t_stop] = [{t_start}, {t_stop}] ms; {outside.size} do not, the first "
            f"at {spikes.times[outside[0]]} ms. Give the interval that was recorded, or cut the spikes to it."
        )
    times = spikes.times[np.argsort(spikes.neurons, kind="stable")]
    ends = np.cumsum(np.bincount(spikes.neurons, minlength=spikes.size))
    return [
        neo.SpikeTrain(times[end - count : end], units="ms", t_start=t_start, t_stop=t_stop)
        for end, count in zip(ends, np.diff(ends, prepend=0))
    ]


def from_neo(trains: Iterable[neo.SpikeTrain]) -> SpikeTrains:
    """Spikes of ``neo.SpikeTrain`` s as one `SpikeTrains`: train k becomes neuron k, size the number of trains.

    Times in other units are rescaled to ms, those in ms keep all their bits. Equal times are ordered by neuron.
    A ``SpikeTrains`` knows no interval: keep t_start and t_stop of the trains where they matter.

    Raises
    ------
    ImportError : neo is not installed.
    TypeError : a single train, or something that is none.
    """
    try:
        import neo
    except ImportError as error:
        raise _missing("from_neo", error) from error
    if isinstance(trains, neo.SpikeTrain):
        raise TypeError("from_neo takes a list with one neo.SpikeTrain for each neuron; got a single one. Use [train].")
    times = []
    for k, train in enumerate(trains):
        if not isinstance(train, neo.SpikeTrain):
            raise TypeError(f"from_neo takes a list of neo.SpikeTrain; entry {k} is {type(train).__name__}.")
        times.append(np.asarray(train.rescale("ms").magnitude, dtype=np.float64))
    counts = [t.size for t in times]
    neurons = np.repeat(np.arange(len(times)), counts)
    return SpikeTrains(np.concatenate(times) if times else [], neurons, len(times))


def _missing(function: str, error: ImportError) -> ImportError:
    return ImportError(f'{function} needs neo, which cannot be imported ({error}): pip install neo.')

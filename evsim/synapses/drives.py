"""Sampling of Poisson input, cell of time by cell of time.

What a drive does within a cell depends on (seed, number of the drive, block of neurons, number of the cell) alone. So
all engines, any number of threads, and a run cut at any instant see the same spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim import streams
from evsim.description.connectivity import OneToOne
from evsim.description.network import NetworkDescription
from evsim.description.poisson import PoissonDrive
from evsim.description.projections import STRIDE, Projection
from evsim.errors import InputError, NetworkError
from evsim.spikes import SpikeTrains, spike_order
from evsim.types import Floats

N_STREAMS = 4
"""Counts, times, neurons, and what thinning needs."""


@dataclass(frozen=True, eq=False)
class DriveBlock:
    """A drive onto neurons ``first`` ... ``first + width - 1`` of its population.

    mean : expected events in a cell; streams : (4,) uint64; threshold, alias : (width,), empty for equal rates
    """

    first: int
    width: int
    mean: float
    streams: np.ndarray
    threshold: Floats
    alias: np.ndarray


def drive_blocks(drive: PoissonDrive, number: int, size: int, seed: int, c: float) -> list[DriveBlock]:
    """The drive cut into blocks, for cells of c ms.

    Raises NetworkError : more events in a cell than can be counted.
    """
    from evsim._kernels.random.drive import MOST
    from evsim._kernels.random.poisson import alias_table

    rates = drive.highest(size) / 1000.0
    blocks = []
    for k, first in enumerate(range(0, size, STRIDE)):
        rate = np.ascontiguousarray(rates[first : first + STRIDE])
        total = float(rate.sum())
        if total * c > MOST:
            raise NetworkError(
                f"add_poisson({drive.target!r}): {total * c:.3g} events in {c:g} ms onto {rate.size} neurons are too "
                f"many (at most {MOST}). Use a lower rate with a larger weight."
            )
        threshold, alias = np.empty(0), np.empty(0, np.int64)
        if np.any(rate != rate[0]):
            threshold, alias = np.empty(rate.size), np.empty(rate.size, np.int64)
            alias_table(rate, total, threshold, alias, np.empty(rate.size, np.int64))
        words = streams.words(N_STREAMS, "drive", seed, number, k)
        blocks.append(DriveBlock(first, rate.size, total * c, words, threshold, alias))
    return blocks


def drive_spikes(
    drive: PoissonDrive, number: int, size: int, seed: int, c: float, cells: range, neuron: Any = None
) -> tuple[Floats, np.ndarray]:
    """Times (ms, ascending) and neurons of a drive in some cells; of one neuron or several (n,) only, if named."""
    from evsim._kernels.random.drive import drive_cell

    times, neurons = [np.empty(0)], [np.empty(0, np.int64)]
    wanted = np.ones(size, np.bool_)
    if neuron is not None:
        wanted = np.zeros(size, np.bool_)
        wanted[neuron] = True
    for block in drive_blocks(drive, number, size, seed, c):
        if not wanted[block.first : block.first + block.width].any():
            continue
        room = int(block.mean + 12.0 * np.sqrt(block.mean) + 64)
        when, who = np.empty(room), np.empty(room, np.int64)
        for cell in cells:
            t0, t1 = cell * c, (cell + 1) * c
            n = drive_cell(
                block.streams, cell, block.mean, block.first, block.width, block.threshold, block.alias,
                when, who, t0, t1,
            )  # fmt: skip
            t, j = t0 + when[:n], who[:n].copy()
            if drive.varies:
                accepted = _accepted(drive, block, cell, t)
                t, j = t[accepted], j[accepted]
            if neuron is not None:
                t, j = t[wanted[j]], j[wanted[j]]
            times.append(t)
            neurons.append(j)
    t, j = np.concatenate(times), np.concatenate(neurons)
    order = spike_order(t, j)
    return t[order], j[order]


def _rates_at(drive: PoissonDrive, times: Floats) -> Floats:
    """What the rate function says at some instants, (n,) Hz. Raises NetworkError : it fails, or gives another shape."""
    where = f"add_poisson({drive.target!r}): the rate function"
    try:
        rate = np.asarray(drive.rate(times), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NetworkError(
            f"{where} must take an array of times (n,), ms, and give (n,) Hz, as "
            f"lambda t: np.where(t < 50.0, 100.0, 20.0); it failed: {error}"
        ) from error
    if rate.shape not in ((), times.shape):
        raise NetworkError(f"{where} must give one rate for each of {times.size} times; it gave shape {rate.shape}.")
    return np.broadcast_to(rate, times.shape)


def _accepted(drive: PoissonDrive, block: DriveBlock, cell: int, times: Floats) -> np.ndarray:
    from evsim._kernels.random.drive import thin

    assert drive.rate_max is not None
    rate = _rates_at(drive, times)
    if not np.all((rate >= 0.0) & (rate <= drive.rate_max)):
        bad = rate[~((rate >= 0.0) & (rate <= drive.rate_max))][0]
        raise InputError(
            f"add_poisson({drive.target!r}): the rate function gave {bad} Hz, outside [0, rate_max = "
            f"{drive.rate_max}]. Give a rate_max that bounds it."
        )
    share = np.ascontiguousarray(rate / drive.rate_max) if drive.rate_max > 0.0 else rate
    accepted = np.empty(times.size, np.bool_)
    thin(block.streams[3], cell, share, accepted)
    return accepted


def drives_as_inputs(
    network: NetworkDescription, which: Callable[[PoissonDrive], bool]
) -> tuple[NetworkDescription, dict[str, int]]:
    """The network with some drives as inputs, one source per neuron; (it, number of the drive by input)."""
    other = network.copy()
    names = {}
    for k, drive in enumerate(network.drives):
        if which(drive):
            name = f"poisson {k} onto {drive.target}"
            names[name] = k
            other.inputs[name] = network.size_of(drive.target)
            other.projections.append(Projection(name, drive.target, drive.weight, 0.0, OneToOne()))
    return other, names


def trains_of_drives(
    network: NetworkDescription, names: dict[str, int], seed: int, c: float, cells: range
) -> dict[str, SpikeTrains]:
    """Spikes of the drives that ``drives_as_inputs`` turned into inputs, within some cells."""
    trains = {}
    for name, k in names.items():
        size = network.size_of(network.drives[k].target)
        trains[name] = SpikeTrains(*drive_spikes(network.drives[k], k, size, seed, c, cells), size)
    return trains

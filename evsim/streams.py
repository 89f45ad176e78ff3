"""Every random stream of evsim in one table: what it is for, and by what it is keyed.

A stream belongs to (purpose, seed, numbers of what it is drawn for), never to a thread or to an order of calls. No two
are equal: ``key`` gives other words for every other purpose, seed or number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evsim.errors import InputError

VERSION = 2
"""Version of the table of streams, raised when a purpose gets other streams. Training runs keep it. It began at 2."""

_WORD = 2**32
_SMALL = 2**30
_LONG = 2**64


@dataclass(frozen=True)
class Purpose:
    """number : the purpose within keys, never used for another; ids : what one stream is drawn for

    short : the words of a key, from (seed, *ids), where they are fewer than five. Such keys keep the streams of the
    first version of evsim. They serve while the seed and the ids fit into one word each and the first id is below 2^30,
    so that those of different purposes differ. All other keys have five words or more.
    """

    number: int
    ids: tuple[str, ...] = ()
    short: Callable[..., list[int]] | None = None


PURPOSES: dict[str, Purpose] = {
    "synapses": Purpose(1, ("projection", "block of targets"), lambda seed, p, b: [seed, p, b + 1]),
    "degrees": Purpose(2, ("projection",)),
    "drive": Purpose(3, ("drive", "block of neurons"), lambda seed, d, b: [seed, d, b, 1]),
    "parameters": Purpose(4, ("population", "parameter"), lambda seed, p, k: [seed, _SMALL, p, k]),
    "potentials": Purpose(5, ("population",), lambda seed, p: [seed, 2 * _SMALL, p]),
    "data set": Purpose(6, (), lambda seed: [seed]),
    "weights": Purpose(7, ("layer",)),
    "validation": Purpose(8),
    "shuffling": Purpose(9, ("epoch",)),
    "calibration": Purpose(10, ("layer",)),
    "feedback": Purpose(11, ("depth",)),
    "augmentation": Purpose(12, ("epoch", "sample"), lambda seed, e, s: [seed, e, s, 8]),
    "gradient check": Purpose(13),
    "direction": Purpose(14),
    "mean gradient": Purpose(17, ("sample",)),
    "benchmark": Purpose(15, ("part",)),
    "example": Purpose(16),
}
"""Streams of numpy."""

KERNEL_PURPOSES: dict[str, tuple[int, ...]] = {"spikes": (), "dropout": (7,), "hidden dropout": (8,)}
"""Streams of the generator in ``_kernels/poisson.py``, by (seed, epoch, sample), then these words."""


def check_seed(seed: int, name: str = "seed") -> int:
    """The seed as a Python integer. Raises ValueError : not an integer from 0 to 2^64 - 1."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < _LONG:
        raise InputError(f"{name} must be an integer from 0 to 2^64 - 1; got {seed!r}.")
    return int(seed)


def key(purpose: str, seed: int, *ids: int) -> list[int]:
    """Words below 2^32 that name a stream; no two streams have the same, also if zeros are added to four words.

    Raises ValueError : a seed out of range; other numbers than the purpose has.
    """
    entry = PURPOSES[purpose]
    seed = check_seed(seed)
    numbers = [int(i) for i in ids]
    if len(numbers) != len(entry.ids) or not all(0 <= i < _LONG for i in numbers):
        raise ValueError(f"a stream of {purpose} is named by {', '.join(entry.ids) or 'the seed alone'}; got {ids}.")
    if entry.short is not None and seed < _WORD and all(i < _WORD - 1 for i in numbers):
        if not numbers or numbers[0] < _SMALL:
            return entry.short(seed, *numbers)
    halves = [half for number in numbers for half in (number % _WORD, number // _WORD)]
    return [seed % _WORD, seed // _WORD, 0, 0, entry.number, *halves]


def renamed(purpose: str, seed: int, *ids: int) -> list[int]:
    """The key of a stream that version 1 had another one for, otherwise nothing.

    Saved states hold these keys with what they say of a network, so that version 1 is recognised where it matters.
    """
    words = key(purpose, seed, *ids)
    return [] if len(words) < 5 else words


def rng(purpose: str, seed: int, *ids: int) -> np.random.Generator:
    """A generator for a purpose of the table."""
    return np.random.default_rng(key(purpose, seed, *ids))


def words(n: int, purpose: str, seed: int, *ids: int) -> NDArray[np.uint64]:
    """n random words for a purpose of the table, shape (n,), from which kernels hash streams of their own."""
    return np.asarray(np.random.SeedSequence(key(purpose, seed, *ids)).generate_state(n, np.uint64), np.uint64)


def kernel_keys(purpose: str, seed: int, epoch: int, samples: ArrayLike) -> NDArray[np.uint64]:
    """Keys of the kernels' generator, (n_samples, k). seed, epoch, samples : integers of 64 bits, of either sign.

    Raises ValueError : a seed that is none.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or not -_LONG <= 2 * seed < _LONG:
        raise InputError(f"seed must be an integer of 64 bits; got {seed!r}.")
    last = KERNEL_PURPOSES[purpose]
    numbers = np.asarray(samples, dtype=np.int64)
    out = np.empty((numbers.size, 3 + len(last)), np.int64)
    out[:, 0], out[:, 1], out[:, 2], out[:, 3:] = int(seed), epoch, numbers, last
    return out.view(np.uint64)

"""Batches split over ranks: who takes which samples, and how what they find becomes what one process finds.

A rank takes whole stretches of each batch (``learning.fixed_order``). It computes the sums of the largest halves that
it has all of; each rank then gets its slice of all these sums, adds them up as one process would, and gives the result
to all. No number depends on how many ranks there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from evsim.errors import GradientError, InputError
from evsim.learning.fixed_order import Part, added, largest_parts, stretches, summed
from evsim.learning.layers.analog import AnalogBatch, joined
from evsim.learning.layers.moments import Moments
from evsim.learning.layers.readout import Voltages
from evsim.ranks.protocol import Communicator
from evsim.spikes import SpikeBatch
from evsim.types import Floats

SPLITS = ("halves", "stretches", "never")
"""How gradients of a batch follow from those of its parts, see ``protocols.Rule``."""

_FEW = 16
"""Samples that a rule which adds them in its own way is given at once, at most: each call costs it some time."""

_TOGETHER = 128
"""Samples that are evaluated together, at most: as many whatever the number of ranks."""


class Shares:
    """What this rank takes of each batch.

    splits : of ``SPLITS``, of the rule; name : of the rule, for messages

    Raises GradientError : a rule that looks at whole batches, over ranks; another word than those of ``SPLITS``.
    """

    def __init__(self, comm: Communicator, splits: str, name: str) -> None:
        if splits not in SPLITS:
            raise GradientError(f"{name}.splits must be one of {', '.join(SPLITS)}; got {splits!r}.")
        if splits == "never" and comm.size > 1:
            raise GradientError(
                f"{name} looks at whole batches as it is set here, which no rank has. Train it in one process, or "
                "leave that out: TSSLBP without warm_up, RateBased with a reference_step."
            )
        self.comm, self.splits = comm, splits
        self._shapes: dict[Any, tuple[int, ...]] = {}

    def parts(self, n: int, rank: int | None = None) -> list[Part]:
        """The parts of a batch of n samples whose sums this rank (or another) computes one by one."""
        if self.splits == "never":
            return [(0, n)]
        few = self.splits == "stretches"
        mine = _run(stretches((0, n), _FEW if few else 0), self.comm.rank if rank is None else rank, self.comm.size)
        if few:
            return list(mine)
        return largest_parts((0, n), (mine[0][0], mine[-1][1])) if mine else []

    def idle(self, n: int) -> int:
        """Ranks without a sample in a batch of n."""
        return sum(not self.parts(n, rank) for rank in range(self.comm.size))

    def total(self, n: int, of_part: Callable[[int, int], dict[Any, Floats]]) -> dict[Any, Floats]:
        """Sums over a batch by name, from ``of_part(first, last)`` of each of ``parts``.

        of_part : sums of these samples; of several parts, arrays that may be added to
        """
        if self.comm.size > 1:
            return self._over_ranks(n, of_part)
        parts = set(self.parts(n))
        return summed((0, n), lambda part: of_part(*part) if part in parts else None, added)

    def _over_ranks(self, n: int, of_part: Callable[[int, int], dict[Any, Floats]]) -> dict[Any, Floats]:
        comm, rows = self.comm, []
        shapes: dict[Any, tuple[int, ...]] = {}
        for part in self.parts(n):
            sums = of_part(*part)
            shapes = {key: values.shape for key, values in sums.items()}
            padding = np.zeros(-sum(values.size for values in sums.values()) % comm.size)
            rows.append(np.concatenate([*(values.ravel() for values in sums.values()), padding]))
        if not self._shapes:
            # A rank without samples does not know them.
            self._shapes = next(given for given in comm.objects(shapes) if given)
        sizes = [int(np.prod(shape)) for shape in self._shapes.values()]
        width = -(-sum(sizes) // comm.size)
        slices = [slice(width * rank, width * (rank + 1)) for rank in range(comm.size)]
        come = comm.swapped([np.concatenate([np.empty(0), *(row[some] for row in rows)]) for some in slices])
        known: dict[Part, Floats] = {}
        for rank, numbers in enumerate(come):
            parts = self.parts(n, rank)
            known.update(zip(parts, numbers.reshape(len(parts), width)))
        whole = np.empty((comm.size, width))
        comm.equal(summed((0, n), known.get, lambda a, b: a + b), whole)
        arrays = np.split(whole.ravel(), np.cumsum(sizes))[:-1]
        return {key: array.reshape(shape) for (key, shape), array in zip(self._shapes.items(), arrays)}

    def evaluated(self, n: int) -> tuple[Sequence[Part], Sequence[Part]]:
        """Parts of n samples to be evaluated together: all of them, and those of this rank."""
        pieces = -(-n // _TOGETHER)
        parts = [(n * k // pieces, n * (k + 1) // pieces) for k in range(pieces)]
        return parts, _run(parts, self.comm.rank, self.comm.size)

    def of_all(self, n: int, parts: Iterable[Part], *numbers: Sequence[Floats]) -> list[Floats]:
        """Numbers of n samples, (n,) each, from those that each rank has for the samples of its parts."""
        places = np.concatenate([np.empty(0, np.int64), *(np.arange(a, b) for a, b in parts)])
        mine = np.column_stack([places, *(np.concatenate([np.empty(0), *given]) for given in numbers)])
        whole = np.empty((n, 1 + len(numbers)))
        for given in self.comm.unequal(mine):
            whole[given[:, 0].astype(np.int64)] = given
        return list(whole[:, 1:].T)

    def outputs(self, parts: Sequence[list[Any]]) -> list[Any]:
        """What all layers gave for the whole batch, from what they gave for each of this rank's parts."""
        every = [given for of_rank in self.comm.objects(list(parts)) for given in of_rank]
        if len(every) == 1:
            return every[0]
        return [_joined([given[k] for given in every], [given[max(k - 1, 0)] for given in every])
                for k in range(len(every[0]))]  # fmt: skip

    def check_equal(self, arrays: Iterable[np.ndarray], when: str) -> None:
        """Raises InputError : these are not the same on all ranks. when : for the message"""
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        digests = self.comm.objects(digest.hexdigest())
        others = [str(rank) for rank, other in enumerate(digests) if other != digests[0]]
        if others:
            raise InputError(
                f"{when} the weights of rank {', '.join(others)} differ from those of rank 0, and they must be the "
                "same bit for bit. Run on machines of one kind, with the same versions and files on each."
            )


def _run(parts: Sequence[Part], rank: int, size: int) -> Sequence[Part]:
    return parts[len(parts) * rank // size : len(parts) * (rank + 1) // size]


def _joined(parts: list[Any], below: list[Any]) -> Any:
    """Outputs of a layer for some parts of a batch, one after the other. below : what the layer was given for each"""
    first = parts[0]
    if isinstance(first, AnalogBatch):
        return AnalogBatch.of(np.concatenate([part.values for part in parts]))
    if isinstance(first, SpikeBatch):
        return joined(parts, first.size)
    if isinstance(first, Moments):
        return Moments(np.concatenate([part.values for part in parts]), first.starts, first.end)
    if not isinstance(first, Voltages):
        raise GradientError(f"outputs of the type {type(first).__name__} cannot be put together from parts of a batch.")
    arrivals = np.cumsum([0, *(given.times.size for given in below[:-1])])
    corners = [np.where(part.corner >= 0, part.corner + a, -1) for part, a in zip(parts, arrivals)]
    values, times, slope = (np.concatenate([getattr(part, name) for part in parts])
                            for name in ("values", "times", "slope"))  # fmt: skip
    return Voltages(values, times, np.concatenate(corners), slope)

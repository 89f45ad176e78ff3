"""The papers' notation of networks, "15C5-P2-40C5-P2-300": the layers between the input and the output layer.

    15C5   a convolution with 15 channels and windows of 5 x 5; 15C5s2 with stride 2, 15C5p2 with padding 2
    P2     a pool of spiking neurons over 2 x 2; A2 an average, S2 a sum of spikes, both without neurons
    300    a dense layer of 300 neurons
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from evsim.errors import InputError

_CONVOLUTION = re.compile(r"(\d+)C(\d+)(?:s(\d+))?(?:p(\d+))?")
_POOL = re.compile(r"([PAS])(\d+)")
_DENSE = re.compile(r"\d+")
_KINDS = {"P": "spiking pool", "A": "average pool", "S": "sum pool"}


@dataclass(frozen=True)
class Part:
    """kind : "convolution", "spiking pool", "average pool", "sum pool" or "dense"

    size : channels or neurons, of a pool the side of its windows; kernel, stride, padding : of a convolution
    """

    kind: str
    size: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0

    @property
    def spikes(self) -> bool:
        """Does it have neurons?"""
        return self.kind not in ("average pool", "sum pool")


def parts_of(network: str) -> tuple[Part, ...]:
    """The parts of a network. Raises InputError : not this notation, sizes of 0, maps after a dense layer."""
    parts = tuple(_part(word, network) for word in network.split("-"))
    if any(below.kind == "dense" != above.kind for below, above in pairwise(parts)):
        raise InputError(f"{network}: convolutions and pools need maps, and a dense layer gives none; put them before.")
    return parts


def _part(word: str, network: str) -> Part:
    if found := _CONVOLUTION.fullmatch(word):
        size, kernel, stride, padding = (int(n) if n else None for n in found.groups())
        part = Part("convolution", size or 0, kernel or 0, 1 if stride is None else stride, padding or 0)
    elif found := _POOL.fullmatch(word):
        part = Part(_KINDS[found[1]], int(found[2]))
    elif _DENSE.fullmatch(word):
        part = Part("dense", int(word))
    else:
        raise InputError(
            f"{network}: {word!r} is no layer; write 15C5 (s2 for stride 2, p2 for padding 2), P2, A2 or S2 for a pool "
            "(spiking, average, sum), or 300, with - in between. The output layer is added."
        )
    if min(part.size, part.kernel, part.stride) < 1:
        raise InputError(f"{network}: the sizes of {word} must be >= 1.")
    return part

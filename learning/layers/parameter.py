"""A trained array of a layer: what optimisers change, with its name and its kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from evsim.types import Floats


class Kind(Enum):
    """What a trained array is made of: each kind has a step size of its own, and only weights decay or are clipped."""

    WEIGHT = "weights of synapses"
    DELAY = "logits of delays"
    NEURON = "coordinates of a neuron's parameters"


@dataclass(frozen=True, eq=False)
class Parameter:
    """array : the array itself, not a copy; name : unique within its layer"""

    name: str
    kind: Kind
    array: Floats

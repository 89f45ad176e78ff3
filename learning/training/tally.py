"""What an epoch or an evaluation adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim.learning.layers.dense import Layer
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass
class Tally:
    """Sums over an epoch or evaluation."""

    samples: int = 0
    correct: int = 0
    loss: float = 0.0
    input_spikes: int = 0
    events: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, hits: np.ndarray, loss: Floats) -> None:
        """Count some samples."""
        self.samples += hits.size
        self.correct += int(hits.sum())
        self.loss += float(loss.sum())

    def deliver(self, delivered: Sequence[int | None], layers: list[Layer]) -> None:
        """Count the spikes that each layer was handed; events are those at its synapses (of maps on average)."""
        self.input_spikes += delivered[0] or 0
        self.events += sum(round((n or 0) * layer.fan_out) for n, layer in zip(delivered, layers))

    @property
    def accuracy(self) -> float:
        """Share of correct samples."""
        return self.correct / max(self.samples, 1)


def emitted(out: Any) -> int:
    """Spikes in what a layer gave; 0 of a layer that does not spike."""
    return out.times.size if isinstance(out, SpikeBatch) else 0


def summed_counts(of_ranks: Sequence[Sequence[Sequence[int | None]]]) -> list[int | None]:
    """Counts of each layer, summed over what all ranks have of their parts; None stays None."""
    every = [counts for of_parts in of_ranks for counts in of_parts]
    return [None if column[0] is None else sum(n or 0 for n in column) for column in zip(*every)]

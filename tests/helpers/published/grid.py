"""What the transcriptions of published recursions share: spikes on a grid, and the order of convergence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evsim.spikes import SpikeTrains
from evsim.types import Floats


def on_grid(train: SpikeTrains, dt: float, steps: int, down: bool = False) -> Floats:
    """Spikes at the nearest grid points, or at the last ones before, (steps, size), without those beyond the end."""
    at = (np.floor(train.times / dt + 1e-9) if down else np.rint(train.times / dt)).astype(int)
    found = np.zeros((steps, train.size))
    inside = at < steps
    np.add.at(found, (at[inside], train.neurons[inside]), 1.0)
    return found


def distance(found: Floats, exact: Floats) -> float:
    """Norm of the difference, relative to the norm of ``exact``."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def order(steps: Sequence[float], errors: Sequence[float]) -> float:
    """Slope of log error by log step, by least squares."""
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])

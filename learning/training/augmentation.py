"""Training samples moved about on their grid of pixels, so that a few recordings teach more."""

from __future__ import annotations

import math

import numpy as np

from evsim import streams
from evsim.errors import InputError
from evsim.spikes import SpikeBatch


def jiggle(
    spikes: SpikeBatch, grid: tuple[int, int, int], shift: float, turn: float, zoom: float, seed: int, epoch: int,
    keys: np.ndarray,
) -> SpikeBatch:  # fmt: skip
    """Shift, turn and zoom each sample about the centre of the grid, to the nearest pixels; times stay as they are.

        pixel' = centre + (1 + z) R(a) (pixel - centre) + d

    with z uniform in [-zoom, zoom], a in [-turn, turn], both parts of d in [-shift, shift], from a stream keyed by
    (seed, epoch, key of the sample). Spikes that leave the grid are left out.

    grid : (width, height, channels); input (channel * height + y) * width + x
    shift : pixels, >= 0; turn : degrees, >= 0; zoom : >= 0 and < 1; keys : (samples,) integers >= 0
    Raises ValueError : a grid that the inputs do not fill.
    """
    width, height, channels = grid
    if math.prod(grid) != spikes.size:
        raise InputError(f"a grid of {width} x {height} x {channels} has {math.prod(grid)} inputs, not {spikes.size}.")
    most = np.array([zoom, math.radians(turn), shift, shift])
    draws = [streams.rng("augmentation", seed, epoch, key).uniform(-1.0, 1.0, 4) for key in keys]
    z, a, dx, dy = (np.array(draws).reshape(-1, 4) * most)[spikes.samples()].T
    channel, pixel = np.divmod(spikes.neurons, width * height)
    y, x = np.divmod(pixel, width)
    x0, y0 = 0.5 * (width - 1), 0.5 * (height - 1)
    c, s = (1.0 + z) * np.cos(a), (1.0 + z) * np.sin(a)
    to_x = np.rint(x0 + c * (x - x0) - s * (y - y0) + dx).astype(np.int64)
    to_y = np.rint(y0 + s * (x - x0) + c * (y - y0) + dy).astype(np.int64)
    keep = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
    moved = (channel * height + to_y) * width + to_x
    offsets = np.append(0, np.cumsum(keep))[spikes.offsets]
    return SpikeBatch.owning(spikes.times[keep], moved[keep], offsets, spikes.size)

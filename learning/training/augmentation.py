"""Training samples moved about on their grid of pixels, so that a few recordings teach more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evsim import streams
from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.spikes import SpikeBatch


@dataclass(frozen=True)
class RandomAffine:
    """Shift, rotate and scale each sample about the centre of the grid, to the nearest pixels; times stay as they are.

        pixel' = centre + (1 + z) R(a) (pixel - centre) + d

    with z uniform in [-scale, scale], a in [-rotation, rotation], both parts of d in [-shift, shift].

    shift : pixels, >= 0; rotation : degrees, >= 0; scale : >= 0 and < 1
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not (self.shift >= 0 and self.rotation >= 0 and 0 <= self.scale < 1):
            raise InputError(
                f"shift and rotation must be >= 0, scale in [0, 1); got {self.shift}, {self.rotation} and {self.scale}."
            )

    def __call__(
        self, spikes: SpikeBatch, grid: tuple[int, int, int], seed: int, epoch: int, keys: np.ndarray
    ) -> SpikeBatch:
        """The moved samples, from streams keyed by (seed, epoch, key of the sample); spikes that leave the grid are
        left out.

        grid : (width, height, channels); input (channel * height + y) * width + x; keys : (samples,) integers >= 0
        Raises ValueError : a grid that the inputs do not fill.
        """
        width, height, channels = grid
        if math.prod(grid) != spikes.size:
            said = f"a grid of {width} x {height} x {channels} has {math.prod(grid)} inputs"
            raise InputError(f"{said}, not {spikes.size}.")
        most = np.array([self.scale, math.radians(self.rotation), self.shift, self.shift])
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

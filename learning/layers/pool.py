"""Pools without neurons: spikes of a window go on as spikes of one number (docs/convolution.md).

Nothing is summed here, and nothing is delayed: currents add up by themselves in the layer above, whose weights all
spikes of a window share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.layers.conv import Shape, checked_shape
from evsim.learning.layers.delays import Delays
from evsim.learning.layers.dense import Layer
from evsim.learning.layers.parameter import Parameter
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(eq=False, repr=False)
class SumPool2d(Layer):
    """Each spike of a map goes on as one of the pooled map, (channel, y div k, x div k), at the same instant.

    Parameters
    ----------
    in_shape : (channels, height, width) below
    k : side of the windows, and their distance; rows and columns beyond the last whole window are left out

    The order of spikes is kept, so that neurons of one instant need not be in the order of their numbers. There is
    nothing to train; memory is that of the spikes.
    """

    in_shape: Shape
    k: int
    n_in: int = field(init=False)
    n_out: int = field(init=False)
    neuron: LIF = field(init=False)
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)
    delay: Any = field(init=False, default=0.0)
    trainable_delays: str | None = field(init=False, default=None)
    max_delay: float = field(init=False, default=0.0)
    scale: ClassVar[float | None] = 1.0
    """What the initial weights of the layer above are multiplied by; None: 1/k^2."""

    def __post_init__(self) -> None:
        check_fields(self)
        self.in_shape = c, h, w = checked_shape(type(self).__name__, self.in_shape)
        if self.k < 1 or min(h, w) < self.k:
            raise InputError(f"windows of {self.k} x {self.k} do not fit into maps of {h} x {w}.")
        self.n_in, self.n_out = c * h * w, c * (h // self.k) * (w // self.k)
        # Nothing of it is used: what all layers have, a pool of no neurons has too.
        self.neuron = LIF(tau_m=1.0, tau_syn=1.0)
        self.make_synapses()
        self.weight = np.empty(0)

    @property
    def out_shape(self) -> Shape:
        """Channels, height and width of the pooled map."""
        return self.in_shape[0], self.in_shape[1] // self.k, self.in_shape[2] // self.k

    @property
    def initial_scale(self) -> float:
        """What ``Sequential.init`` multiplies the weights of the layer above by."""
        return 1.0 / self.k**2 if self.scale is None else self.scale

    @property
    def fan_out(self) -> float:
        """0: there are no synapses."""
        return 0.0

    def describe(self) -> str:
        """Kind and maps, for messages."""
        return f"{type(self).__name__}({'x'.join(map(str, self.in_shape))} -> {'x'.join(map(str, self.out_shape))})"

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """None."""
        return {}

    def init(self, rng: np.random.Generator, scale: float = 1.0, mean: float | None = None) -> None:
        """Nothing to draw."""

    def trained_arrays(self) -> list[Parameter]:
        """None."""
        return []

    def pull_back(self, gradients: dict[str, Floats]) -> dict[str, Floats]:
        """Nothing."""
        return {}

    def pooled(self) -> np.ndarray:
        """Number of each input neuron in the pooled map, -1 where it is left out, (n_in,) int32."""
        _, h, w = self.out_shape
        channel, y, x = np.indices(self.in_shape)
        y, x = y // self.k, x // self.k
        return np.where((y < h) & (x < w), (channel * h + y) * w + x, -1).ravel().astype(np.int32)

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
        """The spikes with their new numbers, in their order. Raises ValueError : inputs of another size."""
        self.check_forward(inputs, t_stop, threads)
        neurons = self.pooled()[inputs.neurons]
        kept = neurons >= 0
        if kept.all():
            return SpikeBatch.owning(inputs.times, neurons, inputs.offsets, self.n_out)
        offsets = np.append(0, np.cumsum(kept))[inputs.offsets]
        return SpikeBatch.owning(inputs.times[kept], neurons[kept], offsets, self.n_out)

    def signal_below(self, signal: Floats, inputs: SpikeBatch) -> Floats:
        """The signal of each input, which is that of the neuron or spike it goes on as; 0 of what is left out.

        signal : (n_spikes,) of the pooled spikes, or (samples, n_out) or (samples, windows, n_out) by neuron
        """
        numbers = self.pooled()
        kept = numbers >= 0
        if signal.ndim > 1:
            return np.where(kept, signal[..., numbers], 0.0)
        by_spike = np.zeros(inputs.times.size)
        by_spike[kept[inputs.neurons]] = signal
        return by_spike

    def _shown(self) -> str:
        return f"{self.in_shape}, {self.k}"


@dataclass(eq=False, repr=False)
class AvgPool2d(SumPool2d):
    """A SumPool2d above which ``Sequential.init`` draws weights 1/k^2 times as large: the mean of a window's currents.

    That is all the difference: a factor on all spikes is a factor on the weights that they meet.
    """

    scale: ClassVar[float | None] = None

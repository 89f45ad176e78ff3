"""Layers whose neurons stand in maps: convolutions, and pools of neurons that spike (docs/convolution.md).

A map has channels of height times width neurons, numbered (channel height + y) width + x: the numbers of data sets on a
grid, of recorded events, and of the inputs of a Dense layer above. Weights and the parameters of neurons belong to
channels, not to pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim._kernels.sweep.maps import MapShape
from evsim.engine.sweep.maps import run_map_batch
from evsim.errors import InputError, NetworkError
from evsim.learning.fields import check_fields
from evsim.learning.layers.delays import Delays
from evsim.learning.layers.dense import Dense, Layer
from evsim.learning.layers.map_windows import unrolled
from evsim.learning.layers.parameter import Parameter
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF, one_tau_each
from evsim.spikes import SpikeBatch
from evsim.types import Floats

Shape = tuple[int, int, int]
_TRAINABLE = {"v_th", "bias"}


class MapLayer(Layer):
    """What layers of maps share. A kind of them has a ``map_shape`` and a ``weight``, (kernel, kernel, channels in per
    group, channels out); maps and neurons are as in ``Conv2d``."""

    in_shape: Shape
    map_shape: MapShape

    @property
    def out_shape(self) -> Shape:
        """Channels, height and width of the map."""
        g = self.map_shape
        return g.groups * g.c_out, g.h_out, g.w_out

    def describe(self) -> str:
        """Kind and maps, for messages."""
        return f"{type(self).__name__}({'x'.join(map(str, self.in_shape))} -> {'x'.join(map(str, self.out_shape))})"

    def parameter_sets(self) -> int:
        """Channels: their neurons share all parameters."""
        return self.out_shape[0]

    @property
    def fan_out(self) -> float:
        """As ``Layer.fan_out``: fewer pixels see the border, and with a stride some inputs are seen by few."""
        g = self.map_shape
        pairs = 1
        for n_in, n_out in ((g.h_in, g.h_out), (g.w_in, g.w_out)):
            places = np.arange(n_out)[:, None] * g.stride - g.padding + np.arange(g.kernel)
            pairs *= int(np.sum((places >= 0) & (places < n_in)))
        return g.c_out * pairs / (g.h_in * g.w_in)

    def per_neuron(self, value: Any) -> Floats:
        """As ``Layer.per_neuron``; value : a number, or one for each channel."""
        of_channels = np.broadcast_to(np.asarray(value, dtype=np.float64), self.out_shape[0])
        return np.repeat(of_channels, self.out_shape[1] * self.out_shape[2])

    def channels(self) -> NeuronArrays:
        """Parameters of a neuron of each channel."""
        return neuron_arrays(self.neuron, self.out_shape[0])

    def neurons(self) -> NeuronArrays:
        """As ``Layer.neurons``."""
        pixels = self.out_shape[1] * self.out_shape[2]
        return NeuronArrays(*(np.repeat(values, pixels) for values in self.channels()))

    @property
    def shares_events(self) -> bool:
        """Do all neurons of a pixel get their input at the same instants, and only from the layer below? Always."""
        return True

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
        """Exact spikes, ordered by (time, neuron), with the current at each; see ``run_map_batch``.

        Raises ValueError : inputs of another size or before 0 ms, weights that are not finite. RunawayError : neurons
        that spike without bound.
        """
        self.check_forward(inputs, t_stop, threads)
        arrivals, _ = self.delays.arrivals(inputs)
        return run_map_batch(self.weight, self.neuron, self.map_shape, arrivals, t_stop, threads)

    def unrolled(self) -> Dense:
        """The same neurons as a Dense layer with all its (n_in, n_out) weights: the same spikes, slower."""
        numbers = {}
        for name, value in self.neuron.asdict().items():
            numbers[name] = self.per_neuron(value) if name != "tau_syn" and np.ndim(value) else value
        dense = Dense(self.n_in, self.n_out, self.neuron.with_(**numbers), delay=self.delays.value())
        dense.weight = unrolled(self.weight, self.map_shape)
        return dense

    def delays_given(self) -> Any:
        """As ``Layer.delays_given``: those of channels for each of their inputs."""
        if np.shape(self.delay) != self.in_shape[:1]:
            return self.delay
        return np.repeat(np.asarray(self.delay, dtype=np.float64), self.in_shape[1] * self.in_shape[2])

    def make_map(self) -> None:
        """Delays, trained parameters and neurons, checked, once sizes are known."""
        self.make_synapses()
        if len(self.neuron.receptor_taus()) != 1 or not one_tau_each(self.neuron):
            raise NetworkError(
                f"{type(self).__name__} needs one exponential synaptic current (one tau_syn); all neurons share tau_m "
                "and tau_syn."
            )
        for name, value in self.neuron.asdict().items():
            if np.ndim(value) and name != "tau_syn" and np.shape(value) != (self.out_shape[0],):
                raise InputError(
                    f"{name} of {self.describe()} must be a number or have one value for each of {self.out_shape[0]} "
                    f"channels; got shape {np.shape(value)}."
                )
        unknown = [name for name in self.trainable if name not in _TRAINABLE]
        if unknown:
            raise InputError(
                f"{type(self).__name__} trains v_th and bias of its channels; got {unknown[0]!r}. Leave it out, or "
                "train it in a Dense layer."
            )
        if not self.delays.by_input:
            raise InputError(
                f"{type(self).__name__} takes one delay, or one per input or input channel; got one per synapse, which "
                "pixels cannot share."
            )


@dataclass(eq=False, repr=False)
class Conv2d(MapLayer):
    """A convolution: each neuron sees a window of the maps below, with the weights of its channel.

    Parameters
    ----------
    in_shape : (channels, height, width) below
    c_out : channels
    kernel : side of the window, pixels
    neuron : LIF with one exponential current; all neurons share tau_m and tau_syn, the other parameters are numbers, or
        (c_out,) by channel
    stride, padding : pixels between windows, and how far these reach over the border, where nothing spikes
    groups : channels in and out fall into so many groups that see nothing of each other
    delay : ms, >= 0; of all synapses, or (channels,) by input channel, or (n_in,) by input
    trainable_delays, max_delay : as in Dense, "input" only
    trainable : some of "v_th", "bias", of each channel
    weight : (kernel, kernel, channels in / groups, c_out) float64, [dy, dx, from, to], set by ``init``

    Raises InputError : sizes or groups that do not go together, a window larger than the padded map. NetworkError :
    neurons that do not share their time constants, or have no single current.
    """

    in_shape: Shape
    c_out: int
    kernel: int
    neuron: LIF
    stride: int = 1
    padding: int = 0
    groups: int = 1
    delay: Any = 0.0
    trainable_delays: str | None = None
    max_delay: float = 0.0
    trainable: tuple[str, ...] = ()
    n_in: int = field(init=False)
    n_out: int = field(init=False)
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)

    def __post_init__(self) -> None:
        check_fields(self)
        self.in_shape = c, h, w = checked_shape(type(self).__name__, self.in_shape)
        if min(self.c_out, self.kernel, self.stride, self.groups) < 1 or self.padding < 0:
            raise InputError(
                "c_out, kernel, stride and groups must be >= 1, and padding >= 0; got "
                f"{self.c_out}, {self.kernel}, {self.stride}, {self.groups} and {self.padding}."
            )
        if c % self.groups or self.c_out % self.groups:
            raise InputError(f"{self.groups} groups do not divide {c} channels into {self.c_out}.")
        out = [(n + 2 * self.padding - self.kernel) // self.stride + 1 for n in (h, w)]
        if min(out) < 1:
            raise InputError(f"a kernel of {self.kernel} is larger than maps of {h} x {w} with padding {self.padding}.")
        self.map_shape = MapShape(
            self.groups, c // self.groups, self.c_out // self.groups, h, w, out[0], out[1], self.kernel, self.stride,
            self.padding,
        )  # fmt: skip
        self.n_in, self.n_out = c * h * w, self.c_out * out[0] * out[1]
        self.make_map()

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """As ``Layer.weight_shapes``."""
        return {"weight": (self.kernel, self.kernel, self.in_shape[0] // self.groups, self.c_out)}

    def _shown(self) -> str:
        return f"{self.in_shape}, {self.c_out}, {self.kernel}, {self.neuron!r}"


@dataclass(eq=False, repr=False)
class SpikingPool2d(MapLayer):
    """A pool of neurons: each one sums the spikes of a window of its channel with weight 1, and spikes itself.

    As HM2-BP and ST-RSBP have it. There are ceil(size/k) windows along each side; those at the border are cut.

    Parameters
    ----------
    in_shape : (channels, height, width) below
    k : side of the windows, and their distance
    neuron : LIF, as in Conv2d; its threshold is the pool's own
    delay, trainable_delays, max_delay, trainable : as in Conv2d
    weight : ones, (k, k, 1, channels); not trained
    """

    in_shape: Shape
    k: int
    neuron: LIF
    delay: Any = 0.0
    trainable_delays: str | None = None
    max_delay: float = 0.0
    trainable: tuple[str, ...] = ()
    n_in: int = field(init=False)
    n_out: int = field(init=False)
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)

    def __post_init__(self) -> None:
        check_fields(self)
        self.in_shape = c, h, w = checked_shape(type(self).__name__, self.in_shape)
        if self.k < 1:
            raise InputError(f"k must be >= 1; got {self.k}.")
        out = -(-h // self.k), -(-w // self.k)
        self.map_shape = MapShape(c, 1, 1, h, w, *out, self.k, self.k, 0)
        self.n_in, self.n_out = c * h * w, c * out[0] * out[1]
        self.make_map()
        self.weight = np.ones((self.k, self.k, 1, c))

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """None: the weights are not trained."""
        return {}

    def init(self, rng: np.random.Generator, scale: float = 1.0, mean: float | None = None) -> None:
        """Draw trained delays."""
        self.delays.init(rng)

    def trained_arrays(self) -> list[Parameter]:
        """As ``Layer.trained_arrays``, without a weight."""
        return [*self.delays.trained_arrays("delay_logit"), *self.neuron_parameters.trained_arrays()]

    def pull_back(self, gradients: dict[str, Floats]) -> dict[str, Floats]:
        """As ``Layer.pull_back``, without a weight."""
        return {**self.delays.pull_back(gradients, "delay"), **self.neuron_parameters.pull_back(gradients)}

    def _shown(self) -> str:
        return f"{self.in_shape}, {self.k}, {self.neuron!r}"


def checked_shape(owner: str, shape: Any) -> Shape:
    """Channels, height and width. Raises ValueError : not three whole numbers >= 1."""
    numbers = tuple(shape) if isinstance(shape, tuple | list | np.ndarray) else ()
    if len(numbers) != 3 or any(not isinstance(n, int | np.integer) or n < 1 for n in numbers):
        raise InputError(f"in_shape of {owner} must be (channels, height, width), each >= 1; got {shape!r}.")
    return int(numbers[0]), int(numbers[1]), int(numbers[2])

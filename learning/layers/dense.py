"""Layers: weights, delays, and the neurons they drive."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from evsim.engine.queue.run import run_flat_batch
from evsim.engine.sweep.layers import pack_layer, run_layer_batch
from evsim.errors import InputError, NetworkError
from evsim.learning.fields import all_finite, check_fields, check_number
from evsim.learning.layers.delays import Delays
from evsim.learning.layers.neuron_parameters import NeuronParameters
from evsim.learning.layers.parameter import Kind, Parameter
from evsim.network import Network
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF, one_tau_each
from evsim.spikes import SpikeBatch
from evsim.synapses.flat_network import FlatNetwork, flatten
from evsim.types import Floats

_NEURON_PARAMETERS = ("tau_m", "v_th", "v_reset", "v_rest", "bias", "v_init", "t_ref")


class Layer:
    """What a model is made of: weights and delays from ``n_in`` inputs to ``n_out`` neurons.

    A kind of layer has a ``forward``; more trained arrays than these are added to what the methods here give. An array
    that is assigned to a weight is copied as float64; ValueError if it holds no numbers. Its shape is checked when the
    layer is used.
    """

    n_in: int
    n_out: int
    neuron: LIF
    delay: Any
    trainable_delays: str | None
    max_delay: float
    trainable: tuple[str, ...] = ()
    weight: Floats
    delays: Delays
    neuron_parameters: NeuronParameters

    def __setattr__(self, name: str, value: Any) -> None:
        if name.endswith("weight") and name in self.weight_shapes():
            value = _as_weight(f"{name} of {self.describe()}", value)
        super().__setattr__(name, value)
        if name == "neuron" and "neuron_parameters" in vars(self):
            self.neuron_parameters.take(value)

    def __repr__(self) -> str:
        """On one line, with the options that are not as usual."""
        shown = [self._shown()]
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if f.init and f.default is not MISSING and not np.array_equal(value, f.default):
                shown.append(f"{f.name}={f'<{value.shape}>' if isinstance(value, np.ndarray) else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _shown(self) -> str:
        return f"{self.n_in}, {self.n_out}, {self.neuron!r}"

    def describe(self) -> str:
        """Kind and sizes, for messages."""
        return f"{type(self).__name__}({self.n_in}, {self.n_out})"

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by name."""
        return {"weight": (self.n_in, self.n_out)}

    def gradient_shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """Derivatives that a rule may give for this layer, by name, and the shapes that each may have."""
        shapes = {name: [shape] for name, shape in self.weight_shapes().items()}
        shapes["delay"] = self.delays.gradient_shapes()
        n = self.parameter_sets()
        shapes |= {name: [(n,)] for name in _NEURON_PARAMETERS}
        return {**shapes, "tau_syn": [(n,), (2, n)]}

    def parameter_sets(self) -> int:
        """How many neurons may differ in their parameters: all of them."""
        return self.n_out

    @property
    def fan_out(self) -> float:
        """Neurons that get a spike of an input, on average over the inputs."""
        return float(self.n_out)

    def per_neuron(self, value: Any) -> Floats:
        """A parameter of the neurons as one value for each of them, (n_out,)."""
        return np.broadcast_to(np.asarray(value, dtype=np.float64), self.n_out) + 0.0

    def neurons(self) -> NeuronArrays:
        """Parameters of all neurons, as kernels take them."""
        return neuron_arrays(self.neuron, self.n_out)

    @property
    def theta(self) -> Floats:
        """Threshold above v_rest + bias, (n_out,)."""
        n = self.neuron
        return self.per_neuron(np.asarray(n.v_th) - np.asarray(n.v_rest) - np.asarray(n.bias))

    def needed_gradients(self) -> list[str]:
        """Those that ``pull_back`` needs."""
        return [*self.weight_shapes(), *(["delay"] if self.delays.trained else []), *self.trainable]

    def check(self) -> None:
        """Raises ValueError : weights or delays that are not finite, or of another shape."""
        for name, shape in self.weight_shapes().items():
            w, what = getattr(self, name), f"{name} of {self.describe()}"
            if w.shape != shape:
                turned = " Transpose it: weights are [from, to]." if w.T.shape == shape else ""
                raise InputError(f"{what} must have shape {shape}; got {w.shape}.{turned}")
            if not all_finite(w):
                place = tuple(int(i) for i in np.argwhere(~np.isfinite(w))[0])
                raise InputError(f"{what} must be finite; the entry {place} is {w[place]}.")
        self.delays.check(self.describe())

    def check_forward(self, inputs: Any, t_stop: float, threads: int = 1) -> None:
        """What ``forward`` needs, besides ``check``; takes over trained parameters of the neurons as they are now.

        Raises ValueError : other inputs, a duration that is none.
        """
        self.check()
        if self.trainable:
            # Not by assignment, which would set the coordinates anew, with the rounding of a logarithm.
            vars(self)["neuron"] = self.neuron_parameters.neuron(self.neuron)
        if not isinstance(inputs, SpikeBatch):
            raise InputError(f"{self.describe()} takes a SpikeBatch; got a {type(inputs).__name__}.")
        if inputs.size != self.n_in:
            raise InputError(f"{self.describe()} takes {self.n_in} inputs; the spikes have {inputs.size}.")
        if inputs.times.size and inputs.times.min() < 0.0:
            raise InputError(f"input spikes start at {inputs.times.min()} ms; shift them to times >= 0.")
        check_number("t_stop", t_stop)
        if not t_stop > 0:
            raise InputError(f"t_stop must be > 0 ms; got {t_stop}.")
        check_number("threads", threads, integer=True)
        if threads < 1:
            raise InputError(f"threads must be >= 1; got {threads}.")

    def make_synapses(self) -> None:
        """Weights of 0, and the delays; ValueError for sizes < 1 or delays that cannot be."""
        if is_dataclass(self):
            check_fields(self)
        if self.n_in < 1 or self.n_out < 1:
            raise InputError(f"{type(self).__name__} needs sizes >= 1; got {self.n_in} -> {self.n_out}.")
        if not isinstance(self.neuron, LIF):
            raise InputError(f"{type(self).__name__} needs neurons given as a LIF; got a {type(self.neuron).__name__}.")
        self.delays = Delays(self.delays_given(), self.trainable_delays, self.max_delay, (self.n_in, self.n_out))
        self.trainable = tuple(self.trainable)
        self.neuron_parameters = NeuronParameters(self.neuron, self.trainable, self.parameter_sets())
        if "weight" in self.weight_shapes():
            self.weight = np.zeros(self.weight_shapes()["weight"])

    def delays_given(self) -> Any:
        """``delay`` as `Delays` takes it."""
        return self.delay

    def init(self, rng: np.random.Generator, scale: float = 1.0, mean: float | None = None) -> None:
        """Draw the weights from U(-scale, scale), or, with a mean, from N(mean, scale^2); and trained delays."""
        check_number("scale", scale)
        if mean is not None:
            check_number("mean", mean)
        if scale < 0:
            raise InputError(f"scale must be >= 0; got {scale}.")
        shape = self.weight_shapes()["weight"]
        self.weight = rng.uniform(-scale, scale, shape) if mean is None else rng.normal(mean, scale, shape)
        self.delays.init(rng)

    def trained_arrays(self) -> list[Parameter]:
        """What optimisers change in place: the weight, "delay_logit" if delays are trained, and the coordinates of
        trained parameters of the neurons."""
        weight = Parameter("weight", Kind.WEIGHT, self.weight)
        return [weight, *self.delays.trained_arrays("delay_logit"), *self.neuron_parameters.trained_arrays()]

    def parameters(self) -> dict[str, Floats]:
        """The arrays of ``trained_arrays`` by name."""
        return {p.name: p.array for p in self.trained_arrays()}

    def pull_back(self, gradients: dict[str, Floats]) -> dict[str, Floats]:
        """From derivatives by weights, delays (ms) and parameters of the neurons to derivatives by ``parameters()``."""
        neurons = self.neuron_parameters.pull_back(gradients)
        return {"weight": gradients["weight"], **self.delays.pull_back(gradients, "delay"), **neurons}

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> Any:
        """What the layer makes of its input spikes over [0, t_stop) ms."""
        raise NotImplementedError


@dataclass(eq=False, repr=False)
class Dense(Layer):
    """All inputs to all neurons of the layer.

    Parameters
    ----------
    n_in, n_out : sizes
    neuron : LIF; all neurons of a layer share tau_m and tau_syn
    delay : ms, >= 0; of all synapses, or (n_in,) by input, or (n_in, n_out) by synapse
    lateral_inhibition : weight w0 >= 0; every spike of the layer arrives at all its other neurons with
        weight -w0 (HM2-BP's output layer: w0 = 1 in the unit of its synaptic state). Not trained.
    lateral_delay : ms, > 0, of that inhibition
    trainable_delays : None, "input" (one delay per input) or "synapse"; the delays are then
        max_delay sigmoid(logit), within (0, max_delay) whatever an optimiser does, and start near half of it
    max_delay : ms, > 0
    trainable : some of "v_th", "bias" (each neuron's own), "tau_m", "tau_syn" (one for the layer); positive by
        construction, see `neuron_parameters`. Rules that have no gradient for them refuse the layer.
    weight : (n_in, n_out) float64, set by ``init``
    """

    n_in: int
    n_out: int
    neuron: LIF
    delay: Any = 0.0
    lateral_inhibition: float = 0.0
    lateral_delay: float = 1.0
    trainable_delays: str | None = None
    max_delay: float = 0.0
    trainable: tuple[str, ...] = ()
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)

    def __post_init__(self) -> None:
        self.make_synapses()
        if self.lateral_inhibition < 0 or (self.lateral_inhibition > 0 and not self.lateral_delay > 0):
            raise InputError(
                "lateral_inhibition must be >= 0 and its delay > 0 ms; got "
                f"{self.lateral_inhibition} and {self.lateral_delay}."
            )
        if not one_tau_each(self.neuron):
            raise NetworkError("the neurons of a Dense layer must share tau_m and tau_syn; got arrays.")

    @property
    def shares_events(self) -> bool:
        """Do all neurons get their input at the same instants, and only from the layer below?"""
        return self.lateral_inhibition == 0.0 and self.delays.by_input

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
        """Exact spikes: by the sweep, or by the queue where neurons inhibit each other or synapses have own delays.

        Raises ValueError : inputs of another size or before 0 ms, weights that are not finite.
        """
        self.check_forward(inputs, t_stop, threads)
        if self.shares_events:
            arrivals, _ = self.delays.arrivals(inputs)
            return run_layer_batch(pack_layer(self.weight, self.neuron), arrivals, t_stop, 0.0, threads)
        return run_flat_batch(self.plan(), inputs, t_stop, threads)

    def network(self) -> Network:
        """The layer as a network ("in" to "out"), lateral inhibition included."""
        net = Network()
        net.add_input("in", self.n_in)
        net.add_population("out", self.n_out, self.neuron)
        net.connect("in", "out", weight=self.weight, delay=self.delays.matrix())
        if self.lateral_inhibition > 0:
            lateral = -self.lateral_inhibition * (1.0 - np.eye(self.n_out))
            net.connect("out", "out", weight=lateral, delay=self.lateral_delay)
        return net

    def plan(self) -> FlatNetwork:
        """The layer's network in flat arrays, with the weights and delays of now."""
        return flatten(self.network(), seed=0)


@dataclass(eq=False, repr=False)
class Recurrent(Dense):
    """A Dense layer whose neurons also drive each other, all to all, themselves included.

    Parameters, besides those of Dense
    ----------------------------------
    recurrent_delay : ms, > 0; a number or (n_out, n_out)
    trainable_recurrent_delays : None, "input" (one per sending neuron) or "synapse", within (0, max_delay)
    recurrent_weight : (n_out, n_out) float64 [from, to], set by ``init`` from N(0, recurrent_scale^2/n_out)
    """

    recurrent_delay: Any = 1.0
    recurrent_scale: float = 0.0
    trainable_recurrent_delays: str | None = None
    recurrent_weight: Floats = field(init=False)
    recurrent_delays: Delays = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if np.min(self.recurrent_delay) <= 0:
            raise InputError(f"recurrent_delay must be > 0 ms; got {np.min(self.recurrent_delay)}.")
        shape = (self.n_out, self.n_out)
        self.recurrent_delays = Delays(self.recurrent_delay, self.trainable_recurrent_delays, self.max_delay, shape)
        self.recurrent_weight = np.zeros(shape)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """As ``Layer.weight_shapes``, and the recurrent weight."""
        return {**super().weight_shapes(), "recurrent_weight": (self.n_out, self.n_out)}

    def gradient_shapes(self) -> dict[str, list[tuple[int, ...]]]:
        """As ``Layer.gradient_shapes``, and the recurrent delay."""
        return {**super().gradient_shapes(), "recurrent_delay": self.recurrent_delays.gradient_shapes()}

    def needed_gradients(self) -> list[str]:
        """As ``Layer.needed_gradients``, and the recurrent delay if it is trained."""
        return [*super().needed_gradients(), *(["recurrent_delay"] if self.recurrent_delays.trained else [])]

    def check(self) -> None:
        """As ``Layer.check``."""
        super().check()
        self.recurrent_delays.check(self.describe())

    def init(self, rng: np.random.Generator, scale: float = 1.0, mean: float | None = None) -> None:
        """As ``Layer.init``; then the recurrent weights."""
        super().init(rng, scale, mean)
        sd = self.recurrent_scale / np.sqrt(self.n_out)
        self.recurrent_weight = rng.normal(0.0, sd, (self.n_out, self.n_out))
        self.recurrent_delays.init(rng)

    def trained_arrays(self) -> list[Parameter]:
        """As ``Layer.trained_arrays``; then the recurrent weight, and the logits of trained recurrent delays."""
        recurrent = Parameter("recurrent_weight", Kind.WEIGHT, self.recurrent_weight)
        logits = self.recurrent_delays.trained_arrays("recurrent_delay_logit")
        return [*super().trained_arrays(), recurrent, *logits]

    def pull_back(self, gradients: dict[str, Floats]) -> dict[str, Floats]:
        """As ``Layer.pull_back``."""
        recurrent = self.recurrent_delays.pull_back(gradients, "recurrent_delay")
        return {**super().pull_back(gradients), "recurrent_weight": gradients["recurrent_weight"], **recurrent}

    @property
    def shares_events(self) -> bool:
        """Never: neurons also get each other's spikes."""
        return False

    def network(self) -> Network:
        """The layer as a network: "in" to "out" and "out" to "out"."""
        net = super().network()
        net.connect("out", "out", weight=self.recurrent_weight, delay=self.recurrent_delays.matrix())
        return net


def _as_weight(what: str, value: Any) -> Floats:
    """A copy as float64. Raises ValueError : no real numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} must hold real numbers; got dtype {array.dtype}.")
    return np.array(array, dtype=np.float64, order="C")

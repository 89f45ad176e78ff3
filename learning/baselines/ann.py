"""Lines to compare with: a ReLU network of the same shape, and a linear classifier.

Neither spikes. They see the values that an encoder would turn into spikes, or, where the data are spikes, the number of
spikes of each input; labels, batches, epochs, optimiser and schedule are those of any other run, the loss is softmax
cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning.fixed_order import stretches_times, total
from evsim.learning.layers.dense import Layer
from evsim.learning.layers.parameter import Kind, Parameter
from evsim.learning.layers.readout import Voltages
from evsim.learning.losses import VoltageCrossEntropy
from evsim.learning.model import Sequential
from evsim.learning.training.dropout import Masks
from evsim.learning.training.optimisers import Optimiser
from evsim.learning.training.options import TrainingOptions
from evsim.learning.training.trainer import Trainer
from evsim.learning.validation import loss_and_signal, weighted
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True)
class ANN:
    """A multi-layer perceptron with ReLU hidden layers, as a rule for comparisons. It has no options."""

    signals: ClassVar[tuple[str, ...]] = ("values",)
    splits: ClassVar[str] = "halves"


@dataclass(frozen=True)
class Linear(ANN):
    """Multinomial logistic regression: the same without hidden layers."""


@dataclass(eq=False)
class Affine(Layer):
    """x @ weight + bias.

    weight : (n_in, n_out); bias : (n_out,)
    """

    n_in: int
    n_out: int
    neuron: LIF = field(default_factory=LIF, repr=False)  # of every layer; here it means nothing
    delay: Any = 0.0
    trainable_delays: str | None = None
    max_delay: float = 0.0
    weight: Floats = field(init=False)
    bias: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.make_synapses()
        self.bias = np.zeros(self.n_out)

    def init(self, rng: np.random.Generator, scale: float = 1.0, mean: float | None = None) -> None:
        """Weights from N(0, 2/n_in) (He et al. 2015), biases of 0; scale and mean are spiking layers' and not used."""
        self.weight = rng.normal(0.0, np.sqrt(2.0 / self.n_in), (self.n_in, self.n_out))
        self.bias = np.zeros(self.n_out)

    def trained_arrays(self) -> list[Parameter]:
        """Weight and bias."""
        return [Parameter("weight", Kind.WEIGHT, self.weight), Parameter("bias", Kind.NEURON, self.bias)]

    def needed_gradients(self) -> list[str]:
        """By weight and bias."""
        return ["weight", "bias"]

    def pull_back(self, gradients: dict[str, Floats]) -> dict[str, Floats]:
        """The gradients themselves."""
        return gradients


class Perceptron(Sequential):
    """Affine layers with ReLU between them.

    sizes : inputs, hidden layers, classes
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(*(Affine(a, b) for a, b in pairwise(sizes)))

    def forward(self, inputs: Any, t_stop: float = 0.0, threads: int = 1) -> list[Any]:
        """inputs : (n, n_in) values. Returns [inputs, values of each layer], the last before the softmax."""
        outputs: list[Any] = [_as_values(np.asarray(inputs, dtype=np.float64))]
        for k, layer in enumerate(self.layers):
            x = stretches_times(outputs[-1].values, layer.weight) + layer.bias  # type: ignore[attr-defined]
            outputs.append(_as_values(np.maximum(x, 0.0) if k < len(self.layers) - 1 else x))
        return outputs

    def backward(self, outputs: list[Any], signal: Floats) -> list[dict[str, Floats]]:
        """From dL/d values of the last layer, (n, n_out), to gradients of each layer, summed over the samples."""
        gradients: list[dict[str, Floats]] = []
        for k in range(len(self.layers) - 1, -1, -1):
            gradients.insert(0, _affine_gradients(outputs[k].values, signal))
            if k:
                signal = stretches_times(signal, self.layers[k].weight.T) * (outputs[k].values > 0.0)
        return gradients


def _affine_gradients(values: Floats, signal: Floats) -> dict[str, Floats]:
    """Of a layer that was given ``values``, (n, n_in); signal : dL/d output, (n, n_out)."""

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        error = signal[first:last]
        return {"weight": values[first:last].T @ error, "bias": error.sum(axis=0)}

    return total(len(signal), of_stretch)


class ANNTrainer(Trainer):
    """Trains a Perceptron as a Trainer trains a spiking model.

    scale : factor on spike counts, where the data are spikes
    """

    def __init__(
        self,
        model: Perceptron,
        rule: ANN,
        optimiser: Optimiser,
        options: TrainingOptions,
        scale: float = 1.0,
        comm: Any = None,
    ) -> None:
        if options.hidden_dropout > 0.0:
            raise InputError("hidden_dropout is of spiking networks; set it to 0 for ann and linear.")
        super().__init__(model, rule, VoltageCrossEntropy(), optimiser, options, comm=comm)  # type: ignore[arg-type]
        self.scale = scale

    def inputs(self, x: Any, keys: np.ndarray, epoch: int) -> Floats:
        """Values of samples ``keys``, the same in every epoch; of spikes their counts times ``scale``, in training
        after dropout, shift, turn and zoom."""
        if isinstance(x, SpikeBatch):
            spikes = replace(self.options, bias_spike=None).encode(x, keys, epoch)
            return np.asarray(spikes.counts() * self.scale, np.float64)
        return np.asarray(x[keys], np.float64)

    def _sums(
        self, inputs: Any, labels: np.ndarray, boost: Floats | None, masks: Masks | None
    ) -> tuple[list[dict[str, Floats]], list[Any], Floats]:
        outputs = self.model.forward(inputs, 0.0)
        loss, signal = loss_and_signal(self.loss, outputs[-1], labels)
        if boost is not None:
            signal = weighted(signal, outputs[-1], boost)
        model: Perceptron = self.model  # type: ignore[assignment]
        return model.backward(outputs, signal), outputs, loss


def count_scale(x: Any) -> float:
    """1/(largest count of a training sample's input), for spikes; 1 for values."""
    largest = float(x.counts().max(initial=1)) if isinstance(x, SpikeBatch) else 1.0
    return 1.0 / largest


def _as_values(x: Floats) -> Voltages:
    return Voltages(x, np.zeros(x.shape), np.full(x.shape, -1), np.zeros(x.shape))

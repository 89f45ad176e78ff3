"""What a trainer asks of a rule and of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from evsim.errors import GradientError
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.validation import check_arguments, check_result, check_rule, check_signals, loss_and_signal
from evsim.spikes import SpikeBatch
from evsim.types import Floats

if TYPE_CHECKING:
    from evsim.learning.training.dropout import Masks


class Loss(Protocol):
    """From outputs and labels to a value and its derivative.

    signal : by what the derivative is: "counts" (samples, n_out), "times" (n_spikes,) of the output spikes, "values"
        (samples, n_out) of a Readout, "moments" (samples, moments, n_out) of one with ``every``, or "psc", PSCGradient
    """

    signal: ClassVar[str]

    def __call__(self, outputs: Any, labels: np.ndarray) -> tuple[Floats, Any]:
        """Value of each sample, (n,), and the derivative; both finite."""
        ...

    def predict(self, outputs: Any) -> np.ndarray:
        """Class of each sample, (n,)."""
        ...


class Rule(Protocol):
    """From what a layer took and gave, and the signal at its output, to gradients and the signal at its input.

    signals : the kinds of signal that it can start from, a tuple of Loss.signal
    needs : (left out: every layer) what it takes of a layer, a `Needs`; ``check_layer`` refuses the others
    exact : (left out: False) does it claim to be the true gradient? ``check_gradient`` then holds it to that.
    splits : (left out: "stretches") how its gradients of a batch follow from those of parts of it. "halves": they are
        those of its two halves, added, bit for bit (``fixed_order.total`` gives such sums), so that it is given as much
        of a batch at once as there is; "stretches": it is given a few samples at a time, and what it gives is added;
        "never": it looks at whole batches, and cannot be trained over ranks.
    Where it has a true ``wakes_silent``, it can make silent neurons fire, and a silent layer is no error. Where it has
    ``figures(model, spikes, signal, t_stop) -> dict``, these go into the log of each epoch, of its last batch.
    """

    signals: ClassVar[tuple[str, ...]]

    def backward(
        self,
        layer: Any,
        inputs: SpikeBatch,
        outputs: Any,
        signal: Floats,
        t_stop: float,
        *,
        is_output: bool = False,
        wants_signal: bool = True,
        threads: int = 1,
    ) -> tuple[dict[str, Floats], Floats]:
        """Gradients summed over the samples, and the signal to the layer below.

        Gradients by weights and delays (ms), named and shaped as ``layer.gradient_shapes()`` says: {"weight": (n_in,
        n_out)}, of a Recurrent layer also "recurrent_weight", of trained delays also "delay". The signal below is an
        array, one number for each input spike (n_spikes,) or each input (samples, n_in), or a value of the rule's own.
        """
        ...


def check_signal(rule: Rule, loss: Loss) -> None:
    """Raises GradientError : a rule that cannot start from what the loss gives, or does not say from what it can."""
    check_signals(rule)
    if loss.signal not in rule.signals:
        raise GradientError(
            f"{type(loss).__name__} gives derivatives by {loss.signal}, but {type(rule).__name__} starts from "
            f"{' or '.join(rule.signals)}. Choose another loss or rule."
        )


def loss_gradients(
    model: Any, rule: Any, loss: Loss, inputs: SpikeBatch, labels: np.ndarray, t_stop: float, threads: int = 1
) -> list[dict[str, Floats]]:
    """Gradients of the summed loss of a batch, layer by layer, by any rule: one that goes back layer by layer, or one
    that runs the model in its own way and has ``model_gradients`` with these arguments, such as SurrogateBPTT.

    Raises GradientError : as ``backward``
    """
    if hasattr(rule, "model_gradients"):
        whole: list[dict[str, Floats]] = rule.model_gradients(model, loss, inputs, labels, t_stop, threads)
        return whole
    spikes = model.forward(inputs, t_stop, threads)
    return backward(model, rule, spikes, loss_and_signal(loss, spikes[-1], labels)[1], t_stop, threads)[0]


def backward(
    model: Any,
    rule: Rule,
    spikes: list[Any],
    signal: Floats,
    t_stop: float,
    threads: int = 1,
    wants_signal: bool = False,
    masks: Masks | None = None,
) -> tuple[list[dict[str, Floats]], Floats]:
    """A rule from the last layer to the first: gradients of each layer, and the signal at the model's input.

    spikes : what ``model.forward`` gave; signal : the loss's derivative; wants_signal : at the model's input too
    masks : with dropout between layers, then spikes are what ``masks.forward`` gave, and gradients are by the weights
        of ``masks.layers``

    Raises GradientError : arguments that do not fit together; a rule that gives unknown or missing names, other shapes,
    NaN or infinite
    """
    check_rule(rule)
    if len(spikes) != len(model.layers) + 1:
        raise GradientError(
            f"a model of {len(model.layers)} layers has {len(model.layers) + 1} batches of spikes, its inputs first; "
            f"got {len(spikes)}. Give what model.forward gave."
        )
    gradients: list[dict[str, Floats]] = []
    last = len(model.layers) - 1
    for k in range(last, -1, -1):
        layer, inputs, wanted = model.layers[k], spikes[k], wants_signal or k > 0
        if masks is not None:
            layer, inputs = masks.layers[k], masks.input_of(k, spikes[k])
        signal = check_arguments(rule, layer, inputs, spikes[k + 1], signal, t_stop, wanted)
        if isinstance(layer, SumPool2d):
            gradients.insert(0, {})
            signal = layer.signal_below(signal, inputs)
            continue
        result = rule.backward(
            layer, inputs, spikes[k + 1], signal, t_stop, is_output=k == last, wants_signal=wanted, threads=threads
        )
        gradient, signal = check_result(rule, f"layer {k}, {layer.describe()}", layer, inputs, result, wanted)
        if masks is not None:
            signal = masks.signal_below(k, signal, spikes[k])
        gradients.insert(0, gradient)
    return gradients, signal

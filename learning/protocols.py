"""What a trainer asks of a rule and of a loss."""

from __future__ import annotations

from dataclasses import Field
from typing import Any, ClassVar, Protocol

import numpy as np

from evsim.errors import GradientError
from evsim.types import Floats, SpikeBatch


class Loss(Protocol):
    """From outputs and labels to a value and its derivative.

    signal : by what the derivative is: "counts" (samples, n_out), "times" (n_spikes,) of the output spikes, "values"
        (samples, n_out) of a Readout, or "psc", a Pull
    """

    signal: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __call__(self, outputs: Any, labels: np.ndarray) -> tuple[Floats, Any]:
        """Value of each sample, (n,), and the derivative."""
        ...

    def predict(self, outputs: Any) -> np.ndarray:
        """Class of each sample, (n,)."""
        ...


class Rule(Protocol):
    """From what a layer took and gave, and the signal at its output, to gradients and the signal at its input.

    signals : the kinds of signal that it can start from
    Where it has a true ``wakes_silent``, it can make silent neurons fire, and a silent layer is no error. Where it has
    ``figures(model, spikes, signal, t_stop) -> dict``, these go into the log of each epoch, of its last batch.
    """

    signals: ClassVar[tuple[str, ...]]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

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
        """Gradients by weights and delays (ms), named as in ``Layer.pull_back``, and the signal to the layer below."""
        ...


def check_signal(rule: Rule, loss: Loss) -> None:
    """Raises GradientError : a rule that cannot start from what the loss gives."""
    if loss.signal not in rule.signals:
        raise GradientError(
            f"{type(loss).__name__} gives derivatives by {loss.signal}, but {type(rule).__name__} starts from "
            f"{' or '.join(rule.signals)}. Choose another loss or rule."
        )


def backward(
    model: Any,
    rule: Rule,
    spikes: list[Any],
    signal: Floats,
    t_stop: float,
    threads: int = 1,
    wants_signal: bool = False,
) -> tuple[list[dict[str, Floats]], Floats]:
    """A rule from the last layer to the first: gradients of each layer, and the signal at the model's input.

    spikes : what ``model.forward`` gave; signal : the loss's derivative; wants_signal : at the model's input too
    """
    gradients: list[dict[str, Floats]] = []
    last = len(model.layers) - 1
    for k in range(last, -1, -1):
        gradient, signal = rule.backward(
            model.layers[k], spikes[k], spikes[k + 1], signal, t_stop,
            is_output=k == last, wants_signal=wants_signal or k > 0, threads=threads,
        )  # fmt: skip
        gradients.insert(0, gradient)
    return gradients, signal

"""What a training run is made of besides model, rule, loss and optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim import encode
from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.layers.analog import AnalogBatch
from evsim.learning.layers.parameter import Kind
from evsim.learning.training.augmentation import RandomAffine
from evsim.learning.training.encoders import Encoder, Sample, encoder_of
from evsim.learning.training.regularisers import drop_spikes
from evsim.learning.training.schedules import Schedule, schedule_of
from evsim.spikes import SpikeBatch


@dataclass(frozen=True)
class TrainingOptions:
    """What a run is made of besides model, rule, loss and optimiser.

    duration : of a sample, ms
    encoder : an encoder, see `encoders`, or the name of one: "poisson" or "regular", at max_rate (Hz) for a value of 1;
        "latency", the earlier the larger; "linear", the later the larger; or "analog", a constant current that carries
        as much as max_rate spikes per second, for a first layer that is `Analog`. Data that are spikes already are
        taken as they are.
    window : ms, earliest and latest spike of "latency" and "linear"; None: (0, duration)
    bias_spike : ms; one more input that spikes then in every sample; None: no such input
    dropout : share of input spikes left out in training
    hidden_dropout : share of hidden neurons whose spikes are not handed on in training, for the whole sample; see
        `dropout.Masks`
    shift, turn, zoom : in training every sample is moved by up to ``shift`` pixels, rotated by up to ``turn`` degrees
        and scaled by up to 1 +- ``zoom``, anew in each epoch (`RandomAffine`). Needs a ``grid``.
    grid : (width, height, channels) of the inputs where they are pixels, without the bias spike's; else None
    frozen_noise : one Poisson realisation per sample, reused in every epoch (the original code did so)
    rate : step size; schedule : a schedule, see `schedules`, or the name of one: "constant", "sqrt"
        (rate/sqrt(epoch)), "cosine" (to 0 at ``epochs``) or "exponential" (times ``decay`` after each epoch)
    delay_rate : step size of trained delays' logits; None: ``rate``
    neuron_rate : step size of the coordinates of trained parameters of neurons (`NeuronParameters`); None: ``rate``
    validation : number of training samples set aside to select the epoch
    regularise : (strength lambda, beta, limit) of HM2-BP's weight regulariser, None: off;
        adds lambda beta (w/limit) exp(beta (mean_j (w_ij/limit)^2 - 1)) to the gradient
    boosting : after each epoch, a misclassified sample's weight is multiplied by
        exp(weighted error rate of its class/boosting); 0: off (the original code: 20)
    """

    duration: float = 400.0
    encoder: str | Encoder = "poisson"
    max_rate: float = 181.8
    window: tuple[float, float] | None = None
    bias_spike: float | None = None
    dropout: float = 0.0
    hidden_dropout: float = 0.0
    shift: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0
    grid: tuple[int, int, int] | None = None
    frozen_noise: bool = False
    epochs: int = 10
    batch_size: int = 20
    rate: float = 4e-3
    schedule: str | Schedule = "cosine"
    decay: float = 0.95
    delay_rate: float | None = None
    neuron_rate: float | None = None
    validation: int = 0
    regularise: tuple[float, float, float] | None = None
    boosting: float = 0.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("dropout", "hidden_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must lie in [0, 1); got {getattr(self, name)}.")
        if not (self.shift >= 0 and self.turn >= 0 and 0 <= self.zoom < 1):
            raise InputError(
                f"shift and turn must be >= 0, zoom in [0, 1); got {self.shift}, {self.turn} and {self.zoom}."
            )
        for name in ("duration", "rate", "max_rate", "decay"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be > 0; got {getattr(self, name)}.")
        for name in ("epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be >= 1; got {getattr(self, name)}.")
        for name in ("delay_rate", "neuron_rate", "boosting", "seed", "validation"):
            if getattr(self, name) is not None and getattr(self, name) < 0:
                raise InputError(f"{name} must be >= 0; got {getattr(self, name)}.")
        for name, size in (("window", 2), ("grid", 3), ("regularise", 3)):
            if getattr(self, name) is not None and len(getattr(self, name)) != size:
                raise InputError(f"{name} must be {size} numbers, or None; got {getattr(self, name)!r}.")
        if self.regularise is not None and not self.regularise[2] > 0:
            raise InputError(f"the limit of regularise must be > 0; got {self.regularise[2]}.")
        if self.bias_spike is not None and self.bias_spike < 0:
            raise InputError(f"bias_spike must be >= 0 ms; got {self.bias_spike}.")
        self.encoding()
        self.scheduling()

    def encoding(self) -> Encoder:
        """The encoder itself, where it was named."""
        return encoder_of(self.encoder, self.max_rate, self.window)

    def scheduling(self) -> Schedule:
        """The schedule itself, where it was named."""
        return schedule_of(self.schedule, self.decay)

    def encode(self, x: Any, keys: np.ndarray, epoch: int) -> Any:
        """Samples ``keys`` of x as spikes, or as currents; random streams are keyed by (seed, epoch, key).

        x : (n, features) in [0, 1], or a SpikeBatch

        Raises ValueError : values outside [0, 1] or not finite, another shape
        """
        if isinstance(x, SpikeBatch):
            result: Any = x.take(keys)
        else:
            samples = Sample(keys, epoch, self.seed, self.duration, self.threads)
            result = self.encoding()(encode.unit_interval(np.asarray(x)[keys]), samples)
        if isinstance(result, AnalogBatch):
            return result
        if epoch > 0 and (self.shift or self.turn or self.zoom):
            if self.grid is None:
                raise InputError("shift, turn and zoom move pixels; these inputs have no grid of pixels.")
            moves = RandomAffine(self.shift, self.turn, self.zoom)
            result = moves(result, self.grid, self.seed, epoch, keys)
        if self.bias_spike is not None:
            result = encode.with_spike(result, self.bias_spike)
        if self.dropout > 0.0 and epoch > 0:
            result = drop_spikes(result, self.dropout, self.seed, epoch, keys)
        return result

    def rate_share(self, kind: Kind) -> float:
        """Step size of a trained array of a kind, as a share of ``rate``."""
        rates = {Kind.DELAY: self.delay_rate, Kind.NEURON: self.neuron_rate}
        rate = rates.get(kind)
        return 1.0 if rate is None else rate / self.rate

    def rate_at(self, epoch: int, progress: float) -> float:
        """Step size at ``progress`` (0 ... 1) of an epoch (counted from 1)."""
        return self.scheduling()(self.rate, epoch, progress, self.epochs)

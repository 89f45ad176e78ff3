"""Training: epochs over a data set, from encoder to weights, with validation and resumable state."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from evsim import encode, streams
from evsim.errors import SilentLayerError
from evsim.learning.analog import AnalogBatch
from evsim.learning.augment import jiggle
from evsim.learning.fields import check_fields
from evsim.learning.layers import Layer
from evsim.learning.losses.checks import check_labels
from evsim.learning.model import Sequential
from evsim.learning.needs import check_layers
from evsim.learning.optimisers import Optimiser
from evsim.learning.protocols import Loss, Rule, backward, check_signal
from evsim.learning.remedies import AfterStep, Remedy, drop_spikes
from evsim.learning.saved_training import checked_training
from evsim.learning.validation import loss_and_signal, weighted
from evsim.types import Floats, SpikeBatch

_VALIDATION, _TEST = -1, -2
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainingOptions:
    """What a run is made of besides model, rule, loss and optimiser.

    duration : of a sample, ms
    encoder : "poisson" or "regular", at max_rate (Hz) for a value of 1; "latency", the earlier the larger; "linear",
        the later the larger; or "analog", a constant current that carries as much as max_rate spikes per second, for
        a first layer that is `Analog`. Data that are spikes already are taken as they are.
    window : ms, earliest and latest spike of "latency" and "linear"; None: (0, duration)
    bias_spike : ms; one more input that spikes then in every sample; None: no such input
    dropout : share of input spikes left out in training
    shift, turn, zoom : in training every sample is moved by up to ``shift`` pixels, turned by up to ``turn`` degrees
        and zoomed by up to 1 +- ``zoom``, anew in each epoch (`augment.jiggle`). Needs a ``grid``.
    grid : (width, height, channels) of the inputs where they are pixels, without the bias spike's; else None
    frozen_noise : one Poisson realisation per sample, reused in every epoch (the original code did so)
    rate : step size; schedule : "constant", "sqrt" (rate/sqrt(epoch)), "cosine" (to 0 at ``epochs``) or
        "exponential" (times ``decay`` after each epoch)
    delay_rate : step size of trained delays' logits; None: ``rate``
    neuron_rate : step size of the coordinates of trained parameters of neurons (`NeuronParameters`); None: ``rate``
    validation : number of training samples set aside to select the epoch
    regularise : (strength lambda, beta, limit) of HM2-BP's weight regulariser, None: off;
        adds lambda beta (w/limit) exp(beta (mean_j (w_ij/limit)^2 - 1)) to the gradient
    boosting : after each epoch, a misclassified sample's weight is multiplied by
        exp(weighted error rate of its class/boosting); 0: off (the original code: 20)
    """

    duration: float = 400.0
    encoder: str = "poisson"
    max_rate: float = 181.8
    window: tuple[float, float] | None = None
    bias_spike: float | None = None
    dropout: float = 0.0
    shift: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0
    grid: tuple[int, int, int] | None = None
    frozen_noise: bool = False
    epochs: int = 10
    batch_size: int = 20
    rate: float = 4e-3
    schedule: str = "cosine"
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
        if self.encoder not in ("poisson", "regular", "latency", "linear", "analog"):
            raise ValueError(f"encoder must be poisson, regular, latency, linear or analog; got {self.encoder!r}.")
        if self.schedule not in ("constant", "sqrt", "cosine", "exponential"):
            raise ValueError(f"schedule must be constant, sqrt, cosine or exponential; got {self.schedule!r}.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1); got {self.dropout}.")
        if not (self.shift >= 0 and self.turn >= 0 and 0 <= self.zoom < 1):
            raise ValueError(
                f"shift and turn must be >= 0, zoom in [0, 1); got {self.shift}, {self.turn} and {self.zoom}."
            )
        for name in ("duration", "rate", "max_rate", "decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0; got {getattr(self, name)}.")
        for name in ("epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1; got {getattr(self, name)}.")
        for name in ("delay_rate", "neuron_rate", "boosting", "seed", "validation"):
            if getattr(self, name) is not None and getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0; got {getattr(self, name)}.")
        for name, size in (("window", 2), ("grid", 3), ("regularise", 3)):
            if getattr(self, name) is not None and len(getattr(self, name)) != size:
                raise ValueError(f"{name} must be {size} numbers, or None; got {getattr(self, name)!r}.")
        if self.regularise is not None and not self.regularise[2] > 0:
            raise ValueError(f"the limit of regularise must be > 0; got {self.regularise[2]}.")
        if self.bias_spike is not None and self.bias_spike < 0:
            raise ValueError(f"bias_spike must be >= 0 ms; got {self.bias_spike}.")

    def encode(self, x: Any, keys: np.ndarray, epoch: int) -> SpikeBatch:
        """Samples ``keys`` of x as spikes; random streams are keyed by (seed, epoch, key).

        x : (n, features) in [0, 1], or a SpikeBatch

        Raises ValueError : values outside [0, 1] or not finite, another shape
        """
        early, late = self.window or (0.0, self.duration)
        values: Any = None if isinstance(x, SpikeBatch) else encode.unit_interval(np.asarray(x)[keys])
        if isinstance(x, SpikeBatch):
            result: SpikeBatch = x.take(keys)
        elif self.encoder == "poisson":
            result = encode.poisson(
                values * self.max_rate, self.duration, seed=self.seed, keys=keys, epoch=epoch, threads=self.threads
            )
        elif self.encoder == "regular":
            result = encode.regular(values * self.max_rate, self.duration)
        elif self.encoder == "latency":
            result = encode.latency(values, late, early=early)
        elif self.encoder == "analog":
            return AnalogBatch.of(values * self.max_rate / 1000.0)
        else:
            result = encode.linear(values, early, late)
        if epoch > 0 and (self.shift or self.turn or self.zoom):
            if self.grid is None:
                raise ValueError("shift, turn and zoom move pixels; these inputs have no grid of pixels.")
            result = jiggle(result, self.grid, self.shift, self.turn, self.zoom, self.seed, epoch, keys)
        if self.bias_spike is not None:
            result = encode.with_spike(result, self.bias_spike)
        if self.dropout > 0.0 and epoch > 0:
            result = drop_spikes(result, self.dropout, self.seed, epoch, keys)
        return result

    def rate_share(self, parameter: str) -> float:
        """Step size of a trained array, by its name, as a share of ``rate``."""
        if parameter.endswith("weight"):
            return 1.0
        own = self.delay_rate if "delay" in parameter else self.neuron_rate
        return 1.0 if own is None else own / self.rate

    def rate_at(self, epoch: int, progress: float) -> float:
        """Step size at ``progress`` (0 ... 1) of an epoch (counted from 1)."""
        if self.schedule == "sqrt":
            return self.rate / float(np.sqrt(epoch))
        if self.schedule == "cosine":
            done = min((epoch - 1 + progress) / self.epochs, 1.0)
            return self.rate * 0.5 * (1.0 + float(np.cos(np.pi * done)))
        if self.schedule == "exponential":
            return self.rate * self.decay ** (epoch - 1)
        return self.rate


@dataclass
class Tally:
    """Sums over an epoch or evaluation."""

    samples: int = 0
    correct: int = 0
    loss: float = 0.0
    input_spikes: int = 0
    events: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, spikes: list[Any], layers: list[Layer], hits: np.ndarray, loss: Floats) -> None:
        """Count a batch. events: spikes delivered to synapses."""
        self.samples += hits.size
        self.correct += int(hits.sum())
        self.loss += float(loss.sum())
        self.input_spikes += emitted(spikes[0])
        self.events += sum(emitted(s) * layer.n_out for s, layer in zip(spikes, layers))

    @property
    def accuracy(self) -> float:
        """Share of correct samples."""
        return self.correct / max(self.samples, 1)


def emitted(out: Any) -> int:
    """Spikes in what a layer gave; 0 of a layer that does not spike."""
    return out.times.size if isinstance(out, SpikeBatch) else 0


class Trainer:
    """Trains a model; everything random is keyed by (seed, epoch, sample), so a resumed run is the same run.

    ``state()`` after an epoch and ``load(state)`` in a new trainer continue bit for bit.
    """

    def __init__(
        self,
        model: Sequential,
        rule: Rule,
        loss: Loss,
        optimiser: Optimiser,
        options: TrainingOptions,
        remedies: Sequence[Remedy] = (),
    ) -> None:
        check_signal(rule, loss)
        check_layers(rule, model)
        self.model, self.rule, self.loss = model, rule, loss
        self.optimiser, self.options, self.remedies = optimiser, options, list(remedies)
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_accuracy = -1.0
        self.best_parameters: list[Floats] = self._copies()
        self.boost: Floats | None = None

    def split(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the training and validation samples among n, by the seed."""
        held = self.options.validation
        if not 0 <= held < n:
            raise ValueError(f"validation must leave training samples: {held} of {n} are to be set aside.")
        order = streams.rng("validation", self.options.seed).permutation(n)
        return np.sort(order[held:]), np.sort(order[:held])

    def inputs(self, x: Any, keys: np.ndarray, epoch: int) -> Any:
        """What the model is given for samples ``keys`` of x; see ``TrainingOptions.encode``."""
        return self.options.encode(x, keys, epoch)

    def _copies(self) -> list[Floats]:
        return [array.copy() for _, array in self.model.parameters()]

    def epochs(
        self,
        x: Any,
        y: np.ndarray,
        x_test: Any,
        y_test: np.ndarray,
        progress: Progress | None = None,
        validation: tuple[Any, np.ndarray] | None = None,
    ) -> Iterator[dict[str, float]]:
        """Train until ``options.epochs`` are done; yields a row of figures after each epoch.

        x, x_test : (n, features) in [0, 1], or SpikeBatches; y : (n,) labels; validation : samples and labels to
        select the epoch by, instead of ``options.validation`` training samples; progress(done, total) is called after
        each batch.
        Raises SilentLayerError : a layer emitted no spike in a whole epoch, and neither the rule nor a remedy says
        ``wakes_silent``: that it can make silent neurons fire. GradientError : a loss or a rule gave something of
        another shape, or not finite. ValueError : values or labels that do not fit.
        """
        o = self.options
        if getattr(self.rule, "neuron_parameters", False):
            warnings.warn(
                f"{type(self.rule).__name__}(neuron_parameters=True) computes derivatives by neuron parameters, of "
                "which training uses none: it only takes longer. Leave it out.",
                stacklevel=2,
            )
        y, y_test = check_labels(y, len(x), None), check_labels(y_test, len(x_test), None)
        train, held = self.split(len(x)) if validation is None else (np.arange(len(x)), np.arange(0))
        while self.epoch < o.epochs:
            started = time.perf_counter()
            epoch = self.epoch + 1
            tally, layer_spikes = self._train_epoch(epoch, x, y, train, progress)
            seconds = time.perf_counter() - started
            self._require_spikes(layer_spikes)
            row: dict[str, float] = {
                "epoch": epoch,
                "train_loss": tally.loss / tally.samples,
                "train_accuracy": tally.accuracy,
            }
            select = tally.accuracy
            if validation is not None:
                select = row["validation_accuracy"] = self.evaluate(*validation, _VALIDATION).accuracy
            elif held.size:
                select = row["validation_accuracy"] = self.evaluate(x, y, _VALIDATION, held).accuracy
            row["test_accuracy"] = self.evaluate(x_test, y_test).accuracy
            row |= {
                "seconds": seconds,
                "samples_per_second": tally.samples / seconds,
                "input_spikes": tally.input_spikes,
                "spikes": sum(layer_spikes.values()),
                "synaptic_events": tally.events,
                **tally.figures,
            }
            self.epoch = epoch
            self.history.append(row)
            if select > self.best_accuracy:
                self.best_accuracy, self.best_epoch = select, epoch
                self.best_parameters = self._copies()
            yield row

    def gradients(
        self, inputs: Any, labels: np.ndarray, boost: Floats | None = None
    ) -> tuple[list[Floats], list[Any], Floats]:
        """Gradients of the mean loss of a batch by ``model.parameters()``, the spikes of all layers, and the loss of
        each sample."""
        o = self.options
        spikes = self.model.forward(inputs, o.duration, o.threads)
        loss, signal = loss_and_signal(self.loss, spikes[-1], labels)
        if boost is not None:
            signal = weighted(signal, spikes[-1], boost)
        by_layer, _ = backward(self.model, self.rule, spikes, signal, o.duration, o.threads)
        # Not in place: what a rule gave may be an array of its own, or the weights themselves.
        gradients = [
            g / len(inputs)
            for layer, found in zip(self.model.layers, by_layer)
            for g in layer.pull_back(found).values()
        ]
        return gradients, spikes, loss

    def _figures(self, spikes: list[Any], labels: np.ndarray) -> dict[str, float]:
        """What the rule has to say about a batch, for the log; nothing for most rules."""
        figures = getattr(self.rule, "figures", None)
        if figures is None:
            return {}
        _, signal = loss_and_signal(self.loss, spikes[-1], labels)
        return dict(figures(self.model, spikes, signal, self.options.duration))

    def evaluate(
        self, x: Any, y: np.ndarray, stream: int = _TEST, rows: np.ndarray | None = None
    ) -> Tally:
        """Accuracy and mean loss on samples (on some ``rows`` of them), encoded from a stream of their own."""
        o, tally = self.options, Tally()
        y = check_labels(y, len(x), None)
        rows = np.arange(len(x)) if rows is None else rows
        for a in range(0, rows.size, 250):
            part = rows[a : a + 250]
            inputs = self.inputs(x, part, stream)
            spikes = self.model.forward(inputs, o.duration, o.threads)
            loss, _ = loss_and_signal(self.loss, spikes[-1], y[part])
            tally.add(spikes, self.model.layers, self.loss.predict(spikes[-1]) == y[part], loss)
        return tally

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain values and arrays."""
        return {
            "epoch": self.epoch,
            "weights": self._copies(),
            "optimiser": self.optimiser.state(),
            "random": {
                "scheme": "streams keyed by (seed, epoch, sample)",
                "seed": self.options.seed,
                "streams": streams.VERSION,
            },
            "seed": self.options.seed,
            "history": list(self.history),
            "best": {"epoch": self.best_epoch, "accuracy": self.best_accuracy, "weights": self.best_parameters},
            "boost": None if self.boost is None else self.boost.copy(),
            "thresholds": [np.asarray(layer.neuron.v_th, dtype=np.float64) for layer in self.model.layers],
            "rule": _plain(self.rule),
            "loss": _plain(self.loss),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from ``state()`` of an earlier run of the same model and options.

        Raises ValueError : not such a state; see ``checked_training``. Then nothing of it has been taken over.
        """
        state = checked_training(state, self.model)
        neurons = [layer.neuron.with_(v_th=v_th) for layer, v_th in zip(self.model.layers, state["thresholds"])]
        self.optimiser.load(state["optimiser"])
        for layer, neuron in zip(self.model.layers, neurons):
            layer.neuron = neuron
        self.model.set_parameters(state["weights"])
        self.epoch, self.history, self.boost = state["epoch"], state["history"], state["boost"]
        best = state["best"]
        self.best_epoch, self.best_accuracy, self.best_parameters = best["epoch"], best["accuracy"], best["weights"]

    def _train_epoch(
        self, epoch: int, x: Any, y: np.ndarray, train: np.ndarray, progress: Progress | None
    ) -> tuple[Tally, dict[int, int]]:
        o, tally = self.options, Tally()
        if o.boosting > 0 and self.boost is None:
            self.boost = np.ones(len(x))
        if self.boost is not None and self.boost.size != len(x):
            raise ValueError(f"the boosting weights are for {self.boost.size} samples; there are {len(x)}.")
        order = streams.rng("shuffling", o.seed, epoch).permutation(train)
        missed: list[np.ndarray] = []
        layer_spikes: dict[int, int] = {}
        for a in range(0, order.size, o.batch_size):
            # Sums run over the samples of a batch in the order of their indices.
            batch = np.sort(order[a : a + o.batch_size])
            inputs = self.inputs(x, batch, 0 if o.frozen_noise else epoch)
            boost = None if self.boost is None else self.boost[batch]
            gradients, spikes, loss = self.gradients(inputs, y[batch], boost)
            if a + o.batch_size >= order.size:
                tally.figures = self._figures(spikes, y[batch])
            if o.regularise is not None:
                for (name, w), g in zip(self.model.parameters(), gradients):
                    if name == "weight":
                        g += _regulariser_gradient(w, *o.regularise)
            for remedy in self.remedies:
                remedy(self.model, spikes, gradients, o.duration)
            rate = o.rate_at(epoch, a / order.size)
            names, arrays = zip(*self.model.parameters())
            rates = [rate * o.rate_share(name) for name in names]
            decay = [name.endswith("weight") for name in names]
            self.optimiser.step(list(arrays), gradients, rates, o.threads, decay)
            for remedy in self.remedies:
                if isinstance(remedy, AfterStep):
                    remedy.after_step(self.model)
            hits = self.loss.predict(spikes[-1]) == y[batch]
            tally.add(spikes, self.model.layers, hits, loss)
            missed.append(batch[~hits])
            for k, s in enumerate(spikes[1:]):
                if isinstance(s, SpikeBatch):
                    layer_spikes[k] = layer_spikes.get(k, 0) + emitted(s)
            if progress is not None:
                progress(min(a + o.batch_size, order.size), order.size)
        if self.boost is not None:
            _boost(self.boost, y, train, np.concatenate(missed), o.boosting)
        return tally, layer_spikes

    def _require_spikes(self, layer_spikes: dict[int, int]) -> None:
        """A remedy makes silent neurons fire, or the rule, but for the last layer if the loss is of spike times."""
        wakes, *remedied = (getattr(part, "wakes_silent", False) for part in (self.rule, *self.remedies))
        reaches = len(self.model.layers) - (self.loss.signal == "times")
        for k, n in layer_spikes.items():
            if n == 0 and not (any(remedied) or (wakes and k < reaches)):
                raise SilentLayerError(
                    f"layer {k} (of {len(self.model.layers)}, counted from 0) emitted no spike in a whole epoch, so "
                    "nothing can be learned through it. Lower its v_th, raise the encoder's max_rate or the weight "
                    "scale, let calibrate() choose the thresholds, or give a remedy that can wake silent neurons: "
                    "WeightBumping, CountRegularisation or SilentVoltage."
                )


def _plain(part: Any) -> dict[str, Any]:
    """Settings of a rule or a loss as plain values: the fields of a dataclass, the attributes of any other object;
    target trains as their times, functions left out."""
    values = {f.name: getattr(part, f.name) for f in fields(part)} if is_dataclass(part) else vars(part)
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if hasattr(value, "signal") or (is_dataclass(value) and not isinstance(value, SpikeBatch)):
            plain[name] = _plain(value)
        elif not callable(value):
            plain[name] = value.times if isinstance(value, SpikeBatch) else value
    return plain


def _regulariser_gradient(w: Floats, strength: float, beta: float, limit: float) -> Floats:
    mean_square = np.mean((w / limit) ** 2, axis=0)
    return strength * beta * (w / limit) * np.exp(beta * (mean_square - 1.0))


def _boost(weights: Floats, y: np.ndarray, train: np.ndarray, missed: np.ndarray, boosting: float) -> None:
    total = np.bincount(y[train], weights=weights[train])
    wrong = np.bincount(y[missed], weights=weights[missed], minlength=total.size)
    rate = wrong / np.maximum(total, 1e-300)
    weights[missed] *= np.exp(rate[y[missed]] / boosting)

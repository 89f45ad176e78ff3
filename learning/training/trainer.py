"""Training: epochs over a data set, from encoder to weights, with validation and resumable state."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from evsim import streams
from evsim.errors import InputError, SilentLayerError
from evsim.learning.layers.parameter import Kind
from evsim.learning.losses.checks import check_labels
from evsim.learning.model import Sequential
from evsim.learning.needs import check_layers
from evsim.learning.protocols import Loss, Rule, backward, check_signal
from evsim.learning.training.dropout import Masks
from evsim.learning.training.optimisers import Optimiser
from evsim.learning.training.options import TrainingOptions
from evsim.learning.training.regularisers import AfterStep, Regulariser
from evsim.learning.training.saved import checked_training
from evsim.learning.training.tally import Tally, emitted
from evsim.learning.validation import loss_and_signal, weighted
from evsim.spikes import SpikeBatch
from evsim.types import Floats

_VALIDATION, _TEST = -1, -2
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Learned:
    """What a batch was while it was learned.

    outputs : of the last layer; loss : (n,)
    emitted : spikes of each layer, None of one that does not spike
    delivered : spikes that each layer was handed
    figures : what the rule has to say, see `protocols.Rule`
    """

    outputs: Any
    loss: Floats
    emitted: list[int | None]
    delivered: list[int]
    figures: dict[str, float] = field(default_factory=dict)


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
        regularisers: Sequence[Regulariser] = (),
    ) -> None:
        check_signal(rule, loss)
        check_layers(rule, model)
        self.model, self.rule, self.loss = model, rule, loss
        self.optimiser, self.options, self.regularisers = optimiser, options, list(regularisers)
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
            raise InputError(f"validation must leave training samples: {held} of {n} are to be set aside.")
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
        Raises SilentLayerError : a layer emitted no spike in a whole epoch, and neither the rule nor a regulariser says
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
        self, inputs: Any, labels: np.ndarray, boost: Floats | None = None, masks: Masks | None = None
    ) -> tuple[list[Floats], list[Any], Floats]:
        """Gradients of the mean loss of a batch by ``model.parameters()``, the spikes of all layers, and the loss of
        each sample. boost : (n,) factors on the losses; masks : which hidden neurons hand their spikes on."""
        o = self.options
        run = self.model.forward if masks is None else masks.forward
        spikes = run(inputs, o.duration, o.threads)
        loss, signal = loss_and_signal(self.loss, spikes[-1], labels)
        if boost is not None:
            signal = weighted(signal, spikes[-1], boost)
        by_layer, _ = backward(self.model, self.rule, spikes, signal, o.duration, o.threads, masks=masks)
        # Not in place: what a rule gave may be an array of its own, or the weights themselves.
        gradients = [
            g / len(inputs)
            for layer, of_layer in zip(self.model.layers, by_layer)
            for g in layer.pull_back(of_layer).values()
        ]
        return gradients, spikes, loss

    def load_kernels(self, inputs: Any, labels: np.ndarray) -> None:
        """A batch whose gradients are not used, so that no epoch's time contains compiling or loading of kernels."""
        self.gradients(inputs, labels)
        type(self.optimiser)().step([np.zeros(1)], [np.zeros(1)], 1e-3)

    def _figures(self, spikes: list[Any], labels: np.ndarray, masks: Masks | None) -> dict[str, float]:
        """What the rule has to say about a batch, without dropout, for the log; nothing for most rules."""
        figures = getattr(self.rule, "figures", None)
        if figures is None:
            return {}
        if masks is not None:
            spikes = self.model.forward(spikes[0], self.options.duration, self.options.threads)
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
            hits = self.loss.predict(spikes[-1]) == y[part]
            tally.add([emitted(s) for s in spikes[:-1]], self.model.layers, hits, loss)
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
            raise InputError(f"the boosting weights are for {self.boost.size} samples; there are {len(x)}.")
        order = streams.rng("shuffling", o.seed, epoch).permutation(train)
        missed: list[np.ndarray] = []
        layer_spikes: dict[int, int] = {}
        for a in range(0, order.size, o.batch_size):
            # Sums run over the samples of a batch in the order of their indices.
            batch = np.sort(order[a : a + o.batch_size])
            inputs = self.inputs(x, batch, 0 if o.frozen_noise else epoch)
            boost = None if self.boost is None else self.boost[batch]
            rate = o.rate_at(epoch, a / order.size)
            done = self._learn(inputs, y[batch], boost, rate, epoch, batch, a + o.batch_size >= order.size)
            tally.figures = done.figures
            hits = self.loss.predict(done.outputs) == y[batch]
            tally.add(done.delivered, self.model.layers, hits, done.loss)
            missed.append(batch[~hits])
            for k, n in enumerate(done.emitted):
                if n is not None:
                    layer_spikes[k] = layer_spikes.get(k, 0) + n
            if progress is not None:
                progress(min(a + o.batch_size, order.size), order.size)
        if self.boost is not None:
            _boost(self.boost, y, train, np.concatenate(missed), o.boosting)
        return tally, layer_spikes

    def _learn(
        self, inputs: Any, labels: np.ndarray, boost: Floats | None, rate: float, epoch: int, keys: np.ndarray,
        is_last: bool,
    ) -> Learned:  # fmt: skip
        """A batch: its gradients and a step of the optimiser. is_last : of the epoch, so the rule's figures are
        wanted."""
        share = self.options.hidden_dropout
        masks = Masks(self.model, share, self.options.seed, epoch, keys) if share > 0.0 else None
        more = () if masks is None else (masks,)
        gradients, spikes, loss = self.gradients(inputs, labels, boost, *more)
        figures = self._figures(spikes, labels, masks) if is_last else {}
        self._step(gradients, spikes, rate)
        counts = [emitted(s) if isinstance(s, SpikeBatch) else None for s in spikes[1:]]
        delivered = [emitted(s) for s in (spikes[:-1] if masks is None else masks.handed(spikes))]
        return Learned(spikes[-1], loss, counts, delivered, figures)

    def _step(self, gradients: list[Floats], spikes: list[Any], rate: float) -> None:
        """The optimiser's step, with what regularises. spikes : of all layers, which regularisers look at."""
        o = self.options
        if o.regularise is not None:
            for (name, w), g in zip(self.model.parameters(), gradients):
                if name == "weight":
                    g += _regulariser_gradient(w, *o.regularise)
        for regulariser in self.regularisers:
            regulariser(self.model, spikes, gradients, o.duration)
        parameters = self.model.trained_arrays()
        rates = [rate * o.rate_share(p.kind) for p in parameters]
        decay = [p.kind is Kind.WEIGHT for p in parameters]
        self.optimiser.step([p.array for p in parameters], gradients, rates, o.threads, decay)
        for regulariser in self.regularisers:
            if isinstance(regulariser, AfterStep):
                regulariser.after_step(self.model)

    def _require_spikes(self, layer_spikes: dict[int, int]) -> None:
        """A regulariser can make silent neurons fire, or the rule, but for the last layer if the loss is of times."""
        wakes, *waking = (getattr(part, "wakes_silent", False) for part in (self.rule, *self.regularisers))
        reaches = len(self.model.layers) - (self.loss.signal == "times")
        for k, n in layer_spikes.items():
            if n == 0 and not (any(waking) or (wakes and k < reaches)):
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

"""Training: epochs over a data set, from encoder to weights, with validation and resumable state."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
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
from evsim.learning.training.shares import Shares
from evsim.learning.training.tally import Tally, emitted, summed_counts
from evsim.learning.validation import loss_and_signal, weighted
from evsim.ranks.alone import ALONE
from evsim.ranks.given import ranks_of
from evsim.spikes import SpikeBatch
from evsim.types import Floats

_VALIDATION, _TEST = -1, -2
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Learned:
    """What a part of a batch was while it was learned.

    hits : (n,) whether the class was read right; loss : (n,)
    emitted : spikes of each layer, None of one that does not spike
    delivered : spikes that each layer was handed
    """

    hits: np.ndarray
    loss: Floats
    emitted: list[int | None]
    delivered: list[int]


class Trainer:
    """Trains a model; everything random is keyed by (seed, epoch, sample), so a resumed run is the same run.

    comm : a communicator of mpi4py (MPI.COMM_WORLD) whose ranks share each batch; see docs/clusters.md. All call the
        same methods with the same arguments, and have the same weights, bit for bit, as one process has.

    ``state()`` after an epoch and ``load(state)`` in a new trainer continue bit for bit.

    Raises GradientError : parts that do not go together; over ranks, a rule that looks at whole batches
    """

    def __init__(
        self,
        model: Sequential,
        rule: Rule,
        loss: Loss,
        optimiser: Optimiser,
        options: TrainingOptions,
        regularisers: Sequence[Regulariser] = (),
        comm: Any = None,
    ) -> None:
        check_signal(rule, loss)
        check_layers(rule, model)
        self.comm = ranks_of(comm)
        self.shares = Shares(self.comm, getattr(rule, "splits", "stretches"), type(rule).__name__)
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
            self.shares.check_equal([p.array for p in self.model.trained_arrays()], f"after epoch {epoch}")
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
        each sample, in this process alone. boost : (n,) factors on the losses; masks : which hidden neurons hand their
        spikes on."""
        shares = Shares(ALONE, self.shares.splits, type(self.rule).__name__)
        several = len(shares.parts(len(inputs))) > 1
        found: list[tuple[list[Any], Floats]] = []

        def of_part(first: int, last: int) -> dict[Any, Floats]:
            if several:
                some = np.arange(first, last)
                part = inputs.take(some) if isinstance(inputs, SpikeBatch) else inputs[some]
                sums, spikes, loss = self._sums(
                    part, labels[some], None if boost is None else boost[some],
                    None if masks is None else masks.take(some),
                )  # fmt: skip
            else:
                sums, spikes, loss = self._sums(inputs, labels, boost, masks)
            found.append((spikes, loss))
            return self._by_name(sums, several)

        sums = shares.total(len(inputs), of_part)
        spikes, loss = shares.outputs([s for s, _ in found]), np.concatenate([v for _, v in found])
        return self._means(sums, len(inputs), 1.0 if masks is None else masks.scale), spikes, loss

    def _sums(
        self, inputs: Any, labels: np.ndarray, boost: Floats | None, masks: Masks | None
    ) -> tuple[list[dict[str, Floats]], list[Any], Floats]:
        """Of some samples: gradients of the summed loss, layer by layer, as the rule gives them; the spikes of all
        layers; the loss of each sample. With masks, by the weights that layers have in training."""
        o = self.options
        run = self.model.forward if masks is None else masks.forward
        spikes = run(inputs, o.duration, o.threads)
        loss, signal = loss_and_signal(self.loss, spikes[-1], labels)
        if boost is not None:
            signal = weighted(signal, spikes[-1], boost)
        by_layer, _ = backward(self.model, self.rule, spikes, signal, o.duration, o.threads, masks=masks)
        return by_layer, spikes, loss

    def _by_name(self, sums: list[dict[str, Floats]], copied: bool) -> dict[Any, Floats]:
        """Gradients that the layers need, by (layer, name); copied: they are to be added to, and a rule may keep its
        arrays."""
        wanted = [(k, name) for k, layer in enumerate(self.model.layers) for name in layer.needed_gradients()]
        return {(k, name): sums[k][name].copy() if copied else sums[k][name] for k, name in wanted}

    def _means(self, sums: dict[Any, Floats], n: int, scale: float = 1.0) -> list[Floats]:
        """From sums over a batch of n samples to gradients of the mean loss by ``model.parameters()``.

        scale : of the weights of all layers but the first in training, see `Masks`
        """
        out: list[Floats] = []
        for k, layer in enumerate(self.model.layers):
            of_layer = {name: values for (at, name), values in sums.items() if at == k}
            if k > 0 and scale != 1.0 and "weight" in of_layer:
                of_layer["weight"] = scale * of_layer["weight"]
            # Not in place: what a rule gave may be an array of its own, or the weights themselves.
            out += [g / n for g in layer.pull_back(of_layer).values()]
        return out

    def load_kernels(self, inputs: Any, labels: np.ndarray) -> None:
        """A batch whose gradients are not used, so that no epoch's time contains compiling or loading of kernels."""
        self.gradients(inputs, labels)
        type(self.optimiser)().step([np.zeros(1)], [np.zeros(1)], 1e-3)

    def _figures(self, x: Any, labels: np.ndarray, batch: np.ndarray, epoch: int) -> dict[str, float]:
        """What the rule has to say about a batch, without dropout, for the log; nothing for most rules. All ranks ask
        it about all samples."""
        figures = getattr(self.rule, "figures", None)
        if figures is None:
            return {}
        spikes = self.model.forward(self.inputs(x, batch, epoch), self.options.duration, self.options.threads)
        _, signal = loss_and_signal(self.loss, spikes[-1], labels)
        return dict(figures(self.model, spikes, signal, self.options.duration))

    def evaluate(
        self, x: Any, y: np.ndarray, stream: int = _TEST, rows: np.ndarray | None = None
    ) -> Tally:
        """Accuracy and mean loss on samples (on some ``rows`` of them), encoded from a stream of their own."""
        o, tally = self.options, Tally()
        y = check_labels(y, len(x), None)
        rows = np.arange(len(x)) if rows is None else rows
        parts, mine = self.shares.evaluated(rows.size)
        found: list[Learned] = []
        for a, b in mine:
            some = rows[a:b]
            spikes = self.model.forward(self.inputs(x, some, stream), o.duration, o.threads)
            loss, _ = loss_and_signal(self.loss, spikes[-1], y[some])
            hits = self.loss.predict(spikes[-1]) == y[some]
            found.append(Learned(hits, loss, [], [emitted(s) for s in spikes[:-1]]))
        hits, loss = self.shares.of_all(rows.size, mine, [f.hits for f in found], [f.loss for f in found])
        tally.deliver(summed_counts(self.comm.objects([f.delivered for f in found])), self.model.layers)
        for a, b in parts:
            tally.add(hits[a:b], loss[a:b])
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
        starts = range(0, order.size, o.batch_size)
        # Sums run over the samples of a batch in the order of their indices.
        batches = [np.sort(order[a : a + o.batch_size]) for a in starts]
        mine: list[tuple[int, int]] = []
        found: list[Learned] = []
        for a, batch in zip(starts, batches):
            if a == starts[-1]:
                tally.figures = self._figures(x, y[batch], batch, self._stream_of(epoch))
            learned = self._learn(x, y, batch, o.rate_at(epoch, a / order.size), epoch)
            mine += [(a + first, a + last) for first, last in self.shares.parts(batch.size)]
            found += learned
            if progress is not None:
                progress(min(a + o.batch_size, order.size), order.size)
        hits, loss = self.shares.of_all(order.size, mine, [f.hits for f in found], [f.loss for f in found])
        emitted_by_layer, delivered = (
            summed_counts(self.comm.objects([getattr(f, name) for f in found])) for name in ("emitted", "delivered")
        )
        tally.deliver(delivered, self.model.layers)
        for a, batch in zip(starts, batches):
            tally.add(hits[a : a + batch.size], loss[a : a + batch.size])
        if self.boost is not None:
            _boost(self.boost, y, train, np.concatenate(batches)[hits == 0.0], o.boosting)
        return tally, {k: n for k, n in enumerate(emitted_by_layer) if n is not None}

    def _stream_of(self, epoch: int) -> int:
        """Which realisation of the inputs an epoch learns from."""
        return 0 if self.options.frozen_noise else epoch

    def _learn(self, x: Any, y: np.ndarray, batch: np.ndarray, rate: float, epoch: int) -> list[Learned]:
        """A batch, samples ``batch`` of x: its gradients and a step of the optimiser. What each of this rank's parts of
        it was."""
        n, share = batch.size, self.options.hidden_dropout
        several = len(self.shares.parts(n)) > 1
        looks = any(getattr(regulariser, "looks_at_spikes", True) for regulariser in self.regularisers)
        outputs: list[list[Any]] = []
        found: list[Learned] = []

        def of_part(first: int, last: int) -> dict[Any, Floats]:
            keys = batch[first:last]
            masks = Masks(self.model, share, self.options.seed, epoch, keys) if share > 0.0 else None
            boost = None if self.boost is None else self.boost[keys]
            sums, spikes, loss = self._sums(self.inputs(x, keys, self._stream_of(epoch)), y[keys], boost, masks)
            hits = self.loss.predict(spikes[-1]) == y[keys]
            counts = [emitted(s) if isinstance(s, SpikeBatch) else None for s in spikes[1:]]
            handed = spikes[:-1] if masks is None else masks.handed(spikes)
            found.append(Learned(hits, loss, counts, [emitted(s) for s in handed]))
            if looks:
                outputs.append(spikes)
            return self._by_name(sums, several)

        gradients = self._means(self.shares.total(n, of_part), n, 1.0 / (1.0 - share))
        self._step(gradients, self.shares.outputs(outputs) if looks else [], rate)
        return found

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

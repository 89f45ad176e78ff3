"""Weight updates within a sample: OTTT_O, and S-TLLR the same way.

All samples of a batch run side by side as streams. Where a window of a loss at every moment ends, the mean of what they
have learned in it is a step of the optimiser, and the weights that it leaves hold from there on. Nothing is kept from
sample to sample but the weights, so a resumed run is the same run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evsim.errors import GradientError
from evsim.learning.layers.moments import Moments
from evsim.learning.model import Sequential
from evsim.learning.protocols import Loss, Rule
from evsim.learning.rules.s_tllr import STLLR
from evsim.learning.training.optimisers import Optimiser
from evsim.learning.training.options import TrainingOptions
from evsim.learning.training.regularisers import Regulariser
from evsim.learning.training.streaming import StreamingSTLLR
from evsim.learning.training.trainer import Learned, Trainer
from evsim.learning.validation import loss_and_signal
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.threads import workers
from evsim.types import Floats


class OnlineTrainer(Trainer):
    """A Trainer that steps at the end of each window of a sample, where `Trainer` steps after it.

    rule : STLLR or ottt; loss : of `Moments`; model : as `StreamingSTLLR` takes it, a Readout with ``every`` the last
    regularisers : those that look at gradients and weights alone; each acts at every step, as ``regularise`` does

    An epoch's loss and accuracy are of what the readout gave while weights changed.

    Raises GradientError : another rule or loss, a model or regulariser that does not go with it
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
        if not isinstance(rule, STLLR):
            raise GradientError(
                "weights are updated within a sample by STLLR and ottt, which learn forward in time; "
                f"{type(rule).__name__} goes back from its end. Update after the sample, or take one of these."
            )
        if loss.signal != "moments":
            raise GradientError(
                f"weight updates within a sample need a loss at every moment; {type(loss).__name__} is known at its "
                "end. Take MomentaryCrossEntropy and a Readout with every, or update after the sample."
            )
        if options.hidden_dropout > 0.0:
            raise GradientError("weight updates within a sample do not go with hidden_dropout; set it to 0.")
        looking = [type(r).__name__ for r in regularisers if getattr(r, "wakes_silent", False)]
        if looking:
            raise GradientError(
                f"{looking[0]} looks at the spikes of whole samples; leave it out, or update after the sample."
            )
        super().__init__(model, rule, loss, optimiser, options, regularisers, comm)
        if self.comm.size > 1:
            raise GradientError(
                "weight updates within a sample are not shared among ranks: each is a step of all samples of a batch, "
                "so many in a sample that ranks would only wait for each other. Run one process, or update after the "
                "sample."
            )
        self._stream(0)

    def load_kernels(self, inputs: SpikeBatch, labels: np.ndarray) -> None:
        """As ``Trainer.load_kernels``."""
        streams = [self._stream(int(label)) for label in labels]
        for _ in self._windows(streams, inputs, None):
            type(self.optimiser)().step([np.zeros(1)], [np.zeros(1)], 1e-3)

    def _stream(self, label: int) -> StreamingSTLLR:
        rule: STLLR = self.rule  # type: ignore[assignment]
        return StreamingSTLLR(self.model, rule, self.options.duration, self.loss, label)

    def _learn(self, x: Any, y: np.ndarray, batch: np.ndarray, rate: float, epoch: int) -> list[Learned]:
        labels = y[batch]
        inputs = self.inputs(x, batch, self._stream_of(epoch))
        streams = [self._stream(int(label)) for label in labels]
        for gradients in self._windows(streams, inputs, None if self.boost is None else self.boost[batch]):
            self._step(gradients, [], rate)
        values = [stream.finish()[1] for stream in streams]
        outputs = Moments(np.concatenate([m.values for m in values]), values[0].starts, values[0].end)
        loss, _ = loss_and_signal(self.loss, outputs, labels)
        emitted = [int(n) for n in np.sum([stream.emitted for stream in streams], axis=0)]
        hits = self.loss.predict(outputs) == labels
        return [Learned(hits, loss, [*emitted, None], [inputs.times.size, *emitted])]

    def _windows(
        self, streams: list[StreamingSTLLR], inputs: SpikeBatch, boost: Floats | None
    ) -> Iterator[list[Floats]]:
        """On to the end of each window; gradients of the mean loss by ``model.parameters()``, of that window."""
        trains = list(inputs)
        factors = np.ones(len(streams)) if boost is None else boost

        def advance(k: int, end: float) -> list[Floats]:
            train, stream = trains[k], streams[k]
            a, b = np.searchsorted(train.times, [stream.now, end])
            stream.advance(SpikeTrains.owning(train.times[a:b], train.neurons[a:b], train.size), end)
            by_layer = stream.taken()
            return [g for layer, d in zip(self.model.layers, by_layer) for g in layer.pull_back(d).values()]

        def advance_all(end: float) -> list[list[Floats]]:
            with workers(self.options.threads) as pool:
                return list(pool(advance, range(len(streams)), [end] * len(streams)))

        for end in streams[0].ends():
            # In the order of the samples, whatever thread was first.
            of_each = zip(*advance_all(end))
            yield [sum(f * g for f, g in zip(factors, of_all)) / len(streams) for of_all in of_each]
        if streams[0].now < self.options.duration:
            advance_all(self.options.duration)

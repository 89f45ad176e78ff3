"""S-TLLR online: a sample is simulated and learned window by window, and nothing is kept of what is past.

What remains is a state for each neuron and source and one number for each synapse, whatever the duration. The error of
the last layer is known at the end only, of the sample or of a window of a loss at every moment; as eligibilities enter
the gradient linearly, they are added up before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evsim.engine.runaway import Populations
from evsim.errors import GradientError, InputError
from evsim.learning._kernels.arrays import MembraneState, Train
from evsim.learning._kernels.window_of_layer import layer_window
from evsim.learning.fields import check_number
from evsim.learning.layers.dense import Recurrent
from evsim.learning.layers.moments import Moments, MomentsOfStream, windows_before
from evsim.learning.layers.readout import Readout
from evsim.learning.model import Sequential
from evsim.learning.needs import check_layer
from evsim.learning.protocols import Loss, check_signal
from evsim.learning.rules.s_tllr import STLLR, Traces, one_delay, profile_of
from evsim.learning.rules.traces.events import layer_events, source_weights
from evsim.learning.rules.traces.signals import Separable
from evsim.learning.validation import loss_and_signal
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.types import Floats


class StreamingSTLLR:
    """One sample at a time, fed in windows of any length; spikes and gradients are those of ``STLLR`` on the whole.

    model : spiking layers and a Readout of feature "integral", or one with ``every``; with feedback "backprop" one
        spiking layer
    rule : STLLR
    t_stop : duration of the sample, ms
    loss, label : with ``every`` here, not in ``finish``: a mean over the moments, and the sample's class

    >>> stream = StreamingSTLLR(model, STLLR(), t_stop=1000.0)
    >>> for end, spikes in windows:                 # spikes : SpikeTrains, from the window before to before ``end``
    ...     stream.advance(spikes, end)
    >>> gradients, voltages = stream.finish(loss, label)

    With ``every``, ``taken`` gives the gradients of the windows that have ended. Weights that are changed then, in
    place or by assignment, hold from there on: weight updates within a sample (OTTT_O).

    Raises GradientError : models in which the learning signal does not separate from the eligibility
    """

    def __init__(
        self, model: Sequential, rule: STLLR, t_stop: float, loss: Loss | None = None, label: int | None = None
    ) -> None:
        *spiking, readout = model.layers
        check_number("t_stop", t_stop)
        if not t_stop > 0:
            raise InputError(f"t_stop must be > 0 ms; got {t_stop}.")
        for layer in model.layers:
            layer.check()
        if not isinstance(readout, Readout) or (readout.feature != "integral" and readout.every is None):
            raise GradientError("a stream needs a Readout of feature integral, or with every, as the last layer.")
        if (readout.every is None) != (loss is None) or (loss is None) != (label is None):
            raise GradientError(
                "a stream takes loss and label at its beginning if its Readout has every, else in finish; got "
                f"loss={loss!r:.60}, label={label!r} and every={readout.every}."
            )
        if not spiking or (len(spiking) > 1 and rule.feedback == "backprop"):
            raise GradientError(
                f"a stream learns one spiking layer, or any number with feedback random; got {len(spiking)} with "
                f"feedback {rule.feedback}: the error at the end cannot be backpropagated through potentials gone by."
            )
        self.rule, self.readout, self.t_stop = rule, readout, t_stop
        self.inputs = model.layers[0].n_in
        self.now = 0.0
        self.stages = [_Stage(layer, rule) for layer in spiking]
        self.share = np.zeros(readout.n_in)
        self.loss, self.label = loss, label
        self.moments: MomentsOfStream | None = None
        if loss is None:
            self.profile, self.first = profile_of(readout, t_stop), 0.0
            return
        check_signal(rule, loss)
        self.moments = MomentsOfStream(readout, one_delay(readout), t_stop)
        windows, self.profile = windows_before(readout, one_delay(readout), t_stop)
        self.first = float(windows[0])
        self.gradients = self._zeros()
        self._close_windows()

    def advance(self, spikes: SpikeTrains, end: float) -> None:
        """Go on to ``end`` (ms) with the input spikes from now to before it.

        Raises ValueError : an end that is not after now or beyond t_stop, spikes outside or of other neurons.
        """
        if not self.now < end <= self.t_stop:
            raise InputError(f"a window must end after {self.now} and at most at {self.t_stop} ms; got {end}.")
        if not isinstance(spikes, SpikeTrains) or spikes.size != self.inputs:
            raise InputError(f"the stream takes SpikeTrains of {self.inputs} inputs; got {spikes!r:.60}.")
        times, neurons = spikes.times, spikes.neurons
        if times.size and not (times[0] >= self.now and times[-1] < end):
            raise InputError(f"spikes must lie from {self.now} to before {end} ms; got {times[0]} ... {times[-1]}.")
        while self.now < end:
            stop = end if self.moments is None else self.moments.next_border(end)
            a, b = np.searchsorted(times, [self.now, stop])
            self._go(times[a:b], neurons[a:b], stop)

    def ends(self) -> list[float]:
        """With ``every``: where its windows end as seen from the layers below, ms."""
        if self.moments is None:
            raise GradientError("a sample has windows if the Readout has every; give it that.")
        return [float(t) for t in self.moments.borders[1:] if t > 0.0]

    @property
    def emitted(self) -> list[int]:
        """Spikes of each spiking layer so far."""
        return [stage.emitted for stage in self.stages]

    def taken(self) -> list[dict[str, Floats]]:
        """With ``every``: gradients of each layer, of the windows that have ended since the last call."""
        if self.moments is None:
            raise GradientError("the error is known at the end only: give the Readout every.")
        gradients, self.gradients = self.gradients, self._zeros()
        return gradients

    def finish(self, loss: Loss | None = None, label: int | None = None) -> tuple[list[dict[str, Floats]], Any]:
        """Gradients of each layer, as of ``protocols.backward``, and what the readout gave.

        With ``every`` the gradients are those that were not yet taken, and loss and label are left out.
        """
        if self.now < self.t_stop:
            raise InputError(f"the sample ends at {self.t_stop} ms; advance to it first (now {self.now}).")
        if self.moments is not None:
            if loss is not None or label is not None:
                raise GradientError("this stream was given its loss and label at its beginning; finish takes none.")
            return self.taken(), Moments(self.moments.values[None], self.moments.starts, self.t_stop)
        if loss is None or label is None:
            raise GradientError("finish needs the loss and the label of the sample.")
        silent = SpikeBatch.owning(np.empty(0), np.empty(0, np.int32), np.zeros(2, np.int64), self.readout.n_in)
        without = self.readout.forward(silent, self.t_stop)
        voltages = replace(without, values=without.values + self.share @ self.readout.weight)
        check_signal(self.rule, loss)
        _, error = loss_and_signal(loss, voltages, np.array([label]))
        return self._gradients(error, self.share), voltages

    def _go(self, times: Floats, neurons: np.ndarray, end: float) -> None:
        for stage in self.stages:
            times, neurons = stage.advance(times, neurons, self.now, end, self._unit(stage))
        if self.moments is None:
            self.share += np.bincount(neurons, self.profile(times), self.readout.n_in)
        else:
            self.moments.advance(times, neurons, self.now, end)
        self.now = end
        self._close_windows()

    def _close_windows(self) -> None:
        m = self.moments
        while m is not None and m.passed < m.borders.size and m.borders[m.passed] <= self.now:
            ended, share = m.close()
            if ended < 0:
                continue
            here = Moments(m.values[None, ended : ended + 1], m.starts[ended : ended + 1], self.t_stop)
            _, error = loss_and_signal(self.loss, here, np.array([self.label]))
            for total, more in zip(self.gradients, self._gradients(error[:, 0] / m.starts.size, share)):
                for name, g in more.items():
                    total[name] += g
            for stage in self.stages:
                stage.eligibility[:] = 0.0

    def _zeros(self) -> list[dict[str, Floats]]:
        layers = [*(stage.layer for stage in self.stages), self.readout]
        return [{name: np.zeros(shape) for name, shape in layer.weight_shapes().items()} for layer in layers]

    def _gradients(self, error: Floats, share: Floats) -> list[dict[str, Floats]]:
        """From eligibilities up to now and what the error is, (1, n_out)."""
        top = Separable(error[:, None, :], np.zeros(1), self.profile, self.t_stop, error[:, None, :])
        signal = self.rule.routed(top, self.readout.weight)
        gradients: list[dict[str, Floats]] = [{"weight": np.outer(share, error[0])}]
        for stage in reversed(self.stages):
            gradients.insert(0, stage.gradients(signal.coefficients[0, 0]))
            signal = top.random(stage.layer.n_in, self.rule.feedback_seed, signal.depth)
        return gradients

    def _unit(self, stage: _Stage) -> Separable:
        """A learning signal of 1, times what depends on time alone."""
        one = np.ones((1, 1, stage.layer.n_out))
        begin = max(self.rule.supervise_from, self.first)
        return Separable(one, np.array([begin]), self.profile, self.t_stop - one_delay(self.readout), one)


class _Stage:
    """A layer of a stream: its state, arrivals that are still to come, and eligibilities, (n_sources, n_out)."""

    def __init__(self, layer: Any, rule: STLLR) -> None:
        none = SpikeBatch.owning(np.empty(0), np.empty(0, np.int32), np.zeros(2, np.int64), layer.n_in)
        no_spikes = SpikeBatch.owning(none.times, none.neurons, none.offsets, layer.n_out)
        self.layer = layer
        check_layer(rule, layer, hands_on=False)
        self.events = layer_events(layer, none, no_spikes)
        self.traces = Traces(rule, self.events)
        self.eligibility = np.zeros(self.events.weight.shape)
        self.coming = np.empty(0), np.empty(0, np.int32)
        self.room = 256
        self.emitted = 0

    def advance(
        self, times: Floats, neurons: np.ndarray, start: float, end: float, unit: Separable
    ) -> tuple[Floats, np.ndarray]:
        """Spikes of the layer in the window, sorted; recurrent delays shorter than it cut it in parts."""
        self.events = replace(self.events, weight=source_weights(self.layer))
        self._expect(times + self._delay(self.layer.delays, neurons), neurons)
        pieces: list[tuple[Floats, np.ndarray]] = []
        longest = end - start
        if isinstance(self.layer, Recurrent):
            longest = float(np.min(self.layer.recurrent_delays.value()))
        while start < end:
            stop = min(start + longest, end)
            pieces.append(self._window(start, stop, unit))
            if isinstance(self.layer, Recurrent):
                t, n = pieces[-1]
                self._expect(t + self._delay(self.layer.recurrent_delays, n), n + self.layer.n_in)
            start = stop
        return np.concatenate([t for t, _ in pieces]), np.concatenate([n for _, n in pieces])

    def gradients(self, coefficients: Floats) -> dict[str, Floats]:
        """Eligibilities times what the learning signal was, (n_out,)."""
        whole = self.eligibility * coefficients
        n_in = self.layer.n_in
        recurrent = isinstance(self.layer, Recurrent)
        return {"weight": whole[:n_in], **({"recurrent_weight": whole[n_in:]} if recurrent else {})}

    @staticmethod
    def _delay(delays: Any, neurons: np.ndarray) -> Any:
        value = delays.value()
        return value[neurons] if value.ndim else value

    def _expect(self, times: Floats, sources: np.ndarray) -> None:
        t, s = np.append(self.coming[0], times), np.append(self.coming[1], sources)
        order = np.lexsort((s, t))
        self.coming = t[order], s[order].astype(np.int32)

    def _window(self, start: float, end: float, unit: Separable) -> tuple[Floats, np.ndarray]:
        a = int(np.searchsorted(self.coming[0], end))
        times, sources = self.coming[0][:a], self.coming[1][:a]
        self.coming = self.coming[0][a:].copy(), self.coming[1][a:].copy()
        e, m = self.events, self.traces.membrane
        state = MembraneState(m.u, m.current, m.release)
        while True:
            spikes = Train(np.empty(self.room), np.empty(self.room, np.int32))
            n = layer_window(Train(times - start, sources), e.neurons, e.weight, state, start, end, spikes)
            if n < 0:
                layer = Populations({"the layer": 0}, 0, np.full(e.weight.shape[1], e.tau_m))
                raise layer.stuck(-1 - n, start)
            if n <= self.room:
                break
            self.room = 2 * n
        order = np.lexsort((spikes.neurons[:n], spikes.times[:n]))
        fired, neurons = spikes.times[:n][order], spikes.neurons[:n][order]
        self.emitted += int(n)
        one = np.array([0, times.size]), np.array([0, n])
        self.traces.layer = replace(
            e, arrivals=SpikeBatch.owning(times, sources, one[0], e.arrivals.size),
            outputs=SpikeBatch.owning(fired, neurons, one[1], e.outputs.size),
        )  # fmt: skip
        self.traces.advance(0, start, end, unit, self.eligibility)
        if m.now < end:
            # With spikes in place of psi the rule has not looked at potentials.
            m.follow(e, np.array([end]), times, sources, fired, neurons)
        return fired, neurons

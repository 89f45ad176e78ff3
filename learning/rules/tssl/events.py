"""The events of TSSL-BP and their errors, and the way back from them to weights and input spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evsim.errors import GradientError
from evsim.learning._kernels import tssl as kernels
from evsim.learning._kernels.arrays import Batch
from evsim.learning._kernels.quiet import QuietPoints, replay_samples
from evsim.learning.fixed_order import total
from evsim.learning.layers.analog import Analog, joined
from evsim.learning.psc_gradient import PSCGradient
from evsim.learning.rules.arrival_gradients import by_input
from evsim.neurons.arrays import neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.threads import over_stretches
from evsim.types import Floats


class Switches(Protocol):
    """What the events ask of their rule; see ``TSSLBP``."""

    @property
    def inter(self) -> str: ...
    @property
    def intra(self) -> str: ...
    @property
    def silent(self) -> str: ...
    @property
    def quiet(self) -> float: ...
    @property
    def max_gain(self) -> float: ...
    @property
    def reference_step(self) -> float: ...
    @property
    def samples_silence(self) -> bool: ...

    def surrogate(self, u: Any, theta: Any) -> Floats:
        """sigma'(u), per unit of the potential."""

    def acting_on(self, outputs: SpikeBatch, signal: Any) -> Switches:
        """The switches for this batch."""


@dataclass(frozen=True, eq=False)
class SpikeErrors:
    """psi of all events of a layer in a batch, by sample and time, in parts that add up.

    kinds : a spike, a maximum or a kick; inter, intra, silent : (n_events,), per unit of the potential
    clipped : share of spikes whose slope was below the bound
    """

    times: Floats
    neurons: np.ndarray
    offsets: np.ndarray
    kinds: np.ndarray
    inter: Floats
    intra: Floats
    silent: Floats
    clipped: float

    @property
    def psi(self) -> Floats:
        """The sum of the parts."""
        return self.inter + self.intra + self.silent


def spike_errors(
    rule: Switches, layer: Any, inputs: SpikeBatch, outputs: SpikeBatch, signal: Any, t_stop: float, threads: int = 1
) -> SpikeErrors:
    """psi of the layer's spikes and virtual spikes; arguments as in ``TSSLBP.backward``."""
    if outputs.currents is None:
        raise ValueError("these spikes carry no currents; take them from model.forward.")
    rule = rule.acting_on(outputs, signal)
    has_psc = isinstance(signal, PSCGradient)
    if rule.silent == "only" and not has_psc:
        raise GradientError("TSSLBP(silent='only') needs a loss of PSCs or of a Readout's values.")
    p = neuron_arrays(layer.neuron, layer.n_out)
    n = outputs.times.size
    inter, intra, clipped = np.zeros(n), np.zeros(n), np.zeros(n, np.bool_)
    extra = rule.silent != "none" and has_psc
    at_release, instants, u = np.zeros(0), None, np.zeros(0)
    if extra or rule.intra == "exact":
        at_release, instants, u = replay(
            layer, inputs, outputs, t_stop, np.inf if rule.silent == "only" else rule.quiet,
            rule.reference_step if rule.samples_silence else 0.0, threads,
        )  # fmt: skip
    if rule.silent != "only":
        sign, unit, by_spike = _inter(rule, signal, float(p.tau_exc[0]))
        at = kernels.SpikeSignal(outputs.currents, at_release, by_spike)
        factors = kernels.SpikeFactors(sign, unit, _INTRA_CODES[rule.intra])
        errors = kernels.SpikeErrors(inter, intra, clipped)
        least = np.abs(p.theta) / (rule.max_gain * rule.reference_step)

        def stretch(first: int, last: int) -> None:
            kernels.spike_errors(Batch.of(outputs), at, p, least, factors, errors, first, last)

        over_stretches(stretch, len(outputs), threads)
    share = float(clipped.mean()) if n else 0.0
    if not extra or instants is None:
        kinds = np.full(n, kernels.SPIKE)
        return SpikeErrors(outputs.times, outputs.neurons, outputs.offsets, kinds, inter, intra, np.zeros(n), share)
    silent = rule.surrogate(u, p.theta[instants.neurons]) * signal.at(instants)
    kind = kernels.KICK if rule.samples_silence else kernels.TOP_OF_U
    none = np.zeros(silent.size)
    groups = [_Group(instants.times, instants.samples(), instants.neurons, kind, none, none, silent)]
    if rule.silent == "replace":
        groups += _only_where_not_quiet(outputs, inter, intra, p.tau_m[0], float(p.tau_exc[0]), p.t_ref, rule.quiet)
    spikes = _Group(outputs.times, outputs.samples(), outputs.neurons, kernels.SPIKE, inter, intra, np.zeros(n))
    return _merged([spikes, *groups], len(outputs), share)


_INTRA_CODES = {"none": kernels.KEEP_NONE, "code": kernels.KEEP_CODE, "exact": kernels.KEEP_EXACT}


def _inter(rule: Switches, signal: Any, tau_s: float) -> tuple[float, float, Floats]:
    """sign, unit and signal of the inter-neuron term sign signal unit/u'."""
    if rule.inter == "true":
        return -1.0, 1.0, signal.by_time if isinstance(signal, PSCGradient) else signal
    if isinstance(signal, PSCGradient):
        return 1.0, 1.0 / rule.reference_step, signal.by_psc
    # The authors' factor tau_s: where C falls like exp(-t/tau_s) it is -tau_s dC/dt.
    return -1.0, tau_s / rule.reference_step, signal


@dataclass(frozen=True, eq=False)
class _Group:
    """Events of one kind, as in ``SpikeErrors``, not yet by sample and time."""

    times: Floats
    samples: np.ndarray
    neurons: np.ndarray
    kind: int
    inter: Floats
    intra: Floats
    silent: Floats


def _merged(groups: list[_Group], n_samples: int, clipped: float) -> SpikeErrors:
    def joined_up(name: str) -> Any:
        return np.concatenate([getattr(g, name) for g in groups])

    times, samples = joined_up("times"), joined_up("samples")
    kinds = np.repeat([g.kind for g in groups], [g.times.size for g in groups])
    order = np.lexsort((times, samples))
    offsets = np.searchsorted(samples[order], np.arange(n_samples + 1))
    inter, intra, silent = (joined_up(name)[order] for name in ("inter", "intra", "silent"))
    return SpikeErrors(times[order], joined_up("neurons")[order], offsets, kinds[order], inter, intra, silent, clipped)


def quiet_before(spikes: SpikeBatch, tau_s: float, t_ref: Floats, quiet: float) -> tuple[Floats, np.ndarray]:
    """(n_spikes,), when the quiet stretch began that each spike ended, ms: inf where it ended none; and whether its
    neuron was released before then (not held, and not at the beginning of the sample).

    t_ref : (size,); quiet : jumps of a neuron's own PSC below which it is quiet
    """
    order = np.lexsort((spikes.times, spikes.places()))
    place, times = spikes.places()[order], spikes.times[order]
    first = np.diff(place, prepend=-1) != 0
    trace = np.ones(times.size)
    at = np.flatnonzero(first)
    while at.size:
        at = at[at + 1 < times.size] + 1
        at = at[~first[at]]
        trace[at] += trace[at - 1] * np.exp((times[at - 1] - times[at]) / tau_s)
    since, released = np.zeros(times.size), np.zeros(times.size)
    later = np.flatnonzero(~first)
    released[later] = times[later - 1] + t_ref[spikes.neurons[order][later]]
    since[later] = np.maximum(times[later - 1] + tau_s * np.log(trace[later - 1] / quiet), released[later])
    free = since > released
    since = np.where(since < times, since, np.inf)
    out, was_free = np.empty(times.size), np.empty(times.size, np.bool_)
    out[order], was_free[order] = since, free
    return out, was_free


def _only_where_not_quiet(
    outputs: SpikeBatch, inter: Floats, intra: Floats, tau_m: float, tau_s: float, t_ref: Floats, quiet: float
) -> list[_Group]:
    """Take from the spikes that ended a quiet stretch what would act on the currents there (inter, intra are changed).

    Left of each: a kick, its own step; and, from the beginning of the stretch backwards, its psi decayed until there.
    """
    since, free = quiet_before(outputs, tau_s, t_ref, quiet)
    ends = np.flatnonzero(np.isfinite(since))
    before = ends[free[ends]]
    left = np.exp((since[before] - outputs.times[before]) / tau_m)
    samples = outputs.samples()
    groups = [
        _Group(
            times, samples[which], outputs.neurons[which], kind, share * inter[which], share * intra[which],
            np.zeros(which.size),
        )
        for which, times, kind, share in (
            (ends, outputs.times[ends], kernels.KICK, 1.0), (before, since[before], kernels.TOP_OF_U, left)
        )
    ]  # fmt: skip
    inter[ends] = intra[ends] = 0.0
    return groups


def replay(
    layer: Any, inputs: SpikeBatch, outputs: SpikeBatch, t_stop: float, quiet: float, step: float = 0.0,
    threads: int = 1,
) -> tuple[Floats, SpikeBatch, Floats]:  # fmt: skip
    """Potentials along the recorded spikes: the current at the release after each, and potentials of quiet stretches.

    quiet : jumps of a neuron's own PSC below which it is quiet; a stretch ends with its next spike, or t_stop
    step : ms; 0: the highest local maximum of every quiet stretch. Own spikes and the borders of a stretch are no
        maxima; a stretch that lasts to t_stop without one gives its middle, so that neurons whose potential never
        rises are not forgotten. > 0: every multiple of it in a quiet stretch
    Returns (n_spikes,); those instants, as spikes; and the potentials there, above rest.
    """
    if isinstance(layer, Analog):
        return _replay_analog(layer, inputs, outputs, t_stop, quiet, step)
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, _ = layer.delays.arrivals(inputs)
    n = len(outputs)
    if step > 0:
        room = np.arange(n + 1) * int(np.ceil(t_stop / step)) * layer.n_out
    else:
        room = outputs.offsets + np.arange(n + 1) * layer.n_out
    at_release = np.zeros(outputs.times.size)
    count = np.zeros(n, np.int64)
    points = QuietPoints(room, count, np.empty(room[-1]), np.empty(room[-1], np.int32), np.empty(room[-1]))

    def stretch(first: int, last: int) -> None:
        replay_samples(
            Batch.of(arrivals), Batch.of(outputs), p, layer.weight, at_release, points, first, last, float(t_stop),
            float(quiet), float(step),
        )  # fmt: skip

    over_stretches(stretch, n, threads)
    sample = np.repeat(np.arange(n), count)
    place = np.repeat(room[:-1], count) + np.arange(sample.size) - np.repeat(np.cumsum(count) - count, count)
    place = place[np.lexsort((points.neurons[place], points.times[place], sample))]
    instants = SpikeBatch.owning(
        points.times[place], points.neurons[place], np.append(0, np.cumsum(count)), layer.n_out
    )
    return at_release, instants, points.u[place]


def _replay_analog(
    layer: Analog, inputs: SpikeBatch, outputs: SpikeBatch, t_stop: float, quiet: float, step: float
) -> tuple[Floats, SpikeBatch, Floats]:
    """``replay`` sample by sample: of each one's twin, whose currents and potentials are J lower."""
    at_release, points, u = [], [], []
    for k, final in enumerate(layer.final_currents(inputs)):
        twin, jump = layer.twin(final)
        spikes = outputs.take([k])
        currents, instants, heights = replay(twin, jump, spikes, t_stop, quiet, step)
        at_release.append(currents + final[spikes.neurons])
        points.append(instants)
        u.append(heights + final[instants.neurons])
    return np.concatenate([np.empty(0), *at_release]), joined(points, layer.n_out), np.concatenate([np.empty(0), *u])


def _arrays(events: SpikeErrors, psi: Floats) -> kernels.ErrorEvents:
    return kernels.ErrorEvents(events.times, events.neurons, events.offsets, events.kinds, psi)


def weight_gradient(
    layer: Any, events: SpikeErrors, psi: Floats, inputs: SpikeBatch, t_stop: float, step: float, threads: int = 1
) -> Floats:
    """Gradient by a layer's weights from psi of its events, a part of ``SpikeErrors`` or their sum, (n_in, n_out)."""
    if not isinstance(layer, Analog):
        return backpropagate(layer, events, psi, inputs, t_stop, step, True, False, threads)[0]["weight"]
    p = neuron_arrays(layer.neuron, layer.n_out)
    d_final = np.empty((len(inputs), layer.n_out))
    kernels.backpropagate_analog(_arrays(events, psi), p, 0, len(inputs), float(step), d_final)
    values: Floats = layer.tau_s * inputs.values  # type: ignore[attr-defined]
    return total(len(inputs), lambda a, b: {"weight": values[a:b].T @ d_final[a:b]}, threads)["weight"]


def backpropagate(
    layer: Any, events: SpikeErrors, psi: Floats, batch: SpikeBatch, t_stop: float, step: float, by_weight: bool,
    by_signal: bool, threads: int = 1,
) -> tuple[dict[str, Floats], Floats, Floats]:  # fmt: skip
    """Gradients by the weights and trained delays if ``by_weight`` (then ``batch`` is the layer's input), and, if
    ``by_signal``, the derivatives by size and time of the PSC of each spike of ``batch``; zeros otherwise. Gradients by
    delays need both. step : ms, of kicks"""
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, order = layer.delays.arrivals(batch)
    by_psc, by_time = np.zeros(batch.times.size), np.zeros(batch.times.size)
    at = _arrays(events, psi)
    shape = layer.weight.shape if by_weight else (0, 0)

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        gradients = {"weight": np.zeros(shape)}
        kernels.backpropagate(
            Batch.of(arrivals), at, p, layer.weight, kernels.TSSLGradient(gradients["weight"], by_psc, by_time), first,
            last, float(t_stop), float(step), by_weight, by_signal,
        )  # fmt: skip
        if by_weight and layer.delays.trained is not None:
            gradients["delay"] = by_input(arrivals, by_time, first, last)
        return gradients

    gradients = total(len(batch), of_stretch, threads)
    if order is not None:
        by_psc[order], by_time[order] = by_psc.copy(), by_time.copy()
    return gradients, by_psc, by_time

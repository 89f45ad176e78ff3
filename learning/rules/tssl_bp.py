"""TSSL-BP: temporal spike sequence learning via backpropagation (Zhang and Li, NeurIPS 2020), on exact spike times.

With C_n(t) the derivative of the loss by the size of a PSC that neuron n starts at t (``Pull``), psi_p the derivative
by the potential at the neuron's p-th spike, u'_p its slope there, eps the S-PSP kernel and D_p the time from the
release after spike p to the next spike:

    psi_p      = [ C(t_p)/h + psi_{p+1} exp(-D_p/tau_m) (theta - u_reset)/tau_m ] min(1/u'_p, 8 h/theta)
    dE/dw_ij   = sum_p psi_p e^(p)_ij,         C_j(t) = sum_i w_ij sum_p psi_{i,p} eps(t_p - release, t_p - t)

with h the reference step (the authors' time step, their unit of time). The chain rule has -dC/dt in place of C/h, and a
term more in the bracket: see docs/tssl_bp.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.errors import GradientError
from evsim.learning._kernels import tssl as kernels
from evsim.learning.fixed_order import added, borders
from evsim.learning.layers import Dense
from evsim.learning.pull import Pull
from evsim.learning.readout import Readout, Voltages, arrival_factors
from evsim.learning.rules.eventprop import EventProp, peaks_of
from evsim.neurons import NeuronArrays, neuron_arrays
from evsim.threads import over_stretches, workers
from evsim.types import Floats, SpikeBatch

INTER, INTRA, SILENT = ("code", "true"), ("code", "exact", "none"), ("virtual", "steps", "none", "only")


@dataclass(frozen=True)
class TSSLBP:
    """Temporal spike sequence learning (Zhang and Li 2020): PSCs between neurons, resets within them.

    inter : between neurons, "code": C at the spike, as the authors have it; "true": -dC/dt, the chain rule
    intra : from a neuron's next spike, "code": the reset's share (theta - u_reset)/(tau_m u'); "exact": the chain
        rule's (i - u_reset)/(tau_m u') at the release; "none"
    silent : what acts where a neuron has no spike, each event with psi = sigma'(u) C and no reset. "virtual": the
        highest local maximum of the potential in every quiet stretch (without one, the middle of a stretch that lasts
        to the end); "steps": every multiple of reference_step in a quiet stretch, on the current there alone, as the
        authors' time steps do; "none"; "only": every multiple of reference_step, quiet or not, and nothing else
    a : width of sigma'(u) = e^z/(1 + e^z)^2/(a theta), z = (u/theta - 1)/a within +-max_z
    quiet : a neuron is quiet while its own PSC is below this many jumps (the authors' th = 1/(4 tau_s) is 1/4 of one)
    max_gain : upper bound of theta/(u' reference_step): thresholds climbed in one step count at least 1/max_gain
    reference_step : ms, the authors' time step; it scales "code" terms and the bound, nothing else

    ``inter="true", intra="exact", silent="none", max_gain=inf`` is EventProp.
    """

    inter: str = "code"
    intra: str = "code"
    silent: str = "virtual"
    a: float = 0.2
    quiet: float = 0.25
    max_z: float = 8.0
    max_gain: float = 8.0
    reference_step: float = 1.0
    signals: ClassVar[tuple[str, ...]] = ("psc", "times", "values")

    def __post_init__(self) -> None:
        for name, known in (("inter", INTER), ("intra", INTRA), ("silent", SILENT)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")
        for name in ("a", "max_z", "max_gain", "reference_step"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0; got {getattr(self, name)}.")
        if not 0 < self.quiet < 1:
            raise ValueError(f"quiet must lie between 0 and 1 jumps of the PSC; got {self.quiet}.")

    @property
    def wakes_silent(self) -> bool:
        """Can neurons without a spike learn to fire? Then a silent layer is no error."""
        return self.silent != "none"

    def surrogate(self, u: Any, theta: Any) -> Floats:
        """sigma'(u), per unit of the potential; u and theta above rest."""
        e = np.exp(-np.minimum(np.abs(u / theta - 1.0) / self.a, self.max_z))
        found: Floats = e / ((1.0 + e) ** 2 * self.a * theta)
        return found

    def backward(
        self,
        layer: Any,
        inputs: SpikeBatch,
        outputs: SpikeBatch | Voltages,
        signal: Any,
        t_stop: float,
        *,
        is_output: bool = False,
        wants_signal: bool = True,
        threads: int = 1,
    ) -> tuple[dict[str, Floats], Any]:
        """From a layer's Pull to its gradients and the Pull at its input.

        signal : Pull; or (n_spikes,) dL/dt of each spike, then the output layer has the chain rule's inter term and no
            virtual spikes; of a Readout dL/d value
        Returns {"weight": (n_in, n_out)}, with ``inter="true"`` and trained delays also "delay" (n_in,), summed over
        the samples in a fixed order, and the Pull, zeros if it is not wanted. The same bits for any number of threads.

        Raises GradientError : a layer whose neurons drive each other, or delays that the switches cannot train.
        """
        if layer.delays.trained is not None and self.inter != "true":
            raise GradientError("TSSLBP(inter='code') has no derivative by delays; fix them, or take inter='true'.")
        if isinstance(layer, Readout):
            return _readout(layer, inputs, outputs, signal, t_stop, threads)  # type: ignore[arg-type]
        found = blame(self, layer, inputs, outputs, signal, t_stop, threads)  # type: ignore[arg-type]
        wants_times = layer.delays.trained is not None
        gradient, by_psc, by_time = credit(
            layer, found, found.psi, inputs, t_stop, self.reference_step, True, wants_signal or wants_times, threads
        )
        gradients = {"weight": gradient}
        if wants_times:
            total = np.bincount(inputs.neurons, weights=by_time, minlength=layer.n_in)
            gradients["delay"] = total.astype(np.float64)

        def at(batch: SpikeBatch) -> Floats:
            return credit(layer, found, found.psi, batch, t_stop, self.reference_step, False, True, threads)[1]

        return gradients, Pull(by_psc, by_time, at)


@dataclass(frozen=True, eq=False)
class Blame:
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


def blame(
    rule: TSSLBP, layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, signal: Any, t_stop: float, threads: int = 1
) -> Blame:
    """psi of the layer's spikes and virtual spikes; arguments as in ``TSSLBP.backward``."""
    if not isinstance(layer, Dense) or not layer.shares_events or len(layer.neuron.receptor_taus()) != 1:
        raise GradientError(
            "TSSLBP is for Dense layers with one exponential current, without lateral inhibition, recurrence or "
            "delays by synapse."
        )
    if outputs.currents is None:
        raise ValueError("these spikes carry no currents; take them from model.forward.")
    has_psc = isinstance(signal, Pull)
    if rule.silent == "only" and not has_psc:
        raise GradientError("TSSLBP(silent='only') needs a loss of PSCs or of a Readout's values.")
    p = neuron_arrays(layer.neuron, layer.n_out)
    n = outputs.times.size
    inter, intra, clipped = np.zeros(n), np.zeros(n), np.zeros(n, np.bool_)
    extra = rule.silent != "none" and has_psc
    at_release, found, u = np.zeros(0), None, np.zeros(0)
    if extra or rule.intra == "exact":
        at_release, found, u = replay(
            layer, inputs, outputs, t_stop, np.inf if rule.silent == "only" else rule.quiet,
            0.0 if rule.silent in ("virtual", "none") else rule.reference_step, threads,
        )  # fmt: skip
    if rule.silent != "only":
        sign, unit, pull = _inter(rule, signal, float(p.tau_exc[0]))
        least = np.abs(p.theta) / (rule.max_gain * rule.reference_step)

        def stretch(first: int, last: int) -> None:
            kernels.blame_spikes(
                outputs.times, outputs.neurons, outputs.offsets, outputs.currents, at_release, pull, first, last,
                p.theta, p.u_reset, p.u_init, p.t_ref, p.tau_m[0], least, sign, unit, _INTRA_CODES[rule.intra],
                inter, intra, clipped,
            )  # fmt: skip

        over_stretches(stretch, len(outputs), threads)
    share = float(clipped.mean()) if n else 0.0
    if not extra or found is None:
        kinds = np.full(n, kernels.SPIKE)
        return Blame(outputs.times, outputs.neurons, outputs.offsets, kinds, inter, intra, np.zeros(n), share)
    silent = rule.surrogate(u, p.theta[found.neurons]) * signal.at(found)
    kind = kernels.TOP_OF_U if rule.silent == "virtual" else kernels.KICK
    return _merged(outputs, found, kind, inter, intra, silent, share)


_INTRA_CODES = {"none": kernels.KEEP_NONE, "code": kernels.KEEP_CODE, "exact": kernels.KEEP_EXACT}


def _inter(rule: TSSLBP, signal: Any, tau_s: float) -> tuple[float, float, Floats]:
    """sign, unit and pull of the inter-neuron term sign pull unit/u'."""
    if rule.inter == "true":
        return -1.0, 1.0, signal.by_time if isinstance(signal, Pull) else signal
    if isinstance(signal, Pull):
        return 1.0, 1.0 / rule.reference_step, signal.by_psc
    # The authors' factor tau_s: where C falls like exp(-t/tau_s) it is -tau_s dC/dt.
    return -1.0, tau_s / rule.reference_step, signal


def _merged(
    outputs: SpikeBatch, found: SpikeBatch, kind: int, inter: Floats, intra: Floats, silent: Floats, clipped: float
) -> Blame:
    n, m = outputs.times.size, found.times.size
    times = np.concatenate([outputs.times, found.times])
    order = np.lexsort((times, np.concatenate([outputs.samples(), found.samples()])))
    none, nothing = np.zeros(m), np.zeros(n)
    return Blame(
        times[order],
        np.concatenate([outputs.neurons, found.neurons])[order],
        outputs.offsets + found.offsets,
        np.where(order < n, kernels.SPIKE, kind),
        np.concatenate([inter, none])[order],
        np.concatenate([intra, none])[order],
        np.concatenate([nothing, silent])[order],
        clipped,
    )


def replay(
    layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, t_stop: float, quiet: float, step: float = 0.0,
    threads: int = 1,
) -> tuple[Floats, SpikeBatch, Floats]:  # fmt: skip
    """Potentials along the recorded spikes: the current at the release after each, and potentials of quiet stretches.

    quiet : jumps of a neuron's own PSC below which it is quiet; a stretch ends with its next spike, or t_stop
    step : ms; 0: the highest local maximum of every quiet stretch. Own spikes and the borders of a stretch are no
        maxima; a stretch that lasts to t_stop without one gives its middle, so that neurons whose potential never
        rises are not forgotten. > 0: every multiple of it in a quiet stretch
    Returns (n_spikes,); those instants, as spikes; and the potentials there, above rest.
    """
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, _ = layer.delays.arrivals(inputs)
    n = len(outputs)
    if step > 0:
        room = np.arange(n + 1) * int(np.ceil(t_stop / step)) * layer.n_out
    else:
        room = outputs.offsets + np.arange(n + 1) * layer.n_out
    at_release = np.zeros(outputs.times.size)
    times, neurons, u = np.empty(room[-1]), np.empty(room[-1], np.int32), np.empty(room[-1])
    found = np.zeros(n, np.int64)

    def stretch(first: int, last: int) -> None:
        kernels.replay_samples(
            arrivals.times, arrivals.neurons, arrivals.offsets, outputs.times, outputs.neurons, outputs.offsets,
            first, last, t_stop, p.u_reset, p.u_init, p.t_ref, p.tau_m[0], p.tau_exc[0], layer.weight, quiet, step,
            at_release, room, times, neurons, u, found,
        )  # fmt: skip

    over_stretches(stretch, n, threads)
    sample = np.repeat(np.arange(n), found)
    place = np.repeat(room[:-1], found) + np.arange(sample.size) - np.repeat(np.cumsum(found) - found, found)
    place = place[np.lexsort((neurons[place], times[place], sample))]
    offsets = np.append(0, np.cumsum(found))
    return at_release, SpikeBatch(times[place], neurons[place], offsets, layer.n_out), u[place]


def credit(
    layer: Any, events: Blame, psi: Floats, batch: SpikeBatch, t_stop: float, step: float, by_weight: bool,
    by_signal: bool, threads: int = 1,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Gradient by the weights if ``by_weight`` (then ``batch`` is the layer's input), and, if ``by_signal``, the
    derivatives by size and time of the PSC of each spike of ``batch``; zeros otherwise. step : ms, of kicks."""
    p: NeuronArrays = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, order = layer.delays.arrivals(batch)
    cuts = borders(len(batch))
    total = np.zeros((cuts.size - 1, *layer.weight.shape)) if by_weight else np.zeros((cuts.size - 1, 0, 0))
    by_psc, by_time = np.zeros(batch.times.size), np.zeros(batch.times.size)

    def one(k: int) -> None:
        kernels.credit_samples(
            arrivals.times, arrivals.neurons, arrivals.offsets, events.times, events.neurons, events.offsets, psi,
            events.kinds, cuts[k], cuts[k + 1], t_stop, p.t_ref, p.tau_m[0], p.tau_exc[0], step, layer.weight,
            by_weight, by_signal, total[k], by_psc, by_time,
        )  # fmt: skip

    with workers(threads) as pool:
        list(pool(one, range(cuts.size - 1)))
    if order is not None:
        by_psc[order], by_time[order] = by_psc.copy(), by_time.copy()
    return added(total), by_psc, by_time


def _readout(
    layer: Readout, inputs: SpikeBatch, outputs: Voltages, signal: Floats, t_stop: float, threads: int
) -> tuple[dict[str, Floats], Pull]:
    """Nothing to approximate here: the gradient is exact, and C is the value's response to one more spike."""
    gradients, by_time = EventProp().backward(layer, inputs, outputs, signal, t_stop, threads=threads)
    if layer.feature == "integral":
        push = signal @ layer.weight.T

        def at(batch: SpikeBatch) -> Floats:
            arrivals, order = layer.delays.arrivals(batch)
            found = arrival_factors(layer, arrivals, t_stop, False)[:, 0] * push.ravel()[arrivals.places()]
            if order is not None:
                found[order] = found.copy()
            return found

    else:
        peaks, d_peak = peaks_of(outputs, signal)
        n = d_peak.size
        events = Blame(
            peaks.times, peaks.neurons, peaks.offsets, np.full(n, kernels.TOP_OF_U), d_peak, np.zeros(n), np.zeros(n),
            0.0,
        )  # fmt: skip

        def at(batch: SpikeBatch) -> Floats:
            return credit(layer, events, d_peak, batch, t_stop, 0.0, False, True, threads)[1]

    return gradients, Pull(at(inputs), by_time, at)

"""S-TLLR (Apolinario and Roy, TMLR 2025) and OTTT (Xiao et al., NeurIPS 2022) at exact spike times.

    dL/dw_ij = a_pre int delta_i psi(u_i) x_j dt/d_ref + a_post sum_{t_j} delta_i(t_j) h_i(t_j)
    x_j(t) = sum_{t_j <= t} exp(-(t - t_j)/tau_pre),   h_i(t) = int_0^t exp(-(t - s)/tau_post) psi(u_i(s)) ds/d_ref

with t_j the arrivals of j's spikes and delta the learning signal: see docs/rules/s_tllr.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels import traces as kernels
from evsim.learning._kernels.arrays import Surrogate as PsiArrays
from evsim.learning._kernels.readout import integral_factors
from evsim.learning.fields import check_fields
from evsim.learning.fixed_order import total
from evsim.learning.layers.dense import Recurrent
from evsim.learning.layers.moments import shares_of, weight_gradient, windows_before
from evsim.learning.layers.readout import Readout, arrival_factors, by_sample
from evsim.learning.needs import Needs
from evsim.learning.rules.traces.events import LayerEvents, Membrane, layer_events, pieces
from evsim.learning.rules.traces.signals import (
    LearningSignal,
    Separable,
    Through,
    check_learning_signal,
    is_learning_signal,
)
from evsim.learning.surrogates import S2, S3, Surrogate
from evsim.learning.validation import checked_arguments
from evsim.neurons.arrays import neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.types import Floats

FORMS = ("integral", "spikes")
TRACES = ("exponential", "psp")
FEEDBACKS = ("backprop", "random")
_STRETCH = 512
"""Pieces of time that are worked on at once: what bounds the scratch memory of a sample."""


@dataclass(frozen=True)
class STLLR:
    """S-TLLR (Apolinario and Roy 2025): STDP-like traces times a learning signal, no backpropagation through time.

    tau_pre : ms, of the causal trace; None: the layer's tau_m; inf: a count of the arrivals
    tau_post : ms, of the non-causal trace; inf: no decay
    a_pre, a_post : amplitudes of the causal and the non-causal term; -1 is the paper's for vision, 0 OTTT's case
    psi : secondary activation (S1 ... S4, or any Surrogate)
    form : "integral", psi at every instant; "spikes", the neuron's own spikes in place of psi (as STDP)
    feedback : "backprop", learning signals through the weights of the layers above, at the same instant; "random",
        direct feedback alignment: the last layer's errors through fixed random weights
    supervise_from : ms; spiking layers get no learning signal before it
    trace : "exponential", exp(-t/tau_pre); "psp", the response of the neuron's own potential, as in OTTT
    d_ref : ms, > 0; psi/d_ref stands for the derivative of the spike density. A factor for each layer passed.
    step : ms, > 0; the integral is taken by the two-point Gauss rule over pieces no longer, cut at all events
    feedback_seed : of the random weights
    """

    tau_pre: float | None = None
    tau_post: float = 10.0
    a_pre: float = 1.0
    a_post: float = -1.0
    psi: Surrogate = S2
    form: str = "integral"
    feedback: str = "backprop"
    supervise_from: float = 0.0
    trace: str = "exponential"
    d_ref: float = 1.0
    step: float = 1.0
    feedback_seed: int = 0
    signals: ClassVar[tuple[str, ...]] = ("values", "moments", "counts")
    splits: ClassVar[str] = "halves"

    def __post_init__(self) -> None:
        check_fields(self, infinite=("tau_pre", "tau_post"))
        for name, known in (("form", FORMS), ("feedback", FEEDBACKS), ("trace", TRACES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")
        if self.tau_pre is not None and not self.tau_pre > 0:
            raise InputError(f"tau_pre must be > 0 ms, or None for tau_m; got {self.tau_pre}.")
        for name in ("tau_post", "d_ref", "step"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be > 0 ms; got {getattr(self, name)}.")
        if not (np.isfinite(self.a_pre) and np.isfinite(self.a_post)):
            raise InputError(f"a_pre and a_post must be finite; got {self.a_pre} and {self.a_post}.")
        if self.trace == "psp" and self.tau_pre is not None:
            raise InputError("the trace psp has the neuron's own time constants; leave tau_pre out.")

    @property
    def needs(self) -> Needs:
        """What the rule takes of a layer; signals through fixed random weights pass no delays."""
        return Needs(
            lateral=False, features=("integral",), moments=("integral", "potential", "count"),
            delays="input",
            equal_delays=("readout",) if self.feedback == "random" else ("readout", "hidden"),
            trained_delays=False, currents=(0, 1), parameters=False, refractory_input=False,
        )  # fmt: skip

    @checked_arguments("counts", own=is_learning_signal)
    def backward(
        self,
        layer: Any,
        inputs: SpikeBatch,
        outputs: Any,
        signal: Any,
        t_stop: float,
        *,
        is_output: bool = False,
        wants_signal: bool = True,
        threads: int = 1,
    ) -> tuple[dict[str, Floats], Any]:
        """From a loss's derivative, or a layer's LearningSignal, to weight gradients and its inputs' signal.

        signal : dL/d value of a Readout, (samples, n_out) or (samples, moments, n_out), or dL/d count of a spiking last
            layer, (samples, n_out); else a LearningSignal
        Returns {"weight": (n_in, n_out), "recurrent_weight": ...}, summed over samples in a fixed order, the same bits
        for any number of threads; and the LearningSignal of the layer below.

        Raises GradientError : trained delays, layers or features of a Readout that this rule is not made for.
        """
        if isinstance(layer, Readout):
            return self._readout(layer, inputs, signal, t_stop)
        learning: LearningSignal = signal
        if not is_learning_signal(signal):
            learning = Separable(signal[:, None, :], np.zeros(1), np.ones_like, t_stop, signal[:, None, :])
        check_learning_signal(learning, len(outputs), layer.n_out)
        learning = self._supervised(learning)
        events = layer_events(layer, inputs, outputs)
        gradients = {"weight": self._gradient(events, learning, t_stop, threads)}
        if isinstance(layer, Recurrent):
            whole = gradients["weight"]
            gradients = {"weight": whole[: layer.n_in], "recurrent_weight": whole[layer.n_in :]}
        below: Any = learning
        if wants_signal:
            below = self._below(layer, events, learning, t_stop)
        return gradients, below

    def tau_of(self, layer: LayerEvents) -> float:
        """tau_pre of a layer, ms."""
        return layer.tau_m if self.tau_pre is None else self.tau_pre

    def _supervised(self, learning: LearningSignal) -> LearningSignal:
        if not isinstance(learning, Separable) or self.supervise_from <= learning.begin:
            return learning
        return replace(learning, begin=self.supervise_from)

    def _readout(
        self, layer: Readout, inputs: SpikeBatch, signal: Floats, t_stop: float
    ) -> tuple[dict[str, Floats], Any]:
        arrivals, _ = layer.delays.arrivals(inputs)
        if layer.every is not None:
            delay = one_delay(layer)
            windows, profile = windows_before(layer, delay, t_stop)
            error = Separable(signal, windows, profile, t_stop - delay, signal)
            shares = shares_of(layer, arrivals, t_stop)
            gradients = total(len(signal), lambda a, b: {"weight": weight_gradient(shares[a:b], signal[a:b])})
            return gradients, self.routed(error, layer.weight)
        share = by_sample(arrivals, arrival_factors(layer, arrivals, t_stop, False)[:, 0])
        gradients = total(len(signal), lambda a, b: {"weight": share[a:b].T @ signal[a:b]})
        top = signal[:, None, :]
        error = Separable(top, np.zeros(1), profile_of(layer, t_stop), t_stop - one_delay(layer), top)
        return gradients, self.routed(error, layer.weight)

    def routed(self, error: Separable, weight: Floats) -> Separable:
        """Errors of the last layer at the neurons below it."""
        if self.feedback == "random":
            return error.random(weight.shape[0], self.feedback_seed)
        return error.through(weight)

    def _below(self, layer: Any, events: LayerEvents, learning: LearningSignal, t_stop: float) -> LearningSignal:
        if self.feedback == "random" and isinstance(learning, Separable):
            return learning.random(layer.n_in, self.feedback_seed)
        return Through(events, learning, layer.weight, one_delay(layer), self.psi, self.d_ref, t_stop)

    def _gradient(self, layer: LayerEvents, learning: LearningSignal, t_stop: float, threads: int) -> Floats:
        def of_stretch(first: int, last: int) -> dict[str, Floats]:
            gradient = np.zeros(layer.weight.shape)
            for sample in range(first, last):
                Traces(self, layer).advance(sample, 0.0, t_stop, learning, gradient)
            return {"all": gradient}

        return total(len(layer.arrivals), of_stretch, threads)["all"]


class Traces:
    """Traces of one layer in one sample: a number or two for each source and neuron, whatever the duration.

    membrane : of the layer's neurons; state : h, (n_out,), and x, (n_sources,)
    """

    def __init__(self, rule: STLLR, layer: LayerEvents) -> None:
        n_sources, n_out = layer.weight.shape
        self.rule = rule
        self.layer = layer
        self.membrane = Membrane.at_rest(layer.neurons)
        self.state = kernels.TraceState(np.zeros(n_out), np.zeros(n_sources), np.zeros(n_sources))
        self.psi = PsiArrays.of(rule.psi, rule.d_ref)
        # A kernel is compiled for the types of its numbers: one of them as an int, and it would be once more.
        self.settings = kernels.TraceSettings(
            float(rule.tau_of(layer)), float(rule.tau_post), layer.tau_s or 1.0, float(rule.a_pre), float(rule.a_post),
            rule.trace == "psp" and layer.tau_s > 0.0, rule.form == "spikes",
        )  # fmt: skip

    def advance(self, sample: int, start: float, end: float, learning: LearningSignal, gradient: Floats) -> None:
        """Add what happens from ``start`` to ``end`` (ms) to the gradient, (n_sources, n_out)."""
        rule, layer = self.rule, self.layer
        spiking = rule.form == "spikes"
        arrivals, sources, spikes, fired = layer.window(sample, start, end)
        cuts = [arrivals, spikes]
        if not spiking:
            cuts += [layer.releases(spikes, fired), self.membrane.release, learning.breaks(sample)]
        whole = pieces(start, end, cuts, np.inf if spiking else rule.step)
        edges = whole.edges
        for a in range(0, edges.size - 1, _STRETCH):
            b = min(a + _STRETCH, edges.size - 1)
            reached = slice(*np.searchsorted(arrivals, edges[[a, b]]))
            sent = slice(*np.searchsorted(spikes, edges[[a, b]]))
            self._stretch(
                sample, edges[a : b + 1], whole.instants[3 * a : 3 * b], arrivals[reached], sources[reached],
                spikes[sent], fired[sent], learning, gradient,
            )  # fmt: skip

    def _stretch(
        self, sample: int, edges: Floats, instants: Floats, arrivals: Floats, sources: np.ndarray, spikes: Floats,
        fired: np.ndarray, learning: LearningSignal, gradient: Floats,
    ) -> None:  # fmt: skip
        layer = self.layer
        coefficients, row, phi = learning.at(sample, instants)
        u = np.empty((0, layer.neurons.theta.size))
        if not self.settings.spiking:
            query = np.append(instants, edges[-1])
            u = self.membrane.follow(layer, query, arrivals, sources, spikes, fired)
        kernels.eligibility(
            kernels.Pieces(edges, np.searchsorted(edges, arrivals), sources, np.searchsorted(edges, spikes), fired),
            kernels.Signal(np.ascontiguousarray(coefficients), row, phi), u, layer.neurons.theta,
            self.psi, self.settings, self.state, gradient,
        )  # fmt: skip


def profile_of(layer: Readout, t_stop: float) -> Callable[[Floats], Floats]:
    """Times (q,), ms -> what a unit weight adds to the integral if a spike leaves the layer below then, (q,)."""
    delay = one_delay(layer)
    p = neuron_arrays(layer.neuron, layer.n_out)

    def profile(times: Floats) -> Floats:
        factors = np.empty((times.size, 2))
        integral_factors(times + delay, t_stop, p.tau_m[0], p.tau_exc[0], layer.rate, factors)
        shares: Floats = factors[:, 0]
        return shares

    return profile


def one_delay(layer: Any) -> float:
    """The delay of a layer that hands a signal on, ms."""
    return float(np.ravel(layer.delays.value())[0])


def ottt(
    psi: Surrogate = S3, feedback: str = "backprop", supervise_from: float = 0.0, d_ref: float = 1.0, step: float = 1.0
) -> STLLR:
    """OTTT (Xiao et al. 2022): S-TLLR without the non-causal term, its trace the neuron's own response to a spike.

    psi, feedback, supervise_from, d_ref, step : as in STLLR; the paper's are the defaults
    """
    return STLLR(
        psi=psi, feedback=feedback, supervise_from=supervise_from, d_ref=d_ref, step=step, trace="psp", a_post=0.0
    )

"""TSSL-BP: temporal spike sequence learning via backpropagation (Zhang and Li, NeurIPS 2020), on exact spike times.

With C_n(t) the derivative of the loss by the size of a PSC that neuron n starts at t (``PSCGradient``), psi_p that
by the potential at the neuron's p-th spike, u'_p its slope there, eps the S-PSP kernel and D_p the time from the
release after spike p to the next spike:

    psi_p      = [ C(t_p)/h + psi_{p+1} exp(-D_p/tau_m) (theta - u_reset)/tau_m ] min(1/u'_p, 8 h/theta)
    dE/dw_ij   = sum_p psi_p e^(p)_ij,         C_j(t) = sum_i w_ij sum_p psi_{i,p} eps(t_p - release, t_p - t)

with h the reference step (the authors' time step, their unit of time). The chain rule has -dC/dt in place of C/h, and a
term more in the bracket: see docs/rules/tssl_bp.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels import tssl as kernels
from evsim.learning.fields import check_fields
from evsim.learning.fixed_order import rows_times
from evsim.learning.layers.analog import Analog
from evsim.learning.layers.readout import Readout, Voltages, arrival_factors
from evsim.learning.needs import Needs
from evsim.learning.psc_gradient import PSCGradient
from evsim.learning.rules.eventprop import EventProp, peaks_of
from evsim.learning.rules.tssl.events import SpikeErrors, backpropagate, spike_errors, weight_gradient
from evsim.learning.validation import checked_arguments
from evsim.spikes import SpikeBatch
from evsim.types import Floats

INTER, INTRA, SILENT = ("code", "true"), ("code", "exact", "none"), (
    "virtual", "steps", "replace", "none", "only",
)  # fmt: skip


@dataclass(frozen=True)
class TSSLBP:
    """Temporal spike sequence learning (Zhang and Li 2020): PSCs between neurons, resets within them.

    inter : between neurons, "code": C at the spike, as the authors have it; "true": -dC/dt, the chain rule
    intra : from a neuron's next spike, "code": the reset's share (theta - u_reset)/(tau_m u'); "exact": the chain
        rule's (i - u_reset)/(tau_m u') at the release; "none"
    silent : what acts where a neuron has no spike, each event with psi = sigma'(u) C and no reset. "virtual": the
        highest local maximum of the potential in every quiet stretch (without one, the middle of a stretch that lasts
        to the end); "steps": every multiple of reference_step in a quiet stretch, on the current there alone, as the
        authors' time steps do; "replace": the same, and there, as in the authors' program, it replaces what the next
        spike hands on to the currents, of which its own step is left; "none"; "only": every multiple of
        reference_step, quiet or not, and nothing else
    a : width of sigma'(u) = e^z/(1 + e^z)^2/(a theta), z = (u/theta - 1)/a within +-max_z
    quiet : a neuron is quiet while its own PSC is below this many jumps (the authors' th = 1/(4 tau_s) is 1/4 of one)
    max_gain : upper bound of theta/(u' reference_step): thresholds climbed in one step count at least 1/max_gain
    reference_step : ms, the authors' time step; it scales "code" terms and the bound, nothing else
    warm_up : spikes per neuron and sample; a layer whose mean count in a batch is below learns as with silent="only",
        the paper's warm-up by layer rate. 0: none, as in the authors' program. A layer that starts from a loss of spike
        times, which says nothing where there is no spike, has none

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
    warm_up: float = 0.0
    signals: ClassVar[tuple[str, ...]] = ("psc", "times", "values")

    def __post_init__(self) -> None:
        check_fields(self, infinite=("max_gain", "max_z"))
        for name, known in (("inter", INTER), ("intra", INTRA), ("silent", SILENT)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}.")
        for name in ("a", "max_z", "max_gain", "reference_step"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be > 0; got {getattr(self, name)}.")
        if not 0 < self.quiet < 1:
            raise InputError(f"quiet must lie between 0 and 1 jumps of the PSC; got {self.quiet}.")
        if not self.warm_up >= 0:
            raise InputError(f"warm_up must be >= 0 spikes per neuron and sample; got {self.warm_up}.")

    @property
    def splits(self) -> str:
        """Of whole batches is what ``warm_up`` looks at."""
        return "halves" if self.warm_up == 0 else "never"

    @property
    def wakes_silent(self) -> bool:
        """Can neurons without a spike learn to fire? Then a silent layer is no error."""
        return self.silent != "none" or self.warm_up > 0

    @property
    def samples_silence(self) -> bool:
        """Are quiet neurons looked at in every reference step, rather than at a maximum of their potential?"""
        return self.silent in ("steps", "replace", "only")

    @property
    def exact(self) -> bool:
        """Are the switches those of the true gradient?"""
        exact = (self.inter, self.intra, self.silent) == ("true", "exact", "none")
        return exact and self.max_gain == np.inf and self.warm_up == 0

    @property
    def needs(self) -> Needs:
        """What the rule takes of a layer; with inter="true" it has derivatives by delays."""
        return Needs(
            recurrent=False, lateral=False, analog=True, delays="input", trained_delays=self.inter == "true",
            currents=(1,), parameters=False,
        )  # fmt: skip

    def acting_on(self, outputs: SpikeBatch, signal: Any) -> TSSLBP:
        """The rule for a layer that gave these spikes: with ``warm_up``, another one while the layer is quiet."""
        if outputs.times.size < self.warm_up * len(outputs) * outputs.size and isinstance(signal, PSCGradient):
            return replace(self, silent="only", warm_up=0.0)
        return self

    def surrogate(self, u: Any, theta: Any) -> Floats:
        """sigma'(u), per unit of the potential; u and theta above rest."""
        e = np.exp(-np.minimum(np.abs(u / theta - 1.0) / self.a, self.max_z))
        slope: Floats = e / ((1.0 + e) ** 2 * self.a * theta)
        return slope

    @checked_arguments("psc", "times")
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
        """From a layer's PSCGradient to its gradients and the PSCGradient at its input.

        signal : PSCGradient; or (n_spikes,) dL/dt of each spike: the output layer then has the chain rule's inter term
            and no virtual spikes; of a Readout dL/d value
        Returns {"weight": (n_in, n_out)}, with ``inter="true"`` and trained delays also "delay" (n_in,), summed over
        the samples in a fixed order, and the PSCGradient, zeros if it is not wanted. The same bits for any
        number of threads.

        Raises GradientError : a layer whose neurons drive each other, or delays that the switches cannot train.
        """
        if isinstance(layer, Readout):
            return _readout(layer, inputs, outputs, signal, t_stop, threads)  # type: ignore[arg-type]
        errors = spike_errors(self, layer, inputs, outputs, signal, t_stop, threads)  # type: ignore[arg-type]
        wants_times = layer.delays.trained is not None
        if isinstance(layer, Analog):
            gradient = weight_gradient(layer, errors, errors.psi, inputs, t_stop, self.reference_step, threads)
            return {"weight": gradient}, PSCGradient(np.empty(0), np.empty(0), lambda batch: np.zeros(batch.times.size))
        gradients, by_psc, by_time = backpropagate(
            layer, errors, errors.psi, inputs, t_stop, self.reference_step, True, wants_signal or wants_times, threads
        )

        def at(batch: SpikeBatch) -> Floats:
            return backpropagate(layer, errors, errors.psi, batch, t_stop, self.reference_step, False, True, threads)[1]

        return gradients, PSCGradient(by_psc, by_time, at)

    def figures(self, model: Any, spikes: list[Any], signal: Any, t_stop: float) -> dict[str, float]:
        """For the log of a run: of each layer, the share of its gradient that came by the surrogate path (norm over the
        sum of the two norms), and the share of spikes whose slope was bounded. signal : the loss's, for ``spikes``."""
        row: dict[str, float] = {}
        for k in range(len(model.layers) - 1, -1, -1):
            layer, before, after = model.layers[k], spikes[k], spikes[k + 1]
            if not isinstance(layer, Readout):
                errors = spike_errors(self, layer, before, after, signal, t_stop)
                by_surrogate, by_spikes = (
                    float(np.linalg.norm(weight_gradient(layer, errors, psi, before, t_stop, self.reference_step)))
                    for psi in (errors.silent, errors.inter + errors.intra)
                )
                row[f"surrogate_share_{k}"] = by_surrogate / max(by_surrogate + by_spikes, 1e-300)
                row[f"clipped_share_{k}"] = errors.clipped
            if k > 0:
                _, signal = self.backward(layer, before, after, signal, t_stop)
        return row


def _readout(
    layer: Readout, inputs: SpikeBatch, outputs: Voltages, signal: Floats, t_stop: float, threads: int
) -> tuple[dict[str, Floats], PSCGradient]:
    """Nothing to approximate here: the gradient is exact, and C is the value's response to one more spike."""
    gradients, by_time = EventProp().backward(layer, inputs, outputs, signal, t_stop, threads=threads)
    if layer.feature == "integral":
        push = rows_times(signal, layer.weight.T)

        def at(batch: SpikeBatch) -> Floats:
            arrivals, order = layer.delays.arrivals(batch)
            by_psc = arrival_factors(layer, arrivals, t_stop, False)[:, 0] * push.ravel()[arrivals.places()]
            if order is not None:
                by_psc[order] = by_psc.copy()
            return by_psc

    else:
        peaks, d_peak = peaks_of(outputs, signal)
        n = d_peak.size
        events = SpikeErrors(
            peaks.times, peaks.neurons, peaks.offsets, np.full(n, kernels.TOP_OF_U), d_peak, np.zeros(n), np.zeros(n),
            0.0,
        )  # fmt: skip

        def at(batch: SpikeBatch) -> Floats:
            return backpropagate(layer, events, d_peak, batch, t_stop, 0.0, False, True, threads)[1]

    return gradients, PSCGradient(at(inputs), by_time, at)

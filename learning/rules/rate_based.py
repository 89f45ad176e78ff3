"""Rate-based backpropagation (Yu, Liu, Wang, Li, Wang, NeurIPS 2024) on exact spike times.

    rates    r_i = n_i/T,    drive  c_i = sum_j q_ij r_j,    slope  J_i = dr_i/dc_i
    back     g_i = J_i dL/dr_i,    dL/dq_ij = g_i r_j,    dL/dr_j = sum_i q_ij g_i

with q the area of a postsynaptic current in the unit of the potential: w tau_syn/tau_m, or w for delta synapses. One
backward pass through counts, whatever the duration. With K windows the same holds between the rates of all pairs of
windows, and K = 1 is the paper's rule; see docs/rules/rate_based.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.layers.dense import Dense
from evsim.learning.layers.readout import Readout, Voltages
from evsim.learning.needs import Needs, check_layer
from evsim.learning.rules.eventprop import EventProp
from evsim.learning.rules.rates.windows import (
    ESTIMATORS,
    LayerRates,
    later_windows,
    layer_rates,
    output_of_input,
    pull_back_windows,
    recurrent_area,
)
from evsim.learning.surrogates import S3, Surrogate
from evsim.learning.validation import checked_arguments
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True)
class RateBased:
    """One backward pass through spike counts, whatever the duration (Yu et al. 2024).

    Defaults: the paper's, but for the reset, which is this simulator's.

    estimator : of the slope J. "surrogate": int psi(u) F dt/T, F the response of the potential to a unit drive (the
        paper's). "analytic": the rate curve of a constant drive. "interval": from recorded intervals and slopes at
        threshold. "diffusion": the rate curve of Poisson-like input (Siegert)
    surrogate : psi, of "surrogate"
    reference_step : ms; psi of a grid is a chance per step, here per ``reference_step``. It scales "surrogate" alone;
        None: so that a layer's mean slope in a batch is that of "diffusion"
    windows : K; 1: the paper's rule; more: rates of K equal windows, towards surrogate backpropagation through time
    reset : "hard", F starts anew after each spike, or "soft", F = tau_m (1 - exp(-t/tau_m)) whatever the neuron does
    detach_reset : True: a reset is not differentiated; False: it is, by psi
    filtered : True: F is the response through the synaptic current; False: to a drive that acts at once
    divide_loss : the released code's factor 1/steps on the gradient, with steps = duration/reference_step
    silent_share : kappa; where an estimator other than "surrogate" is below kappa times that one, kappa times it is
        taken instead, so that silent neurons learn; 0: off. How often: ``LayerRates.fallback``
    recurrent_terms : of Recurrent layers, Neumann terms of (1 - J W_rec)^-1; 0: the Jacobian-free backward pass
    least_climb : of "interval", tau_m du/dt at a spike is taken to be at least this times the threshold
    nodes : Gauss-Legendre nodes of a piece between events, 2 ... 64; half as many where it is short. Narrow surrogates
        and strong synapses need more
    """

    estimator: str = "surrogate"
    surrogate: Surrogate = S3
    reference_step: float | None = 10.0
    windows: int = 1
    reset: str = "hard"
    detach_reset: bool = True
    filtered: bool = True
    divide_loss: bool = False
    silent_share: float = 0.0
    recurrent_terms: int = 3
    least_climb: float = 0.05
    nodes: int = 4
    signals: ClassVar[tuple[str, ...]] = ("counts", "values")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.estimator not in ESTIMATORS:
            raise InputError(f"estimator must be one of {', '.join(ESTIMATORS)}; got {self.estimator!r}.")
        if self.reset not in ("hard", "soft"):
            raise InputError(f"reset must be hard or soft; got {self.reset!r}.")
        if self.reference_step is not None and not (np.isfinite(self.reference_step) and self.reference_step > 0):
            raise InputError(f"reference_step must be > 0 ms, or None; got {self.reference_step}.")
        if self.windows < 1:
            raise InputError(f"windows must be >= 1; got {self.windows}.")
        if self.windows > 1 and (self.estimator != "surrogate" or self.reference_step is None):
            raise InputError(
                "more than one window needs the estimator surrogate and a reference_step: the others have no slope "
                f"between two windows; got {self.estimator!r}, reference_step = {self.reference_step}."
            )
        if self.divide_loss and self.reference_step is None:
            raise InputError("divide_loss counts steps of reference_step; give one in ms.")
        if not 0.0 <= self.silent_share <= 1.0:
            raise InputError(f"silent_share must lie in [0, 1]; got {self.silent_share}.")
        if self.recurrent_terms < 0:
            raise InputError(f"recurrent_terms must be >= 0; got {self.recurrent_terms}.")
        if not self.least_climb > 0:
            raise InputError(f"least_climb must be > 0; got {self.least_climb}.")
        if not 2 <= self.nodes <= 64:
            raise InputError(f"nodes must lie in 2 ... 64; got {self.nodes}.")

    def rates(
        self, layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, t_stop: float, threads: int = 1
    ) -> LayerRates:
        """What the rule makes of a layer: its rates, drives and slopes, to be looked at.

        Raises GradientError : a layer that it cannot treat (see ``backward``).
        """
        check_layer(self, layer)
        return layer_rates(self, layer, inputs, outputs, t_stop, threads)

    @property
    def splits(self) -> str:
        """Without a ``reference_step`` slopes are scaled by means over a batch."""
        return "halves" if self.reference_step is not None else "never"

    @property
    def needs(self) -> Needs:
        """What the rule takes of a layer; the estimator "interval" needs the slope at threshold, which delta synapses
        jump over."""
        return Needs(
            lateral=False, delays="input", trained_delays=False, parameters=False, above_rest=True,
            currents=(1,) if self.estimator == "interval" else (0, 1),
        )  # fmt: skip

    @checked_arguments("counts")
    def backward(
        self,
        layer: Any,
        inputs: SpikeBatch,
        outputs: SpikeBatch | Voltages,
        signal: Floats,
        t_stop: float,
        *,
        is_output: bool = False,
        wants_signal: bool = True,
        threads: int = 1,
    ) -> tuple[dict[str, Floats], Floats]:
        """From dL/d count of a layer's neurons, or dL/d value of a Readout, to gradients and dL/d count of its inputs.

        signal : (samples, n_out), or (samples, K, n_out) by window
        Returns {"weight": (n_in, n_out)}, with "recurrent_weight" for a Recurrent layer, summed over the samples, and
        (samples, n_in), or (samples, K, n_in). A Readout is linear, so the gradient by its weights is exact.

        Raises GradientError : trained delays, delays by synapse, lateral inhibition, two synaptic currents, a threshold
        at or below rest.
        """
        if is_output and self.divide_loss:
            assert self.reference_step is not None
            signal = signal * (self.reference_step / t_stop)
        if isinstance(layer, Readout):
            return self._readout(layer, inputs, outputs, signal, t_stop, wants_signal, threads)
        rates = layer_rates(self, layer, inputs, outputs, t_stop, threads)  # type: ignore[arg-type]
        length = t_stop / self.windows
        wanted = np.repeat(signal[:, None], self.windows, axis=1) if signal.ndim == 2 else signal
        by_drive = pull_back_windows(rates, wanted)
        area = recurrent_area(layer)
        if area is not None:
            for _ in range(self.recurrent_terms):
                echo = later_windows(by_drive @ (area.T / length), layer.recurrent_delays.value(), length)
                by_drive = pull_back_windows(rates, wanted + echo)
        gradients = rates.weight_gradients(by_drive)
        below = np.zeros((len(inputs), self.windows, layer.n_in))
        if wants_signal:
            below = by_drive @ (layer.weight.T * (rates.unit / length))
            below = later_windows(below, layer.delays.value(), length)
        return gradients, below[:, 0] if self.windows == 1 else below

    def _readout(
        self, layer: Readout, inputs: SpikeBatch, outputs: Any, signal: Floats, t_stop: float, wants_signal: bool,
        threads: int,
    ) -> tuple[dict[str, Floats], Floats]:  # fmt: skip
        gradients, _ = EventProp().backward(
            layer, inputs, outputs, signal, t_stop, is_output=True, wants_signal=False, threads=threads
        )
        below = np.zeros((len(inputs), self.windows, layer.n_in))
        if wants_signal:
            share = output_of_input(layer, outputs, t_stop, self.windows)
            below = (signal[:, None, :] * share) @ layer.weight.T
            below = later_windows(below, layer.delays.value(), t_stop / self.windows)
        return gradients, below[:, 0] if self.windows == 1 else below

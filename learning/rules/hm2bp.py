"""HM2-BP: hybrid macro/micro backpropagation (Jin, Zhang, Li, NeurIPS 2018) on exact spike times.

    macro   dE/dw_ij = delta_i da_i/dw_ij,   delta_i = (dE/do_i)/nu
    micro   da_i/dw_ij = e_ij (1 + s_i),     s_i = (1/nu) sum_l w_il e_il/o_i
    back    dE/do_j = sum_i delta_i w_ij e_ij/o_j

with e_ij the S-PSP, o the spike counts, nu = v_th - v_rest - bias. On exact times, without lateral
inhibition, sum_j w_ij e_ij = nu o_i holds exactly, hence s_i = 1: the paper's micro factor is the
constant 2 there. ``micro="meanfield"`` offers a closure that is not singular (see docs/rules/hm2bp.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels.hm2bp import CountErrors, Settings, layer_block
from evsim.learning.fields import check_fields
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.dense import Dense
from evsim.learning.layers.readout import Readout, Voltages
from evsim.learning.needs import Needs
from evsim.learning.rules.counts.signals import lateral_factor, order_of, readout_by_counts, with_target_trains
from evsim.learning.rules.map_hm2bp import count_gradient
from evsim.learning.spsp import prepare
from evsim.learning.validation import checked_arguments
from evsim.spikes import SpikeBatch
from evsim.threads import workers
from evsim.types import Floats

MODES = ("paper", "none", "meanfield")
SILENT_SOURCES = ("active", "all")


@dataclass(frozen=True)
class HM2BP:
    """Hybrid macro/micro backpropagation on counts and S-PSPs (Jin et al. 2018).

    Defaults are the paper's and its code's.

    micro : "paper": weight gradients times (1 + s_i); "none": times 1; "meanfield": gradients and the
        signal passed back both times Gamma_i = (exp(y) - 1)/x, x = mean interval/tau_m,
        y = (mean interval - t_ref)/tau_m
    silent_psp : S-PSP of a silent neuron for each source that spikes (so that it can learn); 0: none
    silent_micro : e/o_i of a silent neuron in s_i
    silent_sources : whose weights enter s_i of a silent neuron: "active", the sources that spike; "all", every source,
        as the authors' program has it
    silent_ratio : e/o_j passed back where i or j is silent; 0: nothing passes
        (these three in the paper's unit, a PSC kernel of integral 1; scaled by tau_syn/tau_m here)
    fake_target_train : a silent output neuron that is to spike (the most wanted of its sample) gets a
        regular train of the wanted count (or as many as t_ref allows) in its place, for e only
    fake_step : ms; that train's spikes are at the multiples of the longest interval in whole steps that has room for
        the wanted count (the authors' program: 1); 0: each in the middle of its share of the sample
    max_gamma : upper bound of Gamma, which grows without bound for rare spikes
    pass_factor : the signal passed back is multiplied by (1 + s_i) too, as one model of the total effect would have it;
        changes "paper" only
    pass_lateral : the signal passed back from inhibited output neurons carries the factor of their lateral inhibition
        too; the authors' program has it in weight gradients alone (False)
    psp_delay : ms, from a spike to its arrival in S-PSPs; None: as in the network (the authors' program: t_ref, while
        its networks have a delay of 1 ms)
    """

    micro: str = "paper"
    silent_psp: float = 0.1
    silent_micro: float = 0.5
    silent_sources: str = "active"
    silent_ratio: float = 1.0
    fake_target_train: bool = True
    max_gamma: float = 10.0
    pass_factor: bool = False
    pass_lateral: bool = True
    fake_step: float = 0.0
    psp_delay: float | None = None
    signals: ClassVar[tuple[str, ...]] = ("counts", "values")
    splits: ClassVar[str] = "halves"
    needs: ClassVar[Needs] = Needs(
        recurrent=False, features=("integral",), delays="one", trained_delays=False, currents=(1,), parameters=False,
        above_rest=True, maps=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self, infinite=("max_gamma",))
        if self.micro not in MODES:
            raise InputError(f"micro must be one of {', '.join(MODES)}; got {self.micro!r}.")
        if self.psp_delay is not None and not self.psp_delay >= 0:
            raise InputError(f"psp_delay must be >= 0 ms, or None; got {self.psp_delay}.")
        if self.fake_step < 0:
            raise InputError(f"fake_step must be >= 0 ms; got {self.fake_step}.")
        if self.silent_sources not in SILENT_SOURCES:
            raise InputError(f"silent_sources must be {' or '.join(SILENT_SOURCES)}; got {self.silent_sources!r}.")

    @checked_arguments("counts")
    def backward(
        self,
        layer: Dense | MapLayer | Readout,
        inputs: SpikeBatch,
        outputs: SpikeBatch | Voltages,
        signal: Floats,
        t_stop: float,
        *,
        is_output: bool = False,
        wants_signal: bool = True,
        threads: int = 1,
    ) -> tuple[dict[str, Floats], Floats]:
        """From dE/d count of a layer's neurons to weight gradients and dE/d count of its inputs.

        signal : (samples, n_out); of an integral Readout dE/d value. Returns {"weight": ...}, summed over the
        samples in a fixed order, and the signal (samples, n_in); zeros if it is not wanted, as below the first layer.
        The same bits for any number of threads.
        """
        if isinstance(layer, Readout):
            return readout_by_counts(layer, inputs, outputs, signal, t_stop)  # type: ignore[arg-type]
        assert isinstance(outputs, SpikeBatch)
        delay, inhibition = float(layer.delays.value()), getattr(layer, "lateral_inhibition", 0.0)
        lateral_delay = float(layer.lateral_delay) if isinstance(layer, Dense) else delay
        if self.psp_delay is not None:
            delay = lateral_delay = self.psp_delay
        theta = layer.theta
        tau_m, tau_s = (float(np.ravel(x)[0]) for x in (layer.neuron.tau_m, layer.neuron.tau_syn))
        scale = tau_s / tau_m
        plain = delta = signal / theta
        if is_output and inhibition > 0.0:
            delta = plain * lateral_factor(layer, outputs, signal, t_stop, self.silent_ratio * scale, lateral_delay)
        fake = is_output and self.fake_target_train
        trains = with_target_trains(layer, outputs, signal, t_stop, self.fake_step) if fake else outputs
        counts = trains.counts()
        macro = self._gamma(layer, counts, t_stop) if self.micro == "meanfield" else np.ones(counts.shape)
        errors = CountErrors(delta, macro, inputs.counts(), counts)
        settings = Settings(
            self.micro == "paper", self.pass_factor, self.silent_sources == "all", wants_signal,
            self.silent_psp * scale, self.silent_micro * scale, self.silent_ratio * scale,
        )  # fmt: skip
        if isinstance(layer, MapLayer):
            return count_gradient(layer, inputs, trains, errors, settings, t_stop, delay, threads)
        p = prepare(inputs, trains, layer.neuron, delay, t_stop, threads)
        weight_t = np.ascontiguousarray(layer.weight.T)
        order = order_of(len(inputs))

        def sweep(delta: Floats, wants_signal: bool) -> tuple[Floats, Floats]:
            gradient = np.empty_like(weight_t)
            back = np.zeros((p.n_blocks, len(inputs), layer.n_in))

            def one(b: int) -> None:
                layer_block(
                    p, errors._replace(delta=delta), order, weight_t, theta,
                    settings._replace(wants_signal=wants_signal), b, gradient, back[b],
                )  # fmt: skip

            with workers(threads) as pool:
                list(pool(one, range(p.n_blocks)))
            return np.ascontiguousarray(gradient.T), back.sum(axis=0)

        apart = wants_signal and delta is not plain and not self.pass_lateral
        gradient, below = sweep(delta, wants_signal and not apart)
        if apart:
            _, below = sweep(plain, True)
        return {"weight": gradient}, below

    def _gamma(self, layer: Dense | MapLayer, counts: np.ndarray, t_stop: float) -> Floats:
        tau_m = float(np.ravel(layer.neuron.tau_m)[0])
        interval = t_stop / np.maximum(counts, 1)
        y = np.maximum(interval - layer.per_neuron(layer.neuron.t_ref), 0.0) / tau_m
        gamma = np.expm1(np.minimum(y, 50.0)) / (interval / tau_m)
        return np.where(counts > 0, np.minimum(gamma, self.max_gamma), 1.0)

"""ST-RSBP: spike-train level recurrent backpropagation (Zhang and Li, NeurIPS 2019) on exact spike times.

A layer's counts o hold each other up: nu_l o_l = sum_j w_lj e_lj + sum_p r_lp e_lp, with inputs j, neurons p of the
layer itself, and S-PSPs e that depend on the counts of both ends. Differentiated by counts this is a linear system:

    A do = Phi do_in + sum e dw,    A_lp = nu_l Omega_ll [l = p] - r_lp e_lp/o_p,    Phi_lj = w_lj e_lj/o_j,
    Omega_ll = 1 - (1/nu_l) (sum_j w_lj de_lj/do_l + sum_p r_lp de_lp/do_l).

One adjoint solve per sample, A^T lambda = dE/do, gives all gradients: dE/dw_lj = lambda_l e_lj, for recurrent weights
too, and dE/do_j = sum_l lambda_l Phi_lj. No unrolling in time. See docs/rules/st_rsbp.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import lapack

from evsim.errors import GradientError, InputError
from evsim.learning._kernels.hm2bp import CountErrors, Settings, layer_block
from evsim.learning.fields import check_fields
from evsim.learning.fixed_order import rows_times, total
from evsim.learning.layers.dense import Dense, Recurrent
from evsim.learning.layers.readout import Readout, Voltages
from evsim.learning.needs import Needs, check_layer
from evsim.learning.rules.counts.signals import lateral_factor, order_of, readout_by_counts, with_target_trains
from evsim.learning.rules.counts.slopes import FORMS, elasticity, published_slope
from evsim.learning.spsp import prepare, s_psp_batch
from evsim.learning.validation import checked_arguments
from evsim.spikes import SpikeBatch
from evsim.threads import workers
from evsim.types import Floats

CREDITS = ("adjoint", "published", "transposed")
LATERAL = ("system", "two-hops")
_READ = 50
"""Counts beyond which the authors' program reads the table of a recurrent layer at its end."""


@dataclass(frozen=True, eq=False)
class CountSystem:
    """A of every sample, and what it is made of.

    omega : (samples, n), Omega_ll without the synapse of a neuron onto itself; nu : (n,), threshold above rest and bias
    feedback : (samples, n, n) [to, from], r_lp e_lp/o_p; None without synapses within the layer
    recurrent_psp : (samples, n, n), e_lp of the trained recurrent synapses; None without
    """

    omega: Floats
    nu: Floats
    feedback: Floats | None
    recurrent_psp: Floats | None

    def matrix(self) -> Floats:
        """A, (samples, n, n)."""
        a = (self.omega * self.nu)[:, :, None] * np.eye(self.nu.size)
        return a if self.feedback is None else a - self.feedback


@dataclass(frozen=True)
class STRSBP:
    """Recurrent layers through spike counts, by one linear solve a sample (Zhang and Li 2019).

    slopes : of e by the neuron's own count. "regular", "poisson" or "intervals": closed forms for regular trains,
        Poisson trains or the recorded intervals, relative to the measured e; "published": the authors' polynomial; a
        silent source is read as one that spikes once, and so is a silent neuron of a Recurrent layer
    table : of "published", the largest count of the authors' table: 50 as their script makes it, 100 as their program
        asks for
    credit : "adjoint": all gradients from lambda. "published": weights get the effect on their own neuron alone, lambda
        is used for the layer below, and a neuron's synapse onto itself is no feedback. "transposed": as "published",
        with Phi Omega^-1 for Omega^-1 Phi, as the released code seems to compute where n_in = n_out
    hops : None: solve the system; K: follow feedback over K synapses, lambda = sum_k<=K (D^-1 F^T)^k D^-1 dE/do, D the
        diagonal, F the feedback
    silent_psp : S-PSP of a silent neuron for each source that spikes (so that it can learn); 0: none
    silent_ratio : e_lj/o_j where l or j is silent; 0: nothing passes
        (both in the paper's unit, a PSC kernel of integral 1; scaled by tau_syn/tau_m here)
    fake_target_train, fake_step : as in HM2BP
    lateral : inhibition between the neurons of a layer. "system": feedback with fixed weights; "two-hops": HM2-BP's
        factor on the output layer's weight gradients, as in the authors' program, and no part of the system
    least_diagonal : Omega_ll is kept at least this far from 0 (the released code: 1e-4)

    On a Dense layer without lateral inhibition the rule is, with "regular", HM2BP(micro="meanfield",
    max_gamma=1/least_diagonal).
    """

    slopes: str = "regular"
    credit: str = "adjoint"
    hops: int | None = None
    silent_psp: float = 0.1
    silent_ratio: float = 0.5
    fake_target_train: bool = True
    least_diagonal: float = 0.1
    lateral: str = "system"
    table: int = 50
    fake_step: float = 0.0
    signals: ClassVar[tuple[str, ...]] = ("counts", "values")
    splits: ClassVar[str] = "halves"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.slopes not in FORMS:
            raise InputError(f"slopes must be one of {', '.join(FORMS)}; got {self.slopes!r}.")
        if self.credit not in CREDITS:
            raise InputError(f"credit must be one of {', '.join(CREDITS)}; got {self.credit!r}.")
        if self.hops is not None and self.hops < 0:
            raise InputError(f"hops must be >= 0, or None to solve; got {self.hops}.")
        if self.lateral not in LATERAL:
            raise InputError(f"lateral must be one of {', '.join(LATERAL)}; got {self.lateral!r}.")
        if self.fake_step < 0:
            raise InputError(f"fake_step must be >= 0 ms; got {self.fake_step}.")
        if self.table < 1:
            raise InputError(f"table must hold at least the count 1; got {self.table}.")
        if not self.least_diagonal > 0:
            raise InputError(f"least_diagonal must be > 0; got {self.least_diagonal}.")

    @property
    def needs(self) -> Needs:
        """What the rule takes of a layer."""
        return Needs(
            features=("integral",), delays="input", trained_delays=False, currents=(1,), parameters=False,
            above_rest=True, square=self.credit == "transposed",
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
        """From dE/d count of a layer, or dE/d value of an integral Readout, to gradients and dE/d count of its inputs.

        signal : (samples, n_out). Returns {"weight": (n_in, n_out)}, with "recurrent_weight" for a Recurrent layer,
        summed over the samples, and (samples, n_in); zeros if not wanted. The same bits for any number of threads.

        Raises GradientError : delays that are trained or by synapse, two synaptic currents or none, a threshold at or
        below rest, a system that has no solution.
        """
        if isinstance(layer, Readout):
            return readout_by_counts(layer, inputs, outputs, signal, t_stop)  # type: ignore[arg-type]
        assert isinstance(outputs, SpikeBatch)
        fake = is_output and self.fake_target_train
        trains = with_target_trains(layer, outputs, signal, t_stop, self.fake_step) if fake else outputs
        system = self._system(layer, inputs, outputs, trains, t_stop, threads)
        alone = signal / (system.omega * system.nu)
        lam = self._solve(system, signal, threads)
        to_weights = lam if self.credit == "adjoint" else alone
        if is_output and layer.lateral_inhibition > 0.0 and self.lateral == "two-hops":
            ratio = self.silent_ratio * _taus(layer)[1] / _taus(layer)[0]
            to_weights = to_weights * lateral_factor(layer, outputs, signal, t_stop, ratio, layer.lateral_delay)
        transposed = self.credit == "transposed" and system.feedback is not None
        to_inputs = signal / system.nu if transposed else lam
        gradient, below = self._layer(
            layer, inputs, trains, to_weights, t_stop, wants_signal and to_inputs is to_weights, threads
        )
        if wants_signal and to_inputs is not to_weights:
            _, below = self._layer(layer, inputs, trains, to_inputs, t_stop, True, threads)
        if wants_signal and transposed:
            below = self._solve(system, below, threads) * system.nu
        gradients = {"weight": gradient}
        if system.recurrent_psp is not None:
            psp = system.recurrent_psp
            gradients |= total(
                len(inputs), lambda a, b: {"recurrent_weight": np.einsum("kl,klp->pl", to_weights[a:b], psp[a:b])}
            )
        return gradients, below

    def system(
        self, layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, t_stop: float, threads: int = 1
    ) -> CountSystem:
        """The count-level system of a layer, to be looked at.

        Raises GradientError : a layer that the rule cannot treat (see ``backward``).
        """
        check_layer(self, layer)
        return self._system(layer, inputs, outputs, outputs, t_stop, threads)

    def _system(
        self, layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, trains: SpikeBatch, t_stop: float, threads: int
    ) -> CountSystem:
        neuron, nu, o = layer.neuron, layer.theta, trains.counts()
        tau_m, tau_s = _taus(layer)
        psp: Floats | None = None
        feedback: Floats | None = None
        inner = np.zeros((layer.n_out, layer.n_out))
        for weight, delay, trained in _inner_synapses(layer, self.lateral == "system"):
            arrivals, _ = delay.arrivals(outputs) if trained else (outputs, None)
            lag = 0.0 if trained else float(layer.lateral_delay)
            e = s_psp_batch(arrivals, trains, neuron, t_stop, lag, threads)
            silent = (o == 0)[:, :, None] | (outputs.counts() == 0)[:, None, :]
            ratio = np.full(e.shape, self.silent_ratio * tau_s / tau_m)
            np.divide(e, outputs.counts()[:, None, :], out=ratio, where=~silent)
            feedback = weight.T * ratio if feedback is None else feedback + weight.T * ratio
            inner = inner + weight
            if trained:
                taught = (o == 0)[:, :, None] & (outputs.counts() > 0)[:, None, :]
                psp = np.where(taught, self.silent_psp * tau_s / tau_m, e)
        if self.slopes == "published":
            t_ref = np.broadcast_to(np.asarray(neuron.t_ref, dtype=np.float64), layer.n_out)
            # The table begins at 1: its rows are read there for silent sources, and of recurrent layers its columns.
            recurrent = isinstance(layer, Recurrent)
            most = min(self.table, _READ) if recurrent else self.table
            counts = np.clip(o, 1, most)
            slope = np.stack(
                [published_slope(n, t_stop, tau_m, float(r), self.table) for n, r in zip(counts.T, t_ref)], axis=1
            )
            drive = rows_times(np.clip(inputs.counts(), 1.0, most), layer.weight)
            drive += rows_times(np.clip(outputs.counts(), 1.0, most), inner)
            omega = 1.0 - np.where(recurrent | (o > 0), slope, 0.0) * drive * (tau_s / t_stop) / nu
        else:
            omega = 1.0 - elasticity(self.slopes, trains, t_stop, tau_m, neuron.t_ref)
        omega = np.where(np.abs(omega) < self.least_diagonal, np.copysign(self.least_diagonal, omega), omega)
        if feedback is not None and self.credit != "adjoint":
            feedback *= 1.0 - np.eye(layer.n_out)
        return CountSystem(omega, nu, feedback, psp)

    def _solve(self, system: CountSystem, signal: Floats, threads: int) -> Floats:
        """lambda of A^T lambda = signal, (samples, n), or its first ``hops``."""
        diagonal = system.omega * system.nu
        alone: Floats = signal / diagonal
        if system.feedback is None:
            return alone
        if self.hops is not None:
            lam, term = alone.copy(), alone
            for _ in range(self.hops):
                term = (term[:, None, :] @ system.feedback)[:, 0] / diagonal
                lam += term
            return lam
        a = system.matrix()

        def one(k: int) -> int:
            # LAPACK reads columns: a[k].T is A^T without a copy.
            _, _, lam, info = lapack.dgesv(a[k].T, signal[k], overwrite_a=True)
            alone[k] = lam
            return int(info)

        with workers(threads) as pool:
            if any(pool(one, range(len(signal)))):
                raise GradientError(
                    "the counts of a layer have no derivative: feedback holds itself up exactly (A is singular). Give "
                    "hops, or start from weaker recurrent weights."
                )
        return alone

    def _layer(
        self, layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, lam: Floats, t_stop: float, wants_signal: bool,
        threads: int,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """sum lam_l e_lj, (n_in, n_out), and sum_l lam_l Phi_lj, (samples, n_in)."""
        arrivals, _ = layer.delays.arrivals(inputs)
        p = prepare(arrivals, outputs, layer.neuron, 0.0, t_stop, threads)
        scale = p.tau_s / p.tau_m
        counts = outputs.counts()
        weight_t = np.ascontiguousarray(layer.weight.T)
        gradient = np.empty_like(weight_t)
        below = np.zeros((p.n_blocks, len(inputs), layer.n_in))

        errors, order = CountErrors(lam, np.ones(counts.shape), inputs.counts(), counts), order_of(len(inputs))
        settings = Settings(
            False, False, False, wants_signal, self.silent_psp * scale, 0.0, self.silent_ratio * scale
        )

        def one(b: int) -> None:
            layer_block(p, errors, order, weight_t, layer.theta, settings, b, gradient, below[b])

        with workers(threads) as pool:
            list(pool(one, range(p.n_blocks)))
        return np.ascontiguousarray(gradient.T), below.sum(axis=0)


def _taus(layer: Dense) -> tuple[float, float]:
    return float(np.ravel(layer.neuron.tau_m)[0]), float(np.ravel(layer.neuron.receptor_taus()[0])[0])


def _inner_synapses(layer: Dense, with_lateral: bool) -> list[tuple[Floats, Any, bool]]:
    """Weights [from, to] between a layer's neurons, their delays, and whether they are trained."""
    out: list[tuple[Floats, Any, bool]] = []
    if isinstance(layer, Recurrent):
        out.append((layer.recurrent_weight, layer.recurrent_delays, True))
    if with_lateral and layer.lateral_inhibition > 0.0:
        out.append((-layer.lateral_inhibition * (1.0 - np.eye(layer.n_out)), None, False))
    return out

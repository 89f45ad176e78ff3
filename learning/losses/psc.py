"""Losses of postsynaptic currents (PSCs), as TSSL-BP has them; closed forms on exact spike times.

A spike at t_k makes a current eps(t - t_k) = exp(-(t - t_k)/tau)/tau, whose integral is 1; a(t) is their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels.psc import distances, match_samples
from evsim.learning.fields import check_fields
from evsim.learning.losses.checks import check_labels
from evsim.learning.losses.trains import by_neuron, check_against
from evsim.learning.psc_gradient import PSCGradient
from evsim.spikes import SpikeBatch
from evsim.types import Floats

PREDICTS = ("most", "nearest")


def _check_window(tau: float, t_stop: float) -> None:
    if not (tau > 0 and t_stop > 0):
        raise InputError(f"tau and t_stop must be > 0 ms; got {tau} and {t_stop}.")


def areas(outputs: SpikeBatch, tau: float, t_stop: float) -> Floats:
    """int_0^t_stop a dt of every neuron in every sample, (samples, size): spikes, late ones in part."""
    share = -np.expm1((outputs.times - t_stop) / tau)
    flat = np.bincount(outputs.places(), weights=share, minlength=len(outputs) * outputs.size)
    return flat.astype(np.float64).reshape(len(outputs), outputs.size)


def desired_trains(
    classes: int, t_stop: float, step: float, pattern: tuple[int, ...] | None = None, offset: float = 0.0
) -> SpikeBatch:
    """Target trains of TSSL-BP's classifier: sample c has spikes of neuron c only, at the 1s of a repeated pattern.

    t_stop, step : ms; the k-th place of the pattern (from 0) stands for k step + offset, while that is below t_stop
    pattern : None: the authors', (0, 1, 1, 1, 1) for fewer than ten steps, else (0, 1)
    """
    if classes < 1 or not (step > 0 and t_stop > 0):
        raise InputError(f"classes, t_stop and step must be > 0; got {classes}, {t_stop} and {step}.")
    places = int(np.ceil((t_stop - offset) / step - 1e-9))
    ones = pattern or ((0, 1, 1, 1, 1) if places < 10 else (0, 1))
    times = np.array([k * step + offset for k in range(places) if ones[k % len(ones)]])
    neurons = np.repeat(np.arange(classes, dtype=np.int32), times.size)
    return SpikeBatch(np.tile(times, classes), neurons, np.arange(classes + 1) * times.size, classes)


@dataclass(frozen=True, eq=False)
class PSCDistance:
    """The van Rossum loss of TSSL-BP (Zhang and Li 2020, eq. of E): half the squared difference of PSCs over [0, T].

        E = 1/2 int_0^T (a - a_des)^2 dt = 1/2 sum_kl q_k q_l G(t_k, t_l),     C(t) = sum_k q_k G(t, t_k)

    summed over the output neurons; q = 1 for spikes, -1 for targets; G of ``_kernels.psc``. For T far beyond the
    last spike it is ``VanRossum``'s distance divided by 2 tau.

    targets : one sample per class, the trains wanted of the output neurons
    tau : ms, of eps; the paper: the neurons' tau_syn
    t_stop : T, ms; the duration of the samples
    predicts : "most", the neuron with the largest area (the authors), or "nearest", the class of the nearest target
    """

    targets: SpikeBatch
    tau: float
    t_stop: float
    predicts: str = "most"
    signal: ClassVar[str] = "psc"

    def __post_init__(self) -> None:
        check_fields(self)
        _check_window(self.tau, self.t_stop)
        if self.predicts not in PREDICTS:
            raise InputError(f"predicts must be one of {', '.join(PREDICTS)}; got {self.predicts!r}.")

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, PSCGradient]:
        """Value of each sample (n,), and C with its slope."""
        labels = check_against(outputs, labels, self.targets)
        value, slope = self._matches(outputs, outputs, labels)
        gradient = PSCGradient(value, slope, lambda at: self._matches(outputs, at, labels)[0])
        return self._distances(outputs, labels), gradient

    def _distances(self, outputs: SpikeBatch, labels: np.ndarray) -> Floats:
        order, starts = by_neuron(outputs)
        theirs, target_starts = by_neuron(self.targets)
        loss = np.zeros(len(outputs))
        distances(
            outputs.times[order], starts, self.targets.times[theirs], target_starts, labels, outputs.size, self.tau,
            self.t_stop, loss,
        )  # fmt: skip
        # A squared distance, but sums that cancel to within rounding.
        return np.maximum(loss, 0.0)

    def _matches(self, outputs: SpikeBatch, queries: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        ask, query_starts = by_neuron(queries)
        order, starts = by_neuron(outputs)
        theirs, target_starts = by_neuron(self.targets)
        value, slope = np.empty(queries.times.size), np.empty(queries.times.size)
        match_samples(
            queries.times[ask], query_starts, outputs.times[order], starts, self.targets.times[theirs], target_starts,
            labels, outputs.size, self.tau, self.t_stop, value, slope,
        )  # fmt: skip
        back = np.empty_like(ask)
        back[ask] = np.arange(ask.size)
        return value[back], slope[back]

    def by_times(self) -> ByTimes:
        """The same loss for rules that start from derivatives by spike times, such as EventProp."""
        return ByTimes(self)

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """As ``predicts`` says, ties to the smallest index; (n,)."""
        if self.predicts == "most":
            return np.argmax(areas(outputs, self.tau, self.t_stop), axis=1)
        n = len(outputs)
        by_class = [self._distances(outputs, np.full(n, c)) for c in range(len(self.targets))]
        return np.argmin(by_class, axis=0)


def psc_classes(
    classes: int,
    t_stop: float,
    tau: float = 10.0,
    step: float = 4.0,
    pattern: tuple[int, ...] | None = None,
    predicts: str = "most",
) -> PSCDistance:
    """A PSCDistance from ``desired_trains``: one output neuron per class, which is to spike in the pattern."""
    return PSCDistance(desired_trains(classes, t_stop, step, pattern), tau, t_stop, predicts)


@dataclass(frozen=True)
class PSCCount:
    """TSSL-BP's count loss: half the squared distance of each output neuron's area A = int_0^T a dt from a wanted one.

        E = 1/2 sum_i (A_i - y_i)^2,    C_i(t) = (A_i - y_i) (1 - exp(-(T - t)/tau))

    One-sided, as in the authors' code: no error of the labelled neuron above its y, nor of the others below theirs.
    (Their error is divided by the number of steps, here 1.)

    tau, t_stop : ms; desired, undesired : y of the labelled neuron and of the others (15 and 3 for N-MNIST)
    """

    tau: float
    t_stop: float
    desired: float = 15.0
    undesired: float = 3.0
    signal: ClassVar[str] = "psc"

    def __post_init__(self) -> None:
        check_fields(self)
        _check_window(self.tau, self.t_stop)

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, PSCGradient]:
        """Value of each sample (n,), and C with its slope."""
        labels = check_labels(labels, len(outputs), outputs.size)
        area = areas(outputs, self.tau, self.t_stop)
        error = np.maximum(area - self.undesired, 0.0)
        rows = np.arange(len(labels))
        error[rows, labels] = np.minimum(area[rows, labels] - self.desired, 0.0)

        def by_psc(at: SpikeBatch) -> Floats:
            return error.ravel()[at.places()] * -np.expm1((at.times - self.t_stop) / self.tau)

        left = np.exp((outputs.times - self.t_stop) / self.tau)
        by_time = -error.ravel()[outputs.places()] * left / self.tau
        return 0.5 * np.sum(error**2, axis=1), PSCGradient(by_psc(outputs), by_time, by_psc)

    def by_times(self) -> ByTimes:
        """The same loss for rules that start from derivatives by spike times, such as EventProp."""
        return ByTimes(self)

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The neuron with the largest area, ties to the smallest index; (n,)."""
        return np.argmax(areas(outputs, self.tau, self.t_stop), axis=1)


@dataclass(frozen=True, eq=False)
class ByTimes:
    """A loss of PSCs as one of spike times."""

    loss: Any
    signal: ClassVar[str] = "times"

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,)."""
        value, pull = self.loss(outputs, labels)
        return value, pull.by_time

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """As the loss does."""
        classes: np.ndarray = self.loss.predict(outputs)
        return classes

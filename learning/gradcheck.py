"""A rule's gradient beside the true one: EventProp, and differences of the engine and of the 50-digit replay."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from evsim.errors import GradientError
from evsim.learning.layers import Recurrent
from evsim.learning.losses import CountLoss, PSCCount, PSCDistance, SmoothCountLoss
from evsim.learning.model import Sequential
from evsim.learning.protocols import Loss, Rule, backward, check_signal
from evsim.learning.readout import Readout
from evsim.learning.rules.eventprop import EventProp, conditioning
from evsim.learning.training import Trainer
from evsim.types import Floats, SpikeBatch

_DELAYS = ("delay", "recurrent_delay")
_MOST_NEURONS, _MOST_SPIKES = 60, 300
"""Of what the 50-digit replay is tried on: it takes minutes beyond that."""


@dataclass(frozen=True)
class Agreement:
    """How one gradient agrees with another, over the parameters that were compared.

    layer, parameter, against : what was compared; n : number of parameters
    relative_error : |a - b|/|b|; cosine; sign_agreement : share of equal signs where b is not 0; scale : <a, b>/<b, b>
    """

    layer: int
    parameter: str
    against: str
    n: int
    relative_error: float
    cosine: float
    sign_agreement: float
    scale: float


@dataclass(frozen=True)
class GradientReport:
    """What ``check_gradient`` found.

    rows : the agreements; worst_conditioning : of all spikes, the largest |theta|/(tau_m dv/dt) at threshold
    pairs : (layer, parameter) -> (the rule's gradient, EventProp's), flat, for plots
    true_loss : the loss whose true gradient is taken
    """

    rows: list[Agreement]
    worst_conditioning: float
    true_loss: str
    pairs: dict[tuple[int, str], tuple[Floats, Floats]] = field(repr=False, default_factory=dict)

    def asdicts(self) -> list[dict[str, Any]]:
        """The rows as plain values."""
        return [asdict(row) for row in self.rows]


def check_gradient(
    model: Sequential,
    rule: Rule,
    loss: Loss,
    inputs: SpikeBatch,
    labels: np.ndarray,
    t_stop: float,
    *,
    true_loss: Loss | None = None,
    differences: int = 20,
    replays: int = 5,
    step: float = 1e-6,
    seed: int = 0,
) -> GradientReport:
    """Compare a rule's gradient with the true one, layer by layer and parameter by parameter.

    Parameters
    ----------
    inputs, labels, t_stop : samples (a SpikeBatch), their classes, and their duration in ms
    true_loss : the loss of the true gradient; None: ``loss`` itself, or, as spike counts have no derivative, a
        SmoothCountLoss with the counts of a CountLoss; a loss of PSCs is taken by its spike times
    differences : parameters per array that are moved by +-step in the float64 engine, drawn by ``seed``; 0: none
    replays : the same with 50 digits, for models of up to 60 neurons and 300 spikes, without a Readout; needs
        evsim[testing]

    Raises
    ------
    GradientError : a loss that the rule cannot start from, or that has no true gradient
    """
    check_signal(rule, loss)
    if true_loss is None:
        true_loss = with_derivative(loss, t_stop)
    spikes = model.forward(inputs, t_stop)
    found, _ = backward(model, rule, spikes, loss(spikes[-1], labels)[1], t_stop)
    signal = true_loss(spikes[-1], labels)[1]
    true, _ = backward(model, EventProp(), spikes, signal, t_stop)
    rng = np.random.default_rng(seed)
    rows: list[Agreement] = []
    pairs = {}
    for k, (mine, exact) in enumerate(zip(found, true)):
        for name in sorted(set(mine) & set(exact)):
            a, b = mine[name].ravel(), exact[name].ravel()
            pairs[k, name] = a, b
            rows.append(agreement_of(k, name, "EventProp", a, b))
            picked = rng.permutation(a.size)
            if differences and _array(model, k, name) is not None:
                some = np.sort(picked[:differences])
                c = _float64(model, k, name, some, true_loss, inputs, labels, t_stop, step)
                rows.append(agreement_of(k, name, "FD float64", a[some], c))
            if replays and _small(model, spikes):
                some = np.sort(picked[:replays])
                d = _fifty_digits(model, k, name, some, spikes, signal, inputs, t_stop)
                rows.append(agreement_of(k, name, "FD 50 digits", a[some], d))
    worst = max((float(conditioning(layer, s).max(initial=0.0)) for layer, s in zip(model.layers, spikes[1:])
                 if not isinstance(layer, Readout)), default=0.0)  # fmt: skip
    return GradientReport(rows, worst, type(true_loss).__name__, pairs)


def training_agreement(trainer: Trainer, inputs: SpikeBatch, labels: np.ndarray) -> list[Agreement]:
    """How the gradient that a trainer would follow on a batch, remedies left out, agrees with the true gradient of its
    loss for the exact model: the loss itself, or the smoothed count in place of a count.

    Raises GradientError : a loss without a true gradient
    """
    t_stop, exact = trainer.options.duration, Sequential(*trainer.model.layers)
    loss = with_derivative(trainer.loss, t_stop)
    mine = iter(trainer.gradients(inputs, labels)[0])
    spikes = exact.forward(inputs, t_stop)
    true, _ = backward(exact, EventProp(), spikes, loss(spikes[-1], labels)[1], t_stop)
    return [
        agreement_of(k, name, "EventProp", next(mine).ravel() * len(inputs), g.ravel())
        for k, (layer, found) in enumerate(zip(exact.layers, true))
        for name, g in layer.pull_back(found).items()
    ]


def _small(model: Sequential, spikes: list[Any]) -> bool:
    if isinstance(model.layers[-1], Readout):
        return False
    neurons = sum(layer.n_out for layer in model.layers)
    return neurons <= _MOST_NEURONS and sum(s.times.size for s in spikes) <= _MOST_SPIKES


def with_derivative(loss: Loss, t_stop: float) -> Loss:
    """The loss itself, or the smoothed count in place of a count. Raises GradientError : neither."""
    if loss.signal in EventProp.signals:
        return loss
    if isinstance(loss, (PSCCount, PSCDistance)):
        return loss.by_times()
    if isinstance(loss, CountLoss):
        return SmoothCountLoss(t_stop, loss.desired, loss.undesired, 0.1 * t_stop)
    raise GradientError(f"{type(loss).__name__} has no derivative by spike times; give a true_loss to compare with.")


def agreement_of(layer: int, name: str, against: str, a: Floats, b: Floats) -> Agreement:
    """How ``a`` agrees with ``b``, both flat."""
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    some = b != 0.0
    return Agreement(
        layer, name, against, int(a.size),
        float(np.linalg.norm(a - b)) / norm_b if norm_b else (0.0 if norm_a == 0.0 else float("inf")),
        float(a @ b) / (norm_a * norm_b) if norm_a * norm_b else float("nan"),
        float(np.mean(np.sign(a[some]) == np.sign(b[some]))) if some.any() else float("nan"),
        float(a @ b) / norm_b**2 if norm_b else float("nan"),
    )  # fmt: skip


def _array(model: Sequential, k: int, name: str) -> Any:
    """The array that an entry of a gradient belongs to, for moving it; None where it is not one per entry."""
    layer: Any = model.layers[k]
    if name in _DELAYS:
        delays = layer.delays if name == "delay" else layer.recurrent_delays
        return delays if delays.trained else None
    return getattr(layer, name)


def _float64(
    model: Sequential, k: int, name: str, some: np.ndarray, loss: Loss, inputs: SpikeBatch, labels: np.ndarray,
    t_stop: float, step: float,
) -> Floats:  # fmt: skip
    """Central differences of the float64 engine for some entries."""
    target = _array(model, k, name)
    array = (target.logit if name in _DELAYS else target).reshape(-1)
    out = np.empty(some.size)
    for place, index in enumerate(some):
        before = array[index]
        values, at = [], []
        for change in (step, -step):
            array[index] = before + change
            at.append(target.value().reshape(-1)[index] if name in _DELAYS else array[index])
            values.append(float(loss(model.forward(inputs, t_stop)[-1], labels)[0].sum()))
        array[index] = before
        out[place] = (values[0] - values[1]) / (at[0] - at[1])
    return out


def _fifty_digits(
    model: Sequential, k: int, name: str, some: np.ndarray, spikes: list[Any], signal: Floats, inputs: SpikeBatch,
    t_stop: float,
) -> Floats:  # fmt: skip
    """sum dL/dt dt/dp with dt/dp from differences of the 50-digit replay, for some entries."""
    from evsim.testing.derivatives import spike_time_derivatives

    out = np.zeros(some.size)
    last = spikes[-1]
    first_output = sum(layer.n_out for layer in model.layers[:-1])
    for sample in range(len(inputs)):
        description, index_of = _description(model, inputs, sample, t_stop)
        part = slice(last.offsets[sample], last.offsets[sample + 1])
        # By neuron, then in order: the k-th spike of a neuron is the k-th of the replay.
        pull = signal[part][np.argsort(last.neurons[part], kind="stable")]
        for place, entry in enumerate(some):
            synapses = index_of(k, name, int(entry))
            kind = "delay" if name in _DELAYS else "weight"
            move = np.zeros(len(description.synapses))
            move[synapses] = 1.0
            times, slopes = spike_time_derivatives(description, {kind: move})
            neurons = np.array([n for _, n in times], np.int64)
            order = np.argsort(neurons, kind="stable")
            out[place] += pull @ slopes[order[neurons[order] >= first_output]]
    return out


def _description(model: Sequential, inputs: SpikeBatch, sample: int, t_stop: float) -> tuple[Any, Any]:
    """A sample of a model as a NetworkDescription, and which of its synapses an entry of a gradient stands for."""
    from evsim.testing.strategies import NetworkDescription

    n_inputs = inputs.size
    synapses: list[tuple[int, int, float, float]] = []
    starts: dict[tuple[int, str], int] = {}
    neurons, below, above = [], 0, 0
    for k, layer in enumerate(model.layers):
        blocks: list[tuple[str, Any, Any, int]] = [("", layer.weight, layer.delays, below)]
        above = n_inputs + sum(x.n_out for x in model.layers[:k])
        if isinstance(layer, Recurrent):
            blocks.append(("recurrent_", layer.recurrent_weight, layer.recurrent_delays, above))
        for prefix, weight, delays, source in blocks:
            starts[k, prefix] = len(synapses)
            delay = np.broadcast_to(delays.matrix(), weight.shape)
            synapses += [
                (source + i, above - n_inputs + j, float(weight[i, j]), float(delay[i, j]))
                for i, j in np.ndindex(*weight.shape)
            ]
        neurons += [layer.neuron] * layer.n_out
        below = above
    train = inputs.sample(sample)
    fed = list(zip(train.times.tolist(), train.neurons.tolist()))
    description = NetworkDescription(n_inputs, [len(neurons)], neurons, synapses, fed, t_stop)

    def index_of(k: int, name: str, entry: int) -> list[int]:
        prefix = "recurrent_" if name.startswith("recurrent") else ""
        layer: Any = model.layers[k]
        width = layer.n_out
        by_input = name in _DELAYS and (layer.recurrent_delays if prefix else layer.delays).by_input
        first = starts[k, prefix]
        return list(range(first + entry * width, first + (entry + 1) * width)) if by_input else [first + entry]

    return description, index_of

"""A rule's gradient beside the true one: EventProp, and differences of the engine and of the 50-digit replay."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from evsim import streams
from evsim.errors import GradientError, InputError
from evsim.learning.checks.agreement import LIMITS, Agreement, agreement_of
from evsim.learning.checks.agreement import GradientReport as GradientReport
from evsim.learning.checks.mean_gradient import Draw, by_rule, compare_means, expected_gradient, mean_gradient
from evsim.learning.checks.mean_report import MeanReport
from evsim.learning.fields import check_number
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.dense import Recurrent
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.layers.readout import Readout
from evsim.learning.losses import CountLoss, PSCCount, PSCDistance, SmoothCountLoss
from evsim.learning.model import Sequential
from evsim.learning.needs import check_layers
from evsim.learning.protocols import Loss, Rule, backward, check_signal, loss_gradients
from evsim.learning.rules.eventprop import EventProp, conditioning
from evsim.learning.training.trainer import Trainer
from evsim.learning.validation import loss_and_signal
from evsim.spikes import SpikeBatch
from evsim.types import Floats

_DELAYS = ("delay", "recurrent_delay")
_MOST_NEURONS, _MOST_SPIKES = 60, 300
"""Largest networks and spike counts that are replayed with 50 digits: it takes minutes beyond that."""
_LEAST_BY_REPLAY = 1e-20
"""Derivatives by the replay have a rounding error of about 1e-26: of smaller ones it tells too little."""


@overload
def check_gradient(
    model: Sequential,
    rule: Rule,
    loss: Loss,
    inputs: SpikeBatch,
    labels: np.ndarray,
    t_stop: float,
    *,
    reference: Literal["pathwise"] = "pathwise",
    true_loss: Loss | None = None,
    exact: bool | None = None,
    differences: int = 20,
    replays: int = 5,
    step: float = 1e-6,
    seed: int = 0,
) -> GradientReport: ...


@overload
def check_gradient(
    model: Sequential,
    rule: Rule,
    loss: Loss,
    inputs: None,
    labels: None,
    t_stop: float,
    *,
    reference: Literal["mean"],
    draw: Draw,
    precision: float = 0.05,
    most_draws: int = 20_000,
    draws_a_block: int = 50,
    mean_step: float = 0.05,
) -> MeanReport: ...


def check_gradient(
    model: Sequential,
    rule: Rule,
    loss: Loss,
    inputs: SpikeBatch | None,
    labels: np.ndarray | None,
    t_stop: float,
    *,
    reference: str = "pathwise",
    true_loss: Loss | None = None,
    exact: bool | None = None,
    differences: int = 20,
    replays: int = 5,
    step: float = 1e-6,
    seed: int = 0,
    draw: Draw | None = None,
    precision: float = 0.05,
    most_draws: int = 20_000,
    draws_a_block: int = 50,
    mean_step: float = 0.05,
) -> GradientReport | MeanReport:
    """Compare a rule's gradient with the true one, layer by layer and parameter by parameter.

    ``report.verdict`` says in a sentence what came out, ``report.ok`` whether that is what the rule claims: an exact
    rule must keep its limit in every row (relative error 1e-9 against EventProp and the replay, 1e-4 against float64
    differences), of an approximate one the cosine is reported.

    Parameters
    ----------
    inputs, labels, t_stop : samples (a SpikeBatch), their classes, and their duration in ms
    reference : "pathwise", the gradient for these given inputs; "mean", the gradient of the mean loss over random
        inputs, which ``draw`` gives in place of ``inputs`` and ``labels`` (None), as a `MeanReport`; then the options
        from ``true_loss`` to ``seed`` are not used
    draw, precision, most_draws, draws_a_block, mean_step : of "mean", as in ``mean_gradient`` (mean_step: its step)
    true_loss : the loss of the true gradient; None: ``loss`` itself, or, as spike counts have no derivative, a
        SmoothCountLoss with the counts of a CountLoss; a loss of PSCs is taken by its spike times
    exact : is the rule to be held exact? None: as its attribute ``exact`` says, False where it has none; EventProp is,
        unless its ``min_slope`` changes the derivative of one of these spikes
    differences : parameters per array that are moved by +-step in the float64 engine; 0: none. Half of them are those
        of the largest true gradient, the others drawn by ``seed`` among those where one of the gradients is not 0
    replays : the same with 50 digits, for models of up to 60 neurons and 300 spikes, without a Readout; left out, with
        a note, where mpmath and hypothesis are not installed

    Raises
    ------
    GradientError : a loss that the rule cannot start from, or that has no true gradient; gradients of other names or
        shapes than the layers have, or not finite
    """
    check_signal(rule, loss)
    check_layers(rule, model)
    if reference == "mean" and draw is not None:
        return _check_mean(model, rule, loss, draw, t_stop, mean_step, precision, most_draws, draws_a_block)
    if reference != "pathwise" or draw is not None or inputs is None or labels is None:
        raise InputError(
            "check_gradient takes inputs and labels, or reference = 'mean' and draw, a function from numbers of draws "
            f"to inputs and labels; got reference = {reference!r}."
        )
    for name, count in (("differences", differences), ("replays", replays)):
        check_number(name, count, integer=True)
    check_number("step", step)
    if differences < 0 or replays < 0 or not step > 0:
        raise InputError(f"differences and replays must be >= 0, step > 0; got {differences}, {replays} and {step}.")
    if true_loss is None:
        true_loss = with_derivative(loss, t_stop)
    spikes = model.forward(inputs, t_stop)
    if exact is None:
        exact = _claims_exact(rule, model, spikes)
    found = loss_gradients(model, rule, loss, inputs, labels, t_stop)
    value, signal = loss_and_signal(true_loss, spikes[-1], labels)
    true, _ = backward(model, EventProp(), spikes, signal, t_stop)
    rounding = _rounding(spikes[-1], value, signal)
    note = _why_no_replay(model, spikes) if replays else None
    rng = streams.rng("gradient check", seed)
    rows: list[Agreement] = []
    pairs = {}
    for k, (mine, true_here) in enumerate(zip(_by_coordinates(model, found), _by_coordinates(model, true))):
        for name in sorted(set(mine) & set(true_here)):
            by_input = _by_input(model, k, name, mine[name], true_here[name])
            a, b = (g.sum(axis=1) if by_input and g.ndim == 2 else g.ravel() for g in (mine[name], true_here[name]))
            pairs[k, name] = a, b
            rows.append(agreement_of(k, name, "EventProp", a, b))
            if differences and _array(model, k, name) is not None:
                some = telling_entries(a, b, differences, rng)
                c, width = _float64(model, k, name, some, true_loss, inputs, labels, t_stop, step)
                least = float(np.linalg.norm(rounding / width)) / LIMITS["FD float64"]
                rows.append(agreement_of(k, name, "FD float64", a[some], c, least))
            if replays and note is None and name not in _coordinates(model, k):
                some = telling_entries(a, b, replays, rng)
                d = _fifty_digits(model, k, name, some, by_input, spikes, signal, inputs, t_stop)
                rows.append(agreement_of(k, name, "FD 50 digits", a[some], d, _LEAST_BY_REPLAY))
    if not rows:
        raise GradientError("there is no parameter of which both the rule and EventProp give a gradient.")
    worst = max((float(conditioning(layer, s).max(initial=0.0)) for layer, s in zip(model.layers, spikes[1:])
                 if not isinstance(layer, Readout | SumPool2d)), default=0.0)  # fmt: skip
    return GradientReport(rows, worst, type(true_loss).__name__, exact, () if note is None else (note,), pairs)


def _check_mean(
    model: Sequential, rule: Rule, loss: Loss, draw: Draw, t_stop: float, step: float, precision: float,
    most_draws: int, draws_a_block: int,
) -> MeanReport:  # fmt: skip
    """The rule's mean gradient on the draws of the reference, beside it."""
    true = mean_gradient(
        model, loss, draw, t_stop, step=step, precision=precision, most_draws=most_draws, draws_a_block=draws_a_block
    )
    gradients = by_rule(model, rule, loss, t_stop)
    of_rule = expected_gradient(model, gradients, draw, draws=true.draws, draws_a_block=draws_a_block)
    return MeanReport(compare_means(of_rule, true), true.draws, true.noise(), type(loss).__name__)


def _claims_exact(rule: Rule, model: Sequential, spikes: list[Any]) -> bool:
    """Its attribute ``exact``; EventProp claims it where its ``min_slope`` changes nothing."""
    pairs = [(layer, s) for layer, s in zip(model.layers, spikes[1:]) if isinstance(s, SpikeBatch)]
    if isinstance(rule, EventProp) and any(rule.clips(layer, s) for layer, s in pairs):
        return False
    return bool(getattr(rule, "exact", False))


def telling_entries(a: Floats, b: Floats, n: int, rng: np.random.Generator) -> np.ndarray:
    """Up to n entries in which a difference of two gradients would show, in order.

    Half of them are the largest of b, the true one; the rest are drawn where a or b is not 0, and only if these are too
    few from all others.
    """
    by_size = np.argsort(-np.abs(b), kind="stable")
    first = by_size[: -(-n // 2)]
    rest = rng.permutation(np.setdiff1d(by_size, first))
    idle = (a[rest] == 0.0) & (b[rest] == 0.0)
    return np.sort(np.concatenate([first, rest[~idle], rest[idle]])[:n])


def training_agreement(trainer: Trainer, inputs: SpikeBatch, labels: np.ndarray) -> list[Agreement]:
    """How the gradient that a trainer would follow on a batch, remedies left out, agrees with the true gradient of its
    loss for the exact model: the loss itself, or the smoothed count in place of a count.

    Raises GradientError : a loss without a true gradient
    """
    t_stop, exact = trainer.options.duration, Sequential(*trainer.model.layers)
    loss = with_derivative(trainer.loss, t_stop)
    of_rule = iter(trainer.gradients(inputs, labels)[0])
    spikes = exact.forward(inputs, t_stop)
    true, _ = backward(exact, EventProp(), spikes, loss_and_signal(loss, spikes[-1], labels)[1], t_stop)
    return [
        agreement_of(k, name, "EventProp", next(of_rule).ravel() * len(inputs), g.ravel())
        for k, (layer, exact_here) in enumerate(zip(exact.layers, true))
        for name, g in layer.pull_back(exact_here).items()
    ]


def _why_no_replay(model: Sequential, spikes: list[Any]) -> str | None:
    """Why nothing is compared with the 50-digit replay; None: it can be."""
    if isinstance(model.layers[-1], Readout):
        return "not compared with the 50-digit replay: it has no Readout."
    if any(isinstance(layer, MapLayer | SumPool2d) for layer in model.layers):
        return "not compared with the 50-digit replay: it has no convolutions and pools."
    neurons, n = sum(layer.n_out for layer in model.layers), sum(s.times.size for s in spikes)
    if neurons > _MOST_NEURONS or n > _MOST_SPIKES:
        return (
            f"not compared with the 50-digit replay, which would take minutes: {neurons} neurons and {n} spikes, more "
            f"than {_MOST_NEURONS} and {_MOST_SPIKES}."
        )
    try:
        import evsim.testing.derivatives  # noqa: F401
    except ImportError as error:
        return (
            f"not compared with the 50-digit replay: {error}. It needs two packages: pip install mpmath hypothesis."
        )
    return None


def with_derivative(loss: Loss, t_stop: float) -> Loss:
    """The loss itself, or the smoothed count in place of a count. Raises GradientError : neither."""
    if loss.signal in EventProp.signals:
        return loss
    if isinstance(loss, (PSCCount, PSCDistance)):
        return loss.by_times()
    if isinstance(loss, CountLoss):
        return SmoothCountLoss(t_stop, loss.desired, loss.undesired, 0.1 * t_stop)
    raise GradientError(f"{type(loss).__name__} has no derivative by spike times; give a true_loss to compare with.")


def _coordinates(model: Sequential, k: int) -> dict[str, Floats]:
    return model.layers[k].neuron_parameters.parameters()


def _by_coordinates(model: Sequential, gradients: list[dict[str, Floats]]) -> list[dict[str, Floats]]:
    """Gradients by the coordinates of what layers train of their neurons, in place of those by the parameters."""
    return [
        {name: g for name, g in d.items() if name not in layer.trainable} | layer.neuron_parameters.pull_back(d)
        for layer, d in zip(model.layers, gradients)
    ]


def _array(model: Sequential, k: int, name: str) -> Any:
    """The array that an entry of a gradient belongs to, for moving it; None where it is not one per entry."""
    layer: Any = model.layers[k]
    if name in (coordinates := _coordinates(model, k)):
        return coordinates[name]
    if name in _DELAYS:
        delays = layer.delays if name == "delay" else layer.recurrent_delays
        return delays if delays.trained else None
    return getattr(layer, name, None)


def _by_input(model: Sequential, k: int, name: str, *gradients: Floats) -> bool:
    """Is this the gradient of delays that all synapses of an input share?"""
    if name not in _DELAYS:
        return False
    delays = getattr(model.layers[k], name + "s")
    return delays.trained == "input" or any(g.ndim == 1 for g in gradients)


def _float64(
    model: Sequential, k: int, name: str, entries: np.ndarray, loss: Loss, inputs: SpikeBatch, labels: np.ndarray,
    t_stop: float, step: float,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Central differences of the float64 engine for some entries, and the width of each."""
    target = _array(model, k, name)
    array = (target.logit if name in _DELAYS else target).reshape(-1)
    out, width = np.empty(entries.size), np.empty(entries.size)
    for place, index in enumerate(entries):
        before = array[index]
        values, at = [], []
        for change in (step, -step):
            array[index] = before + change
            at.append(target.value().reshape(-1)[index] if name in _DELAYS else array[index])
            values.append(float(loss(model.forward(inputs, t_stop)[-1], labels)[0].sum()))
        array[index] = before
        width[place] = at[0] - at[1]
        out[place] = (values[0] - values[1]) / width[place]
    return out, width


def _rounding(last: Any, value: Floats, signal: Any) -> float:
    """Rounding error of a loss in float64: that of the outputs, 4 eps each as for a spike time, and its own."""
    size = float(np.abs(value).sum())
    if isinstance(signal, np.ndarray):
        outputs = last.times if isinstance(last, SpikeBatch) else last.values
        size += float(np.abs(signal * outputs).sum())
    return 4.0 * float(np.finfo(float).eps) * size


def _fifty_digits(
    model: Sequential, k: int, name: str, entries: np.ndarray, by_input: bool, spikes: list[Any], signal: Floats,
    inputs: SpikeBatch, t_stop: float,
) -> Floats:  # fmt: skip
    """sum dL/dt dt/dp with dt/dp from differences of the 50-digit replay, for some entries."""
    from evsim.testing.derivatives import spike_time_derivatives

    out = np.zeros(entries.size)
    last = spikes[-1]
    first_output = sum(layer.n_out for layer in model.layers[:-1])
    for sample in range(len(inputs)):
        description, index_of = sample_description(model, inputs, sample, t_stop)
        part = slice(last.offsets[sample], last.offsets[sample + 1])
        # By neuron, then in order: the k-th spike of a neuron is the k-th of the replay.
        pull = signal[part][np.argsort(last.neurons[part], kind="stable")]
        for place, entry in enumerate(entries):
            synapses = index_of(k, name, int(entry), by_input)
            kind = "delay" if name in _DELAYS else "weight"
            move = np.zeros(len(description.synapses))
            move[synapses] = 1.0
            times, slopes = spike_time_derivatives(description, {kind: move})
            neurons = np.array([n for _, n in times], np.int64)
            order = np.argsort(neurons, kind="stable")
            out[place] += pull @ slopes[order[neurons[order] >= first_output]]
    return out


def sample_description(model: Sequential, inputs: SpikeBatch, sample: int, t_stop: float) -> tuple[Any, Any]:
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

    def index_of(k: int, name: str, entry: int, by_input: bool) -> list[int]:
        prefix = "recurrent_" if name.startswith("recurrent") else ""
        width = model.layers[k].n_out
        first = starts[k, prefix]
        return list(range(first + entry * width, first + (entry + 1) * width)) if by_input else [first + entry]

    return description, index_of

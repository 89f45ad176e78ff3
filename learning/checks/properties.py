"""Small layered models with inputs, for the properties of a learning rule, and the property that an exact rule has."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from evsim.errors import GradientError
from evsim.learning.checks.gradcheck import check_gradient, sample_description
from evsim.learning.layers.dense import Dense, Recurrent
from evsim.learning.layers.readout import Readout
from evsim.learning.losses import CustomLoss, VoltageCrossEntropy
from evsim.learning.model import Sequential
from evsim.learning.protocols import Loss, Rule
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.testing.derivatives import untied
from evsim.testing.follow import SpikesChanged
from evsim.testing.oracle import replay_network
from evsim.testing.strategies import clear_of_grazing, lif_parameters, peak_of_unit_psp, spike_trains

_MARGIN, _CONDITIONING = 1e-6, 1e3
"""Least margin and worst conditioning of a case: nearer to grazing, derivatives hold for tiny changes only."""


@dataclass(frozen=True, eq=False)
class SmallModel:
    """A layered model with weights, and a few samples for it.

    inputs : SpikeBatch; labels : (samples,); t_stop : ms
    """

    model: Sequential
    inputs: SpikeBatch
    labels: np.ndarray
    t_stop: float

    def __repr__(self) -> str:
        layers = ", ".join(f"{x.describe()} of {x.neuron}, weight {x.weight.tolist()}" for x in self.model.layers)
        fed = [list(zip(train.times.tolist(), train.neurons.tolist())) for train in self.inputs]
        return f"SmallModel([{layers}], inputs {fed}, t_stop {self.t_stop})"


@st.composite
def small_models(
    draw: Any, recurrent: bool = True, delays: bool = True, readout: bool = False, t_stop: float = 30.0
) -> SmallModel:
    """Models of one or two layers of 1 ... 3 neurons with one exponential current, and one or two samples.

    recurrent : Recurrent layers too; delays : layers with trained delays too
    readout : the last layer is a Readout of feature "integral", which has no kinks
    t_stop : ms
    """
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    layers: list[Any] = []
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        neuron = draw(lif_parameters(receptors=1))
        delay = draw(st.sampled_from([0.5, 1.0]) | st.floats(0.1, 5.0))
        options: dict[str, Any] = {"delay": delay}
        if delays and draw(st.booleans()):
            options = {"trainable_delays": "input", "max_delay": 2.0 * delay}
        if readout and k == len(sizes) - 2:
            layer: Any = Readout(n_in, n_out, neuron, feature="integral", **options)
        elif recurrent and draw(st.booleans()):
            layer = Recurrent(n_in, n_out, neuron, recurrent_delay=delay, **options)
        else:
            layer = Dense(n_in, n_out, neuron, **options)
        unit = float(neuron.v_th - neuron.v_rest) / peak_of_unit_psp(neuron)
        strengths = st.floats(-0.6, 1.6)
        weight = st.lists(strengths, min_size=n_in * n_out, max_size=n_in * n_out)
        layer.weight = unit * np.reshape(draw(weight), (n_in, n_out))
        if isinstance(layer, Recurrent):
            # Inhibition, so that no activity runs away.
            inner = draw(st.lists(st.floats(-1.0, 0.0), min_size=n_out**2, max_size=n_out**2))
            layer.recurrent_weight = unit * np.reshape(inner, (n_out, n_out))
        layers.append(layer)
    samples = draw(st.integers(1, 2))
    trains = [draw(spike_trains(sizes[0], t_stop, 8)) for _ in range(samples)]
    labels = np.array([draw(st.integers(0, sizes[-1] - 1)) for _ in range(samples)])
    return SmallModel(Sequential(*layers), SpikeBatch.from_trains(trains), labels, t_stop)


def weighted_times(train: SpikeTrains, label: int) -> tuple[float, np.ndarray]:
    """A loss that every spike time matters to: sum_k c_k t_k, with factors c_k that differ from spike to spike."""
    rank = np.arange(len(train))
    factors = 1.0 + 0.5 * np.cos(3.0 * rank + train.neurons + label)
    return float(factors @ train.times), factors


def assert_gradient(
    rule: Rule, case: SmallModel | None = None, *, loss: Loss | None = None, examples: int = 25
) -> None:
    """Fail unless the rule gives the true gradient of small models: within 1e-9 of EventProp in every parameter and of
    the 50-digit replay in a few. In a test of your own::

        def test_my_rule():
            assert_gradient(MyRule())

    case : one model, in a test that draws them by ``@given(case=small_models(...))``; None: ``examples`` of them are
        drawn here, the same in every run
    loss : None: ``weighted_times``, or of a Readout the cross-entropy of its values

    Raises
    ------
    AssertionError : it does not; the message has the figures
    GradientError : a rule that starts from spike counts, which have no derivative; gradients of wrong names or shapes
    """
    signals = tuple(getattr(rule, "signals", ()))
    if not {"times", "values"} & set(signals):
        raise GradientError(
            f"{type(rule).__name__} starts from {' or '.join(signals) or 'nothing'}; only a gradient by spike times, "
            "or by a Readout's values, can be exact. check_gradient gives the cosine of an approximate rule."
        )
    if case is not None:
        assume(_holds(rule, case, loss))
        return
    tried = []

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )  # fmt: skip
    @given(drawn=small_models(readout="times" not in signals))
    def true_for_all(drawn: SmallModel) -> None:
        tried.append(_holds(rule, drawn, loss))
        assume(tried[-1])

    true_for_all()
    if not any(tried):
        raise AssertionError("no generated model had a gradient to compare; nothing was tested.")


def _holds(rule: Rule, case: SmallModel, loss: Loss | None) -> bool:
    """True: the gradient is exact; False: the case says nothing. Raises AssertionError : it is not exact."""
    reads = isinstance(case.model.layers[-1], Readout)
    loss = loss or (VoltageCrossEntropy() if reads else CustomLoss(weighted_times))
    spiking = Sequential(*case.model.layers[:-1]) if reads and len(case.model.layers) > 1 else case.model
    if not reads or spiking is not case.model:
        for sample in range(len(case.inputs)):
            description, _ = sample_description(spiking, case.inputs, sample, case.t_stop)
            replay = replay_network(*description.arguments())
            if not (clear_of_grazing(replay, _MARGIN) and untied(description, [(float(t), n) for t, n in replay])):
                return False
    try:
        report = check_gradient(
            case.model, rule, loss, case.inputs, case.labels, case.t_stop, exact=True, differences=4 if reads else 0,
            replays=3,
        )  # fmt: skip
    except SpikesChanged:
        return False
    if report.worst_conditioning > _CONDITIONING:
        return False
    if not report.ok and "WRONG" in report.verdict:
        rows = "\n".join(
            f"layer {r.layer + 1} {r.parameter} against {r.against}: relative error {r.relative_error:.1e}, cosine "
            f"{r.cosine:.4f}, {r.verdict(True)}"
            for r in report.rows
        )
        raise AssertionError(f"{type(rule).__name__} is not the true gradient. {report.verdict}\n{rows}")
    return report.ok

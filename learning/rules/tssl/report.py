"""What TSSL-BP keeps of the chain rule and what it drops, layer by layer, on a batch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evsim.learning._kernels.tssl import SPIKE
from evsim.learning.layers.readout import Readout
from evsim.learning.model import Sequential
from evsim.learning.protocols import Loss
from evsim.learning.psc_gradient import PSCGradient
from evsim.learning.rules.tssl.events import SpikeErrors, spike_errors, weight_gradient
from evsim.learning.rules.tssl_bp import TSSLBP
from evsim.learning.validation import loss_and_signal
from evsim.spikes import SpikeBatch
from evsim.types import Floats

EXACT = TSSLBP(inter="true", intra="exact", silent="none", max_gain=np.inf)


@dataclass(frozen=True)
class Terms:
    """One layer's terms; norms of weight gradients are shares of the sum of the three.

    spikes : per neuron and sample; silent : share of (neuron, sample) pairs without a spike
    inter, intra, surrogate : shares of the spikes' own term, of what next spikes hand back, of the surrogate path
    clipped : share of spikes whose 1/u' was bounded
    signs : share of spikes at which the inter-neuron term has the sign of the chain rule's
    cosine, scale : of the layer's gradient with the exact one, |gradient|/|exact|
    """

    layer: int
    spikes: float
    silent: float
    inter: float
    intra: float
    surrogate: float
    clipped: float
    signs: float
    cosine: float
    scale: float

    def asdict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def tssl_report(
    model: Sequential, rule: TSSLBP, loss: Loss, inputs: SpikeBatch, labels: np.ndarray, t_stop: float
) -> list[Terms]:
    """The terms of every spiking layer, first layer first. loss : of PSCs, of times, or of a Readout's values."""
    spikes = model.forward(inputs, t_stop)
    signal = loss_and_signal(loss, spikes[-1], labels)[1]
    by_rule, true = signal, signal
    rows: list[Terms] = []
    for k in range(len(model.layers) - 1, -1, -1):
        layer, before, after = model.layers[k], spikes[k], spikes[k + 1]
        below = rule.backward(layer, before, after, by_rule, t_stop)[1]
        true_gradients, true_below = EXACT.backward(layer, before, after, true, t_stop)
        if not isinstance(layer, Readout):
            errors = spike_errors(rule, layer, before, after, by_rule, t_stop)
            parts = [weight_gradient(layer, errors, psi, before, t_stop, rule.reference_step)
                     for psi in (errors.inter, errors.intra, errors.silent)]  # fmt: skip
            rows.insert(0, _terms(k, errors, after, parts, true_gradients["weight"], true))
        by_rule, true = below, true_below
    return rows


def _terms(k: int, errors: SpikeErrors, outputs: SpikeBatch, parts: list[Floats], exact: Floats, true: Any) -> Terms:
    inter, intra, surrogate = (float(np.linalg.norm(g)) for g in parts)
    every = max(inter + intra + surrogate, 1e-300)
    total = parts[0] + parts[1] + parts[2]
    size, true_size = float(np.linalg.norm(total)), float(np.linalg.norm(exact))
    counts = outputs.counts()
    by_rule = errors.inter[errors.kinds == SPIKE]
    by_chain = -(true.by_time if isinstance(true, PSCGradient) else true)
    compared = (by_rule != 0.0) & (by_chain != 0.0)
    nan = float("nan")
    return Terms(
        layer=k,
        spikes=float(counts.mean()),
        silent=float(np.mean(counts == 0)),
        inter=inter / every,
        intra=intra / every,
        surrogate=surrogate / every,
        clipped=errors.clipped,
        signs=float(np.mean(np.sign(by_rule[compared]) == np.sign(by_chain[compared]))) if compared.any() else nan,
        cosine=float(np.vdot(total, exact)) / (size * true_size) if size * true_size else nan,
        scale=size / true_size if true_size else nan,
    )

"""Losses by name. A new loss is one line in LOSSES; its options are the arguments of its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evsim.errors import InputError
from evsim.experiment import named as named
from evsim.io.datasets import Dataset
from evsim.learning.losses import (
    CountLoss,
    MomentaryCrossEntropy,
    PSCCount,
    PSCDistance,
    SmoothCountLoss,
    TargetTimes,
    TTFSLoss,
    VanRossum,
    VoltageCrossEntropy,
    psc_classes,
)
from evsim.learning.protocols import Loss


@dataclass(frozen=True)
class LossEntry:
    """make : class; its arguments are the loss's options, but for those in ``given``
    given : names of arguments that the run itself gives: "targets" or "classes" (of the data set), "duration", "end"
        or "t_stop" (ms), "span" (ms, how long the currents of a neuron below a Readout last)
    signal : by what its derivative is, see `Loss`
    readout : feature of the Readout that it needs as the last layer; None: spikes
    momentary : the Readout has a value for every window of the sample
    """

    make: Callable[..., Loss]
    signal: str
    given: tuple[str, ...] = ()
    readout: str | None = None
    momentary: bool = False


_YIN_YANG = 60.0
"""ms, the samples for which the published constants of the first-spike loss were chosen."""


def integral_voltage(span: float, scale: float | None = None) -> VoltageCrossEntropy:
    """Softmax cross-entropy of a Readout's integrals (Nowotny, Turner and Knight 2022).

    scale : factor on the integrals; None: 1 over the time, in ms, that the currents of a hidden neuron of the wanted
        count last, so that weights of order 1 tell classes apart, whatever the duration
    """
    return VoltageCrossEntropy(1.0 / span if scale is None else scale)


def first_spikes(
    duration: float, tau0: float | None = None, tau1: float | None = None, alpha: float = 3e-3,
    missing: float | None = None, silent_loss: float = 5.0,
) -> TTFSLoss:  # fmt: skip
    """Time-to-first-spike cross-entropy (Wunderlich and Pehle 2021).

    tau0, tau1 : ms; None: the published 0.5 and 6.4 for samples of up to 60 ms, in proportion for longer ones
    """
    longer = max(duration / _YIN_YANG, 1.0)
    return TTFSLoss(
        0.5 * longer if tau0 is None else tau0, 6.4 * longer if tau1 is None else tau1, alpha, missing, silent_loss
    )


LOSSES: dict[str, LossEntry] = {
    "count": LossEntry(CountLoss, "counts"),
    "integral-voltage": LossEntry(integral_voltage, "values", ("span",), readout="integral"),
    "max-voltage": LossEntry(VoltageCrossEntropy, "values", readout="max"),
    "momentary-count": LossEntry(MomentaryCrossEntropy, "moments", readout="count", momentary=True),
    "momentary-integral": LossEntry(MomentaryCrossEntropy, "moments", readout="integral", momentary=True),
    "momentary-potential": LossEntry(MomentaryCrossEntropy, "moments", readout="potential", momentary=True),
    "psc": LossEntry(psc_classes, "psc", ("classes", "t_stop")),
    "psc-count": LossEntry(PSCCount, "psc", ("t_stop",)),
    "psc-trains": LossEntry(PSCDistance, "psc", ("targets", "t_stop")),
    "smooth-count": LossEntry(SmoothCountLoss, "times", ("end",)),
    "target-times": LossEntry(TargetTimes, "times"),
    "ttfs": LossEntry(first_spikes, "times", ("duration",)),
    "van-rossum": LossEntry(VanRossum, "times", ("targets",)),
}


def loss_entry(name: str) -> LossEntry:
    """Raises ValueError : unknown name."""
    if name not in LOSSES:
        raise InputError(f"there is no loss {name!r}. Known: {', '.join(sorted(LOSSES))}.")
    return LOSSES[name]


def make_loss(
    name: str, options: Mapping[str, Any], data: Dataset, duration: float, span: float | None = None
) -> Loss:
    """The loss of a run. duration : of a sample, ms; span : see `LossEntry.given`; None: the duration

    Raises ValueError : unknown name or option; a loss by target trains for data that have none."""
    entry = loss_entry(name)
    if "targets" in entry.given and data.targets is None:
        raise InputError(
            f"the loss {name} needs target trains, which {data.name} does not have; take the data set spike-patterns, "
            "or another loss."
        )
    of_run = {
        "targets": data.targets, "classes": data.n_classes, "duration": duration, "end": duration, "t_stop": duration,
        "span": duration if span is None else span,
    }  # fmt: skip
    loss: Loss = named.make(f"the loss {name}", entry.make, options, **{k: of_run[k] for k in entry.given})
    return loss

"""Losses by name. A new loss is one line in LOSSES; its options are the arguments of its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evsim import cli_named as named
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
        or "t_stop" (ms)
    readout : feature of the Readout that it needs as the last layer; None: spikes
    momentary : the Readout has a value for every window of the sample
    """

    make: Callable[..., Loss]
    given: tuple[str, ...] = ()
    readout: str | None = None
    momentary: bool = False


LOSSES: dict[str, LossEntry] = {
    "count": LossEntry(CountLoss),
    "integral-voltage": LossEntry(VoltageCrossEntropy, readout="integral"),
    "max-voltage": LossEntry(VoltageCrossEntropy, readout="max"),
    "momentary-count": LossEntry(MomentaryCrossEntropy, readout="count", momentary=True),
    "momentary-integral": LossEntry(MomentaryCrossEntropy, readout="integral", momentary=True),
    "momentary-potential": LossEntry(MomentaryCrossEntropy, readout="potential", momentary=True),
    "psc": LossEntry(psc_classes, ("classes", "t_stop")),
    "psc-count": LossEntry(PSCCount, ("t_stop",)),
    "psc-trains": LossEntry(PSCDistance, ("targets", "t_stop")),
    "smooth-count": LossEntry(SmoothCountLoss, ("end",)),
    "target-times": LossEntry(TargetTimes),
    "ttfs": LossEntry(TTFSLoss),
    "van-rossum": LossEntry(VanRossum, ("targets",)),
}


def loss_entry(name: str) -> LossEntry:
    """Raises ValueError : unknown name."""
    if name not in LOSSES:
        raise ValueError(f"there is no loss {name!r}. Known: {', '.join(sorted(LOSSES))}.")
    return LOSSES[name]


def make_loss(name: str, options: Mapping[str, Any], data: Dataset, duration: float) -> Loss:
    """Raises ValueError : unknown name or option; a loss by target trains for data that have none."""
    entry = loss_entry(name)
    if "targets" in entry.given and data.targets is None:
        raise ValueError(f"the loss {name} needs target trains, which {data.name} does not have.")
    given = {
        "targets": data.targets, "classes": data.n_classes, "duration": duration, "end": duration, "t_stop": duration,
    }  # fmt: skip
    loss: Loss = named.make(f"the loss {name}", entry.make, options, **{k: given[k] for k in entry.given})
    return loss

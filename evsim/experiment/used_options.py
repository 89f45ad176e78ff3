"""Which options a training run uses: an option that would change nothing is named instead of being ignored.

`NEEDS` is the one table: option -> what it needs of the run. Every field of `RunConfig` that is an option stands there
or in `ALWAYS`, and a test trains with each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields

from evsim.errors import InputError
from evsim.experiment.config import RunConfig
from evsim.experiment.losses import loss_entry
from evsim.experiment.pairs import check_pair
from evsim.experiment.presets import FORMULAS
from evsim.experiment.rules import rule_entry
from evsim.io.events import EVENT_SETS
from evsim.learning.baselines.ann import ANNTrainer


@dataclass(frozen=True)
class DataKind:
    """What a data set is made of.

    spikes : its samples are spikes already; pixels : its inputs stand on a grid; held : it has validation samples of
    its own; files : it is read from files
    """

    spikes: bool = False
    pixels: bool = False
    held: bool = False
    files: bool = False


DATA: dict[str, DataKind] = {
    "digits": DataKind(pixels=True),
    "mnist": DataKind(pixels=True, files=True),
    "fashion-mnist": DataKind(pixels=True, files=True),
    **{name: DataKind(spikes=True) for name in FORMULAS},
    "yin-yang": DataKind(held=True),
    **{
        name: DataKind(spikes=True, pixels=True, held="validation" in kind.parts, files=True)
        for name, kind in EVENT_SETS.items()
    },
}


@dataclass(frozen=True)
class Need:
    """what : completes "it needs ..."; met : whether a run has it"""

    what: str
    met: Callable[[RunConfig, DataKind], bool]


def _spiking(config: RunConfig) -> bool:
    return not issubclass(rule_entry(config.rule).trainer, ANNTrainer)


def _readout(config: RunConfig) -> str | None:
    return loss_entry(config.loss).readout if _spiking(config) else None


_NETWORK = Need("a rule that trains a spiking network, which ann and linear do not", lambda c, d: _spiking(c))
_VALUES = Need("data that are numbers; these are spikes already", lambda c, d: not d.spikes)
_ENCODED = (_NETWORK, _VALUES)
_SPIKES_IN = Need(
    "inputs that are spikes: ann and linear read the numbers themselves", lambda c, d: _spiking(c) or d.spikes
)
_ARRIVALS = Need("inputs that are spikes, which --encoder analog has not", lambda c, d: c.encoder != "analog")
_PIXELS = (Need("data on a grid of pixels", lambda c, d: d.pixels), _SPIKES_IN, _ARRIVALS)
_CALIBRATED = Need(
    "thresholds that are calibrated, which --weight-scale and --threshold prevent",
    lambda c, d: not c.weight_scale and not c.thresholds,
)
_TRAINABLE = Need("--trainable", lambda c, d: bool(c.trainable))
_MOMENTS = Need("a loss at every moment: momentary-count, -integral or -potential",
                lambda c, d: loss_entry(c.loss).momentary)  # fmt: skip
_AFTER = Need("--updates after: within a sample it is not done", lambda c, d: c.updates == "after")
_LATER = Need("more than one epoch", lambda c, d: c.epochs > 1)
_DELAYS = Need("--trainable-delays", lambda c, d: c.trainable_delays is not None)

NEEDS: dict[str, tuple[Need, ...]] = {
    "data_dir": (Need("a data set that is read from files", lambda c, d: d.files),),
    "loss": (_NETWORK,),
    "loss_options": (_NETWORK,),
    "hidden": (
        Need("a rule with hidden layers, which linear is not", lambda c, d: c.rule != "linear"),
        Need("no --network, which names all hidden layers", lambda c, d: c.network is None),
    ),
    "network": (
        _NETWORK,
        Need(
            "data on a grid of pixels for convolutions and pools",
            lambda c, d: d.pixels or all(part.kind == "dense" for part in c.parts),
        ),
    ),
    "tau_m": (_NETWORK,),
    "tau_syn": (_NETWORK,),
    "t_ref": (_NETWORK,),
    "weight_mean": (_NETWORK, Need("--weight-scale", lambda c, d: bool(c.weight_scale))),
    "weight_scale": (_NETWORK,),
    "lateral_inhibition": (
        _NETWORK,
        Need("a loss of output spikes; this one reads potentials", lambda c, d: _readout(c) is None),
    ),
    "delay": (_NETWORK, Need("fixed delays, which --trainable-delays replaces", lambda c, d: not c.trainable_delays)),
    "thresholds": (_NETWORK,),
    "trainable": (
        _NETWORK,
        Need("a rule that has derivatives by them: eventprop", lambda c, d: c.rule == "eventprop"),
    ),
    "neuron_rate": (_NETWORK, _TRAINABLE),
    "recurrent_scale": (_NETWORK,),
    "recurrent_from": (
        _NETWORK,
        Need(
            "--recurrent-scale > 0 and so many hidden layers",
            lambda c, d: c.recurrent_scale > 0 and c.recurrent_from <= len(c.parts),
        ),
    ),
    "recurrent_delay": (_NETWORK, Need("--recurrent-scale > 0", lambda c, d: c.recurrent_scale > 0)),
    "trainable_delays": (_NETWORK,),
    "max_delay": (_NETWORK, _DELAYS),
    "delay_rate": (_NETWORK, _DELAYS),
    "hidden_count": (_NETWORK, _CALIBRATED),
    "output_count": (
        _NETWORK,
        _CALIBRATED,
        Need("a loss of output spikes; this one reads potentials", lambda c, d: _readout(c) is None),
    ),
    "weighting": (
        _NETWORK,
        Need("--loss integral-voltage or momentary-integral", lambda c, d: _readout(c) == "integral"),
    ),
    "every": (_NETWORK, _MOMENTS),
    "since": (_NETWORK, _MOMENTS),
    "updates": (
        Need("--rule s-tllr or ottt", lambda c, d: c.updates == "after" or c.rule in ("s-tllr", "ottt")),
        Need(_MOMENTS.what, lambda c, d: c.updates == "after" or loss_entry(c.loss).momentary),
    ),
    "bump": (_NETWORK, _AFTER),
    "count_regularisation": (_NETWORK, _AFTER),
    "silent_voltage": (_NETWORK, _AFTER),
    "gradient_norm": (_NETWORK,),
    "weight_limit": (_NETWORK,),
    "optimiser": (
        Need("--weight-decay > 0; without it adamw is adam", lambda c, d: c.optimiser != "adamw" or c.weight_decay > 0),
    ),
    "weight_decay": (Need("--optimiser adamw or sgd", lambda c, d: c.optimiser in ("adamw", "sgd")),),
    "decay": (Need("--schedule exponential", lambda c, d: c.schedule == "exponential"), _LATER),
    "boosting": (_LATER,),
    "validation": (Need("data without validation samples of their own", lambda c, d: not d.held),),
    "duration": _ENCODED,
    "encoder": _ENCODED,
    "window": (*_ENCODED, Need("--encoder latency or linear", lambda c, d: c.encoder in ("latency", "linear"))),
    "max_rate": (
        *_ENCODED,
        Need("--encoder poisson, regular or analog", lambda c, d: c.encoder in ("poisson", "regular", "analog")),
    ),
    "frozen_noise": (*_ENCODED, Need("--encoder poisson", lambda c, d: c.encoder == "poisson")),
    "bias_spike": (
        _NETWORK,
        _ARRIVALS,
        Need(
            "a time before the sample ends", lambda c, d: d.spikes or c.bias_spike is None or c.bias_spike < c.duration
        ),
    ),
    "dropout": (_SPIKES_IN, _ARRIVALS),
    "hidden_dropout": (_NETWORK, _AFTER, Need("hidden layers", lambda c, d: bool(c.parts))),
    "shift": _PIXELS,
    "turn": _PIXELS,
    "zoom": _PIXELS,
}
"""What an option needs, so that it changes something."""

ALWAYS = frozenset({
    "dataset", "data_options", "train_size", "test_size", "rule", "rule_options", "epochs", "batch_size", "rate",
    "schedule", "regularise", "seed", "threads",
})  # fmt: skip
"""Options that every run uses (``threads`` on purpose changes no result)."""

NO_OPTIONS = frozenset({"grid"})
"""Fields of RunConfig that the data set gives."""

_UNUSED_RULE_OPTIONS = {
    ("eventprop", "neuron_parameters"): "a caller who reads these gradients; training uses none of them",
}


def unused(config: RunConfig, given: Collection[str]) -> dict[str, str]:
    """The options among ``given`` (fields of RunConfig) that this run does not use, and what they would need.

    An option that is given as its default of 0 or none, which means "off", is not among them.
    """
    kind = DATA.get(config.dataset, DataKind())
    defaults = {f.name: f.default for f in fields(RunConfig)}
    out = {}
    for name in given:
        off = defaults.get(name) in (0, None, ()) and getattr(config, name, None) == defaults.get(name)
        missing = [need.what for need in NEEDS.get(name, ()) if not need.met(config, kind)]
        if missing and not off:
            out[f"--{name.replace('_', '-')}"] = missing[0]
    for name, value in config.rule_options.items() if "rule_options" in given else ():
        if value and (config.rule, name) in _UNUSED_RULE_OPTIONS:
            out[f"--rule-option {name}"] = _UNUSED_RULE_OPTIONS[config.rule, name]
    return out


NOTED = frozenset({"--hidden"})
"""Unused options that are named in a note and not refused: scripts give every rule the same network."""


def check_used(config: RunConfig, given: Collection[str]) -> list[str]:
    """Sentences on options among ``given`` that this run does not use, where that may be on purpose (see `NOTED`).

    Raises ValueError : options that it does not use, in all other cases; a rule that cannot train by the loss.
    """
    check_pair(config.rule, config.rule_options, config.loss)
    reasons = unused(config, given)
    sentences = {name: f"{name} is not used by this run: it needs {why}." for name, why in reasons.items()}
    if refused := [text for name, text in sentences.items() if name not in NOTED]:
        raise InputError(" ".join([*refused, "Leave out what is not used, or give what it needs."]))
    return list(sentences.values())

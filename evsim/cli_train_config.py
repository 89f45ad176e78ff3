"""What names a training run: settings, presets by data set and rule, and the model and trainer made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from evsim.io.datasets import Dataset
from evsim.learning import (
    SGD,
    Adam,
    CountLoss,
    CountRegularisation,
    Dense,
    EventProp,
    Readout,
    Recurrent,
    Sequential,
    SilentVoltage,
    SmoothCountLoss,
    TargetTimes,
    Trainer,
    TrainingOptions,
    TTFSLoss,
    VanRossum,
    VoltageCrossEntropy,
    WeightBumping,
)
from evsim.learning.optimisers import Optimiser
from evsim.learning.protocols import Loss, Rule
from evsim.learning.remedies import Remedy
from evsim.learning.rules import HM2BP
from evsim.types import LIF

LOSSES = ("count", "ttfs", "target-times", "smooth-count", "van-rossum", "max-voltage", "integral-voltage")
FORMULAS = ("yin-yang", "randman", "temporal-xor", "spike-patterns")

_DIGITS = {
    "hidden": (200,), "duration": 100.0, "max_rate": 500.0, "tau_m": 32.0, "tau_syn": 8.0, "t_ref": 1.0,
    "desired": 20.0, "undesired": 0.0, "margin": 0.0, "hidden_count": 4.0, "output_count": 6.0,
    "epochs": 15, "batch_size": 10, "rate": 1e-2, "validation": 0,
}  # fmt: skip
_EVENTPROP = {"tau_m": 20.0, "tau_syn": 5.0, "t_ref": 0.0, "batch_size": 32, "validation": 0}
_LATENCY = {
    **_EVENTPROP, "loss": "integral-voltage", "encoder": "latency", "window": (0.0, 20.0), "duration": 40.0,
    "voltage_scale": 0.05, "schedule": "cosine",
}  # fmt: skip
PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "hm2bp"): _DIGITS,
    ("digits", "eventprop"): {
        **_LATENCY, "hidden": (100,), "weight_mean": (0.3, 0.0), "weight_scale": (0.3, 0.4), "epochs": 30, "rate": 1e-2,
        "dropout": 0.1,
    },
    ("mnist", "eventprop"): {
        **_LATENCY, "hidden": (350,), "weight_mean": (0.078, 0.0), "weight_scale": (0.045, 0.3), "epochs": 20,
        "rate": 2e-2, "min_slope": 0.1, "dropout": 0.1,
    },
    ("yin-yang", "eventprop"): {
        **_EVENTPROP, "loss": "ttfs", "hidden": (200,), "encoder": "linear", "window": (0.0, 30.0), "bias_spike": 0.0,
        "duration": 60.0, "weight_mean": (1.5, 0.93), "weight_scale": (0.78, 0.1), "epochs": 100, "rate": 5e-3,
        "min_slope": 0.1,
    },
    ("randman", "eventprop"): {
        **_EVENTPROP, "loss": "integral-voltage", "hidden": (100,), "weight_mean": (1.0, 0.0),
        "weight_scale": (2.0, 0.3), "voltage_scale": 0.05, "epochs": 30, "rate": 1e-2,
    },
    ("temporal-xor", "eventprop"): {
        **_EVENTPROP, "loss": "integral-voltage", "hidden": (50,), "weight_mean": (1.0, 0.0),
        "weight_scale": (1.5, 0.4), "voltage_scale": 0.05, "epochs": 60, "rate": 1e-2,
    },
    ("spike-patterns", "eventprop"): {
        **_EVENTPROP, "loss": "van-rossum", "hidden": (100,), "weight_mean": (0.3, 0.2),
        "weight_scale": (0.5, 0.3), "epochs": 40, "rate": 5e-3, "batch_size": 10,
    },
}  # fmt: skip


@dataclass(frozen=True)
class RunConfig(TrainingOptions):
    """Everything that names a training run. Defaults: the MNIST network of HM2-BP (784-800-10)."""

    dataset: str = "mnist"
    data_dir: str | None = None
    train_size: int | None = None
    test_size: int | None = None
    rule: str = "hm2bp"
    micro: str = "paper"
    min_slope: float = 1e-9
    hidden: tuple[int, ...] = (800,)
    tau_m: float = 64.0
    tau_syn: float = 8.0
    t_ref: float = 2.0
    weight_mean: tuple[float, ...] = ()
    weight_scale: tuple[float, ...] = ()
    lateral_inhibition: float = 0.0
    recurrent_scale: float = 0.0
    recurrent_delay: float = 1.0
    trainable_delays: str | None = None
    max_delay: float = 10.0
    hidden_count: float = 4.0
    output_count: float = 8.0
    loss: str = "count"
    desired: float = 35.0
    undesired: float = 5.0
    margin: float = 5.0
    tau0: float = 0.5
    tau1: float = 6.4
    alpha: float = 3e-3
    correct: float = 15.0
    wrong: float = 25.0
    van_rossum_tau: float = 10.0
    voltage_scale: float = 1.0
    weighting: float | None = None
    bump: float = 0.0
    count_regularisation: float = 0.0
    silent_voltage: float = 0.0
    optimiser: str = "adam"
    weight_decay: float = 0.0
    rate: float = 5e-3
    validation: int = 5000
    seed: int = 1


def preset(dataset: str, rule: str | None = None) -> dict[str, Any]:
    """Settings that suit a data set and a rule; the defaults of RunConfig where there are none."""
    rule = rule or ("eventprop" if dataset in FORMULAS else "hm2bp")
    return {"dataset": dataset, "rule": rule, **PRESETS.get((dataset, rule), {})}


def config_of(state: dict[str, Any], **changes: Any) -> RunConfig:
    """The settings of a saved run."""
    known = {f.name for f in fields(RunConfig)}
    return RunConfig(**{**{k: v for k, v in state["parameters"].items() if k in known}, **changes})


def build(config: RunConfig, data: Dataset) -> tuple[Sequential, Trainer]:
    """Model and trainer of a run.

    Raises ValueError : settings that do not fit together or the data set.
    """
    n_out = data.targets.size if data.targets is not None and config.loss == "van-rossum" else data.n_classes
    sizes = [data.features + (config.bias_spike is not None), *config.hidden, n_out]
    model = Sequential(*(_layer(config, a, b, k == len(sizes) - 2) for k, (a, b) in enumerate(pairwise(sizes))))
    optimiser: Optimiser = (
        SGD(momentum=0.9, weight_decay=config.weight_decay)
        if config.optimiser == "sgd"
        else Adam(weight_decay=config.weight_decay if config.optimiser == "adamw" else 0.0)
    )
    rule: Rule = HM2BP(micro=config.micro) if config.rule == "hm2bp" else EventProp(min_slope=config.min_slope)
    return model, Trainer(model, rule, _loss(config, data), optimiser, config, _remedies(config))


def start(config: RunConfig, model: Sequential) -> bool:
    """Draw the weights; True if thresholds are to be calibrated to them."""
    if not config.weight_scale:
        model.init(config.seed)
        return True
    means = config.weight_mean or (0.0,) * len(config.weight_scale)
    if len(config.weight_scale) != len(model.layers) or len(means) != len(model.layers):
        raise ValueError(f"weight_mean and weight_scale need one number for each of {len(model.layers)} layers.")
    model.init(config.seed, scale=list(config.weight_scale), mean=list(means))
    return False


def _layer(config: RunConfig, n_in: int, n_out: int, last: bool) -> Any:
    neuron = LIF(tau_m=config.tau_m, tau_syn=config.tau_syn, t_ref=config.t_ref)
    delays: dict[str, Any] = {}
    if config.trainable_delays is not None:
        delays = {"trainable_delays": config.trainable_delays, "max_delay": config.max_delay}
    if last and config.loss in ("max-voltage", "integral-voltage"):
        if delays:
            delays["trainable_delays"] = "input"
        feature = config.loss.removesuffix("-voltage")
        return Readout(n_in, n_out, neuron, feature=feature, weighting=config.weighting, **delays)
    if not last and config.recurrent_scale > 0:
        delays |= {"recurrent_scale": config.recurrent_scale, "recurrent_delay": config.recurrent_delay}
        return Recurrent(n_in, n_out, neuron, **delays)
    return Dense(n_in, n_out, neuron, lateral_inhibition=config.lateral_inhibition if last else 0.0, **delays)


def _loss(config: RunConfig, data: Dataset) -> Loss:
    c = config
    if c.loss == "van-rossum":
        if data.targets is None:
            raise ValueError(f"the loss van-rossum needs target trains, which {c.dataset} does not have.")
        return VanRossum(data.targets, c.van_rossum_tau)
    losses: dict[str, Any] = {
        "count": lambda: CountLoss(c.desired, c.undesired, c.margin),
        "smooth-count": lambda: SmoothCountLoss(c.duration, c.desired, c.undesired),
        "ttfs": lambda: TTFSLoss(c.tau0, c.tau1, c.alpha),
        "target-times": lambda: TargetTimes(c.correct, c.wrong),
        "max-voltage": lambda: VoltageCrossEntropy(c.voltage_scale),
        "integral-voltage": lambda: VoltageCrossEntropy(c.voltage_scale),
    }
    if c.loss not in losses:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {c.loss!r}.")
    loss: Loss = losses[c.loss]()
    return loss


def _remedies(config: RunConfig) -> list[Remedy]:
    out: list[Remedy] = []
    if config.bump > 0:
        out.append(WeightBumping(amount=config.bump, rate=config.rate))
    if config.count_regularisation > 0:
        out.append(CountRegularisation(config.count_regularisation))
    if config.silent_voltage > 0:
        out.append(SilentVoltage(config.silent_voltage))
    return out

"""Settings that suit a data set and a rule; options of the command line go before them."""

from __future__ import annotations

from typing import Any

from evsim.experiment.published import publication, published_settings

FORMULAS = ("yin-yang", "randman", "temporal-xor", "spike-patterns")

_DIGITS = {
    "hidden": (200,), "duration": 100.0, "max_rate": 500.0, "tau_m": 32.0, "tau_syn": 8.0, "t_ref": 1.0,
    "loss_options": {"desired": 20.0, "undesired": 0.0, "margin": 0.0}, "hidden_count": 4.0, "output_count": 6.0,
    "epochs": 15, "batch_size": 10, "rate": 1e-2, "validation": 0,
}  # fmt: skip
_EVENTPROP = {"tau_m": 20.0, "tau_syn": 5.0, "t_ref": 0.0, "batch_size": 32, "validation": 0}
_LATENCY = {
    **_EVENTPROP, "loss": "integral-voltage", "encoder": "latency", "window": (0.0, 20.0), "duration": 40.0,
    "loss_options": {"scale": 0.05}, "schedule": "cosine",
}  # fmt: skip
_DIGITS_LATENCY = {
    **_LATENCY, "hidden": (100,), "weight_mean": (0.3, 0.0), "weight_scale": (0.3, 0.4), "epochs": 30, "rate": 1e-2,
    "dropout": 0.1,
}  # fmt: skip
_DIGITS_RATE = {
    **_EVENTPROP, "loss": "integral-voltage", "encoder": "regular", "max_rate": 200.0, "duration": 50.0,
    "loss_options": {"scale": 0.05}, "hidden": (100,), "weight_mean": (0.1, 0.0), "weight_scale": (0.15, 0.3),
    "epochs": 8, "rate": 1e-2,
}  # fmt: skip
_TEMPORAL_XOR = {
    **_EVENTPROP, "loss": "integral-voltage", "hidden": (50,), "weight_mean": (1.0, 0.0), "weight_scale": (1.5, 0.4),
    "loss_options": {"scale": 0.05}, "epochs": 60, "rate": 1e-2,
}  # fmt: skip
_DIGITS_RECURRENT = {
    **_DIGITS, "hidden": (64,), "recurrent_scale": 0.1, "tau_m": 40.0, "tau_syn": 10.0, "t_ref": 2.0,
    "loss_options": {"desired": 10.0, "undesired": 0.0, "margin": 0.0}, "output_count": 4.0, "epochs": 10,
    "rule_options": {"hops": 2},
}  # fmt: skip
_LINE = {"hidden": (100,), "epochs": 30, "batch_size": 32, "rate": 3e-3, "validation": 0}
# A few thousand events a sample; few recordings are moved about in training.
_EVENTS = {
    "hidden": (200,), "shift": 1.0, "turn": 8.0, "zoom": 0.08, "dropout": 0.1, "batch_size": 20, "epochs": 15,
    "schedule": "cosine", "validation": 0,
}  # fmt: skip
_EVENTS_VOLTAGE = {
    **_EVENTS, "tau_m": 60.0, "tau_syn": 20.0, "t_ref": 0.0, "loss": "integral-voltage",
    "loss_options": {"scale": 0.06}, "weighting": 85.0, "weight_mean": (0.002, 0.0), "weight_scale": (0.05, 0.1),
    "rate": 3e-3,
}  # fmt: skip
PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "hm2bp"): _DIGITS,
    ("digits", "eventprop"): _DIGITS_LATENCY,
    ("digits", "st-rsbp"): _DIGITS_RECURRENT,
    ("digits", "surrogate-bptt"): _DIGITS_LATENCY,
    ("digits", "rate-based"): _DIGITS_RATE,
    ("digits", "tssl-bp"): {
        **_LATENCY, "loss": "psc", "loss_options": {"tau": 20.0, "step": 4.0},
        "rule_options": {"silent": "steps", "reference_step": 4.0},
        "tau_syn": 10.0, "hidden": (100,), "weight_mean": (0.2, 0.02), "weight_scale": (0.2, 0.1), "epochs": 24,
        "rate": 2e-2, "gradient_norm": 0.03,
    },
    ("digits", "s-tllr"): _DIGITS_RATE,
    ("digits", "ottt"): _DIGITS_RATE,
    ("digits", "ann"): _LINE,
    ("digits", "linear"): {**_LINE, "rate": 1e-2},
    ("mnist", "eventprop"): {
        **_LATENCY, "hidden": (350,), "weight_mean": (0.078, 0.0), "weight_scale": (0.045, 0.3), "epochs": 20,
        "rate": 2e-2, "rule_options": {"min_slope": 0.1}, "dropout": 0.1,
    },
    ("yin-yang", "eventprop"): {
        **_EVENTPROP, "loss": "ttfs", "hidden": (200,), "encoder": "linear", "window": (0.0, 30.0), "bias_spike": 0.0,
        "duration": 60.0, "weight_mean": (1.5, 0.93), "weight_scale": (0.78, 0.1), "epochs": 100, "rate": 5e-3,
        "rule_options": {"min_slope": 0.1},
    },
    ("randman", "eventprop"): {
        **_EVENTPROP, "loss": "integral-voltage", "hidden": (100,), "weight_mean": (1.0, 0.0),
        "weight_scale": (2.0, 0.3), "loss_options": {"scale": 0.05}, "epochs": 30, "rate": 1e-2,
    },
    ("temporal-xor", "eventprop"): _TEMPORAL_XOR,
    ("temporal-xor", "rate-based"): {**_TEMPORAL_XOR, "rule_options": {"windows": 20}},
    ("spike-patterns", "eventprop"): {
        **_EVENTPROP, "loss": "van-rossum", "hidden": (100,), "weight_mean": (0.3, 0.2),
        "weight_scale": (0.5, 0.3), "epochs": 40, "rate": 5e-3, "batch_size": 10,
    },
    ("nmnist", "hm2bp"): {
        **_EVENTS, "tau_m": 64.0, "tau_syn": 8.0, "t_ref": 1.0, "hidden_count": 6.0, "output_count": 8.0,
        "loss_options": {"desired": 20.0, "undesired": 0.0, "margin": 0.0}, "rate": 5e-3,
    },
    ("spike-patterns", "tssl-bp"): {
        **_EVENTPROP, "loss": "psc-trains", "loss_options": {"tau": 20.0, "predicts": "nearest"},
        "rule_options": {"inter": "true", "intra": "exact"}, "hidden": (100,), "weight_mean": (0.2, 0.03),
        "weight_scale": (0.4, 0.15), "epochs": 20, "rate": 1e-2, "batch_size": 10, "gradient_norm": 0.1,
    },
    ("nmnist", "eventprop"): {**_EVENTS_VOLTAGE, "rule_options": {"min_slope": 0.1}},
    ("nmnist", "s-tllr"): {**_EVENTS_VOLTAGE, "rule_options": {"step": 20.0}},
    ("nmnist", "ann"): {**_EVENTS, "rate": 1e-2},
    ("nmnist", "linear"): {**_EVENTS, "rate": 1e-2},
}  # fmt: skip


def preset(dataset: str, rule: str | None = None, published: bool = False) -> dict[str, Any]:
    """Settings that suit a data set and a rule; where there are none, the rule's own loss and RunConfig's defaults.

    published : the rule as its publication has it (see `cli_published`), and its settings for the data set in place of
        evsim's, if it has some

    Raises ValueError : unknown rule, or one without a publication.
    """
    from evsim.experiment.rules import rule_entry

    rule = rule or ("eventprop" if dataset in FORMULAS else "hm2bp")
    usual = {"dataset": dataset, "rule": rule, "loss": rule_entry(rule).loss}
    suited = PRESETS.get((dataset, rule), {})
    if not published:
        return {**usual, **suited}
    as_published = published_settings(dataset, rule)
    settings = as_published if dataset in publication(rule).runs else {**suited, **as_published}
    return {**usual, **settings}


def settings(dataset: str, rule: str | None, given: dict[str, Any], published: bool = False) -> dict[str, Any]:
    """The preset with what was given before it. Options of a rule or loss are merged one by one; those of the preset's
    loss are dropped where another loss is asked for, and its weights where that loss reads another kind of output."""
    usual = preset(dataset, rule, published)
    if "loss" in given and _reads(given["loss"]) != _reads(usual["loss"]):
        usual = {k: v for k, v in usual.items() if k not in ("weight_mean", "weight_scale", "thresholds")}
    merged = {**usual, **given}
    for name in ("rule_options", "loss_options", "data_options"):
        keep = name != "loss_options" or merged["loss"] == usual["loss"]
        merged[name] = {**(usual.get(name, {}) if keep else {}), **given.get(name, {})}
    return merged


def _reads(loss: str) -> str:
    """What a loss reads of the last layer: weights that make it spike do not suit a Readout."""
    from evsim.experiment.losses import loss_entry

    entry = loss_entry(loss)
    return entry.signal if entry.readout is None else "potentials"

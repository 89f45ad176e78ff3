"""Each rule as published: settings of the publication as far as they exist here, and what still differs.

``evsim train --preset published`` (also ``preset = "published"`` in a comparison) starts from these settings; ``evsim
rules`` prints them. Times of a publication in time steps are given in ms here; see the rule's page in docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evsim.errors import InputError


@dataclass(frozen=True)
class Publication:
    """A rule as one publication has it.

    source : paper and program
    options : of the rule, whatever the data set
    runs : settings of a training run by data set, fields of RunConfig without the rule's options
    common : settings of every run, whatever the data set
    differs : what the publication has and this does not, a phrase each
    """

    source: str
    options: Mapping[str, Any]
    runs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    common: Mapping[str, Any] = field(default_factory=dict)


_NO_GRID = "exact spike times in place of time steps"
_NO_CONVOLUTION = "convolutional layers are missing"
_COUNTS = {
    "tau_m": 64.0, "tau_syn": 8.0, "t_ref": 2.0, "delay": 1.0, "duration": 400.0, "encoder": "poisson",
    "max_rate": 181.8, "loss": "count", "loss_options": {"desired": 35.0, "undesired": 5.0, "margin": 5.0},
    "lateral_inhibition": 1.0, "batch_size": 1, "rate": 1e-3, "schedule": "sqrt", "validation": 0,
}  # fmt: skip
_HM2BP = {**_COUNTS, "epochs": 200, "boosting": 20.0}
_STRSBP = {
    **_COUNTS, "hidden": (400, 400), "recurrent_scale": 1.0, "recurrent_from": 1, "recurrent_delay": 1.0,
    "thresholds": (2.5, 2.5, 1.875), "epochs": 100, "regularise": (10.0, 0.04, 8.0),
}  # fmt: skip
_NMNIST_BIN = 0.6
"""ms, of the published time steps: time constants, delays and the refractory time are given in them."""


def _in_bins(settings: Mapping[str, Any], duration: float) -> dict[str, Any]:
    """Settings of recorded events: times in published steps become ms; what an encoder needs is left out."""
    scaled = {k: v * _NMNIST_BIN for k, v in settings.items() if k in ("tau_m", "tau_syn", "t_ref", "delay")}
    unscaled = {k: v for k, v in settings.items() if k not in ("duration", "encoder", "max_rate")}
    return {**unscaled, **scaled, "data_options": {"duration": duration}}


PUBLICATIONS: dict[str, Publication] = {
    "hm2bp": Publication(
        "Jin, Zhang and Li, NeurIPS 2018, and their program mm-bp-snn",
        {"silent_sources": "all", "pass_lateral": False, "fake_step": 1.0, "psp_delay": 2.0},
        {
            "mnist": {
                **_HM2BP, "hidden": (800,), "thresholds": (2.5, 1.0), "regularise": (10.0, 0.04, 8.0),
                "frozen_noise": True,
            },
            "nmnist": {
                **_in_bins(_HM2BP, 324.0), "hidden": (800,), "thresholds": (1.875, 1.875),
                "regularise": (10.0, 0.01, 8.0),
                "rule_options": {"psp_delay": 2 * _NMNIST_BIN, "fake_step": _NMNIST_BIN},
            },
        },
        (
            _NO_GRID,
            "no cut-off of S-PSPs after 4 tau_m",
            "their first two epochs have the full step size, ours only the first",
            "with boosting the train made up for a silent target carries the sample's weight",
            "they select the epoch on the test set; convolutional networks and speech are missing",
        ),
    ),
    "st-rsbp": Publication(
        "Zhang and Li, NeurIPS 2019, and their program",
        {
            "slopes": "published", "table": 100, "credit": "published", "lateral": "two-hops", "silent_psp": 0.0,
            "least_diagonal": 1e-4, "fake_step": 1.0,
        },
        {"mnist": _STRSBP, "fashion-mnist": _STRSBP},
        (
            _NO_GRID,
            "all-to-all recurrent weights N(0, 1/n), theirs sparse on a grid and U(-1, 1)",
            "the weight regulariser leaves recurrent weights out, and averages over inputs only",
            "the table of S-PSPs is the expectation, theirs the mean of 1,000 random draws",
            "self-synapses count in the adjoint solve",
        ),
    ),
    "tssl-bp": Publication(
        "Zhang and Li, NeurIPS 2020, and their program",
        {"silent": "replace", "reference_step": 4.0},
        {
            "fashion-mnist": {
                "hidden": (400, 400), "tau_m": 20.0, "tau_syn": 12.0, "t_ref": 0.0, "duration": 20.0,
                "encoder": "analog", "max_rate": 250.0, "loss": "psc", "loss_options": {"tau": 12.0, "step": 4.0},
                "thresholds": (1.0, 1.0, 1.0), "weight_mean": (0.0, 0.0, 0.0), "weight_scale": (0.0842, 0.1179, 0.1179),
                "optimiser": "adamw", "weight_decay": 0.006, "rate": 8.33e-4, "schedule": "constant",
                "weight_limit": 6.67, "gradient_norm": 0.0015, "batch_size": 100, "epochs": 100, "validation": 0,
            }
        },
        (
            _NO_GRID,
            "pixels are not normalised to mean 0 and sd 1",
            f"{_NO_CONVOLUTION}: only the fully connected network of Fashion-MNIST is here",
            "the paper's warm-up by layer rate is not in the program, so not here either: --rule-option warm_up=0.1",
            "dropout between layers is of their CIFAR-10 networks alone: --hidden-dropout 0.2",
        ),
    ),
    "rate-based": Publication(
        "Yu et al., NeurIPS 2024, and their program",
        {"reset": "soft", "filtered": False, "divide_loss": True},
        {},
        (
            _NO_GRID,
            f"{_NO_CONVOLUTION}: the publication has convolutional networks only, so settings of the data set are ours",
            "exponential synapses and reset to a value, theirs delta synapses and reset by subtraction",
            "the readout weighs spikes by its time constants, theirs is the mean of logits without memory",
            "no batch normalisation, no augmentation",
        ),
    ),
    "s-tllr": Publication(
        "Apolinario and Roy, TMLR 2025, and their program",
        {"tau_pre": 261.0, "tau_post": 46.6, "a_pre": 1.0, "a_post": -1.0, "psi": "S2", "d_ref": 75.0},
        {},
        (
            _NO_GRID,
            f"{_NO_CONVOLUTION}: traces and amplitudes are those of DVS Gesture; settings of the data set are ours",
            "the loss at each step is one in each tenth of the sample, from the beginning, unless --every and --since "
            "give others (DVS Gesture: 75 and 1125 ms); it is the mean over them, theirs the sum",
            "exponential synapses, theirs delta synapses",
            "the program's a_post is 1/lambda_post times the paper's, which is taken here",
            "no weight standardisation, no trained bias, no reset by subtraction",
        ),
        {"loss": "momentary-count"},
    ),
    "ottt": Publication(
        "Xiao et al., NeurIPS 2022, and their program",
        {"psi": "S3"},
        {},
        (
            _NO_GRID,
            "the loss at each step (0.95 cross-entropy + 0.05 squared error) is one in each tenth of the sample, "
            "unless --every gives others",
            "weights are updated after the sample (OTTT_A) unless --updates within is given (OTTT_O)",
            "the weights of the readout learn from the spikes of each window, theirs from a trace of them",
            "exponential synapses and reset to a value, theirs delta synapses and reset by subtraction",
            "no standardised weights or bias; their dropout between layers is --hidden-dropout 0.2",
        ),
        {"loss": "momentary-count", "loss_options": {"squared": 0.05}},
    ),
    "eventprop": Publication(
        "Wunderlich and Pehle, Scientific Reports 2021, and their program",
        {},
        {
            "mnist": {
                "hidden": (350,), "tau_m": 20.0, "tau_syn": 5.0, "t_ref": 0.0, "encoder": "latency",
                "window": (0.0, 20.0), "duration": 40.0, "loss": "max-voltage", "weight_mean": (0.078, 0.2),
                "weight_scale": (0.045, 0.37), "rate": 5e-3, "schedule": "exponential", "decay": 0.95, "batch_size": 5,
                "epochs": 100, "dropout": 0.2, "validation": 5000,
            },
            "yin-yang": {
                "hidden": (200,), "tau_m": 20.0, "tau_syn": 5.0, "t_ref": 0.0, "encoder": "linear",
                "window": (0.0, 30.0), "bias_spike": 0.0, "duration": 60.0, "loss": "ttfs",
                "loss_options": {"tau0": 0.5, "tau1": 6.4, "alpha": 3e-3}, "weight_mean": (1.5, 0.93),
                "weight_scale": (0.78, 0.1), "rate": 5e-3, "schedule": "exponential", "decay": 0.95, "batch_size": 32,
                "epochs": 100,
            },
        },
        ("silent samples keep a term of the missing spike in the first-spike loss", "min_slope 1e-9 at grazing spikes"),
    ),
}


def publication(rule: str) -> Publication:
    """Raises ValueError : a rule that nobody published under this name."""
    if rule not in PUBLICATIONS:
        raise InputError(
            f"there is no published preset of {rule}; there is one of {', '.join(sorted(PUBLICATIONS))}. Leave "
            "--preset out."
        )
    return PUBLICATIONS[rule]


def published_settings(dataset: str, rule: str) -> dict[str, Any]:
    """Settings of a publication for a data set, to go before evsim's own; see `Publication`."""
    published = publication(rule)
    run = {**published.common, **published.runs.get(dataset, {})}
    run["rule_options"] = {**published.options, **run.get("rule_options", {})}
    return run

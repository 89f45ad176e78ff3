"""A rule's gradient beside the true one, on the data set and the network of an experiment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evsim import plot
from evsim.encode import poisson, unit_interval, with_spike
from evsim.errors import InputError
from evsim.experiment.config import RunConfig, build, calibrate_start, load_data, start
from evsim.experiment.pairs import is_spiking
from evsim.experiment.presets import PRESETS
from evsim.experiment.used_options import DATA
from evsim.io import runs
from evsim.io.datasets import Dataset
from evsim.learning import Sequential, Trainer, check_gradient
from evsim.learning.checks.gradcheck import GradientReport
from evsim.learning.checks.mean_report import MeanReport, row_verdict
from evsim.spikes import SpikeBatch

_BLOCKS = 8
"""Blocks of draws that the most draws must make, for error bars that mean something."""


@dataclass(frozen=True, eq=False)
class Check:
    """What was compared. config : settings, as they suit the data; sizes : neurons of the input and of every layer"""

    config: RunConfig
    samples: int
    sizes: tuple[int, ...]
    report: Any


@dataclass(frozen=True, eq=False)
class GivenInput(Check):
    """With the gradient of the given inputs."""

    report: GradientReport

    def write(self, out: Path) -> list[Path]:
        """Write gradcheck.csv and gradcheck.png into ``out``; returns both."""
        out.mkdir(parents=True, exist_ok=True)
        files = [out / "gradcheck.csv", out / "gradcheck.png"]
        runs.write_csv(files[0], self.report.asdicts())
        plot.gradients(self.report.pairs, title=f"{self.config.rule} and the true gradient").savefig(files[1])
        return files


@dataclass(frozen=True, eq=False)
class MeanLoss(Check):
    """With the gradient of the mean loss over random input."""

    report: MeanReport

    def verdict(self, row: Any) -> str:
        """What a row of the report says, in words."""
        return row_verdict(row)

    def write(self, out: Path) -> list[Path]:
        """Write gradcheck.csv into ``out``; returns it."""
        out.mkdir(parents=True, exist_ok=True)
        runs.write_csv(out / "gradcheck.csv", self.report.asdicts())
        return [out / "gradcheck.csv"]


def check_reference(config: RunConfig, mean: bool, **given: Any) -> None:
    """Raises ValueError : a rule without a network that spikes; options that belong to --reference mean without it;
    data that no encoder makes random."""
    if not is_spiking(config.rule):
        raise InputError(
            f"{config.rule} trains no network that spikes; its gradient is plain backpropagation, and there is nothing "
            "to compare it with. Name another rule."
        )
    unused = [f"--{name}" for name, value in given.items() if value is not None and not mean]
    if unused:
        raise InputError(f"{' and '.join(unused)}: only --reference mean draws inputs. Leave out, or add it.")
    if mean and DATA[config.dataset].spikes:
        raise InputError(
            f"--reference mean draws random spikes from numbers; {config.dataset} is spikes already. Name a data set "
            "of numbers, such as digits or yin-yang."
        )


def with_given_input(config: RunConfig, samples: int) -> GivenInput:
    """Compare on the first training samples, for weights as drawn.

    Raises InputError : settings that do not fit together or the data set.
    """
    data = load_data(config)
    config = replace(config, duration=data.duration or config.duration, validation=0)
    model, trainer = _drawn(config, data)
    inputs = config.encode(data.x_train, np.arange(samples), 1)
    report = check_gradient(
        model, trainer.rule, trainer.loss, inputs, data.y_train[:samples], config.duration, seed=config.seed
    )
    return GivenInput(config, samples, _sizes(model), report)


def with_mean_loss(config: RunConfig, samples: int, draws: int, precision: float) -> MeanLoss:
    """Compare the rule's mean gradient with the gradient of the mean loss over fresh draws of the Poisson encoder on
    the first training samples.

    draws : at most; precision : standard error of the reference's worst layer by its norm, at which it stops

    Raises InputError : too few draws; settings that do not fit together or the data set.
    """
    if draws < _BLOCKS:
        raise InputError(f"--draws must be at least {_BLOCKS}, as error bars come from blocks of draws; got {draws}.")
    data = load_data(config)
    if config.encoder != "poisson":
        # Weights and thresholds of the preset are for its own encoder.
        config = replace(config, encoder="poisson", weight_mean=(), weight_scale=(), thresholds=())
    config = replace(config, validation=0)
    model, trainer = _drawn(config, data)
    rates = unit_interval(np.asarray(data.x_train)[:samples]) * config.max_rate
    labels = data.y_train[:samples]

    def draw(numbers: np.ndarray) -> tuple[SpikeBatch, np.ndarray]:
        which = numbers % len(rates)
        spikes = poisson(rates[which], config.duration, seed=config.seed, keys=numbers, epoch=1)
        return spikes if config.bias_spike is None else with_spike(spikes, config.bias_spike), labels[which]

    report = check_gradient(
        model, trainer.rule, trainer.loss, None, None, config.duration, reference="mean", draw=draw,
        precision=precision, most_draws=draws, draws_a_block=min(50, draws // _BLOCKS),
    )  # fmt: skip
    return MeanLoss(config, len(rates), _sizes(model), report)


def _drawn(config: RunConfig, data: Dataset) -> tuple[Sequential, Trainer]:
    """Model and trainer of a run that has not begun."""
    model, trainer = build(config, data)
    if start(config, model):
        calibrate_start(config, model, trainer, data)
    _keep_drive(config, model)
    return model, trainer


def _keep_drive(config: RunConfig, model: Sequential) -> None:
    """A preset's weights suit its own hidden layer; with fewer neurons those behind it would be silent."""
    usual = PRESETS.get((config.dataset, config.rule), {}).get("hidden", config.hidden)
    if config.weight_scale and len(usual) == len(config.hidden):
        for layer, had, has in zip(model.layers[1:], usual, config.hidden):
            layer.weight *= max(1.0, had / has)


def _sizes(model: Sequential) -> tuple[int, ...]:
    return (model.layers[0].n_in, *(layer.n_out for layer in model.layers))

"""``evsim gradcheck``: a rule's gradient beside the true one, as a table and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from evsim import plot
from evsim.encode import poisson, unit_interval, with_spike
from evsim.errors import InputError
from evsim.experiment.config import RunConfig, build, calibrate_start, load_data, start
from evsim.experiment.pairs import is_spiking
from evsim.experiment.presets import PRESETS
from evsim.experiment.used_options import DATA
from evsim.io import runs
from evsim.learning import Sequential, check_gradient
from evsim.learning.checks.mean_report import row_verdict
from evsim.spikes import SpikeBatch

console = Console()


def _keep_drive(config: RunConfig, model: Sequential) -> None:
    """A preset's weights suit its own hidden layer; with fewer neurons those behind it would be silent."""
    usual = PRESETS.get((config.dataset, config.rule), {}).get("hidden", config.hidden)
    if config.weight_scale and len(usual) == len(config.hidden):
        for layer, had, has in zip(model.layers[1:], usual, config.hidden):
            layer.weight *= max(1.0, had / has)


def _sizes(model: Sequential) -> str:
    return "-".join(str(n) for n in (model.layers[0].n_in, *(layer.n_out for layer in model.layers)))


def check_mean(config: RunConfig, mean: bool, **given: Any) -> None:
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


_BLOCKS = 8
"""Blocks of draws that the most draws must make, for error bars that mean something."""


def mean_run(config: RunConfig, samples: int, out: Path | None, draws: int, precision: float) -> bool:
    """Print the agreement of the rule's mean gradient with the gradient of the mean loss over fresh draws of the
    Poisson encoder on the first training samples; with ``out`` also write gradcheck.csv there. Returns whether
    anything was compared.

    draws : at most; precision : standard error of the reference's worst layer by its norm, at which it stops
    """
    if draws < _BLOCKS:
        raise InputError(f"--draws must be at least {_BLOCKS}, as error bars come from blocks of draws; got {draws}.")
    data = load_data(config)
    if config.encoder != "poisson":
        # Weights and thresholds of the preset are for its own encoder.
        config = replace(config, encoder="poisson", weight_mean=(), weight_scale=(), thresholds=())
    config = replace(config, validation=0)
    model, trainer = build(config, data)
    if start(config, model):
        calibrate_start(config, model, trainer, data)
    _keep_drive(config, model)
    rates = unit_interval(np.asarray(data.x_train)[:samples]) * config.max_rate
    labels = data.y_train[:samples]

    def draw(numbers: np.ndarray) -> tuple[SpikeBatch, np.ndarray]:
        which = numbers % len(rates)
        spikes = poisson(rates[which], config.duration, seed=config.seed, keys=numbers, epoch=1)
        return spikes if config.bias_spike is None else with_spike(spikes, config.bias_spike), labels[which]

    with console.status(f"differences of the mean loss by {sum(w.size for _, w in model.parameters())} parameters"):
        report = check_gradient(
            model, trainer.rule, trainer.loss, None, None, config.duration, reference="mean", draw=draw,
            precision=precision, most_draws=draws, draws_a_block=min(50, draws // _BLOCKS),
        )  # fmt: skip
    title = (
        f"{config.rule} on {len(rates)} samples of {config.dataset}, {_sizes(model)}, Poisson input at up to "
        f"{config.max_rate:g} Hz for {config.duration:g} ms; loss {report.true_loss}; reference: {report.reference}, "
        f"{report.draws} draws, noise {report.noise:.2g} of its norm"
    )
    table = Table("layer", "n", "cosine", "norm / reference", "verdict", title=title, box=box.SIMPLE_HEAD)
    for row in report.rows:
        table.add_row(
            "all" if row.layer < 0 else str(row.layer + 1), str(row.n), f"{row.cosine:.3f} +- {row.cosine_error:.3f}",
            f"{row.norm_ratio:.3f} +- {row.norm_ratio_error:.3f}", row_verdict(row),
        )  # fmt: skip
    console.print(table)
    console.print(f"[bold]{report.verdict}[/]")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        runs.write_csv(out / "gradcheck.csv", report.asdicts())
        console.print(f"written: {out / 'gradcheck.csv'}", markup=False, soft_wrap=True)
    return report.ok


def gradcheck_run(config: RunConfig, samples: int, out: Path | None) -> bool:
    """Print the agreement of the rule's gradient on the first training samples, for weights as drawn; with ``out`` also
    write gradcheck.csv and gradcheck.png there. Returns whether the rule is what it claims to be."""
    data = load_data(config)
    config = replace(config, duration=data.duration or config.duration, validation=0)
    model, trainer = build(config, data)
    if start(config, model):
        calibrate_start(config, model, trainer, data)
    _keep_drive(config, model)
    inputs = config.encode(data.x_train, np.arange(samples), 1)
    report = check_gradient(
        model, trainer.rule, trainer.loss, inputs, data.y_train[:samples], config.duration, seed=config.seed
    )
    sizes = _sizes(model)
    title = (
        f"{config.rule} on {samples} samples of {config.dataset}, {sizes}; loss {report.true_loss}; reference: "
        f"{report.reference}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("layer", "parameter", "against", "n", "error", "cosine", "signs", "scale", "verdict"):
        table.add_column(name, no_wrap=True)
    for row in report.rows:
        table.add_row(
            str(row.layer + 1), row.parameter.replace("recurrent", "rec."), row.against, str(row.n),
            f"{row.relative_error:.1e}", f"{row.cosine:.4f}",
            f"{row.sign_agreement:.3f}", f"{row.scale:.4g}",
            row.verdict(report.exact),
        )  # fmt: skip
    console.print(table)
    console.print(
        f"worst conditioning of a spike, |theta|/(tau_m dv/dt): {report.worst_conditioning:.3g} "
        "(large: near grazing, where derivatives are large and hold for tiny changes only)"
    )
    for note in report.notes:
        console.print(note)
    console.print(f"[bold]{report.verdict}[/]")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        runs.write_csv(out / "gradcheck.csv", report.asdicts())
        plot.gradients(report.pairs, title=f"{config.rule} and the true gradient").savefig(out / "gradcheck.png")
        console.print(f"written: {out / 'gradcheck.csv'}, {out / 'gradcheck.png'}", markup=False, soft_wrap=True)
    return report.ok

"""Options that several commands share, and how a TOML file gives them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from evsim.cli_named import parse
from evsim.errors import DataError
from evsim.text_files import read_toml
from evsim.toml_options import option_values


class _NamedOption(click.ParamType):
    """NAME=VALUE, as a pair."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


OPTION = _NamedOption()


def with_options(options: list[Any]) -> Any:
    """A decorator that adds options to a command, in this order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def given_only(given: dict[str, Any]) -> dict[str, Any]:
    """What was given; pairs of NAME=VALUE as a dict."""
    out = {k: v for k, v in given.items() if v is not None and v != ()}
    return {k: dict(v) if k.endswith("_options") else v for k, v in out.items()}


def from_toml(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Callback of --config: a TOML file whose keys are options; a table gives the NAME=VALUE of one."""
    if value is None:
        return None
    try:
        given = option_values(read_toml(value), ctx.command.params, str(value))
    except DataError as error:
        raise click.BadParameter(str(error)) from error
    known = {p.name for p in ctx.command.params}
    unknown = sorted(set(given) - known)
    if unknown:
        raise click.BadParameter(
            f"{value} names {', '.join(unknown)}, which evsim {ctx.info_name} does not know; "
            f"it knows {', '.join(sorted(k for k in known if k))}."
        )
    ctx.default_map = {**(ctx.default_map or {}), **given}
    return value


COMMON = [
    click.option("--seed", default=1, type=click.IntRange(0), help="Of everything random."),
    click.option("--threads", default=os.cpu_count() or 1, type=click.IntRange(1), help="Changes no result."),
]

OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what an earlier run left in --out.")

TRAINING = [
    click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files."),
    click.option("--data-option", "data_options", type=OPTION, multiple=True, help="NAME=VALUE of the data; repeat."),
    click.option("--train-size", type=click.IntRange(1), help="Use the first N training samples."),
    click.option("--test-size", type=click.IntRange(1), help="Use the first N test samples."),
    click.option("--rule", show_default=False,
                 help="Learning rule (see evsim rules); default: hm2bp for images, eventprop for data by formula."),
    click.option("--rule-option", "rule_options", type=OPTION, multiple=True, help="NAME=VALUE of the rule; repeat."),
    click.option("--loss", help="What is minimised (see evsim rules); default: what suits the rule."),
    click.option("--loss-option", "loss_options", type=OPTION, multiple=True, help="NAME=VALUE of the loss; repeat."),
    click.option("--hidden", type=click.IntRange(1), multiple=True, help="Hidden neurons; repeat for more layers."),
    click.option("--epochs", type=click.IntRange(1)),
    click.option("--batch-size", type=click.IntRange(1)),
    click.option("--rate", type=float, help="Step size."),
    click.option("--schedule", type=click.Choice(["constant", "sqrt", "cosine", "exponential"]), help="Of the rate."),
    click.option("--decay", type=float, help="Of the exponential schedule, per epoch."),
    click.option("--delay-rate", type=float, help="Step size of trained delays."),
    click.option("--trainable-delays", type=click.Choice(["input", "synapse"]), help="Train delays too."),
    click.option("--max-delay", type=float, help="Of trained delays, ms."),
    click.option("--recurrent-scale", type=float, help="> 0: recurrent hidden layers; sd of weights times sqrt n."),
    click.option("--recurrent-delay", type=float, help="ms"),
    click.option("--weight-mean", type=float, multiple=True, help="Of initial normal weights; once per layer."),
    click.option("--weight-scale", type=float, multiple=True, help="Their standard deviation; once per layer."),
    click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="Share of input spikes left out."),
    click.option("--shift", type=click.FloatRange(0), help="Training samples move by up to so many pixels."),
    click.option("--turn", type=click.FloatRange(0), help="They turn by up to so many degrees."),
    click.option("--zoom", type=click.FloatRange(0, 1, max_open=True), help="They are zoomed by 1 +- this at most."),
    click.option("--bump", type=float, help="Weight bumping for silent neurons: its amount."),
    click.option("--count-regularisation", type=float, help="Strength, for silent and for busy hidden neurons."),
    click.option("--silent-voltage", type=float, help="Strength of the voltage term for silent hidden neurons."),
    click.option("--gradient-norm", type=float, help="Gradients are scaled down to this joint norm; 0: they are not."),
    click.option("--weight-limit", type=float, help="Weights stay within +- this; 0: anywhere."),
    click.option("--optimiser", type=click.Choice(["adam", "adamw", "sgd"])),
    click.option("--weight-decay", type=float, help="Of adamw and sgd."),
    click.option("--validation", type=click.IntRange(0), help="Training samples set aside to select the epoch."),
    click.option("--duration", type=float, help="Of a sample, ms."),
    click.option("--encoder", type=click.Choice(["poisson", "regular", "latency", "linear"])),
    click.option("--window", type=float, nargs=2, help="EARLY LATE of the latency and linear codes, ms."),
    click.option("--bias-spike", type=float, help="ms of one more input's spike."),
    click.option("--max-rate", type=float, help="Hz, of a value of 1."),
    click.option("--frozen-noise/--fresh-noise", default=None, help="Same Poisson spikes in every epoch."),
    click.option("--tau-m", type=float, help="ms"),
    click.option("--tau-syn", type=float, help="ms"),
    click.option("--t-ref", type=float, help="ms"),
    click.option("--weighting", type=float, help="ms, of integral-voltage: earlier potentials count more."),
    click.option("--hidden-count", type=float, help="Thresholds are calibrated to this mean hidden count."),
    click.option("--output-count", type=float, help="The same for the last layer."),
    click.option("--lateral-inhibition", type=float, help="Between output neurons."),
    click.option("--boosting", type=float, help="Sample boosting constant (the original: 20); 0: off."),
    click.option("--regularise", type=float, nargs=3, help="LAMBDA BETA LIMIT of the weight regulariser."),
]

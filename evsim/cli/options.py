"""Options that several commands share, and how a TOML file gives them."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from evsim.cli.toml_options import option_values
from evsim.errors import DataError, InputError
from evsim.experiment.named import parse
from evsim.ranks.launcher import available_cpus
from evsim.text_files import read_toml


class _NamedOption(click.ParamType):
    """NAME=VALUE, as a pair."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        try:
            return parse(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


OPTION = _NamedOption()


class _PartOption(click.ParamType):
    """k/n, as a ``Part``."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from evsim.experiment.comparison import Part

        if isinstance(value, Part):
            return value
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
        try:
            return Part(int(match[1]), int(match[2])) if match else self.fail(
                f"a part is k/n with 1 <= k <= n, such as 2/3; got {value}.", param, ctx
            )
        except InputError as error:
            self.fail(str(error), param, ctx)


PART = _PartOption()


class OneOf(click.Choice):
    """A name of a list, which a shell can complete. what : what it names, for the message"""

    def __init__(self, what: str, names: Sequence[str]) -> None:
        super().__init__(names)
        self.what, self.names = what, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.names:
            self.fail(f"there is no {self.what} {value!r}. Known: {', '.join(self.names)}.", param, ctx)
        return value


class Number(click.ParamType):
    """A finite number in a range.

    low, high : bounds; inside : they are excluded themselves; unit : for messages
    """

    name = "float"

    def __init__(
        self, low: float = -math.inf, high: float = math.inf, *, inside: bool = False, unit: str = ""
    ) -> None:
        self.low, self.high, self.inside, self.unit = low, high, inside, unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        low = self.low < number if self.inside else self.low <= number
        if not (math.isfinite(number) and low and (number < self.high if self.inside else number <= self.high)):
            name = (param.name if param is not None else None) or "it"
            self.fail(f"{name} must be {self._range()}; got {value}.", param, ctx)
        return number

    def _range(self) -> str:
        bounds = ["finite"]
        if math.isfinite(self.low):
            bounds.append(f"{'>' if self.inside else '>='} {self.low:g}")
        if math.isfinite(self.high):
            bounds.append(f"{'<' if self.inside else '<='} {self.high:g}")
        return " and ".join(bounds) + (f" {self.unit}" if self.unit else "")


ANY = Number()
POSITIVE, NOT_NEGATIVE = Number(0.0, inside=True), Number(0.0)
POSITIVE_MS, NOT_NEGATIVE_MS = Number(0.0, inside=True, unit="ms"), Number(0.0, unit="ms")
COUNT = click.IntRange(1, 10**9)
COUNT_OR_0 = click.IntRange(0, 10**9)
SEED = click.IntRange(0, 2**63 - 1)


class Share(Number):
    """0 <= value < 1."""

    def __init__(self) -> None:
        super().__init__(0.0, math.nextafter(1.0, 0.0))

    def _range(self) -> str:
        return "finite and >= 0 and < 1"


def with_options(options: list[Any]) -> Any:
    """A decorator that adds options to a command, in this order."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def parameters(options: list[Any]) -> list[click.Parameter]:
    """What these options become on a command."""

    @with_options(options)
    def command() -> None: ...

    return list(reversed(command.__click_params__))


def wrapped(message: str) -> str:
    """A message in lines that end between words, where a terminal would cut within them."""
    if not sys.stderr.isatty():
        return message
    width = max(shutil.get_terminal_size().columns, 40)
    lines = textwrap.wrap("Error: " + message, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).removeprefix("Error: ")


def given_only(given: dict[str, Any]) -> dict[str, Any]:
    """What was given; pairs of NAME=VALUE as a dict."""
    out = {k: v for k, v in given.items() if v is not None and v != ()}
    return {k: dict(v) if k.endswith("_options") else v for k, v in out.items()}


def from_toml(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Callback of --config: a TOML file whose keys are options; a table gives the NAME=VALUE of one."""
    if value is None:
        return None
    try:
        values = option_values(read_toml(value), ctx.command.params, str(value))
    except DataError as error:
        raise click.BadParameter(str(error)) from error
    known = {p.name for p in ctx.command.params}
    unknown = sorted(set(values) - known)
    if unknown:
        raise click.BadParameter(
            f"{value} names {', '.join(unknown)}, which evsim {ctx.info_name} does not know; "
            f"it knows {', '.join(sorted(k for k in known if k))}."
        )
    ctx.default_map = {**(ctx.default_map or {}), **values}
    return value


RULE_NAMES = (
    "ann", "eventprop", "hm2bp", "linear", "ottt", "rate-based", "s-tllr", "st-rsbp", "surrogate-bptt", "tssl-bp",
)  # fmt: skip
LOSS_NAMES = (
    "count", "integral-voltage", "max-voltage", "momentary-count", "momentary-integral", "momentary-potential", "psc",
    "psc-count", "psc-trains", "smooth-count", "target-times", "ttfs", "van-rossum",
)  # fmt: skip
DATASETS = (
    "digits", "mnist", "fashion-mnist", "yin-yang", "randman", "temporal-xor", "spike-patterns", "nmnist",
    "dvs-gesture", "shd", "ssc",
)  # fmt: skip
"""Names for help and completion, which load nothing else; a test compares them with the tables themselves."""

COMMON = [
    click.option("--seed", default=1, type=SEED, help="Random seed."),
    click.option("--threads", default=available_cpus, type=COUNT,
                 show_default="the CPUs that this process may use",
                 help="Threads to use; no result depends on them."),
]

OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what an earlier run left in --out.")

MPI = click.option("--mpi", is_flag=True,
                   help="Share the work among the processes that mpiexec or srun has started (docs/clusters.md).")

PRESET = click.option("--preset", default="evsim", type=click.Choice(["evsim", "published"]),
                      help="Where unnamed settings come from: what suits the data here, or the rule's publication; "
                           "evsim rules lists both.")  # fmt: skip

TRAINING = [
    click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files."),
    click.option("--data-option", "data_options", type=OPTION, multiple=True,
                 help="Option of the data set; may be repeated."),
    click.option("--train-size", type=COUNT, help="Use the first N training samples."),
    click.option("--test-size", type=COUNT, help="Use the first N test samples."),
    click.option("--rule", type=OneOf("rule", RULE_NAMES), metavar="RULE", show_default=False,
                 help="Learning rule (see evsim rules); default: hm2bp for images, eventprop for data by formula."),
    click.option("--rule-option", "rule_options", type=OPTION, multiple=True,
                 help="Option of the rule; may be repeated."),
    click.option("--loss", type=OneOf("loss", LOSS_NAMES), metavar="LOSS",
                 help="What is minimised (see evsim rules); default: what suits the rule."),
    click.option("--loss-option", "loss_options", type=OPTION, multiple=True,
                 help="Option of the loss; may be repeated."),
    click.option("--hidden", type=COUNT, multiple=True, help="Neurons of a hidden layer; repeat for more layers."),
    click.option("--network", type=str,
                 help="All hidden layers, such as 15C5-P2-40C5-P2-300: convolutions (15C5s2p1: stride 2, padding 1), "
                      "pools (P spiking, A average, S sum), dense layers."),
    click.option("--epochs", type=COUNT, help="Passes over the training samples."),
    click.option("--batch-size", type=COUNT, help="Samples in each step of the optimiser."),
    click.option("--rate", type=POSITIVE, help="Step size of the optimiser."),
    click.option("--schedule", type=click.Choice(["constant", "sqrt", "cosine", "exponential"]),
                 help="How the step size changes from epoch to epoch."),
    click.option("--decay", type=POSITIVE,
                 help="Factor on the step size after each epoch, with --schedule exponential."),
    click.option("--delay-rate", type=NOT_NEGATIVE, help="Step size of trained delays; default: that of --rate."),
    click.option("--trainable", type=click.Choice(["v_th", "bias", "tau_m", "tau_syn"]), multiple=True,
                 help="Train this parameter of the neurons too; may be repeated."),
    click.option("--neuron-rate", type=NOT_NEGATIVE,
                 help="Step size of trained neuron parameters; default: that of --rate."),
    click.option("--trainable-delays", type=click.Choice(["input", "synapse"]),
                 help="Train delays too: one for each input, or one for each synapse."),
    click.option("--delay", type=NOT_NEGATIVE_MS, help="Delay of all synapses between layers, ms."),
    click.option("--max-delay", type=POSITIVE_MS, help="Largest trained delay, ms."),
    click.option("--recurrent-scale", type=NOT_NEGATIVE,
                 help="Standard deviation of recurrent weights times sqrt(neurons); 0: no recurrent layers."),
    click.option("--recurrent-from", type=COUNT_OR_0, help="First recurrent hidden layer, counted from 0."),
    click.option("--recurrent-delay", type=NOT_NEGATIVE_MS, help="Delay of recurrent synapses, ms."),
    click.option("--weight-mean", type=ANY, multiple=True,
                 help="Mean of the normal distribution of initial weights; once for each layer."),
    click.option("--weight-scale", type=NOT_NEGATIVE, multiple=True,
                 help="Standard deviation of initial weights; once for each layer."),
    click.option("--threshold", "thresholds", type=ANY, multiple=True,
                 help="Threshold v_th, once for each spiking layer; default: calibrated to mean spike counts."),
    click.option("--dropout", type=Share(), help="Share of input spikes left out in training."),
    click.option("--hidden-dropout", type=Share(),
                 help="Share of hidden neurons whose spikes are not passed on, chosen anew for each training sample."),
    click.option("--shift", type=NOT_NEGATIVE, help="Largest random shift of a training sample, pixels."),
    click.option("--turn", type=NOT_NEGATIVE, help="Largest random rotation of a training sample, degrees."),
    click.option("--zoom", type=Share(),
                 help="Largest random change of scale of a training sample; 0.1: between 0.9 and 1.1."),
    click.option("--bump", type=NOT_NEGATIVE,
                 help="Amount by which the weights of silent neurons are raised; 0: not at all."),
    click.option("--count-regularisation", type=NOT_NEGATIVE,
                 help="Strength of the penalty on hidden neurons that spike too rarely or too often."),
    click.option("--silent-voltage", type=NOT_NEGATIVE,
                 help="Strength of the term that raises the potentials of silent hidden neurons."),
    click.option("--gradient-norm", type=NOT_NEGATIVE,
                 help="Largest norm of all gradients together; 0: no limit."),
    click.option("--weight-limit", type=NOT_NEGATIVE, help="Largest size of a weight; 0: no limit."),
    click.option("--optimiser", type=click.Choice(["adam", "adamw", "sgd"]),
                 help="Method by which gradients change the weights."),
    click.option("--weight-decay", type=NOT_NEGATIVE, help="Weight decay of adamw and sgd."),
    click.option("--validation", type=COUNT_OR_0, help="Training samples set aside to select the best epoch."),
    click.option("--duration", type=POSITIVE_MS, help="Duration of a sample, ms."),
    click.option("--encoder", type=click.Choice(["poisson", "regular", "latency", "linear", "analog"]),
                 help="How numbers become spikes; analog: constant currents into the first layer."),
    click.option("--window", type=NOT_NEGATIVE_MS, nargs=2,
                 help="EARLY LATE: first and last possible spike of the latency and linear encoders, ms."),
    click.option("--bias-spike", type=NOT_NEGATIVE_MS,
                 help="Time at which one more input spikes in every sample, ms."),
    click.option("--max-rate", type=POSITIVE, help="Rate of an input whose value is 1, Hz."),
    click.option("--frozen-noise/--fresh-noise", default=None,
                 help="Use the same Poisson spikes in every epoch, or fresh ones."),
    click.option("--tau-m", type=POSITIVE_MS, help="Time constant of the membrane, ms."),
    click.option("--tau-syn", type=POSITIVE_MS, help="Time constant of synaptic currents, ms."),
    click.option("--t-ref", type=NOT_NEGATIVE_MS, help="Refractory time, ms."),
    click.option("--weighting", type=POSITIVE_MS,
                 help="Time constant of the weight of potentials in an integral loss, ms; earlier ones count more."),
    click.option("--every", type=POSITIVE_MS,
                 help="Time between the moments of a momentary loss, ms; default: a tenth of the sample."),
    click.option("--since", type=NOT_NEGATIVE_MS, help="Time of the first moment of a momentary loss, ms."),
    click.option("--updates", type=click.Choice(["after", "within"]),
                 help="When weights change: after the sample, or within it at each moment (s-tllr, ottt)."),
    click.option("--hidden-count", type=POSITIVE,
                 help="Mean spike count of hidden neurons to which thresholds are calibrated."),
    click.option("--output-count", type=POSITIVE,
                 help="Mean spike count of output neurons to which their threshold is calibrated."),
    click.option("--lateral-inhibition", type=ANY, help="Weight of the inhibition between output neurons."),
    click.option("--boosting", type=NOT_NEGATIVE,
                 help="Boosting constant of misclassified samples; 0: off; published: 20."),
    click.option("--regularise", type=ANY, nargs=3,
                 help="LAMBDA BETA LIMIT of the weight regulariser of HM2-BP and ST-RSBP."),
]

TRAIN = [
    click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), is_eager=True,
              callback=from_toml, expose_value=False, help="TOML file of options; the command line wins."),
    *COMMON,
    click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the results."),
    click.option("--resume", is_flag=True, help="Continue from the last complete epoch in --out."),
    OVERWRITE,
    click.option("--dataset", default="digits", type=OneOf("data set", DATASETS), metavar="NAME",
              help=", ".join(DATASETS) + "."),
    PRESET,
    *TRAINING,
]
"""All options of ``evsim train``."""

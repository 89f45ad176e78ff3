"""The command line: ``evsim demo``, ``train``, ``evaluate``, ``gradcheck``, ``simulate``, ``bench``."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click

from evsim.errors import DataError, NetworkError, RunFileError, SilentLayerError


class _Commands(click.Group):
    """Turns the errors that a user can mend into one sentence and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (DataError, NetworkError, RunFileError, SilentLayerError, OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="evsim")
def main() -> None:
    """Exact, event-driven simulation of spiking networks, and learning from the spike times."""


def _from_toml(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    if value is None:
        return None
    try:
        given = tomllib.loads(value.read_text())
    except tomllib.TOMLDecodeError as error:
        raise click.BadParameter(f"{value} is not valid TOML: {error}.") from error
    known = {p.name for p in ctx.command.params}
    unknown = sorted(set(given) - known)
    if unknown:
        raise click.BadParameter(
            f"{value} names {', '.join(unknown)}, which evsim {ctx.info_name} does not know; "
            f"it knows {', '.join(sorted(k for k in known if k))}."
        )
    ctx.default_map = {**(ctx.default_map or {}), **given}
    return value


_common = [
    click.option("--seed", default=1, type=click.IntRange(0), help="Of everything random."),
    click.option("--threads", default=os.cpu_count() or 1, type=click.IntRange(1), help="Changes no result."),
]


def _with(options: list[Any]) -> Any:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@main.command()
@_with(_common)
@click.option("--out", default="runs/demo", type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--epochs", default=None, type=click.IntRange(1), help="Passes over the data.")
def demo(seed: int, threads: int, out: Path, epochs: int | None) -> None:
    """Train a spiking classifier with HM2-BP on handwritten digits that ship with scikit-learn."""
    from evsim.cli_train import train_run
    from evsim.cli_train_config import RunConfig, preset

    changes: dict[str, Any] = {"seed": seed, "threads": threads}
    if epochs is not None:
        changes["epochs"] = epochs
    train_run(RunConfig(**{**preset("digits"), **changes}), out, resume=False)


@main.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), is_eager=True,
              callback=_from_toml, expose_value=False, help="TOML file of options; the command line wins.")  # fmt: skip
@_with(_common)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--resume", is_flag=True, help="Go on from the last complete epoch in --out.")
@click.option("--dataset", default="digits",
              help="digits, mnist, fashion-mnist, yin-yang, randman, temporal-xor, spike-patterns.")
@click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files.")
@click.option("--train-size", type=click.IntRange(1), help="Use the first N training samples.")
@click.option("--test-size", type=click.IntRange(1), help="Use the first N test samples.")
@click.option("--rule", type=click.Choice(["hm2bp", "eventprop"]), show_default=False,
              help="Learning rule; default: hm2bp for images, eventprop for data by formula.")
@click.option("--loss", type=click.Choice(["count", "ttfs", "target-times", "smooth-count", "van-rossum", "max-voltage",
              "integral-voltage"]), help="count is HM2-BP's; the others are EventProp's.")
@click.option("--micro", type=click.Choice(["paper", "none", "meanfield"]), help="Micro factor of HM2-BP.")
@click.option("--hidden", type=click.IntRange(1), multiple=True, help="Hidden neurons; repeat for more layers.")
@click.option("--epochs", type=click.IntRange(1))
@click.option("--batch-size", type=click.IntRange(1))
@click.option("--rate", type=float, help="Step size.")
@click.option("--schedule", type=click.Choice(["constant", "sqrt", "cosine", "exponential"]), help="Of the rate.")
@click.option("--decay", type=float, help="Of the exponential schedule, per epoch.")
@click.option("--delay-rate", type=float, help="Step size of trained delays.")
@click.option("--trainable-delays", type=click.Choice(["input", "synapse"]), help="Train delays too.")
@click.option("--max-delay", type=float, help="Of trained delays, ms.")
@click.option("--recurrent-scale", type=float, help="> 0: hidden layers are recurrent; sd of their weights, by sqrt n.")
@click.option("--recurrent-delay", type=float, help="ms")
@click.option("--weight-mean", type=float, multiple=True, help="Of initial normal weights; once per layer.")
@click.option("--weight-scale", type=float, multiple=True, help="Their standard deviation; once per layer.")
@click.option("--min-slope", type=float, help="Clips gradients of grazing spikes (EventProp).")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="Share of input spikes left out.")
@click.option("--bump", type=float, help="Weight bumping for silent neurons: its amount.")
@click.option("--count-regularisation", type=float, help="Strength, for silent and for busy hidden neurons.")
@click.option("--silent-voltage", type=float, help="Strength of the voltage term for silent hidden neurons.")
@click.option("--tau0", type=float, help="ms, of ttfs.")
@click.option("--tau1", type=float, help="ms, of ttfs.")
@click.option("--alpha", type=float, help="Of ttfs.")
@click.option("--voltage-scale", type=float, help="Factor on readout voltages before the softmax.")
@click.option("--optimiser", type=click.Choice(["adam", "adamw", "sgd"]))
@click.option("--weight-decay", type=float, help="Of adamw and sgd.")
@click.option("--validation", type=click.IntRange(0), help="Training samples set aside to select the epoch.")
@click.option("--duration", type=float, help="Of a sample, ms.")
@click.option("--encoder", type=click.Choice(["poisson", "regular", "latency", "linear"]))
@click.option("--window", type=float, nargs=2, help="EARLY LATE of the latency and linear codes, ms.")
@click.option("--bias-spike", type=float, help="ms of one more input's spike.")
@click.option("--max-rate", type=float, help="Hz, of a value of 1.")
@click.option("--frozen-noise/--fresh-noise", default=None, help="Same Poisson spikes in every epoch.")
@click.option("--tau-m", type=float, help="ms")
@click.option("--tau-syn", type=float, help="ms")
@click.option("--t-ref", type=float, help="ms")
@click.option("--desired", type=float, help="Wanted count of the right class.")
@click.option("--undesired", type=float, help="Wanted count of the others.")
@click.option("--margin", type=float, help="Dead zone of the count error.")
@click.option("--hidden-count", type=float, help="Thresholds are calibrated to this mean hidden count.")
@click.option("--output-count", type=float, help="The same for the last layer.")
@click.option("--lateral-inhibition", type=float, help="Between output neurons.")
@click.option("--boosting", type=float, help="Sample boosting constant (the original: 20); 0: off.")
@click.option("--regularise", type=float, nargs=3, help="LAMBDA BETA LIMIT of the weight regulariser.")
def train(out: Path, resume: bool, dataset: str, rule: str | None, **given: Any) -> None:
    """Train a layered network and write checkpoints, metrics.csv, summary.json and pictures."""
    from evsim.cli_train import train_run
    from evsim.cli_train_config import RunConfig, preset

    given = {k: v for k, v in given.items() if v is not None and v != ()}
    train_run(RunConfig(**{**preset(dataset, rule), **given}), out, resume=resume)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=str), help="Where the data set is now.")
@_with(_common[1:])
def evaluate(run: Path, data_dir: str | None, threads: int) -> None:
    """Accuracy of a saved run on its test set: last epoch and the epoch selected by validation."""
    from evsim.cli_train import evaluate_run

    evaluate_run(run, data_dir, threads)


@main.command()
@_with(_common[:1])
@click.option("--dataset", default="yin-yang", help="As in train; its first samples are taken.")
@click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files.")
@click.option("--rule", type=click.Choice(["hm2bp", "eventprop"]), default="eventprop", help="The rule to be judged.")
@click.option("--micro", type=click.Choice(["paper", "none", "meanfield"]), help="Micro factor of HM2-BP.")
@click.option("--hidden", type=click.IntRange(1), multiple=True, help="Hidden neurons; repeat for more layers.")
@click.option("--trainable-delays", type=click.Choice(["input", "synapse"]), help="Delays too.")
@click.option("--max-delay", type=float, help="Of these, ms.")
@click.option("--recurrent-scale", type=float, help="> 0: hidden layers are recurrent.")
@click.option("--samples", default=3, type=click.IntRange(1), help="Of the data set.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for gradcheck.csv and gradcheck.png.")
def gradcheck(dataset: str, rule: str, samples: int, out: Path | None, **given: Any) -> None:
    """Compare a rule's gradient with the true one: EventProp, and differences in float64 and with 50 digits."""
    from evsim.cli_gradcheck import gradcheck_run
    from evsim.cli_train_config import RunConfig, preset

    given = {k: v for k, v in given.items() if v is not None and v != ()}
    given.setdefault("hidden", (20,))
    gradcheck_run(RunConfig(**{**preset(dataset, rule), **given}), samples, out)


@main.command()
@click.argument("network")
@click.option("--t-stop", type=float, help="Biological time to simulate, ms; default: what suits the network.")
@_with(_common)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results; default: runs/ and the name.")
@click.option("--driver", default="auto", type=click.Choice(["auto", "window", "queue"]), help="Engine.")
@click.option("--scale", default=1.0, type=float, help="Of a preset: factor on neurons, and inputs per neuron.")
@click.option("--warmup", default=0.0, type=float, help="ms simulated before, which do not count.")
@click.option("--record", type=click.IntRange(1), help="Save spikes of the first N neurons of each population only.")
@click.option("--chunk", type=float, help="Save after every so many ms; default: at the end.")
@click.option("--resume", is_flag=True, help="Go on from what --out holds, to a later --t-stop.")
@click.option("--no-plots", is_flag=True, help="Draw nothing.")
def simulate(network: str, out: Path | None, resume: bool, no_plots: bool, **given: Any) -> None:
    """Simulate NETWORK: brunel, brunel-exp, cuba, microcircuit, or a TOML file (see docs/network.toml)."""
    from evsim.cli_simulate import simulate_run
    from evsim.cli_simulate_network import SimulateConfig

    out = out or Path("runs") / Path(network).stem
    simulate_run(SimulateConfig(network, **given), out, resume=resume, plots=not no_plots)


@main.command()
@_with(_common)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="Also write bench.json there.")
def bench(seed: int, threads: int, out: Path | None) -> None:
    """Nanoseconds per synaptic event of each driver, and samples per second, on this machine."""
    from evsim.cli_bench import run_bench

    run_bench(seed, threads, out)


if __name__ == "__main__":
    main()

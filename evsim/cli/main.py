"""The command line: ``evsim demo``, ``train``, ``evaluate``, ``compare``, ``tune``, ``gradcheck``, ``rules``,
``simulate``, ``warm-up``, ``slurm``, ``bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evsim.cli.options import (
    COMMON,
    COUNT,
    COUNT_OR_0,
    DATASETS,
    MPI,
    NOT_NEGATIVE,
    NOT_NEGATIVE_MS,
    OPTION,
    OVERWRITE,
    PART,
    POSITIVE,
    POSITIVE_MS,
    PRESET,
    RULE_NAMES,
    TRAIN,
    OneOf,
    given_only,
    with_options,
    wrapped,
)
from evsim.cli.signals import exit_code, interrupts, remember
from evsim.errors import MENDABLE
from evsim.ranks.launcher import available_cpus

FAULT = (
    "This is a fault of evsim, not of what you gave. Please report it with the lines above, the command, and what "
    "evsim --version says."
)
"""Stands below the traceback of an error that no user can mend."""


class _Commands(click.Group):
    """Turns the errors that a user can mend into one sentence and status 1, and signals into 128 + their number; all
    others keep their traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        remember(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with interrupts():
                return super().invoke(ctx)
        except (click.BadParameter, click.NoSuchOption) as error:
            raise click.UsageError(wrapped(error.format_message()), error.ctx) from error
        except BrokenPipeError:  # the reader of a pipe has enough; click ends quietly
            raise
        except MENDABLE as error:
            raise click.ClickException(wrapped(f"{error}" or type(error).__name__)) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            error.add_note(FAULT)
            raise
        except KeyboardInterrupt as interrupt:
            click.echo("interrupted", err=True)
            ctx.exit(exit_code(interrupt))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="evsim")
def main() -> None:
    """Exact, event-driven simulation of spiking networks, and learning from the spike times."""


@main.command()
@with_options(COMMON)
@click.option("--out", type=click.Path(path_type=Path), show_default=False,
              help="Folder of the results; default: runs/demo, where an earlier demo is replaced.")
@click.option("--epochs", default=None, type=COUNT, help="Passes over the data.")
@click.option("--resume", is_flag=True, help="Continue from the last complete epoch in --out.")
@OVERWRITE
def demo(seed: int, threads: int, out: Path | None, epochs: int | None, resume: bool, overwrite: bool) -> None:
    """Train a spiking classifier with HM2-BP on handwritten digits that ship with scikit-learn."""
    from evsim.cli.train import train_run
    from evsim.experiment.config import RunConfig
    from evsim.experiment.presets import preset

    changes: dict[str, Any] = {"seed": seed, "threads": threads}
    if epochs is not None:
        changes["epochs"] = epochs
    replaced = out is None and not resume and (Path("runs/demo") / "run.h5").exists()
    if replaced:
        click.echo("replacing the earlier demo in runs/demo")
    config = RunConfig(**{**preset("digits"), **changes})
    train_run(config, out or Path("runs/demo"), resume=resume, overwrite=overwrite or replaced)


@main.command()
@with_options(TRAIN)
@MPI
def train(
    out: Path, resume: bool, overwrite: bool, dataset: str, rule: str | None, preset: str, mpi: bool, **options: Any
) -> None:
    """Train a layered network and write checkpoints, metrics.csv, summary.json and pictures."""
    from evsim.cli.ranks import ranks
    from evsim.cli.rules import say_differences
    from evsim.cli.train import train_run
    from evsim.experiment.config import RunConfig
    from evsim.experiment.presets import settings
    from evsim.experiment.used_options import check_used

    asked = given_only(options)
    if "data_dir" in asked:  # the run is to find its data from any folder
        asked["data_dir"] = str(Path(asked["data_dir"]).expanduser().resolve())
    with ranks(mpi) as comm:
        config = RunConfig(**settings(dataset, rule, asked, preset == "published"))
        for note in check_used(config, asked):
            if comm.rank == 0:
                click.echo(f"note: {note}", err=True)
        if preset == "published":
            say_differences(config.rule, config.dataset)
        train_run(config, out, resume=resume, overwrite=overwrite, comm=comm)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files, if it has moved.")
@with_options(COMMON[1:])
def evaluate(run: Path, data_dir: str | None, threads: int) -> None:
    """Accuracy of a saved run on its test set: last epoch and the epoch selected by validation."""
    from evsim.cli.train import evaluate_run

    evaluate_run(run, data_dir, threads)


@main.command()
@click.argument("config")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the results and of the runs.")
@click.option("--executor", default="processes", type=click.Choice(["processes", "mpi"]),
              help="Who does the runs: processes on this machine, or all that mpiexec or srun started, but the first.")
@click.option("--jobs", type=COUNT, show_default=False,
              help="Number of runs at a time on this machine, each in a process of its own; default: the CPUs.")
@click.option("--part", type=PART, help="Do only the k-th of n shares of the runs, and write no tables (Slurm arrays).")
@click.option("--collect", is_flag=True, help="Do no run; write tables and pictures of what all parts have left.")
@click.option("--resume", is_flag=True, help="Continue the runs in --out; those that are complete stay as they are.")
@OVERWRITE
@click.option("--agreement", type=COUNT_OR_0,
              help="Samples on which gradients are compared with the true one after each epoch; 0: none.")
@click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files.")
def compare(config: str, out: Path, executor: str, jobs: int | None, **options: Any) -> None:
    """Train the rules and seeds of CONFIG, and write tables and pictures of them.

    CONFIG is a TOML file (see docs/compare.md), or the name of one that ships with evsim: compare_digits or
    compare_mnist.
    """
    from evsim.cli.compare import compare_run
    from evsim.experiment.examples import find_file

    if executor == "mpi" and jobs:
        raise click.UsageError("--jobs is for --executor processes; with mpi, mpiexec -n or srun -n says how many.")
    if options["collect"] and (options["part"] or options["resume"] or options["overwrite"]):
        raise click.UsageError("--collect does no run: leave out --part, --resume and --overwrite.")
    compare_run(find_file(config), out, executor=executor, jobs=jobs or available_cpus(), **options)


@main.command()
@click.argument("config")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the search.")
@click.option("--jobs", type=COUNT, show_default=False,
              help="Number of trials at a time, each in a process of its own; default: the CPUs.")
@click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files.")
def tune(config: str, out: Path, jobs: int | None, data_dir: str | None) -> None:
    """Search options of each run of CONFIG by its validation accuracy, with as many trials for every run.

    CONFIG is a comparison in TOML with ranges of options in [search] and [run.search] (see docs/tune.md). A search in
    --out is continued. Several of these commands may work on one search, on any machines that see the folder. At the
    end chosen.toml in --out is the comparison, for evsim compare, of the best trials. Needs Optuna.
    """
    from evsim.cli.tune import tune_run

    tune_run(Path(config), out, jobs or available_cpus(), data_dir)


@main.command()
@with_options(COMMON[:1])
@click.option("--dataset", default="yin-yang", type=OneOf("data set", DATASETS), metavar="NAME",
              help="Data set whose first samples are used; as in evsim train.")
@click.option("--data-dir", type=click.Path(path_type=str), help="Folder of the data set's files.")
@click.option("--rule", default="eventprop", type=OneOf("rule", RULE_NAMES), metavar="RULE",
              help="Rule whose gradient is checked (see evsim rules).")
@PRESET
@click.option("--rule-option", "rule_options", type=OPTION, multiple=True, help="Option of the rule; may be repeated.")
@click.option("--hidden", type=COUNT, multiple=True, help="Neurons of a hidden layer; repeat for more layers.")
@click.option("--trainable-delays", type=click.Choice(["input", "synapse"]),
              help="Compare derivatives by delays too: one for each input, or one for each synapse.")
@click.option("--max-delay", type=POSITIVE_MS, help="Largest trained delay, ms.")
@click.option("--recurrent-scale", type=NOT_NEGATIVE,
              help="Standard deviation of recurrent weights times sqrt(neurons); 0: no recurrent layers.")
@click.option("--samples", default=3, type=COUNT, help="Samples of the data set to compare gradients on.")
@click.option("--reference", default="pathwise", type=click.Choice(["pathwise", "mean"]),

              help="The true gradient: that of the given input, or that of the mean loss over random input.")
@click.option("--draws", type=COUNT,
              help="Largest number of draws of the input with --reference mean; default: 800.", show_default=False)
@click.option("--precision", type=POSITIVE, show_default=False,
              help="Standard error at which --reference mean stops, as a share of the norm; default: 0.1.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for gradcheck.csv and gradcheck.png.")
@OVERWRITE
def gradcheck(
    dataset: str, rule: str, preset: str, samples: int, out: Path | None, overwrite: bool, reference: str,
    draws: int | None, precision: float | None, **options: Any,
) -> None:  # fmt: skip
    """Compare a rule's gradient with the true one: EventProp, and differences in float64 and with 50 digits.

    With --reference mean the true one is the gradient of the mean loss over random input, by differences, with error
    bars (docs/mean_gradient.md).

    The exit status is 1 if a rule that claims to be exact is not, or if nothing could be compared.
    """
    from evsim.cli.gradcheck import gradcheck_run, mean_run
    from evsim.experiment.config import RunConfig
    from evsim.experiment.folder import results_or_none
    from evsim.experiment.gradient_check import check_reference
    from evsim.experiment.presets import settings
    from evsim.experiment.used_options import check_used

    asked = given_only(options)
    config = RunConfig(**settings(dataset, rule, {"hidden": (20,), **asked}, preset == "published"))
    check_used(config, asked.keys() - {"rule_options"})  # here the rule's gradients are all that is wanted
    mean = reference == "mean"
    check_reference(config, mean, draws=draws, precision=precision)
    with results_or_none(out, ("gradcheck.csv",) if mean else ("gradcheck.csv", "gradcheck.png"), overwrite):
        good = mean_run(config, samples, out, draws or 800, precision or 0.1) if mean else (
            gradcheck_run(config, samples, out)
        )
    if not good:
        raise SystemExit(1)


@main.command()
def rules() -> None:
    """List the learning rules and losses with their options."""
    from evsim.cli.rules import list_parts

    list_parts()


@main.command()
@click.argument("network")
@click.option("--t-stop", type=POSITIVE_MS, help="Biological time to simulate, ms; default: what suits the network.")
@with_options(COMMON)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results; default: runs/NETWORK.")
@click.option("--driver", default="auto", type=click.Choice(["auto", "window", "queue"]),
              help="Engine that simulates the network; auto: the fastest one that can.")
@click.option("--scale", default=1.0, type=POSITIVE,
              help="Factor on the size of a preset: its neurons, and the inputs of each.")
@click.option("--warmup", default=0.0, type=NOT_NEGATIVE_MS,
              help="Time simulated before the run, ms; its spikes are not counted.")
@click.option("--record", type=COUNT, help="Save the spikes of only the first N neurons of each population.")
@click.option("--chunk", type=POSITIVE_MS, show_default=False,

                            help="Time between two saves, ms (at most two a second); default: saved only at the end.")
@click.option("--resume", is_flag=True, help="Continue the run in --out, to the same or a later --t-stop.")
@OVERWRITE
@click.option("--no-plots", is_flag=True, help="Draw no pictures.")
@MPI
def simulate(
    network: str, out: Path | None, resume: bool, overwrite: bool, no_plots: bool, mpi: bool, **options: Any
) -> None:
    """Simulate NETWORK: brunel, brunel-exp, cuba, microcircuit, or a TOML file.

    An example of such a file ships with evsim, under the name "network".
    """
    from evsim.cli.ranks import ranks
    from evsim.cli.simulate import simulate_run
    from evsim.experiment.network_run import SimulateConfig

    out = out or Path("runs") / Path(network).stem
    with ranks(mpi) as comm:
        simulate_run(
            SimulateConfig(network, **options), out, resume=resume, overwrite=overwrite, plots=not no_plots, comm=comm
        )


@main.command("warm-up")
def warm_up() -> None:
    """Compile every kernel, so that no later command has to: once on a machine, or for a whole cluster.

    Kernels lie in the folder that EVSIM_CACHE_DIR names, or in the user's cache. On a cluster name a folder that all
    nodes read, and run this in one process before many start.
    """
    from evsim.cli.warm_up import compile_all

    compile_all()


@main.command(context_settings={"allow_interspersed_args": False})
@click.option("--nodes", default=1, type=COUNT, help="Number of machines.")
@click.option("--tasks-per-node", "tasks", default=1, type=COUNT, help="Processes on each; one for a socket is good.")
@click.option("--cpus-per-task", "cpus", default=1, type=COUNT, help="CPUs of each process, which it uses as threads.")
@click.option("--array", type=COUNT, show_default=False,
              help="Make it an array of so many jobs: the parts of a comparison, or processes that share a search.")
@click.option("--time", default="", show_default=False, help="Limit of time, as Slurm takes it: 2:00:00.")
@click.option("--cache", default="", show_default=False,
              help="Folder of the compiled kernels, which all nodes can read; default: the one in use here.")
@click.option("--sbatch", "more", multiple=True, metavar="OPTION",
              help="A further option of sbatch without its dashes, as partition=long; repeat for more.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def slurm(command: tuple[str, ...], array: int | None, **options: Any) -> None:
    """Print the text of a Slurm job for COMMAND, a command of evsim with its options.

    evsim slurm --nodes 4 --cpus-per-task 32 simulate microcircuit --mpi --out RUN > job.sh && sbatch job.sh
    """
    from evsim.experiment.slurm import Job, job_text

    if command[0] not in main.commands:
        raise click.UsageError(f"evsim has no command {command[0]!r}: {', '.join(sorted(main.commands))}.")
    click.echo(job_text(Job(array=array or 0, **options), command), nl=False)


@main.command()
@with_options(COMMON)
@click.option("--out", default=None, type=click.Path(path_type=Path), help="Folder in which to write bench.json too.")
@OVERWRITE
def bench(seed: int, threads: int, out: Path | None, overwrite: bool) -> None:
    """Nanoseconds per synaptic event of each engine, and samples per second, on this machine."""
    from evsim.cli.bench import run_bench
    from evsim.experiment.folder import results_or_none

    with results_or_none(out, ("bench.json",), overwrite):
        run_bench(seed, threads, out)


if __name__ == "__main__":
    main()

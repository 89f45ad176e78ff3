"""``evsim train``, ``demo`` and ``evaluate``: what a training run says on the screen."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from evsim.cli.ranks import folder_of_ranks
from evsim.cli.signals import command_line, say_how_to_resume
from evsim.experiment.config import RunConfig
from evsim.experiment.kernels import has_kernels
from evsim.experiment.resumed import resumed_elsewhere
from evsim.experiment.training_run import TrainingRun, evaluate, prepare, saved_state
from evsim.ranks.alone import ALONE
from evsim.ranks.first import on_first
from evsim.ranks.protocol import Communicator


def train_run(
    config: RunConfig, out: Path, resume: bool, *, overwrite: bool = False, comm: Communicator = ALONE
) -> None:
    """Train, and leave in ``out``: run.h5 (after every epoch), metrics.csv, summary.json, three PNGs. Over ranks all
    call this; rank 0 reads, writes and prints.

    Raises RunFileError : an earlier run in ``out`` that neither ``resume`` nor ``overwrite`` asks for, or ``resume``
    without one, or of one with other settings.
    """
    console = Console()
    saved = on_first(comm, lambda: saved_state(config, out / "run.h5")) if resume else None
    with folder_of_ranks(comm, out, resume=resume, overwrite=overwrite) as clear:
        run = prepare(config, saved, comm)
        trainer = run.trainer
        threads = f"{run.config.threads} threads"
        if comm.size > 1:
            threads = f"{comm.size} ranks, {threads} each"
        console.print(
            f"[bold]{run.config.dataset}[/]: {_samples(run)}; network {'-'.join(map(str, run.sizes))}, rule "
            f"{run.config.rule}, loss {run.config.loss}, {threads}, seed {run.config.seed}",
            soft_wrap=True,
            highlight=False,
        )
        if idle := trainer.shares.idle(run.config.batch_size):
            console.print(
                f"note: {idle} of {comm.size} ranks have nothing to do in batches of {run.config.batch_size} samples; "
                "give fewer ranks, or a larger --batch-size",
                soft_wrap=True,
                highlight=False,
            )
        if run.thresholds:
            console.print("thresholds calibrated: " + ", ".join(f"{v:.4g}" for v in run.thresholds))
        if saved is not None:
            console.print(f"resuming after epoch {trainer.epoch} of {run.config.epochs}")
            if note := resumed_elsewhere(saved):
                console.print(note, highlight=False, soft_wrap=True)
        _load_kernels(run, console)
        clear()
        try:
            _train(run, out, console)
        except KeyboardInterrupt:
            if trainer.epoch and comm.rank == 0:
                say_how_to_resume(f"interrupted after {trainer.epoch} complete epochs, saved in {out}. To continue:")
            raise
        _finish(run, out, console)


def evaluate_run(path: Path, data_dir: str | None, threads: int) -> None:
    """Print the scores of a saved run; see ``evaluate``."""
    table = Table("weights of", "epoch", "test accuracy", "mean loss")
    for score in evaluate(path, data_dir, threads):
        table.add_row(score.weights, str(score.epoch), f"{100 * score.accuracy:.2f} %", f"{score.loss:.3f}")
    Console().print(table)


def _train(run: TrainingRun, out: Path, console: Console) -> None:
    """The epochs, a line each, with a bar that lasts as long as they do."""
    with _progress(console) as bar:
        task = bar.add_task("epoch 1: first batch", total=None, rate="", done="")

        def progress(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            text = f"epoch {run.trainer.epoch + 1}/{run.config.epochs}"
            rate = f"{speed:.0f} samples/s" if speed else ""
            bar.update(task, completed=done, total=total, description=text, rate=rate, done=f"{done}/{total}")

        for row in run.epochs(out, progress):
            console.print(_line(row))
            bar.reset(task)


def _samples(run: TrainingRun) -> str:
    training, test = len(run.data.x_train), len(run.data.x_test)
    if run.data.x_validation is not None:
        return f"{training} training, {run.validation_samples} validation and {test} test samples"
    aside = f" ({run.validation_samples} of them set aside for validation)" if run.validation_samples else ""
    return f"{training} training samples{aside} and {test} test samples"


def _load_kernels(run: TrainingRun, console: Console) -> None:
    if not has_kernels():
        console.print("compiling kernels, once on this machine: about a minute")
    with console.status("loading kernels"):
        run.load_kernels()


def _finish(run: TrainingRun, out: Path, console: Console) -> None:
    summary, files = on_first(run.comm, lambda: run.finish(out, command_line()))
    accuracy = run.test_accuracy
    by = "validation" if "validation_accuracy" in run.trainer.history[-1] else "training accuracy"
    table = Table(show_header=False)
    table.add_row("test accuracy, last epoch", f"[bold]{100 * accuracy['last']:.2f} %[/]")
    table.add_row(f"test accuracy, epoch {run.trainer.best_epoch} (by {by})", f"{100 * accuracy['selected']:.2f} %")
    table.add_row("training", f"{summary['seconds']:.1f} s, {summary['samples_per_second']:.0f} samples/s")
    table.add_row("synaptic events", f"{summary['synaptic_events']:.3g} in training")
    table.add_row("files", ", ".join(files))
    console.print(f"results in {out}", markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip


def _line(row: dict[str, float]) -> str:
    held = f", validation {100 * row['validation_accuracy']:.2f} %" if "validation_accuracy" in row else ""
    return (
        f"epoch {row['epoch']:.0f}: loss {row['train_loss']:.3f}, training {100 * row['train_accuracy']:.2f} %"
        f"{held}, test {100 * row['test_accuracy']:.2f} %, {row['seconds']:.1f} s "
        f"({row['samples_per_second']:.0f} samples/s)"
    )

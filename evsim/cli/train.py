"""Training runs from the command line: joins data sets, models, rules and run files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from evsim import plot, streams
from evsim.cli.folder import results_folder
from evsim.cli.kernels import has_kernels
from evsim.cli.signals import command_line, say_how_to_resume
from evsim.errors import DataError, RunFileError
from evsim.experiment.config import RunConfig, build, calibrate_start, config_of, load_data, start
from evsim.experiment.used_options import check_used
from evsim.io import runs
from evsim.io.datasets import Dataset
from evsim.learning import Trainer
from evsim.spikes import SpikeBatch

console = Console()


def train_run(
    config: RunConfig,
    out: Path,
    resume: bool,
    observe: Callable[[Trainer, Dataset], dict[str, float]] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Train, and leave in ``out``: run.h5 (after every epoch), metrics.csv, summary.json, three PNGs.

    observe : called before the first epoch and after each; what it gives then is added to the epoch's row

    Raises RunFileError : an earlier run in ``out`` that neither ``resume`` nor ``overwrite`` asks for, or ``resume``
    without one, or of one with other settings.
    """
    saved = _saved_run(config, out / "run.h5", resume)
    with results_folder(out, resume=resume, overwrite=overwrite) as clear:
        data = load_data(config)
        config = _fit_data(config, data)
        model, trainer = build(config, data)
        sizes = "-".join(map(str, _sizes(trainer)))
        console.print(
            f"[bold]{config.dataset}[/]: {_samples(config, data)}; network {sizes}, rule {config.rule}, loss "
            f"{config.loss}, {config.threads} threads, seed {config.seed}",
            soft_wrap=True,
            highlight=False,
        )
        if saved is None:
            if start(config, model):
                thresholds = calibrate_start(config, model, trainer, data)
                console.print("thresholds calibrated: " + ", ".join(f"{v:.4g}" for v in thresholds))
        else:
            trainer.load(saved)
            console.print(f"resuming after epoch {trainer.epoch} of {config.epochs}")
        if observe is not None:
            observe(trainer, data)
        else:
            _load_kernels(trainer, data)
        clear()
        try:
            _train(trainer, config, data, out, observe)
        except KeyboardInterrupt:
            if trainer.epoch:
                say_how_to_resume(f"interrupted after {trainer.epoch} complete epochs, saved in {out}. To continue:")
            raise
        _finish(trainer, config, data, out)


def _train(
    trainer: Trainer,
    config: RunConfig,
    data: Dataset,
    out: Path,
    observe: Callable[[Trainer, Dataset], dict[str, float]] | None,
) -> None:
    """The epochs, each saved as it ends."""
    with _progress() as bar:
        task = bar.add_task("epoch 1: first batch", total=None, rate="", done="")

        def progress(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            text = f"epoch {trainer.epoch + 1}/{config.epochs}"
            rate = f"{speed:.0f} samples/s" if speed else ""
            bar.update(task, completed=done, total=total, description=text, rate=rate, done=f"{done}/{total}")

        held = None if data.y_validation is None else (data.x_validation, data.y_validation)
        for row in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test, progress, held):
            if observe is not None:
                row.update(observe(trainer, data))
            _save(trainer, config, out)
            console.print(_line(row))
            bar.reset(task)


def evaluate_run(run: Path, data_dir: str | None, threads: int) -> None:
    """Test accuracy of a saved run: weights of the last epoch, and of the selected one."""
    state = runs.load_run(run / "run.h5" if run.is_dir() else run)
    config = config_of(state, threads=threads, **({"data_dir": data_dir} if data_dir else {}))
    if data_dir:
        check_used(config, ["data_dir"])
    try:
        data = load_data(config)
    except DataError as error:
        if data_dir or not config.data_dir:
            raise
        was = f"The run was trained with --data-dir {config.data_dir}; say where the files are now."
        raise DataError(f"{error} {was}") from error
    config = _fit_data(config, data)
    model, trainer = build(config, data)
    trainer.load(state)
    table = Table("weights of", "epoch", "test accuracy", "mean loss")
    for name, epoch, weights in (
        ("last epoch", trainer.epoch, [array.copy() for _, array in model.parameters()]),
        ("selected epoch", trainer.best_epoch, trainer.best_parameters),
    ):
        model.set_parameters(weights)
        tally = trainer.evaluate(data.x_test, data.y_test)
        table.add_row(name, str(epoch), f"{100 * tally.accuracy:.2f} %", f"{tally.loss / tally.samples:.3f}")
    console.print(table)


def _sizes(trainer: Trainer) -> list[int]:
    """Neurons of the input and of every layer."""
    layers = trainer.model.layers
    return [layers[0].n_in, *(layer.n_out for layer in layers)]


def _samples(config: RunConfig, data: Dataset) -> str:
    n, held = len(data.x_train), config.validation
    if data.x_validation is not None:
        return f"{n} training, {len(data.x_validation)} validation and {len(data.x_test)} test samples"
    aside = f" ({held} of them set aside for validation)" if held else ""
    return f"{n} training samples{aside} and {len(data.x_test)} test samples"


def _load_kernels(trainer: Trainer, data: Dataset) -> None:
    """One batch whose gradients are not used, so that no epoch's time contains compiling or loading of kernels."""
    if not has_kernels():
        console.print("compiling kernels, once on this machine: about a minute")
    few = np.arange(min(trainer.options.batch_size, len(data.x_train)))
    with console.status("loading kernels"):
        trainer.load_kernels(trainer.inputs(data.x_train, few, 1), data.y_train[few])


def _fit_data(config: RunConfig, data: Dataset) -> RunConfig:
    # A part of a data set keeps the share of validation samples, a twelfth at most; spikes bring their own duration.
    held = 0 if data.y_validation is not None else min(config.validation, len(data.y_train) // 12)
    return replace(config, validation=held, duration=data.duration or config.duration, grid=data.grid)


def _saved_run(config: RunConfig, path: Path, resume: bool) -> dict[str, Any] | None:
    """The state to resume from, after checking that it is of the same run."""
    if not resume:
        return None
    if not path.exists():
        raise RunFileError(f"--resume was asked for, but there is no run in {path.parent}; leave --resume out.")
    state = runs.load_run(path)
    if state["random"].get("streams") != streams.VERSION:
        raise RunFileError(
            f"{path} was saved by another version of evsim, which splits and orders the samples of a seed differently. "
            "Start anew in another --out, or continue with the version that saved it; evsim evaluate reads it."
        )
    before = config_of(state)
    free = {"threads", "data_dir", "validation", "duration", "grid"}
    changed = [
        f"{f.name} = {getattr(before, f.name)!r} (now {getattr(config, f.name)!r})"
        for f in fields(RunConfig)
        if f.name not in free and getattr(before, f.name) != getattr(config, f.name)
    ]
    if changed:
        raise RunFileError(
            f"{path} was made with other settings: {'; '.join(changed)}. Give the same, or another --out."
        )
    return state


def _save(trainer: Trainer, config: RunConfig, out: Path) -> None:
    state = trainer.state()
    runs.save_run(
        out / "run.h5", {**state, "parameters": asdict(config), "versions": runs.package_versions()}
    )
    runs.write_csv(out / "metrics.csv", trainer.history)


def _finish(trainer: Trainer, config: RunConfig, data: Dataset, out: Path) -> None:
    history = trainer.history
    runs.write_csv(out / "metrics.csv", history)  # the row of an epoch that ended just before a kill
    last, best = history[-1], history[trainer.best_epoch - 1]
    seconds = sum(row["seconds"] for row in history)
    samples = sum(row["seconds"] * row["samples_per_second"] for row in history)
    summary = {
        "test_accuracy": last["test_accuracy"],
        "best_validation_epoch": trainer.best_epoch,
        "test_accuracy_at_best_validation": best["test_accuracy"],
        "epochs": trainer.epoch,
        "seed": config.seed,
        "rule": config.rule,
        "dataset": config.dataset,
        "loss": config.loss,
        "layers": _sizes(trainer),
        "training_samples": len(data.x_train) - config.validation,
        "validation_samples": config.validation if data.x_validation is None else len(data.x_validation),
        "test_samples": len(data.x_test),
        "samples_per_second": samples / seconds,
        "synaptic_events": int(sum(row["synaptic_events"] for row in history)),
        "seconds": seconds,
        "threads": config.threads,
        "options": asdict(config),
        "command": command_line(),
        "versions": runs.package_versions(),
    }
    runs.write_json(out / "summary.json", summary)
    figures = {
        **_raster(trainer, config, data),
        "learning_curve": plot.learning_curve(history),
        "weights": plot.weights(trainer.model.weights),
    }
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png")
    table = Table(show_header=False)
    table.add_row("test accuracy, last epoch", f"[bold]{100 * last['test_accuracy']:.2f} %[/]")
    by = "validation" if "validation_accuracy" in last else "training accuracy"
    table.add_row(
        f"test accuracy, epoch {trainer.best_epoch} (by {by})", f"{100 * best['test_accuracy']:.2f} %"
    )
    table.add_row("training", f"{seconds:.1f} s, {samples / seconds:.0f} samples/s")
    table.add_row("synaptic events", f"{summary['synaptic_events']:.3g} in training")
    table.add_row("files", "run.h5, metrics.csv, summary.json, " + ", ".join(f"{n}.png" for n in figures))
    console.print(f"results in {out}", markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def _raster(trainer: Trainer, config: RunConfig, data: Dataset) -> dict[str, Any]:
    """The picture of the first test sample's spikes, if there are any."""
    inputs = trainer.inputs(data.x_test, np.zeros(1, np.int64), -2)
    outputs = trainer.model.forward(inputs, config.duration, config.threads)
    spikes = [s for s in outputs if isinstance(s, SpikeBatch)]
    if not spikes:
        return {}
    names = ["input", *(f"layer {k + 1}" for k in range(len(spikes) - 1))]
    label = int(data.y_test[0])
    guess = int(trainer.loss.predict(outputs[-1])[0])
    if len(spikes) == len(outputs):
        names[-1] = "output"
    figure = plot.raster(
        {name: s.sample(0) for name, s in zip(names, spikes)}, config.duration,
        title=f"test sample 0: class {label} (orange), read as {guess}",
        highlight=label if names[-1] == "output" else None,
    )  # fmt: skip
    return {"raster": figure}


def _progress() -> Progress:
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

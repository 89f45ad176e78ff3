"""A training run: built once from its settings, trained epoch by epoch, saved after each, and summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evsim import plot, streams
from evsim.errors import DataError, RunFileError
from evsim.experiment.config import RunConfig, build, calibrate_start, changed_settings, config_of, load_data, start
from evsim.experiment.used_options import check_used
from evsim.io import runs
from evsim.io.datasets import Dataset
from evsim.learning import Trainer
from evsim.ranks.alone import ALONE
from evsim.ranks.first import on_first
from evsim.ranks.protocol import Communicator
from evsim.spikes import SpikeBatch
from evsim.versions import package_versions

Observe = Callable[[Trainer, Dataset], dict[str, float]]
"""Called before the first epoch and after each; what it gives then is added to the epoch's row."""


@dataclass(eq=False)
class TrainingRun:
    """A model, its data and its trainer.

    config : settings, as they suit the data
    thresholds : v_th of each spiking layer as calibrated; (): nothing was calibrated
    """

    config: RunConfig
    data: Dataset
    trainer: Trainer
    thresholds: tuple[float, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """Neurons of the input and of every layer."""
        layers = self.trainer.model.layers
        return [layers[0].n_in, *(layer.n_out for layer in layers)]

    @property
    def validation_samples(self) -> int:
        """Samples that select the epoch: those of the data set, or those set aside of the training samples."""
        return self.config.validation if self.data.x_validation is None else len(self.data.x_validation)

    @property
    def test_accuracy(self) -> dict[str, float]:
        """Share of test samples by the weights of the "last" epoch and of the "selected" one."""
        history = self.trainer.history
        return {
            "last": history[-1]["test_accuracy"],
            "selected": history[self.trainer.best_epoch - 1]["test_accuracy"],
        }

    def first_batch(self, samples: int) -> tuple[Any, np.ndarray]:
        """Inputs and labels of the first training samples, at most so many."""
        numbers = np.arange(min(samples, len(self.data.x_train)))
        return self.trainer.inputs(self.data.x_train, numbers, 1), self.data.y_train[numbers]

    def load_kernels(self) -> None:
        """One batch whose gradients are not used, so that no epoch's time contains compiling or loading of kernels."""
        self.trainer.load_kernels(*self.first_batch(self.trainer.options.batch_size))

    @property
    def comm(self) -> Communicator:
        """The ranks that share the run; rank 0 writes."""
        return self.trainer.comm

    def epochs(
        self, out: Path, progress: Callable[[int, int], None] | None = None, observe: Observe | None = None
    ) -> Iterator[dict[str, float]]:
        """Train; the row of each epoch, which is then saved in ``out``. progress(done, total) : after each batch"""
        data = self.data
        held = None if data.y_validation is None else (data.x_validation, data.y_validation)
        for row in self.trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test, progress, held):
            if observe is not None:
                row.update(observe(self.trainer, data))
            on_first(self.comm, lambda: self.save(out))
            yield row

    def save(self, out: Path) -> None:
        """Write run.h5 and metrics.csv."""
        state = {**self.trainer.state(), "parameters": asdict(self.config), "versions": package_versions()}
        runs.save_run(out / "run.h5", state)
        runs.write_csv(out / "metrics.csv", self.trainer.history)

    def finish(self, out: Path, command: str, pictures: bool = True) -> tuple[dict[str, Any], list[str]]:
        """Write metrics.csv, summary.json and ``pictures``. command : that made the run, for the summary

        Returns the summary and the names of all files of the run.
        """
        runs.write_csv(out / "metrics.csv", self.trainer.history)  # the row of an epoch that ended just before a kill
        summary = self.summary(command)
        runs.write_json(out / "summary.json", summary)
        figures = self.pictures() if pictures else {}
        for name, figure in figures.items():
            figure.savefig(out / f"{name}.png")
        return summary, ["run.h5", "metrics.csv", "summary.json", *(f"{name}.png" for name in figures)]

    def summary(self, command: str) -> dict[str, Any]:
        """Figures of the whole run; see ``finish``."""
        config, history = self.config, self.trainer.history
        seconds = sum(row["seconds"] for row in history)
        samples = sum(row["seconds"] * row["samples_per_second"] for row in history)
        return {
            "test_accuracy": self.test_accuracy["last"],
            "best_validation_epoch": self.trainer.best_epoch,
            "test_accuracy_at_best_validation": self.test_accuracy["selected"],
            "epochs": self.trainer.epoch,
            "seed": config.seed,
            "rule": config.rule,
            "dataset": config.dataset,
            "loss": config.loss,
            "layers": self.sizes,
            "training_samples": len(self.data.x_train) - config.validation,
            "validation_samples": self.validation_samples,
            "test_samples": len(self.data.x_test),
            "samples_per_second": samples / seconds,
            "synaptic_events": int(sum(row["synaptic_events"] for row in history)),
            "seconds": seconds,
            "threads": config.threads,
            "ranks": self.comm.size,
            "options": asdict(config),
            "command": command,
            "versions": package_versions(),
        }

    def pictures(self) -> dict[str, Any]:
        """Figures by name: spikes of the first test sample, if there are any, the learning curve, the weights."""
        return {
            **self._raster(),
            "learning_curve": plot.learning_curve(self.trainer.history),
            "weights": plot.weights([w.reshape(-1, w.shape[-1]) for w in self.trainer.model.weights]),
        }

    def _raster(self) -> dict[str, Any]:
        trainer, config = self.trainer, self.config
        inputs = trainer.inputs(self.data.x_test, np.zeros(1, np.int64), -2)
        outputs = trainer.model.forward(inputs, config.duration, config.threads)
        spikes = [s for s in outputs if isinstance(s, SpikeBatch)]
        if not spikes:
            return {}
        names = ["input", *(f"layer {k + 1}" for k in range(len(spikes) - 1))]
        label = int(self.data.y_test[0])
        predicted = int(trainer.loss.predict(outputs[-1])[0])
        if len(spikes) == len(outputs):
            names[-1] = "output"
        figure = plot.raster(
            {name: s.sample(0) for name, s in zip(names, spikes)}, config.duration,
            title=f"test sample 0: class {label} (orange), read as {predicted}",
            highlight=label if names[-1] == "output" else None,
        )  # fmt: skip
        return {"raster": figure}


def prepare(config: RunConfig, saved: dict[str, Any] | None = None, comm: Communicator = ALONE) -> TrainingRun:
    """Load the data and build model and trainer; weights are drawn and thresholds calibrated, or taken from ``saved``.

    comm : whose ranks share the run; each does all of this

    Raises InputError : settings that do not fit together or the data set; a saved state that does not fit.
    """
    data = load_data(config)
    config = _fit_data(config, data)
    model, trainer = build(config, data, comm)
    run = TrainingRun(config, data, trainer)
    if saved is not None:
        trainer.load(saved)
    elif start(config, model):
        run.thresholds = tuple(calibrate_start(config, model, trainer, data))
    return run


@dataclass(frozen=True)
class Score:
    """How a model does on the test set.

    weights : "last epoch" or "selected epoch", whose number is ``epoch``; loss : mean over samples
    """


    weights: str
    epoch: int
    accuracy: float
    loss: float


def evaluate(path: Path, data_dir: str | None, threads: int) -> list[Score]:
    """Scores of a saved run, a folder or its run.h5: by the weights of the last epoch, and of the selected one.

    data_dir : where the data set is now; None: where it was

    Raises RunFileError, DataError : files that cannot be read.
    """
    state = runs.load_run(path / "run.h5" if path.is_dir() else path)
    config = config_of(state, threads=threads, **({"data_dir": data_dir} if data_dir else {}))
    if data_dir:
        check_used(config, ["data_dir"])
    try:
        run = prepare(config, state)
    except DataError as error:
        if data_dir or not config.data_dir:
            raise
        was = f"The run was trained with --data-dir {config.data_dir}; say where the files are now."
        raise DataError(f"{error} {was}") from error
    trainer, model = run.trainer, run.trainer.model
    scores = []
    for name, epoch, weights in (
        ("last epoch", trainer.epoch, [array.copy() for _, array in model.parameters()]),
        ("selected epoch", trainer.best_epoch, trainer.best_parameters),
    ):
        model.set_parameters(weights)
        tally = trainer.evaluate(run.data.x_test, run.data.y_test)
        scores.append(Score(name, epoch, tally.accuracy, tally.loss / tally.samples))
    return scores


def saved_state(config: RunConfig, path: Path) -> dict[str, Any]:
    """The state in a run file, from which ``prepare`` continues.

    Raises RunFileError : no file, or one of other settings or of a version with other random streams.
    """
    if not path.exists():
        raise RunFileError(f"--resume was asked for, but there is no run in {path.parent}; leave --resume out.")
    state = runs.load_run(path)
    if state["random"].get("streams") != streams.VERSION:
        raise RunFileError(
            f"{path} was saved by another version of evsim, which splits and orders the samples of a seed differently. "
            "Start anew in another --out, or continue with the version that saved it; evsim evaluate reads it."
        )
    if changed := changed_settings(config_of(state), config):
        raise RunFileError(
            f"{path} was made with other settings: {'; '.join(changed)}. Give the same, or another --out."
        )
    return state


def _fit_data(config: RunConfig, data: Dataset) -> RunConfig:
    # A part of a data set keeps the share of validation samples, a twelfth at most; spikes bring their own duration.
    held = 0 if data.y_validation is not None else min(config.validation, len(data.y_train) // 12)
    return replace(config, validation=held, duration=data.duration or config.duration, grid=data.grid)

"""Rules times seeds on one data set: the runs asked for, and the tables and pictures that they leave behind."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evsim.errors import InputError
from evsim.experiment.config import RunConfig, changed_settings, config_of
from evsim.io import runs
from evsim.plot import comparison as plot_compare
from evsim.versions import package_versions

RESULTS = ("epochs.csv", "runs.csv", "compare.csv")
"""Tables that a comparison leaves in its folder."""

_MEANS = (
    "samples_per_second", "seconds", "input_spikes", "spikes", "synaptic_events", "peak_memory_mb", "working_memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One rule, one seed, one folder."""

    label: str
    seed: int
    config: RunConfig
    folder: Path

    @property
    def error(self) -> str | None:
        """Why it failed, if it did."""
        path = self.folder / "error.txt"
        return " ".join(path.read_text().split()) if path.exists() else None

    def rows(self) -> list[dict[str, float]]:
        """Its epochs so far."""
        path = self.folder / "metrics.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return [{k: _number(v) for k, v in row.items() if v != ""} for row in csv.DictReader(file)]


@dataclass(frozen=True)
class Comparison:
    """What a TOML file asks for.

    runs : label, seed and settings of each; agreement : samples of the batch on which gradients are compared with the
    true one after every epoch; 0: not at all; notes : common options that a run does not use, a sentence each
    """

    runs: tuple[tuple[str, int, RunConfig], ...]
    agreement: int
    notes: tuple[str, ...] = ()

    def in_folder(self, out: Path) -> list[Run]:
        """The runs with the folder of each below ``out``."""
        return [Run(label, seed, config, out / slug(label) / f"seed-{seed}") for label, seed, config in self.runs]


@dataclass(frozen=True)
class Part:
    """A share of the runs, for a job of its own: the first of every ``of``, the second, ..."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(f"a part is k/n with 1 <= k <= n; got {self}.")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def share(self, asked: list[Run]) -> list[Run]:
        """Its runs. Those of one label differ in their seeds and come to different parts."""
        return asked[self.number - 1 :: self.of]


@dataclass(frozen=True)
class Results:
    """All rows: by epoch, by run, and by label (over the seeds of the runs that are complete)."""

    epochs: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    labels: list[dict[str, Any]]


def collect(asked: list[Run]) -> Results:
    """Read what the runs have written so far."""
    epochs: list[dict[str, Any]] = []
    by_run: list[dict[str, Any]] = []
    for run in asked:
        rows = run.rows()
        name = {"label": run.label, "rule": run.config.rule, "seed": run.seed}
        epochs += [{**name, **row} for row in rows]
        by_run.append({**name, **_of_run(run, rows)})
    labels = list(dict.fromkeys(run.label for run in asked))
    return Results(epochs, by_run, [_of_label(label, [r for r in by_run if r["label"] == label]) for label in labels])


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def _of_run(run: Run, rows: list[dict[str, float]]) -> dict[str, Any]:
    complete = bool(rows) and rows[-1]["epoch"] >= run.config.epochs
    status = "complete" if complete else (run.error or f"{len(rows)} of {run.config.epochs} epochs")
    if not rows:
        return {"status": status}
    key = "validation_accuracy" if "validation_accuracy" in rows[0] else "train_accuracy"
    best = max(rows, key=lambda row: row[key])
    seconds = sum(row["seconds"] for row in rows)
    out: dict[str, Any] = {
        "status": status,
        "accuracy": rows[-1]["test_accuracy"],
        "selected_epoch": int(best["epoch"]),
        "selected_accuracy": best["test_accuracy"],
        "seconds": seconds,
        "samples_per_second": sum(row["seconds"] * row["samples_per_second"] for row in rows) / seconds,
    }
    for name in ("input_spikes", "spikes", "synaptic_events"):
        out[name] = sum(row[name] for row in rows)
    for name in ("peak_memory_mb", "working_memory_mb"):
        out[name] = rows[-1].get(name, 0.0)
    for name in rows[0]:
        if name.startswith(("cosine ", "signs ", "scale ")):
            finite = [row[name] for row in rows if np.isfinite(row.get(name, np.nan))]
            out[name] = float(np.mean(finite)) if finite else np.nan
    return out


def _of_label(label: str, of_runs: list[dict[str, Any]]) -> dict[str, Any]:
    complete = [r for r in of_runs if r["status"] == "complete"]
    out: dict[str, Any] = {"label": label, "rule": of_runs[0]["rule"], "complete": len(complete), "runs": len(of_runs)}
    if not complete:
        return out
    for name in ("accuracy", "selected_accuracy"):
        values = [r[name] for r in complete]
        out[name] = float(np.mean(values))
        out[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    agreements = [k for k in complete[0] if k.startswith(("cosine ", "signs ", "scale "))]
    for name in (*_MEANS, *agreements):
        out[name] = float(np.mean([r[name] for r in complete]))
    return out


def write_results(results: Results, out: Path, pictures: bool) -> None:
    """epochs.csv, runs.csv, compare.csv and summary.json; with ``pictures`` four PNGs."""
    runs.write_csv(out / "epochs.csv", results.epochs)
    runs.write_csv(out / "runs.csv", results.runs)
    runs.write_csv(out / "compare.csv", results.labels)
    finite = [{k: None if v != v else v for k, v in row.items()} for row in results.labels]
    runs.write_json(out / "summary.json", {"labels": finite, "versions": package_versions()})
    if pictures and results.epochs:
        for name, figure in plot_compare.pictures(results.epochs).items():
            figure.savefig(out / f"{name}.png")


def slug(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9.=+-]+", "-", label).strip("-.").lower()


def is_done(run: Run) -> bool:
    """Has the run reached its last epoch, with these settings?"""
    if not (run.folder / "summary.json").exists():
        return False
    before = config_of(runs.load_run(run.folder / "run.h5"))
    return not changed_settings(before, run.config) and run.rows()[-1]["epoch"] >= before.epochs

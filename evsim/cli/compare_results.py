"""What a comparison leaves behind: tables by run, by epoch and by rule, a summary, and pictures."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evsim.experiment.config import RunConfig
from evsim.io import runs
from evsim.plot import comparison as plot_compare

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
class Results:
    """All rows: by epoch, by run, and by label (over the seeds of the runs that are complete)."""

    epochs: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    labels: list[dict[str, Any]]


def collect(found: list[Run]) -> Results:
    """Read what the runs have written so far."""
    epochs: list[dict[str, Any]] = []
    by_run: list[dict[str, Any]] = []
    for run in found:
        rows = run.rows()
        name = {"label": run.label, "rule": run.config.rule, "seed": run.seed}
        epochs += [{**name, **row} for row in rows]
        by_run.append({**name, **_of_run(run, rows)})
    labels = list(dict.fromkeys(run.label for run in found))
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


def write_results(results: Results, out: Path, pictures: bool, console: Console | None = None) -> None:
    """epochs.csv, runs.csv, compare.csv and summary.json; with ``pictures`` four PNGs; the table on a console."""
    runs.write_csv(out / "epochs.csv", results.epochs)
    runs.write_csv(out / "runs.csv", results.runs)
    runs.write_csv(out / "compare.csv", results.labels)
    finite = [{k: None if v != v else v for k, v in row.items()} for row in results.labels]
    runs.write_json(out / "summary.json", {"labels": finite, "versions": runs.package_versions()})
    if pictures and results.epochs:
        for name, figure in plot_compare.pictures(results.epochs).items():
            figure.savefig(out / f"{name}.png")
    if console is not None:
        console.print(_table(results.labels))
        if (agreement := _agreement_table(results.labels)) is not None:
            console.print(agreement)
        for row in results.runs:
            if row["status"] != "complete":
                text = f"{row['label']}, seed {row['seed']}: {row['status']}"
                console.print(text, markup=False, highlight=False)


def _table(labels: list[dict[str, Any]]) -> Table:
    table = Table(title="test accuracy (%): mean and sd over seeds; the rest: means", box=SIMPLE)
    for name in ("", "runs", "last epoch", "selected", "s", "samples/s", "events", "MB"):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for row in labels:
        cells = [row["label"], f"{row['complete']}/{row['runs']}"]
        if row["complete"]:
            events = f"{row['synaptic_events']:.1e}" if row["synaptic_events"] else "–"
            cells += [_accuracy(row, "accuracy"), _accuracy(row, "selected_accuracy"), f"{row['seconds']:.1f}",
                      f"{row['samples_per_second']:.0f}", events, f"{row['peak_memory_mb']:.0f}"]  # fmt: skip
        table.add_row(*cells)
    return table


def _agreement_table(labels: list[dict[str, Any]]) -> Table | None:
    """Cosine and equal signs, by parameter; None if they were not measured."""
    places = list(dict.fromkeys(k.removeprefix("cosine ") for row in labels for k in row if k.startswith("cosine ")))
    if not places:
        return None
    title = "the rule's gradient and that of the given input (EventProp), mean over epochs: cosine, equal signs"
    table = Table("", *places, title=title, box=SIMPLE)
    for row in labels:
        cells = [f"{row[f'cosine {p}']:.3f}, {row[f'signs {p}']:.3f}" if f"cosine {p}" in row else "" for p in places]
        if any(cells):
            table.add_row(row["label"], *cells)
    return table


def _accuracy(row: dict[str, Any], name: str) -> str:
    sd = row[f"{name}_sd"]
    return f"{100 * row[name]:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")

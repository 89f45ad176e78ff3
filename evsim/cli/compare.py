"""``evsim compare``: rules times seeds on one data set and one budget, described by a TOML file."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evsim.cli.compare_file import read_comparison
from evsim.cli.compare_run import run_alone
from evsim.cli.folder import results_folder
from evsim.cli.signals import say_how_to_resume
from evsim.experiment.comparison import RESULTS, Results, collect, slug, write_results
from evsim.experiment.processes import run_all


def compare_run(
    config: Path,
    out: Path,
    jobs: int,
    resume: bool,
    agreement: int | None,
    data_dir: str | None,
    *,
    overwrite: bool = False,
) -> None:
    """Train every run in a process of its own, in a folder of its own below ``out``, and leave the results in ``out``.

    A run that fails does not end the others; it is named below the table.

    Raises
    ------
    RunFileError : ``out`` holds runs that neither ``resume`` nor ``overwrite`` asks for
    InputError : a TOML file that is not a comparison
    """
    comparison = read_comparison(config, data_dir)
    asked = comparison.in_folder(out)
    samples = comparison.agreement if agreement is None else agreement
    console = Console()
    holds = [*RESULTS, *(f"{slug(run.label)}/seed-{run.seed}" for run in asked)]
    with results_folder(out, holds, resume=resume, overwrite=overwrite) as clear:
        clear()
        for note in comparison.notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(asked)} runs, {jobs} at a time, in {out}", markup=False, highlight=False, soft_wrap=True)
        train = partial(run_alone, samples=samples, lock=out / ".compiling")
        try:
            with closing(run_all(asked, jobs, train)) as ended:
                for run, error in ended:
                    state = "done" if error is None else f"failed: {error}"
                    console.print(f"{run.label}, seed {run.seed}: {state}", markup=False, highlight=False)
                    write_results(collect(asked), out, pictures=False)
        except KeyboardInterrupt:
            say_how_to_resume(f"interrupted; the complete epochs of every run are saved in {out}. To continue:")
            raise
        results = collect(asked)
        write_results(results, out, pictures=True)
        _say(results, console)


def _say(results: Results, console: Console) -> None:
    """Print the tables, and a line on each run that is not complete."""
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

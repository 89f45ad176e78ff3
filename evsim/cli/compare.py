"""``evsim compare``: rules times seeds on one data set and one budget, described by a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evsim.cli.compare_file import read_comparison
from evsim.cli.signals import say_how_to_resume
from evsim.experiment.comparison import Part, Results
from evsim.experiment.executors import executor_by_name
from evsim.experiment.run_comparison import collected, run_comparison


def compare_run(
    config: Path,
    out: Path,
    *,
    executor: str = "processes",
    jobs: int = 1,
    part: Part | None = None,
    collect: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    agreement: int | None = None,
    data_dir: str | None = None,
) -> None:
    """Do the runs of a comparison, or tell of what has been done; see ``run_comparison`` and ``collected``.

    Raises
    ------
    RunFileError : ``out`` holds runs that neither ``resume`` nor ``overwrite`` asks for, or another comparison
    InputError : a TOML file that is not a comparison; several processes that would all do the same
    """
    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with executor_by_name(executor, jobs, several=part is not None) as pool:
        if pool is None:
            return
        comparison = read_comparison(config, data_dir)
        if collect:
            _say(collected(comparison, out), console)
            return
        asked = comparison.in_folder(out)
        for note in comparison.notes:
            say(note)
        runs = f"{len(asked)} runs" if part is None else f"part {part}: {len(part.share(asked))} of {len(asked)} runs"
        say(f"{runs}, {'by the other processes of MPI' if executor == 'mpi' else f'{jobs} at a time'}, in {out}")
        try:
            results = run_comparison(
                comparison, out, executor=pool, part=part, agreement=agreement, resume=resume, overwrite=overwrite,
                ended=lambda run, error: say(
                    f"{run.label}, seed {run.seed}: {'done' if error is None else f'failed: {error}'}"
                ),
            )  # fmt: skip
        except KeyboardInterrupt:
            say_how_to_resume(f"interrupted; the complete epochs of every run are saved in {out}. To continue:")
            raise
    if part is None:
        _say(results, console)
    else:
        complete = sum(row["status"] == "complete" for row in results.runs)
        say(f"part {part}: {complete} of {len(results.runs)} runs are complete; --collect makes tables of all parts")


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

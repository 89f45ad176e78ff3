"""``evsim tune``: what a search says on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evsim.cli.signals import command_line
from evsim.cli.tune_file import read_search
from evsim.experiment.toml_text import toml_value
from evsim.experiment.tune import Found, tune


def tune_run(config: Path, out: Path, jobs: int, data_dir: str | None) -> None:
    """Do the trials that are open in ``out``; see ``tune``.

    Raises InputError : a TOML file that is not a search, no Optuna, or a folder that holds another search.
    """
    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def ended(label: str, number: int, values: dict[str, Any], result: float | str) -> None:
        said = result if isinstance(result, str) else f"{100 * result:.2f} %"
        say(f"{label}, trial {number}: {said} ({_options(values)})")

    search = read_search(config, data_dir)
    for note in search.notes:
        say(note)
    say(f"{len(search.runs)} runs, {search.trials} trials of each, {jobs} at a time, in {out}")
    try:
        found = tune(search, out, jobs=jobs, ended=ended)
    except KeyboardInterrupt:
        say(f"interrupted; trials and their complete epochs are saved in {out}. To continue:\n    {command_line()}")
        raise
    console.print(_table(found))
    if found.open:
        say(
            f"{found.open} trials are open: others are at work on them or were until some minutes ago, or they failed "
            "for another reason than their options. The same command does what is then left."
        )
    elif found.chosen is not None:
        say(f"chosen.toml has the best trial of each run: evsim compare {found.chosen} --out ...")
    else:
        say("no trial of any run trained; see trials.csv for the reasons.")


def _options(values: dict[str, Any]) -> str:
    return ", ".join(f"{k} = {f'{v:.4g}' if isinstance(v, float) else toml_value(v)}" for k, v in values.items())


def _table(found: Found) -> Table:
    table = Table(title="best trials, by validation accuracy (%)", box=SIMPLE)
    for name in ("", "trials", "failed", "accuracy", "options"):
        table.add_column(name, justify="left" if name in ("", "options") else "right", overflow="fold")
    own = ("label", "trials", "failed", "trial", "validation_accuracy")
    for row in found.best:
        accuracy = f"{100 * row['validation_accuracy']:.2f}" if "trial" in row else "–"
        values = {k: v for k, v in row.items() if k not in own}
        table.add_row(row["label"], str(row["trials"]), str(row["failed"]), accuracy, _options(values))
    return table

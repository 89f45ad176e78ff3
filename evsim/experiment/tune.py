"""Search for options on validation accuracy, with the same number of trials for every run: ``tune``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evsim.experiment.claims import Held, claimed
from evsim.experiment.comparison import Run
from evsim.experiment.comparison_folder import check_same, record, shared_settings
from evsim.experiment.processes import RunOptions, outcome, submitter
from evsim.experiment.search import Search, Searched, trial_folder
from evsim.experiment.study import JOURNAL, Study, the_optuna
from evsim.experiment.toml_text import comparison_text, toml_value
from evsim.io import runs
from evsim.io.atomic import write_text

_MACHINE = ("DataError", "RunFileError", "OSError", "MemoryError", "FileNotFoundError", "PermissionError")
"""Errors of a run that say nothing of its options: such a trial stays open."""


@dataclass(frozen=True)
class Found:
    """What a search has so far.

    trials : a row for each; best : a row for each run, with the values of its best trial; open : trials without a
    result, of all that were asked for; chosen : the comparison of what was chosen, once no trial is open
    """

    trials: list[dict[str, Any]]
    best: list[dict[str, Any]]
    open: int
    chosen: Path | None


@dataclass(eq=False)
class _Trial:
    """A trial at work here. held : its claim"""

    searched: Searched
    number: int
    values: dict[str, Any]
    runs: list[Run]
    held: ExitStack
    futures: list[Future[str | None]] = field(default_factory=list)


def tune(
    search: Search,
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    ended: Callable[[str, int, dict[str, Any], float | str], None] | None = None,
) -> Found:
    """Do the trials that are open in the folder ``out``, and leave trials.csv, best.csv and chosen.toml there.

    Any number of processes may do so at once, on any machines that see the folder: each takes trials that nobody works
    on. One process with ``jobs=1`` leaves the same trials, however often it was killed and started again.

    Parameters
    ----------
    search : see ``evsim.cli.tune_file.read_search``
    executor : that does the training runs, see ``run_comparison``; None: this machine
    jobs : trials at a time
    ended : called with label, number, values and the accuracy, or why there is none, of each trial

    Raises
    ------
    InputError : no Optuna.
    RunFileError : the folder holds another search.
    """
    out = Path(out).resolve()
    the_optuna()
    described = _described(search)
    check_same(described, out)
    out.mkdir(parents=True, exist_ok=True)
    record(described, out)
    studies = {searched.label: Study(out / JOURNAL, search, searched) for searched in search.runs}
    at_work: dict[tuple[str, int], _Trial] = {}
    left: set[tuple[str, int]] = set()
    with ExitStack() as claims, submitter(executor, jobs) as submit:
        while True:
            while len(at_work) < jobs and (trial := _next(search, studies, out, {*at_work, *left})):
                claims.push(trial.held)
                trial.futures = [submit(run, RunOptions(pictures=False)) for run in trial.runs]
                at_work[trial.searched.label, trial.number] = trial
            if not at_work:
                break
            wait([f for trial in at_work.values() for f in trial.futures if not f.done()], None, FIRST_COMPLETED)
            for key, trial in list(at_work.items()):
                if all(future.done() for future in trial.futures):
                    result, told = _told(trial, studies[key[0]])
                    at_work.pop(key).held.close()
                    if not told:
                        left.add(key)
                    if ended is not None:
                        ended(*key, trial.values, result)
                    _write_trials(search, studies, out)
    return _found(search, studies, out)


def _next(search: Search, studies: dict[str, Study], out: Path, leave: set[tuple[str, int]]) -> _Trial | None:
    """A trial that nobody works on, claimed; of the run with the fewest trials so far."""
    for searched in sorted(search.runs, key=lambda s: min(studies[s.label].begun(), search.trials)):
        study = studies[searched.label]
        while True:
            for number in study.open():
                if number < search.trials and (searched.label, number) not in leave:
                    if (trial := _claim(search, searched, study, number, out)) is not None:
                        return trial
            if study.begun() >= search.trials:
                break
            study.ask()
    return None


def _claim(search: Search, searched: Searched, study: Study, number: int, out: Path) -> _Trial | None:
    folder = trial_folder(out, searched.label, number)
    folder.mkdir(parents=True, exist_ok=True)
    held = ExitStack()
    try:
        held.enter_context(claimed(folder, "trial"))
    except Held:
        return None
    if number not in study.open():  # told since
        held.close()
        return None
    values = study.values(number)
    return _Trial(searched, number, values, search.asked(searched, number, values, out), held)


def _told(trial: _Trial, study: Study) -> tuple[float | str, bool]:
    """The mean accuracy of a trial, or why there is none; and whether that is its result."""
    for run, future in zip(trial.runs, trial.futures):
        if (why := outcome(future)) is not None:
            error = run.error
            if error is None or error.split(":")[0] in _MACHINE:
                return f"{why}; it stays open", False
            study.tell(trial.number, None, error)
            return f"failed: {error}", True
    accuracies = [run.rows()[-1]["validation_accuracy"] for run in trial.runs]
    accuracy = sum(accuracies) / len(accuracies)
    study.tell(trial.number, accuracy)
    return accuracy, True


def _described(search: Search) -> dict[str, Any]:
    """What must stay the same where a search is continued: all but the number of trials, and the comparison after."""
    labels = {
        searched.label: {
            **shared_settings(searched.config(searched.entry, search.seeds[0])),
            "ranges": {name: repr(r) for name, r in searched.ranges.items()},
            "seeds": list(search.seeds),
            "sampler": search.sampler,
        }
        for searched in search.runs
    }
    return dict(json.loads(json.dumps({"labels": labels, "runs": []})))


def _write_trials(search: Search, studies: dict[str, Study], out: Path) -> list[dict[str, Any]]:
    rows = [row for searched in search.runs for row in studies[searched.label].rows()]
    runs.write_csv(out / "trials.csv", rows)
    return rows


def _found(search: Search, studies: dict[str, Study], out: Path) -> Found:
    rows = _write_trials(search, studies, out)
    closed = [row for row in rows if row["state"] != "open"]
    still = search.trials * len(search.runs) - len(closed)
    best = []
    for searched in search.runs:
        mine = [row for row in closed if row["label"] == searched.label]
        complete = [row for row in mine if row["state"] == "complete"]
        row: dict[str, Any] = {"label": searched.label, "trials": len(mine), "failed": len(mine) - len(complete)}
        if complete:  # the first of equally good ones
            row |= {k: v for k, v in max(complete, key=lambda r: r["validation_accuracy"]).items() if k != "state"}
        best.append(row)
    runs.write_csv(out / "best.csv", best)
    chosen = None
    if not still and any("trial" in row for row in best):
        chosen = out / "chosen.toml"
        write_text(chosen, _chosen_text(search, studies, best))
    return Found(rows, best, still, chosen)


def _chosen_text(search: Search, studies: dict[str, Study], best: list[dict[str, Any]]) -> str:
    """The comparison of the best trial of each run."""
    comment = (
        f"Chosen by evsim tune on validation accuracy: {search.trials} trials of each run (sampler {search.sampler}), "
        f"seeds {toml_value(search.seeds)}."
    )
    entries = []
    for searched, row in zip(search.runs, best):
        if "trial" not in row:
            comment += f"\n  {searched.label}: no trial trained; it is left out."
            continue
        values = studies[searched.label].values(row["trial"])
        of_trial = ", ".join(f"{name} = {toml_value(value)}" for name, value in values.items())
        comment += f"\n  {searched.label}: {100 * row['validation_accuracy']:.2f} %, trial {row['trial']}: {of_trial}"
        entries.append(searched.with_values(values))
    seeds, agreement, common = search.comparison
    return comparison_text(comment, seeds, agreement, common, entries)

"""``evsim compare``: rules times seeds on one data set and one budget, described by a TOML file."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from evsim.cli.compare_results import RESULTS, Run, collect, write_results
from evsim.cli.compare_run import COMPILED, run_alone
from evsim.cli.folder import results_folder
from evsim.cli.options import TRAIN, parameters
from evsim.cli.signals import say_how_to_resume
from evsim.errors import DataError, InputError
from evsim.experiment.config import RunConfig, config_of
from evsim.experiment.published import published_settings
from evsim.experiment.rules import rule_entry
from evsim.experiment.toml_options import option_values
from evsim.experiment.used_options import check_used, unused
from evsim.io import runs
from evsim.text_files import read_toml

console = Console()
_TOP = ("seeds", "agreement", "common", "run")
_TRAIN = click.Command("train", params=parameters(TRAIN))
_TABLES = ("rule_options", "loss_options", "data_options")


@dataclass(frozen=True)
class Comparison:
    """What a TOML file asks for.

    runs : label, seed and settings of each; agreement : samples of the batch on which gradients are compared with the
    true one after every epoch; 0: not at all; notes : common options that a run does not use, a sentence each
    """

    runs: tuple[tuple[str, int, RunConfig], ...]
    agreement: int
    notes: tuple[str, ...] = ()


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
    ValueError : a TOML file that is not a comparison
    """
    asked = read_comparison(config, data_dir)
    samples = asked.agreement if agreement is None else agreement
    found = [Run(label, seed, c, out / slug(label) / f"seed-{seed}") for label, seed, c in asked.runs]
    holds = [*RESULTS, *(f"{slug(run.label)}/seed-{run.seed}" for run in found)]
    with results_folder(out, holds, resume=resume, overwrite=overwrite) as clear:
        clear()
        for note in asked.notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(found)} runs, {jobs} at a time, in {out}", markup=False, highlight=False, soft_wrap=True)
        try:
            with closing(_each(found, jobs, samples, out)) as ended:
                for run, error in ended:
                    state = "done" if error is None else f"failed: {error}"
                    console.print(f"{run.label}, seed {run.seed}: {state}", markup=False, highlight=False)
                    write_results(collect(found), out, pictures=False)
        except KeyboardInterrupt:
            say_how_to_resume(f"interrupted; the complete epochs of every run are saved in {out}. To continue:")
            raise
        write_results(collect(found), out, pictures=True, console=console)


def read_comparison(path: Path, data_dir: str | None = None) -> Comparison:
    """The comparison that a TOML file describes: ``seeds``, ``agreement``, a table [common], and tables [[run]].

    Keys of these tables are options of ``evsim train``, those of a run go before the common ones. What neither names
    has the default of RunConfig; in a run with preset = "published" first that of the rule's publication, whose rule
    options the common ones leave alone. evsim's own presets play no part here.

    Raises ValueError : not TOML, unknown keys, no seeds or runs, the same label twice, values that do not fit, an
    option of one run that it does not use.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a comparison in TOML, or compare_digits or compare_mnist.")
    given = read_toml(path)
    if unknown := sorted(set(given) - set(_TOP)):
        raise InputError(f"{path} names {', '.join(unknown)}; a comparison has {', '.join(_TOP)}.")
    seeds, entries, common = given.get("seeds", [1]), given.get("run", []), given.get("common", {})
    if not isinstance(common, dict) or not (isinstance(entries, list) and all(isinstance(e, dict) for e in entries)):
        raise InputError(f"{path}: write [common] before the common options, and [[run]] before those of each run.")
    agreement = given.get("agreement", 0)
    if isinstance(agreement, bool) or not isinstance(agreement, int) or agreement < 0:
        raise InputError(f"{path}: agreement must be a number of samples >= 0; got {agreement!r}.")
    if not (isinstance(seeds, list) and seeds and all(isinstance(s, int) and s >= 0 for s in seeds)):
        raise InputError(f"{path}: seeds must be a list of integers >= 0; got {seeds!r}.")
    if not entries:
        raise InputError(f"{path} has no [[run]]; give one for each rule.")
    out, notes, labels = [], [], set()
    for entry in entries:
        own = dict(entry)
        label = str(own.pop("label", own.get("rule", "")))
        if not slug(label) or slug(label) in labels:
            raise InputError(f"{path}: each [[run]] needs a rule and a label of its own; got {label!r} (twice?).")
        labels.add(slug(label))
        for seed in seeds:
            out.append((label, seed, _config(common, own, seed, data_dir, f"{path}, run {label}")))
        if names := unused(out[-1][2], common):
            notes.append(f"{label} does not use these common options: {', '.join(n.lstrip('-') for n in names)}.")
    return Comparison(tuple(out), agreement, tuple(notes))


def slug(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9.=+-]+", "-", label).strip("-.").lower()


def _config(common: dict[str, Any], own: dict[str, Any], seed: int, data_dir: str | None, where: str) -> RunConfig:
    if not all(isinstance(table.get(name, {}), dict) for table in (common, own) for name in _TABLES):
        raise InputError(f"{where}: {', '.join(_TABLES)} must be tables of NAME = VALUE.")
    merged = {**common, **own}
    for name, owner in (("rule_options", "rule"), ("loss_options", "loss"), ("data_options", "dataset")):
        same = owner not in own or own[owner] == common.get(owner)
        merged[name] = {**(common.get(name, {}) if same else {}), **own.get(name, {})}
    known = {p.name for p in _TRAIN.params} - {"out", "resume", "overwrite", "seed", None}
    if unknown := sorted(set(merged) - known):
        raise InputError(f"{where}: evsim train has no option {', '.join(unknown)}. It has {', '.join(sorted(known))}.")
    try:
        values = option_values(merged, _TRAIN.params, where)
        # The same door as for --config: types and ranges are those of the command line.
        context = _TRAIN.make_context("train", ["--out", "."], default_map={"threads": 1, **values})
    except click.UsageError as error:
        raise InputError(f"{where}: {error.format_message()}") from error
    values = {k: v for k, v in context.params.items() if k in merged or k in ("dataset", "threads")}
    values = {k: dict(v) if k.endswith("_options") else v for k, v in values.items()}
    if data_dir is not None:
        values["data_dir"] = data_dir
    dataset, rule = values.get("dataset", RunConfig.dataset), values.get("rule", RunConfig.rule)
    first = published_settings(dataset, rule) if values.pop("preset", "evsim") == "published" else {}
    for name in _TABLES:
        keep = name != "loss_options" or values.get("loss", first.get("loss")) == first.get("loss")
        values[name] = {**(first.get(name, {}) if keep else {}), **values.get(name, {})}
    config = RunConfig(**{"loss": rule_entry(rule).loss, **first, **values, "seed": seed})
    try:
        check_used(config, own)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return config


def _each(found: list[Run], jobs: int, samples: int, out: Path) -> Generator[tuple[Run, str | None], None, None]:
    """Runs as they end, with what went wrong."""
    spawn = multiprocessing.get_context("spawn")
    children: list[Any] = []

    def one(run: Run) -> str | None:
        if _is_done(run):
            return None
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "error.txt").unlink(missing_ok=True)
        for last_try in (False, False, True):
            arguments = run.config, run.folder, samples, out / ".compiling", last_try
            child = spawn.Process(target=run_alone, args=arguments, daemon=True)
            children.append(child)
            child.start()
            child.join()
            if child.exitcode != COMPILED:
                break
        return None if child.exitcode == 0 else run.error or f"ended with status {child.exitcode}"

    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = {pool.submit(one, run): run for run in found}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                if child.is_alive():
                    child.terminate()


def _is_done(run: Run) -> bool:
    if not (run.folder / "summary.json").exists():
        return False
    before = config_of(runs.load_run(run.folder / "run.h5"))
    free = ("threads", "data_dir", "validation", "duration")
    return all(v == getattr(before, k) for k, v in asdict(run.config).items() if k not in free) and (
        run.rows()[-1]["epoch"] >= before.epochs
    )

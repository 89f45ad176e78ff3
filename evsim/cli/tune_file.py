"""A search in TOML: a comparison whose tables [search] and [run.search] give ranges of options of ``evsim train``."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

from evsim.cli.compare_file import comparison_of, run_config
from evsim.errors import DataError, InputError
from evsim.experiment.config import RunConfig
from evsim.experiment.search import SAMPLERS, Choices, Interval, Search, Searched
from evsim.experiment.used_options import DATA, unused
from evsim.text_files import read_toml

_OWN = ("trials", "seeds", "sampler", "common")
_TABLES = ("rule_options", "loss_options")
_BUDGET = frozenset({
    "rule", "preset", "label", "dataset", "data_options", "data_dir", "train_size", "test_size", "validation", "epochs",
    "seed", "threads",
})  # fmt: skip
"""Options that say what is trained on which data for how long: the same for all trials of a run."""
_SEED = 1000


def read_search(path: str | os.PathLike[str], data_dir: str | None = None) -> Search:
    """The search that a TOML file describes; see docs/tune.md.

    Raises InputError : no TOML, no search, or not a comparison; ranges that do not fit; a budget that is not the same
    for all runs; seeds that the comparison has too; no validation samples.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a search in TOML (see docs/tune.md).")
    tree = read_toml(path)
    search = tree.pop("search", None)
    if not isinstance(search, dict):
        raise InputError(f"{path} has no table [search]; it says the trials of each run, and ranges of options.")
    entries = [dict(e) if isinstance(e, dict) else e for e in tree.get("run", [])] or []
    of_runs = [e.pop("search", {}) if isinstance(e, dict) else {} for e in entries]
    comparison = comparison_of({**tree, "run": entries}, path, data_dir)
    seeds, common = tree.get("seeds", [1]), tree.get("common", {})
    trials, own_seeds, sampler, of_trials = _settings(search, seeds, path)
    shared = _ranges({k: v for k, v in search.items() if k not in _OWN}, f"{path}, [search]")
    notes, runs = list(comparison.notes), []
    configs = {label: config for label, _, config in comparison.runs}
    for (label, config), entry, of_run in zip(configs.items(), entries, of_runs):
        where = f"{path}, run {label}"
        own = _ranges(of_run, f"{where}, search")
        if twice := [name for name in own if _given(name, entry)]:
            raise InputError(f"{where}: {', '.join(twice)} has a value and a range; give one of them.")
        left = unused(config, [name.partition(".")[0] for name in shared])
        ignored = [name for name in shared if f"--{name.partition('.')[0].replace('_', '-')}" in left]
        if ignored:
            notes.append(f"{label} does not use these, which are not searched for it: {', '.join(ignored)}.")
        ranges = {n: r for n, r in shared.items() if n not in ignored and not _given(n, entry)} | own
        make = partial(_config, {**common, **of_trials}, data_dir, where)
        searched = Searched(label, entry, ranges, make)
        _check_validation(make(entry, own_seeds[0]), where)
        _check(searched, trials, sampler, own_seeds[0], where)
        runs.append(searched)
    as_trials = [run.config(run.entry, own_seeds[0]) for run in runs]
    for name in ("epochs", "train_size", "validation", "dataset"):
        if len(set(values := [getattr(config, name) for config in as_trials])) > 1:
            each = ", ".join(f"{run.label} {value}" for run, value in zip(runs, values))
            raise InputError(f"{path}: a search has the same {name} for every run; got {each}.")
    return Search(tuple(runs), trials, tuple(own_seeds), sampler, (seeds, comparison.agreement, common), tuple(notes))


def _settings(search: dict[str, Any], seeds: list[int], path: Path) -> tuple[int, list[int], str, dict[str, Any]]:
    trials, own, sampler = search.get("trials"), search.get("seeds", [_SEED]), search.get("sampler", "tpe")
    of_trials = search.get("common", {})
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"{path}: [search] needs trials, the number of each run's, >= 1; got {trials!r}.")
    if not (isinstance(own, list) and own and all(type(s) is int and s >= 0 for s in own)):
        raise InputError(f"{path}: seeds of [search] must be a list of integers >= 0; got {own!r}.")
    if both := sorted(set(own) & set(seeds)):
        raise InputError(
            f"{path}: the search and the comparison have seeds in common ({', '.join(map(str, both))}); what was "
            "chosen must be tried with others."
        )
    if sampler not in SAMPLERS:
        raise InputError(f"{path}: the sampler must be one of {', '.join(SAMPLERS)}; got {sampler!r}.")
    if not isinstance(of_trials, dict) or "test_size" in of_trials:
        raise InputError(f"{path}: [search.common] has common options of trials, but no test_size: they have no test.")
    return trials, own, sampler, of_trials


def _ranges(table: Any, where: str) -> dict[str, Interval | Choices]:
    """By option; those in tables of options as ``rule_options.a``."""
    if not isinstance(table, dict):
        raise InputError(f"{where} must be a table of options and their ranges; got {table!r}.")
    if budget := sorted(set(table) & _BUDGET):
        raise InputError(f"{where}: {', '.join(budget)} cannot be searched: it would change the budget, or the data.")
    if own := sorted(set(table) & set(_OWN)):
        raise InputError(f"{where}: {', '.join(own)} stand in [search], the same for every run.")
    out: dict[str, Interval | Choices] = {}
    for name, value in table.items():
        if name in _TABLES and isinstance(value, dict):
            out |= {f"{name}.{option}": _range(inner, f"{where}: {name}.{option}") for option, inner in value.items()}
        else:
            out[name] = _range(value, f"{where}: {name}")
    return out


def _range(value: Any, where: str) -> Interval | Choices:
    if isinstance(value, list) and value:
        return Choices(tuple(value))
    numbers = isinstance(value, dict) and {"low", "high"} <= set(value) <= {"low", "high", "log"}
    if not numbers or any(type(value[k]) not in (int, float) or not math.isfinite(value[k]) for k in ("low", "high")):
        example = "{ low = 1e-4, high = 1e-1, log = true }"
        raise InputError(f"{where} must be a list of choices, or an interval such as {example}; got {value!r}.")
    interval = Interval(**value)
    if not interval.low < interval.high or not isinstance(interval.log, bool) or (interval.log and interval.low <= 0):
        raise InputError(f"{where} must have low < high, and with log = true low > 0; got {value!r}.")
    return interval


def _given(name: str, entry: dict[str, Any]) -> bool:
    """Has the run a value of its own? A choice of whole tables of options is merged with what the run has there."""
    table, _, option = name.partition(".")
    return option in entry.get(table, {}) if option else table in entry and table not in _TABLES


def _config(common: dict[str, Any], data_dir: str | None, where: str, entry: dict[str, Any], seed: int) -> RunConfig:
    # One test sample, which nobody looks at: a search is to see no test set.
    of_run = {name: value for name, value in entry.items() if name != "label"}
    return run_config({**common, "test_size": 1}, of_run, seed, data_dir, where)


def _check_validation(config: RunConfig, where: str) -> None:
    held, few = DATA[config.dataset].held, config.train_size is not None and config.train_size < 12
    if not held and (few or not config.validation):
        raise InputError(
            f"{where}: a search needs validation samples. Give validation, their number (at most a twelfth of the "
            "training samples is set aside)."
        )


def _check(searched: Searched, trials: int, sampler: str, seed: int, where: str) -> None:
    """Every range by itself, at its ends or at all of its choices."""
    if not searched.ranges:
        raise InputError(f"{where}: nothing is searched; give a range in [search] or [run.search].")
    first = {name: r.examples()[0] for name, r in searched.ranges.items()}
    for name, r in searched.ranges.items():
        for value in r.examples():
            searched.config(searched.with_values({**first, name: value}), seed)
    if sampler == "grid" and (n := searched.combinations()) != trials:
        got = f"{n} combinations" if n else "an interval"
        raise InputError(f"{where}: a grid tries all combinations of choices, as many as trials = {trials}; got {got}.")

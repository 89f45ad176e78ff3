"""A comparison in TOML: its tables hold options of ``evsim train``, of the same types and ranges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from evsim.cli.options import TRAIN, parameters
from evsim.cli.toml_options import option_values
from evsim.errors import DataError, InputError
from evsim.experiment.comparison import Comparison, slug
from evsim.experiment.config import RunConfig
from evsim.experiment.published import published_settings
from evsim.experiment.rules import rule_entry
from evsim.experiment.used_options import check_used, unused
from evsim.text_files import read_toml

_TOP = ("seeds", "agreement", "common", "run")
_TRAIN = click.Command("train", params=parameters(TRAIN))
_TABLES = ("rule_options", "loss_options", "data_options")


def read_comparison(path: str | os.PathLike[str], data_dir: str | None = None) -> Comparison:
    """The comparison that a TOML file describes: ``seeds``, ``agreement``, a table [common], and tables [[run]].

    Keys of these tables are options of ``evsim train``, those of a run go before the common ones. What neither names
    has the default of RunConfig; in a run with preset = "published" first that of the rule's publication, whose rule
    options the common ones leave alone. evsim's own presets play no part here.

    Raises ValueError : not TOML, unknown keys, no seeds or runs, the same label twice, values that do not fit, an
    option of one run that it does not use.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}; give a comparison in TOML, or compare_digits or compare_mnist.")
    tree = read_toml(path)
    if "search" in tree:
        raise InputError(f"{path} has a [search]: evsim tune does it, and writes the comparison of what it chose.")
    return comparison_of(tree, path, data_dir)


def comparison_of(tree: dict[str, Any], path: Path, data_dir: str | None) -> Comparison:
    """The comparison that the tables of a file describe; see ``read_comparison``."""
    if unknown := sorted(set(tree) - set(_TOP)):
        raise InputError(f"{path} names {', '.join(unknown)}; a comparison has {', '.join(_TOP)}.")
    seeds, entries, common = tree.get("seeds", [1]), tree.get("run", []), tree.get("common", {})
    if not isinstance(common, dict) or not (isinstance(entries, list) and all(isinstance(e, dict) for e in entries)):
        raise InputError(f"{path}: write [common] before the common options, and [[run]] before those of each run.")
    agreement = tree.get("agreement", 0)
    if isinstance(agreement, bool) or not isinstance(agreement, int) or agreement < 0:
        raise InputError(f"{path}: agreement must be a number of samples >= 0; got {agreement!r}.")
    if not (isinstance(seeds, list) and seeds and all(isinstance(s, int) and s >= 0 for s in seeds)):
        raise InputError(f"{path}: seeds must be a list of integers >= 0; got {seeds!r}.")
    if not entries:
        raise InputError(f"{path} has no [[run]]; give one for each rule.")
    out, notes, labels = [], [], set()
    for entry in entries:
        of_run = dict(entry)
        label = str(of_run.pop("label", of_run.get("rule", "")))
        if not slug(label) or slug(label) in labels:
            raise InputError(f"{path}: each [[run]] needs a rule and a label of its own; got {label!r} (twice?).")
        labels.add(slug(label))
        for seed in seeds:
            out.append((label, seed, run_config(common, of_run, seed, data_dir, f"{path}, run {label}")))
        if names := unused(out[-1][2], common):
            notes.append(f"{label} does not use these common options: {', '.join(n.lstrip('-') for n in names)}.")
    return Comparison(tuple(out), agreement, tuple(notes))


def run_config(
    common: dict[str, Any], of_run: dict[str, Any], seed: int, data_dir: str | None, where: str
) -> RunConfig:
    """The settings of one run. where : names it in errors

    Raises InputError : keys or values that evsim train does not take, or options of the run that it does not use.
    """
    if not all(isinstance(table.get(name, {}), dict) for table in (common, of_run) for name in _TABLES):
        raise InputError(f"{where}: {', '.join(_TABLES)} must be tables of NAME = VALUE.")
    merged = {**common, **of_run}
    for name, owner in (("rule_options", "rule"), ("loss_options", "loss"), ("data_options", "dataset")):
        same = owner not in of_run or of_run[owner] == common.get(owner)
        merged[name] = {**(common.get(name, {}) if same else {}), **of_run.get(name, {})}
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
        check_used(config, of_run)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return config

"""What a search tries: ranges of options, the trials of each run, and what values of options make of its settings."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from evsim.experiment.comparison import Run, slug
from evsim.experiment.config import RunConfig

SAMPLERS = ("tpe", "random", "grid")
"""How trials are chosen: by those before (Optuna's TPE), at random, or all combinations of choices."""


@dataclass(frozen=True)
class Interval:
    """Numbers from low to high, whole ones if both are integers; log : evenly by their logarithm"""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def examples(self) -> list[Any]:
        return [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """Values of any kind that an option takes."""

    values: tuple[Any, ...]

    def examples(self) -> list[Any]:
        return list(self.values)

    def names(self) -> list[Any]:
        """The values as Optuna stores them: numbers, texts and truth values as they are, others as JSON."""
        return [v if isinstance(v, (str, int, float, bool)) else json.dumps(v) for v in self.values]


@dataclass(frozen=True, eq=False)
class Searched:
    """A run of the comparison whose options are searched.

    entry : its table, without the search; ranges : by option, those of tables of options as ``rule_options.a``
    config : settings of a table with a seed, as a trial has them
    """

    label: str
    entry: dict[str, Any]
    ranges: dict[str, Interval | Choices]
    config: Callable[[dict[str, Any], int], RunConfig]

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The table of the run with these values of its options."""
        entry = copy.deepcopy(self.entry)
        for name, value in values.items():
            table, _, option = name.partition(".")
            if option:
                entry[table] = {**entry.get(table, {}), option: value}
            elif isinstance(value, Mapping):
                entry[table] = {**entry.get(table, {}), **value}
            else:
                entry[table] = value
        return entry

    def combinations(self) -> int:
        """Number of them, where all ranges are choices; 0 otherwise."""
        sizes = [len(r.values) for r in self.ranges.values() if isinstance(r, Choices)]
        return prod(sizes) if len(sizes) == len(self.ranges) else 0

    def combination(self, number: int) -> dict[str, Any]:
        """Names of the values of one of them (see ``Choices.names``); the last option changes first."""
        names = [r.names() for r in self.ranges.values() if isinstance(r, Choices)]
        return dict(zip(self.ranges, list(product(*names))[number]))


@dataclass(frozen=True, eq=False)
class Search:
    """What a TOML file asks for.

    trials : of each run; seeds : of the training of each trial, whose mean accuracy counts
    comparison : seeds, agreement and common options of the comparison that is to be made of what is chosen
    notes : what may not be meant, a sentence each
    """

    runs: tuple[Searched, ...]
    trials: int
    seeds: tuple[int, ...]
    sampler: str
    comparison: tuple[list[int], int, dict[str, Any]]
    notes: tuple[str, ...] = ()

    def asked(self, searched: Searched, number: int, values: Mapping[str, Any], out: Path) -> list[Run]:
        """The training runs of a trial."""
        folder = trial_folder(out, searched.label, number)
        entry = searched.with_values(values)
        return [
            Run(f"{searched.label}, trial {number}", seed, searched.config(entry, seed), folder / f"seed-{seed}")
            for seed in self.seeds
        ]


def trial_folder(out: Path, label: str, number: int) -> Path:
    """Where the runs of a trial are."""
    return out / slug(label) / f"trial-{number:04d}"

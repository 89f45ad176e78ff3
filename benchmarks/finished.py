"""Finished runs of a script that takes long, kept so that it can be killed and started again, and paired intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from evsim.io.atomic import write_text


class FinishedRuns:
    """A CSV with a line for each finished run: what names it, and its figures.

    names, figures : columns. The file is written anew after each run and takes the old one's place when it is whole, so
    that a kill at any moment loses no line.
    """

    def __init__(self, path: Path, names: Sequence[str], figures: Sequence[str]) -> None:
        self.path, self.names, self.figures = path, tuple(names), tuple(figures)
        self.rows: dict[tuple[str, ...], tuple[float, ...]] = {}
        if path.exists():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.rows[self.key([row[n] for n in names])] = tuple(float(row[f]) for f in figures)

    @staticmethod
    def key(values: Sequence[Any]) -> tuple[str, ...]:
        """What names a run, as text; 1, 1.0 and "1.0" are the same."""
        return tuple(_text(value) for value in values)

    def of(self, values: Sequence[Any], run: Callable[[], Sequence[float]]) -> tuple[float, ...]:
        """Figures of a run, which is done now unless it was done before."""
        key = self.key(values)
        if key not in self.rows:
            self.rows[key] = tuple(run())
            print(*key, *(f"{figure:.6g}" for figure in self.rows[key]), flush=True)
            self._write()
        return self.rows[key]

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow([*self.names, *self.figures])
        out.writerows([*key, *(f"{figure:.6g}" for figure in figures)] for key, figures in self.rows.items())
        write_text(self.path, text.getvalue())


def _text(value: Any) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean, and half of the 95 % interval of the mean (Student)."""
    n = differences.size
    return float(differences.mean()), float(student.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))

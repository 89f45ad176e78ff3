"""How well numbers fit a law."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats


def fit(numbers: np.ndarray, law: Any) -> float:
    """p-value of integers under a discrete law, by chi-square over about 20 classes."""
    edges = np.unique(law.ppf(np.linspace(0.0, 1.0, 21)[1:-1]))
    expected = numbers.size * np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))
    found = np.bincount(np.searchsorted(edges, numbers), minlength=edges.size + 1)
    if expected[-1] < 5.0:
        expected, found = np.append(expected[:-2], expected[-2:].sum()), np.append(found[:-2], found[-2:].sum())
    return float(stats.chisquare(found, expected).pvalue)

"""What all pictures share: colours, and figures with their axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = "#1f4e79"
SECOND = "#c55a11"
COLOURS = (FIRST, SECOND, "#3a7d44", "#7b4b94", "0.35")


def stacked(rows: int, heights: Sequence[float], size: tuple[float, float]) -> tuple[Figure, list[Any]]:
    """Axes above each other that share the x axis. size : inches"""
    from matplotlib.figure import Figure

    fig = Figure(figsize=size, layout="constrained", dpi=130)
    axes = fig.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    return fig, list(axes[:, 0])


def side_by_side(columns: int, size: tuple[float, float]) -> tuple[Figure, list[Any]]:
    """Axes in a row. size : inches"""
    from matplotlib.figure import Figure

    fig = Figure(figsize=size, layout="constrained", dpi=130)
    return fig, list(fig.subplots(1, columns, squeeze=False)[0])

"""One style for the figures of the scripts. It is apart from `common`, as what measures memory loads no matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

__all__ = ["plt", "save"]

matplotlib.use("Agg")
plt.rcParams.update({"figure.dpi": 100, "legend.frameon": False})


def save(figure: Figure, path: Path, rect: tuple[float, float, float, float] | None = None, **options: Any) -> None:
    """Write a figure; where it has no layout of its own, its parts are moved together, within ``rect``."""
    if figure.get_layout_engine() is None:
        figure.tight_layout(rect=rect)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **options)

"""Pictures of a comparison: one line per label, the mean over seeds, with a band of one standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
_STYLES = ("-", "--", ":")


def pictures(rows: Rows) -> dict[str, Figure]:
    """Figures by name from rows of epochs (with ``label``, ``seed``, ``epoch`` and an epoch's figures):
    accuracy by epoch, by wall time and by synaptic events; agreement with the true gradient, if it was measured."""
    out = {
        "accuracy_by_epoch": accuracy(rows, "epoch"),
        "accuracy_by_time": accuracy(rows, "seconds"),
        "accuracy_by_events": accuracy(rows, "synaptic_events"),
    }
    places = list(dict.fromkeys(k.removeprefix("cosine ") for row in rows for k in row if k.startswith("cosine ")))
    if places:
        out["agreement"] = agreement(rows, places)
    return out


def accuracy(rows: Rows, over: str) -> Figure:
    """Test accuracy over the epoch, the seconds of training or the synaptic events so far."""
    names = {"epoch": "epoch", "seconds": "training time (s), one thread a run", "synaptic_events": "synaptic events"}
    fig, (ax,) = _axes(1, 1, (6.4, 4.0))
    for label, style in _styles(rows):
        x = _curves(rows, label, over)
        if over != "epoch":
            x = np.cumsum(x, axis=1)
        if np.all(x > 0):
            _band(ax, np.mean(x, axis=0), 100.0 * _curves(rows, label, "test_accuracy"), label, style)
    if over == "epoch":
        ax.xaxis.get_major_locator().set_params(integer=True)
    elif ax.lines:
        ax.set_xscale("log")
    ax.set_xlabel(names[over])
    ax.set_ylabel("test accuracy (%)")
    _legend(fig, ax)
    return fig


def agreement(rows: Rows, places: Sequence[str]) -> Figure:
    """Cosine and share of equal signs with the true gradient over the epochs, a column for each layer's parameter."""
    fig, axes = _axes(2, len(places), (3.3 * len(places) + 1.6, 5.0))
    for row, (kind, name) in enumerate((("cosine", "cosine with the true gradient"), ("signs", "equal signs"))):
        for column, place in enumerate(places):
            ax = axes[row * len(places) + column]
            for label, style in _styles(rows):
                y = _curves(rows, label, f"{kind} {place}")
                if np.isfinite(y).any():
                    _band(ax, np.mean(_curves(rows, label, "epoch"), axis=0), y, label, style)
            ax.set_title(place, fontsize=9, loc="left")
            ax.set_xlabel("epoch")
            ax.set_ylabel(name)
            ax.xaxis.get_major_locator().set_params(integer=True)
    _legend(fig, axes[0])
    return fig


def _styles(rows: Rows) -> list[tuple[str, dict[str, Any]]]:
    """Labels in their order, each with a colour, and another dash after every ten."""
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return [(label, {"color": f"C{k % 10}", "ls": _STYLES[k // 10 % 3], "lw": 1.4}) for k, label in enumerate(labels)]


def _curves(rows: Rows, label: str, key: str) -> np.ndarray:
    """(seeds, epochs) of a label, as many epochs as all its seeds have."""
    seeds = list(dict.fromkeys(row["seed"] for row in rows if row["label"] == label))
    curves = [[float(r.get(key, np.nan)) for r in rows if r["label"] == label and r["seed"] == s] for s in seeds]
    n = min(len(c) for c in curves)
    return np.array([c[:n] for c in curves])


def _band(ax: Any, x: np.ndarray, y: np.ndarray, label: str, style: dict[str, Any]) -> None:
    middle = np.mean(y, axis=0)
    ax.plot(x, middle, marker="o", ms=2.5, label=label, **style)
    if len(y) > 1:
        sd = np.std(y, axis=0, ddof=1)
        ax.fill_between(x, middle - sd, middle + sd, color=style["color"], alpha=0.15, lw=0)


def _legend(fig: Any, ax: Any) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        fig.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)


def _axes(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    fig = Figure(figsize=size, layout="constrained", dpi=110)
    return fig, list(fig.subplots(rows, columns, squeeze=False).ravel())

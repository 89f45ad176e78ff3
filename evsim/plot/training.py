"""Pictures of training: learning curves, weights, and a rule's gradient beside the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plot.figures import FIRST, SECOND, side_by_side
from evsim.types import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(history: Sequence[Mapping[str, float]]) -> Figure:
    """Accuracies and loss after each epoch."""
    fig, (left, right) = side_by_side(2, (9.0, 3.4))
    epochs = [row["epoch"] for row in history]
    for key, label, style in (
        ("train_accuracy", "training", {"color": "0.55", "ls": "--"}),
        ("validation_accuracy", "validation", {"color": FIRST}),
        ("test_accuracy", "test", {"color": SECOND}),
    ):
        if key in history[0]:
            left.plot(epochs, [100.0 * row[key] for row in history], marker="o", ms=3, label=label, **style)
    left.set_xlabel("epoch")
    left.set_ylabel("accuracy (%)")
    left.legend(frameon=False, loc="lower right")
    right.plot(epochs, [row["train_loss"] for row in history], color=FIRST, marker="o", ms=3)
    right.set_yscale("log")
    right.set_xlabel("epoch")
    right.set_ylabel("training loss, mean per sample")
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)
    return fig


def weights(matrices: Sequence[Floats]) -> Figure:
    """Distribution of each layer's weights, and the first layer's fields if its inputs form a square."""
    side = int(np.sqrt(matrices[0].shape[0]))
    square = side * side == matrices[0].shape[0]
    fig, axes = side_by_side(len(matrices) + square, (3.6 * (len(matrices) + square), 3.3))
    for k, (ax, w) in enumerate(zip(axes, matrices)):
        ax.hist(w.ravel(), bins=80, color=FIRST)
        ax.set_yscale("log")
        ax.set_xlabel(f"weight, layer {k + 1} ({w.shape[0]} to {w.shape[1]})")
        ax.set_ylabel("synapses")
    if square:
        n = min(6, int(np.sqrt(matrices[0].shape[1])))
        tiles = matrices[0][:, : n * n].T.reshape(n, n, side, side)
        sheet = np.full((n * (side + 1) - 1, n * (side + 1) - 1), np.nan)
        for r in range(n):
            for c in range(n):
                sheet[r * (side + 1) :, c * (side + 1) :][:side, :side] = tiles[r, c]
        limit = float(np.quantile(np.abs(tiles), 0.99))
        image = axes[-1].imshow(sheet, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[-1].set_axis_off()
        axes[-1].set_title(f"input weights of {n * n} hidden neurons", fontsize=9)
        fig.colorbar(image, ax=axes[-1], shrink=0.8)
    return fig


def gradients(pairs: Mapping[tuple[int, str], tuple[Floats, Floats]], *, title: str = "") -> Figure:
    """A rule's gradient over the true one, one panel for each (layer, parameter): (the rule's, the true one), flat.

    The line is equality. Axes are linear near 0 and logarithmic beyond, so that signs show.
    """
    fig, axes = side_by_side(len(pairs), (3.4 * len(pairs), 3.6))
    for ax, ((layer, name), (of_rule, true)) in zip(axes, pairs.items()):
        largest = float(np.abs(np.concatenate([of_rule, true])).max(initial=0.0)) or 1.0
        for axis in (ax.set_xscale, ax.set_yscale):
            axis("symlog", linthresh=1e-3 * largest)
        ax.plot([-largest, largest], [-largest, largest], color="0.7", lw=1, zorder=0)
        ax.plot(true, of_rule, ".", color=FIRST, ms=3, alpha=0.6)
        ax.set_xlabel("true gradient")
        ax.set_ylabel("the rule's")
        ax.set_title(f"layer {layer + 1}, {name}", fontsize=9)
        ticks = [-largest, 0.0, largest]
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(ticks, [f"{t:.1g}" for t in ticks])
            axis.set_minor_locator(_no_ticks())
    fig.suptitle(title, fontsize=10)
    return fig


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()

"""Pictures: spike rasters, voltages, learning curves and weights. Every function returns a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.types import Floats, SpikeTrains

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from evsim.recording import Recording

_SPIKE = "#1f4e79"
_SECOND = "#c55a11"


def raster(
    spikes: Mapping[str, SpikeTrains], t_stop: float, *, title: str = "", highlight: int | None = None
) -> Figure:
    """Spike rasters of several populations above each other, sharing the time axis (ms).

    highlight : neuron of the last population drawn in another colour (for instance the right class)
    """
    heights = [float(np.clip(np.sqrt(s.size), 7.0, 16.0)) for s in spikes.values()]
    fig, axes = _figure(len(spikes), heights, (7.5, 0.9 + 0.22 * sum(heights)))
    for ax, (name, s) in zip(axes, spikes.items()):
        height = float(np.clip(400.0 / s.size, 2.5, 9.0))
        ax.plot(s.times, s.neurons, "|", color=_SPIKE, ms=height, mew=0.8)
        if highlight is not None and ax is axes[-1]:
            times = s.of(highlight)
            ax.plot(times, np.full(times.size, highlight), "|", color=_SECOND, ms=height, mew=1.4)
        ax.set_ylim(-0.7, s.size - 0.3)
        ax.set_ylabel(f"{name}\n{len(s)} spikes", fontsize=9)
        if s.size <= 12:
            ax.set_yticks(range(s.size))
        else:
            ax.set_yticks([0, s.size - 1])
    axes[-1].set_xlim(0.0, t_stop)
    axes[-1].set_xlabel("time (ms)")
    if title:
        axes[0].set_title(title, fontsize=10)
    return fig


def voltage(rec: Recording, population: str, neurons: Sequence[int], *, points: int = 2000) -> Figure:
    """Exact membrane potentials of some neurons, their spikes marked."""
    fig, axes = _figure(len(neurons), [1.0] * len(neurons), (7.5, 0.8 + 1.3 * len(neurons)))
    for ax, n in zip(axes, neurons):
        spikes = rec[population].of(n)
        # Both sides of every spike, so that the reset is drawn as the jump it is.
        grid = np.linspace(0.0, rec.t_stop, points)
        after = np.nextafter(spikes, np.inf)
        times = np.unique(np.concatenate([grid, spikes, after[after <= rec.t_stop]]))
        ax.plot(times, rec.voltage(population, n, times), color=_SPIKE, lw=1.0)
        v_th = np.broadcast_to(rec.network.populations[population].neuron.v_th, rec[population].size)[n]
        ax.axhline(v_th, color="0.6", lw=0.8, ls="--")
        ax.plot(spikes, np.full(spikes.size, v_th), "v", color=_SECOND, ms=5)
        ax.set_ylabel(f"v of {n}")
    axes[-1].set_xlim(0.0, rec.t_stop)
    axes[-1].set_xlabel("time (ms)")
    return fig


def learning_curve(history: Sequence[Mapping[str, float]]) -> Figure:
    """Accuracies and loss after each epoch."""
    fig, (left, right) = _row(2, (9.0, 3.4))
    epochs = [row["epoch"] for row in history]
    for key, label, style in (
        ("train_accuracy", "training", {"color": "0.55", "ls": "--"}),
        ("validation_accuracy", "validation", {"color": _SPIKE}),
        ("test_accuracy", "test", {"color": _SECOND}),
    ):
        if key in history[0]:
            left.plot(epochs, [100.0 * row[key] for row in history], marker="o", ms=3, label=label, **style)
    left.set_xlabel("epoch")
    left.set_ylabel("accuracy (%)")
    left.legend(frameon=False, loc="lower right")
    right.plot(epochs, [row["train_loss"] for row in history], color=_SPIKE, marker="o", ms=3)
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
    fig, axes = _row(len(matrices) + square, (3.6 * (len(matrices) + square), 3.3))
    for k, (ax, w) in enumerate(zip(axes, matrices)):
        ax.hist(w.ravel(), bins=80, color=_SPIKE)
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


def _figure(rows: int, heights: Sequence[float], size: tuple[float, float]) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    fig = Figure(figsize=size, layout="constrained", dpi=130)
    axes = fig.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    return fig, list(axes[:, 0])


def _row(columns: int, size: tuple[float, float]) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    fig = Figure(figsize=size, layout="constrained", dpi=130)
    return fig, list(fig.subplots(1, columns, squeeze=False)[0])

"""Pictures of a network's activity: spike rasters, rates and voltages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evsim.analysis import interval, population_rate
from evsim.checks import number, whole, whole_numbers
from evsim.errors import InputError
from evsim.plot.figures import COLOURS, FIRST, SECOND, stacked
from evsim.spikes import SpikeTrains
from evsim.types import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from evsim.results.recording import Recording


def raster(
    spikes: Mapping[str, SpikeTrains],
    t_stop: float | None = None,
    *,
    t_start: float = 0.0,
    neurons: int | Mapping[str, int | Sequence[int]] = 200,
    title: str = "",
    highlight: int | None = None,
) -> Figure:
    """Spike rasters of several populations above each other, sharing the time axis [t_start, t_stop), ms.

    t_stop : a recording knows its own
    neurons : how many neurons of each population are drawn at most, evenly chosen; or by population, such a number
        or the indices to draw, from below. Populations not named there: at most 200.
    highlight : neuron of the last population drawn in another colour (for instance the right class); it is always
        among those drawn

    Raises
    ------
    ValueError : no population, an empty interval, fewer than one neuron, a population in ``neurons`` that is not in
        ``spikes``.
    IndexError : a neuron that does not exist.
    """
    t_start, t_stop = _shown_interval(spikes, t_start, t_stop)
    by_name = {} if isinstance(neurons, (int, np.integer)) else neurons
    default = neurons if isinstance(neurons, (int, np.integer)) else 200
    if unknown := set(by_name) - set(spikes):
        raise InputError(f"neurons names {sorted(unknown)}, but the populations are {', '.join(spikes)}.")
    last = list(spikes)[-1]
    rows = {
        name: _rows(name, s.size, by_name.get(name, default), highlight if name == last else None)
        for name, s in spikes.items()
    }
    heights = [float(np.clip(np.sqrt(r.size), 7.0, 16.0)) for r in rows.values()]
    fig, axes = stacked(len(spikes), heights, (7.5, 0.9 + 0.22 * sum(heights)))
    for k, (ax, (name, s)) in enumerate(zip(axes, spikes.items())):
        now = slice(*np.searchsorted(s.times, [t_start, t_stop]))
        colour = FIRST if highlight is not None else COLOURS[k % len(COLOURS)]
        size = float(np.clip(14.0 * heights[k] / max(rows[name].size, 1), 2.5, 9.0))
        marked = highlight if name == last else None
        _raster_rows(ax, s.times[now], s.neurons[now], s.size, rows[name], marked, colour, size)
        part = (f"{rows[name].size:,} of ", " in all") if rows[name].size < s.size else ("", "")
        title_of = f"{name}: {part[0]}{s.size:,} neurons, {s.times[now].size:,} spikes{part[1]}"
        ax.set_title(title_of, fontsize=9, loc="left", pad=4)
    axes[-1].set_xlim(t_start, t_stop)
    axes[-1].set_xlabel("time (ms)")
    if title:
        fig.suptitle(title, fontsize=10)
    return fig


def rates(
    spikes: Mapping[str, SpikeTrains],
    t_stop: float | None = None,
    *,
    bin_width: float = 1.0,
    t_start: float = 0.0,
    title: str = "",
) -> Figure:
    """Rate of each population over [t_start, t_stop), ms: spikes per neuron and second in bins of ``bin_width`` ms.

    t_stop : a recording knows its own

    Raises
    ------
    ValueError : no population, an empty interval, a bin_width that is not > 0 ms, or a population without neurons.
    """
    t_start, t_stop = _shown_interval(spikes, t_start, t_stop)
    bin_width = number("bin_width", bin_width, unit="ms", above=0.0)
    fig, (ax,) = stacked(1, [1.0], (7.5, 3.0))
    for k, (name, s) in enumerate(spikes.items()):
        edges, rate = population_rate(s, t_stop, bin_width, t_start)
        mean = np.average(rate, weights=np.diff(edges))
        colour, style = COLOURS[k % len(COLOURS)], {"lw": 1.0, "zorder": 3.0 - 0.1 * k}
        ax.stairs(rate, edges, baseline=None, color=colour, label=f"{name}, mean {mean:.1f} Hz", **style)
    ax.set_xlim(t_start, t_stop)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("time (ms)")
    ax.set_ylabel(f"rate (Hz), bins of {bin_width:g} ms")
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=4, frameon=False, fontsize=9, borderpad=0.2)
    if title:
        ax.set_title(title, fontsize=10, loc="left")
    return fig


def voltage(rec: Recording, population: str, neurons: Sequence[int], *, points: int = 2000) -> Figure:
    """Exact membrane potentials of some neurons, their spikes marked where they reach the threshold.

    Up to 10 spikes of a neuron are labelled with their time t*, ms.

    Raises
    ------
    ValueError : no neuron to draw, fewer than two points, a recording that has no voltages (see ``Recording.voltage``)
    IndexError : a neuron that does not exist
    """
    neurons = whole_numbers("neurons", neurons).ravel().tolist()
    if not neurons:
        raise InputError("at least one neuron must be drawn; neurons lists none.")
    points = whole("points", points, low=2)
    fig, axes = stacked(len(neurons), [1.0] * len(neurons), (7.5, 0.8 + 1.3 * len(neurons)))
    for ax, n in zip(axes, neurons):
        spikes = rec[population].of(n)
        # Both sides of every spike, so that the reset is drawn as the jump it is.
        grid = np.linspace(0.0, rec.t_stop, points)
        after = np.nextafter(spikes, np.inf)
        times = np.unique(np.concatenate([grid, spikes, after[after <= rec.t_stop]]))
        ax.plot(times, rec.voltage(population, n, times), color=FIRST, lw=1.0)
        v_th = np.broadcast_to(rec.network.populations[population].neuron.v_th, rec[population].size)[n]
        ax.axhline(v_th, color="0.6", lw=0.8, ls="--")
        ax.plot(spikes, np.full(spikes.size, v_th), "v", color=SECOND, ms=5)
        if 0 < spikes.size <= 10:
            _label_times(ax, spikes, float(v_th), rec.t_stop)
        ax.set_ylabel(f"v of {n}")
    axes[-1].set_xlim(0.0, rec.t_stop)
    axes[-1].set_xlabel("time (ms)")
    return fig


def _rows(name: str, size: int, wanted: int | Sequence[int], always: int | None) -> NDArray[np.int64]:
    """Neurons to draw of a population, from below; ``always`` is put in place of the one next to it."""
    if isinstance(wanted, (int, np.integer)):
        if wanted < 1:
            raise InputError(f"at least one neuron of {name!r} must be drawn; neurons asks for {wanted}.")
        chosen = np.linspace(0, size - 1, min(size, wanted)).round().astype(np.int64)
        if always is not None and chosen.size and always not in chosen:
            chosen[np.argmin(np.abs(chosen - always))] = always
        return chosen
    chosen = whole_numbers(f"neurons of {name!r}", wanted).astype(np.int64).ravel()
    if always is not None and always not in chosen:
        chosen = np.append(chosen, always)
    if chosen.size == 0:
        raise InputError(f"at least one neuron of {name!r} must be drawn; neurons lists none.")
    if chosen.min() < 0 or chosen.max() >= size:
        bad = chosen[(chosen < 0) | (chosen >= size)][0]
        raise IndexError(f"neuron {bad} of {name!r} asked for, but there are {size} (0 ... {size - 1}).")
    return chosen


def _raster_rows(
    ax: Any,
    times: Floats,
    neurons: Ints,
    size: int,
    shown: NDArray[np.int64],
    highlight: int | None,
    colour: str,
    height: float,
) -> None:
    """Draw the spikes of the neurons ``shown`` in rows from below; ``height`` of a mark in points."""
    row_of = np.full(size, -1)
    row_of[shown] = np.arange(shown.size)
    rows = row_of[neurons]
    times, rows = times[rows >= 0], rows[rows >= 0]
    ax.plot(times, rows, "|", color=colour, ms=height, mew=0.8 if times.size < 3000 else 0.55)
    if highlight is not None:
        marked = rows == row_of[highlight]
        ax.plot(times[marked], rows[marked], "|", color=SECOND, ms=height, mew=1.4)
    ax.set_ylim(-0.7, shown.size - 0.3)
    ticks = np.arange(shown.size) if shown.size <= 12 else np.array([0, shown.size - 1])
    ax.set_yticks(ticks, [str(n) for n in shown[ticks]])
    ax.set_ylabel("neuron", fontsize=9)


def _label_times(ax: Any, spikes: Floats, v_th: float, t_stop: float) -> None:
    """Spike times above their marks, on the lowest of three lines where the label finds room."""
    free = [-np.inf] * 3
    for t in spikes:
        text = f"{t:.4f}"
        half = 0.0062 * len(text) * t_stop
        centre = float(np.clip(t, half, t_stop - half))
        line = next((k for k in range(3) if free[k] <= centre - half), None)
        if line is None:
            continue
        free[line] = centre + half
        ax.annotate(
            text, (centre, v_th), xytext=(0, 5 + 8 * line), textcoords="offset points",
            ha="center", va="bottom", fontsize=7, color=SECOND,
        )  # fmt: skip
    used = sum(f > -np.inf for f in free)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + (0.1 + 0.11 * used) * (high - low))
    ax.annotate(
        "t* (ms)", (1.0, v_th), xycoords=("axes fraction", "data"), xytext=(4, 5), textcoords="offset points",
        va="bottom", fontsize=7, color=SECOND,
    )  # fmt: skip


def _shown_interval(spikes: Mapping[str, SpikeTrains], t_start: float, t_stop: float | None) -> tuple[float, float]:
    if not isinstance(spikes, Mapping) or not all(isinstance(s, SpikeTrains) for s in spikes.values()):
        raise InputError(f"spikes must be a recording, or {{population: SpikeTrains}}; got {type(spikes).__name__}.")
    if not spikes:
        raise InputError("there is no population to draw; give {population: SpikeTrains} or a recording.")
    end = getattr(spikes, "t_stop", None) if t_stop is None else t_stop
    if end is None:
        raise InputError("t_stop is needed, the end of the time axis in ms; only a recording knows its own.")
    return interval(t_start, end)

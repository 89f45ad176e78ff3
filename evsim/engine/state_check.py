"""Checks of saved numbers before a kernel sees them: a state comes from a file, and kernels check no index.

Each function returns the value that it was given, as its own copy where it is an array, or raises ValueError with the
place in the state.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from evsim.errors import InputError


def refuse(where: str, what: str) -> NoReturn:
    """Raise the ValueError of a state that no simulation has written."""
    raise InputError(f"this state is damaged: {where} {what}. Use a copy of it, or start anew.")


def table(value: Any, where: str, *keys: str) -> dict[str, Any]:
    """A dict that has at least these keys."""
    if not isinstance(value, dict):
        refuse(where, f"must be a dict; it is a {type(value).__name__}")
    if missing := [key for key in keys if key not in value]:
        refuse(where, f"lacks {', '.join(missing)}")
    return value


def sequence(value: Any, where: str, size: int | None = None) -> list[Any]:
    """A list or tuple, of ``size`` entries unless that is None."""
    if not isinstance(value, (list, tuple)):
        refuse(where, f"must be a list; it is a {type(value).__name__}")
    if size is not None and len(value) != size:
        refuse(where, f"must have {size} entries; it has {len(value)}")
    return list(value)


def integer(value: Any, where: str, low: int = 0, high: int = 2**62) -> int:
    """An integer within [low, high]."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        refuse(where, f"must be an integer in {low} ... {high}; it is {value!r}")
    return int(value)


def number(value: Any, where: str, low: float = -math.inf) -> float:
    """A finite float >= low."""
    if not isinstance(value, (float, np.floating)) or not math.isfinite(value) or value < low:
        refuse(where, f"must be a finite number >= {low}; it is {value!r}")
    return float(value)


def array(
    value: Any, where: str, dtype: Any, shape: tuple[int, ...] | None = None, low: float = -math.inf,
    high: float = math.inf, *, infinite: bool = False,
) -> np.ndarray:  # fmt: skip
    """A contiguous array of exactly this type and shape (None: one axis), all of it within [low, high].

    infinite : inf is allowed; NaN never is
    """
    dtype = np.dtype(dtype)
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        refuse(where, f"must be an array of {dtype}; it is {getattr(value, 'dtype', type(value).__name__)}")
    if value.ndim != 1 if shape is None else value.shape != shape:
        refuse(where, f"must have the shape {shape or '(n,)'}; it has {value.shape}")
    if value.size:
        if dtype.kind == "f" and np.any(np.isnan(value) if infinite else ~np.isfinite(value)):
            refuse(where, "holds NaN" if infinite else "holds NaN or infinity")
        if dtype.kind != "b" and (value.min() < low or value.max() > high):
            refuse(where, f"reaches from {value.min()} to {value.max()}, allowed is {low} ... {high}")
    return np.array(value, order="C")


def like(value: Any, where: str, model: np.ndarray, **limits: Any) -> np.ndarray:
    """An array of the type and shape of ``model``."""
    return array(value, where, model.dtype, model.shape, **limits)


def sorted_times(times: np.ndarray, where: str) -> None:
    """Times that never decrease."""
    if np.any(times[1:] < times[:-1]):
        refuse(where, "must not decrease")


def spikes(value: Any, where: str, types: tuple[Any, ...], sources: int) -> list[np.ndarray]:
    """Arrays of equal length: times, ms, source numbers below ``sources``, and whatever else ``types`` says."""
    parts = sequence(value, where, len(types))
    out = [array(parts[0], f"{where}/0", types[0]), array(parts[1], f"{where}/1", types[1], None, 0, sources - 1)]
    out += [array(p, f"{where}/{k}", t) for k, (p, t) in enumerate(zip(parts[2:], types[2:]), start=2)]
    if len({a.size for a in out}) > 1:
        refuse(where, f"must hold arrays of equal length; they have {', '.join(str(a.size) for a in out)}")
    return out


def roomy(a: np.ndarray, room: int = 1024) -> np.ndarray:
    """The array with zeros after it, so that there is room to grow into."""
    return np.concatenate([a, np.zeros(room, a.dtype)])


def checked_progress(state: Any, n_neurons: int) -> tuple[float, list[list[np.ndarray]], tuple[float, int, int]]:
    """Of the state of a simulation: time reached, ms, spikes that no recording has returned, and since when.

    Raises ValueError : not the state of a simulation.
    """
    state = table(state, "state", "time", "emitted", "since", "engine")
    time = number(state["time"], "time", 0.0)
    types = (np.float64, np.int32, np.float64)
    emitted = [
        spikes(part, f"emitted/{k}", types, n_neurons) for k, part in enumerate(sequence(state["emitted"], "emitted"))
    ]
    since = sequence(state["since"], "since", 3)
    start = number(since[0], "since/0", 0.0)
    if start > time:
        refuse("since/0", f"lies after {time} ms, which is reached")
    return time, emitted, (start, integer(since[1], "since/1"), integer(since[2], "since/2"))


def checked_cells(drawn: Any, where: str, time: float, c: float, needed: bool) -> int:
    """Number of cells of c ms whose drives have been drawn; needed : those before ``time`` ms must have been."""
    last = int(np.ceil(time / c))
    return integer(drawn, where, max(0, last - 1) if needed else 0, last + 2)

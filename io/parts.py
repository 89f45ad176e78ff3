"""Spikes of a running simulation, saved part by part: ``spikes/000001.h5``, ... and at the end one ``run.h5``.

A part holds the spikes of [start, stop) ms of one run. It is written before the state that continues at ``stop``, so
whatever is killed at any moment, run.h5 and the parts reach at least as far as the state; what lies beyond the state
belongs to nothing and is left out. Saving a part costs what is new in it, not what came before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from evsim.errors import RunFileError
from evsim.io.runs import Recorded, check_same_run, load_recording, save_recording
from evsim.spikes import SpikeTrains

PARTS = "spikes"
"""Folder of the parts, beside run.h5."""


def save_part(
    folder: str | os.PathLike[str],
    number: int,
    spikes: Mapping[str, SpikeTrains],
    start: float,
    stop: float,
    run_id: str,
) -> None:
    """Save the spikes of [start, stop) ms as part ``number`` (from 1) of a run in ``folder``.

    run_id : see ``runs.run_id``; parts of another run are never joined with it

    Raises OSError : the file cannot be written.
    """
    parts = Path(folder) / PARTS
    parts.mkdir(exist_ok=True)
    save_recording(parts / f"{number:06d}.h5", spikes, stop, {"id": run_id, "start": start})


def load_parts(folder: str | os.PathLike[str], stop: float, meta: Mapping[str, Any]) -> dict[str, SpikeTrains]:
    """Spikes of [0, stop) ms of a run, from run.h5 and the parts that follow it.

    meta : of the run's state; run.h5 and parts of another run are not taken

    Raises RunFileError : they do not reach ``stop``, are damaged, or belong to another run.
    """
    whole = Path(folder) / "run.h5"
    recorded: list[Recorded] = [load_recording(whole)] if whole.exists() else []
    if recorded:
        check_same_run(whole, recorded[0].meta, meta)
    reached = recorded[0].t_stop if recorded else 0.0
    for path in sorted((Path(folder) / PARTS).glob("[0-9]*.h5")):
        if reached >= stop:
            break
        part = load_recording(path)
        if part.meta.get("id") != meta.get("id") or part.t_stop > stop:
            break
        if part.t_stop > reached:
            if part.meta.get("start") != reached:
                break
            recorded.append(part)
            reached = part.t_stop
    if not recorded or reached < stop:
        raise RunFileError(
            f"{os.fspath(folder)} has a state at {stop:g} ms, but its spikes end at {reached:g} ms. Use a copy, or "
            "start again with --overwrite."
        )
    return {name: _joined([part.spikes[name] for part in recorded], stop) for name in recorded[0].spikes}


def join_parts(
    folder: str | os.PathLike[str], stop: float, meta: dict[str, Any], state_meta: Mapping[str, Any] | None = None
) -> dict[str, SpikeTrains]:
    """Make run.h5 of all spikes of [0, stop) ms, remove the parts, and return the spikes.

    meta : saved with them; state_meta : of the state from which the run was continued, if it was

    Raises RunFileError : see ``load_parts``.
    """
    spikes = load_parts(folder, stop, meta if state_meta is None else state_meta)
    save_recording(Path(folder) / "run.h5", spikes, stop, meta)
    remove_parts(folder)
    return spikes


def remove_parts(folder: str | os.PathLike[str]) -> None:
    """Remove the parts, the last one first, so that those that are left still follow each other; then what a kill left
    of one that was being written."""
    parts = Path(folder) / PARTS
    for path in [*sorted(parts.glob("[0-9]*.h5"), reverse=True), *parts.glob(".evsim-*.tmp")]:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        parts.rmdir()


def _joined(trains: list[SpikeTrains], stop: float) -> SpikeTrains:
    times = np.concatenate([s.times for s in trains])
    n = int(np.searchsorted(times, stop))
    return SpikeTrains(times[:n], np.concatenate([s.neurons for s in trains])[:n], trains[0].size)

"""What a run leaves behind: recordings, checkpoints and states (HDF5), metrics (CSV) and a summary (JSON).

Every file is replaced whole or not at all (see `atomic`), so that a run can be stopped at any moment.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.errors import DataError, RunFileError
from evsim.io.atomic import write_text
from evsim.io.hdf5 import read_tree, write_tree
from evsim.spikes import SpikeTrains

RUN_KEYS = ("weights", "optimiser", "random", "parameters", "versions", "seed", "epoch")
"""What a run must hold to be resumed with the same bits."""

STATE_KEYS = ("time", "seed", "driver", "synapses", "network", "emitted", "since", "engine")
"""What the state of a simulation must hold to be continued."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recording from a file.

    spikes : spike trains of each recorded population, by its name
    t_stop : float, ms, end of the simulation (it covers [0, t_stop))
    meta : whatever was saved with it (seed, parameters, versions ...)
    """

    spikes: dict[str, SpikeTrains]
    t_stop: float
    meta: dict[str, Any]


def save_recording(
    path: str | os.PathLike[str], spikes: Mapping[str, SpikeTrains], t_stop: float, meta: dict[str, Any]
) -> None:
    """Save exact spike times, ms, as HDF5: ``spikes/NAME/times``, ``.../neurons``, ``.../size``.

    Parameters
    ----------
    path : file to write; its folder must exist
    spikes : spike trains by the name of the population
    t_stop : ms, end of the simulation, finite and >= 0
    meta : tree of plain values, see `hdf5`

    Raises
    ------
    ValueError : t_stop is not finite or negative.
    TypeError : ``meta`` holds a value that cannot be saved exactly.
    OSError : the file cannot be written; an earlier one is untouched.
    """
    if not (math.isfinite(t_stop) and t_stop >= 0):
        raise ValueError(f"t_stop must be finite and >= 0 ms; got {t_stop!r}.")
    trains = {name: {"times": s.times, "neurons": s.neurons, "size": s.size} for name, s in spikes.items()}
    write_tree(path, {"t_stop": float(t_stop), "spikes": trains, "meta": meta}, "recording")


def load_recording(path: str | os.PathLike[str]) -> Recorded:
    """Read what `save_recording` saved: the same times, bit for bit, in the same order.

    Raises
    ------
    FileNotFoundError : no such file.
    RunFileError : not a complete recording of evsim, or its contents contradict each other.
    """
    tree = read_tree(path, "recording")
    _require(path, tree, ("t_stop", "spikes", "meta"), "recording")
    try:
        spikes = {
            name: SpikeTrains(train["times"], train["neurons"], train["size"])
            for name, train in tree["spikes"].items()
        }
        return Recorded(spikes, float(tree["t_stop"]), tree["meta"])
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise RunFileError(
            f"{os.fspath(path)} does not hold valid spike trains: {failure!r}. "
            f"Use a copy of it, or make it again."
        ) from failure


def save_run(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Save the state of a training run, from which it can be resumed with the same bits.

    Parameters
    ----------
    path : file to write; its folder must exist
    state : tree of plain values (see `hdf5`) with at least the keys `RUN_KEYS`

    Raises
    ------
    ValueError : one of `RUN_KEYS` is missing.
    TypeError : a value that cannot be saved exactly.
    OSError : the file cannot be written; an earlier one is untouched.
    """
    missing = [key for key in RUN_KEYS if key not in state]
    if missing:
        raise ValueError(f"a run cannot be resumed without {', '.join(missing)}; add this to the state.")
    write_tree(path, state, "run")


def load_run(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the state that `save_run` saved.

    Raises
    ------
    FileNotFoundError : no such file.
    RunFileError : not a complete run of evsim.
    """
    state = read_tree(path, "run")
    _require(path, state, RUN_KEYS, "run")
    return state


def save_state(path: str | os.PathLike[str], state: dict[str, Any], meta: dict[str, Any]) -> None:
    """Save where a simulation stands, so that it can go on with the same bits.

    Parameters
    ----------
    path : file to write; its folder must exist
    state : what ``Simulation.state()`` gave
    meta : tree of plain values that tells which network it belongs to, see `hdf5`

    Raises
    ------
    ValueError : ``state`` is not the state of a simulation.
    TypeError : a value that cannot be saved exactly.
    OSError : the file cannot be written; an earlier one is untouched.
    """
    missing = [key for key in STATE_KEYS if key not in state]
    if missing:
        raise ValueError(f"a simulation cannot go on without {', '.join(missing)}; give all of Simulation.state().")
    write_tree(path, {"state": state, "meta": meta}, "state")


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_state` saved: the state, for ``Simulation(..., state=state)``, and the meta.

    Raises
    ------
    FileNotFoundError : no such file.
    RunFileError : not a complete state of evsim.
    """
    tree = read_tree(path, "state")
    _require(path, tree, ("state", "meta"), "state")
    _require(path, tree["state"], STATE_KEYS, "state")
    return tree["state"], tree["meta"]


def run_id(*what: Any) -> str:
    """A name of 16 hex digits for the run that ``what`` (plain values: settings, versions) determines.

    The files of a run all carry it, so that those of two runs in one folder are not taken for one. Equal settings have
    equal names: their files are the same, bit for bit.
    """
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def check_same_run(recording: str | os.PathLike[str], meta: Mapping[str, Any], state_meta: Mapping[str, Any]) -> None:
    """Check that a recording and a state are of one run: by ``id``, in older files by the settings under ``run``.

    recording : the file, for the message; meta, state_meta : the meta of both files

    Raises RunFileError : they are of two runs, as when a new run was killed before it had saved its first state.
    """
    key = "id" if "id" in meta or "id" in state_meta else "run"
    if meta.get(key) != state_meta.get(key):
        raise RunFileError(
            f"{os.fspath(recording)} and the state beside it are not of the same run: a new run was stopped before its "
            "first state was saved. Leave --resume out to start anew, or give another --out."
        )


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write ``obj`` as indented JSON; numpy scalars and arrays become numbers and lists.

    Raises
    ------
    ValueError : NaN or infinity, which JSON does not have; use None.
    TypeError : a value that has no JSON form.
    OSError : the file cannot be written; an earlier one is untouched.
    """
    try:
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError as failure:
        raise ValueError(f"{os.fspath(path)}: {failure}. JSON has no NaN or infinity; use None.") from failure
    write_text(path, text + "\n")


def write_csv(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` as CSV with a header; floats with all their digits.

    The columns are the keys in the order in which they first occur; a row without one has an empty cell.

    Raises
    ------
    OSError : the file cannot be written; an earlier one is untouched.
    """
    plain_rows = [{key: _cell(value) for key, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(key for row in plain_rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        writer.writeheader()
    writer.writerows(plain_rows)
    write_text(path, text.getvalue())


def append_csv(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Add ``rows`` to the CSV file ``path``, which is made if there is none; what it holds stays as it is.

    New columns are added at the right, with empty cells in the earlier rows.

    Raises
    ------
    DataError : the file that is there is not a table with a header.
    OSError : the file cannot be read or written; an earlier one is untouched.
    """
    write_csv(path, [*_read_csv(path), *rows])


def _require(path: str | os.PathLike[str], tree: dict[str, Any], keys: tuple[str, ...], kind: str) -> None:
    missing = [key for key in keys if key not in tree]
    if missing:
        raise RunFileError(
            f"{os.fspath(path)} is not a complete {kind}: it lacks {', '.join(missing)}. "
            f"Use a copy of it, or make it again."
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no JSON form; convert it to numbers, str, list or dict.")


def _cell(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _read_csv(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a CSV file with their cells as text; none if there is no file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file, strict=True))
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error) as failure:
        raise DataError(f"{os.fspath(path)} is not a CSV table: {failure}. Move it away.") from failure
    for number, row in enumerate(rows, start=1):
        # DictReader files surplus cells under None, and fills up a short row with None.
        if None in row or None in row.values():
            raise DataError(
                f"{os.fspath(path)}: row {number} does not fit the header. Repair the file or move it away."
            )
    return rows

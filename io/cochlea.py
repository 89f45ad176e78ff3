"""Recordings of silicon cochleas as SHD and SSC store them, read from one open HDF5 file.

tonic opens the file anew for each recording, leaves it open, and cuts stamps to whole microseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 64
"""Recordings that are read at once where they are asked for in order: a tenth of the time of reading each."""

_EVENT = np.dtype([("t", np.float64), ("x", np.int64), ("p", np.int64)])


def kept_open(base: type) -> type:
    """tonic's class of a cochlea data set, reading the same recordings from a file that stays open until ``close``."""

    class KeptOpen(base):
        _file: Any = None
        _block: tuple[int, Any, Any] = (0, (), ())
        _next: int = -1

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            """Events (t : us, as exact as they are stored, x : channel, p : 1, as tonic has it) and label."""
            import h5py

            if self._file is None:
                file = h5py.File(Path(self.location_on_system, self.data_filename), "r")
                self._file = file, file["spikes/times"], file["spikes/units"], file["labels"][:]
            _, times, units, labels = self._file
            if not self._block[0] <= index < self._block[0] + len(self._block[1]):
                stop = index + (BLOCK if index == self._next else 1)
                self._block = index, times[index:stop], units[index:stop]
            self._next = index + 1
            first, seconds_of, channels_of = self._block
            seconds, channels = seconds_of[index - first], channels_of[index - first]
            events = np.empty(len(seconds), _EVENT)
            events["t"] = seconds.astype(np.float64) * 1e6
            events["x"] = channels
            events["p"] = 1
            return events, int(labels[index])

        def close(self) -> None:
            """Close the file; the next recording opens it again."""
            if self._file is not None:
                self._file[0].close()
                self._file, self._block, self._next = None, (0, (), ()), -1

    return KeptOpen

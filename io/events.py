"""Recordings of event cameras and silicon cochleas, read by tonic: raw time stamps as exact times in ms.

An `EventSet` names a data set of tonic, a `View` says what is kept of a recording, `Recordings` reads those asked for:

    recordings = Recordings(EVENT_SETS["nmnist"], data_dir, "train", View(polarity="merge"))
    batch, labels = recordings.read(range(100))

Input of a batch: (polarity * height + y) * width + x, with the width and height that the view leaves. Nothing is ever
downloaded. docs/events.md explains it, and how another data set is added.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evsim.errors import DataError, InputError
from evsim.io.cochlea import kept_open
from evsim.io.hdf5_foreign import check_foreign
from evsim.spikes import SpikeBatch
from evsim.types import Floats

POLARITIES = ("both", "merge", "on", "off")
_TRANSFORMS = ("transforms", "transform", "target_transform")


@dataclass(frozen=True)
class View:
    """What is kept of a recording; the steps are taken in this order.

    align : count time from the recording's first event, instead of by its stamps
    start, stop : ms; events of [start, stop) are kept and their times counted from start; None: the set's duration
    crop : (left, top, right, bottom) in pixels, right and bottom excluded; None: the whole sensor
    downsample : pixels of each square of this side become one
    polarity : "both" (inputs of their own), "merge" (one input, all events), "on" or "off" (those events only)
    bin : ms; times move to the middle of their bin, as a time grid has it; None: raw
    refractory : ms; an event is left out if its input's last kept one is less than this ago. ``math.inf`` keeps
        only the first event of every input; half a ``bin`` keeps at most one an input and bin. 0: all are kept

    Raises ValueError : a value out of range.
    """

    align: bool = False
    start: float = 0.0
    stop: float | None = None
    crop: tuple[int, int, int, int] | None = None
    downsample: int = 1
    polarity: str = "both"
    bin: float | None = None
    refractory: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise InputError(f"start must be finite and >= 0 ms; got {self.start}.")
        if self.stop is not None and not (math.isfinite(self.stop) and self.stop > self.start):
            raise InputError(f"stop must be finite and after start = {self.start} ms; got {self.stop}.")
        if self.crop is not None and len(self.crop) != 4:
            raise InputError(f"crop must be (left, top, right, bottom); got {self.crop!r}.")
        if not isinstance(self.downsample, int) or self.downsample < 1:
            raise InputError(f"downsample must be an integer >= 1; got {self.downsample!r}.")
        if self.polarity not in POLARITIES:
            raise InputError(f"polarity must be one of {', '.join(POLARITIES)}; got {self.polarity!r}.")
        if self.bin is not None and not (math.isfinite(self.bin) and self.bin > 0):
            raise InputError(f"bin must be finite and > 0 ms, or None for raw times; got {self.bin}.")
        if not self.refractory >= 0:
            raise InputError(f"refractory must be >= 0 ms; got {self.refractory}.")

    def box(self, sensor: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """(left, top, right, bottom). Raises ValueError : ``crop`` is not within the sensor (width, height, ...)."""
        width, height, _ = sensor
        left, top, right, bottom = self.crop or (0, 0, width, height)
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise InputError(
                f"crop must be (left, top, right, bottom) within {width} x {height} pixels; got {self.crop!r}."
            )
        return left, top, right, bottom

    def grid(self, sensor: tuple[int, int, int]) -> tuple[int, int, int]:
        """(width, height, polarities) of what is left of a sensor of that size."""
        left, top, right, bottom = self.box(sensor)
        k = self.downsample
        return -(-(right - left) // k), -(-(bottom - top) // k), sensor[2] if self.polarity == "both" else 1

    def apply(
        self, x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any], sensor: tuple[int, int, int],
        duration: float, ticks: float = 1000.0,
    ) -> tuple[Floats, NDArray[np.int32]]:  # fmt: skip
        """Times (ms) and inputs of one recording, ordered by (time, input).

        x, y, p : (n,) integers: pixel, polarity 0 (off) or 1 (on); in any order. Of a sensor without polarities p
            means nothing, unless the view keeps one of them.
        t : (n,) integers or floats >= 0: time stamps, whose fractions are kept
        duration : ms, where ``stop`` is None; ticks : time stamps per ms

        Raises ValueError : arrays of other shapes or types, pixels off the sensor, other polarities, stamps below 0 or
        that are no numbers
        """
        if len(sensor) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in sensor):
            raise InputError(f"sensor must be (width, height, polarities), integers > 0; got {sensor!r}.")
        for name, value in (("duration", duration), ("ticks", ticks)):
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} must be finite and > 0; got {value}.")
        checked = checked_events(x, y, t, p, sensor, sensor[2] > 1 or self.polarity in ("on", "off"))
        return self.of_checked(*checked, sensor, duration, ticks)

    def of_checked(
        self, x: NDArray[np.int64], y: NDArray[np.int64], t: NDArray[Any], p: NDArray[np.int64],
        sensor: tuple[int, int, int], duration: float, ticks: float,
    ) -> tuple[Floats, NDArray[np.int32]]:  # fmt: skip
        """As ``apply``, of what ``checked_events`` gave."""
        if self.align and t.size:
            t = t - t.min()
        first, last = self.start * ticks, (duration if self.stop is None else self.stop) * ticks
        left, top, right, bottom = self.box(sensor)
        keep = (t >= first) & (t < last)
        if self.crop is not None:
            keep &= (x >= left) & (x < right) & (y >= top) & (y < bottom)
        if self.polarity in ("on", "off"):
            keep &= p == (self.polarity == "on")
        if not keep.all():
            x, y, t, p = x[keep], y[keep], t[keep], p[keep]
        width, height, polarities = self.grid(sensor)
        row = (y - top) // self.downsample + (p * height if polarities > 1 else 0)
        inputs = row * width + (x - left) // self.downsample
        # Subtracted and divided once: of whole stamps the nearest float64 to the exact time.
        times = np.asarray((t - first) / ticks, np.float64)
        if self.bin is not None:
            begin = np.floor((t - first) / (self.bin * ticks)) * self.bin
            times = 0.5 * (begin + np.minimum(begin + self.bin, (last - first) / ticks))
        order = _by_time_and_input(times, inputs)
        times, inputs = times[order], inputs[order]
        if self.refractory > 0:
            chosen = _not_refractory(times, inputs, width * height * polarities, self.refractory)
            times, inputs = times[chosen], inputs[chosen]
        return times, inputs.astype(np.int32)


def checked_events(
    x: ArrayLike, y: ArrayLike, t: ArrayLike, p: ArrayLike, sensor: tuple[int, int, int], has_polarity: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Events as int64, stamps as int64 or float64; without polarity p is 0.

    Raises PolarityError : a polarity that is neither 0 nor 1; ValueError : anything else that is no event of the sensor
    """
    arrays = {"x": np.asarray(x), "y": np.asarray(y), "t": np.asarray(t), "p": np.asarray(p)}
    shapes = {name: a.shape for name, a in arrays.items()}
    if len(set(shapes.values())) != 1 or arrays["t"].ndim != 1:
        raise ValueError(f"x, y, t and p must be 1-D and equally long; got shapes {shapes}")
    stamps = arrays["t"]
    if stamps.size and stamps.dtype.kind not in "iuf":
        raise ValueError(f"time stamps must be numbers; got {stamps.dtype}")
    if stamps.dtype.kind == "f" or not stamps.size:
        stamps = stamps.astype(np.float64)
        if not np.isfinite(stamps).all():
            raise ValueError("it has a time stamp that is no finite number")
    if stamps.size and stamps.min() < 0:
        raise ValueError(f"it has a time stamp below 0, {stamps.min()}; count from the beginning of the recording")
    if stamps.dtype.kind in "iu":
        if stamps.size and stamps.max() > np.iinfo(np.int64).max:
            raise ValueError(f"it has a time stamp beyond 64 bits, {stamps.max()}")
        stamps = stamps.astype(np.int64)
    whole = {name: _whole(name, arrays[name]) for name in ("x", "y")}
    for (name, values), bound in zip(whole.items(), sensor):
        if values.size and not 0 <= values.min() <= values.max() < bound:
            raise ValueError(f"{name} reaches from {values.min()} to {values.max()}, allowed are 0 ... {bound - 1}")
    if not has_polarity:
        return whole["x"], whole["y"], stamps, np.zeros(stamps.size, np.int64)
    polarity = _whole("p", arrays["p"])
    if polarity.size and not 0 <= polarity.min() <= polarity.max() <= 1:
        raise PolarityError(
            f"polarities must be 0 (off) or 1 (on), but p reaches from {polarity.min()} to {polarity.max()}. Map them, "
            "for instance by p = (p > 0).astype(int)"
        )
    return whole["x"], whole["y"], stamps, polarity


def _by_time_and_input(times: Floats, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
    """As ``np.lexsort((inputs, times))``, but quick where the stamps come in order, as they mostly do."""
    order = None if np.all(times[1:] >= times[:-1]) else np.argsort(times, kind="stable")
    t, i = (times, inputs) if order is None else (times[order], inputs[order])
    instant = np.zeros(t.size, np.int64)
    np.cumsum(t[1:] != t[:-1], out=instant[1:])
    within = np.argsort(instant * (int(i.max(initial=0)) + 1) + i, kind="stable")
    return within if order is None else order[within]


class PolarityError(ValueError):
    """Polarities that are not 0 and 1: another convention, not damage."""


def _whole(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    whole = values.dtype.kind in "iub" or (values.dtype.kind == "f" and np.all(values == np.floor(values)))
    if values.size and not whole:
        raise ValueError(f"{name} must hold whole numbers; got dtype {values.dtype}")
    return values.astype(np.int64)


def _not_refractory(times: Floats, inputs: NDArray[np.int64], size: int, refractory: float) -> NDArray[np.bool_]:
    free = [-math.inf] * size
    chosen = np.zeros(times.size, np.bool_)
    for k, (t, i) in enumerate(zip(times.tolist(), inputs.tolist())):
        if t >= free[i]:
            chosen[k] = True
            free[i] = t + refractory
    return chosen


@dataclass(frozen=True)
class EventSet:
    """A data set of tonic, in the few facts that tell it from others.

    tonic : name of the class in ``tonic.datasets``, and of the folder below ``data_dir``
    sensor : (width, height, polarities); a cochlea is (channels, 1, 1)
    classes : number of classes
    duration : ms, length of a sample; later events are left out
    parts : for "train", "test" and where there is one "validation": the files (a pattern below the folder), and the
        arguments of the class that choose them
    order : key by which the files are sorted; None: the order in which they are stored
    label : from tonic's target to 0 ... classes - 1
    event_bytes : bytes of an event in a binary file, so that one that was cut off is seen; None: not checked
    ticks : time stamps per ms
    """

    tonic: str
    sensor: tuple[int, int, int]
    classes: int
    duration: float
    parts: Mapping[str, tuple[str, dict[str, Any]]]
    order: Callable[[Path], Any] | None = None
    label: Callable[[Any], int] = int
    event_bytes: int | None = None
    ticks: float = 1000.0


class Recordings:
    """One part of an event data set. A recording is read, and checked, only when it is asked for.

    Parameters
    ----------
    kind : the data set
    data_dir : folder that holds a folder named ``kind.tonic``, or that folder itself
    part : "train", "test" or "validation"
    view : what is kept of each recording

    Raises
    ------
    DataError : no folder or files, tonic not installed.
    ValueError : the view does not fit the sensor.
    """

    def __init__(
        self, kind: EventSet, data_dir: str | os.PathLike[str] | None, part: str, view: View | None = None
    ) -> None:
        self.kind, self.view = kind, view or View()
        self.grid = self.view.grid(kind.sensor)
        self.size = math.prod(self.grid)
        pattern, arguments = kind.parts[part]
        self._stored = _open(kind, _home(kind, data_dir, pattern), arguments)
        # Applied here, so that their failures are distinct from those of a file's reader.
        self._transforms = tuple(getattr(self._stored, name, None) for name in _TRANSFORMS)
        for name in _TRANSFORMS:
            setattr(self._stored, name, None)
        self.rows = np.arange(len(self._stored))
        if kind.order is not None:
            keys = [kind.order(Path(file)) for file in self._stored.data]
            self.rows = np.array(sorted(self.rows.tolist(), key=keys.__getitem__), np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def duration(self) -> float:
        """Duration of a sample, ms."""
        return (self.kind.duration if self.view.stop is None else self.view.stop) - self.view.start

    def read(self, samples: Iterable[int]) -> tuple[SpikeBatch, NDArray[np.int64]]:
        """The recordings of some ``samples`` (0 ... len - 1) and their labels. One without events is a silent sample.

        Raises DataError : a damaged file, a missing package, a transform or label function that failed; the file is
        named.
        """
        wanted = self.rows[np.asarray(list(samples), np.int64)]
        try:
            read = [self._recording(int(k)) for k in wanted]
        finally:
            if hasattr(self._stored, "close"):
                self._stored.close()
        times = np.concatenate([np.empty(0), *(r[0] for r in read)])
        inputs = np.concatenate([np.empty(0, np.int32), *(r[1] for r in read)])
        offsets = np.append(0, np.cumsum([r[0].size for r in read], dtype=np.int64))
        return SpikeBatch.owning(times, inputs, offsets, self.size), np.array([r[2] for r in read], np.int64)

    def _recording(self, k: int) -> tuple[Floats, NDArray[np.int32], int]:
        kind = self.kind
        files = getattr(self._stored, "data", None)
        file = files[k] if isinstance(files, list) and k < len(files) else f"recording {k} of {self._stored}"
        damaged = f"{file} is damaged or of another kind: {{}}. Copy or download it again."
        try:
            if kind.event_bytes and os.path.getsize(file) % kind.event_bytes:
                raise ValueError(f"its {os.path.getsize(file)} bytes are not a multiple of {kind.event_bytes}")
            events, target = self._stored[k]
        except ImportError as error:
            package = error.name or str(error)
            raise DataError(
                f"tonic reads {file} by the package {package}, which cannot be imported: pip install {package}."
            ) from error
        except Exception as error:  # whatever a reader raises on bytes that it does not expect
            raise DataError(damaged.format(error)) from error
        events, target = self._transformed(file, events, target)
        label = _label(kind, file, target)
        polarities = kind.sensor[2] > 1
        try:
            names = events.dtype.names
            zeros = np.zeros(len(events), np.int64)
            x, y, p = (events[n] if n in names else zeros for n in "xyp")
            needed = polarities or self.view.polarity in ("on", "off")
            checked = checked_events(x, y, events["t"], p, kind.sensor, needed)
        except PolarityError as error:
            raise DataError(f"{file}: {error}, in a transform among the EventSet's arguments.") from error
        except Exception as error:
            raise DataError(damaged.format(error)) from error
        return *self.view.of_checked(*checked, kind.sensor, kind.duration, kind.ticks), label

    def _transformed(self, file: Any, events: Any, target: Any) -> tuple[Any, Any]:
        """What the user's own transforms make of a recording: their errors are not the file's."""
        try:
            both, own, of_target = self._transforms
            events, target = own(events) if own else events, of_target(target) if of_target else target
            return both(events, target) if both else (events, target)
        except Exception as error:
            raise DataError(
                f"the transform given for {self.kind.tonic} failed on {file}: {type(error).__name__}: {error}"
            ) from error


def _label(kind: EventSet, file: Any, target: Any) -> int:
    try:
        label = int(kind.label(target))
    except Exception as error:
        raise DataError(
            f"the label function of {kind.tonic} failed on {file}, whose target is {target!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not 0 <= label < kind.classes:
        raise DataError(
            f"{file} is damaged or of another kind: its label is {label}, allowed are 0 ... {kind.classes - 1}."
        )
    return label


def _home(kind: EventSet, data_dir: str | os.PathLike[str] | None, pattern: str) -> Path:
    """The folder that tonic is to be given, after a look for the files."""
    needed = f"Needed: {Path('DIR', kind.tonic, pattern)}, with DIR named by data_dir (--data-dir)"
    if data_dir is None:
        raise DataError(f"{kind.tonic} is read from files. {needed}.")
    folder = Path(data_dir).expanduser()
    home = folder.absolute().parent if folder.name == kind.tonic else folder
    if next((home / kind.tonic).glob(pattern), None) is None:
        packed = sorted(p.name for place in {folder, home / kind.tonic} for p in place.glob("*.zip"))
        hint = f" Unpack {', '.join(packed[:4])} there." if packed else ""
        raise DataError(f"there is no {home / kind.tonic / pattern}. {needed}; evsim downloads nothing.{hint}")
    return home


def _open(kind: EventSet, home: Path, arguments: dict[str, Any]) -> Any:
    """tonic's data set, kept from downloading and content with a part of the files."""
    try:
        import tonic.datasets
    except ImportError as error:
        raise DataError(
            f"{kind.tonic} is read by tonic, which cannot be imported ({error}): "
            "pip install tonic."
        ) from error
    base = getattr(tonic.datasets, kind.tonic)
    if issubclass(base, (tonic.datasets.SHD, tonic.datasets.SSC)):
        base = kept_open(base)
        for file in sorted((home / kind.tonic).glob("*.h5")):
            check_foreign(file)
    # tonic names the folder after the class, and downloads when fewer files are there than were published.
    offline = type(kind.tonic, (base,), {"_check_exists": lambda self: True})
    try:
        return offline(str(home), **arguments)
    except Exception as error:  # whatever a reader raises on files that it does not expect
        raise DataError(f"{home / kind.tonic} cannot be opened: {error}. Copy or download it again.") from error


_HSD = (700, 1, 1)
EVENT_SETS: dict[str, EventSet] = {
    # Sorted by file name, which is the MNIST index: the first N are those of MNIST.
    "nmnist": EventSet(
        "NMNIST", (34, 34, 2), 10, 340.0,
        {"train": ("Train/*/*.bin", {"train": True}), "test": ("Test/*/*.bin", {"train": False})},
        order=lambda file: file.name, event_bytes=5,
    ),
    # Sorted by person and light, then class.
    "dvs-gesture": EventSet(
        "DVSGesture", (128, 128, 2), 11, 1500.0,
        {"train": ("ibmGestureTrain/*/*.npy", {"train": True}), "test": ("ibmGestureTest/*/*.npy", {"train": False})},
        order=lambda file: (file.parent.name, int(file.stem)),
    ),
    "shd": EventSet(
        "SHD", _HSD, 20, 1400.0, {"train": ("shd_train.h5", {"train": True}), "test": ("shd_test.h5", {"train": False})}
    ),
    "ssc": EventSet(
        "SSC", _HSD, 35, 1000.0,
        {part: (f"ssc_{split}.h5", {"split": split})
         for part, split in (("train", "train"), ("validation", "valid"), ("test", "test"))},
    ),
}  # fmt: skip

"""Labelled data sets by name: values ready for an encoder, or spikes.

A new data set is one loader function that returns a `Source`, and one line in `LOADERS`. Those arguments of the loader
that have a default are the data set's parameters. Every loader gives its samples in one fixed order; a part of a data
set (``train_size``, ``test_size``) is its first N:

- ``digits``: the 1797 8x8 digits that ship with scikit-learn, shuffled and split 80/20 with equal shares of
  the classes by ``train_test_split(test_size=0.2, stratify=y, random_state=0)``; 1437 for training, 360
  for test.
- ``mnist``, ``fashion-mnist``: the order of the published files; 60,000 for training, 10,000 for test.
- ``yin-yang``: the published 5000 training, 1000 validation and 1000 test points, by formula.
- ``randman``, ``temporal-xor``, ``spike-patterns``: spikes by formula (`formula.py`); of each class the last
  fifth is for test.
- ``nmnist``, ``dvs-gesture``, ``shd``, ``ssc``: recorded events (`events.py`), sorted by MNIST index; by person, light
  and class; as stored. Only the recordings asked for are read.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evsim.errors import DataError, InputError
from evsim.io import formula
from evsim.io.events import EVENT_SETS, EventSet, Recordings, View
from evsim.io.idx import read_idx
from evsim.spikes import SpikeBatch

Samples: TypeAlias = NDArray[Any] | SpikeBatch

DIGITS_RANDOM_STATE = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and labels.

    name : as asked for
    x_train, x_test : values to be encoded, (n, features) float32 or float64 in [0, 1], or a SpikeBatch of n samples
    y_train, y_test : (n,) int64, 0 <= label < n_classes
    n_classes : number of classes
    x_validation, y_validation : likewise, where the data set comes with them, else None
    duration : of each sample, ms, where the samples are spikes; else None
    targets : wanted trains of the output neurons, sample c for class c, where the data set has them; else None
    grid : (width, height, channels) of the inputs, where they are pixels; else None
    """

    name: str
    x_train: Samples
    y_train: NDArray[np.int64]
    x_test: Samples
    y_test: NDArray[np.int64]
    n_classes: int
    x_validation: Samples | None = None
    y_validation: NDArray[np.int64] | None = None
    duration: float | None = None
    targets: SpikeBatch | None = None
    grid: tuple[int, int, int] | None = None

    @property
    def features(self) -> int:
        """Number of inputs."""
        return _features(self.x_train)


@dataclass(frozen=True)
class Request:
    """What a loader is given. It may return more samples than are asked for; they are left out then.

    data_dir : folder of files, or None
    train_size, test_size : number of samples asked for, None: all
    """

    data_dir: Path | None = None
    train_size: int | None = None
    test_size: int | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader returns: all samples as they are stored, in their fixed order.

    x_train, x_test : (n, ...) numbers in [0, full_scale], axes after the first are flattened; or a SpikeBatch
    y_train, y_test : (n,) integers
    full_scale : the stored number that means 1; the numbers are scaled to float32. None: they are taken as they are
    n_classes : number of classes
    x_validation, y_validation, duration, targets, grid : as in Dataset
    """

    x_train: Samples
    y_train: NDArray[Any]
    x_test: Samples
    y_test: NDArray[Any]
    full_scale: float | None
    n_classes: int
    x_validation: Samples | None = None
    y_validation: NDArray[Any] | None = None
    duration: float | None = None
    targets: SpikeBatch | None = None
    grid: tuple[int, int, int] | None = None


def load_dataset(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    **parameters: Any,
) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : "digits", "mnist", "fashion-mnist", "yin-yang", "randman", "temporal-xor", "spike-patterns", "nmnist",
        "dvs-gesture", "shd" or "ssc"
    data_dir : folder with the files of the idx data sets. They are looked for in
        ``data_dir/NAME``, ``data_dir/MNIST/raw`` (or ``data_dir/FashionMNIST/raw``) and ``data_dir`` itself.
        Of recorded events (the last four), a folder that holds tonic's: ``data_dir/NMNIST/Train`` ...
    train_size, test_size : take only the first N samples of the fixed order; None takes all
    parameters : by keyword: of spikes by formula as the functions of ``evsim.io.formula`` name and explain them; of
        recorded events as in ``evsim.io.events.View``

    Raises
    ------
    DataError : unknown name or parameter, files missing or damaged, more samples asked for than there are.
    ValueError : a size below 1, a parameter out of its range.
    """
    known = parameters_of(name)
    unknown = [key for key in parameters if key not in known]
    if unknown:
        takes = f"It takes {', '.join(known)}" if known else "It takes none"
        raise DataError(f"{name} has no parameter {', '.join(unknown)}. {takes}.")
    for part, size in (("train", train_size), ("test", test_size)):
        if size is not None and size < 1:
            raise InputError(f"{part}_size must be at least 1; got {size}.")
    folder = None if data_dir is None else Path(data_dir).expanduser()
    source = LOADERS[name](Request(folder, train_size, test_size), **parameters)
    x_train, y_train = _part(name, "train", source.x_train, source.y_train, train_size, source)
    x_test, y_test = _part(name, "test", source.x_test, source.y_test, test_size, source)
    if _features(x_train) != _features(x_test):
        raise DataError(
            f"{name}: training samples have {_features(x_train)} features, test samples {_features(x_test)}; "
            f"the files do not belong together."
        )
    held: tuple[Samples | None, NDArray[np.int64] | None] = (None, None)
    if source.x_validation is not None and source.y_validation is not None:
        held = _part(name, "validation", source.x_validation, source.y_validation, None, source)
    return Dataset(
        name, x_train, y_train, x_test, y_test, source.n_classes, *held, source.duration, source.targets, source.grid
    )  # fmt: skip


def parameters_of(name: str) -> dict[str, Any]:
    """The parameters that a data set takes, and their defaults. Raises DataError : unknown name."""
    if name not in LOADERS:
        raise DataError(f"there is no data set {name!r}. Known: {', '.join(sorted(LOADERS))}.")
    arguments = inspect.signature(LOADERS[name]).parameters.values()
    return {a.name: a.default for a in arguments if a.default is not inspect.Parameter.empty}


def _features(x: Samples) -> int:
    return int(x.size if isinstance(x, SpikeBatch) else x.shape[1])


def _part(
    name: str, part: str, x: Samples, y: NDArray[Any], size: int | None, source: Source
) -> tuple[Samples, NDArray[np.int64]]:
    """The first ``size`` samples of one part, checked, and numbers scaled to [0, 1]."""
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(
            f"{name}: {len(x)} {part} samples, but labels of shape {y.shape}; these do not belong together."
        )
    if y.size and not (np.issubdtype(y.dtype, np.integer) and 0 <= y.min() and y.max() < source.n_classes):
        raise DataError(
            f"{name}: {part} labels must be integers 0 ... {source.n_classes - 1}; the file is damaged."
        )
    n = len(x) if size is None else size
    if n > len(x):
        raise DataError(
            f"{part}_size is {n}, but {name} has {len(x)} {part} samples; ask for at most that many."
        )
    if isinstance(x, SpikeBatch):
        return x.take(np.arange(n)), y[:n].astype(np.int64)
    if source.full_scale is None:
        return x[:n].reshape(n, -1), y[:n].astype(np.int64)
    scaled = x[:n].reshape(n, -1).astype(np.float32) / np.float32(source.full_scale)
    return scaled, y[:n].astype(np.int64)


def _digits(request: Request) -> Source:
    """The digits that ship with scikit-learn (E. Alpaydin, C. Kaynak, 1998), grey levels 0 ... 16."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=DIGITS_RANDOM_STATE
    )
    return Source(x_train, y_train, x_test, y_test, full_scale=16.0, n_classes=10, grid=(8, 8, 1))


def _mnist(request: Request) -> Source:
    """MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), grey levels 0 ... 255."""
    return _idx_source("mnist", "MNIST", request.data_dir)


def _fashion_mnist(request: Request) -> Source:
    """Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017), the same four files as MNIST."""
    return _idx_source("fashion-mnist", "FashionMNIST", request.data_dir)


def _yin_yang(request: Request) -> Source:
    """The three published parts of Yin-Yang (L. Kriener, J. Goeltz, M. A. Petrovici, 2022)."""
    train, validation, test = (formula.yin_yang(n, seed) for n, seed in ((5000, 42), (1000, 41), (1000, 40)))
    return Source(*train, *test, None, 3, *validation)


def _from_formula(make: Callable[..., formula.Spikes]) -> Callable[..., Source]:
    """The loader of spikes by formula, with the parameters of ``make`` (`wraps` hands its signature on)."""

    @wraps(make)
    def load(request: Request, **parameters: Any) -> Source:
        made = make(**parameters)
        rounds = len(made.y) // made.cases
        if rounds < 2:
            raise DataError(f"{make.__name__} must make at least 2 samples of each case, one to train and one to test.")
        n = made.cases * (rounds - max(1, rounds // 5))
        rows = np.arange(len(made.y))
        return Source(
            made.x.take(rows[:n]), made.y[:n], made.x.take(rows[n:]), made.y[n:], None, int(made.y.max()) + 1,
            duration=made.duration, targets=made.targets,
        )  # fmt: skip

    return load


def from_events(kind: EventSet) -> Callable[..., Source]:
    """The loader of recorded events, with the fields of ``View`` as parameters."""

    @wraps(View, updated=())
    def load(request: Request, **view: Any) -> Source:
        asked = {"train": request.train_size, "test": request.test_size}
        parts = {part: Recordings(kind, request.data_dir, part, View(**view)) for part in kind.parts}
        read = {part: r.read(range(min(len(r), asked.get(part) or len(r)))) for part, r in parts.items()}
        x, y = read.get("validation", (None, None))
        one = parts["train"]
        return Source(
            *read["train"], *read["test"], full_scale=None, n_classes=kind.classes, x_validation=x, y_validation=y,
            duration=one.duration, grid=one.grid,
        )  # fmt: skip

    return load


LOADERS: dict[str, Callable[..., Source]] = {
    "digits": _digits,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
    "yin-yang": _yin_yang,
    "randman": _from_formula(formula.randman),
    "temporal-xor": _from_formula(formula.temporal_xor),
    "spike-patterns": _from_formula(formula.spike_patterns),
    **{name: from_events(kind) for name, kind in EVENT_SETS.items()},
}

_IDX_STEMS = {
    "x_train": ("train-images", "idx3-ubyte"),
    "y_train": ("train-labels", "idx1-ubyte"),
    "x_test": ("t10k-images", "idx3-ubyte"),
    "y_test": ("t10k-labels", "idx1-ubyte"),
}


def _idx_source(name: str, torchvision_name: str, data_dir: Path | None) -> Source:
    """Read the four idx files from the first folder that has them all, so that two data sets never mix."""
    needed = ", ".join("-".join(stem) for stem in _IDX_STEMS.values())
    if data_dir is None:
        raise DataError(
            f"{name} is read from files: name their folder with data_dir (--data-dir). "
            f"Needed: {needed}, each plain or .gz."
        )
    if not data_dir.is_dir():
        raise DataError(f"{name}: there is no folder {data_dir}. Needed in it: {needed}, each plain or .gz.")
    # The folders that name the data set come first: MNIST and Fashion-MNIST files have the same names.
    folders = [data_dir / name, data_dir / torchvision_name / "raw", data_dir]
    found = [{role: _idx_file(folder, *stem) for role, stem in _IDX_STEMS.items()} for folder in folders]
    for files in found:
        if None not in files.values():
            read = {role: read_idx(file) for role, file in files.items() if file is not None}
            x = read["x_train"]
            grid = (x.shape[2], x.shape[1], 1) if x.ndim == 3 else None
            return Source(x, read["y_train"], read["x_test"], read["y_test"], 255.0, n_classes=10, grid=grid)
    report = "; ".join(
        f"{folder} lacks {', '.join('-'.join(_IDX_STEMS[role]) for role in files if files[role] is None)}"
        for folder, files in zip(folders, found)
    )
    raise DataError(f"{name}: its four files (each plain or .gz) must stand in one folder. {report}.")


def _idx_file(folder: Path, stem: str, ending: str) -> Path | None:
    """The file under any of its usual names: NAME-idx3-ubyte or NAME.idx3-ubyte, plain or gzipped."""
    for gz, dot in product(("", ".gz"), ("-", ".")):
        file = folder / f"{stem}{dot}{ending}{gz}"
        if file.is_file():
            return file
    return None

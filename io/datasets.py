"""Labelled data sets by name, as arrays ready for an encoder.

A new data set is one loader function that returns a `Source`, and one line in `LOADERS`. Every loader
gives its samples in one fixed order; a part of a data set (``train_size``, ``test_size``) is its first N:

- ``digits``: the 1797 8x8 digits that ship with scikit-learn, shuffled and split 80/20 with equal shares of
  the classes by ``train_test_split(test_size=0.2, stratify=y, random_state=0)``; 1437 for training, 360
  for test.
- ``mnist``, ``fashion-mnist``: the order of the published files; 60,000 for training, 10,000 for test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.errors import DataError

from .idx import read_idx

DIGITS_RANDOM_STATE = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and labels.

    name : as asked for
    x_train, x_test : (n, features) float32 in [0, 1]
    y_train, y_test : (n,) int64, 0 <= label < n_classes
    n_classes : number of classes
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    n_classes: int


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader returns: all samples as they are stored, in their fixed order.

    x_train, x_test : (n, ...) numbers in [0, full_scale]; axes after the first are flattened
    y_train, y_test : (n,) integers
    full_scale : the stored number that means 1
    n_classes : number of classes
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    full_scale: float
    n_classes: int


def load_dataset(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : "digits", "mnist" or "fashion-mnist"
    data_dir : folder with the files; not needed for "digits". The idx data sets are looked for in
        ``data_dir/NAME``, ``data_dir/MNIST/raw`` (or ``data_dir/FashionMNIST/raw``) and ``data_dir`` itself.
    train_size, test_size : take only the first N samples of the fixed order; None takes all

    Raises
    ------
    DataError : unknown name, files missing or damaged, more samples asked for than there are.
    ValueError : a size below 1.
    """
    if name not in LOADERS:
        raise DataError(f"there is no data set {name!r}. Known: {', '.join(sorted(LOADERS))}.")
    source = LOADERS[name](None if data_dir is None else Path(data_dir).expanduser())
    x_train, y_train = _part(name, "train", source.x_train, source.y_train, train_size, source)
    x_test, y_test = _part(name, "test", source.x_test, source.y_test, test_size, source)
    if x_train.shape[1] != x_test.shape[1]:
        raise DataError(
            f"{name}: training samples have {x_train.shape[1]} features, test samples {x_test.shape[1]}; "
            f"the files do not belong together."
        )
    return Dataset(name, x_train, y_train, x_test, y_test, source.n_classes)


def _part(
    name: str, part: str, x: NDArray[Any], y: NDArray[Any], size: int | None, source: Source
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The first ``size`` samples of one part, checked and scaled to [0, 1]."""
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(
            f"{name}: {len(x)} {part} samples, but labels of shape {y.shape}; these do not belong together."
        )
    if y.size and not (np.issubdtype(y.dtype, np.integer) and 0 <= y.min() and y.max() < source.n_classes):
        raise DataError(
            f"{name}: {part} labels must be integers 0 ... {source.n_classes - 1}; the file is damaged."
        )
    n = len(x) if size is None else size
    if n < 1:
        raise ValueError(f"{part}_size must be at least 1; got {n}.")
    if n > len(x):
        raise DataError(
            f"{part}_size is {n}, but {name} has {len(x)} {part} samples; ask for at most that many."
        )
    scaled = x[:n].reshape(n, -1).astype(np.float32) / np.float32(source.full_scale)
    return scaled, y[:n].astype(np.int64)


def _digits(data_dir: Path | None) -> Source:
    """The digits that ship with scikit-learn (E. Alpaydin, C. Kaynak, 1998), grey levels 0 ... 16."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=DIGITS_RANDOM_STATE
    )
    return Source(x_train, y_train, x_test, y_test, full_scale=16.0, n_classes=10)


def _mnist(data_dir: Path | None) -> Source:
    """MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), grey levels 0 ... 255."""
    return _idx_source("mnist", "MNIST", data_dir)


def _fashion_mnist(data_dir: Path | None) -> Source:
    """Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017), the same four files as MNIST."""
    return _idx_source("fashion-mnist", "FashionMNIST", data_dir)


LOADERS: dict[str, Callable[[Path | None], Source]] = {
    "digits": _digits,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
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
            arrays = {role: read_idx(file) for role, file in files.items() if file is not None}
            return Source(**arrays, full_scale=255.0, n_classes=10)
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

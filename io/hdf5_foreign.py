"""HDF5 files of others, looked over before a reader follows them: data of their own, in no absurd amount."""

from __future__ import annotations

import os
from typing import Any

from evsim.errors import DataError

_MOST_PACKED = 1040
"""Bytes that one byte of a compressed file can stand for, at most (deflate)."""


def check_foreign(path: str | os.PathLike[str]) -> None:
    """Look over the groups and data sets of an HDF5 file; no data is read.

    Raises DataError : not HDF5; links, also soft ones, data in other files, an object that is reached twice, or data
        sets that announce more than a file of this size can hold.
    """
    import h5py

    name = os.fspath(path)
    try:
        with h5py.File(name, "r", locking=False) as file:
            _check(file, name, os.path.getsize(name) * _MOST_PACKED)
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as failure:
        raise DataError(f"{name} is damaged or no HDF5 file: {failure}. Copy or download it again.") from failure


def _check(file: Any, name: str, most: int) -> None:
    import h5py

    seen = set()
    waiting = [file]
    while waiting:
        group = waiting.pop()
        for key in group:
            where = f"{name}: {group.name.rstrip('/')}/{key}"
            if group.id.links.get_info(key.encode("utf-8", "surrogateescape")).type != h5py.h5l.TYPE_HARD:
                raise DataError(f"{where} is a link to elsewhere, which evsim does not follow. Use a copy of the data.")
            node = group[key]
            info = h5py.h5o.get_info(node.id)
            if info.addr in seen:
                raise DataError(f"{where} is the same object as another entry of the file. Use a copy of the data.")
            seen.add(info.addr)
            if isinstance(node, h5py.Group):
                waiting.append(node)
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise DataError(f"{where} is stored in another file, which evsim does not read. Use a copy of it.")
                if node.size and node.nbytes > most:
                    raise DataError(f"{where} announces {node.nbytes} bytes, more than a file of this size can hold.")

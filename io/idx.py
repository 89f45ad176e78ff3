"""The idx format of the MNIST family: a big-endian array with a header of a few bytes, often gzipped.

Header: two zero bytes, one byte for the type of number, one for the number of axes, then the length of each
axis as a big-endian 32-bit integer. The numbers follow, last axis fastest. The header is read first; of the rest no
more is unpacked than it announces, so that a small gzip file cannot fill the memory.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from evsim.errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"

_MOST_PACKED = 1040
"""Bytes that one byte of gzip can stand for, at most."""

_MOST_AXES = 8
_PIECE = 1 << 24


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an idx file, gzipped or not (its first bytes tell, not its name).

    Parameters
    ----------
    path : the file; if it is missing, the same name with or without ``.gz`` is tried

    Returns
    -------
    array of the shape and type that the file states, in the machine's byte order, writable

    Raises
    ------
    DataError : the file is missing, not idx, truncated, has bytes too many, or its gzip stream is corrupt.
    """
    file = _find(Path(path))
    n_bytes = file.stat().st_size
    with open(file, "rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            return _read(file, stream, n_bytes, packed)
        except EOFError as failure:
            raise DataError(
                f"{file} is truncated: its gzip stream breaks off after {n_bytes} bytes. Fetch it again."
            ) from failure
        except (gzip.BadGzipFile, zlib.error) as failure:
            raise DataError(f"{file} is a corrupt gzip file: {failure}. Fetch it again.") from failure


def _read(file: Path, stream: IO[bytes], n_bytes: int, packed: bool) -> NDArray[Any]:
    """The array of an open file of ``n_bytes``."""
    dtype, shape, start = _header(file, stream)
    expected = start + math.prod(shape) * dtype.itemsize
    announced = f"its header announces shape {shape} of {dtype.name}, {expected} bytes in all"
    if expected > n_bytes * (_MOST_PACKED if packed else 1):
        there = f"{n_bytes} of gzip" if packed else str(n_bytes)
        raise DataError(f"{file} is truncated: {announced}, but there are {there}. Fetch it again.")
    try:
        array = np.empty(shape, dtype)
    except MemoryError as failure:
        raise DataError(f"{file} does not fit into memory: {announced}.") from failure
    room = array.reshape(-1).view(np.uint8)
    got = 0
    try:
        while got < len(room) and (piece := stream.read(min(len(room) - got, _PIECE))):
            room[got : got + len(piece)] = np.frombuffer(piece, np.uint8)
            got += len(piece)
        more = stream.read(1)
    except EOFError as failure:
        raise DataError(
            f"{file} is truncated: its gzip stream breaks off after {n_bytes} bytes, which unpack to {start + got} "
            f"bytes where {expected} were expected. Fetch it again."
        ) from failure
    if got < len(room):
        raise DataError(f"{file} is truncated: {announced}, but there are {start + got}. Fetch it again.")
    if more:
        there = f"more than {expected}" if packed else str(n_bytes)
        raise DataError(f"{file} has bytes too many: {announced}, but there are {there}. Fetch it again.")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _find(path: Path) -> Path:
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    for candidate in (path, other):
        if candidate.is_file():
            return candidate
    raise DataError(f"no idx file: looked for {path} and {other}. Check the folder.")


def _header(file: Path, stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape, and bytes of the header; the numbers follow in the stream."""
    start = stream.read(4)
    if len(start) < 4:
        raise DataError(f"{file} is truncated: an idx file has at least 4 bytes, but there are {len(start)}.")
    if start[:2] != b"\0\0" or start[2] not in _DTYPES:
        raise DataError(
            f"{file} is not an idx file: it starts with the bytes {start.hex(' ')}, not with 00 00 and a "
            f"type code ({', '.join(f'{code:02x}' for code in _DTYPES)}). Fetch it again."
        )
    axes = start[3]
    if axes > _MOST_AXES:
        raise DataError(f"{file} is damaged: it announces {axes} axes; evsim reads up to {_MOST_AXES}. Fetch it again.")
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise DataError(
            f"{file} is truncated: its header of {axes} axes takes {4 + 4 * axes} bytes, but there are "
            f"{4 + len(lengths)}."
        )
    return np.dtype(_DTYPES[start[2]]), tuple(int(n) for n in np.frombuffer(lengths, ">u4")), 4 + 4 * axes

"""The idx format of the MNIST family: a big-endian array with a header of a few bytes, often gzipped.

Header: two zero bytes, one byte for the type of number, one for the number of axes, then the length of each
axis as a big-endian 32-bit integer. The numbers follow, last axis fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


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
    data = _unpacked(file)
    dtype, shape, start = _header(file, data)
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "has bytes too many"
        raise DataError(
            f"{file} {what}: its header announces shape {shape} of {dtype.name}, {expected} bytes in all, "
            f"but there are {len(data)}. Fetch it again."
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _find(path: Path) -> Path:
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    for candidate in (path, other):
        if candidate.is_file():
            return candidate
    raise DataError(f"no idx file: looked for {path} and {other}. Check the folder.")


def _unpacked(file: Path) -> bytes:
    raw = file.read_bytes()
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError as failure:
        raise DataError(_cut_short(file, raw)) from failure
    except (gzip.BadGzipFile, zlib.error) as failure:
        raise DataError(f"{file} is a corrupt gzip file: {failure}. Fetch it again.") from failure


def _cut_short(file: Path, raw: bytes) -> str:
    """What is wrong with a gzip file that ends too early, with the counts as far as they can be known."""
    try:
        part = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(raw)
        dtype, shape, start = _header(file, part)
    except (zlib.error, DataError):
        return f"{file} is truncated: its gzip stream breaks off after {len(raw)} bytes. Fetch it again."
    expected = start + math.prod(shape) * dtype.itemsize
    return (
        f"{file} is truncated: its gzip stream breaks off after {len(raw)} bytes, which unpack to "
        f"{len(part)} bytes where {expected} were expected. Fetch it again."
    )


def _header(file: Path, data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape, and where the numbers start."""
    if len(data) < 4:
        raise DataError(f"{file} is truncated: an idx file has at least 4 bytes, but there are {len(data)}.")
    if data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise DataError(
            f"{file} is not an idx file: it starts with the bytes {data[:4].hex(' ')}, not with 00 00 and a "
            f"type code ({', '.join(f'{code:02x}' for code in _DTYPES)}). Fetch it again."
        )
    axes = data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise DataError(
            f"{file} is truncated: its header of {axes} axes takes {start} bytes, but there are {len(data)}."
        )
    lengths = np.frombuffer(data, ">u4", count=axes, offset=4)
    return np.dtype(_DTYPES[data[2]]), tuple(int(n) for n in lengths), start

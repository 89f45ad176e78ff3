"""The seal of an evsim file: its first 512 bytes hold the SHA-256 of all that follows.

HDF5 leaves such a *user block* to its user, so h5py and every HDF5 viewer read a sealed file as it is. The seal is
checked before the HDF5 library sees a byte, because that library can crash on damaged files. It tells damage from what
was written; it does not tell who wrote it. To check it by hand: ``head -1 run.h5; tail -c +513 run.h5 | sha256sum``.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

BLOCK = 512
"""Bytes of the seal: the smallest user block that HDF5 allows."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of the HDF5 part of a file."""

_PIECE = 1 << 22


def seal(image: memoryview) -> None:
    """Write the seal of ``image``, a whole HDF5 file with a user block of ``BLOCK`` bytes, into that block."""
    image[:BLOCK] = _block(hashlib.sha256(image[BLOCK:]).hexdigest(), len(image))


def is_sealed(file: BinaryIO) -> bool | None:
    """Whether the bytes of an open file are those that were sealed; None for HDF5 without a seal.

    False is also the answer for what is no HDF5 file at all.
    """
    file.seek(0)
    block = file.read(BLOCK)
    if block.startswith(SIGNATURE):
        return None
    digest, length = hashlib.sha256(), len(block)
    while piece := file.read(_PIECE):
        digest.update(piece)
        length += len(piece)
    return block == _block(digest.hexdigest(), length)


def _block(digest: str, length: int) -> bytes:
    return f"evsim file, {length} bytes, sha256 of those from byte {BLOCK} on: {digest}\n".encode().ljust(BLOCK, b"\0")

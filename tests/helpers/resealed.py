"""Edits of evsim files through h5py, sealed again: what is wrong then is the contents, not the checksum."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from evsim.io.seal import SIGNATURE, seal


def reseal(path: Path) -> None:
    """Seal the file again, as it is now; a file without a user block is left as it is."""
    image = bytearray(path.read_bytes())
    if not image.startswith(SIGNATURE):
        seal(memoryview(image))
        path.write_bytes(image)


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """The file, open for changes."""
    with h5py.File(path, "a") as file:
        yield file
    reseal(path)

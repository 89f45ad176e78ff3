"""Text and TOML files of users: UTF-8 in every locale; what is wrong is a sentence with the file's name and line."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from evsim.errors import DataError
from evsim.types import Floats

_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8; a byte order mark, as Windows writes it, is skipped.

    Raises
    ------
    OSError : the file cannot be read.
    DataError : it is not UTF-8.
    """
    raw = Path(path).read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        kind = _MARKS.get(raw[:2], "another encoding, or no text")
        line = raw.count(b"\n", 0, failure.start) + 1
        raise DataError(
            f"{os.fspath(path)}, line {line}: byte {raw[failure.start]:#04x} is not UTF-8 ({kind}). Save the file as "
            "UTF-8."
        ) from None


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    OSError : the file cannot be read.
    DataError : it is not UTF-8, or not TOML.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise DataError(f"{os.fspath(path)} is not valid TOML for evsim: too many levels of brackets.") from None
    except ValueError as failure:  # TOMLDecodeError, and numbers of thousands of digits
        raise DataError(f"{os.fspath(path)} is not valid TOML: {failure}.") from failure


def ascii_number(cell: str) -> float:
    """A number in ASCII digits. Raises ValueError : anything else, such as 1_000."""
    if not cell.isascii() or "_" in cell:
        raise ValueError(f"{cell[:80]!r} is no number")
    return float(cell)


def ascii_integer(cell: str) -> int:
    """An integer in ASCII digits. Raises ValueError : anything else."""
    if not cell.isascii() or "_" in cell:
        raise ValueError(f"{cell[:80]!r} is no integer")
    return int(cell)


def read_spikes(path: str | os.PathLike[str]) -> tuple[Floats, Floats]:
    """Times, ms, and sources of a text file, in its order. Sources are whole numbers, not further checked.

    Two columns, separated by blanks or a comma; # begins a comment.

    Raises
    ------
    OSError : the file cannot be read.
    DataError : it is not UTF-8, or a line is something else.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = line.split("#")[0].replace(",", " ").split()
        if not cells:
            continue
        try:
            t, source = (ascii_number(cell) for cell in cells)
            if not (math.isfinite(t) and math.isfinite(source)):
                raise ValueError(f"{line!r} is not finite")
        except ValueError as failure:
            raise DataError(
                f"{os.fspath(path)}, line {number}: a finite time (ms) and a source were expected; got "
                f"{line.strip()[:80]!r}."
            ) from failure
        rows.append((t, source))
    times, sources = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return times, sources

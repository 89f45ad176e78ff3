"""Compiled functions of the instruments, kept on the disk as kernels are: in a folder of their own, named after a hash
of the sources here. Compiled anew in every process, the judge would cost ten seconds each time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from evsim._kernels.cache import KernelCache, open_folder
from evsim._kernels.jit import cache_folder, hash_of_sources

_HERE = Path(__file__).resolve().parent


def instruments_folder(sources: Path = _HERE) -> Path:
    """Beside the folder of the kernels; whatever changes that one, as versions and settings of numba, changes this."""
    key = hashlib.sha256(f"{cache_folder()} {hash_of_sources((sources,))}".encode()).hexdigest()
    return Path(cache_folder()).with_name(f"instruments-{key[:16]}")


_FOLDER = open_folder(instruments_folder())


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numbers, without the interpreter lock, and keep what was compiled."""
    made: Any = numba.njit(nogil=True)(function)
    if _FOLDER is not None and made is not function:
        made._cache = KernelCache(function, _FOLDER)
    return made

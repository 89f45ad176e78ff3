"""The one decorator of all kernels, and a kernel cache that cannot be stale.

A compiled function holds the code of the functions that it calls, in other files too. So the cache folder carries a
hash of every kernel source (and of the numba and Python versions): any change makes a new, empty folder. What lies in
it is in `cache`.
"""

import hashlib
import os
import sys
from pathlib import Path

import numba
from numba.core import config
from platformdirs import user_cache_dir

from .cache import KernelCache, open_folder

_HERE = Path(__file__).resolve().parent
_ROOTS = (_HERE, _HERE.parent / "learning" / "_kernels")
"""An installed package holds learning/ inside evsim/; a checkout reaches it through a link."""


def hash_of_sources(roots: tuple[Path, ...] = _ROOTS) -> str:
    """SHA-256 of the names and contents of all Python files in these folders and those below them."""
    digest = hashlib.sha256()
    for number, root in enumerate(roots):
        for path in sorted(root.rglob("*.py")):
            text = path.read_bytes()
            digest.update(f"{number} {path.relative_to(root).as_posix()} {len(text)}\n".encode())
            digest.update(text)
    return digest.hexdigest()


def cache_folder() -> str:
    """Folder of the compiled kernels, named after what they were compiled from."""
    # Numba's own key knows the processor and the signature, not the settings that change the code it makes.
    settings = [getattr(config, name) for name in ("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT")]
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {settings} {hash_of_sources()}".encode())
    return str(cache_root() / f"kernels-{digest.hexdigest()[:16]}")


def cache_root() -> Path:
    """Folder in which the folders of compiled kernels lie: EVSIM_CACHE_DIR, or the user's cache."""
    return Path(os.environ.get("EVSIM_CACHE_DIR") or user_cache_dir("evsim")).expanduser().absolute()


_FOLDER = open_folder(Path(cache_folder()))


def _compiled(**options):
    def decorate(function):
        compiled = numba.njit(nogil=True, error_model="numpy", **options)(function)
        if _FOLDER is not None and compiled is not function:
            compiled._cache = KernelCache(function, _FOLDER)
        return compiled

    return decorate


kernel = _compiled()
"""For loops over arrays: compiled once, cached, run without the interpreter lock."""

leaf = _compiled(_nrt=False)
"""For kernels that allocate nothing: their arrays are not reference counted. Counts are atomic, one for every slice
and every array taken from a tuple; threads that share arrays would wait for each other at each of them."""

formula = _compiled(inline="never", _nrt=False)
"""For scalar formulas; LLVM inlines them into the kernels where that pays."""

stage = _compiled(inline="always", _nrt=False)
"""For the stages of a leaf, which take its tuples of arrays: written into it, for a call would hand over each array in
seven parts."""

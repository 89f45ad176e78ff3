"""The one decorator of all kernels, and a kernel cache that cannot be stale.

Numba's cache watches only the file that defines a function: change a callee in another file and the
cached caller keeps the old code. So the cache folder carries a hash of every kernel source (and of the
numba and Python versions): any change makes a new, empty folder.
"""

import hashlib
import os
import sys
from pathlib import Path

import numba
from numba.core import config
from platformdirs import user_cache_dir

_HERE = Path(__file__).resolve().parent


def _kernel_sources():
    # An installed package holds learning/ inside evsim/; a checkout reaches it through a link.
    return sorted([*_HERE.glob("*.py"), *(_HERE.parent / "learning" / "_kernels").glob("*.py")])


def cache_folder() -> str:
    """Folder of the compiled kernels, named after what they were compiled from."""
    # Numba's own key knows the processor and the signature, not the settings that change the code it makes.
    settings = [getattr(config, name) for name in ("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT")]
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {settings}".encode())
    for path in _kernel_sources():
        digest.update(path.read_bytes())
    root = os.environ.get("EVSIM_CACHE_DIR") or user_cache_dir("evsim")
    return str(Path(root) / f"kernels-{digest.hexdigest()[:16]}")


_CACHE = cache_folder()


def _compiled(**options):
    def decorate(function):
        # The setting is numba's, hence global: put it back, so that a user's own cache stays where it is.
        before = config.CACHE_DIR
        config.CACHE_DIR = _CACHE
        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        finally:
            config.CACHE_DIR = before

    return decorate


kernel = _compiled()
"""For loops over arrays: compiled once, cached, run without the interpreter lock."""

leaf = _compiled(_nrt=False)
"""For kernels that allocate nothing: their arrays are not reference counted. Counts are atomic, one for every slice
and every array taken from a tuple; threads that share arrays would wait for each other at each of them."""

formula = _compiled(inline="never", _nrt=False)
"""For scalar formulas; LLVM inlines them into the kernels where that pays."""

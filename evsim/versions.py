"""Versions on which the bits of a run may depend, and the C library, whose functions differ in last bits too."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

_POINTS = 2**16
"""Of 60,000 arguments 5 to 42 gave another last bit where a processor's fused multiply-add was not used."""


@cache
def c_library() -> str:
    """Hash of many values of exp, expm1, log1p and log, as kernels get them: equal where their bits are."""
    from evsim._kernels.libm import FUNCTIONS, library_values

    values = np.empty((FUNCTIONS, _POINTS))
    # Multiples of an irrational number fill (0, 1) evenly, with all bits in use.
    library_values((np.arange(1, _POINTS + 1) * 0.6180339887498949) % 1.0, values)
    return hashlib.sha256(values.tobytes()).hexdigest()[:12]


def package_versions() -> dict[str, str]:
    """python, evsim, numpy, numba, scipy, h5py, and ``c_library``."""
    return dict(_versions())


def library_note(saved: Mapping[str, object]) -> str:
    """What is to be said where a run is resumed whose ``versions`` name another C library; "" otherwise."""
    if saved.get("c_library", c_library()) == c_library():
        return ""
    return (
        "this run was begun on a machine whose C library gives other last bits of exp, expm1, log1p or log: it goes on "
        "as exactly, but not with the bits of an unbroken run"
    )


def evsim_version() -> str:
    """Version of the installed evsim, or "unknown" when it runs from a folder that was never installed."""
    try:
        return version("evsim")
    except PackageNotFoundError:
        return "unknown"


@cache  # every saved chunk asks, and looking them up takes some ms
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "evsim": evsim_version()}
    for package in ("numpy", "numba", "scipy", "h5py"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {**versions, "c_library": c_library()}

"""Rooms and the version of the package, loaded where they are first asked for: ``import evsim`` stays fast."""

from __future__ import annotations

import importlib
from typing import Any

ROOMS = {
    **{name: f"evsim.{name}" for name in ("analysis", "io", "learning", "plot", "simulate", "testing")},
    "presets": "evsim.networks.literature",
}
"""What ``evsim.NAME`` loads. ``evsim.simulate`` is the module; a network simulates with ``net.simulate``."""


def loaded(name: str) -> Any:
    """``evsim.NAME`` for a room, and ``evsim.__version__``. Raises AttributeError : anything else."""
    if name in ROOMS:
        return importlib.import_module(ROOMS[name])
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("evsim")
        except PackageNotFoundError:
            return "not installed"
    raise AttributeError(f"module 'evsim' has no attribute {name!r}")

"""What is to be said of a saved run that goes on somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evsim.versions import library_note


def resumed_elsewhere(saved: Mapping[str, Any]) -> str:
    """A note where the C library gives other last bits than that of a run; "" where it does not. saved : with the
    ``versions`` of the run"""
    versions = saved.get("versions", {})
    return library_note(versions) if isinstance(versions, Mapping) else ""

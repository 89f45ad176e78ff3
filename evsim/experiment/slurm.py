"""The text of a Slurm job for a command of evsim."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from evsim._kernels.jit import cache_root
from evsim.errors import InputError

SHARED = ("simulate", "train")
"""Commands whose work ranks can share."""


@dataclass(frozen=True)
class Job:
    """What is asked of Slurm. tasks : processes on each node; cpus : of each process; array : jobs of an array, 0: none

    time : as Slurm takes it, "" leaves it to the cluster; more : further options of sbatch, without the dashes
    """

    nodes: int = 1
    tasks: int = 1
    cpus: int = 1
    array: int = 0
    time: str = ""
    cache: str = ""
    more: tuple[str, ...] = ()


def job_text(job: Job, command: Sequence[str]) -> str:
    """A script for sbatch. command : words after ``evsim``

    Raises InputError : several processes for a command that they would not share, an array of what has no parts.
    """
    name, words = command[0], list(command)
    ranks = job.nodes * job.tasks
    by_mpi = "--mpi" in words or "mpi" in words[words.index("--executor") + 1 :][:1] if "--executor" in words else (
        "--mpi" in words
    )
    if ranks > 1 and not by_mpi:
        how = "--mpi" if name in SHARED else "--executor mpi" if name == "compare" else ""
        raise InputError(
            f"{ranks} processes of evsim {name} would each do the whole work: "
            + (f"add {how} to it." if how else "it runs in one; ask for one node and one task.")
        )
    if job.array and name not in ("compare", "tune"):
        raise InputError(f"an array runs the parts of evsim compare or tune; evsim {name} has none.")
    if job.array and name == "compare":
        words += ["--part", f"@/{job.array}"]
    asked = {
        "job-name": f"evsim-{name}",
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks,
        "cpus-per-task": job.cpus,
        "hint": "nomultithread",
        # Two minutes before the end evsim is asked to end, and saves what it has.
        "signal": "TERM@120",
        **({"array": f"1-{job.array}"} if job.array else {}),
        **({"time": job.time} if job.time else {}),
    }
    lines = ["#!/bin/bash", *(f"#SBATCH --{key}={value}" for key, value in asked.items())]
    lines += [f"#SBATCH --{option}" for option in job.more]
    cache = job.cache or str(cache_root())
    lines += [
        "",
        "# srun of Slurm 22.05 and later does not take this from the job by itself.",
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        "export OPENBLAS_NUM_THREADS=1",
        "# Compiled kernels lie here; the first line compiles those that are missing, once, before all processes need them.",
        f"export EVSIM_CACHE_DIR={shlex.quote(cache)}",
        "srun --nodes=1 --ntasks=1 evsim warm-up",
        f"srun --cpu-bind=cores --kill-on-bad-exit=1 evsim {_quoted(words)}",
    ]
    if job.array and name == "compare":
        lines += ["", f"# When all parts have ended: evsim {shlex.join([*command, '--collect'])}"]
    return "\n".join(lines) + "\n"


def _quoted(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word).replace("@/", "$SLURM_ARRAY_TASK_ID/") for word in words)

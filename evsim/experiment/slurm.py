"""The text of a Slurm job for a command of evsim."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from evsim._kernels.jit import cache_root
from evsim.errors import InputError

SHARED = {"simulate": "--mpi", "train": "--mpi", "compare": "--executor mpi", "tune": ""}
"""Commands whose work several processes can share, and the option by which they do; "": by themselves."""


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
    share = SHARED.get(name)
    if ranks > 1 and (share is None or share not in " ".join(words).replace("=", " ")):
        cure = f"add {share} to it." if share else "it is one process; ask for one node and one task."
        raise InputError(f"{ranks} processes of evsim {name} would each do the whole work: {cure}")
    if job.array and name not in ("compare", "tune"):
        raise InputError(f"an array does parts of evsim compare or trials of evsim tune; evsim {name} has neither.")
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
    before = (
        "; a job before this one should have compiled them: evsim warm-up." if job.array
        else ". Those that are missing are compiled once, before all processes need them."
    )  # fmt: skip
    lines += [
        "",
        "# srun of Slurm 22.05 and later does not take this from the job by itself.",
        "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        "export OPENBLAS_NUM_THREADS=1",
        f"# Compiled kernels lie here{before}",
        f"export EVSIM_CACHE_DIR={shlex.quote(cache)}",
        *([] if job.array else ["srun --nodes=1 --ntasks=1 evsim warm-up"]),
        f"srun --cpu-bind=cores --kill-on-bad-exit=1 evsim {_quoted(words)}",
    ]
    if job.array and name == "compare":
        lines += ["", f"# When all parts have ended: evsim {shlex.join([*command, '--collect'])}"]
    return "\n".join(lines) + "\n"


def _quoted(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word).replace("@/", "$SLURM_ARRAY_TASK_ID/") for word in words)

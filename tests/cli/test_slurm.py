"""``evsim slurm``: the text of a job, which a shell can read, and what is refused."""

from __future__ import annotations

import re
import subprocess

import pytest
from click.testing import CliRunner

from evsim.cli.main import main


def said(*args: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["slurm", *args])
    assert result.exit_code == status, result.output
    return result.output


def lines_of(text: str) -> list[str]:
    """Those of a script that a shell accepts."""
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    return text.splitlines()


def test_a_network_over_nodes(monkeypatch):
    monkeypatch.setenv("EVSIM_CACHE_DIR", "/scratch/of me")
    job = ["--nodes", "4", "--tasks-per-node", "2", "--cpus-per-task", "32", "--time", "1:00", "--sbatch", "qos=long"]
    lines = lines_of(said(*job, "simulate", "brunel", "--mpi", "--out", "my run"))
    assert lines[0] == "#!/bin/bash"
    for option in ("nodes=4", "ntasks-per-node=2", "cpus-per-task=32", "time=1:00", "qos=long", "hint=nomultithread"):
        assert f"#SBATCH --{option}" in lines
    assert "export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK" in lines
    assert "export EVSIM_CACHE_DIR='/scratch/of me'" in lines
    assert lines[-2] == "srun --nodes=1 --ntasks=1 evsim warm-up"
    assert lines[-1] == (
        "srun --cpu-bind=cores --kill-on-bad-exit=1 evsim simulate brunel --mpi --out 'my run'"
    )


def test_an_array_does_the_parts_of_a_comparison():
    lines = lines_of(said("--array", "8", "--cache", "/scratch", "compare", "compare_digits", "--out", "RUNS"))
    assert "#SBATCH --array=1-8" in lines
    assert any(line.endswith("compare compare_digits --out RUNS --part $SLURM_ARRAY_TASK_ID/8") for line in lines)
    assert lines[-1].endswith("evsim compare compare_digits --out RUNS --collect")


def test_an_array_shares_a_search():
    lines = lines_of(said("--array", "3", "tune", "search.toml", "--out", "RUNS"))
    assert lines[-1].endswith("evsim tune search.toml --out RUNS")


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--nodes", "2", "train", "--out", "x"], "2 processes of evsim train .* add --mpi to it"),
        (["--tasks-per-node", "3", "compare", "c", "--out", "x"], "add --executor mpi to it"),
        (["--nodes", "2", "gradcheck"], "it is one process; ask for one node"),
        (["--array", "2", "simulate", "brunel"], "evsim simulate has neither"),
        (["trian"], "evsim has no command 'trian'"),
    ],
)
def test_jobs_that_would_do_the_work_twice_are_refused(args, what):
    output = said(*args, status=2 if "trian" in args else 1)
    assert re.search(what, re.sub(r"\s+", " ", output))
    assert "#SBATCH" not in output


def test_processes_that_share_are_not_refused():
    lines_of(said("--nodes", "2", "compare", "c", "--executor=mpi", "--out", "x"))
    lines_of(said("--nodes", "2", "compare", "c", "--executor", "mpi", "--out", "x"))
    lines_of(said("--nodes", "2", "tune", "c", "--out", "x"))

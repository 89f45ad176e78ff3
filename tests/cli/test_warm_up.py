"""``evsim warm-up``: afterwards no command compiles anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.experiment import warm_up
from evsim.experiment.rules import RULES
from helpers.paths import ROOT

AFTERWARDS = [
    ["demo", "--epochs", "1", "--out", "demo"],
    *([f"train --dataset digits --rule {rule} --train-size 40 --test-size 20 --epochs 1 --out {rule}".split()
       for rule in RULES]),
    "train --dataset yin-yang --rule eventprop --train-size 40 --test-size 20 --epochs 1 --out yy".split(),
    "train --dataset spike-patterns --rule tssl-bp --epochs 1 --out sp".split(),
    "train --dataset randman --rule eventprop --epochs 1 --out rm".split(),
    "evaluate demo".split(),
    "gradcheck --dataset digits --rule hm2bp --samples 1".split(),
    *(f"simulate {name} --scale 0.02 --t-stop 20 --out {name}".split()
      for name in ("brunel", "brunel-exp", "cuba", "microcircuit")),
    "simulate network --out network".split(),
]  # fmt: skip


def evsim(folder, *args: str) -> str:
    """A command with kernels in ``folder``; what it says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVSIM_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "evsim", *args]
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{args}: {ended.stderr}"
    return ended.stdout


def kernels(folder) -> set[str]:
    return {path.name for path in (folder / "cache").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_after_it_no_command_compiles_anything(tmp_path):
    said = evsim(tmp_path, "warm-up")
    assert re.search(r"\d{3} kernels compiled in \d+ s; they lie in", said)
    before = kernels(tmp_path)
    late = {}
    for args in AFTERWARDS:
        evsim(tmp_path, *args)
        if new := kernels(tmp_path) - before:
            late[" ".join(args)] = sorted(new)
            before |= new
    assert late == {}
    assert evsim(tmp_path, "warm-up").startswith("all kernels were compiled before")


def test_it_says_what_it_compiles_and_where(monkeypatch):
    done = []
    monkeypatch.setattr(warm_up, "_networks", lambda: [lambda: done.append("network")])
    monkeypatch.setattr(warm_up, "_training", lambda rule: [lambda: done.append(rule)])
    result = CliRunner().invoke(main, ["warm-up"])
    assert result.exit_code == 0
    assert done == ["network", *RULES]
    assert "all kernels were compiled before; they lie in" in result.output

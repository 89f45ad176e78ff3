"""A short run of benchmarks/accuracy/fuzz_files.py: no damaged or forged file ends otherwise than by a sentence."""

import subprocess
import sys

import pytest

from helpers.paths import BENCHMARKS

SCRIPT = BENCHMARKS / "accuracy" / "fuzz_files.py"
QUICK = "recording,forged-recording,idx.gz,toml,text,state-queue"
STATES = "forged-state-queue,old-state-window"


@pytest.mark.parametrize(
    ("kinds", "mutants"),
    [
        (QUICK, 25),
        (STATES, 8),
        pytest.param(QUICK, 150, marks=pytest.mark.slow),
        pytest.param(STATES, 40, marks=pytest.mark.slow),
    ],
)
def test_damaged_and_forged_files_give_a_sentence_or_what_was_written(kinds, mutants):
    command = [sys.executable, SCRIPT, "--mutants", str(mutants), "--only", kinds, "--seed", "7"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert result.stdout.count("'silent': 0") == kinds.count(",") + 1


@pytest.mark.slow
def test_damaged_and_forged_training_runs_and_events_too():
    pytest.importorskip("sklearn")
    kinds = "run,forged-run,old-run,config,forged-state-window,old-state-queue,old-recording,idx"
    kinds += ",nmnist,npy" if _has_tonic() else ""
    command = [sys.executable, SCRIPT, "--mutants", "100", "--only", kinds, "--seed", "7"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def _has_tonic():
    try:
        import tonic  # noqa: F401
    except ImportError:
        return False
    return True

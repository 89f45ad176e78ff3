"""The slow claims of the README, by the scripts that print them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def output_of(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_exactness_contract_on_random_neurons_and_networks():
    text = output_of("precision.py", "--trials", "1500", "--networks", "10", "--seed", "7")
    assert len(re.findall(r"^all +1500 ", text, re.M)) == 2


@pytest.mark.slow
def test_digits_reach_96_percent_on_every_seed_tried():
    text = output_of("digits_seeds.py", "--seeds", "2")
    accuracies = re.search(r"test accuracy \(%\): \[(.*)\]", text)
    assert accuracies and min(float(a) for a in accuracies[1].split(",")) >= 96.0

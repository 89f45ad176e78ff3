"""The slow claims of the README, by the scripts that print them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import evsim
import evsim.presets

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def output_of(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_exactness_contract_on_random_neurons_and_networks():
    text = output_of("precision.py", "--trials", "1500", "--networks", "10", "--seed", "7")
    assert len(re.findall(r"^all +1500 ", text, re.M)) == 3


@pytest.mark.slow
def test_digits_reach_96_percent_on_every_seed_tried():
    text = output_of("digits_seeds.py", "--seeds", "2")
    accuracies = re.search(r"test accuracy \(%\): \[(.*)\]", text)
    assert accuracies and min(float(a) for a in accuracies[1].split(",")) >= 96.0


@pytest.mark.slow
def test_brunels_network_fires_as_mean_field_theory_says() -> None:
    """32.03 Hz in the diffusion approximation (benchmarks/brunel_theory.py); NEST's network has 32.3 Hz."""
    rec = evsim.presets.brunel().simulate(500.0, seed=3, threads=2)
    late = {name: rec[name].times > 100.0 for name in rec}
    spikes = sum(int(mine.sum()) for mine in late.values())
    assert spikes / 12_500 / 0.4 == pytest.approx(32.03, rel=0.03)
    assert rec.synaptic_events / rec.t_stop > 7e5

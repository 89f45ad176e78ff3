"""Claims of the documentation: slow ones by the scripts that print them, others by what the code declares."""

import csv
import re
import subprocess
import sys

import pytest

import evsim
import evsim.networks.literature
from evsim.experiment.pairs import is_spiking
from evsim.experiment.rules import RULES, make_rule
from helpers.paths import BENCHMARKS, ROOT


def output_of(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_guide_says_that_rules_take_is_what_they_declare():
    text = " ".join((ROOT / "docs/guide.md").read_text(encoding="utf-8").split())
    assert "All rules but EventProp are for layers with one exponential synaptic current (S-TLLR, OTTT and rate" in text
    assert 'delays are trained by EventProp and `TSSLBP(inter="true")`' in text
    needs = {name: RULES[name].make().needs for name in RULES if is_spiking(name)}
    assert {name for name, n in needs.items() if 2 in n.currents} == {"eventprop"}
    assert {name for name, n in needs.items() if 0 in n.currents} == {"eventprop", "s-tllr", "ottt", "rate-based"}
    assert {name for name, n in needs.items() if n.trained_delays} == {"eventprop"}
    assert make_rule("tssl-bp", {"inter": "true"}).needs.trained_delays
    assert {name for name in needs if f"`{name}`" in text} == set(needs)


def test_the_memory_of_a_stream_is_what_the_measurements_say():
    text = " ".join((ROOT / "docs/benchmarks.md").read_text(encoding="utf-8").split())
    most = float(re.search(r"the stream of S-TLLR stays below ([\d.]+) MB up to 25.6 s", text)[1])
    rows = list(csv.reader((ROOT / "docs/results/memory.csv").read_text().splitlines()))
    streams = [row for row in rows if row[0].endswith("stream")]
    assert rows[1][-1] == "25600 ms" and len(streams) == 6
    assert max(float(row[-1]) for row in streams) < 1000 * most


@pytest.mark.parametrize("claim", ["every switch of the original", "answers what their reviewers"])
def test_withdrawn_claims_do_not_come_back(claim):
    """Of the changelog the line that withdraws them remains."""
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "learning").rglob("*.py")]
    assert [p.name for p in texts if claim in " ".join(p.read_text(encoding="utf-8").split())] == []
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all("Withdrawn" in line for line in changes.splitlines() if claim in line)


def test_open_questions_without_numbers_are_said_to_be_open():
    text = (ROOT / "docs/open_questions.md").read_text(encoding="utf-8")
    for name in ("C7", "B16", "C4"):
        row = next(line for line in text.splitlines() if line.startswith("|") and f"{name}:" in line)
        assert "**open**" in row


@pytest.mark.slow
def test_exactness_contract_on_random_neurons_and_networks():
    text = output_of("accuracy/precision.py", "--trials", "1500", "--networks", "10", "--seed", "7")
    assert len(re.findall(r"^all +1500 ", text, re.M)) == 3


@pytest.mark.slow
def test_digits_reach_96_percent_on_every_seed_tried():
    text = output_of("accuracy/digits_seeds.py", "--seeds", "2")
    accuracies = re.search(r"test accuracy \(%\): \[(.*)\]", text)
    assert accuracies and min(float(a) for a in accuracies[1].split(",")) >= 96.0


@pytest.mark.slow
def test_brunels_network_fires_as_mean_field_theory_says() -> None:
    """32.03 Hz in the diffusion approximation (benchmarks/accuracy/brunel_theory.py); NEST's network has 32.3 Hz."""
    rec = evsim.presets.brunel().simulate(500.0, seed=3, threads=2)
    late = {name: rec[name].times > 100.0 for name in rec}
    spikes = sum(int(mine.sum()) for mine in late.values())
    assert spikes / 12_500 / 0.4 == pytest.approx(32.03, rel=0.03)
    assert rec.synaptic_events / rec.t_stop > 7e5


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory of forked processes")
def test_resident_memory_of_a_stream_does_not_grow_with_duration(tmp_path):
    """What kernels allocate is in it, which tracemalloc does not see; rules on recorded spikes grow with them."""
    output_of("speed/memory_and_time.py", "--rules", "S-TLLR, stream", "S-TLLR, recorded", "--durations", "400", "6400",
              "--no-times", "--csv", str(tmp_path / "m.csv"), "--figure", str(tmp_path / "m.png"))  # fmt: skip
    grown = {"stream": [], "recorded": []}
    for name, *rest in csv.reader((tmp_path / "m.csv").read_text().splitlines()):
        if name.startswith("S-TLLR"):
            grown["stream" if name.endswith("stream") else "recorded"].append(float(rest[-1]) / float(rest[-2]))
    assert len(grown["stream"]) == len(grown["recorded"]) == 3
    assert max(grown["stream"]) < 1.3 and min(grown["recorded"]) > 2.0

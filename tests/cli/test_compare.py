"""evsim compare: tables, pictures, resuming, and runs that fail."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import main
from evsim.cli.train import train_run
from evsim.experiment.comparison import collect
from evsim.io import runs
from evsim.io.datasets import load_dataset
from evsim.learning import check_gradient
from evsim.learning.baselines import GridTrainer
from evsim.learning.checks.gradcheck import training_agreement

COMMON = """
[common]
dataset = "yin-yang"
train_size = 60
test_size = 30
hidden = [12]
epochs = 2
duration = 40.0
encoder = "linear"
window = [0.0, 20.0]
tau_m = 20.0
tau_syn = 5.0
weight_mean = [2.0, 1.0]
weight_scale = [0.8, 0.3]
"""


def described(tmp_path, text, name="compare.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def run(*args):
    return CliRunner().invoke(main, ["compare", *(str(a) for a in args)])


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.pictures
def test_a_run_that_fails_ends_no_other_and_complete_runs_stay_as_they_are(tmp_path):
    good = "agreement = 10\n" + COMMON + """
[[run]]
label = "True, 1.0"
rule = "eventprop"
"""
    wrong = """
[[run]]
label = "wrong"
rule = "eventprop"
weight_mean = [0.0, 0.0]
weight_scale = [1e-6, 1e-6]
"""
    config = described(tmp_path, "seeds = [1]\n" + good + wrong)
    out = tmp_path / "out"
    result = run(config, "--out", out, "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert "SilentLayerError" in result.output and "emitted no spike" in result.output
    first, second = table(out / "compare.csv")
    assert (first["label"], first["complete"], second["complete"]) == ("True, 1.0", "1", "0")
    assert len(json.loads((out / "summary.json").read_text())["labels"]) == 2
    file = out / "true-1.0" / "seed-1" / "run.h5"
    before = os.stat(file).st_mtime_ns
    assert run(config, "--out", out).exit_code == 1
    assert run(described(tmp_path, "seeds = [1, 2]\n" + good), "--out", out, "--resume").exit_code == 0
    assert os.stat(file).st_mtime_ns == before
    (both,) = table(out / "compare.csv")
    ends = [float(r["test_accuracy"]) for r in table(out / "epochs.csv") if r["epoch"] == "2"]
    assert len(ends) == 2 and both["complete"] == "2"
    assert float(both["accuracy"]) == pytest.approx(np.mean(ends), rel=1e-14)
    assert float(both["accuracy_sd"]) == pytest.approx(np.std(ends, ddof=1), rel=1e-14, abs=1e-16)
    assert float(both["peak_memory_mb"]) > 50.0 and float(both["cosine layer 1 weight"]) > 1.0 - 1e-12
    for name in ("accuracy_by_epoch", "accuracy_by_time", "accuracy_by_events", "agreement"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_killed_comparison_takes_its_runs_along_and_goes_on_to_the_same_bits(tmp_path):
    config = described(tmp_path, COMMON.replace("epochs = 2", "epochs = 40") + '[[run]]\nrule = "ann"\n')
    (_, _, settings), *_ = read_comparison(config).runs
    train_run(settings, tmp_path / "whole", resume=False)
    out = tmp_path / "cut"
    command = [sys.executable, "-m", "evsim", "compare", str(config), "--jobs", "1", "--out", str(out)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    file = out / "ann" / "seed-1" / "run.h5"
    until = time.monotonic() + 600
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.5)  # the run sees that its parent is gone
    reached = runs.load_run(file)["epoch"]
    assert run(config, "--out", out, "--resume").exit_code == 0
    a, b = runs.load_run(tmp_path / "whole" / "run.h5"), runs.load_run(file)
    assert 1 <= reached <= b["epoch"] == 40 and all(np.array_equal(x, y) for x, y in zip(a["weights"], b["weights"]))


def test_settings_come_from_the_run_then_common_then_the_defaults(tmp_path):
    config = described(tmp_path, "seeds = [3, 5]\n" + COMMON + """
rate = 0.5
loss_options = { desired = 7.0, margin = 1.0 }
[[run]]
rule = "hm2bp"
loss_options = { desired = 9.0 }
[[run]]
label = "b"
rule = "surrogate-bptt"
rate = 0.25
rule_options = { dt = 2.0 }
loss_options = { margin = 0.0 }
[[run]]
label = "c"
rule = "eventprop"
loss = "ttfs"
""")  # fmt: skip
    found = read_comparison(config, "here").runs
    assert [(label, seed) for label, seed, _ in found] == [(x, s) for x in ("hm2bp", "b", "c") for s in (3, 5)]
    a, b = found[0][2], found[3][2]
    assert found[5][2].loss_options == {} and b.loss_options["desired"] == 7.0  # the options of another loss stay away
    assert (a.rate, b.rate, a.seed, b.seed, a.threads, a.data_dir) == (0.5, 0.25, 3, 5, 1, "here")
    assert a.loss_options == {"desired": 9.0, "margin": 1.0} and b.rule_options == {"dt": 2.0}
    assert a.loss == "count" and b.loss == "integral-voltage" and a.hidden == (12,) and a.window == (0.0, 20.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds = [", "not valid TOML"),
        ("seed = 3\n", "names seed; a comparison has seeds"),
        ("seeds = [1.5]\n[[run]]\nrule = 'ann'\n", "integers >= 0"),
        ("seeds = [1]\n", r"no \[\[run\]\]"),
        ("[[run]]\nrule = 'ann'\n[[run]]\nrule = 'ann'\n", "a label of its own"),
        ("[[run]]\nrule = 'ann'\nseed = 4\n", "has no option seed"),
        ("[[run]]\nrule = 'ann'\nepoch = 4\n", "no option epoch. It has .*epochs"),
        ("[[run]]\nrule = 'ann'\nepochs = 0\n", "run ann: .*epochs"),
        ("[[run]]\nrule = 'backprop'\n", "no rule 'backprop'"),
    ],
)
def test_a_wrong_description_is_refused_before_anything_runs(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_comparison(described(tmp_path, text))


def test_agreement_in_training_is_that_of_check_gradient(tmp_path):
    """EventProp agrees with itself to 1e-12; HM2-BP as `evsim gradcheck` says."""
    from evsim.experiment.config import build, start

    config = described(tmp_path, COMMON + '[[run]]\nrule = "eventprop"\n[[run]]\nrule = "hm2bp"\n')
    data = load_dataset("yin-yang", train_size=60, test_size=10)
    for _, _, c in read_comparison(config).runs:
        model, trainer = build(c, data)
        start(c, model)
        inputs = trainer.inputs(data.x_train, np.arange(10), 1)
        mine = training_agreement(trainer, inputs, data.y_train[:10])
        report = check_gradient(
            model, trainer.rule, trainer.loss, inputs, data.y_train[:10], 40.0, differences=0, replays=0
        )
        assert [a.parameter for a in mine] == ["weight", "weight"]
        for a, b in zip(mine, report.rows):
            assert (a.cosine, a.sign_agreement, a.scale) == pytest.approx((b.cosine, b.sign_agreement, b.scale))
        if c.rule == "eventprop":
            assert min(a.cosine for a in mine) > 1.0 - 1e-12


def test_the_baseline_is_compared_with_the_exact_models_gradient(tmp_path):
    """Without a hidden layer all is linear, and with a fine step the grid's gradient tends to the exact one."""
    from evsim.experiment.config import build, start

    text = COMMON.replace("hidden = [12]\n", "").replace("[2.0, 1.0]", "[0.3]").replace("[0.8, 0.3]", "[0.3]")
    config = described(tmp_path, text + '[[run]]\nrule = "surrogate-bptt"\nrule_options = { dt = 0.01 }\n')
    data = load_dataset("yin-yang", train_size=60, test_size=10)
    ((_, _, c),) = read_comparison(config).runs
    from dataclasses import replace

    model, trainer = build(replace(c, hidden=()), data)
    start(c, model)
    assert isinstance(trainer, GridTrainer)
    (a,) = training_agreement(trainer, trainer.inputs(data.x_train, np.arange(10), 1), data.y_train[:10])
    assert a.cosine > 1.0 - 1e-5 and a.scale == pytest.approx(1.0, abs=1e-2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system keeps one peak for good")
def test_the_peak_of_memory_can_start_anew():
    """In a process of its own: what this one had before is not known."""
    script = """
import numpy as np
from evsim.memory import peak_memory_mb, reset_peak_memory
x = np.ones(30_000_000)
del x
high = peak_memory_mb()
reset_peak_memory()
low = peak_memory_mb()
x = np.ones(15_000_000)
print(high - low, peak_memory_mb() - low)
"""
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    fell, rose = (float(v) for v in said.split())
    assert 200.0 < fell < 260.0 and 100.0 < rose < 130.0


def test_results_of_nothing_are_empty(tmp_path):
    from evsim.experiment.comparison import Run

    config = read_comparison(described(tmp_path, COMMON + '[[run]]\nrule = "ann"\n')).runs[0][2]
    found = collect([Run("ann", 1, config, tmp_path / "nothing")])
    assert found.epochs == [] and found.labels[0]["complete"] == 0 and found.runs[0]["status"] == "0 of 2 epochs"

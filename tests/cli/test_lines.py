"""The baseline, the ANN and the linear line run through the same commands as every rule."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.io import runs

SMALL = ["train", "--dataset", "digits", "--train-size", "60", "--test-size", "20", "--threads", "1", "--epochs", "2"]


def run(*args):
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("rule", ["surrogate-bptt", "ann", "linear"])
def test_each_trains_resumes_and_is_evaluated(tmp_path, rule):
    said = run(*SMALL, "--rule", rule, "--hidden", 12, "--out", tmp_path)
    assert ("note: --hidden is not used by this run" in said) == (rule == "linear")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["rule"] == rule and 0.0 <= summary["test_accuracy"] <= 1.0
    assert (tmp_path / "raster.png").exists() == (rule == "surrogate-bptt")
    assert "resuming after epoch 2 of 2" in run(*SMALL, "--rule", rule, "--hidden", 12, "--out", tmp_path, "--resume")
    assert f"{100 * summary['test_accuracy']:.2f} %" in run("evaluate", tmp_path)
    shapes = [np.shape(w) for w in runs.load_run(tmp_path / "run.h5")["weights"] if np.ndim(w) == 2]
    assert shapes == ([(64, 10)] if rule == "linear" else [(64, 12), (12, 10)])


def test_the_time_step_is_an_option_and_counts_are_a_loss(tmp_path):
    count = ["--rule", "surrogate-bptt", "--loss", "count", "--weight-scale", 0.3, "--weight-scale", 0.4]
    run(*SMALL, *count, "--weight-mean", 0.3, "--weight-mean", 0.3, "--rule-option", "dt=2.0", "--out", tmp_path)
    state = runs.load_run(tmp_path / "run.h5")
    assert state["rule"]["dt"] == 2.0 and state["loss"]["desired"] == 35.0

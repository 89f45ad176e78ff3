"""TSSL-BP and the losses of PSCs from the command line."""

import json

import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.io import runs

SMALL = ["train", "--dataset", "digits", "--train-size", "60", "--test-size", "20", "--threads", "1", "--epochs", "2"]


def run(*args, code=0):
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == code, result.output
    return result.output


def test_the_preset_trains_resumes_and_is_evaluated(tmp_path):
    run(*SMALL, "--rule", "tssl-bp", "--rule-option", "a=0.3", "--weight-limit", 0.1, "--out", tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    state = runs.load_run(tmp_path / "run.h5")
    assert state["rule"]["a"] == 0.3 and state["loss"]["t_stop"] == 40.0
    assert max(abs(w).max() for w in state["weights"]) <= 0.1
    assert "resuming" in run(
        *SMALL, "--rule", "tssl-bp", "--rule-option", "a=0.3", "--weight-limit", 0.1, "--out", tmp_path, "--resume"
    )
    assert f"{100 * summary['test_accuracy']:.2f} %" in run("evaluate", tmp_path)


@pytest.mark.parametrize("rule, loss", [
    ("tssl-bp", "psc-count"), ("eventprop", "psc"), ("tssl-bp", "integral-voltage"),
])  # fmt: skip
def test_losses_and_rules_meet(tmp_path, rule, loss):
    tau = ["--loss-option", "tau=10"] if loss == "psc-count" else []
    run(*SMALL, "--rule", rule, "--loss", loss, *tau, "--weight-mean", 0.3, "--weight-mean", 0.2,
        "--weight-scale", 0.3, "--weight-scale", 0.3, "--gradient-norm", 0.5, "--out", tmp_path)  # fmt: skip
    assert (tmp_path / "summary.json").exists()


def test_target_trains_of_a_data_set_are_a_loss_of_pscs(tmp_path):
    base = ["train", "--dataset", "spike-patterns", "--rule", "tssl-bp", "--train-size", 60, "--test-size", 12]
    run(*base, "--epochs", 1, "--threads", 1, "--out", tmp_path)
    assert runs.load_run(tmp_path / "run.h5")["loss"]["predicts"] == "nearest"
    assert "needs target trains" in run(*SMALL, "--rule", "tssl-bp", "--loss", "psc-trains", "--loss-option", "tau=10",
                                        "--out", tmp_path / "x", code=1)  # fmt: skip


def test_the_warm_up_by_layer_rate_wakes_a_silent_start_and_resumes_bit_for_bit(tmp_path):
    silent = ["--weight-mean", 0.001, "--weight-mean", 0.001, "--weight-scale", 0.001, "--weight-scale", 0.001]
    base = [*SMALL, "--rule", "tssl-bp", *silent, "--rule-option", "silent=none", "--rate", 0.05, "--hidden", 20,
            "--schedule", "constant"]  # fmt: skip
    assert "emitted no spike in a whole epoch" in " ".join(run(*base, "--out", tmp_path / "a", code=1).split())
    run(*base, "--rule-option", "warm_up=0.5", "--epochs", 6, "--out", tmp_path / "whole")
    state = runs.load_run(tmp_path / "whole" / "run.h5")
    assert state["rule"]["warm_up"] == 0.5 and state["history"][-1]["spikes"] > state["history"][0]["spikes"]

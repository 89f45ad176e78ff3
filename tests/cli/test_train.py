"""The command line: what it writes, how it resumes, and what it says when something is wrong."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.io import runs

SMALL = [
    "train", "--dataset", "digits", "--train-size", "60", "--test-size", "20", "--hidden", "12",
    "--duration", "40", "--threads", "1", "--seed", "3",
]  # fmt: skip


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """The folder of a finished run; for all tests, that copy it."""
    out = tmp_path_factory.mktemp("runs") / "one"
    assert run(*SMALL, "--epochs", 1, "--out", out).exit_code == 0
    return out


@pytest.fixture
def finished(one_epoch, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(one_epoch, tmp_path / "finished"))


def weights_of(folder):
    state = runs.load_run(folder / "run.h5")
    return [*state["weights"], *state["optimiser"]["first"], *state["best"]["weights"]]


@pytest.mark.pictures
def test_train_leaves_what_it_promises(tmp_path):
    result = run(*SMALL, "--epochs", 2, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for key in ("train_accuracy", "test_accuracy", "train_loss", "seconds", "spikes"):
        assert float(rows[0][key]) >= 0.0
    summary = json.loads((tmp_path / "summary.json").read_text())
    for key in ("test_accuracy", "best_validation_epoch", "epochs", "seed", "rule", "samples_per_second",
                "synaptic_events", "versions"):  # fmt: skip
        assert key in summary
    for name in ("raster", "learning_curve", "weights"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_resumed_run_is_the_same_run_to_the_bit(tmp_path):
    """A kill in the second epoch, then --resume: the same bits as without the kill."""
    run(*SMALL, "--epochs", 3, "--out", tmp_path / "whole")
    command = [sys.executable, "-m", "evsim", *SMALL, "--epochs", "3", "--out", str(tmp_path / "cut")]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while not (tmp_path / "cut" / "run.h5").exists() and time.monotonic() < until and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert runs.load_run(tmp_path / "cut" / "run.h5")["epoch"] >= 1
    result = run(*SMALL, "--epochs", 3, "--out", tmp_path / "cut", "--resume")
    assert result.exit_code == 0, result.output
    for a, b in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")):
        assert np.array_equal(a, b)


def test_resume_refuses_other_settings(finished):
    result = run(*SMALL, "--epochs", 1, "--rate", 0.5, "--out", finished, "--resume")
    assert result.exit_code == 1 and "rate = 0.01 (now 0.5)" in " ".join(result.output.split())


def test_resume_without_a_run_says_so(tmp_path):
    result = run(*SMALL, "--out", tmp_path, "--resume")
    assert result.exit_code == 1 and "leave --resume out" in result.output


def test_resume_refuses_a_run_whose_samples_were_split_and_ordered_by_other_streams(finished):
    state = runs.load_run(finished / "run.h5")
    del state["random"]["streams"]
    runs.save_run(finished / "run.h5", state)
    before = (finished / "run.h5").read_bytes()
    result = run(*SMALL, "--epochs", 1, "--out", finished, "--resume")
    assert result.exit_code == 1 and "saved by another version of evsim" in " ".join(result.output.split())
    assert (finished / "run.h5").read_bytes() == before
    assert run("evaluate", finished).exit_code == 0


def test_resume_of_a_finished_run_reports_it_again(finished):
    result = run(*SMALL, "--epochs", 1, "--out", finished, "--resume")
    assert result.exit_code == 0 and "resuming after epoch 1 of 1" in result.output


def test_evaluate_repeats_the_accuracy_of_the_run(finished):
    accuracy = json.loads((finished / "summary.json").read_text())["test_accuracy"]
    result = run("evaluate", finished)
    assert result.exit_code == 0 and f"{100 * accuracy:.2f} %" in result.output


def test_config_file_gives_options_and_the_command_line_wins(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('hidden = [7]\nepochs = 1\nrate = 0.003\ntrain_size = 40\ntest_size = 10\nduration = 30.0\n')
    result = run("train", "--config", config, "--threads", 1, "--rate", 0.004, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    saved = runs.load_run(tmp_path / "out" / "run.h5")["parameters"]
    assert tuple(saved["hidden"]) == (7,) and saved["rate"] == 0.004 and saved["duration"] == 30.0


def test_config_file_with_an_unknown_name_is_refused(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text("hiden = [7]\n")
    result = run("train", "--config", config, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "hiden" in result.output and "hidden" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "mnist"], "data-dir"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["--dataset", "letters"], "digits"),
        (["--train-size", "999999"], "1437"),
        (["--rate", "-1"], "rate must be finite and > 0"),
        (["--max-rate", "0.001"], "layer 0: no threshold"),
    ],
)
def test_a_wrong_request_is_answered_by_one_sentence(tmp_path, arguments, words):
    result = run("train", "--threads", 1, "--epochs", 1, "--out", tmp_path, *arguments)
    assert result.exit_code in (1, 2)
    text = " ".join(result.output.split())
    assert words in text and "Traceback" not in text


def test_a_foreign_run_file_is_refused(tmp_path):
    (tmp_path / "run.h5").write_bytes(b"not a run")
    result = run("evaluate", tmp_path)
    assert result.exit_code == 1 and "Traceback" not in result.output

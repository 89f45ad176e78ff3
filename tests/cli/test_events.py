"""``evsim train --dataset nmnist`` on recordings written here: bars that a camera sees while it makes saccades."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.io import runs
from helpers.files import atis


def bar(rng, upright):
    """Events of a bar's two edges during three saccades of 100 ms; upright or lying."""
    n = 1000
    along, across = rng.integers(8, 26, (3, n)), rng.integers(15, 19, (3, n))
    edge = rng.integers(0, 2, (3, n))
    moving = 15 + 3 * edge + across % 2
    x, y = (moving, along) if upright else (along, moving)
    t = np.sort(rng.integers(0, 100_000, (3, n)), axis=1) + np.array([[0], [100_000], [200_000]])
    return atis(*(a.ravel() for a in (x, y, t, edge)))


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("tonic")
    rng = np.random.default_rng(2)
    for part, n in (("Train", 20), ("Test", 8)):
        for k in range(n):
            file = tmp_path / "NMNIST" / part / str(k % 2) / f"{k + 1:05}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bar(rng, k % 2))
    return tmp_path


def run(*args):
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("rule", ["hm2bp", "eventprop"])
def test_a_rule_learns_bars_at_its_preset(folder, rule):
    out = folder / rule
    run(
        "train", "--dataset", "nmnist", "--data-dir", folder, "--rule", rule, "--hidden", 30, "--epochs", 8,
        "--batch-size", 2, "--rate", "5e-3", "--threads", 1, "--out", out,
    )  # fmt: skip
    assert json.loads((out / "summary.json").read_text())["test_accuracy"] == 1.0
    parameters = runs.load_run(out / "run.h5")["parameters"]
    assert (parameters["duration"], tuple(parameters["grid"]), parameters["shift"]) == (340.0, (34, 34, 2), 1.0)
    assert "100.00 %" in run("evaluate", out, "--threads", 1)


@pytest.mark.parametrize("rule", ["s-tllr", "ann", "linear"])
def test_other_presets_run(folder, rule):
    out = folder / rule
    run(
        "train", "--dataset", "nmnist", "--data-dir", folder, "--rule", rule, "--hidden", 5, "--epochs", 1,
        "--train-size", 4, "--test-size", 2, "--threads", 1, "--out", out,
    )  # fmt: skip
    assert json.loads((out / "summary.json").read_text())["rule"] == rule


def test_a_view_is_given_by_name_and_kept_with_the_run(folder):
    out = folder / "seen"
    arguments = [
        "train", "--dataset", "nmnist", "--data-dir", folder, "--train-size", 6, "--test-size", 2, "--hidden", 5,
        "--data-option", "polarity=merge", "--data-option", "downsample=2", "--data-option", "stop=105.0",
        "--data-option", "crop=[2, 2, 32, 32]", "--threads", 1, "--out", out,
    ]  # fmt: skip
    assert "network 225-5-10" in run(*arguments, "--epochs", 1)
    parameters = runs.load_run(out / "run.h5")["parameters"]
    assert (parameters["duration"], tuple(parameters["grid"])) == (105.0, (15, 15, 1))
    assert "resuming after epoch 1" in run(*arguments, "--epochs", 1, "--resume")

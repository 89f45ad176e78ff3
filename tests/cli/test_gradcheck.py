"""``evsim gradcheck`` from the command line."""

import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.learning.checks.agreement import LIMITS


@pytest.mark.pictures
def test_gradcheck_prints_a_table_and_writes_it_with_a_picture(tmp_path):
    out = tmp_path / "check"
    arguments = ["gradcheck", "--hidden", "6", "--samples", "1", "--trainable-delays", "input", "--max-delay", "3"]
    result = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "FD 50 digits" in result.output and "worst conditioning" in result.output
    rows = (out / "gradcheck.csv").read_text().splitlines()
    assert rows[0].startswith("layer,parameter,against") and len(rows) == 1 + 2 * 2 * 3
    assert (out / "gradcheck.png").stat().st_size > 5000


def test_a_rule_that_is_not_what_it_claims_ends_with_status_1(monkeypatch):
    arguments = ["gradcheck", "--hidden", "6", "--samples", "2"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    monkeypatch.setattr("evsim.learning.checks.agreement.LIMITS", dict.fromkeys(LIMITS, -1.0))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "WRONG" in result.output


def test_an_approximate_rule_is_told_from_the_true_gradient(tmp_path):
    result = CliRunner().invoke(main, ["gradcheck", "--dataset", "digits", "--rule", "hm2bp", "--samples", "1"])
    assert result.exit_code == 0, result.output
    assert all(words in result.output for words in ("SmoothCountLoss", "EventProp", "approximate: cosine"))


def test_training_by_eventprop_from_the_command_line_can_be_resumed(tmp_path):
    out = tmp_path / "run"
    arguments = ["train", "--dataset", "temporal-xor", "--hidden", "10", "--out", str(out), "--threads", "1"]
    assert CliRunner().invoke(main, [*arguments, "--epochs", "1"]).exit_code == 0
    result = CliRunner().invoke(main, [*arguments, "--epochs", "1", "--resume"])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(main, ["evaluate", str(out)]).exit_code == 0

"""Rules, losses and data sets by name with options by name."""

import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.experiment import named as named
from evsim.experiment.losses import make_loss
from evsim.experiment.presets import settings
from evsim.experiment.rules import RULES, make_rule
from evsim.io import runs
from evsim.io.datasets import load_dataset
from evsim.learning import HM2BP, EventProp
from evsim.learning.protocols import check_signal
from evsim.learning.surrogates import S2, Surrogate


def test_a_value_is_read_as_toml_reads_it_and_else_is_text():
    found = [named.parse(t) for t in ("a=1", "b=2.5", "c=true", "d=[1, 2]", "e = paper", 'f="1"', "g=x=y")]
    assert found == [("a", 1), ("b", 2.5), ("c", True), ("d", [1, 2]), ("e", "paper"), ("f", "1"), ("g", "x=y")]


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_an_option_without_name_or_value_is_refused(text):
    with pytest.raises(ValueError, match="NAME=VALUE"):
        named.parse(text)


def part(text: str, psi: Surrogate = S2, many: tuple = ()):
    return text, psi, many


def test_values_become_what_the_argument_asks_for():
    assert named.make("part", part, {"text": True, "psi": "S2", "many": [1, 2]}) == ("true", S2, (1, 2))
    with pytest.raises(ValueError, match="psi of part must be one of S1, S2"):
        named.make("part", part, {"text": "a", "psi": "S9"})


def test_unknown_and_missing_options_name_those_there_are():
    with pytest.raises(ValueError, match=r"the rule hm2bp has no option mikro\. It has micro \('paper'\)"):
        make_rule("hm2bp", {"mikro": "none"})
    with pytest.raises(ValueError, match="needs the option text"):
        named.make("part", part, {})
    with pytest.raises(ValueError, match="no rule 'backprop'"):
        make_rule("backprop", {})


def test_options_reach_rule_and_loss():
    digits = load_dataset("digits", train_size=20, test_size=10)
    assert make_rule("hm2bp", {"micro": "none"}) == HM2BP(micro="none")
    assert make_rule("eventprop", {"min_slope": 0.1}) == EventProp(min_slope=0.1)
    assert make_loss("count", {"desired": 20}, digits, 50.0).desired == 20
    assert make_loss("smooth-count", {}, digits, 50.0).end == 50.0
    with pytest.raises(ValueError, match="needs target trains, which digits does not have"):
        make_loss("van-rossum", {}, digits, 50.0)
    with pytest.raises(ValueError, match="no loss 'hinge'"):
        make_loss("hinge", {}, digits, 50.0)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_starts_from_its_usual_loss(rule):
    data = load_dataset("spike-patterns")
    check_signal(make_rule(rule, {}), make_loss(RULES[rule].loss, {}, data, 100.0))


def test_options_go_before_the_presets_one_by_one():
    merged = settings("digits", None, {"loss_options": {"margin": 3.0}, "rule_options": {"micro": "none"}})
    assert merged["loss_options"] == {"desired": 20.0, "undesired": 0.0, "margin": 3.0}
    assert merged["rule_options"] == {"micro": "none"}
    assert settings("digits", "hm2bp", {"loss": "smooth-count"})["loss_options"] == {}


def test_the_command_line_takes_options_of_parts(tmp_path):
    small = ["train", "--dataset", "randman", "--threads", "1", "--epochs", "1", "--hidden", "10", "--out", tmp_path,
             "--rule-option", "min_slope=0.2", "--loss-option", "scale=0.04"]  # fmt: skip
    toml = tmp_path / "more.toml"
    toml.write_text("rate = 0.02\n[data_options]\nclasses = 2\nsamples_per_class = 10\n")
    result = CliRunner().invoke(main, [str(a) for a in [*small, "--config", toml]])
    assert result.exit_code == 0, result.output
    parameters = runs.load_run(tmp_path / "run.h5")["parameters"]
    assert parameters["rule_options"] == {"min_slope": 0.2} and parameters["loss_options"] == {"scale": 0.04}
    assert parameters["rate"] == 0.02 and parameters["data_options"] == {"classes": 2, "samples_per_class": 10}
    refused = CliRunner().invoke(main, [str(a) for a in [*small, "--overwrite", "--data-option", "clases=2"]])
    assert refused.exit_code == 1 and "randman has no parameter clases" in refused.output


def test_rules_are_listed():
    result = CliRunner().invoke(main, ["rules"])
    assert result.exit_code == 0 and all(name in result.output for name in (*RULES, "min_slope", "desired"))

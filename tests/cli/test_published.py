"""Presets by publication: they can be made, they reach a run, and what differs is said."""

import json
from dataclasses import fields

import pytest
from click.testing import CliRunner

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import main
from evsim.experiment.config import RunConfig
from evsim.experiment.presets import preset, settings
from evsim.experiment.published import PUBLICATIONS, publication
from evsim.experiment.rules import RULES, make_rule
from evsim.experiment.used_options import DATA, unused
from evsim.learning import Analog, Recurrent

RUNS = [(rule, dataset) for rule, found in PUBLICATIONS.items() for dataset in found.runs]
SMALL = ["--train-size", "12", "--test-size", "4", "--hidden", "8", "--epochs", "1", "--batch-size", "6",
         "--validation", "0", "--threads", "1"]  # fmt: skip


def test_every_published_rule_has_a_publication_and_says_what_differs():
    assert set(PUBLICATIONS) == set(RULES) - {"ann", "linear", "surrogate-bptt"}
    for found in PUBLICATIONS.values():
        assert found.source and found.differs and all(text == text.strip() for text in found.differs)


@pytest.mark.parametrize("rule", PUBLICATIONS)
def test_published_options_are_options_of_the_rule(rule):
    made = make_rule(rule, publication(rule).options)
    for name, value in publication(rule).options.items():
        if name != "psi":
            assert getattr(made, name) == value


@pytest.mark.parametrize(("rule", "dataset"), RUNS)
def test_published_runs_are_runs_and_use_all_that_they_set(rule, dataset):
    run = PUBLICATIONS[rule].runs[dataset]
    assert dataset in DATA and set(run) <= {f.name for f in fields(RunConfig)}
    config = RunConfig(**settings(dataset, rule, {}, published=True))
    assert unused(config, run) == {}
    assert config.rule_options == {**PUBLICATIONS[rule].options, **run.get("rule_options", {})}
    make_rule(rule, config.rule_options)


@pytest.mark.parametrize("rule", [rule for rule, found in PUBLICATIONS.items() if found.common])
def test_what_all_published_runs_of_a_rule_have_reaches_them(rule):
    common = PUBLICATIONS[rule].common
    config = RunConfig(**settings("digits", rule, {}, published=True))
    assert common.items() <= {f.name: getattr(config, f.name) for f in fields(RunConfig)}.items()
    assert unused(config, common) == {}


def test_a_published_run_takes_nothing_from_the_preset_for_the_data():
    found = preset("nmnist", "hm2bp", published=True)
    assert "shift" not in found and found["tau_m"] == pytest.approx(38.4) and found["epochs"] == 200


def test_without_settings_for_the_data_those_of_evsim_stay_with_the_published_rule():
    found, usual = preset("digits", "rate-based", published=True), preset("digits", "rate-based")
    assert found.pop("rule_options") == PUBLICATIONS["rate-based"].options
    assert found == {k: v for k, v in usual.items() if k != "rule_options"}


@pytest.mark.parametrize("rule", PUBLICATIONS)
def test_every_published_rule_trains(tmp_path, rule):
    arguments = ["train", "--dataset", "digits", "--rule", rule, "--preset", "published", "--out", str(tmp_path / "r")]
    if rule in ("eventprop", "tssl-bp", "rate-based", "s-tllr", "ottt"):
        arguments += ["--weight-mean", "0.3", "--weight-mean", "0.1", "--weight-scale", "0.3", "--weight-scale", "0.3"]
    result = CliRunner().invoke(main, [*arguments, *SMALL])
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert f"{rule} as published: {publication(rule).source}" in text
    assert all(phrase in text for phrase in publication(rule).differs)
    assert "Its settings for digits are evsim's own" in text


def test_a_rule_of_nobody_has_no_publication(tmp_path):
    result = CliRunner().invoke(main, ["train", "--rule", "ann", "--preset", "published", "--out", str(tmp_path / "r")])
    assert result.exit_code == 1 and "there is no published preset of ann" in " ".join(result.output.split())


def test_rules_lists_what_is_published_and_what_differs():
    text = " ".join(CliRunner().invoke(main, ["rules"]).output.split())
    for found in PUBLICATIONS.values():
        assert f"--preset published: {found.source}" in text and found.differs[-1] in text


def test_a_comparison_starts_from_the_publication_where_it_says_so(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        """
seeds = [3]
[common]
dataset = "mnist"
hidden = [20]
thresholds = [1.5, 1.0]
epochs = 2
[[run]]
label = "HM2-BP as published"
rule = "hm2bp"
preset = "published"
rule_options = { micro = "none" }
[[run]]
rule = "hm2bp"
"""
    )
    published, own = (config for _, _, config in read_comparison(file).runs)
    assert (published.hidden, published.epochs, published.boosting, published.delay) == ((20,), 2, 20.0, 1.0)
    assert published.rule_options == {**PUBLICATIONS["hm2bp"].options, "micro": "none"}
    assert own.boosting == 0.0 and own.rule_options == {}


def test_thresholds_delay_analog_and_recurrent_layers_reach_the_model(tmp_path):
    from evsim.experiment.config import build, start
    from evsim.io.datasets import load_dataset

    data = load_dataset("digits", train_size=10, test_size=4)
    shape = {"hidden": (8, 7), "thresholds": (0.5, 0.6, 0.7), "delay": 1.5, "recurrent_scale": 0.5, "recurrent_from": 1}
    config = RunConfig(dataset="digits", rule="st-rsbp", **shape)
    model, _ = build(config, data)
    assert not start(config, model)
    assert [float(layer.neuron.v_th) for layer in model.layers] == [0.5, 0.6, 0.7]
    assert [isinstance(layer, Recurrent) for layer in model.layers] == [False, True, False]
    assert all(float(layer.delays.value()) == 1.5 for layer in model.layers)
    config = RunConfig(dataset="digits", rule="tssl-bp", loss="psc", encoder="analog", hidden=(8,))
    model, _ = build(config, data)
    assert isinstance(model.layers[0], Analog)
    with pytest.raises(ValueError, match="--threshold needs one number for each of 3 spiking layers; got 2"):
        build(RunConfig(dataset="digits", hidden=(8, 7), thresholds=(1.0, 1.0)), data)


def test_a_start_without_weights_of_ones_own_works_below_a_readout(tmp_path):
    for rule in ("eventprop", "rate-based", "s-tllr", "ottt", "surrogate-bptt"):
        out = tmp_path / rule
        arguments = ["--dataset", "digits", "--rule", rule, "--encoder", "regular", "--out", str(out), *SMALL]
        config = tmp_path / f"{rule}.toml"
        config.write_text("weight_scale = []\nweight_mean = []\n")
        result = CliRunner().invoke(main, ["train", "--config", str(config), *arguments])
        assert result.exit_code == 0, result.output
        assert json.loads((out / "summary.json").read_text())["test_accuracy"] >= 0.0

"""Options that change nothing are named: every option with every rule either changes the weights or is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli import options as cli_options
from evsim.cli.main import main
from evsim.errors import SilentLayerError
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.losses import LOSSES
from evsim.experiment.presets import settings
from evsim.experiment.rules import RULES
from evsim.experiment.used_options import ALWAYS, DATA, NEEDS, NO_OPTIONS, check_used, unused
from evsim.io.datasets import LOADERS, load_dataset
from evsim.learning import calibrate
from evsim.spikes import SpikeBatch

# Values that differ from every preset, strong enough to act within two epochs on few samples; several for an option
# whose effect depends on the network.
VALUES = {
    "data_dir": ["somewhere"],
    "loss": ["smooth-count", "max-voltage", "psc"],
    "loss_options": [{"desired": 3.0}, {"scale": 0.2}, {"tau": 15.0}],
    "hidden": [(7,)],
    "network": ["3C3-S2"],
    "tau_m": [25.0],
    "tau_syn": [6.0],
    "t_ref": [7.0],
    "weight_mean": [(0.6, 0.1)],
    "weight_scale": [(0.35, 0.25)],
    "lateral_inhibition": [0.4],
    "recurrent_scale": [0.3],
    "recurrent_from": [1],
    "recurrent_delay": [3.0],
    "delay": [2.5],
    "thresholds": [(0.7, 0.8), (0.7,)],
    "trainable": [("bias",)],
    "neuron_rate": [0.07],
    "trainable_delays": ["input"],
    "max_delay": [3.0],
    "delay_rate": [0.07],
    "hidden_count": [2.5],
    "output_count": [2.5],
    "weighting": [13.0],
    "updates": ["within"],
    "every": [7.0],
    "since": [9.0],
    "bump": [0.05],
    "count_regularisation": [0.5],
    "silent_voltage": [0.5],
    "gradient_norm": [1e-7],
    "weight_limit": [1e-3],
    "optimiser": ["adamw", "sgd"],
    "weight_decay": [0.1],
    "decay": [0.3],
    "boosting": [0.5],
    "validation": [2],
    "duration": [27.0],
    "encoder": ["linear", "regular", "analog"],
    "window": [(3.0, 15.0)],
    "max_rate": [320.0],
    "frozen_noise": [True],
    "bias_spike": [2.0],
    "dropout": [0.4],
    "hidden_dropout": [0.4],
    "shift": [2.0],
    "turn": [40.0],
    "zoom": [0.4],
    "epochs": [1],
    "batch_size": [5],
    "rate": [0.03],
    "schedule": ["exponential"],
    "regularise": [(0.1, 1.0, 1.0)],
    "seed": [5],
    "train_size": [20],
}
QUIET = {"weight_mean": (0.03, 0.03), "weight_scale": (0.02, 0.02)}
WHERE = {"bump": QUIET, "count_regularisation": QUIET, "silent_voltage": QUIET,
         "t_ref": {"weight_mean": (3.0, 3.0), "weight_scale": (0.5, 0.3)}}  # fmt: skip
"""Settings in which an option acts on which only silent or busy neurons have an effect; of rules that train spikes."""

OFF_TEST = {"dataset", "data_options", "rule", "rule_options", "test_size", "threads"}
SMALL = {"train_size": 24, "test_size": 8, "hidden": (9,), "epochs": 2, "batch_size": 8, "validation": 0}


def trained(config: RunConfig) -> list[np.ndarray]:
    """The weights after two tiny epochs."""
    data = load_dataset(config.dataset, config.data_dir, config.train_size, config.test_size, **config.data_options)
    held = 0 if data.y_validation is not None else config.validation
    config = replace(config, validation=held, duration=data.duration or config.duration, grid=data.grid)
    model, trainer = build(config, data)
    if start(config, model):
        calibrate(model, data.x_train, config, [config.hidden_count] * len(config.parts) + [config.output_count], 8)
    try:
        for _ in trainer.epochs(data.x_train, data.y_train, data.x_test[:4] if hasattr(data.x_test, "ndim")
                                else data.x_test.take(np.arange(4)), data.y_test[:4]):  # fmt: skip
            pass
    except SilentLayerError:
        pass  # the weights were changed up to there
    return [np.array(w) for _, w in model.parameters()]


def asked(dataset: str, rule: str, given: dict) -> RunConfig:
    usual = settings(dataset, rule, {**SMALL, **given})
    if LOSSES[usual["loss"]].readout and "weight_scale" not in usual:  # without a preset: no thresholds to calibrate
        usual |= {"weight_mean": (0.5, 0.0), "weight_scale": (0.6, 0.3), **given}
    return RunConfig(**usual)


def verdict(dataset: str, rule: str, name: str, before: list[np.ndarray]) -> str:
    """"acts", the sentence of a refusal, or "ignored"."""
    said = "ignored"
    where = WHERE.get(name, {}) if rule not in ("ann", "linear") else {}
    if where:
        before = trained(asked(dataset, rule, where))
    for value in VALUES[name]:
        config = asked(dataset, rule, {**where, name: value})
        if found := unused(config, {name}):
            said = next(iter(found))
            continue
        try:
            after = trained(config)
        except (ValueError, SilentLayerError) as error:
            said = f"refused: {error}"
            continue
        if len(after) != len(before) or any(not np.array_equal(a, b) for a, b in zip(after, before)):
            return "acts"
    return said


def matrix(dataset: str, rule: str) -> dict[str, str]:
    before = trained(asked(dataset, rule, {}))
    return {name: verdict(dataset, rule, name, before) for name in VALUES}


@pytest.mark.parametrize("rule", ["eventprop", "ann"])
def test_every_option_acts_or_is_named(rule):
    found = matrix("digits", rule)
    assert [name for name, said in found.items() if said == "ignored"] == []
    assert all(found[name] == "acts" for name in ("rate", "batch_size", "epochs", "seed", "schedule", "train_size"))


def test_options_that_only_counts_of_spikes_use_act_or_are_named():
    before = trained(asked("digits", "hm2bp", {}))
    names = [n for n, v in VALUES.items() if all(unused(asked("digits", "eventprop", {n: x}), {n}) for x in v)]
    found = {name: verdict("digits", "hm2bp", name, before) for name in names}
    assert [name for name, said in found.items() if said == "ignored"] == []
    assert {name for name, said in found.items() if said == "acts"} >= {"lateral_inhibition", "output_count"}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dataset", ["digits", "temporal-xor", "yin-yang"])
def test_every_option_of_every_rule_acts_or_is_named(dataset, rule):
    assert [name for name, said in matrix(dataset, rule).items() if said == "ignored"] == []


def test_every_field_of_a_run_is_in_one_of_the_tables():
    options = {f.name for f in fields(RunConfig)} - NO_OPTIONS
    assert options == set(NEEDS) | ALWAYS and not set(NEEDS) & ALWAYS
    assert options == set(VALUES) | OFF_TEST
    taken = {p.name for p in main.commands["train"].params}
    assert options <= taken, "every setting has its option"


def test_names_for_completion_are_those_there_are():
    assert cli_options.RULE_NAMES == tuple(sorted(RULES)) and cli_options.LOSS_NAMES == tuple(sorted(LOSSES))
    assert set(cli_options.DATASETS) == set(LOADERS) == set(DATA)


@pytest.mark.parametrize("name", ["digits", "yin-yang", "randman", "temporal-xor", "spike-patterns"])
def test_kinds_of_data_are_as_they_are_described(name):
    data, kind = load_dataset(name, train_size=4, test_size=2), DATA[name]
    assert isinstance(data.x_train, SpikeBatch) == kind.spikes == (data.duration is not None)
    assert (data.grid is not None) == kind.pixels and (data.y_validation is not None) == kind.held and not kind.files


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weight-mean", "3", "--weight-mean", "1"], "--weight-mean is not used by this run: it needs --weight-s"),
        (["--weight-decay", "0.5"], "--weight-decay is not used by this run: it needs --optimiser adamw or sgd"),
        (["--decay", "0.5"], "--decay is not used by this run: it needs --schedule exponential"),
        (["--window", "5", "35"], "it needs --encoder latency or linear"),
        (["--max-delay", "3"], "it needs --trainable-delays"),
        (["--data-dir", "x"], "--data-dir is not used by this run: it needs a data set that is read from files"),
        (["--rule", "eventprop", "--lateral-inhibition", "1"], "it needs a loss of output spikes"),
        (["--rule", "eventprop", "--rule-option", "neuron_parameters=true"], "--rule-option neuron_parameters"),
        (["--dataset", "temporal-xor", "--duration", "20"], "it needs data that are numbers"),
        (["--rule", "ann", "--shift", "2", "--gradient-norm", "1"], "--gradient-norm is not used"),
        (["--optimiser", "adamw"], "without it adamw is adam"),
    ],
)
def test_an_unused_option_is_refused_before_anything_starts(tmp_path, arguments, words):
    result = CliRunner().invoke(main, ["train", "--threads", "1", "--out", str(tmp_path / "out"), *arguments])
    text = " ".join(result.output.split())
    assert result.exit_code == 1 and words in text and not (tmp_path / "out").exists()


def test_a_config_file_is_read_the_same_way_and_off_is_always_allowed(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("decay = 0.5\n")
    result = CliRunner().invoke(main, ["train", "--config", str(file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and "--decay is not used" in result.output
    off = {"dropout": 0.0, "weight_decay": 0.0, "bump": 0.0, "recurrent_scale": 0.0, "window": None}
    check_used(RunConfig(**settings("digits", "ann", off)), off)


def test_derivatives_by_neuron_parameters_are_said_to_be_of_no_use_in_training():
    data = load_dataset("digits", train_size=10, test_size=4)
    given = {**SMALL, "epochs": 1, "rule_options": {"neuron_parameters": True}}
    model, trainer = build(config := asked("digits", "eventprop", given), data)
    start(config, model)
    with pytest.warns(UserWarning, match=r"EventProp\(neuron_parameters=True\) .* of which training uses none"):
        next(trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test))

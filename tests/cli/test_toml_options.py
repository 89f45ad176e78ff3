"""Options from TOML: --config and the tables of evsim compare take values of the right kind, in every locale."""

import os
import subprocess
import sys

import click
import pytest

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import train
from evsim.errors import DataError, InputError
from helpers.files import mutants

CONFIG = 'dataset = "digits"\nhidden = [8, 4]\nepochs = 2\nrate = 5e-3\nrule = "hm2bp"\n[loss_options]\ndesired = 5\n'
COMPARE = """seeds = [1, 2]
agreement = 3
[common]
dataset = "digits"
train_size = 40
epochs = 1
hidden = [8]
[[run]]
rule = "ann"
[[run]]
rule = "hm2bp"
label = "b"
rate = 5e-3
"""


def parsed(path):
    return train.make_context("train", ["--config", str(path), "--out", "out"]).params


def test_a_byte_order_mark_is_skipped_in_both(tmp_path):
    (tmp_path / "t.toml").write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    assert parsed(tmp_path / "t.toml")["hidden"] == (8, 4)
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf" + COMPARE.encode())
    assert [label for label, _, _ in read_comparison(tmp_path / "c.toml").runs] == ["ann", "ann", "b", "b"]


def test_another_locale_changes_nothing(tmp_path):
    (tmp_path / "t.toml").write_bytes(("# Größe\n" + CONFIG).encode())
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    made = "train.make_context('train', sys.argv[1:])"
    code = f"import sys; from evsim.cli.main import train; print({made}.params['epochs'])"
    command = [sys.executable, "-c", code, "--config", tmp_path / "t.toml", "--out", "x"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.stdout.strip() == "2", result.stderr


@pytest.mark.parametrize(
    "line",
    ["epochs = 1.5", "epochs = true", "epochs = [1]", "hidden = 8", "hidden = [true]", "hidden = [[8]]",
     "rate = {a = 1}", "rate = 1979-05-27", "rate = " + "9" * 400, "frozen_noise = 1", "loss_options = 3",
     "loss_options = {a = 1979-05-27}", "regularise = 1.0", "dataset = []"],
)  # fmt: skip
def test_a_value_of_another_kind_is_named(tmp_path, line):
    (tmp_path / "t.toml").write_text(line)
    with pytest.raises(click.UsageError, match=r"t\.toml: " + line.split(" =")[0]):
        parsed(tmp_path / "t.toml")
    (tmp_path / "c.toml").write_text(f'[[run]]\nrule = "hm2bp"\n{line}\n')
    with pytest.raises(ValueError, match=r"c\.toml, run hm2bp: "):
        read_comparison(tmp_path / "c.toml")


def test_latin_1_is_named(tmp_path):
    (tmp_path / "t.toml").write_bytes("# Größe\n".encode("latin-1"))
    with pytest.raises(click.UsageError, match=r"t\.toml, line 1: .*UTF-8"):
        parsed(tmp_path / "t.toml")
    with pytest.raises(DataError, match=r"t\.toml, line 1: .*UTF-8"):
        read_comparison(tmp_path / "t.toml")


def test_no_mutant_of_options_ends_in_anything_but_a_sentence(tmp_path):
    for mutant in mutants(CONFIG, 300, 3):
        (tmp_path / "t.toml").write_bytes(mutant)
        try:
            parsed(tmp_path / "t.toml")
        except click.UsageError as error:
            assert error.format_message()


def test_no_mutant_of_a_comparison_ends_in_anything_but_a_sentence(tmp_path):
    for mutant in mutants(COMPARE, 300, 4):
        (tmp_path / "c.toml").write_bytes(mutant)
        try:
            read_comparison(tmp_path / "c.toml")
        except ValueError as error:
            assert isinstance(error, InputError)

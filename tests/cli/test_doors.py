"""What the command line takes and says: numbers, names, brackets, examples, listings."""

import json
import os
import subprocess
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import main
from evsim.cli.options import Number, wrapped
from evsim.experiment import named as named
from evsim.experiment.config import RunConfig, load_data
from evsim.experiment.examples import EXAMPLES, example_names, find_file
from evsim.experiment.losses import LOSSES
from evsim.experiment.network_run import SimulateConfig, declare
from evsim.experiment.rules import RULES, make_rule
from evsim.io import runs
from helpers.files import idx_bytes

SMALL = [
    "train", "--dataset", "digits", "--train-size", "40", "--test-size", "10", "--hidden", "8", "--duration", "30",
    "--threads", "1", "--epochs", "1",
]  # fmt: skip
NUMERIC = [
    (command, option.opts[-1], option.nargs)
    for command, entry in main.commands.items()
    for option in entry.params
    if isinstance(option, click.Option) and isinstance(option.type, Number | click.IntRange)
]


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def test_every_number_of_every_command_has_a_range():
    for command, entry in main.commands.items():
        for option in entry.params:
            assert option.type not in (click.FLOAT, click.INT), (command, option.name)
    assert len(NUMERIC) > 40


@pytest.mark.parametrize(("command", "option", "nargs"), NUMERIC)
def test_what_is_no_number_is_refused_by_a_sentence(command, option, nargs, tmp_path):
    needed = {"simulate": ["cuba"], "compare": ["compare_digits"]}.get(command, [])
    last = {"evaluate": [str(tmp_path)], "slurm": ["bench"]}.get(command, ["--out", str(tmp_path / "out")])
    for bad in ("nan", "inf", "-inf", "1e999", "many"):
        result = run(command, *needed, option, *[bad] * nargs, *last)
        assert result.exit_code == 2 and option in result.output and "Traceback" not in result.output, result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "good", "bad", "words"),
    [
        (Number(0.0, inside=True, unit="ms"), ["1e-9", 3], ["0", "-1", True, None], "must be finite and > 0 ms; got"),
        (Number(0.0), ["0", "2.5"], ["-1e-9"], "must be finite and >= 0; got"),
        (Number(-1.0, 1.0, inside=True), [0.5], [1, -1], "must be finite and > -1 and < 1; got"),
        (Number(), ["-7", "1e300"], ["nan"], "must be finite; got"),
    ],
)
def test_numbers_are_finite_and_in_their_range(kind, good, bad, words):
    assert [kind.convert(v, None, None) for v in good] == [float(v) for v in good]
    for value in bad:
        with pytest.raises(click.BadParameter, match=words):
            kind.convert(value, None, None)


def test_true_and_false_are_read_in_every_spelling():
    for text in ("False", "false", "no", "off", "0", 0, False):
        assert make_rule("hm2bp", {"pass_factor": text, "fake_target_train": text}) == make_rule(
            "hm2bp", {"pass_factor": False, "fake_target_train": False}
        )
    for text in ("True", "yes", "on", "1", 1, True):
        assert make_rule("hm2bp", {"pass_factor": text}).pass_factor is True
    with pytest.raises(ValueError, match=r"pass_factor of the rule hm2bp must be true or false; got 'maybe'"):
        make_rule("hm2bp", {"pass_factor": "maybe"})


def test_every_option_by_name_has_the_type_of_its_argument():
    for entries, given in ((RULES, ()), (LOSSES, None)):
        for name, entry in entries.items():
            for option, default in named.options_of(entry.make, entry.given if given is None else given).items():
                if isinstance(default, bool):
                    assert named.convert(name, entry.make, {option: "False"}) == {option: False}
                elif isinstance(default, float):
                    assert named.convert(name, entry.make, {option: ".5"}) == {option: 0.5}
                    for bad in (float("nan"), True, "x"):
                        with pytest.raises(ValueError, match=f"{option} of {name} must be a number"):
                            named.convert(name, entry.make, {option: bad})
                elif isinstance(default, int):
                    assert named.convert(name, entry.make, {option: "3."}) == {option: 3}
                    with pytest.raises(ValueError, match="must be an integer"):
                        named.convert(name, entry.make, {option: 2.5})


def test_options_of_data_are_read_in_the_same_way():
    few = {"classes": "2", "samples_per_class": 4.0, "alpha": "1."}
    data = load_data(RunConfig(dataset="randman", data_options=few))
    assert data.n_classes == 2
    for bad, words in (({"alpha": "x"}, "alpha of the data set randman must be a number"), ({"clases": 2}, "clases")):
        with pytest.raises(ValueError, match=words):
            load_data(RunConfig(dataset="randman", data_options=bad))


@pytest.mark.parametrize("name", ["run[lr=1]", "x[/]", "a[/b]"])
def test_brackets_in_a_folders_name_are_no_markup(tmp_path, name):
    net = tmp_path / "n[bold].toml"
    net.write_text("[populations.n]\nsize = 3\nbias = 2.0\n")
    simulated = run("simulate", net, "--t-stop", 20, "--threads", 1, "--no-plots", "--out", tmp_path / "s" / name)
    trained = run(*SMALL, "--out", tmp_path / "t" / name)
    for result in (simulated, trained):
        assert result.exit_code == 0, result.output
        assert name.split("/")[0] in result.output.replace("\n", "")


def test_the_summary_of_a_training_names_the_run(tmp_path):
    assert run(*SMALL, "--out", tmp_path / "r").exit_code == 0
    found = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert (found["dataset"], found["loss"], found["layers"]) == ("digits", "count", [64, 8, 10])
    assert (found["training_samples"], found["validation_samples"], found["test_samples"]) == (40, 0, 10)
    assert found["options"]["duration"] == 30.0 and found["command"].startswith("evsim train --dataset digits")


def test_a_validation_set_that_is_cut_is_named(tmp_path):
    result = run(*SMALL, "--validation", 30, "--out", tmp_path / "r")
    assert "40 training samples (3 of them set aside for validation)" in " ".join(result.output.split())


def test_data_files_are_found_from_any_folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for stem, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 255, (n, 4, 4), dtype=np.uint8)
        (tmp_path / "data" / f"{stem}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / "data" / f"{stem}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(n, dtype=np.uint8) % 10))
    monkeypatch.chdir(tmp_path)
    common = ["--dataset", "mnist", "--rule", "linear", "--epochs", "1", "--threads", "1"]
    assert run("train", *common, "--data-dir", "data", "--out", "r").exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("evaluate", "../r").exit_code == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    result = run("evaluate", "../r")
    assert result.exit_code == 1 and "was trained with --data-dir" in " ".join(result.output.split())
    assert run("evaluate", "../r", "--data-dir", "../moved").exit_code == 0


def test_examples_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert example_names() == ["compare_digits", "compare_mnist", "network"]
    found = declare(SimulateConfig("network"))
    assert found.t_stop == 400.0 and len(found.inputs["stimulus"]) > 0
    assert len(read_comparison(find_file("compare_digits")).runs) == 51
    (tmp_path / "network").write_text("")
    assert find_file("network").stat().st_size == 0 and find_file("none").name == "none"
    assert not find_file("x/network").exists() and (EXAMPLES / "network_spikes.txt").exists()


def test_common_options_that_a_run_does_not_use_are_named_and_its_own_refused():
    notes = read_comparison(find_file("compare_digits")).notes
    assert len(notes) == 2 and "ANN does not use these common options: encoder, max-rate" in notes[0]


def test_own_options_that_a_run_does_not_use_are_refused(tmp_path):
    (tmp_path / "c.toml").write_text('[common]\nepochs = 2\n[[run]]\nrule = "hm2bp"\ndecay = 0.5\n')
    with pytest.raises(ValueError, match="run hm2bp: --decay is not used by this run"):
        read_comparison(tmp_path / "c.toml")


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfepochs = 1\n", b"epochs = 1\nrule = \"\xff\"\n"])
def test_a_byte_order_mark_is_fine_and_other_bytes_are_a_sentence(tmp_path, text):
    (tmp_path / "c.toml").write_bytes(text)
    result = run("train", "--config", tmp_path / "c.toml", "--decay", "0.5", "--out", tmp_path / "out")
    assert result.exit_code in (1, 2) and "Traceback" not in result.output
    assert ("is not UTF-8" in result.output) == (b"\xff" in text)


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_no_name_is_cut_in_the_list_of_rules(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    text = run("rules").output
    for entries, given in ((RULES, ()), (LOSSES, None)):
        for name, entry in entries.items():
            assert f"\n{name}\n" in text
            assert all(option in text for option in named.options_of(entry.make, given or getattr(entry, "given", ())))


def test_a_closed_pipe_is_no_error():
    code = "import sys; from evsim.cli.main import main; sys.stdout.flush(); main(['rules'])"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.close()
    assert child.stderr.read() == "" and child.wait() != 0


def test_names_complete_in_a_shell():
    env = {**os.environ, "_EVSIM_COMPLETE": "bash_complete", "COMP_WORDS": "evsim train --rule ev", "COMP_CWORD": "3"}
    child = subprocess.run([sys.executable, "-c", "from evsim.cli.main import main; main(prog_name='evsim')"],
                           env=env, capture_output=True, text=True)  # fmt: skip
    assert "eventprop" in child.stdout


def test_messages_are_cut_between_words_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert wrapped("a " * 60) == "a " * 60
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    lines = ("Error: " + wrapped("word and more-words " * 8)).splitlines()
    assert len(lines) > 3 and all(len(line) <= 40 for line in lines)
    assert set(" ".join(lines).split()) == {"Error:", "word", "and", "more-words"}


def test_a_run_of_another_scale_is_not_shown_as_the_published_one(tmp_path):
    result = run("simulate", "microcircuit", "--scale", 0.01, "--t-stop", 10, "--no-plots", "--out", tmp_path / "m")
    assert "full" in result.output and "scale" in result.output
    found = json.loads((tmp_path / "m" / "summary.json").read_text())
    assert found["command"].startswith("evsim simulate microcircuit")
    assert runs.load_recording(tmp_path / "m" / "run.h5").t_stop == 10.0


def test_threads_and_chunks_that_are_not_used_are_named(tmp_path):
    (tmp_path / "n.toml").write_text("[populations.n]\nsize = 3\nbias = 2.0\n")
    command = ("simulate", tmp_path / "n.toml", "--t-stop", 20, "--driver", "queue", "--threads", 2, "--chunk", 50)
    text = " ".join(run(*command, "--no-plots", "--out", tmp_path / "o").output.split())
    assert "1 thread (the queue engine uses one)" in text and "--chunk 50 is not used: the run is no longer" in text
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["threads"] == 1

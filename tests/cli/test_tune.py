"""evsim tune: the same number of trials for every run, on validation accuracy, whatever is killed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from click.testing import CliRunner

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import main
from evsim.cli.tune_file import read_search
from evsim.errors import InputError, RunFileError
from evsim.experiment import processes
from evsim.experiment.claims import claimed
from evsim.experiment.toml_text import comparison_text, toml_value
from evsim.experiment.tune import tune
from evsim.text_files import read_toml
from helpers.comparisons import train_here
from helpers.paths import ROOT

pytest.importorskip("optuna")

BASE = """
[common]
dataset = "digits"
train_size = 120
test_size = 60
validation = 10
hidden = [5]
epochs = 2
"""
SEARCH = """
seeds = [1, 2]
[search]
trials = 3
rate = { low = 1e-3, high = 1e-1, log = true }
[search.common]
epochs = 1
""" + BASE + """
[[run]]
rule = "ann"
[run.search]
batch_size = [8, 16]
[[run]]
label = "Linear, 1"
rule = "linear"
"""  # fmt: skip


@pytest.fixture
def trained_here(monkeypatch):
    return train_here(monkeypatch)


def described(folder, text=SEARCH, name="search.toml"):
    path = folder / name
    path.write_text(text)
    return path


def run(*args):
    return CliRunner().invoke(main, ["tune", *(str(a) for a in args)])


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_run_has_as_many_trials_and_the_best_become_a_comparison(tmp_path, trained_here):
    out = tmp_path / "out"
    result = run(described(tmp_path), "--out", out, "--jobs", 1)
    assert result.exit_code == 0 and "evsim compare" in result.output, result.output
    rows = table(out / "trials.csv")
    assert [(r["label"], r["trial"], r["state"]) for r in rows] == [
        (label, str(k), "complete") for label in ("ann", "Linear, 1") for k in range(3)
    ]
    assert sorted(trained_here) == sorted([f"trial-000{k}/seed-1000" for k in range(3)] * 2)
    for row in rows:
        folder = out / ("ann" if row["label"] == "ann" else "linear-1") / f"trial-000{row['trial']}" / "seed-1000"
        (epoch,) = table(folder / "metrics.csv")
        assert float(epoch["validation_accuracy"]) == float(row["validation_accuracy"])
        options = json.loads((folder / "summary.json").read_text())["options"]
        assert options["rate"] == float(row["rate"]) and 1e-3 <= options["rate"] <= 1e-1
        assert options["test_size"] == 1 and options["epochs"] == 1, "no trial sees the test set"
        assert (row["batch_size"] in ("8", "16")) == (row["label"] == "ann")
    best = {r["label"]: r for r in table(out / "best.csv")}
    for label, row in best.items():
        mine = [r for r in rows if r["label"] == label]
        top = max(float(r["validation_accuracy"]) for r in mine)
        first = next(r for r in mine if float(r["validation_accuracy"]) == top)
        assert row["trial"] == first["trial"] and row["rate"] == first["rate"]
    chosen = read_comparison(out / "chosen.toml")
    assert [(label, seed) for label, seed, _ in chosen.runs] == [(x, s) for x in best for s in (1, 2)]
    for label, _, config in chosen.runs:
        assert config.rate == float(best[label]["rate"]) and (config.epochs, config.test_size) == (2, 60)
    assert run(described(tmp_path), "--out", out).exit_code == 0 and len(trained_here) == 6, "nothing is done twice"


def accuracy_of_its_rate(run, options, last_try):
    """In place of a training run."""
    accuracy = 1.0 - abs(run.config.rate - 0.02)
    (run.folder / "metrics.csv").write_text(f"epoch,validation_accuracy,test_accuracy\n1,{accuracy},1.0\n")
    return 0


def test_a_search_that_is_killed_goes_on_to_the_same_trials(tmp_path, monkeypatch):
    """With one process: the values of trials too, and no trial is lost or counted that did not end."""
    monkeypatch.setattr(processes, "_status", accuracy_of_its_rate)
    search = read_search(described(tmp_path, SEARCH.replace("trials = 3", "trials = 12")))
    whole = tune(search, tmp_path / "whole")
    for stop in (1, 4, 7):
        left = [stop]

        def killed(run, options, last_try, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return accuracy_of_its_rate(run, options, last_try)

        monkeypatch.setattr(processes, "_status", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(search, tmp_path / "cut")
    monkeypatch.setattr(processes, "_status", accuracy_of_its_rate)
    few = read_search(described(tmp_path, SEARCH.replace("trials = 3", "trials = 9")))
    assert len(tune(few, tmp_path / "cut").trials) == 18
    assert tune(search, tmp_path / "cut").trials == whole.trials, "nine and then twelve trials too"
    assert (tmp_path / "cut" / "chosen.toml").read_text() == (tmp_path / "whole" / "chosen.toml").read_text()
    rates = [row["rate"] for row in whole.trials if row["label"] == "ann"]
    assert len(set(rates)) == 12


def test_many_at_once_share_the_trials(tmp_path, monkeypatch):
    begun = []

    def counted(run, options, last_try):
        begun.append(run.label)
        time.sleep(0.02)
        return accuracy_of_its_rate(run, options, last_try)

    monkeypatch.setattr(processes, "_status", counted)
    search = read_search(described(tmp_path, SEARCH.replace("trials = 3", "trials = 4\nsampler = 'random'")))
    out, failures = tmp_path / "out", []

    def work():
        try:
            tune(search, out)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120.0)
    assert not failures and len(begun) == len(set(begun)) == 8
    rows = tune(search, out).trials
    assert [row["state"] for row in rows] == ["complete"] * 8
    alone = tune(search, tmp_path / "alone").trials
    assert rows == alone, "random trials do not depend on who does them"


def test_a_trial_that_another_one_told_meanwhile_is_left_alone(tmp_path, monkeypatch):
    """Between the look at what is open and the claim, somebody else did the whole search."""
    begun = []

    def counted(run, options, last_try):
        begun.append(run.label)
        return accuracy_of_its_rate(run, options, last_try)

    monkeypatch.setattr(processes, "_status", counted)
    search, late = read_search(described(tmp_path)), []

    def claimed_late(folder, name):
        if not late:
            late.append(folder)
            tune(search, tmp_path / "out")
        return claimed(folder, name)

    monkeypatch.setattr("evsim.experiment.tune.claimed", claimed_late)
    assert tune(search, tmp_path / "out").open == 0
    assert len(begun) == len(set(begun)) == 6


def test_values_that_do_not_train_cost_a_trial_but_a_fault_of_the_machine_none(tmp_path, monkeypatch, trained_here):
    text = SEARCH.replace("trials = 3", "trials = 2\nsampler = 'grid'").replace(
        "rate = { low = 1e-3, high = 1e-1, log = true }", "rate = [1e-2, 3e-2]"
    ).replace("batch_size = [8, 16]", "batch_size = [8]")  # fmt: skip
    search = read_search(described(tmp_path, text))
    status, faults = processes._status, ["OSError: no space left", None]

    def failing(run, options, last_try):
        if run.label == "ann, trial 1":
            (run.folder / "error.txt").write_text("SilentLayerError: layer 1 is silent\n")
            return 1
        if run.label == "Linear, 1, trial 0" and faults:
            error = faults.pop(0)
            if error is None:
                return -9
            (run.folder / "error.txt").write_text(error + "\n")
            return 1
        return status(run, options, last_try)

    monkeypatch.setattr(processes, "_status", failing)
    for still_open in (1, 1, 0):
        found = tune(search, tmp_path / "out")
        for path in (tmp_path / "out").glob("*/*/*/error.txt"):
            path.unlink()
        assert (found.open, found.chosen is None) == (still_open, still_open > 0)
    assert [row["state"].split(":")[0] for row in found.trials] == ["complete", "failed", "complete", "complete"]
    assert found.trials[1]["state"] == "failed: SilentLayerError: layer 1 is silent"
    values = [(row["rate"], row.get("batch_size")) for row in found.trials]
    assert values == [(0.01, 8), (0.03, 8), (0.01, None), (0.03, None)]
    assert found.best[0]["trial"] == 0 and found.best[0]["failed"] == 1


def test_choices_may_be_lists_and_tables_of_options(tmp_path):
    text = "seeds = [1]\n[search]\ntrials = 4\nsampler = 'grid'\nhidden = [[5], [6, 7]]\n" + BASE.replace(
        "hidden = [5]\n", ""
    ) + """
[[run]]
rule = "rate-based"
loss = "integral-voltage"
rule_options = { silent_share = 0.2 }
[run.search]
rule_options = [{ estimator = "surrogate" }, { estimator = "interval", silent_share = 0.1 }]
"""  # fmt: skip
    (searched,) = read_search(described(tmp_path, text)).runs
    assert list(searched.ranges) == ["hidden", "rule_options"] and searched.combinations() == 4
    values = {"hidden": [6, 7], "rule_options": {"estimator": "surrogate"}}
    config = searched.config(searched.with_values(values), 3)
    assert config.hidden == (6, 7) and config.seed == 3
    assert config.rule_options == {"silent_share": 0.2, "estimator": "surrogate"}
    assert searched.combination(3)["hidden"] == "[6, 7]"
    nested = text.split("[run.search]")[0].replace("'grid'", "'tpe'")
    nested += "[run.search.rule_options]\nsilent_share = { low = 0.0, high = 0.5 }\n"
    with pytest.raises(InputError, match=r"rule_options.silent_share has a value and a range"):
        read_search(described(tmp_path, nested))
    (searched,) = read_search(described(tmp_path, nested.replace("rule_options = { silent_share = 0.2 }", ""))).runs
    assert searched.with_values({"rule_options.silent_share": 0.25})["rule_options"] == {"silent_share": 0.25}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("trials = 3\n", "", "needs trials"),
        ("trials = 3\n", "trials = 3\nseeds = [2, 7]\n", r"seeds in common \(2\)"),
        ("trials = 3\n", "trials = 3\nsampler = 'best'\n", "sampler must be one of tpe, random, grid"),
        ("trials = 3\n", "trials = 3\nsampler = 'grid'\n", "tries all combinations.*got an interval"),
        ("batch_size = [8, 16]", "trials = 9", r"trials stand in \[search\], the same for every run"),
        ("batch_size = [8, 16]", "epochs = [1, 2]", "epochs cannot be searched"),
        ("batch_size = [8, 16]", "batch_size = [8, 0]", "run ann: .*--batch-size"),
        ("batch_size = [8, 16]", "batch_size = []", "must be a list of choices, or an interval such as"),
        ("batch_size = [8, 16]", "tau_m = [10.0]", "--tau-m is not used by this run"),
        ("low = 1e-3", "low = 0", "with log = true low > 0"),
        ("low = 1e-3", "low = 1e3", "low < high"),
        ("low = 1e-3", "least = 1e-3", "must be a list of choices"),
        ("validation = 10", "validation = 0", "needs validation samples"),
        ("train_size = 120", "train_size = 11", "needs validation samples"),
        ("epochs = 1", "test_size = 9", "they have no test"),
        ("rule = \"linear\"", "rule = \"linear\"\nepochs = 9", "same epochs for every run; got ann 1, Linear, 1 9"),
        ("rate = {", "rete = {", "no option rete"),
        ("rule = \"ann\"", "rule = \"ann\"\nbatch_size = 4", "batch_size has a value and a range"),
    ],
)  # fmt: skip
def test_a_wrong_search_is_refused_before_anything_runs(tmp_path, old, new, words):
    assert old in SEARCH
    with pytest.raises(ValueError, match=words):
        read_search(described(tmp_path, SEARCH.replace(old, new, 1)))


def test_a_comparison_is_no_search(tmp_path):
    with pytest.raises(InputError, match=r"no table \[search\]"):
        read_search(described(tmp_path, BASE + "[[run]]\nrule = 'ann'\n"))


def test_a_folder_holds_one_search(tmp_path, trained_here):
    out = tmp_path / "out"
    search = read_search(described(tmp_path, SEARCH.replace("trials = 3", "trials = 1")))
    tune(search, out)
    for old, new in (("1e-1", "1e-2"), ("epochs = 1", "epochs = 3"), ("trials = 3", "trials = 3\nseeds = [9]")):
        with pytest.raises(RunFileError, match="holds another"):
            tune(read_search(described(tmp_path, SEARCH.replace(old, new))), out)
    journal = (out / "study.journal").read_bytes()
    for damaged in (journal[:-20] + journal, b"no journal\n", b"{}\n"):
        (out / "study.journal").write_bytes(damaged)
        with pytest.raises(RunFileError, match=r"study\.journal is damaged"):
            tune(search, out)
    assert len(trained_here) == 2


def test_the_example_of_the_page_is_a_search(tmp_path):
    page = (ROOT / "docs" / "tune.md").read_text(encoding="utf-8")
    block = page.split("have ranges of their own:\n\n")[1].split("\n\n|")[0]
    search = read_search(str(described(tmp_path, textwrap.dedent(block))))
    assert [sorted(run.ranges) for run in search.runs] == [["rate", "rule_options.min_slope"], ["batch_size", "rate"]]
    assert search.trials == 20 and search.seeds == (1000,)


def test_compare_and_tune_know_each_others_files(tmp_path):
    result = CliRunner().invoke(main, ["compare", str(described(tmp_path)), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and "evsim tune does it" in " ".join(result.output.split())


def test_without_optuna_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = run(described(tmp_path), "--out", tmp_path / "out")
    assert result.exit_code == 1 and "pip install optuna" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_values_are_the_same_when_they_are_read_again(tmp_path):
    entry = {
        "label": 'a "b" \\ é \x7f\n', "rate": 1e-05, "hidden": [1, 2], "rule_options": {"a b": True, "c": 0.1},
        "weight_scale": [], "loss_options": {}, "n": 10**12,
    }  # fmt: skip
    text = comparison_text("one\n\ntwo", [1, 2], 5, {"epochs": 3}, [entry, {"rule": "ann"}])
    tree = read_toml(described(tmp_path, text))
    assert tree == {"seeds": [1, 2], "agreement": 5, "common": {"epochs": 3}, "run": [entry, {"rule": "ann"}]}
    assert toml_value((1, 2)) == "[1, 2]"


@pytest.mark.slow
def test_processes_that_are_killed_at_random_leave_every_trial_once(tmp_path):
    """Three processes on one study; with random values the trials are those of one process that nobody killed."""
    text = SEARCH.replace("trials = 3", "trials = 6\nsampler = 'random'").replace("epochs = 1", "epochs = 4")
    config, out, chance = described(tmp_path, text), tmp_path / "out", random.Random(1)

    def start():
        command = [sys.executable, "-m", "evsim", "tune", str(config), "--out", str(out), "--jobs", "1"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    workers, killed = [start() for _ in range(3)], 0
    until = time.monotonic() + 1200
    while any(w.poll() is None for w in workers) and time.monotonic() < until:
        time.sleep(chance.uniform(1.0, 4.0))
        k = chance.randrange(3)
        if killed < 6 and workers[k].poll() is None:
            workers[k].send_signal(signal.SIGKILL)
            workers[k].wait()
            workers[k], killed = start(), killed + 1
    assert killed and start().wait(timeout=600) == 0
    whole = tune(read_search(config), tmp_path / "whole", jobs=2)
    assert tune(read_search(config), out).trials == whole.trials
    assert os.path.exists(out / "chosen.toml")
    for log in out.glob("*/*/*/log.txt"):
        epochs = [line.split(",")[0] for line in log.read_text().splitlines() if line.startswith("epoch ")]
        assert len(epochs) == len(set(epochs))

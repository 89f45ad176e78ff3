"""Comparisons by any executor, in parts, and with workers that are killed: the same tables, and no epoch twice."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import psutil
import pytest
from click.testing import CliRunner

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import main
from evsim.errors import InputError, RunFileError
from evsim.experiment.claims import claimed
from evsim.experiment.comparison import Part
from evsim.experiment.run_comparison import collected, run_comparison
from evsim.ranks.alone import Alone
from helpers.comparisons import train_here
from helpers.mpi import mpi, mpi_command, mpi_environment

TINY = """
seeds = [1, 2, 3]
[common]
dataset = "digits"
train_size = 60
test_size = 30
hidden = [5]
epochs = 2
[[run]]
rule = "ann"
[[run]]
rule = "linear"
"""
MEASURED = ("seconds", "samples_per_second", "peak_memory_mb", "working_memory_mb")
TABLES = ("epochs.csv", "runs.csv", "compare.csv")


def described(folder, text=TINY, name="compare.toml"):
    path = folder / name
    path.write_text(text)
    return path


def run(*args):
    return CliRunner().invoke(main, ["compare", *(str(a) for a in args)])


def tables(out):
    """All tables but for what is measured by a clock or in memory."""
    return {
        name: [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader((out / name).open())]
        for name in TABLES
    }


@pytest.fixture
def trained_here(monkeypatch):
    return train_here(monkeypatch)


class Foreign(Executor):
    """An executor that is none of the library's: it does each call at once, on values that went through pickle."""

    def submit(self, function, *args):
        import pickle

        future = Future()
        function, args = pickle.loads(pickle.dumps((function, args)))
        future.set_result(pickle.loads(pickle.dumps(function(*args))))
        return future


def test_any_executor_and_any_number_of_parts_leave_the_same_tables(tmp_path, trained_here):
    config = described(tmp_path)
    comparison = read_comparison(str(config))
    run_comparison(comparison, tmp_path / "own", jobs=2)
    run_comparison(comparison, tmp_path / "foreign", executor=Foreign())
    whole = tables(tmp_path / "own")
    assert [len(whole[name]) for name in TABLES] == [12, 6, 2]
    assert tables(tmp_path / "foreign") == whole
    for k in (3, 1, 2):
        result = run(config, "--out", tmp_path / "parts", "--part", f"{k}/3", "--jobs", 1)
        assert result.exit_code == 0 and f"part {k}/3: 2 of 2 runs are complete" in result.output
        assert not any((tmp_path / "parts" / name).exists() for name in TABLES)
        if k == 3:
            said = run(config, "--out", tmp_path / "parts", "--collect").output
            assert "ann, seed 1: 0 of 2 epochs" in said and "ann, seed 3" not in said
            for name in TABLES:
                (tmp_path / "parts" / name).unlink()
    assert run(config, "--out", tmp_path / "parts", "--collect").exit_code == 0
    assert tables(tmp_path / "parts") == whole and len(trained_here) == 18
    assert run(config, "--out", tmp_path / "parts", "--part", "2/3", "--resume").exit_code == 0
    assert len(trained_here) == 18, "complete runs stay as they are"


def test_parts_cover_all_runs_once_and_evenly(tmp_path):
    asked = read_comparison(described(tmp_path)).in_folder(tmp_path)
    for n in (1, 2, 3, 4, 6, 9):
        shares = [Part(k, n).share(asked) for k in range(1, n + 1)]
        assert sorted(str(r.folder) for s in shares for r in s) == sorted(str(r.folder) for r in asked)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--part", "4/3"], "1 <= k <= n; got 4/3"),
        (["--part", "0/3"], "1 <= k <= n; got 0/3"),
        (["--part", "x"], "such as 2/3; got x"),
        (["--part", "1/3", "--overwrite"], "would remove what other parts do"),
        (["--executor", "mpi", "--jobs", "2"], "mpiexec -n or srun -n says how many"),
        (["--collect", "--resume"], "does no run"),
        (["--collect"], "holds no comparison"),
    ],
)
def test_bad_use_is_told_in_a_sentence(tmp_path, options, words):
    result = run(described(tmp_path), "--out", tmp_path / "out", *options)
    assert result.exit_code in (1, 2) and words in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


def test_several_processes_that_would_all_do_everything_are_refused(tmp_path, monkeypatch, trained_here):
    monkeypatch.setenv("PMI_SIZE", "4")
    config = described(tmp_path, TINY.replace("[1, 2, 3]", "[1]"))
    result = run(config, "--out", tmp_path / "out")
    words = "started as 4 processes (PMI_SIZE=4) but without --executor mpi or --part k/n"
    assert result.exit_code == 1 and words in " ".join(result.output.split())
    assert run(config, "--out", tmp_path / "out", "--part", "1/2").exit_code == 0


def test_a_folder_holds_one_comparison(tmp_path, trained_here):
    out = tmp_path / "out"
    one = "seeds = [1]" + TINY.split("]", 1)[1]
    assert run(described(tmp_path, one), "--out", out, "--part", "1/2").exit_code == 0
    others = {
        "other settings: epochs = 2 (now 3)": one.replace("epochs = 2", "epochs = 3"),
        "another comparison, of ann, linear": one.split("[[run]]")[0] + '[[run]]\nlabel = "x"\nrule = "ann"\n',
    }
    for words, text in others.items():
        config = described(tmp_path, text, "other.toml")
        for options in (["--part", "2/2"], ["--part", "2/2", "--resume"], ["--resume"], ["--collect"]):
            result = run(config, "--out", out, *options)
            assert result.exit_code == 1 and words in " ".join(result.output.split()), (options, result.output)
    assert len(trained_here) == 1
    more = described(tmp_path, "seeds = [1, 2]" + TINY.split("]", 1)[1], "more.toml")
    assert run(more, "--out", out, "--resume").exit_code == 0 and len(trained_here) == 4
    config = described(tmp_path, others["other settings: epochs = 2 (now 3)"], "other.toml")
    assert run(config, "--out", out).exit_code == 1
    assert run(config, "--out", out, "--overwrite").exit_code == 0
    assert sorted(p.parent.name for p in out.glob("*/*/run.h5")) == ["seed-1", "seed-1"], "no run of before is left"
    assert json.loads((out / "comparison.json").read_text())["labels"]["ann"]["epochs"] == 3


def test_of_parts_that_start_at_once_with_two_files_one_is_refused(tmp_path, trained_here, monkeypatch):
    """Both have seen an empty folder."""
    from evsim.experiment import comparison_folder

    first = read_comparison(described(tmp_path))
    second = read_comparison(described(tmp_path, TINY.replace("hidden = [5]", "hidden = [6]")))
    link = os.link

    def late(source, target):
        monkeypatch.setattr(os, "link", link)
        comparison_folder.record(comparison_folder.describe(first), tmp_path / "out")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(RunFileError, match="hidden"):
        run_comparison(second, tmp_path / "out", part=Part(1, 3))
    assert not trained_here
    with pytest.raises(RunFileError, match="hidden"):
        collected(second, tmp_path / "out")


def test_one_part_is_not_done_by_two_at_once(tmp_path, trained_here):
    comparison = read_comparison(described(tmp_path))
    (tmp_path / "out").mkdir()
    with claimed(tmp_path / "out", "part-1-of-3"):
        with pytest.raises(RunFileError, match="another evsim"):
            run_comparison(comparison, tmp_path / "out", part=Part(1, 3))
        run_comparison(comparison, tmp_path / "out", part=Part(2, 3))
    assert len(trained_here) == 2


def test_a_worker_that_is_lost_ends_no_other_run(tmp_path, trained_here):
    class Losing(Foreign):
        def submit(self, function, *args):
            if args[0].seed == 2:
                future = Future()
                future.set_exception(ConnectionError("the node went down"))
                return future
            return super().submit(function, *args)

    ended = {}
    results = run_comparison(
        read_comparison(described(tmp_path)), tmp_path / "out", executor=Losing(),
        ended=lambda run, error: ended.update({(run.label, run.seed): error}),
    )  # fmt: skip
    assert [row["complete"] for row in results.labels] == [2, 2]
    assert ended["ann", 2] == "the executor lost it: ConnectionError: the node went down" and not ended["ann", 3]


def test_a_part_is_a_share():
    with pytest.raises(InputError, match="got 3/2"):
        Part(3, 2)


@mpi
@pytest.mark.slow
def test_processes_mpi_and_parts_leave_identical_tables(tmp_path):
    """As users start them."""
    config = described(tmp_path, TINY.replace('rule = "ann"', 'rule = "eventprop"\nduration = 30.0'))
    environment = mpi_environment()

    def command(folder, *options):
        return ["-m", "evsim", "compare", str(config), "--out", str(tmp_path / folder), *options]

    def finish(*started):
        for process in started:
            said = process.communicate(timeout=600)[0]
            assert process.returncode == 0, said

    def start(program):
        return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    finish(start([sys.executable, *command("processes", "--jobs", "2")]))
    finish(start(mpi_command(3, command("mpi", "--executor", "mpi"))))
    finish(*(start([sys.executable, *command("parts", "--part", f"{k}/3", "--jobs", "1")]) for k in (1, 2, 3)))
    finish(start([sys.executable, *command("parts", "--collect")]))
    whole = tables(tmp_path / "processes")
    assert all(row["status"] == "complete" for row in whole["runs.csv"]) and len(whole["runs.csv"]) == 6
    assert tables(tmp_path / "mpi") == whole and tables(tmp_path / "parts") == whole


@mpi
def test_under_mpi_without_workers_a_sentence_says_what_to_do(tmp_path):
    result = run(described(tmp_path), "--out", tmp_path / "out", "--executor", "mpi")
    assert result.exit_code == 1 and "mpiexec -n 9 evsim compare" in " ".join(result.output.split())


def test_over_mpi_machines_of_two_kinds_are_refused(tmp_path, monkeypatch):
    class Ranks(Alone):
        size = 2

        def objects(self, value):
            _, versions = value
            return [value, ("node7", {**versions, "numba": "0.1"})]

    monkeypatch.setattr("evsim.experiment.executors.world", Ranks)
    result = run(described(tmp_path), "--out", tmp_path / "out", "--executor", "mpi")
    assert result.exit_code == 1 and "rank 1 on node7 has numba 0.1" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_ends_with_the_process_that_waits_for_it(tmp_path):
    """Killed, not asked to end; and the folder is free at once."""
    config = described(tmp_path, TINY.replace("epochs = 2", "epochs = 100000").replace("[1, 2, 3]", "[1]"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "evsim", "compare", str(config), "--out", str(out), "--part", "1/2"]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not (out / "ann" / "seed-1" / "run.h5").exists() and time.monotonic() < until:
        time.sleep(0.01)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 1
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(children, timeout=30)[1]
    with claimed(out / "ann" / "seed-1", "run"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [int(os.environ.get("EVSIM_QUEUE", "6"))])  # 20: a queue of 40 runs
def test_a_queue_whose_workers_are_killed_at_random_is_done_to_its_end_and_nothing_twice(tmp_path, seeds):
    """Three parts at work; every few seconds a process of one of them, or a whole part, is killed and started anew."""
    text = TINY.replace("[1, 2, 3]", str([*range(1, seeds + 1)])).replace("epochs = 2", "epochs = 6")
    config, out = described(tmp_path, text), tmp_path / "out"
    chance = random.Random(1)

    def start(k):
        command = [sys.executable, "-m", "evsim", "compare", str(config), "--out", str(out), "--jobs", "1"]
        return subprocess.Popen([*command, "--part", f"{k}/3", "--resume"], stdout=subprocess.DEVNULL)

    parts = {k: start(k) for k in (1, 2, 3)}
    killed, until = 0, time.monotonic() + 3000
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.5, 4.0))
        alive = [k for k, part in parts.items() if part.poll() is None]
        if not alive and killed >= 2 * seeds:
            break
        if alive and killed < 2 * seeds:
            victim = psutil.Process(parts[chance.choice(alive)].pid)
            children = victim.children()
            chance.choice([victim, *children]).send_signal(signal.SIGKILL)
            killed += 1
        for k, part in parts.items():
            if part.poll() not in (None, 0):
                parts[k] = start(k)
        if not alive and killed < 2 * seeds:
            break
    parts = {k: start(k) for k in (1, 2, 3)}  # a run whose process alone was killed had failed
    assert all(part.wait(timeout=3000) == 0 for part in parts.values()) and killed >= seeds // 2
    results = collected(read_comparison(config), out)
    assert [row["status"] for row in results.runs] == ["complete"] * (2 * seeds)
    for log in out.glob("*/*/log.txt"):
        epochs = [int(line.split(",")[0][6:]) for line in log.read_text().splitlines() if line.startswith("epoch ")]
        assert epochs == sorted(set(epochs)) and epochs[-1] == 6, log
    whole = tmp_path / "whole"
    with ThreadPoolExecutor(2) as pool:
        run_comparison(read_comparison(config), whole, executor=pool)
    assert tables(out) == tables(whole)

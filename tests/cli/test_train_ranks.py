"""``evsim train --mpi``: what several processes leave is what one leaves, and all end where one cannot go on."""

import csv
import subprocess
import time

import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.io import runs
from helpers.mpi import mpi, mpi_command, mpi_environment, run_ranks

pytestmark = mpi

SMALL = [
    "train", "--dataset", "digits", "--train-size", "90", "--test-size", "20", "--hidden", "12",
    "--duration", "40", "--threads", "1", "--seed", "3",
]  # fmt: skip


def train(ranks, out, *more):
    """On so many ranks, in processes of their own; 0: here, without --mpi."""
    arguments = [*SMALL, *more, "--out", str(out), *(["--mpi"] if ranks else [])]
    if not ranks:
        assert CliRunner().invoke(main, arguments).exit_code == 0
        return ""
    done = subprocess.run(
        mpi_command(ranks, ["-m", "evsim", *arguments]), env=mpi_environment(), capture_output=True, text=True,
        timeout=120.0, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def left(folder):
    """Everything of a run that does not say how long it took."""
    state = runs.load_run(folder / "run.h5")
    arrays = [*state["weights"], *state["optimiser"]["first"], *state["best"]["weights"], state["boost"]]
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    timed = {"seconds", "samples_per_second"}
    return [a.tobytes() for a in arrays], [{k: v for k, v in row.items() if k not in timed} for row in rows]


@pytest.mark.slow
def test_two_ranks_leave_what_one_process_leaves(tmp_path):
    more = ["--boosting", "20", "--rule", "hm2bp", "--epochs", "2"]
    train(0, tmp_path / "one", *more)
    said = train(2, tmp_path / "some", *more)
    assert said.count("thresholds calibrated") == 1 and "2 ranks, 1 threads each" in said
    assert left(tmp_path / "one") == left(tmp_path / "some")
    files, others = (sorted(p.name for p in (tmp_path / name).iterdir()) for name in ("one", "some"))
    assert files == others


@pytest.mark.slow
def test_where_one_rank_fails_all_end_within_seconds_and_others_go_on_to_what_one_process_leaves(tmp_path):
    """On three ranks, one of which cannot go on in the second epoch; then on two."""
    more = ["--boosting", "20", "--rule", "eventprop", "--epochs", "2"]
    train(0, tmp_path / "one", *more)
    failed = run_ranks(
        3,
        f"""
        import time
        from evsim.errors import GradientError
        from evsim.learning.training.trainer import Trainer
        from evsim.cli.main import main

        learn = Trainer._learn

        def failing(self, x, y, batch, rate, epoch):
            if self.comm.rank == 2 and epoch == 2:
                raise GradientError(f"no step at {{time.time()}}")
            return learn(self, x, y, batch, rate, epoch)

        Trainer._learn = failing
        main([*{SMALL!r}, *{more!r}, "--mpi", "--out", {str(tmp_path / "some")!r}])
        """,
    )
    words = "Error on rank 2 of 3, which ends all: no step at "
    assert failed.returncode != 0 and words in failed.stderr, failed.stderr
    assert time.time() - float(failed.stderr.split(words)[1].split()[0]) < 20
    assert train(2, tmp_path / "some", *more, "--resume").count("resuming after epoch") == 1
    assert left(tmp_path / "one") == left(tmp_path / "some")


@pytest.mark.slow
@pytest.mark.parametrize("more, words", [
    (["--rule", "tssl-bp", "--rule-option", "warm_up=0.5"], "TSSLBP looks at whole batches"),
    (["--rule", "ottt", "--loss", "momentary-count", "--updates", "within"], "not shared among ranks"),
])  # fmt: skip
def test_what_all_ranks_meet_alike_is_said_once(tmp_path, more, words):
    done = subprocess.run(
        mpi_command(3, ["-m", "evsim", *SMALL, *more, "--out", str(tmp_path / "run"), "--mpi"]), env=mpi_environment(),
        capture_output=True, text=True, timeout=120.0, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and " ".join(done.stderr.split()).count(words) == 1
    assert not (tmp_path / "run").exists()

"""Runs of comparisons and searches without a process for each."""

import io
import threading

import pytest

from evsim.experiment import processes
from evsim.experiment.claims import claimed
from evsim.experiment.run_process import train


def train_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on runs are trained in this process, one after the other and without pictures; returns their folders,
    each when it begins."""
    trained: list[str] = []
    one = threading.Lock()

    def status(run, options, last_try):
        with one, claimed(run.folder, "run"):
            (run.folder / "error.txt").unlink(missing_ok=True)
            trained.append("/".join(run.folder.parts[-2:]))
            try:
                train(run, options, True, io.StringIO())
            except Exception as error:
                (run.folder / "error.txt").write_text(f"{type(error).__name__}: {error}\n")
                return 1
        return 0

    monkeypatch.setattr(processes, "_status", status)
    monkeypatch.setattr("evsim.experiment.training_run.TrainingRun.pictures", lambda self: {})
    monkeypatch.setattr("evsim.plot.comparison.pictures", lambda rows: {})
    return trained

"""The process of one run, which reads what to do from its standard input; see ``processes``."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from functools import partial
from typing import TextIO

from threadpoolctl import threadpool_limits

from evsim.experiment.claims import Held, claimed
from evsim.experiment.comparison import Run, is_done
from evsim.experiment.observer import Observer
from evsim.experiment.processes import HELD, RunOptions
from evsim.experiment.training_run import prepare, saved_state

_PATIENCE = 2.0
"""Seconds to wait for a folder: the process of a comparison that was killed takes a moment to end."""


def main() -> None:
    """Train in the folder of a run, or continue there. Standard output says how it goes, error.txt why it failed."""
    # Ctrl-C reaches this process too; the one that started it decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    run, options, last_try = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        # A run that another machine has taken over, since this one was not seen for minutes, is left to it.
        with claimed(run.folder, "run", _PATIENCE, partial(os._exit, HELD), until_silent=True):
            (run.folder / "error.txt").unlink(missing_ok=True)
            try:
                if not is_done(run):
                    with threadpool_limits(run.config.threads):
                        train(run, options, last_try, sys.stdout)
            except Exception as error:
                (run.folder / "error.txt").write_text(f"{type(error).__name__}: {error}\n")
                traceback.print_exc()
                raise SystemExit(1) from error
    except Held as error:
        raise SystemExit(HELD) from error


def train(run: Run, options: RunOptions, last_try: bool, log: TextIO) -> None:
    """Train in the folder of a run, from its last complete epoch.

    Raises SystemExit : kernels had to be compiled, whose memory is not to count; not at the ``last_try``
    """
    file = run.folder / "run.h5"
    saved = saved_state(run.config, file) if file.exists() else None
    training = prepare(run.config, saved)
    observe = Observer(options.agreement, last_try)
    observe(training.trainer, training.data)
    if training.thresholds:
        log.write("thresholds calibrated: " + ", ".join(f"{v:.4g}" for v in training.thresholds) + "\n")
    if saved is not None:
        log.write(f"resuming after epoch {training.trainer.epoch} of {training.config.epochs}\n")
    log.flush()
    for row in training.epochs(run.folder, observe=observe):
        log.write(", ".join(f"{name} {value:.6g}" for name, value in row.items()) + "\n")
        log.flush()
    training.finish(run.folder, "", pictures=options.pictures)


def _end_with(parent: int) -> None:
    """End this process when the one that started it has ended: its successor goes on in the same folder."""
    threading.Thread(target=_end_with_pipe, daemon=True).start()
    # A process that was forked off meanwhile may hold the pipe open.
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def _end_with_pipe() -> None:
    # Not sys.stdin, whose lock this thread would hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)

"""The runs of a comparison, each in a process of its own, and what is measured there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from evsim.errors import GradientError
from evsim.experiment.comparison import Run, is_done
from evsim.experiment.kernels import kernels_on_disk
from evsim.io.datasets import Dataset
from evsim.learning import Trainer
from evsim.learning.baselines.ann import ANNTrainer
from evsim.learning.checks.gradcheck import training_agreement
from evsim.memory import peak_memory_mb, reset_peak_memory

COMPILED = 75
"""Status of a process that ends because it had to compile kernels: the next one finds them."""


def run_all(
    asked: list[Run], jobs: int, train: Callable[[Run, bool], None]
) -> Generator[tuple[Run, str | None], None, None]:
    """Runs as they end, ``jobs`` at a time, with what went wrong; complete ones stay as they are.

    train(run, last_try) : what a process does, a function that can be pickled; see ``Observer``
    """
    spawn = multiprocessing.get_context("spawn")
    children: list[Any] = []

    def one(run: Run) -> str | None:
        if is_done(run):
            return None
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "error.txt").unlink(missing_ok=True)
        for last_try in (False, False, True):
            child = spawn.Process(target=train, args=(run, last_try), daemon=True)
            children.append(child)
            child.start()
            child.join()
            if child.exitcode != COMPILED:
                break
        return None if child.exitcode == 0 else run.error or f"ended with status {child.exitcode}"

    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = {pool.submit(one, run): run for run in asked}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in children:
                if child.is_alive():
                    child.terminate()


def end_with_parent() -> None:
    """Let this process end when the one that started it does, and leave Ctrl-C, which reaches both, to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


class Observer:
    """What a comparison adds to an epoch's row: memory of the process, and agreement with the true gradient.

    Memory is measured before gradients are compared, which needs some of its own.
    """

    def __init__(self, samples: int, lock: Path, last_try: bool) -> None:
        self.samples, self.lock, self.last_try = samples, lock, last_try
        self.kernels = kernels_on_disk()
        self.before: float | None = None
        self.peak = 0.0

    def __call__(self, trainer: Trainer, data: Dataset) -> dict[str, float]:
        """First: load the kernels, so that no epoch is charged for it. Then: the figures after an epoch."""
        if self.before is None:
            self.before = psutil.Process().memory_info().rss / 2**20
            reset_peak_memory()  # what choosing thresholds took does not count
            with _alone(self.lock):
                self._load_kernels(trainer, data)
            if kernels_on_disk() > self.kernels and not self.last_try:
                raise SystemExit(COMPILED)
            return {}
        if not (self.samples and self.peak):
            self.peak = peak_memory_mb()
        row = {"peak_memory_mb": self.peak, "working_memory_mb": max(self.peak - self.before, 0.0)}
        if self.samples and not isinstance(trainer, ANNTrainer):
            row |= self._agreement(trainer, data)
        return row

    def _load_kernels(self, trainer: Trainer, data: Dataset) -> None:
        few = np.arange(min(trainer.options.batch_size, len(data.x_train)))
        trainer.load_kernels(trainer.inputs(data.x_train, few, 1), data.y_train[few])
        if self.samples and not isinstance(trainer, ANNTrainer):
            self._agreement(trainer, data)

    def _agreement(self, trainer: Trainer, data: Dataset) -> dict[str, float]:
        few = np.arange(min(self.samples, len(data.x_train)))
        inputs = trainer.inputs(data.x_train, few, 1)
        try:
            agreements = training_agreement(trainer, inputs, data.y_train[few])
        except GradientError:  # the loss has no true gradient
            return {}
        row: dict[str, float] = {}
        for a in agreements:
            place = f"layer {a.layer + 1} {a.parameter}"
            row |= {f"cosine {place}": a.cosine, f"signs {place}": a.sign_agreement, f"scale {place}": a.scale}
        return row


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock among processes; the system lets go of it when its holder ends, however it does."""
    try:
        import fcntl
    except ImportError:
        with _by_process_id(lock.with_suffix(".pid")):
            yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _by_process_id(file: Path) -> Iterator[None]:
    """The same where there is no fcntl (Windows): a file that can be made once, with the holder's process id."""
    while True:
        try:
            with file.open("x", encoding="ascii") as new:
                new.write(str(os.getpid()))
            break
        except FileExistsError:
            if not _holder_runs(file):
                file.unlink(missing_ok=True)
            time.sleep(0.1)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _holder_runs(file: Path) -> bool:
    """Does the process run whose id stands in the file? A file without one, just made, counts as held for a second."""
    try:
        written = file.read_text(encoding="ascii")
        return psutil.pid_exists(int(written)) if written else time.time() - file.stat().st_mtime < 1.0
    except (OSError, ValueError):
        return False


def _end_with_parent(parent: int) -> None:
    # A comparison that was killed must not leave runs behind that write where its successor goes on.
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)

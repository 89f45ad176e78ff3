"""What a comparison measures of a run, in the process that trains."""

from __future__ import annotations

import hashlib

import numpy as np
import psutil

from evsim._kernels.jit import cache_folder
from evsim.errors import GradientError
from evsim.experiment.claims import one_at_a_time
from evsim.experiment.kernels import kernels_on_disk
from evsim.experiment.processes import COMPILED
from evsim.io.datasets import Dataset
from evsim.learning import Trainer
from evsim.learning.baselines.ann import ANNTrainer
from evsim.learning.checks.gradcheck import training_agreement
from evsim.memory import peak_memory_mb, reset_peak_memory

_COMPILING = f"compiling-{hashlib.sha256(str(cache_folder()).encode()).hexdigest()[:16]}"
"""Held by the process of this machine that loads kernels: others would compile the same ones at the same time."""

_PATIENCE = 600.0
"""Seconds after which a process compiles beside another one all the same."""


class Observer:
    """What a comparison adds to an epoch's row: memory of the process, and agreement with the true gradient.

    Memory is measured before gradients are compared, which needs some of its own.
    """

    def __init__(self, samples: int, last_try: bool) -> None:
        self.samples, self.last_try = samples, last_try
        self.kernels = kernels_on_disk()
        self.before: float | None = None
        self.peak = 0.0

    def __call__(self, trainer: Trainer, data: Dataset) -> dict[str, float]:
        """First: load the kernels, so that no epoch is charged for it. Then: the figures after an epoch."""
        if self.before is None:
            self.before = psutil.Process().memory_info().rss / 2**20
            reset_peak_memory()  # what choosing thresholds took does not count
            with one_at_a_time(_COMPILING, _PATIENCE):
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

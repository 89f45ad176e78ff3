"""Step sizes over a run: each schedule is a small value, and has the name of its option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evsim.errors import InputError
from evsim.learning.fields import check_fields


class Schedule(Protocol):
    """The step size at any time of a run."""

    def __call__(self, rate: float, epoch: int, progress: float, epochs: int) -> float:
        """rate : at the beginning; epoch : counted from 1; progress : of this epoch, 0 ... 1; epochs : of the run"""
        ...


@dataclass(frozen=True)
class Constant:
    """``rate`` throughout."""

    def __call__(self, rate: float, epoch: int, progress: float, epochs: int) -> float:
        """As `Schedule`."""
        return rate


@dataclass(frozen=True)
class InverseSqrt:
    """rate / sqrt(epoch)."""

    def __call__(self, rate: float, epoch: int, progress: float, epochs: int) -> float:
        """As `Schedule`."""
        return rate / float(np.sqrt(epoch))


@dataclass(frozen=True)
class Cosine:
    """From ``rate`` to 0 at the end of the run, along half a period of a cosine."""

    def __call__(self, rate: float, epoch: int, progress: float, epochs: int) -> float:
        """As `Schedule`."""
        done = min((epoch - 1 + progress) / epochs, 1.0)
        return rate * 0.5 * (1.0 + float(np.cos(np.pi * done)))


@dataclass(frozen=True)
class Exponential:
    """Times ``decay`` after each epoch."""

    decay: float = 0.95

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.decay > 0:
            raise InputError(f"decay must be > 0; got {self.decay}.")

    def __call__(self, rate: float, epoch: int, progress: float, epochs: int) -> float:
        """As `Schedule`."""
        return float(rate * self.decay ** (epoch - 1))


SCHEDULES = {"constant": Constant, "sqrt": InverseSqrt, "cosine": Cosine, "exponential": Exponential}
"""Schedules by the names of the command line."""


def schedule_of(schedule: str | Schedule, decay: float) -> Schedule:
    """The schedule itself; "exponential" takes ``decay``. Raises InputError : no such name, or no schedule."""
    if isinstance(schedule, str) and schedule in SCHEDULES:
        kind: Any = SCHEDULES[schedule]
        return kind(decay) if kind is Exponential else kind()
    if isinstance(schedule, str) or not callable(schedule):
        raise InputError(f"schedule must be constant, sqrt, cosine or exponential; got {schedule!r}.")
    return schedule

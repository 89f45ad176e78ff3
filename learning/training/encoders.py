"""How numbers become the input of a model: each encoder is a small value, and has the name of its option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evsim import encode
from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.layers.analog import AnalogBatch
from evsim.types import Floats


@dataclass(frozen=True)
class Sample:
    """Whose random streams an encoder takes. keys : (n,) numbers of the samples; duration : ms; threads : to use"""

    keys: np.ndarray
    epoch: int
    seed: int
    duration: float
    threads: int = 1


class Encoder(Protocol):
    """Makes spikes, or the currents of an `Analog` layer, of values."""

    def __call__(self, values: Floats, samples: Sample) -> Any:
        """values : (n, features) in [0, 1], a row for each of the samples' keys."""
        ...


@dataclass(frozen=True)
class Poisson:
    """Poisson spikes. max_rate : of a value of 1, Hz"""

    max_rate: float = 181.8

    def __post_init__(self) -> None:
        _check_rate(self)

    def __call__(self, values: Floats, samples: Sample) -> Any:
        """As `Encoder`; random streams are keyed by (seed, epoch, key)."""
        return encode.poisson(
            values * self.max_rate, samples.duration, seed=samples.seed, keys=samples.keys, epoch=samples.epoch,
            threads=samples.threads,
        )  # fmt: skip


@dataclass(frozen=True)
class Regular:
    """Spikes at equal distances. max_rate : of a value of 1, Hz"""

    max_rate: float = 181.8

    def __post_init__(self) -> None:
        _check_rate(self)

    def __call__(self, values: Floats, samples: Sample) -> Any:
        """As `Encoder`."""
        return encode.regular(values * self.max_rate, samples.duration)


@dataclass(frozen=True)
class Latency:
    """One spike, the earlier the larger the value. window : earliest and latest, ms; None: (0, duration)"""

    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_window(self)

    def __call__(self, values: Floats, samples: Sample) -> Any:
        """As `Encoder`."""
        early, late = self.window or (0.0, samples.duration)
        return encode.latency(values, late, early=early)


@dataclass(frozen=True)
class Linear:
    """One spike, the later the larger the value. window : earliest and latest, ms; None: (0, duration)"""

    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_window(self)

    def __call__(self, values: Floats, samples: Sample) -> Any:
        """As `Encoder`."""
        early, late = self.window or (0.0, samples.duration)
        return encode.linear(values, early, late)


@dataclass(frozen=True)
class Currents:
    """Constant currents into an `Analog` layer. max_rate : a value of 1 carries as much as so many spikes a second"""

    max_rate: float = 181.8

    def __post_init__(self) -> None:
        _check_rate(self)

    def __call__(self, values: Floats, samples: Sample) -> Any:
        """As `Encoder`."""
        return AnalogBatch.of(values * self.max_rate / 1000.0)


ENCODERS = {"poisson": Poisson, "regular": Regular, "latency": Latency, "linear": Linear, "analog": Currents}
"""Encoders by the names of the command line."""


def encoder_of(encoder: str | Encoder, max_rate: float, window: tuple[float, float] | None) -> Encoder:
    """The encoder itself; one that is named takes ``max_rate`` or ``window``.

    Raises InputError : no such name, or no encoder.
    """
    if isinstance(encoder, str) and encoder in ENCODERS:
        kind: Any = ENCODERS[encoder]
        return kind(window) if kind in (Latency, Linear) else kind(max_rate)
    if isinstance(encoder, str) or not callable(encoder):
        raise InputError(f"encoder must be poisson, regular, latency, linear or analog; got {encoder!r}.")
    return encoder


def _check_rate(encoder: Any) -> None:
    check_fields(encoder)
    if not encoder.max_rate > 0:
        raise InputError(f"max_rate must be > 0; got {encoder.max_rate}.")


def _check_window(encoder: Any) -> None:
    check_fields(encoder)
    if encoder.window is not None and len(encoder.window) != 2:
        raise InputError(f"window must be 2 numbers, or None; got {encoder.window!r}.")

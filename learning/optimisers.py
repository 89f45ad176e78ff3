"""Optimisers: they own their state, which is saved and restored with a run."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from evsim.learning._kernels.update import adam_step, sgd_step
from evsim.threads import workers
from evsim.types import Floats

_WORTH_A_THREAD = 30_000


class Optimiser(Protocol):
    """Changes weights in place, layer by layer."""

    def step(
        self, weights: list[Floats], gradients: list[Floats], rates: float | list[float], threads: int = 1
    ) -> None:
        """One step; rates : its size, one for all arrays or one for each."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        ...


class Adam:
    """Adam; with ``weight_decay`` > 0 it is AdamW (decay decoupled from the gradient)."""

    def __init__(
        self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        self.beta1, self.beta2, self.epsilon, self.weight_decay = beta1, beta2, epsilon, weight_decay
        self.steps = 0
        self.first: list[Floats] = []
        self.second: list[Floats] = []

    def step(
        self, weights: list[Floats], gradients: list[Floats], rates: float | list[float], threads: int = 1
    ) -> None:
        """One step; elements are independent, so threads change nothing."""
        _check_order(weights)
        if not self.first:
            self.first = [np.zeros_like(w) for w in weights]
            self.second = [np.zeros_like(w) for w in weights]
        self.steps += 1
        correct = 1.0 - self.beta1**self.steps, 1.0 - self.beta2**self.steps
        for rate, *arrays in zip(_each(rates, weights), weights, gradients, self.first, self.second):
            settings = rate, self.beta1, self.beta2, self.epsilon, self.weight_decay, *correct
            pieces = threads if arrays[0].size > _WORTH_A_THREAD else 1
            parts = zip(*(np.array_split(a.reshape(-1), pieces) for a in arrays))
            with workers(pieces) as pool:
                list(pool(lambda p, s=settings: adam_step(*p, *s), parts))

    def state(self) -> dict[str, Any]:
        """Number of steps and both moments."""
        first, second = ([a.copy() for a in moments] for moments in (self.first, self.second))
        return {"kind": "adam", "steps": self.steps, "first": first, "second": second}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state; ValueError if it is another optimiser's."""
        _check_kind(state, "adam")
        self.steps = int(state["steps"])
        self.first, self.second = ([np.array(a) for a in state[k]] for k in ("first", "second"))


class SGD:
    """Gradient descent with momentum."""

    def __init__(self, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocity: list[Floats] = []

    def step(
        self, weights: list[Floats], gradients: list[Floats], rates: float | list[float], threads: int = 1
    ) -> None:
        """One step."""
        _check_order(weights)
        if not self.velocity:
            self.velocity = [np.zeros_like(w) for w in weights]
        for rate, w, g, v in zip(_each(rates, weights), weights, gradients, self.velocity):
            sgd_step(w.reshape(-1), g.reshape(-1), v.reshape(-1), rate, self.momentum, self.weight_decay)

    def state(self) -> dict[str, Any]:
        """The velocities."""
        return {"kind": "sgd", "velocity": [v.copy() for v in self.velocity]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state; ValueError if it is another optimiser's."""
        _check_kind(state, "sgd")
        self.velocity = [np.array(a) for a in state["velocity"]]


def _each(rates: float | list[float], weights: list[Floats]) -> list[float]:
    return rates if isinstance(rates, list) else [rates] * len(weights)


def _check_order(weights: list[Floats]) -> None:
    for k, w in enumerate(weights):
        if not w.flags.c_contiguous:
            raise ValueError(
                f"the weights of layer {k} are a view in another memory order and cannot be changed in place; "
                "set them with np.ascontiguousarray, or through Sequential.set_weights."
            )


def _check_kind(state: dict[str, Any], kind: str) -> None:
    if state.get("kind") != kind:
        raise ValueError(f"the saved optimiser state is of kind {state.get('kind')!r}, not {kind!r}.")

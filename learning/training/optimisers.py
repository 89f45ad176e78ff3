"""Optimisers: they own their state, which is saved and restored with a run."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels.update import adam_step, sgd_step
from evsim.learning.fields import all_finite, check_number, check_numbers
from evsim.threads import workers
from evsim.types import Floats

_WORTH_A_THREAD = 30_000


class Optimiser(Protocol):
    """Changes weights in place, layer by layer."""

    def step(
        self,
        weights: list[Floats],
        gradients: list[Floats],
        rates: float | list[float],
        threads: int = 1,
        decay: list[bool] | None = None,
    ) -> None:
        """One step; rates : its size, one for all arrays or one for each; decay : which arrays a weight decay is for,
        None: all of them. Raises ValueError : arrays, gradients and a loaded state that do not fit together."""
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
        check_numbers({"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "weight_decay": weight_decay})
        if not (0.0 <= beta1 < 1.0 and 0.0 <= beta2 < 1.0 and epsilon >= 0 and weight_decay >= 0):
            raise InputError(
                "beta1 and beta2 must lie in [0, 1), epsilon and weight_decay be >= 0; got "
                f"{beta1}, {beta2}, {epsilon} and {weight_decay}."
            )
        self.beta1, self.beta2, self.epsilon, self.weight_decay = beta1, beta2, epsilon, weight_decay
        self.steps = 0
        self.first: list[Floats] = []
        self.second: list[Floats] = []

    def __repr__(self) -> str:
        names = ("beta1", "beta2", "epsilon", "weight_decay")
        return f"Adam({', '.join(f'{k}={getattr(self, k)!r}' for k in names)})"

    def step(
        self,
        weights: list[Floats],
        gradients: list[Floats],
        rates: float | list[float],
        threads: int = 1,
        decay: list[bool] | None = None,
    ) -> None:
        """As ``Optimiser.step``; elements are independent, so threads change nothing."""
        if not self.first:
            self.first = [np.zeros_like(w) for w in weights]
            self.second = [np.zeros_like(w) for w in weights]
        _check_arrays(weights, gradient=gradients, **{"first moment": self.first, "second moment": self.second})
        each, decays = _each(rates, weights), _decays(self.weight_decay, decay, weights)
        self.steps += 1
        correct = 1.0 - self.beta1**self.steps, 1.0 - self.beta2**self.steps
        for rate, fade, *arrays in zip(each, decays, weights, gradients, self.first, self.second):
            settings = rate, self.beta1, self.beta2, self.epsilon, fade, *correct
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
        _check_kind(state, "adam", ("steps", "first", "second"))
        steps = state["steps"]
        check_number("steps of the saved optimiser", steps, integer=True)
        first, second = (_moments(state, name) for name in ("first", "second"))
        if steps < 0 or len(first) != len(second) or any(a.shape != b.shape for a, b in zip(first, second)):
            raise InputError("the moments of the saved optimiser do not belong together.")
        if any((b < 0).any() for b in second):
            raise InputError("the saved optimiser has a second moment below 0, which no gradient gives.")
        if first and steps == 0:
            raise InputError("the saved optimiser has moments, but no steps.")
        self.steps, self.first, self.second = int(steps), first, second


class SGD:
    """Gradient descent with momentum."""

    def __init__(self, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        check_numbers({"momentum": momentum, "weight_decay": weight_decay})
        if not (0.0 <= momentum < 1.0 and weight_decay >= 0):
            raise InputError(
                f"momentum must lie in [0, 1) and weight_decay be >= 0; got {momentum} and {weight_decay}."
            )
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocity: list[Floats] = []

    def __repr__(self) -> str:
        return f"SGD(momentum={self.momentum!r}, weight_decay={self.weight_decay!r})"

    def step(
        self,
        weights: list[Floats],
        gradients: list[Floats],
        rates: float | list[float],
        threads: int = 1,
        decay: list[bool] | None = None,
    ) -> None:
        """As ``Optimiser.step``."""
        if not self.velocity:
            self.velocity = [np.zeros_like(w) for w in weights]
        _check_arrays(weights, gradient=gradients, velocity=self.velocity)
        each, decays = _each(rates, weights), _decays(self.weight_decay, decay, weights)
        for rate, fade, w, g, v in zip(each, decays, weights, gradients, self.velocity):
            sgd_step(w.reshape(-1), g.reshape(-1), v.reshape(-1), rate, self.momentum, fade)

    def state(self) -> dict[str, Any]:
        """The velocities."""
        return {"kind": "sgd", "velocity": [v.copy() for v in self.velocity]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state; ValueError if it is another optimiser's."""
        _check_kind(state, "sgd", ("velocity",))
        self.velocity = _moments(state, "velocity")


def _each(rates: float | list[float], weights: list[Floats]) -> list[float]:
    each = rates if isinstance(rates, list) else [rates] * len(weights)
    if len(each) != len(weights):
        raise ValueError(f"rates must be one number, or one for each of {len(weights)} arrays; got {len(each)}.")
    check_numbers({f"rate of array {k}": rate for k, rate in enumerate(each)})
    return each


def _decays(weight_decay: float, decay: list[bool] | None, weights: list[Floats]) -> list[float]:
    chosen = [True] * len(weights) if decay is None else decay
    if len(chosen) != len(weights):
        raise ValueError(f"decay must have one entry for each of {len(weights)} arrays; got {len(chosen)}.")
    return [weight_decay if yes else 0.0 for yes in chosen]


def _check_arrays(weights: list[Floats], **others: list[Floats]) -> None:
    """Raises ValueError : arrays that cannot be changed in place, or a list of others that does not fit them."""
    for k, w in enumerate(weights):
        if w.dtype != np.float64:
            raise ValueError(f"array {k} is {w.dtype}; an optimiser changes float64 in place.")
        if not (w.flags.c_contiguous and w.flags.writeable):
            raise ValueError(
                f"the weights of layer {k} are a view in another memory order, or read-only, and cannot be changed in "
                "place; set them with np.ascontiguousarray, or through Sequential.set_parameters."
            )
    for name, arrays in others.items():
        if len(arrays) != len(weights):
            raise ValueError(f"there are {len(weights)} arrays to change, but {len(arrays)} of {name}.")
        for k, (w, a) in enumerate(zip(weights, arrays)):
            if a.shape != w.shape or a.dtype != np.float64:
                raise ValueError(
                    f"the {name} of array {k} must be float64 of shape {w.shape}; got {a.dtype} of shape {a.shape}."
                )


def _check_kind(state: dict[str, Any], kind: str, keys: tuple[str, ...]) -> None:
    if state.get("kind") != kind:
        raise InputError(f"the saved optimiser state is of kind {state.get('kind')!r}, not {kind!r}.")
    missing = [key for key in keys if key not in state]
    if missing:
        raise InputError(f"the saved optimiser state lacks {', '.join(missing)}.")


def _moments(state: dict[str, Any], name: str) -> list[Floats]:
    """Copies of saved arrays. Raises ValueError : not float64, or not finite."""
    arrays = [np.array(a, order="C") for a in state[name]]
    for k, a in enumerate(arrays):
        if a.dtype != np.float64 or not all_finite(a):
            raise InputError(f"{name}[{k}] of the saved optimiser must be finite float64; got {a.dtype}.")
    return arrays

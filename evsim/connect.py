"""Connectivity: rules that draw pairs, and weights and delays brought into one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evsim.errors import NetworkError
from evsim.types import Floats

Pairs = tuple[np.ndarray, np.ndarray]


class Rule(Protocol):
    """Which pairs (pre, post) are connected."""

    def pairs(self, n_pre: int, n_post: int, rng: np.random.Generator) -> Pairs:
        """Indices (pre, post), each (n_synapses,) int64; a pair may occur more than once."""
        ...


@dataclass(frozen=True)
class AllToAll:
    """Every source to every target."""

    def pairs(self, n_pre: int, n_post: int, rng: np.random.Generator) -> Pairs:
        """All pairs, by source, then target."""
        return np.repeat(np.arange(n_pre), n_post), np.tile(np.arange(n_post), n_pre)


@dataclass(frozen=True)
class OneToOne:
    """Source k to target k; both populations have the same size."""

    def pairs(self, n_pre: int, n_post: int, rng: np.random.Generator) -> Pairs:
        """The diagonal. NetworkError if the sizes differ."""
        if n_pre != n_post:
            raise NetworkError(f"OneToOne needs populations of equal size; got {n_pre} and {n_post}.")
        return np.arange(n_pre), np.arange(n_pre)


@dataclass(frozen=True)
class FixedIndegree:
    """Each target draws ``indegree`` sources, with replacement (several synapses per pair may occur)."""

    indegree: int

    def __post_init__(self) -> None:
        if self.indegree < 0:
            raise NetworkError(f"indegree must be >= 0; got {self.indegree}.")

    def pairs(self, n_pre: int, n_post: int, rng: np.random.Generator) -> Pairs:
        """Random sources of every target, by target. NetworkError if there is no source to draw."""
        if n_pre == 0 and self.indegree > 0 and n_post > 0:
            raise NetworkError(f"FixedIndegree({self.indegree}) has no source to draw from.")
        post = np.repeat(np.arange(n_post), self.indegree)
        return rng.integers(0, max(n_pre, 1), size=post.size), post


@dataclass(frozen=True, eq=False)
class Projection:
    """One ``connect`` call: where from, where to, and the values as they were given."""

    source: str
    target: str
    weight: Any
    delay: Any
    rule: Rule | None


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses of a projection as a list: pre, post (n,) int64; weight, delay (n,) float64."""

    pre: np.ndarray
    post: np.ndarray
    weight: Floats
    delay: Floats


def check_projection(p: Projection, n_pre: int, n_post: int) -> None:
    """Refuse values that no network can have, at the door.

    Raises NetworkError : wrong shapes, NaN weights, negative or NaN delays.
    """
    where = f"connect({p.source!r}, {p.target!r})"
    for name, value in (("weight", p.weight), ("delay", p.delay)):
        dense = _values(value)
        shape = tuple(value.shape) if _is_sparse(value) else dense.shape
        if p.rule is None and shape not in ((), (n_pre, n_post)):
            raise NetworkError(
                f"{where}: {name} must be a number or have shape (pre, post) = ({n_pre}, {n_post}); "
                f"got shape {shape}."
            )
        if p.rule is not None and shape != () and len(shape) != 1:
            raise NetworkError(
                f"{where}: with a rule, {name} must be a number or one number per synapse; got shape {shape}."
            )
        if not np.all(np.isfinite(dense)):
            raise NetworkError(f"{where}: {name} must be finite; it holds NaN or infinity.")
    delays = _values(p.delay)
    if np.any(delays < 0):
        raise NetworkError(f"{where}: delay must be >= 0 ms; got {delays.min()}.")
    if _is_sparse(p.delay) and not _is_sparse(p.weight):
        raise NetworkError(f"{where}: a sparse delay needs a sparse weight with the same entries.")


def synapses_of(p: Projection, n_pre: int, n_post: int, rng: np.random.Generator) -> Synapses:
    """The projection as a list of synapses, random rules drawn from ``rng``."""
    where = f"connect({p.source!r}, {p.target!r})"
    if p.rule is not None:
        pre, post = p.rule.pairs(n_pre, n_post, rng)
    elif _is_sparse(p.weight):
        coo = p.weight.tocoo()
        pre, post = coo.row.astype(np.int64), coo.col.astype(np.int64)
    else:
        pre, post = AllToAll().pairs(n_pre, n_post, rng)
    values = []
    for name, given in (("weight", p.weight), ("delay", p.delay)):
        if _is_sparse(given):
            other = given.tocoo()
            if other.nnz != pre.size or np.any(other.row != pre) or np.any(other.col != post):
                raise NetworkError(f"{where}: sparse weight and delay must have the same entries.")
            value = np.asarray(other.data, dtype=np.float64)
        else:
            value = np.asarray(given, dtype=np.float64)
            if value.ndim == 2:
                value = value[pre, post]
        if value.ndim == 1 and value.size != pre.size:
            raise NetworkError(
                f"{where}: {name} has {value.size} values, but the rule made {pre.size} synapses."
            )
        values.append(np.broadcast_to(value, pre.shape))
    return Synapses(pre, post, values[0], values[1])


def dense_weight(p: Projection, n_pre: int, n_post: int, rng: np.random.Generator) -> Floats:
    """Weights as a (pre, post) matrix, parallel synapses summed; for projections of one delay."""
    if p.rule is None and not _is_sparse(p.weight):
        return np.broadcast_to(np.asarray(p.weight, dtype=np.float64), (n_pre, n_post))
    s = synapses_of(p, n_pre, n_post, rng)
    out = np.zeros((n_pre, n_post))
    np.add.at(out, (s.pre, s.post), s.weight)
    return out


def single_delay(p: Projection) -> float | None:
    """The one delay of all synapses, or None if there are several."""
    delays = np.unique(_values(p.delay))
    return float(delays[0]) if delays.size == 1 else None


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "tocoo")


def _values(value: Any) -> Floats:
    return np.asarray(value.tocoo().data if _is_sparse(value) else value, dtype=np.float64)

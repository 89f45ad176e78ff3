"""Projections: which populations are connected, by which rule, with what weights and delays, as they were given.

Synapses are sampled block by block; a block is a stretch of ``STRIDE`` target neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evsim.description.connectivity import AllToAll, ConnectionRule
from evsim.description.plasticity import STDP
from evsim.errors import NetworkError
from evsim.types import Floats

STRIDE = 512
"""Target neurons of a block."""


@dataclass(frozen=True, eq=False)
class Projection:
    """One ``connect`` call: where from, where to, and the values as they were given."""

    source: str
    target: str
    weight: Any
    delay: Any
    rule: ConnectionRule | None
    plasticity: STDP | None = None

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sparse weights: (order, row, column) of their entries by column, the given order kept within."""
        coo = self.weight.tocoo()
        order = np.argsort(coo.col, kind="stable")
        return order, coo.row[order].astype(np.int64), coo.col[order].astype(np.int64)

    @cached_property
    def entry_delays(self) -> Floats:
        """Sparse delays in the order of ``entries``; several entries of one pair belong together as they are stored.

        Raises NetworkError : the entries of weight and delay are not those of the same pairs.
        """
        weight, delay = self.weight.tocoo(), self.delay.tocoo()
        by_pair, by_pair_too = (np.lexsort((m.row, m.col)) for m in (weight, delay))
        fits = weight.nnz == delay.nnz
        if not (
            fits
            and np.array_equal(weight.row[by_pair], delay.row[by_pair_too])
            and np.array_equal(weight.col[by_pair], delay.col[by_pair_too])
        ):
            raise NetworkError(
                f"{self}: sparse weight and delay must have the same entries; got {weight.nnz} and {delay.nnz}"
                + (", of other pairs. " if fits else ". ")
                + "A sparse matrix made of a dense one has no entries where that is 0, and some formats merge entries "
                "of one pair: give such delays as scipy.sparse.coo_array((delays, (pre, post))), or use pre= and post=."
            )
        of_stored = np.empty(weight.nnz)
        of_stored[by_pair] = delay.data[by_pair_too]
        return of_stored[self.entries[0]]

    @property
    def connection_rule(self) -> ConnectionRule:
        """The rule, which knows whether source and target are one population."""
        return (self.rule or AllToAll()).between(self.source == self.target)

    def __str__(self) -> str:
        return f"connect({self.source!r}, {self.target!r})"

    def __repr__(self) -> str:
        shown = [f"{self.source!r} to {self.target!r}"]
        for name in ("weight", "delay", "rule", "plasticity"):
            value = getattr(self, name)
            shape = getattr(value, "shape", ())
            shown.append(f"{name}={f'<{type(value).__name__} {shape}>' if shape else ' '.join(repr(value).split())}")
        return f"Projection({', '.join(shown)})"


def check_bounds(p: Projection, weights: np.ndarray) -> None:
    assert p.plasticity is not None
    low, high = p.plasticity.w_min, p.plasticity.w_max
    if np.any(weights < low) or np.any(weights > high):
        raise NetworkError(
            f"{p}: weights must start within the bounds [{low}, {high}] of their plasticity; got "
            f"{weights.min()} ... {weights.max()}. Clip or truncate them, or widen the bounds."
        )


def check_projection(p: Projection, n_pre: int, n_post: int) -> None:
    """Refuse values that no network can have, at the door.

    Raises NetworkError : wrong shapes, no numbers, NaN weights, negative or NaN delays, a rule that does not fit.
    """
    if p.rule is not None and not isinstance(p.rule, ConnectionRule):
        raise NetworkError(
            f"{p}: rule must be a rule, such as evsim.FixedIndegree(10) or evsim.AllToAll(); got {p.rule!r}."
        )
    if p.plasticity is not None and not isinstance(p.plasticity, STDP):
        raise NetworkError(f"{p}: plasticity must be evsim.STDP(...) or None; got {p.plasticity!r}.")
    if p.rule is not None:
        try:
            p.connection_rule.check(n_pre, n_post)
        except NetworkError as error:
            raise NetworkError(f"{p}: {error}") from None
    for name, value in (("weight", p.weight), ("delay", p.delay)):
        if not is_distribution(value):
            _check_values(p, name, value, n_pre, n_post)
    if is_sparse(p.delay):
        if not is_sparse(p.weight):
            raise NetworkError(f"{p}: a sparse delay needs a sparse weight with the same entries.")
        if p.entry_delays.size and p.entry_delays.min() < 0.0:
            raise NetworkError(f"{p}: delay must be >= 0 ms; got {p.entry_delays.min()}.")
    if p.plasticity is not None and not is_distribution(p.weight):
        check_bounds(p, _values(p.weight))


def _check_values(p: Projection, name: str, value: Any, n_pre: int, n_post: int) -> None:
    """Shape, kind and range of a given weight or delay."""
    try:
        values = np.asarray(value.tocoo().data if is_sparse(value) else value)
        if value is None or values.dtype.kind not in "biufO":
            raise TypeError
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise NetworkError(f"{p}: {name} must be a number, or hold numbers; got {value!r}.") from None
    shape = tuple(value.shape) if is_sparse(value) else numbers.shape
    if p.rule is None and shape not in ((), (n_pre, n_post)):
        raise NetworkError(
            f"{p}: {name} must be a number or have shape (pre, post) = ({n_pre}, {n_post}); got shape {shape}."
        )
    if p.rule is not None and shape != ():
        total = p.connection_rule.total(n_pre, n_post)
        if len(shape) != 1:
            raise NetworkError(
                f"{p}: with a rule, {name} must be a number or one number per synapse; got shape {shape}."
            )
        if total is not None and shape != (total,):
            raise NetworkError(f"{p}: {name} has {shape[0]} values, but the rule made {total} synapses.")
    if is_sparse(value):
        coo = value.tocoo()
        for end, size in ((coo.row, n_pre), (coo.col, n_post)):
            if end.size and (end.min() < 0 or end.max() >= size):
                raise NetworkError(f"{p}: {name} is a damaged sparse matrix: it has entries outside of its shape.")
    if not np.all(np.isfinite(numbers)):
        raise NetworkError(f"{p}: {name} must be finite; it holds NaN or infinity.")
    if name == "delay" and np.any(numbers < 0):
        raise NetworkError(f"{p}: delay must be >= 0 ms; got {numbers.min()}.")


def expected_synapses(p: Projection, n_pre: int, n_post: int) -> float:
    """Expected number of synapses, without drawing any."""
    if is_sparse(p.weight):
        return p.weight.nnz
    return p.connection_rule.count(n_pre, n_post)


def shared_bytes(p: Projection, n_pre: int, n_post: int) -> int:
    """Memory of what is drawn before any block."""
    return p.connection_rule.shared_bytes(n_pre, -(-n_post // STRIDE))


def single_delay(p: Projection) -> float | None:
    """The one delay of all synapses, or None if there are several."""
    if is_distribution(p.delay):
        return None
    delays = np.unique(_values(p.delay))
    return float(delays[0]) if delays.size == 1 else None


def is_distribution(value: Any) -> bool:
    """Is it a frozen scipy.stats distribution or a function of (Generator, n)?"""
    return hasattr(value, "rvs") or callable(value)


def is_sparse(value: Any) -> bool:
    return hasattr(value, "tocoo")


def _values(value: Any) -> Floats:
    return np.asarray(value.tocoo().data if is_sparse(value) else value, dtype=np.float64)

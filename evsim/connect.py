"""Connectivity: which pairs are connected, and with what weights and delays, drawn block by block.

A block is a stretch of ``STRIDE`` target neurons. What a block holds depends on (seed, number of the projection,
number of the block) alone: blocks can be drawn in any order, by any thread, again, or one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evsim.errors import NetworkError
from evsim.plasticity import STDP
from evsim.types import Floats

STRIDE = 512
"""Target neurons of a block."""

Pairs = tuple[np.ndarray, np.ndarray]


class Rule:
    """Which pairs (pre, post) are connected. A rule of your own implements ``count`` and ``draw``."""

    def check(self, n_pre: int, n_post: int) -> None:
        """Raise NetworkError if the rule cannot connect populations of these sizes."""

    def count(self, n_pre: int, n_post: int) -> float:
        """Expected number of synapses."""
        raise NotImplementedError

    def share(self, n_pre: int, cuts: np.ndarray, rng: np.random.Generator) -> Any:
        """Drawn once, before any block: what ties the blocks together. cuts : (n_blocks + 1,) their borders."""
        return None

    def shared_bytes(self, n_pre: int, n_blocks: int) -> int:
        """Memory of what ``share`` draws."""
        return 0

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int | None:
        """Number of synapses in a block; None if only drawing it tells."""
        return None

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """Sources and targets of a block, (n,) int64 each; targets counted from ``cuts[block]``."""
        raise NotImplementedError


@dataclass(frozen=True)
class AllToAll(Rule):
    """Every source to every target."""

    def count(self, n_pre: int, n_post: int) -> float:
        return n_pre * n_post

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        return n_pre * int(cuts[block + 1] - cuts[block])

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """All pairs, by source, then target."""
        width = int(cuts[block + 1] - cuts[block])
        return np.repeat(np.arange(n_pre), width), np.tile(np.arange(width), n_pre)


@dataclass(frozen=True)
class OneToOne(Rule):
    """Source k to target k; both populations have the same size."""

    def check(self, n_pre: int, n_post: int) -> None:
        if n_pre != n_post:
            raise NetworkError(f"OneToOne needs populations of equal size; got {n_pre} and {n_post}.")

    def count(self, n_pre: int, n_post: int) -> float:
        return n_post

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        return int(cuts[block + 1] - cuts[block])

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """The diagonal."""
        post = np.arange(cuts[block + 1] - cuts[block])
        return post + cuts[block], post


@dataclass(frozen=True)
class FixedIndegree(Rule):
    """Each target draws ``indegree`` sources, with replacement (several synapses per pair may occur)."""

    indegree: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "indegree", _whole("indegree", self.indegree))

    def check(self, n_pre: int, n_post: int) -> None:
        _drawable(self, "indegree", self.indegree, "sources", n_pre)

    def count(self, n_pre: int, n_post: int) -> float:
        return self.indegree * n_post

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        return self.indegree * int(cuts[block + 1] - cuts[block])

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """Random sources of every target, by target."""
        post = np.repeat(np.arange(cuts[block + 1] - cuts[block]), self.indegree)
        return rng.integers(0, max(n_pre, 1), size=post.size), post


@dataclass(frozen=True)
class FixedOutdegree(Rule):
    """Each source draws ``outdegree`` targets, with replacement (several synapses per pair may occur)."""

    outdegree: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "outdegree", _whole("outdegree", self.outdegree))

    def check(self, n_pre: int, n_post: int) -> None:
        _drawable(self, "outdegree", self.outdegree, "targets", n_post)

    def count(self, n_pre: int, n_post: int) -> float:
        return self.outdegree * n_pre

    def shared_bytes(self, n_pre: int, n_blocks: int) -> int:
        return 8 * n_pre * n_blocks

    def share(self, n_pre: int, cuts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How many synapses of each source fall into each block, (n_pre, n_blocks)."""
        return rng.multinomial(self.outdegree, np.diff(cuts) / cuts[-1], size=n_pre)

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: np.ndarray) -> int:
        return int(shared[:, block].sum())

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """Random targets of every source, by source."""
        pre = np.repeat(np.arange(n_pre), shared[:, block])
        return pre, rng.integers(0, cuts[block + 1] - cuts[block], size=pre.size)


@dataclass(frozen=True)
class FixedTotalNumber(Rule):
    """``synapses`` pairs in all, source and target of each drawn independently, with replacement."""

    synapses: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "synapses", _whole("synapses", self.synapses))

    def count(self, n_pre: int, n_post: int) -> float:
        return self.synapses

    def share(self, n_pre: int, cuts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How many fall into each block, (n_blocks,)."""
        return rng.multinomial(self.synapses, np.diff(cuts) / cuts[-1])

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: np.ndarray) -> int:
        return int(shared[block])

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        n = int(shared[block])
        return rng.integers(0, n_pre, size=n), rng.integers(0, cuts[block + 1] - cuts[block], size=n)


@dataclass(frozen=True)
class Bernoulli(Rule):
    """Each pair is connected with probability ``p``, independently of all others; at most once."""

    p: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.p <= 1.0:
            raise NetworkError(f"Bernoulli needs a probability in [0, 1]; got {self.p}.")

    def count(self, n_pre: int, n_post: int) -> float:
        return self.p * n_pre * n_post

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """The gaps between connected pairs, counted through the block's table, are geometric."""
        width = int(cuts[block + 1] - cuts[block])
        total = n_pre * width
        found: list[np.ndarray] = []
        last = -1
        while self.p > 0.0 and last < total:
            expected = (total - last) * self.p
            gaps = rng.geometric(self.p, size=int(expected + 4.0 * np.sqrt(expected) + 16))
            # Gaps beyond the table are as good as its length, and their sums must not overflow.
            steps = last + np.cumsum(np.minimum(gaps, total + 1))
            found.append(steps)
            last = int(steps[-1])
        cells = np.concatenate([np.empty(0, np.int64), *found])
        post, pre = np.divmod(cells[cells < total], n_pre)
        return pre, post


@dataclass(frozen=True, eq=False)
class Projection:
    """One ``connect`` call: where from, where to, and the values as they were given."""

    source: str
    target: str
    weight: Any
    delay: Any
    rule: Rule | None
    plasticity: STDP | None = None

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sparse weights: (order, row, column) of their entries by column, the given order kept within."""
        coo = self.weight.tocoo()
        order = np.argsort(coo.col, kind="stable")
        return order, coo.row[order].astype(np.int64), coo.col[order].astype(np.int64)

    def __str__(self) -> str:
        return f"connect({self.source!r}, {self.target!r})"


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses as a list: pre, post (n,) int64; weight, delay (n,) float64, ms."""

    pre: np.ndarray
    post: np.ndarray
    weight: Floats
    delay: Floats


class Drawing:
    """The synapses of one projection, block by block.

    Raises NetworkError : values that do not fit the rule, drawn values that are not finite, drawn delays < 0.
    """

    def __init__(self, projection: Projection, number: int, n_pre: int, n_post: int, seed: int) -> None:
        self.projection = projection
        self.n_pre = n_pre
        self.cuts = np.append(np.arange(0, n_post, STRIDE), n_post)
        self.n_blocks = self.cuts.size - 1
        self._key = (seed, number)
        self._rule = projection.rule or AllToAll()
        self._shared = self._rule.share(n_pre, self.cuts, np.random.default_rng([*self._key, 0]))

    def size(self, block: int) -> int:
        """Number of synapses of a block."""
        p = self.projection
        if _is_sparse(p.weight):
            a, z = np.searchsorted(p.entries[2], self.cuts[block : block + 2])
            return int(z - a)
        n = self._rule.size(self.n_pre, self.cuts, block, self._shared)
        return self._pairs(block)[0].size if n is None else n

    def _rng(self, block: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, block + 1])

    def _pairs(self, block: int, rng: np.random.Generator | None = None) -> Pairs:
        return self._rule.draw(self.n_pre, self.cuts, block, self._shared, rng or self._rng(block))

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.append(0, np.cumsum([self.size(b) for b in range(self.n_blocks)]))

    def block(self, block: int) -> tuple[np.ndarray, np.ndarray, Any, Any]:
        """(pre, post - cuts[block], weight, delay) of a block; weight and delay a number or one per synapse."""
        p = self.projection
        rng = self._rng(block)
        if _is_sparse(p.weight):
            a, z = np.searchsorted(p.entries[2], self.cuts[block : block + 2])
            pre, post = p.entries[1][a:z], p.entries[2][a:z] - self.cuts[block]
        else:
            pre, post = self._pairs(block, rng)
        weight = self._values("weight", p.weight, block, pre, post, rng)
        delay = self._values("delay", p.delay, block, pre, post, rng)
        return pre, post, weight, delay

    def _values(self, name: str, given: Any, block: int, pre: np.ndarray, post: np.ndarray, rng: Any) -> Any:
        if is_distribution(given):
            return self._drawn(name, given, pre.size, rng)
        if _is_sparse(given):
            a, z = np.searchsorted(self.projection.entries[2], self.cuts[block : block + 2])
            coo = given.tocoo()
            mine = self.projection.entries[0][a:z]
            same = coo.nnz == self.projection.entries[0].size
            if not same or np.any(coo.row[mine] != pre) or np.any(coo.col[mine] != post + self.cuts[block]):
                raise NetworkError(f"{self.projection}: sparse weight and delay must have the same entries.")
            return np.asarray(coo.data, dtype=np.float64)[mine]
        value = np.asarray(given, dtype=np.float64)
        if value.ndim == 0:
            return float(value)
        if value.ndim == 2:
            return value[pre, post + self.cuts[block]]
        if value.size != self._offsets[-1]:
            raise NetworkError(
                f"{self.projection}: {name} has {value.size} values, but the rule made {self._offsets[-1]} synapses."
            )
        return value[self._offsets[block] : self._offsets[block + 1]]

    def _drawn(self, name: str, given: Any, n: int, rng: np.random.Generator) -> np.ndarray:
        drawn = given.rvs(size=n, random_state=rng) if hasattr(given, "rvs") else given(rng, n)
        value = np.asarray(drawn, dtype=np.float32)
        if value.shape != (n,):
            raise NetworkError(
                f"{self.projection}: {name} was asked for {n} values, shape ({n},); it gave shape {value.shape}."
            )
        if not np.all(np.isfinite(value)):
            raise NetworkError(f"{self.projection}: drawn {name} must be finite; it holds NaN or infinity.")
        if name == "delay" and n and value.min() < 0.0:
            raise NetworkError(
                f"{self.projection}: drawn delays must be >= 0 ms; got {value.min():g}. Clip or truncate the "
                "distribution."
            )
        return value


def check_projection(p: Projection, n_pre: int, n_post: int) -> None:
    """Refuse values that no network can have, at the door.

    Raises NetworkError : wrong shapes, NaN weights, negative or NaN delays, a rule that does not fit.
    """
    for name, value in (("weight", p.weight), ("delay", p.delay)):
        if is_distribution(value):
            continue
        dense = _values(value)
        shape = tuple(value.shape) if _is_sparse(value) else dense.shape
        if p.rule is None and shape not in ((), (n_pre, n_post)):
            raise NetworkError(
                f"{p}: {name} must be a number or have shape (pre, post) = ({n_pre}, {n_post}); got shape {shape}."
            )
        if p.rule is not None and shape != () and len(shape) != 1:
            raise NetworkError(
                f"{p}: with a rule, {name} must be a number or one number per synapse; got shape {shape}."
            )
        if not np.all(np.isfinite(dense)):
            raise NetworkError(f"{p}: {name} must be finite; it holds NaN or infinity.")
        if name == "delay" and np.any(dense < 0):
            raise NetworkError(f"{p}: delay must be >= 0 ms; got {dense.min()}.")
    if _is_sparse(p.delay) and not _is_sparse(p.weight):
        raise NetworkError(f"{p}: a sparse delay needs a sparse weight with the same entries.")
    if p.rule is not None:
        p.rule.check(n_pre, n_post)
    if p.plasticity is not None and not is_distribution(p.weight):
        weights, low, high = _values(p.weight), p.plasticity.w_min, p.plasticity.w_max
        if np.any(weights < low) or np.any(weights > high):
            raise NetworkError(
                f"{p}: weights must start within the bounds [{low}, {high}] of their plasticity; got "
                f"{weights.min()} ... {weights.max()}."
            )


def expected_synapses(p: Projection, n_pre: int, n_post: int) -> float:
    """Expected number of synapses, without drawing any."""
    if _is_sparse(p.weight):
        return p.weight.nnz
    return (p.rule or AllToAll()).count(n_pre, n_post)


def shared_bytes(p: Projection, n_pre: int, n_post: int) -> int:
    """Memory of what is drawn before any block."""
    return p.rule.shared_bytes(n_pre, -(-n_post // STRIDE)) if p.rule is not None else 0


def synapses_of(p: Projection, number: int, n_pre: int, n_post: int, seed: int) -> Synapses:
    """The whole projection as one list, block after block. number : its place among the projections."""
    drawing = Drawing(p, number, n_pre, n_post, seed)
    return _joined(_shifted(drawing, b) for b in range(drawing.n_blocks))


def synapses_onto(p: Projection, number: int, n_pre: int, n_post: int, seed: int, neuron: int) -> Synapses:
    """The synapses of one target neuron; only its block is drawn."""
    drawing = Drawing(p, number, n_pre, n_post, seed)
    s = _shifted(drawing, int(np.searchsorted(drawing.cuts, neuron, side="right")) - 1)
    mine = s.post == neuron
    return Synapses(s.pre[mine], s.post[mine], s.weight[mine], s.delay[mine])


def _shifted(drawing: Drawing, block: int) -> Synapses:
    pre, post, weight, delay = drawing.block(block)
    full = [np.broadcast_to(np.asarray(v, dtype=np.float64), pre.shape) for v in (weight, delay)]
    return Synapses(pre, post + drawing.cuts[block], *full)


def _joined(parts: Iterator[Synapses]) -> Synapses:
    lists = list(parts)
    return Synapses(*(np.concatenate([getattr(s, f) for s in lists]) for f in Synapses.__dataclass_fields__))


def dense_weight(p: Projection, number: int, n_pre: int, n_post: int, seed: int) -> Floats:
    """Weights as a (pre, post) matrix, parallel synapses summed; for projections of one delay."""
    if p.rule is None and not _is_sparse(p.weight) and not is_distribution(p.weight):
        return np.broadcast_to(np.asarray(p.weight, dtype=np.float64), (n_pre, n_post))
    s = synapses_of(p, number, n_pre, n_post, seed)
    out = np.zeros((n_pre, n_post))
    np.add.at(out, (s.pre, s.post), s.weight)
    return out


def single_delay(p: Projection) -> float | None:
    """The one delay of all synapses, or None if there are several."""
    if is_distribution(p.delay):
        return None
    delays = np.unique(_values(p.delay))
    return float(delays[0]) if delays.size == 1 else None


def is_distribution(value: Any) -> bool:
    """Is it a frozen scipy.stats distribution or a function of (Generator, n)?"""
    return hasattr(value, "rvs") or callable(value)


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "tocoo")


def _values(value: Any) -> Floats:
    return np.asarray(value.tocoo().data if _is_sparse(value) else value, dtype=np.float64)


def _whole(name: str, value: int) -> int:
    if not isinstance(value, (int, np.integer)) or value < 0:
        raise NetworkError(f"{name} must be an integer >= 0; got {value!r}.")
    return int(value)


def _drawable(rule: Rule, name: str, degree: int, kind: str, available: int) -> None:
    if degree > 0 and available == 0:
        raise NetworkError(f"{rule} has no {kind[:-1]} to draw from.")
    if degree > available:
        raise NetworkError(
            f"{rule}: an {name} of {degree} is larger than the population of {available} {kind}; multapses would be "
            "certain. Use a smaller degree or a larger population."
        )

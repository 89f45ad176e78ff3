"""Connectivity: which pairs are connected, and with what weights and delays, drawn block by block.

A block is a stretch of ``STRIDE`` target neurons. What a block holds depends on (seed, number of the projection,
number of the block) alone: blocks can be drawn in any order, by any thread, again, or one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evsim import streams
from evsim.connection_rules import AllToAll as AllToAll
from evsim.connection_rules import Bernoulli as Bernoulli
from evsim.connection_rules import FixedIndegree as FixedIndegree
from evsim.connection_rules import FixedOutdegree as FixedOutdegree
from evsim.connection_rules import FixedTotalNumber as FixedTotalNumber
from evsim.connection_rules import OneToOne as OneToOne
from evsim.connection_rules import Pairs as Pairs
from evsim.connection_rules import Rule as Rule
from evsim.errors import NetworkError
from evsim.plasticity import STDP
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
    rule: Rule | None
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
    def connection_rule(self) -> Rule:
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


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses as a list, in the order of the rule: pre, post (n,) int64; weight, delay (n,) float64, ms."""

    pre: np.ndarray
    post: np.ndarray
    weight: Floats
    delay: Floats


class Drawing:
    """The synapses of one projection, block by block.

    Raises NetworkError : values that do not fit the rule, drawn values that are not finite, drawn delays < 0, drawn
        weights outside the bounds of their plasticity.
    """

    def __init__(self, projection: Projection, number: int, n_pre: int, n_post: int, seed: int) -> None:
        self.projection = projection
        self.n_pre = n_pre
        self.cuts = np.append(np.arange(0, n_post, STRIDE), n_post)
        self.n_blocks = self.cuts.size - 1
        self._key = (seed, number)
        self._rule = projection.connection_rule
        self._shared = self._rule.share(n_pre, self.cuts, streams.rng("degrees", *self._key))

    def size(self, block: int) -> int:
        """Number of synapses of a block."""
        p = self.projection
        if _is_sparse(p.weight):
            a, z = np.searchsorted(p.entries[2], self.cuts[block : block + 2])
            return int(z - a)
        n = self._rule.size(self.n_pre, self.cuts, block, self._shared)
        return self._pairs(block)[0].size if n is None else n

    def _rng(self, block: int) -> np.random.Generator:
        return streams.rng("synapses", *self._key, block)

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

    def places(self, block: int, pre: np.ndarray, post: np.ndarray) -> np.ndarray | None:
        """Where the synapses of a block stand in the order of the rule; None: after those of all earlier blocks.

        That is so for sparse entries too; their order is by target, then as stored.
        """
        if _is_sparse(self.projection.weight):
            return None
        return self._rule.places(self.n_pre, self.cuts, block, self._shared, pre, post)

    def _values(self, name: str, given: Any, block: int, pre: np.ndarray, post: np.ndarray, rng: Any) -> Any:
        if is_distribution(given):
            return self._drawn(name, given, pre.size, rng)
        p = self.projection
        if _is_sparse(given):
            stored = p.entry_delays if name == "delay" else np.asarray(given.tocoo().data, np.float64)[p.entries[0]]
            return stored[self._offsets[block] : self._offsets[block + 1]]
        value = np.asarray(given, dtype=np.float64)
        if value.ndim == 0:
            return float(value)
        if value.ndim == 2:
            return value[pre, post + self.cuts[block]]
        if value.size != self._offsets[-1]:
            raise NetworkError(f"{p}: {name} has {value.size} values, but the rule made {self._offsets[-1]} synapses.")
        places = self.places(block, pre, post)
        return value[self._offsets[block] : self._offsets[block + 1]] if places is None else value[places]

    def _drawn(self, name: str, given: Any, n: int, rng: np.random.Generator) -> np.ndarray:
        p = self.projection
        drawn = np.asarray(given.rvs(size=n, random_state=rng) if hasattr(given, "rvs") else given(rng, n))
        if drawn.dtype.kind not in "biuf":
            raise NetworkError(f"{p}: {name} was asked for {n} numbers; it gave {drawn.dtype}.")
        with np.errstate(over="ignore"):
            value = drawn.astype(np.float32)
        if value.shape != (n,):
            raise NetworkError(f"{p}: {name} was asked for {n} values, shape ({n},); it gave shape {value.shape}.")
        if not np.all(np.isfinite(value)):
            raise NetworkError(f"{p}: drawn {name} must be finite; it holds NaN or infinity.")
        if name == "delay" and n and drawn.min() < 0.0:
            raise NetworkError(
                f"{p}: drawn delays must be >= 0 ms; got {drawn.min():g}. Clip or truncate the distribution."
            )
        if name == "weight" and p.plasticity is not None and n:
            _check_bounds(p, drawn)
            # Rounding to float32 must not lead out of the bounds.
            value = np.clip(value, _inward(p.plasticity.w_min, np.inf), _inward(p.plasticity.w_max, -np.inf))
        return value


def _inward(bound: float, inner: float) -> np.float32:
    """The float32 number next to a bound that is on its inner side."""
    with np.errstate(over="ignore"):
        near = np.float32(bound)
    # As Python's numbers: numpy would round the bound to float32 before it compares.
    outside = float(near) < bound if inner > 0.0 else float(near) > bound
    return np.nextafter(near, np.float32(inner)) if outside else near


def _check_bounds(p: Projection, weights: np.ndarray) -> None:
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
    if p.rule is not None and not isinstance(p.rule, Rule):
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
    if _is_sparse(p.delay):
        if not _is_sparse(p.weight):
            raise NetworkError(f"{p}: a sparse delay needs a sparse weight with the same entries.")
        if p.entry_delays.size and p.entry_delays.min() < 0.0:
            raise NetworkError(f"{p}: delay must be >= 0 ms; got {p.entry_delays.min()}.")
    if p.plasticity is not None and not is_distribution(p.weight):
        _check_bounds(p, _values(p.weight))


def _check_values(p: Projection, name: str, value: Any, n_pre: int, n_post: int) -> None:
    """Shape, kind and range of a given weight or delay."""
    try:
        given = np.asarray(value.tocoo().data if _is_sparse(value) else value)
        if value is None or given.dtype.kind not in "biufO":
            raise TypeError
        numbers = given.astype(np.float64)
    except (TypeError, ValueError):
        raise NetworkError(f"{p}: {name} must be a number, or hold numbers; got {value!r}.") from None
    shape = tuple(value.shape) if _is_sparse(value) else numbers.shape
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
    if _is_sparse(value):
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
    if _is_sparse(p.weight):
        return p.weight.nnz
    return p.connection_rule.count(n_pre, n_post)


def shared_bytes(p: Projection, n_pre: int, n_post: int) -> int:
    """Memory of what is drawn before any block."""
    return p.connection_rule.shared_bytes(n_pre, -(-n_post // STRIDE))


def names_of_drawn(p: Projection, number: int, n_post: int, seed: int) -> list[Any]:
    """What tells the synapses apart from those that version 1 of the streams made of the same declaration.

    Empty where these are the same: that version drew from other streams (see ``streams.renamed``), and handed out
    arrays of values in the order of drawing instead of that of the rule.
    """
    rule = p.rule
    out: list[Any] = []
    drawn = is_distribution(p.weight) or is_distribution(p.delay)
    if drawn or rule is not None:
        out += streams.renamed("synapses", seed, number, 0)
    if rule is not None and type(rule).share is not Rule.share and n_post > STRIDE:
        out += streams.renamed("degrees", seed, number)
    arrays = any(not is_distribution(v) and np.ndim(v) > 0 for v in (p.weight, p.delay))
    if rule is not None and arrays and type(rule).places is not Rule.places:
        if n_post > STRIDE or not isinstance(rule, AllToAll):
            out.append("in the order of the rule")
    return out


def synapses_of(p: Projection, number: int, n_pre: int, n_post: int, seed: int) -> Synapses:
    """The whole projection as one list, in the order of the rule. number : its place among the projections."""
    drawing = Drawing(p, number, n_pre, n_post, seed)
    parts = [_shifted(drawing, b) for b in range(drawing.n_blocks)]
    n = sum(part.pre.size for part in parts)
    out = Synapses(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n))
    first = 0
    for b, part in enumerate(parts):
        places = drawing.places(b, part.pre, part.post - drawing.cuts[b])
        where = slice(first, first + part.pre.size) if places is None else places
        for f in Synapses.__dataclass_fields__:
            getattr(out, f)[where] = getattr(part, f)
        first += part.pre.size
    return out


def synapses_onto(p: Projection, number: int, n_pre: int, n_post: int, seed: int, neuron: Any) -> Synapses:
    """The synapses of one target neuron, or of several (n,), block by block in the order of the rule.

    Only the blocks of these neurons are drawn.
    """
    drawing = Drawing(p, number, n_pre, n_post, seed)
    wanted = np.zeros(n_post, np.bool_)
    wanted[neuron] = True
    parts = []
    for block in np.unique(np.searchsorted(drawing.cuts, np.flatnonzero(wanted), side="right") - 1).tolist():
        s = _shifted(drawing, block)
        mine = np.flatnonzero(wanted[s.post])
        places = drawing.places(block, s.pre, s.post - drawing.cuts[block])
        if places is not None:
            mine = mine[np.argsort(places[mine])]
        parts.append(Synapses(s.pre[mine], s.post[mine], s.weight[mine], s.delay[mine]))
    none = Synapses(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    columns = ([getattr(part, f) for part in (none, *parts)] for f in Synapses.__dataclass_fields__)
    return Synapses(*map(np.concatenate, columns))


def _shifted(drawing: Drawing, block: int) -> Synapses:
    pre, post, weight, delay = drawing.block(block)
    full = [np.broadcast_to(np.asarray(v, dtype=np.float64), pre.shape) for v in (weight, delay)]
    return Synapses(pre, post + drawing.cuts[block], *full)


def dense_weights(p: Projection, number: int, n_pre: int, n_post: int, seed: int, receptors: int) -> list[Floats]:
    """Weights as (pre, post) matrices that act together, parallel synapses summed; for projections of one delay.

    One matrix; two where parallel synapses of both signs lead to neurons with a receptor for each.
    """
    if p.rule is None and not _is_sparse(p.weight) and not is_distribution(p.weight):
        return [np.broadcast_to(np.asarray(p.weight, dtype=np.float64), (n_pre, n_post))]
    s = synapses_of(p, number, n_pre, n_post, seed)
    signs = [s.weight >= 0.0, s.weight < 0.0] if receptors == 2 else [np.ones(s.weight.size, bool)]
    out = [np.zeros((n_pre, n_post)) for _ in signs]
    for matrix, mine in zip(out, signs):
        np.add.at(matrix, (s.pre[mine], s.post[mine]), s.weight[mine])
    if receptors == 2 and not np.any((out[0] != 0.0) & (out[1] != 0.0)):
        return [out[0] + out[1]]
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

"""Sampling of synapses, block by block.

What a block of target neurons holds depends on (seed, number of the projection, number of the block) alone: blocks can
be sampled in any order, by any thread, again, or one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evsim import streams
from evsim.description.connectivity import AllToAll, ConnectionRule, Pairs
from evsim.description.projections import (
    STRIDE,
    Projection,
    check_bounds,
    is_distribution,
    is_sparse,
)
from evsim.errors import NetworkError
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses as a list, in the order of the rule: pre, post (n,) int64; weight, delay (n,) float64, ms."""

    pre: np.ndarray
    post: np.ndarray
    weight: Floats
    delay: Floats


class SynapseSampler:
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
        if is_sparse(p.weight):
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
        if is_sparse(p.weight):
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
        if is_sparse(self.projection.weight):
            return None
        return self._rule.places(self.n_pre, self.cuts, block, self._shared, pre, post)

    def _values(self, name: str, given: Any, block: int, pre: np.ndarray, post: np.ndarray, rng: Any) -> Any:
        if is_distribution(given):
            return self._drawn(name, given, pre.size, rng)
        p = self.projection
        if is_sparse(given):
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
            check_bounds(p, drawn)
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


def names_of_sampled(p: Projection, number: int, n_post: int, seed: int) -> list[Any]:
    """What tells the synapses apart from those that version 1 of the streams made of the same declaration.

    Empty where these are the same: that version drew from other streams (see ``streams.renamed``), and handed out
    arrays of values in the order of drawing instead of that of the rule.
    """
    rule = p.rule
    out: list[Any] = []
    drawn = is_distribution(p.weight) or is_distribution(p.delay)
    if drawn or rule is not None:
        out += streams.renamed("synapses", seed, number, 0)
    if rule is not None and type(rule).share is not ConnectionRule.share and n_post > STRIDE:
        out += streams.renamed("degrees", seed, number)
    arrays = any(not is_distribution(v) and np.ndim(v) > 0 for v in (p.weight, p.delay))
    if rule is not None and arrays and type(rule).places is not ConnectionRule.places:
        if n_post > STRIDE or not isinstance(rule, AllToAll):
            out.append("in the order of the rule")
    return out


def sample_synapses(p: Projection, number: int, n_pre: int, n_post: int, seed: int) -> Synapses:
    """The whole projection as one list, in the order of the rule. number : its place among the projections."""
    drawing = SynapseSampler(p, number, n_pre, n_post, seed)
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


def sample_synapses_onto(p: Projection, number: int, n_pre: int, n_post: int, seed: int, neuron: Any) -> Synapses:
    """The synapses of one target neuron, or of several (n,), block by block in the order of the rule.

    Only the blocks of these neurons are drawn.
    """
    drawing = SynapseSampler(p, number, n_pre, n_post, seed)
    wanted = np.zeros(n_post, np.bool_)
    wanted[neuron] = True
    parts = []
    for block in np.unique(np.searchsorted(drawing.cuts, np.flatnonzero(wanted), side="right") - 1).tolist():
        s = _shifted(drawing, block)
        onto = np.flatnonzero(wanted[s.post])
        places = drawing.places(block, s.pre, s.post - drawing.cuts[block])
        if places is not None:
            onto = onto[np.argsort(places[onto])]
        parts.append(Synapses(s.pre[onto], s.post[onto], s.weight[onto], s.delay[onto]))
    none = Synapses(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    columns = ([getattr(part, f) for part in (none, *parts)] for f in Synapses.__dataclass_fields__)
    return Synapses(*map(np.concatenate, columns))


def _shifted(drawing: SynapseSampler, block: int) -> Synapses:
    pre, post, weight, delay = drawing.block(block)
    full = [np.broadcast_to(np.asarray(v, dtype=np.float64), pre.shape) for v in (weight, delay)]
    return Synapses(pre, post + drawing.cuts[block], *full)


def dense_weights(p: Projection, number: int, n_pre: int, n_post: int, seed: int, receptors: int) -> list[Floats]:
    """Weights as (pre, post) matrices that act together, parallel synapses summed; for projections of one delay.

    One matrix; two where parallel synapses of both signs lead to neurons with a receptor for each.
    """
    if p.rule is None and not is_sparse(p.weight) and not is_distribution(p.weight):
        return [np.broadcast_to(np.asarray(p.weight, dtype=np.float64), (n_pre, n_post))]
    s = sample_synapses(p, number, n_pre, n_post, seed)
    signs = [s.weight >= 0.0, s.weight < 0.0] if receptors == 2 else [np.ones(s.weight.size, bool)]
    out = [np.zeros((n_pre, n_post)) for _ in signs]
    for matrix, sign in zip(out, signs):
        np.add.at(matrix, (s.pre[sign], s.post[sign]), s.weight[sign])
    if receptors == 2 and not np.any((out[0] != 0.0) & (out[1] != 0.0)):
        return [out[0] + out[1]]
    return out

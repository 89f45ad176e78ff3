"""Connection rules: which pairs (source, target) of two populations are connected.

A rule draws the synapses of one block of targets at a time. The *order of a rule* does not depend on blocks: it is the
order in which ``Recording.synapses`` lists the synapses, and in which arrays of weights and delays name them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from evsim.errors import NetworkError

Pairs = tuple[np.ndarray, np.ndarray]


class ConnectionRule:
    """Which pairs (pre, post) are connected. A rule of your own implements ``count`` and ``draw``, and ``places`` if
    its order is not block after block."""

    multapses: bool = True
    """May a pair have several synapses?"""

    autapses: bool = True
    """May a neuron be connected to itself?"""

    def between(self, one_population: bool) -> ConnectionRule:
        """The rule for two populations, or within one: autapses exist only there."""
        return self

    def check(self, n_pre: int, n_post: int) -> None:
        """Raise NetworkError if the rule cannot connect populations of these sizes."""

    def count(self, n_pre: int, n_post: int) -> float:
        """Expected number of synapses."""
        raise NotImplementedError

    def total(self, n_pre: int, n_post: int) -> int | None:
        """Number of synapses; None if only drawing them tells."""
        return None

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

    def places(
        self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, pre: np.ndarray, post: np.ndarray
    ) -> np.ndarray | None:
        """Where the synapses that ``draw`` gave stand in the order of the rule, (n,) int64.

        None: those of all earlier blocks come first, then these as drawn.
        """
        return None


class Switched(ConnectionRule):
    """A rule with the switch ``autapses``; it has no effect between two populations, where there are none."""

    def between(self, one_population: bool) -> ConnectionRule:
        # Every subclass is a dataclass that has the field.
        return self if one_population or self.autapses else replace(self, autapses=True)  # type: ignore[type-var]

    def __repr__(self) -> str:
        """With the switches that are not as usual: saved states name a network by this."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        text = ", ".join(f"{k}={v!r}" for k, v in shown.items() if v is not True)
        return f"{type(self).__name__}({text})"


@dataclass(frozen=True, repr=False)
class AllToAll(Switched):
    """Every source to every target; order: by source, then target.

    autapses : False leaves out the connection of each neuron to itself
    """

    autapses: bool = True

    def count(self, n_pre: int, n_post: int) -> float:
        return self.total(n_pre, n_post)

    def total(self, n_pre: int, n_post: int) -> int:
        return n_pre * (n_post - (not self.autapses))

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        width = int(cuts[block + 1] - cuts[block])
        return n_pre * width - width * (not self.autapses)

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """All pairs, by source, then target."""
        width = int(cuts[block + 1] - cuts[block])
        pairs = np.repeat(np.arange(n_pre), width), np.tile(np.arange(width), n_pre)
        return pairs if self.autapses else _without_autapses(pairs, cuts[block])

    def places(
        self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, pre: np.ndarray, post: np.ndarray
    ) -> np.ndarray:
        target = post + cuts[block]
        if self.autapses:
            return pre * cuts[-1] + target
        return pre * (cuts[-1] - 1) + target - (target > pre)


@dataclass(frozen=True)
class OneToOne(ConnectionRule):
    """Source k to target k; both populations have the same size. Order: k."""

    def check(self, n_pre: int, n_post: int) -> None:
        if n_pre != n_post:
            raise NetworkError(f"OneToOne needs populations of equal size; got {n_pre} and {n_post}.")

    def count(self, n_pre: int, n_post: int) -> float:
        return n_post

    def total(self, n_pre: int, n_post: int) -> int:
        return n_post

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        return int(cuts[block + 1] - cuts[block])

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """The diagonal."""
        post = np.arange(cuts[block + 1] - cuts[block])
        return post + cuts[block], post


@dataclass(frozen=True, repr=False)
class FixedIndegree(Switched):
    """Each target draws ``indegree`` sources. Order: by target, the sources of one target as drawn (no order).

    multapses : True draws with replacement, several synapses of a pair may occur; False without
    autapses : may a neuron draw itself?
    """

    indegree: int
    multapses: bool = True
    autapses: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "indegree", whole("indegree", self.indegree))

    def check(self, n_pre: int, n_post: int) -> None:
        _drawable(self, "indegree", self.indegree, "sources", n_pre)

    def count(self, n_pre: int, n_post: int) -> float:
        return self.total(n_pre, n_post)

    def total(self, n_pre: int, n_post: int) -> int:
        return self.indegree * n_post

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        return self.indegree * int(cuts[block + 1] - cuts[block])

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """Random sources of every target, by target."""
        width = int(cuts[block + 1] - cuts[block])
        post = np.repeat(np.arange(width), self.indegree)
        others = n_pre - (not self.autapses)
        if self.multapses:
            pre = rng.integers(0, max(others, 1), size=post.size)
        else:
            pre = distinct(np.full(width, self.indegree), np.full(width, others), rng)
        return pre if self.autapses else _beside(pre, post + cuts[block]), post


@dataclass(frozen=True, repr=False)
class FixedOutdegree(Switched):
    """Each source draws ``outdegree`` targets. Order: by source, then target.

    multapses : True draws with replacement, several synapses of a pair may occur; False without
    autapses : may a neuron draw itself?
    """

    outdegree: int
    multapses: bool = True
    autapses: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "outdegree", whole("outdegree", self.outdegree))

    def check(self, n_pre: int, n_post: int) -> None:
        _drawable(self, "outdegree", self.outdegree, "targets", n_post)

    def count(self, n_pre: int, n_post: int) -> float:
        return self.total(n_pre, n_post)

    def total(self, n_pre: int, n_post: int) -> int:
        return self.outdegree * n_pre

    def shared_bytes(self, n_pre: int, n_blocks: int) -> int:
        return 8 * n_pre * n_blocks

    def share(self, n_pre: int, cuts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How many synapses of each source fall into each block, (n_pre, n_blocks)."""
        widths = np.diff(cuts)
        if self.autapses:
            return self._spread(widths, n_pre, rng)
        # Sources of one block have the same targets to choose from, but for themselves.
        blocks = np.arange(widths.size)
        return np.concatenate([self._spread(widths - (blocks == b), int(widths[b]), rng) for b in blocks])

    def _spread(self, room: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """n draws of how many of the targets fall into each block, which offers room[block] of them; (n, n_blocks)."""
        if self.multapses:
            return rng.multinomial(self.outdegree, room / max(room.sum(), 1), size=n)
        return rng.multivariate_hypergeometric(room, self.outdegree, size=n)

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: np.ndarray) -> int:
        return int(shared[:, block].sum())

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """Random targets of every source, by source."""
        width = int(cuts[block + 1] - cuts[block])
        pre = np.repeat(np.arange(n_pre), shared[:, block])
        if self.multapses and self.autapses:
            return pre, rng.integers(0, width, size=pre.size)
        source = np.arange(n_pre)
        inside = (source >= cuts[block]) & (source < cuts[block + 1]) & (not self.autapses)
        room = width - inside
        if self.multapses:
            post = rng.integers(0, room[pre])
        else:
            post = distinct(shared[:, block], room, rng)
        return pre, np.where(inside[pre], _beside(post, pre - cuts[block]), post)

    def places(
        self, n_pre: int, cuts: np.ndarray, block: int, shared: np.ndarray, pre: np.ndarray, post: np.ndarray
    ) -> np.ndarray:
        first = self.outdegree * np.arange(n_pre) + shared[:, :block].sum(axis=1)
        start = np.cumsum(shared[:, block]) - shared[:, block]
        order = np.argsort(pre * (cuts[block + 1] - cuts[block]) + post, kind="stable")
        out = np.empty(pre.size, np.int64)
        out[order] = np.arange(pre.size) + (first - start)[pre[order]]
        return out


@dataclass(frozen=True, repr=False)
class FixedTotalNumber(Switched):
    """``synapses`` pairs in all, drawn from all pairs. Order: by target, then source.

    multapses : True draws with replacement, several synapses of a pair may occur; False without
    autapses : may a neuron be paired with itself?
    """

    synapses: int
    multapses: bool = True
    autapses: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "synapses", whole("synapses", self.synapses))

    def check(self, n_pre: int, n_post: int) -> None:
        pairs = n_post * (n_pre - (not self.autapses))
        if self.synapses > 0 and pairs == 0:
            raise NetworkError(f"{self} has no pair to draw from.")
        if not self.multapses and self.synapses > pairs:
            raise NetworkError(
                f"{self}: {self.synapses} synapses are more than the {pairs} pairs. Use fewer, or multapses=True."
            )

    def count(self, n_pre: int, n_post: int) -> float:
        return self.synapses

    def total(self, n_pre: int, n_post: int) -> int:
        return self.synapses

    def shared_bytes(self, n_pre: int, n_blocks: int) -> int:
        return 0 if self.multapses else 32 * self.synapses

    def share(self, n_pre: int, cuts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How many fall into each block, (n_blocks,); without multapses every pair as target * sources + source."""
        sources = n_pre - (not self.autapses)
        if self.multapses:
            return rng.multinomial(self.synapses, np.diff(cuts) / cuts[-1])
        return np.sort(distinct(np.array([self.synapses]), np.array([int(cuts[-1]) * sources]), rng))

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: np.ndarray) -> int:
        if self.multapses:
            return int(shared[block])
        a, z = np.searchsorted(shared, cuts[block : block + 2] * (n_pre - (not self.autapses)))
        return int(z - a)

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """Random pairs."""
        sources = n_pre - (not self.autapses)
        if self.multapses:
            n = int(shared[block])
            pre, post = rng.integers(0, sources, size=n), rng.integers(0, cuts[block + 1] - cuts[block], size=n)
        else:
            a, z = np.searchsorted(shared, cuts[block : block + 2] * sources)
            post, pre = np.divmod(shared[a:z] - cuts[block] * sources, sources)
        return pre if self.autapses else _beside(pre, post + cuts[block]), post

    def places(
        self, n_pre: int, cuts: np.ndarray, block: int, shared: np.ndarray, pre: np.ndarray, post: np.ndarray
    ) -> np.ndarray:
        first = sum(self.size(n_pre, cuts, b, shared) for b in range(block))
        out = np.empty(pre.size, np.int64)
        out[np.argsort(post * n_pre + pre, kind="stable")] = np.arange(first, first + pre.size)
        return out


@dataclass(frozen=True, repr=False)
class Bernoulli(Switched):
    """Each pair is connected with probability ``p``, independently of all others; at most once.

    Order: by target, then source. autapses : False leaves out the connection of each neuron to itself
    """

    p: float
    autapses: bool = True

    def __post_init__(self) -> None:
        try:
            valid = 0.0 <= self.p <= 1.0
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise NetworkError(f"Bernoulli needs a probability in [0, 1]; got {self.p!r}.")

    def count(self, n_pre: int, n_post: int) -> float:
        return self.p * n_post * (n_pre - (not self.autapses))

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """The gaps between connected pairs, counted through the block's table, are geometric."""
        width = int(cuts[block + 1] - cuts[block])
        total = n_pre * width
        drawn: list[np.ndarray] = []
        last = -1
        while self.p > 0.0 and last < total:
            expected = (total - last) * self.p
            gaps = rng.geometric(self.p, size=int(expected + 4.0 * np.sqrt(expected) + 16))
            # Gaps beyond the table are as good as its length, and their sums must not overflow.
            steps = last + np.cumsum(np.minimum(gaps, total + 1))
            drawn.append(steps)
            last = int(steps[-1])
        cells = np.concatenate([np.empty(0, np.int64), *drawn])
        post, pre = np.divmod(cells[cells < total], n_pre)
        return (pre, post) if self.autapses else _without_autapses((pre, post), cuts[block])


def distinct(counts: np.ndarray, choices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each row r, counts[r] different numbers of 0 ... choices[r] - 1, all subsets equally likely; row after row.

    counts, choices : (n_rows,) int64. Returns (counts.sum(),) int64; the numbers of a row have no order.
    """
    row = np.repeat(np.arange(counts.size), counts)
    out = np.empty(row.size, np.int64)
    # Both ways treat all numbers alike, so that no subset is preferred. Few of many: what repeats is drawn again.
    few = (4 * counts <= choices)[row]
    again = np.flatnonzero(few)
    out[again] = rng.integers(0, choices[row[again]])
    base = (np.cumsum(choices) - choices)[row]
    while again.size:
        _, first = np.unique(base[few] + out[few], return_index=True)
        repeats = np.ones(int(few.sum()), bool)
        repeats[first] = False
        again = np.flatnonzero(few)[repeats]
        out[again] = rng.integers(0, choices[row[again]])
    start = np.cumsum(counts) - counts
    for r in np.flatnonzero((4 * counts > choices) & (counts > 0)):
        out[start[r] : start[r] + counts[r]] = rng.permutation(choices[r])[: counts[r]]
    return out


def whole(name: str, value: int) -> int:
    """An integer >= 0; raises NetworkError for anything else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 0:
        raise NetworkError(f"{name} must be an integer >= 0; got {value!r}.")
    return int(value)


def _beside(drawn: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Numbers drawn from one fewer than there are, such that none is ``excluded``."""
    return drawn + (drawn >= excluded)


def _without_autapses(pairs: Pairs, first: int) -> Pairs:
    pre, post = pairs
    others = pre != post + first
    return pre[others], post[others]


def _drawable(rule: ConnectionRule, name: str, degree: int, kind: str, available: int) -> None:
    others = available - (not rule.autapses)
    if degree > 0 and others == 0:
        raise NetworkError(f"{rule} has no {kind[:-1]} to draw from.")
    if not rule.multapses and degree > others:
        raise NetworkError(
            f"{rule}: an {name} of {degree} is larger than the population of {others} {kind} that each can draw. Use a "
            "smaller degree, a larger population, or multapses=True."
        )

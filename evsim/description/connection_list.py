"""Connection lists: every synapse by its source and target, in the order in which they are given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evsim.description.connectivity import ConnectionRule, Pairs
from evsim.errors import DataError, NetworkError
from evsim.text_files import ascii_integer, ascii_number, read_text


@dataclass(frozen=True, eq=False)
class ConnectionList(ConnectionRule):
    """Synapse i leads from source ``pre[i]`` to target ``post[i]``; pairs may repeat. Order: as given.

    pre, post : (n,) integers; copied

    Raises NetworkError : no integers, or not one source for each target.
    """

    pre: np.ndarray
    post: np.ndarray
    _by_target: np.ndarray = field(init=False)
    """Places in the list, by target, the given order kept within."""

    def __post_init__(self) -> None:
        for name in ("pre", "post"):
            numbers = _integers(name, getattr(self, name))
            numbers.flags.writeable = False
            object.__setattr__(self, name, numbers)
        if self.pre.size != self.post.size:
            raise NetworkError(
                f"pre and post must be equally long, one source and one target for each synapse; got {self.pre.size} "
                f"and {self.post.size}."
            )
        object.__setattr__(self, "_by_target", np.argsort(self.post, kind="stable"))

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.pre.tobytes() + self.post.tobytes()).hexdigest()
        return f"ConnectionList({self.pre.size} pairs, sha256 {digest})"

    def check(self, n_pre: int, n_post: int) -> None:
        for name, numbers, size in (("pre", self.pre, n_pre), ("post", self.post, n_post)):
            if numbers.size and (numbers.min() < 0 or numbers.max() >= size):
                k = int(np.flatnonzero((numbers < 0) | (numbers >= size))[0])
                raise NetworkError(f"{name}[{k}] is {numbers[k]}, but the population has 0 ... {size - 1}.")

    def count(self, n_pre: int, n_post: int) -> float:
        return self.pre.size

    def total(self, n_pre: int, n_post: int) -> int:
        return self.pre.size

    def _of(self, cuts: np.ndarray, block: int) -> np.ndarray:
        a, z = np.searchsorted(self.post, cuts[block : block + 2], sorter=self._by_target)
        return self._by_target[a:z]

    def size(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any) -> int:
        return self._of(cuts, block).size

    def draw(self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, rng: np.random.Generator) -> Pairs:
        """The synapses onto a block, by target."""
        of_block = self._of(cuts, block)
        return self.pre[of_block], self.post[of_block] - cuts[block]

    def places(
        self, n_pre: int, cuts: np.ndarray, block: int, shared: Any, pre: np.ndarray, post: np.ndarray
    ) -> np.ndarray:
        return self._of(cuts, block)


def _integers(name: str, values: Any) -> np.ndarray:
    try:
        raw = np.asarray(values)
    except (TypeError, ValueError):
        raw = np.empty((0, 0))
    if raw.ndim == 1 and raw.size == 0:
        raw = raw.astype(np.int64)
    if raw.ndim != 1 or raw.dtype.kind not in "iu":
        raise NetworkError(
            f"{name} must be a list of integers, one for each synapse; got shape {raw.shape} of {raw.dtype}."
        )
    if raw.dtype == np.uint64 and raw.size and raw.max() > np.uint64(2**63 - 1):
        raise NetworkError(f"{name} holds {raw.max()}, which is no number of a neuron.")
    return raw.astype(np.int64)


_COLUMNS = ("pre", "post", "weight", "delay")


def read_connection_list(path: Path) -> dict[str, np.ndarray]:
    """Columns of a text file, by name: pre, post (n,) int64, and, if there are so many, weight and delay (ms).

    Columns are separated by blanks or a comma; # begins a comment.

    Raises NetworkError : no such columns, lines of different lengths, sources or targets that are no integers.
    """
    rows: list[list[Any]] = []
    try:
        text = read_text(path)
    except DataError as error:
        raise NetworkError(f"{error} A list of synapses has two to four columns of numbers.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split("#")[0].replace(",", " ").split()
        if not cells:
            continue
        try:
            row = [*(ascii_integer(cell) for cell in cells[:2]), *(ascii_number(cell) for cell in cells[2:])]
        except ValueError:
            row = []
        if not 2 <= len(row) <= 4 or (rows and len(row) != len(rows[0])):
            raise NetworkError(
                f"{path}, line {number}: source and target (integers), and in all lines or in none weight and "
                f"delay, were expected; got {line.strip()[:80]!r}."
            )
        rows.append(row)
    columns = list(zip(*rows)) if rows else [(), ()]
    by_name = dict(zip(_COLUMNS, columns))
    return {name: np.array(by_name[name], None if k < 2 else np.float64) for k, name in enumerate(by_name)}

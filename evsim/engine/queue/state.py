"""The saved state of the queue engine, checked: every index is in its range, both heaps are heaps, no time is past."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim._kernels.queue import arrays as layout
from evsim._kernels.queue.heap import NOT_IN_HEAP
from evsim.engine.state_check import array, like, refuse, roomy, sequence, sorted_times, spikes, table
from evsim.synapses.flat_network import FlatNetwork

_BOUND, _SOLVED, _KEY, _HEAP, _POSITION = 4, 5, 6, 7, 8
"""Places in the list of a neuron's arrays, as ``run_queue`` takes them."""


def checked_queue(saved: Any, fresh: dict[str, Any], flat: FlatNetwork, time: float) -> dict[str, Any]:
    """What ``QueueRun.set_state`` may use of a saved state. fresh : the state of a new run; time : reached, ms.

    Arrays that an older state lacks at the end of ``neurons`` are taken from the new run.

    Raises ValueError : a state that no run of this network has at this time.
    """
    where = "engine/queue"
    saved = table(saved, where, *fresh)
    n = flat.neurons.theta.size
    counters = like(saved["state"], f"{where}/state", fresh["state"], low=0)
    counters[layout.N_SPIKES] = 0
    given = sequence(saved["neurons"], f"{where}/neurons")
    models = fresh["neurons"]
    if not _POSITION < len(given) <= len(models):
        refuse(f"{where}/neurons", f"must have {len(models)} entries; it has {len(given)}")
    neurons = [
        like(a, f"{where}/neurons/{k}", model, **({"low": 0.0, "infinite": True} if k in (_BOUND, _KEY) else {}))
        for k, (a, model) in enumerate(zip([*given, *models[len(given) :]], models))
    ]
    _check_neurons(neurons, int(counters[layout.N_HEAP]), n, time, f"{where}/neurons")
    pending = _checked_pending(saved["pending"], int(counters[layout.N_QUEUE]), flat, time, f"{where}/pending")
    inputs = spikes(saved["inputs"], f"{where}/inputs", (np.float64, np.int64), flat.n_inputs)
    sorted_times(inputs[0], f"{where}/inputs/0")
    done = int(counters[layout.NEXT_INPUT])
    if done > inputs[0].size or np.any(inputs[0][done:] < time):
        refuse(f"{where}/inputs", "does not fit the time reached")
    models = fresh["traces"]
    traces = sequence(saved["traces"], f"{where}/traces", len(models))
    return {
        "state": counters,
        "neurons": neurons,
        "pending": pending,
        "inputs": inputs,
        "weight": like(saved["weight"], f"{where}/weight", fresh["weight"]),
        "traces": [like(a, f"{where}/traces/{k}", m) for k, (a, m) in enumerate(zip(traces, models))],
    }


def _check_neurons(neurons: list[np.ndarray], n_heap: int, n: int, time: float, where: str) -> None:
    bound, solved, key, position = (neurons[k] for k in (_BOUND, _SOLVED, _KEY, _POSITION))
    if n_heap > n:
        refuse(where, f"announces a heap of {n_heap} of {n} neurons")
    heap = neurons[_HEAP][:n_heap]
    if n_heap and not 0 <= heap.min() <= heap.max() < n:
        refuse(f"{where}/{_HEAP}", f"names neurons {heap.min()} ... {heap.max()} of {n}")
    right = np.full(n, NOT_IN_HEAP, np.int64)
    right[heap] = np.arange(n_heap)
    if not np.array_equal(right, position) or np.count_nonzero(right != NOT_IN_HEAP) != n_heap:
        refuse(f"{where}/{_POSITION}", "does not say where neurons stand in the heap")
    _check_heap(key[heap], where)
    if np.any(key[heap] < time):
        refuse(f"{where}/{_KEY}", f"names a time before {time} ms, which is reached")
    if np.any(key[heap] > bound[heap]) or np.any((key != bound)[heap] & solved[heap]):
        refuse(f"{where}/{_BOUND}", "does not fit the heap")
    if np.any(np.isfinite(bound[right == NOT_IN_HEAP])):
        refuse(f"{where}/{_BOUND}", "names a spike of a neuron that waits for none")


def _checked_pending(saved: Any, n_queue: int, flat: FlatNetwork, time: float, where: str) -> list[np.ndarray]:
    """Deliveries on their way, with room behind them."""
    types = (np.float64, np.float64, np.int64, np.int64, np.int64)
    given = sequence(saved, where, len(types))
    # An older state holds what lay in the buffer behind them, too.
    cut = [a[:n_queue] if isinstance(a, np.ndarray) and a.ndim == 1 else a for a in given]
    times, emitted, level, source, group = (array(a, f"{where}/{k}", types[k], (n_queue,)) for k, a in enumerate(cut))
    if n_queue:
        if not 0 <= source.min() <= source.max() < flat.group_start.size - 1:
            refuse(f"{where}/3", f"names sources {source.min()} ... {source.max()}")
        if np.any((group < flat.group_start[source]) | (group >= flat.group_start[source + 1])):
            refuse(f"{where}/4", "names synapses of other sources")
        if np.any(level != flat.group_level[group]) or np.any(times != emitted + flat.group_delay[group]):
            refuse(where, "names arrivals at other times than the delays say")
        if times.min() < time:
            refuse(f"{where}/0", f"names an arrival before {time} ms, which is reached")
        _check_heap(times, where)
    return [roomy(a) for a in (times, emitted, level, source, group)]


def _check_heap(keys: np.ndarray, where: str) -> None:
    child = np.arange(1, keys.size)
    if np.any(keys[(child - 1) >> 1] > keys[child]):
        refuse(where, "is not in the order of a heap")

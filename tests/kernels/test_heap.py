"""The heaps against heapq and against sorting."""

import heapq

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evsim._kernels.queue.heap import delivery_pop, delivery_push, delivery_replace, neuron_remove_top, neuron_update

entry = st.tuples(
    st.sampled_from([0.0, 0.5, 1.0, 1.5]), st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)
)


@given(st.lists(st.tuples(st.sampled_from(["push", "pop", "replace"]), entry), max_size=60))
def test_deliveries_come_out_in_the_total_order(steps) -> None:
    arrays = np.empty(64), np.empty(64), *(np.empty(64, np.int64) for _ in range(3))
    size, twin = 0, []
    for what, (t, level, source, group) in steps:
        if what == "push" or not twin:
            size = delivery_push(*arrays, size, t, t - 1.0, level, source, group)
            heapq.heappush(twin, (t, level, source, group))
        elif what == "pop":
            size = delivery_pop(*arrays, size)
            heapq.heappop(twin)
        else:
            delivery_replace(*arrays, size, t, t - 1.0, level, source, group)
            heapq.heapreplace(twin, (t, level, source, group))
        assert size == len(twin)
        if twin:
            assert (arrays[0][0], arrays[2][0], arrays[3][0], arrays[4][0]) == twin[0]
            assert arrays[1][0] == arrays[0][0] - 1.0


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])), max_size=60))
def test_a_neuron_stands_in_the_heap_once_under_its_last_key(changes) -> None:
    heap, position = np.empty(10, np.int64), np.full(10, -1, np.int64)
    key, level = np.full(10, np.inf), np.arange(10)[::-1] % 3
    size, twin = 0, {}
    for neuron, value in changes:
        size = neuron_update(heap, position, key, level, size, neuron, value)
        twin[neuron] = value
    order = []
    while size:
        order.append(int(heap[0]))
        size = neuron_remove_top(heap, position, key, level, size)
    assert order == sorted(twin, key=lambda n: (twin[n], level[n], n))
    assert np.all(position == -1)

"""Two binary heaps on flat arrays.

Deliveries: every entry is one future delivery of a source's spike to a group of its targets, ordered by
(time, level, source, group): a total order without tolerance. Neurons: each neuron stands in the heap at
most once, ordered by (key, level, neuron); its key can be changed in place.
"""

from .jit import formula

NOT_IN_HEAP = -1


@formula
def _delivery_before(times, level, source, group, a, b):
    if times[a] != times[b]:
        return times[a] < times[b]
    if level[a] != level[b]:
        return level[a] < level[b]
    if source[a] != source[b]:
        return source[a] < source[b]
    return group[a] < group[b]


@formula
def _delivery_swap(times, spike, level, source, group, a, b):
    times[a], times[b] = times[b], times[a]
    spike[a], spike[b] = spike[b], spike[a]
    level[a], level[b] = level[b], level[a]
    source[a], source[b] = source[b], source[a]
    group[a], group[b] = group[b], group[a]


@formula
def delivery_push(times, spike, level, source, group, size, t, t_spike, lv, src, grp):
    """Add a delivery; returns the new size."""
    k = size
    times[k] = t
    spike[k] = t_spike
    level[k] = lv
    source[k] = src
    group[k] = grp
    while k > 0:
        parent = (k - 1) >> 1
        if not _delivery_before(times, level, source, group, k, parent):
            break
        _delivery_swap(times, spike, level, source, group, k, parent)
        k = parent
    return size + 1


@formula
def delivery_pop(times, spike, level, source, group, size):
    """Remove the first delivery (left at index ``size - 1``); returns the new size."""
    size -= 1
    _delivery_swap(times, spike, level, source, group, 0, size)
    k = 0
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        if child + 1 < size and _delivery_before(times, level, source, group, child + 1, child):
            child += 1
        if not _delivery_before(times, level, source, group, child, k):
            break
        _delivery_swap(times, spike, level, source, group, k, child)
        k = child
    return size


@formula
def _neuron_before(key, level, a, b):
    if key[a] != key[b]:
        return key[a] < key[b]
    if level[a] != level[b]:
        return level[a] < level[b]
    return a < b


@formula
def neuron_update(heap, position, key, level, size, neuron, value):
    """Give ``neuron`` the key ``value``, wherever it stands; returns the new size."""
    k = position[neuron]
    key[neuron] = value
    if k == NOT_IN_HEAP:
        k = size
        heap[k] = neuron
        position[neuron] = k
        size += 1
    while k > 0:
        parent = (k - 1) >> 1
        other = heap[parent]
        if not _neuron_before(key, level, neuron, other):
            break
        heap[k] = other
        position[other] = k
        k = parent
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        if child + 1 < size and _neuron_before(key, level, heap[child + 1], heap[child]):
            child += 1
        other = heap[child]
        if not _neuron_before(key, level, other, neuron):
            break
        heap[k] = other
        position[other] = k
        k = child
    heap[k] = neuron
    position[neuron] = k
    return size


@formula
def neuron_remove_top(heap, position, key, level, size):
    """Take the first neuron out; returns the new size."""
    position[heap[0]] = NOT_IN_HEAP
    size -= 1
    if size > 0:
        last = heap[size]
        heap[0] = last
        position[last] = 0
        neuron_update(heap, position, key, level, size, last, key[last])
    return size

"""Two binary heaps on flat arrays.

Deliveries: every entry is one future delivery of a source's spike to a group of its targets, ordered by
(time, level, source, group): a total order without tolerance. Neurons: each neuron stands in the heap at
most once, ordered by (key, level, neuron); its key can be changed in place.
"""

from ..jit import formula

NOT_IN_HEAP = -1


@formula
def _earlier(t, lv, src, grp, times, level, source, group, k):
    """Does the delivery (t, lv, src, grp) come before entry k?"""
    if t != times[k]:
        return t < times[k]
    if lv != level[k]:
        return lv < level[k]
    if src != source[k]:
        return src < source[k]
    return grp < group[k]


@formula
def _move(times, spike, level, source, group, to, k):
    times[to] = times[k]
    spike[to] = spike[k]
    level[to] = level[k]
    source[to] = source[k]
    group[to] = group[k]


@formula
def _put(times, spike, level, source, group, k, t, t_spike, lv, src, grp):
    times[k] = t
    spike[k] = t_spike
    level[k] = lv
    source[k] = src
    group[k] = grp


@formula
def delivery_push(times, spike, level, source, group, size, t, t_spike, lv, src, grp):
    """Add a delivery; returns the new size."""
    k = size
    while k > 0:
        parent = (k - 1) >> 1
        if not _earlier(t, lv, src, grp, times, level, source, group, parent):
            break
        _move(times, spike, level, source, group, k, parent)
        k = parent
    _put(times, spike, level, source, group, k, t, t_spike, lv, src, grp)
    return size + 1


@formula
def delivery_replace(times, spike, level, source, group, size, t, t_spike, lv, src, grp):
    """Put a delivery in the place of the first one."""
    k = 0
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        other = child + 1
        if other < size and _earlier(
            times[other], level[other], source[other], group[other], times, level, source, group, child
        ):
            child = other
        if _earlier(t, lv, src, grp, times, level, source, group, child):
            break
        _move(times, spike, level, source, group, k, child)
        k = child
    _put(times, spike, level, source, group, k, t, t_spike, lv, src, grp)


@formula
def delivery_pop(times, spike, level, source, group, size):
    """Remove the first delivery; returns the new size."""
    size -= 1
    if size > 0:
        delivery_replace(
            times, spike, level, source, group, size,
            times[size], spike[size], level[size], source[size], group[size],
        )  # fmt: skip
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

"""Synapses of a block in the order of their sources."""

from ..jit import leaf


@leaf
def order_by_source(pre, starts, order):
    """starts : (n_sources + 1,) uint32, where each source's synapses begin; order : (n,) int32, stable."""
    for k in range(starts.size):
        starts[k] = 0
    for s in pre:
        starts[s + 1] += 1
    for k in range(starts.size - 1):
        starts[k + 1] += starts[k]
    for k in range(pre.size - 1, -1, -1):
        starts[pre[k] + 1] -= 1
        order[starts[pre[k] + 1]] = k
    for k in range(starts.size - 1):
        starts[k] = starts[k + 1]
    starts[starts.size - 1] = pre.size

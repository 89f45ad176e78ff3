"""Sums of a cell's inputs, one for every neuron of a block, without order and without a growing error.

Terms are added up in parts of about PART terms a neuron. A complete part goes to the total, whose rounding error is
kept (Knuth's two-sum): so thousands of inputs within a cell are summed with the error of a few dozen.
"""

from ..jit import leaf

PART = 32.0
"""Terms for each neuron after which a part is complete."""

LEAST = 1.0 / 8.0
"""Terms a neuron that a spike counts for at least: few neurons may get many, but a part costs a pass over all."""


@leaf
def start_sums(scratch, rest, width):
    """The sums of a cell without input. rest : what rounding u has lost before."""
    up, down, base = scratch.up, scratch.down, scratch.base
    for n in range(width):
        up[n] = 0.0
    for n in range(width):
        down[n] = 0.0
    for n in range(width):
        base[n] = rest[n]


@leaf
def _move(part, total, lost, width):
    for n in range(width):
        x = part[n]
        whole = total[n] + x
        piece = whole - total[n]
        lost[n] += (total[n] - (whole - piece)) + (x - piece)
        total[n] = whole
        part[n] = 0.0


@leaf
def start_totals(scratch, rest_exc, rest_inh, width):
    """Totals of 0; what they will have lost is added to the rests of the currents (of u: to ``base``)."""
    for n in range(width):
        scratch.total_up[n] = scratch.total_down[n] = scratch.total_base[n] = scratch.lost_base[n] = 0.0
        scratch.rest_exc[n] = rest_exc[n]
        scratch.rest_inh[n] = rest_inh[n]


@leaf
def move_part(scratch, width, n_receptors):
    """Add the parts to the totals and begin new ones."""
    if n_receptors == 0:
        _move(scratch.up, scratch.total_up, scratch.lost_base, width)
        _move(scratch.down, scratch.total_down, scratch.lost_base, width)
        return
    _move(scratch.up, scratch.total_up, scratch.rest_exc, width)
    _move(scratch.down, scratch.total_down, scratch.rest_inh if n_receptors == 2 else scratch.rest_exc, width)
    _move(scratch.base, scratch.total_base, scratch.lost_base, width)


@leaf
def take_totals(scratch, width, n_receptors):
    """The totals, as ``start_sums`` and additions without parts would have left them."""
    move_part(scratch, width, n_receptors)
    for n in range(width):
        scratch.up[n] = scratch.total_up[n]
    for n in range(width):
        scratch.down[n] = scratch.total_down[n]
    if n_receptors == 0:
        for n in range(width):
            scratch.base[n] += scratch.lost_base[n]
    else:
        for n in range(width):
            scratch.base[n] = scratch.total_base[n] + scratch.lost_base[n]

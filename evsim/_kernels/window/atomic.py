"""Atomic integers in a shared array, and a barrier: what threads that stay below Python need to take turns."""

import sys
import threading

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ..jit import formula, leaf

_lock = threading.Lock()
_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


def fetch_add(array, index, value):
    """Add ``value`` to ``array[index]`` (int64) as one step; returns what was there before."""
    with _lock:
        before = array[index]
        array[index] = before + value
        return before


def load(array, index):
    """``array[index]`` as the other threads left it, never a copy kept in a register."""
    return array[index]


def give_way():
    """Let another thread run on this core."""
    threading.Event().wait(0.0)


def _address(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return cgutils.get_item_pointer(
        context, builder, signature.args[0], array, [args[1]], wraparound=False, boundscheck=False
    )


@intrinsic
def _fetch_add(typingctx, array, index, value):
    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _address(context, builder, signature, args), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def _load(typingctx, array, index):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(_address(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, types.intp), codegen


@intrinsic
def _give_way(typingctx):
    def codegen(context, builder, signature, args):
        function = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, function, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), codegen


@overload(fetch_add)
def _overload_fetch_add(array, index, value):
    return lambda array, index, value: _fetch_add(array, index, value)


@overload(load)
def _overload_load(array, index):
    return lambda array, index: _load(array, index)


@overload(give_way)
def _overload_give_way():
    return lambda: _give_way()


_PATIENCE = 2000
"""Looks at the barrier before the core is offered to others: they may be more threads than cores."""


WAITING, GENERATION, ABANDONED, INSIDE, N_TEAM = 0, 16, 32, 48, 64
"""Places in the array of a team, int64, all 0 at first; each on a cache line of its own."""


@formula
def barrier(team, n_threads):
    """Wait until all ``n_threads`` have come; False if one of them never will."""
    if n_threads == 1:
        return True
    before = load(team, GENERATION)
    if fetch_add(team, WAITING, 1) == n_threads - 1:
        fetch_add(team, WAITING, -n_threads)
        fetch_add(team, GENERATION, 1)
        return True
    looks = 0
    while load(team, GENERATION) == before:
        if load(team, ABANDONED) != 0:
            return False
        looks += 1
        if looks > _PATIENCE:
            give_way()
    return True


@leaf
def enter(team):
    """Take part in a team's work; False if it has been given up before."""
    fetch_add(team, INSIDE, 1)
    if load(team, ABANDONED) != 0:
        fetch_add(team, INSIDE, -1)
        return False
    return True


@leaf
def leave(team):
    """The counterpart of ``enter``."""
    fetch_add(team, INSIDE, -1)


@leaf
def abandon(team):
    """Give up: whoever waits at a barrier leaves it, whoever has not entered stays outside."""
    fetch_add(team, ABANDONED, 1)


@leaf
def inside(team):
    """How many are at work."""
    return load(team, INSIDE)

"""Atomic integers in a shared array, and a barrier: what threads that stay below Python need to take turns."""

import sys
import threading

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from .jit import formula

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


@formula
def barrier(control, count, generation, n_threads):
    """Wait until all ``n_threads`` have come. control[count], control[generation] : int64, both start at 0."""
    if n_threads == 1:
        return
    before = load(control, generation)
    if fetch_add(control, count, 1) == n_threads - 1:
        fetch_add(control, count, -n_threads)
        fetch_add(control, generation, 1)
        return
    looks = 0
    while load(control, generation) == before:
        looks += 1
        if looks > _PATIENCE:
            give_way()

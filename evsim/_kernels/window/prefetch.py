"""Ask for memory before it is needed: the synapses of the next spikes lie anywhere."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ..jit import formula

LINE = 64
"""Bytes that memory gives at a time."""


def prefetch(array, index):
    """Bring the cache line of ``array[index]`` nearer; changes no result. The array is one-dimensional."""


@intrinsic
def _prefetch(typingctx, array, index):
    def codegen(context, builder, signature, args):
        view = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = cgutils.get_item_pointer(
            context, builder, signature.args[0], view, [args[1]], wraparound=False, boundscheck=False
        )
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]), "llvm.prefetch.p0"
        )
        # Read, keep in all levels of the cache, data.
        builder.call(function, [builder.bitcast(pointer, byte), flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@overload(prefetch)
def _overload_prefetch(array, index):
    return lambda array, index: _prefetch(array, index)


@formula
def prefetch_stretch(array, first, last, step):
    """Every cache line of ``array[first:last]``; step : items in a line."""
    for k in range(first, last, step):
        prefetch(array, k)

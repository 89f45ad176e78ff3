"""Where the pixels of a map look, as the kernels of its gradients read it: windows on stored maps, and weights by rows.

A stored map is channel last within a group, [group, y, x, channel], with a border of pixels that do not exist, so that
every window is ``kernel`` runs of consecutive numbers. Seen from an input, the pixels that see it are a window too, of
ceil(kernel/stride) pixels a side; with what weights depends on its place within a step (its phase).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from evsim._kernels.sweep.maps import MapShape
from evsim.learning._kernels.map_adjoint import MapWeights
from evsim.learning._kernels.map_traces import Windows
from evsim.types import Floats


@lru_cache(maxsize=32)
def windows_of(shape: MapShape) -> tuple[Windows, Windows]:
    """Of the neurons on their inputs, with the channel as kind; and of the inputs on the neurons that see them, with
    (phase of y, phase of x, channel) as kind. About 50 bytes for each neuron of both maps."""
    g = shape
    step, pad = g.stride, g.padding
    taps = -(-g.kernel // step)
    channel_in, y_in, x_in = _neurons(g.groups * g.c_in, g.h_in, g.w_in)
    channel_out, y_out, x_out = _neurons(g.groups * g.c_out, g.h_out, g.w_out)

    h = max(g.h_in + 2 * pad, (g.h_out - 1) * step + g.kernel)
    w = max(g.w_in + 2 * pad, (g.w_out - 1) * step + g.kernel)
    group, source = np.divmod(channel_in, g.c_in)
    place_in = ((group * h + y_in + pad) * w + x_in + pad) * g.c_in + source
    group, target = np.divmod(channel_out, g.c_out)
    start_out = ((group * h + y_out * step) * w + x_out * step) * g.c_in
    forward = Windows(
        start_out, channel_out, g.kernel, g.kernel * g.c_in, w * g.c_in, place_in, g.groups * h * w * g.c_in
    )

    (top, phase_y), (left, phase_x) = np.divmod(y_in + pad, step), np.divmod(x_in + pad, step)
    h = max((g.h_in - 1 + pad) // step + taps, g.h_out + taps - 1)
    w = max((g.w_in - 1 + pad) // step + taps, g.w_out + taps - 1)
    place_out = ((group * h + y_out + taps - 1) * w + x_out + taps - 1) * g.c_out + target
    start_in = ((channel_in // g.c_in * h + top) * w + left) * g.c_out
    kind = (phase_y * step + phase_x) * (g.groups * g.c_in) + channel_in
    back = Windows(start_in, kind, taps, taps * g.c_out, w * g.c_out, place_out, g.groups * h * w * g.c_out)
    return forward, back


def map_weights(weight: Floats, shape: MapShape) -> MapWeights:
    """Windows with their weights; weight : (kernel, kernel, c_in, groups c_out)."""
    g = shape
    forward, back = windows_of(shape)
    rows = np.ascontiguousarray(np.moveaxis(weight, 3, 0)).reshape(g.groups * g.c_out, -1)
    taps = back.runs
    padded = np.zeros((taps * g.stride, taps * g.stride, g.c_in, g.groups, g.c_out))
    padded[: g.kernel, : g.kernel] = weight.reshape(g.kernel, g.kernel, g.c_in, g.groups, g.c_out)
    # d = phase + stride m, and the pixel that sees an input through m stands m before the last one.
    by_phase = padded.reshape(taps, g.stride, taps, g.stride, g.c_in, g.groups, g.c_out)[::-1, :, ::-1]
    by_input = np.ascontiguousarray(by_phase.transpose(1, 3, 5, 4, 0, 2, 6))
    return MapWeights(forward, rows, back, by_input.reshape(-1, taps * taps * g.c_out))


def from_rows(rows: Floats, shape: MapShape) -> Floats:
    """A gradient by ``MapWeights.weights`` as one by the kernel, (kernel, kernel, c_in, groups c_out)."""
    by_channel = rows.reshape(-1, shape.kernel, shape.kernel, shape.c_in)
    return np.ascontiguousarray(np.moveaxis(by_channel, 0, 3))


def unrolled(weight: Floats, shape: MapShape) -> Floats:
    """The weights between all inputs and all neurons of the map, (n_in, n_out), of which most are 0."""
    g = shape
    out = np.zeros((g.groups * g.c_in, g.h_in, g.w_in, g.groups * g.c_out, g.h_out, g.w_out))
    for group in range(g.groups):
        sources, targets = (slice(group * n, (group + 1) * n) for n in (g.c_in, g.c_out))
        for dy in range(g.kernel):
            for dx in range(g.kernel):
                for oy in range(g.h_out):
                    y = oy * g.stride + dy - g.padding
                    for ox in range(g.w_out):
                        x = ox * g.stride + dx - g.padding
                        if 0 <= y < g.h_in and 0 <= x < g.w_in:
                            out[sources, y, x, targets, oy, ox] = weight[dy, dx, :, targets]
    return out.reshape(g.groups * g.c_in * g.h_in * g.w_in, -1)


def _neurons(channels: int, height: int, width: int) -> list[np.ndarray]:
    """Channel, y and x of each neuron of a map, in the order of their numbers."""
    return [a.ravel() for a in np.indices((channels, height, width))]

"""Spike dropout with random numbers that belong to (seed, epoch, sample), never to a place in a batch."""

import numpy as np

from evsim._kernels.jit import kernel
from evsim._kernels.random.poisson import seed_stream, uniform


@kernel
def kept_spikes(offsets, streams, share, keep):
    """keep (n_spikes,) written: False with probability ``share``; streams : (samples, 4) uint64 keys."""
    state = np.empty(4, np.uint64)
    for k in range(offsets.size - 1):
        seed_stream(state, streams[k])
        for s in range(offsets[k], offsets[k + 1]):
            keep[s] = uniform(state) > share

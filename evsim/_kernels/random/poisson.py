"""Random streams keyed by what they belong to (seed, sample, ...), never by the thread that draws them.

xoshiro256++ (Blackman and Vigna 2019), its state filled by splitmix64 from the key. The kernels need a
generator that runs without the interpreter lock and starts in nanoseconds for every sample.
"""

import math

import numpy as np

from ..jit import formula, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 1.0 / 9007199254740992.0


@formula
def mix64(z):
    """The finaliser of splitmix64: every bit of z stirs every bit of the result."""
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


@formula
def _rotl(x, k):
    return (x << np.uint64(k)) | (x >> np.uint64(64 - k))


@formula
def seed_stream(state, key):
    """Fill ``state`` (4,) uint64 from ``key`` (k,) uint64: the same key, the same stream."""
    z = _GOLDEN
    for word in key:
        z = mix64(z + word) + _GOLDEN
    for k in range(4):
        z = z + _GOLDEN
        state[k] = mix64(z)


@formula
def uniform(state):
    """The next number of the stream in (0, 1]: never 0, so that its logarithm is finite."""
    result = _rotl(state[0] + state[3], 23) + state[0]
    t = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= t
    state[3] = _rotl(state[3], 45)
    return (np.float64(result >> np.uint64(11)) + 1.0) * _TO_UNIT


@formula
def alias_table(rates, total, threshold, alias, work):
    """Vose's alias method: afterwards neuron j is drawn with probability rates[j]/total."""
    n = rates.size
    small = 0
    large = n
    for j in range(n):
        threshold[j] = rates[j] * n / total
        alias[j] = j
        if threshold[j] < 1.0:
            work[small] = j
            small += 1
        else:
            large -= 1
            work[large] = j
    while small > 0 and large < n:
        small -= 1
        low = work[small]
        high = work[large]
        alias[low] = high
        threshold[high] -= 1.0 - threshold[low]
        if threshold[high] < 1.0:
            large += 1
            work[small] = high
            small += 1
    while large < n:
        threshold[work[large]] = 1.0
        large += 1
    while small > 0:
        small -= 1
        threshold[work[small]] = 1.0


@kernel
def poisson_trains(rates, key, duration, times, neurons):
    """Independent Poisson processes of all neurons, pooled: exponential gaps, then who fired.

    rates : (n,) spikes per ms; times, neurons : written. Returns the number of spikes, or -1 if they did
    not fit (enlarge and call again: the stream starts anew from its key).
    """
    n = rates.size
    total = 0.0
    for j in range(n):
        total += rates[j]
    if total <= 0.0:
        return 0
    threshold = np.empty(n)
    alias = np.empty(n, np.int64)
    work = np.empty(n, np.int64)
    alias_table(rates, total, threshold, alias, work)
    state = np.empty(4, np.uint64)
    seed_stream(state, key)
    mean_gap = 1.0 / total
    count = 0
    t = 0.0
    while True:
        t -= math.log(uniform(state)) * mean_gap
        if t >= duration:
            return count
        if count == times.size:
            return -1
        x = (1.0 - uniform(state)) * n
        j = int(x)
        if x - j >= threshold[j]:
            j = alias[j]
        times[count] = t
        neurons[count] = j
        count += 1


@kernel
def poisson_samples(rates, keys, duration, times, neurons, counts, progress, last):
    """Trains of samples ``progress[0]`` ... ``last - 1``, one after the other; False when they do not fit.

    rates : (n_samples, n) spikes per ms; keys : (n_samples, k) uint64; counts : (n_samples,) written;
    progress : (2,) next sample and spikes so far: enlarge times and neurons and call again.
    """
    for k in range(progress[0], last):
        a = progress[1]
        n = poisson_trains(rates[k], keys[k], duration, times[a:], neurons[a:])
        if n < 0:
            return False
        counts[k] = n
        progress[0] = k + 1
        progress[1] = a + n
    return True

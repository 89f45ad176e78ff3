"""Optimiser steps, element by element, in place."""

import math

from evsim._kernels.jit import kernel


@kernel
def adam_step(w, g, m, v, rate, beta1, beta2, epsilon, decay, correct1, correct2):
    """Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019); 1-D arrays."""
    for k in range(w.size):
        m[k] = beta1 * m[k] + (1.0 - beta1) * g[k]
        v[k] = beta2 * v[k] + (1.0 - beta2) * g[k] * g[k]
        w[k] -= rate * ((m[k] / correct1) / (math.sqrt(v[k] / correct2) + epsilon) + decay * w[k])


@kernel
def sgd_step(w, g, velocity, rate, momentum, decay):
    """Gradient descent with (heavy-ball) momentum and weight decay; 1-D arrays."""
    for k in range(w.size):
        velocity[k] = momentum * velocity[k] + g[k] + decay * w[k]
        w[k] -= rate * velocity[k]

"""What an arrival adds to the sums of a neuron: a kick, or a jump of a current, carried back to the cell's start."""

from typing import NamedTuple

import numpy as np

from ..jit import formula, leaf
from .series import current_factors, kick_factors


class Factors(NamedTuple):
    """Of the arrivals of a cell, one each: what a unit weight adds to the sums."""

    exc: np.ndarray
    psp_exc: np.ndarray
    inh: np.ndarray
    psp_inh: np.ndarray


class Response(NamedTuple):
    """Of the neurons of a block to an arrival; h : length of a cell, ms."""

    tau_m: float
    tau_exc: float
    tau_inh: float
    n_receptors: int
    h: float


@leaf
def factors_of(when, n, factors, response):
    """Factors of n arrivals, ``when`` ms after the cell's start; with one receptor both signs share them."""
    r = response
    if r.n_receptors == 0:
        kick_factors(when, n, factors.exc, r.tau_m, r.h)
        return
    current_factors(when, n, factors.exc, factors.psp_exc, r.tau_m, r.tau_exc, r.h)
    if r.n_receptors == 2:
        current_factors(when, n, factors.inh, factors.psp_inh, r.tau_m, r.tau_inh, r.h)


@formula
def add_kick(n, w, e, up, down):
    if w > 0.0:
        up[n] += w * e
    else:
        down[n] += w * e


@formula
def add_current(n, w, exc, psp_exc, inh, psp_inh, up, down, base):
    if w > 0.0:
        up[n] += w * exc
        base[n] += w * psp_exc
    else:
        down[n] += w * inh
        base[n] += w * psp_inh

"""Factors of the flow over one cell of the window engine, each as a sum of two float64.

A cell is passed many thousand times within a trial, so an error of its factors, even of half a unit in the last place,
adds up: each comes with what rounding it loses. Calculated once per network, with 80 digits.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from evsim._kernels.window.arrays import N_FLOW, Blocks
from evsim.types import Floats

_DIGITS = 80


def cell_factors(h: float, blocks: Blocks) -> Floats:
    """The flow over h ms, (n_blocks, N_FLOW): pairs (rounded, lost by rounding) in the order of ``window_arrays``."""
    constants = zip(blocks.tau_m, blocks.tau_exc, blocks.tau_inh, blocks.n_receptors)
    rows = [_factors(float(h), *(float(tau) for tau in taus), int(n)) for *taus, n in constants]
    return np.array(rows, dtype=np.float64).reshape(len(rows), N_FLOW)


@lru_cache(maxsize=256)
def _factors(h: float, tau_m: float, tau_exc: float, tau_inh: float, n_receptors: int) -> tuple[float, ...]:
    with localcontext() as context:
        context.prec = _DIGITS
        given = Decimal(h), Decimal(tau_m)
        values = [_loss(*given)]
        for tau, used in ((Decimal(tau_exc), n_receptors > 0), (Decimal(tau_inh), n_receptors > 1)):
            values += [_loss(given[0], tau), _response(*given, tau)] if used else [Decimal(0), Decimal(0)]
        return tuple(part for x in values for part in (float(x), float(x - Decimal(float(x)))))


def _loss(h: Decimal, tau: Decimal) -> Decimal:
    """exp(-h/tau) - 1."""
    return (-h / tau).exp() - 1


def _response(h: Decimal, tau_m: Decimal, tau: Decimal) -> Decimal:
    """The potential h ms after a unit jump of the current."""
    if tau == tau_m:
        return h / tau_m * (-h / tau_m).exp()
    return tau / (tau_m - tau) * ((-h / tau_m).exp() - (-h / tau).exp())

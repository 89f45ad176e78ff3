"""What an arrival adds to the sums of a neuron: a kick, or a jump of a current, carried back to the cell's start."""

from ..jit import formula, leaf
from .series import current_factors, kick_factors


@leaf
def factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, h):
    """Factors of n arrivals for each receptor (one receptor: both signs share them)."""
    if n_receptors == 0:
        kick_factors(when, n, exc, tau_m, h)
        return
    current_factors(when, n, exc, psp_exc, tau_m, tau_exc, h)
    if n_receptors == 2:
        current_factors(when, n, inh, psp_inh, tau_m, tau_inh, h)


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

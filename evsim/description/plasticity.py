"""Spike-timing dependent plasticity at exact times: what a projection's weights do when spikes meet."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from evsim.errors import NetworkError


@dataclass(frozen=True)
class STDP:
    """Pair-based STDP, all pairs, additive, with hard bounds (Song, Miller and Abbott 2000, in continuous time).

    For every pair of a presynaptic spike that arrives at t_pre and a postsynaptic spike at t_post the weight changes
    by ``a_plus exp(-(t_post - t_pre)/tau_plus)`` if the arrival came first and by
    ``-a_minus exp(-(t_pre - t_post)/tau_minus)`` if the spike did; then it is kept within [w_min, w_max]. The whole
    delay lies before the synapse. A spike caused by an arrival at the same instant comes after it. An arrival
    changes the weight first and is then delivered with it.

    tau_plus, tau_minus : ms, > 0; a_plus, a_minus, w_min, w_max : threshold units, w_max may be inf

    Raises NetworkError : values out of these ranges.
    """

    a_plus: float = 0.01
    a_minus: float = 0.0105
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    w_min: float = 0.0
    w_max: float = np.inf

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise NetworkError(f"STDP: {f.name} must be a number; got {value!r}.")
            if np.isnan(value) or (not np.isfinite(value) and not f.name.startswith("w_")):
                raise NetworkError(f"STDP: {f.name} must be a finite number; got {value}.")
        for name in ("tau_plus", "tau_minus"):
            if getattr(self, name) <= 0:
                raise NetworkError(f"STDP: {name} must be > 0 ms; got {getattr(self, name)}.")
        if not self.w_min < self.w_max:
            raise NetworkError(f"STDP: w_min must be below w_max; got {self.w_min} and {self.w_max}.")

"""What a spike train's currents do to a loss: the signal that TSSL-BP hands from layer to layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class PSCGradient:
    """The loss as it sees the postsynaptic currents (PSCs) of a layer's spikes.

    With ``C_n(t)`` the derivative of a sample's loss by the size of neuron n's PSC that starts at t,

    by_psc : (n_spikes,) C at each recorded spike
    by_time : (n_spikes,) dC/dt there: the derivative of the loss by the spike's time, per ms
    at : C at other instants: takes a SpikeBatch of the same samples and neurons, gives (n,)
    """

    by_psc: Floats
    by_time: Floats
    at: Callable[[SpikeBatch], Floats]

"""Training samples per second of snnTorch: backpropagation through time with a surrogate gradient, on a grid; float32.

Hidden neurons are `snn.Synaptic` (reset by subtraction, the cheapest), outputs the same without reset, and the loss is
the cross-entropy of their maximal voltages, as for the EventProp reference on mnist. The cost is set by neurons and
steps, not by spikes. In favour of the peer, each product of inputs and weights is made for all steps at once, and steps
are unbound, not indexed: the gradient of an index is as large as all steps together.

Runs in an interpreter that has torch and snntorch; evsim is not needed there. Prints one JSON line; what it means is in
peers_training.py.

    python benchmarks/peers/peers_snntorch.py --work mnist --data DIR --steps 100 --threads 2
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from peers_training import DURATIONS, TAU_M, TAU_S, grid_arguments, run

if TYPE_CHECKING:
    import snntorch as snn
    import torch
    from peers_grid import Layer


def main() -> None:
    a = grid_arguments(__doc__, 100)
    import snntorch as snn
    import torch
    from peers_grid import Grid

    dt = DURATIONS[a.work] / a.steps
    rates = {"alpha": math.exp(-dt / TAU_S), "beta": math.exp(-dt / TAU_M)}
    lif = snn.Synaptic(**rates, spike_grad=snn.surrogate.fast_sigmoid())
    leaky = snn.Synaptic(**rates, reset_mechanism="none")

    def layer(neurons: snn.Synaptic, which: int) -> Layer:
        def over_time(currents: torch.Tensor) -> torch.Tensor:
            synapse, voltage = neurons.reset_mem()
            outputs = []
            for current in currents.unbind(0):
                state = neurons(current, synapse, voltage)
                _, synapse, voltage = state
                outputs.append(state[which])
            return torch.stack(outputs)

        return over_time

    run("snntorch", a, Grid(a, layer(lif, 0), layer(leaky, 2), dt / TAU_M), ["snntorch", "torch"], steps=a.steps, dt=dt)


if __name__ == "__main__":
    main()

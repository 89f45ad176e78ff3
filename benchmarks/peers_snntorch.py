"""Training samples per second of snnTorch: backpropagation through time with a surrogate gradient, on a grid; float32.

Hidden neurons are `snn.Synaptic` (reset by subtraction, the cheapest), outputs the same without reset, and the loss is
the cross-entropy of their maximal voltages, as for the EventProp reference on mnist. The cost is set by neurons and
steps, not by spikes. In favour of the peer, each product of inputs and weights is made for all steps at once, and steps
are unbound, not indexed: the gradient of an index is as large as all steps together. `Grid` serves peers_norse.py too,
hence snntorch is imported late.

Runs in an interpreter that has torch and snntorch; evsim is not needed there. Prints one JSON line; what it means is in
peers_training.py.

    python benchmarks/peers_snntorch.py --work mnist --data DIR --steps 100 --threads 2
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peers_training import DURATIONS, FIRST, RATE, READOUT, SHAPES, TAU_M, TAU_S, options, parse, run

Layer = Callable[[torch.Tensor], torch.Tensor]  # currents of all steps (steps, batch, n) -> spikes or voltages


class Grid:
    """A network of two layers on a grid of time steps; the `currents` of a layer are multiplied by `gain`."""

    def __init__(self, a: argparse.Namespace, hidden: Layer, readout: Layer, gain: float) -> None:
        n_in, _, n_out = SHAPES[a.work]
        self.dt, self.steps, self.gain = DURATIONS[a.work] / a.steps, a.steps, gain
        self.hidden, self.readout = hidden, readout
        torch.set_num_threads(a.threads)
        torch.manual_seed(a.seed)
        self.first = torch.empty(a.hidden, n_in).normal_(*FIRST[a.work]).requires_grad_()
        self.second = torch.empty(n_out, a.hidden).normal_(*READOUT).requires_grad_()
        self.optimiser = torch.optim.Adam([self.first, self.second], lr=RATE)
        self.spikes = 0.0

    def encode(self, times: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Input spikes (steps, batch, n_in) and labels."""
        grid = np.zeros((self.steps, *times.shape), np.float32)
        sample, source = np.nonzero(times < self.steps * self.dt)
        grid[(times[sample, source] / self.dt).astype(int), sample, source] = 1.0
        return torch.from_numpy(grid), torch.from_numpy(labels)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """The maximal voltage of each output."""
        spikes = self.hidden(torch.nn.functional.linear(inputs, self.first * self.gain))
        self.spikes = spikes.detach().sum().item() / spikes.shape[1]
        return self.readout(torch.nn.functional.linear(spikes, self.second * self.gain)).amax(dim=0)

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        inputs, labels = batch
        self.optimiser.zero_grad()
        torch.nn.functional.cross_entropy(self.logits(inputs), labels).backward()
        self.optimiser.step()

    def accuracy(self, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        inputs, labels = batch
        with torch.no_grad():
            return (self.logits(inputs).argmax(dim=1) == labels).float().mean().item()

    def decay(self, factor: float) -> None:
        self.optimiser.param_groups[0]["lr"] *= factor

    def activity(self) -> dict[str, Any]:
        return {"hidden_spikes": self.spikes}


def arguments(description: str, steps: int) -> argparse.Namespace:
    """Those of all peers, and the grid."""
    parser = options(description)
    parser.add_argument("--steps", type=int, default=steps, help="in 60 ms (yin-yang) or 40 ms (mnist)")
    return parse(parser)


def main() -> None:
    import snntorch as snn

    a = arguments(__doc__, 100)
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

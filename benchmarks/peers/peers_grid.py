"""Two layers on a grid of time steps, trained by torch: what peers_snntorch.py and peers_norse.py share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peers_training import DURATIONS, FIRST, RATE, READOUT, SHAPES

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

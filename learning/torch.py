"""Exact spike layers inside a torch model (extra ``evsim[torch]``).

>>> spiking = SpikingModule(Sequential(Dense(4, 30, neuron), Dense(30, 3, neuron)), t_stop=60.0)
>>> times = spiking(input_times)        # (samples, 4) tensor of ms -> (samples, 3) first spikes, differentiable
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evsim.learning.losses.checks import at_spikes, first_spikes
from evsim.learning.model import Sequential
from evsim.learning.protocols import backward
from evsim.learning.readout import Readout
from evsim.learning.rules.eventprop import EventProp
from evsim.types import Floats, SpikeBatch


class SpikingModule(torch.nn.Module):
    """A layered model as a torch module: one spike time per input in, one number per output neuron out.

    Its parameters are the model's trained arrays (weights, delay logits), in the order of ``model.parameters()``; an
    optimiser of torch changes them, and the model follows at each forward pass. Gradients are EventProp's, exact in
    float64; other floating types are computed in float64 and returned in their own.

    Parameters
    ----------
    model : Sequential; with a spiking last layer the outputs are first spike times (ms), with a Readout its values
    t_stop : ms
    silent : ms, output of a neuron that does not spike (no gradient); None: t_stop
    rule : EventProp with switches of its own
    threads : of the forward and backward passes
    """

    def __init__(
        self,
        model: Sequential,
        t_stop: float,
        silent: float | None = None,
        rule: EventProp | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__()
        self.model, self.t_stop, self.threads = model, float(t_stop), threads
        self.silent = self.t_stop if silent is None else float(silent)
        self.rule = rule or EventProp()
        self.arrays = torch.nn.ParameterList(
            torch.nn.Parameter(torch.from_numpy(array.copy())) for _, array in model.parameters()
        )

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        """times : (samples, n_in), ms >= 0; inf: this input does not spike. Returns (samples, n_out).

        Raises ValueError : another shape, NaN, negative times.
        """
        n_in = self.model.layers[0].n_in
        if times.ndim != 2 or times.shape[1] != n_in:
            raise ValueError(f"times must have shape (samples, {n_in}); got {tuple(times.shape)}.")
        if torch.isnan(times).any():
            raise ValueError("times hold NaN; use inf for an input that does not spike.")
        out: torch.Tensor = _Spiking.apply(self, times, *self.arrays)
        return out


class _Spiking(torch.autograd.Function):
    """EventProp as a node of torch's graph."""

    @staticmethod
    def forward(ctx: Any, module: SpikingModule, times: torch.Tensor, *arrays: torch.Tensor) -> torch.Tensor:
        model = module.model
        model.set_parameters([a.detach().cpu().double().numpy() for a in arrays])
        inputs, place = _as_spikes(times.detach().cpu().double().numpy())
        spikes = model.forward(inputs, module.t_stop, module.threads)
        if isinstance(model.layers[-1], Readout):
            index, values = None, spikes[-1].values
        else:
            index, first = first_spikes(spikes[-1])
            values = np.where(index < 0, module.silent, first)
        ctx.module, ctx.spikes, ctx.index, ctx.place = module, spikes, index, place
        ctx.like = times, arrays
        # What the model holds may change before the backward pass.
        ctx.values = [a.copy() for _, a in model.parameters()]
        return torch.from_numpy(values).to(times)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        module, spikes = ctx.module, ctx.spikes
        given: Floats = gradients[0].detach().cpu().double().numpy()
        signal = given if ctx.index is None else at_spikes(given, ctx.index, spikes[-1].times.size)
        model = module.model
        model.set_parameters(ctx.values)
        by_layer, by_time = backward(model, module.rule, spikes, signal, module.t_stop, module.threads, True)
        found = [g for layer, d in zip(model.layers, by_layer) for g in layer.pull_back(d).values()]
        times, arrays = ctx.like
        d_times = np.zeros(times.numel())
        d_times[ctx.place] = by_time
        return (
            None,
            torch.from_numpy(d_times.reshape(times.shape)).to(times),
            *(torch.from_numpy(np.ascontiguousarray(g)).to(a) for g, a in zip(found, arrays)),
        )


def _as_spikes(times: Floats) -> tuple[SpikeBatch, np.ndarray]:
    """(samples, n) times as spikes, and where each spike's time stood in the flat array."""
    sample, neuron = np.nonzero(np.isfinite(times))
    t = times[sample, neuron]
    order = np.lexsort((neuron, t, sample))
    offsets = np.searchsorted(sample[order], np.arange(len(times) + 1))
    batch = SpikeBatch(t[order], neuron[order].astype(np.int32), offsets, times.shape[1])
    return batch, batch.places()

"""Exact spike layers inside a torch model (``pip install torch``).

>>> spiking = SpikingModule(Sequential(Dense(4, 30, neuron), Dense(30, 3, neuron)), t_stop=60.0)
>>> times = spiking(input_times)        # (samples, 4) tensor of ms -> (samples, 3) first spikes, differentiable
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.errors import InputError

try:
    import torch
except ImportError as error:
    why = f"evsim.learning.torch needs torch, which cannot be imported ({error}): pip install torch."
    raise ImportError(why) from error

from evsim.learning.fields import check_number
from evsim.learning.layers.readout import Readout
from evsim.learning.losses.checks import at_spikes, first_spikes
from evsim.learning.model import Sequential
from evsim.learning.protocols import backward
from evsim.learning.rules.eventprop import EventProp
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.types import Floats


class SpikingModule(torch.nn.Module):
    """A layered model as a torch module: one spike time per input in, one number per output neuron out.

    Its parameters are the model's trained arrays (weights, delay logits), in the order of ``model.parameters()``; an
    optimiser of torch changes them, and the model follows at each forward pass. Gradients are EventProp's, exact in
    float64; other floating types are computed in float64 and returned in their own.

    Its state_dict also holds what the model's numbers mean: the neurons' parameters, such as thresholds that
    ``calibrate`` chose, which loading puts into the model, and delays that are not trained, which must be the same.

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
        check_number("t_stop", t_stop)
        if not t_stop > 0:
            raise InputError(f"t_stop must be > 0 ms; got {t_stop}.")
        self.model, self.t_stop, self.threads = model, float(t_stop), threads
        self.silent = self.t_stop if silent is None else float(silent)
        self.rule = rule or EventProp()
        self.arrays = torch.nn.ParameterList(
            torch.nn.Parameter(torch.from_numpy(array.copy())) for _, array in model.parameters()
        )

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        """times : (samples, n_in), ms >= 0; inf: this input does not spike. Returns (samples, n_out).

        Raises ValueError : another shape, NaN, negative times. For torch.compile it is a break in the graph.
        """
        return self._run(times)

    @torch.compiler.disable
    def _run(self, times: torch.Tensor) -> torch.Tensor:
        n_in = self.model.layers[0].n_in
        if times.ndim != 2 or times.shape[1] != n_in:
            raise InputError(f"times must have shape (samples, {n_in}); got {tuple(times.shape)}.")
        if torch.isnan(times).any():
            raise InputError("times hold NaN; use inf for an input that does not spike.")
        out: torch.Tensor = _Spiking.apply(self, times, *self.arrays)
        return out

    def get_extra_state(self) -> list[dict[str, Any]]:
        """Parameters of the neurons and fixed delays of each layer, as numbers and tensors."""
        return [
            {"neuron": {k: _as_saved(v) for k, v in layer.neuron.asdict().items()}, "delays": _fixed_delays(layer)}
            for layer in self.model.layers
        ]

    def set_extra_state(self, state: list[dict[str, Any]]) -> None:
        """Take over the neurons' parameters. Raises ValueError : other layers, or other fixed delays."""
        if len(state) != len(self.model.layers):
            raise InputError(f"the state is of {len(state)} layers, the module has {len(self.model.layers)}.")
        for k, (saved, layer) in enumerate(zip(state, self.model.layers)):
            own, given = _fixed_delays(layer), saved["delays"]
            if len(own) != len(given) or not all(torch.equal(a, b) for a, b in zip(own, given)):
                raise InputError(f"layer {k} has other delays or another max_delay than the saved one; build it alike.")
        neurons = [LIF(**{name: _as_given(v) for name, v in saved["neuron"].items()}) for saved in state]
        for layer, neuron in zip(self.model.layers, neurons):
            layer.neuron = neuron


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
        by_output: Floats = gradients[0].detach().cpu().double().numpy()
        signal = by_output if ctx.index is None else at_spikes(by_output, ctx.index, spikes[-1].times.size)
        model = module.model
        model.set_parameters(ctx.values)
        by_layer, by_time = backward(model, module.rule, spikes, signal, module.t_stop, module.threads, True)
        by_array = [g for layer, d in zip(model.layers, by_layer) for g in layer.pull_back(d).values()]
        times, arrays = ctx.like
        d_times = np.zeros(times.numel())
        d_times[ctx.place] = by_time
        return (
            None,
            torch.from_numpy(d_times.reshape(times.shape)).to(times),
            *(torch.from_numpy(np.ascontiguousarray(g)).to(a) for g, a in zip(by_array, arrays)),
        )


def _as_saved(value: Any) -> Any:
    """A parameter of LIF as torch saves it: arrays as tensors."""
    if isinstance(value, tuple):
        return tuple(_as_saved(v) for v in value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, dtype=np.float64))
    return value if value is None or isinstance(value, bool) else float(value)


def _as_given(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_given(v) for v in value)
    return value.cpu().numpy().copy() if isinstance(value, torch.Tensor) else value


def _fixed_delays(layer: Any) -> list[torch.Tensor]:
    """Delays that are not trained, and the largest trained ones, ms."""
    every = [layer.delays, *([layer.recurrent_delays] if hasattr(layer, "recurrent_delays") else [])]
    return [torch.tensor(d.max_delay if d.trained else d.fixed, dtype=torch.float64) for d in every]


def _as_spikes(times: Floats) -> tuple[SpikeBatch, np.ndarray]:
    """(samples, n) times as spikes, and where each spike's time stood in the flat array."""
    sample, neuron = np.nonzero(np.isfinite(times))
    t = times[sample, neuron]
    order = np.lexsort((neuron, t, sample))
    offsets = np.searchsorted(sample[order], np.arange(len(times) + 1))
    batch = SpikeBatch.owning(t[order], neuron[order].astype(np.int32), offsets, times.shape[1])
    return batch, batch.places()

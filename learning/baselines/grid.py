"""Surrogate-gradient BPTT on a time step: the baseline that most codes train with, for comparisons.

The same layers, weights, encoders, losses and optimisers as everywhere here, but neurons advance from grid point to
grid point. Propagators are exact, so all that is approximate is time: an input spike arrives at the nearest grid point,
a neuron spikes at the first one where it is above threshold. The gradient goes back through all steps with a smooth
slope in place of a spike's derivative (Neftci, Mostafa and Zenke 2019). See docs/compare.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels.arrays import Surrogate as SurrogateArrays
from evsim.learning._kernels.grid import GridAdjoint, GridState, collect, deliver, run_back, run_steps
from evsim.learning.baselines.grid_steps import Grid, backward_readout, forward_readout, step_factors, through
from evsim.learning.fields import check_fields
from evsim.learning.layers.dense import Recurrent
from evsim.learning.layers.readout import Readout
from evsim.learning.model import Sequential
from evsim.learning.needs import Needs, check_layers
from evsim.learning.surrogates import Surrogate
from evsim.learning.training.dropout import Masks
from evsim.learning.training.trainer import Trainer
from evsim.learning.validation import loss_and_signal, weighted
from evsim.neurons.arrays import neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True)
class SurrogateBPTT:
    """Surrogate-gradient backpropagation through time on a time step (Neftci et al. 2019), the baseline.

    dt : ms, time step
    shape, slope, height : of the surrogate, as in ``Surrogate``; ds/du = psi(u/theta)/theta. Default: the sigmoid of
        slope 4
    detach_reset : the reset after a spike passes no gradient (usual, and stabler)
    """

    dt: float = 1.0
    shape: str = "sigmoid"
    slope: float = 4.0
    height: float = 1.0
    detach_reset: bool = True
    signals: ClassVar[tuple[str, ...]] = ("counts", "values")
    needs: ClassVar[Needs] = Needs(
        lateral=False, delays="one", readout_delays="one", trained_delays=False, currents=(1,), parameters=False,
        one_t_ref=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.dt > 0:
            raise InputError(f"dt must be finite and > 0 ms; got {self.dt}.")
        Surrogate(self.shape, self.slope, self.height)

    @property
    def surrogate(self) -> Surrogate:
        """The secondary activation."""
        return Surrogate(self.shape, self.slope, self.height)

    def model_gradients(
        self, model: Sequential, loss: Any, inputs: SpikeBatch, labels: np.ndarray, t_stop: float, threads: int = 1
    ) -> list[dict[str, Floats]]:
        """Gradients of the summed loss of the model run on the time step, layer by layer; see ``loss_gradients``."""
        return GridModel(model, self).gradients(loss, inputs, labels, t_stop)[0]


class GridModel(Sequential):
    """The layers of a model, which it shares, run on a time step: Dense, Recurrent and Readout layers with one
    exponential current and one fixed delay per layer.

    Raises GradientError : other layers.
    """

    def __init__(self, model: Sequential, rule: SurrogateBPTT) -> None:
        super().__init__(*model.layers)
        self.rule = rule
        check_layers(rule, model)

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> list[Any]:
        """As ``Sequential.forward``, spikes on the grid. One thread, but for what BLAS takes."""
        self._check(inputs, t_stop)
        spikes: list[Any] = [inputs]
        for layer in self.layers:
            spikes.append(self._forward(layer, spikes[-1], t_stop, False)[0])
        return spikes

    def gradients(
        self, loss: Any, inputs: SpikeBatch, labels: np.ndarray, t_stop: float, boost: Floats | None = None,
        masks: Masks | None = None,
    ) -> tuple[list[dict[str, Floats]], list[Any], Floats]:  # fmt: skip
        """Gradients of the summed loss by weights and delays, layer by layer, all layers' spikes, and the loss of each
        sample; boost : (n,) factors on the samples' losses; masks : of dropout between layers, then gradients are by
        the weights of ``masks.layers``."""
        self._check(inputs, t_stop)
        spikes: list[Any] = [inputs]
        potentials: list[Any] = []
        layers = self.layers if masks is None else masks.layers
        handed: list[SpikeBatch] = []
        for k, layer in enumerate(layers):
            handed.append(spikes[-1] if masks is None else masks.input_of(k, spikes[-1]))
            out, u = self._forward(layer, handed[-1], t_stop, True)
            spikes.append(out)
            potentials.append(u)
        values, signal = loss_and_signal(loss, spikes[-1], labels)
        if boost is not None:
            signal = weighted(signal, spikes[-1], boost)
        gradients: list[dict[str, Floats]] = []
        if not isinstance(self.layers[-1], Readout):
            # Every spike counts alike, whenever it is.
            signal = np.repeat(signal.reshape(1, -1), len(potentials[-1]), axis=0)
        for k in range(len(self.layers) - 1, -1, -1):
            step = backward_readout if isinstance(layers[k], Readout) else self._backward
            of_layer, signal = step(self._grid(inputs, t_stop), layers[k], handed[k], potentials[k], signal, k > 0)
            if masks is not None and k > 0:
                # Columns are (sample, neuron), as in the masks.
                signal = signal * masks.keep[k - 1].ravel()
            gradients.insert(0, of_layer)
        return gradients, spikes, values

    def _check(self, inputs: SpikeBatch, t_stop: float) -> None:
        self.layers[0].check_forward(inputs, t_stop)
        for layer in self.layers[1:]:
            layer.check()

    def _grid(self, inputs: SpikeBatch, t_stop: float) -> Grid:
        # A whole number of steps up to rounding is that number.
        return Grid(self.rule.dt, max(1, ceil(t_stop / self.rule.dt - 1e-9)), len(inputs), t_stop)

    def _forward(self, layer: Any, inputs: SpikeBatch, t_stop: float, keep: bool) -> tuple[Any, Any]:
        grid = self._grid(inputs, t_stop)
        if isinstance(layer, Readout):
            return forward_readout(grid, layer, inputs)
        n, width = layer.n_out, grid.samples * layer.n_out
        p, factors = neuron_arrays(layer.neuron, n), step_factors(layer, grid.dt)
        drive = np.zeros((grid.steps, width))
        deliver(layer.weight, *grid.rows(inputs, layer.delays.value()), drive.reshape(-1, n))
        spikes = np.zeros((grid.steps, width))
        potentials = np.empty((grid.steps if keep else 0, width))
        # The first step leaks what the start is to be.
        u = np.tile(p.u_init / factors.leak, grid.samples)
        state = GridState(u, np.zeros(width), np.zeros(width, np.int64))
        hold = round(float(p.t_ref[0]) / grid.dt)
        for first, last, before in grid.stretches(layer):
            if before is not None:
                drive[first:last] += through(spikes[before : before + last - first], layer.recurrent_weight)
            run_steps(drive, p.theta, p.u_reset, state, spikes, potentials, factors, hold, first, last)
        return grid.spikes(spikes, n), potentials

    def _backward(
        self, grid: Grid, layer: Any, inputs: SpikeBatch, potentials: Floats, by_spike: Floats, wanted: bool
    ) -> tuple[dict[str, Floats], Floats]:
        n, r = layer.n_out, self.rule
        p, factors = neuron_arrays(layer.neuron, n), step_factors(layer, grid.dt)
        by_drive = np.zeros_like(potentials)
        adjoint = GridAdjoint(np.zeros(potentials.shape[1]), np.zeros(potentials.shape[1]))
        psi = SurrogateArrays.of(r.surrogate)
        gradients = {"weight": np.zeros_like(layer.weight)}
        for first, last, before in reversed(list(grid.stretches(layer))):
            run_back(
                by_spike, potentials, p.theta, p.u_reset, adjoint, by_drive, factors, psi, not r.detach_reset, first,
                last,
            )  # fmt: skip
            if before is not None:
                earlier = slice(before, before + last - first)
                by_spike[earlier] += through(by_drive[first:last], layer.recurrent_weight.T)
        if isinstance(layer, Recurrent):
            d = grid.delay(layer)
            fired = (potentials >= np.tile(p.theta, grid.samples))[: max(grid.steps - d, 0)]
            gradients["recurrent_weight"] = fired.reshape(-1, n).T.astype(np.float64) @ by_drive[d:].reshape(-1, n)
        rows, neurons = grid.rows(inputs, layer.delays.value())
        collect(by_drive.reshape(-1, n), rows, neurons, gradients["weight"])
        if not wanted:
            return gradients, np.zeros(0)
        return gradients, grid.earlier(through(by_drive, layer.weight.T), layer.delays.value())


class GridTrainer(Trainer):
    """A Trainer whose rule is SurrogateBPTT: forward, backward and evaluation on the time step."""

    def __init__(self, model: Sequential, rule: SurrogateBPTT, *others: Any, **settings: Any) -> None:
        super().__init__(GridModel(model, rule), rule, *others, **settings)  # type: ignore[arg-type]

    def _sums(
        self, inputs: SpikeBatch, labels: np.ndarray, boost: Floats | None, masks: Masks | None
    ) -> tuple[list[dict[str, Floats]], list[Any], Floats]:
        model: GridModel = self.model  # type: ignore[assignment]
        return model.gradients(self.loss, inputs, labels, self.options.duration, boost, masks)

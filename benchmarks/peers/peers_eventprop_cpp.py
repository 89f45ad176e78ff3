"""Training samples per second of the reference EventProp implementation (eventprop/eventprop, C++ with OpenMP).

Neurons may spike many times; first-spike cross-entropy of LIF outputs on yin-yang, cross-entropy of the maximal
voltages of leaky integrators on mnist, with the published initial weights and losses; float64. It has no
grid, no budget
of spikes and no stop time: a layer runs until nothing can fire any more. Its Adam and its loss are numpy and Python.

Runs in an interpreter that has that package; evsim is not needed there. To build it, it needs numpy < 1.24, Boost,
pybind11 and Eigen in src/, and `-fopenmp` for the linker too. Prints one JSON line; what it means is in
peers_training.py.

    python benchmarks/peers/peers_eventprop_cpp.py --work yin-yang --data DIR --threads 2
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from peers_training import FIRST, RATE, READOUT, SHAPES, TAU_M, TAU_S, options, parse, run

ARGS = parse(options(__doc__))
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)  # before the extension loads OpenMP

from eventprop.eventprop_cpp import Spikes, SpikesVector  # noqa: E402
from eventprop.layer import GaussianDistribution, SpikeDataset  # noqa: E402
from eventprop.lif_layer import LIFLayerParameters  # noqa: E402
from eventprop.loss_layer import TTFSCrossEntropyLossParameters, VMaxCrossEntropyLossParameters  # noqa: E402
from eventprop.optimizer import GradientDescentParameters  # noqa: E402
from eventprop.ttfs_training import TwoLayerTTFS  # noqa: E402
from eventprop.vmax_training import TwoLayerVMax  # noqa: E402


class Reference:
    """Its two-layer trainer, without its data sets."""

    def __init__(self) -> None:
        n_in, _, n_out = SHAPES[ARGS.work]
        hidden = ARGS.hidden
        taus = {"tau_mem": TAU_M * 1e-3, "tau_syn": TAU_S * 1e-3}
        first = LIFLayerParameters(n_in=n_in, n=hidden, w_dist=GaussianDistribution(None, *FIRST[ARGS.work]), **taus)
        if ARGS.work == "yin-yang":
            spread = GaussianDistribution(None, 0.93 * 200 / hidden, 0.1)
            last = LIFLayerParameters(n_in=hidden, n=n_out, w_dist=spread, **taus)
            loss = TTFSCrossEntropyLossParameters(lif_parameters=last, alpha=3e-3, tau0=0.5e-3, tau1=6.4e-3)
            base = TwoLayerTTFS
        else:
            spread = GaussianDistribution(None, *READOUT)
            loss = VMaxCrossEntropyLossParameters(n_in=hidden, n=n_out, w_dist=spread, **taus)
            base = TwoLayerVMax
        kind = type("Network", (base,), {"load_data": lambda self: None})
        np.random.seed(ARGS.seed)  # noqa: NPY002 - where the weights are drawn from
        descent = GradientDescentParameters(minibatch_size=ARGS.batch, lr=RATE)
        self.network = kind(gd_parameters=descent, hidden_parameters=first, loss_parameters=loss)

    def encode(self, times: np.ndarray, labels: np.ndarray) -> SpikeDataset:
        trains = []
        for row in times * 1e-3:
            order = np.argsort(row)[: np.isfinite(row).sum()]
            trains.append(Spikes(row[order], order.astype(np.int32)))
        return SpikeDataset(SpikesVector(trains), labels)

    def step(self, batch: SpikeDataset) -> None:
        self.network.forward_and_backward(batch)
        self.network.optimizer.step()
        self.network.optimizer.zero_grad()

    def accuracy(self, batch: SpikeDataset) -> float:
        self.network.forward(batch)
        return float(self.network.loss.get_accuracy(batch.labels))

    def decay(self, factor: float) -> None:
        optimizer = self.network.optimizer
        optimizer.parameters = optimizer.parameters._replace(lr=optimizer.parameters.lr * factor)

    def activity(self) -> dict[str, Any]:
        layers = {"hidden": self.network.hidden_layer}
        if ARGS.work == "yin-yang":
            layers["output"] = self.network.loss
        return {f"{n}_spikes": float(np.mean([s.n_spikes for s in x.post_batch])) for n, x in layers.items()}


if __name__ == "__main__":
    run("EventProp C++", ARGS, Reference(), ["eventprop", "numpy"])

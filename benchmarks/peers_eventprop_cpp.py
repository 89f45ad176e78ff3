"""Training samples per second of the reference EventProp implementation (github.com/eventprop/eventprop: C++, OpenMP).

Run in an interpreter that has that package; evsim is not needed there. Prints one JSON line.

    python benchmarks/peers_eventprop_cpp.py --work yin-yang --data DIR --threads 2
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import time
from pathlib import Path

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--work", choices=["yin-yang", "mnist"], default="yin-yang")
PARSER.add_argument("--data", type=Path, required=True, help="folder of the arrays (yin-yang) or idx files (mnist)")
PARSER.add_argument("--threads", type=int, default=2)
PARSER.add_argument("--hidden", type=int, default=None)
PARSER.add_argument("--batch", type=int, default=None)
PARSER.add_argument("--batches", type=int, default=None, help="measured")


def main() -> None:
    """Train on the first samples, one unmeasured batch before."""
    a = PARSER.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import numpy as np
    from eventprop.eventprop_cpp import Spikes, SpikesVector
    from eventprop.layer import GaussianDistribution, SpikeDataset
    from eventprop.lif_layer import LIFLayerParameters
    from eventprop.loss_layer import TTFSCrossEntropyLossParameters, VMaxCrossEntropyLossParameters
    from eventprop.optimizer import GradientDescentParameters
    from eventprop.ttfs_training import TwoLayerTTFS
    from eventprop.vmax_training import TwoLayerVMax

    yin_yang = a.work == "yin-yang"
    batch = a.batch or (150 if yin_yang else 20)
    batches = a.batches or (100 if yin_yang else 20)
    hidden = a.hidden or (120 if yin_yang else 350)
    n = batch * (batches + 1)

    def samples() -> tuple[list, np.ndarray]:
        if yin_yang:
            x = np.load(a.data / "train_samples.npy")
            rows = np.arange(n) % len(x)
            times = [np.append(v * 30e-3, 0.0) for v in x[rows]]
            return [(t, np.arange(5)) for t in times], np.load(a.data / "train_labels.npy")[rows]
        with gzip.open(a.data / "train-images-idx3-ubyte.gz") as file:
            image = np.frombuffer(file.read(16 + 784 * n), np.uint8, offset=16).reshape(-1, 784)
        with gzip.open(a.data / "train-labels-idx1-ubyte.gz") as file:
            label = np.frombuffer(file.read(8 + n), np.uint8, offset=8).astype(np.int64)
        lit = [np.flatnonzero(v > 1) for v in image]
        return [((1 - v[k] / 255) * 20e-3, k) for v, k in zip(image, lit)], label

    class Data:
        def load_data(self) -> None:
            spikes, labels = samples()
            trains = []
            for t, k in spikes:
                order = np.argsort(t)
                trains.append(Spikes(t[order].astype(np.float64), k[order].astype(np.int32)))
            self.train_batch = self.test_batch = self.valid_batch = SpikeDataset(SpikesVector(trains), labels)

    taus = {"tau_mem": 20e-3, "tau_syn": 5e-3}
    gd = GradientDescentParameters(minibatch_size=batch, epochs=1, lr=5e-3)
    if yin_yang:
        first = LIFLayerParameters(n_in=5, n=hidden, w_dist=GaussianDistribution(w_mean=1.5, w_std=0.78), **taus)
        last = LIFLayerParameters(
            n_in=hidden, n=3, w_dist=GaussianDistribution(w_mean=0.93 * 200 / hidden, w_std=0.1), **taus
        )
        loss = TTFSCrossEntropyLossParameters(lif_parameters=last)
        base = TwoLayerTTFS
    else:
        first = LIFLayerParameters(n_in=784, n=hidden, w_dist=GaussianDistribution(w_mean=0.078, w_std=0.045), **taus)
        readout = GaussianDistribution(w_mean=0.2, w_std=0.37)
        loss = VMaxCrossEntropyLossParameters(n_in=hidden, n=10, w_dist=readout, **taus)
        base = TwoLayerVMax
    np.random.seed(1)  # noqa: NPY002 - the peer draws from it
    run = type("Run", (Data, base), {})(gd_parameters=gd, hidden_parameters=first, loss_parameters=loss)

    def step(k: int) -> None:
        part = run.train_batch[k * batch : (k + 1) * batch]
        run.forward_and_backward(part)
        run.optimizer.step()
        run.optimizer.zero_grad()

    step(0)
    started = time.perf_counter()
    for k in range(1, batches + 1):
        step(k)
    seconds = time.perf_counter() - started
    print(json.dumps({
        "simulator": "EventProp C++", "work": a.work, "hidden": hidden, "batch": batch, "threads": a.threads,
        "samples_per_second": batch * batches / seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()

"""Training samples per second of jaxsnn's own Yin-Yang example of event-based EventProp, layer by layer; float32.

The example draws its data; 5-hidden-3, every input five times, one spike a neuron (the reset is at -1000), room for
hidden + 25 and hidden + 3 events in the layers, mean squared error of first spike times; default batch: its own 64.
It is run as it is, and the training of its epochs is timed (the example's own figure is that of the dispatch alone).
The first epoch has the compilation and is not counted. `--batch 150` is the batch of the other peers.
`peak_memory_mb` is that of compiling and the first epoch, which keeps the spikes and gradients of all its batches.

Runs in an interpreter that has jaxsnn and jax; neither evsim nor data are needed. Prints one JSON line; what it means
is in peers_training.py.

    python benchmarks/peers/peers_jaxsnn.py --hidden 120 --threads 2
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

from peers_training import peak_memory_mb, report

SAMPLES = 4992  # of the example


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=120)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4, help="measured ones")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="the example's")
    return parser.parse_args()


def main() -> None:
    a = arguments()
    a.work = "yin-yang"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):  # XLA makes as many threads as it may use cores, and has no other setting
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: a.threads])
    import jax
    from jaxsnn.examples.event import yinyang_layered_event_prop as example

    seconds: list[float] = []
    peaks: list[float] = []
    plain = example.epoch

    def timed(update: Any, test: Any, *rest: Any) -> Any:
        def after_training(parameters: Any, data: Any) -> Any:
            jax.block_until_ready(parameters)
            seconds.append(time.perf_counter() - begin)
            peaks.append(round(peak_memory_mb(), 1))
            return test(parameters, data)

        begin = time.perf_counter()
        return plain(update, after_training, *rest)

    example.epoch = timed
    settings = example.get_parser().parse_args([])
    settings.hidden_size, settings.batch_size, settings.seed = a.hidden, a.batch, a.seed
    settings.n_spikes_hidden, settings.n_spikes_output = a.hidden + 25, a.hidden + 3
    settings.epochs = a.epochs + 1
    settings.trainset_size = SAMPLES // a.batch * a.batch
    accuracy = float(example.main(settings))
    batches = settings.trainset_size // a.batch
    report(
        "jaxsnn",
        a,
        [s / batches for s in seconds[1:] for _ in range(batches)],
        ["jaxsnn", "jax", "jaxlib"],
        peak_memory_mb=peaks[0],
        peak_memory_with_test_mb=peaks[-1],
        first_epoch_seconds=round(seconds[0], 2),
        later_epoch_seconds=round(statistics.median(seconds[1:]), 3),
        epochs=settings.epochs,
        accuracy=round(accuracy, 4),
        spike_budget=[settings.n_spikes_hidden, settings.n_spikes_output],
    )


if __name__ == "__main__":
    main()

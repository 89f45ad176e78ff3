"""Training samples per second of jaxsnn's own Yin-Yang example (its event-based EventProp, layered).

Run in an interpreter that has jaxsnn; evsim is not needed there. The example is run with 1 and with ``--epochs``
epochs; the difference of their times is that of the further epochs, without compilation. Each epoch also tests on 2,944
points, forwards only. Prints one JSON line.

    python benchmarks/peers_jaxsnn.py --hidden 120 --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time


def main() -> None:
    """Two runs of the example, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=120)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads=" + str(a.threads)
    from importlib.metadata import version

    from jaxsnn.examples.event import yinyang_layered_event_prop as example

    def run(epochs: int) -> tuple[float, float]:
        options = example.get_parser().parse_args([])
        options.hidden_size, options.batch_size, options.epochs = a.hidden, a.batch, epochs
        options.n_spikes_hidden, options.n_spikes_output = a.hidden + 25, a.hidden + 3
        started = time.perf_counter()
        accuracy = float(example.main(options))
        return time.perf_counter() - started, accuracy

    short, _ = run(1)
    long, accuracy = run(a.epochs)
    samples = 4992 // a.batch * a.batch * (a.epochs - 1)
    print(json.dumps({
        "simulator": "jaxsnn", "version": version("jaxsnn"), "jax": version("jax"), "work": "yin-yang",
        "hidden": a.hidden, "batch": a.batch, "threads": a.threads, "samples_per_second": samples / (long - short),
        "accuracy": accuracy, "seconds_of_first_epoch_and_compilation": short,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()

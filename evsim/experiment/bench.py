"""What a synaptic event costs in each engine, on this machine, compilation apart."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evsim import encode, streams
from evsim.description.connectivity import FixedIndegree
from evsim.engine.queue.run import run_flat
from evsim.engine.simulation import Simulation
from evsim.engine.sweep.layers import pack_layer, run_layer
from evsim.io import runs
from evsim.learning import Adam, CountLoss, Dense, Sequential, Trainer, TrainingOptions
from evsim.learning.rules import HM2BP
from evsim.memory import peak_memory_mb
from evsim.network import Network
from evsim.neurons.lif import LIF
from evsim.synapses.flat_network import flatten
from evsim.versions import package_versions

Row = tuple[str, float, dict[str, int]]
NEURON = LIF(tau_m=64.0, tau_syn=8.0, t_ref=2.0)
DURATION = 400.0


def digit_like_rates(samples: int, seed: int) -> np.ndarray:
    """Rates (samples, 784) in Hz, made by a formula to fire as often as MNIST digits do: a fifth of the
    pixels active, about 7,450 spikes in 400 ms."""
    rng = streams.rng("benchmark", seed, 1)
    x = rng.uniform(0.1, 1.0, (samples, 784)) * (rng.random((samples, 784)) < 0.19)
    return x * (7450.0 / DURATION * 1000.0) / x.sum(axis=1, keepdims=True)


def best_of(repeats: int, work: Callable[[], Any]) -> float:
    """Seconds of the fastest of some runs, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def bench_sweep(seed: int) -> list[Row]:
    """Layer 784-800 at a low, a usual and a high output rate: ns per synaptic event, one thread."""
    x = encode.poisson(digit_like_rates(1, seed)[0], DURATION, seed=seed)
    weight = streams.rng("benchmark", seed, 2).uniform(-1.0, 1.0, (784, 800))
    rows: list[Row] = []
    for name, neuron in (
        ("sweep 784-800, one receptor, v_th 6", NEURON.with_(v_th=6.0)),
        ("sweep 784-800, one receptor, v_th 3", NEURON.with_(v_th=3.0)),
        ("sweep 784-800, two receptors", NEURON.with_(v_th=3.0, tau_syn=(8.0, 12.0))),
        ("sweep 784-800, delta", NEURON.with_(v_th=12.0, tau_syn=None)),
    ):
        layer = pack_layer(weight, neuron)
        spikes = run_layer(layer, x.times, x.neurons, DURATION).times.size
        seconds = best_of(10, partial(run_layer, layer, x.times, x.neurons, DURATION))
        events = len(x) * 800
        rows.append((name, seconds / events * 1e9, {"events": events, "spikes": spikes}))
    return rows


def bench_queue(seed: int) -> list[Row]:
    """Random recurrent network, 1,000 neurons, 100 inputs each, distinct delays or one: one thread."""
    rows: list[Row] = []
    for name, neuron, weight, delays in (
        ("queue, exponential, one delay", LIF(tau_syn=5.0, v_th=20.0, t_ref=2.0), 0.9, 1.5),
        ("queue, exponential, own delays", LIF(tau_syn=5.0, v_th=20.0, t_ref=2.0), 0.9, None),
        ("queue, delta, one delay", LIF(tau_syn=None, v_th=20.0, t_ref=2.0), 0.25, 1.5),
    ):
        net = Network()
        net.add_input("drive", 1000)
        net.add_population("exc", 1000, neuron)
        net.connect("drive", "exc", weight=weight * 4.0, rule=FixedIndegree(20), delay=1.0)
        rng = streams.rng("benchmark", seed, 3)
        weights = np.where(rng.random(80_000) < 0.7, weight, -3.0 * weight)
        delay = rng.uniform(0.5, 5.0, 80_000) if delays is None else delays
        net.connect("exc", "exc", weight=weights, delay=delay, rule=FixedIndegree(80))
        drive = encode.poisson(np.full(1000, 60.0), 500.0, seed=seed)
        plan = flatten(net, seed)
        sources = drive.neurons.astype(np.int64)
        run = run_flat(plan, drive.times, sources, 500.0)
        seconds = best_of(3, partial(run_flat, plan, drive.times, sources, 500.0))
        rows.append(
            (name, seconds / run.events * 1e9, {"events": run.events, "spikes": run.times.size})
        )
    return rows


def bench_window(seed: int) -> list[Row]:
    """Balanced random network of 5,000 neurons, 1,000 inputs each, driven at 20 kHz; the drive alone; one thread."""
    rows: list[Row] = []
    for name, tau_syn, varied, recurrent in (
        ("window, Poisson drive alone, delta", None, False, False),
        ("window, Poisson drive alone, exponential", 2.0, False, False),
        ("window, delta, one delay", None, False, True),
        ("window, exponential, one delay", 2.0, False, True),
        ("window, two receptors, one delay", (2.0, 5.0), False, True),
        ("window, exponential, own weights and delays", 2.0, True, True),
    ):
        unit = 0.1 if tau_syn is None else 1.0
        net = Network()
        threshold = 20.0 if recurrent else 1e6
        net.add_population("all", 5000, LIF(tau_m=20.0, tau_syn=tau_syn, v_th=threshold, t_ref=2.0))
        net.add_poisson("all", rate=20_000.0, weight=unit)
        for weight, indegree in ((unit, 800), (-5.0 * unit, 200)) if recurrent else ():
            net.connect(
                "all", "all", rule=FixedIndegree(indegree),
                weight=(lambda rng, n, w=weight: w * rng.uniform(0.5, 1.5, n)) if varied else weight,
                delay=(lambda rng, n: rng.uniform(0.5, 2.5, n)) if varied else 1.5,
            )  # fmt: skip
        simulation = Simulation(net, seed=seed, driver="window")
        recs: list[tuple[float, Any]] = []
        for _ in range(4):
            start = time.perf_counter()
            rec = simulation.advance(75.0)
            recs.append(((time.perf_counter() - start) / rec.synaptic_events * 1e9, rec))
        ns, rec = min(recs[1:], key=lambda r: r[0])
        rows.append((name, ns, {"events": rec.synaptic_events, "spikes": len(rec["all"])}))
    return rows


def bench_network(seed: int, threads: int) -> dict[str, float]:
    """Forward and training samples/s of 784-800-10 for 400 ms, batch 20; peak memory of the process."""
    model = Sequential(Dense(784, 800, NEURON.with_(v_th=3.06)), Dense(800, 10, NEURON.with_(v_th=0.58)))
    model.init(seed)
    options = TrainingOptions(duration=DURATION, seed=seed, threads=threads)
    trainer = Trainer(model, HM2BP(), CountLoss(), Adam(), options)
    rates = digit_like_rates(20, seed)
    labels = np.arange(20) % 10

    def inputs() -> Any:
        return encode.poisson(rates, DURATION, seed=seed, threads=threads)

    def forward() -> None:
        model.forward(inputs(), DURATION, threads)

    def train() -> None:
        gradients, _, _ = trainer.gradients(inputs(), labels)
        trainer.optimiser.step(model.weights, gradients, 1e-9, threads)

    forward_s, train_s = best_of(5, forward), best_of(5, train)
    return {
        "threads": threads,
        "forward_samples_per_second": 20.0 / forward_s,
        "training_samples_per_second": 20.0 / train_s,
        "training_ms_per_sample": train_s / 20.0 * 1e3,
        "peak_memory_mb": peak_memory_mb(),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), **package_versions()}


@dataclass(frozen=True)
class Measured:
    """machine : what it was measured on; rows : name, ns per synaptic event, counts of events and spikes, one thread;
    networks : see ``bench_network``, by one thread and by as many as were asked for"""

    machine: dict[str, Any]
    rows: list[Row]
    networks: list[dict[str, float]]

    def write(self, out: Path) -> None:
        """Write bench.json into ``out``."""
        out.mkdir(parents=True, exist_ok=True)
        rows = [{"name": name, "ns": ns, **counts} for name, ns, counts in self.rows]
        runs.write_json(out / "bench.json", {"machine": self.machine, "drivers": rows, "network": self.networks})


def measure(seed: int, threads: int) -> Measured:
    """All engines by one thread, and a layered network by one and by ``threads`` threads."""
    rows = bench_sweep(seed) + bench_queue(seed) + bench_window(seed)
    return Measured(machine(), rows, [bench_network(seed, k) for k in sorted({1, threads})])

"""``evsim bench``: what a synaptic event costs in each engine, on this machine, as tables."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from evsim.experiment.bench import machine, measure


def run_bench(seed: int, threads: int, out: Path | None) -> None:
    """Print the tables; with ``out``, write bench.json there too."""
    console = Console()
    console.print(", ".join(f"{k} {v}" for k, v in machine().items()))
    measured = measure(seed, threads)
    table = Table("one thread", "ns per synaptic event", "synaptic events", "spikes")
    for name, ns, counts in measured.rows:
        table.add_row(name, f"{ns:.2f}", f"{counts['events']:,}", f"{counts['spikes']:,}")
    console.print(table)
    table = Table("784-800-10, 400 ms, batch 20", *(f"threads: {n['threads']:.0f}" for n in measured.networks))
    for key, label, form in (
        ("forward_samples_per_second", "forward, samples/s", "{:.0f}"),
        ("training_samples_per_second", "training, samples/s", "{:.0f}"),
        ("training_ms_per_sample", "training, ms per sample", "{:.2f}"),
        ("peak_memory_mb", "peak memory of the process, MB", "{:.0f}"),
    ):
        table.add_row(label, *(form.format(n[key]) for n in measured.networks))
    console.print(table)
    if out is not None:
        measured.write(out)

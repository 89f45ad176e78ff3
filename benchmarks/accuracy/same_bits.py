"""Do two checkouts of evsim give the same bits? Spikes of every engine, voltages, and weights trained by every rule.

Each checkout runs the same programs in a process of its own, by public names alone; what it gives is compared by
SHA-256. Streams of random numbers belong to it: a checkout that draws others differs everywhere.

    python benchmarks/accuracy/same_bits.py OLD NEW --out same_bits.csv
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, commit, write_csv

RULES = {
    "yin-yang": ("eventprop", "surrogate-bptt", "ann"),
    "digits": ("hm2bp", "st-rsbp", "tssl-bp", "rate-based", "s-tllr", "ottt", "eventprop"),
}
"""Trained for two epochs on 96 samples of these data sets, as their presets say."""


def digest(*arrays: Any) -> str:
    """Of the values, shapes and types."""
    out = hashlib.sha256()
    for a in arrays:
        a = np.ascontiguousarray(a)
        out.update(f"{a.dtype} {a.shape}".encode())
        out.update(a.tobytes())
    return out.hexdigest()[:16]


def networks() -> Iterator[tuple[str, Any, dict[str, Any], tuple[str, ...]]]:
    """(name, network, inputs, engines)."""
    import evsim

    rng = np.random.default_rng(5)
    for kind, tau_syn in (("one current", 4.0), ("two receptors", (3.0, 6.0)), ("delta", None)):
        net = evsim.Network()
        net.add_input("in", 40)
        neuron = evsim.LIF(tau_m=15.0, tau_syn=tau_syn, v_th=1.0, v_reset=-0.2, t_ref=1.5, bias=0.1)
        net.add_population("a", 120, neuron)
        w = rng.normal(0.12, 0.2, (40, 120))
        net.connect("in", "a", weight=w, delay=0.5)
        net.connect("a", "a", weight=lambda r, n: r.normal(0.0, 0.1, n), delay=lambda r, n: r.uniform(0.7, 3.0, n),
                    rule=evsim.FixedIndegree(20))  # fmt: skip
        net.add_poisson("a", rate=900.0, weight=0.05)
        x = evsim.SpikeTrains(np.sort(rng.uniform(0.0, 200.0, 900)), rng.integers(0, 40, 900), 40)
        yield f"recurrent, {kind}", net, {"in": x}, ("queue", "window")
        net = evsim.Network()
        net.add_input("in", 40)
        net.add_population("b", 150, neuron)
        net.add_population("c", 30, neuron)
        net.connect("in", "b", weight=rng.normal(0.15, 0.25, (40, 150)), delay=0.5)
        net.connect("b", "c", weight=rng.normal(0.05, 0.2, (150, 30)), delay=1.0)
        yield f"layers, {kind}", net, {"in": x}, ("queue", "window", "sweep")
    net = evsim.Network()
    net.add_input("in", 30)
    net.add_population("a", 40, evsim.LIF(tau_m=10.0, tau_syn=3.0))
    net.connect("in", "a", weight=rng.uniform(0.1, 0.6, (30, 40)), delay=1.0, plasticity=evsim.STDP(w_max=1.0))
    yield "plastic", net, {"in": evsim.encode.poisson(np.full(30, 40.0), 300.0, seed=4)}, ("queue",)


def simulated() -> dict[str, str]:
    """Digests of recordings, of voltages, and of one run in chunks."""
    out = {}
    for name, net, inputs, engines in networks():
        for engine in engines:
            rec = net.simulate(200.0, inputs, seed=11, driver=engine)
            parts = [a for p in net.populations for a in (rec[p].times, rec[p].neurons, rec.currents[p])]
            out[f"{name}: {engine}"] = digest(*parts, *rec.weights.values())
            if name != "plastic":
                first = next(iter(net.populations))
                out[f"{name}: {engine}, voltages"] = digest(rec.voltage(first, [0, 3], np.linspace(0.0, 199.0, 50)))
            if engine != "sweep":
                chunks = list(net.run(200.0, 47.0, inputs, seed=11, driver=engine))
                joined = [np.concatenate([c[p].times for c in chunks]) for p in net.populations]
                out[f"{name}: {engine}, in chunks"] = digest(*joined)
    return out


def trained(folder: Path) -> dict[str, str]:
    """Digests of what `evsim train` leaves: every array of the run file but the time it took."""
    import h5py

    out = {}
    for dataset, rules in RULES.items():
        for rule in rules:
            run = folder / f"{dataset}-{rule}"
            command = ["train", "--dataset", dataset, "--rule", rule, "--train-size", "96", "--test-size", "16",
                       "--epochs", "2", "--out", run]  # fmt: skip
            subprocess.run([sys.executable, "-m", "evsim", *map(str, command)], check=True, capture_output=True)
            arrays: list[tuple[str, Any]] = []

            def take(name: str, item: Any, arrays: list[tuple[str, Any]] = arrays) -> None:
                if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and "weight" in name:
                    arrays.append((name, item[()]))

            with h5py.File(run / "run.h5", "r") as file:
                file.visititems(take)
            out[f"train {dataset} by {rule}"] = digest(*(a for _, a in sorted(arrays, key=lambda x: x[0])))
    return out


def child() -> None:
    """What one checkout gives, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({**simulated(), **trained(Path(folder))}))


def answers(checkout: Path) -> dict[str, str]:
    """Run ``child`` on a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--child"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=checkout)
    if done.returncode:
        sys.exit(f"{checkout}: {done.stderr[-2000:]}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, help="Two folders.")
    parser.add_argument("--out", type=Path, help="CSV file to write.")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child()
        return
    if len(options.checkouts) != 2:
        parser.error("two checkouts are compared")
    old, new = (answers(c) for c in options.checkouts)
    rows = [(name, old.get(name, ""), new.get(name, "")) for name in {**old, **new}]
    for name, a, b in rows:
        print("same " if a == b else "OTHER", name)
    if options.out is not None:
        write_csv(options.out, ("case", "old", "new"), rows, at=" and ".join(commit(c) for c in options.checkouts))
    if any(a != b for _, a, b in rows):
        sys.exit("the two checkouts differ")


if __name__ == "__main__":
    main()

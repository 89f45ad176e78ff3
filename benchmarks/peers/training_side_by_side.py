"""Training speed and peak memory beside other trainers, in turn, in one run; every program in a process of its own.

    python benchmarks/peers/training_side_by_side.py --data DIR \\
        --eventprop-python PYTHON --torch-python PYTHON --jaxsnn-python PYTHON

DIR holds yin-yang/ (the published arrays, for the C++ program) and mnist/ (the idx files). A peer without an
interpreter is left out. Forward, backward and the optimiser's step are timed; drawing and encoding inputs is not, for
anyone. Workloads:

    yin-yang   5-120-3, batch 150; evsim and EventProp C++ (multi-spike, first-spike loss), jaxsnn's example, Norse
    mnist-350  784-350-10, latency code, batch 20; evsim with the maximal voltage, as EventProp C++, and with the
               integral; snnTorch at 100 steps
    mnist-800  784-800-10; snnTorch at 400 steps, Norse at 400 steps
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments

HERE = Path(__file__).resolve().parent


def ours(work: str, data: Path, threads: int) -> dict[str, Any]:
    """evsim on one workload, in this process."""
    from evsim.io.datasets import load_dataset
    from evsim.learning import (
        Adam,
        Dense,
        EventProp,
        Readout,
        Sequential,
        Trainer,
        TrainingOptions,
        TTFSLoss,
        VoltageCrossEntropy,
    )  # fmt: skip
    from evsim.memory import peak_memory_mb
    from evsim.neurons.lif import LIF

    neuron = LIF(tau_m=20.0, tau_syn=5.0)
    if work == "yin-yang":
        batch, batches, hidden = 150, 100, 120
        x, y = (lambda d: (d.x_train, d.y_train))(load_dataset("yin-yang"))
        model = Sequential(Dense(5, hidden, neuron), Dense(hidden, 3, neuron))
        model.init(1, scale=[0.78, 0.1], mean=[1.5, 0.93 * 200 / hidden])
        loss: Any = TTFSLoss()
        options = TrainingOptions(
            duration=60.0, encoder="linear", window=(0.0, 30.0), bias_spike=0.0, batch_size=batch, threads=threads
        )
    else:
        hidden, feature = (800 if "800" in work else 350), ("max" if "max" in work else "integral")
        batch, batches = 20, 60
        d = load_dataset("mnist", data / "mnist", batch * (batches + 1), 1)
        x, y = d.x_train, d.y_train
        model = Sequential(Dense(784, hidden, neuron), Readout(hidden, 10, neuron, feature=feature))
        model.init(1, scale=[0.045, 0.37], mean=[0.078, 0.2])
        loss = VoltageCrossEntropy(1.0 if feature == "max" else 0.05)
        options = TrainingOptions(
            duration=40.0, encoder="latency", window=(0.0, 20.0), batch_size=batch, threads=threads
        )
    trainer = Trainer(model, EventProp(), loss, Adam(), options)
    rows = [np.arange(k * batch, (k + 1) * batch) % len(x) for k in range(batches + 1)]
    inputs = [options.encode(x, r, 1) for r in rows]
    arrays = [a for _, a in model.parameters()]
    spent = {"forward": 0.0, "backward": 0.0}

    def step(k: int) -> None:
        gradients, _, _ = trainer.gradients(inputs[k], y[rows[k]])
        trainer.optimiser.step(arrays, gradients, 5e-3, threads)

    step(0)
    started = time.perf_counter()
    for k in range(1, batches + 1):
        step(k)
    seconds = time.perf_counter() - started
    for k in range(1, batches + 1):
        begin = time.perf_counter()
        model.forward(inputs[k], options.duration, threads)
        spent["forward"] += time.perf_counter() - begin
        begin = time.perf_counter()
        trainer.gradients(inputs[k], y[rows[k]])
        spent["backward"] += time.perf_counter() - begin
    forward = spent["forward"]
    return {
        "simulator": "evsim", "work": work, "hidden": hidden, "batch": batch, "threads": threads,
        "samples_per_second": batch * batches / seconds, "peak_memory_mb": peak_memory_mb(),
        "backward_over_forward": (spent["backward"] - forward) / forward,
    }  # fmt: skip


def child(command: list[str]) -> dict[str, Any]:
    """The JSON line that a program ends with."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1:]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """All programs of each workload in turn, some rounds; medians and ratios."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--eventprop-python")
    parser.add_argument("--torch-python")
    parser.add_argument("--jaxsnn-python")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["yin-yang", "mnist-350", "mnist-800"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        print(json.dumps(ours(a.child, a.data, a.threads)))
        return
    from evsim.experiment.bench import machine

    print(machine())
    t = str(a.threads)

    def mine(work: str) -> list[str]:
        return [sys.executable, str(Path(__file__).resolve()), "--data", str(a.data), "--threads", t, "--child", work]

    def peer(python: str | None, script: str, *options: str) -> list[list[str]]:
        return [[python, str(HERE / script), "--threads", t, *options]] if python else []

    cpp, torch, jax = a.eventprop_python, a.torch_python, a.jaxsnn_python
    yin_yang, mnist = str(a.data / "yin-yang"), str(a.data / "mnist")
    plans = {
        "yin-yang": [
            mine("yin-yang"),
            *peer(cpp, "peers_eventprop_cpp.py", "--work", "yin-yang", "--data", yin_yang),
            *peer(torch, "peers_norse.py", "--work", "yin-yang", "--data", yin_yang),
            *peer(jax, "peers_jaxsnn.py"),
        ],
        "mnist-350": [
            mine("mnist-350-max"), mine("mnist-350-integral"),
            *peer(cpp, "peers_eventprop_cpp.py", "--work", "mnist", "--data", mnist),
            *peer(torch, "peers_snntorch.py", "--work", "mnist", "--data", mnist, "--steps", "100"),
        ],
        "mnist-800": [
            mine("mnist-800-max"), mine("mnist-800-integral"),
            *peer(torch, "peers_snntorch.py", "--work", "mnist", "--hidden", "800", "--data", mnist, "--steps", "400"),
            *peer(torch, "peers_norse.py", "--work", "mnist", "--hidden", "800", "--data", mnist, "--steps", "400"),
        ],
    }  # fmt: skip
    for work, commands in plans.items():
        if a.only and work != a.only:
            continue
        runs: list[list[dict[str, Any]]] = [[] for _ in commands]
        for _ in range(a.rounds):
            for found, command in zip(runs, commands):
                found.append(child(command))
                print(json.dumps(found[-1]), flush=True)
        print(f"\n{work}, {a.threads} threads, median of {a.rounds}:")
        best = None
        for found in runs:
            good = [r for r in found if "error" not in r]
            if not good:
                continue
            speed = float(np.median([r["samples_per_second"] for r in good]))
            memory = max(r["peak_memory_mb"] for r in good)
            best = best or speed
            name = f"{found[0]['simulator']} {found[0].get('work', '')}"
            print(f"  {name:28s} {speed:10.1f} samples/s  {memory:8.0f} MB   evsim is {best / speed:.1f} times as fast")
        print(flush=True)


if __name__ == "__main__":
    main()

"""Brian2 on the recurrent networks of peers_nest.py: one run in C++ standalone mode, one JSON line.

Grid of 0.1 ms, float64, exact integration between steps. Choices that favour Brian2: weights and delays are
constants, synapses are sorted by their source, the drive is a PoissonInput (one binomial number for each
neuron and step), and `wall_seconds` is the loop over the steps alone, as the compiled program reports it. All
else is in `build_seconds`: making the connections, compiling, and writing the results. The program is built
in a temporary folder and removed.

`peak_memory_mb` is that of the compiled program, `build_peak_memory_mb` that of this script.

    python benchmarks/peers/peers_brian2.py --network brunel --t-stop 1000 --threads 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers_nest import NETWORKS, Spec, options, peak_memory_mb, report

OPTIONS = options(__doc__.splitlines()[0]).parse_args()  # before the import: --help does not need it

import brian2 as b  # noqa: E402

DT = 0.1  # ms
# starts the compiled program and leaves its peak memory in a file; a child of this large process would inherit ours
WATCH = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def connect(spec: Spec, cells: b.NeuronGroup, delay: float, seed: int) -> list[b.Synapses]:
    """Synapses from the excitatory and from the inhibitory neurons to all, sorted by source."""
    rng = np.random.default_rng(seed)
    result = []
    delta = spec.tau_exc is None
    for k, (begin, end, weight) in enumerate(((0, spec.exc, spec.w_exc), (spec.exc, spec.size, spec.w_inh))):
        target = "v" if delta else ("i_exc", "i_inh")[k]
        synapses = b.Synapses(
            cells[begin:end], cells, on_pre=f"{target}_post += {weight}*mV", delay=delay * b.ms, name=f"synapses_{k}"
        )
        if spec.indegree is None:
            synapses.connect(p=spec.probability)
        else:
            sources = rng.integers(0, end - begin, spec.size * spec.indegree[k], dtype=np.int32)
            targets = np.repeat(np.arange(spec.size, dtype=np.int32), spec.indegree[k])
            order = np.argsort(sources, kind="stable")
            synapses.connect(i=sources[order], j=targets[order])
        result.append(synapses)
    return result


def run(args: argparse.Namespace, folder: Path) -> None:
    begin = time.perf_counter()
    spec = NETWORKS[args.network]
    peak_file = folder / "peak"
    b.set_device("cpp_standalone", build_on_run=False, directory=str(folder / "code"))
    b.prefs.devices.cpp_standalone.openmp_threads = args.threads if args.threads > 1 else 0
    b.prefs.devices.cpp_standalone.run_cmd_unix = [sys.executable, "-c", WATCH, str(peak_file), "./main"]
    b.defaultclock.dt = DT * b.ms
    b.seed(args.seed)

    currents = "" if spec.tau_exc is None else " + i_exc + i_inh"
    equations = f"dv/dt = ({spec.v_rest}*mV - v{currents}) / ({spec.tau_m}*ms) : volt (unless refractory)\n"
    if spec.tau_exc is not None:
        for name, tau in (("i_exc", spec.tau_exc), ("i_inh", spec.tau_inh)):
            equations += f"d{name}/dt = -{name} / ({tau}*ms) : volt\n"
    cells = b.NeuronGroup(
        spec.size,
        equations,
        threshold=f"v >= {spec.v_th}*mV",
        reset=f"v = {spec.v_reset}*mV",
        refractory=spec.t_ref * b.ms,
        method="exact",
    )
    low, high = spec.v_start
    cells.v = f"({low} + rand() * {high - low})*mV" if low < high else low * b.mV
    synapses = connect(spec, cells, args.delay or spec.delay, args.seed)
    monitor = b.SpikeMonitor(cells)
    network = b.Network(cells, synapses, monitor)
    if spec.drive > 0.0:
        target = "v" if spec.tau_exc is None else "i_exc"
        network.add(b.PoissonInput(cells, target, spec.drive_inputs, spec.drive_rate * b.kHz, spec.w_exc * b.mV))
    if args.warmup > 0.0:
        network.run(args.warmup * b.ms)
    network.run(args.t_stop * b.ms)
    b.device.build(directory=str(folder / "code"), compile=True, run=True, with_output=False)
    wall = b.device._last_run_time
    build = time.perf_counter() - begin - wall
    peak = float(peak_file.read_text()) / (2**20 if sys.platform == "darwin" else 2**10)
    more = {
        "simulator": "brian2",
        "model": "grid",
        "models": ["cpp_standalone"],
        "resolution": DT,
        "build_seconds": round(build, 4),
        "wall_seconds": round(wall, 4),
        "peak_memory_mb": round(peak, 1),
        "build_peak_memory_mb": peak_memory_mb(),
        "versions": {"brian2": b.__version__},
    }
    report(args, np.asarray(monitor.t / b.ms), np.asarray(monitor.i), sum(len(s) for s in synapses), more)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="peers_brian2_") as folder:
        run(OPTIONS, Path(folder))


if __name__ == "__main__":
    main()

"""NEST on the recurrent networks that evsim is measured on: one run, one JSON line.

    brunel        Brunel (2000): 10,000 + 2,500 neurons with delta synapses of 0.1 mV, g = 5, eta = 2, delay 1.5 ms,
                  1,000 + 250 inputs each, an independent Poisson train of 20 kHz for each neuron
    brunel-exp    the same with exponential currents of 2 ms; the integral of a postsynaptic potential is kept
    cuba          Vogels and Abbott (2005), benchmark 2 of Brette et al. (2007): 3,200 + 800 neurons, two
                  exponential currents, p = 0.02, no drive

    --model precise   iaf_psc_delta_ps, iaf_psc_exp_ps and poisson_generator_ps: spike times in continuous time
    --model grid      iaf_psc_delta, iaf_psc_exp and poisson_generator: spike times on a grid of --resolution

Choices that favour NEST: homogeneous weights (static_synapse_hom_w), spike and drive delays are all equal to
the delay of the network, so that nothing shortens its communication interval, and the clock starts after
`nest.Prepare`. Drive events are the expected number; recurrent ones are spikes times the mean outdegree.

Runs in an interpreter that has nest and numpy; evsim is not needed there. `Spec`, `statistics` and `report`
serve peers_brian2.py too, hence nest is imported late.

    python benchmarks/peers/peers_nest.py --network brunel --model precise --t-stop 1000 --threads 2
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spec:
    """A network of excitatory and inhibitory neurons; ms, mV, kHz.

    tau_m dv/dt = v_rest - v + i_exc + i_inh. A spike adds its weight to i_exc or i_inh, which decay with tau_exc
    and tau_inh; with tau_exc None it adds it to v.
    """

    exc: int
    inh: int
    w_exc: float
    w_inh: float
    tau_exc: float | None
    tau_inh: float | None
    v_rest: float
    v_th: float
    v_reset: float
    v_start: tuple[float, float]  # uniform between the two
    t_ref: float
    delay: float
    indegree: tuple[int, int] | None  # of excitatory and inhibitory inputs
    probability: float | None  # of a connection, where there is no indegree
    drive_inputs: int = 0  # of each neuron, weight w_exc
    drive_rate: float = 0.0  # kHz, of each of these
    tau_m: float = 20.0

    @property
    def size(self) -> int:
        return self.exc + self.inh

    @property
    def drive(self) -> float:
        """Rate of the whole drive of a neuron, kHz."""
        return self.drive_inputs * self.drive_rate


def brunel(w_exc: float, w_inh: float, tau_syn: float | None) -> Spec:
    rate = 2.0 * 20.0 / (0.1 * 1000 * 20.0)  # eta v_th / (J CE tau_m)
    return Spec(10_000, 2_500, w_exc, w_inh, tau_syn, tau_syn, 0.0, 20.0, 0.0, (0.0, 0.0), 2.0, 1.5, (1000, 250), None,
                1000, rate)  # fmt: skip


NETWORKS = {
    "brunel": brunel(0.1, -0.5, None),
    "brunel-exp": brunel(1.0, -5.0, 2.0),
    "cuba": Spec(3_200, 800, 1.62, -9.0, 5.0, 10.0, -49.0, -50.0, -60.0, (-60.0, -50.0), 5.0, 0.1, None, 0.02),
}


def statistics(times: np.ndarray, neurons: np.ndarray, exc: int, begin: float, t_stop: float) -> dict[str, Any]:
    """Mean CV of the intervals of neurons with 10 spikes or more; mean correlation of counts in bins of 2 ms
    over 200 of the excitatory neurons that fired, evenly chosen. None where there are no such neurons."""
    order = np.lexsort((times, neurons))
    times, neurons = times[order], neurons[order]
    ids, first, counts = np.unique(neurons, return_index=True, return_counts=True)
    intervals = [np.diff(times[a : a + n]) for a, n in zip(first, counts) if n >= 10]
    cv = float(np.mean([x.std() / x.mean() for x in intervals])) if intervals else None
    chosen = np.flatnonzero(ids < exc)
    if chosen.size > 200:
        chosen = chosen[np.linspace(0, chosen.size - 1, 200).round().astype(int)]
    edges = begin + 2.0 * np.arange(int(t_stop / 2.0 + 1e-9) + 1)
    trains = [times[first[k] : first[k] + counts[k]] for k in chosen]
    table = np.array([np.histogram(train, edges)[0] for train in trains]).reshape(chosen.size, edges.size - 1)
    table = table[np.ptp(table, axis=1) > 0] if table.size else table
    correlation = None
    if len(table) > 1:
        pairs = np.corrcoef(table)[np.triu_indices(len(table), 1)]
        correlation = round(float(pairs.mean()), 5)
    return {"cv": None if cv is None else round(cv, 4), "correlation": correlation}


def peak_memory_mb(who: int = resource.RUSAGE_SELF) -> float:
    return round(resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)


def report(args: argparse.Namespace, times: np.ndarray, neurons: np.ndarray, synapses: int, more: dict) -> None:
    """The JSON line; `times` in ms, those of the warm-up are left out."""
    spec = NETWORKS[args.network]
    measured = times > args.warmup - 1e-6  # a grid's times are rounded
    times, neurons = times[measured], neurons[measured]
    drive_events = round(spec.size * spec.drive * args.t_stop)
    result = {
        "network": args.network,
        "t_stop": args.t_stop,
        "warmup": args.warmup,
        "delay": args.delay or spec.delay,
        "threads": args.threads,
        "seed": args.seed,
        "spikes": times.size,
        "rate_hz": round(times.size / spec.size / args.t_stop * 1e3, 4),
        **statistics(times, neurons, spec.exc, args.warmup, args.t_stop),
        "synapses": synapses,
        "synaptic_events": round(times.size * synapses / spec.size) + drive_events,
        "drive_events": drive_events,
        **more,
    }
    result["versions"] = {**more["versions"], "numpy": np.__version__, "python": platform.python_version()}
    print(json.dumps(result))


def run(args: argparse.Namespace) -> None:
    import nest

    begin = time.perf_counter()
    spec = NETWORKS[args.network]
    delay = args.delay or spec.delay
    suffix = "_ps" if args.model == "precise" else ""
    model = ("iaf_psc_delta" if spec.tau_exc is None else "iaf_psc_exp") + suffix
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(resolution=args.resolution, local_num_threads=args.threads, rng_seed=args.seed)

    # C_m = tau_m makes the membrane resistance 1 GOhm: 1 pA is 1 mV
    neuron: dict[str, Any] = {"tau_m": spec.tau_m, "C_m": spec.tau_m, "E_L": spec.v_rest, "V_th": spec.v_th}
    neuron |= {"V_reset": spec.v_reset, "t_ref": spec.t_ref, "V_m": spec.v_start[0]}
    if spec.tau_exc is not None:
        neuron |= {"tau_syn_ex": spec.tau_exc, "tau_syn_in": spec.tau_inh}
    cells = nest.Create(model, spec.size, neuron)
    if spec.v_start[0] < spec.v_start[1]:
        cells.V_m = nest.random.uniform(*spec.v_start)

    parts = ((cells[: spec.exc], spec.w_exc), (cells[spec.exc :], spec.w_inh))
    for k, (sources, weight) in enumerate(parts):
        nest.CopyModel("static_synapse_hom_w", f"synapse_{k}", {"weight": weight})
        rule: dict[str, Any] = {"rule": "pairwise_bernoulli", "p": spec.probability}
        if spec.indegree is not None:
            rule = {"rule": "fixed_indegree", "indegree": spec.indegree[k]}
        nest.Connect(sources, cells, rule, {"synapse_model": f"synapse_{k}", "delay": delay})
    synapses = nest.num_connections
    names = [model]
    if spec.drive > 0.0:
        names.append("poisson_generator" + suffix)
        drive = nest.Create(names[-1], params={"rate": spec.drive * 1e3})
        nest.Connect(drive, cells, syn_spec={"synapse_model": "synapse_0", "delay": delay})
    recorder = nest.Create("spike_recorder", params={"start": args.warmup})
    nest.Connect(cells, recorder, syn_spec={"delay": delay})

    nest.Prepare()
    build = time.perf_counter() - begin
    if args.warmup > 0.0:
        nest.Run(args.warmup)
    begin = time.perf_counter()
    nest.Run(args.t_stop)
    wall = time.perf_counter() - begin
    peak = peak_memory_mb()
    nest.Cleanup()
    events = recorder.events
    more = {
        "simulator": "nest",
        "model": args.model,
        "models": names,
        "resolution": args.resolution,
        "build_seconds": round(build, 4),
        "wall_seconds": round(wall, 4),
        "peak_memory_mb": peak,
        "versions": {"nest": nest.__version__},
    }
    report(args, np.asarray(events["times"]), np.asarray(events["senders"]) - cells[0].global_id, synapses, more)


def options(description: str) -> argparse.ArgumentParser:
    """What both peers take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--network", choices=list(NETWORKS), default="brunel")
    parser.add_argument("--t-stop", type=float, default=1000.0, help="ms that are measured")
    parser.add_argument("--warmup", type=float, default=0.0, help="ms before, not counted")
    parser.add_argument("--delay", type=float, help="ms; default: the network's, 1.5, 1.5 and 0.1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main() -> None:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["precise", "grid"], default="precise")
    parser.add_argument("--resolution", type=float, default=0.1, help="ms; divides the delay")
    run(parser.parse_args())


if __name__ == "__main__":
    main()

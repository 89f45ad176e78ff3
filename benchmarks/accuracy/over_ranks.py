"""One network over ranks and threads: hashes of spikes, currents and final state; and runs of which a rank is killed.

Every network on (1, 1), (1, 2), (2, 1), (2, 2), (3, 1) and (4, 1) ranks and threads: all hashes must be equal, on
every rank. Then, ``--kills`` times: `evsim simulate --mpi` in chunks on two or three ranks, one of which is killed with
SIGKILL at a random moment; the job must end by itself, and what it left, resumed on one to three ranks, must have the
bits of the unbroken run. Exit status 1 if anything differs.

    python benchmarks/accuracy/over_ranks.py --kills 10
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, arguments, machine, write_csv
from evsim import LIF, FixedIndegree, Network
from evsim.engine.simulation import Simulation
from evsim.io.runs import load_recording, load_state
from evsim.networks.literature import preset
from launched import on_ranks, rank_command, rank_environment

SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 1)]
COLUMNS = ("network", "ranks", "threads", "neurons", "synapses", "spikes", "synaptic_events", "hash", "equal")
SIMULATE = ["simulate", "brunel", "--scale", "0.2", "--seed", "3", "--no-plots", "--threads", "1"]
"""What is killed: some seconds of work, saved twice a second."""
T_STOP = 4000.0


def drawn_delays() -> Network:
    """Weights and delays drawn by synapse, two receptors, drives of unequal and of varying rate."""
    net = Network()
    net.add_population("a", 3000, LIF(tau_m=10.0, tau_syn=(2.0, 8.0), t_ref=1.0))
    net.add_population("b", 700, LIF(tau_m=20.0, tau_syn=5.0, t_ref=2.0))
    for pre, post, weight in (("a", "a", 0.3), ("a", "b", 0.3), ("b", "a", -2.0), ("b", "b", -1.0)):
        net.connect(
            pre, post, rule=FixedIndegree(80),
            weight=lambda rng, n, w=weight: w * rng.uniform(0.5, 1.5, n),
            delay=lambda rng, n: rng.uniform(0.3, 6.0, n),
        )  # fmt: skip
    net.add_poisson("a", rate=np.linspace(500.0, 1500.0, 3000), weight=1.0)
    net.add_poisson("b", rate=lambda t: 800.0 + 400.0 * np.sin(t / 20.0), rate_max=1200.0, weight=1.0)
    return net


def bursts() -> Network:
    """All neurons of a population at one instant, again and again: thousands of spikes in one window."""
    net = Network()
    net.add_population("a", 5000, LIF(tau_m=10.0, t_ref=2.0, bias=1.5))
    net.add_population("b", 1000, LIF(tau_m=20.0))
    net.connect("a", "b", weight=0.01, delay=1.0, rule=FixedIndegree(100))
    net.connect("b", "a", weight=-0.01, delay=1.5, rule=FixedIndegree(10))
    return net


def few_blocks() -> Network:
    """Twenty neurons: fewer blocks than ranks."""
    net = Network()
    net.add_population("a", 20, LIF(tau_m=10.0, t_ref=1.0, bias=1.3))
    net.connect("a", "a", weight=0.02, delay=0.7, rule=FixedIndegree(5))
    return net


NETWORKS: dict[str, tuple[Callable[[], Network], float]] = {
    "Brunel, a fifth": (lambda: preset("brunel", 0.2, 1), 200.0),
    "Brunel, exponential currents, a fifth": (lambda: preset("brunel-exp", 0.2, 1), 200.0),
    "CUBA": (lambda: preset("cuba", 1.0, 1), 200.0),
    "microcircuit, a tenth": (lambda: preset("microcircuit", 0.1, 1), 100.0),
    "drawn delays": (drawn_delays, 100.0),
    "bursts": (bursts, 100.0),
    "fewer blocks than ranks": (few_blocks, 100.0),
}


def add_to(digest: Any, value: Any) -> None:
    """A tree of plain values and arrays into a hash."""
    if isinstance(value, dict):
        for key in sorted(value):
            add_to(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for part in value:
            add_to(digest, part)
    elif isinstance(value, np.ndarray):
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(repr(value).encode())


def worker(name: str, threads: int, over_mpi: bool) -> None:
    """On a rank: simulate, and print what all ranks found."""
    from evsim.ranks.given import ranks_of
    from evsim.ranks.mpi import world

    comm = world() if over_mpi else ranks_of(None)
    make, t_stop = NETWORKS[name]
    network = make()
    simulation = Simulation(network, seed=1, threads=threads, driver="window", comm=comm)
    recording = simulation.advance(t_stop)
    digest = hashlib.sha256()
    for train, currents in zip(recording.spikes.values(), recording.currents.values()):
        add_to(digest, [train.times, train.neurons, currents])
    add_to(digest, simulation.state())
    found = comm.objects(digest.hexdigest()[:16])
    if comm.rank == 0:
        print(json.dumps({
            "neurons": sum(p.size for p in network.populations.values()), "synapses": simulation.engine.n_synapses,
            "spikes": sum(map(len, recording.spikes.values())), "synaptic_events": recording.synaptic_events,
            "hashes": found,
        }))  # fmt: skip


def hash_all() -> list[dict[str, Any]]:
    """A row for every network and shape."""
    rows: list[dict[str, Any]] = []
    for name in NETWORKS:
        of_one = ""
        for ranks, threads in SHAPES:
            got = on_ranks(ranks, "--worker", name, "--threads", threads, *(["--over-mpi"] if ranks > 1 else []))
            hashes = set(got.pop("hashes"))
            of_one = of_one or next(iter(hashes))
            row = {"network": name, "ranks": ranks, "threads": threads, **got,
                   "hash": " ".join(sorted(hashes)), "equal": hashes == {of_one}}  # fmt: skip
            rows.append(row)
            print(*(row[c] for c in COLUMNS), flush=True)
    return rows


def bits(folder: Path) -> str:
    """Of the spikes of a run, and of the states of its neurons at the end.

    The rest of a saved state, delivered spikes that were not yet dropped, depends on where the run was cut.
    """
    digest = hashlib.sha256()
    for train in load_recording(folder / "run.h5").spikes.values():
        add_to(digest, [train.times, train.neurons])
    add_to(digest, load_state(folder / "state.h5")[0]["engine"]["mutable"][0])
    return digest.hexdigest()


def evsim(ranks: int, *options: object) -> subprocess.Popen[bytes]:
    """``evsim`` on so many ranks, started."""
    mpi = ["--mpi"] if ranks > 1 else []
    command = rank_command(ranks, ["-m", "evsim", *SIMULATE, "--t-stop", T_STOP, *mpi, *options])
    return subprocess.Popen(command, env=rank_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_one(job: subprocess.Popen[bytes], rank: int) -> None:
    """SIGKILL to a rank."""
    for child in psutil.Process(job.pid).children(recursive=True):
        if child.environ().get("OMPI_COMM_WORLD_RANK") == str(rank):
            os.kill(child.pid, signal.SIGKILL)
            return


def kill_and_resume(times: int, folder: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row for each run of which a rank was killed."""
    whole = folder / "whole"
    assert evsim(1, "--out", whole, "--driver", "window").wait() == 0
    seconds = json.loads((whole / "summary.json").read_text())["wall_seconds"]
    wanted = bits(whole)
    rows = []
    for k in range(times):
        out = folder / f"run {k}"
        ranks, resumed = int(rng.integers(2, 4)), int(rng.integers(1, 4))
        rank, moment = int(rng.integers(ranks)), float(rng.uniform(0.0, 0.8)) * seconds
        job = evsim(ranks, "--chunk", 50, "--out", out)
        while not (out / "state.h5").exists():
            time.sleep(0.01)
        time.sleep(moment)
        kill_one(job, rank)
        killed = time.monotonic()
        status = job.wait(timeout=60)
        ended = time.monotonic() - killed
        reached = load_state(out / "state.h5")[0]["time"]
        assert evsim(resumed, "--chunk", 50, "--out", out, "--resume").wait() == 0
        row = {"killed_rank": rank, "ranks": ranks, "after_s": round(moment, 2), "status": status,
               "ended_within_s": round(ended, 2), "saved_ms": reached, "resumed_on": resumed,
               "equal": bits(out) == wanted}  # fmt: skip
        rows.append(row)
        print(*row.values(), flush=True)
        shutil.rmtree(out)
    return rows


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and ranks that are killed")
    parser.add_argument("--only-kills", action="store_true")
    parser.add_argument("--worker")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--over-mpi", action="store_true")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.threads, args.over_mpi)
        return
    print(machine())
    good = True
    if not args.only_kills:
        rows = hash_all()
        write_csv(RESULTS / "over_ranks.csv", COLUMNS, rows)
        good &= all(row["equal"] for row in rows)
    if args.kills:
        with tempfile.TemporaryDirectory() as folder:
            killed = kill_and_resume(args.kills, Path(folder), np.random.default_rng(args.seed))
        write_csv(RESULTS / "killed_ranks.csv", list(killed[0]), killed)
        good &= all(row["equal"] and row["status"] != 0 for row in killed)
    sys.exit(not good)


if __name__ == "__main__":
    main()

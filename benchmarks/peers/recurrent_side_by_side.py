"""evsim beside NEST and Brian2 on recurrent networks, in turn, in one run.

python benchmarks/peers/recurrent_side_by_side.py --peer-python PYTHON_THAT_HAS_NEST_AND_BRIAN2

The networks and what is done in favour of the peers are described in peers_nest.py and peers_brian2.py.
Every run is a process of its own, one at a time; the simulators take turns, so that a slow spell of the
machine hits all. Each has its own random network and drive, so that rates and statistics agree only up to
chance. Wall seconds are those of the simulation, without building or compiling; unless it says min, a figure
is the median of the repeats. On a busy machine look at the min: the threads of the peers (OpenMP) wait for
each other by spinning, and other processes can make them ten times as slow. "grid" means spike times on a grid
of 0.1 ms. A synaptic event is the arrival of a recurrent spike at one synapse, or a spike of the drive: a grid
simulator may draw all the latter of a step at once, and NEST and Brian2 count the expected number of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments

HERE = Path(__file__).resolve().parent
NETWORKS = ("brunel", "brunel-exp", "cuba")
PEERS = {
    "NEST, precise": ("peers_nest.py", "--model", "precise"),
    "NEST, grid": ("peers_nest.py", "--model", "grid"),
    "Brian2, grid": ("peers_brian2.py",),
}
MEASURES = (
    ("wall_per_biological_min", "wall s per biological s, min", "{:.3g}"),
    ("wall_per_biological_median", "the same, median", "{:.3g}"),
    ("million_events_per_second", "million synaptic events/s", "{:.1f}"),
    ("ns_per_event_and_thread", "ns per event and thread", "{:.1f}"),
    ("rate_hz", "rate, Hz", "{:.2f}"),
    ("cv", "CV of intervals", "{:.3f}"),
    ("correlation", "correlation, 2 ms bins", "{:.4f}"),
    ("peak_memory_mb", "peak memory, MB", "{:.0f}"),
    ("build_seconds", "building, s", "{:.1f}"),
    ("ratio_of_min", "wall / evsim's, min", "{:.2f}"),
    ("ratio_of_median", "wall / evsim's, median", "{:.2f}"),
)
console = Console()


def call(command: list[str], folder: str, limit: float | None = None) -> str:
    """Standard output of a process that runs in `folder`; beyond `limit` seconds it ends with all its children."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "TMPDIR": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        last = (err.strip() or out.strip() or f"exit status {process.returncode}").splitlines()[-1]
        raise RuntimeError(last)
    return out


def run_evsim(network: str, t_stop: float, threads: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "evsim", "simulate", network, "--t-stop", str(t_stop)]
        command += ["--threads", str(threads), "--seed", str(seed), "--out", str(Path(folder) / "run")]
        try:
            call(command, folder)
        except RuntimeError as error:
            raise SystemExit(f"evsim simulate {network} failed: {error}") from error
        result: dict[str, Any] = json.loads((Path(folder) / "run" / "summary.json").read_text())
    return result


def run_peer(python: str, name: str, network: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The peer's JSON line, or {"failed": what, "why": more}."""
    script, *more = PEERS[name]
    command = [python, str(HERE / script), *more, "--network", network, "--t-stop", str(args.t_stop)]
    command += ["--threads", str(args.threads), "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            result: dict[str, Any] = json.loads(call(command, folder, args.peer_timeout).strip().splitlines()[-1])
        except subprocess.TimeoutExpired:
            return {"failed": f"over {args.peer_timeout:g} s", "why": "stopped"}
        except RuntimeError as error:
            return {"failed": "failed", "why": str(error)}
    return result


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table from the repeats of one simulator."""
    failures = [r["failed"] for r in runs if "failed" in r]
    runs = [r for r in runs if "failed" not in r]
    if not runs:
        return {"failed": failures[0]}
    walls = [r["wall_seconds"] / r["t_stop"] * 1e3 for r in runs]
    ns = median(r["wall_seconds"] / r["synaptic_events"] * 1e9 for r in runs)
    row: dict[str, Any] = {
        "failed": failures[0] if failures else None,
        "wall_per_biological_min": min(walls),
        "wall_per_biological_median": median(walls),
        "million_events_per_second": 1e3 / ns,
        "ns_per_event_and_thread": ns * runs[0]["threads"],
    }
    for key in ("rate_hz", "cv", "correlation", "peak_memory_mb", "build_seconds"):
        known = [r[key] for r in runs if r.get(key) is not None]
        row[key] = median(known) if known else None
    return row


def show(network: str, rows: dict[str, dict[str, Any]], args: argparse.Namespace) -> None:
    """A column for each simulator."""
    table = Table(title=f"threads: {args.threads}, repeats: {args.repeats}")
    table.add_column(f"{network}, {args.t_stop:g} ms", no_wrap=True)
    for name in rows:
        table.add_column(name, justify="right")
    for key, label, form in MEASURES:
        cells = []
        for row in rows.values():
            value = row.get(key)
            cells.append("-" if value is None else form.format(value))
        table.add_row(label, *cells)
    failures = [row["failed"] or "" for row in rows.values()]
    if any(failures):
        table.add_row("stopped", *failures)
    console.print(table)


def main() -> None:
    """Alternate the simulators, print a table for each network, and write everything to --out."""
    parser = arguments(__doc__)
    parser.add_argument("--peer-python", help="interpreter that has nest and brian2; without it evsim runs alone")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="repeat for more; default: all")
    parser.add_argument("--t-stop", type=float, default=1000.0, help="biological ms")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3, help="with seeds 1, 2, ...")
    parser.add_argument("--out", type=Path, help="JSON file of all runs")
    parser.add_argument("--peer-timeout", type=float, default=600.0, help="seconds, for building and simulating")
    args = parser.parse_args()
    networks = list(dict.fromkeys(args.network or NETWORKS))
    python = shutil.which(args.peer_python) if args.peer_python else None
    if args.peer_python and python is None:
        parser.error(f"--peer-python: no interpreter at {args.peer_python}")
    names = ["evsim", *(PEERS if python else ())]
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {n: {name: [] for name in names} for n in networks}
    for network in networks:
        run_evsim(network, 10.0, args.threads, 1)  # fills the kernel cache
    for seed in range(1, args.repeats + 1):
        for network, of in runs.items():
            for name in names:
                if any("failed" in r for r in of[name]):
                    continue
                if name == "evsim":
                    result = run_evsim(network, args.t_stop, args.threads, seed)
                else:
                    result = run_peer(os.path.abspath(python or ""), name, network, args, seed)
                of[name].append(result)
                end = ("{failed}: {why}" if "failed" in result else "{wall_seconds:.3g} s").format(**result)
                console.print(f"{network}, seed {seed}, {name}: {end}", highlight=False, soft_wrap=True)

    from evsim.experiment.bench import machine  # late: the peak memory of a child starts at its parent's

    about = machine()
    peers = [r["versions"] for of in runs.values() for name in names[1:] for r in of[name] if "failed" not in r]
    versions = {k: v for found in peers for k, v in found.items()}
    console.print(", ".join(f"{k} {v}" for k, v in about.items()), highlight=False, soft_wrap=True)
    if versions:
        console.print("peers: " + ", ".join(f"{k} {v}" for k, v in versions.items()), highlight=False, soft_wrap=True)
    tables = {network: {name: summary(results) for name, results in of.items()} for network, of in runs.items()}
    for network, rows in tables.items():
        for row in rows.values():
            for which in ("min", "median"):
                key = f"wall_per_biological_{which}"
                if key in row:
                    row[f"ratio_of_{which}"] = row[key] / rows["evsim"][key]
        show(network, rows, args)
    if args.out is not None:
        given = {k: getattr(args, k) for k in ("t_stop", "threads", "repeats", "peer_timeout")}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        everything = {"machine": about, "peers": versions, "options": given, "tables": tables, "runs": runs}
        args.out.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()

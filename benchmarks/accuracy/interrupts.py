"""Simulations stopped at random moments by SIGINT, SIGTERM and SIGKILL, and what they give when they go on.

SIGINT falls into a call, which is then called again in the same process. SIGTERM and SIGKILL end a child process that
saves its state and spikes after every chunk; another simulation goes on from the file. Both must be the unbroken run,
to the bit: spikes, currents, events, plastic weights.

    python benchmarks/accuracy/interrupts.py --moments 100 --out docs/results/interrupts_python.csv

Each configuration is tried at so many moments for each signal: engine, threads, plasticity (queue only), with and
without drive and inputs, one call or 50 chunks.

The same of the command line: processes that run ``evsim simulate`` on files, ended and resumed, half of them twice.
Each is forked from one that has loaded the kernels; they save every 50 ms of wall time, not twice a second, so that a
short run has many moments of its own. Compared are the spikes in run.h5, bit for bit, and the counts in summary.json.

    python benchmarks/accuracy/interrupts.py --command queue --moments 100 --out docs/results/interrupts.csv

Then a long run in chunks, its memory, and many simulations made and dropped, with threads and file descriptors left.

    python benchmarks/accuracy/interrupts.py --long --minutes 10 --out docs/results/long_run.csv
"""

from __future__ import annotations

import csv
import dataclasses
import gc
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import evsim
from common import arguments, commit, origin
from evsim import LIF, FixedIndegree, Network, Simulation, SpikeTrains
from evsim.cli import main as cli
from evsim.experiment import network_steps
from evsim.io import runs

T_STOP, CHUNK, T_COMMAND = 100.0, 2.0, 300.0


def network(drive: bool, plastic: bool) -> Network:
    """120 neurons with delays of their own, inputs, and what is asked for; if plastic, weights of both."""
    net = Network()
    net.add_input("in", 20)
    net.add_population("p", 120, LIF(tau_m=10.0, tau_syn=2.0, t_ref=1.0, bias=1.05, v_init=np.linspace(0.0, 0.9, 120)))
    net.connect("in", "p", rule=FixedIndegree(4), weight=0.8, delay=0.7)
    net.connect("p", "p", rule=FixedIndegree(12), weight=-0.05, delay=lambda g, n: g.uniform(1.0, 3.0, n))
    if plastic:
        rule = evsim.STDP(0.01, 0.01, w_max=0.5)
        net.connect("in", "p", rule=FixedIndegree(3), weight=0.2, delay=1.0, plasticity=rule)
        net.connect("p", "p", rule=FixedIndegree(3), weight=0.05, delay=1.0, plasticity=rule)
    if drive:
        net.add_poisson("p", rate=400.0, weight=0.3)
        net.add_poisson("p", rate=lambda t: 100.0 + 50.0 * np.sin(t / 20.0), rate_max=150.0, weight=0.3)
    return net


def inputs(t_stop: float) -> dict[str, SpikeTrains]:
    rng = np.random.default_rng(3)
    n = int(2.0 * t_stop)
    return {"in": SpikeTrains(rng.uniform(0.0, t_stop, n), rng.integers(0, 20, n), 20)}


def value(chunks: list[evsim.Recording]) -> list[bytes]:
    """All that two equal runs have in common."""
    numbers = np.array([sum(c.synaptic_events for c in chunks), sum(c.grazing for c in chunks)])
    spikes = [np.concatenate([f(c) for c in chunks]).tobytes()
              for f in (lambda c: c["p"].times, lambda c: c["p"].neurons, lambda c: c.currents["p"])]  # fmt: skip
    return [*spikes, numbers.tobytes(), *(w.tobytes() for w in chunks[-1].weights.values())]


def stops(chunked: bool) -> list[float]:
    return [CHUNK * k for k in range(1, int(T_STOP / CHUNK) + 1)] if chunked else [T_STOP]


def run(sim: Simulation, chunked: bool, given: dict[str, SpikeTrains]) -> list[evsim.Recording]:
    out = []
    for stop in stops(chunked):
        out.append(sim.advance_to(stop, given))
        given = {}
    return out


def with_sigint(
    make: Callable[..., Simulation], after: float, chunked: bool, inputs: dict[str, SpikeTrains]
) -> tuple[list[evsim.Recording], bool]:
    """The chunks of a run that gets a SIGINT, each call repeated where it was interrupted; and whether one was."""
    sim, chunks, hit, ends = make(), [], False, stops(chunked)
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
    except KeyboardInterrupt:
        hit = True
    while len(chunks) < len(ends):
        try:
            while len(chunks) < len(ends):
                # An interrupted call took its inputs, or ended before it began.
                given = {} if sim._position.feed.number else inputs
                chunks.append(sim.advance_to(ends[len(chunks)], given))
        except KeyboardInterrupt:
            hit = True
    try:
        timer.join()
    except KeyboardInterrupt:
        pass
    return chunks, hit


def with_death(
    make: Callable[..., Simulation], after: float | None, number: int, path: Path, inputs: dict[str, SpikeTrains]
) -> tuple[list[evsim.Recording], bool]:
    """A child that saves every chunk is ended after so many seconds (None: it is not); the chunks of the run that goes
    on, and whether it was ended."""
    path.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sim, given, done = make(), inputs, []
        for stop in stops(True):
            done.append(sim.advance_to(stop, given))
            given = {}
            parts = [[c["p"].times, c["p"].neurons, c.currents["p"], c.synaptic_events, c.grazing] for c in done]
            runs.save_state(path, sim.state(), {"parts": parts})
        os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    if not path.exists():
        return run(make(), True, inputs), os.WIFSIGNALED(status)
    state, meta = runs.load_state(path)
    sim = make(state=state)
    first = run(make(), True, inputs)[0]
    chunks = []
    for k, (times, neurons, currents, events, grazing) in enumerate(meta["parts"]):
        chunks.append(dataclasses.replace(
            first, t_start=k * CHUNK, t_stop=(k + 1) * CHUNK, spikes={"p": SpikeTrains(times, neurons, 120)},
            currents={"p": currents}, synaptic_events=events, grazing=grazing, weights={},
        ))  # fmt: skip
    chunks += [sim.advance_to(stop) for stop in stops(True) if stop > sim.time]
    return chunks, os.WIFSIGNALED(status)


ENGINES = (("queue", 1, False), ("queue", 1, True), ("window", 1, False), ("window", 2, False))
"""Engine, threads, plasticity, which the window engine does not take."""


def campaign(only: list[int], moments: int, table: Path | None) -> bool:
    """Configurations by number, all if none is named; one row for each and each signal. table : gets further rows"""
    # A shell's background jobs ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng, good = np.random.default_rng(0), True
    folder = Path(tempfile.mkdtemp())
    kinds = [(*kind, drive, some) for kind in ENGINES for drive in (False, True) for some in (False, True)]
    for driver, threads, plastic, drive, some in [kinds[k] for k in only] or kinds:

        def make(state=None, driver=driver, threads=threads, drive=drive, plastic=plastic) -> Simulation:
            return Simulation(network(drive, plastic), driver=driver, threads=threads, state=state)

        given = inputs(T_STOP) if some else {}
        rows: list[dict[str, object]] = []
        for name, chunked in (("SIGINT", False), ("SIGINT", True), ("SIGTERM", True), ("SIGKILL", True)):
            right = value(run(make(), chunked, given))
            sim, began = make(), time.perf_counter()
            if name == "SIGINT":
                run(sim, chunked, given)
            else:
                with_death(make, None, 0, folder / "state.h5", given)
            seconds = time.perf_counter() - began
            hits = wrong = 0
            for _ in range(moments):
                after = float(rng.uniform(0.0, 1.0)) * seconds
                if name == "SIGINT":
                    chunks, hit = with_sigint(make, after, chunked, given)
                else:
                    chunks, hit = with_death(make, after, getattr(signal, name), folder / "state.h5", given)
                hits += hit
                same = value(chunks)
                wrong += same[:4] != right[:4] or (chunks[-1].weights != {} and same[4:] != right[4:])
            rows.append({
                "engine": driver, "threads": threads, "plastic": plastic, "drive": drive, "inputs": some,
                "chunks": len(stops(chunked)), "signal": name, "moments": moments, "stopped": hits,
                "other_results": wrong,
            })  # fmt: skip
            print(rows[-1], flush=True)
            good = good and wrong == 0
        write(table, rows, f"--only {' '.join(map(str, only))} --moments {moments}" if only else f"--moments {moments}")
    return good


def write(table: Path | None, rows: list[dict[str, object]], options: str) -> None:
    """Append rows to a CSV file, each with the commit and the command."""
    if table is None:
        return
    how = {"commit": commit(), "command": f"python benchmarks/accuracy/interrupts.py {options}"}
    new = not table.exists()
    with open(table, "a", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *how], lineterminator="\n")
        if new:
            file.write(origin())
            writer.writeheader()
        writer.writerows({**row, **how} for row in rows)


FILE = """
t_stop = {t_stop}
[inputs.in]
size = 20
file = "{spikes}"
[populations.p]
size = 120
tau_m = 10.0
tau_syn = 2.0
t_ref = 1.0
bias = 1.05
v_init = {{dist = "uniform", loc = 0.0, scale = 0.9}}
[[connect]]
source = "in"
target = "p"
rule = "FixedIndegree"
indegree = 4
weight = 0.8
delay = 0.7
[[connect]]
source = "p"
target = "p"
rule = "FixedIndegree"
indegree = 12
weight = -0.05
delay = {{dist = "uniform", loc = 1.0, scale = 2.0}}
"""
DRIVE = """
[[poisson]]
target = "p"
rate = 400.0
weight = 0.3
"""


def command(arguments: list[str], log: Path) -> int:
    """``evsim simulate`` in a child that has all modules and kernels of its parent. Returns its process id."""
    child = os.fork()
    if child:
        return child
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # A shell's background jobs ignore it, and so would evsim.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        cli.main(["simulate", *arguments, "--no-plots"], prog_name="evsim")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def finished(child: int) -> int:
    """Exit status; that of a signal is 128 + its number, as shells have it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


def stopped_and_resumed(arguments: list[str], out: Path, after: list[float], number: int) -> tuple[int, int]:
    """A run that gets a signal at each of these moments, seconds, and is resumed each time. (stops, odd statuses)"""
    stops = odd = 0
    for moment in [*after, None]:
        how = []
        if out.exists() and any(out.iterdir()):
            how = ["--resume"] if (out / "state.h5").exists() else ["--overwrite"]
        child = command([*arguments, "--out", str(out), *how], out.with_suffix(".log"))
        if moment is not None:
            time.sleep(moment)
            os.kill(child, number)
        code = finished(child)
        if code == 0:
            return stops, odd
        stops += 1
        odd += moment is None or code != 128 + number
    return stops, odd


def left(out: Path) -> tuple[object, ...]:
    """What two equal runs have in common, and that no part of one stays behind."""
    recorded, summary = runs.load_recording(out / "run.h5"), json.loads((out / "summary.json").read_text())
    spikes = {k: (s.times.tobytes(), s.neurons.tobytes()) for k, s in recorded.spikes.items()}
    counts = [summary[k] for k in ("spikes", "synaptic_events", "rates")]
    return recorded.t_stop, spikes, *counts, (out / "spikes").exists()


def command_campaign(engine: str, signals: list[str], moments: int, table: Path | None) -> bool:
    """With and without inputs, drive and chunks, on 1 and (window) 2 threads, in turn. table : gets further rows"""
    network_steps._SAVE_SECONDS, network_steps._PIECE_SECONDS = 0.05, 0.02
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    folder = Path(tempfile.mkdtemp())
    feed = inputs(T_COMMAND)["in"]
    (folder / "some.txt").write_text("".join(f"{t!r} {n}\n" for t, n in zip(feed.times.tolist(), feed.neurons)))
    (folder / "none.txt").write_text("")
    kinds = itertools.product((1, 2) if engine == "window" else (1,), ("some", "none"), (False, True), (False, True))
    cases: list[tuple[list[str], tuple[object, ...], float]] = []
    for threads, file, drive, chunked in kinds:
        path = folder / f"{threads}-{file}-{drive}-{chunked}.toml"
        path.write_text(FILE.format(spikes=f"{file}.txt", t_stop=T_COMMAND) + DRIVE * drive)
        arguments = [str(path), "--driver", engine, "--threads", str(threads)] + ["--chunk", "20"] * chunked
        if not cases:
            # Modules and kernels, for all children.
            parent = [*arguments, "--out", str(folder / "parent"), "--no-plots"]
            cli.main(["simulate", *parent], prog_name="evsim", standalone_mode=False)
        began = time.perf_counter()
        whole = path.with_suffix(".whole")
        assert finished(command([*arguments, "--out", str(whole)], path.with_suffix(".log"))) == 0
        cases.append((arguments, left(whole), time.perf_counter() - began))
    for name in signals:
        row = dict.fromkeys(("stopped", "stopped_twice", "other_results", "other_statuses"), 0)
        for k in range(moments):
            arguments, right, seconds = cases[k % len(cases)]
            out = folder / "cut"
            shutil.rmtree(out, ignore_errors=True)
            after = (rng.uniform(0.0, 1.0, 1 + k // len(cases) % 2) * seconds).tolist()
            stops, odd = stopped_and_resumed(arguments, out, after, getattr(signal, name))
            row["stopped"] += stops > 0
            row["stopped_twice"] += stops > 1
            row["other_results"] += left(out) != right
            row["other_statuses"] += odd
        rows.append({"engine": engine, "signal": name, "moments": moments, **row})
        print(rows[-1], flush=True)
    write(table, rows, f"--command {engine} --moments {moments}")
    return not any(row["other_results"] or row["other_statuses"] for row in rows)


def long_run(minutes: float, simulations: int, table: Path | None) -> bool:
    """Memory in the course of a long run of the network with drive, and what many dropped simulations leave."""
    process, good, rows = psutil.Process(), True, []
    for driver in ("queue", "window"):
        sim = Simulation(network(True, False), driver=driver)
        n, began, t_stop = 0, time.perf_counter(), minutes * 60_000.0
        marks = []
        for k in range(20):
            for j in range(10):
                n += len(sim.advance_to(t_stop * (10 * k + j + 1) / 200)["p"])
            marks.append(process.memory_info().rss / 2**20)
        rows.append({
            "engine": driver, "neurons": 120, "biology_minutes": minutes, "chunks": 200, "spikes": n,
            "seconds": round(time.perf_counter() - began), "simulations": 1,
            "mb_first": round(marks[0], 1), "mb_middle": round(marks[9], 1), "mb_last": round(marks[-1], 1),
            "threads_before": "", "threads_after": "", "descriptors_before": "", "descriptors_after": "",
        })  # fmt: skip
        print(f"{rows[-1]}; MB after each twentieth: {' '.join(f'{m:.0f}' for m in marks)}", flush=True)
        good = good and max(marks[10:]) - max(marks[:10]) < 2.0
    for driver in ("queue", "window"):
        # The threads of an engine are the process's own: the first simulation starts them, all share them.
        Simulation(network(True, False), driver=driver, threads=2).advance(20.0)
        before, marks, n, began = left_open(process), [], 0, time.perf_counter()
        for k in range(simulations):
            n += len(Simulation(network(True, False), driver=driver, threads=2).advance(20.0)["p"])
            if k in (simulations // 20, simulations // 2):
                marks.append(process.memory_info().rss / 2**20)
        after = left_open(process)
        rows.append({
            "engine": driver, "neurons": 120, "biology_minutes": round(simulations * 20 / 60_000, 3), "chunks": 1,
            "spikes": n, "seconds": round(time.perf_counter() - began), "simulations": simulations,
            "mb_first": round(marks[0], 1), "mb_middle": round(marks[1], 1),
            "mb_last": round(process.memory_info().rss / 2**20, 1),
            "threads_before": before[0], "threads_after": after[0],
            "descriptors_before": before[1], "descriptors_after": after[1],
        })  # fmt: skip
        print(rows[-1], flush=True)
        good = good and after == before
    write(table, rows, f"--long --minutes {minutes:g} --simulations {simulations}")
    return good


def left_open(process: psutil.Process) -> tuple[int, int]:
    """Threads and file descriptors of this process; ended threads are waited for."""
    gc.collect()
    time.sleep(0.5)
    return process.num_threads(), process.num_fds()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--only", type=int, nargs="+", default=[], help="configurations, counted from 0 in order")
    parser.add_argument("--command", choices=["queue", "window"], help="processes of the command line instead")
    parser.add_argument("--signals", nargs="+", default=["SIGINT", "SIGTERM", "SIGKILL"], help="those of --command")
    parser.add_argument("--out", type=Path, help="CSV file that gets further rows")
    parser.add_argument("--long", action="store_true", help="the long run instead")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--simulations", type=int, default=500)
    options = parser.parse_args()
    if options.long:
        sys.exit(not long_run(options.minutes, options.simulations, options.out))
    if options.command:
        sys.exit(not command_campaign(options.command, options.signals, options.moments, options.out))
    sys.exit(not campaign(options.only, options.moments, options.out))

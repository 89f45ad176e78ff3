"""Simulations stopped at random moments by SIGINT, SIGTERM and SIGKILL, and what they give when they go on.

SIGINT falls into a call, which is then called again in the same process. SIGTERM and SIGKILL end a child process that
saves its state and spikes after every chunk; another simulation goes on from the file. Both must be the unbroken run,
to the bit: spikes, currents, events, plastic weights.

    python benchmarks/interrupts.py --moments 100

Then a long run in chunks, its memory, and many simulations made and dropped, with threads and file descriptors left.

    python benchmarks/interrupts.py --long --minutes 10
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

import evsim
from evsim import LIF, FixedIndegree, Network, Simulation, SpikeTrains
from evsim.io import runs

T_STOP, CHUNK = 1000.0, 20.0


def network(drive: bool, plastic: bool) -> Network:
    """120 neurons with delays of their own, inputs, and what is asked for."""
    net = Network()
    net.add_input("in", 20)
    net.add_population("p", 120, LIF(tau_m=10.0, tau_syn=2.0, t_ref=1.0, bias=1.05, v_init=np.linspace(0.0, 0.9, 120)))
    net.connect("in", "p", rule=FixedIndegree(4), weight=0.8, delay=0.7)
    net.connect("p", "p", rule=FixedIndegree(12), weight=-0.05, delay=lambda g, n: g.uniform(1.0, 3.0, n))
    if plastic:
        rule = evsim.STDP(0.01, 0.01, w_max=0.5)
        net.connect("in", "p", rule=FixedIndegree(3), weight=0.2, delay=1.0, plasticity=rule)
    if drive:
        net.add_poisson("p", rate=400.0, weight=0.3)
        net.add_poisson("p", rate=lambda t: 100.0 + 50.0 * np.sin(t / 20.0), rate_max=150.0, weight=0.3)
    return net


def inputs() -> dict[str, SpikeTrains]:
    rng = np.random.default_rng(3)
    return {"in": SpikeTrains(rng.uniform(0.0, T_STOP, 2000), rng.integers(0, 20, 2000), 20)}


def value(chunks: list[evsim.Recording]) -> list[bytes]:
    """All that two equal runs have in common."""
    numbers = np.array([sum(c.synaptic_events for c in chunks), sum(c.grazing for c in chunks)])
    spikes = [np.concatenate([f(c) for c in chunks]).tobytes()
              for f in (lambda c: c["p"].times, lambda c: c["p"].neurons, lambda c: c.currents["p"])]  # fmt: skip
    return [*spikes, numbers.tobytes(), *(w.tobytes() for w in chunks[-1].weights.values())]


def stops(chunked: bool) -> list[float]:
    return [CHUNK * k for k in range(1, int(T_STOP / CHUNK) + 1)] if chunked else [T_STOP]


def run(sim: Simulation, chunked: bool) -> list[evsim.Recording]:
    given = inputs()
    out = []
    for stop in stops(chunked):
        out.append(sim.advance_to(stop, given))
        given = {}
    return out


def with_sigint(make, after: float, chunked: bool) -> tuple[list[evsim.Recording], bool]:
    """The chunks of a run that gets a SIGINT, each call repeated where it was interrupted; and whether one was."""
    sim, chunks, given, hit = make(), [], inputs(), False
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        for stop in stops(chunked):
            while not chunks or chunks[-1].t_stop < stop:
                before = sim._position.feed.number
                try:
                    recording = sim.advance_to(stop, given)
                    chunks.append(recording)
                except KeyboardInterrupt:
                    hit = True
                # Whether the interrupted call took its inputs, or ended before it began.
                given = {} if sim._position.feed.number > before else given
        timer.join()
    except KeyboardInterrupt:
        hit = True
    return chunks, hit


def with_death(make, after: float, number: int, path: Path) -> tuple[list[evsim.Recording], bool]:
    """A child that saves every chunk is ended; the chunks of the run that goes on, and whether it was ended."""
    path.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sim, given, done = make(), inputs(), []
        for stop in stops(True):
            done.append(sim.advance_to(stop, given))
            given = {}
            parts = [[c["p"].times, c["p"].neurons, c.currents["p"], c.synaptic_events, c.grazing] for c in done]
            runs.save_state(path, sim.state(), {"parts": parts})
        os._exit(0)
    time.sleep(after)
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    if not path.exists():
        return run(make(), True), os.WIFSIGNALED(status)
    state, meta = runs.load_state(path)
    sim = make(state=state)
    first = run(make(), True)[0]
    chunks = []
    for k, (times, neurons, currents, events, grazing) in enumerate(meta["parts"]):
        chunks.append(dataclasses.replace(
            first, t_start=k * CHUNK, t_stop=(k + 1) * CHUNK, spikes={"p": SpikeTrains(times, neurons, 120)},
            currents={"p": currents}, synaptic_events=events, grazing=grazing, weights={},
        ))  # fmt: skip
    chunks += [sim.advance_to(stop) for stop in stops(True) if stop > sim.time]
    return chunks, os.WIFSIGNALED(status)


def campaign(moments: int) -> bool:
    rng, good = np.random.default_rng(0), True
    folder = Path(tempfile.mkdtemp())
    for driver, threads, drive, plastic in (
        ("queue", 1, False, False), ("queue", 1, True, True), ("window", 1, False, False), ("window", 2, True, False),
    ):  # fmt: skip

        def make(state=None, driver=driver, threads=threads, drive=drive, plastic=plastic) -> Simulation:
            return Simulation(network(drive, plastic), driver=driver, threads=threads, state=state)

        run(make(), True)
        began = time.perf_counter()
        run(make(), True)
        seconds = time.perf_counter() - began
        for name in ("SIGINT", "SIGINT in chunks", "SIGTERM", "SIGKILL"):
            chunked = name != "SIGINT"
            right = value(run(make(), chunked))
            hits = wrong = 0
            for _ in range(moments):
                after = float(rng.uniform(0.0, 1.0)) * seconds
                if name.startswith("SIGINT"):
                    chunks, hit = with_sigint(make, after, chunked)
                else:
                    # Saving takes longer than simulating here.
                    chunks, hit = with_death(make, 3.0 * after, getattr(signal, name), folder / "state.h5")
                hits += hit
                same = value(chunks)
                wrong += same[:4] != right[:4] or (chunks[-1].weights != {} and same[4:] != right[4:])
            what = f"{driver}, {threads} thread(s), drive {drive}, plastic {plastic}, {name}"
            print(f"{what}: stopped {hits} of {moments}, other results {wrong}", flush=True)
            good = good and wrong == 0
    return good


def long_run(minutes: float, simulations: int) -> None:
    process = psutil.Process()
    for driver in ("queue", "window"):
        sim = Simulation(network(True, False), driver=driver)
        n, began, t_stop = 0, time.perf_counter(), minutes * 60_000.0
        marks = []
        for k in range(20):
            for j in range(10):
                n += len(sim.advance_to(t_stop * (10 * k + j + 1) / 200)["p"])
            marks.append(process.memory_info().rss / 2**20)
        print(f"{driver}: {minutes:g} min of biology in 200 chunks, {n:,} spikes, {time.perf_counter() - began:.0f} s; "
              f"MB after each twentieth: {' '.join(f'{m:.0f}' for m in marks)}", flush=True)  # fmt: skip
    before = threading.active_count(), process.num_fds(), process.memory_info().rss / 2**20
    for k in range(simulations):
        Simulation(network(True, False), driver=("queue", "window")[k % 2], threads=2).advance(20.0)
    after = threading.active_count(), process.num_fds(), process.memory_info().rss / 2**20
    print(f"{simulations} simulations made, run and dropped: threads {before[0]} -> {after[0]}, file descriptors "
          f"{before[1]} -> {after[1]}, MB {before[2]:.0f} -> {after[2]:.0f}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--long", action="store_true", help="the long run instead")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--simulations", type=int, default=500)
    options = parser.parse_args()
    if options.long:
        long_run(options.minutes, options.simulations)
    else:
        sys.exit(not campaign(options.moments))

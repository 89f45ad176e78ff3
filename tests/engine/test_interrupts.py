"""A simulation interrupted at any moment goes on as if it had not been; kernels come back to be interrupted."""

import signal
import sys
import threading
import time

import numpy as np
import pytest

import evsim
from evsim import LIF, FixedIndegree, Network, Simulation, SpikeTrains


class Stop(Exception):
    pass


def network(plastic: bool = False) -> Network:
    net = Network()
    net.add_input("in", 20)
    net.add_population("p", 120, LIF(tau_m=10.0, tau_syn=2.0, t_ref=1.0, bias=1.05, v_init=np.linspace(0.0, 0.9, 120)))
    net.connect("in", "p", rule=FixedIndegree(4), weight=0.8, delay=0.7)
    net.connect("p", "p", rule=FixedIndegree(12), weight=-0.05, delay=lambda g, n: g.uniform(1.0, 3.0, n))
    if plastic:
        rule = evsim.STDP(0.01, 0.01, w_max=0.5)
        net.connect("in", "p", rule=FixedIndegree(3), weight=0.2, delay=1.0, plasticity=rule)
    net.add_poisson("p", rate=400.0, weight=0.3)
    net.add_poisson("p", rate=lambda t: 100.0 + 50.0 * np.sin(t / 20.0), rate_max=150.0, weight=0.3)
    return net


def trains(t_stop: float) -> dict[str, SpikeTrains]:
    rng = np.random.default_rng(3)
    return {"in": SpikeTrains(rng.uniform(0.0, t_stop, 600), rng.integers(0, 20, 600), 20)}


def same(a: evsim.Recording, b: evsim.Recording) -> None:
    assert a["p"].times.tobytes() == b["p"].times.tobytes()
    assert np.array_equal(a["p"].neurons, b["p"].neurons)
    assert a.currents["p"].tobytes() == b.currents["p"].tobytes()
    assert np.array_equal(a.inputs["in"].times, b.inputs["in"].times)
    assert (a.t_start, a.t_stop, a.synaptic_events, a.grazing) == (b.t_start, b.t_stop, b.synaptic_events, b.grazing)
    assert all(a.weights[k].tobytes() == b.weights[k].tobytes() for k in b.weights)


KINDS = [("queue", False, 1), ("queue", True, 1), ("window", False, 1), ("window", False, 2)]


@pytest.mark.parametrize("driver, plastic, threads", KINDS)
def test_a_run_stopped_by_its_progress_goes_on_with_every_spike_and_input(driver, plastic, threads):
    t_stop = 400.0
    whole = Simulation(network(plastic), driver=driver, threads=threads).advance_to(t_stop, trains(t_stop))
    for at in (1.0, 150.0, t_stop):

        def stop(t: float, at: float = at) -> None:
            if t >= at:
                raise Stop

        sim = Simulation(network(plastic), driver=driver, threads=threads)
        with pytest.raises(Stop):
            sim.advance_to(t_stop, trains(t_stop), progress=stop)
        same(sim.advance_to(t_stop), whole)


class Interruptions:
    """A trace function that raises at its n-th line within evsim's engines."""

    files = ("simulation.py", "queue.py", "window.py", "team.py", "drive.py")

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, frame, event, arg):
        name = frame.f_code.co_filename
        if "evsim" not in name or not name.endswith(self.files):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("step", [97, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("driver, plastic, threads", KINDS)
def test_an_interrupt_before_any_line_loses_nothing(driver, plastic, threads, step):
    """Each third line of the start, and each ``step``-th of the rest."""
    t_stop = 30.0
    whole = Simulation(network(plastic), driver=driver, threads=threads).advance_to(t_stop, trains(t_stop))
    n, hits = 1, 0
    before = sys.gettrace()
    while True:
        sim = Simulation(network(plastic), driver=driver, threads=threads)
        sys.settrace(Interruptions(n))
        try:
            recording = sim.advance_to(t_stop, trains(t_stop))
        except KeyboardInterrupt:
            sys.settrace(before)
            hits += 1
            saved = sim.state()
            fed = sim._position.feed.number > 0
            recording = sim.advance_to(t_stop, {} if fed else trains(t_stop))
            other = Simulation(network(plastic), driver=driver, threads=threads, state=saved)
            same(other.advance_to(t_stop, {} if fed else trains(t_stop)), whole)
        else:
            break
        finally:
            sys.settrace(before)
        same(recording, whole)
        n += 3 if n < 60 else step
    assert hits > 15
    same(recording, whole)


@pytest.mark.parametrize("driver, plastic, threads", KINDS)
def test_a_signal_at_a_random_moment_loses_nothing(driver, plastic, threads):
    t_stop = 1000.0
    inputs = trains(t_stop)
    whole = Simulation(network(plastic), driver=driver, threads=threads).advance_to(t_stop, inputs)
    sim = Simulation(network(plastic), driver=driver, threads=threads)
    began = time.perf_counter()
    sim.advance_to(t_stop, inputs)
    seconds = time.perf_counter() - began

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    rng, hits = np.random.default_rng(0), 0
    try:
        for _ in range(6):
            sim = Simulation(network(plastic), driver=driver, threads=threads)
            sim.advance_to(1.0, inputs)
            try:
                signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(0.05, 0.8)) * seconds)
                recording = sim.advance_to(t_stop)
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            except KeyboardInterrupt:
                hits += 1
                recording = sim.advance_to(t_stop)
            assert recording["p"].times.tobytes() == whole["p"].times[whole["p"].times >= 1.0].tobytes()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert hits


def test_no_thread_is_left_when_a_call_is_over():
    # SynapseSampler synapses uses the threads that the whole process shares, and keeps.
    Simulation(network(), driver="window", threads=2)
    before = threading.active_count()
    for _ in range(20):
        Simulation(network(), driver="window", threads=2).advance(5.0, trains(5.0))
    assert threading.active_count() == before

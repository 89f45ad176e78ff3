"""Make the engine that runs a network."""

from __future__ import annotations

from evsim.description.network import NetworkDescription
from evsim.engine.protocol import Engine
from evsim.engine.select import choose, too_fine, why_not_sweep, why_not_window
from evsim.errors import NetworkError, ZeroDelayError
from evsim.ranks.alone import ALONE
from evsim.ranks.protocol import Communicator

DRIVERS = ("auto", "queue", "window", "sweep")


def make_engine(
    network: NetworkDescription, driver: str, seed: int, threads: int, once: bool = False, comm: Communicator = ALONE
) -> Engine:
    """The engine that ``driver`` names, or for "auto" the one that suits the network.

    once : the whole run is one piece; only then the sweep can be taken; comm : ranks that share the work

    Raises NetworkError : a network that the engine cannot run, or that the memory cannot hold.
    """
    if comm.size > 1:
        return _over_ranks(network, driver, seed, threads, comm)
    chosen = choose(network, once) if driver == "auto" else driver
    if chosen == "sweep":
        from evsim.engine.sweep.run import SweepEngine

        if driver == "sweep" and (why := why_not_sweep(network)):
            raise NetworkError(f"driver 'sweep' cannot run this network: {why}. Use driver='queue'.")
        return SweepEngine(network, seed, threads)
    if chosen == "window":
        from evsim.engine.window.run import WindowEngine

        if driver == "window" and (why := why_not_window(network)):
            raise NetworkError(f"driver 'window' cannot run this network: {why}. Use driver='queue'.")
        # Only drawing may tell that there are synapses without delay, or with tiny ones.
        try:
            engine = WindowEngine(network, seed, threads)
            if driver == "window" or not too_fine(network, engine.c):
                return engine
        except ZeroDelayError:
            if driver == "window":
                raise
    from evsim.engine.queue.run import QueueEngine

    return QueueEngine(network, seed)


def _over_ranks(network: NetworkDescription, driver: str, seed: int, threads: int, comm: Communicator) -> Engine:
    from evsim.engine.window.run import WindowEngine

    why = f"driver={driver!r} was asked for" if driver in ("queue", "sweep") else why_not_window(network)
    if why:
        raise NetworkError(
            f"{comm.size} ranks can share a network in the window engine only, but {why}. Simulate it in one process."
        )
    return WindowEngine(network, seed, threads, comm)

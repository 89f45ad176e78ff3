"""The queue engine on a planned network: state and buffers around the kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsim._kernels import queue_driver
from evsim.plan import Plan
from evsim.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class PlanRun:
    """Spikes of all neurons of a plan, ordered by (time, neuron); events delivered; grazing peaks."""

    times: Floats
    neurons: Ints
    currents: Floats
    events: int
    grazing: int


def run_plan(plan: Plan, times: Floats, sources: np.ndarray, t_stop: float) -> PlanRun:
    """The queue engine on flat arrays: times (n,) sorted external spikes, sources (n,) int64."""
    p = plan.neurons
    n = p.theta.size
    u = p.u_init.copy()
    i_exc, i_inh, valid_at = np.zeros(n), np.zeros(n), np.zeros(n)
    bound, solved, key = np.empty(n), np.zeros(n, np.bool_), np.empty(n)
    heap, position = np.empty(n, np.int64), np.empty(n, np.int64)
    touched, stamp = np.empty(n, np.int64), np.zeros(n, np.int8)
    state = np.zeros(queue_driver.N_STATE, np.int64)
    state[queue_driver.N_HEAP] = queue_driver.start_queue(
        u, i_exc, p.theta, p.tau_m, p.peak, p.n_receptors, plan.level, bound, solved, key, heap, position
    )
    pending: list[np.ndarray] = [np.empty(1024), np.empty(1024), *(np.empty(1024, np.int64) for _ in range(3))]
    out: list[np.ndarray] = [np.empty(4096), np.empty(4096, np.int32), np.empty(4096)]
    while True:
        status = queue_driver.run_queue(
            p.theta, p.u_reset, p.t_ref, p.tau_m, p.tau_exc, p.tau_inh, p.peak, p.n_receptors, p.keep_input,
            plan.level, plan.group_start, plan.group_delay, plan.group_level, plan.synapse_start,
            plan.target, plan.weight, times, sources,
            u, i_exc, i_inh, valid_at, bound, solved, key, heap, position,
            *pending, touched, stamp, *out, state, float(t_stop), plan.n_inputs,
        )  # fmt: skip
        if status == queue_driver.DONE:
            break
        pending, out = _enlarged(pending), _enlarged(out)
    t, i, c = (a[: state[queue_driver.N_SPIKES]] for a in out)
    order = np.lexsort((i, t))
    events, grazing = state[queue_driver.N_EVENTS], state[queue_driver.N_GRAZING]
    return PlanRun(t[order], i[order], c[order], int(events), int(grazing))


def _enlarged(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate([a, np.empty_like(a)]) for a in arrays]

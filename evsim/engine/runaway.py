"""Runs that cannot end: what engines say of neurons that spike without bound, and buffers that grow with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evsim.errors import NetworkError, RunawayError
from evsim.memory import check_memory
from evsim.types import Floats

MANY = 2**21
"""Spikes of one piece of a run from which on their rate is looked at."""

_FASTEST = 1000.0
"""Spikes a ms, and spikes a membrane time constant, of one neuron, beyond which activity is called runaway."""

_LARGE = 2**26
"""Bytes that are asked for before they are taken."""


@dataclass(frozen=True, eq=False)
class Populations:
    """Whose neuron is it? offset : first source number by name, inputs first; tau_m : (n_neurons,) ms."""

    offset: Mapping[str, int]
    n_inputs: int
    tau_m: Floats

    def name(self, neuron: int) -> str:
        """A neuron, counted over all populations, as the user knows it."""
        source = self.n_inputs + neuron
        name, first = [(k, first) for k, first in self.offset.items() if first <= source][-1]
        return f"neuron {source - first} of {name!r}"

    def stuck(self, neuron: int, t: float) -> NetworkError:
        """The error for a neuron that spikes for ever at the time t, ms."""
        return RunawayError(
            f"{self.name(neuron)} spikes for ever at about {t:.6g} ms: after a spike it is back at threshold sooner "
            f"than the clock can tell ({np.spacing(t):.2g} ms), and no refractory period holds it. Give it t_ref > 0, "
            "a v_reset farther below v_th, or less input."
        )

    def check(self, times: Floats, neurons: np.ndarray) -> None:
        """Raise RunawayError if the latest of many spikes come at a rate that no neuron can mean.

        times, neurons : spikes of one piece of a run, (nearly) in order, neurons counted over all populations
        """
        if times.size < MANY:
            return
        t, n = times[-(times.size // 4) :], neurons[-(times.size // 4) :]
        counts = np.bincount(n, minlength=self.tau_m.size)
        fastest = int(np.argmax(counts))
        rate = counts[fastest] / max(float(np.ptp(t)), np.spacing(float(t.max())))
        if rate > _FASTEST * max(1.0, 1.0 / float(self.tau_m[fastest])):
            raise RunawayError(
                f"runaway activity at {float(t.max()):.6g} ms: {self.name(fastest)} spikes {rate:.3g} times a ms, "
                f"{times.size:,} spikes lie within {float(np.ptp(times)):.3g} ms. Neurons excite each other without "
                "bound, or a v_reset close to v_th and t_ref = 0 let them: give t_ref > 0, weaker excitation or a "
                "larger distance to threshold. If it is meant, simulate in shorter chunks."
            )

    def grown(self, arrays: Sequence[np.ndarray], of: str, t: float, axis: int = 0) -> list[np.ndarray]:
        """The arrays at twice their length (at least 1,024), their contents kept.

        Raises RunawayError : the memory does not suffice for what they hold (``of``) at the time t, ms.
        """
        need = 2 * sum(a.nbytes for a in arrays)
        try:
            if need > _LARGE:
                check_memory(need, of)
            more = [np.empty([max(a.shape[axis], 1024) if k == axis else n for k, n in enumerate(a.shape)], a.dtype)
                    for a in arrays]  # fmt: skip
            return [np.concatenate(pair, axis=axis) for pair in zip(arrays, more)]
        except (MemoryError, NetworkError) as error:
            raise self.no_memory(of, need, t) from error

    def no_memory(self, of: str, need: float, t: float) -> NetworkError:
        """The error for buffers that have outgrown the memory at the time t, ms."""
        return RunawayError(
            f"at {t:.6g} ms {of} need {need / 2**20:,.0f} MiB more, which are not free. If activity has run away, give "
            "the neurons t_ref > 0, weaker excitation or a larger distance from v_reset to v_th; if it is meant, "
            "simulate in shorter chunks."
        )

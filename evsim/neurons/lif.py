"""The leaky integrate-and-fire neuron: its parameters, checked.

Units: times in ms, potentials in the unit of the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from evsim.checks import numbers
from evsim.errors import InputError


@dataclass(frozen=True, eq=False)
class LIF:
    """Leaky integrate-and-fire neuron with exponential or delta synapses.

        tau_m dv/dt = -(v - v_rest) + bias + sum_r i_r,     tau_r di_r/dt = -i_r

    A spike of weight w that arrives does ``i_r += w`` (delta synapse: ``v += w``). The neuron spikes at
    the first t with v(t) >= v_th; then v = v_reset, held for t_ref while the currents run on.

    Parameters
    ----------
    tau_m : float or (size,) array, ms, > 0
    tau_syn : float, (size,) array, or tuple (excitatory, inhibitory), or None for delta synapses; ms, > 0.
        With a tuple, weights >= 0 feed the excitatory current and weights < 0 the inhibitory one.
    v_th, v_reset, v_rest, bias : float or (size,) array; v_reset < v_th
    t_ref : float or (size,) array, ms, >= 0
    v_init : float, (size,) array or None (= v_rest). A neuron with v_init >= v_th fires at t = 0.
    keep_refractory_input : delta synapses only. False: kicks during refractoriness are lost. True: they
        decay with tau_m and are added to v_reset at release.

    Arrays are copied and read-only, numbers are kept as float. Times may carry a unit and are converted to ms;
    potentials have none. Two are equal (``==``) if all their values are.

    Raises
    ------
    ValueError : a parameter that is no number, not finite, out of the range above, or a potential with a unit; arrays
        of different lengths; a list of two for ``tau_syn``, which could be either of the two meanings.
    """

    tau_m: Any = 20.0
    tau_syn: Any = 5.0
    v_th: Any = 1.0
    v_reset: Any = 0.0
    v_rest: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    v_init: Any = None
    keep_refractory_input: bool = False

    def __post_init__(self) -> None:
        for name in ("tau_m", "v_th", "v_reset", "v_rest", "t_ref", "bias"):
            self._own(name, "ms" if name in ("tau_m", "t_ref") else None)
        if self.v_init is not None:
            self._own("v_init", None)
        self._own_tau_syn()
        if not isinstance(self.keep_refractory_input, (bool, np.bool_)):
            raise InputError(f"keep_refractory_input must be True or False; got {self.keep_refractory_input!r}.")
        object.__setattr__(self, "keep_refractory_input", bool(self.keep_refractory_input))
        _positive("tau_m", self.tau_m)
        for name, tau in zip(("tau_syn", "tau_syn (inhibitory)"), self.receptor_taus()):
            _positive(name, tau)
        if np.any(np.asarray(self.t_ref) < 0):
            raise InputError(f"t_ref must be >= 0 ms; got {self.t_ref!r}. Use 0 for no refractory period.")
        self._check_lengths()
        if np.any(np.asarray(self.v_reset) >= np.asarray(self.v_th)):
            raise InputError(
                f"v_reset must be below v_th, or the neuron would fire without end; got v_reset = "
                f"{self.v_reset!r}, v_th = {self.v_th!r}."
            )

    def _own(self, name: str, unit: str | None) -> None:
        object.__setattr__(self, name, _parameter(name, getattr(self, name), unit))

    def _own_tau_syn(self) -> None:
        tau = self.tau_syn
        if tau is None:
            return
        if isinstance(tau, list) and len(tau) == 2:
            a, b = tau
            raise InputError(
                f"tau_syn = {tau!r} could mean two things. Write the tuple ({a!r}, {b!r}) for an excitatory and an "
                f"inhibitory time constant, or np.array([{a!r}, {b!r}]) for one of each of two neurons."
            )
        if isinstance(tau, tuple):
            if len(tau) != 2:
                raise InputError(f"tau_syn as a tuple must be (excitatory, inhibitory); got {len(tau)} values.")
            names = "tau_syn (excitatory)", "tau_syn (inhibitory)"
            object.__setattr__(self, "tau_syn", tuple(_parameter(n, t, "ms") for n, t in zip(names, tau)))
        else:
            self._own("tau_syn", "ms")

    def _check_lengths(self) -> None:
        lengths = [(name, v.size) for name, v in self._parameters() if isinstance(v, np.ndarray)]
        if len({n for _, n in lengths}) > 1:
            said = ", ".join(f"{name} has {n}" for name, n in lengths)
            raise InputError(f"arrays of parameters must have one value for each neuron, equally many; {said}.")

    def _parameters(self) -> Iterator[tuple[str, Any]]:
        """All parameters by name, a pair of time constants one by one."""
        for f in fields(self):
            value = getattr(self, f.name)
            for part in value if isinstance(value, tuple) else (value,):
                yield f.name, part

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LIF):
            return NotImplemented
        pairs = zip(self._parameters(), other._parameters())
        return len(self.receptor_taus()) == len(other.receptor_taus()) and all(
            (a is None) == (b is None) and np.array_equal(a, b) for (_, a), (_, b) in pairs
        )

    def __hash__(self) -> int:
        # Arrays of equal values differ in nothing but their bytes, and in the sign of 0, hence a sum.
        values = (v for _, v in self._parameters())
        return hash(tuple((v.size, float(v.sum())) if isinstance(v, np.ndarray) else v for v in values))

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={_short_parameter(getattr(self, f.name))}" for f in fields(self))
        return f"LIF({shown})"

    def receptor_taus(self) -> tuple[Any, ...]:
        """Time constants of the synaptic currents: () for delta, one, or (excitatory, inhibitory)."""
        if self.tau_syn is None:
            return ()
        return self.tau_syn if isinstance(self.tau_syn, tuple) else (self.tau_syn,)

    def with_(self, **changes: Any) -> LIF:
        """A copy with some parameters replaced."""
        return replace(self, **changes)

    def asdict(self) -> dict[str, Any]:
        """Parameters by name, for saving."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _parameter(name: str, value: Any, unit: str | None) -> Any:
    v = numbers(name, value, unit=unit)
    if np.ndim(v) > 1:
        raise InputError(f"{name} must be a number or one number per neuron; got shape {v.shape}.")
    return v


def _positive(name: str, value: Any) -> None:
    if np.any(np.asarray(value) <= 0):
        raise InputError(f"{name} must be > 0 ms; got {value!r}.")


def _short_parameter(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short_parameter, value))})"
    if isinstance(value, np.ndarray):
        return f"<{value.size:,} from {value.min():g} to {value.max():g}>" if value.size else "<none>"
    return repr(value)


def one_tau_each(neuron: LIF) -> bool:
    """Do all neurons of a population share each time constant? Then they can share the factors of a flow, too."""
    return all(np.unique(np.asarray(tau)).size == 1 for tau in (neuron.tau_m, *neuron.receptor_taus()))

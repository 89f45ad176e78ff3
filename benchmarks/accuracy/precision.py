"""Spikes of the compiled engine against a replay with 50 digits.

Random single-neuron trials over tau_m / tau_syn = 0.1 ... 100 (with 1, 1 +- 1e-12, 1 +- 1e-8 and 2), one and
two receptors and delta synapses, bias of either sign (also above threshold), refractoriness; then small
random recurrent networks. Counts missed and invented spikes and gives the worst time error in ms and in
units of eps * condition, where the contract is 4 (exit status 1 if it is broken). Trials closer than 1e-9
to grazing are counted apart.

    python benchmarks/accuracy/precision.py --trials 10000 --seed 0
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mpmath
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import ROOT, arguments, machine
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeTrains
from evsim.testing.oracle import Replay, replay_network, replay_neuron
from evsim.testing.strategies import peak_of_unit_psp

sys.path.insert(0, str(ROOT / "tests"))

from helpers.reference import simulate_twin

EPS = 2.0**-52
CONTRACT_UNITS = 4.0
CONTRACT_MS = 1e-11
GRAZING = 1e-9
SAME_SPIKE = 1e-6
"""Spikes closer than this (ms) are taken for the same one."""
T_STOP = 60.0
LAST_INPUT = 45.0

RATIO_CLASSES = ("0.1 - 1", "1", "1 +- 1e-12", "1 +- 1e-8", "2", "1 - 10", "10 - 100")
NETWORK_SIZE, NETWORK_INPUTS = 10, 4


@dataclass
class Trial:
    """One neuron with its input: weights[k] arrives at times[k] (ms, ascending)."""

    name: str
    lif: LIF
    times: np.ndarray
    weights: np.ndarray


@dataclass
class NetworkTrial:
    """All-to-all recurrent network: (pre, post) arrays of weights and of delays in ms."""

    neurons: list[LIF]
    weight_in: np.ndarray
    delay_in: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    inputs: SpikeTrains

    def arguments(self) -> tuple:
        """What `simulate_twin` and `replay_network` take."""
        weights = np.vstack([self.weight_in, self.weight])
        delays = np.vstack([self.delay_in, self.delay])
        synapses = [(s, t, float(weights[s, t]), float(delays[s, t])) for s, t in np.ndindex(weights.shape)]
        spikes = [(float(t), int(k)) for t, k in zip(self.inputs.times, self.inputs.neurons)]
        return self.neurons, synapses, spikes, NETWORK_INPUTS, T_STOP


@dataclass
class Row:
    """Findings on one class of trials."""

    trials: int = 0
    grazing: int = 0
    spikes: int = 0
    missed: int = 0
    invented: int = 0
    worst_units: float = 0.0
    worst_ms: float = 0.0
    worst_trial: int = -1

    def add(self, number: int, found: Sequence[float], truth: Replay) -> None:
        """Compare one trial: both lists ascending in time."""
        self.trials += 1
        if truth.margin < GRAZING:
            self.grazing += 1
            return
        self.spikes += len(truth)
        a = b = 0
        while a < len(found) or b < len(truth):
            error = mpmath.inf if a == len(found) else -mpmath.inf
            if a < len(found) and b < len(truth):
                error = mpmath.mpf(found[a]) - truth[b].time
            if abs(error) <= SAME_SPIKE:
                self._add_error(number, float(abs(error)), truth[b].condition)
                a, b = a + 1, b + 1
            elif error < 0:
                self.invented, a = self.invented + 1, a + 1
            else:
                self.missed, b = self.missed + 1, b + 1

    def _add_error(self, number: int, error: float, condition: float) -> None:
        self.worst_ms = max(self.worst_ms, error)
        units = error / (EPS * condition) if error > 0.0 else 0.0
        if units > self.worst_units:
            self.worst_units = units
            self.worst_trial = number


# ------------------------------------------------------------------------------------------- random trials


def random_ratio(rng: np.random.Generator, name: str) -> float:
    """tau_m / tau_syn of a class."""
    sign = rng.choice([-1.0, 1.0])
    return {
        "0.1 - 1": 10.0 ** rng.uniform(-1.0, 0.0),
        "1": 1.0,
        "1 +- 1e-12": 1.0 + sign * 1e-12,
        "1 +- 1e-8": 1.0 + sign * 1e-8,
        "2": 2.0,
        "1 - 10": 10.0 ** rng.uniform(0.0, 1.0),
        "10 - 100": 10.0 ** rng.uniform(1.0, 2.0),
    }[name]


def random_lif(rng: np.random.Generator, ratios: Sequence[float]) -> LIF:
    """Scalar parameters with one receptor per ratio tau_m / tau_syn (none: delta synapses)."""
    tau_m = float(rng.choice([10.0, 20.0, 4.0 * 10.0 ** rng.uniform()]))
    taus = tuple(tau_m / ratio for ratio in ratios)
    v_rest = float(rng.choice([0.0, 0.0, -0.5, 0.25]))
    reach = float(rng.choice([1.0, rng.uniform(0.5, 2.0)]))
    share = float(rng.choice([0.0, rng.uniform(-1.0, 0.9), rng.uniform(1.02, 2.0)], p=[0.4, 0.4, 0.2]))
    return LIF(
        tau_m=tau_m,
        tau_syn={0: None, 1: taus[0] if taus else None, 2: taus}[len(taus)],
        v_th=v_rest + reach,
        v_reset=v_rest + reach * float(rng.choice([0.0, rng.uniform(-1.0, 0.8)])),
        v_rest=v_rest,
        t_ref=float(rng.choice([0.0, 2.0, rng.uniform(0.1, 4.0)])),
        bias=share * reach,
        keep_refractory_input=not taus and bool(rng.integers(2)),
    )


def random_weights(rng: np.random.Generator, lif: LIF, size: int, scale: float) -> np.ndarray:
    """Weights whose lone effect is of the order of scale * (v_th - v_rest); one in four is inhibitory."""
    strength = scale * (lif.v_th - lif.v_rest) / peak_of_unit_psp(lif) * 2.0 ** rng.normal(size=size)
    return np.where(rng.random(size) < 0.75, strength, -strength)


def random_trial(rng: np.random.Generator, number: int) -> Trial:
    """Trial of a class that goes round with the number; 1-12 inputs, some at equal times."""
    names = [*RATIO_CLASSES, *RATIO_CLASSES, ""]
    k = number % len(names)
    if not names[k]:
        name, ratios = "delta", []
    elif k < len(RATIO_CLASSES):
        name, ratios = f"one receptor, {names[k]}", [random_ratio(rng, names[k])]
    else:
        name = f"two receptors, {names[k]}"
        ratios = [random_ratio(rng, names[k]), random_ratio(rng, str(rng.choice(RATIO_CLASSES)))]
    lif = random_lif(rng, ratios)
    n = int(rng.integers(1, 13))
    times = rng.uniform(0.0, LAST_INPUT, size=n)
    on_grid = rng.random(n) < 0.2
    times[on_grid] = np.floor(times[on_grid])
    return Trial(name, lif, np.sort(times), random_weights(rng, lif, n, 0.7))


def random_network(rng: np.random.Generator, number: int) -> NetworkTrial:
    """Ten neurons with delta synapses, one or two receptors in turn; delays of 0.5-5 ms."""
    receptors = number % 3
    neurons = []
    for _ in range(NETWORK_SIZE):
        names = rng.choice(RATIO_CLASSES, size=receptors)
        lif = random_lif(rng, [random_ratio(rng, str(name)) for name in names])
        neurons.append(lif.with_(t_ref=max(lif.t_ref, 0.5), keep_refractory_input=False))
    weight_in = np.stack([random_weights(rng, lif, NETWORK_INPUTS, 0.7) for lif in neurons], axis=1)
    weight = np.stack([random_weights(rng, lif, NETWORK_SIZE, 0.15) for lif in neurons], axis=1)
    n_spikes = 40
    inputs = SpikeTrains(
        rng.uniform(0.0, LAST_INPUT, n_spikes), rng.integers(0, NETWORK_INPUTS, n_spikes), NETWORK_INPUTS
    )
    delay_in = rng.uniform(0.5, 5.0, weight_in.shape)
    delay = rng.uniform(0.5, 5.0, weight.shape)
    return NetworkTrial(neurons, weight_in, delay_in, weight, delay, inputs)


# ------------------------------------------------------------------------------------------------- engines


def run_neuron(engine: str, trial: Trial) -> Sequence[float]:
    """Spike times (ms) of the neuron by an engine: "twin" or a driver of evsim."""
    n = trial.times.size
    if engine == "twin":
        synapses = [(k, 0, float(w), 0.0) for k, w in enumerate(trial.weights)]
        spikes = [(float(t), k) for k, t in enumerate(trial.times)]
        return [t for t, _ in simulate_twin([trial.lif], synapses, spikes, n, T_STOP)]
    import evsim

    net = evsim.Network()
    net.add_input("in", size=n)
    net.add_population("out", size=1, neuron=trial.lif)
    net.connect("in", "out", weight=trial.weights.reshape(n, 1), delay=0.0)
    inputs = SpikeTrains(trial.times, np.arange(n), size=n)
    return net.simulate(T_STOP, inputs={"in": inputs}, driver=engine)["out"].times


def run_network(engine: str, trial: NetworkTrial) -> list[tuple[float, int]]:
    """(time in ms, neuron), sorted, of the network by an engine: "twin" or a driver of evsim."""
    if engine == "twin":
        return simulate_twin(*trial.arguments())
    import evsim

    net = evsim.Network()
    net.add_input("in", size=NETWORK_INPUTS)
    # A population for each neuron: the window engine needs one set of time constants in each.
    for k, neuron in enumerate(trial.neurons):
        net.add_population(f"out {k}", size=1, neuron=neuron)
    for k in range(NETWORK_SIZE):
        mine = slice(k, k + 1)
        net.connect("in", f"out {k}", weight=trial.weight_in[:, mine], delay=trial.delay_in[:, mine])
        for j in range(NETWORK_SIZE):
            net.connect(f"out {j}", f"out {k}", weight=trial.weight[j, k], delay=trial.delay[j, k])
    rec = net.simulate(T_STOP, inputs={"in": trial.inputs}, driver=engine)
    return sorted((t, k) for k in range(NETWORK_SIZE) for t in rec[f"out {k}"].times.tolist())


# -------------------------------------------------------------------------------------------------- report


def print_table(engine: str, rows: dict[str, Row]) -> None:
    """One line per class of trials, and their union."""
    header = ("trials", "grazing", "spikes", "missed", "invented", "err/(eps cond)", "err/ms")
    print(f"\nengine {engine}\n{'tau_m / tau_syn':<28}" + "".join(f"{h:>15}" for h in header))
    total = Row()
    for row in rows.values():
        for name in ("trials", "grazing", "spikes", "missed", "invented"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        total.worst_units = max(total.worst_units, row.worst_units)
        total.worst_ms = max(total.worst_ms, row.worst_ms)
    for name, row in [*sorted(rows.items()), ("all", total)]:
        counts = (row.trials, row.grazing, row.spikes, row.missed, row.invented)
        line = f"{name:<28}" + "".join(f"{c:>15}" for c in counts)
        worst = f"   (trial {row.worst_trial})" if row.worst_trial >= 0 else ""
        print(f"{line}{row.worst_units:>15.3g}{row.worst_ms:>15.2e}{worst}")


def check_neurons(engines: Sequence[str], trials: int, seed: int) -> bool:
    """Single-neuron trials, one table per engine; True if all keep the contract.

    Trial k depends on the seed and k alone.
    """
    tables: dict[str, dict[str, Row]] = {engine: {} for engine in engines}
    started = time.perf_counter()
    for number in range(trials):
        trial = random_trial(np.random.default_rng([seed, number]), number)
        arrivals = list(zip(trial.times.tolist(), trial.weights.tolist()))
        truth = replay_neuron(trial.lif, arrivals, T_STOP)
        for engine in engines:
            row = tables[engine].setdefault(trial.name, Row())
            row.add(number, run_neuron(engine, trial), truth)
        if (number + 1) % 500 == 0:
            print(f"{number + 1} trials, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    for engine in engines:
        print_table(engine, tables[engine])
    rows = [row for table in tables.values() for row in table.values()]
    return all(row.missed == row.invented == 0 and row.worst_units <= CONTRACT_UNITS for row in rows)


def check_networks(engine: str, networks: int, seed: int) -> bool:
    """Recurrent networks: same spikes in the same order, and the worst time error; True if all is well."""
    compared = spikes = grazing = different = 0
    worst = 0.0
    for number in range(networks):
        trial = random_network(np.random.default_rng([seed, number, 1]), number)
        truth = replay_network(*trial.arguments())
        found = run_network(engine, trial)
        if truth.margin < GRAZING:
            grazing += 1
            continue
        compared += 1
        spikes += len(truth)
        if [k for _, k in found] != [k for _, k in truth]:
            different += 1
            continue
        errors = [float(abs(mpmath.mpf(t) - exact)) for (t, _), (exact, _) in zip(found, truth)]
        worst = max(worst, *errors, 0.0)
    print(f"\nrecurrent networks of {NETWORK_SIZE} neurons, {T_STOP} ms, engine {engine}:")
    print(f"{compared} compared ({grazing} grazing apart), {spikes} spikes, {different} with other spikes or")
    print(f"another order, worst error {worst:.2e} ms")
    return different == 0 and worst <= CONTRACT_MS


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="single-neuron trials")
    parser.add_argument("--networks", type=int, default=20, help="recurrent networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["twin", "queue", "window", "sweep"], action="append", default=None,
                        help="may be repeated; default: queue, window and sweep")  # fmt: skip
    options = parser.parse_args()
    engines = options.engine or ["queue", "window", "sweep"]
    print(machine())
    kept = check_neurons(engines, options.trials, options.seed)
    for engine in engines:
        if engine != "sweep":
            kept = check_networks(engine, options.networks, options.seed) and kept
    if not kept:
        sys.exit("the exactness contract was broken: see the tables above")


if __name__ == "__main__":
    main()

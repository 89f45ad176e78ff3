"""How far ST-RSBP's gradient is from the derivative of mean spike counts, by slopes and credit, and what a solve costs.

Small recurrent layers with Poisson inputs. Counts have no derivative, their means over input noise do: central
differences of sum_l g_l o_l, averaged over many inputs (the same ones on both sides), for all weights from three
inputs and three neurons. Beside it the mean of the rule's gradients over the same inputs. Then seconds of CPU per
solve against n. Figure: docs/figures/st_rsbp_agreement.png.

python benchmarks/questions/st_rsbp_agreement.py --networks 5 --draws 600
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.linalg import LinearOperator, gmres

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim import encode
from evsim.learning import STRSBP, Recurrent
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch

T, N_IN, N, ROWS, STEP = 200.0, 8, 10, 3, 0.06
OFF = {"silent_psp": 0.0, "silent_ratio": 0.0, "fake_target_train": False}
RULES = {
    "regular, adjoint": STRSBP(**OFF),
    "poisson, adjoint": STRSBP("poisson", **OFF),
    "intervals, adjoint": STRSBP("intervals", **OFF),
    "published slopes, adjoint": STRSBP("published", **OFF),
    "regular, 2 hops": STRSBP(hops=2, **OFF),
    "regular, 0 hops": STRSBP(hops=0, **OFF),
    "regular, published credit": STRSBP(credit="published", **OFF),
    "published slopes and credit": STRSBP("published", "published", least_diagonal=1e-4, **OFF),
}


def layer_of(seed: int, strength: float) -> tuple[Recurrent, np.ndarray]:
    """A recurrent layer whose neurons spike some 5 to 15 times, and a signal."""
    rng = np.random.default_rng([seed, 1])
    layer = Recurrent(N_IN, N, LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0), recurrent_delay=1.0)
    layer.weight = rng.normal(0.6, 0.5, (N_IN, N))
    layer.recurrent_weight = rng.normal(0.0, strength, (N, N)) / np.sqrt(N)
    return layer, rng.normal(0.0, 1.0, N)


def difference(layer: Recurrent, inputs: SpikeBatch, signal: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Central differences of the mean of signal . counts by the weights from the first senders of ``array``."""
    out = np.empty((ROWS, N))
    for place in np.ndindex(*out.shape):
        before, means = array[place], []
        for change in (STEP, -STEP):
            array[place] = before + change
            means.append((layer.forward(inputs, T).counts() @ signal).mean())
        array[place] = before
        out[place] = (means[0] - means[1]) / (2 * STEP)
    return out


def agreement(seed: int, strength: float, draws: int) -> dict[str, list[float]]:
    """Cosine and scale of each rule, by input and by recurrent weights; "differences" holds two halves' cosine."""
    layer, signal = layer_of(seed, strength)
    inputs = encode.poisson(np.full((draws, N_IN), 60.0), T, seed=seed, keys=np.arange(draws), epoch=0)
    outputs = layer.forward(inputs, T)
    arrays = {"weight": layer.weight, "recurrent_weight": layer.recurrent_weight}
    parts = [inputs.take(np.arange(0, draws, 2)), inputs.take(np.arange(1, draws, 2))]
    halves = [{k: difference(layer, half, signal, a) for k, a in arrays.items()} for half in parts]
    found: dict[str, list[float]] = {"halves of the differences": []}
    for key in arrays:
        found["halves of the differences"] += alike(halves[0][key], halves[1][key])
    for name, rule in RULES.items():
        gradients, _ = rule.backward(layer, inputs, outputs, np.tile(signal, (draws, 1)), T)
        found[name] = []
        for key in arrays:
            found[name] += alike(gradients[key][:ROWS] / draws, 0.5 * (halves[0][key] + halves[1][key]))
    return found


def alike(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Cosine, and <a, b>/<b, b>."""
    a, b = a.ravel(), b.ravel()
    return [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), float(a @ b / (b @ b))]


def solve_times(sizes: list[int]) -> list[tuple[int, float, float, float]]:
    """n, and milliseconds of CPU of the LU solve, of two hops and of GMRES to 1e-6, on a random stable system."""
    rng, rows = np.random.default_rng(0), []
    for n in sizes:
        feedback = rng.normal(0.0, 0.4, (n, n)) / np.sqrt(n)
        a, g = np.asfortranarray(np.eye(n) - feedback), rng.normal(0.0, 1.0, n)
        operator = LinearOperator((n, n), matvec=lambda x, a=a: a @ x)

        def hops(f: np.ndarray = feedback, g: np.ndarray = g) -> np.ndarray:
            one = f @ g
            return g + one + f @ one

        def iterate(o: LinearOperator = operator, g: np.ndarray = g) -> None:
            gmres(o, g, rtol=1e-6)

        def direct(a: np.ndarray = a, g: np.ndarray = g) -> None:
            lapack.dgesv(a, g)

        rows.append((n, *(_best(f) for f in (direct, hops, iterate))))
    return rows


def _best(work: object) -> float:
    """Milliseconds of CPU, the least of some tries."""
    tries = []
    for _ in range(7):
        began = time.process_time()
        for _ in range(5):
            work()  # type: ignore[operator]
        tries.append((time.process_time() - began) / 5 * 1e3)
    return min(tries)


def main() -> None:
    """Print the tables and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.5, 1.5])
    parser.add_argument("--figure", type=Path, default=FIGURES / "st_rsbp_agreement.png")
    args = parser.parse_args()
    print(machine())
    tables = {}
    for strength in args.strengths:
        rows = [agreement(seed, strength, args.draws) for seed in range(1, args.networks + 1)]
        tables[strength] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        print(f"recurrent strength {strength}, {args.networks} networks, mean +- sd; scale of input weights' gradient")
        print(f"{'':27s} {'cosine, input w':>18s} {'cosine, recurrent w':>20s} {'scale':>14s}")
        for name, v in tables[strength].items():
            mean, sd = v.mean(axis=0), v.std(axis=0, ddof=1)
            print(f"{name:27s}   {mean[0]:6.3f} +- {sd[0]:.3f}    {mean[2]:6.3f} +- {sd[2]:.3f}"
                  f"   {mean[1]:5.2f} +- {sd[1]:.2f}", flush=True)  # fmt: skip
    print("n, ms of CPU: LU, two hops, GMRES")
    for row in solve_times([50, 100, 200, 400]):
        print("{:5d} {:8.3f} {:8.3f} {:8.3f}".format(*row))
    draw(tables, args.figure)


def draw(tables: dict[float, dict[str, np.ndarray]], path: Path) -> None:
    """Cosines by rule, input and recurrent weights side by side; a bar is the mean, dots are networks."""
    figure, panels = plt.subplots(1, len(tables), figsize=(9.5, 3.6), sharey=True, squeeze=False)
    for axes, (strength, table) in zip(panels[0], tables.items()):
        for k, v in enumerate(table.values()):
            for column, shift, colour in ((0, -0.2, "C0"), (2, 0.2, "C1")):
                axes.barh(k + shift, v[:, column].mean(), 0.38, color=colour, alpha=0.5)
                axes.plot(v[:, column], np.full(len(v), k + shift), ".", color=colour, markersize=4)
        axes.set_yticks(range(len(table)), list(table))
        axes.set(xlabel="cosine with differences of mean counts", title=f"recurrent strength {strength}", xlim=(0, 1))
    panels[0, 0].invert_yaxis()
    handles = [plt.Rectangle((0, 0), 1, 1, color=c, alpha=0.5) for c in ("C0", "C1")]
    panels[0, 0].legend(handles, ["input weights", "recurrent weights"], fontsize=8, loc="lower left")
    save(figure, path)


if __name__ == "__main__":
    main()

"""Every rule beside the gradient of the mean loss: noise from none to Poisson, depths, rates; and who learns faster.

Networks of 10 inputs, 1 to 4 hidden layers of 10 neurons and an integral readout of 5 classes. Each class has a rate
for each input. Noise: trains of a class are fixed and every spike is moved by N(0, sigma^2) (sigma 0: one input for
each class), or drawn anew in every sample (Poisson). The reference is `mean_gradient`: central differences of the mean
loss on common draws; cosine and norm are corrected for noise and have jackknife errors. Learning: from the same start
every rule trains with Adam for 60 batches of 20 samples, at three step sizes; its figure is the mean loss over the last
third of the batches at the best of them.

One row for each network, rule and layer in the CSV; a row that is there is not computed again.

python benchmarks/questions/mean_gradient_study.py --processes 2
python benchmarks/questions/mean_gradient_study.py --figure-only
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, RESULTS, arguments, machine, write_csv
from drawing import plt, save
from evsim import LIF, encode
from evsim.learning import (
    HM2BP,
    STLLR,
    STRSBP,
    TSSLBP,
    Adam,
    Dense,
    EventProp,
    RateBased,
    Readout,
    Sequential,
    TrainingOptions,
    VoltageCrossEntropy,
    calibrate,
    ottt,
)
from evsim.learning.baselines.grid import SurrogateBPTT
from evsim.learning.checks.mean_gradient import Draw, by_rule, compare_means, expected_gradient, mean_gradient
from evsim.spikes import SpikeBatch

T, WIDTH, CLASSES = 50.0, 10, 5
LOSS = VoltageCrossEntropy(scale=0.1)
RULES: dict[str, Any] = {
    "EventProp": EventProp(min_slope=0.05),
    "HM2-BP": HM2BP(),
    "HM2-BP, mean-field factor": HM2BP(micro="meanfield"),
    "ST-RSBP": STRSBP(),
    "ST-RSBP, own intervals": STRSBP(slopes="intervals"),
    "rate-based": RateBased(),
    "rate-based, diffusion": RateBased(estimator="diffusion"),
    "TSSL-BP, steps": TSSLBP(silent="steps"),
    "S-TLLR, a_post -1": STLLR(a_post=-1.0),
    "S-TLLR, a_post +1": STLLR(a_post=1.0),
    "OTTT": ottt(),
    "surrogate BPTT, 1 ms": SurrogateBPTT(dt=1.0),
}
COLUMNS = (
    "depth", "noise", "count", "seed", "rule", "layer", "cosine", "cosine_error", "norm_ratio", "norm_ratio_error",
    "loss_before", "loss_after", "rate", "draws", "reference_noise",
)  # fmt: skip
BATCHES, BATCH, RATES = 60, 20, (0.01, 0.03, 0.1)


@dataclass(frozen=True)
class Point:
    """One network. noise : ms of jitter, or inf for Poisson; count : mean spikes of a hidden neuron in a sample"""

    depth: int
    noise: float
    count: float
    seed: int


def points(seeds: int) -> list[Point]:
    """Noise at depth 2, depths with Poisson input, counts with Poisson input at depth 2."""
    found = []
    for seed in range(1, seeds + 1):
        found += [Point(2, noise, 3.0, seed) for noise in (0.0, 0.5, 2.0, 8.0, np.inf)]
        found += [Point(depth, np.inf, 3.0, seed) for depth in (1, 3, 4)]
        found += [Point(2, np.inf, count, seed) for count in (0.7, 8.0)]
    return found


def make_model(point: Point) -> Sequential:
    """Weights N(0.2, 0.5^2), thresholds such that every hidden layer has the wanted mean count on Poisson input."""
    lif = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0)
    hidden = [Dense(WIDTH, WIDTH, lif) for _ in range(point.depth)]
    model = Sequential(*hidden, Readout(WIDTH, CLASSES, lif, feature="integral"))
    model.init(point.seed, scale=[0.5] * point.depth + [0.5], mean=[0.2] * point.depth + [0.0])
    options = TrainingOptions(duration=T, max_rate=80.0, seed=point.seed)
    calibrate(Sequential(*hidden), np.ones((60, WIDTH)), options, [point.count] * point.depth, 60)
    return model


def make_draw(point: Point) -> Draw:
    """Draw k: a sample of class k modulo CLASSES."""
    rates = np.random.default_rng([point.seed, 5]).uniform(20.0, 140.0, (CLASSES, WIDTH))
    fixed = encode.poisson(rates, T, seed=point.seed)

    def draw(numbers: np.ndarray) -> tuple[SpikeBatch, np.ndarray]:
        labels = numbers % CLASSES
        if np.isinf(point.noise):
            return encode.poisson(rates[labels], T, seed=point.seed, keys=numbers, epoch=1), labels
        base = fixed.take(labels)
        if point.noise == 0.0:
            return base, labels
        moves = [
            np.random.default_rng([point.seed, 6, int(k)]).normal(0.0, point.noise, n)
            for k, n in zip(numbers, np.diff(base.offsets))
        ]
        times = np.abs(base.times + np.concatenate(moves))
        times = np.minimum(times, 2.0 * T - times)
        order = np.lexsort((base.neurons, times, base.samples()))
        return SpikeBatch(times[order], base.neurons[order], base.offsets, WIDTH), labels

    return draw


def learning(point: Point, rule: Any, rate: float) -> tuple[float, float]:
    """Mean loss of the exact network before training, and over the last third of the batches."""
    model, draw = make_model(point), make_draw(point)
    gradients, adam = by_rule(model, rule, LOSS, T), Adam()
    arrays = [array for _, array in model.parameters()]
    losses = []
    for batch in range(BATCHES):
        inputs, labels = draw(10_000_000 + np.arange(batch * BATCH, (batch + 1) * BATCH))
        losses.append(float(LOSS(model.forward(inputs, T)[-1], labels)[0].mean()))
        adam.step(arrays, gradients(inputs, labels), rate)
    return losses[0], float(np.mean(losses[-BATCHES // 3 :]))


def study(job: tuple[Point, float, int]) -> list[dict[str, Any]]:
    """All rows of a network."""
    point, precision, most = job
    model, draw = make_model(point), make_draw(point)
    # Without noise the mean loss has jumps, which only a small step leaves out.
    step = 0.05 if point.noise > 0.0 else 1e-5
    reference = mean_gradient(model, LOSS, draw, T, step=step, precision=precision, most_draws=most)
    rows = []
    for name, rule in RULES.items():
        mine = expected_gradient(model, by_rule(model, rule, LOSS, T), draw, draws=reference.draws)
        before, after, rate = min(
            ((*learning(point, rule, rate), rate) for rate in RATES), key=lambda found: found[1]
        )
        for row in compare_means(mine, reference):
            rows.append({
                "depth": point.depth, "noise": point.noise, "count": point.count, "seed": point.seed, "rule": name,
                "layer": row.layer, "cosine": row.cosine, "cosine_error": row.cosine_error,
                "norm_ratio": row.norm_ratio, "norm_ratio_error": row.norm_ratio_error, "loss_before": before,
                "loss_after": after, "rate": rate, "draws": reference.draws,
                "reference_noise": reference.noise(None if row.layer < 0 else row.layer),
            })  # fmt: skip
    return rows


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of the CSV, numbers as numbers; a row cut short by a kill is left out with its network."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        rows = [row for row in lines if None not in row.values() and None not in row]
    for row in rows:
        for key in COLUMNS:
            if key != "rule":
                row[key] = float(row[key])
    wanted = {}
    for row in rows:
        wanted.setdefault((row["depth"], row["noise"], row["count"], row["seed"]), []).append(row)
    return [r for (depth, *_), found in wanted.items() for r in found if len(found) == len(RULES) * (int(depth) + 2)]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The whole CSV, six digits."""
    shown = [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    write_csv(path, COLUMNS, shown)


def mean_and_error(values: list[float]) -> str:
    """Over networks: mean and standard error of the mean."""
    x = np.array(values, dtype=float)
    x = x[np.isfinite(x)]
    return f"{x.mean():6.3f} +- {x.std(ddof=1) / np.sqrt(x.size):5.3f}" if x.size > 1 else "   -"


def hidden(rows: list[dict[str, Any]], **fixed: float) -> dict[str, list[dict[str, Any]]]:
    """Rows of the hidden layers, by rule, where some columns have given values."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RULES}
    for row in rows:
        if 0 <= row["layer"] < row["depth"] and all(row[k] == v for k, v in fixed.items()):
            found[row["rule"]].append(row)
    return found


def table(rows: list[dict[str, Any]]) -> None:
    """Print cosine and norm of the first layer, and learning."""
    for title, name, values, fixed in PANELS:
        print(f"\n{title}: first layer, cosine and norm by the mean gradient, mean loss after training")
        print(f"{'':27s}" + "".join(f"{f'{name} {v:g}':>40s}" for v in values))
        for rule in RULES:
            cells = []
            for v in values:
                some = [r for r in hidden(rows, **{**fixed, name: v})[rule] if r["layer"] == 0]
                cells.append(" ".join(mean_and_error([r[k] for r in some]) for k in ("cosine", "norm_ratio"))
                             + f" {np.mean([r['loss_after'] for r in some]):.3f}" if some else "-")  # fmt: skip
            print(f"{rule:27s}" + "".join(f"{c:>40s}" for c in cells))
    for which, least in PREDICTED.items():
        for kind, rho, low, high, n in prediction(rows, least):
            print(f"{which}: rank correlation of {kind} with the loss after training, within a network over rules: "
                  f"{rho:.2f} ({low:.2f} ... {high:.2f}, 95 % over {n} networks)")  # fmt: skip


def prediction(rows: list[dict[str, Any]], least_noise: float = 0.0) -> list[tuple[str, float, float, float, int]]:
    """Does agreement in the hidden layers predict learning? Rank correlation over rules in a network, then the mean.

    least_noise : networks with less noise are left out
    """
    networks: dict[tuple[float, ...], dict[str, list[dict[str, Any]]]] = {}
    for rule, some in hidden(rows).items():
        for row in some:
            key = row["depth"], row["noise"], row["count"], row["seed"]
            if row["noise"] >= least_noise:
                networks.setdefault(key, {}).setdefault(rule, []).append(row)
    out = []
    for kind, of in (
        ("the cosine", lambda r: r["cosine"]),
        ("the nearness of the norm to 1", lambda r: -abs(np.log(r["norm_ratio"]))),
    ):
        found = []
        for by_rule_rows in networks.values():
            agreement = [np.mean([of(r) for r in some]) for some in by_rule_rows.values()]
            loss = [some[0]["loss_after"] for some in by_rule_rows.values()]
            good = np.isfinite(agreement)
            found.append(spearmanr(np.array(agreement)[good], np.array(loss)[good]).statistic)
        values = np.array(found)[np.isfinite(found)]
        draws = np.random.default_rng(0).choice(values, (2000, values.size)).mean(axis=1)
        out.append((kind, float(values.mean()), *map(float, np.percentile(draws, [2.5, 97.5])), values.size))
    return out


PANELS = (
    ("Noise (ms of jitter; inf: Poisson)", "noise", (0.0, 0.5, 2.0, 8.0, np.inf), {"depth": 2, "count": 3.0}),
    ("Depth, Poisson input", "depth", (1, 2, 3, 4), {"noise": np.inf, "count": 3.0}),
    ("Mean count of a hidden neuron, Poisson input", "count", (0.7, 3.0, 8.0), {"noise": np.inf, "depth": 2}),
)


CASES: dict[str, tuple[int, float, float]] = {
    "no noise": (2, 0.0, 3.0), "jitter 0.5 ms": (2, 0.5, 3.0), "jitter 2 ms": (2, 2.0, 3.0),
    "jitter 8 ms": (2, 8.0, 3.0), "Poisson": (2, np.inf, 3.0), "depth 1": (1, np.inf, 3.0), "depth 3": (3, np.inf, 3.0),
    "depth 4": (4, np.inf, 3.0), "count 0.7": (2, np.inf, 0.7), "count 8": (2, np.inf, 8.0),
}  # fmt: skip
"""Columns of the summary: depth, noise, count."""
FIGURES_OF_A_CASE = {"cosine": "cosine", "norm": "norm_ratio", "loss": "loss_after"}
PREDICTED = {"all networks": 0.0, "networks with Poisson input": np.inf}


def write_summary(path: Path, rows: list[dict[str, Any]]) -> None:
    """A line for each rule and seed of networks: the first layer's figures in the cases that all seeds have."""
    first = {
        (r["rule"], int(r["seed"]), int(r["depth"]), r["noise"], r["count"]): r for r in rows if r["layer"] == 0.0
    }  # fmt: skip
    seeds = sorted({key[1] for key in first})
    every = [(rule, s) for rule in RULES for s in seeds]
    cases = {name: case for name, case in CASES.items() if all((*one, *case) in first for one in every)}
    names = [f"{kind}, {case}" for kind in FIGURES_OF_A_CASE for case in cases]
    lines = [
        [rule, s, *(f"{first[rule, s, *case][of]:.6g}" for of in FIGURES_OF_A_CASE.values() for case in cases.values())]
        for rule, s in every
    ]  # fmt: skip
    write_csv(path, ["rule", "seed", *names], lines)


def write_prediction(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rank correlations, their 95 % intervals, and the numbers of networks."""
    lines = [
        [which, kind, *(f"{v:.4f}" for v in values), n]
        for which, least in PREDICTED.items() for kind, *values, n in prediction(rows, least)
    ]  # fmt: skip
    write_csv(path, ["", "of", "rank correlation", "from", "to", "networks"], lines)


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """First layer's cosine and norm by noise, depth and count; learning against agreement."""
    fig, axes = plt.subplots(2, 4, figsize=(13.5, 6.2))
    colours = {name: f"C{k % 10}" for k, name in enumerate(RULES)}
    for column, (title, name, values, fixed) in enumerate(PANELS):
        for ax, key in zip(axes[:, column], ("cosine", "norm_ratio")):
            for k, rule in enumerate(RULES):
                cells = [
                    np.array([r[key] for r in hidden(rows, **{**fixed, name: v})[rule] if r["layer"] == 0])
                    for v in values
                ]
                mean = [np.nanmean(c) if c.size else np.nan for c in cells]
                error = [np.nanstd(c, ddof=1) / np.sqrt(c.size) if c.size > 1 else np.nan for c in cells]
                at = np.arange(len(values)) + 0.03 * (k - 5.5)
                ax.errorbar(at, mean, error, marker="o" if k < 10 else "s", ms=3, lw=1, color=colours[rule], label=rule,
                            ls="-" if k < 10 else "--")  # fmt: skip
            ax.set_xticks(range(len(values)), ["Poisson" if np.isinf(v) else f"{v:g}" for v in values])
            ax.set_ylabel("cosine" if key == "cosine" else "norm / norm of the mean gradient")
            if key == "norm_ratio":
                ax.set_yscale("log")
                ax.axhline(1.0, color="k", lw=0.6)
        axes[0, column].set_title(title, fontsize=9)
    for ax, key in zip(axes[:, 3], ("cosine", "norm_ratio")):
        for k, (rule, some) in enumerate(hidden(rows).items()):
            some = [r for r in some if r["layer"] == 0]
            x, y = [r[key] for r in some], [r["loss_after"] / r["loss_before"] for r in some]
            ax.scatter(x, y, s=8, color=colours[rule], marker="o" if k < 10 else "s")
        ax.set(xlabel=f"{key.replace('_', ' ')}, first layer", ylabel="loss after / before training")
        if key == "norm_ratio":
            ax.set_xscale("log")
    axes[0, 3].set_title("All networks", fontsize=9)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncol=6, fontsize=8)
    save(fig, path, rect=(0, 0.07, 1, 1))


def main() -> None:
    """Compute what is missing, print the tables, draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--precision", type=float, default=0.1, help="wanted noise of the reference, by layer")
    parser.add_argument("--most-draws", type=int, default=1600)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=RESULTS / "mean_gradient.csv")
    parser.add_argument("--figure", type=Path, default=FIGURES / "mean_gradient.png")
    parser.add_argument("--figure-only", action="store_true")
    args = parser.parse_args()
    print(machine())
    rows = read(args.csv)
    done = {(r["depth"], r["noise"], r["count"], r["seed"]) for r in rows}
    jobs = [
        (p, args.precision, args.most_draws)
        for p in points(args.seeds)
        if (p.depth, p.noise, p.count, p.seed) not in done and not args.figure_only
    ]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for found in pool.imap_unordered(study, jobs):
            rows += found
            write(args.csv, rows)
            print(f"{len(rows)} rows, draws {found[-1]['draws']}, noise {found[-1]['reference_noise']:.2f}", flush=True)
    table(rows)
    write_summary(args.csv.with_stem(f"{args.csv.stem}_summary"), rows)
    write_prediction(args.csv.with_stem(f"{args.csv.stem}_learning"), rows)
    figure(rows, args.figure)


if __name__ == "__main__":
    main()

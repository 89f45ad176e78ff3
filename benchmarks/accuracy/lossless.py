"""The lossless campaign: every engine before an independent judge, in adversarial regimes.

A judge with 31 digits (`evsim.testing.judge`: double-double, bisection with bounds of the second derivative, no formula
of the engines) finds every spike of every neuron, given its input. Regimes by name: `evsim.testing.regimes`. Missed
spikes, invented ones, errors beyond 4 eps condition, and the worst error, per regime and engine; exit status 1 if there
are any. Neurons that come within 2e-12 of grazing are judged up to there and counted.

    python benchmarks/accuracy/lossless.py --neurons 100000 --seed 1 --out lossless.csv
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, write_csv
from evsim.testing.regimes import DENSE, REGIMES

COLUMNS = ("engine", "regime", "neurons", "spikes", "grazing", "missed", "invented", "beyond", "worst")
SIZE = 250
"""Neurons of a case."""


def run_case(driver: str, name: str, seed: int, number: int) -> dict[str, Any]:
    """One case of a regime; it depends on (seed, regime, number) alone."""
    n = SIZE // 20 if name in DENSE else SIZE
    case = REGIMES[name](np.random.default_rng([seed, list(REGIMES).index(name), number]), n)
    v = case.judged(driver)
    return {
        "engine": driver, "regime": name, "neurons": n, "spikes": int(v.spikes.sum()),
        "grazing": int(v.grazing.sum()), "missed": int(v.missed.sum()), "invented": int(v.invented.sum()),
        "beyond": int(v.beyond.sum()), "worst": float(v.worst.max()),
    }  # fmt: skip


def merged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums of counts, the worst of errors."""
    total = dict(rows[0])
    for name in COLUMNS[2:-1]:
        total[name] = sum(row[name] for row in rows)
    total["worst"] = round(max(row["worst"] for row in rows), 3)
    return total


def run_regime(driver: str, name: str, seed: int, numbers: range) -> dict[str, Any]:
    """All cases of a regime."""
    return merged([run_case(driver, name, seed, k) for k in numbers])


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--neurons", type=int, default=100_000, help="of each engine, all regimes together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["queue", "sweep", "window"], action="append", default=None,
                        help="may be repeated; default: all three")  # fmt: skip
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="CSV file to write")
    options = parser.parse_args()
    cases = -(-options.neurons // (SIZE * len(REGIMES)))
    rows = []
    with ProcessPoolExecutor(options.processes) as pool:
        for driver in options.engine or ["queue", "sweep", "window"]:
            names = list(REGIMES)
            some = range(cases)
            count = len(names)
            found = pool.map(run_regime, [driver] * count, names, [options.seed] * count, [some] * count)
            mine = []
            for row in found:
                mine.append(row)
                print(", ".join(f"{k} {row[k]}" for k in COLUMNS), flush=True)
            rows += [*mine, {**merged(mine), "regime": "all"}]
            print(", ".join(f"{k} {rows[-1][k]}" for k in COLUMNS), flush=True)
    if options.out is not None:
        write_csv(options.out, COLUMNS, rows)
    bad = sum(row["missed"] + row["invented"] + row["beyond"] for row in rows)
    if bad:
        sys.exit("the contract was broken: see the table above")


if __name__ == "__main__":
    main()

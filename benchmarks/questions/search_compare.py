"""Step size and one more parameter of every rule of the MNIST comparison, by the same four trials (docs/compare.md).

Two step sizes (that of the shipped comparison, and three times it) times two values of another parameter: of a rule
that evsim varies, one of its own; of a rule as published, whose options the publication fixes, how much of the loss's
softmax is decided by one unit. Each trial trains on few samples with a seed that is not used again; the best validation
accuracy after the last epoch decides, the first of equal ones. ``evsim compare`` does the work, in --out, where it
continues after a kill; then a compare file with what was chosen is written:

python benchmarks/questions/search_compare.py --data-dir DIR --out runs/search
evsim compare docs/results/compare_mnist.toml --data-dir DIR --out runs/compare_mnist
python benchmarks/questions/search_compare.py --table runs/compare_mnist
"""

from __future__ import annotations

import copy
import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, ROOT, arguments, machine, write_csv
from evsim.cli.compare import compare_run
from evsim.text_files import read_toml

SHIPPED = ROOT / "docs" / "compare_mnist.toml"
COMMON: dict[str, Any] = {
    "hidden": [100], "weight_scale": [0.04, 0.4], "batch_size": 16, "epochs": 2, "train_size": 6500, "validation": 500,
    "test_size": 2000,
}  # fmt: skip
"""What the comparison changes of the shipped one."""
SEARCH: dict[str, Any] = {"train_size": 2000, "validation": 500, "test_size": 100}
CHOICE = 100
"""Seed of the trials."""
_SOFTMAX = [{"loss_options": {"scale": 0.05}}, {"loss_options": {"scale": 0.1}}]
_MOMENTS = [{"loss_options": {"scale": 1.0}}, {"loss_options": {"scale": 0.3}}]
_BATCHES: list[dict[str, Any]] = [{}, {"batch_size": 32}]
SECOND: dict[str, list[dict[str, Any]]] = {
    "EventProp": [{"rule_options": {"min_slope": 0.1}}, {"rule_options": {"min_slope": 0.5}}],
    "surrogate BPTT, 1 ms": [{"rule_options": {"slope": 4.0}}, {"rule_options": {"slope": 10.0}}],
    "TSSL-BP, published": _SOFTMAX,
    "TSSL-BP, virtual spikes": [{"rule_options": {"a": 0.2}}, {"rule_options": {"a": 0.4}}],
    "rate-based, published": _SOFTMAX,
    "rate-based, hard reset": [
        {"rule_options": {"estimator": "surrogate"}}, {"rule_options": {"estimator": "interval", "silent_share": 0.1}},
    ],
    "S-TLLR, published": _MOMENTS,
    "S-TLLR, a_post = 0": [{"rule_options": {"psi": "S2"}}, {"rule_options": {"psi": "S3"}}],
    "OTTT, published": _MOMENTS,
    "HM2-BP below a readout": [{"rule_options": {"micro": "paper"}}, {"rule_options": {"micro": "meanfield"}}],
    "ST-RSBP below a readout": [{"rule_options": {"slopes": "regular"}}, {"rule_options": {"slopes": "intervals"}}],
    "HM2-BP, published": [{"hidden_count": 4.0}, {"hidden_count": 8.0}],
    "HM2-BP, counts": [{"hidden_count": 2.0}, {"hidden_count": 4.0}],
    "ANN": _BATCHES,
    "linear": _BATCHES,
}  # fmt: skip


def trials(entry: dict[str, Any], common: dict[str, Any]) -> list[dict[str, Any]]:
    """The four variants of a run of the comparison."""
    rate = entry.get("rate", common["rate"])
    return [_merged(entry, {"rate": f * rate, **second}) for f in (1.0, 3.0) for second in SECOND[entry["label"]]]


def _merged(entry: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(entry)
    for name, value in changes.items():
        out[name] = {**out.get(name, {}), **value} if isinstance(value, dict) else value
    return out


def comparison() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The common options, and the runs with their first values."""
    shipped = read_toml(SHIPPED)
    entries = [copy.deepcopy(e) for e in shipped["run"] if e["label"] in SECOND]
    for entry in entries:
        if "hidden" in entry:
            entry["hidden"] = COMMON["hidden"]
    return {**shipped["common"], **COMMON}, entries


def write_toml(path: Path, comment: str, seeds: list[int], agreement: int, common: Any, runs: Iterable[Any]) -> None:
    """A file for ``evsim compare``."""
    lines = [*(f"# {line}".rstrip() for line in comment.splitlines()), f"seeds = {seeds}", f"agreement = {agreement}"]
    for title, table in [("[common]", common), *(("[[run]]", run) for run in runs)]:
        lines += ["", title, *(f"{name} = {_toml(value)}" for name, value in table.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(float(f"{value:g}") if isinstance(value, float) else value)


def search(out: Path, data_dir: str) -> dict[str, list[float]]:
    """Validation accuracies, percent, of the four trials of each run."""
    common, entries = comparison()
    asked = [{**t, "label": f"{e['label']} - {k}"} for e in entries for k, t in enumerate(trials(e, common))]
    write_toml(out / "search.toml", "Trials.", [CHOICE], 0, {**common, **SEARCH}, asked)
    compare_run(out / "search.toml", out / "runs", 1, (out / "runs").exists(), None, data_dir)
    with (out / "runs" / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = {row["label"]: 100.0 * float(row["validation_accuracy"]) for row in rows}
    return {e["label"]: [last[f"{e['label']} - {k}"] for k in range(4)] for e in entries}


def write_choice(path: Path, found: dict[str, list[float]], seeds: int) -> None:
    """The compare file with the best trial of each run."""
    common, entries = comparison()
    comment = (
        "MNIST, every rule, with the step size and the other parameter that search_compare.py chose.\n"
        "Validation accuracies (%) of the four trials, two values of the parameter at each of two step sizes:"
    )
    chosen = []
    for entry in entries:
        values = found[entry["label"]]
        comment += f"\n  {entry['label']}: {', '.join(f'{v:.1f}' for v in values)}"
        chosen.append(trials(entry, common)[int(np.argmax(values))])
    write_toml(path, comment, list(range(1, seeds + 1)), 50, common, chosen)


def second_of(entry: dict[str, Any]) -> str:
    """The other parameter of a run, as the table shows it."""
    label = entry["label"]
    name = next(iter(SECOND[label][0] or SECOND[label][1]))
    value = entry.get(name, COMMON.get(name))
    if isinstance(value, dict):
        name = next(iter(SECOND[label][0][name]))
        value = value[name]
    return f"{name} = {value:g}" if isinstance(value, (int, float)) else f"{name} = {value}"


def write_table(path: Path, chosen: Path, out: Path, at: str | None) -> None:
    """The table of a comparison: a line for each run and seed that all runs have."""
    with (out / "runs.csv").open(newline="") as file:
        rows = {(r["label"], int(r["seed"])): r for r in csv.DictReader(file) if r["status"] == "complete"}
    asked = read_toml(chosen)
    entries = {e["label"]: e for e in asked["run"]}
    seeds = [s for s in asked["seeds"] if all((label, s) in rows for label in entries)]
    mean = {label: np.mean([float(rows[label, s]["accuracy"]) for s in seeds]) for label in entries}
    lines = []
    for label in sorted(entries, key=lambda name: -mean[name]):
        entry = entries[label]
        rate = f"{entry.get('rate', asked['common']['rate']):g}"
        for s in seeds:
            row = rows[label, s]
            accuracy, reference = (f"{100.0 * float(rows[name, s]['accuracy']):.4f}" for name in (label, "EventProp"))
            agreement = [row.get(f"{kind} layer 1 weight") or "" for kind in ("cosine", "signs")]
            lines.append([
                label, rate, second_of(entry), s, accuracy, reference, _digits(agreement[0], 1.0),
                _digits(agreement[1], 100.0),
            ])  # fmt: skip
    columns = ("", "step size", "other parameter", "seed", "accuracy (%)", "EventProp", "cosine", "equal signs (%)")
    write_csv(path, columns, lines, at)


def _digits(text: str, factor: float) -> str:
    return f"{factor * float(text):.4f}" if text and np.isfinite(float(text)) else ""


def main() -> None:
    """Search and write the compare file, or make the table of a comparison that has run."""
    parser = arguments(__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path, default=Path("runs/search"))
    parser.add_argument("--seeds", type=int, default=5, help="of the compare file")
    parser.add_argument("--chosen", type=Path, default=RESULTS / "compare_mnist.toml")
    parser.add_argument("--table", type=Path, help="folder of the comparison: write its table and do nothing else")
    parser.add_argument("--results", type=Path, default=RESULTS / "compare_mnist.csv")
    parser.add_argument("--at", help="commit to name in the results, if the runs were made with another one")
    args = parser.parse_args()
    print(machine(), flush=True)
    if args.table is not None:
        write_table(args.results, args.chosen, args.table, args.at)
        return
    found = search(args.out, args.data_dir)
    for label, values in found.items():
        print(f"{label:26} {', '.join(f'{v:.1f}' for v in values)}")
    write_choice(args.chosen, found, args.seeds)


if __name__ == "__main__":
    main()
